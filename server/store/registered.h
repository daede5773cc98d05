/* server/store/registered.h: what models and datasets do alike. Loop thread only. */
#ifndef RB_SERVER_STORE_REGISTERED_H
#define RB_SERVER_STORE_REGISTERED_H

#include "server/store/store.h"

struct rb_query;

/* What a row of either tells; name is the row's. */
struct rb_registered {
    const char *name;
    const char *submitted_by; /* the row's; "": nobody's */
    bool imported;
    int64_t updated_ms;
    uint64_t version;
};

/* The third parameter of select_page. */
#define RB_REGISTERED_MINE "(?3 IS NULL OR submitted_by = ?3)"

/* Models and datasets as data; a "row" is a struct rb_model_row or struct rb_dataset_row. */
struct rb_registered_kind {
    const char *noun;        /* "model", in messages */
    const char *plural;      /* "models", in addresses */
    const char *select_one;  /* one parameter: the name */
    const char *select_page; /* three: the name to go on after, how many rows, and whose or NULL */
    const char *remove;      /* one: the name */
    /* Does a live job use it? */
    enum rb_status (*used)(struct rb_store *s, const char *name, bool *ret, struct rb_error *err);
    /* Ends q, and gives all its rows with what belongs to them. */
    enum rb_status (*read)(struct rb_query *q, void **ret, size_t *ret_count, struct rb_error *err);
    struct rb_registered (*describe)(const void *row);
    void (*deinit)(void *row);
    size_t row_bytes;
};

/* Runs an upsert that returns the version, and ends it; *ret_created: it was an insert. */
enum rb_status rb_registered_put(struct rb_query *q, bool *ret_created,
                                 struct rb_error *err) RB_MUST_CHECK;
/* RB_EINUSE while a live job uses it; RB_ENOTFOUND. The files are the caller's to remove. */
enum rb_status rb_registered_remove(struct rb_store *s, const struct rb_registered_kind *kind,
                                    const char *name, struct rb_error *err) RB_MUST_CHECK;
/* RB_ENOTFOUND naming it. The caller owns *ret, one row: rb_registered_free. */
enum rb_status rb_registered_get(struct rb_store *s, const struct rb_registered_kind *kind,
                                 const char *name, void **ret, struct rb_error *err) RB_MUST_CHECK;
/* The same into *ret, the caller's row: deinit of its own kind. */
enum rb_status rb_registered_read(struct rb_store *s, const struct rb_registered_kind *kind,
                                  const char *name, void *ret, struct rb_error *err) RB_MUST_CHECK;
/* By name, those after `after` (NULL: from the start), of one submitter (NULL: of all). The caller
 * owns *ret: rb_registered_free. */
enum rb_status rb_registered_list(struct rb_store *s, const struct rb_registered_kind *kind,
                                  const char *after, const char *submitted_by, uint32_t limit,
                                  void **ret, size_t *ret_count,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_registered_free(const struct rb_registered_kind *kind, void *rows, size_t count);
/* Row i of those. */
const void *rb_registered_at(const struct rb_registered_kind *kind, const void *rows, size_t i);

#endif
