#include "core/model/head.h"
#include "core/model/activation.h"
#include "core/model/linear.h"
#include "core/model/norm.h"

#include <assert.h>
#include <string.h>

uint32_t rb_head_width(const struct rb_model *m)
{
    size_t rows = m->config.hidden_size, columns;
    if (m->head_shape != NULL && m->head_shape->dense != RB_SLOT_NONE)
        rb_model_size(m, m->head_shape->dense, &rows, &columns);
    return (uint32_t)rows;
}

uint32_t rb_head_outputs(const struct rb_model *m)
{
    size_t rows = m->config.hidden_size, columns;
    if (m->head_shape != NULL)
        rb_model_size(m, m->head_shape->output, &rows, &columns);
    return (uint32_t)rows;
}

enum rb_reads rb_head_reads(const struct rb_model *m)
{
    if (m->head == RB_HEAD_CLASSIFIER)
        return m->head_shape->last_token ? RB_READ_LAST : RB_READ_FIRST;
    return m->head == RB_HEAD_DISCRIMINATOR ? RB_READ_ALL : RB_READ_TARGETS;
}

bool rb_head_per_sequence(const struct rb_model *m)
{
    return m->head == RB_HEAD_CLASSIFIER;
}

enum rb_status rb_head_begin(struct rb_weights *w, const struct rb_blend *blend,
                             struct rb_error *err)
{
    const struct rb_head_shape *h = rb_blend_model(blend)->head_shape;
    enum rb_slot slots[6];
    size_t n = 0;
    const enum rb_slot weights[] = {h != NULL ? h->dense : RB_SLOT_NONE,
                                    h != NULL ? h->norm : RB_SLOT_NONE, RB_FINAL_NORM_WEIGHT};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (weights[i] != RB_SLOT_NONE) {
            slots[n++] = weights[i];
            slots[n++] = weights[i] + 1;
        }
    return rb_weights_begin(w, blend, slots, n, 0, err);
}

enum rb_status rb_head_apply(const struct rb_model *m, const struct rb_weights *w, const float *x,
                             size_t rows, float *y, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    const struct rb_head_shape *h = m->head_shape;
    size_t d = m->config.hidden_size, width = rb_head_width(m);
    if (h == NULL || h->dense == RB_SLOT_NONE) {
        if (m->config.final_norm)
            rb_norm(&m->config, y, x, NULL, NULL, w->w[RB_FINAL_NORM_WEIGHT],
                    w->w[RB_FINAL_NORM_BIAS], rows, d);
        else
            memmove(y, x, rows * d * sizeof(float));
        return RB_OK;
    }
    assert(!m->config.final_norm); /* no family has both */
    float *hidden = rb_scratch_alloc(scratch, rows * width, sizeof(float));
    if (hidden == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the head of %zu rows", rows);
    rb_linear(x, rows, d, w->w[h->dense], width, hidden);
    rb_activate(h->activation != RB_ACTIVATION_NONE ? h->activation : m->config.head_activation,
                hidden, w->w[h->dense + 1], rows, width);
    if (h->norm == RB_SLOT_NONE)
        memcpy(y, hidden, rows * width * sizeof(float));
    else
        rb_norm(&m->config, y, hidden, NULL, NULL, w->w[h->norm], w->w[h->norm + 1], rows, width);
    return RB_OK;
}

enum rb_status rb_head_read_tile(const struct rb_blend *blend, size_t first, size_t count,
                                 struct rb_head_tile *ret, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    const struct rb_model *m = rb_blend_model(blend);
    enum rb_slot output = m->head_shape->output;
    float *weight = rb_scratch_alloc(scratch, count * rb_head_width(m), sizeof(float));
    float *bias = rb_scratch_alloc(scratch, count, sizeof(float));
    if (weight == NULL || bias == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a tile of the head's output");
    enum rb_status s = rb_blend_rows(blend, output, 0, first, count, weight, scratch, err);
    if (s == RB_OK && rb_model_tensor(m, output + 1, 0) != NULL)
        s = rb_blend_rows(blend, output + 1, 0, first, count, bias, scratch, err);
    else
        memset(bias, 0, count * sizeof *bias);
    if (s == RB_OK)
        *ret = (struct rb_head_tile){weight, bias};
    return s;
}

double rb_head_hidden_cost(const struct rb_model *m)
{
    if (m->head_shape == NULL || m->head_shape->dense == RB_SLOT_NONE)
        return 0;
    return 2.0 * m->config.hidden_size * rb_head_width(m);
}

double rb_head_logits_cost(const struct rb_model *m)
{
    return 2.0 * rb_head_width(m) * rb_head_outputs(m);
}
