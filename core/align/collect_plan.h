/* core/align/collect_plan.h: what a collection of moments takes, and how it is done where memory is
 * short: which taps a model has, how many tokens are a slab, and in what groups of layers.
 *
 * DESIGN. The sums of all taps may be larger than memory (12 GB for 24 layers, 8192 wide). Then
 * they are made for a group of layers at a time, over all slabs, and put away in a file before the
 * next group begins. With several slabs the stream that leaves a group is kept for all tokens, so
 * that the next one goes on from it; where memory does not allow that either, each group begins at
 * the embeddings again. Slabs and the order of all sums are the same whatever the groups, so the
 * moments are, bit for bit. */
#ifndef RB_CORE_ALIGN_COLLECT_PLAN_H
#define RB_CORE_ALIGN_COLLECT_PLAN_H

#include "core/align/moments.h"
#include "core/model/model.h"

/* Taps of one kind over the whole model: how many, and their size. */
struct rb_collect_kind {
    enum rb_tap_kind kind;
    uint32_t count, size;
    const char *format; /* of their names, by their number */
};

/* Those of the taps (1 << enum rb_tap_kind) that such a model has. */
unsigned rb_collect_taps(const struct rb_config *c, unsigned taps);
/* Their kinds into ret (RB_TAP_COUNT); how many. */
size_t rb_collect_kinds(const struct rb_model *m, unsigned taps, struct rb_collect_kind *ret);
/* Taps of the residual stream in one layer (METHOD 9). */
uint32_t rb_collect_additions(const struct rb_config *c);
/* The layer in which that tap is filled. */
uint32_t rb_collect_layer(const struct rb_config *c, enum rb_tap_kind kind, uint32_t number);

/* Tokens of a slab: all of them where the longer feature buffers take no more than F32 sums save;
 * else slabs of equal size near what the buffers allow. */
size_t rb_collect_slab(const struct rb_model *m, size_t models, unsigned taps, uint64_t tokens);
/* Is one slab all? Then sums are F32. */
bool rb_collect_one_slab(const struct rb_model *m, size_t models, unsigned taps, uint64_t tokens);

/* Useful flops: of the models' layers (layers_flops each), and of the products. */
double rb_collect_flops(const struct rb_model *m, size_t models, size_t pairs, unsigned taps,
                        double tokens, double head_rows, double layers_flops);
/* Bytes of accumulators and of buffers that a collection needs; for the plan of a job. */
void rb_collect_estimate(const struct rb_model *m, size_t models, size_t pairs, unsigned taps,
                         uint64_t tokens, uint64_t *ret_accumulator_bytes,
                         uint64_t *ret_buffer_bytes, double *ret_cost);

/* A pair's collection in groups of layers. */
struct rb_collect_split {
    uint32_t groups;       /* 1: all sums at once, in memory to the end */
    bool again;            /* every group begins at the embeddings */
    uint64_t budget;       /* bytes of sums that a group may take, unless it is one layer */
    uint64_t sum_bytes;    /* of the largest group */
    uint64_t stream_bytes; /* of what is kept from group to group */
    double passes; /* through all layers, of each model: 1 unless features are computed again */
};
/* limit: bytes for sums and streams together. A layer's sums that are more than that are a group
 * of their own all the same: then sum_bytes tells. */
void rb_collect_split_make(const struct rb_model *m, unsigned taps, uint64_t tokens, uint64_t limit,
                           struct rb_collect_split *ret);
/* The layer behind the last one of the group that begins at layer `first`. */
uint32_t rb_collect_group_end(const struct rb_model *m, unsigned taps, uint64_t tokens,
                              uint64_t budget, uint32_t first);

#endif
