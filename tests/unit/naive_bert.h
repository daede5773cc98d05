/* tests/unit/naive_bert.h: METHOD 1 and 2 as loops, in F64, one sequence at a time. What it says is
 * what core's forward pass must say, to rounding. */
#ifndef RB_TESTS_NAIVE_BERT_H
#define RB_TESTS_NAIVE_BERT_H

#include "unit/random_model.h"

/* Features of one sequence of n tokens: (n, size) each. */
struct naive {
    size_t n;
    double **ff, **mha, **q, **k; /* one per layer */
    double **residual;            /* 2 layers + 1 */
    double *head;   /* (n, hidden) after the transform, or (1, hidden) after the pooler */
    double *logits; /* (n, vocab), or (1, labels) */
};

static inline const double *naive_values(const struct random_model *m, const char *name,
                                         uint32_t layer)
{
    const struct random_tensor *t = random_find(m, name, layer);
    if (t == NULL)
        fail_msg("no tensor '%s'", name);
    return t->values;
}

/* y (n, out) = x (n, in) w^T + b. */
static inline double *naive_dense(const double *x, size_t n, size_t in, const double *w,
                                  const double *b, size_t out)
{
    double *y = must_alloc(n * out, sizeof *y);
    for (size_t t = 0; t < n; t++)
        for (size_t o = 0; o < out; o++) {
            double sum = b[o];
            for (size_t i = 0; i < in; i++)
                sum += x[t * in + i] * (double)(float)w[o * in + i];
            y[t * out + o] = sum;
        }
    return y;
}

static inline double *naive_layer(const struct random_model *m, const double *x, size_t n,
                                  size_t in, size_t out, const char *part, uint32_t l)
{
    char weight[128], bias[128];
    (void)snprintf(weight, sizeof weight, "%s.weight", part);
    (void)snprintf(bias, sizeof bias, "%s.bias", part);
    return naive_dense(x, n, in, naive_values(m, weight, l), naive_values(m, bias, l), out);
}

/* x (n, d) = norm(x + skip) with population variance; skip may be NULL. */
static inline void naive_norm(const struct random_model *m, double *x, const double *skip, size_t n,
                              const char *part, uint32_t l)
{
    size_t d = m->shape.hidden;
    char weight[128], bias[128];
    (void)snprintf(weight, sizeof weight, "%s.weight", part);
    (void)snprintf(bias, sizeof bias, "%s.bias", part);
    const double *w = naive_values(m, weight, l), *b = naive_values(m, bias, l);
    for (size_t t = 0; t < n; t++) {
        double *row = x + t * d, mean = 0, variance = 0;
        for (size_t j = 0; j < d; j++) {
            row[j] += skip != NULL ? skip[t * d + j] : 0;
            mean += row[j] / (double)d;
        }
        for (size_t j = 0; j < d; j++)
            variance += (row[j] - mean) * (row[j] - mean) / (double)d;
        for (size_t j = 0; j < d; j++)
            row[j] = (row[j] - mean) / sqrt(variance + 1e-12) * w[j] + b[j];
    }
}

static inline void naive_gelu(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * 0.5 * (1 + erf(x[i] / sqrt(2)));
}

static inline double *naive_attention(const struct random_model *m, const double *q,
                                      const double *k, const double *v, size_t n)
{
    size_t d = m->shape.hidden, dh = d / m->shape.heads;
    double *out = must_alloc(n * d, sizeof *out), *p = must_alloc(n, sizeof *p);
    for (size_t h = 0; h < m->shape.heads; h++)
        for (size_t i = 0; i < n; i++) {
            double top = -INFINITY, sum = 0;
            for (size_t j = 0; j < n; j++) {
                p[j] = 0;
                for (size_t u = h * dh; u < (h + 1) * dh; u++)
                    p[j] += q[i * d + u] * k[j * d + u] / sqrt((double)dh);
                top = fmax(top, p[j]);
            }
            for (size_t j = 0; j < n; j++)
                sum += p[j] = exp(p[j] - top);
            for (size_t j = 0; j < n; j++)
                for (size_t u = h * dh; u < (h + 1) * dh; u++)
                    out[i * d + u] += p[j] / sum * v[j * d + u];
        }
    free(p);
    return out;
}

static inline double *naive_embed(const struct random_model *m, const int32_t *ids,
                                  const uint8_t *types, size_t n)
{
    size_t d = m->shape.hidden;
    const double *word = naive_values(m, "embeddings.word_embeddings.weight", 0);
    const double *position = naive_values(m, "embeddings.position_embeddings.weight", 0);
    const double *type = naive_values(m, "embeddings.token_type_embeddings.weight", 0);
    double *x = must_alloc(n * d, sizeof *x);
    for (size_t t = 0; t < n; t++)
        for (size_t j = 0; j < d; j++)
            x[t * d + j] =
                word[(size_t)ids[t] * d + j] + position[t * d + j] + type[types[t] * d + j];
    naive_norm(m, x, NULL, n, "embeddings.LayerNorm", 0);
    return x;
}

#define NAIVE_LAYER "encoder.layer.%u."

static inline void naive_encode(const struct random_model *m, struct naive *f, uint32_t l)
{
    size_t d = m->shape.hidden, inner = m->shape.intermediate, n = f->n;
    const double *x = f->residual[2 * l];
    double *q = naive_layer(m, x, n, d, d, NAIVE_LAYER "attention.self.query", l);
    double *k = naive_layer(m, x, n, d, d, NAIVE_LAYER "attention.self.key", l);
    double *v = naive_layer(m, x, n, d, d, NAIVE_LAYER "attention.self.value", l);
    double *mha = naive_attention(m, q, k, v, n);
    double *middle = naive_layer(m, mha, n, d, d, NAIVE_LAYER "attention.output.dense", l);
    naive_norm(m, middle, x, n, NAIVE_LAYER "attention.output.LayerNorm", l);
    double *ff = naive_layer(m, middle, n, d, inner, NAIVE_LAYER "intermediate.dense", l);
    naive_gelu(ff, n * inner);
    double *out = naive_layer(m, ff, n, inner, d, NAIVE_LAYER "output.dense", l);
    naive_norm(m, out, middle, n, NAIVE_LAYER "output.LayerNorm", l);
    free(v);
    f->q[l] = q;
    f->k[l] = k;
    f->mha[l] = mha;
    f->ff[l] = ff;
    f->residual[2 * l + 1] = middle;
    f->residual[2 * l + 2] = out;
}

static inline void naive_mlm(const struct random_model *m, struct naive *f)
{
    size_t d = m->shape.hidden;
    bool untied = m->shape.decoder == DECODER_UNTIED;
    f->head = naive_layer(m, f->residual[2 * m->shape.layers], f->n, d, d,
                          "cls.predictions.transform.dense", 0);
    naive_gelu(f->head, f->n * d);
    naive_norm(m, f->head, NULL, f->n, "cls.predictions.transform.LayerNorm", 0);
    f->logits = naive_dense(
        f->head, f->n, d,
        naive_values(
            m, untied ? "cls.predictions.decoder.weight" : "embeddings.word_embeddings.weight", 0),
        naive_values(m, "cls.predictions.bias", 0), m->shape.vocab);
}

static inline void naive_classify(const struct random_model *m, struct naive *f)
{
    size_t d = m->shape.hidden;
    f->head = naive_layer(m, f->residual[2 * m->shape.layers], 1, d, d, "pooler.dense", 0);
    for (size_t j = 0; j < d; j++)
        f->head[j] = tanh(f->head[j]);
    f->logits = naive_layer(m, f->head, 1, d, m->shape.labels, "classifier", 0);
}

/* Everything that sequence s makes the model compute; free with naive_deinit. */
static inline void naive_init(struct naive *f, const struct random_model *m,
                              const struct rb_sequences *s, size_t sequence)
{
    uint32_t layers = m->shape.layers;
    size_t first = s->starts[sequence];
    *f = (struct naive){.n = s->starts[sequence + 1] - first};
    f->ff = must_alloc(layers, sizeof *f->ff);
    f->mha = must_alloc(layers, sizeof *f->mha);
    f->q = must_alloc(layers, sizeof *f->q);
    f->k = must_alloc(layers, sizeof *f->k);
    f->residual = must_alloc(2 * (size_t)layers + 1, sizeof *f->residual);
    f->residual[0] = naive_embed(m, s->ids + first, s->types + first, f->n);
    for (uint32_t l = 0; l < layers; l++)
        naive_encode(m, f, l);
    if (m->shape.head == RB_HEAD_MLM)
        naive_mlm(m, f);
    else if (m->shape.head == RB_HEAD_CLASSIFIER)
        naive_classify(m, f);
}

static inline void naive_deinit(struct naive *f, uint32_t layers)
{
    for (uint32_t l = 0; l < layers; l++) {
        free(f->ff[l]);
        free(f->mha[l]);
        free(f->q[l]);
        free(f->k[l]);
    }
    for (uint32_t r = 0; r <= 2 * layers; r++)
        free(f->residual[r]);
    free(f->ff);
    free(f->mha);
    free(f->q);
    free(f->k);
    free(f->residual);
    free(f->head);
    free(f->logits);
}

/* Cross-entropy of one row of logits. */
static inline double naive_cross_entropy(const double *logits, size_t n, size_t target)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = fmax(top, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(logits[i] - top);
    return top + log(sum) - logits[target];
}

/* The losses of METHOD 7, one per predicted position or per sequence: MLM, classification, or
 * regression for one label. ret has room for all of them; returns how many. */
static inline size_t naive_losses(const struct random_model *m, const struct rb_sequences *s,
                                  double *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct naive f;
        naive_init(&f, m, s, i);
        for (size_t t = 0; t < f.n && m->shape.head == RB_HEAD_MLM; t++) {
            int32_t target = s->targets[s->starts[i] + t];
            if (target >= 0)
                ret[count++] = naive_cross_entropy(f.logits + t * m->shape.vocab, m->shape.vocab,
                                                   (size_t)target);
        }
        if (m->shape.head == RB_HEAD_CLASSIFIER && m->shape.labels == 1)
            ret[count++] = (f.logits[0] - s->labels[i]) * (f.logits[0] - s->labels[i]);
        else if (m->shape.head == RB_HEAD_CLASSIFIER)
            ret[count++] = naive_cross_entropy(f.logits, m->shape.labels, (size_t)s->labels[i]);
        naive_deinit(&f, m->shape.layers);
    }
    return count;
}

static inline double naive_loss(const struct random_model *m, const struct rb_sequences *s)
{
    double *losses = must_alloc(s->starts[s->count], sizeof *losses), sum = 0;
    size_t n = naive_losses(m, s, losses);
    for (size_t i = 0; i < n; i++)
        sum += losses[i];
    free(losses);
    return sum / (double)n;
}

#endif
