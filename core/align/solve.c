/* Solving all assignments of METHOD 4, and the stream's map of METHOD 10.
 *
 * DESIGN. Match: every assignment that depends on no other one (a layer's FF units,
 * the residual stream, and for heads all d_h x d_h problems of one of A's heads). Assemble: per
 * layer, heads are assigned, inner permutations put together, queries and keys matched inside that
 * assignment, rotations found. Moments, weights, turn: M of a stream that turns, and its map.
 * Again: where `match` reads weights, FF and heads anew under the stream's map (rematch.c), and
 * then the stream's map once more, as often as `rounds` says or until no unit moves. Report: per
 * group, the correlations of what was matched. */
#include "core/align/solve.h"
#include "core/align/assignment.h"
#include "core/align/heads.h"
#include "core/align/polar.h"
#include "core/align/procrustes.h"
#include "core/align/rematch.h"
#include "core/align/report.h"
#include "core/align/rotate.h"
#include "core/align/shape.h"
#include "core/align/similarity.h"
#include "core/align/stream.h"
#include "core/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIGN_ROWS = 64, STREAM_ROWS = 64 };

enum round {
    ROUND_START,
    ROUND_MATCH,
    ROUND_ASSEMBLE,
    ROUND_MOMENTS, /* of the stream, where it turns … */
    ROUND_WEIGHTS, /* … one tensor a round */
    ROUND_TURN,
    ROUND_AGAIN,
    ROUND_REPORT
};

/* The stream's orthogonal map in the making (METHOD 10). */
struct stream {
    uint32_t group;
    double *moments, *weights;         /* (d, d) M from either; NULL: not asked for */
    struct rb_blend_term terms[2];     /* A, and B as matched so far */
    struct rb_motion motion;           /* B's */
    uint32_t moved;                    /* units with another partner than a round before */
    const struct rb_motion *unmatched; /* B's before that, for its fold */
    struct rb_stream_tensor *tensors;
    size_t tensor_count, tensor; /* the present one */
    struct rb_polar *polar;      /* of the present turn … */
    size_t step;                 /* … and which of its steps is next */
};

struct solve {
    struct rb_program program;
    const struct rb_moments *moments;
    struct rb_align_options options;
    struct rb_align_shape shape;
    struct rb_heads_shape heads;
    struct rb_alignment *alignment;
    struct rb_similarity_source *sources; /* one per group */
    const struct rb_tap **taps;           /* what the sources point into */
    struct rb_similarity_source *values;  /* (layers) of value projections, of grouped queries */
    struct rb_heads_work *work;           /* (layers), with heads permuted or monotonic */
    struct match {
        uint32_t group, head;
    } * matches;
    size_t match_count;
    uint32_t *mha_groups; /* (layers) */
    size_t mha_count;
    struct stream stream;
    uint32_t *layered; /* (layered_count) groups inside layers that are matched again */
    size_t layered_count;
    size_t *moved;  /* (layered_count) units of each with another partner than before */
    uint32_t again; /* how often that was done */
    bool no_report;
    enum round round;
};

static bool by_heads(const struct solve *s)
{
    return (s->options.components & RB_COMPONENT_MHA) && s->options.heads != RB_HEADS_IGNORE;
}

static bool is_stream(const struct rb_group *g)
{
    return g->axis == RB_AXIS_RES_FIRST;
}

/* May this group's units change sign? METHOD 9, `signed`. */
static bool takes_signs(const struct solve *s, const struct rb_group *g)
{
    bool stream = is_stream(g) && s->shape.rms && !rb_align_turns_stream(&s->options);
    return s->options.signed_units && ((g->axis == RB_AXIS_FF && s->shape.gated) || stream);
}

/* Rows [first, first + rows) of a similarity as assignments see it: absolute where the job says so.
 * In the worker's scratch. */
static enum rb_status source_rows(const struct solve *s, const struct rb_similarity_source *source,
                                  bool absolute, size_t first, size_t rows, float **ret,
                                  struct rb_worker *w, struct rb_error *err)
{
    size_t n = rows * source->size;
    float *c = rb_scratch_alloc(&w->scratch, n, sizeof(float));
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the similarity of %u units",
                            source->size);
    enum rb_status st =
        rb_similarity_rows(source, s->options.similarity, first, rows, c, &w->scratch, err);
    for (size_t i = 0; st == RB_OK && absolute && i < n; i++)
        c[i] = fabsf(c[i]);
    if (st == RB_OK)
        *ret = c;
    return st;
}

static enum rb_status similarity(const struct solve *s, uint32_t group, size_t first, size_t rows,
                                 float **ret, struct rb_worker *w, struct rb_error *err)
{
    return source_rows(s, &s->sources[group], s->options.absolute, first, rows, ret, w, err);
}

/* Correlations as they are: what a report is made of. */
static bool sees_correlations(const struct solve *s)
{
    return s->options.similarity == RB_CORRELATION && !s->options.absolute;
}

/* ---- match ---- */

/* Which of the matched pairs are negative; the similarity is made again, some rows at a time. */
static enum rb_status find_signs(const struct solve *s, uint32_t group, struct rb_worker *w,
                                 struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    float *c = rb_scratch_alloc(&w->scratch, (size_t)SIGN_ROWS * g->size, sizeof *c);
    enum rb_status st = RB_OK;
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the signs of group '%s'", g->name);
    for (size_t first = 0; first < g->size && st == RB_OK; first += SIGN_ROWS) {
        size_t n = g->size - first < SIGN_ROWS ? g->size - first : SIGN_ROWS;
        st = rb_similarity_rows(&s->sources[group], s->options.similarity, first, n, c, &w->scratch,
                                err);
        for (size_t i = 0; i < n && st == RB_OK; i++)
            g->signs[first + i] = c[i * g->size + g->index[first + i]] < 0 ? -1.0f : 1.0f;
    }
    return st;
}

static enum rb_status match_whole(const struct solve *s, uint32_t group, struct rb_worker *w,
                                  struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    bool absolute = s->options.absolute || g->signs != NULL;
    float *c;
    enum rb_status st = source_rows(s, &s->sources[group], absolute, 0, g->size, &c, w, err);
    if (st == RB_OK)
        st = rb_assignment_solve(c, g->size, g->size, g->index, &g->score, w, err);
    if (st == RB_OK && g->signs != NULL)
        return find_signs(s, group, w, err);
    if (st == RB_OK && sees_correlations(s) && !s->no_report)
        st = rb_report_fill(g, c, &w->scratch, err); /* while c is there */
    return st;
}

/* All inner problems of one of A's key-value heads. */
static enum rb_status match_head(const struct solve *s, uint32_t group, uint32_t head,
                                 struct rb_worker *w, struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    const struct rb_heads_shape *h = &s->heads;
    size_t rows = h->queries * h->units;
    float *c, *v = NULL;
    enum rb_status st = similarity(s, group, head * rows, rows, &c, w, err);
    if (st == RB_OK && h->queries > 1)
        st = source_rows(s, &s->values[g->layer], s->options.absolute, head * h->units, h->units,
                         &v, w, err);
    for (size_t other = 0; other < h->groups && st == RB_OK; other++)
        if (s->options.heads != RB_HEADS_MONOTONIC || other == head)
            st = rb_heads_match(h, c, v, head, other, &s->work[g->layer], w, err);
    return st;
}

/* ---- assemble ---- */

static enum rb_status assign_heads(const struct solve *s, struct rb_group *g, struct rb_worker *w,
                                   struct rb_error *err)
{
    const struct rb_heads_work *work = &s->work[g->layer];
    uint32_t *assigned = g->kv_heads != NULL ? g->kv_heads : g->heads;
    if (s->options.heads == RB_HEADS_PERMUTE) {
        double score;
        enum rb_status st = rb_assignment_solve(work->value, s->heads.groups, s->heads.groups,
                                                assigned, &score, w, err);
        if (st != RB_OK)
            return st;
    }
    rb_heads_assemble(&s->heads, work, assigned, g->kv_heads != NULL ? g->heads : NULL, g->index,
                      g->values);
    return RB_OK;
}

/* Inner permutations under a head assignment that is already there, and the score of the whole. */
static enum rb_status match_inside(const struct solve *s, uint32_t group, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    size_t d = g->size, dh = s->heads.units;
    g->score = 0;
    for (size_t h = 0; h < g->head_count; h++) {
        float *c;
        enum rb_status st = similarity(s, group, h * dh, dh, &c, w, err);
        if (st != RB_OK)
            return st;
        double score;
        st = rb_assignment_solve(c + g->heads[h] * dh, dh, d, g->index + h * dh, &score, w, err);
        if (st != RB_OK)
            return st;
        for (size_t u = 0; u < dh; u++)
            g->index[h * dh + u] += (uint32_t)(g->heads[h] * dh);
        g->score += score;
    }
    return RB_OK;
}

/* The score of an index that was put together from parts. */
static enum rb_status add_score(const struct solve *s, uint32_t group, struct rb_worker *w,
                                struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    float *c;
    enum rb_status st = similarity(s, group, 0, g->size, &c, w, err);
    g->score = 0;
    for (size_t i = 0; st == RB_OK && i < g->size; i++)
        g->score += (double)c[i * g->size + g->index[i]];
    return st;
}

/* Queries and keys in the order that they move in (alignment.c): with rotary positions, heads as
 * wholes. */
static enum rb_status rotate_queries(const struct solve *s, const struct rb_group *mha,
                                     struct rb_group *g, struct rb_worker *w, struct rb_error *err)
{
    size_t n = s->heads.units, groups = s->heads.groups, all = groups * s->heads.queries;
    const uint32_t *kv = mha->kv_heads != NULL ? mha->kv_heads : mha->heads;
    uint32_t *queries = rb_scratch_alloc(&w->scratch, all * n, sizeof *queries);
    uint32_t *keys = rb_scratch_alloc(&w->scratch, groups * n, sizeof *keys);
    if (queries == NULL || keys == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate heads");
    for (size_t i = 0; i < all * n; i++)
        queries[i] = mha->heads[i / n] * (uint32_t)n + (uint32_t)(i % n);
    for (size_t i = 0; i < groups * n; i++)
        keys[i] = kv[i / n] * (uint32_t)n + (uint32_t)(i % n);
    bool rotary = s->shape.rotary_dims > 0;
    const struct rb_rotate_input in = {
        .shape = s->heads,
        .tap = rb_moments_find(s->moments, RB_TAP_Q, mha->layer),
        .index = rotary ? queries : g->index,
        .keys = rb_moments_find(s->moments, RB_TAP_K, mha->layer),
        .keys_index = rotary              ? keys
                      : g->values != NULL ? g->values
                                          : g->index,
        .rotary_dims = s->shape.rotary_dims,
    };
    return rb_rotate_keys(&in, g->rotation, &w->scratch, err);
}

static enum rb_status rotate_layer(const struct solve *s, struct rb_group *mha, struct rb_group *qk,
                                   struct rb_worker *w, struct rb_error *err)
{
    struct rb_group *keys = qk != NULL ? qk : mha;
    const struct rb_rotate_input in = {.shape = s->heads,
                                       .tap = rb_moments_find(s->moments, RB_TAP_MHA, mha->layer),
                                       .index = mha->index};
    enum rb_status st = RB_OK;
    if (keys->rotation != NULL)
        st = rotate_queries(s, mha, keys, w, err);
    return st == RB_OK ? rb_rotate_values(&in, mha->value_rotation, &w->scratch, err) : st;
}

static enum rb_status assemble(const struct solve *s, uint32_t group, struct rb_worker *w,
                               struct rb_error *err)
{
    struct rb_group *mha = &s->alignment->groups[group];
    bool separate = s->options.separate_qk;
    struct rb_group *qk = separate ? mha + 1 : NULL;
    enum rb_status st = RB_OK;
    if (by_heads(s)) {
        st = assign_heads(s, mha, w, err);
        if (st == RB_OK)
            st = add_score(s, group, w, err);
    }
    if (st == RB_OK && separate) {
        memcpy(qk->heads, mha->heads, mha->head_count * sizeof *qk->heads);
        st = by_heads(s) ? match_inside(s, group + 1, w, err) : match_whole(s, group + 1, w, err);
    }
    if (st == RB_OK && mha->value_rotation != NULL)
        st = rotate_layer(s, mha, qk, w, err);
    return st;
}

/* Moments that lie in a file and were read whole leave memory again. */
static void forget(const struct solve *s, uint32_t group)
{
    for (size_t i = 0; i < s->sources[group].count; i++)
        rb_moments_forget(s->moments, s->sources[group].taps[i]);
}

/* ---- the stream's orthogonal map ---- */

static size_t stream_tiles(const struct solve *s)
{
    return (s->shape.hidden_size + STREAM_ROWS - 1) / STREAM_ROWS;
}

static enum rb_status add_to_stream(const struct solve *s, size_t tile, struct rb_worker *w,
                                    struct rb_error *err)
{
    const struct stream *t = &s->stream;
    size_t d = s->shape.hidden_size, first = tile * STREAM_ROWS;
    size_t rows = d - first < STREAM_ROWS ? d - first : STREAM_ROWS;
    if (s->round == ROUND_MOMENTS) {
        const struct rb_similarity_source *source = &s->sources[t->group];
        rb_stream_add_moments(source->taps, source->count, s->options.similarity == RB_DOT, first,
                              rows, t->moments);
        return RB_OK;
    }
    const struct rb_blend a = rb_blend_single(t->terms[0].model, t->terms[0].motion);
    const struct rb_blend b = rb_blend_single(t->terms[1].model, &t->motion);
    return rb_stream_add_weights(&a, &b, &t->tensors[t->tensor], first, rows, t->weights,
                                 &w->scratch, err);
}

static double norm_of(const double *m, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += m[i] * m[i];
    return sqrt(sum);
}

/* M into o: what each source says divided by its norm. */
static void join(const struct stream *t, size_t nn, double *o)
{
    const double *parts[2] = {t->moments, t->weights};
    memset(o, 0, nn * sizeof *o);
    for (size_t k = 0; k < 2; k++) {
        if (parts[k] == NULL)
            continue;
        double size = norm_of(parts[k], nn);
        for (size_t i = 0; size > 0 && i < nn; i++)
            o[i] += parts[k][i] / size;
    }
}

/* <O, M> of one source, NaN where it was not asked. */
static double along(const double *o, const double *m, size_t nn)
{
    double sum = 0;
    for (size_t i = 0; m != NULL && i < nn; i++)
        sum += o[i] * m[i];
    return m != NULL ? sum : NAN;
}

/* What the round came to: how alike the streams are under O, and the matrices around them. */
static enum rb_status tell_round(const struct solve *s, const double *o, size_t nn,
                                 struct rb_error *err)
{
    const struct stream *t = &s->stream;
    const struct rb_alignment_round r = {
        .activations = along(o, t->moments, nn),
        .weights = along(o, t->weights, nn) / (double)(t->tensor_count > 0 ? t->tensor_count : 1),
        .moved = t->moved};
    return rb_alignment_add_round(s->alignment, &r, err);
}

static double score_of(const struct stream *t, const double *o, size_t nn)
{
    const double *parts[2] = {t->moments, t->weights};
    double score = 0;
    for (size_t k = 0; k < 2; k++) {
        if (parts[k] == NULL)
            continue;
        double size = norm_of(parts[k], nn);
        score += size > 0 ? along(o, parts[k], nn) / size : 0;
    }
    return score;
}

static enum rb_status begin_turn(struct solve *s, struct rb_error *err)
{
    size_t d = s->shape.hidden_size, nn = d * d;
    double *m = rb_malloc_aligned(nn, sizeof *m);
    if (m == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the stream's map");
    join(&s->stream, nn, m);
    if (!s->shape.rms)
        rb_procrustes_keep_ones(m, d);
    enum rb_status st = rb_polar_new(m, d, &s->stream.polar, err);
    free(m);
    return st;
}

static enum rb_status end_turn(struct solve *s, struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[s->stream.group];
    size_t nn = (size_t)g->size * g->size;
    const double *o = rb_polar_result(s->stream.polar);
    if (g->matrix == NULL)
        g->matrix = rb_malloc_aligned(nn, sizeof *g->matrix);
    if (g->matrix == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the stream's map");
    for (size_t i = 0; i < nn; i++)
        g->matrix[i] = (float)o[i];
    g->score = score_of(&s->stream, o, nn);
    enum rb_status st = tell_round(s, o, nn, err);
    rb_polar_free(s->stream.polar);
    s->stream.polar = NULL;
    return st;
}

/* One step of it: a round each, so that it is seen to go on and can be stopped. */
static enum rb_status turn_stream(struct solve *s, struct rb_error *err)
{
    enum rb_status st = s->stream.step == 0 ? begin_turn(s, err) : RB_OK;
    if (st == RB_OK)
        st = rb_polar_step(s->stream.polar, err);
    if (st == RB_OK && s->stream.step + 1 == rb_polar_steps(s->shape.hidden_size))
        st = end_turn(s, err);
    return st;
}

/* ---- report ---- */

static enum rb_status report(const struct solve *s, uint32_t group, struct rb_worker *w,
                             struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    size_t d = g->size;
    if (g->correlations.heatmap_after != NULL)
        return RB_OK; /* match_whole has made it */
    float *c = rb_scratch_alloc(&w->scratch, d * d, sizeof(float));
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the report of group '%s'", g->name);
    enum rb_status st =
        rb_similarity_rows(&s->sources[group], g->matrix != NULL ? RB_COVARIANCE : RB_CORRELATION,
                           0, d, c, &w->scratch, err);
    if (st == RB_OK && g->matrix != NULL)
        return rb_report_turned(g, &s->sources[group], c, &w->scratch, err);
    if (st == RB_OK)
        st = rb_report_fill(g, c, &w->scratch, err);
    return st == RB_OK ? rb_report_moved(g, &s->sources[group], &w->scratch, err) : st;
}

/* ---- the program ---- */

/* B moved by those groups of the alignment, for the products of weights. */
static enum rb_status move_b(struct solve *s, size_t first, size_t count, struct rb_error *err)
{
    struct stream *t = &s->stream;
    struct rb_alignment part = *s->alignment;
    part.groups += first;
    part.group_count = count;
    rb_motion_deinit(&t->motion);
    enum rb_status st = rb_alignment_motion(&part, t->terms[1].model, &t->motion, err);
    if (st == RB_OK && t->unmatched != NULL)
        t->motion.fold = t->unmatched->fold;
    return st;
}

/* The stream's M from weights: FF units and heads have their places, the stream has none. */
static enum rb_status begin_weights(struct solve *s, struct rb_error *err)
{
    struct stream *t = &s->stream;
    size_t d = s->shape.hidden_size;
    struct rb_group *g = &s->alignment->groups[t->group];
    float *matrix = g->matrix;
    g->matrix = NULL;
    enum rb_status st = move_b(s, 0, s->alignment->group_count, err);
    g->matrix = matrix;
    memset(t->weights, 0, d * d * sizeof *t->weights);
    t->tensor = 0;
    free(t->tensors);
    t->tensors = NULL;
    return st == RB_OK ? rb_stream_tensors(t->terms[0].model, &t->tensors, &t->tensor_count, err)
                       : st;
}

/* ---- again ---- */

/* Is another round asked for, and could anything be otherwise in it? Activations say the same of
 * FF and heads whatever the stream's map is. */
static bool goes_on(const struct solve *s)
{
    bool turns = s->stream.moments != NULL || s->stream.weights != NULL;
    if (s->options.match == RB_MATCH_ACTIVATIONS || s->layered_count == 0)
        return false;
    return turns ? s->again + 1 < s->options.rounds : s->again == 0;
}

/* FF and heads are compared with the stream in one basis, and nothing else moved. */
static enum rb_status begin_again(struct solve *s, struct rb_error *err)
{
    size_t first = 0;
    while (first < s->alignment->group_count &&
           s->alignment->groups[first].axis != RB_AXIS_RES_FIRST)
        first++;
    s->again++;
    return move_b(s, first, s->alignment->group_count - first, err);
}

static enum rb_status match_again(const struct solve *s, size_t item, struct rb_worker *w,
                                  struct rb_error *err)
{
    const struct stream *t = &s->stream;
    uint32_t i = s->layered[item];
    struct rb_group *g = &s->alignment->groups[i];
    const struct rb_rematch r = {
        .options = &s->options,
        .shape = &s->shape,
        .heads = &s->heads,
        .moments = s->moments,
        .a = rb_blend_single(t->terms[0].model, t->terms[0].motion),
        .b = rb_blend_single(t->terms[1].model, &t->motion),
    };
    if (g->axis == RB_AXIS_FF)
        return rb_rematch_ff(&r, g, &s->sources[i], &s->moved[item], w, err);
    const struct rb_rematch_layer l = {
        .mha = g,
        .qk = s->options.separate_qk ? g + 1 : NULL,
        .mha_source = &s->sources[i],
        .qk_source = &s->sources[i + 1], /* read with qk only */
        .values = &s->values[g->layer],
        .work = &s->work[g->layer],
    };
    return rb_rematch_heads(&r, &l, &s->moved[item], w, err);
}

/* After a round over FF and heads: on to the stream's map, or to the report. */
static enum round after_again(struct solve *s)
{
    size_t moved = 0;
    for (size_t i = 0; i < s->layered_count; i++)
        moved += s->moved[i];
    s->stream.moved = (uint32_t)moved;
    if (moved == 0 && rb_align_head_map(&s->options) == RB_HEAD_MAP_PERMUTATION)
        return ROUND_REPORT; /* the stream's map would be the one that it is */
    return s->stream.weights != NULL ? ROUND_WEIGHTS : ROUND_REPORT;
}

/* ---- the program, round by round ---- */

static size_t items_of(const struct solve *s, enum round round)
{
    switch (round) {
    case ROUND_MATCH:
        return s->match_count;
    case ROUND_ASSEMBLE:
        return s->mha_count;
    case ROUND_MOMENTS:
        return s->stream.moments != NULL ? stream_tiles(s) : 0;
    case ROUND_WEIGHTS:
        return s->stream.weights != NULL ? stream_tiles(s) : 0;
    case ROUND_TURN:
        return s->stream.moments != NULL || s->stream.weights != NULL;
    case ROUND_AGAIN:
        return goes_on(s) ? s->layered_count : 0;
    case ROUND_REPORT:
        return s->alignment->group_count;
    default:
        return 0;
    }
}

static enum rb_status begin_round(struct solve *s, enum round round, size_t *ret_items,
                                  struct rb_error *err)
{
    s->round = round;
    *ret_items = items_of(s, round);
    s->stream.step = 0;
    if (round == ROUND_WEIGHTS && *ret_items > 0)
        return begin_weights(s, err);
    if (round == ROUND_AGAIN && *ret_items > 0)
        return begin_again(s, err);
    return RB_OK;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct solve *s = (struct solve *)p;
    enum rb_status st = RB_OK;
    *ret_items = 0;
    if (s->round == ROUND_WEIGHTS && ++s->stream.tensor < s->stream.tensor_count) {
        *ret_items = items_of(s, ROUND_WEIGHTS);
        return RB_OK;
    }
    if (s->round == ROUND_TURN && ++s->stream.step < rb_polar_steps(s->shape.hidden_size)) {
        *ret_items = 1;
        return RB_OK;
    }
    if (s->round == ROUND_AGAIN) /* it had items: round after round is begun below */
        return begin_round(s, after_again(s), ret_items, err);
    while (st == RB_OK && s->round != ROUND_REPORT && *ret_items == 0)
        st = begin_round(s, (enum round)(s->round + 1), ret_items, err);
    return st;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct solve *s = (struct solve *)p;
    enum rb_status st;
    switch (s->round) {
    case ROUND_ASSEMBLE:
        return assemble(s, s->mha_groups[item], w, err);
    case ROUND_MOMENTS:
    case ROUND_WEIGHTS:
        return add_to_stream(s, item, w, err);
    case ROUND_TURN:
        return turn_stream(s, err);
    case ROUND_AGAIN:
        return match_again(s, item, w, err);
    case ROUND_REPORT:
        st = s->no_report ? RB_OK : report(s, (uint32_t)item, w, err);
        forget(s, (uint32_t)item);
        return st;
    default:
        break;
    }
    const struct match *m = &s->matches[item];
    const struct rb_group *g = &s->alignment->groups[m->group];
    if (g->axis == RB_AXIS_V && by_heads(s)) {
        st = match_head(s, m->group, m->head, w, err);
    } else {
        st = match_whole(s, m->group, w, err);
        forget(s, m->group);
    }
    if (st == RB_ENUMERIC) /* whose units they are */
        (void)rb_error_prefix(err, "group '%s': ", g->name);
    return st;
}

static double report_cost(const struct rb_group *g)
{
    return 30.0 * g->size * g->size;
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct solve *s = (const struct solve *)p;
    double d = s->shape.hidden_size;
    if (s->round == ROUND_ASSEMBLE)
        return 50 * d * d;
    if (s->round == ROUND_MOMENTS)
        return 5.0 * STREAM_ROWS * d * (double)s->sources[s->stream.group].count;
    if (s->round == ROUND_WEIGHTS)
        return rb_stream_weights_cost(s->stream.terms[0].model,
                                      &s->stream.tensors[s->stream.tensor], STREAM_ROWS);
    if (s->round == ROUND_TURN)
        return rb_polar_step_cost(s->shape.hidden_size, s->stream.step);
    if (s->round == ROUND_AGAIN)
        return rb_rematch_cost(&s->shape, &s->options) / (double)s->layered_count;
    if (s->round == ROUND_REPORT)
        return s->no_report ? 0 : report_cost(&s->alignment->groups[item]);
    const struct rb_group *g = &s->alignment->groups[s->matches[item].group];
    return g->axis == RB_AXIS_V && by_heads(s)
               ? (double)s->heads.groups * rb_assignment_cost((double)s->heads.units)
               : rb_assignment_cost(g->size);
}

static void solve_free(struct rb_program *p)
{
    struct solve *s = (struct solve *)p;
    for (uint32_t l = 0; s->work != NULL && l < s->shape.layers; l++)
        rb_heads_work_deinit(&s->work[l]);
    rb_motion_deinit(&s->stream.motion);
    free(s->stream.moments);
    free(s->stream.weights);
    free(s->stream.tensors);
    rb_polar_free(s->stream.polar);
    rb_alignment_free(s->alignment);
    free(s->work);
    free(s->sources);
    free(s->values);
    free(s->taps);
    free(s->matches);
    free(s->mha_groups);
    free(s->layered);
    free(s->moved);
    free(s);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, solve_free};

/* ---- the groups that the options ask for ---- */

struct plan {
    struct solve *s;
    size_t tap_count;
    bool ok;               /* nothing ran out of memory */
    struct rb_error unfit; /* what the moments lack, if they do */
};

/* Head h stays where it is, until they are matched. */
static uint32_t *in_place(struct plan *p, size_t count)
{
    uint32_t *heads = calloc(count, sizeof *heads);
    for (uint32_t h = 0; heads != NULL && h < count; h++)
        heads[h] = h;
    p->ok = p->ok && heads != NULL;
    return heads;
}

static void add_heads(struct plan *p, struct rb_group *g)
{
    const struct rb_align_shape *s = &p->s->shape;
    g->head_count = s->heads;
    g->kv_count = s->kv_heads;
    g->heads = in_place(p, s->heads);
    if (s->kv_heads == s->heads)
        return;
    g->kv_heads = in_place(p, s->kv_heads);
    g->values = in_place(p, (size_t)s->kv_heads * s->head_dim);
}

static struct rb_group *add_group(struct plan *p, const char *name, enum rb_axis axis,
                                  uint32_t layer)
{
    struct solve *s = p->s;
    size_t i = s->alignment->group_count++;
    struct rb_group *g = &s->alignment->groups[i];
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    g->axis = axis;
    g->layer = layer;
    s->sources[i] =
        (struct rb_similarity_source){.taps = s->taps + p->tap_count, .pooled = axis == RB_AXIS_Q};
    if (axis == RB_AXIS_V || axis == RB_AXIS_Q)
        add_heads(p, g);
    return g;
}

static uint32_t tap_size(const struct rb_align_shape *s, enum rb_tap_kind kind)
{
    switch (kind) {
    case RB_TAP_FF:
        return s->inner_size;
    case RB_TAP_MHA:
    case RB_TAP_Q:
        return s->heads * s->head_dim;
    case RB_TAP_K:
    case RB_TAP_V:
        return s->kv_heads * s->head_dim;
    case RB_TAP_EMBEDDING:
        return s->embedding_size;
    case RB_TAP_HEAD: /* a generator's is as narrow as its embeddings */
        return s->head == RB_HEAD_MLM ? s->embedding_size : s->hidden_size;
    default:
        return s->hidden_size;
    }
}

/* False, and the plan says why, if the moments do not have the model's. Without moments (a cost is
 * asked for) *ret is NULL. */
static bool need_tap(struct plan *p, const char *group, enum rb_tap_kind kind, uint32_t layer,
                     const struct rb_tap **ret)
{
    uint32_t size = tap_size(&p->s->shape, kind);
    *ret = NULL;
    if (p->s->moments == NULL)
        return true;
    *ret = rb_moments_find(p->s->moments, kind, layer);
    if (*ret != NULL && (*ret)->size == size)
        return true;
    if (p->unfit.status == RB_OK)
        (void)rb_error_set(&p->unfit, RB_EMODELS,
                           "the moments have %u units for group '%s', the model has %u",
                           *ret != NULL ? (*ret)->size : 0, group, size);
    p->ok = false;
    return false;
}

/* A tap of the last group added. */
static void add_tap(struct plan *p, enum rb_tap_kind kind, uint32_t layer)
{
    struct solve *s = p->s;
    struct rb_similarity_source *source = &s->sources[s->alignment->group_count - 1];
    struct rb_group *g = &s->alignment->groups[s->alignment->group_count - 1];
    const struct rb_tap *t;
    if (!need_tap(p, g->name, kind, layer, &t))
        return;
    s->taps[p->tap_count++] = t;
    if (source->count++ > 0)
        return;
    source->size = g->size = tap_size(&s->shape, kind);
    g->index = in_place(p, g->size);
    if (takes_signs(s, g)) {
        g->signs = calloc(g->size, sizeof *g->signs);
        p->ok = p->ok && g->signs != NULL;
    }
}

static void add_match(struct plan *p, uint32_t head)
{
    p->s->matches[p->s->match_count++] =
        (struct match){(uint32_t)p->s->alignment->group_count - 1, head};
}

static void add_rotation(struct plan *p, struct rb_group *g, bool keys, bool values)
{
    const struct rb_align_shape *s = &p->s->shape;
    size_t n = (size_t)s->kv_heads * s->head_dim * s->head_dim;
    if (rb_align_head_map(&p->s->options) == RB_HEAD_MAP_PERMUTATION)
        return;
    keys = keys && !s->query_key_norm; /* gains on each unit: no turn passes them */
    if (keys)
        g->rotation = rb_calloc_aligned(n, sizeof(float));
    if (values)
        g->value_rotation = rb_calloc_aligned(n, sizeof(float));
    p->ok = p->ok && (!keys || g->rotation != NULL) && (!values || g->value_rotation != NULL);
}

static void plan_heads(struct plan *p, uint32_t l)
{
    struct solve *s = p->s;
    char name[32];
    (void)snprintf(name, sizeof name, "layer.%u.mha", l);
    struct rb_group *g = add_group(p, name, RB_AXIS_V, l);
    add_tap(p, RB_TAP_MHA, l);
    add_rotation(p, g, !s->options.separate_qk, true);
    if (g->rotation != NULL) { /* its taps are found again when they are needed */
        const struct rb_tap *unused;
        (void)need_tap(p, name, RB_TAP_Q, l, &unused);
        (void)need_tap(p, name, RB_TAP_K, l, &unused);
    }
    s->mha_groups[s->mha_count++] = (uint32_t)s->alignment->group_count - 1;
    for (uint32_t h = 0; h < (by_heads(s) ? s->shape.kv_heads : 1); h++)
        add_match(p, h);
    if (by_heads(s))
        p->ok = p->ok && rb_heads_work_init(&s->work[l], &s->heads, NULL) == RB_OK;
    if (by_heads(s) && s->heads.queries > 1) {
        (void)need_tap(p, name, RB_TAP_V, l, &s->taps[p->tap_count]);
        s->values[l] = (struct rb_similarity_source){
            .taps = &s->taps[p->tap_count++], .count = 1, .size = tap_size(&s->shape, RB_TAP_V)};
    }
    if (s->options.separate_qk) {
        (void)snprintf(name, sizeof name, "layer.%u.qk", l);
        g = add_group(p, name, RB_AXIS_Q, l);
        add_tap(p, RB_TAP_Q, l);
        add_tap(p, RB_TAP_K, l);
        add_rotation(p, g, true, false);
    }
}

static void plan_layer(struct plan *p, uint32_t l)
{
    char name[32];
    if (p->s->options.components & RB_COMPONENT_FF) {
        (void)snprintf(name, sizeof name, "layer.%u.ff", l);
        add_group(p, name, RB_AXIS_FF, l);
        add_tap(p, RB_TAP_FF, l);
        add_match(p, 0);
    }
    if (p->s->options.components & RB_COMPONENT_MHA)
        plan_heads(p, l);
}

/* A stream that turns: all of its taps, no assignment. */
static void plan_turn(struct plan *p)
{
    struct solve *s = p->s;
    size_t d = s->shape.hidden_size;
    add_group(p, "residual", RB_AXIS_RES_FIRST, 0);
    s->stream.group = (uint32_t)s->alignment->group_count - 1;
    for (uint32_t k = 0; k < s->shape.residual_taps; k++)
        add_tap(p, RB_TAP_RESIDUAL, k);
    if (s->options.match != RB_MATCH_WEIGHTS)
        s->stream.moments = rb_calloc_aligned(d * d, sizeof(double));
    if (s->options.match != RB_MATCH_ACTIVATIONS)
        s->stream.weights = rb_calloc_aligned(d * d, sizeof(double));
    p->ok = p->ok && (s->stream.moments != NULL || s->options.match == RB_MATCH_WEIGHTS) &&
            (s->stream.weights != NULL || s->options.match == RB_MATCH_ACTIVATIONS);
}

static void plan_residual(struct plan *p)
{
    struct solve *s = p->s;
    uint32_t last = s->shape.residual_taps - 1;
    if (!(s->options.components & RB_COMPONENT_RESIDUAL))
        return;
    if (rb_align_turns_stream(&s->options)) {
        plan_turn(p);
        return;
    }
    if (s->options.residual == RB_RESIDUAL_SEPARATE) {
        for (uint32_t k = 0; k <= last; k++) {
            char name[32];
            (void)snprintf(name, sizeof name, "residual.%u", k);
            add_group(p, name, RB_AXIS_RES_FIRST, k);
            add_tap(p, RB_TAP_RESIDUAL, k);
            add_match(p, 0);
        }
        return;
    }
    add_group(p, "residual", RB_AXIS_RES_FIRST, 0);
    uint32_t from = s->options.residual == RB_RESIDUAL_LAST ? last : 0;
    uint32_t to = s->options.residual == RB_RESIDUAL_FIRST ? 0 : last;
    for (uint32_t k = from; k <= to; k++)
        add_tap(p, RB_TAP_RESIDUAL, k);
    add_match(p, 0);
}

/* The E-wide basis (METHOD 9) and the head's hidden layer. */
static void plan_ends(struct plan *p)
{
    struct solve *s = p->s;
    if (s->options.components & RB_COMPONENT_EMBEDDING) {
        add_group(p, "embedding", RB_AXIS_EMBEDDING, 0);
        add_tap(p, RB_TAP_EMBEDDING, 0);
        add_match(p, 0);
    }
    if (s->options.output_head && rb_align_has_hidden(&s->shape)) {
        add_group(p, "head", s->shape.head == RB_HEAD_MLM ? RB_AXIS_TRANSFORM : RB_AXIS_POOLER, 0);
        add_tap(p, RB_TAP_HEAD, 0);
        add_match(p, 0);
    }
}

static bool allocate(struct solve *s)
{
    size_t layers = s->shape.layers;
    size_t groups = 3 * layers + s->shape.residual_taps + 3;
    size_t taps = 5 * layers + s->shape.residual_taps + 3;
    s->alignment->groups = calloc(groups, sizeof *s->alignment->groups);
    s->sources = calloc(groups, sizeof *s->sources);
    s->values = calloc(layers, sizeof *s->values);
    s->taps = calloc(taps, sizeof(const struct rb_tap *));
    s->work = calloc(layers, sizeof *s->work);
    s->matches = calloc(groups + layers * s->shape.kv_heads, sizeof *s->matches);
    s->mha_groups = calloc(layers, sizeof *s->mha_groups);
    s->layered = calloc(2 * layers, sizeof *s->layered);
    s->moved = calloc(2 * layers, sizeof *s->moved);
    return s->alignment->groups != NULL && s->sources != NULL && s->values != NULL &&
           s->taps != NULL && s->work != NULL && s->matches != NULL && s->mha_groups != NULL &&
           s->layered != NULL && s->moved != NULL;
}

static void list_layered(struct solve *s)
{
    for (size_t i = 0; i < s->alignment->group_count; i++)
        if (s->alignment->groups[i].axis == RB_AXIS_FF || s->alignment->groups[i].axis == RB_AXIS_V)
            s->layered[s->layered_count++] = (uint32_t)i;
}

/* Of all rounds that may come. */
static void add_stream_cost(struct solve *s, const struct rb_config *c)
{
    bool turns = s->stream.moments != NULL || s->stream.weights != NULL;
    double d = s->shape.hidden_size, turn = turns ? rb_polar_cost(d) : 0;
    if (s->stream.weights != NULL)
        turn += (2 * d + 20 * d / STREAM_ROWS) * c->num_hidden_layers *
                (double)rb_weights_layer_floats(c);
    s->program.total_cost += turn;
    uint32_t taken = s->again;
    for (s->again = 0; goes_on(s); s->again++)
        s->program.total_cost += rb_rematch_cost(&s->shape, &s->options) + turn;
    s->again = taken;
}

enum rb_status rb_solve_new(const struct rb_config *c, enum rb_head head,
                            const struct rb_moments *moments, const struct rb_align_options *o,
                            struct rb_program **ret, struct rb_error *err)
{
    struct solve *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to solve assignments");
    s->program.ops = &ops;
    s->moments = moments;
    s->options = *o;
    rb_align_shape_of(c, head, &s->shape);
    s->heads = (struct rb_heads_shape){.groups = s->shape.kv_heads,
                                       .queries = s->shape.heads / s->shape.kv_heads,
                                       .units = s->shape.head_dim,
                                       .in_order = o->heads == RB_HEADS_MONOTONIC};
    enum rb_status st = rb_alignment_empty(o, &s->alignment, err);
    struct plan p = {.s = s, .ok = st == RB_OK && allocate(s)};
    if (p.ok) {
        s->alignment->tokens = moments != NULL ? moments->tokens : 0;
        for (uint32_t l = 0; l < s->shape.layers; l++)
            plan_layer(&p, l);
        plan_residual(&p);
        plan_ends(&p);
    }
    if (!p.ok) {
        solve_free(&s->program);
        if (p.unfit.status != RB_OK)
            return rb_error_set(err, RB_EMODELS, "%s", p.unfit.detail);
        return st != RB_OK ? st : rb_error_set(err, RB_ENOMEM, "no memory to solve assignments");
    }
    list_layered(s);
    for (size_t i = 0; i < s->match_count; i++) {
        s->round = ROUND_MATCH;
        s->program.total_cost += item_cost(&s->program, i);
    }
    s->round = ROUND_START;
    for (size_t i = 0; i < s->alignment->group_count; i++)
        s->program.total_cost += report_cost(&s->alignment->groups[i]);
    s->program.total_cost +=
        50.0 * (double)s->mha_count * s->shape.hidden_size * s->shape.hidden_size;
    add_stream_cost(s, c);
    *ret = &s->program;
    return RB_OK;
}

void rb_solve_models(struct rb_program *p, const struct rb_blend_term *a,
                     const struct rb_blend_term *b)
{
    struct solve *s = (struct solve *)p;
    s->stream.terms[0] = *a;
    s->stream.terms[1] = *b;
    s->stream.unmatched = b->motion;
}

void rb_solve_without_report(struct rb_program *p)
{
    struct solve *s = (struct solve *)p;
    s->no_report = true;
    for (size_t i = 0; i < s->alignment->group_count; i++)
        s->program.total_cost -= report_cost(&s->alignment->groups[i]);
}

struct rb_alignment *rb_solve_take(struct rb_program *p)
{
    struct solve *s = (struct solve *)p;
    struct rb_alignment *a = s->alignment;
    s->alignment = NULL;
    return a;
}

uint64_t rb_solve_bytes(const struct rb_config *c, const struct rb_align_options *o,
                        unsigned workers)
{
    uint64_t n = c->hidden_size, sources = o->match == RB_MATCH_BOTH ? 2 : 1, again = 0, turn = 0;
    struct rb_align_shape shape;
    rb_align_shape_of(c, RB_HEAD_NONE, &shape);
    if (o->match != RB_MATCH_ACTIVATIONS && (o->rounds > 1 || !rb_align_turns_stream(o)))
        again = workers * rb_rematch_bytes(&shape, o);
    if (rb_align_turns_stream(o))
        turn = n * n * ((sources + 1) * sizeof(double) + sizeof(float)) + rb_polar_bytes(n);
    return again > turn ? again : turn;
}
