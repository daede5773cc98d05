/* The kernels of kernels_body.h for avx512; compiled with its flags, empty on other machines. */
#if defined(__AVX512F__)
#define RB_LANES 16
#define RB_KERNELS_NAME "avx512"
#define RB_KERNELS_SYMBOL rb_kernels_avx512
#include "core/model/kernels_sets.h"
#include "core/model/kernels_body.h"
#else
typedef int rb_kernels_avx512_is_empty;
#endif
