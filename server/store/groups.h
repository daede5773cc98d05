/* server/store/groups.h: jobs that were asked for together. A job's place in its group is its
 * `position`; a retry takes that of the job it repeats, and of those at one position the newest
 * counts. Loop thread only. */
#ifndef RB_SERVER_STORE_GROUPS_H
#define RB_SERVER_STORE_GROUPS_H

#include "server/store/jobs.h"

enum { RB_GROUP_KIND_SIZE = 16 };

/* When written borrowed, when read owned: rb_group_row_deinit. */
struct rb_group_row {
    int64_t seq;
    char id[RB_JOB_ID_SIZE];
    char kind[RB_GROUP_KIND_SIZE]; /* "sweep" */
    char *name;                    /* NULL: none */
    char *labels, *spec, *grid;    /* JSON */
    size_t jobs;                   /* positions */
    int64_t created_ms;
    char submitted_by[RB_SUBMITTER_SIZE];
};
void rb_group_row_deinit(struct rb_group_row *row);

/* Before its jobs, in their transaction. */
enum rb_status rb_group_add(struct rb_store *s, const struct rb_group_row *row,
                            struct rb_error *err) RB_MUST_CHECK;
/* RB_ENOTFOUND. */
enum rb_status rb_group_get(struct rb_store *s, const char *id, struct rb_group_row *ret,
                            struct rb_error *err) RB_MUST_CHECK;
/* Newest first, those older than `before` (a seq; 0: from the newest). The caller owns *ret. */
enum rb_status rb_groups_list(struct rb_store *s, int64_t before, uint32_t limit,
                              struct rb_group_row **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;
void rb_groups_free(struct rb_group_row *rows, size_t count);

/* Its jobs by position, the newest of each; new. The caller owns *ret: rb_group_jobs_free. */
enum rb_status rb_group_jobs(struct rb_store *s, int64_t group, struct rb_job_row **ret,
                             size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
void rb_group_jobs_free(struct rb_job_row *rows, size_t count);
/* Every job that was ever of it, repeated ones too; seqs are the caller's to free(). */
enum rb_status rb_group_members(struct rb_store *s, int64_t group, int64_t **ret, size_t *ret_count,
                                struct rb_error *err) RB_MUST_CHECK;
/* Is the job of that id of the group? */
bool rb_group_has(struct rb_store *s, int64_t group, const char *job);
/* The group's row; its jobs are gone already. */
enum rb_status rb_group_delete(struct rb_store *s, int64_t group,
                               struct rb_error *err) RB_MUST_CHECK;

#endif
