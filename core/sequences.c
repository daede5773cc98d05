#include "core/sequences.h"

#include <stdlib.h>

void rb_sequences_deinit(struct rb_sequences *s)
{
    free(s->starts);
    free(s->ids);
    free(s->types);
    free(s->special);
    free(s->targets);
    free(s->labels);
    free(s->rows);
    *s = (struct rb_sequences){0};
}

bool rb_sequences_slice(const struct rb_sequences *s, size_t from, size_t to,
                        struct rb_sequences *ret)
{
    size_t begin = s->starts[from], *starts = calloc(to - from + 1, sizeof *starts);
    if (starts == NULL)
        return false;
    for (size_t i = from; i <= to; i++)
        starts[i - from] = s->starts[i] - begin;
    *ret = (struct rb_sequences){
        .count = to - from,
        .starts = starts,
        .ids = s->ids + begin,
        .types = s->types + begin,
        .special = s->special != NULL ? s->special + begin : NULL,
        .targets = s->targets != NULL ? s->targets + begin : NULL,
        .labels = s->labels != NULL ? s->labels + from : NULL,
        .rows = s->rows != NULL ? s->rows + from : NULL,
    };
    for (size_t t = 0; ret->targets != NULL && t < starts[to - from]; t++)
        ret->target_count += ret->targets[t] >= 0;
    return true;
}

uint64_t rb_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

double rb_mask_uniform(uint64_t seed, uint64_t s, uint64_t t, uint64_t k)
{
    uint64_t r = rb_mix(rb_mix(rb_mix(rb_mix(seed) ^ s) ^ t) ^ k);
    return (double)(r >> 11) * 0x1p-53;
}

int32_t rb_mask_token(uint64_t seed, uint64_t s, uint64_t t, double probability, int32_t mask_id,
                      uint32_t vocab_size, bool special, int32_t *id)
{
    enum { PREDICTED, KIND, RANDOM_ID }; /* METHOD 7's draws k */
    if (special || !(rb_mask_uniform(seed, s, t, PREDICTED) < probability))
        return -1;
    int32_t target = *id;
    double kind = rb_mask_uniform(seed, s, t, KIND);
    if (kind < 0.8)
        *id = mask_id;
    else if (kind < 0.9)
        *id = (int32_t)(rb_mask_uniform(seed, s, t, RANDOM_ID) * vocab_size);
    return target;
}
