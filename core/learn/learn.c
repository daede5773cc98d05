#include "core/learn/learn.h"
#include "core/align/assignment.h"
#include "core/learn/adam.h"
#include "core/learn/learn_fold.h"
#include "core/learn/learn_internal.h"
#include "core/learn/learn_near.h"
#include "core/model/embed.h"
#include "core/model/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARMUP = 10, /* steps */
};

/* ---- places ---- */

static float *boundary(const struct rb_learn *c, uint32_t layer)
{
    return c->x + (size_t)layer * c->step_blocks * c->batch.block_size * c->config->hidden_size;
}

/* ---- a pass over the model ---- */

static void set_lambda(struct rb_learn *c, double lambda)
{
    c->lambda = lambda;
    c->theta.lambda = lambda;
    c->theta.terms[0].weight = 1 - lambda;
    c->theta.terms[1].weight = lambda;
}

/* The blocks of a step, or the next ones of a look. False: nothing is left to look at. */
static bool begin_pass(struct rb_learn *c)
{
    if (c->looking) {
        if (!rb_learn_batch_look(&c->batch, &c->text, &c->held_first, c->options.seed))
            return false;
        set_lambda(c, 0.5);
    } else {
        rb_learn_batch_draw(&c->batch, &c->text, c->step_blocks, c->options.seed, c->step);
        set_lambda(c, rb_learn_draw_lambda(&c->options, c->step));
    }
    c->tape.tokens = rb_learn_tokens(c);
    rb_learn_head_begin(&c->head, &c->batch.s);
    return true;
}

static enum rb_status embed_item(const struct rb_learn *c, size_t item, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    size_t span = item % c->batch.span_count, d = c->config->hidden_size;
    bool alone = item >= c->batch.span_count;
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    float *x = (alone ? c->embedded : c->x) + rb_learn_batch_row(&c->batch, span) * d;
    if (c->near && alone)
        return rb_learn_near_embed(c, span, x, scratch, err);
    return rb_embed(alone ? &c->moved : &c->theta, &c->batch.s, &s, x, NULL, scratch, err);
}

static enum rb_status layer_item(const struct rb_learn *c, size_t span, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    size_t at = rb_learn_batch_row(&c->batch, span) * c->config->hidden_size;
    struct rb_layer_call call = {
        .config = c->config,
        .weights = &c->weights[c->layer % 2],
        .rotary = &c->rotary,
        .layer = c->layer,
        .span = rb_learn_batch_span(&c->batch, span),
    };
    float *x = boundary(c, c->layer + 1) + at;
    memcpy(x, boundary(c, c->layer) + at,
           rb_span_tokens(&call.span) * c->config->hidden_size * sizeof *x);
    return rb_layer_forward(&call, x, scratch, err);
}

static enum rb_status back_item(const struct rb_learn *c, size_t span, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    const struct rb_tape_call call = {
        .tape = &c->tape,
        .weights = c->weights[2].w,
        .layer = c->layer,
        .rotary = &c->rotary,
        .back = &c->back,
        .starts = s.starts,
        .count = s.count,
        .row = rb_learn_batch_row(&c->batch, span),
        .dnorms = c->near ? c->dnorms + span * 4 * c->config->hidden_size : NULL,
    };
    if (c->near)
        memset(call.dnorms, 0, 4 * c->config->hidden_size * sizeof *call.dnorms);
    enum rb_status st = rb_tape_forward(&call, scratch, err);
    if (st != RB_OK)
        return st;
    st = rb_tape_back(&call, c->dx + call.row * c->config->hidden_size, scratch, err);
    if (st == RB_OK)
        rb_learn_stream_rows(c, &call);
    return st;
}

/* ---- looks, and the end ---- */

static enum rb_status end_of_look(struct rb_learn *c, struct rb_error *err)
{
    if (c->look_count == c->look_capacity) {
        size_t capacity = c->look_capacity == 0 ? 64 : 2 * c->look_capacity;
        struct rb_learn_look *p = realloc(c->looks, capacity * sizeof *p);
        if (p == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory for the training curve");
        c->looks = p;
        c->look_capacity = capacity;
    }
    double held = c->held_rows > 0 ? c->held_sum / (double)c->held_rows : NAN;
    double train = c->steps_since_look > 0 ? c->sum_since_look / c->steps_since_look : NAN;
    c->looks[c->look_count++] = (struct rb_learn_look){c->step, train, held};
    c->sum_since_look = 0;
    c->steps_since_look = 0;
    if (isnan(held) || held < c->best_held) {
        memcpy(c->best, c->maps.x, c->maps.parameters * sizeof *c->best);
        c->best_held = held;
        c->best_step = c->step;
        c->looks_since_best = 0;
    } else {
        c->looks_since_best++;
    }
    c->ended = c->step >= c->options.steps ||
               (c->options.patience > 0 && c->looks_since_best >= c->options.patience);
    return RB_OK;
}

static enum rb_status end_of_step(struct rb_learn *c, struct rb_error *err)
{
    c->last_loss = rb_learn_head_loss(&c->head);
    if (!isfinite(c->last_loss))
        return rb_error_set(err, RB_ENUMERIC,
                            "the training loss of step %u is %g: lower align.learn.learning_rate",
                            c->step + 1, c->last_loss);
    c->sum_since_look += c->last_loss;
    c->steps_since_look++;
    c->step++;
    return RB_OK;
}

static bool look_is_due(const struct rb_learn *c)
{
    size_t entries = c->look_count;
    bool looked = entries > 0 && c->looks[entries - 1].step == c->step;
    return !looked && (c->step % RB_LEARN_LOOK_EVERY == 0 || c->step == c->options.steps);
}

/* ---- rounds ---- */

static enum rb_status begin_weights(struct rb_learn *c, uint32_t layer, struct rb_error *err)
{
    if (layer >= c->config->num_hidden_layers)
        return RB_OK;
    return rb_weights_begin_layer(&c->weights[layer % 2], &c->theta, layer, err);
}

/* Of the way back: moved B's and theta's, every row of B moved once. */
static enum rb_status begin_both(struct rb_learn *c, uint32_t layer, struct rb_error *err)
{
    return rb_weights_begin_both_layer(&c->weights[2], &c->theta, &c->weights[layer % 2], layer,
                                       err);
}

static enum rb_status begin_head_weights(struct rb_learn *c, struct rb_error *err)
{
    enum rb_slot slots[8];
    size_t n = rb_learn_head_slots(c->model, slots);
    enum rb_status s =
        c->maps.residual && !c->looking
            ? rb_weights_begin_both(&c->head_weights, &c->theta, &c->moved_head, slots, n, 0, err)
            : rb_weights_begin(&c->head_weights, &c->theta, slots, n, 0, err);
    for (size_t i = 0; s == RB_OK && i < n; i++)
        c->head_slots[slots[i]] = c->head_weights.w[slots[i]];
    c->head.moved = c->moved_head.w[c->model->head_shape->output];
    return s;
}

/* Sets that a round may fill; those of moved B are filled by the sets begun with them. */
enum { FILLED_SETS = 4 };

static const struct rb_weights *filled_set(const struct rb_learn *c, size_t i)
{
    return i < 3 ? &c->weights[i] : &c->head_weights;
}

static bool is_filled_by_another(const struct rb_learn *c, const struct rb_weights *w)
{
    return c->weights[2].item_count > 0 && c->weights[2].last == w;
}

static size_t items_of_set(const struct rb_learn *c, size_t i)
{
    const struct rb_weights *w = filled_set(c, i);
    return is_filled_by_another(c, w) ? 0 : w->item_count;
}

static size_t weight_items(const struct rb_learn *c)
{
    size_t n = 0;
    for (size_t i = 0; i < FILLED_SETS; i++)
        n += items_of_set(c, i);
    return n;
}

static void no_weight_items(struct rb_learn *c)
{
    for (size_t i = 0; i < sizeof c->weights / sizeof c->weights[0]; i++)
        c->weights[i].item_count = 0;
    c->head_weights.item_count = c->moved_head.item_count = 0;
}

static enum rb_status weight_item(const struct rb_learn *c, size_t item, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    size_t i = 0;
    while (item >= items_of_set(c, i))
        item -= items_of_set(c, i++);
    return rb_weights_fill(filled_set(c, i), &c->theta, item, scratch, err);
}

/* Items of the present round beside those of weights. */
static size_t own_items(const struct rb_learn *c)
{
    switch (c->round) {
    case ROUND_MAPS:
    case ROUND_UPDATE:
    case ROUND_PROJECT:
        return rb_learn_maps_items(&c->maps);
    case ROUND_EMBED:
        return c->batch.span_count * (c->maps.residual && !c->looking ? 2 : 1);
    case ROUND_LAYER:
    case ROUND_BACK:
    case ROUND_EMBED_BACK:
        return c->batch.span_count;
    case ROUND_HIDDEN:
    case ROUND_HIDDEN_BACK:
        return rb_learn_head_hidden_items(&c->head);
    case ROUND_LOGITS:
        return rb_learn_head_logits_items(&c->head);
    case ROUND_SOFTMAX:
        return rb_learn_head_softmax_items(&c->head);
    case ROUND_LOGITS_BACK:
        return rb_learn_head_back_items(&c->head);
    case ROUND_HEAD_FOLD:
    case ROUND_EMBED_FOLD:
        return rb_learn_stream_items(c);
    case ROUND_GRADIENT:
        return rb_learn_gradient_items(c);
    case ROUND_FOLD:
        return rb_learn_stream_items(c) + rb_learn_head_items(c) + rb_learn_order_items(c) +
               rb_learn_unit_items(c);
    case ROUND_START:
    case ROUND_DONE:
        return 0;
    }
    return 0;
}

/* A pass has shown its loss: a step goes back, a look goes on or ends. */
static enum rb_status after_losses(struct rb_learn *c, struct rb_error *err)
{
    if (!c->looking) {
        memset(c->dx, 0, rb_learn_tokens(c) * c->config->hidden_size * sizeof *c->dx);
        c->round = ROUND_HIDDEN_BACK;
        return begin_both(c, c->layer, err);
    }
    c->held_sum += rb_learn_head_loss(&c->head) * (double)c->head.rows;
    c->held_rows += c->head.rows;
    if (begin_pass(c)) {
        c->round = ROUND_EMBED;
        return begin_weights(c, 0, err);
    }
    c->looking = false;
    c->round = ROUND_START;
    return end_of_look(c, err);
}

static bool order_is_due(const struct rb_learn *c)
{
    return c->step > 0 && c->step % RB_LEARN_ORDER_EVERY == 0;
}

/* Between steps: look, learn on, or end with the best maps. */
static void between_steps(struct rb_learn *c)
{
    c->round = ROUND_MAPS;
    if (look_is_due(c)) {
        c->looking = true;
        c->held_first = c->held_rows = 0;
        c->held_sum = 0;
    } else if (c->ended) {
        memcpy(c->maps.x, c->best, c->maps.parameters * sizeof *c->best);
        c->round = ROUND_PROJECT;
    }
}

static enum rb_status begin_back(struct rb_learn *c)
{
    c->round = ROUND_BACK;
    c->tape.x = boundary(c, c->layer);
    return RB_OK;
}

/* The round after the present one. */
static enum rb_status advance(struct rb_learn *c, struct rb_error *err)
{
    uint32_t layers = c->config->num_hidden_layers;
    switch (c->round) {
    case ROUND_START:
        between_steps(c);
        return rb_learn_maps_order(&c->maps, c->round == ROUND_MAPS && order_is_due(c), err);
    case ROUND_MAPS:
        if (!begin_pass(c)) { /* the text is too short to hold any of it out */
            c->looking = false;
            c->round = ROUND_START;
            return end_of_look(c, err);
        }
        c->round = ROUND_EMBED;
        c->layer = 0;
        return begin_weights(c, 0, err);
    case ROUND_EMBED:
        c->round = ROUND_LAYER;
        c->layer = 0;
        return layers > 1 ? begin_weights(c, 1, err) : begin_head_weights(c, err);
    case ROUND_LAYER:
        if (++c->layer == layers) {
            c->round = ROUND_HIDDEN;
            c->layer = layers - 1;
            return RB_OK;
        }
        return c->layer + 1 < layers ? begin_weights(c, c->layer + 1, err)
                                     : begin_head_weights(c, err);
    case ROUND_HIDDEN:
    case ROUND_LOGITS_BACK:
        if (!rb_learn_head_next_chunk(&c->head))
            return after_losses(c, err);
        c->round = ROUND_LOGITS;
        return RB_OK;
    case ROUND_LOGITS:
        c->round = ROUND_SOFTMAX;
        return RB_OK;
    case ROUND_SOFTMAX:
        c->round = ROUND_LOGITS_BACK;
        if (!c->looking)
            return RB_OK;
        return advance(c, err); /* a look needs no gradient */
    case ROUND_HIDDEN_BACK:
        if (c->maps.residual) {
            c->round = ROUND_HEAD_FOLD;
            return RB_OK;
        }
        return begin_back(c);
    case ROUND_HEAD_FOLD:
        return begin_back(c);
    case ROUND_BACK:
        c->round = ROUND_GRADIENT;
        return RB_OK;
    case ROUND_GRADIENT:
        c->round = ROUND_FOLD;
        return c->layer > 0 ? begin_both(c, c->layer - 1, err) : RB_OK;
    case ROUND_FOLD:
        if (c->layer > 0) {
            c->layer--;
            return begin_back(c);
        }
        c->round = c->near ? ROUND_EMBED_BACK : c->maps.residual ? ROUND_EMBED_FOLD : ROUND_UPDATE;
        return RB_OK;
    case ROUND_EMBED_BACK:
        c->round = ROUND_EMBED_FOLD;
        return RB_OK;
    case ROUND_EMBED_FOLD:
        c->round = ROUND_UPDATE;
        return RB_OK;
    case ROUND_UPDATE:
        c->round = ROUND_START;
        return end_of_step(c, err);
    case ROUND_PROJECT:
    case ROUND_DONE:
        c->round = ROUND_DONE;
        return RB_OK;
    }
    return RB_OK;
}

static enum rb_status next_round(struct rb_program *p, size_t *ret_items, struct rb_error *err)
{
    struct rb_learn *c = (struct rb_learn *)p;
    enum rb_status s = RB_OK;
    no_weight_items(c);
    do
        s = advance(c, err);
    while (s == RB_OK && c->round != ROUND_DONE && own_items(c) + weight_items(c) == 0);
    if (s == RB_OK)
        *ret_items = c->round == ROUND_DONE ? 0 : own_items(c) + weight_items(c);
    return s;
}

static enum rb_status update_item(struct rb_learn *c, size_t item, struct rb_scratch *scratch,
                                  struct rb_error *err)
{
    struct rb_learn_maps *m = &c->maps;
    size_t n, first = rb_learn_maps_first(m, item, &n);
    enum rb_status s = RB_OK;
    if (item < m->count)
        s = rb_learn_maps_gradient(m, item, c->lambda, scratch, err);
    else if (item < rb_learn_maps_order_item(m))
        rb_learn_units_gradient(&m->units, m->x + first, c->lambda, m->dx + first);
    else
        for (size_t i = 0; i < n; i++)
            m->dx[first + i] *= c->lambda;
    if (s == RB_OK)
        rb_adam_step(&rb_adam_default,
                     rb_adam_rate(c->options.learning_rate, c->step, c->options.steps, WARMUP),
                     c->step, n, m->dx + first, m->x + first, m->m + first, m->v + first);
    return s;
}

static enum rb_status fold_item(const struct rb_learn *c, size_t item, struct rb_worker *w,
                                struct rb_error *err)
{
    size_t stream = rb_learn_stream_items(c), heads = rb_learn_head_items(c);
    size_t orders = rb_learn_order_items(c);
    if (item < stream)
        rb_learn_fold_stream(c, item);
    else if (item < stream + heads)
        rb_learn_fold_heads(c, item - stream);
    else if (item < stream + heads + orders)
        rb_learn_fold_order(c, item - stream - heads);
    else
        return rb_learn_fold_units(c, item - stream - heads - orders, &w->scratch, err);
    return RB_OK;
}

/* Parameters to what the motion reads; of FF units the assignment anew, when it is due. */
static enum rb_status value_item(struct rb_learn *c, size_t item, struct rb_worker *w,
                                 struct rb_error *err)
{
    struct rb_learn_maps *m = &c->maps;
    size_t n, first = rb_learn_maps_first(m, item, &n);
    if (item < m->count)
        return c->round == ROUND_PROJECT ? rb_learn_maps_project(m, item, err)
                                         : rb_learn_maps_value(m, item, err);
    if (c->round == ROUND_MAPS && !c->looking)
        memset(m->dx + first, 0, n * sizeof *m->dx);
    if (item >= rb_learn_maps_order_item(m)) /* taken before the matrices were written */
        return RB_OK;
    bool due = c->round == ROUND_MAPS && order_is_due(c);
    return rb_learn_units_value(&m->units, (uint32_t)(item - m->count), m->x + first, due, w, err);
}

static enum rb_status run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                               struct rb_error *err)
{
    struct rb_learn *c = (struct rb_learn *)p;
    size_t others = weight_items(c); /* first, so that no long item is left for the end */
    if (item < others)
        return weight_item(c, item, &w->scratch, err);
    item -= others;
    switch (c->round) {
    case ROUND_MAPS:
        return value_item(c, item, w, err);
    case ROUND_EMBED:
        return embed_item(c, item, &w->scratch, err);
    case ROUND_LAYER:
        return layer_item(c, item, &w->scratch, err);
    case ROUND_HIDDEN:
        rb_learn_head_hidden(&c->head, item, boundary(c, c->config->num_hidden_layers));
        return RB_OK;
    case ROUND_LOGITS:
        rb_learn_head_logits(&c->head, item);
        return RB_OK;
    case ROUND_SOFTMAX:
        rb_learn_head_softmax(&c->head, item);
        return RB_OK;
    case ROUND_LOGITS_BACK:
        rb_learn_head_back(&c->head, item);
        return RB_OK;
    case ROUND_HIDDEN_BACK:
        return rb_learn_head_hidden_back(&c->head, item, c->dx, &w->scratch, err);
    case ROUND_HEAD_FOLD:
        return rb_learn_fold_output(c, item, &w->scratch, err);
    case ROUND_BACK:
        return back_item(c, item, &w->scratch, err);
    case ROUND_GRADIENT:
        rb_learn_gradient_item(c, item);
        return RB_OK;
    case ROUND_FOLD:
        return fold_item(c, item, w, err);
    case ROUND_EMBED_BACK:
        return rb_learn_near_embed_back(c, item, &w->scratch, err);
    case ROUND_EMBED_FOLD:
        return rb_learn_fold_embeddings(c, item, &w->scratch, err);
    case ROUND_UPDATE:
        return update_item(c, item, &w->scratch, err);
    case ROUND_PROJECT:
        return value_item(c, item, w, err);
    case ROUND_START:
    case ROUND_DONE:
        return RB_OK;
    }
    return RB_OK;
}

/* ---- what it costs ---- */

/* Products of one token of one layer's linear maps, multiply and add counted as two. */
static double layer_token_flops(const struct rb_config *c)
{
    return rb_layer_cost(c, 1, 1, 0);
}

static double attention_flops(const struct rb_config *c, size_t tokens, size_t block_size)
{
    return rb_layer_cost(c, 0, 0, (double)tokens * rb_layer_keys(c, (double)block_size));
}

/* One F times every moved weight of a layer, once. */
static double moving_flops(const struct rb_config *c, bool residual)
{
    return residual ? layer_token_flops(c) * c->hidden_size : 0;
}

/* What a layer's gradients cost, by what is learned. */
struct gradient_flops {
    double by_rows, by_weights; /* products over the batch: rows for the stream, dL/dtheta */
    double fold;                /* from those to the stream's G */
};

static struct gradient_flops gradient_flops(const struct rb_config *c, bool residual, bool heads,
                                            bool units, size_t tokens)
{
    double d = c->hidden_size, n = (double)tokens, rows = 4 * n * d * d;
    double mlp = (c->mlp.gated ? 6.0 : 4.0) * c->mlp.inner_size * d;
    double attention = layer_token_flops(c) - mlp;
    struct gradient_flops f = {0};
    *(heads ? &f.by_weights : &f.by_rows) += heads || residual ? n * attention : 0;
    *(units ? &f.by_weights : &f.by_rows) += units || residual ? n * mlp : 0;
    if (residual)
        f.fold = (heads ? attention * d : rows) + (units ? mlp * d : rows);
    return f;
}

static struct gradient_flops gradients_of(const struct rb_learn *c)
{
    const struct rb_learn_maps *m = &c->maps;
    return gradient_flops(c->config, m->residual,
                          m->kinds[RB_LEARN_QUERY_KEY] || m->kinds[RB_LEARN_VALUE],
                          m->units.parameters > 0, rb_learn_tokens(c));
}

/* Moving the output weight once, where it is moved. */
static double moving_output_flops(const struct rb_model *m, bool folds_output)
{
    return folds_output ? rb_head_logits_cost(m) * m->config.hidden_size : 0;
}

/* What all slots of a layer's FF would be with all units. */
static double order_flops(const struct rb_config *c)
{
    double n = c->mlp.inner_size, d = c->hidden_size;
    return (c->mlp.gated ? 6 : 4) * n * n * d + rb_assignment_cost(n) / RB_LEARN_ORDER_EVERY;
}

static double item_cost(const struct rb_program *p, size_t item)
{
    const struct rb_learn *c = (const struct rb_learn *)p;
    const struct rb_config *g = c->config;
    size_t others = weight_items(c), own = own_items(c), tokens = rb_learn_tokens(c);
    double layer = (double)tokens * layer_token_flops(g);
    double scores = attention_flops(g, tokens, c->batch.block_size), n = own > 0 ? (double)own : 1;
    double logits = (double)c->head.chunk_count * rb_head_logits_cost(c->model);
    struct gradient_flops f = gradients_of(c);
    if (item < others)
        return (c->head_weights.item_count > 0 ? moving_output_flops(c->model, c->head.want_output)
                                               : moving_flops(g, c->maps.residual)) /
               (double)others;
    switch (c->round) {
    case ROUND_LAYER:
        return (layer + scores) / n;
    case ROUND_BACK:
        return (2 * layer + 3.5 * scores + f.by_rows) / n;
    case ROUND_GRADIENT:
        return f.by_weights / n;
    case ROUND_FOLD:
        return (f.fold + (c->maps.units.orders ? order_flops(g) : 0)) / n;
    case ROUND_LOGITS:
        return logits / n;
    case ROUND_LOGITS_BACK:
        return (c->head.want_output ? 2 : 1) * logits / n;
    case ROUND_HEAD_FOLD:
    case ROUND_EMBED_FOLD:
        return 2 * (double)tokens * g->hidden_size * g->hidden_size / n;
    default:
        return 0;
    }
}

double rb_learn_cost(const struct rb_model *m, const struct rb_learn_options *o, size_t block_size)
{
    const struct rb_config *c = &m->config;
    size_t tokens = rb_learn_step_blocks(o->batch_tokens, block_size) * block_size;
    double layer = (double)tokens * layer_token_flops(c);
    double scores = attention_flops(c, tokens, block_size), layers = c->num_hidden_layers;
    double predicted = rb_learn_predicted(m, tokens);
    double logits = predicted * rb_head_logits_cost(m), look = layer + scores;
    bool output = rb_learn_folds_output(m, o);
    struct gradient_flops f =
        gradient_flops(c, o->residual, o->query_keys || o->values, o->scales || o->orders, tokens);
    double step = layers * (3 * layer + 4.5 * scores + f.by_rows + f.by_weights + f.fold +
                            2 * moving_flops(c, o->residual)) +
                  (output ? 3 : 2) * logits + moving_output_flops(m, output);
    if (o->residual) /* the unembedding's fold, and the embeddings' */
        step += 4 * (double)tokens * c->hidden_size * c->hidden_size;
    if (o->orders)
        step += layers * order_flops(c);
    uint32_t looks = o->steps / RB_LEARN_LOOK_EVERY + 1;
    double held = (double)RB_LEARN_HELD_BLOCKS * (double)block_size / (double)tokens;
    return o->steps * step + looks * held * (layers * look + logits);
}

/* What is kept of a layer's weights: gradients, or rows of the batch where they tell. */
static uint64_t gradient_floats(const struct rb_config *c, const struct rb_learn_options *o,
                                uint64_t tokens)
{
    uint64_t d = c->hidden_size, floats = rb_weights_layer_floats(c), rows = 2 * tokens * d;
    if (o->residual && !o->scales && !o->orders)
        floats += rows - (c->mlp.gated ? 3 : 2) * (uint64_t)c->mlp.inner_size * d;
    if (o->residual && !(o->query_keys && o->values))
        floats += rows;
    return floats;
}

uint64_t rb_learn_bytes(const struct rb_model *m, const struct rb_learn_options *o,
                        size_t block_size)
{
    const struct rb_config *c = &m->config;
    uint64_t tokens = rb_learn_step_blocks(o->batch_tokens, block_size) * block_size,
             d = c->hidden_size;
    uint64_t layer = rb_weights_layer_floats(c), dh = c->attention.head_dim;
    uint64_t output = (uint64_t)rb_head_outputs(m) * rb_head_width(m);
    uint64_t stream = o->residual ? d * d : 0;
    uint64_t heads = (uint64_t)(o->query_keys + o->values) * c->num_hidden_layers *
                     c->attention.kv_heads * dh * dh;
    heads *= o->stretches ? 2 : 1;
    uint64_t n = c->mlp.inner_size, units = 0;
    units += o->scales ? c->num_hidden_layers * n : 0;
    units += o->orders ? c->num_hidden_layers * (n * n + n) : 0;
    n = c->attention.kv_heads;
    units += o->head_orders ? c->num_hidden_layers * (n * n + n) : 0;
    uint64_t floats = (c->num_hidden_layers + 2) * tokens * d + 3 * layer + 2 * output +
                      gradient_floats(c, o, tokens);
    if (o->residual)
        floats += tokens * d + output;
    /* per parameter of a map: G and F in F32, Cayley's four matrices, Adam's three and the best */
    return floats * sizeof(float) + rb_tape_bytes(c, tokens) +
           rb_learn_head_bytes(m, tokens, rb_learn_folds_output(m, o)) +
           (stream + heads) * (2 * 4 + 10 * 8) + units * 5 * 8 + rb_learn_near_bytes(m, o, tokens);
}

/* ---- life ---- */

static void learn_free(struct rb_program *p)
{
    struct rb_learn *c = (struct rb_learn *)p;
    for (size_t i = 0; i < sizeof c->weights / sizeof c->weights[0]; i++)
        rb_weights_deinit(&c->weights[i]);
    rb_weights_deinit(&c->head_weights);
    rb_weights_deinit(&c->moved_head);
    rb_learn_head_deinit(&c->head);
    rb_tape_deinit(&c->tape);
    rb_learn_batch_deinit(&c->batch);
    rb_learn_maps_deinit(&c->maps);
    rb_rotary_deinit(&c->rotary);
    rb_rotary_deinit(&c->back);
    free(c->x);
    free(c->dx);
    free(c->embedded);
    free(c->gradients);
    free(c->summed);
    free(c->dnorms);
    free(c->gains);
    free(c->looks);
    free(c->best);
    free(c);
}

static const struct rb_program_ops ops = {next_round, run_item, item_cost, learn_free};

static enum rb_status admit_units(const struct rb_model *m, const struct rb_align_options *align,
                                  unsigned groups, struct rb_learn_options *o, struct rb_error *err)
{
    bool ff = (align->components & RB_COMPONENT_FF) != 0, gated = m->config.mlp.gated;
    if ((groups & (RB_LEARN_FF | RB_LEARN_SCALES)) != 0 && !ff)
        return rb_error_at(err, RB_EMODELS, "groups",
                           "FF units can be learned only where they are matched (component "
                           "\"ff\")");
    if ((groups & RB_LEARN_SCALES) != 0 && !gated)
        return rb_error_at(err, RB_EMODELS, "groups",
                           "\"scales\" are for gated MLPs: elsewhere an activation stands between "
                           "up and down");
    bool invertible = rb_align_head_map(align) == RB_HEAD_MAP_INVERTIBLE;
    o->orders = (groups & RB_LEARN_FF) != 0;
    o->scales = (groups & RB_LEARN_SCALES) != 0 || (groups == 0 && ff && gated && invertible);
    return RB_OK;
}

enum rb_status rb_learn_admit(const struct rb_model *m, const struct rb_align_options *align,
                              unsigned groups, struct rb_learn_options *o, struct rb_error *err)
{
    bool heads = (align->components & RB_COMPONENT_MHA) != 0 && align->heads != RB_HEADS_IGNORE;
    bool stream = rb_align_turns_stream(align) &&
                  (m->config.norm_place == RB_NORM_BEFORE || rb_align_is_near(align));
    if (m->head != RB_HEAD_MLM && m->head != RB_HEAD_CAUSAL)
        return rb_error_set(err, RB_EHEAD,
                            "learning maps needs models that predict tokens (a masked or causal "
                            "language model's head)");
    if ((groups & RB_LEARN_RESIDUAL) != 0 && !stream)
        return rb_error_at(err, RB_EMODELS, "groups",
                           "the residual stream's map can be learned only where it is orthogonal "
                           "(residual_map), and exact (a norm before each sublayer) or "
                           "\"near\" (equivalence)");
    if ((groups & (RB_LEARN_HEADS | RB_LEARN_HEAD_ORDER)) != 0 && !heads)
        return rb_error_at(err, RB_EMODELS, "groups",
                           "maps inside heads can be learned only where whole heads are matched "
                           "(component \"mha\", heads not \"ignore\")");
    enum rb_status s = admit_units(m, align, groups, o, err);
    if (s != RB_OK)
        return s;
    o->residual = stream && (groups == 0 || (groups & RB_LEARN_RESIDUAL) != 0);
    o->values = heads && (groups == 0 || (groups & (RB_LEARN_HEADS | RB_LEARN_HEAD_ORDER)) != 0);
    o->query_keys = o->values && !m->config.attention.query_key_norm;
    o->stretches = o->values && rb_align_head_map(align) == RB_HEAD_MAP_INVERTIBLE;
    o->head_orders = o->values && (groups & RB_LEARN_HEAD_ORDER) != 0;
    if (o->head_orders && !o->query_keys)
        return rb_error_at(err, RB_EMODELS, "groups",
                           "\"head_order\" is not for models with norms over whole queries and "
                           "keys");
    if (!o->residual && !o->values && !o->scales && !o->orders)
        return rb_error_set(err, RB_EMODELS,
                            "nothing can be learned: neither are whole heads matched (component "
                            "\"mha\") nor is the residual stream's map orthogonal");
    return RB_OK;
}

static enum rb_status check(const struct rb_learn_text *text, const struct rb_learn_options *o,
                            struct rb_error *err)
{
    if (o->steps < 1 || o->steps > RB_LEARN_STEPS_MOST)
        return rb_error_at(err, RB_EINPUT, "steps", "expected 1 to %d steps, found %u",
                           RB_LEARN_STEPS_MOST, o->steps);
    if (!(o->lambda[0] >= 0 && o->lambda[0] <= o->lambda[1] && o->lambda[1] <= 1))
        return rb_error_at(err, RB_EINPUT, "lambda",
                           "expected two numbers from 0 to 1 in ascending order, found %g and %g",
                           o->lambda[0], o->lambda[1]);
    if (text->blocks->count < 2)
        return rb_error_set(err, RB_EDATASET,
                            "learning needs text for two blocks at least, found %zu",
                            text->blocks->count);
    return RB_OK;
}

static enum rb_status allocate(struct rb_learn *c, struct rb_error *err)
{
    size_t d = c->config->hidden_size, layers = c->config->num_hidden_layers;
    size_t tokens = c->step_blocks * c->batch.block_size;
    c->x = rb_malloc_aligned((layers + 1) * tokens * d, sizeof(float));
    c->dx = rb_malloc_aligned(tokens * d, sizeof(float));
    c->best = calloc(c->maps.parameters + 1, sizeof *c->best);
    if (c->maps.residual)
        c->embedded = rb_malloc_aligned(tokens * d, sizeof(float));
    if (c->x == NULL || c->dx == NULL || c->best == NULL ||
        (c->maps.residual && c->embedded == NULL))
        return rb_error_set(err, RB_ENOMEM, "no memory for the activations of %zu tokens", tokens);
    return RB_OK;
}

enum rb_status rb_learn_new(const struct rb_model *a, const struct rb_motion *motion_a,
                            const struct rb_model *b, struct rb_motion *motion_b,
                            const struct rb_learn_text *text, const struct rb_learn_options *o,
                            struct rb_program **ret, struct rb_error *err)
{
    enum rb_status s = check(text, o, err);
    if (s != RB_OK)
        return s;
    struct rb_learn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to learn maps");
    c->program.ops = &ops;
    c->options = *o;
    c->text = *text;
    c->model = b;
    c->config = &b->config;
    c->best_held = INFINITY;
    c->last_loss = NAN;
    c->theta = rb_blend_pair(a, b, motion_b, 0.5);
    c->theta.terms[0].motion = motion_a;
    c->moved = rb_blend_single(b, motion_b);
    size_t block_size = text->blocks->starts[1] - text->blocks->starts[0];
    c->step_blocks = rb_learn_step_blocks(o->batch_tokens, block_size);
    const struct rb_learn_what what = {o->residual,  {o->query_keys, o->values},
                                       o->stretches, o->scales,
                                       o->orders,    o->head_orders};
    c->near = o->residual && c->config->norm_place == RB_NORM_AFTER_ADDITION;
    rb_motion_uncorrect(motion_b); /* of a stream that stays where it is no more */
    s = rb_learn_maps_init(&c->maps, c->config, motion_b, &what, err);
    if (s == RB_OK)
        s = rb_learn_batch_init(&c->batch, text, c->step_blocks, err);
    if (s == RB_OK)
        s = rb_tape_rotary(c->config, c->batch.block_size, &c->rotary, &c->back, err);
    if (s == RB_OK)
        s = allocate(c, err);
    if (s == RB_OK)
        s = rb_tape_init(&c->tape, c->config, c->step_blocks * block_size, err);
    if (s == RB_OK && c->near)
        s = rb_learn_near_init(c, err);
    if (s == RB_OK)
        s = rb_learn_list_wanted(c, err);
    if (s == RB_OK)
        s = rb_learn_head_init(&c->head, b, c->step_blocks * block_size,
                               rb_learn_folds_output(b, o), err);
    if (s != RB_OK) {
        learn_free(&c->program);
        return s;
    }
    c->head.w = c->head_slots;
    c->program.total_cost = rb_learn_cost(b, o, block_size);
    *ret = &c->program;
    return RB_OK;
}

/* ---- what others see ---- */

uint32_t rb_learn_steps_done(const struct rb_program *p)
{
    return ((const struct rb_learn *)p)->step;
}

const struct rb_learn_look *rb_learn_curve(const struct rb_program *p, size_t *ret_count)
{
    const struct rb_learn *c = (const struct rb_learn *)p;
    *ret_count = c->look_count;
    return c->looks;
}

uint32_t rb_learn_best_step(const struct rb_program *p)
{
    return ((const struct rb_learn *)p)->best_step;
}

double rb_learn_last_loss(const struct rb_program *p)
{
    return ((const struct rb_learn *)p)->last_loss;
}

bool rb_learn_at_step(const struct rb_program *p)
{
    const struct rb_learn *c = (const struct rb_learn *)p;
    return c->round == ROUND_MAPS;
}
