/* core/model/rotary.h: rotary positions (METHOD 9), as tables of cosines and sines.
 *
 * The first `dims` entries of each head turn with the position: entry i makes a plane with entry
 * i + dims / 2, and the plane's angle at position t is t * frequency(i). The rest stays. A table
 * serves every layer and head of a run, and both models, whose rope must be equal.
 */
#ifndef RB_CORE_MODEL_ROTARY_H
#define RB_CORE_MODEL_ROTARY_H

#include "core/model/family.h"

#include <stddef.h>

/* Radians per position of plane i < dims / 2: theta^(-2 i / dims). With RB_ROPE_LLAMA3 a wave
 * longer than original_positions / low_frequency_factor is stretched by `factor`, one shorter than
 * original_positions / high_frequency_factor is left alone, and between them it goes over linearly
 * in the number of waves that original_positions hold. */
double rb_rope_frequency(const struct rb_rope *rope, size_t i);

struct rb_rotary {
    size_t dims, positions;
    float *cosine, *sine; /* (positions, dims / 2), owned */
};

/* Tables for positions [0, positions). RB_ENOMEM. The caller owns *ret: rb_rotary_deinit. */
enum rb_status rb_rotary_init(const struct rb_rope *rope, size_t positions, struct rb_rotary *ret,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_rotary_deinit(struct rb_rotary *r);

/* y = x turned to `position`, one head of `head_dim` >= dims entries; y may be x. */
void rb_rotary_turn(const struct rb_rotary *r, size_t position, const float *x, size_t head_dim,
                    float *y);

/* Reference: the formula, in F64. */
void rb_ref_rotary(const struct rb_rope *rope, size_t position, const double *x, size_t head_dim,
                   double *y);

#endif
