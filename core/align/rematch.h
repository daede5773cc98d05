/* core/align/rematch.h: matching the units of FF and heads by what their weights say (METHOD 10,
 * `match` and `rounds`). B's weights are read as they are but for the stream, whose map is known by
 * then: bases inside a layer can be compared only where both models speak one language around it.
 *
 * With `weights` the similarity of units is the sum over their matrices of W_A W_B^T / (|W_A|
 * |W_B|) (products.h); with `both` that and the one from activations, each divided by its norm.
 * Heads go as in METHOD 4 and 9, on the products of values and outputs, and of queries and keys
 * where these follow the same order. Signs: up and down are odd, gate is even. */
#ifndef RB_CORE_ALIGN_REMATCH_H
#define RB_CORE_ALIGN_REMATCH_H

#include "core/align/alignment.h"
#include "core/align/heads.h"
#include "core/align/shape.h"
#include "core/align/similarity.h"

struct rb_rematch {
    const struct rb_align_options *options;
    const struct rb_align_shape *shape;
    const struct rb_heads_shape *heads;
    const struct rb_moments *moments; /* not read with `weights` */
    struct rb_blend a, b;             /* one model each; b: the stream moved and nothing else */
};

/* One layer's FF units anew: index, signs and score of g; its correlations are forgotten.
 * source: g's from activations. *ret_moved: units that have another partner than before. As
 * rb_assignment_solve. */
enum rb_status rb_rematch_ff(const struct rb_rematch *r, struct rb_group *g,
                             const struct rb_similarity_source *source, size_t *ret_moved,
                             struct rb_worker *w, struct rb_error *err) RB_MUST_CHECK;

/* What one layer's heads are matched from. */
struct rb_rematch_layer {
    struct rb_group *mha, *qk; /* qk NULL: queries and keys follow mha */
    const struct rb_similarity_source *mha_source, *qk_source; /* from activations */
    const struct rb_similarity_source *values;                 /* of grouped queries; else NULL */
    struct rb_heads_work *work; /* not used where the structure of heads is ignored */
};

/* One layer's heads likewise: which heads, their units, and the bases inside them. */
enum rb_status rb_rematch_heads(const struct rb_rematch *r, const struct rb_rematch_layer *l,
                                size_t *ret_moved, struct rb_worker *w,
                                struct rb_error *err) RB_MUST_CHECK;

/* Floating-point operations of all layers once, and bytes of one worker that does it. */
double rb_rematch_cost(const struct rb_align_shape *s, const struct rb_align_options *o);
uint64_t rb_rematch_bytes(const struct rb_align_shape *s, const struct rb_align_options *o);

#endif
