// LINK: core_merge
/* Several models (METHOD 13). Each pair's moments are those of a collection of its own, bit for
 * bit. Models that are one model in other orders: their maps come back exactly, to the anchor and
 * to each other, whichever is the anchor, and no barrier is left at any weights. Unrelated models:
 * the objective never falls, maps are those of a plain ascent in F64, functions are kept.
 * Tolerances. FLAT: losses of one function, sums in another order. TURNED: the same with matrices
 * rounded to F32. SUMS: objectives, from similarities in F32. */
#include "unit/decoder_shapes.h"

#include "core/align/assignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/joint.h"
#include "core/align/procrustes.h"
#include "core/align/similarity.h"
#include "core/align/solve.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"

#include <cblas.h>

static const double FLAT = 1e-5, TURNED = 1e-4, SUMS = 1e-5;

enum { MODELS = 4, PAIRS = MODELS * (MODELS - 1) / 2 };

struct several {
    struct tmpdir dir;
    const struct decoder_shape *shape;
    struct random_decoder random[MODELS];
    struct decoder_moves moves[MODELS];
    struct rb_model own[MODELS];
    const struct rb_model *models[MODELS]; /* in the order of the test */
    struct rb_sequences align, eval;
    struct rb_fold fold[MODELS];
    struct rb_motion folded[MODELS];
    bool folds;
    struct rb_moments *moments[PAIRS];
    struct rb_alignment *alignments[MODELS];
    struct rb_motion motions[MODELS]; /* the anchor's does nothing, or folds */
    bool cycles;                      /* asked for */
    struct rb_joint_facts facts;
    struct rb_worker worker;
    struct rb_error err;
};

#define OK(call) MUST(call, &v->err)

/* same: one model in other orders; else each is drawn on its own. */
static void several_init(struct several *v, const struct decoder_shape *shape, bool same)
{
    uint64_t seed = 62;
    memset(v, 0, sizeof *v);
    v->shape = shape;
    tmpdir_init(&v->dir);
    rb_worker_init(&v->worker, NULL);
    for (size_t m = 0; m < MODELS; m++) {
        char name[8] = {(char)('a' + m), '\0'};
        random_decoder_init(&v->random[m], shape, same ? 60 : 60 + m);
        decoder_moves_init(&v->moves[m], shape, &seed);
        if (same)
            random_decoder_move(&v->random[m], &v->moves[m]);
        random_decoder_open(&v->random[m], &v->dir, name, &v->own[m]);
        v->models[m] = &v->own[m];
    }
    v->align = decoder_sequences(shape, 70, 3, shape->positions, 63);
    v->eval = decoder_sequences(shape, 24, 3, shape->positions, 64);
}

static void forget(struct several *v)
{
    for (size_t m = 0; m < MODELS; m++) {
        rb_alignment_free(v->alignments[m]);
        rb_motion_deinit(&v->motions[m]);
        rb_motion_deinit(&v->folded[m]);
        rb_fold_deinit(&v->fold[m]);
        v->alignments[m] = NULL;
    }
    for (size_t i = 0; i < PAIRS; i++) {
        rb_moments_free(v->moments[i]);
        v->moments[i] = NULL;
    }
    rb_joint_facts_deinit(&v->facts);
}

static void several_deinit(struct several *v)
{
    forget(v);
    for (size_t m = 0; m < MODELS; m++) {
        random_decoder_deinit(&v->random[m]);
        decoder_moves_deinit(&v->moves[m]);
        rb_model_deinit(&v->own[m]);
    }
    rb_sequences_deinit(&v->align);
    rb_sequences_deinit(&v->eval);
    rb_worker_deinit(&v->worker);
    tmpdir_deinit(&v->dir);
}

static void run(struct several *v, struct rb_program *p)
{
    OK(rb_program_run(p, &v->worker, &v->err));
}

/* Runs it; its items' costs, added. */
static double run_items(struct several *v, struct rb_program *p)
{
    double cost = 0;
    size_t items;
    for (;;) {
        OK(p->ops->next_round(p, &items, &v->err));
        if (items == 0)
            return cost;
        for (size_t i = 0; i < items; i++) {
            cost += p->ops->item_cost(p, i);
            OK(rb_program_run_item(p, i, &v->worker, &v->err));
        }
    }
}

static void collect(struct several *v, const struct rb_align_options *o, size_t pairs)
{
    struct rb_pair list[PAIRS];
    struct rb_program *p;
    for (size_t i = 0; i < pairs; i++)
        list[i] = rb_pair_at(MODELS, i);
    OK(rb_collect_many_new(v->models, MODELS, list, pairs, &v->align, rb_taps_needed(o), o, &p,
                           &v->err));
    for (size_t m = 0; m < MODELS && v->folds; m++)
        rb_collect_move(p, m, &v->folded[m]);
    run(v, p);
    for (size_t i = 0; i < pairs; i++)
        v->moments[i] = rb_collect_take_pair(p, i);
    rb_program_free(p);
}

static void align(struct several *v, const struct rb_align_options *o, enum rb_reference reference)
{
    struct rb_program *p;
    struct rb_blend_term terms[MODELS];
    forget(v);
    v->folds = rb_align_folds(o);
    for (size_t m = 0; m < MODELS; m++) {
        OK(rb_motion_init(&v->folded[m], (uint32_t)v->shape->layers, &v->err));
        if (v->folds) {
            OK(rb_fold_init(&v->fold[m], v->models[m], &v->err));
            rb_motion_fold(&v->folded[m], &v->fold[m]);
        }
        terms[m] = (struct rb_blend_term){v->models[m], v->folds ? &v->folded[m] : NULL, 1};
    }
    collect(v, o, rb_joint_pairs(MODELS, reference, v->cycles));
    const struct rb_joint_input in = {.config = &v->models[0]->config,
                                      .head = v->models[0]->head,
                                      .reference = reference,
                                      .cycles = v->cycles,
                                      .count = MODELS,
                                      .moments = (const struct rb_moments *const *)v->moments,
                                      .terms = terms};
    OK(rb_joint_new(&in, o, &p, &v->err));
    assert_true(fabs(rb_joint_cost(&in, o) - p->total_cost) <= 1e-6 * p->total_cost);
    double total = p->total_cost, items = run_items(v, p);
    if (reference == RB_REFERENCE_ANCHOR && !rb_align_turns_stream(o))
        assert_near("cost of all items", items, total, 1e-9 * total);
    for (size_t m = 1; m < MODELS; m++) {
        v->alignments[m] = rb_joint_take(p, m);
        OK(rb_alignment_motion(v->alignments[m], v->models[m], &v->motions[m], &v->err));
        if (v->folds)
            rb_motion_fold(&v->motions[m], &v->fold[m]);
    }
    rb_joint_take_facts(p, &v->facts);
    rb_program_free(p);
}

static double loss_at(struct several *v, const double *weights)
{
    const struct rb_evaluate_options o = {.task = v->shape->labels == 0   ? RB_TASK_CLM
                                                  : v->shape->labels == 1 ? RB_TASK_REGRESSION
                                                                          : RB_TASK_CLASSIFICATION};
    struct rb_program *p;
    struct rb_point point;
    struct rb_blend blend = {.count = MODELS};
    for (size_t m = 0; m < MODELS; m++)
        blend.terms[m] = (struct rb_blend_term){v->models[m],
                                                m > 0      ? &v->motions[m]
                                                : v->folds ? &v->folded[0]
                                                           : NULL,
                                                weights[m]};
    OK(rb_evaluate_new(&blend, &o, &v->eval, &p, &v->err));
    run(v, p);
    OK(rb_evaluate_result(p, &point, &v->err));
    rb_program_free(p);
    return point.loss;
}

static struct rb_align_options every_component(void)
{
    struct rb_align_options o;
    rb_align_options_default(&o);
    o.components = RB_COMPONENT_FF | RB_COMPONENT_MHA | RB_COMPONENT_RESIDUAL;
    o.residual = RB_RESIDUAL_ALL;
    return o;
}

/* ---- moments ---- */

static void assert_same_moments(const struct rb_moments *x, const struct rb_moments *y)
{
    assert_int_equal(x->tokens, y->tokens);
    assert_int_equal(x->tap_count, y->tap_count);
    for (size_t i = 0; i < x->tap_count; i++) {
        const struct rb_tap *a = &x->taps[i], *b = &y->taps[i];
        size_t d = a->size;
        assert_string_equal(a->name, b->name);
        assert_int_equal((int)a->rows, (int)b->rows);
        assert_memory_equal(a->pivot_a, b->pivot_a, d * sizeof(double));
        assert_memory_equal(a->pivot_b, b->pivot_b, d * sizeof(double));
        assert_memory_equal(a->square_a, b->square_a, d * sizeof(double));
        assert_memory_equal(a->square_b, b->square_b, d * sizeof(double));
        for (size_t k = 0; k < d * d; k++)
            if (rb_tap_cross(a, k / d, k % d) < rb_tap_cross(b, k / d, k % d) ||
                rb_tap_cross(a, k / d, k % d) > rb_tap_cross(b, k / d, k % d))
                fail_msg("%s: element %zu differs", a->name, k);
    }
}

static void test_each_pair_has_its_moments(void **state)
{
    (void)state;
    const struct rb_align_options o = every_component();
    struct several several, *v = &several;
    several_init(v, &decoder_shapes[9], false);
    collect(v, &o, PAIRS);
    for (size_t i = 0; i < PAIRS; i++) {
        const struct rb_pair pair = rb_pair_at(MODELS, i);
        struct rb_program *p;
        assert_int_equal(rb_pair_place(MODELS, pair.a, pair.b), i);
        OK(rb_collect_new(v->models[pair.a], v->models[pair.b], &v->align, rb_taps_needed(&o), &o,
                          &p, &v->err));
        run(v, p);
        struct rb_moments *m = rb_collect_take(p);
        rb_program_free(p);
        assert_same_moments(v->moments[i], m);
        rb_moments_free(m);
    }
    several_deinit(v);
}

/* Thirty-two models would have smaller slabs than two, and F64 sums of several. */
static void test_pairs_have_the_slabs_of_two(void **state)
{
    (void)state;
    enum { MANY = 32 };
    const struct rb_align_options o = every_component();
    const struct rb_model *models[MANY];
    struct rb_pair pairs[MANY / 2];
    struct several several, *v = &several;
    struct rb_program *p;
    several_init(v, &decoder_shapes[9], false);
    rb_sequences_deinit(&v->align);
    v->align = decoder_sequences(v->shape, 270, 3, v->shape->positions, 65);
    assert_in_range(rb_sequences_tokens(&v->align), 4500, 8000);
    for (uint32_t m = 0; m < MANY; m++) {
        models[m] = v->models[m % MODELS];
        pairs[m / 2] = (struct rb_pair){m - m % 2, m - m % 2 + 1};
    }
    OK(rb_collect_pairs_new(models, MANY, pairs, MANY / 2, &v->align, rb_taps_needed(&o), &o, &p,
                            &v->err));
    run(v, p);
    struct rb_moments *many = rb_collect_take_pair(p, 0);
    rb_program_free(p);
    OK(rb_collect_new(models[0], models[1], &v->align, rb_taps_needed(&o), &o, &p, &v->err));
    run(v, p);
    struct rb_moments *two = rb_collect_take(p);
    rb_program_free(p);
    assert_same_moments(many, two);
    rb_moments_free(many);
    rb_moments_free(two);
    several_deinit(v);
}

/* ---- one model in other orders ---- */

/* Unit i of the anchor is unit moves[i] of what all were made from. */
static void assert_matched(const struct several *v, const char *what, const uint32_t *index,
                           const uint32_t *anchor, const uint32_t *moved, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (moved[index[i]] != anchor[i])
            fail_msg("%s: %s: unit %zu of the anchor is matched to unit %u", v->shape->name, what,
                     i, index[i]);
}

static void assert_recovered(const struct several *v, const size_t *order)
{
    const struct decoder_shape *s = v->shape;
    const struct decoder_moves *anchor = &v->moves[order[0]];
    size_t wide = decoder_size(s, 'Q'), narrow = decoder_size(s, 'K');
    for (size_t m = 1; m < MODELS; m++) {
        const struct decoder_moves *mine = &v->moves[order[m]];
        const struct rb_alignment *a = v->alignments[m];
        for (size_t i = 0; i < a->group_count; i++) {
            const struct rb_group *g = &a->groups[i];
            size_t l = g->layer;
            assert_near(g->name, g->mean_correlation, 1, 1e-6);
            assert_near(g->name, g->score, g->size, 1e-5 * g->size);
            if (g->axis == RB_AXIS_FF)
                assert_matched(v, g->name, g->index, anchor->ff + l * s->inner,
                               mine->ff + l * s->inner, s->inner);
            else if (g->axis == RB_AXIS_V)
                assert_matched(v, g->name, g->index, anchor->o + l * wide, mine->o + l * wide,
                               wide);
            else if (g->axis == RB_AXIS_Q)
                assert_matched(v, g->name, g->index, anchor->q + l * wide, mine->q + l * wide,
                               wide);
            else
                assert_matched(v, g->name, g->index, anchor->residual, mine->residual, s->hidden);
            if (g->values != NULL)
                assert_matched(v, "values", g->values, anchor->v + l * narrow, mine->v + l * narrow,
                               narrow);
        }
    }
}

static void assert_no_barrier(struct several *v, double tolerance)
{
    static const double weights[][MODELS] = {
        {1, 0, 0, 0},        {0, 1, 0, 0}, {0, 0, 0, 1}, {0.5, 0, 0.5, 0}, {0.25, 0.25, 0.25, 0.25},
        {0.1, 0.2, 0.3, 0.4}};
    double first = loss_at(v, weights[0]);
    for (size_t i = 1; i < COUNT(weights); i++)
        assert_near(v->shape->name, loss_at(v, weights[i]), first, tolerance);
}

static void check_recovery(struct several *v, const struct rb_align_options *o)
{
    static const size_t orders[][MODELS] = {{0, 1, 2, 3}, {2, 0, 3, 1}};
    for (size_t i = 0; i < COUNT(orders); i++)
        for (int r = RB_REFERENCE_ANCHOR; r <= RB_REFERENCE_UNIVERSE; r++) {
            for (size_t m = 0; m < MODELS; m++)
                v->models[m] = &v->own[orders[i][m]];
            v->cycles = true;
            align(v, o, (enum rb_reference)r);
            assert_recovered(v, orders[i]);
            assert_no_barrier(v, FLAT);
            assert_int_equal(v->facts.cycle_count, v->alignments[1]->group_count);
            for (size_t c = 0; c < v->facts.cycle_count; c++)
                assert_near(v->facts.cycles[c].group, v->facts.cycles[c].share, 1, 0);
            assert_int_equal(v->facts.objective.rounds, r == RB_REFERENCE_UNIVERSE);
        }
}

static void test_orders_are_recovered(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        struct several v;
        struct rb_align_options o = every_component();
        several_init(&v, s, true);
        check_recovery(&v, &o);
        o.separate_qk = s->rotary == 0 && s->kv_heads == s->heads;
        o.heads = RB_HEADS_PERMUTE;
        if (o.separate_qk)
            check_recovery(&v, &o);
        several_deinit(&v);
    }
}

/* ---- unrelated models ---- */

static void assert_climbs(const struct several *v)
{
    const struct rb_objective *o = &v->facts.objective;
    assert_true(o->rounds >= 1 && o->rounds <= RB_ASCENT_ROUNDS);
    for (uint32_t r = 1; r <= o->rounds; r++)
        assert_true(o->values[r] >= o->values[r - 1]);
    assert_true(o->values[o->rounds] > o->values[0]);
}

static void assert_functions_kept(struct several *v, double tolerance)
{
    for (size_t m = 1; m < MODELS; m++) {
        double weights[MODELS] = {0};
        weights[m] = 1;
        double moved = loss_at(v, weights);
        struct rb_motion motion = v->motions[m];
        memset(&v->motions[m], 0, sizeof motion);
        OK(rb_motion_init(&v->motions[m], motion.layers, &v->err));
        assert_near(v->shape->name, moved, loss_at(v, weights), tolerance);
        rb_motion_deinit(&v->motions[m]);
        v->motions[m] = motion;
    }
}

static void test_functions_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        const struct decoder_shape *s = &decoder_shapes[i];
        struct several v;
        several_init(&v, s, false);
        for (int extra = 0; extra < 3; extra++) {
            struct rb_align_options o = every_component();
            bool before = s->family != OLMO2 && (s->family != NEOX || s->biases); /* they fold */
            o.head_map = extra > 0 ? RB_HEAD_MAP_ORTHOGONAL : RB_HEAD_MAP_PERMUTATION;
            o.signed_units = extra > 0 && decoder_gated(s);
            o.similarity = extra == 1 ? RB_COVARIANCE : RB_CORRELATION;
            if (extra == 2 && before) {
                o.residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
                o.match = i % 2 == 0 ? RB_MATCH_BOTH : RB_MATCH_ACTIVATIONS;
            }
            align(&v, &o, RB_REFERENCE_UNIVERSE);
            assert_climbs(&v);
            assert_functions_kept(&v, extra > 0 ? TURNED : FLAT);
            for (size_t m = 1; m < MODELS && extra == 2 && before; m++)
                assert_true(rb_orthogonality(rb_alignment_find(v.alignments[m], "residual")->matrix,
                                             s->hidden) < 1e-5);
        }
        several_deinit(&v);
    }
}

/* To an anchor each model is aligned by itself: another order of the others changes no number. */
static void test_order_changes_names_alone(void **state)
{
    (void)state;
    static const size_t other[MODELS] = {0, 3, 1, 2};
    struct several several, *v = &several;
    struct rb_align_options o = every_component();
    struct rb_alignment *first[MODELS];
    several_init(v, &decoder_shapes[0], false);
    o.head_map = RB_HEAD_MAP_ORTHOGONAL;
    align(v, &o, RB_REFERENCE_ANCHOR);
    memcpy(first, v->alignments, sizeof first);
    memset(v->alignments, 0, sizeof v->alignments);
    for (size_t m = 0; m < MODELS; m++)
        v->models[m] = &v->own[other[m]];
    align(v, &o, RB_REFERENCE_ANCHOR);
    for (size_t m = 1; m < MODELS; m++) {
        const struct rb_alignment *x = first[other[m]], *y = v->alignments[m];
        assert_int_equal(x->group_count, y->group_count);
        for (size_t g = 0; g < x->group_count; g++) {
            const struct rb_group *a = &x->groups[g], *b = &y->groups[g];
            assert_memory_equal(a->index, b->index, a->size * sizeof *a->index);
            assert_memory_equal(&a->score, &b->score, sizeof a->score);
        }
    }
    for (size_t m = 1; m < MODELS; m++)
        rb_alignment_free(first[m]);
    several_deinit(v);
}

/* ---- cycles ---- */

static void solve_pair(struct several *v, const struct rb_align_options *o, size_t a, size_t b,
                       struct rb_alignment **ret)
{
    struct rb_program *p;
    OK(rb_solve_new(&v->models[0]->config, v->models[0]->head,
                    v->moments[rb_pair_place(MODELS, a, b)], o, &p, &v->err));
    run(v, p);
    *ret = rb_solve_take(p);
    rb_program_free(p);
}

/* Where going by b ends, and with which sign, against the way without it. */
static double share_by_hand(struct rb_alignment *pairs[MODELS][MODELS], size_t group)
{
    size_t agree = 0, all = 0;
    for (size_t a = 0; a < MODELS; a++)
        for (size_t b = a + 1; b < MODELS; b++)
            for (size_t c = b + 1; c < MODELS; c++) {
                const struct rb_group *first = &pairs[a][b]->groups[group],
                                      *second = &pairs[b][c]->groups[group],
                                      *direct = &pairs[a][c]->groups[group];
                for (size_t i = 0; i < direct->size; i++, all++) {
                    uint32_t by = first->index[i];
                    bool same = second->index[by] == direct->index[i];
                    if (direct->signs != NULL) {
                        bool turned = (first->signs[i] < 0) != (second->signs[by] < 0);
                        same = same && turned == (direct->signs[i] < 0);
                    }
                    agree += same;
                }
            }
    return (double)agree / (double)all;
}

static void assert_same_maps(const struct several *v, const struct rb_alignment *x,
                             const struct rb_alignment *y)
{
    assert_int_equal(x->group_count, y->group_count);
    for (size_t g = 0; g < x->group_count; g++) {
        const struct rb_group *a = &x->groups[g], *b = &y->groups[g];
        if (memcmp(a->index, b->index, a->size * sizeof *a->index) != 0 ||
            memcmp(&a->score, &b->score, sizeof a->score) != 0 ||
            memcmp(&a->mean_correlation, &b->mean_correlation, sizeof a->mean_correlation) != 0)
            fail_msg("%s: %s: cycles change the alignment", v->shape->name, a->name);
    }
}

/* Unrelated models: the anchor's alignments are the same bits, and the shares those of a count over
 * alignments of each pair alone, to the anchor as to each other. */
static void check_cycles(struct several *v, const struct rb_align_options *o)
{
    struct rb_alignment *pairs[MODELS][MODELS], *without[MODELS];
    bool between = false, negative = false;
    v->cycles = false;
    align(v, o, RB_REFERENCE_ANCHOR);
    assert_int_equal(v->facts.cycle_count, 0);
    assert_null(v->facts.cycles);
    memcpy(without, v->alignments, sizeof without);
    memset(v->alignments, 0, sizeof v->alignments);
    for (int r = RB_REFERENCE_ANCHOR; r <= RB_REFERENCE_UNIVERSE; r++) {
        v->cycles = r == RB_REFERENCE_ANCHOR; /* the universe tells them in any case */
        align(v, o, (enum rb_reference)r);
        assert_int_equal(v->facts.cycle_count, without[1]->group_count);
        for (size_t m = 1; m < MODELS && r == RB_REFERENCE_ANCHOR; m++)
            assert_same_maps(v, v->alignments[m], without[m]);
        for (size_t a = 0; a < MODELS; a++)
            for (size_t b = a + 1; b < MODELS; b++)
                solve_pair(v, o, a, b, &pairs[a][b]);
        for (size_t g = 0; g < v->facts.cycle_count; g++) {
            double share = v->facts.cycles[g].share;
            assert_string_equal(v->facts.cycles[g].group, without[1]->groups[g].name);
            assert_near(without[1]->groups[g].name, share, share_by_hand(pairs, g), 1e-12);
            between = between || (share > 0 && share < 1);
            const struct rb_group *group = &pairs[0][1]->groups[g];
            for (size_t i = 0; group->signs != NULL && i < group->size; i++)
                negative = negative || group->signs[i] < 0;
        }
        for (size_t a = 0; a < MODELS; a++)
            for (size_t b = a + 1; b < MODELS; b++)
                rb_alignment_free(pairs[a][b]);
    }
    assert_true(between && negative == o->signed_units);
    for (size_t m = 1; m < MODELS; m++)
        rb_alignment_free(without[m]);
}

static void test_cycles_are_those_of_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(decoder_shapes); i++) {
        struct several v;
        struct rb_align_options o = every_component();
        several_init(&v, &decoder_shapes[i], false);
        o.signed_units = decoder_gated(v.shape);
        check_cycles(&v, &o);
        several_deinit(&v);
    }
}

/* A stream that turns is no permutation: no share of it, and still one of what is. */
static void test_turned_streams_have_no_share(void **state)
{
    (void)state;
    struct several several, *v = &several;
    struct rb_align_options o = every_component();
    several_init(v, &decoder_shapes[0], false);
    o.residual_map = RB_RESIDUAL_MAP_ORTHOGONAL;
    v->cycles = true;
    align(v, &o, RB_REFERENCE_ANCHOR);
    for (size_t g = 0; g < v->facts.cycle_count; g++) {
        bool stream = strcmp(v->facts.cycles[g].group, "residual") == 0;
        assert_int_equal(isnan(v->facts.cycles[g].share) != 0, stream);
    }
    several_deinit(v);
}

/* ---- a plain ascent ---- */

/* One group's correlations of all pairs in F64, by loops: c[a][b] (d, d), a < b. */
struct plain {
    size_t d;
    double *c[MODELS][MODELS];
    uint32_t *maps[MODELS];
};

static double correlation(const struct rb_tap *const *taps, size_t count, size_t i, size_t j)
{
    double cov = 0, a = 0, b = 0;
    for (size_t t = 0; t < count; t++) {
        cov += rb_tap_covariance(taps[t], i, j) / (double)count;
        a += rb_tap_variance(taps[t], 0, i) / (double)count;
        b += rb_tap_variance(taps[t], 1, j) / (double)count;
    }
    return cov / fmax(sqrt(a) * sqrt(b), 1e-7);
}

static void plain_init(struct plain *p, const struct several *v, enum rb_tap_kind kind, size_t from,
                       size_t count)
{
    memset(p, 0, sizeof *p);
    for (size_t a = 0; a < MODELS; a++)
        for (size_t b = a + 1; b < MODELS; b++) {
            const struct rb_tap *taps[16];
            for (size_t k = 0; k < count; k++)
                taps[k] = rb_moments_find(v->moments[rb_pair_place(MODELS, a, b)], kind,
                                          (uint32_t)(from + k));
            p->d = taps[0]->size;
            p->c[a][b] = must_alloc(p->d * p->d, sizeof(double));
            for (size_t i = 0; i < p->d * p->d; i++)
                p->c[a][b][i] = correlation(taps, count, i / p->d, i % p->d);
        }
}

static void plain_deinit(struct plain *p)
{
    for (size_t a = 0; a < MODELS; a++) {
        free(p->maps[a]);
        for (size_t b = 0; b < MODELS; b++)
            free(p->c[a][b]);
    }
}

static double at(const struct plain *p, size_t a, size_t i, size_t b, size_t j)
{
    return a < b ? p->c[a][b][i * p->d + j] : p->c[b][a][j * p->d + i];
}

static double plain_objective(const struct plain *p)
{
    double sum = 0;
    for (size_t a = 0; a < MODELS; a++)
        for (size_t b = a + 1; b < MODELS; b++)
            for (size_t i = 0; i < p->d; i++)
                sum += at(p, a, p->maps[a][i], b, p->maps[b][i]);
    return sum;
}

/* The assignment of slots of the other models (a few of them) to units of m. */
static bool plain_improve(struct several *v, struct plain *p, size_t m, size_t others)
{
    size_t d = p->d;
    float *sum = must_alloc(d * d, sizeof *sum);
    uint32_t *found = must_alloc(d, sizeof *found);
    double score, before = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double s = 0;
            for (size_t b = 0; b < others; b++)
                s += b == m ? 0 : at(p, b, p->maps[b][i], m, j);
            sum[i * d + j] = (float)s;
        }
    for (size_t i = 0; i < d; i++)
        before += (double)sum[i * d + p->maps[m][i]];
    rb_scratch_reset(&v->worker.scratch);
    OK(rb_assignment_solve(sum, d, d, found, &score, &v->worker, &v->err));
    bool better = score > before + 1e-9 * fabs(before);
    if (better)
        memcpy(p->maps[m], found, d * sizeof *found);
    free(sum);
    free(found);
    return better;
}

static void check_group(struct several *v, const char *name, enum rb_tap_kind kind, size_t from,
                        size_t count)
{
    struct plain p;
    plain_init(&p, v, kind, from, count);
    for (size_t m = 0; m < MODELS; m++) {
        p.maps[m] = must_alloc(p.d, sizeof(uint32_t));
        for (size_t i = 0; i < p.d; i++)
            p.maps[m][i] = (uint32_t)i;
    }
    for (size_t m = 1; m < MODELS; m++)
        (void)plain_improve(v, &p, m, 1);
    double before = plain_objective(&p);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t m = 1; m < MODELS; m++)
            changed = plain_improve(v, &p, m, MODELS) || changed;
    }
    double after = plain_objective(&p), found = 0;
    for (size_t m = 1; m < MODELS; m++) {
        const struct rb_group *g = rb_alignment_find(v->alignments[m], name);
        for (size_t i = 0; i < p.d; i++)
            if (g->index[i] != p.maps[m][i])
                fail_msg("%s of model %zu: unit %zu is matched to %u, by the plain ascent to %u",
                         name, m, i, g->index[i], p.maps[m][i]);
        memcpy(p.maps[m], g->index, p.d * sizeof(uint32_t));
    }
    found = plain_objective(&p);
    assert_true(after > before);
    assert_true(fabs(found - after) <= SUMS * fabs(after));
    plain_deinit(&p);
}

static void test_as_a_plain_ascent(void **state)
{
    (void)state;
    static const size_t shapes[] = {0, 4, 9};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct several v;
        const struct rb_align_options o = every_component();
        several_init(&v, &decoder_shapes[shapes[i]], false);
        align(&v, &o, RB_REFERENCE_UNIVERSE);
        size_t taps = (v.shape->parallel ? 1 : 2) * v.shape->layers + 1;
        check_group(&v, "layer.0.ff", RB_TAP_FF, 0, 1);
        check_group(&v, "layer.1.ff", RB_TAP_FF, 1, 1);
        check_group(&v, "residual", RB_TAP_RESIDUAL, 0, taps);
        several_deinit(&v);
    }
}

int main(void)
{
    openblas_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_pair_has_its_moments),
        cmocka_unit_test(test_pairs_have_the_slabs_of_two),
        cmocka_unit_test(test_orders_are_recovered),
        cmocka_unit_test(test_functions_are_kept),
        cmocka_unit_test(test_order_changes_names_alone),
        cmocka_unit_test(test_cycles_are_those_of_pairs),
        cmocka_unit_test(test_turned_streams_have_no_share),
        cmocka_unit_test(test_as_a_plain_ascent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
