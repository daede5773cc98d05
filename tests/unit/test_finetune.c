// LINK: core_learn
/* A merge that is trained after it: the loss against its formula, a distance that falls, the same
 * bits whoever runs it and however often it is interrupted. */
#include "unit/decoder_shapes.h"
#include "unit/other_arithmetic.h"
#include "unit/threads.h"

#include "core/learn/finetune.h"
#include "core/learn/learn_head.h"

static struct rb_error err;
enum { BLOCKS = 30, BLOCK = 13 };

struct tuning {
    struct tmpdir dir;
    struct random_decoder random[2];
    struct rb_model models[2];
    struct rb_sequences blocks;
    struct rb_blend student, parents[2];
    struct rb_finetune_options options;
    struct rb_overlay overlay;
    struct rb_program *program;
};

static void start(struct tuning *t, size_t parents)
{
    const struct rb_learn_text text = {.blocks = &t->blocks, .mask_id = -1};
    MUST(rb_overlay_init(&t->overlay, &t->models[0], &err), &err);
    MUST(rb_finetune_new(&t->student, &t->overlay, t->parents, parents, &text, &t->options,
                         &t->program, &err),
         &err);
}

static void end(struct tuning *t)
{
    rb_program_free(t->program);
    rb_overlay_deinit(&t->overlay);
}

static void tuning_init(struct tuning *t, const struct decoder_shape *s, double lambda)
{
    *t = (struct tuning){0};
    tmpdir_init(&t->dir);
    for (int i = 0; i < 2; i++) {
        random_decoder_init(&t->random[i], s, 5 + 1000 * (uint64_t)i);
        random_decoder_open(&t->random[i], &t->dir, i == 0 ? "a" : "b", &t->models[i]);
        t->parents[i] = rb_blend_single(&t->models[i], NULL);
    }
    t->blocks = decoder_sequences(s, BLOCKS, BLOCK, BLOCK, 77);
    t->student = rb_blend_pair(&t->models[0], &t->models[1], NULL, lambda);
    rb_finetune_options_default(&t->options);
    t->options.tokens = 5 * BLOCK;
    t->options.steps = 40;
    t->options.learning_rate = 3e-3;
}

static void tuning_deinit(struct tuning *t)
{
    rb_sequences_deinit(&t->blocks);
    for (int i = 0; i < 2; i++) {
        rb_model_deinit(&t->models[i]);
        random_decoder_deinit(&t->random[i]);
    }
    tmpdir_deinit(&t->dir);
}

/* Runs until so many steps are done and it may be saved; false: it has finished. */
static bool run_until(struct tuning *t, uint32_t steps)
{
    struct rb_worker w;
    size_t items;
    bool stands = false;
    rb_worker_init(&w, NULL);
    for (;;) {
        MUST(t->program->ops->next_round(t->program, &items, &err), &err);
        stands = rb_finetune_at_step(t->program) && rb_finetune_steps_done(t->program) == steps;
        if (items == 0 || stands)
            break;
        for (size_t i = 0; i < items; i++)
            MUST(rb_program_run_item(t->program, i, &w, &err), &err);
    }
    rb_worker_deinit(&w);
    return stands;
}

static float *copy_of(const struct tuning *t, size_t *ret_count)
{
    size_t rows, columns;
    rb_model_size(&t->models[0], RB_UP_WEIGHT, &rows, &columns);
    *ret_count = rows * columns;
    float *copy = malloc(rows * columns * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, rb_overlay_at(&t->overlay, RB_UP_WEIGHT, 1), rows * columns * sizeof *copy);
    return copy;
}

/* ---- the loss ---- */

static void test_distillation_against_the_formula(void **state)
{
    (void)state;
    struct tuning t;
    tuning_init(&t, &decoder_shapes[0], 0.5);
    struct rb_learn_head heads[3], *teachers[2] = {&heads[1], &heads[2]};
    t.blocks.count = 1;
    const float *none[RB_SLOT_COUNT] = {0};
    for (int i = 0; i < 3; i++) {
        MUST(rb_learn_head_init(&heads[i], &t.models[0], BLOCK, false, &err), &err);
        heads[i].w = none;
        rb_learn_head_begin(&heads[i], &t.blocks);
        heads[i].rows = 4;
        assert_true(rb_learn_head_next_chunk(&heads[i]));
    }
    size_t n = heads[0].outputs;
    uint64_t seed = 3;
    double *x = calloc(3 * 4 * n, sizeof *x), crosses[4];
    assert_non_null(x);
    for (size_t i = 0; i < 3 * 4 * n; i++) {
        x[i] = random_uniform(&seed, -4, 4);
        heads[i / (4 * n)].logits[i % (4 * n)] = (float)x[i];
    }
    rb_learn_head_distil(&heads[0], teachers, 2, crosses, 0);
    for (size_t r = 0; r < 4; r++) {
        double zp = 0, zq = 0, kl = 0, target = 0;
        const double *q = x + r * n, *a = x + (4 + r) * n, *b = x + (8 + r) * n;
        for (size_t i = 0; i < n; i++) {
            zp += exp((a[i] + b[i]) / 2);
            zq += exp(q[i]);
        }
        for (size_t i = 0; i < n; i++) {
            double p = exp((a[i] + b[i]) / 2) / zp;
            kl += p * (log(p) - (q[i] - log(zq)));
            double g = (exp(q[i]) / zq - p) / 4;
            assert_true(fabs((double)heads[0].logits[r * n + i] - g) < 1e-6);
        }
        target = log(zq) - q[heads[0].targets[r]];
        assert_true(fabs(heads[0].losses[r] - kl) < 1e-5 * (1 + kl));
        assert_true(fabs(crosses[r] - target) < 1e-5 * (1 + target));
    }
    for (int i = 0; i < 3; i++)
        rb_learn_head_deinit(&heads[i]);
    free(x);
    tuning_deinit(&t);
}

/* ---- what it does ---- */

static void test_distance_falls(void **state)
{
    (void)state;
    static const size_t some[] = {0, 4, 9, 19}; /* of each family */
    for (size_t i = 0; i < COUNT(some); i++) {
        struct tuning t;
        tuning_init(&t, &decoder_shapes[some[i]], 0.5);
        start(&t, 2);
        assert_false(run_until(&t, UINT32_MAX));
        struct rb_finetune_figures f = rb_finetune_result(t.program);
        if (!(f.distance_after < 0.9 * f.distance_before && f.distance_after > 0))
            fail_msg("%s: the distance was %g and is %g", decoder_shapes[some[i]].name,
                     f.distance_before, f.distance_after);
        assert_true(isfinite(f.loss_before) && isfinite(f.loss_after));
        assert_null(rb_overlay_at(&t.overlay, RB_WORD_EMBEDDINGS, 0));
        end(&t);
        tuning_deinit(&t);
    }
}

/* A student that is its only parent has nothing to learn. */
static void test_nothing_to_learn(void **state)
{
    (void)state;
    struct tuning t;
    tuning_init(&t, &decoder_shapes[0], 0);
    t.options.steps = 1;
    start(&t, 1);
    assert_false(run_until(&t, UINT32_MAX));
    struct rb_finetune_figures f = rb_finetune_result(t.program);
    assert_true(fabs(f.distance_before) < 1e-6);
    end(&t);
    tuning_deinit(&t);
}

/* ---- the same bits ---- */

static void test_threads(void **state)
{
    (void)state;
    struct tuning t;
    size_t count;
    tuning_init(&t, &decoder_shapes[9], 0.5);
    t.options.steps = 12;
    start(&t, 2);
    assert_false(run_until(&t, UINT32_MAX));
    float *first = copy_of(&t, &count);
    for (size_t threads = 3; threads <= 5; threads += 2) {
        end(&t);
        start(&t, 2);
        run_program(t.program, threads, SHUFFLED, threads * 17);
        assert_memory_equal(rb_overlay_at(&t.overlay, RB_UP_WEIGHT, 1), first,
                            count * sizeof *first);
    }
    free(first);
    end(&t);
    tuning_deinit(&t);
}

static void test_resumes(void **state)
{
    (void)state;
    struct tuning t;
    size_t count;
    tuning_init(&t, &decoder_shapes[19], 0.5); /* norms over queries and keys are not trained */
    t.options.steps = 15;
    start(&t, 2);
    assert_false(run_until(&t, UINT32_MAX));
    float *whole = copy_of(&t, &count);
    struct rb_finetune_figures expected = rb_finetune_result(t.program);
    static const uint32_t stops[] = {0, 1, 7, 14};
    for (size_t i = 0; i < COUNT(stops); i++) {
        unsigned char *saved;
        size_t bytes;
        end(&t);
        start(&t, 2);
        assert_true(run_until(&t, stops[i]));
        MUST(rb_finetune_save(t.program, &saved, &bytes, &err), &err);
        end(&t);
        start(&t, 2);
        MUST(rb_finetune_restore(t.program, saved, bytes, &err), &err);
        assert_false(run_until(&t, UINT32_MAX));
        assert_memory_equal(rb_overlay_at(&t.overlay, RB_UP_WEIGHT, 1), whole,
                            count * sizeof *whole);
        struct rb_finetune_figures f = rb_finetune_result(t.program);
        assert_memory_equal(&f, &expected, sizeof f);
        free(saved);
    }
    free(whole);
    end(&t);
    tuning_deinit(&t);
}

static void test_states_of_others(void **state)
{
    (void)state;
    struct tuning t;
    unsigned char *saved;
    size_t bytes;
    tuning_init(&t, &decoder_shapes[0], 0.5);
    start(&t, 2);
    assert_true(run_until(&t, 2));
    MUST(rb_finetune_save(t.program, &saved, &bytes, &err), &err);
    end(&t);
    start(&t, 2);
    for (size_t cut = 0; cut < bytes; cut += bytes / 37 + 1)
        assert_int_equal(rb_finetune_restore(t.program, saved, cut, &err), RB_EINPUT);
    for (size_t at = 0; at < bytes; at += 9001) {
        saved[at] ^= 4;
        assert_int_equal(rb_finetune_restore(t.program, saved, bytes, &err), RB_EINPUT);
        saved[at] ^= 4;
    }
    state_set_arithmetic(saved, bytes, true);
    assert_int_equal(rb_finetune_restore(t.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "kernels of another machine"));
    assert_non_null(strstr(err.detail, "arithmetic 1, "));
    state_set_arithmetic(saved, bytes, false);
    state_set_format(saved, bytes, true);
    assert_int_equal(rb_finetune_restore(t.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "another build"));
    state_set_format(saved, bytes, false);
    end(&t);
    t.options.learning_rate = 1e-3;
    start(&t, 2);
    assert_int_equal(rb_finetune_restore(t.program, saved, bytes, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "another text"));
    free(saved);
    end(&t);
    tuning_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distillation_against_the_formula),
        cmocka_unit_test(test_distance_falls),
        cmocka_unit_test(test_nothing_to_learn),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_states_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
