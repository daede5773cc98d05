/* server/store/jobs.h: the jobs, their states, and every way to list them.
 *
 * A job's row changes only through rb_job_change and rb_job_edit; each is one transaction that
 * also counts `version` up and appends the event that tells of it, so no state is ever reached
 * unheard. Loop thread only.
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
void rb_job_row_deinit(struct rb_job_row *row);

/* ---- one job ---- */

/* Adds a queued job. Of job, borrowed: id, name, labels, priority, spec_json, inputs, created_ms,
 * retry_of; all else is as rb_job_init leaves it. The inputs' roles decide which models and
 * datasets the job counts as using. ret_event (the caller's, or NULL) is its first "status". */
enum rb_status rb_job_add(struct rb_store *s, const struct rb_job *job, int64_t *ret_seq,
                          struct rb_event_row *ret_event, struct rb_error *err) RB_MUST_CHECK;

/* RB_ENOTFOUND. The caller owns *ret: rb_job_row_deinit. */
enum rb_status rb_job_get(struct rb_store *s, const char *id, struct rb_job_row *ret,
                          struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_job_get_seq(struct rb_store *s, int64_t seq, struct rb_job_row *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* The job to run next: queued, highest priority, then oldest. *ret_found false if none waits.
 * Claiming it is rb_job_change to RB_JOB_RUNNING, before anything of it runs. */
enum rb_status rb_job_next(struct rb_store *s, bool *ret_found, struct rb_job_row *ret,
                           struct rb_error *err) RB_MUST_CHECK;

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

/* Removes the job and all rows that belong to it. RB_EINUSE while it is live; RB_ENOTFOUND. */
enum rb_status rb_job_delete(struct rb_store *s, int64_t seq, struct rb_error *err) RB_MUST_CHECK;

/* ---- many ---- */

/* Jobs by status, kept up to date by triggers: no scan. */
enum rb_status rb_jobs_count(struct rb_store *s, uint64_t ret[RB_JOB_STATUS_COUNT],
                             struct rb_error *err) RB_MUST_CHECK;
/* Submission time of the oldest queued job, -1 if none. */
enum rb_status rb_jobs_oldest_queued(struct rb_store *s, int64_t *ret_created_ms,
                                     struct rb_error *err) RB_MUST_CHECK;
/* Does a live job use that model or dataset? */
enum rb_status rb_jobs_use_model(struct rb_store *s, const char *name, bool *ret,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_jobs_use_dataset(struct rb_store *s, const char *name, bool *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

enum rb_job_sort {
    RB_JOB_SORT_CREATED_DESC, /* "-created_at": newest first */
    RB_JOB_SORT_CREATED,
    RB_JOB_SORT_UPDATED_DESC,
    RB_JOB_SORT_UPDATED,
    RB_JOB_SORT_PRIORITY_DESC, /* "-priority": the order in which they will run */
    RB_JOB_SORT_PRIORITY,
    RB_JOB_SORT_COUNT
};
/* "-created_at", "created_at" …: in enum order, NULL-terminated, for rb_enum_find. */
extern const char *const rb_job_sort_names[];

enum { RB_JOB_FILTER_LABELS = 8 };

/* Where a page ended: the sort key and seq of the last job looked at. For page tokens. */
struct rb_job_cursor {
    bool present;
    int64_t key, seq;
};

struct rb_job_filter {
    uint32_t statuses;                           /* bits of 1 << RB_JOB_…; 0 means any */
    struct rb_labels labels;                     /* all must fit; borrowed */
    const char *model;                           /* as a or b; NULL any */
    int64_t created_after_ms, created_before_ms; /* exclusive; 0 means open */
    enum rb_job_sort sort;
    struct rb_job_cursor after;
    uint32_t limit; /* 1 … 500 */
};

struct rb_job_page {
    struct rb_job_row *rows;
    size_t count;
    struct rb_job_cursor next; /* present if there may be more */
};

/* One page. It passes over no more than some hundred jobs that do not fit, so that no combination
 * of filters can hold up the loop: a page may hold fewer rows than the limit, even none, and still
 * have a `next`. One filter alone, or statuses with one label or the model, always finds its rows
 * directly. RB_EQUERY for more than RB_JOB_FILTER_LABELS labels.
 * The caller owns *ret: rb_job_page_deinit. */
enum rb_status rb_jobs_list(struct rb_store *s, const struct rb_job_filter *filter,
                            struct rb_job_page *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_job_page_deinit(struct rb_job_page *page);

#endif
