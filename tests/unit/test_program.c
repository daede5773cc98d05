// LINK: core_merge
/* What core/program.h promises: results are the same, bit for bit, whatever the order of a round's
 * items and the number of threads. Also: a set stop flag ends every program with RB_ECANCELED. */
#include "unit/random_model.h"
#include "unit/threads.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/solve.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/merge/write.h"

#include <cblas.h>

/* 9,000 tokens: two slabs of moments, many spans; several tiles of the vocabulary. */
static const struct random_shape shapes[] = {
    {.name = "mlm",
     .hidden = 48,
     .layers = 2,
     .heads = 4,
     .intermediate = 80,
     .vocab = 333,
     .positions = 40,
     .types = 2,
     .labels = 2,
     .head = RB_HEAD_MLM,
     .dtype = RB_F16},
    {.name = "classifier",
     .hidden = 48,
     .layers = 2,
     .heads = 4,
     .intermediate = 80,
     .vocab = 333,
     .positions = 40,
     .types = 2,
     .labels = 3,
     .head = RB_HEAD_CLASSIFIER,
     .dtype = RB_F32},
};
enum { SEQUENCES = 400 };

struct schedule {
    const char *name;
    size_t threads;
    enum order order;
};

static const struct schedule schedules[] = {
    {"1 thread, in order", 1, IN_ORDER},  {"1 thread, reversed", 1, REVERSED},
    {"1 thread, shuffled", 1, SHUFFLED},  {"2 threads, in order", 2, IN_ORDER},
    {"2 threads, shuffled", 2, SHUFFLED}, {"4 threads, in order", 4, IN_ORDER},
    {"4 threads, shuffled", 4, SHUFFLED},
};

struct fixture {
    struct tmpdir dir;
    struct rb_model a, b;
    struct rb_sequences sequences;
    const struct schedule *schedule;
    struct rb_error err;
};

static void open_fixture(struct fixture *f, const struct random_shape *shape)
{
    memset(f, 0, sizeof *f);
    tmpdir_init(&f->dir);
    for (int side = 0; side < 2; side++) {
        struct random_model m;
        random_model_init(&m, shape, 31 + (uint64_t)side);
        random_model_open(&m, &f->dir, side == 0 ? "a" : "b", side == 0 ? &f->a : &f->b);
        random_model_deinit(&m);
    }
    f->sequences = random_sequences(shape, SEQUENCES, 5, 40, 33);
}

static void close_fixture(struct fixture *f)
{
    rb_sequences_deinit(&f->sequences);
    rb_model_deinit(&f->a);
    rb_model_deinit(&f->b);
    tmpdir_deinit(&f->dir);
}

static void run(const struct fixture *f, struct rb_program *p)
{
    run_program(p, f->schedule->threads, f->schedule->order, 34);
}

static void same(const struct fixture *f, const char *what, const void *found, const void *expected,
                 size_t bytes)
{
    if (memcmp(found, expected, bytes) != 0)
        fail_msg("%s: %s: other bits than on one thread in order", f->schedule->name, what);
}

/* ---- moments ---- */

static struct rb_align_options options(enum rb_pooling pooling, bool special)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.separate_qk = o.rotate_heads = o.output_head = true;
    o.pooling = pooling;
    o.special_tokens = special;
    return o;
}

static struct rb_moments *collect(struct fixture *f, const struct rb_align_options *o)
{
    struct rb_program *p;
    MUST(rb_collect_new(&f->a, &f->b, &f->sequences, rb_taps_needed(o), o, &p, &f->err), &f->err);
    run(f, p);
    struct rb_moments *m = rb_collect_take(p);
    rb_program_free(p);
    return m;
}

static void same_moments(const struct fixture *f, const struct rb_moments *x,
                         const struct rb_moments *y)
{
    assert_int_equal(x->tap_count, y->tap_count);
    assert_int_equal(x->tokens, y->tokens);
    for (size_t i = 0; i < x->tap_count; i++) {
        const struct rb_tap *t = &x->taps[i], *u = &y->taps[i];
        size_t bytes = t->size * sizeof(double);
        same(f, t->name, &t->rows, &u->rows, sizeof t->rows);
        same(f, t->name, t->pivot_a, u->pivot_a, bytes);
        same(f, t->name, t->pivot_b, u->pivot_b, bytes);
        same(f, t->name, t->sum_a, u->sum_a, bytes);
        same(f, t->name, t->sum_b, u->sum_b, bytes);
        same(f, t->name, t->square_a, u->square_a, bytes);
        same(f, t->name, t->square_b, u->square_b, bytes);
        bool wide = t->cross != NULL;
        assert_int_equal(u->cross != NULL, wide);
        same(f, t->name, wide ? (const void *)t->cross : t->cross_f32,
             wide ? (const void *)u->cross : u->cross_f32,
             wide ? bytes * t->size : bytes * t->size / 2);
    }
}

/* In groups of layers, put into a file on the way. */
static struct rb_moments *collect_in_groups(struct fixture *f, const struct rb_align_options *o,
                                            const struct rb_collect_split *split)
{
    struct rb_program *p;
    const char *path = tmpdir_path(&f->dir, "moments.safetensors");
    MUST(rb_collect_new(&f->a, &f->b, &f->sequences, rb_taps_needed(o), o, &p, &f->err), &f->err);
    MUST(rb_collect_in_groups(p, split, path, &f->err), &f->err);
    double total = p->total_cost,
           cost = run_program(p, f->schedule->threads, f->schedule->order, 34);
    if (fabs(cost - total) > 1e-9 * total)
        fail_msg("%u groups: the items cost %g, the program says %g", split->groups, cost, total);
    struct rb_moments *m = rb_collect_take(p);
    rb_program_free(p);
    return m;
}

/* ---- alignment ---- */

static struct rb_alignment *solve(struct fixture *f, const struct rb_moments *m,
                                  const struct rb_align_options *o)
{
    struct rb_program *p;
    MUST(rb_solve_new(&f->a.config, f->a.head, m, o, &p, &f->err), &f->err);
    run(f, p);
    struct rb_alignment *a = rb_solve_take(p);
    rb_program_free(p);
    MUST(rb_certify_new(&f->b, a, &p, &f->err), &f->err);
    run(f, p);
    a->certificate = rb_certify_result(p);
    rb_program_free(p);
    return a;
}

static void same_if_any(const struct fixture *f, const char *what, const void *x, const void *y,
                        size_t bytes)
{
    assert_int_equal(x != NULL, y != NULL);
    if (x != NULL)
        same(f, what, x, y, bytes);
}

static void same_alignment(const struct fixture *f, const struct rb_alignment *x,
                           const struct rb_alignment *y)
{
    assert_int_equal(x->group_count, y->group_count);
    for (size_t i = 0; i < x->group_count; i++) {
        const struct rb_group *g = &x->groups[i], *h = &y->groups[i];
        size_t dh = g->head_count > 0 ? g->size / g->head_count : 0;
        size_t map = (size_t)g->correlations.heatmap_size * g->correlations.heatmap_size;
        same(f, g->name, g->index, h->index, g->size * sizeof *g->index);
        same_if_any(f, g->name, g->heads, h->heads, g->head_count * sizeof *g->heads);
        same_if_any(f, g->name, g->rotation, h->rotation, g->size * dh * sizeof(float));
        same_if_any(f, g->name, g->value_rotation, h->value_rotation, g->size * dh * sizeof(float));
        same(f, g->name, &g->score, &h->score, sizeof g->score);
        same(f, g->name, &g->correlations.matched, &h->correlations.matched,
             sizeof g->correlations.matched);
        same(f, g->name, g->correlations.heatmap_after, h->correlations.heatmap_after,
             map * sizeof(float));
    }
    same(f, "certificate", &x->certificate.max_abs_logit_difference,
         &y->certificate.max_abs_logit_difference, sizeof(double));
}

/* ---- one lambda, and a merged checkpoint ---- */

static struct rb_point evaluate(struct fixture *f, const struct rb_blend *blend)
{
    struct rb_evaluate_options o = {.task = f->a.head == RB_HEAD_MLM ? RB_TASK_MLM
                                                                     : RB_TASK_CLASSIFICATION};
    struct rb_program *p;
    struct rb_point point;
    MUST(rb_evaluate_new(blend, &o, &f->sequences, &p, &f->err), &f->err);
    run(f, p);
    MUST(rb_evaluate_result(p, &point, &f->err), &f->err);
    rb_program_free(p);
    return point;
}

static unsigned char *write_merged(struct fixture *f, const struct rb_blend *blend, size_t *bytes)
{
    struct rb_program *p;
    const char *path = tmpdir_path(&f->dir, "merged.safetensors");
    MUST(rb_write_new(blend, RB_OUT_SOURCE, path, NULL, 0, &p, &f->err), &f->err);
    run(f, p);
    rb_program_free(p);
    return tmpdir_read(path, bytes);
}

struct results {
    struct rb_moments *moments;
    struct rb_alignment *alignment;
    struct rb_point point;
    unsigned char *file;
    size_t bytes;
};

static struct results all_results(struct fixture *f, const struct rb_align_options *o)
{
    struct results r;
    struct rb_motion motion;
    r.moments = collect(f, o);
    r.alignment = solve(f, r.moments, o);
    MUST(rb_alignment_motion(r.alignment, &f->b, &motion, &f->err), &f->err);
    const struct rb_blend blend = rb_blend_pair(&f->a, &f->b, &motion, 0.4);
    r.point = evaluate(f, &blend);
    r.file = write_merged(f, &blend, &r.bytes);
    rb_motion_deinit(&motion);
    return r;
}

static void results_deinit(struct results *r)
{
    rb_moments_free(r->moments);
    rb_alignment_free(r->alignment);
    free(r->file);
}

static void check(struct fixture *f, const struct rb_align_options *o)
{
    f->schedule = &schedules[0];
    struct results expected = all_results(f, o);
    for (size_t i = 1; i < COUNT(schedules); i++) {
        f->schedule = &schedules[i];
        struct results found = all_results(f, o);
        same_moments(f, found.moments, expected.moments);
        same_alignment(f, found.alignment, expected.alignment);
        same(f, "loss", &found.point.loss, &expected.point.loss, sizeof(double));
        same(f, "standard error", &found.point.standard_error, &expected.point.standard_error,
             sizeof(double));
        assert_int_equal(found.bytes, expected.bytes);
        same(f, "merged checkpoint", found.file, expected.file, found.bytes);
        results_deinit(&found);
    }
    results_deinit(&expected);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct fixture f;
        open_fixture(&f, &shapes[i]);
        const struct rb_align_options straight = options(RB_POOL_TOKEN, true);
        const struct rb_align_options pooled = options(RB_POOL_MEAN, false);
        check(&f, &straight);
        check(&f, &pooled);
        close_fixture(&f);
    }
}

/* ---- stopping ---- */

static void assert_stops(struct rb_program *p)
{
    atomic_bool stop = true;
    struct rb_worker w;
    struct rb_error err;
    rb_worker_init(&w, &stop);
    assert_int_equal(rb_program_run(p, &w, &err), RB_ECANCELED);
    rb_worker_deinit(&w);
    rb_program_free(p);
}

static void test_stop(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_program *p;
    struct rb_motion motion;
    const struct rb_align_options o = options(RB_POOL_TOKEN, true);
    const struct rb_evaluate_options e = {.task = RB_TASK_MLM};
    open_fixture(&f, &shapes[0]);
    f.schedule = &schedules[0];
    struct rb_moments *m = collect(&f, &o);
    struct rb_alignment *a = solve(&f, m, &o);
    MUST(rb_alignment_motion(a, &f.b, &motion, &f.err), &f.err);
    const struct rb_blend blend = rb_blend_pair(&f.a, &f.b, &motion, 0.5);
    const char *path = tmpdir_path(&f.dir, "stopped.safetensors");

    MUST(rb_collect_new(&f.a, &f.b, &f.sequences, rb_taps_needed(&o), &o, &p, &f.err), &f.err);
    assert_stops(p);
    MUST(rb_solve_new(&f.a.config, f.a.head, m, &o, &p, &f.err), &f.err);
    assert_stops(p);
    MUST(rb_certify_new(&f.b, a, &p, &f.err), &f.err);
    assert_stops(p);
    MUST(rb_evaluate_new(&blend, &e, &f.sequences, &p, &f.err), &f.err);
    assert_stops(p);
    int before = tmpdir_count(&f.dir);
    MUST(rb_write_new(&blend, RB_OUT_SOURCE, path, NULL, 0, &p, &f.err), &f.err);
    assert_stops(p);
    assert_int_equal(tmpdir_count(&f.dir), before); /* nothing is left of the file */

    rb_motion_deinit(&motion);
    rb_alignment_free(a);
    rb_moments_free(m);
    close_fixture(&f);
}

/* ---- groups of layers ---- */

/* Groups whose sums take at most that share of all sums. */
static struct rb_collect_split split_by(const struct fixture *f, unsigned taps, double share,
                                        bool again)
{
    struct rb_collect_split s;
    uint64_t tokens = rb_sequences_tokens(&f->sequences);
    uint32_t layers = f->a.config.num_hidden_layers;
    double walked = 0;
    rb_collect_split_make(&f->a, taps, tokens, UINT64_MAX, &s);
    assert_int_equal(s.groups, 1);
    s.again = again;
    s.budget = (uint64_t)(share * (double)s.sum_bytes);
    s.groups = 0;
    for (uint32_t first = 0, end; first < layers; first = end, s.groups++) {
        end = rb_collect_group_end(&f->a, taps, tokens, s.budget, first);
        walked += again ? end : end - first;
    }
    s.passes = walked / layers;
    return s;
}

static void check_groups(struct fixture *f, const struct rb_align_options *o,
                         const struct rb_collect_split *split, const struct rb_moments *whole,
                         const struct rb_alignment *aligned)
{
    for (size_t i = 0; i < COUNT(schedules); i += 3) {
        f->schedule = &schedules[i];
        struct rb_moments *m = collect_in_groups(f, o, split);
        assert_non_null(m->mapped);
        same_moments(f, whole, m);
        struct rb_alignment *a = solve(f, m, o);
        same_alignment(f, aligned, a);
        rb_alignment_free(a);
        rb_moments_free(m);
    }
}

/* A limit that forces groups changes no bit: with the stream kept, with features computed again,
 * over several slabs and over one. */
static void test_groups(void **state)
{
    (void)state;
    static const struct {
        size_t sequences;
        double share;
        uint32_t groups;
    } cases[] = {{SEQUENCES, 0.8, 2}, {SEQUENCES, 0, 4}, {20, 0.8, 2}, {20, 0, 4}};
    struct random_shape shape = shapes[0];
    const struct rb_align_options o = options(RB_POOL_TOKEN, true);
    shape.layers = 4;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        open_fixture(&f, &shape);
        rb_sequences_deinit(&f.sequences);
        f.sequences = random_sequences(&shape, cases[i].sequences, 5, 40, 33);
        f.schedule = &schedules[0];
        struct rb_moments *whole = collect(&f, &o);
        struct rb_alignment *aligned = solve(&f, whole, &o);
        for (int again = 0; again < 2; again++) {
            struct rb_collect_split split =
                split_by(&f, rb_taps_needed(&o), cases[i].share, again == 1);
            assert_int_equal(split.groups, cases[i].groups);
            check_groups(&f, &o, &split, whole, aligned);
        }
        rb_alignment_free(aligned);
        rb_moments_free(whole);
        close_fixture(&f);
    }
}

/* What is chosen for a decoder of 1.3 B parameters: its FF sums alone are 0.54 GB a layer in F64.
 */
static void test_split(void **state)
{
    (void)state;
    static const struct {
        uint64_t tokens, limit_mb;
        uint32_t groups;
        bool again;
    } cases[] = {
        {20000, 20000, 1, false}, {20000, 6000, 3, false}, {20000, 1000, 24, false},
        {20000, 570, 24, true}, /* 328 MB of streams do not fit beside one layer */
        {20000, 100, 24, true},   {16000, 7000, 1, false}, /* one slab: F32, a layer is a group */
        {16000, 6000, 24, false}, {1600, 100, 24, false},
    };
    struct rb_model m = {
        .config = {.hidden_size = 2048,
                   .embedding_size = 2048,
                   .num_hidden_layers = 24,
                   .attention = {.heads = 16, .kv_heads = 16, .head_dim = 128, .causal = true},
                   .mlp.inner_size = 8192}};
    struct rb_align_options o;
    rb_align_options_default(&o);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_collect_split s;
        uint64_t limit = cases[i].limit_mb * 1000000;
        rb_collect_split_make(&m, rb_taps_needed(&o), cases[i].tokens, limit, &s);
        assert_int_equal(s.groups, cases[i].groups);
        assert_int_equal(s.again, cases[i].again);
        assert_int_equal(rb_collect_one_slab(&m, 2, rb_taps_needed(&o), cases[i].tokens),
                         cases[i].tokens <= 16000);
        bool one_layer = s.groups == 24;
        assert_true(one_layer || s.groups == 1 || s.sum_bytes + s.stream_bytes <= limit);
        assert_true(s.again ? s.passes > 12 : !(s.passes > 1) && !(s.passes < 1));
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
