// LINK: core_tensor
#include "core/tensor/dtype.h"
#include "core/tensor/dtype_f16.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ALL = 1 << 16 };

/* ---- the slow, obvious references: what the formats mean, in doubles ---- */

/* A small float of `fraction` fraction bits and the given bias, as its value. */
static double small_value(unsigned bits, int fraction, int bias)
{
    unsigned exponents = (1u << (15 - fraction)) - 1;
    unsigned exponent = bits >> fraction & exponents, f = bits & ((1u << fraction) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == exponents)
        return f != 0 ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(f, 1 - bias - fraction);
    return sign * ldexp(f + (1u << fraction), (int)exponent - bias - fraction);
}

/* The nearest small float, even at ties (rint); no NaN. */
static unsigned small_from(double x, int fraction, int bias)
{
    unsigned sign = signbit(x) ? 0x8000 : 0;
    unsigned inf = ((1u << (15 - fraction)) - 1) << fraction;
    double a = fabs(x);
    if (isinf(x))
        return sign | inf;
    int exponent = a > 0 ? ilogb(a) : 1 - bias;
    if (exponent < 1 - bias)
        exponent = 1 - bias;
    unsigned steps = (unsigned)rint(ldexp(a, fraction - exponent));
    unsigned bits = ((unsigned)(exponent + bias - 1) << fraction) + steps;
    return sign | (bits > inf ? inf : bits);
}

struct format {
    const char *name;
    int fraction, bias;
    void (*to_f32)(const void *, void *, size_t);
    void (*from_f32)(const void *, void *, size_t);
};

static void f16_to(const void *src, void *dst, size_t n)
{
    rb_dtype_to_f32(RB_F16, src, dst, n);
}

static void f16_from(const void *src, void *dst, size_t n)
{
    rb_dtype_from_f32(RB_F16, src, dst, n);
}

static void bf16_to(const void *src, void *dst, size_t n)
{
    rb_dtype_to_f32(RB_BF16, src, dst, n);
}

static void bf16_from(const void *src, void *dst, size_t n)
{
    rb_dtype_from_f32(RB_BF16, src, dst, n);
}

static const struct format formats[] = {
    {"F16 portable", 10, 15, rb_f16_to_f32_portable, rb_f16_from_f32_portable},
    {"F16 by F16C", 10, 15, rb_f16_to_f32_f16c, rb_f16_from_f32_f16c},
    {"F16", 10, 15, f16_to, f16_from},
    {"BF16", 7, 127, bf16_to, bf16_from},
};

static bool usable(const struct format *f)
{
    return f->to_f32 != rb_f16_to_f32_f16c || rb_f16c_usable();
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void check_all_values(const struct format *format)
{
    uint16_t *in = malloc(ALL * sizeof *in), *back = malloc(ALL * sizeof *back);
    float *out = malloc(ALL * sizeof *out);
    for (unsigned i = 0; i < ALL; i++)
        in[i] = (uint16_t)i;
    format->to_f32(in, out, ALL);
    format->from_f32(out, back, ALL);
    for (unsigned i = 0; i < ALL; i++) {
        double expected = small_value(i, format->fraction, format->bias);
        if (isnan(expected)) {
            assert_true(isnan(out[i]));
            assert_int_equal(signbit(out[i]) != 0, i >> 15);
            /* Payloads survive; a signalling NaN becomes a quiet one. */
            assert_int_equal(back[i], i | 1u << (format->fraction - 1));
        } else {
            if (out[i] != (float)expected || signbit(out[i]) != signbit((float)expected))
                fail_msg("%s 0x%04x: %a, expected %a", format->name, i, (double)out[i], expected);
            assert_int_equal(back[i], i);
        }
    }
    free(in);
    free(back);
    free(out);
}

static void test_every_small_float_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (usable(&formats[i]))
            check_all_values(&formats[i]);
}

static void check_rounding(const struct format *format, const uint32_t *in, size_t n)
{
    uint16_t *out = malloc(n * sizeof *out);
    format->from_f32(in, out, n);
    for (size_t i = 0; i < n; i++) {
        float x = float_of(in[i]);
        unsigned inf = ((1u << (15 - format->fraction)) - 1) << format->fraction;
        if (isnan(x)) {
            assert_true((out[i] & 0x7fffu) > inf);
            assert_int_equal(out[i] >> 15, in[i] >> 31);
        } else if (out[i] != small_from((double)x, format->fraction, format->bias)) {
            fail_msg("%s from %a: 0x%04x, expected 0x%04x", format->name, (double)x, out[i],
                     small_from((double)x, format->fraction, format->bias));
        }
    }
    free(out);
}

/* Every tie between neighbours and the floats beside it, both signs: where rounding can go wrong.
 */
static size_t ties(const struct format *f, uint32_t *ret)
{
    size_t n = 0;
    unsigned inf = ((1u << (15 - f->fraction)) - 1) << f->fraction;
    for (unsigned i = 0; i < inf; i++) {
        /* The neighbour of the largest is what would come next if exponents went on. */
        double low = small_value(i, f->fraction, f->bias);
        double high = i + 1 < inf ? small_value(i + 1, f->fraction, f->bias)
                                  : ldexp(1, (int)(inf >> f->fraction) - f->bias);
        uint32_t tie = bits_of((float)((low + high) / 2));
        for (uint32_t sign = 0; sign < 2; sign++)
            for (uint32_t near = tie > 0 ? tie - 1 : 0; near <= tie + 1; near++)
                ret[n++] = near | sign << 31;
    }
    return n;
}

static void test_rounding_to_nearest_even(void **state)
{
    (void)state;
    uint32_t *in = malloc(sizeof *in * 6 * ALL);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (usable(&formats[i]))
            check_rounding(&formats[i], in, ties(&formats[i], in));
    /* And a sweep over all floats; the stride is odd, so all low bits occur. */
    size_t n = 0;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 21001)
        in[n++] = (uint32_t)bits;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (usable(&formats[i]))
            check_rounding(&formats[i], in, n);
    free(in);
}

static void test_f16c_and_portable_agree(void **state)
{
    (void)state;
    if (!rb_f16c_usable())
        skip();
    enum { STEP = 997, COUNT = 1 << 12 };
    uint32_t in[COUNT];
    uint16_t a[COUNT], b[COUNT];
    for (uint64_t from = 0; from < UINT64_C(1) << 32; from += (uint64_t)STEP * COUNT) {
        for (unsigned i = 0; i < COUNT; i++)
            in[i] = (uint32_t)(from + (uint64_t)i * STEP);
        rb_f16_from_f32_portable(in, a, COUNT);
        rb_f16_from_f32_f16c(in, b, COUNT);
        assert_memory_equal(a, b, sizeof a);
    }
    float x[ALL / 64], y[ALL / 64];
    for (unsigned from = 0; from < ALL; from += ALL / 64) {
        for (unsigned i = 0; i < ALL / 64; i++)
            a[i] = (uint16_t)(from + i);
        rb_f16_to_f32_portable(a, x, ALL / 64);
        rb_f16_to_f32_f16c(a, y, ALL / 64);
        assert_memory_equal(x, y, sizeof x);
    }
}

static void test_f64(void **state)
{
    (void)state;
    const struct {
        double in;
        float out;
    } rows[] = {
        {0.0, 0.0f},
        {-0.0, -0.0f},
        {1.0, 1.0f},
        {1 + 0x1p-24, 1.0f},                      /* tie: to even */
        {1 + 0x3p-24, 1 + 0x1p-22f},              /* tie: to even, upwards */
        {1 + 0x1p-24 + 0x1p-50, 1 + 0x1p-23f},    /* just over the tie */
        {1e39, INFINITY},                         /* too large */
        {-1e300, -INFINITY},                      /* too large */
        {0x1.fffffefffffffp127, 0x1.fffffep127f}, /* just below where infinity begins */
        {0x1p-149, 0x1p-149f},                    /* least subnormal */
        {0x1p-150, 0.0f},                         /* tie: to even, to zero */
        {0x1.8p-149, 0x1p-148f},                  /* tie: to even */
        {(double)INFINITY, INFINITY},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    double in[ROWS + 1];
    float out[ROWS + 1];
    for (size_t i = 0; i < ROWS; i++)
        in[i] = rows[i].in;
    in[ROWS] = (double)NAN;
    rb_dtype_to_f32(RB_F64, in, out, ROWS + 1);
    for (size_t i = 0; i < ROWS; i++)
        if (bits_of(out[i]) != bits_of(rows[i].out))
            fail_msg("%a: %a, expected %a", in[i], (double)out[i], (double)rows[i].out);
    assert_true(isnan(out[ROWS]));
    rb_dtype_from_f32(RB_F64, out, in, ROWS);
    for (size_t i = 0; i < ROWS; i++)
        assert_true(in[i] == (double)rows[i].out);
}

/* Blocks and tails, at every misalignment, next to bytes that must not be touched. */
static void test_any_length_and_alignment(void **state)
{
    (void)state;
    enum { MOST = 40 };
    const enum rb_dtype types[] = {RB_F64, RB_F32, RB_F16, RB_BF16};
    for (size_t t = 0; t < 4; t++) {
        size_t size = rb_dtype_bytes(types[t]);
        for (size_t n = 0; n <= MOST; n++) {
            for (size_t shift = 0; shift < 8; shift++) {
                unsigned char packed[(MOST + 2) * 8];
                float in[MOST + 1], out[MOST + 1];
                memset(packed, 0xa5, sizeof packed);
                for (size_t i = 0; i <= MOST; i++) {
                    in[i] = (float)i - 7.5f; /* exact in all of them */
                    out[i] = 99;
                }
                rb_dtype_from_f32(types[t], in, packed + shift, n);
                assert_int_equal(packed[shift + n * size], 0xa5);
                rb_dtype_to_f32(types[t], packed + shift, out, n);
                assert_memory_equal(in, out, n * sizeof in[0]);
                assert_true(out[n] == 99);
            }
        }
    }
}

static void test_table(void **state)
{
    (void)state;
    const struct {
        const char *name;
        enum rb_dtype dtype;
        size_t bytes;
        bool is_float;
    } rows[] = {
        {"F64", RB_F64, 8, true},    {"F32", RB_F32, 4, true},  {"F16", RB_F16, 2, true},
        {"BF16", RB_BF16, 2, true},  {"I64", RB_I64, 8, false}, {"I32", RB_I32, 4, false},
        {"I16", RB_I16, 2, false},   {"I8", RB_I8, 1, false},   {"U8", RB_U8, 1, false},
        {"BOOL", RB_BOOL, 1, false},
    };
    assert_int_equal(sizeof rows / sizeof rows[0], RB_DTYPE_COUNT);
    for (size_t i = 0; i < RB_DTYPE_COUNT; i++) {
        enum rb_dtype found = RB_DTYPE_COUNT;
        assert_true(rb_dtype_from_name(rows[i].name, strlen(rows[i].name), &found));
        assert_int_equal(found, rows[i].dtype);
        assert_string_equal(rb_dtype_name(rows[i].dtype), rows[i].name);
        assert_int_equal(rb_dtype_bytes(rows[i].dtype), rows[i].bytes);
        assert_int_equal(rb_dtype_is_float(rows[i].dtype), rows[i].is_float);
    }
    const char *unknown[] = {"", "f32", "F3", "F322", "F8_E4M3", "BF16 "};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        enum rb_dtype found = RB_BOOL;
        assert_false(rb_dtype_from_name(unknown[i], strlen(unknown[i]), &found));
        assert_int_equal(found, RB_BOOL);
    }
    enum rb_dtype found;
    assert_true(rb_dtype_from_name("BF16xyz", 4, &found)); /* only `length` bytes count */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_float_and_back),
        cmocka_unit_test(test_rounding_to_nearest_even),
        cmocka_unit_test(test_f16c_and_portable_agree),
        cmocka_unit_test(test_f64),
        cmocka_unit_test(test_any_length_and_alignment),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
