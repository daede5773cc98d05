/* core/model/weights.h: tensors of a blend brought to F32 for the blocks: one layer's, or a head's.
 * Prepared by independent items, so that a pool can share the work; a tensor that needs no work is
 * used where it lies. */
#ifndef RB_CORE_MODEL_WEIGHTS_H
#define RB_CORE_MODEL_WEIGHTS_H

#include "core/model/blend.h"

struct rb_weights {
    const float *w[RB_SLOT_COUNT]; /* by slot; NULL where the model has none */
    float *buffer;                 /* what the pointers that are not direct point into */
    size_t buffer_floats;
    struct rb_weights_item *items;
    size_t item_count, item_capacity;
    const struct rb_weights *last; /* borrowed; NULL but after rb_weights_begin_both */
};

/* Sets up for those of the slots that the model has, in their order; the buffer is reused from call
 * to call. RB_ENOMEM. */
enum rb_status rb_weights_begin(struct rb_weights *w, const struct rb_blend *blend,
                                const enum rb_slot *slots, size_t count, uint32_t layer,
                                struct rb_error *err) RB_MUST_CHECK;
/* All slots of a layer. */
enum rb_status rb_weights_begin_layer(struct rb_weights *w, const struct rb_blend *blend,
                                      uint32_t layer, struct rb_error *err) RB_MUST_CHECK;
/* Of a pair, where its last term alone is wanted too: each of that term's rows is moved once, for
 * both. `last` is begun with the term alone, and filled by the items of w; it must outlive them.
 * The bits are those of two sets begun apart. RB_ENOMEM. */
enum rb_status rb_weights_begin_both(struct rb_weights *w, const struct rb_blend *pair,
                                     struct rb_weights *last, const enum rb_slot *slots,
                                     size_t count, uint32_t layer,
                                     struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_weights_begin_both_layer(struct rb_weights *w, const struct rb_blend *pair,
                                           struct rb_weights *last, uint32_t layer,
                                           struct rb_error *err) RB_MUST_CHECK;
/* Fills part `item` of item_count; any thread. */
enum rb_status rb_weights_fill(const struct rb_weights *w, const struct rb_blend *blend,
                               size_t item, struct rb_scratch *scratch,
                               struct rb_error *err) RB_MUST_CHECK;
void rb_weights_deinit(struct rb_weights *w);
/* Floats of the largest buffer that one layer needs; for the plan of a job. */
uint64_t rb_weights_layer_floats(const struct rb_config *c);

#endif
