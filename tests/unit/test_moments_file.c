// LINK: core_merge
/* Moments on disk: the same bits back, the same alignment from them, and every damaged file
 * refused. */
#include "unit/odd_shapes.h"
#include "unit/pair.h"
#include "unit/rewrite.h"

#include "core/align/similarity.h"
#include "core/align/solve.h"

#include <cblas.h>
#include <math.h>

struct fixture {
    struct pair pair;
    struct rb_align_options options;
    struct rb_moments *moments;
    char path[600], other[600];
};

static void *twice(void *p, size_t n, size_t size)
{
    char *more = realloc(p, 2 * n * size);
    assert_non_null(more);
    memcpy(more + n * size, more, n * size);
    return more;
}

/* Every sequence once more: the same means and covariances. */
static void repeat(struct rb_sequences *s)
{
    size_t n = s->count, tokens = rb_sequences_tokens(s);
    s->ids = twice(s->ids, tokens, sizeof *s->ids);
    s->types = twice(s->types, tokens, sizeof *s->types);
    s->special = twice(s->special, tokens, sizeof *s->special);
    s->targets = twice(s->targets, tokens, sizeof *s->targets);
    s->target_count *= 2;
    s->labels = twice(s->labels, n, sizeof *s->labels);
    s->rows = twice(s->rows, n, sizeof *s->rows);
    s->starts = twice(s->starts, n + 1, sizeof *s->starts);
    for (size_t i = 0; i < n; i++)
        s->starts[n + i + 1] = tokens + s->starts[i + 1];
    s->count *= 2;
}

enum length {
    SHORT,      /* some hundred tokens */
    ONE_SLAB,   /* near the most that one slab holds (collect.c) */
    TWO_SLABS,  /* the same sequences twice */
    LONG = 400, /* sequences */
};

static void open_fixture(struct fixture *f, enum length length)
{
    memset(f, 0, sizeof *f);
    rb_align_options_default(&f->options);
    f->options.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    f->options.separate_qk = f->options.output_head = true;
    pair_init(&f->pair, &odd_shapes[4], PAIR_INDEPENDENT, 101);
    pair_open(&f->pair);
    if (length != SHORT) {
        rb_sequences_deinit(&f->pair.align);
        f->pair.align = random_sequences(&f->pair.shape, LONG, 3, f->pair.shape.positions, 102);
    }
    if (length == TWO_SLABS)
        repeat(&f->pair.align);
    f->moments = pair_collect(&f->pair, &f->options);
    (void)snprintf(f->path, sizeof f->path, "%s/moments", f->pair.dir.path);
    (void)snprintf(f->other, sizeof f->other, "%s/other", f->pair.dir.path);
    MUST(rb_moments_save(f->moments, f->path, &f->pair.err), &f->pair.err);
}

static void close_fixture(struct fixture *f)
{
    rb_moments_free(f->moments);
    pair_deinit(&f->pair);
}

static void same_vector(const double *x, const double *y, size_t n)
{
    assert_memory_equal(x, y, n * sizeof *x);
}

static void check_round_trip(enum length length)
{
    struct fixture f;
    struct rb_moments *m;
    open_fixture(&f, length);
    MUST(rb_moments_load(f.path, &m, &f.pair.err), &f.pair.err);
    assert_int_equal(m->tap_count, f.moments->tap_count);
    assert_int_equal(m->tokens, f.moments->tokens);
    for (size_t i = 0; i < f.moments->tap_count; i++) {
        const struct rb_tap *t = &f.moments->taps[i], *u = rb_moments_find(m, t->kind, t->layer);
        assert_non_null(u);
        assert_string_equal(u->name, t->name);
        assert_int_equal(u->size, t->size);
        assert_memory_equal(&u->rows, &t->rows, sizeof t->rows);
        same_vector(u->pivot_a, t->pivot_a, t->size);
        same_vector(u->pivot_b, t->pivot_b, t->size);
        same_vector(u->sum_a, t->sum_a, t->size);
        same_vector(u->sum_b, t->sum_b, t->size);
        same_vector(u->square_a, t->square_a, t->size);
        same_vector(u->square_b, t->square_b, t->size);
        assert_int_equal(t->cross == NULL, length == SHORT);
        assert_int_equal(t->cross_f32 == NULL, length != SHORT);
        assert_int_equal(u->cross == NULL, t->cross == NULL);
        assert_int_equal(u->cross_f32 == NULL, t->cross_f32 == NULL);
        size_t n = (size_t)t->size * t->size;
        if (t->cross != NULL)
            same_vector(u->cross, t->cross, n);
        else
            assert_memory_equal(u->cross_f32, t->cross_f32, n * sizeof *t->cross_f32);
    }
    rb_moments_free(m);
    close_fixture(&f);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_round_trip(SHORT);
    check_round_trip(TWO_SLABS);
}

/* F32 products of one slab, and products folded into F64 over two, are the same moments: rounding
 * of some thousand products near 1 is all that may differ. */
static void test_one_slab_and_two(void **state)
{
    (void)state;
    struct fixture one, two;
    double worst = 0;
    open_fixture(&one, ONE_SLAB);
    open_fixture(&two, TWO_SLABS);
    for (size_t i = 0; i < one.moments->tap_count; i++) {
        const struct rb_tap *t = &one.moments->taps[i], *u = &two.moments->taps[i];
        assert_non_null(t->cross_f32);
        assert_non_null(u->cross);
        assert_true(u->rows == 2 * t->rows);
        for (size_t j = 0; j < t->size; j++)
            for (size_t k = 0; k < t->size; k++) {
                double sigmas = sqrt(rb_tap_variance(t, 0, j) * rb_tap_variance(t, 1, k));
                double off = fabs(rb_tap_covariance(t, j, k) - rb_tap_covariance(u, j, k));
                assert_true(off <= 1e-6 * sigmas);
                worst = fmax(worst, sigmas > 0 ? off / sigmas : 0);
            }
    }
    print_message("  correlations differ by at most %.1e\n", worst);
    close_fixture(&one);
    close_fixture(&two);
}

static struct rb_alignment *solve(struct fixture *f, const struct rb_moments *m)
{
    struct rb_program *p;
    MUST(rb_solve_new(&f->pair.a.config, f->pair.a.head, m, &f->options, &p, &f->pair.err),
         &f->pair.err);
    MUST(rb_program_run(p, &f->pair.worker, &f->pair.err), &f->pair.err);
    struct rb_alignment *a = rb_solve_take(p);
    rb_program_free(p);
    return a;
}

/* A job that finds its moments in the cache gives the same bits as one that collects them. */
static void test_same_alignment(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_moments *m;
    open_fixture(&f, SHORT);
    MUST(rb_moments_load(f.path, &m, &f.pair.err), &f.pair.err);
    struct rb_alignment *x = solve(&f, f.moments), *y = solve(&f, m);
    assert_int_equal(x->group_count, y->group_count);
    assert_int_equal(x->tokens, y->tokens);
    for (size_t i = 0; i < x->group_count; i++) {
        assert_memory_equal(x->groups[i].index, y->groups[i].index,
                            x->groups[i].size * sizeof *x->groups[i].index);
        assert_memory_equal(&x->groups[i].score, &y->groups[i].score, sizeof(double));
        assert_memory_equal(&x->groups[i].mean_correlation, &y->groups[i].mean_correlation,
                            sizeof(double));
    }
    rb_alignment_free(x);
    rb_alignment_free(y);
    rb_moments_free(m);
    close_fixture(&f);
}

/* ---- damage ---- */

static const struct {
    const char *what;
    enum { DROP, SHAPE, VALUE } change;
    const char *name, *value;
    uint64_t shape[2];
    enum rb_dtype dtype;
    uint32_t rank;
} damages[] = {
    {"no cross", DROP, .name = "layer.0.ff.cross"},
    {"no sum", DROP, .name = "residual.2.sum_b"},
    {"no pivot", DROP, .name = "head.pivot_a"},
    {"shorter", SHAPE, "residual.0.sum_a", .shape = {31}, .dtype = RB_F64, .rank = 1},
    {"longer", SHAPE, "residual.0.sum_a", .shape = {33}, .dtype = RB_F64, .rank = 1},
    {"empty", SHAPE, "residual.0.sum_a", .shape = {0}, .dtype = RB_F64, .rank = 1},
    {"not square", SHAPE, "layer.0.mha.cross", .shape = {32, 31}, .dtype = RB_F32, .rank = 2},
    {"flat cross", SHAPE, "layer.0.mha.cross", .shape = {1024}, .dtype = RB_F32, .rank = 1},
    {"F16", SHAPE, "layer.0.mha.cross", .shape = {32, 32}, .dtype = RB_F16, .rank = 2},
    {"F32", SHAPE, "layer.0.mha.sum_a", .shape = {32}, .dtype = RB_F32, .rank = 1},
    {"I64", SHAPE, "layer.0.mha.square_a", .shape = {32}, .dtype = RB_I64, .rank = 1},
    {"no tap entry", VALUE, "layer.0.ff", .value = NULL},
    {"no tokens", VALUE, "tokens", .value = NULL},
    {"tokens no number", VALUE, "tokens", .value = "many"},
    {"tokens with a tail", VALUE, "tokens", .value = "12x"},
    {"tokens empty", VALUE, "tokens", .value = ""},
    {"tokens negative", VALUE, "tokens", .value = "-3"},
    {"tokens too large", VALUE, "tokens", .value = "99999999999999999999999"},
    {"entry empty", VALUE, "layer.0.ff", .value = ""},
    {"entry short", VALUE, "layer.0.ff", .value = "0 0 48"},
    {"entry with a tail", VALUE, "layer.0.ff", .value = "0 0 48 900 x"},
    {"kind unknown", VALUE, "layer.0.ff", .value = "8 0 48 900"},
    {"kind negative", VALUE, "layer.0.ff", .value = "-1 0 48 900"},
    {"kind of another tap", VALUE, "layer.0.q", .value = "3 0 32 900"},
    {"layer negative", VALUE, "layer.0.ff", .value = "0 -1 48 900"},
    {"size 0", VALUE, "layer.0.ff", .value = "0 0 0 900"},
    {"size wrong", VALUE, "layer.0.ff", .value = "0 0 47 900"},
    {"size huge", VALUE, "layer.0.ff", .value = "0 0 4294967344 900"},
    {"no rows", VALUE, "layer.0.ff", .value = "0 0 48 0"},
    {"rows negative", VALUE, "layer.0.ff", .value = "0 0 48 -900"},
    {"rows nan", VALUE, "layer.0.ff", .value = "0 0 48 nan"},
    {"rows inf", VALUE, "layer.0.ff", .value = "0 0 48 inf"},
    {"a stranger", VALUE, "stranger", .value = "0 7 48 900"},
};

static void assert_refused(const char *what, const char *path)
{
    struct rb_moments *m = NULL;
    struct rb_error err;
    enum rb_status s = rb_moments_load(path, &m, &err);
    if (s != RB_ESAFETENSORS)
        fail_msg("%s: %s", what, rb_status_code(s));
    assert_null(m);
    assert_text_has(err.detail, path);
}

static void test_damaged(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, SHORT);
    for (size_t i = 0; i < COUNT(damages); i++) {
        struct rewrite r;
        rewrite_open(&r, f.path);
        if (damages[i].change == DROP)
            rewrite_drop(&r, damages[i].name);
        else if (damages[i].change == SHAPE)
            rewrite_shape(&r, damages[i].name, damages[i].dtype, damages[i].rank, damages[i].shape);
        else
            rewrite_metadata(&r, damages[i].name, damages[i].value);
        rewrite_close(&r, f.other);
        assert_refused(damages[i].what, f.other);
    }
    close_fixture(&f);
}

/* Cut anywhere. */
static void test_cut(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, SHORT);
    rewrite_cuts(&f.pair.dir, f.path, "other", assert_refused);
    close_fixture(&f);
}

static void try_moments(void *fixture)
{
    struct fixture *f = fixture;
    struct rb_moments *m;
    double sum = 0;
    if (rb_moments_load(f->other, &m, &f->pair.err) != RB_OK)
        return;
    for (size_t i = 0; i < m->tap_count; i++)
        for (size_t k = 0; k < (size_t)m->taps[i].size * m->taps[i].size; k++)
            sum += rb_tap_cross(&m->taps[i], 0, k);
    assert_true(isnan(sum) == 0); /* every byte can be read */
    rb_moments_free(m);
}

/* Bits turned in the header: refused, or loaded as something that can be used and freed. */
static void test_turned_bits(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, SHORT);
    rewrite_turned_bits(&f.pair.dir, f.path, "other", true, 102, try_moments, &f);
    close_fixture(&f);
}

static void test_absent(void **state)
{
    (void)state;
    struct rb_moments *m = NULL;
    struct rb_error err;
    assert_int_equal(rb_moments_load("/nonexistent/moments", &m, &err), RB_ENOTFOUND);
    assert_null(m);
}

/* Moments of another model, or of fewer taps, do not become an alignment. */
static void test_unfit(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_program *p = NULL;
    struct rb_align_options all;
    open_fixture(&f, SHORT);
    all = f.options;
    f.options.components = RB_COMPONENT_FF;
    f.options.separate_qk = f.options.output_head = false;
    struct rb_moments *fewer = pair_collect(&f.pair, &f.options);
    assert_int_equal(rb_solve_new(&f.pair.a.config, f.pair.a.head, fewer, &all, &p, &f.pair.err),
                     RB_EMODELS);
    assert_text_has(f.pair.err.detail, "layer.0.mha");
    struct rb_config wider = f.pair.a.config, deeper = f.pair.a.config;
    wider.mlp.inner_size++;
    deeper.num_hidden_layers++;
    assert_int_equal(rb_solve_new(&wider, f.pair.a.head, f.moments, &all, &p, &f.pair.err),
                     RB_EMODELS);
    assert_text_has(f.pair.err.detail, "48");
    assert_int_equal(rb_solve_new(&deeper, f.pair.a.head, f.moments, &all, &p, &f.pair.err),
                     RB_EMODELS);
    assert_text_has(f.pair.err.detail, "layer.1.ff");
    assert_null(p);
    rb_moments_free(fewer);
    close_fixture(&f);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_one_slab_and_two),
        cmocka_unit_test(test_same_alignment),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_turned_bits),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_unfit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
