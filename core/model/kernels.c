#include "core/model/kernels.h"
#include "core/model/kernels_sets.h"

#include <math.h>

const struct rb_kernels *const *rb_kernels_all(void)
{
#if defined(__x86_64__)
    static const struct rb_kernels *const all[] = {&rb_kernels_avx512, &rb_kernels_avx2,
                                                   &rb_kernels_plain, NULL};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        return all;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? all + 1 : all + 2;
#else
    static const struct rb_kernels *const all[] = {&rb_kernels_plain, NULL};
    return all;
#endif
}

const struct rb_kernels *rb_kernels(void)
{
    return rb_kernels_all()[0];
}

double rb_ref_gelu(double x)
{
    return 0.5 * x * (1 + erf(x * M_SQRT1_2));
}

double rb_ref_gelu_new(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
}

double rb_ref_silu(double x)
{
    return x / (1 + exp(-x));
}

double rb_ref_relu(double x)
{
    return x < 0 ? 0 : x;
}

void rb_ref_softmax(const float *x, double *y, size_t n, double scale)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, scale * (double)x[i]);
    for (size_t i = 0; i < n; i++)
        sum += y[i] = exp(scale * (double)x[i] - top);
    for (size_t i = 0; i < n; i++)
        y[i] /= sum;
}

void rb_ref_layer_norm(const double *x, const float *weight, const float *shift, double eps,
                       double *y, size_t n)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(variance + eps) * (double)weight[i] + (double)shift[i];
}

void rb_ref_rms_norm(const float *x, const float *weight, double eps, double *y, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)x[i] * (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i] / sqrt(square + eps) * (double)weight[i];
}

double rb_ref_multiply(const float *a, size_t lda, const float *b, size_t ldb, size_t i, size_t j,
                       size_t k, double *ret_size)
{
    double sum = 0, size = 0;
    for (size_t t = 0; t < k; t++) {
        double product = (double)a[i * lda + t] * (double)b[t * ldb + j];
        sum += product;
        size += fabs(product);
    }
    *ret_size = size;
    return sum;
}
