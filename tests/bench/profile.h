/* tests/bench/profile.h: where an item's time goes, without a line of measuring code in core.
 *
 * DESIGN. The benches are linked with --wrap for the functions in profile.c's table, so that every
 * call from one core file into another passes a clock. Time is exclusive: a product inside a layer
 * counts as product, not as layer. Clocks run per thread and are added up afterwards. Off unless
 * a thread has called profile_on; the cost of a wrapped call is then about 50 ns. */
#ifndef TESTS_BENCH_PROFILE_H
#define TESTS_BENCH_PROFILE_H

#include <stdint.h>

enum profile_kind {
    PROFILE_OTHER, /* item code outside everything below */
    PROFILE_EMBED,
    PROFILE_WEIGHTS,    /* conversion and interpolation of weights */
    PROFILE_LAYER,      /* a layer's own code: copies, bias, bookkeeping */
    PROFILE_PROJECTION, /* products of a layer, by their inner and outer size */
    PROFILE_FF_UP,
    PROFILE_FF_DOWN,
    PROFILE_ATTENTION, /* products per head */
    PROFILE_SOFTMAX,
    PROFILE_GELU,
    PROFILE_NORM,
    PROFILE_BIAS,      /* add_bias, subtract, blend, convert */
    PROFILE_MOMENTS,   /* products of features */
    PROFILE_TRANSFORM, /* the head's product */
    PROFILE_LOGITS,    /* the decoder's products */
    PROFILE_SUM_EXP,
    PROFILE_ASSIGNMENT,
    PROFILE_KINDS
};

extern const char *const profile_names[PROFILE_KINDS];

struct profile {
    double seconds[PROFILE_KINDS];
    double flops[PROFILE_KINDS]; /* of products */
    uint64_t calls[PROFILE_KINDS];
};

/* Starts this thread's clocks into p (borrowed), or stops them with NULL. */
void profile_on(struct profile *p);
void profile_add(struct profile *to, const struct profile *from, double scale);

#endif
