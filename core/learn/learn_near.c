#include "core/learn/learn_near.h"
#include "core/learn/slopes.h"
#include "core/model/embed.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

bool rb_learn_folds_output(const struct rb_model *m, const struct rb_learn_options *o)
{
    return o->residual && m->head_shape != NULL && m->head_shape->dense == RB_SLOT_NONE;
}

static bool projects(const struct rb_learn *c)
{
    return c->config->embedding_size != c->config->hidden_size;
}

/* ---- room ---- */

static size_t most_spans(const struct rb_learn *c)
{
    return c->step_blocks + 1;
}

static enum rb_status read_gain(struct rb_learn *c, enum rb_slot slot, uint32_t layer, size_t tap,
                                struct rb_scratch *scratch, struct rb_error *err)
{
    size_t d = c->config->hidden_size;
    const struct rb_rows all = {.count = d};
    return rb_tensor_read(c->model, slot, layer, &all, c->gains + tap * d, scratch, err);
}

static enum rb_status read_gains(struct rb_learn *c, struct rb_error *err)
{
    struct rb_scratch scratch;
    enum rb_status s = RB_OK;
    rb_scratch_init(&scratch);
    if (!projects(c))
        s = read_gain(c, RB_EMBEDDINGS_NORM_WEIGHT, 0, 0, &scratch, err);
    for (uint32_t l = 0; l < c->config->num_hidden_layers && s == RB_OK; l++) {
        s = read_gain(c, RB_ATTENTION_NORM_WEIGHT, l, 2 * (size_t)l + 1, &scratch, err);
        if (s == RB_OK)
            s = read_gain(c, RB_MLP_NORM_WEIGHT, l, 2 * (size_t)l + 2, &scratch, err);
    }
    rb_scratch_deinit(&scratch);
    return s;
}

enum rb_status rb_learn_near_init(struct rb_learn *c, struct rb_error *err)
{
    const struct rb_config *g = c->config;
    size_t d = g->hidden_size, tokens = c->step_blocks * c->batch.block_size;
    c->summed = rb_malloc_aligned(tokens * g->embedding_size, sizeof(float));
    c->dnorms = rb_calloc_aligned(most_spans(c) * 4 * d, sizeof(double));
    c->gains = rb_calloc_aligned((2 * (size_t)g->num_hidden_layers + 1) * d, sizeof(float));
    if (c->summed == NULL || c->dnorms == NULL || c->gains == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the gradients of norms");
    enum rb_status s = rb_learn_maps_take_gains(&c->maps, err);
    return s == RB_OK ? read_gains(c, err) : s;
}

uint64_t rb_learn_near_bytes(const struct rb_model *m, const struct rb_learn_options *o,
                             size_t tokens)
{
    const struct rb_config *c = &m->config;
    uint64_t d = c->hidden_size;
    if (!o->residual || c->norm_place != RB_NORM_AFTER_ADDITION)
        return 0;
    return (tokens * c->embedding_size + d * d + (2 * (uint64_t)c->num_hidden_layers + 1) * d) *
               sizeof(float) +
           (tokens + 1) * 4 * d * sizeof(double);
}

/* ---- the embeddings ---- */

enum rb_status rb_learn_near_embed(const struct rb_learn *c, size_t span, float *x,
                                   struct rb_scratch *scratch, struct rb_error *err)
{
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    size_t tokens = rb_span_tokens(&s);
    float *summed = c->summed + s.starts[0] * c->config->embedding_size;
    if (!projects(c)) {
        enum rb_status st = rb_embed_sum(&c->theta, &c->batch.s, &s, summed, scratch, err);
        return st == RB_OK ? rb_embed_sum(&c->moved, &c->batch.s, &s, x, scratch, err) : st;
    }
    enum rb_status st = rb_embed(&c->theta, &c->batch.s, &s, x, summed, scratch, err);
    return st == RB_OK ? rb_embed_project(&c->moved, summed, tokens, x, scratch, err) : st;
}

enum rb_status rb_learn_near_embed_back(const struct rb_learn *c, size_t span,
                                        struct rb_scratch *scratch, struct rb_error *err)
{
    struct rb_span s = rb_learn_batch_span(&c->batch, span);
    size_t d = c->config->hidden_size, at = s.starts[0] * d;
    double *dnorm = c->dnorms + span * 4 * d;
    memset(dnorm, 0, 2 * d * sizeof *dnorm);
    if (projects(c)) /* the projection's rows are the stream: nothing stands between */
        return RB_OK;
    float *gain = rb_scratch_alloc(scratch, d, sizeof *gain);
    if (gain == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the norm of the embeddings");
    enum rb_status st =
        rb_blend_rows(&c->theta, RB_EMBEDDINGS_NORM_WEIGHT, 0, 0, d, gain, scratch, err);
    if (st == RB_OK)
        rb_norm_back(c->config, gain, c->summed + at, c->dx + at, rb_span_tokens(&s), d, dnorm,
                     dnorm + d, c->dx + at);
    return st;
}

/* ---- folding ---- */

void rb_learn_near_norm(const struct rb_learn *c, int which, float *h)
{
    rb_tape_norm_gradient(c->config, c->dnorms, c->batch.span_count, which, h);
}

void rb_learn_near_fold_gain(const struct rb_learn *c, size_t first, size_t count, size_t tap,
                             const float *h)
{
    size_t d = c->config->hidden_size;
    const float *gain = c->gains + tap * d;
    float *to = c->maps.matrices[0].gains;
    for (size_t i = first; i < first + count; i++)
        for (size_t j = 0; j < d; j++)
            to[i * d + j] += gain[i] * h[j];
}

enum rb_status rb_learn_near_fold_hidden(const struct rb_learn *c, size_t first, size_t count,
                                         struct rb_scratch *scratch, struct rb_error *err)
{
    const struct rb_learn_head *h = &c->head;
    int d = (int)c->config->hidden_size, w = (int)h->width, n = (int)count, rows = (int)h->rows;
    const float *dense = c->moved_head.w[c->model->head_shape->dense]; /* (width, hidden_size) */
    float *read = rb_scratch_alloc(scratch, h->rows * count, sizeof *read);
    if (read == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for gradients of the head");
    if (rows == 0)
        return RB_OK;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, n, w, 1.0f, h->dz, w,
                dense + first, d, 0.0f, read, n);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, d, rows, 1.0f, read, n, h->x, d, 1.0f,
                c->maps.matrices[0].g + first * (size_t)d, d);
    return RB_OK;
}
