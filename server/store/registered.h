/* server/store/registered.h: what models and datasets do alike; private to server/store. */
#ifndef RB_SERVER_STORE_REGISTERED_H
#define RB_SERVER_STORE_REGISTERED_H

#include "server/store/query.h"

struct rb_registered_kind {
    const char *noun;        /* "model", in messages */
    const char *select_one;  /* one parameter: the name */
    const char *select_page; /* two: the name to go on after, and how many rows */
    const char *remove;      /* one: the name */
    /* Does a live job use it? */
    enum rb_status (*used)(struct rb_store *s, const char *name, bool *ret, struct rb_error *err);
    /* Ends q, and gives all its rows with what belongs to them. */
    enum rb_status (*read)(struct rb_query *q, void **ret, size_t *ret_count, struct rb_error *err);
    size_t row_bytes;
};

/* Runs an upsert that returns the version, and ends it; *ret_created: it was an insert. */
enum rb_status rb_registered_put(struct rb_query *q, bool *ret_created,
                                 struct rb_error *err) RB_MUST_CHECK;
/* RB_EINUSE while a live job uses it; RB_ENOTFOUND. */
enum rb_status rb_registered_remove(struct rb_store *s, const struct rb_registered_kind *kind,
                                    const char *name, struct rb_error *err) RB_MUST_CHECK;
/* *ret: (kind->row_bytes). RB_ENOTFOUND naming it. */
enum rb_status rb_registered_get(struct rb_store *s, const struct rb_registered_kind *kind,
                                 const char *name, void *ret, struct rb_error *err) RB_MUST_CHECK;
/* By name, those after `after` (NULL: from the start). The caller owns *ret. */
enum rb_status rb_registered_list(struct rb_store *s, const struct rb_registered_kind *kind,
                                  const char *after, uint32_t limit, void **ret, size_t *ret_count,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
