#include "core/learn/learn_head.h"
#include "core/memory.h"
#include "core/model/activation.h"
#include "core/model/kernels.h"
#include "core/model/linear.h"
#include "core/model/norm.h"

#include "core/learn/slopes.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_ROWS = 64, CHUNK_ROWS = 256, TILE_OUTPUTS = 1024, TILE_WIDTH = 192 };

static size_t groups_of(size_t rows)
{
    return (rows + GROUP_ROWS - 1) / GROUP_ROWS;
}

static size_t tiles_of(const struct rb_learn_head *h)
{
    return (h->outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS;
}

static const struct rb_head_shape *shape(const struct rb_learn_head *h)
{
    return h->model->head_shape;
}

static bool has_dense(const struct rb_learn_head *h)
{
    return shape(h)->dense != RB_SLOT_NONE;
}

static size_t lay_out(struct rb_learn_head *h, size_t rows, float *block)
{
    const struct rb_config *c = &h->model->config;
    size_t d = c->hidden_size, w = h->width;
    bool dense = has_dense(h), norm = shape(h)->norm != RB_SLOT_NONE;
    const struct {
        float **at;
        size_t floats;
    } buffers[] = {
        {&h->x, rows * d},
        {&h->normed, c->final_norm ? rows * d : 0},
        {&h->before, dense ? rows * w : 0},
        {&h->after, dense && norm ? rows * w : 0},
        {&h->z, rows * w},
        {&h->dz, rows * w},
        {&h->logits, h->chunk_rows * h->outputs},
        {&h->dmoved, h->want_output ? rows * w : 0},
    };
    size_t per_line = RB_ALIGNMENT / sizeof(float), used = 0;
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        *buffers[i].at = block != NULL ? block + used : NULL;
        used += (buffers[i].floats + per_line - 1) / per_line * per_line;
    }
    return used;
}

static struct rb_learn_head sized(const struct rb_model *m, size_t rows, bool want_output)
{
    return (struct rb_learn_head){
        .model = m,
        .row_capacity = rows,
        .width = rb_head_width(m),
        .outputs = rb_head_outputs(m),
        .chunk_rows = rows < CHUNK_ROWS ? rows : CHUNK_ROWS,
        .want_output = want_output,
    };
}

uint64_t rb_learn_head_bytes(const struct rb_model *m, size_t rows, bool want_output)
{
    struct rb_learn_head h = sized(m, rows, want_output);
    return lay_out(&h, rows, NULL) * sizeof(float);
}

enum rb_status rb_learn_head_init(struct rb_learn_head *ret, const struct rb_model *m, size_t rows,
                                  bool want_output, struct rb_error *err)
{
    if (m->head != RB_HEAD_MLM && m->head != RB_HEAD_CAUSAL)
        return rb_error_set(err, RB_EHEAD,
                            "learning maps needs models that predict tokens (a masked or causal "
                            "language model's head)");
    struct rb_learn_head h = sized(m, rows, want_output);
    h.block = rb_malloc_aligned(lay_out(&h, rows, NULL), sizeof(float));
    h.tokens = calloc(rows + 1, sizeof *h.tokens);
    h.targets = calloc(rows + 1, sizeof *h.targets);
    h.losses = calloc(rows + 1 + (groups_of(rows) + 1) * m->config.hidden_size, sizeof *h.losses);
    if (h.block == NULL || h.tokens == NULL || h.targets == NULL || h.losses == NULL) {
        rb_learn_head_deinit(&h);
        return rb_error_set(err, RB_ENOMEM, "no memory for the logits of %zu rows", rows);
    }
    h.dshift = h.losses + rows + 1;
    (void)lay_out(&h, rows, h.block);
    *ret = h;
    return RB_OK;
}

void rb_learn_head_deinit(struct rb_learn_head *h)
{
    free(h->block);
    free(h->tokens);
    free(h->targets);
    free(h->losses);
    *h = (struct rb_learn_head){0};
}

size_t rb_learn_head_slots(const struct rb_model *m, enum rb_slot ret[8])
{
    const struct rb_head_shape *s = m->head_shape;
    const enum rb_slot weights[] = {m->config.final_norm ? RB_FINAL_NORM_WEIGHT : RB_SLOT_NONE,
                                    s->dense, s->norm, s->output};
    size_t n = 0;
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        for (int bias = 0; weights[i] != RB_SLOT_NONE && bias < 2; bias++)
            if (rb_model_tensor(m, weights[i] + (enum rb_slot)bias, 0) != NULL)
                ret[n++] = weights[i] + (enum rb_slot)bias;
    return n;
}

void rb_learn_head_begin(struct rb_learn_head *h, const struct rb_sequences *s)
{
    size_t tokens = s->starts[s->count];
    h->rows = 0;
    h->chunk_first = h->chunk_count = 0;
    for (size_t t = 0; t < tokens; t++)
        if (s->targets[t] >= 0) {
            h->tokens[h->rows] = (uint32_t)t;
            h->targets[h->rows++] = s->targets[t];
        }
}

/* ---- the hidden layer ---- */

struct group {
    size_t first, rows;
};

static struct group group_of(size_t item, size_t rows)
{
    size_t first = item * GROUP_ROWS;
    return (struct group){first, rows - first < GROUP_ROWS ? rows - first : GROUP_ROWS};
}

static enum rb_activation activation(const struct rb_learn_head *h)
{
    return shape(h)->activation != RB_ACTIVATION_NONE ? shape(h)->activation
                                                      : h->model->config.head_activation;
}

size_t rb_learn_head_hidden_items(const struct rb_learn_head *h)
{
    return groups_of(h->rows);
}

void rb_learn_head_hidden(struct rb_learn_head *h, size_t item, const float *x)
{
    const struct rb_config *c = &h->model->config;
    struct group g = group_of(item, h->rows);
    size_t d = c->hidden_size, w = h->width;
    float *rows = h->x + g.first * d, *z = h->z + g.first * w;
    for (size_t i = 0; i < g.rows; i++)
        memcpy(rows + i * d, x + h->tokens[g.first + i] * d, d * sizeof(float));
    if (c->final_norm) {
        float *normed = h->normed + g.first * d;
        rb_norm(c, normed, rows, NULL, NULL, h->w[RB_FINAL_NORM_WEIGHT], h->w[RB_FINAL_NORM_BIAS],
                g.rows, d);
        rows = normed;
    }
    if (!has_dense(h)) {
        memcpy(z, rows, g.rows * w * sizeof(float));
        return;
    }
    float *before = h->before + g.first * w;
    rb_linear(rows, g.rows, d, h->w[shape(h)->dense], w, before);
    rb_kernels()->add_bias(before, h->w[shape(h)->dense + 1], g.rows, w);
    float *after = shape(h)->norm != RB_SLOT_NONE ? h->after + g.first * w : z;
    memcpy(after, before, g.rows * w * sizeof(float));
    rb_activate(activation(h), after, NULL, g.rows, w);
    if (after != z)
        rb_norm(c, z, after, NULL, NULL, h->w[shape(h)->norm], h->w[shape(h)->norm + 1], g.rows, w);
}

enum rb_status rb_learn_head_hidden_back(struct rb_learn_head *h, size_t item, float *dx,
                                         struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = &h->model->config;
    struct group g = group_of(item, h->rows);
    size_t d = c->hidden_size, w = h->width;
    float *dz = h->dz + g.first * w;
    float *rows = rb_scratch_alloc(scratch, g.rows * d, sizeof(float));
    if (rows == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of the head");
    if (has_dense(h)) {
        if (shape(h)->norm != RB_SLOT_NONE)
            rb_norm_back(c, h->w[shape(h)->norm], h->after + g.first * w, dz, g.rows, w, NULL, NULL,
                         dz);
        rb_slope(activation(h))(dz, h->before + g.first * w, g.rows * w);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)g.rows, (int)d, (int)w, 1.0f,
                    dz, (int)w, h->w[shape(h)->dense], (int)d, 0.0f, rows, (int)d);
    } else {
        memcpy(rows, dz, g.rows * d * sizeof(float));
    }
    if (c->final_norm) {
        double *shift = h->dshift + item * d;
        memset(shift, 0, d * sizeof *shift);
        rb_norm_back(c, h->w[RB_FINAL_NORM_WEIGHT], h->x + g.first * d, rows, g.rows, d, NULL,
                     shift, rows);
    }
    for (size_t i = 0; i < g.rows; i++)
        memcpy(dx + h->tokens[g.first + i] * d, rows + i * d, d * sizeof(float));
    return RB_OK;
}

void rb_learn_head_final_shift(const struct rb_learn_head *h, double *ret)
{
    size_t d = h->model->config.hidden_size;
    memset(ret, 0, d * sizeof *ret);
    for (size_t g = 0; g < groups_of(h->rows); g++)
        for (size_t j = 0; j < d; j++)
            ret[j] += h->dshift[g * d + j];
}

/* ---- logits ---- */

bool rb_learn_head_next_chunk(struct rb_learn_head *h)
{
    h->chunk_first += h->chunk_count;
    size_t left = h->rows - h->chunk_first;
    h->chunk_count = left < h->chunk_rows ? left : h->chunk_rows;
    return h->chunk_count > 0;
}

struct tile {
    size_t first, outputs;
};

static struct tile tile_of(const struct rb_learn_head *h, size_t item)
{
    size_t first = item * TILE_OUTPUTS, left = h->outputs - first;
    return (struct tile){first, left < TILE_OUTPUTS ? left : TILE_OUTPUTS};
}

size_t rb_learn_head_logits_items(const struct rb_learn_head *h)
{
    return tiles_of(h);
}

void rb_learn_head_logits(struct rb_learn_head *h, size_t item)
{
    struct tile t = tile_of(h, item);
    size_t w = h->width;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)h->chunk_count, (int)t.outputs,
                (int)w, 1.0f, h->z + h->chunk_first * w, (int)w,
                h->w[shape(h)->output] + t.first * w, (int)w, 0.0f, h->logits + t.first,
                (int)h->outputs);
}

size_t rb_learn_head_softmax_items(const struct rb_learn_head *h)
{
    return (h->chunk_count + GROUP_ROWS / 4 - 1) / (GROUP_ROWS / 4);
}

/* One row of logits: its loss, and in their place the gradient of the step's mean loss. */
static void softmax_row(struct rb_learn_head *h, size_t row)
{
    const struct rb_kernels *k = rb_kernels();
    float *x = h->logits + (row - h->chunk_first) * h->outputs, top, sum;
    const float *bias = h->w[shape(h)->output + 1];
    size_t target = (size_t)h->targets[row];
    if (bias != NULL)
        k->add_bias(x, bias, 1, h->outputs);
    float at_target = x[target];
    k->max_sum_exp(x, NULL, h->outputs, &top, &sum);
    h->losses[row] = log((double)sum) + (double)top - (double)at_target;
    (void)k->exp_sum(x, h->outputs, 1);
    float scale = 1 / (sum * (float)h->rows);
    k->blend(x, x, scale, x, 0, h->outputs);
    x[target] -= 1 / (float)h->rows;
}

void rb_learn_head_softmax(struct rb_learn_head *h, size_t item)
{
    size_t step = GROUP_ROWS / 4, end = h->chunk_first + h->chunk_count;
    for (size_t row = h->chunk_first + item * step, i = 0; i < step && row < end; i++, row++)
        softmax_row(h, row);
}

/* One row's logits with the output's bias. */
static float *biased_row(const struct rb_learn_head *h, size_t row)
{
    float *x = h->logits + (row - h->chunk_first) * h->outputs;
    const float *bias = h->w[shape(h)->output + 1];
    if (bias != NULL)
        rb_kernels()->add_bias(x, bias, 1, h->outputs);
    return x;
}

/* x (n) <- softmax(x); returns log of the sum of exp(x). */
static double normalise(float *x, size_t n)
{
    const struct rb_kernels *k = rb_kernels();
    float top, sum;
    k->max_sum_exp(x, NULL, n, &top, &sum);
    (void)k->exp_sum(x, n, 1);
    k->blend(x, x, 1 / sum, x, 0, n);
    return log((double)sum) + (double)top;
}

static void distil_row(struct rb_learn_head *h, struct rb_learn_head *const *teachers, size_t count,
                       double *crosses, size_t row)
{
    const struct rb_kernels *k = rb_kernels();
    size_t n = h->outputs;
    float *q = biased_row(h, row), *p = biased_row(teachers[0], row), share = 1 / (float)h->rows;
    for (size_t i = 1; i < count; i++)
        k->blend(p, p, 1, biased_row(teachers[i], row), 1, n);
    k->blend(p, p, 1 / (float)count, p, 0, n);
    double distance = 0, at_target = (double)q[h->targets[row]];
    /* sum of p (log p - log q) = (sum of p (t - s)) - log Z_t + log Z_s, t and s the logits; p is
     * not there yet, so the sum is over exp(t - log Z_t) */
    float top, sum;
    k->max_sum_exp(p, NULL, n, &top, &sum);
    double log_t = log((double)sum) + (double)top;
    for (size_t i = 0; i < n; i++)
        distance += exp((double)p[i] - log_t) * (double)(p[i] - q[i]);
    (void)normalise(p, n);
    double log_s = normalise(q, n);
    h->losses[row] = distance - log_t + log_s;
    crosses[row] = log_s - at_target;
    k->blend(q, q, share, p, -share, n);
}

void rb_learn_head_distil(struct rb_learn_head *h, struct rb_learn_head *const *teachers,
                          size_t count, double *crosses, size_t item)
{
    size_t step = GROUP_ROWS / 4, end = h->chunk_first + h->chunk_count;
    for (size_t row = h->chunk_first + item * step, i = 0; i < step && row < end; i++, row++)
        distil_row(h, teachers, count, crosses, row);
}

/* Columns of the gradient of all rows of a chunk: so the output weight is read once. */
static size_t back_tiles(const struct rb_learn_head *h)
{
    return (h->width + TILE_WIDTH - 1) / TILE_WIDTH;
}

size_t rb_learn_head_back_items(const struct rb_learn_head *h)
{
    return back_tiles(h) * (h->want_output ? 2 : 1);
}

void rb_learn_head_back(struct rb_learn_head *h, size_t item)
{
    bool own = item < back_tiles(h);
    size_t first = item % back_tiles(h) * TILE_WIDTH, left = h->width - first;
    size_t columns = left < TILE_WIDTH ? left : TILE_WIDTH, at = h->chunk_first * h->width + first;
    const float *w = own ? h->w[shape(h)->output] : h->moved;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)h->chunk_count, (int)columns,
                (int)h->outputs, 1.0f, h->logits, (int)h->outputs, w + first, (int)h->width, 0.0f,
                (own ? h->dz : h->dmoved) + at, (int)h->width);
}

double rb_learn_head_loss(const struct rb_learn_head *h)
{
    double sum = 0;
    for (size_t i = 0; i < h->rows; i++)
        sum += h->losses[i];
    return h->rows > 0 ? sum / (double)h->rows : 0;
}
