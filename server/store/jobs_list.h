/* server/store/jobs_list.h: every way to list jobs. */
#ifndef RB_SERVER_STORE_JOBS_LIST_H
#define RB_SERVER_STORE_JOBS_LIST_H

#include "server/store/jobs.h"

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
    const char *group;                           /* its id; NULL any */
    const char *submitted_by;                    /* "": nobody's; NULL any */
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
 * have a `next`. One filter alone, or statuses with one label, the model or the group, always finds
 * its rows directly. RB_EQUERY for more than RB_JOB_FILTER_LABELS labels. The caller owns *ret:
 * rb_job_page_deinit. */
enum rb_status rb_jobs_list(struct rb_store *s, const struct rb_job_filter *filter,
                            struct rb_job_page *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_job_page_deinit(struct rb_job_page *page);

#endif
