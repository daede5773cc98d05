#include "core/model/embed.h"
#include "core/model/kernels.h"
#include "core/model/linear.h"
#include "core/model/norm.h"

/* The row of the position table that each token reads. */
static void list_positions(const struct rb_config *c, const struct rb_sequences *s,
                           const struct rb_span *span, int32_t *ret)
{
    for (size_t q = 0; q < span->count; q++) {
        uint32_t seen = 0;
        for (size_t t = span->starts[q]; t < span->starts[q + 1]; t++) {
            bool padding =
                c->positions == RB_POSITIONS_UNPADDED && s->ids[t] == (int32_t)c->padding_id;
            seen += !padding;
            *ret++ = (int32_t)(c->positions != RB_POSITIONS_UNPADDED ? t - span->starts[q]
                               : padding                             ? c->padding_id
                                                                     : c->padding_id + seen);
        }
    }
}

struct embed {
    const struct rb_blend *blend;
    const struct rb_config *config;
    const struct rb_sequences *sequences;
    const struct rb_span *span;
    size_t tokens;
    int32_t *ids;
    float *more; /* (tokens, E) */
};

/* A table that the token ids do not index: its rows into `more`. *ret: does the model have it? */
static enum rb_status read_table(const struct embed *e, enum rb_slot slot, bool *ret,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    size_t first = e->span->starts[0];
    *ret = rb_model_tensor(rb_blend_model(e->blend), slot, 0) != NULL;
    if (!*ret)
        return RB_OK;
    if (slot == RB_POSITION_EMBEDDINGS)
        list_positions(e->config, e->sequences, e->span, e->ids);
    else
        for (size_t t = 0; t < e->tokens; t++)
            e->ids[t] = e->sequences->types[first + t];
    return rb_blend_gather(e->blend, slot, e->ids, e->tokens, e->more, scratch, err);
}

/* x = norm(x + more), both (tokens, E); more may be NULL. */
static enum rb_status normalise(const struct embed *e, float *x, const float *more,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = e->config->embedding_size;
    float *norm = rb_scratch_alloc(scratch, 2 * d, sizeof(float));
    if (norm == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the norm of the embeddings");
    enum rb_status s =
        rb_blend_rows(e->blend, RB_EMBEDDINGS_NORM_WEIGHT, 0, 0, d, norm, scratch, err);
    if (s == RB_OK)
        s = rb_blend_rows(e->blend, RB_EMBEDDINGS_NORM_BIAS, 0, 0, d, norm + d, scratch, err);
    if (s == RB_OK)
        rb_norm(e->config, x, x, NULL, more, norm, norm + d, e->tokens, d);
    return s;
}

/* y (tokens, hidden_size) = projection of x (tokens, E). */
static enum rb_status project(const struct embed *e, const float *x, float *y,
                              struct rb_scratch *scratch, struct rb_error *err)
{
    size_t in = e->config->embedding_size, out = e->config->hidden_size;
    float *w = rb_scratch_alloc(scratch, out * (in + 1), sizeof(float));
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the projection of the embeddings");
    enum rb_status s =
        rb_blend_rows(e->blend, RB_EMBEDDINGS_PROJECTION_WEIGHT, 0, 0, out, w, scratch, err);
    if (s == RB_OK)
        s = rb_blend_rows(e->blend, RB_EMBEDDINGS_PROJECTION_BIAS, 0, 0, out, w + out * in, scratch,
                          err);
    if (s != RB_OK)
        return s;
    rb_linear(x, e->tokens, in, w, out, y);
    rb_kernels()->add_bias(y, w + out * in, e->tokens, out);
    return RB_OK;
}

/* The sum of the tables, normalised if it is asked for and the model does: x (tokens, E). */
static enum rb_status sum_tables(const struct embed *e, bool norm, float *x,
                                 struct rb_scratch *scratch, struct rb_error *err)
{
    size_t floats = e->tokens * e->config->embedding_size;
    const struct rb_kernels *k = rb_kernels();
    bool has_positions = false, has_types = false;
    enum rb_status s =
        rb_blend_gather(e->blend, RB_WORD_EMBEDDINGS, e->sequences->ids + e->span->starts[0],
                        e->tokens, x, scratch, err);
    if (s == RB_OK)
        s = read_table(e, RB_POSITION_EMBEDDINGS, &has_positions, scratch, err);
    if (s != RB_OK)
        return s;
    if (has_positions)
        k->blend(x, x, 1.0f, e->more, 1.0f, floats);
    s = read_table(e, RB_TYPE_EMBEDDINGS, &has_types, scratch, err);
    if (s != RB_OK)
        return s;
    if (norm && e->config->embeddings_norm)
        return normalise(e, x, has_types ? e->more : NULL, scratch, err);
    if (has_types)
        k->blend(x, x, 1.0f, e->more, 1.0f, floats);
    return RB_OK;
}

static enum rb_status begin(struct embed *e, struct rb_scratch *scratch, struct rb_error *err)
{
    e->more = rb_scratch_alloc(scratch, e->tokens * e->config->embedding_size, sizeof(float));
    e->ids = rb_scratch_alloc(scratch, e->tokens, sizeof *e->ids);
    return e->more != NULL && e->ids != NULL
               ? RB_OK
               : rb_error_set(err, RB_ENOMEM, "no memory for the embeddings of %zu tokens",
                              e->tokens);
}

enum rb_status rb_embed_sum(const struct rb_blend *blend, const struct rb_sequences *s,
                            const struct rb_span *span, float *x, struct rb_scratch *scratch,
                            struct rb_error *err)
{
    const struct rb_config *c = &rb_blend_model(blend)->config;
    struct embed e = {blend, c, s, span, rb_span_tokens(span), NULL, NULL};
    enum rb_status st = begin(&e, scratch, err);
    return st == RB_OK ? sum_tables(&e, false, x, scratch, err) : st;
}

enum rb_status rb_embed_project(const struct rb_blend *blend, const float *x, size_t rows, float *y,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    const struct embed e = {
        .blend = blend, .config = &rb_blend_model(blend)->config, .tokens = rows};
    return project(&e, x, y, scratch, err);
}

enum rb_status rb_embed(const struct rb_blend *blend, const struct rb_sequences *s,
                        const struct rb_span *span, float *x, float *ret_basis,
                        struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_config *c = &rb_blend_model(blend)->config;
    struct embed e = {blend, c, s, span, rb_span_tokens(span), NULL, NULL};
    size_t floats = e.tokens * c->embedding_size;
    bool projects = c->embedding_size != c->hidden_size;
    float *basis = x;
    enum rb_status st = begin(&e, scratch, err);
    if (st != RB_OK)
        return st;
    if (ret_basis != NULL)
        basis = ret_basis;
    else if (projects)
        basis = rb_scratch_alloc(scratch, floats, sizeof(float));
    if (basis == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the embeddings of %zu tokens", e.tokens);
    st = sum_tables(&e, true, basis, scratch, err);
    if (st == RB_OK && projects)
        return project(&e, basis, x, scratch, err);
    for (size_t i = 0; st == RB_OK && basis != x && i < floats; i++)
        x[i] = basis[i];
    return st;
}
