// LINK: core_learn
/* Merged weights that are solved for: against normal equations in F64 over the plain forward pass,
 * the parents' own weights where there is one parent, and the same bits whoever runs it and however
 * often it is interrupted. */
#include "unit/decoder_shapes.h"
#include "unit/naive_decoder.h"
#include "unit/other_arithmetic.h"
#include "unit/threads.h"

#include "core/learn/least_squares.h"

static struct rb_error err;
static const double WEIGHTS[2] = {0.7, 0.3};

struct merge {
    struct tmpdir dir;
    struct random_decoder random[2];
    struct rb_model models[2];
    struct rb_sequences s;
    struct rb_blend blend;
    struct rb_overlay overlay;
    struct rb_program *program;
};

static void start(struct merge *m)
{
    MUST(rb_overlay_init(&m->overlay, &m->models[0], &err), &err);
    MUST(rb_least_squares_new(&m->blend, &m->s, &m->overlay, &m->program, &err), &err);
}

static void end(struct merge *m)
{
    rb_program_free(m->program);
    rb_overlay_deinit(&m->overlay);
}

static void merge_init(struct merge *m, const struct decoder_shape *s, double lambda)
{
    *m = (struct merge){0};
    tmpdir_init(&m->dir);
    for (int i = 0; i < 2; i++) {
        random_decoder_init(&m->random[i], s, 5 + 1000 * (uint64_t)i);
        random_decoder_open(&m->random[i], &m->dir, i == 0 ? "a" : "b", &m->models[i]);
    }
    m->s = decoder_sequences(s, 90, 20, 36, 77); /* more than a slab */
    m->blend = rb_blend_pair(&m->models[0], &m->models[1], NULL, lambda);
    start(m);
}

static void merge_deinit(struct merge *m)
{
    end(m);
    rb_sequences_deinit(&m->s);
    for (int i = 0; i < 2; i++) {
        rb_model_deinit(&m->models[i]);
        random_decoder_deinit(&m->random[i]);
    }
    tmpdir_deinit(&m->dir);
}

static void run(struct merge *m)
{
    struct rb_worker w;
    rb_worker_init(&w, NULL);
    MUST(rb_program_run(m->program, &w, &err), &err);
    rb_worker_deinit(&w);
}

/* ---- against the formula ---- */

struct equations {
    size_t n, out;        /* n: with what is always 1 */
    double *left, *right; /* (n, n), (out, n) */
};

/* One parent's G, shrunk, into both sides. z (t, n - 1). */
static void add_parent(struct equations *e, const double *z, size_t t, double weight,
                       const double *w, const double *bias)
{
    size_t n = e->n;
    double *g = naive_new(n * n), *row = naive_new(n);
    for (size_t i = 0; i < t; i++) {
        memcpy(row, z + i * (n - 1), (n - 1) * sizeof *row);
        row[n - 1] = 1;
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < n; b++)
                g[a * n + b] += row[a] * row[b] * (a == b ? 1 : 0.9);
    }
    for (size_t i = 0; i < n * n; i++)
        e->left[i] += weight * g[i];
    for (size_t o = 0; o < e->out; o++)
        for (size_t a = 0; a < n; a++)
            for (size_t b = 0; b < n; b++)
                e->right[o * n + a] +=
                    weight * (b + 1 < n ? w[o * (n - 1) + b] : bias[o]) * g[b * n + a];
    free(g);
    free(row);
}

/* Solves W left = right for rows W, by elimination with the largest pivot; into right. */
static void eliminate(struct equations *e)
{
    size_t n = e->n;
    for (size_t k = 0; k < n; k++) {
        size_t pivot = k;
        for (size_t i = k; i < n; i++)
            pivot = fabs(e->left[k * n + i]) > fabs(e->left[k * n + pivot]) ? i : pivot;
        for (size_t r = 0; r < n + e->out; r++) { /* columns change places */
            double *row = r < n ? e->left + r * n : e->right + (r - n) * n, x = row[k];
            row[k] = row[pivot];
            row[pivot] = x;
        }
        for (size_t i = k + 1; i < n; i++) {
            double f = e->left[k * n + i] / e->left[k * n + k];
            for (size_t r = 0; r < n; r++)
                e->left[r * n + i] -= f * e->left[r * n + k];
            for (size_t o = 0; o < e->out; o++)
                e->right[o * n + i] -= f * e->right[o * n + k];
        }
    }
    for (size_t o = 0; o < e->out; o++)
        for (size_t k = n; k-- > 0;) {
            double x = e->right[o * n + k];
            for (size_t r = k + 1; r < n; r++)
                x -= e->right[o * n + r] * e->left[r * n + k];
            e->right[o * n + k] = x / e->left[k * n + k];
        }
}

/* The plain features of both parents over all sequences. */
struct features {
    double *mha, *ff, *residual;
    size_t taps, tokens;
};

static void features_init(struct features *f, const struct merge *m, int parent)
{
    const struct decoder_shape *s = &m->random[parent].shape;
    size_t tokens = m->s.starts[m->s.count], wide = s->heads * s->head_dim;
    f->taps = s->layers * (s->parallel ? 1 : 2) + 1;
    f->tokens = tokens;
    f->mha = naive_new(s->layers * tokens * wide);
    f->ff = naive_new(s->layers * tokens * s->inner);
    f->residual = naive_new(f->taps * tokens * s->hidden);
    for (size_t q = 0; q < m->s.count; q++) {
        size_t first = m->s.starts[q], n = m->s.starts[q + 1] - first;
        struct naive_taps t = {.q = naive_new(s->layers * n * wide),
                               .k = naive_new(s->layers * n * wide),
                               .v = naive_new(s->layers * n * wide),
                               .mha = naive_new(s->layers * n * wide),
                               .ff = naive_new(s->layers * n * s->inner),
                               .residual = naive_new(f->taps * n * s->hidden)};
        free(naive_decode(&m->random[parent], m->s.ids + first, n, &t));
        for (size_t l = 0; l < s->layers; l++) {
            memcpy(f->mha + (l * tokens + first) * wide, t.mha + l * n * wide,
                   n * wide * sizeof(double));
            memcpy(f->ff + (l * tokens + first) * s->inner, t.ff + l * n * s->inner,
                   n * s->inner * sizeof(double));
        }
        for (size_t k = 0; k < f->taps; k++)
            memcpy(f->residual + (k * tokens + first) * s->hidden, t.residual + k * n * s->hidden,
                   n * s->hidden * sizeof(double));
        double *all[] = {t.q, t.k, t.v, t.mha, t.ff, t.residual};
        for (size_t i = 0; i < COUNT(all); i++)
            free(all[i]);
    }
}

static void features_deinit(struct features *f)
{
    free(f->mha);
    free(f->ff);
    free(f->residual);
}

/* What that map of the layer reads; new. */
static double *inputs_of(const struct merge *m, const struct features *f, int parent, size_t layer,
                         enum decoder_part part)
{
    const struct random_decoder *r = &m->random[parent];
    const struct decoder_shape *s = &r->shape;
    size_t width = s->heads * s->head_dim, d = s->hidden;
    const double *x = f->residual + layer * (s->parallel ? 1 : 2) * f->tokens * d;
    if (part == D_QUERY)
        return naive_input(r, layer, D_NORM1, x, f->tokens);
    if (part == D_UP)
        return naive_input(r, layer, D_NORM2, s->parallel ? x : x + f->tokens * d, f->tokens);
    if (part == D_UNEMBEDDING)
        return naive_norm(r, 0, D_FINAL, f->residual + (f->taps - 1) * f->tokens * d, f->tokens);
    width = part == D_OUTPUT ? width : s->inner;
    double *copy = naive_new(f->tokens * width);
    memcpy(copy, (part == D_OUTPUT ? f->mha : f->ff) + layer * f->tokens * width,
           f->tokens * width * sizeof *copy);
    return copy;
}

static void check_map(const struct merge *m, const struct features f[2], size_t layer,
                      enum decoder_part part, enum rb_slot slot)
{
    const struct decoder_tensor *w = decoder_at(&m->random[0], layer, part);
    bool biased =
        part != D_UNEMBEDDING && decoder_at(&m->random[0], layer, part + 1)->values != NULL;
    struct equations e = {.n = w->columns + 1, .out = w->rows};
    size_t n = e.n;
    e.left = naive_new(n * n);
    e.right = naive_new(e.out * n);
    double *none = naive_new(e.out);
    for (int p = 0; p < 2; p++) {
        const struct decoder_tensor *mine = decoder_at(&m->random[p], layer, part);
        double *z = inputs_of(m, &f[p], p, layer, part);
        add_parent(&e, z, f[p].tokens, WEIGHTS[p], mine->values,
                   biased ? decoder_at(&m->random[p], layer, part + 1)->values : none);
        free(z);
    }
    if (!biased) /* the ones are no input: they stand apart, and their weight is 0 */
        for (size_t i = 0; i < n; i++)
            e.left[i * n + n - 1] = e.left[(n - 1) * n + i] = i + 1 == n;
    for (size_t o = 0; o < e.out && !biased; o++)
        e.right[o * n + n - 1] = 0;
    eliminate(&e);
    const float *found = rb_overlay_at(&m->overlay, slot, (uint32_t)layer);
    const float *bias = biased ? rb_overlay_at(&m->overlay, slot + 1, (uint32_t)layer) : NULL;
    assert_non_null(found);
    for (size_t o = 0; o < e.out; o++)
        for (size_t j = 0; j + (biased ? 0 : 1) < n; j++) {
            double expected = e.right[o * n + j];
            double is = (double)(j + 1 < n ? found[o * (n - 1) + j] : bias[o]);
            if (!(fabs(is - expected) <= 2e-4 * (1 + fabs(expected))))
                fail_msg("%s, layer %zu, part %d: [%zu, %zu] is %.7g, expected %.7g",
                         m->random[0].shape.name, layer, (int)part, o, j, is, expected);
        }
    free(e.left);
    free(e.right);
    free(none);
}

static void test_against_normal_equations(void **state)
{
    (void)state;
    static const struct {
        enum decoder_part part;
        enum rb_slot slot;
    } maps[] = {{D_QUERY, RB_QUERY_WEIGHT},
                {D_OUTPUT, RB_ATTENTION_OUTPUT_WEIGHT},
                {D_UP, RB_UP_WEIGHT},
                {D_DOWN, RB_DOWN_WEIGHT}};
    static const size_t some[] = {0, 4, 5, 9, 20}; /* of each family; grouped queries among them */
    for (size_t i = 0; i < COUNT(some); i++) {
        const struct decoder_shape *s = &decoder_shapes[some[i]];
        struct merge m;
        struct features f[2];
        merge_init(&m, s, WEIGHTS[1]);
        run(&m);
        for (int p = 0; p < 2; p++)
            features_init(&f[p], &m, p);
        for (size_t k = 0; k < COUNT(maps); k++)
            check_map(&m, f, s->layers - 1, maps[k].part, maps[k].slot);
        if (s->tied)
            assert_null(rb_overlay_at(&m.overlay, RB_UNEMBEDDING_WEIGHT, 0));
        else
            check_map(&m, f, 0, D_UNEMBEDDING, RB_UNEMBEDDING_WEIGHT);
        assert_null(rb_overlay_at(&m.overlay, RB_WORD_EMBEDDINGS, 0));
        struct rb_least_squares_fit fit = rb_least_squares_result(m.program);
        assert_int_equal(fit.tokens, f[0].tokens);
        assert_true(fit.solved > 0 && fit.solved < fit.mean);
        for (int p = 0; p < 2; p++)
            features_deinit(&f[p]);
        merge_deinit(&m);
    }
}

/* At an end of the path there is one parent, whose own weights solve the equations. */
static void test_ends(void **state)
{
    (void)state;
    struct merge m;
    merge_init(&m, &decoder_shapes[0], 0);
    run(&m);
    size_t columns = m.models[0].config.mlp.inner_size;
    const float *found = rb_overlay_at(&m.overlay, RB_DOWN_WEIGHT, 1);
    const struct decoder_tensor *w = decoder_at(&m.random[0], 1, D_DOWN);
    for (size_t i = 0; i < w->rows * columns; i++)
        assert_true(fabs((double)found[i] - w->values[i]) < 1e-5);
    assert_true(rb_least_squares_result(m.program).solved < 1e-9);
    merge_deinit(&m);
}

/* ---- the same bits ---- */

static float *copy_of(const struct merge *m, size_t *ret_count)
{
    size_t rows, columns;
    rb_model_size(&m->models[0], RB_UP_WEIGHT, &rows, &columns);
    *ret_count = rows * columns;
    float *copy = malloc(rows * columns * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, rb_overlay_at(&m->overlay, RB_UP_WEIGHT, 1), rows * columns * sizeof *copy);
    return copy;
}

static void test_threads(void **state)
{
    (void)state;
    struct merge m;
    merge_init(&m, &decoder_shapes[4], 0.5);
    run(&m);
    size_t count;
    float *first = copy_of(&m, &count);
    struct rb_least_squares_fit fit = rb_least_squares_result(m.program);
    for (size_t threads = 3; threads <= 5; threads += 2) {
        end(&m);
        start(&m);
        run_program(m.program, threads, SHUFFLED, threads * 17);
        assert_memory_equal(rb_overlay_at(&m.overlay, RB_UP_WEIGHT, 1), first,
                            count * sizeof *first);
        struct rb_least_squares_fit again = rb_least_squares_result(m.program);
        assert_memory_equal(&again.solved, &fit.solved, sizeof(double));
    }
    free(first);
    merge_deinit(&m);
}

/* Runs until so many layers are solved. */
static void run_until(struct merge *m, uint32_t layers)
{
    struct rb_worker w;
    size_t items;
    rb_worker_init(&w, NULL);
    for (;;) {
        MUST(m->program->ops->next_round(m->program, &items, &err), &err);
        if (items == 0 || rb_least_squares_layers(m->program) >= layers)
            break;
        for (size_t i = 0; i < items; i++)
            MUST(rb_program_run_item(m->program, i, &w, &err), &err);
    }
    rb_worker_deinit(&w);
}

static void test_resumes(void **state)
{
    (void)state;
    struct merge m;
    merge_init(&m, &decoder_shapes[9], 0.5); /* untied: the head is solved for, too */
    run(&m);
    size_t count;
    float *whole = copy_of(&m, &count);
    double solved = rb_least_squares_result(m.program).solved;
    for (uint32_t layers = 0; layers <= 3; layers++) {
        unsigned char *state_bytes;
        size_t bytes;
        end(&m);
        start(&m);
        run_until(&m, layers);
        MUST(rb_least_squares_save(m.program, &state_bytes, &bytes, &err), &err);
        end(&m);
        start(&m);
        MUST(rb_least_squares_restore(m.program, state_bytes, bytes, &err), &err);
        assert_int_equal(rb_least_squares_layers(m.program), layers);
        run(&m);
        assert_memory_equal(rb_overlay_at(&m.overlay, RB_UP_WEIGHT, 1), whole,
                            count * sizeof *whole);
        double again = rb_least_squares_result(m.program).solved;
        assert_memory_equal(&again, &solved, sizeof again);
        free(state_bytes);
    }
    free(whole);
    merge_deinit(&m);
}

static void test_states_of_others(void **state)
{
    (void)state;
    struct merge m;
    unsigned char *saved;
    size_t bytes;
    merge_init(&m, &decoder_shapes[0], 0.5);
    run_until(&m, 1);
    MUST(rb_least_squares_save(m.program, &saved, &bytes, &err), &err);
    end(&m);
    start(&m);
    for (size_t cut = 0; cut < bytes; cut += bytes / 37 + 1)
        assert_int_equal(rb_least_squares_restore(m.program, saved, cut, &err), RB_EINPUT);
    for (size_t at = 0; at < bytes; at += 4001) {
        saved[at] ^= 4;
        assert_int_equal(rb_least_squares_restore(m.program, saved, bytes, &err), RB_EINPUT);
        saved[at] ^= 4;
    }
    state_set_arithmetic(saved, bytes, true);
    assert_int_equal(rb_least_squares_restore(m.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "kernels of another machine"));
    assert_non_null(strstr(err.detail, "arithmetic 1, "));
    state_set_arithmetic(saved, bytes, false);
    state_set_format(saved, bytes, true);
    assert_int_equal(rb_least_squares_restore(m.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "another build"));
    state_set_format(saved, bytes, false);
    assert_null(rb_overlay_at(&m.overlay, RB_UP_WEIGHT, 0));
    m.s.ids[5] ^= 1; /* another text */
    end(&m);
    start(&m);
    assert_int_equal(rb_least_squares_restore(m.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "another text"));
    free(saved);
    merge_deinit(&m);
}

/* A blend reads the overlay wherever it holds something. */
static void test_overlay(void **state)
{
    (void)state;
    struct merge m;
    struct rb_scratch scratch;
    rb_scratch_init(&scratch);
    merge_init(&m, &decoder_shapes[0], 0.5);
    run(&m);
    struct rb_blend made = m.blend;
    made.overlay = &m.overlay;
    size_t rows, columns;
    rb_model_size(&m.models[0], RB_DOWN_WEIGHT, &rows, &columns);
    const float *held = rb_overlay_at(&m.overlay, RB_DOWN_WEIGHT, 0);
    float *found = malloc(2 * columns * sizeof *found),
          *plain = malloc(2 * columns * sizeof *plain);
    assert_true(found != NULL && plain != NULL);
    MUST(rb_blend_rows(&made, RB_DOWN_WEIGHT, 0, 3, 2, found, &scratch, &err), &err);
    assert_memory_equal(found, held + 3 * columns, 2 * columns * sizeof *found);
    assert_ptr_equal(rb_blend_direct(&made, RB_DOWN_WEIGHT, 0), held);
    MUST(rb_blend_rows(&made, RB_WORD_EMBEDDINGS, 0, 1, 1, found, &scratch, &err), &err);
    MUST(rb_blend_rows(&m.blend, RB_WORD_EMBEDDINGS, 0, 1, 1, plain, &scratch, &err), &err);
    rb_model_size(&m.models[0], RB_WORD_EMBEDDINGS, &rows, &columns);
    assert_memory_equal(found, plain, columns * sizeof *found);
    free(found);
    free(plain);
    rb_scratch_deinit(&scratch);
    merge_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_normal_equations),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_states_of_others),
        cmocka_unit_test(test_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
