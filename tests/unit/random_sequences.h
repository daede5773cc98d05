/* tests/unit/random_sequences.h: room for sequences of random lengths. */
#ifndef RB_TESTS_RANDOM_SEQUENCES_H
#define RB_TESTS_RANDOM_SEQUENCES_H

#include "unit/numbers.h"

#include "core/sequences.h"

/* Sequences of shortest to longest tokens: starts are set, the rest is zero. Free with
 * rb_sequences_deinit. */
static inline struct rb_sequences random_lengths(size_t count, size_t shortest, size_t longest,
                                                 uint64_t *seed)
{
    struct rb_sequences q = {.count = count};
    q.starts = must_alloc(count + 1, sizeof *q.starts);
    for (size_t i = 0; i < count; i++)
        q.starts[i + 1] = q.starts[i] + shortest + random_index(seed, longest - shortest + 1);
    size_t n = q.starts[count];
    q.ids = must_alloc(n, sizeof *q.ids);
    q.types = must_alloc(n, sizeof *q.types);
    q.special = must_alloc(n, sizeof *q.special);
    q.targets = must_alloc(n, sizeof *q.targets);
    q.labels = must_alloc(count, sizeof *q.labels);
    q.rows = must_alloc(count, sizeof *q.rows);
    return q;
}

#endif
