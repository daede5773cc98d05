/* server/http/submissions.h: the way from a request to jobs that are queued, for whatever asks for
 * some: checked off the loop, then added in one transaction with the answer that an Idempotency-Key
 * gives again; Prefer: wait, dry run. Loop thread only. */
#ifndef RB_SERVER_HTTP_SUBMISSIONS_H
#define RB_SERVER_HTTP_SUBMISSIONS_H

#include "api/encode.h"
#include "api/job_spec.h"
#include "server/base/hash.h"
#include "server/http/request.h"
#include "server/work/submit.h"

enum { RB_KEY_MAX_BYTES = 128 };

struct rb_submitting;

/* What one way of asking has of its own; NULL where it has not. */
struct rb_submit_kind {
    const char *path; /* of Location, before "/" and the id; NULL: there is none */
    const char *(*id)(const struct rb_submitting *f); /* with a path: of what was made */
    /* In the transaction, before the jobs are added. */
    enum rb_status (*begin)(struct rb_submitting *f, int64_t now_ms, struct rb_error *err);
    /* The answer's body, in the transaction, after they were. */
    enum rb_status (*encode)(struct rb_submitting *f, struct rb_json *w, struct rb_error *err);
    void (*estimate)(const struct rb_submitting *f, struct rb_json *w); /* of a dry run */
    /* Replies once it has ended, or with 202 after so many seconds. NULL: Prefer is ignored. */
    void (*wait)(struct rb_request *r, const char *id, int seconds);
    /* Says where in the body a fault of the check is; it comes as "/jobs/3/models/b". */
    void (*place)(const struct rb_submitting *f, struct rb_error *err);
    size_t own_bytes;              /* of rb_submitting.own; 0: none */
    void (*own_deinit)(void *own); /* with own_bytes */
};

struct rb_submitting {
    struct rb_request *r;
    const struct rb_submit_kind *kind;
    struct rb_submission *submission;
    void *own; /* the kind's, zeroed at first */
    bool dry_run;
    int wait_seconds; /* -1: none */
    bool has_key;
    char key[RB_KEY_MAX_BYTES + 1];
    unsigned char request_sha256[RB_SHA256_BYTES];
    struct rb_submitting *next;
};

/* NULL: a reply was made. */
struct rb_submitting *rb_submitting_new(struct rb_request *r, const struct rb_submit_kind *kind);
/* Takes specs (count) and f; replies, now or later. many: faults are placed in "/jobs/<i>". */
void rb_submitting_check(struct rb_submitting *f, struct rb_job_spec *specs, size_t count,
                         bool many);

#endif
