#include "core/align/polar.h"
#include "core/memory.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK (Fortran: column-major, everything by reference; lengths of texts come last). */
extern void dlabrd_(const int *m, const int *n, const int *nb, double *a, const int *lda, double *d,
                    double *e, double *tauq, double *taup, double *x, const int *ldx, double *y,
                    const int *ldy);
extern void dgebd2_(const int *m, const int *n, double *a, const int *lda, double *d, double *e,
                    double *tauq, double *taup, double *work, int *info);
extern void dbdsdc_(const char *uplo, const char *compq, const int *n, double *d, double *e,
                    double *u, const int *ldu, double *vt, const int *ldvt, double *q, int *iq,
                    double *work, int *iwork, int *info, size_t uplo_length, size_t compq_length);
extern void dormbr_(const char *vect, const char *side, const char *trans, const int *m,
                    const int *n, const int *k, const double *a, const int *lda, const double *tau,
                    double *c, const int *ldc, double *work, const int *lwork, int *info,
                    size_t vect_length, size_t side_length, size_t trans_length);

enum { PANEL = 32, SMALL = 128, LAST_STEPS = 4 };

struct rb_polar {
    size_t n, step;
    double *a;           /* (n, n) M^T by columns, then the reflections */
    double *o;           /* (n, n) the result, from LAST_STEPS on */
    double *d, *e;       /* (n) the bidiagonal form */
    double *tauq, *taup; /* (n) */
    double *u, *vt;      /* (n, n) of the bidiagonal form, while they are needed */
};

/* Panels that dlabrd takes; what is left is small and goes in one. */
static size_t panels(size_t n)
{
    return n > SMALL ? (n - SMALL + PANEL - 1) / PANEL : 0;
}

size_t rb_polar_steps(size_t n)
{
    return panels(n) + LAST_STEPS + 1;
}

/* Half of a panel's work are products of a matrix and a vector, which memory holds up: measured,
 * they take some eight times as long. */
double rb_polar_step_cost(size_t n, size_t step)
{
    double all = (double)n, before = (double)panels(n);
    if ((double)step < before) {
        double left = all - (double)step * PANEL;
        return PANEL * left * left * (4 + 4 * 8);
    }
    switch (step - panels(n)) {
    case 0: /* the rest of the bidiagonal form */
        return 8.0 * SMALL * SMALL * SMALL;
    case 1:
        return 6 * all * all * all;
    default:
        return 2 * all * all * all;
    }
}

double rb_polar_cost(double n)
{
    double sum = 0;
    for (size_t k = 0; k < rb_polar_steps((size_t)n); k++)
        sum += rb_polar_step_cost((size_t)n, k);
    return sum;
}

uint64_t rb_polar_bytes(uint64_t n)
{
    return (7 * n * n + 100 * n) * sizeof(double); /* a, o, u, vt and dbdsdc's 3 n^2 */
}

void rb_polar_free(struct rb_polar *p)
{
    if (p == NULL)
        return;
    free(p->a);
    free(p->o);
    free(p->d);
    free(p->u);
    free(p->vt);
    free(p);
}

static enum rb_status no_memory(size_t n, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "no memory for the SVD of %zu x %zu numbers", n, n);
}

enum rb_status rb_polar_new(const double *m, size_t n, struct rb_polar **ret, struct rb_error *err)
{
    struct rb_polar *p = calloc(1, sizeof *p);
    if (p == NULL)
        return no_memory(n, err);
    p->n = n;
    p->a = rb_malloc_aligned(n * n, sizeof(double));
    p->d = rb_calloc_aligned(4 * n, sizeof(double));
    if (p->a == NULL || p->d == NULL) {
        rb_polar_free(p);
        return no_memory(n, err);
    }
    p->e = p->d + n;
    p->tauq = p->e + n;
    p->taup = p->tauq + n;
    memcpy(p->a, m, n * n * sizeof *m); /* its rows are LAPACK's columns */
    *ret = p;
    return RB_OK;
}

/* ---- steps ---- */

/* PANEL columns and rows of the bidiagonal form, and what they change of the rest. */
static enum rb_status panel(struct rb_polar *p, struct rb_error *err)
{
    size_t n = p->n, i = p->step * PANEL, left = n - i, rest = left - PANEL;
    int size = (int)n, rows = (int)left, nb = PANEL, after = (int)rest;
    double *a = p->a + i + i * n, *next = a + PANEL + PANEL * n;
    double *x = rb_calloc_aligned(2 * left * PANEL, sizeof *x), *y = x + left * PANEL;
    if (x == NULL)
        return no_memory(n, err);
    dlabrd_(&rows, &rows, &nb, a, &size, p->d + i, p->e + i, p->tauq + i, p->taup + i, x, &rows, y,
            &rows);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, after, after, nb, -1.0, a + PANEL, size,
                y + PANEL, rows, 1.0, next, size);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, after, after, nb, -1.0, x + PANEL, rows,
                a + PANEL * n, size, 1.0, next, size);
    for (size_t j = 0; j < PANEL; j++) { /* where dlabrd has left ones */
        a[j + j * n] = p->d[i + j];
        a[j + (j + 1) * n] = p->e[i + j];
    }
    free(x);
    return RB_OK;
}

static enum rb_status last_panel(struct rb_polar *p, struct rb_error *err)
{
    size_t n = p->n, i = panels(n) * PANEL;
    int size = (int)n, rows = (int)(n - i), info = 0;
    double *work = rb_malloc_aligned(n - i, sizeof *work);
    if (work == NULL)
        return no_memory(n, err);
    dgebd2_(&rows, &rows, p->a + i + i * n, &size, p->d + i, p->e + i, p->tauq + i, p->taup + i,
            work, &info);
    free(work);
    for (size_t k = 0; k < n; k++)
        if (!isfinite(p->d[k]) || !isfinite(p->e[k]))
            return rb_error_set(err, RB_ENUMERIC,
                                "the stream's correlations hold something that is no number");
    return RB_OK;
}

static enum rb_status take_apart(struct rb_polar *p, struct rb_error *err)
{
    size_t n = p->n;
    int size = (int)n, info = 0, unused = 0;
    double none = 0;
    p->u = rb_malloc_aligned(n * n, sizeof *p->u);
    p->vt = rb_malloc_aligned(n * n, sizeof *p->vt);
    double *work = rb_malloc_aligned(3 * n * n + 4 * n, sizeof *work);
    int *iwork = rb_malloc_aligned(8 * n, sizeof *iwork);
    if (p->u != NULL && p->vt != NULL && work != NULL && iwork != NULL)
        dbdsdc_("U", "I", &size, p->d, p->e, p->u, &size, p->vt, &size, &none, &unused, work, iwork,
                &info, 1, 1);
    else
        info = INT32_MIN;
    free(work);
    free(iwork);
    if (info == INT32_MIN)
        return no_memory(n, err);
    return info == 0 ? RB_OK
                     : rb_error_set(err, RB_ENUMERIC,
                                    "the SVD of the stream's correlations did not converge");
}

static enum rb_status multiply(struct rb_polar *p, struct rb_error *err)
{
    int size = (int)p->n;
    p->o = rb_malloc_aligned(p->n * p->n, sizeof *p->o);
    if (p->o == NULL)
        return no_memory(p->n, err);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1.0, p->u, size, p->vt,
                size, 0.0, p->o, size);
    free(p->u);
    free(p->vt);
    p->u = p->vt = NULL;
    return RB_OK;
}

/* Q from the left, or P^T from the right. By columns that is the polar factor of M^T, by rows of
 * M. */
static enum rb_status reflect(struct rb_polar *p, bool left, struct rb_error *err)
{
    int size = (int)p->n, info = 0, room = 64 * size + 4160;
    double *work = rb_malloc_aligned((size_t)room, sizeof *work);
    if (work == NULL)
        return no_memory(p->n, err);
    dormbr_(left ? "Q" : "P", left ? "L" : "R", left ? "N" : "T", &size, &size, &size, p->a, &size,
            left ? p->tauq : p->taup, p->o, &size, work, &room, &info, 1, 1, 1);
    free(work);
    return RB_OK;
}

enum rb_status rb_polar_step(struct rb_polar *p, struct rb_error *err)
{
    size_t before = panels(p->n), step = p->step;
    enum rb_status s;
    if (step < before)
        s = panel(p, err);
    else if (step == before)
        s = last_panel(p, err);
    else if (step == before + 1)
        s = take_apart(p, err);
    else if (step == before + 2)
        s = multiply(p, err);
    else
        s = reflect(p, step == before + 3, err);
    p->step++;
    return s;
}

const double *rb_polar_result(const struct rb_polar *p)
{
    return p->o;
}

enum rb_status rb_polar(const double *m, size_t n, double *ret, struct rb_error *err)
{
    struct rb_polar *p;
    enum rb_status s = rb_polar_new(m, n, &p, err);
    if (s != RB_OK)
        return s;
    for (size_t k = 0; k < rb_polar_steps(n) && s == RB_OK; k++)
        s = rb_polar_step(p, err);
    if (s == RB_OK)
        memcpy(ret, rb_polar_result(p), n * n * sizeof *ret);
    rb_polar_free(p);
    return s;
}
