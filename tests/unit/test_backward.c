// LINK: core_learn
/* The backward pass of every block kind: the plain one in F64 against finite differences, the fast
 * one against the plain one. */
#include "unit/layer_shapes.h"

#include "core/learn/tape.h"
#include "core/memory.h"

enum { LAYER = 2 };

struct problem {
    struct naive_layer l;
    double *cosine, *sine, *x, *pull; /* the loss is <pull, layer(x)> */
};

static void problem_init(struct problem *p, const struct layer_shape *s, uint64_t seed)
{
    size_t half = s->c.attention.rope.dims / 2, nd = s->n * s->c.hidden_size;
    *p = (struct problem){.l = {.c = &s->c, .layer = LAYER, .n = s->n}};
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
        size_t n = slot_size(&s->c, k);
        if (n == 0)
            continue;
        p->l.w[k] = random_doubles(n, is_gain(k) ? 0.5 : -0.7, is_gain(k) ? 1.5 : 0.7, &seed);
        p->l.g[k] = naive_new(n);
    }
    p->cosine = naive_new(s->n * half);
    p->sine = naive_new(s->n * half);
    for (size_t t = 0; t < s->n; t++)
        for (size_t i = 0; i < half; i++) {
            double angle = (double)t * pow(100, -(double)i / (double)half);
            p->cosine[t * half + i] = cos(angle);
            p->sine[t * half + i] = sin(angle);
        }
    p->l.cosine = p->cosine;
    p->l.sine = p->sine;
    p->x = random_doubles(nd, -1.5, 1.5, &seed);
    p->pull = random_doubles(nd, -1, 1, &seed);
}

static void problem_deinit(struct problem *p)
{
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
        free(p->l.w[k]);
        free(p->l.g[k]);
    }
    free(p->cosine);
    free(p->sine);
    free(p->x);
    free(p->pull);
}

static double loss(const struct problem *p)
{
    size_t nd = p->l.n * p->l.c->hidden_size;
    double *y = naive_new(nd), sum = 0;
    naive_layer(&p->l, p->x, y);
    for (size_t i = 0; i < nd; i++)
        sum += y[i] * p->pull[i];
    free(y);
    return sum;
}

/* d loss / d h of x -> x + h way, by differences of fourth order. */
static double measure(const struct problem *p, double *x, const double *way, size_t n)
{
    static const double at[] = {1, -1, 2, -2}, weight[] = {8, -8, -1, 1};
    double h = 1e-3, sum = 0;
    double *old = naive_new(n);
    memcpy(old, x, n * sizeof *x);
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++)
            x[i] = old[i] + at[k] * h * way[i];
        sum += weight[k] * loss(p);
    }
    memcpy(x, old, n * sizeof *x);
    free(old);
    return sum / (12 * h);
}

static void check_direction(const struct problem *p, const char *what, double *x,
                            const double *gradient, size_t n, uint64_t *seed)
{
    double *way = random_doubles(n, -1, 1, seed), slope = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        slope += way[i] * gradient[i];
        size += fabs(way[i] * gradient[i]);
    }
    double found = measure(p, x, way, n),
           off = fabs(found - slope) / fmax(size, 1e-4); /* keys' biases: 0 exactly */
    if (!(off <= 1e-6))
        fail_msg("%s: derivative %.12g, by differences %.12g (relative %.2g)", what, slope, found,
                 off);
    free(way);
}

static void test_plain_against_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(layer_shapes); i++) {
        struct problem p;
        uint64_t seed = 1000 + i;
        problem_init(&p, &layer_shapes[i], 31 + i);
        size_t nd = p.l.n * p.l.c->hidden_size;
        double *dx = naive_new(nd);
        naive_layer_back(&p.l, p.x, p.pull, dx);
        check_direction(&p, layer_shapes[i].name, p.x, dx, nd, &seed);
        for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
            char what[80];
            (void)snprintf(what, sizeof what, "%s, slot %d", layer_shapes[i].name, (int)k);
            if (p.l.w[k] != NULL)
                check_direction(&p, what, p.l.w[k], p.l.g[k], slot_size(p.l.c, k), &seed);
        }
        free(dx);
        problem_deinit(&p);
    }
}

/* ---- the fast way ---- */

struct fast {
    struct problem p;
    float *w[RB_SLOT_COUNT], *x, *dy;
    const float *weights[RB_SLOT_COUNT];
    struct rb_rotary rotary, back;
    struct rb_tape tape;
    size_t *starts;
    size_t sequences;
};

static float *to_float(const double *x, size_t n)
{
    float *y = malloc((n > 0 ? n : 1) * sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
    return y;
}

/* The same sequence several times, the middle one a token shorter. */
static void fast_init(struct fast *f, const struct layer_shape *s, uint64_t seed, size_t sequences)
{
    *f = (struct fast){.sequences = sequences};
    problem_init(&f->p, s, seed);
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++)
        if (f->p.l.w[k] != NULL)
            f->weights[k] = f->w[k] = to_float(f->p.l.w[k], slot_size(&s->c, k));
    size_t half = s->c.attention.rope.dims / 2, n = s->n, d = s->c.hidden_size;
    f->rotary = (struct rb_rotary){2 * half, n, to_float(f->p.cosine, n * half),
                                   to_float(f->p.sine, n * half)};
    f->back = (struct rb_rotary){2 * half, n, f->rotary.cosine, to_float(f->p.sine, n * half)};
    for (size_t i = 0; i < n * half; i++)
        f->back.sine[i] = -f->back.sine[i];
    f->starts = calloc(sequences + 1, sizeof *f->starts);
    assert_non_null(f->starts);
    for (size_t q = 0; q < sequences; q++)
        f->starts[q + 1] = f->starts[q] + (q == 1 && n > 1 ? n - 1 : n);
    size_t tokens = f->starts[sequences];
    f->x = malloc(tokens * d * sizeof(float));
    f->dy = malloc(tokens * d * sizeof(float));
    assert_non_null(f->x);
    assert_non_null(f->dy);
    for (size_t q = 0; q < sequences; q++)
        for (size_t i = 0; i < (f->starts[q + 1] - f->starts[q]) * d; i++) {
            f->x[f->starts[q] * d + i] = (float)f->p.x[i];
            f->dy[f->starts[q] * d + i] = (float)f->p.pull[i];
        }
    assert_int_equal(rb_tape_init(&f->tape, &s->c, tokens, NULL), RB_OK);
    f->tape.x = f->x;
}

static void fast_deinit(struct fast *f)
{
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++)
        free(f->w[k]);
    free(f->rotary.cosine);
    free(f->rotary.sine);
    free(f->back.sine);
    free(f->starts);
    free(f->x);
    free(f->dy);
    rb_tape_deinit(&f->tape);
    problem_deinit(&f->p);
}

/* Sequences [from, to) as one span. */
static struct rb_tape_call call_of(struct fast *f, size_t from, size_t to, double *dnorms)
{
    return (struct rb_tape_call){
        .tape = &f->tape,
        .weights = f->weights,
        .layer = LAYER,
        .rotary = &f->rotary,
        .back = &f->back,
        .starts = f->starts + from,
        .count = to - from,
        .row = f->starts[from],
        .dnorms = dnorms,
    };
}

static void close_to(const char *name, int slot, const float *found, const double *expected,
                     size_t n)
{
    double most = 0.1, off = 0; /* the gradients of keys' biases are 0 */
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs(expected[i]));
        off = fmax(off, fabs((double)found[i] - expected[i]));
    }
    if (!(off <= 1e-4 * most))
        fail_msg("%s, slot %d: off by %.3g of %.3g", name, slot, off, most);
}

/* The plain gradients of all sequences together; dx (tokens, d). */
static void plain_back(struct fast *f, double *dx)
{
    size_t d = f->p.l.c->hidden_size, n = f->p.l.n;
    for (size_t q = 0; q < f->sequences; q++) {
        f->p.l.n = f->starts[q + 1] - f->starts[q];
        naive_layer_back(&f->p.l, f->p.x, f->p.pull, dx + f->starts[q] * d);
    }
    f->p.l.n = n;
}

static void check_fast(const struct layer_shape *s)
{
    struct fast f;
    struct rb_scratch scratch;
    rb_scratch_init(&scratch);
    fast_init(&f, s, 31, 3);
    size_t d = s->c.hidden_size, tokens = f.starts[3], cut = 2;
    double *dx = naive_new(tokens * d), *dnorms = naive_new(4 * d);
    plain_back(&f, dx);
    for (size_t from = 0; from < 3; from = from == 0 ? cut : 3) {
        struct rb_tape_call call = call_of(&f, from, from == 0 ? cut : 3, dnorms);
        assert_int_equal(rb_tape_forward(&call, &scratch, NULL), RB_OK);
        rb_scratch_reset(&scratch);
        assert_int_equal(rb_tape_back(&call, f.dy + call.row * d, &scratch, NULL), RB_OK);
        rb_scratch_reset(&scratch);
    }
    close_to(s->name, -1, f.dy, dx, tokens * d);
    for (enum rb_slot k = 0; k < RB_SLOT_COUNT; k++) {
        size_t out, in;
        if (!rb_tape_linear(&f.tape, k, &out, &in))
            continue;
        float *g = malloc(out * in * sizeof *g), *bias = malloc(out * sizeof *bias);
        rb_tape_gradient(&f.tape, k, 0, out / 2, g);
        rb_tape_gradient(&f.tape, k, out / 2, out - out / 2, g + out / 2 * in);
        rb_tape_bias_gradient(&f.tape, k, bias);
        close_to(s->name, (int)k, g, f.p.l.g[k], out * in);
        if (f.p.l.g[k + 1] != NULL)
            close_to(s->name, (int)k + 1, bias, f.p.l.g[k + 1], out);
        free(g);
        free(bias);
    }
    static const enum rb_slot norms[] = {RB_ATTENTION_NORM_WEIGHT, RB_ATTENTION_NORM_BIAS,
                                         RB_MLP_NORM_WEIGHT, RB_MLP_NORM_BIAS};
    for (int i = 0; i < 4; i++)
        if (f.p.l.g[norms[i]] != NULL) {
            float *g = to_float(dnorms + (size_t)i * d, d);
            close_to(s->name, (int)norms[i], g, f.p.l.g[norms[i]], d);
            free(g);
        }
    free(dx);
    free(dnorms);
    fast_deinit(&f);
    rb_scratch_deinit(&scratch);
}

static void test_fast_against_plain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(layer_shapes); i++)
        check_fast(&layer_shapes[i]);
    for (size_t i = 0; i < COUNT(layer_shapes); i++) { /* longer than a tile of queries */
        struct layer_shape s = layer_shapes[i];
        s.n = 150;
        check_fast(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_against_differences),
        cmocka_unit_test(test_fast_against_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
