/* core/model/embed.h: where the stream begins. */
#ifndef RB_CORE_MODEL_EMBED_H
#define RB_CORE_MODEL_EMBED_H

#include "core/model/blend.h"
#include "core/model/spans.h"

/* Word, position and type embeddings, as far as the model has them; their norm; the projection from
 * E to hidden_size where they differ. x (tokens of the span, hidden_size): residual.0.
 * ret_basis: NULL, or room for (tokens, embedding_size): what comes out of the norm. RB_ENOMEM. */
enum rb_status rb_embed(const struct rb_blend *blend, const struct rb_sequences *s,
                        const struct rb_span *span, float *x, float *ret_basis,
                        struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

/* The sum of the tables alone, before any norm: x (tokens, embedding_size). RB_ENOMEM. */
enum rb_status rb_embed_sum(const struct rb_blend *blend, const struct rb_sequences *s,
                            const struct rb_span *span, float *x, struct rb_scratch *scratch,
                            struct rb_error *err) RB_MUST_CHECK;
/* The projection alone, where E is not hidden_size: y (rows, hidden_size) of x (rows, E).
 * RB_ENOMEM. */
enum rb_status rb_embed_project(const struct rb_blend *blend, const float *x, size_t rows, float *y,
                                struct rb_scratch *scratch, struct rb_error *err) RB_MUST_CHECK;

#endif
