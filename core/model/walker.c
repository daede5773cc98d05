#include "core/model/walker.h"
#include "core/model/embed.h"

#include <assert.h>
#include <stdlib.h>

enum rb_status rb_walker_init(struct rb_walker *w, const struct rb_blend *blends, size_t count,
                              const struct rb_sequences *sequences,
                              const struct rb_walker_options *o, struct rb_error *err)
{
    struct rb_walker_side *sides = calloc(count, sizeof *sides);
    if (sides == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a forward pass");
    for (size_t i = 0; i < count; i++)
        sides[i].blend = &blends[i];
    *w = (struct rb_walker){
        .sides = sides,
        .side_count = count,
        .config = &rb_blend_model(&blends[0])->config,
        .sequences = sequences,
        .options = *o,
    };
    const struct rb_span all = {sequences->starts, sequences->count};
    if (w->config->attention.rope.dims == 0 || sequences->count == 0)
        return RB_OK;
    enum rb_status s =
        rb_rotary_init(&w->config->attention.rope, rb_span_longest(&all), &w->rotary, err);
    if (s != RB_OK)
        rb_walker_deinit(w);
    return s;
}

void rb_walker_deinit(struct rb_walker *w)
{
    for (size_t i = 0; i < w->side_count; i++) {
        struct rb_walker_side *s = &w->sides[i];
        rb_weights_deinit(&s->head);
        rb_weights_deinit(&s->weights[0]);
        rb_weights_deinit(&s->weights[1]);
        free(s->x);
        free(s->basis);
    }
    rb_rotary_deinit(&w->rotary);
    free(w->sides);
    free(w->spans);
    free(w->rows);
    free(w->first_row);
    *w = (struct rb_walker){0};
}

struct rb_span rb_walker_span(const struct rb_walker *w, size_t i)
{
    return (struct rb_span){w->sequences->starts + w->spans[i], w->spans[i + 1] - w->spans[i]};
}

size_t rb_walker_offset(const struct rb_walker *w, size_t span, size_t columns)
{
    return (w->sequences->starts[w->spans[span]] - w->sequences->starts[w->from]) * columns;
}

static float *x_of(const struct rb_walker *w, size_t side, size_t span)
{
    size_t first = w->options.whole ? w->sequences->starts[0] : w->sequences->starts[w->from];
    return w->sides[side].x +
           (w->sequences->starts[w->spans[span]] - first) * w->config->hidden_size;
}

/* ---- which rows are read ---- */

size_t rb_walker_last_token(const struct rb_config *c, const struct rb_sequences *s,
                            size_t sequence)
{
    size_t first = s->starts[sequence], t = s->starts[sequence + 1];
    while (t-- > first)
        if (!c->has_padding_token || s->ids[t] != (int32_t)c->padding_token)
            return t;
    return first;
}

static bool reads(const struct rb_config *c, const struct rb_sequences *s, enum rb_reads what,
                  size_t sequence, size_t token)
{
    switch (what) {
    case RB_READ_ALL:
        return true;
    case RB_READ_FIRST:
        return token == s->starts[sequence];
    case RB_READ_LAST:
        return token == rb_walker_last_token(c, s, sequence);
    case RB_READ_TARGETS:
        return s->targets[token] >= 0;
    }
    return false;
}

static void list_rows(struct rb_walker *w)
{
    const struct rb_sequences *q = w->sequences;
    size_t n = 0;
    for (size_t i = 0; i < w->span_count; i++) {
        w->first_row[i] = n;
        size_t first = q->starts[w->spans[i]];
        for (size_t s = w->spans[i]; s < w->spans[i + 1]; s++)
            for (size_t k = q->starts[s]; k < q->starts[s + 1]; k++)
                if (reads(w->config, q, w->options.reads, s, k))
                    w->rows[n++] = (uint32_t)(k - first);
    }
    w->first_row[w->span_count] = n;
}

size_t rb_walker_rows(const struct rb_walker *w)
{
    return w->first_row[w->span_count];
}

const float *rb_walker_row(const struct rb_walker *w, size_t side, size_t span, size_t i)
{
    return x_of(w, side, span) + (i - w->first_row[span]) * w->config->hidden_size;
}

/* ---- rounds ---- */

static enum rb_status reserve_spans(struct rb_walker *w, struct rb_error *err)
{
    if (w->span_count + 1 <= w->span_capacity)
        return RB_OK;
    free(w->spans);
    free(w->first_row);
    w->span_capacity = w->span_count + 1;
    w->spans = calloc(w->span_capacity, sizeof *w->spans);
    w->first_row = calloc(w->span_capacity, sizeof *w->first_row);
    if (w->spans != NULL && w->first_row != NULL)
        return RB_OK;
    w->span_capacity = 0;
    return rb_error_set(err, RB_ENOMEM, "no memory for a list of spans");
}

static bool reserve_floats(float **p, size_t floats)
{
    free(*p);
    *p = rb_malloc_aligned(floats, sizeof(float));
    return *p != NULL;
}

static enum rb_status reserve_tokens(struct rb_walker *w, size_t tokens, struct rb_error *err)
{
    size_t kept = w->options.whole ? rb_sequences_tokens(w->sequences) : tokens;
    if (tokens <= w->token_capacity)
        return RB_OK;
    free(w->rows);
    w->rows = calloc(tokens, sizeof *w->rows);
    bool ok = w->rows != NULL;
    for (size_t i = 0; i < w->side_count && ok; i++) {
        if (!w->options.whole || w->sides[i].x == NULL) /* else it holds all, for good */
            ok = reserve_floats(&w->sides[i].x, kept * w->config->hidden_size);
        if (ok && w->options.keep_basis)
            ok = reserve_floats(&w->sides[i].basis, tokens * w->config->embedding_size);
    }
    w->token_capacity = ok ? tokens : 0;
    if (ok)
        return RB_OK;
    return rb_error_set(err, RB_ENOMEM, "no memory for the activations of %zu tokens", tokens);
}

static struct rb_weights *weights_of(const struct rb_walker *w, size_t side, uint32_t layer)
{
    return &w->sides[side].weights[w->options.ahead ? layer % 2 : 0];
}

static size_t weight_items(const struct rb_walker *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->side_count; i++) {
        const struct rb_walker_side *s = &w->sides[i];
        n += s->weights[0].item_count + s->weights[1].item_count + s->head.item_count;
    }
    return n;
}

static void clear_items(struct rb_walker *w)
{
    for (size_t i = 0; i < w->side_count; i++) {
        struct rb_walker_side *s = &w->sides[i];
        s->weights[0].item_count = s->weights[1].item_count = s->head.item_count = 0;
    }
}

/* Items for the weights of layer l, as far as there is one, and for the head's: with `ahead` in the
 * round of the last layer, which brings none of its own, else with the last layer's. */
static enum rb_status begin_weights(struct rb_walker *w, uint32_t l, struct rb_error *err)
{
    uint32_t layers = w->config->num_hidden_layers;
    bool head = w->options.with_head && l == (w->options.ahead ? layers : layers - 1);
    enum rb_status s = RB_OK;
    clear_items(w);
    for (size_t i = 0; i < w->side_count && s == RB_OK; i++) {
        if (l < layers)
            s = rb_weights_begin_layer(weights_of(w, i, l), w->sides[i].blend, l, err);
        if (s == RB_OK && head)
            s = rb_head_begin(&w->sides[i].head, w->sides[i].blend, err);
    }
    return s;
}

static size_t layer_items(const struct rb_walker *w)
{
    return weight_items(w) + w->side_count * w->span_count;
}

static enum rb_status cut_slab(struct rb_walker *w, size_t from, size_t to, struct rb_error *err)
{
    const struct rb_sequences *q = w->sequences;
    w->from = from;
    w->to = to;
    size_t chunk = rb_chunk_tokens(q->starts[to] - q->starts[from], w->side_count);
    w->span_count = rb_spans_count(q, from, to, chunk);
    enum rb_status s = reserve_spans(w, err);
    if (s == RB_OK)
        s = reserve_tokens(w, q->starts[to] - q->starts[from], err);
    if (s != RB_OK)
        return s;
    rb_spans_fill(q, from, to, chunk, w->spans);
    list_rows(w);
    return RB_OK;
}

enum rb_status rb_walker_begin(struct rb_walker *w, size_t from, size_t to, size_t *ret_items,
                               struct rb_error *err)
{
    enum rb_status s = cut_slab(w, from, to, err);
    if (s != RB_OK)
        return s;
    w->embedding = true;
    w->layer = 0;
    s = begin_weights(w, 0, err);
    if (s == RB_OK)
        *ret_items = layer_items(w);
    return s;
}

enum rb_status rb_walker_resume(struct rb_walker *w, size_t from, size_t to, uint32_t layer,
                                size_t *ret_items, struct rb_error *err)
{
    assert(layer > 0 && !w->options.ahead);
    enum rb_status s = cut_slab(w, from, to, err);
    if (s != RB_OK)
        return s;
    w->embedding = true;
    w->layer = layer;
    s = begin_weights(w, layer, err);
    if (s == RB_OK)
        *ret_items = weight_items(w);
    return s;
}

enum rb_status rb_walker_next(struct rb_walker *w, size_t *ret_items, struct rb_error *err)
{
    w->layer += !w->embedding;
    w->embedding = false;
    if (w->layer == w->config->num_hidden_layers) {
        *ret_items = 0;
        return RB_OK;
    }
    enum rb_status s = RB_OK;
    if (w->options.ahead)
        s = begin_weights(w, w->layer + 1, err);
    else
        clear_items(w);
    if (s == RB_OK)
        *ret_items = layer_items(w);
    return s;
}

enum rb_status rb_walker_prepare(struct rb_walker *w, size_t *ret_items, struct rb_error *err)
{
    clear_items(w);
    enum rb_status s = RB_OK;
    if (w->layer + 1 < w->config->num_hidden_layers)
        s = begin_weights(w, w->layer + 1, err);
    if (s == RB_OK)
        *ret_items = weight_items(w);
    return s;
}

enum rb_status rb_walker_prepare_item(struct rb_walker *w, size_t item, struct rb_scratch *scratch,
                                      struct rb_error *err)
{
    for (size_t i = 0; i < w->side_count; i++) {
        struct rb_walker_side *s = &w->sides[i];
        const struct rb_weights *sets[] = {&s->weights[0], &s->weights[1], &s->head};
        for (size_t k = 0; k < sizeof sets / sizeof sets[0]; k++) {
            if (item < sets[k]->item_count)
                return rb_weights_fill(sets[k], s->blend, item, scratch, err);
            item -= sets[k]->item_count;
        }
    }
    return RB_OK;
}

/* ---- items ---- */

static struct rb_visit visit_of(const struct rb_walker *w, size_t item)
{
    return (struct rb_visit){item % w->side_count, item / w->side_count, w->layer};
}

static enum rb_status embed_item(struct rb_walker *w, const struct rb_visit *at,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_walker_side *side = &w->sides[at->side];
    struct rb_span span = rb_walker_span(w, at->span);
    float *basis = w->options.keep_basis
                       ? side->basis + rb_walker_offset(w, at->span, w->config->embedding_size)
                       : NULL;
    return rb_embed(side->blend, w->sequences, &span, x_of(w, at->side, at->span), basis, scratch,
                    err);
}

static enum rb_status layer_item(struct rb_walker *w, const struct rb_visit *at,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_walker_taps *taps = &w->options.taps;
    float *x = x_of(w, at->side, at->span);
    bool some = at->layer + 1 == w->config->num_hidden_layers && w->options.reads != RB_READ_ALL;
    struct rb_layer_call call = {
        .config = w->config,
        .weights = weights_of(w, at->side, at->layer),
        .rotary = &w->rotary,
        .layer = at->layer,
        .span = rb_walker_span(w, at->span),
        .rows = some ? w->rows + w->first_row[at->span] : NULL,
        .row_count = w->first_row[at->span + 1] - w->first_row[at->span],
    };
    if (some && call.row_count == 0)
        return RB_OK;
    enum rb_status s = RB_OK;
    if (taps->before != NULL)
        s = taps->before(taps->owner, at, x, &call, scratch, err);
    if (s == RB_OK)
        s = rb_layer_forward(&call, x, scratch, err);
    if (s == RB_OK && taps->after != NULL)
        s = taps->after(taps->owner, at, x, &call.taps, scratch, err);
    return s;
}

enum rb_status rb_walker_item(struct rb_walker *w, size_t item, struct rb_scratch *scratch,
                              struct rb_error *err)
{
    size_t others = weight_items(w); /* first, so that no long item is left for the end */
    if (item < others)
        return rb_walker_prepare_item(w, item, scratch, err);
    struct rb_visit at = visit_of(w, item - others);
    return w->embedding ? embed_item(w, &at, scratch, err) : layer_item(w, &at, scratch, err);
}

/* ---- what it costs ---- */

/* The last layer, of which only some rows are read. */
static double last_layer_flops(const struct rb_config *c, const struct rb_sequences *s,
                               enum rb_reads what, size_t from, size_t to)
{
    double flops = 0;
    for (size_t q = from; q < to; q++) {
        double n = (double)(s->starts[q + 1] - s->starts[q]), m = 0, pairs = 0;
        for (size_t k = s->starts[q]; k < s->starts[q + 1]; k++)
            if (reads(c, s, what, q, k)) {
                m++;
                pairs += c->attention.causal ? (double)(k - s->starts[q] + 1) : n;
            }
        flops += rb_layer_cost(c, n, m, pairs);
    }
    return flops;
}

double rb_walker_item_cost(const struct rb_walker *w, size_t item)
{
    size_t others = weight_items(w);
    if (item < others || w->embedding)
        return 0;
    struct rb_visit at = visit_of(w, item - others);
    struct rb_span span = rb_walker_span(w, at.span);
    if (w->layer + 1 == w->config->num_hidden_layers)
        return last_layer_flops(w->config, w->sequences, w->options.reads, w->spans[at.span],
                                w->spans[at.span + 1]);
    return rb_layer_flops(w->config, span.starts, span.count);
}

double rb_walker_flops(const struct rb_config *c, const struct rb_sequences *s, enum rb_reads what,
                       size_t from, size_t to)
{
    return rb_layer_flops(c, s->starts + from, to - from) * (c->num_hidden_layers - 1) +
           last_layer_flops(c, s, what, from, to);
}
