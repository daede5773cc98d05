/* core/align/shape.h: what an alignment must know of a model (METHOD 9's groups), and which options
 * a model admits. */
#ifndef RB_CORE_ALIGN_SHAPE_H
#define RB_CORE_ALIGN_SHAPE_H

#include "core/align/options.h"
#include "core/model/model.h"

struct rb_align_shape {
    uint32_t layers, hidden_size, inner_size;
    uint32_t embedding_size; /* E; hidden_size where the embeddings are the stream */
    uint32_t heads, kv_heads, head_dim;
    uint32_t rotary_dims;   /* of each head; 0: none */
    uint32_t residual_taps; /* 2 L + 1, or L + 1 with parallel residuals */
    bool gated;             /* act(gate) * up: odd in up */
    bool rms;               /* norms without a mean */
    bool norm_before;       /* a norm before each sublayer: it can be folded */
    bool norm_after;        /* a norm after each addition: its gains are on the stream's way */
    bool query_key_norm;    /* gains on queries and keys: these turn no basis */
    enum rb_head head;
};

void rb_align_shape_of(const struct rb_config *c, enum rb_head head, struct rb_align_shape *ret);

/* Does its head have a hidden layer whose units could be matched? `output_head` without one is
 * refused, but where `near` asked for it nothing happens. */
bool rb_align_has_hidden(const struct rb_align_shape *s);

/* Does the model admit what is asked for? RB_EMODELS in words that say why not; err->pointer names
 * the option. */
enum rb_status rb_align_check(const struct rb_align_shape *s, const struct rb_align_options *o,
                              struct rb_error *err) RB_MUST_CHECK;

#endif
