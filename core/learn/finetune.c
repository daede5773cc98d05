#include "core/learn/finetune.h"
#include "core/learn/arithmetic.h"
#include "core/learn/adam.h"
#include "core/learn/checksum.h"
#include "core/learn/learn_head.h"
#include "core/learn/tape.h"
#include "core/model/embed.h"
#include "core/model/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARMUP = 10, /* steps */
    UPDATE_FLOATS = 1 << 18,
    MEMBERS_MOST = RB_BLEND_MOST + 1,
};

enum round {
    ROUND_START,
    ROUND_FILL, /* the overlay, and the heads' weights */
    ROUND_EMBED,
    ROUND_WEIGHTS,
    ROUND_LAYER,
    ROUND_HIDDEN,
    ROUND_LOGITS,
    ROUND_DISTIL,
    ROUND_LOGITS_BACK,
    ROUND_HIDDEN_BACK,
    ROUND_BACK,
    ROUND_UPDATE,
    ROUND_DONE
};

/* The student, or a parent. */
struct member {
    struct rb_blend blend;
    struct rb_weights layer, head;
    const float *head_slots[RB_SLOT_COUNT];
    struct rb_learn_head out;
    float *x; /* (tokens, hidden_size); the student's after each layer: (layers + 1, …) */
};

/* A tensor of every layer that is trained. */
struct trained {
    enum rb_slot slot;
    int norm;       /* which of rb_tape_call's dnorms; -1: none of a norm */
    bool vector;    /* a bias */
    size_t out, in; /* in 1 for a vector */
};

struct finetune {
    struct rb_program program;
    struct rb_finetune_options options;
    struct rb_learn_text text;
    const struct rb_model *model;
    const struct rb_config *config;
    struct rb_overlay *overlay;          /* the student's layers … */
    struct rb_overlay first, second;     /* … and Adam's moments of them */
    struct member members[MEMBERS_MOST]; /* the student, then the parents */
    size_t member_count;
    struct rb_learn_head *teachers[RB_BLEND_MOST];
    struct trained trained[RB_SLOT_COUNT];
    size_t trained_count;
    struct rb_rotary rotary, back;
    struct rb_tape tape;
    struct rb_learn_batch batch;
    size_t step_blocks;
    float *dx;       /* (tokens, hidden_size) */
    double *dnorms;  /* (spans, 4, hidden_size) */
    double *crosses; /* (tokens) by predicted row */
    enum round round;
    uint32_t layer, step;
    bool *fresh; /* (RB_SLOT_COUNT, layers) held since this began: still to be filled */
    bool looking;
    unsigned char *pending;       /* a state to go on from, until the first round */
    size_t held_first, held_rows; /* of the present look */
    double held_loss, held_distance;
    struct rb_finetune_figures figures;
};

/* ---- places ---- */

static size_t tokens_of(const struct finetune *c)
{
    return c->batch.s.count * c->batch.block_size;
}

/* The input of the present layer, and where its output goes: a parent's own place. */
static float *rows_of(const struct finetune *c, size_t member, uint32_t layer)
{
    size_t at = member == 0 ? layer : 0, tokens = c->step_blocks * c->batch.block_size;
    return c->members[member].x + at * tokens * c->config->hidden_size;
}

/* ---- what is trained ---- */

static void list_trained(struct finetune *c)
{
    static const enum rb_slot norms[] = {RB_ATTENTION_NORM_WEIGHT, RB_ATTENTION_NORM_BIAS,
                                         RB_MLP_NORM_WEIGHT, RB_MLP_NORM_BIAS};
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        struct trained t = {.slot = slot, .norm = -1};
        if (!rb_tape_linear(&c->tape, slot, &t.out, &t.in) ||
            rb_model_tensor(c->model, slot, 0) == NULL)
            continue;
        c->trained[c->trained_count++] = t;
        if (rb_model_tensor(c->model, slot + 1, 0) != NULL)
            c->trained[c->trained_count++] = (struct trained){slot + 1, -1, true, t.out, 1};
    }
    for (int i = 0; i < 4; i++)
        if (rb_model_tensor(c->model, norms[i], 0) != NULL)
            c->trained[c->trained_count++] =
                (struct trained){norms[i], i, true, c->config->hidden_size, 1};
}

static size_t tile_rows(const struct trained *t)
{
    size_t rows = UPDATE_FLOATS / t->in;
    return t->vector || rows >= t->out ? t->out : rows > 0 ? rows : 1;
}

static size_t tiles_of(const struct trained *t)
{
    return (t->out + tile_rows(t) - 1) / tile_rows(t);
}

static size_t update_items(const struct finetune *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->trained_count; i++)
        n += tiles_of(&c->trained[i]);
    return n;
}

/* One step of Adam on n weights. */
static void move(const struct finetune *c, const float *g, float *w, float *m, float *v, size_t n)
{
    const struct rb_adam *a = &rb_adam_default;
    double rate = rb_adam_rate(c->options.learning_rate, c->step, c->options.steps, WARMUP);
    float b1 = (float)a->beta1, b2 = (float)a->beta2, epsilon = (float)a->epsilon;
    float scale = (float)(rate / (1 - pow(a->beta1, (double)c->step + 1)));
    float root = (float)(1 / (1 - pow(a->beta2, (double)c->step + 1)));
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + (1 - b1) * g[i];
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
        w[i] -= scale * m[i] / (sqrtf(v[i] * root) + epsilon);
    }
}

static enum rb_status update_item(const struct finetune *c, size_t item, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    size_t i = 0;
    for (; item >= tiles_of(&c->trained[i]); i++)
        item -= tiles_of(&c->trained[i]);
    const struct trained *t = &c->trained[i];
    size_t first = item * tile_rows(t), rows = t->out - first;
    rows = rows < tile_rows(t) ? rows : tile_rows(t);
    float *g = rb_scratch_alloc(scratch, rows * t->in, sizeof *g);
    if (g == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a gradient of %zu weights",
                            rows * t->in);
    if (t->norm >= 0)
        rb_tape_norm_gradient(c->config, c->dnorms, c->batch.span_count, t->norm, g);
    else if (t->vector)
        rb_tape_bias_gradient(&c->tape, t->slot - 1, g);
    else
        rb_tape_gradient(&c->tape, t->slot, first, rows, g);
    move(c, g, rb_overlay_at(c->overlay, t->slot, c->layer) + first * t->in,
         rb_overlay_at(&c->first, t->slot, c->layer) + first * t->in,
         rb_overlay_at(&c->second, t->slot, c->layer) + first * t->in, rows * t->in);
    return RB_OK;
}

/* ---- forward and backward ---- */

static enum rb_status embed_item(const struct finetune *c, size_t item, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    size_t member = item / c->batch.span_count, span = item % c->batch.span_count;
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    float *x = rows_of(c, member, 0) + rb_learn_batch_row(&c->batch, span) * c->config->hidden_size;
    return rb_embed(&c->members[member].blend, &c->batch.s, &s, x, NULL, scratch, err);
}

static enum rb_status layer_item(const struct finetune *c, size_t item, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    size_t member = item / c->batch.span_count, span = item % c->batch.span_count;
    size_t at = rb_learn_batch_row(&c->batch, span) * c->config->hidden_size;
    const struct rb_layer_call call = {
        .config = c->config,
        .weights = &c->members[member].layer,
        .rotary = &c->rotary,
        .layer = c->layer,
        .span = rb_learn_batch_span(&c->batch, span),
    };
    float *x = rows_of(c, member, c->layer + 1) + at;
    if (member == 0)
        memcpy(x, rows_of(c, 0, c->layer) + at,
               rb_span_tokens(&call.span) * c->config->hidden_size * sizeof *x);
    return rb_layer_forward(&call, x, scratch, err);
}

static enum rb_status back_item(const struct finetune *c, size_t span, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    size_t d = c->config->hidden_size;
    const struct rb_tape_call call = {
        .tape = &c->tape,
        .weights = c->members[0].layer.w,
        .layer = c->layer,
        .rotary = &c->rotary,
        .back = &c->back,
        .starts = s.starts,
        .count = s.count,
        .row = rb_learn_batch_row(&c->batch, span),
        .dnorms = c->dnorms + span * 4 * d,
    };
    memset(call.dnorms, 0, 4 * d * sizeof *call.dnorms);
    enum rb_status st = rb_tape_forward(&call, scratch, err);
    return st == RB_OK ? rb_tape_back(&call, c->dx + call.row * d, scratch, err) : st;
}

static struct rb_weights *set_of(const struct finetune *c, size_t member)
{
    struct member *m = (struct member *)&c->members[member];
    return c->round == ROUND_FILL ? &m->head : &m->layer;
}

static enum rb_status fill_item(const struct finetune *c, size_t item, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    size_t m = 0;
    for (; item >= set_of(c, m)->item_count; m++)
        item -= set_of(c, m)->item_count;
    return rb_weights_fill(set_of(c, m), &c->members[m].blend, item, scratch, err);
}

/* The tensors of one layer that were not solved for, as they are merged. */
static enum rb_status copy_item(const struct finetune *c, uint32_t layer,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    struct rb_blend merged = c->members[0].blend;
    enum rb_status s = RB_OK;
    merged.overlay = NULL;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT && s == RB_OK; slot++) {
        size_t rows, columns;
        if (!c->fresh[(size_t)slot * c->config->num_hidden_layers + layer])
            continue;
        rb_model_size(c->model, slot, &rows, &columns);
        s = rb_blend_rows(&merged, slot, layer, 0, rows, rb_overlay_at(c->overlay, slot, layer),
                          scratch, err);
    }
    return s;
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct finetune *c = (struct finetune *)p;
    struct rb_learn_head *out = &c->members[0].out;
    size_t n;
    switch (c->round) {
    case ROUND_FILL:
        if (item < c->config->num_hidden_layers)
            return copy_item(c, (uint32_t)item, &w->scratch, err);
        return fill_item(c, item - c->config->num_hidden_layers, &w->scratch, err);
    case ROUND_EMBED:
        return embed_item(c, item, &w->scratch, err);
    case ROUND_WEIGHTS:
        return fill_item(c, item, &w->scratch, err);
    case ROUND_LAYER:
        return layer_item(c, item, &w->scratch, err);
    case ROUND_HIDDEN:
        n = rb_learn_head_hidden_items(out);
        rb_learn_head_hidden(&c->members[item / n].out, item % n,
                             rows_of(c, item / n, c->config->num_hidden_layers));
        return RB_OK;
    case ROUND_LOGITS:
        n = rb_learn_head_logits_items(out);
        rb_learn_head_logits(&c->members[item / n].out, item % n);
        return RB_OK;
    case ROUND_DISTIL:
        rb_learn_head_distil(out, c->teachers, c->member_count - 1, c->crosses, item);
        return RB_OK;
    case ROUND_LOGITS_BACK:
        rb_learn_head_back(out, item);
        return RB_OK;
    case ROUND_HIDDEN_BACK:
        return rb_learn_head_hidden_back(out, item, c->dx, &w->scratch, err);
    case ROUND_BACK:
        return back_item(c, item, &w->scratch, err);
    case ROUND_UPDATE:
        return update_item(c, item, &w->scratch, err);
    case ROUND_START:
    case ROUND_DONE:
        break;
    }
    return RB_OK;
}

/* ---- the state: a header; of each layer's trained tensors weights and moments; a checksum ---- */

struct state_head {
    char magic[8];
    char arithmetic[RB_LEARN_ARITHMETIC_SIZE];
    uint64_t text, seed, floats;
    double learning_rate;
    struct rb_finetune_figures figures;
    uint32_t steps, tokens, step, unused;
};
static const char MAGIC[8] = "rbtune02";

static uint64_t trained_floats(const struct finetune *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->trained_count; i++)
        n += c->trained[i].out * c->trained[i].in;
    return 3 * n * c->config->num_hidden_layers;
}

static void fill_head(const struct finetune *c, struct state_head *h)
{
    const struct rb_sequences *s = c->text.blocks;
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof MAGIC);
    rb_learn_arithmetic(h->arithmetic);
    h->text = rb_learn_checksum(s->ids, rb_sequences_tokens(s) * sizeof *s->ids,
                                rb_mix((uint64_t)c->batch.block_size));
    h->seed = c->options.seed;
    h->floats = trained_floats(c);
    h->learning_rate = c->options.learning_rate;
    h->steps = c->options.steps;
    h->tokens = c->options.tokens;
}

/* Weights and moments of all layers one after the other: into `to`, or from `from`. */
static void copy_trained(const struct finetune *c, unsigned char *to, const unsigned char *from)
{
    const struct rb_overlay *sets[] = {c->overlay, &c->first, &c->second};
    size_t at = 0;
    for (uint32_t l = 0; l < c->config->num_hidden_layers; l++)
        for (size_t i = 0; i < c->trained_count; i++)
            for (int k = 0; k < 3; k++) {
                float *held = rb_overlay_at(sets[k], c->trained[i].slot, l);
                size_t bytes = c->trained[i].out * c->trained[i].in * sizeof *held;
                if (to != NULL)
                    memcpy(to + at, held, bytes);
                else
                    memcpy(held, from + at, bytes);
                at += bytes;
            }
}

enum rb_status rb_finetune_save(const struct rb_program *p, unsigned char **ret, size_t *ret_bytes,
                                struct rb_error *err)
{
    const struct finetune *c = (const struct finetune *)p;
    struct state_head head;
    fill_head(c, &head);
    head.figures = c->figures;
    head.step = c->step;
    size_t body = (size_t)head.floats * sizeof(float);
    unsigned char *out = malloc(sizeof head + body + sizeof(uint64_t));
    if (out == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to save a merge's training (%zu MB)",
                            body / 1000000);
    memcpy(out, &head, sizeof head);
    copy_trained(c, out + sizeof head, NULL);
    uint64_t sum = rb_learn_checksum(out, sizeof head + body, 0);
    memcpy(out + sizeof head + body, &sum, sizeof sum);
    *ret = out;
    *ret_bytes = sizeof head + body + sizeof sum;
    return RB_OK;
}

static enum rb_status refuse(struct rb_error *err, const char *why)
{
    return rb_error_set(err, RB_EINPUT, "the saved state of a merge's training cannot be used: %s",
                        why);
}

enum rb_status rb_finetune_restore(struct rb_program *p, const unsigned char *bytes, size_t count,
                                   struct rb_error *err)
{
    struct finetune *c = (struct finetune *)p;
    struct state_head head, mine;
    uint64_t sum;
    fill_head(c, &mine);
    if (count < sizeof head + sizeof sum)
        return refuse(err, "it is cut short");
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0)
        return refuse(err, "another build of rebasind wrote it");
    if (head.floats != mine.floats ||
        count != sizeof head + (size_t)head.floats * sizeof(float) + sizeof sum)
        return refuse(err, "it is of another size");
    memcpy(&sum, bytes + count - sizeof sum, sizeof sum);
    if (sum != rb_learn_checksum(bytes, count - sizeof sum, 0))
        return refuse(err, "it is damaged");
    enum rb_status s = rb_learn_arithmetic_check(head.arithmetic, "training of a merge", err);
    if (s != RB_OK)
        return s;
    if (head.text != mine.text || head.seed != mine.seed || head.steps != mine.steps ||
        head.tokens != mine.tokens || !(head.learning_rate >= mine.learning_rate) ||
        !(head.learning_rate <= mine.learning_rate) || head.step > head.steps)
        return refuse(err, "it belongs to other options or to another text");
    unsigned char *copy = malloc(count);
    if (copy == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the saved state of a merge's training");
    memcpy(copy, bytes, count);
    free(c->pending);
    c->pending = copy;
    return RB_OK;
}

/* What was solved for before has its place; now the rest gets one, and a state is gone on from. */
static enum rb_status make_room(struct finetune *c, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    uint32_t layers = c->config->num_hidden_layers;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(c->model->family, slot);
        for (uint32_t l = 0; l < layers && row != NULL && row->per_layer && s == RB_OK; l++) {
            if (rb_model_tensor(c->model, slot, l) == NULL ||
                rb_overlay_at(c->overlay, slot, l) != NULL)
                continue;
            s = rb_overlay_add(c->overlay, c->model, slot, l, err);
            c->fresh[(size_t)slot * layers + l] = true;
        }
    }
    for (size_t i = 0; i < c->trained_count; i++)
        for (uint32_t l = 0; l < layers && s == RB_OK; l++) {
            s = rb_overlay_add(&c->first, c->model, c->trained[i].slot, l, err);
            if (s == RB_OK)
                s = rb_overlay_add(&c->second, c->model, c->trained[i].slot, l, err);
        }
    if (s != RB_OK || c->pending == NULL)
        return s;
    struct state_head head;
    memcpy(&head, c->pending, sizeof head);
    copy_trained(c, NULL, c->pending + sizeof head);
    for (size_t i = 0; i < c->trained_count; i++)
        for (uint32_t l = 0; l < layers; l++)
            c->fresh[(size_t)c->trained[i].slot * layers + l] = false;
    c->step = head.step;
    c->figures = head.figures;
    free(c->pending);
    c->pending = NULL;
    return RB_OK;
}

/* ---- rounds ---- */

/* The blocks of a step, or the next ones of a look. false: nothing is left to look at. */
static bool draw(struct finetune *c)
{
    if (c->looking) {
        if (!rb_learn_batch_look(&c->batch, &c->text, &c->held_first, c->options.seed))
            return false;
    } else {
        rb_learn_batch_draw(&c->batch, &c->text, c->step_blocks, c->options.seed, c->step);
    }
    c->tape.tokens = tokens_of(c);
    for (size_t m = 0; m < c->member_count; m++)
        rb_learn_head_begin(&c->members[m].out, &c->batch.s);
    c->round = ROUND_EMBED;
    return true;
}

static void end_look(struct finetune *c)
{
    double n = (double)c->held_rows;
    bool first = isnan(c->figures.loss_before);
    double loss = n > 0 ? c->held_loss / n : 0, distance = n > 0 ? c->held_distance / n : 0;
    if (first) {
        c->figures.loss_before = loss;
        c->figures.distance_before = distance;
    } else {
        c->figures.loss_after = loss;
        c->figures.distance_after = distance;
    }
    c->looking = false;
}

/* Between passes: look before the first step and after the last, else take a step. */
static void begin_pass(struct finetune *c)
{
    for (;;) {
        if (!c->looking && !isnan(c->figures.loss_after)) {
            c->round = ROUND_DONE;
            return;
        }
        if (!c->looking && (isnan(c->figures.loss_before) || c->step == c->options.steps)) {
            c->looking = true;
            c->held_first = c->held_rows = 0;
            c->held_loss = c->held_distance = 0;
        }
        if (draw(c))
            return;
        end_look(c);
    }
}

static enum rb_status begin_layer(struct finetune *c, struct rb_error *err)
{
    enum rb_status s = RB_OK;
    for (size_t m = 0; m < c->member_count && s == RB_OK; m++)
        s = rb_weights_begin_layer(&c->members[m].layer, &c->members[m].blend, c->layer, err);
    c->round = ROUND_WEIGHTS;
    return s;
}

static enum rb_status begin_fill(struct finetune *c, struct rb_error *err)
{
    enum rb_status s = make_room(c, err);
    enum rb_slot slots[8];
    size_t n = rb_learn_head_slots(c->model, slots);
    c->round = ROUND_FILL;
    for (size_t m = 0; m < c->member_count && s == RB_OK; m++) {
        struct member *member = &c->members[m];
        s = rb_weights_begin(&member->head, &member->blend, slots, n, 0, err);
        for (size_t i = 0; i < n && s == RB_OK; i++)
            member->head_slots[slots[i]] = member->head.w[slots[i]];
    }
    return s;
}

static bool next_chunk(struct finetune *c)
{
    bool more = false;
    for (size_t m = 0; m < c->member_count; m++)
        more = rb_learn_head_next_chunk(&c->members[m].out);
    return more;
}

/* All chunks are through. */
static enum rb_status after_losses(struct finetune *c, struct rb_error *err)
{
    const struct rb_learn_head *out = &c->members[0].out;
    double distance = rb_learn_head_loss(out);
    if (!isfinite(distance))
        return rb_error_set(err, RB_ENUMERIC,
                            "the distance from the parents at step %u is %g: lower "
                            "merge.finetune.learning_rate",
                            c->step + 1, distance);
    if (!c->looking) {
        memset(c->dx, 0, tokens_of(c) * c->config->hidden_size * sizeof *c->dx);
        c->round = ROUND_HIDDEN_BACK;
        return RB_OK;
    }
    for (size_t i = 0; i < out->rows; i++)
        c->held_loss += c->crosses[i];
    c->held_distance += distance * (double)out->rows;
    c->held_rows += out->rows;
    begin_pass(c);
    return RB_OK;
}

static enum rb_status begin_back(struct finetune *c, struct rb_error *err)
{
    c->round = ROUND_BACK;
    c->tape.x = rows_of(c, 0, c->layer);
    return rb_weights_begin_layer(&c->members[0].layer, &c->members[0].blend, c->layer, err);
}

static enum rb_status advance(struct finetune *c, struct rb_error *err)
{
    uint32_t layers = c->config->num_hidden_layers;
    switch (c->round) {
    case ROUND_START:
        return begin_fill(c, err);
    case ROUND_FILL:
        begin_pass(c);
        return RB_OK;
    case ROUND_EMBED:
        c->layer = 0;
        return begin_layer(c, err);
    case ROUND_WEIGHTS:
        c->round = ROUND_LAYER;
        return RB_OK;
    case ROUND_LAYER:
        if (++c->layer < layers)
            return begin_layer(c, err);
        c->layer = layers - 1;
        c->round = ROUND_HIDDEN;
        return RB_OK;
    case ROUND_LOGITS:
        c->round = ROUND_DISTIL;
        return RB_OK;
    case ROUND_DISTIL:
        if (!c->looking) {
            c->round = ROUND_LOGITS_BACK;
            return RB_OK;
        }
        /* fall through */
    case ROUND_HIDDEN:
    case ROUND_LOGITS_BACK:
        if (!next_chunk(c))
            return after_losses(c, err);
        c->round = ROUND_LOGITS;
        return RB_OK;
    case ROUND_HIDDEN_BACK:
        return begin_back(c, err);
    case ROUND_BACK:
        c->round = ROUND_UPDATE;
        return RB_OK;
    case ROUND_UPDATE:
        if (c->layer-- > 0)
            return begin_back(c, err);
        c->layer = 0;
        c->step++;
        begin_pass(c);
        return RB_OK;
    case ROUND_DONE:
        break;
    }
    return RB_OK;
}

static size_t items_of(const struct finetune *c)
{
    const struct rb_learn_head *out = &c->members[0].out;
    size_t n = 0;
    switch (c->round) {
    case ROUND_FILL:
    case ROUND_WEIGHTS:
        for (size_t m = 0; m < c->member_count; m++)
            n += set_of(c, m)->item_count;
        return n + (c->round == ROUND_FILL ? c->config->num_hidden_layers : 0);
    case ROUND_EMBED:
    case ROUND_LAYER:
        return c->member_count * c->batch.span_count;
    case ROUND_HIDDEN:
        return c->member_count * rb_learn_head_hidden_items(out);
    case ROUND_LOGITS:
        return c->member_count * rb_learn_head_logits_items(out);
    case ROUND_DISTIL:
        return rb_learn_head_softmax_items(out);
    case ROUND_LOGITS_BACK:
        return rb_learn_head_back_items(out);
    case ROUND_HIDDEN_BACK:
        return rb_learn_head_hidden_items(out);
    case ROUND_BACK:
        return c->batch.span_count;
    case ROUND_UPDATE:
        return update_items(c);
    case ROUND_START:
    case ROUND_DONE:
        break;
    }
    return 0;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct finetune *c = (struct finetune *)p;
    size_t items = 0;
    while (items == 0 && c->round != ROUND_DONE) {
        enum rb_status s = advance(c, err);
        if (s != RB_OK)
            return s;
        items = items_of(c);
    }
    *ret_items = items;
    return RB_OK;
}

/* ---- costs ---- */

static double layer_flops(const struct rb_config *c, size_t tokens, size_t block)
{
    double n = (double)tokens;
    return rb_layer_cost(c, n, n, n * rb_layer_keys(c, (double)block));
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct finetune *c = (const struct finetune *)p;
    double n = (double)items_of(c),
           layer = layer_flops(c->config, tokens_of(c), c->batch.block_size);
    double logits = (double)c->members[0].out.chunk_count * rb_head_logits_cost(c->model);
    double members = (double)c->member_count;
    (void)item;
    switch (c->round) {
    case ROUND_LAYER:
        return members * layer / n;
    case ROUND_LOGITS:
        return members * logits / n;
    case ROUND_LOGITS_BACK:
        return logits / n;
    case ROUND_BACK:
        return 2 * layer / n;
    case ROUND_UPDATE:
        return layer / n;
    default:
        return 0;
    }
}

double rb_finetune_cost(const struct rb_model *m, const struct rb_finetune_options *o,
                        size_t parents, size_t block_size)
{
    size_t tokens = rb_learn_step_blocks(o->tokens, block_size) * block_size;
    double layers = layer_flops(&m->config, tokens, block_size) * m->config.num_hidden_layers;
    double rows = rb_learn_predicted(m, tokens);
    double logits = rows * rb_head_logits_cost(m), all = (double)parents + 1;
    double look =
        (layers + logits) * all * RB_LEARN_HELD_BLOCKS * (double)block_size / (double)tokens;
    return o->steps * ((all + 3) * layers + (all + 1) * logits) + 2 * look;
}

uint64_t rb_finetune_bytes(const struct rb_model *m, const struct rb_finetune_options *o,
                           size_t parents, size_t block_size)
{
    const struct rb_config *c = &m->config;
    uint64_t tokens = rb_learn_step_blocks(o->tokens, block_size) * block_size, d = c->hidden_size;
    uint64_t layer = rb_weights_layer_floats(c), layers = c->num_hidden_layers;
    uint64_t head = (uint64_t)rb_head_outputs(m) * rb_head_width(m);
    uint64_t floats = 3 * layer * layers + (layers + 2 + parents) * tokens * d + parents * layer +
                      (parents + 1) * head;
    return floats * sizeof(float) + rb_tape_bytes(c, tokens) +
           (parents + 1) * rb_learn_head_bytes(m, tokens, false);
}

/* ---- life ---- */

static void finetune_free(struct rb_program *p)
{
    struct finetune *c = (struct finetune *)p;
    for (size_t m = 0; m < c->member_count; m++) {
        rb_weights_deinit(&c->members[m].layer);
        rb_weights_deinit(&c->members[m].head);
        rb_learn_head_deinit(&c->members[m].out);
        free(c->members[m].x);
    }
    rb_overlay_deinit(&c->first);
    rb_overlay_deinit(&c->second);
    rb_rotary_deinit(&c->rotary);
    rb_rotary_deinit(&c->back);
    rb_tape_deinit(&c->tape);
    rb_learn_batch_deinit(&c->batch);
    free(c->dx);
    free(c->dnorms);
    free(c->crosses);
    free(c->fresh);
    free(c->pending);
    free(c);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, finetune_free};

static enum rb_status add_member(struct finetune *c, const struct rb_blend *blend,
                                 struct rb_error *err)
{
    struct member *m = &c->members[c->member_count++];
    size_t tokens = c->step_blocks * c->batch.block_size, d = c->config->hidden_size;
    size_t kept = c->member_count == 1 ? c->config->num_hidden_layers + 1 : 1;
    m->blend = *blend;
    m->x = rb_malloc_aligned(kept * tokens * d, sizeof(float));
    if (m->x == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the activations of %zu tokens", tokens);
    enum rb_status s = rb_learn_head_init(&m->out, c->model, tokens, false, err);
    if (s == RB_OK)
        m->out.w = m->head_slots;
    if (c->member_count > 1)
        c->teachers[c->member_count - 2] = &m->out;
    return s;
}

static enum rb_status allocate(struct finetune *c, struct rb_error *err)
{
    size_t d = c->config->hidden_size, tokens = c->step_blocks * c->batch.block_size;
    c->dx = rb_malloc_aligned(tokens * d, sizeof(float));
    c->dnorms = rb_malloc_aligned(c->step_blocks * 4 * d, sizeof(double));
    c->crosses = calloc(tokens + 1, sizeof *c->crosses);
    c->fresh = calloc((size_t)RB_SLOT_COUNT * c->config->num_hidden_layers, sizeof *c->fresh);
    if (c->dx == NULL || c->dnorms == NULL || c->crosses == NULL || c->fresh == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to train on %zu tokens a step", tokens);
    enum rb_status s = rb_overlay_init(&c->first, c->model, err);
    if (s == RB_OK)
        s = rb_overlay_init(&c->second, c->model, err);
    return s == RB_OK ? rb_tape_init(&c->tape, c->config, tokens, err) : s;
}

enum rb_status rb_finetune_new(const struct rb_blend *student, struct rb_overlay *overlay,
                               const struct rb_blend *parents, size_t parent_count,
                               const struct rb_learn_text *text,
                               const struct rb_finetune_options *o, struct rb_program **ret,
                               struct rb_error *err)
{
    if (text->blocks->count < 2)
        return rb_error_set(err, RB_EDATASET,
                            "training a merge needs text for two blocks at least, "
                            "found %zu",
                            text->blocks->count);
    struct finetune *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to train a merge");
    size_t block = text->blocks->starts[1] - text->blocks->starts[0];
    c->program.ops = &ops;
    c->options = *o;
    c->text = *text;
    c->model = rb_blend_model(student);
    c->config = &c->model->config;
    c->overlay = overlay;
    c->figures = (struct rb_finetune_figures){NAN, NAN, NAN, NAN};
    c->step_blocks = rb_learn_step_blocks(o->tokens, block);
    struct rb_blend own = *student;
    own.overlay = overlay;
    enum rb_status s = rb_learn_batch_init(&c->batch, text, c->step_blocks, err);
    if (s == RB_OK)
        s = allocate(c, err);
    if (s == RB_OK)
        s = rb_tape_rotary(c->config, c->batch.block_size, &c->rotary, &c->back, err);
    if (s == RB_OK)
        s = add_member(c, &own, err);
    for (size_t i = 0; i < parent_count && s == RB_OK; i++)
        s = add_member(c, &parents[i], err);
    if (s != RB_OK) {
        finetune_free(&c->program);
        return s;
    }
    list_trained(c);
    c->program.total_cost = rb_finetune_cost(c->model, o, parent_count, block);
    *ret = &c->program;
    return RB_OK;
}

struct rb_finetune_figures rb_finetune_result(const struct rb_program *p)
{
    return ((const struct finetune *)p)->figures;
}

uint32_t rb_finetune_steps_done(const struct rb_program *p)
{
    return ((const struct finetune *)p)->step;
}

bool rb_finetune_at_step(const struct rb_program *p)
{
    const struct finetune *c = (const struct finetune *)p;
    return c->round == ROUND_EMBED && !c->looking;
}
