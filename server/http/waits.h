/* server/http/waits.h: requests that wait for something to change: Prefer: wait, and the long poll
 * by ETag. Loop thread only. */
#ifndef RB_SERVER_HTTP_WAITS_H
#define RB_SERVER_HTTP_WAITS_H

#include "server/http/common.h"

enum { RB_WAIT_MAX_SECONDS = 60 };

/* What is waited for, as it was just read. */
struct rb_waited {
    void *own;     /* the kind's, zeroed before read; deinit undoes what read did to it */
    int64_t group; /* of a group: its seq */
    bool ended;    /* nothing will change any more */
    char tag[RB_JOB_TAG_SIZE];
};

struct rb_wait_kind {
    const char *noun;
    bool is_group; /* events of any job of the group matter; else those of the job `id` alone */
    size_t own_bytes;
    /* Fills *now, own too. */
    enum rb_status (*read)(struct rb_request *r, const char *id, struct rb_waited *now,
                           struct rb_error *err);
    void (*reply)(struct rb_request *r, int status, const struct rb_waited *now);
    void (*deinit)(void *own);
};

/* Waits at most `seconds`, then replies `late_status` with what is as it is; until_finished: or
 * earlier, 200 when it has ended; else: or earlier, 200 when its ETag is no longer among those of
 * If-None-Match (304 when time is up). The kind lives as long as the program. */
void rb_wait_begin(struct rb_request *r, const struct rb_wait_kind *kind, const char *id,
                   int seconds, bool until_finished, int late_status);

/* The same for a job. */
void rb_wait_for_job(struct rb_request *r, const char *job_id, int seconds, bool until_finished,
                     int late_status);

#endif
