// LINK: core_learn core_merge core_text
/* Learning maps: the gradient of the loss in every map by finite differences, the same bits on any
 * number of threads and after any interruption, and a loss that falls on real models. */
#include "unit/decoder_shapes.h"
#include "unit/odd_shapes.h"
#include "unit/other_arithmetic.h"
#include "unit/pair.h"
#include "unit/threads.h"

#include "core/learn/learn.h"
#include "core/learn/learn_internal.h"
#include "core/learn/learn_state.h"
#include "core/text/packing.h"

enum { BLOCKS = 12, BLOCK = 11 };

/* Blocks of random ids, the first of each special. */
static struct rb_sequences random_blocks(uint32_t vocab_size, size_t count, size_t length)
{
    uint64_t seed = 99;
    struct rb_sequences s = {.count = count};
    s.starts = calloc(count + 1, sizeof *s.starts);
    s.ids = calloc(count * length, sizeof *s.ids);
    s.types = calloc(count * length, 1);
    s.special = calloc(count * length, 1);
    assert_true(s.starts != NULL && s.ids != NULL && s.types != NULL && s.special != NULL);
    for (size_t i = 0; i < count * length; i++) {
        s.ids[i] = (int32_t)random_uniform(&seed, 0, (double)vocab_size - 0.001);
        s.special[i] = i % length == 0;
    }
    for (size_t i = 0; i <= count; i++)
        s.starts[i] = i * length;
    return s;
}

static void start(struct pair *p, const struct rb_sequences *blocks,
                  const struct rb_learn_options *o, struct rb_motion *motion,
                  struct rb_program **ret)
{
    struct rb_learn_text text = {.blocks = blocks,
                                 .mask_id = p->b.head == RB_HEAD_CAUSAL ? -1 : 1,
                                 .mask_vocabulary = p->b.config.vocab_size,
                                 .mask_probability = 0.4};
    MUST(rb_motion_init(motion, p->b.config.num_hidden_layers, &p->err), &p->err);
    MUST(rb_learn_new(&p->a, NULL, &p->b, motion, &text, o, ret, &p->err), &p->err);
}

/* The loss of one step with the parameters moved by h along `way`; its gradient into dx, if asked.
 */
static double step_loss(struct pair *p, const struct rb_sequences *blocks,
                        const struct rb_learn_options *o, const double *x, const double *way,
                        double h, double *dx)
{
    struct rb_motion motion;
    struct rb_program *program;
    start(p, blocks, o, &motion, &program);
    struct rb_learn *c = (struct rb_learn *)program;
    for (size_t i = 0; i < c->maps.parameters; i++)
        c->maps.x[i] = x[i] + h * way[i];
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    if (dx != NULL)
        memcpy(dx, c->maps.dx, c->maps.parameters * sizeof *dx);
    double loss = rb_learn_last_loss(program);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    return loss;
}

/* The derivative along a way that is mostly the gradient, by differences. */
static void check_gradient(struct pair *p, const char *name, const struct rb_learn_options *o)
{
    struct rb_sequences blocks = random_blocks(p->b.config.vocab_size, BLOCKS, BLOCK);
    struct rb_motion motion;
    struct rb_program *program;
    start(p, &blocks, o, &motion, &program);
    const struct rb_learn_maps *m = &((struct rb_learn *)program)->maps;
    size_t n = m->parameters, heads = m->kv_heads, orders = m->heads_order.parameters;
    size_t free_ones = n - orders * m->layers; /* before the heads' orders: these stand still */
    rb_program_free(program);
    rb_motion_deinit(&motion);
    double *x = calloc(n, sizeof *x), *way = calloc(n, sizeof *way), *dx = calloc(n, sizeof *dx);
    assert_true(x != NULL && way != NULL && dx != NULL);
    uint64_t seed = 7;
    for (size_t i = 0; i < n; i++) {
        x[i] = random_uniform(&seed, -0.3, 0.3);
        way[i] = random_uniform(&seed, -1, 1);
        size_t at = i >= free_ones ? (i - free_ones) % orders : 0;
        if (i >= free_ones) /* slot k: head k + 1 */
            x[i] = at < heads * heads ? 0 : (double)((at - heads * heads + 1) % heads);
    }
    (void)step_loss(p, &blocks, o, x, way, 0, dx);
    double slope = 0, norm = 0;
    for (size_t i = 0; i < free_ones; i++)
        norm += dx[i] * dx[i];
    norm = sqrt(norm);
    assert_true(norm > 0);
    for (size_t i = 0; i < n; i++) { /* sizes that F32 can show */
        if (i >= free_ones) {
            way[i] = 0;
            continue;
        }
        way[i] = dx[i] / norm + 0.3 * way[i] / sqrt((double)n);
        slope += dx[i] * way[i];
    }
    double h = 1.5e-2 / (norm > 1 ? norm : 1), found;
    found = (8 * (step_loss(p, &blocks, o, x, way, h, NULL) -
                  step_loss(p, &blocks, o, x, way, -h, NULL)) -
             (step_loss(p, &blocks, o, x, way, 2 * h, NULL) -
              step_loss(p, &blocks, o, x, way, -2 * h, NULL))) /
            (12 * h);
    if (!(fabs(found - slope) <= 2e-3 * fabs(slope) + 1e-6))
        fail_msg("%s: derivative %.7g, by differences %.7g", name, slope, found);
    free(x);
    free(way);
    free(dx);
    rb_sequences_deinit(&blocks);
}

static void gradient_options(struct rb_learn_options *o)
{
    rb_learn_options_default(o);
    o->steps = 1;
    o->batch_tokens = 60;
    o->learning_rate = 0;
    o->lambda[0] = o->lambda[1] = 0.7;
}

static void test_gradients(void **state)
{
    (void)state;
    struct rb_learn_options o;
    gradient_options(&o);
    for (size_t i = 0; i < COUNT(odd_shapes); i++) {
        if (odd_shapes[i].head != RB_HEAD_MLM || odd_shapes[i].hidden == odd_shapes[i].heads)
            continue;
        struct pair p;
        pair_init(&p, &odd_shapes[i], PAIR_INDEPENDENT, 5);
        pair_open(&p);
        o.residual = false; /* exactly: norms after the additions leave no dense map … */
        check_gradient(&p, odd_shapes[i].name, &o);
        o.residual = true; /* … and nearly, gains and all */
        check_gradient(&p, odd_shapes[i].name, &o);
        o.query_keys = o.values = false;
        check_gradient(&p, odd_shapes[i].name, &o);
        o.query_keys = o.values = true;
        o.stretches = true;
        check_gradient(&p, odd_shapes[i].name, &o);
        o.stretches = false;
        pair_deinit(&p);
    }
}

/* Heads of other families, and embeddings narrower than the stream: a model and itself are a pair,
 * for the maps under test are drawn. */
static void test_gradients_of_encoders(void **state)
{
    (void)state;
    static const char *const names[] = {"RobertaForMaskedLM", "DistilBertForMaskedLM",
                                        "ElectraForMaskedLM", "ElectraForMaskedLM-proj"};
    struct rb_learn_options o;
    gradient_options(&o);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512];
        struct pair p = {0};
        rb_worker_init(&p.worker, NULL);
        (void)snprintf(path, sizeof path, "%s/heads/%s", RB_FIXTURES, names[i]);
        MUST(rb_model_open(path, &p.a, &p.err), &p.err);
        MUST(rb_model_open(path, &p.b, &p.err), &p.err);
        check_gradient(&p, names[i], &o);
        rb_model_deinit(&p.a);
        rb_model_deinit(&p.b);
        rb_worker_deinit(&p.worker);
    }
}

/* As after folding: gains of 1, no biases but the last norm's. */
static void fold_norms(struct random_decoder *m)
{
    static const enum decoder_part gains[] = {D_NORM1, D_NORM2},
                                   shifts[] = {D_NORM1_BIAS, D_NORM2_BIAS};
    size_t d = m->shape.hidden;
    for (size_t l = 0; l < m->shape.layers; l++)
        for (int i = 0; i < 2; i++) {
            for (size_t j = 0; decoder_has(&m->shape, gains[i]) && j < d; j++)
                decoder_at(m, l, gains[i])->values[j] = 1;
            for (size_t j = 0; decoder_has(&m->shape, shifts[i]) && j < d; j++)
                decoder_at(m, l, shifts[i])->values[j] = 0;
        }
    for (size_t j = 0; j < d; j++)
        decoder_at(m, 0, D_FINAL)->values[j] = 1;
}

/* Two decoders of a shape; between init and open they may be changed. */
struct decoders {
    struct pair p;
    struct random_decoder a, b;
};

static void decoders_init(struct decoders *x, const struct decoder_shape *s)
{
    *x = (struct decoders){0};
    tmpdir_init(&x->p.dir);
    rb_worker_init(&x->p.worker, NULL);
    random_decoder_init(&x->a, s, 5);
    random_decoder_init(&x->b, s, 1005);
}

static void decoders_open(struct decoders *x)
{
    random_decoder_open(&x->a, &x->p.dir, "a", &x->p.a);
    random_decoder_open(&x->b, &x->p.dir, "b", &x->p.b);
}

static void decoders_deinit(struct decoders *x)
{
    rb_model_deinit(&x->p.a);
    rb_model_deinit(&x->p.b);
    random_decoder_deinit(&x->a);
    random_decoder_deinit(&x->b);
    rb_worker_deinit(&x->p.worker);
    tmpdir_deinit(&x->p.dir);
}

static void test_gradients_of_decoders(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        if (s->labels > 0)
            continue;
        struct decoders x;
        struct rb_learn_options o;
        gradient_options(&o);
        o.query_keys = s->family != OLMO2; /* its gains over whole queries are in the way */
        decoders_init(&x, s);
        fold_norms(&x.a);
        fold_norms(&x.b);
        decoders_open(&x);
        check_gradient(&x.p, s->name, &o);
        if (i % 4 == 1) { /* the stream's map alone: by rows of the batch everywhere */
            struct rb_learn_options alone = o;
            alone.query_keys = alone.values = false;
            check_gradient(&x.p, s->name, &alone);
        }
        o.stretches = true;
        check_gradient(&x.p, s->name, &o);
        o.scales = decoder_gated(s);
        if (o.scales)
            check_gradient(&x.p, s->name, &o);
        o.head_orders = o.query_keys; /* matrices that have gone elsewhere with their heads */
        if (o.head_orders)
            check_gradient(&x.p, s->name, &o);
        decoders_deinit(&x);
    }
}

/* ---- which unit goes with which ---- */

/* B with (1 + h D) in the place of the permutation of FF's units: rows of up and gate, columns of
 * down. D: (layers, n, n). */
static void mix_units(struct random_decoder *m, const double *d, double h)
{
    static const enum decoder_part parts[] = {D_UP, D_UP_BIAS, D_GATE, D_GATE_BIAS, D_DOWN};
    size_t n = m->shape.inner;
    for (size_t l = 0; l < m->shape.layers; l++)
        for (size_t k = 0; k < COUNT(parts); k++) {
            struct decoder_tensor *t = decoder_at(m, l, parts[k]);
            if (!decoder_has(&m->shape, parts[k]))
                continue;
            double *old = must_alloc(t->rows * t->columns, sizeof *old);
            memcpy(old, t->values, t->rows * t->columns * sizeof *old);
            bool down = parts[k] == D_DOWN;
            size_t others = down ? t->rows : t->columns;
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    for (size_t o = 0; o < others; o++)
                        t->values[down ? o * n + i : i * others + o] +=
                            h * d[(l * n + i) * n + j] * old[down ? o * n + j : j * others + o];
            free(old);
        }
}

/* The loss of a step of o with B mixed by d; take (may be NULL): what of the slopes goes to dx. */
static double loss_of_mixed(const struct decoder_shape *s, const struct rb_learn_options *o,
                            void (*mix)(struct random_decoder *m, const double *d, double h),
                            const double *d, double h,
                            void (*take)(const struct decoder_shape *s,
                                         const struct rb_learn_maps *m, double *dx),
                            double *dx)
{
    struct decoders x;
    struct rb_motion motion;
    struct rb_program *program;
    decoders_init(&x, s);
    mix(&x.b, d, h);
    decoders_open(&x);
    struct rb_sequences blocks = random_blocks(x.p.b.config.vocab_size, BLOCKS, BLOCK);
    start(&x.p, &blocks, o, &motion, &program);
    MUST(rb_program_run(program, &x.p.worker, &x.p.err), &x.p.err);
    double loss = rb_learn_last_loss(program);
    if (take != NULL)
        take(s, &((struct rb_learn *)program)->maps, dx);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&blocks);
    decoders_deinit(&x);
    return loss;
}

static void take_orders(const struct decoder_shape *s, const struct rb_learn_maps *m, double *dx)
{
    assert_int_equal(m->units.parameters, s->inner * (s->inner + 1));
    memcpy(dx, m->dx + rb_learn_maps_first(m, m->count, &(size_t){0}),
           s->layers * m->units.parameters * sizeof *dx);
}

/* dx: the gradient of the scores; new. */
static double mixed_loss(const struct decoder_shape *s, const double *d, double h, double **dx)
{
    struct rb_learn_options o;
    gradient_options(&o);
    o.residual = o.query_keys = false;
    o.orders = dx != NULL;
    if (dx != NULL)
        *dx = must_alloc(s->layers * s->inner * (s->inner + 1), sizeof **dx);
    return loss_of_mixed(s, &o, mix_units, d, h, dx != NULL ? take_orders : NULL,
                         dx != NULL ? *dx : NULL);
}

/* Straight through: the scores' gradient is that of the permutation, as if it were any matrix. */
static void test_gradients_of_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        if (s->labels > 0 || s->dtype != RB_F32 || i % 3 != 0)
            continue;
        size_t n = s->inner, per = n * (n + 1), all = s->layers * n * n;
        double *d = must_alloc(all, sizeof *d), *dx, slope = 0, norm = 0, h = 2e-2;
        (void)mixed_loss(s, d, 0, &dx);
        for (size_t l = 0; l < s->layers; l++)
            for (size_t k = 0; k < n * n; k++)
                norm += dx[l * per + k] * dx[l * per + k];
        norm = sqrt(norm);
        assert_true(norm > 0);
        for (size_t l = 0; l < s->layers; l++)
            for (size_t k = 0; k < n * n; k++) {
                d[l * n * n + k] = dx[l * per + k] / norm;
                slope += dx[l * per + k] * d[l * n * n + k];
            }
        double found = (8 * (mixed_loss(s, d, h, NULL) - mixed_loss(s, d, -h, NULL)) -
                        (mixed_loss(s, d, 2 * h, NULL) - mixed_loss(s, d, -2 * h, NULL))) /
                       (12 * h);
        if (!(fabs(found - slope) <= 2e-3 * fabs(slope) + 1e-6))
            fail_msg("%s: derivative %.7g, by differences %.7g", s->name, slope, found);
        free(d);
        free(dx);
    }
}

/* ---- which head goes with which ---- */

/* B with (1 + h D) in the place of the permutation of key-value heads, queries with theirs. D:
 * (layers, n, n). */
static void mix_heads(struct random_decoder *m, const double *d, double h)
{
    static const enum decoder_part parts[] = {D_QUERY, D_QUERY_BIAS, D_KEY,   D_KEY_BIAS,
                                              D_VALUE, D_VALUE_BIAS, D_OUTPUT};
    size_t n = m->shape.kv_heads;
    for (size_t l = 0; l < m->shape.layers; l++)
        for (size_t k = 0; k < COUNT(parts); k++) {
            struct decoder_tensor *t = decoder_at(m, l, parts[k]);
            if (!decoder_has(&m->shape, parts[k]))
                continue;
            size_t size = t->rows * t->columns;
            bool output = parts[k] == D_OUTPUT;
            size_t lines = output ? t->rows : 1, line = size / lines, part = line / n;
            double *old = must_alloc(size, sizeof *old);
            memcpy(old, t->values, size * sizeof *old);
            for (size_t r = 0; r < lines; r++)
                for (size_t i = 0; i < n; i++)
                    for (size_t j = 0; j < n; j++)
                        for (size_t o = 0; o < part; o++)
                            t->values[r * line + i * part + o] +=
                                h * d[(l * n + i) * n + j] * old[r * line + j * part + o];
            free(old);
        }
}

static void take_head_orders(const struct decoder_shape *s, const struct rb_learn_maps *m,
                             double *dx)
{
    size_t n = s->kv_heads, count;
    for (size_t l = 0; l < s->layers; l++) {
        size_t first = rb_learn_maps_first(m, rb_learn_maps_order_item(m) + l, &count);
        assert_int_equal(count, n * (n + 1));
        memcpy(dx + l * n * n, m->dx + first, n * n * sizeof *dx);
    }
}

static double mixed_heads_loss(const struct decoder_shape *s, const double *d, double h, double *dx)
{
    struct rb_learn_options o;
    gradient_options(&o);
    o.residual = false;
    o.head_orders = dx != NULL;
    return loss_of_mixed(s, &o, mix_heads, d, h, dx != NULL ? take_head_orders : NULL, dx);
}

static void test_gradients_of_head_orders(void **state)
{
    (void)state;
    size_t checked = 0;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        if (s->labels > 0 || s->dtype != RB_F32 || s->family == OLMO2 || s->kv_heads == 1)
            continue;
        size_t all = s->layers * s->kv_heads * s->kv_heads;
        double *d = must_alloc(all, sizeof *d), *dx = must_alloc(all, sizeof *dx);
        double slope = 0, norm = 0, h = 2e-2;
        (void)mixed_heads_loss(s, d, 0, dx);
        for (size_t k = 0; k < all; k++)
            norm += dx[k] * dx[k];
        norm = sqrt(norm);
        assert_true(norm > 0);
        for (size_t k = 0; k < all; k++) {
            d[k] = dx[k] / norm;
            slope += dx[k] * d[k];
        }
        double found =
            (8 * (mixed_heads_loss(s, d, h, NULL) - mixed_heads_loss(s, d, -h, NULL)) -
             (mixed_heads_loss(s, d, 2 * h, NULL) - mixed_heads_loss(s, d, -2 * h, NULL))) /
            (12 * h);
        if (!(fabs(found - slope) <= 2e-3 * fabs(slope) + 1e-6))
            fail_msg("%s: derivative %.7g, by differences %.7g", s->name, slope, found);
        checked++;
        free(d);
        free(dx);
    }
    assert_true(checked > 5);
}

/* Heads that scores send elsewhere take all with them: the loss is that of B whose heads stand
 * there, each with the matrices inside it. stands: they do, and no score sends them. */
static double loss_of_order(const struct decoder_shape *s, bool stands)
{
    struct decoders x;
    struct rb_learn_options o;
    struct rb_motion motion;
    struct rb_program *program;
    size_t n = s->kv_heads, count;
    uint64_t seed = 3;
    gradient_options(&o);
    o.residual = false;
    o.stretches = true;
    o.head_orders = true;
    decoders_init(&x, s);
    double *d = must_alloc(s->layers * n * n, sizeof *d);
    for (size_t i = 0; i < s->layers * n; i++) { /* slot i: head i + 1 */
        d[i * n + i % n] -= 1;
        d[i * n + (i + 1) % n] += 1;
    }
    if (stands)
        mix_heads(&x.b, d, 1);
    decoders_open(&x);
    struct rb_sequences blocks = random_blocks(x.p.b.config.vocab_size, BLOCKS, BLOCK);
    start(&x.p, &blocks, &o, &motion, &program);
    struct rb_learn_maps *m = &((struct rb_learn *)program)->maps;
    for (size_t i = 0; i < m->count; i++) { /* of each kind and layer n, one after the other */
        size_t head = i % n, slot = stands ? (head + n - 1) % n : head;
        size_t first = rb_learn_maps_first(m, i - head + slot, &count);
        for (size_t k = 0; k < count; k++)
            m->x[first + k] = random_uniform(&seed, -0.3, 0.3);
    }
    for (size_t l = 0; l < s->layers && !stands; l++) {
        double *taken =
            m->x + rb_learn_maps_first(m, rb_learn_maps_order_item(m) + l, &count) + n * n;
        for (size_t i = 0; i < n; i++)
            taken[i] = (double)((i + 1) % n);
    }
    MUST(rb_program_run(program, &x.p.worker, &x.p.err), &x.p.err);
    double loss = rb_learn_last_loss(program);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(m->heads_order.order[i], stands ? i : (i + 1) % n);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&blocks);
    decoders_deinit(&x);
    free(d);
    return loss;
}

static void test_moved_heads_take_all_along(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        if (s->labels > 0 || s->dtype != RB_F32 || s->family == OLMO2 || s->kv_heads == 1)
            continue;
        double expected = loss_of_order(s, true), found = loss_of_order(s, false);
        if (!(fabs(found - expected) <= 1e-6 * expected))
            fail_msg("%s: loss %.9g, of heads that stand there %.9g", s->name, found, expected);
    }
}

/* ---- the same bits, whoever runs it and however often it is interrupted ---- */

static const struct random_shape *some_shape = &odd_shapes[0];

static void some_options(struct rb_learn_options *o)
{
    rb_learn_options_default(o);
    o->steps = 60;
    o->batch_tokens = 70;
    o->residual = false;
    o->orders = true;
    o->patience = 0;
}

static double *parameters_of(struct rb_program *p)
{
    struct rb_learn *c = (struct rb_learn *)p;
    double *x = malloc(c->maps.parameters * sizeof *x);
    assert_non_null(x);
    memcpy(x, c->maps.x, c->maps.parameters * sizeof *x);
    return x;
}

static void same_parameters(struct rb_program *p, const double *expected)
{
    struct rb_learn *c = (struct rb_learn *)p;
    assert_memory_equal(c->maps.x, expected, c->maps.parameters * sizeof *expected);
}

static void any_threads(struct pair *p, const struct rb_learn_options *o)
{
    struct rb_sequences blocks = random_blocks(p->b.config.vocab_size, 40, BLOCK);
    double *first = NULL;
    for (size_t threads = 1; threads <= 5; threads += 2) {
        struct rb_motion motion;
        struct rb_program *program;
        start(p, &blocks, o, &motion, &program);
        run_program(program, threads, SHUFFLED, threads * 17);
        if (first == NULL)
            first = parameters_of(program);
        same_parameters(program, first);
        rb_program_free(program);
        rb_motion_deinit(&motion);
    }
    free(first);
    rb_sequences_deinit(&blocks);
}

static void test_threads(void **state)
{
    (void)state;
    struct pair p;
    struct rb_learn_options o;
    pair_init(&p, some_shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    some_options(&o);
    any_threads(&p, &o);
    pair_deinit(&p);
}

/* A decoder's stream alone (its gradient goes by rows of the batch), and beside heads. */
static void test_threads_of_decoders(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i / 2];
        struct decoders x;
        struct rb_learn_options o;
        if (s->labels > 0 || s->dtype != RB_F32 || i % 5 != 0)
            continue;
        some_options(&o);
        o.residual = true;
        o.orders = false;
        o.query_keys = o.query_keys && i % 2 == 1;
        o.values = o.values && i % 2 == 1;
        o.head_orders = o.values && o.query_keys;
        o.steps = 4;
        decoders_init(&x, s);
        decoders_open(&x);
        any_threads(&x.p, &o);
        decoders_deinit(&x);
    }
}

/* Runs until the program stands at its `stop`-th chance to be saved; false: it has finished. */
static bool run_until(struct rb_program *p, struct rb_worker *w, size_t stop)
{
    size_t items, chances = 0;
    struct rb_error err;
    for (;;) {
        MUST(p->ops->next_round(p, &items, &err), &err);
        if (items == 0)
            return false;
        if (rb_learn_at_step(p) && chances++ == stop)
            return true;
        for (size_t i = 0; i < items; i++)
            MUST(rb_program_run_item(p, i, w, &err), &err);
    }
}

static void resumes(struct pair *p, const struct rb_learn_options *o)
{
    struct rb_sequences blocks = random_blocks(p->b.config.vocab_size, 40, BLOCK);
    struct rb_motion motion;
    struct rb_program *program;
    start(p, &blocks, o, &motion, &program);
    assert_false(run_until(program, &p->worker, SIZE_MAX));
    double *whole = parameters_of(program);
    size_t looks, again;
    const struct rb_learn_look *curve = rb_learn_curve(program, &looks);
    assert_int_equal(looks, 4); /* 0, 25, 50, 60 */
    struct rb_learn_look kept[4];
    memcpy(kept, curve, sizeof kept);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    static const size_t stops[] = {0, 1, 24, 26, 27, 53, 61, 63};
    for (size_t i = 0; i < COUNT(stops); i++) {
        unsigned char *saved;
        size_t bytes;
        start(p, &blocks, o, &motion, &program);
        assert_true(run_until(program, &p->worker, stops[i]));
        MUST(rb_learn_save(program, &saved, &bytes, &p->err), &p->err);
        rb_program_free(program);
        rb_motion_deinit(&motion);
        start(p, &blocks, o, &motion, &program);
        MUST(rb_learn_restore(program, saved, bytes, &p->err), &p->err);
        assert_false(run_until(program, &p->worker, SIZE_MAX));
        same_parameters(program, whole);
        curve = rb_learn_curve(program, &again);
        assert_int_equal(again, looks);
        for (size_t k = 0; k < looks; k++) {
            assert_int_equal(curve[k].step, kept[k].step);
            assert_memory_equal(&curve[k].held_loss, &kept[k].held_loss, sizeof(double));
            assert_memory_equal(&curve[k].train_loss, &kept[k].train_loss, sizeof(double));
        }
        rb_program_free(program);
        rb_motion_deinit(&motion);
        free(saved);
    }
    free(whole);
    rb_sequences_deinit(&blocks);
}

static void test_resumes(void **state)
{
    (void)state;
    struct pair p;
    struct rb_learn_options o;
    pair_init(&p, some_shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    some_options(&o);
    resumes(&p, &o);
    pair_deinit(&p);
}

/* A gated MLP's factors, the stream and stretched heads are in the state, too. */
static void test_resumes_with_scales(void **state)
{
    (void)state;
    const struct decoder_shape *s = decoder_shapes;
    while (!decoder_gated(s) || s->family != LLAMA || s->labels > 0)
        s++;
    struct decoders x;
    struct rb_learn_options o;
    some_options(&o);
    o.residual = o.scales = o.stretches = o.head_orders = true;
    o.orders = false;
    decoders_init(&x, s);
    decoders_open(&x);
    resumes(&x.p, &o);
    decoders_deinit(&x);
}

static void test_states_of_others(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, some_shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    struct rb_sequences blocks = random_blocks(p.b.config.vocab_size, 40, BLOCK);
    struct rb_learn_options o;
    some_options(&o);
    struct rb_motion motion;
    struct rb_program *program;
    unsigned char *saved;
    size_t bytes;
    start(&p, &blocks, &o, &motion, &program);
    assert_true(run_until(program, &p.worker, 3));
    MUST(rb_learn_save(program, &saved, &bytes, &p.err), &p.err);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    start(&p, &blocks, &o, &motion, &program);
    for (size_t cut = 0; cut < bytes; cut += bytes / 37 + 1)
        assert_int_equal(rb_learn_restore(program, saved, cut, &p.err), RB_EINPUT);
    for (size_t at = 0; at < bytes; at += 41) {
        saved[at] ^= 4;
        assert_int_equal(rb_learn_restore(program, saved, bytes, &p.err), RB_EINPUT);
        saved[at] ^= 4;
    }
    state_set_arithmetic(saved, bytes, true);
    assert_int_equal(rb_learn_restore(program, saved, bytes, &p.err), RB_EINPUT);
    assert_non_null(strstr(p.err.detail, "kernels of another machine"));
    assert_non_null(strstr(p.err.detail, "arithmetic 1, "));
    state_set_arithmetic(saved, bytes, false);
    state_set_format(saved, bytes, true);
    assert_int_equal(rb_learn_restore(program, saved, bytes, &p.err), RB_EINPUT);
    assert_non_null(strstr(p.err.detail, "another build"));
    state_set_format(saved, bytes, false);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    o.seed = 9; /* another run */
    start(&p, &blocks, &o, &motion, &program);
    assert_int_equal(rb_learn_restore(program, saved, bytes, &p.err), RB_EINPUT);
    assert_non_null(strstr(p.err.detail, "another text"));
    rb_program_free(program);
    rb_motion_deinit(&motion);
    o.seed = 0;
    blocks.ids[5] ^= 1; /* another text */
    start(&p, &blocks, &o, &motion, &program);
    assert_int_equal(rb_learn_restore(program, saved, bytes, &p.err), RB_EINPUT);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    free(saved);
    rb_sequences_deinit(&blocks);
    pair_deinit(&p);
}

/* ---- an arithmetic that changed ---- */

/* Some steps of a decoder's stream, stretched heads and factors; of orders; of near maps. */
static uint64_t bits_of_steps(struct pair *p, const struct rb_learn_options *o)
{
    struct rb_sequences blocks = random_blocks(p->b.config.vocab_size, 40, BLOCK);
    struct rb_motion motion;
    struct rb_program *program;
    start(p, &blocks, o, &motion, &program);
    assert_false(run_until(program, &p->worker, SIZE_MAX));
    const struct rb_learn_maps *m = &((struct rb_learn *)program)->maps;
    uint64_t sum = rb_learn_checksum(m->x, m->parameters * sizeof *m->x, 0);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&blocks);
    return sum;
}

/* Bits of steps by what rb_learn_arithmetic says behind its number, each as that number found them.
 * One of them is another now: raise RB_LEARN_ARITHMETIC and put the new bits here. Where nothing is
 * known of a machine nothing is compared. */
static const struct {
    const char *machine;
    int arithmetic;
    uint64_t bits[3];
} known_bits[] = {
    {"kernels avx512, OpenBLAS 0.3.21 Haswell, glibc 2.36, gcc 12.2.0, flags a649136f",
     1,
     {0xf154fac12ee2456a, 0xb98040bfdc8b04c6, 0xbfa9df254a7df688}},
};

static void test_bits_of_this_arithmetic(void **state)
{
    (void)state;
    struct rb_learn_options o;
    struct decoders x;
    struct pair p;
    const struct decoder_shape *s = decoder_shapes;
    uint64_t bits[3];
    char here[RB_LEARN_ARITHMETIC_SIZE];
    while (s->family != LLAMA || s->labels > 0)
        s++;
    some_options(&o);
    o.steps = 12;
    pair_init(&p, some_shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    bits[0] = bits_of_steps(&p, &o);
    o.residual = true;
    o.orders = false;
    bits[1] = bits_of_steps(&p, &o);
    pair_deinit(&p);
    o.scales = o.stretches = true;
    decoders_init(&x, s);
    decoders_open(&x);
    bits[2] = bits_of_steps(&x.p, &o);
    decoders_deinit(&x);
    rb_learn_arithmetic(here);
    print_message("%s: %llx %llx %llx\n", here, (unsigned long long)bits[0],
                  (unsigned long long)bits[1], (unsigned long long)bits[2]);
    for (size_t i = 0; i < COUNT(known_bits); i++)
        if (strstr(here, known_bits[i].machine) != NULL) {
            assert_int_equal(known_bits[i].arithmetic, RB_LEARN_ARITHMETIC);
            assert_memory_equal(bits, known_bits[i].bits, sizeof bits);
        }
}

/* Patience ends a run that does not get better, and what is kept is the best look. */
static void test_patience(void **state)
{
    (void)state;
    struct pair p;
    pair_init(&p, some_shape, PAIR_INDEPENDENT, 5);
    pair_open(&p);
    struct rb_sequences blocks = random_blocks(p.b.config.vocab_size, 40, BLOCK);
    struct rb_learn_options o;
    some_options(&o);
    o.steps = 1000;
    o.patience = 2;
    o.learning_rate = 0.5; /* far too much: it can only get worse */
    struct rb_motion motion;
    struct rb_program *program;
    start(&p, &blocks, &o, &motion, &program);
    assert_false(run_until(program, &p.worker, SIZE_MAX));
    assert_true(rb_learn_steps_done(program) < o.steps);
    size_t count;
    const struct rb_learn_look *curve = rb_learn_curve(program, &count);
    for (size_t i = 0; i < count; i++)
        assert_true(curve[i].step == rb_learn_best_step(program) ||
                    curve[i].held_loss >= curve[rb_learn_best_step(program) / 25].held_loss);
    rb_program_free(program);
    rb_motion_deinit(&motion);
    rb_sequences_deinit(&blocks);
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_gradients_of_encoders),
        cmocka_unit_test(test_gradients_of_decoders),
        cmocka_unit_test(test_gradients_of_orders),
        cmocka_unit_test(test_gradients_of_head_orders),
        cmocka_unit_test(test_moved_heads_take_all_along),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_threads_of_decoders),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_resumes_with_scales),
        cmocka_unit_test(test_states_of_others),
        cmocka_unit_test(test_bits_of_this_arithmetic),
        cmocka_unit_test(test_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
