#include "core/learn/learn_fold.h"
#include "core/learn/learn_near.h"

#include <cblas.h>
#include <stdlib.h>

enum { GRADIENT_FLOATS = 1 << 18, FOLD_ROWS = 64 };

size_t rb_learn_stream_items(const struct rb_learn *c)
{
    return c->maps.residual ? (c->config->hidden_size + FOLD_ROWS - 1) / FOLD_ROWS : 0;
}

size_t rb_learn_head_items(const struct rb_learn *c)
{
    size_t n = 0;
    for (int k = 0; k < RB_LEARN_KINDS; k++)
        n += c->maps.kinds[k] ? c->maps.kv_heads : 0;
    return n;
}

static const float *moved(const struct rb_learn *c, const struct rb_wanted *w)
{
    return c->weights[c->layer % 2].w[w->slot];
}

/* ---- the stream's G: rows of it are independent ---- */

struct rows {
    size_t first, count;
};

static struct rows fold_rows(const struct rb_learn *c, size_t item)
{
    size_t d = c->config->hidden_size, first = item * FOLD_ROWS;
    return (struct rows){first, d - first < FOLD_ROWS ? d - first : FOLD_ROWS};
}

/* G's rows += theta^T H, theta and H (n, d): what reads the stream. */
static void fold_reader(const struct rb_learn *c, struct rows r, const float *theta, const float *h,
                        size_t n)
{
    int d = (int)c->config->hidden_size;
    float *g = c->maps.matrices[0].g + r.first * c->config->hidden_size;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)r.count, d, (int)n, 1.0f,
                theta + r.first, d, h, d, 1.0f, g, d);
}

/* The same of rows over the batch (learn_fold.h), (tokens, d) both: G's rows += rows^T x. */
static void fold_rows_of(const struct rb_learn *c, struct rows r, const struct rb_wanted *w)
{
    if (w->joins)
        return;
    fold_reader(c, r, w->rows,
                w->reads ? rb_tape_input(&c->tape, w->slot)
                         : rb_tape_output_gradient(&c->tape, w->slot),
                c->tape.tokens);
}

/* G's rows += theta H^T, theta and H (d, n): what writes it. */
static void fold_writer(const struct rb_learn *c, struct rows r, const float *theta, const float *h,
                        size_t n)
{
    int d = (int)c->config->hidden_size, k = (int)n;
    float *g = c->maps.matrices[0].g + r.first * c->config->hidden_size;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)r.count, d, k, 1.0f,
                theta + r.first * n, k, h, k, 1.0f, g, d);
}

void rb_learn_fold_stream(const struct rb_learn *c, size_t item)
{
    for (size_t i = 0; i < c->wanted_count; i++) {
        const struct rb_wanted *w = &c->wanted[i];
        const float *theta = moved(c, w);
        struct rows r = fold_rows(c, item);
        if (w->rows != NULL) {
            fold_rows_of(c, r, w);
            continue;
        }
        if (w->gain)
            rb_learn_near_fold_gain(c, r.first, r.count, 2 * (size_t)c->layer + 1 + (w->norm > 0),
                                    w->h);
        if (w->reads)
            fold_reader(c, r, theta, w->h, w->out);
        if (w->writes)
            fold_writer(c, r, theta, w->h, w->in);
    }
}

void rb_learn_stream_rows(const struct rb_learn *c, const struct rb_tape_call *call)
{
    for (size_t i = 0; i < c->wanted_count; i++) {
        const struct rb_wanted *w = &c->wanted[i];
        if (w->rows != NULL)
            rb_tape_rows(call, w->slot, moved(c, w), w->writes, w->joins,
                         w->rows + call->row * c->config->hidden_size);
    }
}

/* One head matrix of the present layer: its blocks of every tensor that it moves. */
void rb_learn_fold_heads(const struct rb_learn *c, size_t item)
{
    const struct rb_learn_maps *m = &c->maps;
    bool values = !m->kinds[RB_LEARN_QUERY_KEY] || item / m->kv_heads > 0;
    enum rb_learn_kind kind = values ? RB_LEARN_VALUE : RB_LEARN_QUERY_KEY;
    uint32_t kv = (uint32_t)(item % m->kv_heads);
    int dh = (int)m->head_dim;
    float *g = rb_learn_maps_head(m, kind, c->layer, kv)->g;
    for (size_t i = 0; i < c->wanted_count; i++) {
        const struct rb_wanted *w = &c->wanted[i];
        if (w->kind != (int)kind)
            continue;
        size_t units = w->head_columns ? w->in : w->out, blocks = units / m->head_dim;
        size_t copies = blocks / m->kv_heads;
        for (size_t b = kv * copies; b < (kv + 1) * copies; b++) {
            size_t at = b * m->head_dim * (w->head_columns ? 1 : w->in);
            const float *theta = moved(c, w) + at, *h = w->h + at;
            int in = (int)w->in;
            bool keys = w->slot == RB_KEY_WEIGHT || w->slot == RB_KEY_BIAS;
            if (m->stretches && w->head_columns)
                cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, dh, dh, (int)w->out, -1.0f, h,
                            in, theta, in, 1.0f, g, dh);
            else if (m->stretches && keys)
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, dh, dh, in, -1.0f, h, in,
                            theta, in, 1.0f, g, dh);
            else if (w->head_columns)
                cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, dh, dh, (int)w->out, 1.0f,
                            theta, in, h, in, 1.0f, g, dh);
            else
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, dh, dh, in, 1.0f, theta, in, h,
                            in, 1.0f, g, dh);
        }
    }
}

size_t rb_learn_order_items(const struct rb_learn *c)
{
    return c->maps.heads_order.parameters > 0 ? c->maps.heads_order.n : 0;
}

void rb_learn_fold_order(const struct rb_learn *c, size_t item)
{
    const struct rb_learn_maps *m = &c->maps;
    size_t n, at = rb_learn_maps_order_item(m) + c->layer;
    double *dx = m->dx + rb_learn_maps_first(m, at, &n);
    for (size_t i = 0; i < c->wanted_count; i++) {
        const struct rb_wanted *w = &c->wanted[i];
        if (w->kind >= 0)
            rb_learn_head_order_fold(&m->heads_order, c->layer, item, moved(c, w), w->h, w->out,
                                     w->in, w->head_columns, dx);
    }
}

/* ---- FF's units ---- */

size_t rb_learn_unit_items(const struct rb_learn *c)
{
    return c->maps.units.parameters > 0 ? (c->maps.units.n + FOLD_ROWS - 1) / FOLD_ROWS : 0;
}

enum rb_status rb_learn_fold_units(const struct rb_learn *c, size_t item,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_learn_units *u = &c->maps.units;
    size_t first = item * FOLD_ROWS, count = u->n - first < FOLD_ROWS ? u->n - first : FOLD_ROWS, n;
    float *room = rb_scratch_alloc(scratch, u->orders ? count * u->n : 0, sizeof *room);
    if (room == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of %zu units", u->n);
    double *dx = c->maps.dx + rb_learn_maps_first(&c->maps, c->maps.count + c->layer, &n);
    for (size_t i = 0; i < c->wanted_count; i++) {
        const struct rb_wanted *w = &c->wanted[i];
        if (w->units)
            rb_learn_units_fold(u, c->layer, w->part, first, count, moved(c, w), w->h,
                                w->part == RB_UNIT_DOWN ? w->out : w->in, room, dx);
    }
    return RB_OK;
}

/* ---- which gradients are wanted ---- */

static bool of_stream(enum rb_axis axis)
{
    return axis == RB_AXIS_RES_FIRST || axis == RB_AXIS_RES_IN || axis == RB_AXIS_RES_MID ||
           axis == RB_AXIS_RES_OUT || axis == RB_AXIS_RES_LAST;
}

static int head_kind(enum rb_axis axis)
{
    return axis == RB_AXIS_Q || axis == RB_AXIS_K   ? (int)RB_LEARN_QUERY_KEY
           : axis == RB_AXIS_V || axis == RB_AXIS_O ? (int)RB_LEARN_VALUE
                                                    : -1;
}

static void want(struct rb_learn *c, enum rb_slot slot, size_t out, size_t in, bool vector)
{
    const struct rb_tensor_row *row = rb_model_row(c->model, slot);
    struct rb_wanted w = {.slot = slot, .out = out, .in = in, .vector = vector, .norm = -1};
    w.reads = c->maps.residual && !vector && of_stream(row->column_axis);
    w.writes = c->maps.residual && of_stream(row->row_axis);
    int rows = head_kind(row->row_axis), columns = vector ? -1 : head_kind(row->column_axis);
    w.kind = rows >= 0 ? rows : columns;
    if (w.kind >= 0 && !c->maps.kinds[w.kind])
        w.kind = -1;
    w.head_columns = rows < 0;
    bool down = !vector && row->column_axis == RB_AXIS_FF, gate = row->row_axis == RB_AXIS_FF_GATE;
    w.part = down ? RB_UNIT_DOWN : gate ? RB_UNIT_GATE : RB_UNIT_UP;
    w.units = c->maps.units.parameters > 0 && (down || gate || row->row_axis == RB_AXIS_FF);
    if (w.reads || w.writes || w.kind >= 0 || w.units)
        c->wanted[c->wanted_count++] = w;
}

/* Norms on the stream's way: gains move by squares, biases as what is written. */
static void want_norms(struct rb_learn *c)
{
    static const enum rb_slot slots[] = {RB_ATTENTION_NORM_WEIGHT, RB_ATTENTION_NORM_BIAS,
                                         RB_MLP_NORM_WEIGHT, RB_MLP_NORM_BIAS};
    for (int i = 0; i < 4; i++)
        c->wanted[c->wanted_count++] = (struct rb_wanted){.slot = slots[i],
                                                          .vector = true,
                                                          .norm = i,
                                                          .gain = i % 2 == 0,
                                                          .writes = i % 2 == 1,
                                                          .kind = -1,
                                                          .out = c->config->hidden_size,
                                                          .in = 1};
}

/* Only the stream's map asks about a weight: rows of the batch tell it. */
static bool goes_by_rows(const struct rb_wanted *w)
{
    return !w->vector && (w->reads || w->writes) && w->kind < 0 && !w->units;
}

/* An earlier map that reads the same rows; NULL: none. */
static const struct rb_wanted *joined(const struct rb_learn *c, const struct rb_wanted *w)
{
    const float *x = rb_tape_input(&c->tape, w->slot);
    for (const struct rb_wanted *o = c->wanted; o < w; o++)
        if (goes_by_rows(o) && o->reads && w->reads && rb_tape_input(&c->tape, o->slot) == x)
            return o;
    return NULL;
}

/* Where what is kept of each weight lies, from `base` on; ret how much that is. */
static size_t place_wanted(struct rb_learn *c, float *base)
{
    size_t floats = 0, most = c->step_blocks * c->batch.block_size * c->config->hidden_size;
    for (size_t i = 0; i < c->wanted_count; i++) {
        struct rb_wanted *w = &c->wanted[i];
        const struct rb_wanted *with = goes_by_rows(w) ? joined(c, w) : NULL;
        float *here = base != NULL ? base + floats : NULL;
        w->joins = with != NULL;
        w->rows = w->joins ? with->rows : goes_by_rows(w) ? here : NULL;
        w->h = goes_by_rows(w) ? NULL : here;
        floats += w->joins ? 0 : goes_by_rows(w) ? most : w->out * w->in;
    }
    return floats;
}

enum rb_status rb_learn_list_wanted(struct rb_learn *c, struct rb_error *err)
{
    if (c->near)
        want_norms(c);
    for (enum rb_slot s = RB_QUERY_WEIGHT; s < RB_FINAL_NORM_WEIGHT; s++) {
        size_t out, in;
        if (!rb_tape_linear(&c->tape, s, &out, &in))
            continue;
        want(c, s, out, in, false);
        if (rb_model_tensor(c->model, s + 1, 0) != NULL)
            want(c, s + 1, out, 1, true);
    }
    c->gradients = rb_malloc_aligned(place_wanted(c, NULL), sizeof(float));
    if (c->gradients == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer's gradients");
    (void)place_wanted(c, c->gradients);
    return RB_OK;
}

/* Rows of a weight's gradient that make an item; a vector is one. */
static size_t gradient_rows(const struct rb_wanted *w)
{
    size_t rows = GRADIENT_FLOATS / w->in;
    return w->vector || rows >= w->out ? w->out : rows > 0 ? rows : 1;
}

static size_t gradient_parts(const struct rb_wanted *w)
{
    return w->rows != NULL ? 0 : (w->out + gradient_rows(w) - 1) / gradient_rows(w);
}

size_t rb_learn_gradient_items(const struct rb_learn *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->wanted_count; i++)
        n += gradient_parts(&c->wanted[i]);
    return n;
}

void rb_learn_gradient_item(const struct rb_learn *c, size_t item)
{
    size_t i = 0;
    for (size_t parts; item >= (parts = gradient_parts(&c->wanted[i])); i++)
        item -= parts;
    const struct rb_wanted *w = &c->wanted[i];
    size_t first = item * gradient_rows(w), rows = w->out - first;
    rows = rows < gradient_rows(w) ? rows : gradient_rows(w);
    if (w->norm >= 0)
        rb_learn_near_norm(c, w->norm, w->h);
    else if (w->vector)
        rb_tape_bias_gradient(&c->tape, w->slot - 1, w->h);
    else
        rb_tape_gradient(&c->tape, w->slot, first, rows, w->h + first * w->in);
}

enum rb_status rb_learn_fold_output(const struct rb_learn *c, size_t item,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    struct rows r = fold_rows(c, item);
    if (c->model->head_shape->dense != RB_SLOT_NONE)
        return rb_learn_near_fold_hidden(c, r.first, r.count, scratch, err);
    fold_reader(c, r, c->head.dmoved, c->head.z, c->head.rows);
    const float *shift = c->moved_head.w[RB_FINAL_NORM_BIAS];
    if (!c->config->final_norm || shift == NULL)
        return RB_OK;
    size_t d = c->config->hidden_size;
    double *sum = rb_scratch_alloc(scratch, d, sizeof *sum);
    float *h = rb_scratch_alloc(scratch, d, sizeof *h);
    if (sum == NULL || h == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of the final norm");
    rb_learn_head_final_shift(&c->head, sum);
    for (size_t j = 0; j < d; j++)
        h[j] = (float)sum[j];
    fold_writer(c, r, shift, h, 1);
    return RB_OK;
}

enum rb_status rb_learn_fold_embeddings(const struct rb_learn *c, size_t item,
                                        struct rb_scratch *scratch, struct rb_error *err)
{
    struct rows r = fold_rows(c, item);
    fold_reader(c, r, c->embedded, c->dx, rb_learn_tokens(c));
    if (!c->near || c->config->embedding_size != c->config->hidden_size)
        return RB_OK;
    size_t d = c->config->hidden_size;
    float *h = rb_scratch_alloc(scratch, 2 * d, sizeof *h), *shift = h + d;
    if (h == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of the embeddings' norm");
    rb_learn_near_norm(c, 0, h);
    rb_learn_near_fold_gain(c, r.first, r.count, 0, h);
    enum rb_status s =
        rb_blend_rows(&c->moved, RB_EMBEDDINGS_NORM_BIAS, 0, 0, d, shift, scratch, err);
    if (s != RB_OK)
        return s;
    rb_learn_near_norm(c, 1, h);
    fold_writer(c, r, shift, h, 1);
    return RB_OK;
}
