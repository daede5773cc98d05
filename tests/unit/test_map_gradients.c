// LINK: core_learn
/* The gradient of every kind of map (METHOD 11) in F64: a layer of theta(lambda) = (1 - lambda) A +
 * lambda pi(B) between its embeddings, with their norm where one follows the additions, and
 * something that reads the stream. The plain one against finite differences, 1e-6: the stream's
 * (near: gains move by squares), matrices inside heads (turned, stretched, bound to rotary planes),
 * factors e^u of gated units, and scores of FF units, whose permutation is any matrix there
 * (straight through: what the scores get). What core/learn makes of units in F32 against the plain
 * one. */
#include "unit/layer_shapes.h"
#include "unit/naive_maps.h"

#include "core/learn/learned.h"
#include "core/learn/units.h"

enum { READS = 5 }; /* outputs of what reads the stream at the end */
static const double LAMBDA = 0.7;

enum group { G_STREAM, G_QUERY_KEYS, G_VALUES, G_SCALES, G_ORDERS, G_COUNT };
static const char *const group_names[] = {"stream", "queries and keys", "values", "scales",
                                          "orders"};

/* A or B: a layer's tensors and those around it. */
struct side {
    double *w[RB_SLOT_COUNT];
    double *rows, *gain, *shift; /* (tokens, d) embeddings; their norm, near alone */
    double *reader;              /* (READS, d) */
};

struct problem {
    const struct rb_config *c;
    size_t n;
    bool near, groups[G_COUNT];
    struct side a, b;
    struct naive_layer l; /* of theta; g its gradients */
    double *cosine, *sine, *pull;
    struct rb_learned stream, *heads[2]; /* (kv heads) by G_QUERY_KEYS, G_VALUES */
    double *x[G_COUNT], *dx[G_COUNT];    /* parameters: of matrices, u, P */
    size_t size[G_COUNT];
    double *signs;
};

static void side_init(struct side *s, const struct problem *p, uint64_t *seed)
{
    size_t d = p->c->hidden_size;
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
        size_t n = slot_size(p->c, k);
        s->w[k] = n == 0 ? NULL
                         : random_doubles(n, is_gain(k) ? 0.5 : -0.7, is_gain(k) ? 1.5 : 0.7, seed);
    }
    s->rows = random_doubles(p->n * d, -1.5, 1.5, seed);
    s->gain = random_doubles(d, 0.5, 1.5, seed);
    s->shift = random_doubles(d, -0.7, 0.7, seed);
    s->reader = random_doubles(READS * d, -1, 1, seed);
}

static void side_deinit(struct side *s)
{
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++)
        free(s->w[k]);
    free(s->rows);
    free(s->gain);
    free(s->shift);
    free(s->reader);
}

/* The parameters: small numbers, P near the identity. */
static void learn(struct problem *p, enum group g, size_t size, double most, uint64_t *seed)
{
    p->groups[g] = true;
    p->size[g] = size;
    p->x[g] = random_doubles(size, -most, most, seed);
    p->dx[g] = naive_new(size);
}

static void matrix_init(struct rb_learned *l, size_t n, size_t planes, bool centred, bool stretches)
{
    double *base = naive_new(n * n);
    for (size_t i = 0; i < n; i++)
        base[i * n + i] = 1;
    assert_int_equal(rb_learned_init(l, n, planes, base, centred, stretches, NULL), RB_OK);
    free(base);
}

static void problem_init(struct problem *p, const struct layer_shape *s, bool stretches,
                         uint64_t seed)
{
    const struct rb_config *c = &s->c;
    size_t half = c->attention.rope.dims / 2, kv = c->attention.kv_heads, n = c->mlp.inner_size;
    *p = (struct problem){.c = c, .n = s->n, .l = {.c = c, .layer = 2, .n = s->n}};
    p->near = c->norm_place == RB_NORM_AFTER_ADDITION;
    side_init(&p->a, p, &seed);
    side_init(&p->b, p, &seed);
    p->cosine = naive_new(s->n * half);
    p->sine = naive_new(s->n * half);
    for (size_t t = 0; t < s->n * half; t++) {
        double angle = (double)(t / half) * pow(100, -(double)(t % half) / (double)half);
        p->cosine[t] = cos(angle);
        p->sine[t] = sin(angle);
    }
    p->l.cosine = p->cosine;
    p->l.sine = p->sine;
    p->pull = random_doubles(s->n * READS, -1, 1, &seed);
    p->signs = naive_new(n);
    for (size_t i = 0; i < n; i++)
        p->signs[i] = random_uniform(&seed, -1, 1) < 0 && c->mlp.gated ? -1 : 1;
    for (int k = 0; k < 2; k++) {
        size_t planes = k == 0 ? half : 0;
        if (k == 0 && c->attention.query_key_norm)
            continue;
        p->heads[k] = calloc(kv, sizeof *p->heads[k]);
        assert_non_null(p->heads[k]);
        for (size_t h = 0; h < kv; h++)
            matrix_init(&p->heads[k][h], c->attention.head_dim, planes, false, stretches);
        learn(p, k == 0 ? G_QUERY_KEYS : G_VALUES, kv * p->heads[k][0].parameters, 0.4, &seed);
    }
    if (c->norm_place != RB_NORM_AFTER_SUBLAYER) { /* its gains admit permutations alone */
        matrix_init(&p->stream, c->hidden_size, 0, c->norm_kind == RB_NORM_LAYER, false);
        learn(p, G_STREAM, p->stream.parameters, 0.2, &seed);
    }
    if (c->mlp.gated)
        learn(p, G_SCALES, n, 0.8, &seed);
    learn(p, G_ORDERS, n * n, 0.2, &seed);
    for (size_t i = 0; i < n; i++)
        p->x[G_ORDERS][i * n + (i + 2) % n] += 1;
}

static void problem_deinit(struct problem *p)
{
    side_deinit(&p->a);
    side_deinit(&p->b);
    for (int k = 0; k < 2; k++) {
        for (size_t h = 0; p->heads[k] != NULL && h < p->c->attention.kv_heads; h++)
            rb_learned_deinit(&p->heads[k][h]);
        free(p->heads[k]);
    }
    rb_learned_deinit(&p->stream);
    for (int g = 0; g < G_COUNT; g++) {
        free(p->x[g]);
        free(p->dx[g]);
    }
    free(p->cosine);
    free(p->sine);
    free(p->pull);
    free(p->signs);
}

/* Parameters to matrices; what is not learned stays NULL. gradient: room for theirs instead. */
static struct naive_maps maps_of(struct problem *p, bool gradient)
{
    size_t d = p->c->hidden_size, dh = p->c->attention.head_dim, n = p->c->mlp.inner_size;
    struct naive_maps m = {0};
    double **const heads[] = {&m.r, &m.s};
    if (p->groups[G_STREAM]) {
        m.o = naive_new(d * d);
        assert_int_equal(rb_learned_value(&p->stream, p->x[G_STREAM], NULL), RB_OK);
        if (!gradient)
            memcpy(m.o, p->stream.value, d * d * sizeof *m.o);
    }
    for (int k = 0; k < 2; k++) {
        if (p->heads[k] == NULL)
            continue;
        *heads[k] = naive_new(p->c->attention.kv_heads * dh * dh);
        for (size_t h = 0; h < p->c->attention.kv_heads; h++) {
            struct rb_learned *l = &p->heads[k][h];
            const double *x = p->x[k == 0 ? G_QUERY_KEYS : G_VALUES] + h * l->parameters;
            assert_int_equal(rb_learned_value(l, x, NULL), RB_OK);
            if (!gradient)
                memcpy(*heads[k] + h * dh * dh, l->value, dh * dh * sizeof(double));
        }
    }
    m.p = naive_new(n * n);
    if (p->groups[G_SCALES])
        m.u = naive_new(n);
    if (gradient)
        return m;
    memcpy(m.p, p->x[G_ORDERS], n * n * sizeof *m.p);
    if (m.u != NULL)
        memcpy(m.u, p->x[G_SCALES], n * sizeof *m.u);
    m.signs = naive_new(n);
    memcpy(m.signs, p->signs, n * sizeof *m.signs);
    return m;
}

static void maps_free(struct naive_maps *m)
{
    double *all[] = {m->o, m->r, m->s, m->p, m->signs, m->u};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* theta's tensor, or with h = dL/dtheta what that says about the maps. */
static double *theta_of(const struct problem *p, const struct naive_maps *m,
                        struct naive_place place, size_t rows, size_t columns, const double *a,
                        const double *b, const double *dtheta, struct naive_maps *g)
{
    double *h = NULL;
    if (dtheta != NULL) {
        h = naive_new(rows * columns);
        for (size_t i = 0; i < rows * columns; i++)
            h[i] = LAMBDA * dtheta[i];
    }
    double *x = naive_moved(p->c, m, place, rows, columns, b, h, g);
    free(h);
    for (size_t i = 0; i < rows * columns; i++)
        x[i] = (1 - LAMBDA) * a[i] + LAMBDA * x[i];
    return x;
}

static size_t rows_of(const struct problem *p, enum rb_slot k, struct naive_place place)
{
    return naive_axis_size(p->c, place.rows, slot_size(p->c, k));
}

/* The loss; with gradients, dx of every group. */
static double loss(struct problem *p, bool gradients)
{
    static const struct naive_place table = {N_NONE, N_STREAM}, gain = {N_GAIN, N_NONE},
                                    shift = {N_STREAM, N_NONE};
    size_t d = p->c->hidden_size, nd = p->n * d;
    double eps = (double)p->c->norm_eps, sum = 0;
    struct naive_maps m = maps_of(p, false), g = {0};
    struct naive_layer *l = &p->l;
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++)
        if (p->a.w[k] != NULL) {
            struct naive_place place = naive_place_of(k, p->near);
            size_t rows = rows_of(p, k, place);
            l->w[k] = theta_of(p, &m, place, rows, slot_size(p->c, k) / rows, p->a.w[k], p->b.w[k],
                               NULL, NULL);
            l->g[k] = naive_new(slot_size(p->c, k));
        }
    double *rows = theta_of(p, &m, table, p->n, d, p->a.rows, p->b.rows, NULL, NULL);
    double *reader = theta_of(p, &m, table, READS, d, p->a.reader, p->b.reader, NULL, NULL);
    double *by = theta_of(p, &m, gain, d, 1, p->a.gain, p->b.gain, NULL, NULL);
    double *to = theta_of(p, &m, shift, d, 1, p->a.shift, p->b.shift, NULL, NULL);
    double *x = naive_new(nd), *y = naive_new(nd), *read = naive_new(p->n * READS);
    if (p->near)
        naive_norm(p->c->norm_kind, rows, p->n, d, by, to, eps, x);
    else
        memcpy(x, rows, nd * sizeof *x);
    naive_layer(l, x, y);
    naive_linear(y, p->n, d, reader, NULL, READS, read);
    for (size_t i = 0; i < p->n * READS; i++)
        sum += read[i] * p->pull[i];
    if (gradients) {
        double *dy = naive_new(nd), *dx = naive_new(nd), *drows = naive_new(nd);
        double *dreader = naive_new(READS * d), *dby = naive_new(d), *dto = naive_new(d);
        g = maps_of(p, true);
        naive_linear_back(y, p->pull, p->n, d, reader, READS, dy, dreader, NULL);
        naive_layer_back(l, x, dy, dx);
        if (p->near)
            naive_norm_back(p->c->norm_kind, rows, dx, p->n, d, by, eps, drows, dby, dto);
        else
            memcpy(drows, dx, nd * sizeof *drows);
        free(theta_of(p, &m, table, p->n, d, p->a.rows, p->b.rows, drows, &g));
        free(theta_of(p, &m, table, READS, d, p->a.reader, p->b.reader, dreader, &g));
        free(theta_of(p, &m, gain, d, 1, p->a.gain, p->b.gain, dby, &g));
        free(theta_of(p, &m, shift, d, 1, p->a.shift, p->b.shift, dto, &g));
        for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++)
            if (p->a.w[k] != NULL) {
                struct naive_place place = naive_place_of(k, p->near);
                size_t r = rows_of(p, k, place);
                free(theta_of(p, &m, place, r, slot_size(p->c, k) / r, p->a.w[k], p->b.w[k],
                              l->g[k], &g));
            }
        double *all[] = {dy, dx, drows, dreader, dby, dto};
        for (size_t i = 0; i < COUNT(all); i++)
            free(all[i]);
    }
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
        free(l->w[k]);
        free(l->g[k]);
        l->w[k] = l->g[k] = NULL;
    }
    double *all[] = {rows, reader, by, to, x, y, read};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
    maps_free(&m);
    if (!gradients)
        return sum;
    /* from matrices to parameters */
    size_t dh = p->c->attention.head_dim;
    double *scratch = naive_new(d * d + dh * dh);
    if (p->groups[G_STREAM])
        rb_learned_gradient(&p->stream, p->x[G_STREAM], g.o, p->dx[G_STREAM], scratch);
    for (int k = 0; k < 2; k++)
        for (size_t h = 0; p->heads[k] != NULL && h < p->c->attention.kv_heads; h++) {
            const struct rb_learned *lm = &p->heads[k][h];
            enum group at = k == 0 ? G_QUERY_KEYS : G_VALUES;
            rb_learned_gradient(lm, p->x[at] + h * lm->parameters,
                                (k == 0 ? g.r : g.s) + h * dh * dh, p->dx[at] + h * lm->parameters,
                                scratch);
        }
    memcpy(p->dx[G_ORDERS], g.p, p->size[G_ORDERS] * sizeof *g.p);
    if (p->groups[G_SCALES])
        memcpy(p->dx[G_SCALES], g.u, p->size[G_SCALES] * sizeof *g.u);
    free(scratch);
    maps_free(&g);
    return sum;
}

/* Along some way in one group's parameters, by differences of fourth order. */
static void check_direction(struct problem *p, const char *name, enum group g, uint64_t *seed)
{
    static const double at[] = {1, -1, 2, -2}, weight[] = {8, -8, -1, 1};
    size_t n = p->size[g];
    double *way = random_doubles(n, -1, 1, seed), *old = naive_new(n), slope = 0, size = 0;
    double found = 0, h = 1e-3 / sqrt((double)n);
    for (size_t i = 0; i < n; i++) {
        slope += way[i] * p->dx[g][i];
        size += fabs(way[i] * p->dx[g][i]);
    }
    assert_true(size > 1e-3); /* something depends on it */
    memcpy(old, p->x[g], n * sizeof *old);
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++)
            p->x[g][i] = old[i] + at[k] * h * way[i];
        found += weight[k] * loss(p, false) / (12 * h);
    }
    memcpy(p->x[g], old, n * sizeof *old);
    if (!(fabs(found - slope) <= 1e-6 * fmax(fabs(slope), 0.03 * size)))
        fail_msg("%s, %s: derivative %.12g, by differences %.12g (of %.2g)", name, group_names[g],
                 slope, found, size);
    free(way);
    free(old);
}

static void test_plain_against_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(layer_shapes); i++)
        for (int stretches = 0; stretches < 2; stretches++) {
            struct problem p;
            uint64_t seed = 1000 + i;
            problem_init(&p, &layer_shapes[i], stretches, 31 + i);
            if (p.n == 1) /* one token sees itself alone, whatever its query is */
                p.groups[G_QUERY_KEYS] = false;
            (void)loss(&p, true);
            for (int g = 0; g < G_COUNT; g++)
                for (int way = 0; way < 3 && p.groups[g]; way++)
                    check_direction(&p, layer_shapes[i].name, (enum group)g, &seed);
            problem_deinit(&p);
        }
}

/* ---- units, the fast way ---- */

static float *to_float(const double *x, size_t n)
{
    float *y = must_alloc(n + 1, sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
    return y;
}

static void close_to(const char *name, const char *what, const double *found, const double *plain,
                     size_t n)
{
    double most = 0, off = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs(plain[i]));
        off = fmax(off, fabs(found[i] - plain[i]));
    }
    if (!(off <= 1e-5 * most))
        fail_msg("%s, %s: off by %.3g of %.3g", name, what, off, most);
}

/* A permutation with signs and factors, and some H for each of the tensors that it moves. */
static void check_units(const struct layer_shape *s, uint64_t seed)
{
    static const struct {
        enum rb_slot slot;
        enum rb_unit_part part;
    } moved[] = {{RB_UP_WEIGHT, RB_UNIT_UP},
                 {RB_UP_BIAS, RB_UNIT_UP},
                 {RB_GATE_WEIGHT, RB_UNIT_GATE},
                 {RB_GATE_BIAS, RB_UNIT_GATE},
                 {RB_DOWN_WEIGHT, RB_UNIT_DOWN}};
    struct rb_config c = s->c;
    size_t n = c.mlp.inner_size;
    bool scales = c.mlp.gated;
    struct rb_motion motion;
    struct rb_learn_units u;
    struct rb_worker worker;
    c.num_hidden_layers = 1;
    rb_worker_init(&worker, NULL);
    assert_int_equal(rb_motion_init(&motion, 1, NULL), RB_OK);
    uint32_t *index = must_alloc(n, sizeof *index);
    float *signs = must_alloc(n, sizeof *signs), *room = must_alloc(n * n, sizeof *room);
    struct naive_maps m = {.p = naive_new(n * n), .signs = naive_new(n), .u = naive_new(n)};
    struct naive_maps g = {.p = naive_new(n * n), .u = naive_new(n)};
    random_permutation(&seed, index, n);
    for (size_t i = 0; i < n; i++) {
        signs[i] = scales && random_uniform(&seed, -1, 1) < 0 ? -1 : 1;
        m.p[i * n + index[i]] = 1;
        m.signs[index[i]] = (double)signs[i];
    }
    struct rb_map *ff = rb_motion_map(&motion, RB_AXIS_FF, 0);
    *ff = (struct rb_map){.size = (uint32_t)n, .index = index, .signs = signs};
    assert_int_equal(rb_learn_units_init(&u, &c, &motion, scales, true, NULL), RB_OK);
    double *x = naive_new(u.parameters), *dx = naive_new(u.parameters);
    rb_learn_units_start(&u, 0, x);
    double *dorder = dx + (scales ? n : 0), *slope = naive_new(n);
    for (size_t i = 0; scales && i < n; i++) { /* u = c tanh(x / c), c = ln 10 */
        double t = (x[i] = random_uniform(&seed, -2, 2), tanh(x[i] / log(10)));
        m.u[i] = log(10) * t;
        slope[i] = 1 - t * t;
    }
    assert_int_equal(rb_learn_units_value(&u, 0, x, false, &worker, NULL), RB_OK);
    for (size_t k = 0; k < COUNT(moved); k++) {
        enum rb_slot slot = moved[k].slot;
        size_t size = slot_size(&c, slot);
        if (size == 0)
            continue;
        struct naive_place place = naive_place_of(slot, false);
        size_t rows = naive_axis_size(&c, place.rows, size), columns = size / rows;
        double *w = random_doubles(size, -1, 1, &seed), *h = random_doubles(size, -1, 1, &seed);
        double *theta = naive_moved(&c, &m, place, rows, columns, w, NULL, NULL);
        float *fast_theta = to_float(theta, size), *fast_h = to_float(h, size);
        for (size_t i = 0; i < size; i++)
            h[i] *= LAMBDA;
        free(naive_moved(&c, &m, place, rows, columns, w, h, &g));
        size_t others = size / n, cut = n / 3;
        rb_learn_units_fold(&u, 0, moved[k].part, 0, cut, fast_theta, fast_h, others, room, dx);
        rb_learn_units_fold(&u, 0, moved[k].part, cut, n - cut, fast_theta, fast_h, others, room,
                            dx);
        free(w);
        free(h);
        free(theta);
        free(fast_theta);
        free(fast_h);
    }
    rb_learn_units_gradient(&u, x, LAMBDA, dx);
    close_to(s->name, "orders", dorder, g.p, n * n);
    for (size_t i = 0; i < n; i++)
        g.u[i] *= slope[i];
    if (scales)
        close_to(s->name, "scales", dx, g.u, n);
    rb_learn_units_deinit(&u);
    rb_motion_deinit(&motion);
    rb_worker_deinit(&worker);
    maps_free(&m);
    maps_free(&g);
    free(x);
    free(dx);
    free(slope);
    free(index);
    free(signs);
    free(room);
}

static void test_units_against_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(layer_shapes); i++)
        check_units(&layer_shapes[i], 400 + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_against_differences),
        cmocka_unit_test(test_units_against_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
