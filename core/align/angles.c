#include "core/align/angles.h"
#include "core/align/polar.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

/* LAPACK (Fortran: column-major, everything by reference). */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
                   double *w, double *work, const int *lwork, int *info);

struct rb_turns rb_turns_none(void)
{
    return (struct rb_turns){.mean = NAN, .most = NAN, .condition = 1};
}

/* The eigenvalues of symmetric a (n, n), which is overwritten, into w (n), ascending. */
static enum rb_status eigenvalues(double *a, size_t n, double *w, struct rb_error *err)
{
    int size = (int)n, work_size = 64 * size, info;
    double *work = malloc((size_t)work_size * sizeof *work);
    if (work == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the angles of %zu units", n);
    dsyev_("N", "U", &size, a, &size, w, work, &work_size, &info);
    free(work);
    return info == 0 ? RB_OK
                     : rb_error_set(err, RB_ENUMERIC, "the eigenvalues of a map were not found");
}

static void count(struct rb_turns *t, double degrees)
{
    double bin = floor(degrees * RB_ANGLE_BINS / 180);
    t->histogram[bin < RB_ANGLE_BINS ? (size_t)bin : RB_ANGLE_BINS - 1]++;
    t->mean = t->count == 0 ? degrees : t->mean + (degrees - t->mean) / (double)(t->count + 1);
    t->most = t->count == 0 || degrees > t->most ? degrees : t->most;
    t->count++;
}

/* a (n, n) <- m^T m; then the root of its largest and smallest eigenvalue's ratio. */
static enum rb_status condition_of(const double *m, size_t n, double *a, double *w, double *ret,
                                   struct rb_error *err)
{
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)n, (int)n, 1.0, m, (int)n, 0.0, a,
                (int)n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i];
    enum rb_status s = eigenvalues(a, n, w, err);
    if (s == RB_OK)
        *ret = w[0] > 0 ? sqrt(w[n - 1] / w[0]) : INFINITY;
    return s;
}

enum rb_status rb_turns_add(struct rb_turns *ret, const float *m, size_t n, struct rb_error *err)
{
    static const double DEGREES = 57.29577951308232;
    struct rb_turns t = *ret;
    double *q = calloc(2 * n * n + n, sizeof *q), *a = q + n * n, *w = a + n * n, condition = 1;
    if (q == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the angles of %zu units", n);
    for (size_t i = 0; i < n * n; i++)
        q[i] = (double)m[i];
    enum rb_status s = condition_of(q, n, a, w, &condition, err);
    if (s == RB_OK)
        s = rb_polar(q, n, q, err);
    for (size_t i = 0; s == RB_OK && i < n; i++)
        for (size_t j = 0; j < n; j++)
            a[i * n + j] = (q[i * n + j] + q[j * n + i]) / 2;
    if (s == RB_OK)
        s = eigenvalues(a, n, w, err);
    for (size_t i = 0; s == RB_OK && i < n; i++)
        count(&t, acos(fmax(-1, fmin(1, w[i]))) * DEGREES);
    t.condition = fmax(t.condition, condition);
    if (s == RB_OK)
        *ret = t;
    free(q);
    return s;
}
