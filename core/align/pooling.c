#include "core/align/pooling.h"

#include <stdlib.h>
#include <string.h>

static bool counts(const struct rb_pool_rows *p, size_t token)
{
    return p->special_tokens || !p->sequences->special[token];
}

static size_t rows_of_sequence(const struct rb_pool_rows *p, size_t s)
{
    size_t n = 0;
    for (size_t t = p->sequences->starts[s]; t < p->sequences->starts[s + 1]; t++)
        n += counts(p, t);
    return p->pooling == RB_POOL_TOKEN ? n : n > 0;
}

enum rb_status rb_pool_rows_init(struct rb_pool_rows *ret, const struct rb_sequences *sequences,
                                 enum rb_pooling pooling, bool special_tokens, struct rb_error *err)
{
    struct rb_pool_rows p = {sequences, pooling, special_tokens, NULL};
    p.before = calloc(sequences->count + 1, sizeof *p.before);
    if (p.before == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to count rows of features");
    for (size_t i = 0; i < sequences->count; i++)
        p.before[i + 1] = p.before[i] + rows_of_sequence(&p, i);
    if (p.before[sequences->count] == 0) {
        rb_pool_rows_deinit(&p);
        return rb_error_set(err, RB_EDATASET,
                            "no token is left to align on without special tokens");
    }
    *ret = p;
    return RB_OK;
}

void rb_pool_rows_deinit(struct rb_pool_rows *p)
{
    free(p->before);
    *p = (struct rb_pool_rows){0};
}

bool rb_pool_rows_are_tokens(const struct rb_pool_rows *p)
{
    return p->pooling == RB_POOL_TOKEN && p->special_tokens;
}

void rb_pool_sequence(const struct rb_pool_rows *p, size_t sequence, const float *x, size_t d,
                      float *dst)
{
    size_t first = p->sequences->starts[sequence], end = p->sequences->starts[sequence + 1];
    size_t kept = 0;
    for (size_t t = first; t < end; t++) {
        const float *row = x + (t - first) * d;
        if (!counts(p, t))
            continue;
        if (p->pooling == RB_POOL_TOKEN)
            memcpy(dst + kept * d, row, d * sizeof(float));
        else if (kept == 0)
            memcpy(dst, row, d * sizeof(float));
        else if (p->pooling == RB_POOL_MEAN)
            for (size_t j = 0; j < d; j++)
                dst[j] += row[j];
        else if (p->pooling == RB_POOL_MAX)
            for (size_t j = 0; j < d; j++)
                dst[j] = row[j] > dst[j] ? row[j] : dst[j];
        kept++;
    }
    if (p->pooling == RB_POOL_MEAN && kept > 1)
        for (size_t j = 0; j < d; j++)
            dst[j] /= (float)kept;
}
