#include "core/align/collect_plan.h"
#include "core/model/head.h"
#include "core/model/layer.h"
#include "core/model/weights.h"

enum {
    FEATURE_BYTES = 160 * 1000 * 1000, /* aim for all feature buffers together */
    SLAB_MIN = 2 * RB_CHUNK_TOKENS,
    SLAB_MAX = 12 * RB_CHUNK_TOKENS, /* more is memory without speed, for small models */
    /* F32 products of more tokens would begin to lose what F64 sums keep. */
    ONE_SLAB_MAX = 32 * RB_CHUNK_TOKENS,
};

/* ---- taps ---- */

uint32_t rb_collect_additions(const struct rb_config *c)
{
    return c->parallel_residual ? 1 : 2;
}

/* A basis of the embeddings only where it is not the stream's, values
 * apart from the heads' outputs only of grouped queries, a head only with a hidden layer, which no
 * causal model has. */
unsigned rb_collect_taps(const struct rb_config *c, unsigned taps)
{
    if (c->embedding_size == c->hidden_size)
        taps &= ~(1U << RB_TAP_EMBEDDING);
    if (c->attention.kv_heads == c->attention.heads)
        taps &= ~(1U << RB_TAP_V);
    if (c->attention.causal)
        taps &= ~(1U << RB_TAP_HEAD);
    return taps;
}

size_t rb_collect_kinds(const struct rb_model *m, unsigned taps, struct rb_collect_kind *ret)
{
    const struct rb_config *c = &m->config;
    uint32_t l = c->num_hidden_layers, d = c->hidden_size;
    uint32_t wide = (uint32_t)rb_config_dim(c, RB_DIM_QUERY);
    uint32_t narrow = (uint32_t)rb_config_dim(c, RB_DIM_KEY);
    const struct rb_collect_kind all[] = {
        {RB_TAP_FF, l, c->mlp.inner_size, "layer.%u.ff"},
        {RB_TAP_MHA, l, wide, "layer.%u.mha"},
        {RB_TAP_Q, l, wide, "layer.%u.q"},
        {RB_TAP_K, l, narrow, "layer.%u.k"},
        {RB_TAP_V, l, narrow, "layer.%u.v"},
        {RB_TAP_RESIDUAL, rb_collect_additions(c) * l + 1, d, "residual.%u"},
        {RB_TAP_HEAD, 1, rb_head_width(m), "head"},
        {RB_TAP_EMBEDDING, 1, c->embedding_size, "embedding"},
    };
    taps = rb_collect_taps(c, taps);
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (taps & 1U << all[i].kind)
            ret[n++] = all[i];
    return n;
}

uint32_t rb_collect_layer(const struct rb_config *c, enum rb_tap_kind kind, uint32_t number)
{
    switch (kind) {
    case RB_TAP_RESIDUAL:
        return number == 0 ? 0 : (number - 1) / rb_collect_additions(c);
    case RB_TAP_HEAD:
        return c->num_hidden_layers - 1;
    case RB_TAP_EMBEDDING:
        return 0;
    default:
        return number;
    }
}

/* ---- sizes and costs ---- */

/* Of one model. */
static size_t floats_per_token(const struct rb_config *c, unsigned taps)
{
    size_t d = c->hidden_size, n = d;
    size_t wide = (size_t)rb_config_dim(c, RB_DIM_QUERY);
    size_t narrow = (size_t)rb_config_dim(c, RB_DIM_KEY);
    taps = rb_collect_taps(c, taps);
    n += taps & 1U << RB_TAP_FF ? c->mlp.inner_size : 0;
    n += taps & 1U << RB_TAP_MHA ? wide : 0;
    n += taps & 1U << RB_TAP_Q ? wide + narrow : 0;
    n += taps & 1U << RB_TAP_V ? narrow : 0;
    n += taps & 1U << RB_TAP_RESIDUAL ? (rb_collect_additions(c) + 1) * d : 0;
    n += taps & 1U << RB_TAP_HEAD ? d : 0;
    n += taps & 1U << RB_TAP_EMBEDDING ? 2 * (size_t)c->embedding_size : 0;
    return n;
}

static uint64_t tap_bytes(const struct rb_collect_kind *k, uint64_t cross)
{
    return (uint64_t)k->size * (k->size * cross + 6 * sizeof(double));
}

/* Of all taps of a pair. */
static uint64_t sum_bytes(const struct rb_model *m, unsigned taps, uint64_t cross)
{
    struct rb_collect_kind kinds[RB_TAP_COUNT];
    size_t n = rb_collect_kinds(m, taps, kinds);
    uint64_t bytes = 0;
    for (size_t k = 0; k < n; k++)
        bytes += kinds[k].count * tap_bytes(&kinds[k], cross);
    return bytes;
}

/* One slab may be as much longer as F32 sums are smaller: no more memory, and less to clear. */
size_t rb_collect_slab(const struct rb_model *m, size_t models, unsigned taps, uint64_t tokens)
{
    size_t per_token = models * floats_per_token(&m->config, taps) * sizeof(float);
    size_t most = FEATURE_BYTES / per_token;
    most = most < SLAB_MIN ? SLAB_MIN : most > SLAB_MAX ? SLAB_MAX : most;
    uint64_t saved =
        sum_bytes(m, taps, sizeof(double)) - sum_bytes(m, taps, sizeof(float)); /* of one pair */
    if (tokens <= ONE_SLAB_MAX && tokens <= most + saved / per_token)
        return tokens > 0 ? (size_t)tokens : 1;
    size_t slabs = (size_t)(tokens + most - 1) / most;
    return (size_t)(tokens + slabs - 1) / slabs;
}

bool rb_collect_one_slab(const struct rb_model *m, size_t models, unsigned taps, uint64_t tokens)
{
    return rb_collect_slab(m, models, taps, tokens) >= tokens;
}

double rb_collect_flops(const struct rb_model *m, size_t models, size_t pairs, unsigned taps,
                        double tokens, double head_rows, double layers_flops)
{
    struct rb_collect_kind kinds[RB_TAP_COUNT];
    size_t n = rb_collect_kinds(m, taps, kinds);
    double cost = (double)models * layers_flops;
    for (size_t k = 0; k < n; k++)
        cost += 2.0 * (double)pairs * kinds[k].count * kinds[k].size * kinds[k].size *
                (kinds[k].kind == RB_TAP_HEAD ? head_rows : tokens);
    return cost;
}

static uint64_t cross_bytes(const struct rb_model *m, size_t models, unsigned taps, uint64_t tokens)
{
    return rb_collect_one_slab(m, models, taps, tokens) ? sizeof(float) : sizeof(double);
}

void rb_collect_estimate(const struct rb_model *m, size_t models, size_t pairs, unsigned taps,
                         uint64_t tokens, uint64_t *ret_accumulator_bytes,
                         uint64_t *ret_buffer_bytes, double *ret_cost)
{
    const struct rb_config *c = &m->config;
    const size_t starts[2] = {0, RB_CHUNK_TOKENS / 4};
    double per_token = rb_layer_flops(c, starts, 1) / (double)starts[1] * c->num_hidden_layers;
    *ret_accumulator_bytes = pairs * sum_bytes(m, taps, cross_bytes(m, models, taps, tokens));
    *ret_buffer_bytes = models * (rb_collect_slab(m, models, taps, tokens) *
                                      floats_per_token(c, taps) * sizeof(float) +
                                  rb_weights_layer_floats(c) * sizeof(float));
    *ret_cost = rb_collect_flops(m, models, pairs, taps, (double)tokens, (double)tokens,
                                 per_token * (double)tokens);
}

/* ---- groups of layers ---- */

/* Sums of the taps that are filled in that layer. */
static uint64_t layer_bytes(const struct rb_model *m, unsigned taps, uint64_t tokens,
                            uint32_t layer)
{
    struct rb_collect_kind kinds[RB_TAP_COUNT];
    size_t n = rb_collect_kinds(m, taps, kinds);
    uint64_t cross = cross_bytes(m, 2, taps, tokens), bytes = 0;
    for (size_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < kinds[k].count; i++)
            if (rb_collect_layer(&m->config, kinds[k].kind, i) == layer)
                bytes += tap_bytes(&kinds[k], cross);
    return bytes;
}

uint32_t rb_collect_group_end(const struct rb_model *m, unsigned taps, uint64_t tokens,
                              uint64_t budget, uint32_t first)
{
    uint32_t end = first + 1;
    uint64_t bytes = layer_bytes(m, taps, tokens, first);
    for (; end < m->config.num_hidden_layers; end++) {
        uint64_t more = layer_bytes(m, taps, tokens, end);
        if (bytes + more > budget)
            break;
        bytes += more;
    }
    return end;
}

/* Walks the groups that the budget makes. */
static void count_groups(const struct rb_model *m, unsigned taps, uint64_t tokens,
                         struct rb_collect_split *s)
{
    uint32_t layers = m->config.num_hidden_layers;
    double walked = 0;
    for (uint32_t first = 0, end; first < layers; first = end, s->groups++) {
        uint64_t bytes = 0;
        end = rb_collect_group_end(m, taps, tokens, s->budget, first);
        for (uint32_t l = first; l < end; l++)
            bytes += layer_bytes(m, taps, tokens, l);
        s->sum_bytes = bytes > s->sum_bytes ? bytes : s->sum_bytes;
        walked += s->again ? end : end - first;
    }
    s->passes = walked / layers;
}

void rb_collect_split_make(const struct rb_model *m, unsigned taps, uint64_t tokens, uint64_t limit,
                           struct rb_collect_split *ret)
{
    const struct rb_config *c = &m->config;
    uint64_t all = 0, largest = 0, streams = 0;
    for (uint32_t l = 0; l < c->num_hidden_layers; l++) {
        uint64_t bytes = layer_bytes(m, taps, tokens, l);
        all += bytes;
        largest = bytes > largest ? bytes : largest;
    }
    if (all <= limit) {
        *ret = (struct rb_collect_split){
            .groups = 1, .budget = UINT64_MAX, .sum_bytes = all, .passes = 1};
        return;
    }
    if (!rb_collect_one_slab(m, 2, taps, tokens))
        streams = 2 * tokens * c->hidden_size * sizeof(float);
    struct rb_collect_split s = {.again = streams > 0 && streams + largest > limit};
    s.stream_bytes = s.again ? 0 : streams;
    s.budget = limit > s.stream_bytes ? limit - s.stream_bytes : 0;
    /* The stream of the only slab lies there anyway, so nothing is lost by groups as small as can
     * be; each is stored while the next one's features are made. */
    if (streams == 0)
        s.budget = 0;
    count_groups(m, taps, tokens, &s);
    *ret = s;
}
