// LINK: core_merge
/* B is made from A by random maps (METHOD 10): norms folded, the stream turned by an orthogonal
 * matrix, FF units in another order and with other signs, heads and their units in another order
 * and turned inside (in the planes of rotary positions where there are any), one turn for all query
 * heads of a key-value head. It is written to a folder and read again. Folding keeps A's function;
 * alignment undoes the maps: moved B is folded A, weight for weight, and certified. Then the same
 * from weights alone: what activations say of FF and heads is blanked, and rounds still find all.
 *
 * Tolerance. BACK: maps are found from F32 moments and rounded to F32, of the largest weight of a
 * tensor; small directions of a stream with few tokens lose some digits more. */
#include "unit/decoder_shapes.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/polar.h"
#include "core/align/procrustes.h"
#include "core/align/shape.h"
#include "core/align/solve.h"
#include "core/merge/write.h"

#include <cblas.h>

static const double BACK = 2e-3, WEIGHTS = 0.9999;

/* One of each way: LayerNorm and RMSNorm, no rotary, half a head, a whole one; side by side and one
 * after the other; one key-value head with three queries; head_dim that is not hidden / heads. */
static const char *const shapes[] = {"gpt2",
                                     "neox, serial, half a head turns",
                                     "neox",
                                     "llama, one key-value head, three queries",
                                     "llama, head_dim of its own",
                                     "qwen2, untied"};

struct pair {
    struct tmpdir dir;
    const struct decoder_shape *shape;
    struct random_decoder random;
    struct rb_align_shape sizes;
    struct rb_model model[2];
    struct rb_fold fold[2];
    struct rb_motion folded[2];
    bool folds;
    struct rb_sequences align;
    struct rb_moments *moments;
    struct rb_worker worker;
    struct rb_error err;
    uint64_t seed;
};

#define OK(call) MUST(call, &p->err)

static void run(struct pair *p, struct rb_program *program)
{
    OK(rb_program_run(program, &p->worker, &p->err));
}

static void fold(struct pair *p, int side)
{
    OK(rb_fold_init(&p->fold[side], &p->model[side], &p->err));
    OK(rb_motion_init(&p->folded[side], p->sizes.layers, &p->err));
    rb_motion_fold(&p->folded[side], &p->fold[side]);
}

static const struct rb_motion *folded(const struct pair *p, int side)
{
    return p->folds ? &p->folded[side] : NULL;
}

static struct rb_moments *collect(struct pair *p, int b)
{
    struct rb_program *program;
    struct rb_align_options o;
    rb_align_options_default(&o);
    OK(rb_collect_new(&p->model[0], &p->model[b], &p->align, (1U << RB_TAP_COUNT) - 1, &o, &program,
                      &p->err));
    if (p->folds) {
        rb_collect_move(program, 0, &p->folded[0]);
        rb_collect_move(program, 1, &p->folded[b]);
    }
    run(p, program);
    struct rb_moments *m = rb_collect_take(program);
    rb_program_free(program);
    return m;
}

static struct rb_alignment *solve(struct pair *p, const struct rb_align_options *o, int b,
                                  const struct rb_moments *moments)
{
    struct rb_program *program;
    const struct rb_blend_term ends[2] = {{&p->model[0], folded(p, 0), 1},
                                          {&p->model[b], folded(p, b), 1}};
    OK(rb_align_check(&p->sizes, o, &p->err));
    OK(rb_solve_new(&p->model[0].config, p->model[0].head, moments, o, &program, &p->err));
    rb_solve_models(program, &ends[0], &ends[1]);
    run(p, program);
    struct rb_alignment *a = rb_solve_take(program);
    rb_program_free(program);
    return a;
}

/* ---- random maps ---- */

static void random_orthogonal(struct pair *p, size_t n, bool keep_ones, double *ret)
{
    for (size_t i = 0; i < n * n; i++)
        ret[i] = random_normal(&p->seed);
    if (keep_ones)
        rb_procrustes_keep_ones(ret, n);
    OK(rb_polar(ret, n, ret, &p->err));
}

/* What a head's queries and keys may be turned by: planes of positions, and freely below them. */
static void random_turn(struct pair *p, size_t n, size_t dims, double *ret)
{
    size_t half = dims / 2, rest = n - dims;
    double *free_part = must_alloc(rest * rest + 1, sizeof *free_part);
    memset(ret, 0, n * n * sizeof *ret);
    if (rest > 0)
        random_orthogonal(p, rest, false, free_part);
    for (size_t i = 0; i < half; i++) {
        double angle = 3 * random_normal(&p->seed);
        ret[i * n + i] = ret[(i + half) * n + i + half] = cos(angle);
        ret[i * n + i + half] = sin(angle);
        ret[(i + half) * n + i] = -sin(angle);
    }
    for (size_t i = 0; i < rest; i++)
        for (size_t j = 0; j < rest; j++)
            ret[(dims + i) * n + dims + j] = free_part[i * rest + j];
    free(free_part);
}

static void random_heads(struct pair *p, struct rb_group *g)
{
    size_t n = p->sizes.head_dim, nn = n * n;
    double *turn = must_alloc(nn, sizeof *turn);
    struct decoder_moves moves;
    decoder_moves_init(&moves, p->shape, &p->seed);
    const uint32_t *o = decoder_axis(p->shape, &moves, 'o', g->layer);
    const uint32_t *v = decoder_axis(p->shape, &moves, 'v', g->layer);
    memcpy(g->index, o, g->size * sizeof *o);
    for (size_t h = 0; h < g->head_count; h++)
        g->heads[h] = o[h * n] / (uint32_t)n;
    for (size_t h = 0; g->kv_heads != NULL && h < g->kv_count; h++)
        g->kv_heads[h] = v[h * n] / (uint32_t)n;
    if (g->values != NULL)
        memcpy(g->values, v, g->kv_count * n * sizeof *v);
    for (size_t h = 0; h < g->kv_count && g->rotation != NULL; h++) {
        random_turn(p, n, p->sizes.rotary_dims, turn);
        for (size_t i = 0; i < nn; i++)
            g->rotation[h * nn + i] = (float)turn[i];
        random_orthogonal(p, n, false, turn);
        for (size_t i = 0; i < nn; i++)
            g->value_rotation[h * nn + i] = (float)turn[i];
    }
    decoder_moves_deinit(&moves);
    free(turn);
}

static void random_group(struct pair *p, struct rb_group *g)
{
    size_t nn = (size_t)g->size * g->size;
    if (g->axis == RB_AXIS_V) {
        random_heads(p, g);
        return;
    }
    if (g->matrix == NULL)
        random_permutation(&p->seed, g->index, g->size);
    for (size_t i = 0; g->signs != NULL && i < g->size; i++)
        g->signs[i] = random_normal(&p->seed) < 0 ? -1 : 1;
    if (g->matrix == NULL)
        return;
    double *o = must_alloc(nn, sizeof *o);
    random_orthogonal(p, g->size, !p->sizes.rms, o);
    for (size_t i = 0; i < nn; i++)
        g->matrix[i] = (float)o[i];
    free(o);
}

/* B: A under maps as `o` lets them be, as a folder. */
static void make_b(struct pair *p, const struct rb_align_options *o)
{
    struct rb_moments *own;
    struct rb_program *program;
    struct rb_motion motion;
    char path[600];
    own = collect(p, 0);
    struct rb_alignment *maps = solve(p, o, 0, own);
    for (size_t i = 0; i < maps->group_count; i++)
        random_group(p, &maps->groups[i]);
    OK(rb_alignment_motion(maps, &p->model[0], &motion, &p->err));
    if (p->folds)
        rb_motion_fold(&motion, &p->fold[0]);
    const struct rb_blend moved = rb_blend_single(&p->model[0], &motion);
    const char *folder = tmpdir_path(&p->dir, "b");
    assert_int_equal(mkdir(folder, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    json_t *config = rb_write_config(&moved, RB_OUT_F32);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    OK(rb_write_new(&moved, RB_OUT_F32, path, NULL, 0, &program, &p->err));
    run(p, program);
    rb_program_free(program);
    OK(rb_model_open(folder, &p->model[1], &p->err));
    rb_motion_deinit(&motion);
    rb_alignment_free(maps);
    rb_moments_free(own);
}

static void pair_init(struct pair *p, const char *name, const struct rb_align_options *o)
{
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < COUNT(decoder_shapes); i++)
        if (strcmp(decoder_shapes[i].name, name) == 0)
            p->shape = &decoder_shapes[i];
    assert_non_null(p->shape);
    p->seed = 61;
    p->folds = rb_align_folds(o);
    tmpdir_init(&p->dir);
    rb_worker_init(&p->worker, NULL);
    random_decoder_init(&p->random, p->shape, 60);
    random_decoder_open(&p->random, &p->dir, "a", &p->model[0]);
    rb_align_shape_of(&p->model[0].config, p->model[0].head, &p->sizes);
    p->align = decoder_sequences(p->shape, 90, 3, p->shape->positions, 62);
    if (p->folds)
        fold(p, 0);
    make_b(p, o);
    if (p->folds)
        fold(p, 1);
    p->moments = collect(p, 1);
}

static void pair_deinit(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->folds) {
            rb_motion_deinit(&p->folded[i]);
            rb_fold_deinit(&p->fold[i]);
        }
        rb_model_deinit(&p->model[i]);
    }
    rb_moments_free(p->moments);
    random_decoder_deinit(&p->random);
    rb_sequences_deinit(&p->align);
    rb_worker_deinit(&p->worker);
    tmpdir_deinit(&p->dir);
}

/* ---- they come back ---- */

/* Weights that have no map to find their basis by are compared as products only: none here. */
static void assert_is_a(struct pair *p, const struct rb_motion *motion)
{
    const struct rb_blend a = rb_blend_single(&p->model[0], folded(p, 0)),
                          b = rb_blend_single(&p->model[1], motion);
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++)
        for (uint32_t l = 0; l < p->sizes.layers; l++) {
            size_t rows, columns;
            double worst = 0, largest = 0;
            if (rb_model_tensor(&p->model[0], slot, l) == NULL)
                continue;
            rb_model_size(&p->model[0], slot, &rows, &columns);
            float *x = must_alloc(rows * columns, sizeof *x), *y = must_alloc(rows * columns, 4);
            rb_scratch_reset(&p->worker.scratch);
            OK(rb_blend_rows(&a, slot, l, 0, rows, x, &p->worker.scratch, &p->err));
            OK(rb_blend_rows(&b, slot, l, 0, rows, y, &p->worker.scratch, &p->err));
            for (size_t i = 0; i < rows * columns; i++) {
                worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
                largest = fmax(largest, fabs((double)x[i]));
            }
            if (!(worst <= BACK * fmax(largest, 1)))
                fail_msg("%s: slot %d of layer %u is off by %.3g of %.3g", p->shape->name,
                         (int)slot, l, worst, largest);
            free(x);
            free(y);
        }
}

static void assert_certified(struct pair *p, const struct rb_alignment *a)
{
    struct rb_program *program;
    OK(rb_certify_new(&p->model[1], a, &program, &p->err));
    if (p->folds)
        OK(rb_certify_fold(program, &p->model[0], &p->fold[0], &p->fold[1], &p->err));
    run(p, program);
    const struct rb_certificate c = rb_certify_result(program);
    if (!c.equivalent)
        fail_msg("%s: logits differ by %.3g", p->shape->name, c.max_abs_logit_difference);
    rb_program_free(program);
}

static struct rb_align_options turned(const struct decoder_shape *s)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.residual = RB_RESIDUAL_ALL;
    o.residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
    o.head_map = RB_HEAD_MAP_ORTHOGONAL;
    o.signed_units = decoder_gated(s);
    return o;
}

static const struct decoder_shape *shape_of(const char *name)
{
    for (size_t i = 0; i < COUNT(decoder_shapes); i++)
        if (strcmp(decoder_shapes[i].name, name) == 0)
            return &decoder_shapes[i];
    fail_msg("no shape '%s'", name);
    return NULL;
}

static void check(struct pair *p, const struct rb_alignment *a)
{
    struct rb_motion motion;
    assert_certified(p, a);
    OK(rb_alignment_motion(a, &p->model[1], &motion, &p->err));
    if (p->folds)
        rb_motion_fold(&motion, &p->fold[1]);
    assert_is_a(p, &motion);
    rb_motion_deinit(&motion);
}

static void test_maps_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct pair p;
        const struct rb_align_options o = turned(shape_of(shapes[i]));
        pair_init(&p, shapes[i], &o);
        for (enum rb_match m = RB_MATCH_ACTIVATIONS; m <= RB_MATCH_BOTH; m += 2) {
            struct rb_align_options with = o;
            with.match = m;
            struct rb_alignment *a = solve(&p, &with, 1, p.moments);
            check(&p, a);
            rb_alignment_free(a);
        }
        pair_deinit(&p);
    }
}

/* ---- from weights ---- */

/* Activations of FF and heads say nothing any more. */
static void blank(struct rb_moments *m)
{
    for (size_t i = 0; i < m->tap_count; i++) {
        struct rb_tap *t = &m->taps[i];
        size_t nn = (size_t)t->size * t->size;
        if (t->kind == RB_TAP_RESIDUAL)
            continue;
        for (size_t k = 0; k < nn; k++) {
            if (t->cross != NULL)
                t->cross[k] = 0;
            else
                t->cross_f32[k] = 0;
        }
        memset(t->sum_a, 0, t->size * sizeof *t->sum_a);
        memset(t->sum_b, 0, t->size * sizeof *t->sum_b);
    }
}

/* The stream keeps its place among permutations, which activations of the stream find; FF and heads
 * by weights at once, their bases too. */
static void test_weights_find_units(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct pair p;
        struct rb_align_options o = turned(shape_of(shapes[i]));
        o.residual_map = RB_RESIDUAL_MAP_PERMUTATION;
        o.match = RB_MATCH_WEIGHTS;
        pair_init(&p, shapes[i], &o);
        blank(p.moments);
        struct rb_alignment *a = solve(&p, &o, 1, p.moments);
        assert_int_equal(a->round_count, 0);
        check(&p, a);
        rb_alignment_free(a);
        pair_deinit(&p);
    }
}

/* The stream turns, by its activations and by weights around it; FF and heads are all wrong in the
 * first round, right after the second, and then nothing moves any more. */
static void test_rounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct pair p;
        struct rb_align_options o = turned(shape_of(shapes[i]));
        o.head_map = RB_HEAD_MAP_PERMUTATION;
        o.match = RB_MATCH_BOTH;
        pair_init(&p, shapes[i], &o);
        blank(p.moments);
        o.rounds = 6;
        struct rb_alignment *a = solve(&p, &o, 1, p.moments);
        for (size_t r = 0; r < a->round_count; r++)
            print_message("%s: round %zu: activations %.4f, weights %.4f, %u moved\n", shapes[i],
                          r + 1, a->rounds[r].activations, a->rounds[r].weights,
                          a->rounds[r].moved);
        assert_in_range(a->round_count, 2, 5);
        assert_true(a->rounds[0].weights < 0.95 && a->rounds[0].moved == 0);
        assert_true(a->rounds[1].moved > 0);
        assert_true(a->rounds[a->round_count - 1].weights > WEIGHTS);
        check(&p, a);
        rb_alignment_free(a);
        pair_deinit(&p);
    }
}

/* A turn goes in rounds of one step, whose costs are told, and the program can be dropped between
 * any two. */
static void test_a_turn_in_steps(void **state)
{
    (void)state;
    struct pair p;
    struct rb_align_options o = turned(shape_of("gpt2"));
    o.match = RB_MATCH_BOTH;
    o.rounds = 2;
    pair_init(&p, "gpt2", &o);
    size_t all = 0, steps = 2 * rb_polar_steps(p.sizes.hidden_size);
    for (size_t stop = SIZE_MAX; stop > 0; stop = stop > all ? all : stop - 1) {
        struct rb_program *program;
        const struct rb_blend_term ends[2] = {{&p.model[0], folded(&p, 0), 1},
                                              {&p.model[1], folded(&p, 1), 1}};
        size_t items, rounds = 0;
        double cost = 0;
        MUST(rb_solve_new(&p.model[0].config, p.model[0].head, p.moments, &o, &program, &p.err),
             &p.err);
        rb_solve_models(program, &ends[0], &ends[1]);
        for (; rounds < stop; rounds++) {
            MUST(program->ops->next_round(program, &items, &p.err), &p.err);
            if (items == 0)
                break;
            for (size_t i = 0; i < items; i++) {
                cost += program->ops->item_cost(program, i);
                MUST(rb_program_run_item(program, i, &p.worker, &p.err), &p.err);
            }
        }
        rb_program_free(program);
        if (stop <= all)
            continue;
        all = rounds;
        assert_in_range(all, steps + 6, steps + 200);
        assert_true(cost > 0);
    }
    pair_deinit(&p);
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_come_back),
        cmocka_unit_test(test_weights_find_units),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_a_turn_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
