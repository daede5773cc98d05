/* core/model/families/decoder.h: what the configs of models that read from left to right have in
 * common (METHOD 9). Errors as in core/model/config.h: RB_ECONFIG naming the member. */
#ifndef RB_CORE_MODEL_FAMILIES_DECODER_H
#define RB_CORE_MODEL_FAMILIES_DECODER_H

#include "core/model/config.h"

/* Rotary positions by transformers' older spelling (theta and part at the top, and rope_scaling)
 * and its newer one (rope_parameters). part NULL: all of a head turns. */
struct rb_decoder_rope_keys {
    const char *theta, *part;
    double theta_default, part_default;
};

/* How a family spells what every decoder's config says, and what holds where it says nothing. */
struct rb_decoder_spelling {
    struct rb_config_shape shape;
    bool grouped;                            /* num_key_value_heads and head_dim are read, too */
    const struct rb_decoder_rope_keys *rope; /* NULL: learnt positions */
    const char *epsilon, *activation;
    double epsilon_default;
    enum rb_activation activation_default;
    bool tied;
};

/* Reads it: sizes, heads, positions, labels, tokens, the norms' epsilon, activation, whether the
 * unembedding is tied. Refuses by its member's name what no forward pass here computes: quantized
 * weights, mixtures of experts, cross attention, ALiBi, a window that would hide tokens. */
enum rb_status rb_decoder_read(const char *label, const json_t *json,
                               const struct rb_decoder_spelling *spelling, struct rb_config *c,
                               struct rb_error *err) RB_MUST_CHECK;

/* What no config says: causal attention, no token types, no embeddings norm, a final norm before
 * the head, every bias. Before a family's own members are read. */
void rb_decoder_describe(struct rb_config *c);

/* The heads of every family here: the unembedding, or a classifier over the last token. */
extern const struct rb_head_shape rb_decoder_heads[];

#endif
