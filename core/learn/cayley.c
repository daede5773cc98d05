#include "core/learn/cayley.h"
#include "core/align/procrustes.h"
#include "core/memory.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK, as OpenBLAS carries it (Fortran: column-major, everything by reference). */
extern void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivots, int *info);
extern void dgetrs_(const char *trans, const int *n, const int *nrhs, const double *a,
                    const int *lda, const int *pivots, double *b, const int *ldb, int *info);
extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda,
                    double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work,
                    const int *lwork, int *iwork, int *info);

enum rb_status rb_cayley_init(struct rb_cayley *ret, size_t n, const double *base, bool centred,
                              struct rb_error *err)
{
    struct rb_cayley c = {.n = n, .centred = centred};
    const size_t line = RB_ALIGNMENT / sizeof(double), one = (n * n + line - 1) / line * line;
    c.base = rb_malloc_aligned(4 * one, sizeof(double));
    c.pivots = calloc(n, sizeof *c.pivots);
    if (c.base == NULL || c.pivots == NULL) {
        rb_cayley_deinit(&c);
        return rb_error_set(err, RB_ENOMEM, "no memory to learn an orthogonal map of %zu units", n);
    }
    c.q = c.base + one;
    c.c = c.q + one;
    c.lu = c.c + one;
    memcpy(c.base, base, n * n * sizeof(double));
    *ret = c;
    return RB_OK;
}

void rb_cayley_deinit(struct rb_cayley *c)
{
    free(c->base);
    free(c->pivots);
    *c = (struct rb_cayley){0};
}

/* k = w - w^T, in place. */
static void skew(double *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w[i * n + i] = 0;
        for (size_t j = 0; j < i; j++) {
            double k = w[i * n + j] - w[j * n + i];
            w[i * n + j] = k;
            w[j * n + i] = -k;
        }
    }
}

enum rb_status rb_cayley_value(struct rb_cayley *c, const double *w, struct rb_error *err)
{
    size_t n = c->n, nn = n * n;
    int size = (int)n, info = 0;
    memcpy(c->c, w, nn * sizeof(double));
    if (c->centred)
        rb_procrustes_centre(c->c, n, 0);
    skew(c->c, n);
    for (size_t i = 0; i < nn; i++)
        if (!isfinite(c->c[i]))
            return rb_error_set(err, RB_ENUMERIC,
                                "an orthogonal map under learning became "
                                "infinite: lower align.learn.learning_rate");
    /* LAPACK reads a row-major matrix as its transpose: (I - K)^T = I + K. */
    for (size_t i = 0; i < nn; i++)
        c->lu[i] = -c->c[i];
    for (size_t i = 0; i < n; i++) {
        c->lu[i * n + i] += 1;
        c->c[i * n + i] += 1;
    }
    dgetrf_(&size, &size, c->lu, &size, c->pivots, &info);
    /* (I - K) and (I + K) commute, so C = (I + K)(I - K)^-1, whose transpose solves
     * (I - K)^T C^T = (I + K)^T: in row-major terms, the rows of C. */
    if (info == 0)
        dgetrs_("N", &size, &size, c->lu, &size, c->pivots, c->c, &size, &info);
    if (info != 0)
        return rb_error_set(err, RB_ENUMERIC,
                            "an orthogonal map under learning could not be "
                            "computed: lower align.learn.learning_rate");
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1, c->base, size, c->c,
                size, 0, c->q, size);
    return RB_OK;
}

/* C = (I - K)^-1 (I + K) gives dK = (I - K)^-T dC (C + I)^T, and K = W - W^T dW = dK - dK^T. */
void rb_cayley_gradient(const struct rb_cayley *c, double *dq, double *dw)
{
    size_t n = c->n, nn = n * n;
    int size = (int)n, info = 0;
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size, size, size, 1, c->base, size, dq,
                size, 0, dw, size); /* dC = Q0^T dQ */
    memcpy(dq, dw, nn * sizeof(double));
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size, size, size, 1, dw, size, c->c, size,
                1, dq, size); /* dC C^T + dC */
    /* X = (I - K)^-T Y; the transpose of a skew K is -K: (I + K) X = Y, X^T (I - K) = Y^T. LAPACK
     * sees the row-major Y as Y^T by columns, so it needs Y by columns: transpose, solve. */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            dw[j * n + i] = dq[i * n + j];
    dgetrs_("N", &size, &size, c->lu, &size, c->pivots, dw, &size, &info);
    for (size_t i = 0; i < n; i++) /* dw holds X by columns, that is X^T by rows */
        for (size_t j = 0; j <= i; j++) {
            double d = dw[j * n + i] - dw[i * n + j];
            dw[i * n + j] = d;
            dw[j * n + i] = -d;
        }
    if (c->centred)
        rb_procrustes_centre(dw, n, 0);
}

enum rb_status rb_cayley_project(const struct rb_cayley *c, double *ret, struct rb_error *err)
{
    size_t n = c->n, nn = n * n;
    int size = (int)n, info = 0, want = -1;
    double best = 0;
    dgesdd_("A", &size, &size, NULL, &size, NULL, NULL, &size, NULL, &size, &best, &want, NULL,
            &info);
    int work_size = (int)best;
    double *block = rb_malloc_aligned(3 * nn + n + (size_t)work_size, sizeof(double));
    int *iwork = calloc(8 * n, sizeof *iwork);
    if (block == NULL || iwork == NULL) {
        free(block);
        free(iwork);
        return rb_error_set(err, RB_ENOMEM, "no memory to project a map of %zu units", n);
    }
    double *a = block, *u = a + nn, *vt = u + nn, *s = vt + nn, *work = s + n;
    memcpy(a, c->q, nn * sizeof(double));
    dgesdd_("A", &size, &size, a, &size, s, u, &size, vt, &size, work, &work_size, iwork, &info);
    if (info ==
        0) /* by columns Q^T = U S V^T, and Q's polar factor by rows is (U V^T) by columns */
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1, u, size, vt,
                    size, 0, ret, size);
    free(block);
    free(iwork);
    return info == 0 ? RB_OK
                     : rb_error_set(err, RB_ENUMERIC, "the SVD of a learned map did not converge");
}
