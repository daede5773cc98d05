#include "core/model/blend.h"
#include "core/model/kernels.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

enum rb_status rb_motion_init(struct rb_motion *m, uint32_t layers, struct rb_error *err)
{
    struct rb_motion out = {.layers = layers};
    out.index = calloc((size_t)RB_AXIS_COUNT * layers, sizeof out.index[0]);
    out.rotation = calloc(layers, sizeof out.rotation[0]);
    out.value_rotation = calloc(layers, sizeof out.value_rotation[0]);
    if (out.index == NULL || out.rotation == NULL || out.value_rotation == NULL) {
        rb_motion_deinit(&out);
        return rb_error_set(err, RB_ENOMEM, "no memory for the permutation table");
    }
    *m = out;
    return RB_OK;
}

void rb_motion_deinit(struct rb_motion *m)
{
    free(m->index);
    free(m->rotation);
    free(m->value_rotation);
    *m = (struct rb_motion){0};
}

/* How one tensor of B moves. */
struct move {
    const uint32_t *rows, *columns;
    const float *row_rotation, *column_rotation; /* (heads, d_h, d_h) */
};

static struct move move_of(const struct rb_blend *blend, const struct rb_tensor_row *row,
                           uint32_t layer)
{
    struct move v = {0};
    const struct rb_motion *m = blend->motion;
    if (m == NULL)
        return v;
    v.rows = m->index[(size_t)row->row_axis * m->layers + layer];
    v.columns = m->index[(size_t)row->column_axis * m->layers + layer];
    if (row->row_axis == RB_AXIS_QK)
        v.row_rotation = m->rotation[layer];
    else if (row->row_axis == RB_AXIS_MHA)
        v.row_rotation = m->value_rotation[layer];
    else if (row->column_axis == RB_AXIS_MHA)
        v.column_rotation = m->value_rotation[layer];
    return v;
}

static void convert_row(const struct rb_tensor *t, size_t row, size_t columns, float *dst)
{
    size_t bytes = rb_dtype_bytes(t->dtype) * columns;
    rb_dtype_to_f32(t->dtype, (const unsigned char *)t->data + row * bytes, dst, columns);
}

/* One row of B with its permutations; tmp: (columns). */
static void moved_row(const struct rb_tensor *t, const struct move *v, size_t row, size_t columns,
                      float *tmp, float *dst)
{
    size_t from = v->rows != NULL ? v->rows[row] : row;
    if (v->columns == NULL) {
        convert_row(t, from, columns, dst);
        return;
    }
    convert_row(t, from, columns, tmp);
    for (size_t j = 0; j < columns; j++)
        dst[j] = tmp[v->columns[j]];
}

/* Rows [first, first + rows) of B moved, where the rows of a head are mixed by R:
 * new row r of head h = sum_s R[s][r] * permuted row s. */
static enum rb_status rotated_rows(const struct rb_tensor *t, const struct move *v, size_t dh,
                                   size_t first, size_t rows, size_t columns, float *dst,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    float *head = rb_scratch_alloc(scratch, dh * columns, sizeof(float));
    float *tmp = rb_scratch_alloc(scratch, columns, sizeof(float));
    if (head == NULL || tmp == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head");
    for (size_t done = 0; done < rows;) {
        size_t h = (first + done) / dh, inside = (first + done) % dh;
        size_t n = dh - inside < rows - done ? dh - inside : rows - done;
        for (size_t s = 0; s < dh; s++)
            moved_row(t, v, h * dh + s, columns, tmp, head + s * columns);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)columns, (int)dh, 1.0f,
                    v->row_rotation + h * dh * dh + inside, (int)dh, head, (int)columns, 0.0f,
                    dst + done * columns, (int)columns);
        done += n;
    }
    return RB_OK;
}

/* The columns of each head times S: W'[:, h] = W[:, h] S_h. In place over (rows, columns). */
static enum rb_status rotate_columns(const float *rotation, size_t dh, size_t rows, size_t columns,
                                     float *w, struct rb_scratch *scratch, struct rb_error *err)
{
    float *old = rb_scratch_alloc(scratch, rows * columns, sizeof(float));
    if (old == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to rotate a head");
    memcpy(old, w, rows * columns * sizeof(float));
    for (size_t c = 0; c < columns; c += dh)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)dh, (int)dh, 1.0f,
                    old + c, (int)columns, rotation + c * dh, (int)dh, 0.0f, w + c, (int)columns);
    return RB_OK;
}

/* Which rows are asked for: first, first + 1, … or, with a list, those it names. */
struct rows {
    size_t first, count;
    const int32_t *list;
};

static inline size_t row_at(const struct rows *r, size_t i)
{
    return r->list != NULL ? (size_t)r->list[i] : r->first + i;
}

static enum rb_status rows_of_b(const struct rb_blend *blend, const struct rb_tensor *t,
                                const struct rb_tensor_row *row, uint32_t layer,
                                const struct rows *rows, size_t columns, float *dst,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = &blend->b->config;
    size_t dh = c->hidden_size / c->num_attention_heads;
    struct move v = move_of(blend, row, layer);
    if (v.row_rotation != NULL)
        return rotated_rows(t, &v, dh, rows->first, rows->count, columns, dst, scratch, err);
    float *tmp = NULL;
    if (v.columns != NULL) {
        tmp = rb_scratch_alloc(scratch, columns, sizeof(float));
        if (tmp == NULL)
            return rb_error_set(err, RB_ENOMEM, "no memory to permute a row");
    }
    for (size_t i = 0; i < rows->count; i++)
        moved_row(t, &v, row_at(rows, i), columns, tmp, dst + i * columns);
    if (v.column_rotation != NULL)
        return rotate_columns(v.column_rotation, dh, rows->count, columns, dst, scratch, err);
    return RB_OK;
}

const struct rb_model *rb_blend_model(const struct rb_blend *blend)
{
    return blend->a != NULL ? blend->a : blend->b;
}

static bool only_a(const struct rb_blend *blend)
{
    return blend->lambda <= 0 || blend->b == NULL;
}

static bool only_b(const struct rb_blend *blend)
{
    return blend->lambda >= 1 || blend->a == NULL;
}

static enum rb_status blend_rows(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                                 const struct rows *rows, float *dst, struct rb_scratch *scratch,
                                 struct rb_error *err)
{
    const struct rb_model *model = rb_blend_model(blend);
    const struct rb_tensor_row *row = &model->arch->rows[role];
    size_t columns = (size_t)rb_config_dim(&model->config, row->columns);
    if (!only_a(blend)) {
        const struct rb_tensor *t = rb_model_tensor(blend->b, role, layer);
        enum rb_status s = rows_of_b(blend, t, row, layer, rows, columns, dst, scratch, err);
        if (s != RB_OK || only_b(blend))
            return s;
    }
    const struct rb_tensor *t = rb_model_tensor(blend->a, role, layer);
    if (only_a(blend)) {
        for (size_t i = 0; i < rows->count; i++)
            convert_row(t, row_at(rows, i), columns, dst + i * columns);
        return RB_OK;
    }
    float *tmp = rb_scratch_alloc(scratch, columns, sizeof(float));
    if (tmp == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to interpolate a row");
    float wa = (float)(1 - blend->lambda), wb = (float)blend->lambda;
    const struct rb_kernels *k = rb_kernels();
    for (size_t i = 0; i < rows->count; i++) {
        convert_row(t, row_at(rows, i), columns, tmp);
        k->blend(dst + i * columns, tmp, wa, dst + i * columns, wb, columns);
    }
    return RB_OK;
}

enum rb_status rb_blend_rows(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                             size_t first, size_t rows, float *dst, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    const struct rows r = {.first = first, .count = rows};
    return blend_rows(blend, role, layer, &r, dst, scratch, err);
}

enum rb_status rb_blend_gather(const struct rb_blend *blend, enum rb_role role, const int32_t *ids,
                               size_t count, float *dst, struct rb_scratch *scratch,
                               struct rb_error *err)
{
    const struct rows r = {.count = count, .list = ids};
    return blend_rows(blend, role, 0, &r, dst, scratch, err);
}

const float *rb_blend_direct(const struct rb_blend *blend, enum rb_role role, uint32_t layer)
{
    const struct rb_model *m = only_a(blend) ? blend->a : only_b(blend) ? blend->b : NULL;
    if (m == NULL)
        return NULL;
    if (m == blend->b && !only_a(blend)) {
        struct move v = move_of(blend, &m->arch->rows[role], layer);
        if (v.rows != NULL || v.columns != NULL || v.row_rotation != NULL)
            return NULL;
    }
    const struct rb_tensor *t = rb_model_tensor(m, role, layer);
    return t->dtype == RB_F32 && (uintptr_t)t->data % sizeof(float) == 0 ? t->data : NULL;
}
