/* server/store/jobs.h: the jobs and their states; jobs_read.h has what reads them, jobs_list.h
 * every way to list them.
 *
 * A job's row changes only through rb_job_change, rb_job_edit and rb_job_warn; each is one
 * transaction that also counts `version` up and appends the event that tells of it, so no state is
 * ever reached unheard. Loop thread only.
 *
 * At start, before anything runs, the owner lists the jobs that are running or canceling: the last
 * process died over them. It makes a canceling one canceled; a running one queued again, or failed
 * with RB_ECRASHLOOP if its run_attempts has reached RB_JOB_MAX_RUNS.
 */
#ifndef RB_SERVER_STORE_JOBS_H
#define RB_SERVER_STORE_JOBS_H

#include "api/job.h"
#include "server/store/events.h"
#include "server/store/store.h"

enum {
    RB_JOB_ANY = (1 << RB_JOB_STATUS_COUNT) - 1,
    RB_JOB_LIVE = 1 << RB_JOB_QUEUED | 1 << RB_JOB_RUNNING | 1 << RB_JOB_CANCELING,
    RB_JOB_MAX_RUNS = 3 /* runs without anything new on disk before a job is given up */
};

/* job holds what the store knows: all but progress, artifacts included (by name). */
struct rb_job_row {
    int64_t seq; /* the job's key in other tables; grows with each submission */
    uint32_t
        run_attempts; /* claims since a stage or point was last recorded, at least 1 if running */
    struct rb_job job;
};

/* ---- one job ---- */

/* Adds a queued job. Of job, borrowed: id, name, labels, priority, spec_json, inputs, created_ms,
 * retry_of, group, position, submitted_by and running_limit; all else is as rb_job_init leaves it.
 * The inputs' roles decide which models and datasets the job counts as using. ret_event (the
 * caller's, or NULL) is its first "status". */
enum rb_status rb_job_add(struct rb_store *s, const struct rb_job *job, int64_t *ret_seq,
                          struct rb_event_row *ret_event, struct rb_error *err) RB_MUST_CHECK;

/* What a transition brings; NULL and 0 keep what is there. Everything borrowed. */
struct rb_job_change {
    enum rb_job_status to;
    enum rb_phase phase; /* with RB_JOB_RUNNING; else RB_PHASE_NONE */
    int64_t at_ms;
    bool uncharged; /* running to queued by a drain: takes the attempt back */
    const struct rb_job_summary *summary;
    const double *timings;   /* (RB_PHASE_COUNT) seconds, NaN where not run */
    uint64_t peak_bytes;     /* the larger of this and what is there stays */
    const char *environment; /* JSON */
    const struct rb_job_error *error;
    const struct rb_job_input *inputs; /* (input_count), with digests now known */
    size_t input_count;
    const struct rb_artifact *artifacts; /* (artifact_count) added in the same transaction */
    size_t artifact_count;
};
/* Allowed: queued to running (a claim: counts attempt and run_attempts up, sets started_at if this
 * is the first), canceled, failed; running to running (another phase), queued, canceling,
 * succeeded, failed; canceling to canceled. Finished statuses set finished_at; back to queued keeps
 * the job's place in the queue. ret_event: as for rb_job_add.
 * RB_ECONFLICT for any other transition (err names both statuses); RB_ENOTFOUND. */
enum rb_status rb_job_change(struct rb_store *s, int64_t seq, const struct rb_job_change *change,
                             struct rb_event_row *ret_event, struct rb_error *err) RB_MUST_CHECK;

/* What PATCH sets: the members named by patch->given. if_version 0: whatever it is.
 * RB_EPRECOND if the version is another; RB_ENOTFOUND. */
enum rb_status rb_job_edit(struct rb_store *s, int64_t seq, const struct rb_job_patch *patch,
                           uint64_t if_version, int64_t at_ms, struct rb_event_row *ret_event,
                           struct rb_error *err) RB_MUST_CHECK;

/* Keeps what is to be known before the job's results are used; of several the last. RB_ENOTFOUND.
 */
enum rb_status rb_job_warn(struct rb_store *s, int64_t seq, const char *warning, int64_t at_ms,
                           struct rb_event_row *ret_event, struct rb_error *err) RB_MUST_CHECK;

/* Removes the job and all rows that belong to it. RB_EINUSE while it is live; RB_ENOTFOUND. */
enum rb_status rb_job_delete(struct rb_store *s, int64_t seq, struct rb_error *err) RB_MUST_CHECK;

/* Notes that something of the running job became durable: what ended the process before counts no
 * longer (run_attempts). Stages and points do so by themselves. Inside a transaction. */
enum rb_status rb_job_progressed(struct rb_store *s, int64_t job,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
