#include "core/model/attention.h"
#include "core/model/causal.h"
#include "core/model/kernels.h"
#include "core/model/linear.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

struct attention {
    const struct rb_layer_call *call;
    const float *q;     /* (output rows, heads * d_h) */
    const float *k, *v; /* (tokens, kv_heads * d_h) */
    float *out;         /* (output rows, heads * d_h) */
    float *scratch; /* both ways: (longest sequence, longest sequence); causal: rb_causal_floats */
    uint32_t *positions; /* causal, where the call names rows: (longest sequence) */
    size_t q_width, k_width;
};

/* One head of one sequence: tokens [first, first + n) of the span, output rows [row, row + m). */
static void attend(const struct attention *a, size_t head, size_t first, size_t n, size_t row,
                   size_t m)
{
    const struct rb_attention *g = &a->call->config->attention;
    size_t dh = g->head_dim, at = head * dh, group = g->heads / g->kv_heads;
    size_t kv_at = first * a->k_width + head / group * dh, qw = a->q_width;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)dh, 1.0f,
                a->q + row * qw + at, (int)qw, a->k + kv_at, (int)a->k_width, 0.0f, a->scratch,
                (int)n);
    rb_kernels()->softmax(a->scratch, m, n, n, 1.0f / sqrtf((float)dh));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)dh, (int)n, 1.0f,
                a->scratch, (int)n, a->v + kv_at, (int)a->k_width, 0.0f, a->out + row * qw + at,
                (int)qw);
}

static struct rb_causal causal_of(const struct rb_layer_call *call)
{
    const struct rb_attention *g = &call->config->attention;
    float scale = g->unscaled ? 1 : 1.0f / sqrtf((float)g->head_dim);
    return (struct rb_causal){
        .heads = g->heads,
        .kv_heads = g->kv_heads,
        .head_dim = g->head_dim,
        .scale = g->scale_by_layer ? scale / (float)(call->layer + 1) : scale,
        .rotary = g->rope.dims > 0 ? call->rotary : NULL,
    };
}

/* All heads of one sequence, as attend(). */
static void attend_causal(const struct attention *a, size_t first, size_t n, size_t row, size_t m)
{
    const struct rb_causal c = causal_of(a->call);
    const uint32_t *rows = NULL;
    if (a->call->rows != NULL) {
        for (size_t i = 0; i < m; i++)
            a->positions[i] = (uint32_t)(a->call->rows[row + i] - first);
        rows = a->positions;
    }
    rb_causal_attend(&c, a->q + row * a->q_width, a->k + first * a->k_width,
                     a->v + first * a->k_width, n, rows, m, a->out + row * a->q_width, a->scratch);
}

static void attend_all(const struct attention *a)
{
    const struct rb_layer_call *call = a->call;
    const struct rb_span *span = &call->span;
    size_t row = 0;
    for (size_t s = 0; s < span->count; s++) {
        size_t first = span->starts[s] - span->starts[0];
        size_t n = span->starts[s + 1] - span->starts[s];
        size_t m = n;
        if (call->rows != NULL)
            for (m = 0; row + m < call->row_count && call->rows[row + m] < first + n;)
                m++;
        if (m > 0 && call->config->attention.causal)
            attend_causal(a, first, n, row, m);
        else if (m > 0)
            for (size_t h = 0; h < call->config->attention.heads; h++)
                attend(a, h, first, n, row, m);
        row += m;
    }
}

/* y (rows, out) = x w^T + b, where the model has a bias; its slot follows the weight's. */
static void project(const struct rb_layer_call *call, enum rb_slot weight, const float *x,
                    size_t rows, size_t out, float *y)
{
    const float *bias = call->weights->w[weight + 1];
    rb_linear(x, rows, call->config->hidden_size, call->weights->w[weight], out, y);
    if (bias != NULL)
        rb_kernels()->add_bias(y, bias, rows, out);
}

static void keep(float *tap, const float *from, size_t floats)
{
    if (tap != NULL)
        memcpy(tap, from, floats * sizeof(float));
}

void rb_attention_keep_rows(const struct rb_layer_call *call, float *x, size_t n)
{
    if (call->rows != NULL)
        for (size_t i = 0; i < call->row_count;
             i++) /* ascending: never overwrites one still read */
            memmove(x + i * n, x + call->rows[i] * n, n * sizeof(float));
}

enum rb_status rb_attention_forward(const struct rb_layer_call *call, float *in, float *y,
                                    struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const struct rb_kernels *kernels = rb_kernels();
    size_t n = rb_span_tokens(&call->span), rows = rb_layer_rows(call);
    size_t most = rb_span_longest(&call->span);
    size_t q_width = (size_t)rb_config_dim(c, RB_DIM_QUERY);
    size_t k_width = (size_t)rb_config_dim(c, RB_DIM_KEY);
    float *q = rb_scratch_alloc(scratch, rows * q_width, sizeof(float));
    float *k = rb_layer_place(call->taps.k, n * k_width, scratch);
    float *v = rb_layer_place(call->taps.v, n * k_width, scratch);
    float *mha = rb_layer_place(call->taps.mha, rows * q_width, scratch);
    const struct rb_causal causal = causal_of(call);
    size_t floats = c->attention.causal ? rb_causal_floats(&causal, most) : most * most;
    float *work = rb_scratch_alloc(scratch, floats, sizeof(float));
    uint32_t *positions = rb_scratch_alloc(scratch, most, sizeof *positions);
    if (!q || !k || !v || !mha || !work || !positions)
        return rb_error_set(err, RB_ENOMEM, "no memory for attention over %zu tokens", n);

    project(call, RB_KEY_WEIGHT, in, n, k_width, k);
    project(call, RB_VALUE_WEIGHT, in, n, k_width, v);
    rb_attention_keep_rows(call, in, c->hidden_size);
    project(call, RB_QUERY_WEIGHT, in, rows, q_width, q);
    if (c->attention.query_key_norm) {
        kernels->rms_norm(q, q, call->weights->w[RB_QUERY_NORM], c->norm_eps, rows, q_width);
        kernels->rms_norm(k, k, call->weights->w[RB_KEY_NORM], c->norm_eps, n, k_width);
    }
    keep(call->taps.q, q, rows * q_width);

    attend_all(&(struct attention){call, q, k, v, mha, work, positions, q_width, k_width});
    rb_linear(mha, rows, q_width, call->weights->w[RB_ATTENTION_OUTPUT_WEIGHT], c->hidden_size, y);
    return RB_OK;
}
