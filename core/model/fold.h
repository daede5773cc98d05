/* core/model/fold.h: norms folded into the linear maps around them (METHOD 10), for families with a
 * norm before each sublayer. The function is the same; the stream then admits any orthogonal map.
 *
 * With gain g and bias b of the norm before a map W, c:
 *
 *     W' = W diag(g),  c' = c + W b,  g' = 1,  b' = 0
 *
 * The final norm's gain goes into the unembedding (which unties it); its bias becomes b / g and
 * stays. For LayerNorm all that is written to the stream is centred: rows of the embeddings, and
 * the outputs of attention output and down projection with their biases. Nothing is stored twice:
 * rows are folded as they are read, in F64, rounded once. */
#ifndef RB_CORE_MODEL_FOLD_H
#define RB_CORE_MODEL_FOLD_H

#include "core/model/tensors.h"

struct rb_fold {
    const struct rb_model *model; /* borrowed */
    double *means;                /* per layer the column means of both writers; LayerNorm only */
    size_t per_layer;
};

/* Reads what is written to the stream once, for its means. RB_EMODELS when a norm has a bias and a
 * map behind it has none to take it, or a gain of the final norm that has a bias is 0; RB_ENOMEM.
 */
enum rb_status rb_fold_init(struct rb_fold *f, const struct rb_model *m,
                            struct rb_error *err) RB_MUST_CHECK;
void rb_fold_deinit(struct rb_fold *f);

/* Does folding change this tensor? */
bool rb_fold_changes(const struct rb_fold *f, enum rb_slot slot);

/* As rb_tensor_read, folded. RB_ENOMEM only. */
enum rb_status rb_fold_read(const struct rb_fold *f, enum rb_slot slot, uint32_t layer,
                            const struct rb_rows *rows, float *dst, struct rb_scratch *scratch,
                            struct rb_error *err) RB_MUST_CHECK;

#endif
