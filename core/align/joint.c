/* Aligning several models.
 *
 * DESIGN. First a chain of pairwise programs (solve.c): the anchor's pairs, and for the universe
 * and for cycles all of them. Then rounds over what does not depend on each other:
 *   cycles   per group: how far the pairwise maps agree around triangles; the anchor ends here
 *   match    per group: its whole ascent (ascent.c)
 *   rotate   per layer: the bases inside heads
 *   moments, weights, turn   of a stream that turns: M of every pair, then its ascent (turns.c)
 *   report   per model and group: score and correlations against the anchor */
#include "core/align/joint.h"
#include "core/align/ascent.h"
#include "core/align/polar.h"
#include "core/align/procrustes.h"
#include "core/align/report.h"
#include "core/align/solve.h"
#include "core/align/stream.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_ROWS = 64 };

enum round {
    ROUND_START,
    ROUND_PAIRS,
    ROUND_CYCLES,
    ROUND_MATCH,
    ROUND_ROTATE,
    ROUND_MOMENTS,
    ROUND_WEIGHTS, /* one tensor a round */
    ROUND_TURN,
    ROUND_REPORT,
    ROUND_DONE
};

/* The streams' orthogonal maps in the making. */
struct stream {
    bool turns;
    size_t group;
    double **moments, **weights; /* (pairs) M of each from either; NULL: not asked for */
    struct rb_motion *motions;   /* (count) as matched so far */
    struct rb_stream_tensor *tensors;
    size_t tensor_count, tensor;
};

struct joint {
    struct rb_program program;
    struct rb_joint_input input;
    struct rb_align_options options;
    struct rb_align_shape shape;
    size_t pairs;
    struct rb_program **solves; /* (pairs) the chain's */
    struct rb_program *chain;
    struct rb_alignment **pairwise; /* (pairs) the first count - 1 are the result */
    struct rb_ascent ascent;
    size_t group_count;
    struct rb_objective *objectives; /* (group_count) */
    struct rb_joint_facts facts;
    struct stream stream;
    enum round round;
};

/* ---- cycles ---- */

static float sign_at(const struct rb_group *g, uint32_t i)
{
    return g->signs != NULL ? g->signs[i] : 1;
}

/* p_ac = p_bc p_ab in how many units of one triple? */
static size_t agreeing(const struct joint *j, size_t group, size_t a, size_t b, size_t c)
{
    size_t n = j->input.count, agree = 0;
    const struct rb_group *ab = &j->pairwise[rb_pair_place(n, a, b)]->groups[group];
    const struct rb_group *bc = &j->pairwise[rb_pair_place(n, b, c)]->groups[group];
    const struct rb_group *ac = &j->pairwise[rb_pair_place(n, a, c)]->groups[group];
    for (uint32_t i = 0; i < ab->size; i++) {
        uint32_t of_b = ab->index[i];
        agree += ac->index[i] == bc->index[of_b] &&
                 sign_at(ac, i) * sign_at(ab, i) * sign_at(bc, of_b) > 0;
    }
    return agree;
}

static void count_cycles(struct joint *j, size_t group)
{
    size_t n = j->input.count, agree = 0, all = 0;
    const struct rb_group *g = &j->pairwise[0]->groups[group];
    struct rb_cycle *cycle = &j->facts.cycles[group];
    for (size_t a = 0; a < n; a++)
        for (size_t b = a + 1; b < n; b++)
            for (size_t c = b + 1; c < n; c++) {
                agree += agreeing(j, group, a, b, c);
                all += g->size;
            }
    memcpy(cycle->group, g->name, sizeof cycle->group);
    /* maps that are no permutations have no units that agree */
    cycle->share = g->matrix == NULL && all > 0 ? (double)agree / (double)all : (double)NAN;
}

/* ---- the streams' maps ---- */

static size_t stream_tiles(const struct joint *j)
{
    return (j->shape.hidden_size + STREAM_ROWS - 1) / STREAM_ROWS;
}

static enum rb_status add_to_stream(struct joint *j, size_t item, struct rb_worker *w,
                                    struct rb_error *err)
{
    size_t place = item / stream_tiles(j), first = item % stream_tiles(j) * STREAM_ROWS;
    size_t d = j->shape.hidden_size, rows = d - first < STREAM_ROWS ? d - first : STREAM_ROWS;
    struct stream *t = &j->stream;
    const struct rb_group *g = &j->pairwise[0]->groups[t->group];
    if (j->round == ROUND_MOMENTS) {
        const struct rb_tap **taps =
            rb_scratch_alloc(&w->scratch, rb_ascent_taps(&j->shape), sizeof(const struct rb_tap *));
        if (taps == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory for the streams' maps");
        const struct rb_similarity_source s =
            rb_ascent_source(&j->ascent, g, j->input.moments[place], taps);
        rb_stream_add_moments(s.taps, s.count, j->options.similarity == RB_DOT, first, rows,
                              t->moments[place]);
        return RB_OK;
    }
    const struct rb_pair p = rb_pair_at(j->input.count, place);
    const struct rb_blend a = rb_blend_single(j->input.terms[p.a].model, &t->motions[p.a]);
    const struct rb_blend b = rb_blend_single(j->input.terms[p.b].model, &t->motions[p.b]);
    return rb_stream_add_weights(&a, &b, &t->tensors[t->tensor], first, rows, t->weights[place],
                                 &w->scratch, err);
}

/* Every model as matched so far, but for the stream's own map. */
static enum rb_status begin_weights(struct joint *j, struct rb_error *err)
{
    struct stream *t = &j->stream;
    const struct rb_blend_term *terms = j->input.terms;
    enum rb_status s = rb_motion_init(&t->motions[0], j->shape.layers, err);
    for (size_t m = 1; m < j->input.count && s == RB_OK; m++) {
        struct rb_group *g = &j->pairwise[m - 1]->groups[t->group];
        float *matrix = g->matrix;
        g->matrix = NULL;
        s = rb_alignment_motion(j->pairwise[m - 1], terms[m].model, &t->motions[m], err);
        g->matrix = matrix;
    }
    for (size_t m = 0; m < j->input.count && s == RB_OK; m++)
        t->motions[m].fold = terms[m].motion != NULL ? terms[m].motion->fold : NULL;
    return s == RB_OK ? rb_stream_tensors(terms[0].model, &t->tensors, &t->tensor_count, err) : s;
}

static double norm_of(const double *m, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += m[i] * m[i];
    return sqrt(sum);
}

/* M divided by its norm; of both, the sum of the two. Left in the first of them. */
static double *join(const struct stream *t, size_t place, size_t nn)
{
    double *parts[2] = {t->moments != NULL ? t->moments[place] : NULL,
                        t->weights != NULL ? t->weights[place] : NULL};
    double *m = parts[0] != NULL ? parts[0] : parts[1];
    for (size_t k = 0; k < 2; k++) {
        double size = parts[k] != NULL ? norm_of(parts[k], nn) : 0;
        for (size_t i = 0; parts[k] != NULL && size > 0 && i < nn; i++)
            m[i] = parts[k][i] / size + (m == parts[k] ? 0 : m[i]);
    }
    return m;
}

static enum rb_status polar_of_stream(const void *data, const double *m, size_t n, double *ret,
                                      struct rb_scratch *scratch, struct rb_error *err)
{
    const struct joint *j = data;
    (void)scratch;
    memcpy(ret, m, n * n * sizeof *ret);
    if (!j->shape.rms)
        rb_procrustes_keep_ones(ret, n);
    return rb_polar(ret, n, ret, err);
}

static enum rb_status turn_streams(struct joint *j, struct rb_worker *w, struct rb_error *err)
{
    size_t count = j->input.count, d = j->shape.hidden_size, nn = d * d;
    const double **pairs = calloc(j->pairs, sizeof(const double *));
    double *turns = rb_calloc_aligned(count * nn, sizeof *turns);
    enum rb_status s = RB_OK;
    if (pairs == NULL || turns == NULL)
        s = rb_error_set(err, RB_ENOMEM, "no memory for the streams' maps");
    for (size_t k = 0; k < j->pairs && s == RB_OK; k++)
        pairs[k] = join(&j->stream, k, nn);
    for (size_t i = 0; i < d && s == RB_OK; i++)
        turns[i * d + i] = 1;
    for (size_t m = 1; m < count && s == RB_OK; m++)
        for (size_t i = 0; i < nn; i++)
            turns[m * nn + i] = (double)j->pairwise[m - 1]->groups[j->stream.group].matrix[i];
    const struct rb_turns t = {count, d, pairs, turns, polar_of_stream, j};
    if (s == RB_OK)
        s = rb_turns_ascend(&t, &j->objectives[j->stream.group], w, err);
    for (size_t m = 1; m < count && s == RB_OK; m++) {
        struct rb_group *g = &j->pairwise[m - 1]->groups[j->stream.group];
        const double *to_anchor = pairs[rb_pair_place(count, 0, m)];
        g->score = 0;
        for (size_t i = 0; i < nn; i++) {
            g->matrix[i] = (float)turns[m * nn + i];
            g->score += turns[m * nn + i] * to_anchor[i];
        }
    }
    free((void *)pairs);
    free(turns);
    return s;
}

/* ---- reports ---- */

/* Of what the assignments see: the score is the matched pairs' sum. */
static enum rb_status add_score(const struct joint *j, struct rb_group *g,
                                const struct rb_similarity_source *source, float *c,
                                struct rb_worker *w, struct rb_error *err)
{
    size_t d = g->size;
    enum rb_status s = rb_similarity_rows(source, j->options.similarity, 0, d, c, &w->scratch, err);
    g->score = 0;
    for (size_t i = 0; i < d && s == RB_OK; i++) {
        double v = (double)c[i * d + g->index[i]];
        g->score += g->signs != NULL ? v * (double)g->signs[i] : j->options.absolute ? fabs(v) : v;
    }
    return s;
}

static enum rb_status report(const struct joint *j, size_t model, size_t group, struct rb_worker *w,
                             struct rb_error *err)
{
    struct rb_group *g = &j->pairwise[model - 1]->groups[group];
    size_t d = g->size;
    const struct rb_tap **taps =
        rb_scratch_alloc(&w->scratch, rb_ascent_taps(&j->shape), sizeof(const struct rb_tap *));
    float *c = rb_scratch_alloc(&w->scratch, d * d, sizeof *c);
    if (taps == NULL || c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the report of group '%s'", g->name);
    const struct rb_similarity_source source =
        rb_ascent_source(&j->ascent, g, j->input.moments[model - 1], taps);
    free(g->correlations.heatmap_before);
    free(g->correlations.heatmap_after);
    g->correlations = (struct rb_correlations){0};
    enum rb_status s = RB_OK;
    if (g->matrix == NULL)
        s = add_score(j, g, &source, c, w, err);
    if (s == RB_OK && (g->matrix != NULL || j->options.similarity != RB_CORRELATION))
        s = rb_similarity_rows(&source, g->matrix != NULL ? RB_COVARIANCE : RB_CORRELATION, 0, d, c,
                               &w->scratch, err);
    if (s == RB_OK && g->matrix != NULL)
        return rb_report_turned(g, &source, c, &w->scratch, err);
    if (s == RB_OK)
        s = rb_report_fill(g, c, &w->scratch, err);
    return s == RB_OK ? rb_report_moved(g, &source, &w->scratch, err) : s;
}

/* ---- the program ---- */

static bool ascends(const struct joint *j)
{
    return j->input.reference == RB_REFERENCE_UNIVERSE;
}

/* Which groups a round has an item for: the n-th of them. */
static bool takes_part(const struct joint *j, enum round round, const struct rb_group *g)
{
    if (round == ROUND_MATCH)
        return rb_ascent_matches(&j->ascent, g);
    if (round == ROUND_ROTATE)
        return g->axis == RB_AXIS_V;
    return true;
}

static size_t group_at(const struct joint *j, enum round round, size_t n)
{
    for (size_t g = 0; g < j->group_count; g++)
        if (takes_part(j, round, &j->pairwise[0]->groups[g]) && n-- == 0)
            return g;
    return j->group_count;
}

static size_t groups_in(const struct joint *j, enum round round)
{
    size_t n = 0;
    for (size_t g = 0; g < j->group_count; g++)
        n += takes_part(j, round, &j->pairwise[0]->groups[g]);
    return n;
}

static size_t items_of(const struct joint *j, enum round round)
{
    const struct stream *t = &j->stream;
    if (round != ROUND_CYCLES && !ascends(j))
        return 0;
    switch (round) {
    case ROUND_CYCLES:
        return j->facts.cycle_count;
    case ROUND_MATCH:
        return groups_in(j, round);
    case ROUND_ROTATE:
        return rb_align_head_map(&j->options) != RB_HEAD_MAP_PERMUTATION ? groups_in(j, round) : 0;
    case ROUND_MOMENTS:
        return t->moments != NULL ? j->pairs * stream_tiles(j) : 0;
    case ROUND_WEIGHTS:
        return t->weights != NULL ? j->pairs * stream_tiles(j) : 0;
    case ROUND_TURN:
        return t->turns;
    case ROUND_REPORT:
        return (j->input.count - 1) * j->group_count;
    default:
        return 0;
    }
}

static bool alloc_matrices(double ***ret, size_t count, size_t nn)
{
    double **m = calloc(count + 1, sizeof(double *));
    bool ok = m != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        m[i] = rb_calloc_aligned(nn, sizeof **m);
        ok = m[i] != NULL;
    }
    *ret = m;
    return ok;
}

static bool alloc_stream(struct joint *j)
{
    struct stream *t = &j->stream;
    size_t nn = (size_t)j->shape.hidden_size * j->shape.hidden_size;
    bool ok = true;
    for (size_t g = 0; g < j->group_count; g++)
        if (j->pairwise[0]->groups[g].matrix != NULL) {
            t->turns = true;
            t->group = g;
        }
    if (t->turns && j->options.match != RB_MATCH_WEIGHTS)
        ok = alloc_matrices(&t->moments, j->pairs, nn);
    if (t->turns && j->options.match != RB_MATCH_ACTIVATIONS)
        ok = alloc_matrices(&t->weights, j->pairs, nn) && ok;
    t->motions = calloc(j->input.count, sizeof *t->motions);
    return ok && t->motions != NULL;
}

static bool counts_cycles(const struct joint *j)
{
    return j->input.count > 2 && j->pairs == rb_pair_count(j->input.count);
}

/* The chain has ended: its alignments are taken, and what the rounds behind it need is made. */
static enum rb_status end_pairs(struct joint *j, struct rb_error *err)
{
    bool ok = true;
    for (size_t p = 0; p < j->pairs; p++)
        j->pairwise[p] = rb_solve_take(j->solves[p]);
    rb_program_free(j->chain);
    j->chain = NULL;
    j->group_count = j->pairwise[0]->group_count;
    if (counts_cycles(j)) {
        j->facts.cycles = calloc(j->group_count + 1, sizeof *j->facts.cycles);
        j->facts.cycle_count = j->group_count;
        ok = j->facts.cycles != NULL;
    }
    j->ascent = (struct rb_ascent){.count = j->input.count,
                                   .moments = j->input.moments,
                                   .alignments = j->pairwise,
                                   .options = &j->options,
                                   .shape = &j->shape};
    j->objectives = calloc(j->group_count + 1, sizeof *j->objectives);
    ok = ok && j->objectives != NULL && (!ascends(j) || alloc_stream(j));
    return ok ? RB_OK
              : rb_error_set(err, RB_ENOMEM, "no memory to align %zu models", j->input.count);
}

/* METHOD's rounds go over all groups: one that has settled stays as it is. */
static void add_objectives(struct joint *j)
{
    struct rb_objective *all = &j->facts.objective;
    for (size_t g = 0; g < j->group_count; g++)
        if (j->objectives[g].rounds > all->rounds)
            all->rounds = j->objectives[g].rounds;
    for (size_t g = 0; g < j->group_count; g++)
        for (uint32_t r = 0; r <= all->rounds; r++) {
            uint32_t last = j->objectives[g].rounds;
            all->values[r] += j->objectives[g].values[r < last ? r : last];
        }
}

static enum rb_status begin_round(struct joint *j, enum round round, size_t *ret_items,
                                  struct rb_error *err)
{
    j->round = round;
    *ret_items = items_of(j, round);
    if (round == ROUND_WEIGHTS && *ret_items > 0)
        return begin_weights(j, err);
    if (round == ROUND_REPORT && *ret_items > 0)
        add_objectives(j);
    return RB_OK;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct joint *j = (struct joint *)p;
    enum rb_status s = RB_OK;
    *ret_items = 0;
    if (j->round <= ROUND_PAIRS) {
        j->round = ROUND_PAIRS;
        s = j->chain->ops->next_round(j->chain, ret_items, err);
        if (s != RB_OK || *ret_items > 0)
            return s;
        s = end_pairs(j, err);
    }
    if (j->round == ROUND_WEIGHTS && ++j->stream.tensor < j->stream.tensor_count) {
        *ret_items = items_of(j, ROUND_WEIGHTS);
        return RB_OK;
    }
    while (s == RB_OK && j->round != ROUND_DONE && *ret_items == 0)
        s = begin_round(j, (enum round)(j->round + 1), ret_items, err);
    return s;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct joint *j = (struct joint *)p;
    size_t g = group_at(j, j->round, item);
    switch (j->round) {
    case ROUND_PAIRS:
        return j->chain->ops->run_item(j->chain, item, w, err);
    case ROUND_CYCLES:
        count_cycles(j, item);
        return RB_OK;
    case ROUND_MATCH:
        return rb_ascent_match(&j->ascent, g, &j->objectives[g], w, err);
    case ROUND_ROTATE:
        return rb_ascent_rotate(&j->ascent, g, w, err);
    case ROUND_MOMENTS:
    case ROUND_WEIGHTS:
        return add_to_stream(j, item, w, err);
    case ROUND_TURN:
        return turn_streams(j, w, err);
    case ROUND_REPORT:
        return report(j, item / j->group_count + 1, item % j->group_count, w, err);
    default:
        return RB_OK;
    }
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct joint *j = (const struct joint *)p;
    double d = j->shape.hidden_size, models = (double)j->input.count;
    switch (j->round) {
    case ROUND_PAIRS:
        return j->chain->ops->item_cost(j->chain, item);
    case ROUND_MATCH:
        return rb_ascent_cost(j->input.count,
                              &j->pairwise[0]->groups[group_at(j, ROUND_MATCH, item)]);
    case ROUND_WEIGHTS:
        return rb_stream_weights_cost(j->input.terms[0].model, &j->stream.tensors[j->stream.tensor],
                                      STREAM_ROWS);
    case ROUND_MOMENTS:
        return 5.0 * STREAM_ROWS * d * (double)j->shape.residual_taps;
    case ROUND_TURN:
        return 4 * (models - 1) * (rb_polar_cost(d) + 2 * models * d * d * d);
    default:
        return 0;
    }
}

void rb_joint_facts_deinit(struct rb_joint_facts *f)
{
    free(f->cycles);
    *f = (struct rb_joint_facts){0};
}

static void free_matrices(double **m, size_t count)
{
    for (size_t i = 0; i < count && m != NULL; i++)
        free(m[i]);
    free(m);
}

static void joint_free(struct rb_program *p)
{
    struct joint *j = (struct joint *)p;
    rb_program_free(j->chain);
    for (size_t i = 0; i < j->pairs && j->pairwise != NULL; i++)
        rb_alignment_free(j->pairwise[i]);
    for (size_t m = 0; m < j->input.count && j->stream.motions != NULL; m++)
        rb_motion_deinit(&j->stream.motions[m]);
    free_matrices(j->stream.moments, j->pairs);
    free_matrices(j->stream.weights, j->pairs);
    free(j->stream.motions);
    free(j->stream.tensors);
    free(j->pairwise);
    free(j->solves);
    free(j->objectives);
    rb_joint_facts_deinit(&j->facts);
    free(j);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, joint_free};

/* The chain of pairwise programs; what was made is freed on failure. */
static enum rb_status make_pairs(struct joint *j, struct rb_error *err)
{
    const struct rb_joint_input *in = &j->input;
    enum rb_status s = RB_OK;
    size_t made = 0;
    for (; made < j->pairs && s == RB_OK; made += s == RB_OK) {
        const struct rb_pair p = rb_pair_at(in->count, made);
        s = rb_solve_new(in->config, in->head, in->moments != NULL ? in->moments[made] : NULL,
                         &j->options, &j->solves[made], err);
        if (s == RB_OK && in->terms != NULL)
            rb_solve_models(j->solves[made], &in->terms[p.a], &in->terms[p.b]);
        if (s == RB_OK && p.a > 0) /* told of no such pair */
            rb_solve_without_report(j->solves[made]);
    }
    if (s == RB_OK)
        return rb_program_chain_new(j->solves, j->pairs, &j->chain, err);
    for (size_t i = 0; i < made; i++)
        rb_program_free(j->solves[i]);
    return s;
}

/* Of the ascent, from the groups that solving has laid out. */
static double ascent_cost(const struct joint *j)
{
    struct rb_alignment *layout = rb_solve_take(j->solves[0]);
    double cost = 0, d = j->shape.hidden_size, models = (double)j->input.count;
    for (size_t g = 0; g < layout->group_count; g++)
        if (layout->groups[g].axis != RB_AXIS_RES_FIRST || !rb_align_turns_stream(&j->options))
            cost += rb_ascent_cost(j->input.count, &layout->groups[g]);
        else
            cost += 4 * (models - 1) * (rb_polar_cost(d) + 2 * models * d * d * d);
    rb_alignment_free(layout);
    return cost;
}

static enum rb_status joint_init(struct joint *j, struct rb_error *err)
{
    j->solves = calloc(j->pairs, sizeof(struct rb_program *));
    j->pairwise = calloc(j->pairs, sizeof(struct rb_alignment *));
    if (j->solves == NULL || j->pairwise == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to align %zu models", j->input.count);
    enum rb_status s = make_pairs(j, err);
    if (s == RB_OK)
        j->program.total_cost = j->chain->total_cost;
    return s;
}

static struct joint *joint_alloc(const struct rb_joint_input *input,
                                 const struct rb_align_options *o)
{
    struct joint *j = calloc(1, sizeof *j);
    assert(input->count >= 2);
    if (j == NULL)
        return NULL;
    j->program.ops = &ops;
    j->input = *input;
    j->options = *o;
    j->facts.reference = input->reference;
    j->pairs = rb_joint_pairs(input->count, input->reference, input->cycles);
    rb_align_shape_of(input->config, input->head, &j->shape);
    return j;
}

enum rb_status rb_joint_new(const struct rb_joint_input *input, const struct rb_align_options *o,
                            struct rb_program **ret, struct rb_error *err)
{
    struct joint *j = joint_alloc(input, o);
    if (j == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to align %zu models", input->count);
    enum rb_status s = joint_init(j, err);
    if (s != RB_OK) {
        joint_free(&j->program);
        return s;
    }
    if (input->reference == RB_REFERENCE_UNIVERSE)
        j->program.total_cost += rb_joint_cost(input, o) - j->chain->total_cost;
    *ret = &j->program;
    return RB_OK;
}

struct rb_alignment *rb_joint_take(struct rb_program *p, size_t model)
{
    struct joint *j = (struct joint *)p;
    struct rb_alignment *a = j->pairwise[model - 1];
    j->pairwise[model - 1] = NULL;
    return a;
}

void rb_joint_take_facts(struct rb_program *p, struct rb_joint_facts *ret)
{
    struct joint *j = (struct joint *)p;
    *ret = j->facts;
    j->facts.cycles = NULL;
}

double rb_joint_cost(const struct rb_joint_input *input, const struct rb_align_options *o)
{
    struct rb_joint_input in = *input;
    struct rb_error err;
    in.moments = NULL;
    in.terms = NULL;
    struct joint *j = joint_alloc(&in, o);
    if (j == NULL)
        return 0;
    double cost = 0;
    if (joint_init(j, &err) == RB_OK) {
        cost = j->program.total_cost;
        if (in.reference == RB_REFERENCE_UNIVERSE)
            cost += ascent_cost(j);
    }
    joint_free(&j->program);
    return cost;
}
