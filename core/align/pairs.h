/* core/align/pairs.h: the pairs of several models, and their order. */
#ifndef RB_CORE_ALIGN_PAIRS_H
#define RB_CORE_ALIGN_PAIRS_H

#include <stddef.h>
#include <stdint.h>

/* Two of some models, by their numbers; a < b where an order is meant. */
struct rb_pair {
    uint32_t a, b;
};

static inline size_t rb_pair_count(size_t models)
{
    return models * (models - 1) / 2;
}

/* Where the pair (a, b) stands: (0, 1), (0, 2) … (1, 2) … The first models - 1 are the anchor's. */
static inline size_t rb_pair_place(size_t models, size_t a, size_t b)
{
    return a * models - a * (a + 1) / 2 + (b - a - 1);
}

/* The pair that stands there. */
static inline struct rb_pair rb_pair_at(size_t models, size_t place)
{
    size_t a = 0;
    while (rb_pair_place(models, a, models - 1) < place)
        a++;
    return (struct rb_pair){(uint32_t)a,
                            (uint32_t)(place - rb_pair_place(models, a, a + 1) + a + 1)};
}

#endif
