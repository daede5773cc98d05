#include "core/model/tensors.h"

size_t rb_tensor_stored_row(const struct rb_config *c, const struct rb_tensor_row *row, size_t r)
{
    size_t rows = (size_t)rb_config_dim(c, row->rows), dh = c->attention.head_dim;
    switch (row->view.layout) {
    case RB_LAYOUT_PLAIN:
        return r;
    case RB_LAYOUT_PART:
    case RB_LAYOUT_TRANSPOSED:
        return row->view.part * rows + r;
    case RB_LAYOUT_BY_HEAD:
        return (r / dh * row->view.parts + row->view.part) * dh + r % dh;
    }
    return r;
}

static const void *element(const struct rb_tensor *t, size_t i)
{
    return (const unsigned char *)t->data + i * rb_dtype_bytes(t->dtype);
}

/* Columns of the stored tensor become rows: one stored row at a time, as far as it is asked for. */
static enum rb_status read_transposed(const struct rb_tensor *t, size_t offset, size_t columns,
                                      const struct rb_rows *rows, float *dst,
                                      struct rb_scratch *scratch, struct rb_error *err)
{
    size_t width = (size_t)t->shape[1], low = SIZE_MAX, end = 0;
    for (size_t i = 0; i < rows->count; i++) {
        size_t r = rb_row_at(rows, i);
        low = r < low ? r : low;
        end = r >= end ? r + 1 : end;
    }
    if (rows->count == 0)
        return RB_OK;
    float *line = rb_scratch_alloc(scratch, end - low, sizeof(float));
    if (line == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to read tensor '%s'", t->name);
    for (size_t j = 0; j < columns; j++) {
        rb_dtype_to_f32(t->dtype, element(t, j * width + offset + low), line, end - low);
        for (size_t i = 0; i < rows->count; i++)
            dst[i * columns + j] = line[rb_row_at(rows, i) - low];
    }
    return RB_OK;
}

enum rb_status rb_tensor_read(const struct rb_model *m, enum rb_slot slot, uint32_t layer,
                              const struct rb_rows *rows, float *dst, struct rb_scratch *scratch,
                              struct rb_error *err)
{
    const struct rb_tensor *t = rb_model_tensor(m, slot, layer);
    const struct rb_tensor_row *row = rb_model_row(m, slot);
    size_t columns = (size_t)rb_config_dim(&m->config, row->columns);
    if (row->view.layout == RB_LAYOUT_TRANSPOSED && row->columns != RB_DIM_NONE)
        return read_transposed(t, rb_tensor_stored_row(&m->config, row, 0), columns, rows, dst,
                               scratch, err);
    if (rows->list == NULL && row->view.layout != RB_LAYOUT_BY_HEAD) {
        size_t first = rb_tensor_stored_row(&m->config, row, rows->first) * columns;
        rb_dtype_to_f32(t->dtype, element(t, first), dst, rows->count * columns);
        return RB_OK;
    }
    for (size_t i = 0; i < rows->count; i++) {
        size_t r = rb_tensor_stored_row(&m->config, row, rb_row_at(rows, i));
        rb_dtype_to_f32(t->dtype, element(t, r * columns), dst + i * columns, columns);
    }
    return RB_OK;
}

const float *rb_tensor_direct(const struct rb_model *m, enum rb_slot slot, uint32_t layer)
{
    const struct rb_tensor *t = rb_model_tensor(m, slot, layer);
    const struct rb_tensor_row *row = rb_model_row(m, slot);
    bool vector = row->columns == RB_DIM_NONE;
    if (t->dtype != RB_F32 || row->view.layout == RB_LAYOUT_BY_HEAD ||
        (row->view.layout == RB_LAYOUT_TRANSPOSED && !vector))
        return NULL;
    size_t columns = (size_t)rb_config_dim(&m->config, row->columns);
    const void *p = element(t, rb_tensor_stored_row(&m->config, row, 0) * columns);
    return (uintptr_t)p % sizeof(float) == 0 ? p : NULL;
}
