/* core/model/correct.h: what lets a stream of post-LN models turn (METHOD 10, near-equivalent).
 *
 * A norm after the addition, n g + b (g its gain, G = diag g), lies on the stream's way, so a
 * turned stream x' = x O meets another gain g' = (O o O)^T g there. What reads that stream is
 * corrected for it: with G' = diag g' and b' = O^T b
 *
 *     W'' = W G O G'^-1,   c'' = c + W b - W'' b'
 *
 * so that it sees exactly what it saw; only what the residual path keeps is changed, by O G' - G O.
 * Nothing is stored twice: rows are corrected as they are read. */
#ifndef RB_CORE_MODEL_CORRECT_H
#define RB_CORE_MODEL_CORRECT_H

#include "core/model/map.h"
#include "core/model/tensors.h"

struct rb_correction {
    const struct rb_model *model; /* borrowed */
    /* (2 L + 1, d) each, by the tap of the stream: g, 1 / g', and b - G O G'^-1 b'; one block,
     * gains own it. Where no norm makes a tap: 1, 1 and 0. */
    double *gains, *inverses, *shifts;
};

/* stream: dense, orthogonal, of hidden_size units; not needed afterwards. RB_ENUMERIC where a moved
 * gain is 0, RB_ENOMEM. */
enum rb_status rb_correction_init(struct rb_correction *c, const struct rb_model *m,
                                  const struct rb_map *stream, struct rb_error *err) RB_MUST_CHECK;
void rb_correction_deinit(struct rb_correction *c);

/* Does that slot read the stream as a linear map, or is it the bias of one? */
bool rb_correction_changes(const struct rb_correction *c, enum rb_slot slot);

/* Rows as rb_tensor_read gave them, into those before the stream's map: x (count, columns) <- W G;
 * of a bias c + W (b - …). RB_ENOMEM only. */
enum rb_status rb_correction_before(const struct rb_correction *c, enum rb_slot slot,
                                    uint32_t layer, const struct rb_rows *rows, float *x,
                                    struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;
/* Rows after that map: x (count, columns) <- x G'^-1; nothing of a bias. */
void rb_correction_after(const struct rb_correction *c, enum rb_slot slot, uint32_t layer,
                         size_t count, float *x);

#endif
