#include "core/tensor/dtype_f16.h"
#include "core/tensor/dtype_block.h"

#include <stdatomic.h>

static inline float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* The half's exponent and fraction, placed where F32 has them, read 2^112 times too small: the
 * biases are 15 and 127. One multiplication repairs that, and normalises subnormals on the way.
 * Method: F. Giesen, https://gist.github.com/rygorous/2156668 */
static inline uint32_t f32_from_half(uint16_t h)
{
    const uint32_t inf = 0x7f800000, quiet = 0x00400000;
    uint32_t magnitude = h & 0x7fffu;
    uint32_t bits = bits_of(float_of(magnitude << 13) * 0x1p112f);
    bits |= magnitude >= 0x7c00 ? inf : 0;
    bits |= magnitude > 0x7c00 ? quiet : 0;
    return bits | (h & 0x8000u) << 16;
}

/* Below 2^-14 adding 0.5 makes the adder itself round to the half's subnormal step of 2^-24;
 * above, 0xfff plus the bit that will be last rounds to nearest even, and a carry out of the
 * fraction steps the exponent, up to infinity for 65520 and more. */
static inline uint16_t half_from_f32(uint32_t bits)
{
    const uint32_t inf = 0x7f800000, too_large = 0x47800000, least_normal = 0x38800000;
    const uint32_t rebias = (uint32_t)(127 - 15) << 23, half_inf = 0x7c00, quiet = 0x0200;
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - rebias + 0xfff + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    uint32_t nan = half_inf | quiet | (magnitude >> 13 & 0x3ff);
    uint32_t result = magnitude < least_normal ? subnormal : normal;
    result = magnitude >= too_large ? half_inf : result;
    result = magnitude > inf ? nan : result;
    return (uint16_t)(sign | result);
}

RB_BLOCKWISE(rb_f16_to_f32_portable, uint16_t, uint32_t, f32_from_half)
RB_BLOCKWISE(rb_f16_from_f32_portable, uint32_t, uint16_t, half_from_f32)

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define RB_F16C __attribute__((target("avx,f16c")))

RB_F16C void rb_f16_to_f32_f16c(const void *src, void *dst, size_t n)
{
    const unsigned char *from = src;
    unsigned char *to = dst;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i h = _mm_loadu_si128((const __m128i_u *)(const void *)(from + 2 * i));
        _mm256_storeu_ps((float *)(void *)(to + 4 * i), _mm256_cvtph_ps(h));
    }
    rb_f16_to_f32_portable(from + 2 * i, to + 4 * i, n - i);
}

RB_F16C void rb_f16_from_f32_f16c(const void *src, void *dst, size_t n)
{
    const unsigned char *from = src;
    unsigned char *to = dst;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 f = _mm256_loadu_ps((const float *)(const void *)(from + 4 * i));
        __m128i h = _mm256_cvtps_ph(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i_u *)(void *)(to + 2 * i), h);
    }
    rb_f16_from_f32_portable(from + 4 * i, to + 2 * i, n - i);
}

bool rb_f16c_usable(void)
{
    enum { UNKNOWN, NO, YES };
    static atomic_int answer = UNKNOWN;
    int known = atomic_load_explicit(&answer, memory_order_relaxed);
    if (known == UNKNOWN) {
        /* clang 14 does not know __builtin_cpu_supports("f16c"); "avx" also asks the system. */
        unsigned a, b, c, d;
        bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
        known = f16c && __builtin_cpu_supports("avx") ? YES : NO;
        atomic_store_explicit(&answer, known, memory_order_relaxed);
    }
    return known == YES;
}

#else

void rb_f16_to_f32_f16c(const void *src, void *dst, size_t n)
{
    rb_f16_to_f32_portable(src, dst, n);
}

void rb_f16_from_f32_f16c(const void *src, void *dst, size_t n)
{
    rb_f16_from_f32_portable(src, dst, n);
}

bool rb_f16c_usable(void)
{
    return false;
}

#endif
