// LINK: core_merge
/* The forward pass against METHOD 1 as loops in F64 (unit/naive_bert.h), for models of odd shapes:
 * every tap, the heads' outputs and the mean losses; and that packing, spans and reading only some
 * rows change nothing but rounding.
 * Tolerances. TAPS: an F32 pass of up to 3 layers, relative to max(1, |x|), features being about 1.
 * SAME: the same products in another order. LOSS: relative. */
#include "unit/naive_bert.h"
#include "unit/odd_shapes.h"

#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/model/embed.h"
#include "core/model/linear.h"
#include "core/model/walker.h"

#include <cblas.h>

static const double TAPS = 1e-5, SAME = 4e-6, LOSS = 1e-6;

enum { SEQUENCES = 60, LONGEST = 24 }; /* more than one span of 512 tokens */

struct fixture {
    struct tmpdir dir;
    const struct random_shape *shape;
    struct random_model random;
    struct rb_model model;
    struct rb_blend blend;
    struct rb_sequences sequences;
    struct rb_worker worker;
    struct rb_error err;
    double worst;
};

static void open_fixture(struct fixture *f, const struct random_shape *shape)
{
    memset(f, 0, sizeof *f);
    f->shape = shape;
    tmpdir_init(&f->dir);
    rb_worker_init(&f->worker, NULL);
    random_model_init(&f->random, shape, 21);
    random_model_open(&f->random, &f->dir, "m", &f->model);
    f->blend = rb_blend_single(&f->model, NULL);
    f->sequences = random_sequences(shape, SEQUENCES, 1, shape->positions, 22);
}

static void close_fixture(struct fixture *f)
{
    rb_sequences_deinit(&f->sequences);
    rb_model_deinit(&f->model);
    random_model_deinit(&f->random);
    rb_worker_deinit(&f->worker);
    tmpdir_deinit(&f->dir);
}

static void close_to(struct fixture *f, const char *what, const float *found,
                     const double *expected, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        double share =
            fabs((double)found[i] - expected[i]) / (tolerance * fmax(1, fabs(expected[i])));
        if (!(share <= 1))
            fail_msg("%s: %s, element %zu: %.9g, expected %.9g", f->shape->name, what, i,
                     (double)found[i], expected[i]);
        f->worst = fmax(f->worst, share);
    }
}

/* ---- one layer after the other, with all taps ---- */

struct taps {
    float *ff, *mha, *q, *k, *middle, *x;
};

static void fill_weights(struct fixture *f, struct rb_weights *w)
{
    for (size_t i = 0; i < w->item_count; i++) {
        rb_scratch_reset(&f->worker.scratch);
        MUST(rb_weights_fill(w, &f->blend, i, &f->worker.scratch, &f->err), &f->err);
    }
}

static struct taps taps_new(const struct random_shape *s, size_t n)
{
    struct taps t;
    t.ff = must_alloc(n * s->intermediate, sizeof(float));
    t.mha = must_alloc(n * s->hidden, sizeof(float));
    t.q = must_alloc(n * s->hidden, sizeof(float));
    t.k = must_alloc(n * s->hidden, sizeof(float));
    t.middle = must_alloc(n * s->hidden, sizeof(float));
    t.x = must_alloc(n * s->hidden, sizeof(float));
    return t;
}

static void taps_free(struct taps *t)
{
    free(t->ff);
    free(t->mha);
    free(t->q);
    free(t->k);
    free(t->middle);
    free(t->x);
}

static void compare_layer(struct fixture *f, const struct taps *t, const struct naive *naive,
                          uint32_t l)
{
    size_t d = f->shape->hidden;
    for (size_t s = 0; s < SEQUENCES; s++) {
        const struct naive *e = &naive[s];
        size_t at = f->sequences.starts[s] * d, n = e->n * d;
        close_to(f, "q", t->q + at, e->q[l], n, TAPS);
        close_to(f, "k", t->k + at, e->k[l], n, TAPS);
        close_to(f, "mha", t->mha + at, e->mha[l], n, TAPS);
        close_to(f, "middle", t->middle + at, e->residual[2 * l + 1], n, TAPS);
        close_to(f, "ff", t->ff + at / d * f->shape->intermediate, e->ff[l],
                 e->n * f->shape->intermediate, TAPS);
        close_to(f, "output", t->x + at, e->residual[2 * l + 2], n, TAPS);
    }
}

static void check_taps(struct fixture *f, const struct naive *naive)
{
    const struct rb_span span = {f->sequences.starts, SEQUENCES};
    size_t n = rb_span_tokens(&span), d = f->shape->hidden;
    struct taps t = taps_new(f->shape, n);
    struct rb_weights w = {0};
    rb_scratch_reset(&f->worker.scratch);
    MUST(rb_embed(&f->blend, &f->sequences, &span, t.x, NULL, &f->worker.scratch, &f->err),
         &f->err);
    for (size_t s = 0; s < SEQUENCES; s++)
        close_to(f, "embeddings", t.x + f->sequences.starts[s] * d, naive[s].residual[0],
                 naive[s].n * d, TAPS);
    for (uint32_t l = 0; l < f->shape->layers; l++) {
        MUST(rb_weights_begin_layer(&w, &f->blend, l, &f->err), &f->err);
        fill_weights(f, &w);
        const struct rb_layer_call call = {
            .config = &f->model.config,
            .weights = &w,
            .span = span,
            .taps = {.q = t.q, .k = t.k, .mha = t.mha, .middle = t.middle, .ff = t.ff}};
        rb_scratch_reset(&f->worker.scratch);
        MUST(rb_layer_forward(&call, t.x, &f->worker.scratch, &f->err), &f->err);
        compare_layer(f, &t, naive, l);
    }
    rb_weights_deinit(&w);
    taps_free(&t);
}

/* ---- heads ---- */

/* hidden (rows, d) through the head's hidden layer, in place. */
static void apply_head(struct fixture *f, float *hidden, size_t rows)
{
    struct rb_weights w = {0};
    MUST(rb_head_begin(&w, &f->blend, &f->err), &f->err);
    fill_weights(f, &w);
    rb_scratch_reset(&f->worker.scratch);
    MUST(rb_head_apply(&f->model, &w, hidden, rows, hidden, &f->worker.scratch, &f->err), &f->err);
    rb_weights_deinit(&w);
}

static float *logits_of(struct fixture *f, const float *hidden, size_t rows, size_t outputs)
{
    struct rb_head_tile tile;
    float *y = must_alloc(rows * outputs, sizeof *y);
    rb_scratch_reset(&f->worker.scratch);
    assert_int_equal(rb_head_outputs(&f->model), outputs);
    MUST(rb_head_read_tile(&f->blend, 0, outputs, &tile, &f->worker.scratch, &f->err), &f->err);
    rb_linear(hidden, rows, f->shape->hidden, tile.weight, outputs, y);
    for (size_t i = 0; i < rows * outputs; i++)
        y[i] += tile.bias[i % outputs];
    return y;
}

static void check_head(struct fixture *f, const struct naive *naive)
{
    size_t d = f->shape->hidden;
    bool mlm = f->shape->head == RB_HEAD_MLM;
    if (f->shape->head == RB_HEAD_NONE)
        return;
    for (size_t s = 0; s < SEQUENCES; s++) {
        size_t rows = mlm ? naive[s].n : 1, outputs = mlm ? f->shape->vocab : f->shape->labels;
        float *hidden = must_alloc(rows * d, sizeof *hidden);
        for (size_t i = 0; i < rows * d; i++)
            hidden[i] = (float)naive[s].residual[2 * f->shape->layers][i];
        apply_head(f, hidden, rows);
        close_to(f, "head", hidden, naive[s].head, rows * d, TAPS);
        float *logits = logits_of(f, hidden, rows, outputs);
        close_to(f, "logits", logits, naive[s].logits, rows * outputs, TAPS);
        free(hidden);
        free(logits);
    }
}

/* ---- the walker ---- */

/* All rows of sequences [from, to), in order. */
static float *walker_rows(struct fixture *f, enum rb_reads reads, size_t from, size_t to,
                          size_t *ret_rows)
{
    struct rb_walker t = {0};
    const struct rb_walker_options o = {.reads = reads, .ahead = true};
    size_t items, d = f->shape->hidden;
    MUST(rb_walker_init(&t, &f->blend, 1, &f->sequences, &o, &f->err), &f->err);
    MUST(rb_walker_begin(&t, from, to, &items, &f->err), &f->err);
    while (items > 0) {
        for (size_t i = 0; i < items; i++) {
            rb_scratch_reset(&f->worker.scratch);
            MUST(rb_walker_item(&t, i, &f->worker.scratch, &f->err), &f->err);
        }
        MUST(rb_walker_next(&t, &items, &f->err), &f->err);
    }
    float *out = must_alloc(rb_walker_rows(&t) * d, sizeof *out);
    for (size_t span = 0; span < t.span_count; span++)
        for (size_t i = t.first_row[span]; i < t.first_row[span + 1]; i++)
            memcpy(out + i * d, rb_walker_row(&t, 0, span, i), d * sizeof *out);
    *ret_rows = rb_walker_rows(&t);
    rb_walker_deinit(&t);
    return out;
}

static bool is_read(const struct fixture *f, enum rb_reads reads, size_t sequence, size_t token)
{
    return reads == RB_READ_ALL || (reads == RB_READ_FIRST ? token == f->sequences.starts[sequence]
                                                           : f->sequences.targets[token] >= 0);
}

/* Two float arrays that differ by the order of sums only. */
static void same_rows(struct fixture *f, const char *what, const float *found,
                      const float *expected, size_t n)
{
    double *wide = must_alloc(n, sizeof *wide);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)expected[i];
    close_to(f, what, found, wide, n, SAME);
    free(wide);
}

static void check_reads(struct fixture *f, const float *all)
{
    static const enum rb_reads some[] = {RB_READ_FIRST, RB_READ_TARGETS};
    size_t d = f->shape->hidden;
    for (size_t r = 0; r < COUNT(some); r++) {
        size_t rows, row = 0;
        float *x = walker_rows(f, some[r], 0, SEQUENCES, &rows);
        for (size_t s = 0; s < SEQUENCES; s++)
            for (size_t t = f->sequences.starts[s]; t < f->sequences.starts[s + 1]; t++)
                if (is_read(f, some[r], s, t))
                    same_rows(f, "some rows", x + d * row++, all + t * d, d);
        assert_int_equal(row, rows);
        free(x);
    }
}

static void check_walker(struct fixture *f, const struct naive *naive)
{
    size_t rows, d = f->shape->hidden;
    float *all = walker_rows(f, RB_READ_ALL, 0, SEQUENCES, &rows);
    assert_int_equal(rows, f->sequences.starts[SEQUENCES]);
    for (size_t s = 0; s < SEQUENCES; s++) {
        close_to(f, "walker", all + f->sequences.starts[s] * d,
                 naive[s].residual[2 * f->shape->layers], naive[s].n * d, TAPS);
        float *alone = walker_rows(f, RB_READ_ALL, s, s + 1, &rows);
        assert_int_equal(rows, naive[s].n);
        same_rows(f, "alone", alone, all + f->sequences.starts[s] * d, rows * d);
        free(alone);
    }
    check_reads(f, all);
    free(all);
}

/* ---- losses ---- */

static void check_loss(struct fixture *f)
{
    struct rb_evaluate_options o = {.block_size = 24};
    struct rb_program *p;
    struct rb_point point;
    if (f->shape->head == RB_HEAD_NONE)
        return;
    o.task = f->shape->head == RB_HEAD_MLM ? RB_TASK_MLM
             : f->shape->labels == 1       ? RB_TASK_REGRESSION
                                           : RB_TASK_CLASSIFICATION;
    MUST(rb_evaluate_check(&f->model, &o, &f->sequences, &f->err), &f->err);
    MUST(rb_evaluate_new(&f->blend, &o, &f->sequences, &p, &f->err), &f->err);
    MUST(rb_program_run(p, &f->worker, &f->err), &f->err);
    MUST(rb_evaluate_result(p, &point, &f->err), &f->err);
    rb_program_free(p);
    double expected = naive_loss(&f->random, &f->sequences);
    f->worst = fmax(f->worst, fabs(point.loss - expected) / (LOSS * expected));
    assert_near(f->shape->name, point.loss, expected, LOSS * expected);
}

static void run(const struct random_shape *shape)
{
    struct fixture f;
    struct naive naive[SEQUENCES];
    open_fixture(&f, shape);
    for (size_t s = 0; s < SEQUENCES; s++)
        naive_init(&naive[s], &f.random, &f.sequences, s);
    check_taps(&f, naive);
    check_head(&f, naive);
    check_walker(&f, naive);
    check_loss(&f);
    print_message("  %-24s worst error is %.2f of the tolerance\n", shape->name, f.worst);
    for (size_t s = 0; s < SEQUENCES; s++)
        naive_deinit(&naive[s], shape->layers);
    close_fixture(&f);
}

static void test_odd_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_shapes); i++)
        run(&odd_shapes[i]);
}

/* Spans: whole sequences, nothing lost, no more of them than needed, and none much shorter. */
static void test_spans(void **state)
{
    (void)state;
    const struct random_shape *shape = &odd_shapes[0];
    struct rb_sequences s = random_sequences(shape, SEQUENCES, 1, LONGEST, 23);
    for (size_t tokens = 1; tokens < 2000; tokens = tokens * 3 / 2 + 1)
        for (size_t from = 0; from <= SEQUENCES; from += 7) {
            size_t n = rb_spans_count(&s, from, SEQUENCES, tokens), *firsts;
            firsts = must_alloc(n + 1, sizeof *firsts);
            rb_spans_fill(&s, from, SEQUENCES, tokens, firsts);
            size_t all = s.starts[SEQUENCES] - s.starts[from], least = SIZE_MAX, most = 0;
            assert_true(n <= (all + tokens - 1) / tokens);
            assert_int_equal(firsts[0], from);
            assert_int_equal(firsts[n], SEQUENCES);
            for (size_t i = 0; i < n; i++) {
                assert_true(firsts[i] < firsts[i + 1]);
                size_t here = s.starts[firsts[i + 1]] - s.starts[firsts[i]];
                least = here < least ? here : least;
                most = here > most ? here : most;
                /* without its last sequence it would be less than asked for */
                assert_true(s.starts[firsts[i + 1] - 1] - s.starts[firsts[i]] < tokens);
            }
            assert_true(n == 0 || most - least <= 3 * LONGEST);
            free(firsts);
        }
    rb_sequences_deinit(&s);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
