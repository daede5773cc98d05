#include "core/model/overlay.h"
#include "core/memory.h"

#include <stdlib.h>

enum rb_status rb_overlay_init(struct rb_overlay *ret, const struct rb_model *m,
                               struct rb_error *err)
{
    struct rb_overlay o = {.layers = m->config.num_hidden_layers};
    o.values = calloc((size_t)RB_SLOT_COUNT * o.layers, sizeof(float *));
    if (o.values == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a merged model's own weights");
    *ret = o;
    return RB_OK;
}

void rb_overlay_deinit(struct rb_overlay *o)
{
    for (size_t i = 0; o->values != NULL && i < (size_t)RB_SLOT_COUNT * o->layers; i++)
        free(o->values[i]);
    free(o->values);
    *o = (struct rb_overlay){0};
}

enum rb_status rb_overlay_add(struct rb_overlay *o, const struct rb_model *m, enum rb_slot slot,
                              uint32_t layer, struct rb_error *err)
{
    size_t rows, columns;
    float **at = &o->values[(size_t)slot * o->layers + layer];
    if (*at != NULL)
        return RB_OK;
    rb_model_size(m, slot, &rows, &columns);
    *at = rb_calloc_aligned(rows * columns, sizeof(float));
    return *at != NULL
               ? RB_OK
               : rb_error_set(err, RB_ENOMEM, "no memory for %zu of a merged model's own weights",
                              rows * columns);
}

float *rb_overlay_at(const struct rb_overlay *o, enum rb_slot slot, uint32_t layer)
{
    return o->values[(size_t)slot * o->layers + layer];
}
