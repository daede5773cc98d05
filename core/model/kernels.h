/* core/model/kernels.h: the element-wise parts of the forward pass, vectorised.
 *
 * DESIGN. One source, kernels_body.h, is compiled once per instruction set with the width of that
 * set's registers; rb_kernels() picks the best that the CPU has. Each kernel stands beside an
 * obvious reference in F64 (rb_ref_…) and is tested against it for every set the CPU can run.
 * Stated bounds, as absolute errors unless said otherwise:
 *   gelu           5e-7 * max(1, |x|)            (erf as a rational function, |error| < 3.5e-7)
 *   gelu_new       5e-7 * max(1, |x|)            (tanh form, as x * sigmoid(2 u))
 *   silu           5e-7 * max(1, |x|), below 0 absolute
 *   relu           exact after the addition of the bias
 *   tanh           4e-7
 *   gated          the activation's bound times |up|, and 2e-7 relative
 *   softmax        2e-6 relative to the largest entry of a row
 *   layer_norm     2e-6 * max(1, |weight| * |normalised| + |bias|), rows up to 2^14 wide,
 *                  whatever their mean, entries below 1e16 in size
 *   rms_norm       2e-6 * |weight * normalised|, entries below 1e16 in size
 *   rotate         2e-7 * (|x[i]| + |x[i + half]|)
 *   exp_sum        2e-6 relative to 1 (an entry) and to the sum
 *   max_sum_exp    2e-6 relative
 *   multiply       k * 6e-8 * sum |a b|
 *   slope_…        2e-6 * |d|
 *   softmax_back   3e-6 * scale * max |d|, relative to p
 *   …_norm_back    3e-6 * max |dy weight| / the norm's root, and 2e-6 relative for sums of rows
 * A NaN in a row shows in that row's results. Buffers need no alignment. A kernel gives the same
 * bits for a row whatever the rows around it.
 */
#ifndef RB_CORE_MODEL_KERNELS_H
#define RB_CORE_MODEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef void (*rb_gated_fn)(float *y, const float *gate, const float *gate_bias, const float *up,
                            const float *up_bias, size_t rows, size_t n);
typedef void (*rb_slope_fn)(float *d, const float *x, size_t n);
typedef void (*rb_norm_back_fn)(float *dx, const float *x, const float *dy, const float *weight,
                                float eps, size_t rows, size_t n, double *dweight, double *dshift);

struct rb_kernels {
    const char *name; /* "avx512", "avx2", "plain" */

    /* x: (rows, n) += bias (n). Here and below a bias that is NULL counts as zeros. */
    void (*add_bias)(float *x, const float *bias, size_t rows, size_t n);

    /* x = gelu(x + bias), erf form: 0.5 x (1 + erf(x / sqrt 2)). x: (rows, n). */
    void (*bias_gelu)(float *x, const float *bias, size_t rows, size_t n);

    /* x = f(x + bias). gelu_new: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); silu:
     * x / (1 + exp(-x)). */
    void (*bias_gelu_new)(float *x, const float *bias, size_t rows, size_t n);
    void (*bias_silu)(float *x, const float *bias, size_t rows, size_t n);
    void (*bias_relu)(float *x, const float *bias, size_t rows, size_t n);
    void (*bias_tanh)(float *x, const float *bias, size_t rows, size_t n);

    /* y = f(gate + gate_bias) * (up + up_bias), all (rows, n); y may be gate or up. */
    rb_gated_fn gated_gelu, gated_gelu_new, gated_silu, gated_relu, gated_tanh;

    /* Each row of x, (rows, n) with `stride` floats from row to row: softmax(scale * x). */
    void (*softmax)(float *x, size_t rows, size_t n, size_t stride, float scale);

    /* y = layer_norm(x + bias + skip) * weight + shift, per row of (rows, n); bias and skip may be
     * NULL; y may be x or skip. Population variance, eps inside the root. */
    void (*layer_norm)(float *y, const float *x, const float *bias, const float *skip,
                       const float *weight, const float *shift, float eps, size_t rows, size_t n);

    /* y = x / sqrt(mean of squares + eps) * weight, per row of (rows, n); y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *weight, float eps, size_t rows,
                     size_t n);

    /* One row of 2 half entries turned by half angles: entry i with i + half (METHOD 9).
     * y[i] = x[i] cos_i - x[i + half] sin_i, y[i + half] = x[i + half] cos_i + x[i] sin_i;
     * y may be x. */
    void (*rotate)(float *y, const float *x, const float *cosine, const float *sine, size_t half);

    /* x[i] = exp(scale * (x[i] - max x)) over n >= 1 entries, scale > 0; returns their sum. */
    float (*exp_sum)(float *x, size_t n, float scale);

    /* max of x + bias over n, and sum of exp(x + bias - max). */
    void (*max_sum_exp)(const float *x, const float *bias, size_t n, float *ret_max,
                        float *ret_sum);

    /* c (m, n) = a (m, k) b (k, n), with lda, ldb and ldc floats from row to row; c overlaps
     * neither. For matrices that lie in the cache: attention's, which BLAS packs longer than it
     * multiplies. */
    void (*multiply)(const float *a, size_t lda, const float *b, size_t ldb, size_t m, size_t n,
                     size_t k, float *c, size_t ldc);

    /* x += y + bias, all (rows, n). */
    void (*add_residual)(float *x, const float *y, const float *bias, size_t rows, size_t n);

    /* y = wa * x + wb * z; y may be x or z. */
    void (*blend)(float *y, const float *x, float wa, const float *z, float wb, size_t n);

    /* x: (rows, n) -= pivot (n). */
    void (*subtract)(float *x, const float *pivot, size_t rows, size_t n);

    /* sum[j] += x[j] and square[j] += x[j]^2, in F64, for each row: `rows` rows of n columns, with
     * `stride` floats from row to row. */
    void (*add_sums)(const float *x, size_t rows, size_t n, size_t stride, double *sum,
                     double *square);

    /* sum[i] += x[i], F32 into F64. */
    void (*fold)(double *sum, const float *x, size_t n);

    /* One row of an assignment problem (core/align/assignment.c), in F64, exact: the columns j < n
     * with base + (-similarity[j] - v[j]) < limit, ascending, into ret_columns (n); how many. */
    size_t (*below)(const float *similarity, const double *v, double base, double limit, size_t n,
                    uint32_t *ret_columns);

    /* ---- the way back, for core/learn ---- */

    /* d[i] *= f'(x[i]), x what went into f. */
    rb_slope_fn slope_gelu, slope_gelu_new, slope_silu, slope_relu, slope_tanh;

    /* d = scale * p * (d - sum d p): the gradient of a softmax over n entries, p its results. */
    void (*softmax_back)(float *d, const float *p, size_t n, float scale);

    /* dx = the gradient of y = norm(x) * weight + shift in x, from dy; all (rows, n); dx may be dy.
     * dweight (n) += dy * normalised x and dshift (n) += dy, each unless NULL. */
    rb_norm_back_fn layer_norm_back, rms_norm_back;
};

const struct rb_kernels *rb_kernels(void);
/* Every set this CPU can run, NULL-terminated; for tests and benchmarks. */
const struct rb_kernels *const *rb_kernels_all(void);

/* References: the formula, in F64. */
double rb_ref_gelu(double x);
double rb_ref_gelu_new(double x);
double rb_ref_silu(double x);
double rb_ref_relu(double x);
void rb_ref_softmax(const float *x, double *y, size_t n, double scale);
void rb_ref_layer_norm(const double *x, const float *weight, const float *shift, double eps,
                       double *y, size_t n);
void rb_ref_rms_norm(const float *x, const float *weight, double eps, double *y, size_t n);
/* Row i, column j of a b; *ret_size: the same of their absolute values, by which the bound goes. */
double rb_ref_multiply(const float *a, size_t lda, const float *b, size_t ldb, size_t i, size_t j,
                       size_t k, double *ret_size);

#endif
