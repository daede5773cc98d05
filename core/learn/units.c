#include "core/learn/units.h"
#include "core/align/assignment.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double CAP = 2.302585092994046; /* ln 10: a factor from 0.1 to 10 */
/* A matched pair's score at the start, of all others 0: some hundred steps of Adam's away. */
static const double MARGIN = 0.1;

static double log_of(double x)
{
    return CAP * tanh(x / CAP);
}

static double slope_of(double x)
{
    double t = tanh(x / CAP);
    return 1 - t * t;
}

static size_t order_at(const struct rb_learn_units *u) /* Z in a layer's parameters */
{
    return u->scales ? u->n : 0;
}

void rb_learn_units_deinit(struct rb_learn_units *u)
{
    free(u->forward);
    free(u->inverse);
    free(u->index);
    free(u->signs);
    free(u->unit_signs);
    *u = (struct rb_learn_units){0};
}

static bool has_signs(const struct rb_learn_units *u, const struct rb_motion *motion)
{
    for (uint32_t l = 0; l < u->layers; l++)
        if (rb_motion_map(motion, RB_AXIS_FF, l)->signs != NULL)
            return true;
    return false;
}

static void begin_layer(struct rb_learn_units *u, struct rb_motion *motion, uint32_t layer)
{
    struct rb_map *ff = rb_motion_map(motion, RB_AXIS_FF, layer);
    struct rb_map *gate = rb_motion_map(motion, RB_AXIS_FF_GATE, layer);
    size_t at = layer * u->n;
    for (size_t i = 0; i < u->n; i++) {
        uint32_t unit = ff->index != NULL ? ff->index[i] : (uint32_t)i;
        u->forward[at + i] = u->inverse[at + i] = 1;
        u->index[at + i] = unit;
        if (u->signs == NULL)
            continue;
        u->signs[at + i] = ff->signs != NULL ? ff->signs[i] : 1;
        u->unit_signs[at + unit] = u->signs[at + i];
    }
    ff->size = gate->size = (uint32_t)u->n;
    ff->index = gate->index = u->index + at;
    ff->signs = u->signs != NULL ? u->signs + at : NULL;
    if (!u->scales)
        return;
    ff->blocks = (uint32_t)u->n;
    ff->forward = u->forward + at;
    ff->inverse = u->inverse + at;
}

enum rb_status rb_learn_units_init(struct rb_learn_units *ret, const struct rb_config *c,
                                   struct rb_motion *motion, bool scales, bool orders,
                                   struct rb_error *err)
{
    struct rb_learn_units u = {
        .layers = c->num_hidden_layers, .n = c->mlp.inner_size, .scales = scales, .orders = orders};
    *ret = (struct rb_learn_units){0};
    if (!scales && !orders)
        return RB_OK;
    size_t all = u.layers * u.n;
    u.parameters = (scales ? u.n : 0) + (orders ? u.n * u.n + u.n : 0);
    u.forward = rb_malloc_aligned(all, sizeof *u.forward);
    u.inverse = rb_malloc_aligned(all, sizeof *u.inverse);
    u.index = rb_malloc_aligned(all, sizeof *u.index);
    bool ok = u.forward != NULL && u.inverse != NULL && u.index != NULL;
    if (ok && has_signs(&u, motion)) {
        u.signs = rb_malloc_aligned(all, sizeof *u.signs);
        u.unit_signs = rb_malloc_aligned(all, sizeof *u.unit_signs);
        ok = u.signs != NULL && u.unit_signs != NULL;
    }
    if (!ok) {
        rb_learn_units_deinit(&u);
        return rb_error_set(err, RB_ENOMEM, "no memory to learn %zu units a layer", u.n);
    }
    for (uint32_t l = 0; l < u.layers; l++)
        begin_layer(&u, motion, l);
    *ret = u;
    return RB_OK;
}

void rb_learn_units_start(const struct rb_learn_units *u, uint32_t layer, double *x)
{
    const uint32_t *index = u->index + layer * u->n;
    double *z = x + order_at(u), *taken = z + u->n * u->n;
    for (size_t i = 0; u->orders && i < u->n; i++) {
        z[i * u->n + index[i]] = MARGIN;
        taken[i] = index[i];
    }
}

/* Z's best assignment, into the numbers behind it. */
static enum rb_status solve_order(const struct rb_learn_units *u, double *z, struct rb_worker *w,
                                  struct rb_error *err)
{
    size_t n = u->n;
    float *c = rb_scratch_alloc(&w->scratch, n * n, sizeof *c);
    uint32_t *index = rb_scratch_alloc(&w->scratch, n, sizeof *index);
    double score;
    if (c == NULL || index == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to match %zu units", n);
    for (size_t i = 0; i < n * n; i++)
        c[i] = (float)z[i];
    enum rb_status s = rb_assignment_solve(c, n, n, index, &score, w, err);
    for (size_t i = 0; s == RB_OK && i < n; i++)
        z[n * n + i] = index[i];
    return s;
}

enum rb_status rb_learn_units_value(struct rb_learn_units *u, uint32_t layer, double *x, bool solve,
                                    struct rb_worker *w, struct rb_error *err)
{
    size_t n = u->n, at = layer * n;
    double *z = x + order_at(u);
    enum rb_status s = u->orders && solve ? solve_order(u, z, w, err) : RB_OK;
    for (size_t i = 0; s == RB_OK && u->orders && i < n; i++)
        if (!(z[n * n + i] >= 0 && z[n * n + i] < (double)n)) /* from a saved state */
            s = rb_error_set(err, RB_ENUMERIC, "unit %g of %zu in what was learned", z[n * n + i],
                             n);
    for (size_t i = 0; s == RB_OK && i < n; i++) {
        if (u->scales) {
            u->forward[at + i] = (float)exp(log_of(x[i]));
            u->inverse[at + i] = (float)exp(-log_of(x[i]));
        }
        if (u->orders)
            u->index[at + i] = (uint32_t)z[n * n + i];
        if (u->signs != NULL)
            u->signs[at + i] = u->unit_signs[at + u->index[at + i]];
    }
    return s;
}

/* <H_i, theta_i> of the slots. */
static void fold_scales(const struct rb_learn_units *u, enum rb_unit_part part, size_t first,
                        size_t count, const float *theta, const float *h, size_t columns,
                        double *dx)
{
    for (size_t i = first; i < first + count; i++) {
        double sum = 0;
        for (size_t k = 0; k < columns; k++) {
            size_t at = part == RB_UNIT_DOWN ? k * u->n + i : i * columns + k;
            sum += (double)h[at] * (double)theta[at];
        }
        dx[i] += part == RB_UNIT_DOWN ? -sum : sum;
    }
}

/* room (count, n): <H_i, theta_k> of all slots k. */
static void multiply(const struct rb_learn_units *u, enum rb_unit_part part, size_t first,
                     size_t count, const float *theta, const float *h, size_t columns, float *room)
{
    int n = (int)u->n, m = (int)count, k = (int)columns;
    if (part == RB_UNIT_DOWN)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, 1.0f, h + first, n, theta, n,
                    0.0f, room, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, h + first * columns, k,
                    theta, k, 0.0f, room, n);
}

void rb_learn_units_fold(const struct rb_learn_units *u, uint32_t layer, enum rb_unit_part part,
                         size_t first, size_t count, const float *theta, const float *h,
                         size_t columns, float *room, double *dx)
{
    size_t n = u->n, at = layer * n;
    if (u->scales && part != RB_UNIT_GATE)
        fold_scales(u, part, first, count, theta, h, columns, dx);
    if (!u->orders)
        return;
    multiply(u, part, first, count, theta, h, columns, room);
    const float *by = part == RB_UNIT_DOWN ? u->inverse + at : u->forward + at;
    double *z = dx + order_at(u);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < n; k++) {
            double v = (double)room[i * n + k];
            if (part != RB_UNIT_GATE)
                v *= (double)by[first + i] / (double)by[k];
            z[(first + i) * n + u->index[at + k]] += v;
        }
}

void rb_learn_units_gradient(const struct rb_learn_units *u, const double *x, double scale,
                             double *dx)
{
    for (size_t i = 0; i < u->parameters; i++)
        dx[i] *= scale;
    for (size_t i = 0; u->scales && i < u->n; i++)
        dx[i] *= slope_of(x[i]);
}
