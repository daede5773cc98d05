/* server/store/jobs_read.h: one job as the store has it, and counts. */
#ifndef RB_SERVER_STORE_JOBS_READ_H
#define RB_SERVER_STORE_JOBS_READ_H

#include "server/store/jobs.h"

void rb_job_row_deinit(struct rb_job_row *row);

/* RB_ENOTFOUND. The caller owns *ret: rb_job_row_deinit. */
enum rb_status rb_job_get(struct rb_store *s, const char *id, struct rb_job_row *ret,
                          struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_job_get_seq(struct rb_store *s, int64_t seq, struct rb_job_row *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* The job to run next: queued, highest priority, then oldest. *ret_found false if none waits.
 * Claiming it is rb_job_change to RB_JOB_RUNNING, before anything of it runs. */
enum rb_status rb_job_next(struct rb_store *s, bool *ret_found, struct rb_job_row *ret,
                           struct rb_error *err) RB_MUST_CHECK;

/* Jobs by status, kept up to date by triggers: no scan. */
enum rb_status rb_jobs_count(struct rb_store *s, uint64_t ret[RB_JOB_STATUS_COUNT],
                             struct rb_error *err) RB_MUST_CHECK;

/* Submission time of the oldest queued job, -1 if none. */
enum rb_status rb_jobs_oldest_queued(struct rb_store *s, int64_t *ret_created_ms,
                                     struct rb_error *err) RB_MUST_CHECK;

/* What a submitter has: jobs that wait and that run; bytes of uploads and artifacts. */
struct rb_usage {
    uint64_t queued, running, bytes;
};
enum rb_status rb_submitter_usage(struct rb_store *s, const char *who, struct rb_usage *ret,
                                  struct rb_error *err) RB_MUST_CHECK;

#endif
