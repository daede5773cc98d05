#include "core/learn/learned.h"
#include "core/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t rest_of(const struct rb_learned *l)
{
    return l->n - 2 * l->planes;
}

enum rb_status rb_learned_init(struct rb_learned *ret, size_t n, size_t planes, const double *base,
                               bool centred, struct rb_error *err)
{
    struct rb_learned l = {.n = n, .planes = planes};
    size_t rest = rest_of(&l), from = 2 * planes;
    double *block = rb_malloc_aligned(rest * rest, sizeof(double));
    l.parameters = planes + rest * rest;
    l.angles = calloc(planes + 1, sizeof *l.angles);
    l.value = rb_calloc_aligned(n * n, sizeof(double));
    enum rb_status s = RB_OK;
    if (block == NULL || l.angles == NULL || l.value == NULL)
        s = rb_error_set(err, RB_ENOMEM, "no memory to learn a map of %zu units", n);
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
    free(l->value);
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

static void turn(const struct rb_learned *l, const double *x, double *whole)
{
    size_t n = l->n, planes = l->planes;
    for (size_t i = 0; i < planes; i++) {
        double angle = l->angles[i] + x[i], c = cos(angle), s = sin(angle);
        whole[i * n + i] = c;
        whole[i * n + i + planes] = s;
        whole[(i + planes) * n + i] = -s;
        whole[(i + planes) * n + i + planes] = c;
    }
}

enum rb_status rb_learned_value(struct rb_learned *l, const double *x, struct rb_error *err)
{
    if (rest_of(l) > 0) {
        enum rb_status s = rb_cayley_value(&l->rest, x + l->planes, err);
        if (s != RB_OK)
            return s;
        place(l, l->rest.q, l->value);
    }
    turn(l, x, l->value);
    return RB_OK;
}

void rb_learned_gradient(const struct rb_learned *l, const double *dvalue, double *dx,
                         double *scratch)
{
    size_t n = l->n, m = rest_of(l), planes = l->planes, from = 2 * planes;
    for (size_t i = 0; i < planes; i++) {
        double c = l->value[i * n + i], s = l->value[i * n + i + planes];
        const double *top = dvalue + i * n + i, *low = dvalue + (i + planes) * n + i;
        dx[i] = -s * (top[0] + low[planes]) + c * (top[planes] - low[0]);
    }
    if (m == 0)
        return;
    for (size_t i = 0; i < m; i++)
        memcpy(scratch + i * m, dvalue + (from + i) * n + from, m * sizeof(double));
    rb_cayley_gradient(&l->rest, scratch, dx + planes);
}

enum rb_status rb_learned_project(const struct rb_learned *l, double *ret, struct rb_error *err)
{
    size_t n = l->n, m = rest_of(l);
    double *rest = rb_malloc_aligned(m * m, sizeof(double));
    if (rest == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to project a map of %zu units", n);
    enum rb_status s = m > 0 ? rb_cayley_project(&l->rest, rest, err) : RB_OK;
    if (s == RB_OK) {
        memcpy(ret, l->value, n * n * sizeof(double));
        place(l, rest, ret);
    }
    free(rest);
    return s;
}
