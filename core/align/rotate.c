#include "core/align/rotate.h"
#include "core/align/similarity.h"

#include <math.h>

/* LAPACK's SVD, as OpenBLAS carries it (Fortran: column-major, everything by reference). */
extern void dgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a,
                    const int *lda, double *s, double *u, const int *ldu, double *vt,
                    const int *ldvt, double *work, const int *lwork, int *info);

enum rb_status rb_procrustes(const double *m, size_t n, float *ret, struct rb_scratch *scratch,
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
            ret[r * n + c] = (float)sum;
        }
    return RB_OK;
}

typedef double (*moment)(const struct rb_tap *t, size_t i, size_t j);

/* m (n, n) += block / |block|_F, block[r][s] = moment of A's unit first + s and of B's unit that
 * moves to first + r. */
static void add_block(const struct rb_tap *t, moment of, const uint32_t *index, size_t first,
                      size_t n, double *m, double *block)
{
    double square = 0;
    for (size_t r = 0; r < n; r++)
        for (size_t s = 0; s < n; s++) {
            double v = of(t, first + s, index[first + r]);
            block[r * n + s] = v;
            square += v * v;
        }
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (size_t i = 0; i < n * n; i++)
        m[i] += block[i] * scale;
}

static enum rb_status rotate(const struct rb_tap *const *taps, const moment *of, size_t count,
                             const uint32_t *index, size_t heads, float *ret,
                             struct rb_scratch *scratch, struct rb_error *err)
{
    size_t n = taps[0]->size / heads;
    double *m = rb_scratch_alloc(scratch, n * n, sizeof(double));
    double *block = rb_scratch_alloc(scratch, n * n, sizeof(double));
    if (m == NULL || block == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head of %zu units", n);
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < n * n; i++)
            m[i] = 0;
        for (size_t t = 0; t < count; t++)
            add_block(taps[t], of[t], index, h * n, n, m, block);
        enum rb_status s = rb_procrustes(m, n, ret + h * n * n, scratch, err);
        if (s != RB_OK)
            return s;
    }
    return RB_OK;
}

enum rb_status rb_rotate_keys(const struct rb_tap *q, const struct rb_tap *k, const uint32_t *index,
                              size_t heads, float *ret, struct rb_scratch *scratch,
                              struct rb_error *err)
{
    const struct rb_tap *taps[] = {q, k};
    const moment of[] = {rb_tap_dot, rb_tap_covariance};
    return rotate(taps, of, 2, index, heads, ret, scratch, err);
}

enum rb_status rb_rotate_values(const struct rb_tap *mha, const uint32_t *index, size_t heads,
                                float *ret, struct rb_scratch *scratch, struct rb_error *err)
{
    const moment of[] = {rb_tap_covariance};
    return rotate(&mha, of, 1, index, heads, ret, scratch, err);
}
