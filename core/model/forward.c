#include "core/model/forward.h"
#include "core/model/kernels.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void rb_linear(const float *x, size_t rows, size_t in, const float *w, size_t out, float *y)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1.0f, x,
                (int)in, w, (int)in, 0.0f, y, (int)out);
}

/* ---- spans ---- */

/* Spans of about equal size, none of them much longer than asked for: a short one at the end would
 * be a product at half the rate. */
static size_t next_span(const struct rb_sequences *s, size_t from, size_t to, size_t tokens)
{
    size_t rest = s->starts[to] - s->starts[from], spans = (rest + tokens - 1) / tokens;
    size_t end = from;
    while (end < to && (s->starts[end] - s->starts[from]) * spans < rest)
        end++;
    return end;
}

size_t rb_spans_count(const struct rb_sequences *s, size_t from, size_t to, size_t tokens)
{
    size_t n = 0;
    for (; from < to; from = next_span(s, from, to, tokens))
        n++;
    return n;
}

void rb_spans_fill(const struct rb_sequences *s, size_t from, size_t to, size_t tokens,
                   size_t *firsts)
{
    for (; from < to; from = next_span(s, from, to, tokens))
        *firsts++ = from;
    *firsts = to;
}

/* ---- embeddings ---- */

enum rb_status rb_forward_embed(const struct rb_blend *blend, const struct rb_sequences *s,
                                const struct rb_span *span, float *x, struct rb_scratch *scratch,
                                struct rb_error *err)
{
    const struct rb_config *c = &rb_blend_model(blend)->config;
    size_t d = c->hidden_size, n = rb_span_tokens(span), first = span->starts[0];
    float *more = rb_scratch_alloc(scratch, n * d, sizeof(float));
    int32_t *ids = rb_scratch_alloc(scratch, n, sizeof *ids);
    float *norm = rb_scratch_alloc(scratch, 2 * d, sizeof(float));
    if (more == NULL || ids == NULL || norm == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the embeddings of %zu tokens", n);
    enum rb_status st =
        rb_blend_gather(blend, RB_WORD_EMBEDDINGS, s->ids + first, n, x, scratch, err);
    for (size_t q = 0; q < span->count; q++)
        for (size_t t = span->starts[q]; t < span->starts[q + 1]; t++)
            ids[t - first] = (int32_t)(t - span->starts[q]);
    const struct rb_kernels *k = rb_kernels();
    if (st == RB_OK)
        st = rb_blend_gather(blend, RB_POSITION_EMBEDDINGS, ids, n, more, scratch, err);
    if (st != RB_OK)
        return st;
    k->blend(x, x, 1.0f, more, 1.0f, n * d);
    for (size_t t = 0; t < n; t++)
        ids[t] = s->types[first + t];
    st = rb_blend_gather(blend, RB_TYPE_EMBEDDINGS, ids, n, more, scratch, err);
    if (st == RB_OK)
        st = rb_blend_rows(blend, RB_EMBEDDINGS_LN_WEIGHT, 0, 0, d, norm, scratch, err);
    if (st == RB_OK)
        st = rb_blend_rows(blend, RB_EMBEDDINGS_LN_BIAS, 0, 0, d, norm + d, scratch, err);
    if (st != RB_OK)
        return st;
    k->layer_norm(x, x, NULL, more, norm, norm + d, c->layer_norm_eps, n, d);
    return RB_OK;
}

/* ---- one layer ---- */

struct attention {
    const struct rb_layer_call *call;
    const float *q, *k, *v; /* q: (output rows, d); k, v: (tokens, d) */
    float *out;             /* (output rows, d) */
    float *scores;          /* (longest sequence, longest sequence) */
};

/* One head of one sequence: tokens [first, first + n) of the span, output rows [row, row + m). */
static void attend(const struct attention *a, size_t head, size_t first, size_t n, size_t row,
                   size_t m)
{
    const struct rb_config *c = a->call->config;
    size_t d = c->hidden_size, dh = d / c->num_attention_heads, offset = head * dh;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)dh, 1.0f,
                a->q + row * d + offset, (int)d, a->k + first * d + offset, (int)d, 0.0f, a->scores,
                (int)n);
    rb_kernels()->softmax(a->scores, m, n, n, 1.0f / sqrtf((float)dh));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)dh, (int)n, 1.0f, a->scores,
                (int)n, a->v + first * d + offset, (int)d, 0.0f, a->out + row * d + offset, (int)d);
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
        if (m > 0)
            for (size_t h = 0; h < call->config->num_attention_heads; h++)
                attend(a, h, first, n, row, m);
        row += m;
    }
}

static size_t longest(const struct rb_span *span)
{
    size_t most = 0;
    for (size_t s = 0; s < span->count; s++) {
        size_t n = span->starts[s + 1] - span->starts[s];
        most = n > most ? n : most;
    }
    return most;
}

static void project(const float *x, size_t rows, size_t d, const struct rb_weights *w,
                    enum rb_role weight, float *y)
{
    rb_linear(x, rows, d, w->w[weight], d, y);
    rb_kernels()->add_bias(y, w->w[weight + 1], rows,
                           d); /* the table has each bias after its weight */
}

static void keep(float *tap, const float *from, size_t floats)
{
    if (tap != NULL)
        memcpy(tap, from, floats * sizeof(float));
}

/* Features that nothing overwrites later are computed where the tap wants them. */
static float *place(float *tap, size_t floats, struct rb_scratch *scratch)
{
    return tap != NULL ? tap : rb_scratch_alloc(scratch, floats, sizeof(float));
}

enum rb_status rb_forward_layer(const struct rb_layer_call *call, float *x,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = call->config;
    const struct rb_weights *w = call->weights;
    const struct rb_kernels *kernels = rb_kernels();
    size_t d = c->hidden_size, inner = c->intermediate_size, n = rb_span_tokens(&call->span);
    size_t rows = call->rows != NULL ? call->row_count : n, most = longest(&call->span);
    float *q = rb_scratch_alloc(scratch, rows * d, sizeof(float));
    float *k = place(call->taps.k, n * d, scratch);
    float *v = rb_scratch_alloc(scratch, n * d, sizeof(float));
    float *mha = place(call->taps.mha, rows * d, scratch);
    float *scores = rb_scratch_alloc(scratch, most * most, sizeof(float));
    float *ff = place(call->taps.ff, rows * inner, scratch);
    if (q == NULL || k == NULL || v == NULL || mha == NULL || scores == NULL || ff == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer over %zu tokens", n);

    project(x, n, d, w, RB_KEY_WEIGHT, k);
    project(x, n, d, w, RB_VALUE_WEIGHT, v);
    if (call->rows != NULL)
        for (size_t i = 0; i < rows; i++) /* ascending: never overwrites a row still to be read */
            memmove(x + i * d, x + call->rows[i] * d, d * sizeof(float));
    project(x, rows, d, w, RB_QUERY_WEIGHT, q);
    keep(call->taps.q, q, rows * d);

    attend_all(&(struct attention){call, q, k, v, mha, scores});
    rb_linear(mha, rows, d, w->w[RB_ATTENTION_OUTPUT_WEIGHT], d, q); /* q has been read */
    kernels->layer_norm(x, q, w->w[RB_ATTENTION_OUTPUT_BIAS], x, w->w[RB_ATTENTION_LN_WEIGHT],
                        w->w[RB_ATTENTION_LN_BIAS], c->layer_norm_eps, rows, d);
    keep(call->taps.middle, x, rows * d);

    rb_linear(x, rows, d, w->w[RB_INTERMEDIATE_WEIGHT], inner, ff);
    kernels->bias_gelu(ff, w->w[RB_INTERMEDIATE_BIAS], rows, inner);
    if (call->stop_after_ff)
        return RB_OK;
    rb_linear(ff, rows, inner, w->w[RB_OUTPUT_WEIGHT], d, q);
    kernels->layer_norm(x, q, w->w[RB_OUTPUT_BIAS], x, w->w[RB_OUTPUT_LN_WEIGHT],
                        w->w[RB_OUTPUT_LN_BIAS], c->layer_norm_eps, rows, d);
    return RB_OK;
}

/* ---- heads ---- */

enum rb_status rb_forward_transform(const struct rb_config *c, const struct rb_weights *w, float *x,
                                    size_t rows, struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = c->hidden_size;
    float *y = rb_scratch_alloc(scratch, rows * d, sizeof(float));
    if (y == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the MLM transform of %zu rows", rows);
    const struct rb_kernels *k = rb_kernels();
    rb_linear(x, rows, d, w->w[RB_TRANSFORM_WEIGHT], d, y);
    k->bias_gelu(y, w->w[RB_TRANSFORM_BIAS], rows, d);
    k->layer_norm(x, y, NULL, NULL, w->w[RB_TRANSFORM_LN_WEIGHT], w->w[RB_TRANSFORM_LN_BIAS],
                  c->layer_norm_eps, rows, d);
    return RB_OK;
}

enum rb_status rb_forward_pooler(const struct rb_config *c, const struct rb_weights *w, float *x,
                                 size_t rows, struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = c->hidden_size;
    float *y = rb_scratch_alloc(scratch, rows * d, sizeof(float));
    if (y == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the pooler of %zu rows", rows);
    rb_linear(x, rows, d, w->w[RB_POOLER_WEIGHT], d, y);
    rb_kernels()->bias_tanh(y, w->w[RB_POOLER_BIAS], rows, d);
    memcpy(x, y, rows * d * sizeof(float));
    return RB_OK;
}

double rb_layer_flops(const struct rb_config *c, const size_t *starts, size_t count)
{
    double d = c->hidden_size, inner = c->intermediate_size, pairs = 0;
    for (size_t s = 0; s < count; s++) {
        double n = (double)(starts[s + 1] - starts[s]);
        pairs += n * n;
    }
    double tokens = (double)(starts[count] - starts[0]);
    return tokens * (8 * d * d + 4 * d * inner) + 4 * d * pairs;
}
