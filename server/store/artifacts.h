/* server/store/artifacts.h: a job's files. */
#ifndef RB_SERVER_STORE_ARTIFACTS_H
#define RB_SERVER_STORE_ARTIFACTS_H

#include "api/artifact.h"
#include "server/store/store.h"

/* Replaces one of the same name. */
enum rb_status rb_artifact_put(struct rb_store *s, int64_t job, const struct rb_artifact *artifact,
                               struct rb_error *err) RB_MUST_CHECK;

/* RB_ENOTFOUND. */
enum rb_status rb_artifact_get(struct rb_store *s, int64_t job, const char *name,
                               struct rb_artifact *ret, struct rb_error *err) RB_MUST_CHECK;

/* By name. The caller frees *ret: free(). */
enum rb_status rb_artifacts_list(struct rb_store *s, int64_t job, struct rb_artifact **ret,
                                 size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;

#endif
