/* core/align/products.h: how alike the units of two models are by the weights that make or read
 * them (METHOD 10, `match`). */
#ifndef RB_CORE_ALIGN_PRODUCTS_H
#define RB_CORE_ALIGN_PRODUCTS_H

#include "core/model/blend.h"
#include "core/program.h"

/* ret (n, n) += sum over one layer's matrices whose rows or columns lie on that axis of
 * W_A W_B^T / (|W_A| |W_B|) of rows, W_A^T W_B / (|W_A| |W_B|) of columns; rows of ret: A's n
 * units. a and b are one model each, as they have moved so far. In the order of slots, so that the
 * sum is always the same one. RB_ENOMEM; RB_ECANCELED when the worker was stopped. */
enum rb_status rb_products_add(const struct rb_blend *a, const struct rb_blend *b,
                               enum rb_axis axis, uint32_t layer, float *ret, struct rb_worker *w,
                               struct rb_error *err) RB_MUST_CHECK;

/* In floating-point operations, of an axis of n units that `matrices` matrices with a stream of
 * d have: B's rows or columns turned by a dense map, twice, and the product. */
double rb_products_cost(double n, double d, double matrices);

#endif
