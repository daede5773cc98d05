/* The kernels of kernels_body.h with what every machine has. */
#define RB_LANES 4
#define RB_KERNELS_NAME "plain"
#define RB_KERNELS_SYMBOL rb_kernels_plain
#include "core/model/kernels_sets.h"
#include "core/model/kernels_body.h"
