/* Bringing the tensors of one layer or head to F32, in parts that a pool can share. */
#include "core/model/forward.h"

#include <stdlib.h>

struct rb_weights_item {
    enum rb_role role;
    uint32_t layer;
    size_t first, rows;
    float *dst;
};

enum { ITEM_FLOATS = 1 << 20, LINE_FLOATS = RB_ALIGNMENT / sizeof(float) };

static size_t tensor_floats(const struct rb_model *m, enum rb_role role)
{
    const struct rb_tensor_row *row = &m->arch->rows[role];
    return (size_t)rb_config_dim(&m->config, row->rows) *
           (size_t)rb_config_dim(&m->config, row->columns);
}

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

static bool add_tensor(struct rb_weights *w, const struct rb_blend *blend, enum rb_role role,
                       uint32_t layer, float *dst)
{
    const struct rb_model *m = rb_blend_model(blend);
    const struct rb_tensor_row *row = &m->arch->rows[role];
    size_t rows = (size_t)rb_config_dim(&m->config, row->rows);
    size_t columns = (size_t)rb_config_dim(&m->config, row->columns);
    size_t step = columns >= ITEM_FLOATS ? 1 : ITEM_FLOATS / columns;
    size_t block = rb_blend_step(blend, role, layer);
    if (block < rows) /* whole blocks, so that none is read twice; a dense map's rows are cut */
        step = step / block > 0 ? step / block * block : block;
    for (size_t first = 0; first < rows; first += step) {
        size_t n = rows - first < step ? rows - first : step;
        if (!add_item(w, (struct rb_weights_item){role, layer, first, n, dst + first * columns}))
            return false;
    }
    return true;
}

enum rb_status rb_weights_begin(struct rb_weights *w, const struct rb_blend *blend,
                                enum rb_role first, enum rb_role last, uint32_t layer,
                                struct rb_error *err)
{
    const struct rb_model *m = rb_blend_model(blend);
    size_t floats = 0;
    for (enum rb_role r = first; r <= last; r++) {
        w->w[r] = rb_blend_direct(blend, r, layer);
        if (w->w[r] == NULL)
            floats += padded(tensor_floats(m, r));
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
    size_t used = 0;
    for (enum rb_role r = first; r <= last; r++) {
        if (w->w[r] != NULL)
            continue;
        if (!add_tensor(w, blend, r, layer, w->buffer + used))
            return rb_error_set(err, RB_ENOMEM, "no memory for a list of weights");
        w->w[r] = w->buffer + used;
        used += padded(tensor_floats(m, r));
    }
    return RB_OK;
}

enum rb_status rb_weights_fill(const struct rb_weights *w, const struct rb_blend *blend,
                               size_t item, struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_weights_item *i = &w->items[item];
    return rb_blend_rows(blend, i->role, i->layer, i->first, i->rows, i->dst, scratch, err);
}

void rb_weights_deinit(struct rb_weights *w)
{
    free(w->buffer);
    free(w->items);
    *w = (struct rb_weights){0};
}

uint64_t rb_weights_layer_floats(const struct rb_config *c)
{
    uint64_t d = c->hidden_size, i = c->intermediate_size;
    return 4 * d * d + 2 * d * i + 9 * d + i + 16 * (uint64_t)LINE_FLOATS;
}
