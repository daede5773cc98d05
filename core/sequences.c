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
