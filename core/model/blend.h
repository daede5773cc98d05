/* core/model/blend.h: theta(lambda) = (1 - lambda) theta_A + lambda theta_B', row by row.
 *
 * The one place where B is permuted, rotated, converted and interpolated (METHOD 5 and 6): the
 * forward pass, the certificate and the writer of merged checkpoints all read weights through it,
 * so they cannot disagree. */
#ifndef RB_CORE_MODEL_BLEND_H
#define RB_CORE_MODEL_BLEND_H

#include "core/memory.h"
#include "core/model/model.h"

/* How B's axes move. index[axis][l]: (size) new unit i is old unit index[i]; NULL: stays. */
struct rb_motion {
    uint32_t layers;
    const uint32_t **index;       /* (RB_AXIS_COUNT, layers); borrowed vectors, owned table */
    const float **rotation;       /* (layers) queries and keys: (heads, d_h, d_h), NULL: none */
    const float **value_rotation; /* (layers) values and output projection */
    bool decoder_untied;          /* the decoder no longer equals the moved word embeddings */
};

enum rb_status rb_motion_init(struct rb_motion *m, uint32_t layers,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_motion_deinit(struct rb_motion *m);

struct rb_blend {
    const struct rb_model *a;       /* may be NULL when lambda is 1 */
    const struct rb_model *b;       /* may be NULL when lambda is 0 */
    const struct rb_motion *motion; /* NULL: B as it is */
    double lambda;
};

/* Rows [first, first + rows) of a tensor in F32, dst (rows, columns) row-major. A vector has one
 * column, i.e. its elements are rows. RB_ENOMEM only. */
enum rb_status rb_blend_rows(const struct rb_blend *blend, enum rb_role role, uint32_t layer,
                             size_t first, size_t rows, float *dst, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;

/* Rows ids[0 … count) of an embedding table, in that order; dst (count, columns). ids must lie
 * inside the table. RB_ENOMEM only. */
enum rb_status rb_blend_gather(const struct rb_blend *blend, enum rb_role role, const int32_t *ids,
                               size_t count, float *dst, struct rb_scratch *scratch,
                               struct rb_error *err) RB_MUST_CHECK;

/* The model that says sizes: A, or B where there is no A. */
const struct rb_model *rb_blend_model(const struct rb_blend *blend);

/* The whole tensor without copying when it already lies in memory as F32, aligned, unmoved and
 * uninterpolated; else NULL. */
const float *rb_blend_direct(const struct rb_blend *blend, enum rb_role role, uint32_t layer);

#endif
