/* core/model/blend.h: theta = sum of weight * maps(model) over any number of models, row by row.
 *
 * The one place where weights are moved, converted and summed (METHOD 5, 6, 10 and 13): the forward
 * pass, the certificate and the writer of merged checkpoints all read them through it, so they
 * cannot disagree. */
#ifndef RB_CORE_MODEL_BLEND_H
#define RB_CORE_MODEL_BLEND_H

#include "core/model/correct.h"
#include "core/model/fold.h"
#include "core/model/map.h"
#include "core/model/overlay.h"
#include "core/model/tensors.h"

enum { RB_BLEND_MOST = 32 }; /* models in one sum */

/* How one model's axes move: a map per axis and layer. */
struct rb_motion {
    uint32_t layers;
    struct rb_map *maps; /* (RB_AXIS_COUNT, layers); the table is owned, what maps point to is
                          * borrowed */
    void **kept;         /* (kept_count) arrays of its own that maps point to; owned */
    size_t kept_count;
    bool decoder_untied; /* the decoder no longer equals the moved word embeddings */
    const struct rb_fold
        *fold; /* borrowed; NULL, or what is done to the weights before they move */
    struct rb_correction *correction; /* owned; NULL, or what the turned stream's readers need */
};

/* Every map the identity. */
enum rb_status rb_motion_init(struct rb_motion *m, uint32_t layers,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_motion_deinit(struct rb_motion *m);
/* Folds the model's norms before it moves; f is borrowed. A tied unembedding takes the final norm's
 * gain, which unties it. */
void rb_motion_fold(struct rb_motion *m, const struct rb_fold *f);
/* Takes away what was worked out for the readers of a turned stream. */
void rb_motion_uncorrect(struct rb_motion *m);
/* Gives the motion an array to free with itself; frees it at once where there is no memory for
 * that. RB_ENOMEM, also for array NULL. */
enum rb_status rb_motion_keep(struct rb_motion *m, void *array, struct rb_error *err) RB_MUST_CHECK;
/* The map of an axis in one layer; of axes that no layer owns, layer 0's. */
struct rb_map *rb_motion_map(const struct rb_motion *m, enum rb_axis axis, uint32_t layer);

struct rb_blend_term {
    const struct rb_model *model;   /* borrowed */
    const struct rb_motion *motion; /* borrowed; NULL: as it is */
    double weight;
};

/* Terms of weight 0 are there (the first one's model says sizes) and never read. */
struct rb_blend {
    struct rb_blend_term terms[RB_BLEND_MOST];
    size_t count;  /* at least 1 */
    double lambda; /* what a point on the path between two is called; sums use the weights */
    const struct rb_overlay *overlay; /* borrowed; NULL, or what is read in place of the sum */
};

/* theta(lambda) = (1 - lambda) a + lambda motion(b); lambda is held inside [0, 1]. a may be NULL
 * when lambda is 1. */
struct rb_blend rb_blend_pair(const struct rb_model *a, const struct rb_model *b,
                              const struct rb_motion *motion, double lambda);
/* The same between two ends that both move: a folded A (weights of the terms are not read). */
struct rb_blend rb_blend_path(const struct rb_blend_term *a, const struct rb_blend_term *b,
                              double lambda);
/* One model, moved. */
struct rb_blend rb_blend_single(const struct rb_model *model, const struct rb_motion *motion);

/* The model that says sizes: the first term's. */
const struct rb_model *rb_blend_model(const struct rb_blend *blend);

/* Rows [first, first + rows) of a tensor in F32, dst (rows, columns) row-major. A vector has one
 * column, i.e. its elements are rows. RB_ENOMEM only. */
enum rb_status rb_blend_rows(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer,
                             size_t first, size_t rows, float *dst, struct rb_scratch *scratch,
                             struct rb_error *err) RB_MUST_CHECK;

/* Rows ids[0 … count) of a table, in that order; dst (count, columns). ids must lie inside the
 * table. RB_ENOMEM only. */
enum rb_status rb_blend_gather(const struct rb_blend *blend, enum rb_slot slot, const int32_t *ids,
                               size_t count, float *dst, struct rb_scratch *scratch,
                               struct rb_error *err) RB_MUST_CHECK;

/* The whole tensor without copying when it already lies in memory as F32, aligned, unmoved and
 * alone; else NULL. */
const float *rb_blend_direct(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer);

/* Rows that are best asked for together: as many as a map of this tensor mixes, 1 where none
 * does. Any other number is answered too, but a block that is asked for twice is mixed twice. */
size_t rb_blend_step(const struct rb_blend *blend, enum rb_slot slot, uint32_t layer);

#endif
