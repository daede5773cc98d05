#include "core/align/procrustes.h"

#include <math.h>

/* LAPACK (Fortran: column-major, everything by reference). */
extern void dgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a,
                    const int *lda, double *s, double *u, const int *ldu, double *vt,
                    const int *ldvt, double *work, const int *lwork, int *info);

enum rb_status rb_procrustes(const double *m, size_t n, double *ret, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    size_t nn = n * n;
    int size = (int)n, work_size = 64 * size + 5 * size, info;
    double *a = rb_scratch_alloc(scratch, nn, sizeof(double));
    double *u = rb_scratch_alloc(scratch, nn, sizeof(double));
    double *vt = rb_scratch_alloc(scratch, nn, sizeof(double));
    double *s = rb_scratch_alloc(scratch, n, sizeof(double));
    double *work = rb_scratch_alloc(scratch, (size_t)work_size, sizeof(double));
    if (a == NULL || u == NULL || vt == NULL || s == NULL || work == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head of %zu units", n);
    for (size_t i = 0; i < nn; i++)
        a[i] = m[i];
    /* Fortran sees M^T = W S U^T: its "u" holds W and its "vt" holds U^T, both by columns. */
    dgesvd_("A", "A", &size, &size, a, &size, s, u, &size, vt, &size, work, &work_size, &info);
    if (info != 0)
        return rb_error_set(err, RB_ENUMERIC, "the SVD of a head's correlations did not converge");
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += vt[k + r * n] * u[c + k * n];
            ret[r * n + c] = sum;
        }
    return RB_OK;
}

/* ---- with rotary positions ---- */

enum rb_status rb_procrustes_rotary(const double *m, size_t n, size_t dims, double *ret,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    size_t half = dims / 2, rest = n - dims;
    for (size_t i = 0; i < n * n; i++)
        ret[i] = 0;
    for (size_t i = 0; i < half; i++) {
        size_t k = i + half;
        double angle = atan2(m[i * n + k] - m[k * n + i], m[i * n + i] + m[k * n + k]);
        ret[i * n + i] = ret[k * n + k] = cos(angle);
        ret[i * n + k] = sin(angle);
        ret[k * n + i] = -sin(angle);
    }
    if (rest == 0)
        return RB_OK;
    double *block = rb_scratch_alloc(scratch, rest * rest, sizeof *block);
    double *turn = rb_scratch_alloc(scratch, rest * rest, sizeof *turn);
    if (block == NULL || turn == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head of %zu units", n);
    for (size_t i = 0; i < rest; i++)
        for (size_t j = 0; j < rest; j++)
            block[i * rest + j] = m[(dims + i) * n + dims + j];
    enum rb_status s = rb_procrustes(block, rest, turn, scratch, err);
    for (size_t i = 0; s == RB_OK && i < rest; i++)
        for (size_t j = 0; j < rest; j++)
            ret[(dims + i) * n + dims + j] = turn[i * rest + j];
    return s;
}

/* ---- LayerNorm ---- */

void rb_procrustes_centre(double *m, size_t n, double add)
{
    for (size_t i = 0; i < n; i++) {
        double mean = 0;
        for (size_t j = 0; j < n; j++)
            mean += m[i * n + j] / (double)n;
        for (size_t j = 0; j < n; j++)
            m[i * n + j] -= mean;
    }
    for (size_t j = 0; j < n; j++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++)
            mean += m[i * n + j] / (double)n;
        for (size_t i = 0; i < n; i++)
            m[i * n + j] += add - mean;
    }
}

void rb_procrustes_keep_ones(double *m, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n * n; i++)
        square += m[i] * m[i];
    rb_procrustes_centre(m, n, sqrt(square) / (double)n);
}

double rb_orthogonality(const float *r, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++)
                sum += (double)r[k * n + i] * (double)r[k * n + j];
            worst = fabs(sum) > worst ? fabs(sum) : worst;
        }
    return worst;
}
