#include "core/learn/tape.h"
#include "core/learn/slopes.h"
#include "core/memory.h"
#include "core/model/activation.h"
#include "core/model/kernels.h"
#include "core/model/norm.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tape's memory ---- */

struct sizes {
    size_t d, q, k, inner; /* hidden_size, query and key rows, the MLP's */
};

static struct sizes sizes_of(const struct rb_config *c)
{
    return (struct sizes){c->hidden_size, (size_t)c->attention.heads * c->attention.head_dim,
                          (size_t)c->attention.kv_heads * c->attention.head_dim, c->mlp.inner_size};
}

/* Every buffer with its width; 0: not needed by this description. Buffers that would only repeat
 * another one are left out: a reader goes through attention_in() and mlp_in(). */
static size_t lay_out(struct rb_tape *t, const struct rb_config *c, size_t tokens, float *block)
{
    struct sizes s = sizes_of(c);
    bool before = c->norm_place == RB_NORM_BEFORE, norms = c->attention.query_key_norm;
    size_t sums = before ? 0 : s.d, gate = c->mlp.gated ? s.inner : 0;
    const struct {
        float **at;
        size_t width;
    } buffers[] = {
        {&t->attention_in, before ? s.d : 0},
        {&t->q_plain, norms ? s.q : 0},
        {&t->k_plain, norms ? s.k : 0},
        {&t->q, s.q},
        {&t->k, s.k},
        {&t->v, s.k},
        {&t->mha, s.q},
        {&t->attention_sum, sums},
        {&t->middle, s.d},
        {&t->mlp_in, before ? s.d : 0},
        {&t->up, s.inner},
        {&t->gate, gate},
        {&t->inner, s.inner},
        {&t->mlp_sum, sums},
        {&t->dq, s.q},
        {&t->dk, s.k},
        {&t->dv, s.k},
        {&t->dattention, s.d},
        {&t->dup, s.inner},
        {&t->dgate, gate},
        {&t->dmlp, s.d},
    };
    size_t per_line = RB_ALIGNMENT / sizeof(float), used = 0;
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        size_t floats = buffers[i].width * tokens;
        *buffers[i].at = floats > 0 && block != NULL ? block + used : NULL;
        used += (floats + per_line - 1) / per_line * per_line;
    }
    return used;
}

uint64_t rb_tape_bytes(const struct rb_config *c, size_t tokens)
{
    struct rb_tape t = {0};
    return lay_out(&t, c, tokens, NULL) * sizeof(float);
}

enum rb_status rb_tape_init(struct rb_tape *ret, const struct rb_config *c, size_t tokens,
                            struct rb_error *err)
{
    struct rb_tape t = {.config = c, .tokens = tokens};
    t.block = rb_malloc_aligned(lay_out(&t, c, tokens, NULL), sizeof(float));
    if (t.block == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer's activations over %zu tokens",
                            tokens);
    (void)lay_out(&t, c, tokens, t.block);
    *ret = t;
    return RB_OK;
}

void rb_tape_deinit(struct rb_tape *t)
{
    free(t->block);
    *t = (struct rb_tape){0};
}

/* ---- parts, forward and backward side by side ---- */

static size_t tokens_of(const struct rb_tape_call *call)
{
    return call->starts[call->count] - call->starts[0];
}

static float *at(float *buffer, size_t row, size_t width)
{
    return buffer != NULL ? buffer + row * width : NULL;
}

/* What a sublayer reads: the norm's output, or the stream as it is. */
static const float *attention_in(const struct rb_tape *t)
{
    return t->attention_in != NULL ? t->attention_in : t->x;
}

static const float *mlp_in(const struct rb_tape *t)
{
    return t->mlp_in != NULL ? t->mlp_in : t->middle;
}

/* A span's rows of the layer's input and of what stands between its sublayers. */
static const float *input(const struct rb_tape_call *call)
{
    return call->tape->x + call->row * call->tape->config->hidden_size;
}

static float *middle(const struct rb_tape_call *call)
{
    return call->tape->middle + call->row * call->tape->config->hidden_size;
}

/* y (rows, out) = x (rows, in) w^T + b */
static void linear(const struct rb_tape_call *call, enum rb_slot weight, const float *x,
                   size_t rows, size_t in, size_t out, float *y)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)out, (int)in, 1.0f, x,
                (int)in, call->weights[weight], (int)in, 0.0f, y, (int)out);
    if (call->weights[weight + 1] != NULL)
        rb_kernels()->add_bias(y, call->weights[weight + 1], rows, out);
}

/* dx (rows, in) = dy (rows, out) w, added to with beta 1. */
static void linear_back(const struct rb_tape_call *call, enum rb_slot weight, const float *dy,
                        size_t rows, size_t in, size_t out, float beta, float *dx)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)in, (int)out, 1.0f, dy,
                (int)out, call->weights[weight], (int)in, beta, dx, (int)in);
}

static void add(float *x, const float *y, size_t n)
{
    rb_kernels()->blend(x, x, 1, y, 1, n);
}

/* ---- attention ---- */

static struct rb_attention_back attention_of(const struct rb_tape_call *call)
{
    const struct rb_attention *a = &call->tape->config->attention;
    float scale = a->unscaled ? 1 : 1.0f / sqrtf((float)a->head_dim);
    return (struct rb_attention_back){
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .head_dim = a->head_dim,
        .scale = a->scale_by_layer ? scale / (float)(call->layer + 1) : scale,
        .causal = a->causal,
        .rotary = a->rope.dims > 0 ? call->rotary : NULL,
        .back = a->rope.dims > 0 ? call->back : NULL,
    };
}

static size_t longest(const struct rb_tape_call *call)
{
    size_t most = 0;
    for (size_t s = 0; s < call->count; s++) {
        size_t n = call->starts[s + 1] - call->starts[s];
        most = n > most ? n : most;
    }
    return most;
}

/* Projections of a span, and the norms over whole queries and keys where there are any. */
static void project(const struct rb_tape_call *call)
{
    const struct rb_tape *t = call->tape;
    const struct rb_config *c = t->config;
    struct sizes s = sizes_of(c);
    size_t n = tokens_of(call);
    const float *x = attention_in(t) + call->row * s.d;
    float *q = at(t->q, call->row, s.q), *k = at(t->k, call->row, s.k);
    float *q0 = t->q_plain != NULL ? at(t->q_plain, call->row, s.q) : q;
    float *k0 = t->k_plain != NULL ? at(t->k_plain, call->row, s.k) : k;
    linear(call, RB_QUERY_WEIGHT, x, n, s.d, s.q, q0);
    linear(call, RB_KEY_WEIGHT, x, n, s.d, s.k, k0);
    linear(call, RB_VALUE_WEIGHT, x, n, s.d, s.k, at(t->v, call->row, s.k));
    if (!c->attention.query_key_norm)
        return;
    rb_kernels()->rms_norm(q, q0, call->weights[RB_QUERY_NORM], c->norm_eps, n, s.q);
    rb_kernels()->rms_norm(k, k0, call->weights[RB_KEY_NORM], c->norm_eps, n, s.k);
}

static enum rb_status attend(const struct rb_tape_call *call, float *y, struct rb_scratch *scratch,
                             struct rb_error *err)
{
    const struct rb_tape *t = call->tape;
    struct sizes s = sizes_of(t->config);
    struct rb_attention_back a = attention_of(call);
    float *room =
        rb_scratch_alloc(scratch, rb_attention_back_floats(&a, longest(call)), sizeof(float));
    if (room == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for attention scores");
    project(call);
    for (size_t i = 0; i < call->count; i++) {
        size_t row = call->row + call->starts[i] - call->starts[0];
        rb_attention_again(&a, t->q + row * s.q, t->k + row * s.k, t->v + row * s.k,
                           call->starts[i + 1] - call->starts[i], t->mha + row * s.q, room);
    }
    linear(call, RB_ATTENTION_OUTPUT_WEIGHT, at(t->mha, call->row, s.q), tokens_of(call), s.q, s.d,
           y);
    return RB_OK;
}

/* dx (span tokens, hidden_size) = from the gradient of attention's output on the tape. */
static enum rb_status attend_back(const struct rb_tape_call *call, float *dx,
                                  struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_tape *t = call->tape;
    const struct rb_config *c = t->config;
    struct sizes s = sizes_of(c);
    struct rb_attention_back a = attention_of(call);
    size_t n = tokens_of(call), room_floats = rb_attention_back_floats(&a, longest(call));
    float *room = rb_scratch_alloc(scratch, room_floats, sizeof(float));
    float *dmha = rb_scratch_alloc(scratch, n * s.q, sizeof(float));
    if (room == NULL || dmha == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of attention");
    linear_back(call, RB_ATTENTION_OUTPUT_WEIGHT, at(t->dattention, call->row, s.d), n, s.q, s.d, 0,
                dmha);
    for (size_t i = 0; i < call->count; i++) {
        size_t first = call->starts[i] - call->starts[0], row = call->row + first;
        rb_attention_back(&a, t->q + row * s.q, t->k + row * s.k, t->v + row * s.k,
                          dmha + first * s.q, call->starts[i + 1] - call->starts[i],
                          t->dq + row * s.q, t->dk + row * s.k, t->dv + row * s.k, room);
    }
    float *dq = at(t->dq, call->row, s.q), *dk = at(t->dk, call->row, s.k);
    if (c->attention.query_key_norm) {
        const struct rb_kernels *k = rb_kernels();
        k->rms_norm_back(dq, at(t->q_plain, call->row, s.q), dq, call->weights[RB_QUERY_NORM],
                         c->norm_eps, n, s.q, NULL, NULL);
        k->rms_norm_back(dk, at(t->k_plain, call->row, s.k), dk, call->weights[RB_KEY_NORM],
                         c->norm_eps, n, s.k, NULL, NULL);
    }
    linear_back(call, RB_QUERY_WEIGHT, dq, n, s.d, s.q, 0, dx);
    linear_back(call, RB_KEY_WEIGHT, dk, n, s.d, s.k, 1, dx);
    linear_back(call, RB_VALUE_WEIGHT, at(t->dv, call->row, s.k), n, s.d, s.k, 1, dx);
    return RB_OK;
}

/* ---- MLP ---- */

static void mlp(const struct rb_tape_call *call, float *y)
{
    const struct rb_tape *t = call->tape;
    struct sizes s = sizes_of(t->config);
    const struct rb_mlp *m = &t->config->mlp;
    size_t n = tokens_of(call), floats = n * s.inner;
    float *up = at(t->up, call->row, s.inner), *inner = at(t->inner, call->row, s.inner);
    float *gate = at(t->gate, call->row, s.inner);
    const float *x = mlp_in(t) + call->row * s.d;
    linear(call, RB_UP_WEIGHT, x, n, s.d, s.inner, up);
    if (m->gated)
        linear(call, RB_GATE_WEIGHT, x, n, s.d, s.inner, gate);
    memcpy(inner, m->gated ? gate : up, floats * sizeof(float));
    rb_activate(m->activation, inner, NULL, n, s.inner);
    for (size_t i = 0; m->gated && i < floats; i++)
        inner[i] *= up[i];
    linear(call, RB_DOWN_WEIGHT, inner, n, s.inner, s.d, y);
}

/* dx (span tokens, hidden_size) = from the gradient of the MLP's output on the tape. */
static void mlp_back(const struct rb_tape_call *call, float *dx)
{
    const struct rb_tape *t = call->tape;
    struct sizes s = sizes_of(t->config);
    const struct rb_mlp *m = &t->config->mlp;
    size_t n = tokens_of(call), floats = n * s.inner;
    float *up = at(t->up, call->row, s.inner), *gate = at(t->gate, call->row, s.inner);
    float *dup = at(t->dup, call->row, s.inner), *dgate = at(t->dgate, call->row, s.inner);
    linear_back(call, RB_DOWN_WEIGHT, at(t->dmlp, call->row, s.d), n, s.inner, s.d, 0, dup);
    if (!m->gated) {
        rb_slope(m->activation)(dup, up, floats);
        linear_back(call, RB_UP_WEIGHT, dup, n, s.d, s.inner, 0, dx);
        return;
    }
    for (size_t i = 0; i < floats; i++)
        dgate[i] = dup[i] * up[i];
    rb_slope(m->activation)(dgate, gate, floats);
    rb_activate(m->activation, gate, NULL, n, s.inner); /* gate has been read */
    for (size_t i = 0; i < floats; i++)
        dup[i] *= gate[i];
    linear_back(call, RB_UP_WEIGHT, dup, n, s.d, s.inner, 0, dx);
    linear_back(call, RB_GATE_WEIGHT, dgate, n, s.d, s.inner, 1, dx);
}

/* ---- a sublayer with its norm and the addition ---- */

struct sublayer {
    enum rb_slot norm; /* its weight; the bias after it */
    float *in;         /* where a norm before it writes; NULL: none */
    float *sum;        /* a norm after it reads this; NULL: none */
    float *dout;       /* gradient of its linear output */
    double *dnorm;
};

static struct sublayer attention_sublayer(const struct rb_tape_call *call)
{
    const struct rb_tape *t = call->tape;
    size_t d = t->config->hidden_size;
    return (struct sublayer){RB_ATTENTION_NORM_WEIGHT, at(t->attention_in, call->row, d),
                             at(t->attention_sum, call->row, d), at(t->dattention, call->row, d),
                             call->dnorms};
}

static struct sublayer mlp_sublayer(const struct rb_tape_call *call)
{
    const struct rb_tape *t = call->tape;
    size_t d = t->config->hidden_size;
    return (struct sublayer){RB_MLP_NORM_WEIGHT, at(t->mlp_in, call->row, d),
                             at(t->mlp_sum, call->row, d), at(t->dmlp, call->row, d),
                             call->dnorms != NULL ? call->dnorms + 2 * d : NULL};
}

static void norm_before(const struct rb_tape_call *call, const struct sublayer *s, const float *x)
{
    if (s->in != NULL)
        rb_norm(call->tape->config, s->in, x, NULL, NULL, call->weights[s->norm],
                call->weights[s->norm + 1], tokens_of(call), call->tape->config->hidden_size);
}

/* out = skip + f, normed as the description says; f, (span tokens, hidden_size), is overwritten. */
static void add_skip(const struct rb_tape_call *call, const struct sublayer *s, const float *skip,
                     float *f, float *out)
{
    const struct rb_config *c = call->tape->config;
    size_t n = tokens_of(call), d = c->hidden_size, floats = n * d;
    const float *weight = call->weights[s->norm], *shift = call->weights[s->norm + 1];
    if (c->norm_place == RB_NORM_AFTER_SUBLAYER) {
        assert(s->sum != NULL);
        memcpy(s->sum, f, floats * sizeof(float));
        rb_norm(c, f, s->sum, NULL, NULL, weight, shift, n, d);
    }
    rb_kernels()->blend(out, f, 1, skip, 1, floats);
    if (c->norm_place == RB_NORM_AFTER_ADDITION) {
        assert(s->sum != NULL);
        memcpy(s->sum, out, floats * sizeof(float));
        rb_norm(c, out, s->sum, NULL, NULL, weight, shift, n, d);
    }
}

/* From dout, the gradient of what add_skip wrote: the sublayer's linear output's gradient onto the
 * tape; dout becomes the gradient of the skip. */
static void add_skip_back(const struct rb_tape_call *call, const struct sublayer *s, float *dout)
{
    const struct rb_config *c = call->tape->config;
    size_t n = tokens_of(call), d = c->hidden_size, floats = n * d;
    const float *weight = call->weights[s->norm];
    double *shift = s->dnorm != NULL ? s->dnorm + d : NULL;
    assert(s->dout != NULL);
    if (c->norm_place == RB_NORM_AFTER_ADDITION)
        rb_norm_back(c, weight, s->sum, dout, n, d, s->dnorm, shift, dout);
    if (c->norm_place == RB_NORM_AFTER_SUBLAYER)
        rb_norm_back(c, weight, s->sum, dout, n, d, s->dnorm, shift, s->dout);
    else
        memcpy(s->dout, dout, floats * sizeof(float));
}

/* dx, the gradient of what the sublayer read, back through a norm before it; x: that norm's input.
 */
static void norm_before_back(const struct rb_tape_call *call, const struct sublayer *s,
                             const float *x, float *dx)
{
    size_t d = call->tape->config->hidden_size;
    if (s->in != NULL)
        rb_norm_back(call->tape->config, call->weights[s->norm], x, dx, tokens_of(call), d,
                     s->dnorm, s->dnorm != NULL ? s->dnorm + d : NULL, dx);
}

enum rb_status rb_tape_forward(const struct rb_tape_call *call, struct rb_scratch *scratch,
                               struct rb_error *err)
{
    const struct rb_config *c = call->tape->config;
    size_t d = c->hidden_size, floats = tokens_of(call) * d;
    struct sublayer first = attention_sublayer(call), second = mlp_sublayer(call);
    float *f = rb_scratch_alloc(scratch, floats, sizeof(float));
    if (f == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a layer over %zu tokens",
                            tokens_of(call));
    norm_before(call, &first, input(call));
    enum rb_status s = attend(call, f, scratch, err);
    if (s != RB_OK)
        return s;
    add_skip(call, &first, input(call), f, middle(call));
    norm_before(call, &second, c->parallel_residual ? input(call) : middle(call));
    mlp(call, f);
    float *out = call->out != NULL ? call->out : f;
    if (call->out != NULL || c->norm_place != RB_NORM_BEFORE) /* its input: for the way back */
        add_skip(call, &second, middle(call), f, out);
    return RB_OK;
}

enum rb_status rb_tape_back(const struct rb_tape_call *call, float *dy, struct rb_scratch *scratch,
                            struct rb_error *err)
{
    const struct rb_config *c = call->tape->config;
    size_t floats = tokens_of(call) * c->hidden_size;
    struct sublayer first = attention_sublayer(call), second = mlp_sublayer(call);
    float *dx = rb_scratch_alloc(scratch, floats, sizeof(float));
    float *dmlp = rb_scratch_alloc(scratch, floats, sizeof(float));
    if (dx == NULL || dmlp == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of %zu tokens",
                            tokens_of(call));
    bool parallel = c->parallel_residual;
    add_skip_back(call, &second, dy);
    mlp_back(call, dmlp);
    norm_before_back(call, &second, parallel ? input(call) : middle(call), dmlp);
    if (!parallel)
        add(dy, dmlp, floats);
    add_skip_back(call, &first, dy);
    enum rb_status s = attend_back(call, dx, scratch, err);
    if (s != RB_OK)
        return s;
    norm_before_back(call, &first, input(call), dx);
    add(dy, dx, floats);
    if (parallel)
        add(dy, dmlp, floats);
    return RB_OK;
}

/* ---- gradients of weights ---- */

struct linear_map {
    const float *x, *dy;
    size_t in, out;
};

static struct linear_map linear_of(const struct rb_tape *t, enum rb_slot weight)
{
    struct sizes s = sizes_of(t->config);
    switch (weight) {
    case RB_QUERY_WEIGHT:
        return (struct linear_map){attention_in(t), t->dq, s.d, s.q};
    case RB_KEY_WEIGHT:
        return (struct linear_map){attention_in(t), t->dk, s.d, s.k};
    case RB_VALUE_WEIGHT:
        return (struct linear_map){attention_in(t), t->dv, s.d, s.k};
    case RB_ATTENTION_OUTPUT_WEIGHT:
        return (struct linear_map){t->mha, t->dattention, s.q, s.d};
    case RB_UP_WEIGHT:
        return (struct linear_map){mlp_in(t), t->dup, s.d, s.inner};
    case RB_GATE_WEIGHT:
        return (struct linear_map){mlp_in(t), t->dgate, s.d, s.inner};
    case RB_DOWN_WEIGHT:
        return (struct linear_map){t->inner, t->dmlp, s.inner, s.d};
    default:
        return (struct linear_map){0};
    }
}

bool rb_tape_linear(const struct rb_tape *t, enum rb_slot weight, size_t *ret_out, size_t *ret_in)
{
    struct linear_map m = linear_of(t, weight);
    if (m.dy == NULL)
        return false;
    *ret_out = m.out;
    *ret_in = m.in;
    return true;
}

const float *rb_tape_input(const struct rb_tape *t, enum rb_slot weight)
{
    return linear_of(t, weight).x;
}

const float *rb_tape_output_gradient(const struct rb_tape *t, enum rb_slot weight)
{
    return linear_of(t, weight).dy;
}

void rb_tape_rows(const struct rb_tape_call *call, enum rb_slot weight, const float *w, bool writes,
                  bool more, float *dst)
{
    struct linear_map m = linear_of(call->tape, weight);
    int n = (int)tokens_of(call), in = (int)m.in, out = (int)m.out;
    if (writes)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0f,
                    m.x + call->row * m.in, in, w, in, more ? 1.0f : 0.0f, dst, out);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, in, out, 1.0f,
                    m.dy + call->row * m.out, out, w, in, more ? 1.0f : 0.0f, dst, in);
}

void rb_tape_gradient(const struct rb_tape *t, enum rb_slot weight, size_t first, size_t rows,
                      float *dst)
{
    struct linear_map m = linear_of(t, weight);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)m.in, (int)t->tokens, 1.0f,
                m.dy + first, (int)m.out, m.x, (int)m.in, 0.0f, dst, (int)m.in);
}

void rb_tape_bias_gradient(const struct rb_tape *t, enum rb_slot weight, float *dst)
{
    struct linear_map m = linear_of(t, weight);
    memset(dst, 0, m.out * sizeof *dst);
    for (size_t i = 0; i < t->tokens; i++)
        add(dst, m.dy + i * m.out, m.out);
}

enum rb_status rb_tape_rotary(const struct rb_config *c, size_t tokens, struct rb_rotary *ret,
                              struct rb_rotary *ret_back, struct rb_error *err)
{
    const struct rb_rope *rope = &c->attention.rope;
    if (rope->dims == 0)
        return RB_OK;
    enum rb_status s = rb_rotary_init(rope, tokens, ret, err);
    if (s == RB_OK)
        s = rb_rotary_init(rope, tokens, ret_back, err);
    for (size_t i = 0; s == RB_OK && i < tokens * (rope->dims / 2); i++)
        ret_back->sine[i] = -ret_back->sine[i];
    return s;
}

void rb_tape_norm_gradient(const struct rb_config *c, const double *dnorms, size_t spans, int which,
                           float *ret)
{
    size_t d = c->hidden_size;
    for (size_t j = 0; j < d; j++) {
        double sum = 0;
        for (size_t s = 0; s < spans; s++)
            sum += dnorms[(s * 4 + (size_t)which) * d + j];
        ret[j] = (float)sum;
    }
}
