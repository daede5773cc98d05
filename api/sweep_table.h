/* api/sweep_table.h: a sweep as its clients see it: how far it is, and a table of its jobs. Pure
 * functions. */
#ifndef RB_API_SWEEP_TABLE_H
#define RB_API_SWEEP_TABLE_H

#include "api/encode.h"
#include "api/job.h"

struct rb_sweep_row {
    size_t position;          /* the number of its combination */
    const struct rb_job *job; /* borrowed */
    uint32_t rank;            /* from 1; 0: none. rb_sweep_rank */
};

/* Ranks finished jobs by the loss of their best merge, least first; those whose verdict is another
 * function, and all of them where the grid varies what is evaluated, have no rank. */
void rb_sweep_rank(struct rb_sweep_row *rows, size_t count, const json_t *grid);

struct rb_sweep_view {
    const char *id, *kind;
    const char *name;                      /* NULL: null */
    const char *labels, *spec, *grid_text; /* JSON */
    const json_t *grid;
    const char *submitted_by; /* "": null */
    int64_t created_ms;
    size_t jobs;               /* combinations */
    struct rb_sweep_row *rows; /* (count) by position; fewer than jobs where some were deleted */
    size_t count;
    double eta_seconds; /* NaN: null */
};

/* How its jobs are, in one word: "running" while one is live (all of them queued: "queued"), then
 * "failed", "canceled" or "succeeded", the first that fits one of them. */
const char *rb_sweep_status(const struct rb_sweep_view *v);
/* How much of it is done, 0 … 1: finished jobs, and of those that run their fractions. */
double rb_sweep_fraction(const struct rb_sweep_view *v);

/* All but the table when with_table is false: for lists. */
void rb_sweep_encode(struct rb_json *w, const char *key, const struct rb_sweep_view *v,
                     bool with_table);
/* text/csv: a row a job, RFC 4180, LF. New, free() it. RB_ENOMEM. */
enum rb_status rb_sweep_csv(const struct rb_sweep_view *v, char **ret, size_t *ret_bytes,
                            struct rb_error *err) RB_MUST_CHECK;

#endif
