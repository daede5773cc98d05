/* core/tensor/dtype.h: the element types a checkpoint may hold, and their way to F32 and back. */
#ifndef RB_CORE_TENSOR_DTYPE_H
#define RB_CORE_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/*    symbol     safetensors name, bytes, usable as a weight */
#define RB_DTYPE_MAP(X)                                                                            \
    X(RB_F64, "F64", 8, 1)                                                                         \
    X(RB_F32, "F32", 4, 1)                                                                         \
    X(RB_F16, "F16", 2, 1)                                                                         \
    X(RB_BF16, "BF16", 2, 1)                                                                       \
    X(RB_I64, "I64", 8, 0)                                                                         \
    X(RB_I32, "I32", 4, 0)                                                                         \
    X(RB_I16, "I16", 2, 0)                                                                         \
    X(RB_I8, "I8", 1, 0)                                                                           \
    X(RB_U8, "U8", 1, 0)                                                                           \
    X(RB_BOOL, "BOOL", 1, 0)

enum rb_dtype {
#define RB_DTYPE_ENUM(sym, name, bytes, weight) sym,
    RB_DTYPE_MAP(RB_DTYPE_ENUM)
#undef RB_DTYPE_ENUM
        RB_DTYPE_COUNT
};

const char *rb_dtype_name(enum rb_dtype t);
size_t rb_dtype_bytes(enum rb_dtype t);
/* F64, F32, F16 or BF16. */
bool rb_dtype_is_float(enum rb_dtype t);
/* By safetensors name ("BF16"), case-sensitive; false if unknown. */
bool rb_dtype_from_name(const char *name, size_t length, enum rb_dtype *ret);

/* n elements to F32. src needs no alignment. F64 is rounded to nearest; F16 and BF16 are exact,
 * subnormals, infinities and NaN included. t must be a float type; dst must not overlap src. */
void rb_dtype_to_f32(enum rb_dtype t, const void *src, float *dst, size_t n);
/* n elements from F32, rounded to nearest even; values too large become infinity, as in PyTorch. */
void rb_dtype_from_f32(enum rb_dtype t, const float *src, void *dst, size_t n);

#endif
