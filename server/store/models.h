/* server/store/models.h: the checkpoints that jobs can name. Loop thread only. */
#ifndef RB_SERVER_STORE_MODELS_H
#define RB_SERVER_STORE_MODELS_H

#include "server/store/store.h"

#define RB_MODEL_STATUS_MAP(X)                                                                     \
    X(INCOMPLETE, "incomplete") /* files are missing */                                            \
    X(READY, "ready")                                                                              \
    X(INVALID, "invalid") /* complete but unusable; `problems` says why */

enum rb_model_status {
#define RB_MODEL_STATUS_ENUM(symbol, name) RB_MODEL_##symbol,
    RB_MODEL_STATUS_MAP(RB_MODEL_STATUS_ENUM)
#undef RB_MODEL_STATUS_ENUM
        RB_MODEL_STATUS_COUNT
};
const char *rb_model_status_name(enum rb_model_status s);

/* Strings are NULL where unknown. When written they are borrowed, when read the row owns them. */
struct rb_model_row {
    char *name;
    bool imported; /* in place below an import root; else below models/ in the data folder */
    char *path;    /* of the folder; absolute if imported, else relative to the data folder */
    enum rb_model_status status;
    char *facts;    /* JSON object: architecture, hidden_size, …, dtype */
    char *files;    /* JSON array: name, bytes, sha256 of each */
    char *problems; /* JSON array of sentences */
    uint64_t bytes;
    char *sha256; /* hex, over the files' digests; NULL until all are hashed */
    int64_t created_at_ms, updated_at_ms;
    uint64_t version; /* 1, then up by one with each put */
};
void rb_model_row_deinit(struct rb_model_row *row);

/* Inserts, or replaces all but created_at. row->version and created_at_ms of an existing row are
 * the store's. *ret_created says which (may be NULL). */
enum rb_status rb_model_put(struct rb_store *s, const struct rb_model_row *row, bool *ret_created,
                            struct rb_error *err) RB_MUST_CHECK;
/* RB_ENOTFOUND naming the model. */
enum rb_status rb_model_get(struct rb_store *s, const char *name, struct rb_model_row *ret,
                            struct rb_error *err) RB_MUST_CHECK;
/* RB_EINUSE while a live job uses it; RB_ENOTFOUND. The files are the caller's to remove. */
enum rb_status rb_model_delete(struct rb_store *s, const char *name,
                               struct rb_error *err) RB_MUST_CHECK;
/* By name, those after `after` (NULL: from the start). The caller owns *ret: rb_models_free. */
enum rb_status rb_models_list(struct rb_store *s, const char *after, uint32_t limit,
                              struct rb_model_row **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_models_free(struct rb_model_row *rows, size_t count);

#endif
