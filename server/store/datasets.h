/* server/store/datasets.h: the texts that jobs can name. Loop thread only. */
#ifndef RB_SERVER_STORE_DATASETS_H
#define RB_SERVER_STORE_DATASETS_H

#include "api/dataset.h"
#include "server/store/registered.h"

/* When written all is borrowed, when read the row owns it. */
struct rb_dataset_row {
    struct rb_dataset_resource resource;
    bool imported; /* in place below an import root; else below datasets/ in the data folder */
    char *path;    /* of the file; absolute if imported, else relative to the data folder */
    int64_t updated_ms;
    uint64_t version; /* 1, then up by one with each put */
};
void rb_dataset_row_deinit(struct rb_dataset_row *row);

/* Inserts, or replaces all but created_ms and whose it is; the version is the store's.
 * *ret_created says which (may be NULL). */
enum rb_status rb_dataset_put(struct rb_store *s, const struct rb_dataset_row *row,
                              bool *ret_created, struct rb_error *err) RB_MUST_CHECK;
/* RB_ENOTFOUND naming the dataset. */
enum rb_status rb_dataset_get(struct rb_store *s, const char *name, struct rb_dataset_row *ret,
                              struct rb_error *err) RB_MUST_CHECK;
/* To list, find and delete them: rb_registered_list and so on. */
extern const struct rb_registered_kind rb_datasets_kind;
enum rb_status rb_datasets_count(struct rb_store *s, uint64_t *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
