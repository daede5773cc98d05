#include "core/model/weights.h"
#include "core/model/kernels.h"

#include <assert.h>

#include <stdlib.h>

struct rb_weights_item {
    enum rb_slot slot;
    uint32_t layer;
    size_t first, rows;
    float
        *dst; /* NULL: of a pair that takes the tensor as it lies; only the last term's are made */
};

enum { ITEM_FLOATS = 1 << 20, LINE_FLOATS = RB_ALIGNMENT / sizeof(float) };

static size_t padded(size_t floats)
{
    return (floats + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
}

static bool add_item(struct rb_weights *w, struct rb_weights_item item)
{
    if (w->item_count == w->item_capacity) {
        size_t capacity = w->item_capacity == 0 ? 32 : 2 * w->item_capacity;
        struct rb_weights_item *p = realloc(w->items, capacity * sizeof *p);
        if (p == NULL)
            return false;
        w->items = p;
        w->item_capacity = capacity;
    }
    w->items[w->item_count++] = item;
    return true;
}

static bool add_tensor(struct rb_weights *w, const struct rb_blend *blend, enum rb_slot slot,
                       uint32_t layer, float *dst)
{
    size_t rows, columns, block = rb_blend_step(blend, slot, layer);
    rb_model_size(rb_blend_model(blend), slot, &rows, &columns);
    size_t step = columns >= ITEM_FLOATS ? 1 : ITEM_FLOATS / columns;
    if (block < rows) /* whole blocks, so that none is read twice; a dense map's rows are cut */
        step = step / block > 0 ? step / block * block : block;
    for (size_t first = 0; first < rows; first += step) {
        size_t n = rows - first < step ? rows - first : step;
        if (!add_item(w, (struct rb_weights_item){slot, layer, first, n, dst + first * columns}))
            return false;
    }
    return true;
}

enum rb_status rb_weights_begin(struct rb_weights *w, const struct rb_blend *blend,
                                const enum rb_slot *slots, size_t count, uint32_t layer,
                                struct rb_error *err)
{
    const struct rb_model *m = rb_blend_model(blend);
    size_t floats = 0, offset[RB_SLOT_COUNT];
    for (size_t i = 0; i < count; i++) {
        enum rb_slot slot = slots[i];
        size_t rows, columns;
        w->w[slot] = NULL;
        offset[i] = SIZE_MAX;
        if (rb_model_tensor(m, slot, layer) == NULL)
            continue;
        w->w[slot] = rb_blend_direct(blend, slot, layer);
        if (w->w[slot] != NULL)
            continue;
        rb_model_size(m, slot, &rows, &columns);
        offset[i] = floats;
        floats += padded(rows * columns);
    }
    if (floats > w->buffer_floats) {
        free(w->buffer);
        w->buffer = rb_malloc_aligned(floats, sizeof(float));
        w->buffer_floats = w->buffer != NULL ? floats : 0;
        if (w->buffer == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory for a layer's weights (%zu MB)",
                                floats * sizeof(float) / 1000000);
    }
    w->item_count = 0;
    w->last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (offset[i] == SIZE_MAX)
            continue;
        float *dst = w->buffer + offset[i];
        if (!add_tensor(w, blend, slots[i], layer, dst))
            return rb_error_set(err, RB_ENOMEM, "no memory for a list of weights");
        w->w[slots[i]] = dst;
    }
    return RB_OK;
}

static size_t layer_slots(const struct rb_blend *blend, enum rb_slot ret[RB_SLOT_COUNT])
{
    const struct rb_family *f = rb_blend_model(blend)->family;
    size_t n = 0;
    for (enum rb_slot slot = 0; slot < RB_SLOT_COUNT; slot++) {
        const struct rb_tensor_row *row = rb_family_row(f, slot);
        if (row != NULL && row->per_layer)
            ret[n++] = slot;
    }
    return n;
}

enum rb_status rb_weights_begin_layer(struct rb_weights *w, const struct rb_blend *blend,
                                      uint32_t layer, struct rb_error *err)
{
    enum rb_slot slots[RB_SLOT_COUNT];
    return rb_weights_begin(w, blend, slots, layer_slots(blend, slots), layer, err);
}

/* ---- a pair, and its last term alone ---- */

static struct rb_blend end_of(const struct rb_blend *pair, size_t term)
{
    return rb_blend_single(pair->terms[term].model, pair->terms[term].motion);
}

static bool has_items(const struct rb_weights *w, enum rb_slot slot)
{
    for (size_t i = 0; i < w->item_count; i++)
        if (w->items[i].slot == slot)
            return true;
    return false;
}

enum rb_status rb_weights_begin_both(struct rb_weights *w, const struct rb_blend *pair,
                                     struct rb_weights *last, const enum rb_slot *slots,
                                     size_t count, uint32_t layer, struct rb_error *err)
{
    assert(pair->count == 2 && pair->overlay == NULL);
    struct rb_blend moved = end_of(pair, 1);
    enum rb_status s = rb_weights_begin(w, pair, slots, count, layer, err);
    if (s == RB_OK)
        s = rb_weights_begin(last, &moved, slots, count, layer, err);
    if (s != RB_OK)
        return s;
    w->last = last;
    for (size_t i = 0, own = w->item_count; i < last->item_count; i++) {
        struct rb_weights_item item = last->items[i];
        struct rb_weights pairs = {.items = w->items, .item_count = own};
        if (has_items(&pairs, item.slot))
            continue;
        item.dst = NULL;
        if (!add_item(w, item))
            return rb_error_set(err, RB_ENOMEM, "no memory for a list of weights");
    }
    return RB_OK;
}

enum rb_status rb_weights_begin_both_layer(struct rb_weights *w, const struct rb_blend *pair,
                                           struct rb_weights *last, uint32_t layer,
                                           struct rb_error *err)
{
    enum rb_slot slots[RB_SLOT_COUNT];
    return rb_weights_begin_both(w, pair, last, slots, layer_slots(pair, slots), layer, err);
}

static enum rb_status fill_both(const struct rb_weights *w, const struct rb_blend *pair,
                                const struct rb_weights_item *i, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    size_t rows, columns;
    rb_model_size(rb_blend_model(pair), i->slot, &rows, &columns);
    struct rb_blend first = end_of(pair, 0), moved = end_of(pair, 1);
    size_t at = i->first * columns;
    if (has_items(w->last, i->slot)) { /* else its rows are used where they lie */
        float *to = w->last->buffer + (w->last->w[i->slot] - w->last->buffer) + at;
        enum rb_status s =
            rb_blend_rows(&moved, i->slot, i->layer, i->first, i->rows, to, scratch, err);
        if (s != RB_OK || i->dst == NULL)
            return s;
    }
    const float *plain = rb_blend_direct(&first, i->slot, i->layer);
    enum rb_status s = RB_OK;
    if (plain == NULL)
        s = rb_blend_rows(&first, i->slot, i->layer, i->first, i->rows, i->dst, scratch, err);
    if (s == RB_OK)
        rb_kernels()->blend(i->dst, plain != NULL ? plain + at : i->dst,
                            (float)pair->terms[0].weight, w->last->w[i->slot] + at,
                            (float)pair->terms[1].weight, i->rows * columns);
    return s;
}

enum rb_status rb_weights_fill(const struct rb_weights *w, const struct rb_blend *blend,
                               size_t item, struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_weights_item *i = &w->items[item];
    if (w->last != NULL)
        return fill_both(w, blend, i, scratch, err);
    return rb_blend_rows(blend, i->slot, i->layer, i->first, i->rows, i->dst, scratch, err);
}

void rb_weights_deinit(struct rb_weights *w)
{
    free(w->buffer);
    free(w->items);
    *w = (struct rb_weights){0};
}

uint64_t rb_weights_layer_floats(const struct rb_config *c)
{
    uint64_t d = c->hidden_size, inner = c->mlp.inner_size;
    uint64_t q = rb_config_dim(c, RB_DIM_QUERY), kv = rb_config_dim(c, RB_DIM_KEY);
    uint64_t matrices = 2 * q * d + 2 * kv * d + (c->mlp.gated ? 3 : 2) * inner * d;
    uint64_t vectors = q + 2 * kv + 6 * d + inner;
    return matrices + vectors + 16 * (uint64_t)LINE_FLOATS;
}
