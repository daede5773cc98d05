/* The kernels of kernels_body.h for avx2; compiled with its flags, empty on other machines. */
#if defined(__AVX2__)
#define RB_LANES 8
#define RB_KERNELS_NAME "avx2"
#define RB_KERNELS_SYMBOL rb_kernels_avx2
#include "core/model/kernels_sets.h"
#include "core/model/kernels_body.h"
#else
typedef int rb_kernels_avx2_is_empty;
#endif
