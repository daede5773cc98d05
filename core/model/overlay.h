/* core/model/overlay.h: weights of a merged model that are no blend of its parents': solved or
 * trained after the merge (METHOD 12). A blend that has an overlay reads a tensor from there where
 * it is held, so that what evaluates and what writes see the same weights. */
#ifndef RB_CORE_MODEL_OVERLAY_H
#define RB_CORE_MODEL_OVERLAY_H

#include "core/model/model.h"

/* Zero-initialise. */
struct rb_overlay {
    uint32_t layers;
    float **values; /* (RB_SLOT_COUNT, layers): a slot's rows as its readers see them; owned, NULL
                     * where the blend's own are read */
};

/* Nothing held. RB_ENOMEM. The caller owns *ret: rb_overlay_deinit. */
enum rb_status rb_overlay_init(struct rb_overlay *ret, const struct rb_model *m,
                               struct rb_error *err) RB_MUST_CHECK;
void rb_overlay_deinit(struct rb_overlay *o);

/* Holds that slot from now on, as zeros (rb_model_size), unless it is held already; layer 0 of
 * slots that no layer owns. RB_ENOMEM. */
enum rb_status rb_overlay_add(struct rb_overlay *o, const struct rb_model *m, enum rb_slot slot,
                              uint32_t layer, struct rb_error *err) RB_MUST_CHECK;
/* NULL where it is not held. */
float *rb_overlay_at(const struct rb_overlay *o, enum rb_slot slot, uint32_t layer);

#endif
