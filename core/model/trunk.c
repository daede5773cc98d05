#include "core/model/trunk.h"

#include <stdlib.h>

void rb_trunk_init(struct rb_trunk *t, const struct rb_blend *blend,
                   const struct rb_sequences *sequences, enum rb_reads reads,
                   enum rb_role head_first, enum rb_role head_last)
{
    *t = (struct rb_trunk){
        .blend = blend,
        .sequences = sequences,
        .reads = reads,
        .head_first = head_first,
        .head_last = head_last,
        .with_head = head_first <= head_last,
    };
}

void rb_trunk_deinit(struct rb_trunk *t)
{
    rb_weights_deinit(&t->head);
    rb_weights_deinit(&t->weights[0]);
    rb_weights_deinit(&t->weights[1]);
    free(t->spans);
    free(t->x);
    free(t->rows);
    free(t->first_row);
    *t = (struct rb_trunk){0};
}

static const struct rb_config *config(const struct rb_trunk *t)
{
    return &rb_blend_model(t->blend)->config;
}

static struct rb_span span_of(const struct rb_trunk *t, size_t i)
{
    return (struct rb_span){t->sequences->starts + t->spans[i], t->spans[i + 1] - t->spans[i]};
}

static float *x_of(const struct rb_trunk *t, size_t span)
{
    size_t first = t->sequences->starts[t->spans[span]] - t->sequences->starts[t->from];
    return t->x + first * config(t)->hidden_size;
}

static bool reads(const struct rb_sequences *s, enum rb_reads what, size_t sequence, size_t token)
{
    return what == RB_READ_ALL || (what == RB_READ_FIRST && token == s->starts[sequence]) ||
           (what == RB_READ_TARGETS && s->targets[token] >= 0);
}

static void list_rows(struct rb_trunk *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->span_count; i++) {
        t->first_row[i] = n;
        size_t first = t->sequences->starts[t->spans[i]];
        for (size_t s = t->spans[i]; s < t->spans[i + 1]; s++)
            for (size_t k = t->sequences->starts[s]; k < t->sequences->starts[s + 1]; k++)
                if (reads(t->sequences, t->reads, s, k))
                    t->rows[n++] = (uint32_t)(k - first);
    }
    t->first_row[t->span_count] = n;
}

static enum rb_status reserve(struct rb_trunk *t, size_t tokens, struct rb_error *err)
{
    size_t floats = tokens * config(t)->hidden_size;
    if (t->span_count + 1 > t->span_capacity) {
        free(t->spans);
        free(t->first_row);
        t->span_capacity = t->span_count + 1;
        t->spans = calloc(t->span_capacity, sizeof *t->spans);
        t->first_row = calloc(t->span_capacity, sizeof *t->first_row);
    }
    if (tokens > t->row_capacity) {
        free(t->rows);
        t->rows = calloc(tokens, sizeof *t->rows);
        t->row_capacity = tokens;
    }
    if (floats > t->x_floats) {
        free(t->x);
        t->x = rb_malloc_aligned(floats, sizeof(float));
        t->x_floats = floats;
    }
    if (t->spans != NULL && t->first_row != NULL && t->rows != NULL && t->x != NULL)
        return RB_OK;
    t->span_capacity = t->row_capacity = t->x_floats = 0;
    return rb_error_set(err, RB_ENOMEM, "no memory for the activations of %zu tokens", tokens);
}

/* Weights of layer l into its buffer, and the head's beside those of the last layer. */
static enum rb_status begin_weights(struct rb_trunk *t, uint32_t l, struct rb_error *err)
{
    uint32_t layers = config(t)->num_hidden_layers;
    t->weights[0].item_count = t->weights[1].item_count = t->head.item_count = 0;
    enum rb_status s = RB_OK;
    if (l < layers)
        s = rb_weights_begin(&t->weights[l % 2], t->blend, RB_QUERY_WEIGHT, RB_OUTPUT_LN_BIAS, l,
                             err);
    if (s == RB_OK && l == layers && t->with_head)
        s = rb_weights_begin(&t->head, t->blend, t->head_first, t->head_last, 0, err);
    return s;
}

static size_t weight_items(const struct rb_trunk *t)
{
    return t->weights[0].item_count + t->weights[1].item_count + t->head.item_count;
}

enum rb_status rb_trunk_begin(struct rb_trunk *t, size_t from, size_t to, size_t *ret_items,
                              struct rb_error *err)
{
    const struct rb_sequences *s = t->sequences;
    t->from = from;
    t->to = to;
    t->span_count = rb_spans_count(s, from, to, RB_CHUNK_TOKENS);
    enum rb_status st = reserve(t, s->starts[to] - s->starts[from], err);
    if (st != RB_OK)
        return st;
    rb_spans_fill(s, from, to, RB_CHUNK_TOKENS, t->spans);
    list_rows(t);
    t->embedding = true;
    t->layer = 0;
    st = begin_weights(t, 0, err);
    if (st == RB_OK)
        *ret_items = weight_items(t) + t->span_count;
    return st;
}

enum rb_status rb_trunk_next(struct rb_trunk *t, size_t *ret_items, struct rb_error *err)
{
    t->layer += !t->embedding;
    t->embedding = false;
    if (t->layer == config(t)->num_hidden_layers) {
        *ret_items = 0;
        return RB_OK;
    }
    enum rb_status s = begin_weights(t, t->layer + 1, err);
    if (s == RB_OK)
        *ret_items = weight_items(t) + t->span_count;
    return s;
}

static enum rb_status weights_item(struct rb_trunk *t, size_t item, struct rb_scratch *scratch,
                                   struct rb_error *err)
{
    const struct rb_weights *sets[] = {&t->weights[0], &t->weights[1], &t->head};
    size_t i = 0;
    while (item >= sets[i]->item_count)
        item -= sets[i++]->item_count;
    return rb_weights_fill(sets[i], t->blend, item, scratch, err);
}

enum rb_status rb_trunk_item(struct rb_trunk *t, size_t item, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    size_t others = weight_items(t); /* first, so that no long item is left for the end */
    if (item < others)
        return weights_item(t, item, scratch, err);
    item -= others;
    struct rb_span span = span_of(t, item);
    if (t->embedding)
        return rb_forward_embed(t->blend, t->sequences, &span, x_of(t, item), scratch, err);
    bool last = t->layer + 1 == config(t)->num_hidden_layers;
    const struct rb_layer_call call = {
        .config = config(t),
        .weights = &t->weights[t->layer % 2],
        .span = span,
        .rows = last && t->reads != RB_READ_ALL ? t->rows + t->first_row[item] : NULL,
        .row_count = t->first_row[item + 1] - t->first_row[item],
    };
    if (call.rows != NULL && call.row_count == 0)
        return RB_OK;
    return rb_forward_layer(&call, x_of(t, item), scratch, err);
}

size_t rb_trunk_rows(const struct rb_trunk *t)
{
    return t->first_row[t->span_count];
}

const float *rb_trunk_row(const struct rb_trunk *t, size_t span, size_t i)
{
    return x_of(t, span) + (i - t->first_row[span]) * config(t)->hidden_size;
}

/* What the last layer costs when only some rows are read. */
static double last_layer_flops(const struct rb_config *c, const struct rb_sequences *s,
                               enum rb_reads what, size_t from, size_t to)
{
    double d = c->hidden_size, inner = c->intermediate_size, flops = 0;
    for (size_t q = from; q < to; q++) {
        double n = (double)(s->starts[q + 1] - s->starts[q]), m = 0;
        for (size_t k = s->starts[q]; k < s->starts[q + 1]; k++)
            m += reads(s, what, q, k);
        flops += n * 4 * d * d + m * (4 * d * d + 4 * d * inner) + 4 * d * n * m;
    }
    return flops;
}

double rb_trunk_item_cost(const struct rb_trunk *t, size_t item)
{
    size_t others = weight_items(t);
    if (item < others || t->embedding)
        return 0;
    item -= others;
    struct rb_span span = span_of(t, item);
    if (t->layer + 1 == config(t)->num_hidden_layers)
        return last_layer_flops(config(t), t->sequences, t->reads, t->spans[item],
                                t->spans[item + 1]);
    return rb_layer_flops(config(t), span.starts, span.count);
}

double rb_trunk_flops(const struct rb_config *c, const struct rb_sequences *s, enum rb_reads what,
                      size_t from, size_t to)
{
    return rb_layer_flops(c, s->starts + from, to - from) * (c->num_hidden_layers - 1) +
           last_layer_flops(c, s, what, from, to);
}

size_t rb_slab_end(const struct rb_sequences *s, size_t from, size_t tokens)
{
    size_t to = from;
    while (to < s->count && (to == from || s->starts[to + 1] - s->starts[from] <= tokens))
        to++;
    return to;
}
