// LINK: core_merge
/* Decoders of odd shapes (METHOD 9) against their formulas as loops in F64: every tap, the logits
 * of every position, and that reading only some rows changes nothing but rounding.
 * Tolerance: an F32 pass of up to 3 layers, relative to max(1, |x|). */
#include "unit/decoder_shapes.h"
#include "unit/naive_decoder.h"

#include "core/model/walker.h"

#include <cblas.h>

static const double PASS = 2e-5;

enum { SEQUENCES = 40 }; /* more than one span of 512 tokens */

struct fixture {
    struct tmpdir dir;
    const struct decoder_shape *shape;
    struct random_decoder random;
    struct rb_model model;
    struct rb_blend blend;
    struct rb_sequences sequences;
    struct rb_walker walker;
    struct rb_scratch scratch;
    struct rb_error err;
    size_t most_bytes;                  /* of scratch, for an item */
    struct naive_taps found[SEQUENCES]; /* q, k, v, mha, ff and residual as the walker gave them */
    double worst;
};

#define OK(call) MUST(call, &f->err)

static void open_fixture(struct fixture *f, const struct decoder_shape *shape)
{
    memset(f, 0, sizeof *f);
    f->shape = shape;
    tmpdir_init(&f->dir);
    rb_scratch_init(&f->scratch);
    random_decoder_init(&f->random, shape, 31);
    random_decoder_open(&f->random, &f->dir, "m", &f->model);
    f->blend = rb_blend_single(&f->model, NULL);
    f->sequences = decoder_sequences(shape, SEQUENCES, 1, shape->positions, 32);
    OK(rb_sequences_check(&f->model.config, &f->sequences, &f->err));
}

static void close_fixture(struct fixture *f)
{
    rb_walker_deinit(&f->walker);
    rb_sequences_deinit(&f->sequences);
    rb_model_deinit(&f->model);
    random_decoder_deinit(&f->random);
    rb_scratch_deinit(&f->scratch);
    tmpdir_deinit(&f->dir);
}

static size_t length_of(const struct fixture *f, size_t sequence)
{
    return f->sequences.starts[sequence + 1] - f->sequences.starts[sequence];
}

static struct naive_taps taps_new(const struct decoder_shape *s, size_t n)
{
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    return (struct naive_taps){
        naive_new(s->layers * n * wide),     naive_new(s->layers * n * narrow),
        naive_new(s->layers * n * narrow),   naive_new(s->layers * n * wide),
        naive_new(s->layers * n * s->inner), naive_new((2 * s->layers + 1) * n * s->hidden)};
}

static void taps_free(struct naive_taps *t)
{
    double *all[] = {t->q, t->k, t->v, t->mha, t->ff, t->residual};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* ---- what the walker leaves at its taps ---- */

static enum rb_status before(void *owner, const struct rb_visit *at, const float *x,
                             struct rb_layer_call *call, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    struct fixture *f = owner;
    const struct decoder_shape *s = f->shape;
    size_t n = rb_span_tokens(&call->span), wide = decoder_size(s, 'Q');
    size_t narrow = decoder_size(s, 'K');
    call->taps = (struct rb_layer_taps){
        .q = rb_scratch_alloc(scratch, n * wide, sizeof(float)),
        .k = rb_scratch_alloc(scratch, n * narrow, sizeof(float)),
        .v = rb_scratch_alloc(scratch, n * narrow, sizeof(float)),
        .mha = rb_scratch_alloc(scratch, n * wide, sizeof(float)),
        .middle = s->parallel ? NULL : rb_scratch_alloc(scratch, n * s->hidden, sizeof(float)),
        .ff = rb_scratch_alloc(scratch, n * s->inner, sizeof(float)),
    };
    for (size_t i = 0; i < n * s->hidden && at->layer == 0; i++) {
        size_t token = call->span.starts[0] + i / s->hidden, q = 0;
        while (token >= f->sequences.starts[q + 1])
            q++;
        f->found[q].residual[(token - f->sequences.starts[q]) * s->hidden + i % s->hidden] =
            (double)x[i];
    }
    (void)err;
    return RB_OK;
}

/* Rows of one span to where their sequences keep them. */
static void spread(struct fixture *f, const struct rb_span *span, const float *from, size_t width,
                   size_t at, size_t member)
{
    for (size_t t = span->starts[0]; from != NULL && t < span->starts[span->count]; t++) {
        size_t q = 0;
        while (t >= f->sequences.starts[q + 1])
            q++;
        double *to;
        memcpy(&to, (char *)&f->found[q] + member, sizeof to);
        to += (at * length_of(f, q) + t - f->sequences.starts[q]) * width;
        for (size_t i = 0; i < width; i++)
            to[i] = (double)from[(t - span->starts[0]) * width + i];
    }
}

static enum rb_status after(void *owner, const struct rb_visit *at, const float *x,
                            const struct rb_layer_taps *taps, struct rb_scratch *scratch,
                            struct rb_error *err)
{
    struct fixture *f = owner;
    const struct decoder_shape *s = f->shape;
    struct rb_span span = rb_walker_span(&f->walker, at->span);
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K'), l = at->layer;
    spread(f, &span, taps->q, wide, l, offsetof(struct naive_taps, q));
    spread(f, &span, taps->k, narrow, l, offsetof(struct naive_taps, k));
    spread(f, &span, taps->v, narrow, l, offsetof(struct naive_taps, v));
    spread(f, &span, taps->mha, wide, l, offsetof(struct naive_taps, mha));
    spread(f, &span, taps->ff, s->inner, l, offsetof(struct naive_taps, ff));
    spread(f, &span, taps->middle, s->hidden, 2 * l + 1, offsetof(struct naive_taps, residual));
    spread(f, &span, x, s->hidden, s->parallel ? l + 1 : 2 * l + 2,
           offsetof(struct naive_taps, residual));
    (void)scratch;
    (void)err;
    return RB_OK;
}

/* No item wants more scratch than the plan of a job says of a layer, but for padding. */
static void assert_planned(const struct fixture *f)
{
    enum { PADDING = 16 * RB_ALIGNMENT };
    uint64_t most = 0;
    for (size_t i = 0; i < f->walker.span_count; i++) {
        const struct rb_span span = rb_walker_span(&f->walker, i);
        uint64_t bytes =
            rb_layer_scratch_bytes(&f->model.config, rb_span_tokens(&span), rb_span_longest(&span));
        most = bytes > most ? bytes : most;
    }
    assert_in_range(f->scratch.wanted_bytes, 0, most + PADDING);
}

static void walk(struct fixture *f, enum rb_reads reads, bool with_taps)
{
    struct rb_walker_options o = {.reads = reads, .with_head = true, .ahead = true};
    size_t items;
    if (with_taps)
        o.taps = (struct rb_walker_taps){f, before, after};
    rb_walker_deinit(&f->walker);
    OK(rb_walker_init(&f->walker, &f->blend, 1, &f->sequences, &o, &f->err));
    OK(rb_walker_begin(&f->walker, 0, f->sequences.count, &items, &f->err));
    while (items > 0) {
        for (size_t i = 0; i < items; i++) {
            rb_scratch_reset(&f->scratch);
            OK(rb_walker_item(&f->walker, i, &f->scratch, &f->err));
            if (f->scratch.wanted_bytes > f->most_bytes)
                f->most_bytes = f->scratch.wanted_bytes;
            if (!with_taps)
                assert_planned(f);
        }
        OK(rb_walker_next(&f->walker, &items, &f->err));
    }
}

/* ---- against the formulas ---- */

static void close_to(struct fixture *f, const char *what, double found, double expected)
{
    double share = fabs(found - expected) / (PASS * fmax(1, fabs(expected)));
    if (!(share <= 1))
        fail_msg("%s: %s: %.9g, expected %.9g", f->shape->name, what, found, expected);
    f->worst = fmax(f->worst, share);
}

static void check_taps(struct fixture *f, const struct naive_taps *found,
                       const struct naive_taps *expected, size_t n)
{
    const struct decoder_shape *s = f->shape;
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K'), layers = s->layers;
    size_t additions = s->parallel ? layers : 2 * layers;
    const struct {
        const char *name;
        const double *found, *expected;
        size_t count;
    } rows[] = {
        {"q", found->q, expected->q, layers * n * wide},
        {"k", found->k, expected->k, layers * n * narrow},
        {"v", found->v, expected->v, layers * n * narrow},
        {"mha", found->mha, expected->mha, layers * n * wide},
        {"ff", found->ff, expected->ff, layers * n * s->inner},
        {"residual", found->residual, expected->residual, (additions + 1) * n * s->hidden},
    };
    for (size_t r = 0; r < COUNT(rows); r++)
        for (size_t i = 0; i < rows[r].count; i++)
            close_to(f, rows[r].name, rows[r].found[i], rows[r].expected[i]);
}

/* Logits of row i of the walker, which lies in `span`. */
static void row_logits(struct fixture *f, const struct rb_head_tile *tile, size_t span, size_t i,
                       float *ret)
{
    size_t width = rb_head_width(&f->model), outputs = rb_head_outputs(&f->model);
    float *row = must_alloc(width, sizeof *row);
    OK(rb_head_apply(&f->model, &f->walker.sides[0].head, rb_walker_row(&f->walker, 0, span, i), 1,
                     row, &f->scratch, &f->err));
    for (size_t o = 0; o < outputs; o++)
        ret[o] = cblas_sdot((int)width, row, 1, tile->weight + o * width, 1) + tile->bias[o];
    free(row);
}

/* The walker's rows in order are those of `wanted` tokens. */
static void check_logits(struct fixture *f, double *const *expected,
                         bool (*wanted)(const struct rb_sequences *s, size_t sequence, size_t t))
{
    size_t outputs = rb_head_outputs(&f->model), row = 0, span = 0;
    float *logits = must_alloc(outputs, sizeof *logits);
    struct rb_head_tile tile;
    rb_scratch_reset(&f->scratch);
    OK(rb_head_read_tile(&f->blend, 0, outputs, &tile, &f->scratch, &f->err));
    for (size_t q = 0; q < f->sequences.count; q++)
        for (size_t t = f->sequences.starts[q]; t < f->sequences.starts[q + 1]; t++) {
            if (!wanted(&f->sequences, q, t))
                continue;
            while (row >= f->walker.first_row[span + 1])
                span++;
            row_logits(f, &tile, span, row++, logits);
            for (size_t o = 0; o < outputs; o++)
                close_to(f, "logits", (double)logits[o],
                         expected[q][(t - f->sequences.starts[q]) * outputs + o]);
        }
    assert_int_equal(row, rb_walker_rows(&f->walker));
    free(logits);
}

static bool every(const struct rb_sequences *s, size_t sequence, size_t t)
{
    (void)s;
    (void)sequence;
    (void)t;
    return true;
}

static bool last(const struct rb_sequences *s, size_t sequence, size_t t)
{
    return t + 1 == s->starts[sequence + 1];
}

/* With id 0 as padding: as transformers' classifiers, the last that is not, else the first. */
static bool last_but_padding(const struct rb_sequences *s, size_t sequence, size_t t)
{
    size_t found = s->starts[sequence];
    for (size_t k = s->starts[sequence]; k < s->starts[sequence + 1]; k++)
        found = s->ids[k] != 0 ? k : found;
    return t == found;
}

static bool target(const struct rb_sequences *s, size_t sequence, size_t t)
{
    (void)sequence;
    return s->targets[t] >= 0;
}

static void check_shape(const struct decoder_shape *shape)
{
    struct fixture fixture, *f = &fixture;
    double *logits[SEQUENCES];
    open_fixture(f, shape);
    for (size_t q = 0; q < SEQUENCES; q++)
        f->found[q] = taps_new(shape, length_of(f, q));
    for (size_t q = 0; q + 1 < SEQUENCES; q++) /* padding written out: q tokens of it, then all */
        for (size_t k = 0; k < (q + 2 == SEQUENCES ? SIZE_MAX : q) && k < length_of(f, q); k++)
            f->sequences.ids[f->sequences.starts[q + 1] - 1 - k] = 0;
    walk(f, RB_READ_ALL, true);
    for (size_t q = 0; q < SEQUENCES; q++) {
        struct naive_taps expected = taps_new(shape, length_of(f, q));
        logits[q] = naive_decode(&f->random, f->sequences.ids + f->sequences.starts[q],
                                 length_of(f, q), &expected);
        check_taps(f, &f->found[q], &expected, length_of(f, q));
        taps_free(&expected);
        taps_free(&f->found[q]);
    }
    check_logits(f, logits, every);
    walk(f, RB_READ_LAST, false);
    check_logits(f, logits, last);
    f->model.config.has_padding_token = true;
    walk(f, RB_READ_LAST, false);
    check_logits(f, logits, last_but_padding);
    walk(f, RB_READ_TARGETS, false);
    check_logits(f, logits, target);
    assert_int_equal(f->model.head, shape->labels > 0 ? RB_HEAD_CLASSIFIER : RB_HEAD_CAUSAL);
    assert_int_equal(rb_head_reads(&f->model), shape->labels > 0 ? RB_READ_LAST : RB_READ_TARGETS);
    print_message("  %s: worst difference %.3f of the tolerance\n", shape->name, f->worst);
    for (size_t q = 0; q < SEQUENCES; q++)
        free(logits[q]);
    close_fixture(f);
}

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++)
        check_shape(&decoder_shapes[i]);
}

/* A context of 4,096: every target's logits by the formula, in the planned memory, which is nowhere
 * near a matrix of tokens by tokens. */
static void test_long_context(void **state)
{
    enum { TOKENS = 4096 };
    const struct decoder_shape shape = {.name = "llama, 4,096 tokens",
                                        .family = LLAMA,
                                        .hidden = 16,
                                        .layers = 2,
                                        .heads = 2,
                                        .kv_heads = 1,
                                        .head_dim = 4,
                                        .inner = 24,
                                        .vocab = 30,
                                        .positions = TOKENS,
                                        .rotary = 4,
                                        .dtype = RB_F32};
    struct fixture fixture, *f = &fixture;
    (void)state;
    open_fixture(f, &shape);
    rb_sequences_deinit(&f->sequences);
    f->sequences = decoder_sequences(&shape, 1, TOKENS, TOKENS, 5);
    walk(f, RB_READ_TARGETS, false);
    struct naive_taps taps = taps_new(&shape, TOKENS);
    double *logits = naive_decode(&f->random, f->sequences.ids, TOKENS, &taps);
    check_logits(f, &logits, target);
    assert_in_range(f->most_bytes, 1, sizeof(float) * TOKENS * TOKENS / 16);
    print_message("  %s: worst difference %.3f of the tolerance, scratch %.1f MB\n", shape.name,
                  f->worst, (double)f->most_bytes / 1e6);
    free(logits);
    taps_free(&taps);
    close_fixture(f);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes),
                                       cmocka_unit_test(test_long_context)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
