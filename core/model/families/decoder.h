/* core/model/families/decoder.h: what the configs of models that read from left to right have in
 * common (METHOD 9). Errors as in core/model/config.h: RB_ECONFIG naming the member. */
#ifndef RB_CORE_MODEL_FAMILIES_DECODER_H
#define RB_CORE_MODEL_FAMILIES_DECODER_H

#include "core/model/config.h"

/* Refuses by its member's name what no forward pass here computes: quantized weights, mixtures of
 * experts, cross attention, ALiBi, a window that would hide tokens. */
enum rb_status rb_decoder_refuse(const char *label, const json_t *json,
                                 struct rb_error *err) RB_MUST_CHECK;

/* A size that may be absent or null: then `fallback`. */
enum rb_status rb_decoder_read_size(const char *label, const json_t *json, const char *key,
                                    uint32_t fallback, uint32_t *ret,
                                    struct rb_error *err) RB_MUST_CHECK;

/* hidden_act and its like, by transformers' names; absent: fallback. */
enum rb_status rb_decoder_read_activation(const char *label, const json_t *json, const char *key,
                                          enum rb_activation fallback, enum rb_activation *ret,
                                          struct rb_error *err) RB_MUST_CHECK;

/* pad_token_id and eos_token_id (the first of a list): none where it is absent, null, -1 or beyond
 * the vocabulary. RB_ECONFIG. */
enum rb_status rb_decoder_read_tokens(const char *label, const json_t *json, struct rb_config *c,
                                      struct rb_error *err) RB_MUST_CHECK;

/* heads, num_key_value_heads and head_dim, the last two as transformers fills them in. */
enum rb_status rb_decoder_read_heads(const char *label, const json_t *json, struct rb_config *c,
                                     struct rb_error *err) RB_MUST_CHECK;

/* Rotary positions by transformers' older spelling (theta_key and part_key at the top, and
 * rope_scaling) and its newer one (rope_parameters). part_key NULL: all of a head turns. */
struct rb_decoder_rope_keys {
    const char *theta, *part;
    double theta_default, part_default;
};
enum rb_status rb_decoder_read_rope(const char *label, const json_t *json,
                                    const struct rb_decoder_rope_keys *keys, struct rb_config *c,
                                    struct rb_error *err) RB_MUST_CHECK;

/* What no config says: causal attention, no token types, no embeddings norm, a final norm before
 * the head, every bias. Before a family's own members are read. */
void rb_decoder_describe(struct rb_config *c);

/* The heads of every family here: the unembedding, or a classifier over the last token. */
extern const struct rb_head_shape rb_decoder_heads[];

#endif
