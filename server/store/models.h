/* server/store/models.h: the checkpoints that jobs can name. Loop thread only. */
#ifndef RB_SERVER_STORE_MODELS_H
#define RB_SERVER_STORE_MODELS_H

#include "api/model.h"
#include "server/store/store.h"

/* When written all is borrowed, when read the row owns it. */
struct rb_model_row {
    struct rb_model_resource resource; /* its source is made from the two below, when read */
    bool imported; /* in place below an import root; else below models/ in the data folder */
    char *path;    /* of the folder; absolute if imported, else relative to the data folder */
    int64_t updated_ms;
    uint64_t version; /* 1, then up by one with each put */
};
void rb_model_row_deinit(struct rb_model_row *row);

/* Inserts, or replaces all but created_ms; the version is the store's.
 * *ret_created says which (may be NULL). */
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
enum rb_status rb_models_count(struct rb_store *s, uint64_t *ret,
                               struct rb_error *err) RB_MUST_CHECK;

#endif
