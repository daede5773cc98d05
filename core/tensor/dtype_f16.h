/* core/tensor/dtype_f16.h: the two ways to convert halves; private to core/tensor and its tests.
 *
 * Both give the same bits for every input: round to nearest even, subnormals kept, a NaN keeps its
 * sign and the top bits of its payload and becomes quiet. The portable one is the reference. */
#ifndef RB_CORE_TENSOR_DTYPE_F16_H
#define RB_CORE_TENSOR_DTYPE_F16_H

#include <stdbool.h>
#include <stddef.h>

/* n elements; neither side needs alignment. */
void rb_f16_to_f32_portable(const void *src, void *dst, size_t n);
void rb_f16_from_f32_portable(const void *src, void *dst, size_t n);

/* By the F16C instructions; only where rb_f16c_usable(). */
void rb_f16_to_f32_f16c(const void *src, void *dst, size_t n);
void rb_f16_from_f32_f16c(const void *src, void *dst, size_t n);
/* Asks the processor once; any thread. */
bool rb_f16c_usable(void);

#endif
