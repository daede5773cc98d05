/* core/model/kernels_body.h: the kernels, for one register width. The including file defines
 * RB_LANES (floats per register) and RB_KERNELS_NAME, RB_KERNELS_SYMBOL; it is compiled with the
 * flags of its instruction set (core/CMakeLists.txt). Written with the compilers' vector
 * extension, so that the same text serves every set. */
#include "core/model/kernels.h"

#include <stdbool.h>
#include <string.h>

typedef float vf __attribute__((vector_size(RB_LANES * 4)));
typedef int32_t vi __attribute__((vector_size(RB_LANES * 4)));
typedef float vf_mem __attribute__((vector_size(RB_LANES * 4), aligned(4), may_alias));

static inline vf load(const float *p)
{
    return *(const vf_mem *)p;
}

static inline void store(float *p, vf v)
{
    *(vf_mem *)p = v;
}

static inline vf all(float x)
{
    return x - (vf){0};
}

/* The last n < RB_LANES elements; lanes beyond hold `fill`. */
static inline vf load_part(const float *p, size_t n, float fill)
{
    vf v = all(fill);
    memcpy(&v, p, n * sizeof(float));
    return v;
}

static inline void store_part(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof(float));
}

static inline vf pick(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* Of a pair with a NaN, the second: bounds go first, so that what is not a number stays so. */
static inline vf vmax(vf a, vf b)
{
    return pick(a > b, a, b);
}

static inline vf vmin(vf a, vf b)
{
    return pick(a < b, a, b);
}

static inline float sum_lanes(vf v)
{
    float s = 0;
    for (int i = 0; i < RB_LANES; i++)
        s += v[i];
    return s;
}

static inline float max_lanes(vf v)
{
    float m = v[0];
    for (int i = 1; i < RB_LANES; i++)
        m = v[i] > m ? v[i] : m;
    return m;
}

/* exp for x in [-87, 88]; below, 0. x = n ln 2 + r, |r| <= ln 2 / 2; Taylor to r^7 leaves 1e-8. */
static inline vf vexp(vf x)
{
    vi tiny = x < -87.0f;
    x = vmin(all(88.0f), vmax(all(-87.0f), x));
    vf shift = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to nearest */
    vf n = shift - 12582912.0f;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vi bits = (((vi)shift - 0x4B400000) + 127) << 23; /* 0x4B400000: the bits of 12582912 */
    vf e = p * (vf)bits;
    return (vf)((vi)e & ~tiny);
}

/* erf, |error| < 3.5e-7: x P(x^2) / Q(x^2), weighted minimax fit on [0, 3.95]; beyond, +-1. */
static inline vf verf(vf x)
{
    x = vmin(all(3.95f), vmax(all(-3.95f), x));
    vf z = x * x;
    vf p = all(2.0259190023352858e-6f);
    p = p * z + 2.8468770324252546e-4f;
    p = p * z + 3.8081377279013395e-3f;
    p = p * z + 5.2875373512506485e-2f;
    p = p * z + 1.9154967367649078e-1f;
    p = p * z + 1.1283791065216064f;
    vf q = all(3.7831916415598243e-5f);
    q = q * z + 1.1707210214808583e-3f;
    q = q * z + 1.5055040828883648e-2f;
    q = q * z + 1.1455936729907990e-1f;
    q = q * z + 5.0308912992477417e-1f;
    q = q * z + 1.0f;
    return vmin(all(1.0f), vmax(all(-1.0f), x * p / q));
}

static inline vf vgelu(vf x)
{
    vf half = x * 0.5f;
    return half + half * verf(x * 0.70710678118654752f);
}

static inline vf vtanh(vf x)
{
    vf e = vexp(vmin(all(10.0f), vmax(all(-10.0f), x)) * 2.0f);
    vf big = (e - 1.0f) / (e + 1.0f);
    vf z = x * x; /* near 0 the quotient loses digits: the series to x^7 */
    vf small = x * (1.0f + z * (-1.0f / 3 + z * (2.0f / 15 - z * (17.0f / 315))));
    return pick(z < 0.01f, small, big);
}

/* 1 / (1 + exp(-x)), by the exponential that cannot overflow. */
static inline vf vsigmoid(vf x)
{
    vf e = vexp(vmin(x, -x));
    return pick(x < 0.0f, e, all(1.0f)) / (1.0f + e);
}

static inline vf vsilu(vf x)
{
    return x * vsigmoid(x);
}

/* 0.5 x (1 + tanh(u)) = x sigmoid(2 u). */
static inline vf vgelu_new(vf x)
{
    return x * vsigmoid(x * (1.59576912160573071f + 0.07135481627159814f * (x * x)));
}

static inline vf vrelu(vf x)
{
    return vmax(all(0), x);
}

#define FOR_VECTORS(i, n) for (; (i) + RB_LANES <= (n); (i) += RB_LANES)

/* Lanes [i, i + RB_LANES) of p, those beyond n zero; all zero where there is no p. */
static inline vf load_or_zero(const float *p, size_t i, size_t n)
{
    if (p == NULL)
        return all(0);
    return n - i >= RB_LANES ? load(p + i) : load_part(p + i, n - i, 0);
}

#define DEFINE_BIAS_MAP(name, expression)                                                          \
    static void name(float *x, const float *bias, size_t rows, size_t n)                           \
    {                                                                                              \
        for (size_t r = 0; r < rows; r++, x += n) {                                                \
            size_t i = 0;                                                                          \
            FOR_VECTORS (i, n) {                                                                   \
                vf v = load(x + i), b = load_or_zero(bias, i, n);                                  \
                store(x + i, expression);                                                          \
            }                                                                                      \
            if (i < n) {                                                                           \
                vf v = load_part(x + i, n - i, 0), b = load_or_zero(bias, i, n);                   \
                store_part(x + i, expression, n - i);                                              \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_BIAS_MAP(add_bias, v + b)
DEFINE_BIAS_MAP(bias_gelu, vgelu(v + b))
DEFINE_BIAS_MAP(bias_gelu_new, vgelu_new(v + b))
DEFINE_BIAS_MAP(bias_silu, vsilu(v + b))
DEFINE_BIAS_MAP(bias_relu, vrelu(v + b))
DEFINE_BIAS_MAP(bias_tanh, vtanh(v + b))
DEFINE_BIAS_MAP(subtract, v - b)

#define DEFINE_GATED(name, activation)                                                             \
    static void name(float *y, const float *gate, const float *gate_bias, const float *up,         \
                     const float *up_bias, size_t rows, size_t n)                                  \
    {                                                                                              \
        for (size_t r = 0; r < rows; r++, y += n, gate += n, up += n)                              \
            for (size_t i = 0; i < n; i += RB_LANES) {                                             \
                vf g = load_or_zero(gate, i, n) + load_or_zero(gate_bias, i, n);                   \
                vf v = load_or_zero(up, i, n) + load_or_zero(up_bias, i, n);                       \
                v *= activation(g);                                                                \
                if (n - i >= RB_LANES)                                                             \
                    store(y + i, v);                                                               \
                else                                                                               \
                    store_part(y + i, v, n - i);                                                   \
            }                                                                                      \
    }

DEFINE_GATED(gated_gelu, vgelu)
DEFINE_GATED(gated_gelu_new, vgelu_new)
DEFINE_GATED(gated_silu, vsilu)
DEFINE_GATED(gated_relu, vrelu)
DEFINE_GATED(gated_tanh, vtanh)

static float exp_sum(float *x, size_t n, float scale)
{
    vf m = all(-3.4e38f);
    size_t i = 0;
    FOR_VECTORS (i, n)
        m = vmax(m, load(x + i));
    if (i < n)
        m = vmax(m, load_part(x + i, n - i, -3.4e38f));
    float top = max_lanes(m) * scale;
    vf sum = all(0);
    i = 0;
    FOR_VECTORS (i, n) {
        vf e = vexp(load(x + i) * scale - top);
        store(x + i, e);
        sum += e;
    }
    if (i < n) {
        vf e = vexp(load_part(x + i, n - i, -3.4e38f) * scale - top), none = all(0);
        store_part(x + i, e, n - i);
        memcpy(&none, &e, (n - i) * sizeof(float));
        sum += none;
    }
    return sum_lanes(sum);
}

static void softmax(float *x, size_t rows, size_t n, size_t stride, float scale)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        float inverse = 1.0f / exp_sum(x, n, scale);
        size_t i = 0;
        FOR_VECTORS (i, n)
            store(x + i, load(x + i) * inverse);
        for (; i < n; i++)
            x[i] *= inverse;
    }
}

/* One lane group of x + bias + skip. */
static inline vf gather(const float *x, const float *bias, const float *skip, size_t i, size_t n)
{
    size_t left = n - i;
    if (left >= RB_LANES) {
        vf v = load(x + i);
        if (bias != NULL)
            v += load(bias + i);
        if (skip != NULL)
            v += load(skip + i);
        return v;
    }
    vf v = load_part(x + i, left, 0);
    if (bias != NULL)
        v += load_part(bias + i, left, 0);
    if (skip != NULL)
        v += load_part(skip + i, left, 0);
    return v;
}

static void layer_norm(float *y, const float *x, const float *bias, const float *skip,
                       const float *weight, const float *shift, float eps, size_t rows, size_t n)
{
    float inverse_n = 1.0f / (float)n;
    for (size_t r = 0; r < rows; r++) {
        vf sum = all(0);
        for (size_t i = 0; i < n; i += RB_LANES) {
            vf v = gather(x, bias, skip, i, n);
            if (n - i >= RB_LANES)
                store(y + i, v);
            else
                store_part(y + i, v, n - i);
            sum += v;
        }
        float mean = sum_lanes(sum) * inverse_n;
        vf square = all(0), rest = all(0); /* what rounding left out of the mean */
        size_t i = 0;
        FOR_VECTORS (i, n) {
            vf d = load(y + i) - mean;
            square += d * d;
            rest += d;
        }
        if (i < n) {
            vf d = load_part(y + i, n - i, mean) - mean;
            square += d * d;
            rest += d;
        }
        float off = sum_lanes(rest) * inverse_n;
        float variance = sum_lanes(square) * inverse_n - off * off;
        float scale = 1.0f / __builtin_sqrtf((variance > 0 ? variance : 0) + eps);
        i = 0;
        FOR_VECTORS (i, n)
            store(y + i, (load(y + i) - mean - off) * scale * load(weight + i) + load(shift + i));
        for (; i < n; i++)
            y[i] = (y[i] - mean - off) * scale * weight[i] + shift[i];
        y += n;
        x += n;
        skip = skip != NULL ? skip + n : NULL;
    }
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, size_t rows,
                     size_t n)
{
    for (size_t r = 0; r < rows; r++, y += n, x += n) {
        vf squares[4] = {all(0), all(0), all(0), all(0)}; /* short sums keep rounding small */
        size_t i = 0;
        for (; i + 4 * RB_LANES <= n; i += 4 * RB_LANES)
            for (size_t j = 0; j < 4; j++) {
                vf v = load(x + i + j * RB_LANES);
                squares[j] += v * v;
            }
        for (size_t j = 0; i < n; i += RB_LANES, j++) {
            vf v = load_or_zero(x, i, n);
            squares[j] += v * v;
        }
        float square = sum_lanes((squares[0] + squares[1]) + (squares[2] + squares[3]));
        float scale = 1.0f / __builtin_sqrtf(square * (1.0f / (float)n) + eps);
        i = 0;
        FOR_VECTORS (i, n)
            store(y + i, load(x + i) * scale * load(weight + i));
        for (; i < n; i++)
            y[i] = x[i] * scale * weight[i];
    }
}

static void rotate(float *y, const float *x, const float *cosine, const float *sine, size_t half)
{
    size_t i = 0;
    FOR_VECTORS (i, half) {
        vf a = load(x + i), b = load(x + half + i), c = load(cosine + i), s = load(sine + i);
        store(y + i, a * c - b * s);
        store(y + half + i, b * c + a * s);
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        y[i] = a * cosine[i] - b * sine[i];
        y[half + i] = b * cosine[i] + a * sine[i];
    }
}

static void max_sum_exp(const float *x, const float *bias, size_t n, float *ret_max, float *ret_sum)
{
    vf m = all(-3.4e38f);
    size_t i = 0;
    FOR_VECTORS (i, n)
        m = vmax(m, load(x + i) + load_or_zero(bias, i, n));
    if (i < n)
        m = vmax(m, load_part(x + i, n - i, -3.4e38f) + load_or_zero(bias, i, n));
    float top = max_lanes(m);
    vf sum = all(0);
    i = 0;
    FOR_VECTORS (i, n)
        sum += vexp(load(x + i) + load_or_zero(bias, i, n) - top);
    if (i < n)
        sum += vexp(load_part(x + i, n - i, -3.4e38f) + load_or_zero(bias, i, n) - top);
    *ret_max = top;
    *ret_sum = sum_lanes(sum);
}

static void add_residual(float *x, const float *y, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        size_t i = 0;
        FOR_VECTORS (i, n)
            store(x + i, load(x + i) + (load(y + i) + load_or_zero(bias, i, n)));
        if (i < n)
            store_part(x + i,
                       load_part(x + i, n - i, 0) +
                           (load_part(y + i, n - i, 0) + load_or_zero(bias, i, n)),
                       n - i);
    }
}

static void blend(float *y, const float *x, float wa, const float *z, float wb, size_t n)
{
    size_t i = 0;
    FOR_VECTORS (i, n)
        store(y + i, wa * load(x + i) + wb * load(z + i));
    for (; i < n; i++)
        y[i] = wa * x[i] + wb * z[i];
}

/* ---- products of small matrices ----
 * Six rows of C by four registers: with the row of B 28 of 32 registers, each sum waiting for
 * itself alone; by two where there are 16 registers. Every element is added up in the order of k,
 * whatever tile it falls into. */

#define FOR_SIX(X, ...)                                                                            \
    X(0, __VA_ARGS__)                                                                              \
    X(1, __VA_ARGS__) X(2, __VA_ARGS__) X(3, __VA_ARGS__) X(4, __VA_ARGS__) X(5, __VA_ARGS__)
#if RB_LANES == 16 || defined(__aarch64__)
enum { TILE_VECTORS = 4 };
#define WIDE_BEGIN(r, ...)                                                                         \
    vf s##r##0 = all(0), s##r##1 = all(0), s##r##2 = all(0), s##r##3 = all(0);
#define WIDE_ROW(b)                                                                                \
    vf b0 = load(b), b1 = load((b) + RB_LANES), b2 = load((b) + 2 * RB_LANES);                     \
    vf b3 = load((b) + 3 * RB_LANES);
#define WIDE_ADD(r, ...)                                                                           \
    {                                                                                              \
        vf x = all(a[(r)*lda + t]);                                                                \
        s##r##0 += x * b0;                                                                         \
        s##r##1 += x * b1;                                                                         \
        s##r##2 += x * b2;                                                                         \
        s##r##3 += x * b3;                                                                         \
    }
#define WIDE_STORE(r, ...)                                                                         \
    store(c + (r)*ldc, s##r##0);                                                                   \
    store(c + (r)*ldc + RB_LANES, s##r##1);                                                        \
    store(c + (r)*ldc + 2 * RB_LANES, s##r##2);                                                    \
    store(c + (r)*ldc + 3 * RB_LANES, s##r##3);
#else
enum { TILE_VECTORS = 2 };
#define WIDE_BEGIN(r, ...) vf s##r##0 = all(0), s##r##1 = all(0);
#define WIDE_ROW(b) vf b0 = load(b), b1 = load((b) + RB_LANES);
#define WIDE_ADD(r, ...)                                                                           \
    {                                                                                              \
        vf x = all(a[(r)*lda + t]);                                                                \
        s##r##0 += x * b0;                                                                         \
        s##r##1 += x * b1;                                                                         \
    }
#define WIDE_STORE(r, ...)                                                                         \
    store(c + (r)*ldc, s##r##0);                                                                   \
    store(c + (r)*ldc + RB_LANES, s##r##1);
#endif
#define NARROW_BEGIN(r, ...) vf s##r = all(0);
#define NARROW_ADD(r, ...) s##r += all(a[(r)*lda + t]) * b0;
#define NARROW_STORE(r, width)                                                                     \
    if ((width) == RB_LANES)                                                                       \
        store(c + (r)*ldc, s##r);                                                                  \
    else                                                                                           \
        store_part(c + (r)*ldc, s##r, width);

/* One row, or all six, of a tile; `width` <= RB_LANES columns where it is narrow. */
#define DEFINE_TILES(rows, FOR_ROWS)                                                               \
    static void wide_tile_##rows(const float *restrict a, size_t lda, const float *restrict b,     \
                                 size_t ldb, size_t k, float *restrict c, size_t ldc)              \
    {                                                                                              \
        FOR_ROWS(WIDE_BEGIN, )                                                                     \
        for (size_t t = 0; t < k; t++, b += ldb) {                                                 \
            WIDE_ROW(b)                                                                            \
            FOR_ROWS(WIDE_ADD, )                                                                   \
        }                                                                                          \
        FOR_ROWS(WIDE_STORE, )                                                                     \
        (void)lda;                                                                                 \
        (void)ldc;                                                                                 \
    }                                                                                              \
    static void narrow_tile_##rows(const float *restrict a, size_t lda, const float *restrict b,   \
                                   size_t ldb, size_t k, float *restrict c, size_t ldc,            \
                                   size_t width)                                                   \
    {                                                                                              \
        FOR_ROWS(NARROW_BEGIN, )                                                                   \
        for (size_t t = 0; t < k; t++, b += ldb) {                                                 \
            vf b0 = width == RB_LANES ? load(b) : load_part(b, width, 0);                          \
            FOR_ROWS(NARROW_ADD, )                                                                 \
        }                                                                                          \
        FOR_ROWS(NARROW_STORE, width)                                                              \
        (void)lda;                                                                                 \
        (void)ldc;                                                                                 \
    }

#define FOR_ONE(X, ...) X(0, __VA_ARGS__)
DEFINE_TILES(1, FOR_ONE)
DEFINE_TILES(6, FOR_SIX)

static void multiply(const float *a, size_t lda, const float *b, size_t ldb, size_t m, size_t n,
                     size_t k, float *c, size_t ldc)
{
    for (size_t i = 0, rows; i < m; i += rows, a += rows * lda, c += rows * ldc) {
        size_t j = 0;
        rows = m - i >= 6 ? 6 : 1;
        for (; j + TILE_VECTORS * RB_LANES <= n; j += TILE_VECTORS * RB_LANES)
            (rows == 6 ? wide_tile_6 : wide_tile_1)(a, lda, b + j, ldb, k, c + j, ldc);
        for (; j < n; j += RB_LANES) {
            size_t width = n - j < RB_LANES ? n - j : RB_LANES;
            (rows == 6 ? narrow_tile_6 : narrow_tile_1)(a, lda, b + j, ldb, k, c + j, ldc, width);
        }
    }
}

/* ---- the way back (core/learn/backward.c) ---- */

static inline vf slope_of_gelu(vf x)
{
    return 0.5f + 0.5f * verf(x * 0.70710678118654752f) +
           x * 0.39894228040143268f * vexp(x * x * -0.5f);
}

/* gelu_new(x) = x s(u), s the logistic function, u = x (a + b x^2). */
static inline vf slope_of_gelu_new(vf x)
{
    vf z = x * x, u = x * (1.59576912160573071f + 0.07135481627159814f * z);
    vf s = vsigmoid(u);
    return s + x * s * (1.0f - s) * (1.59576912160573071f + 0.21406444881479442f * z);
}

static inline vf slope_of_silu(vf x)
{
    vf s = vsigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

static inline vf slope_of_relu(vf x)
{
    return pick(x > 0.0f, all(1), all(0));
}

static inline vf slope_of_tanh(vf x)
{
    vf t = vtanh(x);
    return 1.0f - t * t;
}

#define DEFINE_SLOPE(name, slope)                                                                  \
    static void name(float *d, const float *x, size_t n)                                           \
    {                                                                                              \
        size_t i = 0;                                                                              \
        FOR_VECTORS (i, n)                                                                         \
            store(d + i, load(d + i) * slope(load(x + i)));                                        \
        if (i < n)                                                                                 \
            store_part(d + i, load_part(d + i, n - i, 0) * slope(load_part(x + i, n - i, 0)),      \
                       n - i);                                                                     \
    }

DEFINE_SLOPE(slope_gelu, slope_of_gelu)
DEFINE_SLOPE(slope_gelu_new, slope_of_gelu_new)
DEFINE_SLOPE(slope_silu, slope_of_silu)
DEFINE_SLOPE(slope_relu, slope_of_relu)
DEFINE_SLOPE(slope_tanh, slope_of_tanh)

static void softmax_back(float *d, const float *p, size_t n, float scale)
{
    vf sum = all(0);
    size_t i = 0;
    FOR_VECTORS (i, n)
        sum += load(d + i) * load(p + i);
    if (i < n)
        sum += load_part(d + i, n - i, 0) * load_part(p + i, n - i, 0);
    float dot = sum_lanes(sum);
    i = 0;
    FOR_VECTORS (i, n)
        store(d + i, scale * load(p + i) * (load(d + i) - dot));
    for (; i < n; i++)
        d[i] = scale * p[i] * (d[i] - dot);
}

/* One row; centred: LayerNorm, else RMSNorm. */
static inline void norm_back_row(float *dx, const float *x, const float *dy, const float *weight,
                                 float eps, size_t n, bool centred, double *dweight, double *dshift)
{
    vf sum = all(0), square = all(0), pull = all(0), along = all(0);
    float inverse_n = 1.0f / (float)n;
    for (size_t i = 0; centred && i < n; i += RB_LANES)
        sum += n - i >= RB_LANES ? load(x + i) : load_part(x + i, n - i, 0);
    float mean = sum_lanes(sum) * inverse_n;
    for (size_t i = 0; i < n; i += RB_LANES) {
        bool whole = n - i >= RB_LANES;
        vf v = (whole ? load(x + i) : load_part(x + i, n - i, mean)) - mean;
        vf g = whole ? load(dy + i) * load(weight + i)
                     : load_part(dy + i, n - i, 0) * load_part(weight + i, n - i, 0);
        square += v * v;
        pull += g;
        along += g * v;
    }
    float inverse = 1.0f / __builtin_sqrtf(sum_lanes(square) * inverse_n + eps);
    float shift = centred ? sum_lanes(pull) * inverse_n : 0;
    float slope = sum_lanes(along) * inverse_n * inverse * inverse;
    for (size_t i = 0; i < n && dweight != NULL; i++)
        dweight[i] += (double)(dy[i] * ((x[i] - mean) * inverse));
    for (size_t i = 0; i < n && dshift != NULL; i++)
        dshift[i] += (double)dy[i];
    for (size_t i = 0; i < n; i += RB_LANES) {
        if (n - i >= RB_LANES)
            store(dx + i, inverse * (load(dy + i) * load(weight + i) - shift -
                                     (load(x + i) - mean) * slope));
        else
            store_part(dx + i,
                       inverse * (load_part(dy + i, n - i, 0) * load_part(weight + i, n - i, 0) -
                                  shift - (load_part(x + i, n - i, 0) - mean) * slope),
                       n - i);
    }
}

static void layer_norm_back(float *dx, const float *x, const float *dy, const float *weight,
                            float eps, size_t rows, size_t n, double *dweight, double *dshift)
{
    for (size_t r = 0; r < rows; r++)
        norm_back_row(dx + r * n, x + r * n, dy + r * n, weight, eps, n, true, dweight, dshift);
}

static void rms_norm_back(float *dx, const float *x, const float *dy, const float *weight,
                          float eps, size_t rows, size_t n, double *dweight, double *dshift)
{
    for (size_t r = 0; r < rows; r++)
        norm_back_row(dx + r * n, x + r * n, dy + r * n, weight, eps, n, false, dweight, dshift);
}

/* ---- F64: half as many lanes ---- */

enum { WIDE = RB_LANES / 2 };

typedef double vd __attribute__((vector_size(WIDE * 8)));
typedef double vd_mem __attribute__((vector_size(WIDE * 8), aligned(8), may_alias));
typedef float vh_mem __attribute__((vector_size(WIDE * 4), aligned(4), may_alias));

static inline vd widen(const float *p)
{
    return __builtin_convertvector(*(const vh_mem *)p, vd);
}

/* Some rows at a time: sums stay in registers meanwhile, and the order of additions is the same. */
enum { SUM_ROWS = 8 };

static void add_sums(const float *x, size_t rows, size_t n, size_t stride, double *sum,
                     double *square)
{
    for (size_t some; rows > 0; rows -= some, x += some * stride) {
        size_t j = 0;
        some = rows < SUM_ROWS ? rows : SUM_ROWS;
        for (; j + WIDE <= n; j += WIDE) {
            vd s = *(vd_mem *)(sum + j), q = *(vd_mem *)(square + j);
            for (size_t r = 0; r < some; r++) {
                vd v = widen(x + r * stride + j);
                s += v;
                q += v * v;
            }
            *(vd_mem *)(sum + j) = s;
            *(vd_mem *)(square + j) = q;
        }
        for (; j < n; j++)
            for (size_t r = 0; r < some; r++) {
                double v = (double)x[r * stride + j];
                sum[j] += v;
                square[j] += v * v;
            }
    }
}

static void fold(double *sum, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        *(vd_mem *)(sum + i) += widen(x + i);
    for (; i < n; i++)
        sum[i] += (double)x[i];
}

static size_t below(const float *similarity, const double *v, double base, double limit, size_t n,
                    uint32_t *ret_columns)
{
    typedef int8_t vb __attribute__((vector_size(WIDE)));
    size_t count = 0, j = 0;
    for (; j + WIDE <= n; j += WIDE) {
        vd cost = base + (-widen(similarity + j) - *(const vd_mem *)(v + j));
        vb hit = __builtin_convertvector(cost < limit, vb);
        uint64_t hits = 0; /* a byte per column: few are hit, so the loop below is rare */
        memcpy(&hits, &hit, sizeof hit);
        for (; hits != 0; hits &= ~(UINT64_C(0xff) << (__builtin_ctzll(hits) & ~7)))
            ret_columns[count++] = (uint32_t)(j + (size_t)__builtin_ctzll(hits) / 8);
    }
    for (; j < n; j++)
        if (base + (-(double)similarity[j] - v[j]) < limit)
            ret_columns[count++] = (uint32_t)j;
    return count;
}

const struct rb_kernels RB_KERNELS_SYMBOL = {
    .name = RB_KERNELS_NAME,
    .add_bias = add_bias,
    .bias_gelu = bias_gelu,
    .bias_gelu_new = bias_gelu_new,
    .bias_silu = bias_silu,
    .bias_relu = bias_relu,
    .bias_tanh = bias_tanh,
    .gated_gelu = gated_gelu,
    .gated_gelu_new = gated_gelu_new,
    .gated_silu = gated_silu,
    .gated_relu = gated_relu,
    .gated_tanh = gated_tanh,
    .softmax = softmax,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .rotate = rotate,
    .exp_sum = exp_sum,
    .max_sum_exp = max_sum_exp,
    .multiply = multiply,
    .add_residual = add_residual,
    .blend = blend,
    .subtract = subtract,
    .add_sums = add_sums,
    .fold = fold,
    .below = below,
    .slope_gelu = slope_gelu,
    .slope_gelu_new = slope_gelu_new,
    .slope_silu = slope_silu,
    .slope_relu = slope_relu,
    .slope_tanh = slope_tanh,
    .softmax_back = softmax_back,
    .layer_norm_back = layer_norm_back,
    .rms_norm_back = rms_norm_back,
};
