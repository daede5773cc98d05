/* core/model/config.h: config.json into the neutral description (struct rb_config, family.h), and
 * the readers that the families' parsers are made of. Each names the member, what was found and
 * what was expected: RB_ECONFIG. label: how errors call the file. */
#ifndef RB_CORE_MODEL_CONFIG_H
#define RB_CORE_MODEL_CONFIG_H

#include "core/model/family.h"

/* Finds the family by "model_type" and lets it parse. Sizes are positive and within bounds (layers
 * <= 1024, sizes <= 2^24), heads divide the width. */
enum rb_status rb_config_parse(const char *label, const json_t *json,
                               const struct rb_family **ret_family, struct rb_config *ret,
                               struct rb_error *err) RB_MUST_CHECK;

uint64_t rb_config_dim(const struct rb_config *c, enum rb_dim dim); /* 1 for RB_DIM_NONE */

/* Do both say the same model, as far as its function depends on it? RB_EMODELS naming the first
 * member that differs, as f's config.json calls it, and both values. labels: num_labels too. */
enum rb_status rb_configs_equal(const struct rb_family *f, const struct rb_config *a,
                                const struct rb_config *b, bool labels,
                                struct rb_error *err) RB_MUST_CHECK;

/* ---- for families ---- */

enum { RB_LAYERS_MAX = 1024, RB_SIZE_MAX = 1 << 24, RB_CLASSES_MAX = 65536 };

struct rb_config_size { /* an integer from 1 to `most` */
    const char *key;
    uint32_t most, fallback; /* fallback 0: must be there */
    size_t offset;           /* of a uint32_t in struct rb_config */
};
enum rb_status rb_config_read_sizes(const char *label, const json_t *json,
                                    const struct rb_config_size *rows, size_t count,
                                    struct rb_config *ret, struct rb_error *err) RB_MUST_CHECK;
/* How a family's config gives the sizes that all have: vocab_size, hidden_size, num_hidden_layers,
 * num_attention_heads, intermediate_size, max_position_embeddings. */
struct rb_config_shape {
    const struct rb_config_key *keys; /* the family's names for them, as in struct rb_family */
    uint32_t positions;               /* max_position_embeddings where the config has none */
    uint32_t inner; /* intermediate_size where it is absent or null, in hidden_size; 0: it must
                     * be there */
};
/* Fills those, and embedding_size and max_length with what they are without a member of their own:
 * hidden_size and max_position_embeddings. */
enum rb_status rb_config_read_shape(const char *label, const json_t *json,
                                    const struct rb_config_shape *shape, struct rb_config *ret,
                                    struct rb_error *err) RB_MUST_CHECK;
/* A member that, if present, must hold the one value that the forward pass implements. */
enum rb_status rb_config_require_text(const char *label, const json_t *json, const char *key,
                                      const char *expected, struct rb_error *err) RB_MUST_CHECK;
/* The same of a flag; why: what it would mean otherwise, or "". */
enum rb_status rb_config_require_flag(const char *label, const json_t *json, const char *key,
                                      bool expected, const char *why,
                                      struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_config_read_flag(const char *label, const json_t *json, const char *key,
                                   bool fallback, bool *ret, struct rb_error *err) RB_MUST_CHECK;
/* A number from 0 to 1. */
enum rb_status rb_config_read_epsilon(const char *label, const json_t *json, const char *key,
                                      double fallback, float *ret,
                                      struct rb_error *err) RB_MUST_CHECK;
/* An integer from 0 to `most`; null counts as absent. */
enum rb_status rb_config_read_id(const char *label, const json_t *json, const char *key,
                                 uint32_t most, uint32_t fallback, uint32_t *ret,
                                 struct rb_error *err) RB_MUST_CHECK;
/* num_labels, else the size of id2label, else 2. */
enum rb_status rb_config_read_labels(const char *label, const json_t *json, uint32_t *ret,
                                     struct rb_error *err) RB_MUST_CHECK;
/* One head_dim for all of hidden_size, keys and values as many as queries; an error where heads do
 * not divide it. */
enum rb_status rb_config_set_heads(const char *label, const struct rb_config_shape *shape,
                                   struct rb_config *c, struct rb_error *err) RB_MUST_CHECK;
void rb_config_read_class(const json_t *json, struct rb_config *ret); /* class_name */

#endif
