/* Solving all assignments of METHOD 4.
 *
 * DESIGN. Three rounds. Match: every assignment that depends on no other one (a layer's FF units,
 * the residual stream, and for heads all d_h x d_h problems of one of A's heads). Assemble: per
 * layer, heads are assigned, inner permutations put together, queries and keys matched inside that
 * assignment, rotations found. Report: per group, the correlations of what was matched. */
#include "core/align/alignment.h"
#include "core/align/assignment.h"
#include "core/align/report.h"
#include "core/align/rotate.h"
#include "core/align/similarity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct head_work {   /* one layer's d_h x d_h problems */
    uint32_t *inner; /* (heads of A, heads of B, d_h) */
    float *value;    /* (heads of A, heads of B) */
};

enum round { ROUND_START, ROUND_MATCH, ROUND_ASSEMBLE, ROUND_REPORT };

struct solve {
    struct rb_program program;
    const struct rb_moments *moments;
    struct rb_align_options options;
    uint32_t layers, heads, hidden_size, intermediate_size;
    struct rb_alignment *alignment;
    struct rb_similarity_source *sources; /* one per group */
    const struct rb_tap **taps;           /* what the sources point into */
    struct head_work *work;               /* (layers), with heads permuted or monotonic */
    struct match {
        uint32_t group, head;
    } * matches;
    size_t match_count;
    uint32_t *mha_groups; /* (layers) */
    size_t mha_count;
    enum round round;
};

static bool by_heads(const struct solve *s)
{
    return (s->options.components & RB_COMPONENT_MHA) && s->options.heads != RB_HEADS_IGNORE;
}

/* Rows [first, first + rows) of a group's similarity as assignments see it: absolute where the job
 * says so. In the worker's scratch. */
static enum rb_status similarity(const struct solve *s, uint32_t group, size_t first, size_t rows,
                                 float **ret, struct rb_worker *w, struct rb_error *err)
{
    const struct rb_group *g = &s->alignment->groups[group];
    size_t n = rows * g->size;
    float *c = rb_scratch_alloc(&w->scratch, n, sizeof(float));
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the similarity of group '%s'", g->name);
    enum rb_status st = rb_similarity_rows(&s->sources[group], s->options.similarity, first, rows,
                                           c, &w->scratch, err);
    for (size_t i = 0; st == RB_OK && s->options.absolute && i < n; i++)
        c[i] = fabsf(c[i]);
    if (st == RB_OK)
        *ret = c;
    return st;
}

/* Correlations as they are: what a report is made of. */
static bool sees_correlations(const struct solve *s)
{
    return s->options.similarity == RB_CORRELATION && !s->options.absolute;
}

/* ---- match ---- */

static enum rb_status match_whole(const struct solve *s, uint32_t group, struct rb_worker *w,
                                  struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    float *c;
    enum rb_status st = similarity(s, group, 0, g->size, &c, w, err);
    if (st == RB_OK)
        st = rb_assignment_solve(c, g->size, g->size, g->index, &g->score, w, err);
    if (st == RB_OK && sees_correlations(s))
        st = rb_report_fill(g, c, &w->scratch, err); /* while c is there */
    return st;
}

/* All inner problems of one of A's heads. */
static enum rb_status match_head(const struct solve *s, uint32_t group, uint32_t head,
                                 struct rb_worker *w, struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    size_t d = g->size, heads = s->heads, dh = d / heads;
    struct head_work *hw = &s->work[g->layer];
    float *c;
    enum rb_status st = similarity(s, group, head * dh, dh, &c, w, err);
    for (size_t other = 0; other < heads && st == RB_OK; other++) {
        if (s->options.heads == RB_HEADS_MONOTONIC && other != head)
            continue;
        double score;
        st = rb_assignment_solve(c + other * dh, dh, d, hw->inner + (head * heads + other) * dh,
                                 &score, w, err);
        if (st == RB_OK)
            hw->value[head * heads + other] = (float)score;
    }
    return st;
}

/* ---- assemble ---- */

static enum rb_status assign_heads(const struct solve *s, struct rb_group *g, struct rb_worker *w,
                                   struct rb_error *err)
{
    size_t heads = s->heads, dh = g->size / heads;
    struct head_work *hw = &s->work[g->layer];
    if (s->options.heads == RB_HEADS_PERMUTE) {
        double score;
        enum rb_status st = rb_assignment_solve(hw->value, heads, heads, g->heads, &score, w, err);
        if (st != RB_OK)
            return st;
    }
    for (size_t h = 0; h < heads; h++)
        for (size_t u = 0; u < dh; u++)
            g->index[h * dh + u] =
                (uint32_t)(g->heads[h] * dh) + hw->inner[(h * heads + g->heads[h]) * dh + u];
    return RB_OK;
}

/* Inner permutations under a head assignment that is already there, and the score of the whole. */
static enum rb_status match_inside(const struct solve *s, uint32_t group, struct rb_worker *w,
                                   struct rb_error *err)
{
    struct rb_group *g = &s->alignment->groups[group];
    size_t d = g->size, dh = d / s->heads;
    g->score = 0;
    for (size_t h = 0; h < s->heads; h++) {
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

static enum rb_status rotate_layer(const struct solve *s, struct rb_group *mha, struct rb_group *qk,
                                   struct rb_worker *w, struct rb_error *err)
{
    uint32_t l = mha->layer;
    struct rb_group *keys = qk != NULL ? qk : mha;
    enum rb_status st = rb_rotate_keys(rb_moments_find(s->moments, RB_TAP_Q, l),
                                       rb_moments_find(s->moments, RB_TAP_K, l), keys->index,
                                       s->heads, keys->rotation, &w->scratch, err);
    if (st != RB_OK)
        return st;
    return rb_rotate_values(rb_moments_find(s->moments, RB_TAP_MHA, l), mha->index, s->heads,
                            mha->value_rotation, &w->scratch, err);
}

static enum rb_status assemble(const struct solve *s, uint32_t group, struct rb_worker *w,
                               struct rb_error *err)
{
    struct rb_group *mha = &s->alignment->groups[group];
    struct rb_group *qk = s->options.separate_qk ? mha + 1 : NULL;
    enum rb_status st = RB_OK;
    if (by_heads(s)) {
        st = assign_heads(s, mha, w, err);
        if (st == RB_OK)
            st = add_score(s, group, w, err);
    }
    if (st == RB_OK && qk != NULL) {
        memcpy(qk->heads, mha->heads, s->heads * sizeof *qk->heads);
        st = by_heads(s) ? match_inside(s, group + 1, w, err) : match_whole(s, group + 1, w, err);
    }
    if (st == RB_OK && s->options.rotate_heads)
        st = rotate_layer(s, mha, qk, w, err);
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
        rb_similarity_rows(&s->sources[group], RB_CORRELATION, 0, d, c, &w->scratch, err);
    return st == RB_OK ? rb_report_fill(g, c, &w->scratch, err) : st;
}

/* ---- the program ---- */

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct solve *s = (struct solve *)p;
    (void)err;
    const size_t items[] = {s->match_count, s->mha_count, s->alignment->group_count};
    while (s->round != ROUND_REPORT) {
        s->round = (enum round)(s->round + 1);
        if (items[s->round - ROUND_MATCH] > 0) {
            *ret_items = items[s->round - ROUND_MATCH];
            return RB_OK;
        }
    }
    *ret_items = 0;
    return RB_OK;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct solve *s = (struct solve *)p;
    if (rb_worker_stopped(w))
        return rb_error_set(err, RB_ECANCELED, "canceled");
    if (s->round == ROUND_ASSEMBLE)
        return assemble(s, s->mha_groups[item], w, err);
    if (s->round == ROUND_REPORT)
        return report(s, (uint32_t)item, w, err);
    const struct match *m = &s->matches[item];
    if (s->alignment->groups[m->group].axis == RB_AXIS_V && by_heads(s))
        return match_head(s, m->group, m->head, w, err);
    return match_whole(s, m->group, w, err);
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct solve *s = (const struct solve *)p;
    double d = s->hidden_size;
    if (s->round == ROUND_ASSEMBLE)
        return 50 * d * d;
    if (s->round == ROUND_REPORT)
        return 30.0 * s->alignment->groups[item].size * s->alignment->groups[item].size;
    const struct rb_group *g = &s->alignment->groups[s->matches[item].group];
    return g->axis == RB_AXIS_V && by_heads(s) ? s->heads * rb_assignment_cost(d / s->heads)
                                                 : rb_assignment_cost(g->size);
}

static void solve_free(struct rb_program *p)
{
    struct solve *s = (struct solve *)p;
    for (uint32_t l = 0; s->work != NULL && l < s->layers; l++) {
        free(s->work[l].inner);
        free(s->work[l].value);
    }
    rb_alignment_free(s->alignment);
    free(s->work);
    free(s->sources);
    free(s->taps);
    free(s->matches);
    free(s->mha_groups);
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

static struct rb_group *add_group(struct plan *p, const char *name, enum rb_axis axis,
                                  uint32_t layer, bool heads)
{
    struct solve *s = p->s;
    size_t i = s->alignment->group_count++;
    struct rb_group *g = &s->alignment->groups[i];
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    g->axis = axis;
    g->layer = layer;
    s->sources[i] =
        (struct rb_similarity_source){.taps = s->taps + p->tap_count, .pooled = axis == RB_AXIS_Q};
    if (heads) {
        g->head_count = s->heads;
        g->heads = calloc(s->heads, sizeof *g->heads);
        for (uint32_t h = 0; g->heads != NULL && h < s->heads; h++)
            g->heads[h] = h;
        p->ok = p->ok && g->heads != NULL;
    }
    return g;
}

/* A tap of the last group added. */
static void add_tap(struct plan *p, enum rb_tap_kind kind, uint32_t layer)
{
    struct solve *s = p->s;
    struct rb_similarity_source *source = &s->sources[s->alignment->group_count - 1];
    struct rb_group *g = &s->alignment->groups[s->alignment->group_count - 1];
    const struct rb_tap *t = rb_moments_find(s->moments, kind, layer);
    uint32_t size = kind == RB_TAP_FF ? s->intermediate_size : s->hidden_size;
    if (t == NULL || t->size != size) {
        if (p->unfit.status == RB_OK)
            (void)rb_error_set(&p->unfit, RB_EMODELS,
                               "the moments have %u units for group '%s', the model has %u",
                               t != NULL ? t->size : 0, g->name, size);
        p->ok = false;
        return;
    }
    s->taps[p->tap_count++] = t;
    if (source->count++ == 0) {
        source->size = g->size = t->size;
        g->index = calloc(t->size, sizeof *g->index);
        p->ok = p->ok && g->index != NULL;
    }
}

static void add_match(struct plan *p, uint32_t head)
{
    p->s->matches[p->s->match_count++] =
        (struct match){(uint32_t)p->s->alignment->group_count - 1, head};
}

static void add_rotation(struct plan *p, struct rb_group *g, bool keys, bool values)
{
    size_t dh = p->s->hidden_size / p->s->heads, n = p->s->heads * dh * dh;
    if (!p->s->options.rotate_heads)
        return;
    if (keys)
        g->rotation = rb_calloc_aligned(n, sizeof(float));
    if (values)
        g->value_rotation = rb_calloc_aligned(n, sizeof(float));
    p->ok = p->ok && (!keys || g->rotation != NULL) && (!values || g->value_rotation != NULL);
}

static void plan_layer(struct plan *p, uint32_t l)
{
    struct solve *s = p->s;
    char name[32];
    if (s->options.components & RB_COMPONENT_FF) {
        (void)snprintf(name, sizeof name, "layer.%u.ff", l);
        add_group(p, name, RB_AXIS_FF, l, false);
        add_tap(p, RB_TAP_FF, l);
        add_match(p, 0);
    }
    if (!(s->options.components & RB_COMPONENT_MHA))
        return;
    (void)snprintf(name, sizeof name, "layer.%u.mha", l);
    struct rb_group *g = add_group(p, name, RB_AXIS_V, l, true);
    add_tap(p, RB_TAP_MHA, l);
    add_rotation(p, g, !s->options.separate_qk, true);
    s->mha_groups[s->mha_count++] = (uint32_t)s->alignment->group_count - 1;
    for (uint32_t h = 0; h < (by_heads(s) ? s->heads : 1); h++)
        add_match(p, h);
    if (by_heads(s)) {
        size_t dh = s->hidden_size / s->heads;
        s->work[l].inner = calloc((size_t)s->heads * s->heads * dh, sizeof(uint32_t));
        s->work[l].value = calloc((size_t)s->heads * s->heads, sizeof(float));
        p->ok = p->ok && s->work[l].inner != NULL && s->work[l].value != NULL;
    }
    if (s->options.separate_qk) {
        (void)snprintf(name, sizeof name, "layer.%u.qk", l);
        g = add_group(p, name, RB_AXIS_Q, l, true);
        add_tap(p, RB_TAP_Q, l);
        add_tap(p, RB_TAP_K, l);
        add_rotation(p, g, true, false);
    }
}

static void plan_residual(struct plan *p)
{
    struct solve *s = p->s;
    uint32_t last = 2 * s->layers;
    if (!(s->options.components & RB_COMPONENT_RESIDUAL))
        return;
    if (s->options.residual == RB_RESIDUAL_SEPARATE) {
        for (uint32_t k = 0; k <= last; k++) {
            char name[32];
            (void)snprintf(name, sizeof name, "residual.%u", k);
            add_group(p, name, RB_AXIS_RES_FIRST, k, false);
            add_tap(p, RB_TAP_RESIDUAL, k);
            add_match(p, 0);
        }
        return;
    }
    add_group(p, "residual", RB_AXIS_RES_FIRST, 0, false);
    uint32_t from = s->options.residual == RB_RESIDUAL_LAST ? last : 0;
    uint32_t to = s->options.residual == RB_RESIDUAL_FIRST ? 0 : last;
    for (uint32_t k = from; k <= to; k++)
        add_tap(p, RB_TAP_RESIDUAL, k);
    add_match(p, 0);
}

static bool allocate(struct solve *s)
{
    size_t groups = 3 * (size_t)s->layers + 2 * (size_t)s->layers + 3;
    size_t taps = 4 * (size_t)s->layers + 2 * (size_t)s->layers + 3;
    s->alignment->groups = calloc(groups, sizeof *s->alignment->groups);
    s->sources = calloc(groups, sizeof *s->sources);
    s->taps = calloc(taps, sizeof *s->taps);
    s->work = calloc(s->layers, sizeof *s->work);
    s->matches = calloc(groups + (size_t)s->layers * s->heads, sizeof *s->matches);
    s->mha_groups = calloc(s->layers, sizeof *s->mha_groups);
    return s->alignment->groups != NULL && s->sources != NULL && s->taps != NULL &&
           s->work != NULL && s->matches != NULL && s->mha_groups != NULL;
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
    s->layers = c->num_hidden_layers;
    s->heads = c->attention.heads;
    s->hidden_size = c->hidden_size;
    s->intermediate_size = c->mlp.inner_size;
    enum rb_status st = rb_alignment_empty(o, &s->alignment, err);
    struct plan p = {.s = s, .ok = st == RB_OK && allocate(s)};
    if (p.ok) {
        s->alignment->tokens = moments->tokens;
        for (uint32_t l = 0; l < s->layers; l++)
            plan_layer(&p, l);
        plan_residual(&p);
        if (o->output_head) {
            add_group(&p, "head", head == RB_HEAD_MLM ? RB_AXIS_TRANSFORM : RB_AXIS_POOLER, 0,
                      false);
            add_tap(&p, RB_TAP_HEAD, 0);
            add_match(&p, 0);
        }
    }
    if (!p.ok) {
        solve_free(&s->program);
        if (p.unfit.status != RB_OK)
            return rb_error_set(err, RB_EMODELS, "%s", p.unfit.detail);
        return st != RB_OK ? st : rb_error_set(err, RB_ENOMEM, "no memory to solve assignments");
    }
    for (size_t i = 0; i < s->match_count; i++) {
        s->round = ROUND_MATCH;
        s->program.total_cost += item_cost(&s->program, i);
    }
    s->round = ROUND_START;
    for (size_t i = 0; i < s->alignment->group_count; i++)
        s->program.total_cost += 30.0 * s->alignment->groups[i].size * s->alignment->groups[i].size;
    s->program.total_cost += 50.0 * (double)s->mha_count * s->hidden_size * s->hidden_size;
    *ret = &s->program;
    return RB_OK;
}

struct rb_alignment *rb_solve_take(struct rb_program *p)
{
    struct solve *s = (struct solve *)p;
    struct rb_alignment *a = s->alignment;
    s->alignment = NULL;
    return a;
}
