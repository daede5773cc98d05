/* api/sweep.h: many jobs asked for as one: a spec, and a grid of values for some of its members.
 * Pure functions.
 *
 * The grid's keys are members by their way from the spec's root ("align.heads"), its values lists
 * of what the member becomes. Each combination is a job, the last key turning fastest; jobs are
 * numbered from 0 in that order. */
#ifndef RB_API_SWEEP_H
#define RB_API_SWEEP_H

#include "api/decode.h"
#include "api/encode.h"
#include "api/job.h"
#include "api/job_spec.h"

enum {
    RB_SWEEP_JOBS_MAX = 256,
    RB_SWEEP_KEYS_MAX = 8,
};

/* Zero-initialise. */
struct rb_sweep {
    char *name; /* NULL: none */
    struct rb_labels labels;
    json_t *spec; /* as given; owned */
    json_t *grid; /* as given; owned */
};
void rb_sweep_deinit(struct rb_sweep *s);

/* {"spec","grid","name","labels"}: the grid well-formed, with 1 to RB_SWEEP_JOBS_MAX combinations;
 * the jobs are rb_sweep_specs's to check. RB_EINPUT, RB_ENOMEM. The caller owns *ret. */
enum rb_status rb_sweep_decode(const json_t *json, struct rb_sweep *ret,
                               struct rb_problems *problems, struct rb_error *err) RB_MUST_CHECK;
/* The same of another body that becomes a sweep (matrix.h): body's fields fill a rb_sweep. */
enum rb_status rb_sweep_decode_as(const struct rb_object *body, const json_t *json,
                                  struct rb_sweep *ret, struct rb_problems *problems,
                                  struct rb_error *err) RB_MUST_CHECK;
size_t rb_sweep_count(const struct rb_sweep *s);

/* The job of each combination: named by what is its own, with the sweep's labels beside the spec's.
 * Faults point to the grid's value that brought them about ("/grid/align.heads/1"), else into
 * "/spec"; each is told once. The caller owns *ret, (rb_sweep_count): rb_job_specs_free. */
enum rb_status rb_sweep_specs(const struct rb_sweep *s, struct rb_job_spec **ret,
                              struct rb_problems *problems, struct rb_error *err) RB_MUST_CHECK;

/* Turns a pointer into job `index`'s spec ("/align/heads") into one into the sweep's body, as
 * above.
 */
void rb_sweep_place(const struct rb_sweep *s, size_t index, char *pointer, size_t size);

/* {"align.heads":"permute", …}: what is job `index`'s own, without members that have one value. */
void rb_sweep_settings(struct rb_json *w, const char *key, const json_t *grid, size_t index);

#endif
