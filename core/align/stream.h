/* core/align/stream.h: what the stream's orthogonal map is found from (METHOD 10): M (d, d) in F64,
 * rows B's units, columns A's; the map is polar(M). Some rows at a time, so that items share it. */
#ifndef RB_CORE_ALIGN_STREAM_H
#define RB_CORE_ALIGN_STREAM_H

#include "core/align/moments.h"
#include "core/model/blend.h"

/* Rows [first, first + rows) += the mean over the taps of cov(B, A) / sqrt(tr var_B tr var_A); with
 * dot of E[b^T a] / sqrt(E|b|^2 E|a|^2). */
void rb_stream_add_moments(const struct rb_tap *const *taps, size_t count, bool dot, size_t first,
                           size_t rows, double *m);

/* A matrix that reads the stream or writes to it. */
struct rb_stream_tensor {
    enum rb_slot slot;
    uint32_t layer;
    bool writes;
};

/* All of them, in the order of slots and layers: *ret is the caller's to free. RB_ENOMEM. */
enum rb_status rb_stream_tensors(const struct rb_model *m, struct rb_stream_tensor **ret,
                                 size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;

/* Rows [first, first + rows) += W_B^T W_A / (|W_B| |W_A|) of one tensor that reads the stream, or
 * W_B W_A^T / … of one that writes to it; a and b as they are but for the stream's own map.
 * RB_ENOMEM. */
enum rb_status rb_stream_add_weights(const struct rb_blend *a, const struct rb_blend *b,
                                     const struct rb_stream_tensor *t, size_t first, size_t rows,
                                     double *m, struct rb_scratch *scratch,
                                     struct rb_error *err) RB_MUST_CHECK;
/* In floating-point operations, of `rows` rows of M. */
double rb_stream_weights_cost(const struct rb_model *m, const struct rb_stream_tensor *t,
                              size_t rows);

#endif
