/* core/model/kernels_sets.h: the compiled kernel sets, private to kernels*.c. */
#ifndef RB_CORE_MODEL_KERNELS_SETS_H
#define RB_CORE_MODEL_KERNELS_SETS_H

#include "core/model/kernels.h"

extern const struct rb_kernels rb_kernels_avx512, rb_kernels_avx2, rb_kernels_plain;

#endif
