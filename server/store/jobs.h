/* server/store/jobs.h: the jobs, their states, and every way to list them.
 *
 * A job's row changes only through rb_job_change and rb_job_patch; each is one transaction that
 * also counts `version` up and appends the event that tells of it, so no state is ever reached
 * unheard. Loop thread only.
 */
#ifndef RB_SERVER_STORE_JOBS_H
#define RB_SERVER_STORE_JOBS_H

#include "server/base/ids.h"
#include "server/store/results.h"
#include "server/store/store.h"

/*    symbol, name, finished, statuses that may follow (bits of 1 << RB_JOB_…) */
#define RB_JOB_STATUS_MAP(X)                                                                       \
    X(QUEUED, "queued", 0, 1 << RB_JOB_RUNNING | 1 << RB_JOB_CANCELED | 1 << RB_JOB_FAILED)        \
    X(RUNNING, "running", 0,                                                                       \
      1 << RB_JOB_RUNNING | 1 << RB_JOB_QUEUED | 1 << RB_JOB_CANCELING | 1 << RB_JOB_SUCCEEDED |   \
          1 << RB_JOB_FAILED)                                                                      \
    X(CANCELING, "canceling", 0, 1 << RB_JOB_CANCELED)                                             \
    X(SUCCEEDED, "succeeded", 1, 0)                                                                \
    X(FAILED, "failed", 1, 0)                                                                      \
    X(CANCELED, "canceled", 1, 0)

enum rb_job_status {
#define RB_JOB_STATUS_ENUM(symbol, name, finished, next) RB_JOB_##symbol,
    RB_JOB_STATUS_MAP(RB_JOB_STATUS_ENUM)
#undef RB_JOB_STATUS_ENUM
        RB_JOB_STATUS_COUNT
};

enum {
    RB_JOB_ANY = (1 << RB_JOB_STATUS_COUNT) - 1,
    RB_JOB_LIVE = 1 << RB_JOB_QUEUED | 1 << RB_JOB_RUNNING | 1 << RB_JOB_CANCELING,
    RB_JOB_MAX_RUNS = 3 /* runs without anything new on disk before a job is given up */
};

const char *rb_job_status_name(enum rb_job_status s);
bool rb_job_status_from_name(const char *name, enum rb_job_status *ret);
bool rb_job_status_finished(enum rb_job_status s);

#define RB_JOB_PHASE_MAP(X)                                                                        \
    X(LOADING, "loading")                                                                          \
    X(ALIGNING, "aligning")                                                                        \
    X(SOLVING, "solving")                                                                          \
    X(CERTIFYING, "certifying")                                                                    \
    X(EVALUATING, "evaluating")                                                                    \
    X(WRITING, "writing")

enum rb_job_phase {
    RB_PHASE_NONE, /* not running */
#define RB_JOB_PHASE_ENUM(symbol, name) RB_PHASE_##symbol,
    RB_JOB_PHASE_MAP(RB_JOB_PHASE_ENUM)
#undef RB_JOB_PHASE_ENUM
        RB_PHASE_COUNT
};

/* NULL for RB_PHASE_NONE. */
const char *rb_job_phase_name(enum rb_job_phase p);

struct rb_label {
    const char *key, *value;
};

/* Strings are NULL where the job has none; times 0. */
struct rb_job_row {
    int64_t seq; /* the key of the job in other tables; grows with each submission */
    char id[RB_JOB_ID_TEXT];
    enum rb_job_status status;
    enum rb_job_phase phase;
    int32_t priority;
    char *name;
    char *labels;          /* JSON object */
    char *spec;            /* JSON, canonical, defaults filled in */
    char *inputs;          /* JSON array */
    uint32_t attempt;      /* runs begun, those ended by a drain not counted */
    uint32_t run_attempts; /* runs begun since something new was durable; see rb_jobs_recover */
    int64_t created_at_ms, started_at_ms, finished_at_ms, updated_at_ms;
    uint64_t version;                /* 1, then up by one with each change */
    char retry_of[RB_JOB_ID_TEXT];   /* "" */
    char *summary, *timings, *error; /* JSON objects */
    uint64_t peak_bytes;
};

void rb_job_row_deinit(struct rb_job_row *row);

/* ---- one job ---- */

/* What a new job is; everything borrowed. */
struct rb_job_new {
    const char *id;
    int64_t created_at_ms;
    int32_t priority;
    const char *name;                   /* may be NULL */
    const char *labels, *spec, *inputs; /* JSON; labels "{}" if none */
    const struct rb_label *label_list;  /* the same labels, for filters */
    size_t label_count;
    const char *const *models; /* names, for ?model= and for refusing deletions */
    size_t model_count;
    const char *const *datasets;
    size_t dataset_count;
    const char *retry_of; /* id or NULL */
    const char *event;    /* JSON of its first "status" event */
};
enum rb_status rb_job_add(struct rb_store *s, const struct rb_job_new *job, int64_t *ret_seq,
                          int64_t *ret_event_id, struct rb_error *err) RB_MUST_CHECK;

/* RB_ENOTFOUND. The caller owns *ret: rb_job_row_deinit. */
enum rb_status rb_job_get(struct rb_store *s, const char *id, struct rb_job_row *ret,
                          struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_job_get_seq(struct rb_store *s, int64_t seq, struct rb_job_row *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* The job to run next: queued, highest priority, then oldest. *ret_found false if none waits.
 * Claiming it is rb_job_change to RB_JOB_RUNNING before anything else happens. */
enum rb_status rb_job_next(struct rb_store *s, bool *ret_found, struct rb_job_row *ret,
                           struct rb_error *err) RB_MUST_CHECK;

/* What a transition brings; JSON NULL and peak 0 keep what is there. */
struct rb_job_change {
    enum rb_job_status to;
    enum rb_job_phase phase; /* with RB_JOB_RUNNING; else RB_PHASE_NONE */
    int64_t at_ms;
    bool uncharged; /* RUNNING to QUEUED by a drain: takes the attempt back */
    const char *summary, *timings, *error, *inputs;
    uint64_t peak_bytes;                     /* kept if the one there is larger */
    const struct rb_artifact_row *artifacts; /* added in the same transaction */
    size_t artifact_count;
    const char *event; /* JSON of the "status" event */
};
/* QUEUED to RUNNING is a claim: it counts attempt and run_attempts up and sets started_at if this
 * is the first. RUNNING to RUNNING is a new phase. Finished statuses set finished_at.
 * RB_ECONFLICT if the transition is not in the table above (err names both); RB_ENOTFOUND. */
enum rb_status rb_job_change(struct rb_store *s, int64_t seq, const struct rb_job_change *change,
                             int64_t *ret_event_id, struct rb_error *err) RB_MUST_CHECK;

/* What PATCH may set; NULL and false keep. */
struct rb_job_patch {
    int64_t at_ms;
    uint64_t if_version; /* 0: whatever it is */
    bool set_name, set_priority;
    const char *name; /* with set_name; NULL removes it */
    int32_t priority;
    const char *labels; /* JSON object with label_list, or NULL to keep */
    const struct rb_label *label_list;
    size_t label_count;
    const char *event;
};
/* RB_EPRECOND if the version is another; RB_ENOTFOUND. */
enum rb_status rb_job_patch(struct rb_store *s, int64_t seq, const struct rb_job_patch *patch,
                            int64_t *ret_event_id, struct rb_error *err) RB_MUST_CHECK;

/* Removes the job and all rows that belong to it. RB_EINUSE while it is live; RB_ENOTFOUND. */
enum rb_status rb_job_delete(struct rb_store *s, int64_t seq, struct rb_error *err) RB_MUST_CHECK;

/* At start, before anything runs: what the last process left behind. Called for each job that was
 * running or canceling, oldest first; `decide` makes the change (see rb_job_recovery) and its
 * event, valid until the next call. All in one transaction. */
struct rb_job_recovery {
    /* Called with each job found; sets *change: canceling becomes CANCELED; running becomes QUEUED
     * (not uncharged), or FAILED with RB_ECRASHLOOP where run_attempts has reached
     * RB_JOB_MAX_RUNS. change->to comes so preset; the callback adds error, event and time. */
    void (*decide)(const struct rb_job_row *job, struct rb_job_change *change, void *data);
    void *data;
};
enum rb_status rb_jobs_recover(struct rb_store *s, const struct rb_job_recovery *recovery,
                               size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;

/* ---- many ---- */

/* Jobs by status, kept up to date by triggers: no scan. */
enum rb_status rb_jobs_count(struct rb_store *s, uint64_t ret[RB_JOB_STATUS_COUNT],
                             struct rb_error *err) RB_MUST_CHECK;
/* Submission time of the oldest queued job, 0 if none. */
enum rb_status rb_jobs_oldest_queued(struct rb_store *s, int64_t *ret_created_at_ms,
                                     struct rb_error *err) RB_MUST_CHECK;
/* Does a live job use that model or dataset? */
enum rb_status rb_jobs_use_model(struct rb_store *s, const char *name, bool *ret,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_jobs_use_dataset(struct rb_store *s, const char *name, bool *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

#define RB_JOB_SORT_MAP(X)                                                                         \
    X(CREATED_DESC, "-created_at")                                                                 \
    X(CREATED, "created_at")                                                                       \
    X(UPDATED_DESC, "-updated_at")                                                                 \
    X(UPDATED, "updated_at")                                                                       \
    X(PRIORITY_DESC, "-priority") /* the order in which they will run */                           \
    X(PRIORITY, "priority")

enum rb_job_sort {
#define RB_JOB_SORT_ENUM(symbol, name) RB_JOB_SORT_##symbol,
    RB_JOB_SORT_MAP(RB_JOB_SORT_ENUM)
#undef RB_JOB_SORT_ENUM
        RB_JOB_SORT_COUNT
};

/* NULL-terminated in enum order, for help and errors. */
extern const char *const rb_job_sort_names[];
bool rb_job_sort_from_name(const char *name, enum rb_job_sort *ret);

enum { RB_JOB_FILTER_LABELS = 8 };

/* Where a page ended: the sort key and seq of its last job. Written into page tokens. */
struct rb_job_cursor {
    bool present;
    int64_t key, seq;
};

struct rb_job_filter {
    uint32_t statuses;                            /* bits of 1 << RB_JOB_…; 0 means any */
    struct rb_label labels[RB_JOB_FILTER_LABELS]; /* all must fit */
    size_t label_count;
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

/* One page. It looks at no more than some thousand candidates, so that no combination of filters
 * can hold up the loop: a page may hold fewer rows than the limit, even none, and still have a
 * `next`. One filter alone (statuses, a label, the model, times) always finds its rows directly.
 * The caller owns *ret: rb_job_page_deinit. */
enum rb_status rb_jobs_list(struct rb_store *s, const struct rb_job_filter *filter,
                            struct rb_job_page *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_job_page_deinit(struct rb_job_page *page);

#endif
