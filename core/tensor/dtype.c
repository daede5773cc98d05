#include "core/tensor/dtype.h"
#include "core/tensor/dtype_block.h"
#include "core/tensor/dtype_f16.h"

#include <assert.h>

static const struct {
    const char *name;
    size_t bytes;
    bool is_float;
} rows[RB_DTYPE_COUNT] = {
#define RB_DTYPE_ROW(sym, name, bytes, weight) [sym] = {name, bytes, weight},
    RB_DTYPE_MAP(RB_DTYPE_ROW)
#undef RB_DTYPE_ROW
};

const char *rb_dtype_name(enum rb_dtype t)
{
    return rows[t].name;
}

size_t rb_dtype_bytes(enum rb_dtype t)
{
    return rows[t].bytes;
}

bool rb_dtype_is_float(enum rb_dtype t)
{
    return rows[t].is_float;
}

bool rb_dtype_from_name(const char *name, size_t length, enum rb_dtype *ret)
{
    for (int i = 0; i < RB_DTYPE_COUNT; i++) {
        if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0) {
            *ret = (enum rb_dtype)i;
            return true;
        }
    }
    return false;
}

static inline uint32_t f32_from_bf16(uint16_t b)
{
    return (uint32_t)b << 16;
}

/* Rounding could carry a NaN's fraction into infinity, so a NaN is cut instead and made quiet. */
static inline uint16_t bf16_from_f32(uint32_t bits)
{
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t nan = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

static inline float f32_from_f64(double d)
{
    return (float)d;
}

static inline double f64_from_f32(float f)
{
    return f;
}

static RB_BLOCKWISE(bf16_to_f32, uint16_t, uint32_t, f32_from_bf16) static RB_BLOCKWISE(
    f32_to_bf16, uint32_t, uint16_t,
    bf16_from_f32) static RB_BLOCKWISE(f64_to_f32, double, float,
                                       f32_from_f64) static RB_BLOCKWISE(f32_to_f64, float, double,
                                                                         f64_from_f32)

    void rb_dtype_to_f32(enum rb_dtype t, const void *src, float *dst, size_t n)
{
    assert(rb_dtype_is_float(t));
    if (t == RB_F64)
        f64_to_f32(src, dst, n);
    else if (t == RB_F16)
        (rb_f16c_usable() ? rb_f16_to_f32_f16c : rb_f16_to_f32_portable)(src, dst, n);
    else if (t == RB_BF16)
        bf16_to_f32(src, dst, n);
    else if (n > 0)
        memcpy(dst, src, n * sizeof *dst);
}

void rb_dtype_from_f32(enum rb_dtype t, const float *src, void *dst, size_t n)
{
    assert(rb_dtype_is_float(t));
    if (t == RB_F64)
        f32_to_f64(src, dst, n);
    else if (t == RB_F16)
        (rb_f16c_usable() ? rb_f16_from_f32_f16c : rb_f16_from_f32_portable)(src, dst, n);
    else if (t == RB_BF16)
        f32_to_bf16(src, dst, n);
    else if (n > 0)
        memcpy(dst, src, n * sizeof *src);
}
