#include "core/learn/learned.h"
#include "core/memory.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK (Fortran: column-major, everything by reference). */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
                   double *w, double *work, const int *lwork, int *info);

static const double CAP = 2.302585092994046; /* ln 10: a condition number below 100 */

static double log_stretch(double x)
{
    return CAP * tanh(x / CAP);
}

static double slope(double x) /* of log_stretch */
{
    double t = tanh(x / CAP);
    return 1 - t * t;
}

static size_t rest_of(const struct rb_learned *l)
{
    return l->n - 2 * l->planes;
}

static enum rb_status no_memory(size_t n, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "no memory to learn a map of %zu units", n);
}

static enum rb_status alloc_stretch(struct rb_learned *l, struct rb_error *err)
{
    size_t n = l->n, rest = rest_of(l), rr = rest * rest;
    l->parameters *= 2;
    l->dual = rb_calloc_aligned(n * n, sizeof(double));
    l->vectors = rb_calloc_aligned(3 * rr + 2 * rest + 1, sizeof(double));
    if (l->dual == NULL || l->vectors == NULL)
        return no_memory(n, err);
    l->stretch = l->vectors + rr;
    l->shrink = l->stretch + rr;
    l->roots = l->shrink + rr; /* (2 rest): eigenvalues, and f of them */
    return RB_OK;
}

enum rb_status rb_learned_init(struct rb_learned *ret, size_t n, size_t planes, const double *base,
                               bool centred, bool stretches, struct rb_error *err)
{
    struct rb_learned l = {.n = n, .planes = planes};
    size_t rest = rest_of(&l), from = 2 * planes;
    double *block = rb_malloc_aligned(rest * rest, sizeof(double));
    l.parameters = planes + rest * rest;
    l.angles = calloc(planes + 1, sizeof *l.angles);
    l.value = l.dual = rb_calloc_aligned(n * n, sizeof(double));
    enum rb_status s = RB_OK;
    if (block == NULL || l.angles == NULL || l.value == NULL)
        s = no_memory(n, err);
    if (s == RB_OK && stretches)
        s = alloc_stretch(&l, err);
    for (size_t i = 0; s == RB_OK && i < planes; i++)
        l.angles[i] = atan2(base[i * n + i + planes], base[i * n + i]);
    for (size_t i = 0; s == RB_OK && i < rest; i++)
        memcpy(block + i * rest, base + (from + i) * n + from, rest * sizeof(double));
    if (s == RB_OK && rest > 0)
        s = rb_cayley_init(&l.rest, rest, block, centred, err);
    free(block);
    if (s != RB_OK) {
        rb_learned_deinit(&l);
        return s;
    }
    *ret = l;
    return RB_OK;
}

void rb_learned_deinit(struct rb_learned *l)
{
    free(l->angles);
    if (l->dual != l->value)
        free(l->dual);
    free(l->value);
    free(l->vectors);
    rb_cayley_deinit(&l->rest);
    *l = (struct rb_learned){0};
}

/* The rest's matrix into its place in the whole. */
static void place(const struct rb_learned *l, const double *rest, double *whole)
{
    size_t n = l->n, m = rest_of(l), from = 2 * l->planes;
    for (size_t i = 0; i < m; i++)
        memcpy(whole + (from + i) * n + from, rest + i * m, m * sizeof(double));
}

static bool stretches(const struct rb_learned *l)
{
    return l->vectors != NULL;
}

/* Where the parameters of stretching begin: first W, (rest, rest), then the planes' w. */
static const double *stretch_of(const struct rb_learned *l, const double *x)
{
    return x + l->parameters / 2;
}

static void turn(const struct rb_learned *l, const double *x)
{
    size_t n = l->n, planes = l->planes, m = rest_of(l);
    for (size_t i = 0; i < planes; i++) {
        double by = stretches(l) ? exp(log_stretch(stretch_of(l, x)[m * m + i])) : 1;
        double *wholes[2] = {l->value, l->dual}, scales[2] = {by, 1 / by};
        for (int k = 0; k < (stretches(l) ? 2 : 1); k++) {
            double angle = l->angles[i] + x[i], *whole = wholes[k];
            double c = scales[k] * cos(angle), s = scales[k] * sin(angle);
            whole[i * n + i] = c;
            whole[i * n + i + planes] = s;
            whole[(i + planes) * n + i] = -s;
            whole[(i + planes) * n + i + planes] = c;
        }
    }
}

/* ret = V^T diag(d) V, V's rows being vectors. */
static void compose(const double *v, const double *d, size_t m, double *ret)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) {
            double sum = 0;
            for (size_t k = 0; k < m; k++)
                sum += v[k * m + i] * d[k] * v[k * m + j];
            ret[i * m + j] = sum;
        }
}

/* f(W) and f(W)^-1 of W's symmetric part. */
static enum rb_status make_stretch(struct rb_learned *l, const double *w, struct rb_error *err)
{
    size_t m = rest_of(l);
    int size = (int)m, info = 0, room = 64 * size;
    double *work = rb_malloc_aligned((size_t)room + 1, sizeof *work), *f = l->roots + m;
    if (work == NULL)
        return no_memory(l->n, err);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++)
            l->vectors[i * m + j] = (w[i * m + j] + w[j * m + i]) / 2;
    if (m > 0)
        dsyev_("V", "U", &size, l->vectors, &size, l->roots, work, &room, &info);
    free(work);
    if (info != 0)
        return rb_error_set(err, RB_ENUMERIC,
                            "a map under learning could not be stretched: lower "
                            "align.learn.learning_rate");
    for (size_t i = 0; i < m; i++)
        f[i] = exp(log_stretch(l->roots[i]));
    compose(l->vectors, f, m, l->stretch);
    for (size_t i = 0; i < m; i++)
        f[i] = 1 / f[i];
    compose(l->vectors, f, m, l->shrink);
    for (size_t i = 0; i < m; i++)
        f[i] = 1 / f[i];
    return RB_OK;
}

static void multiply(const double *a, const double *b, size_t m, double *ret)
{
    int n = (int)m;
    if (n > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, ret, n);
}

/* The rest's value and dual from its orthogonal part; room: (rest, rest). */
static void place_rest(struct rb_learned *l, const double *q, double *room)
{
    size_t m = rest_of(l);
    if (!stretches(l)) {
        place(l, q, l->value);
        return;
    }
    multiply(q, l->stretch, m, room);
    place(l, room, l->value);
    multiply(q, l->shrink, m, room);
    place(l, room, l->dual);
}

enum rb_status rb_learned_value(struct rb_learned *l, const double *x, struct rb_error *err)
{
    size_t m = rest_of(l);
    enum rb_status s = RB_OK;
    if (m > 0) {
        double *room = rb_malloc_aligned(m * m, sizeof *room);
        s = room != NULL ? rb_cayley_value(&l->rest, x + l->planes, err) : no_memory(l->n, err);
        if (s == RB_OK && stretches(l))
            s = make_stretch(l, stretch_of(l, x), err);
        if (s == RB_OK)
            place_rest(l, l->rest.q, room);
        free(room);
    }
    if (s == RB_OK)
        turn(l, x);
    return s;
}

/* dW of the symmetric W from df, the gradient of f(W): in W's eigenvectors, times the divided
 * differences of f (Daleckii and Krein). */
static void stretch_gradient(const struct rb_learned *l, double *df, double *dw)
{
    size_t m = rest_of(l);
    const double *v = l->vectors, *x = l->roots, *f = l->roots + m;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < i; j++)
            df[i * m + j] = df[j * m + i] = (df[i * m + j] + df[j * m + i]) / 2;
    int n = (int)m;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, v, n, df, n, 0, dw, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, dw, n, v, n, 0, df, n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) {
            double apart = x[i] - x[j], middle = (x[i] + x[j]) / 2;
            df[i * m + j] *= fabs(apart) > 1e-5 ? (f[i] - f[j]) / apart
                                                : exp(log_stretch(middle)) * slope(middle);
        }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, n, n, 1, v, n, df, n, 0, dw, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, dw, n, v, n, 0, df, n);
    memcpy(dw, df, m * m * sizeof *dw);
}

void rb_learned_gradient(const struct rb_learned *l, const double *x, const double *dvalue,
                         double *dx, double *scratch)
{
    size_t n = l->n, m = rest_of(l), planes = l->planes, from = 2 * planes;
    double *dstretch = stretches(l) ? dx + l->parameters / 2 : NULL;
    for (size_t i = 0; i < planes; i++) {
        double c = l->value[i * n + i], s = l->value[i * n + i + planes];
        const double *top = dvalue + i * n + i, *low = dvalue + (i + planes) * n + i;
        dx[i] = -s * (top[0] + low[planes]) + c * (top[planes] - low[0]);
        if (dstretch != NULL)
            dstretch[m * m + i] = (c * (top[0] + low[planes]) + s * (top[planes] - low[0])) *
                                  slope(stretch_of(l, x)[m * m + i]);
    }
    if (m == 0)
        return;
    for (size_t i = 0; i < m; i++)
        memcpy(scratch + i * m, dvalue + (from + i) * n + from, m * sizeof(double));
    if (dstretch != NULL) { /* F = Q f(W): df = Q^T dF, dQ = dF f(W) */
        int size = (int)m;
        double *df = dx + planes; /* not written yet */
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size, size, size, 1, l->rest.q, size,
                    scratch, size, 0, df, size);
        stretch_gradient(l, df, dstretch);
        multiply(scratch, l->stretch, m, df);
        memcpy(scratch, df, m * m * sizeof(double));
    }
    rb_cayley_gradient(&l->rest, scratch, dx + planes);
}

enum rb_status rb_learned_project(struct rb_learned *l, struct rb_error *err)
{
    size_t m = rest_of(l), mm = m * m;
    if (m == 0)
        return RB_OK;
    double *rest = rb_malloc_aligned(2 * mm, sizeof(double));
    if (rest == NULL)
        return no_memory(l->n, err);
    enum rb_status s = rb_cayley_project(&l->rest, rest, err);
    if (s == RB_OK)
        place_rest(l, rest, rest + mm);
    free(rest);
    return s;
}
