/* server/work/submit.h: everything that can be checked about a job before its 202.
 *
 * DESIGN. Names are looked up on the loop thread; then, on a pool thread, both models are opened
 * and bound, compared with each other and with the task, and the first rows of the datasets are
 * read as the job would read them. So a submission fails with the same words as the job would
 * have, only sooner. What was looked up is looked up again when the job is added: a model replaced
 * in between is RB_ECONFLICT.
 *
 *     rb_submit_check(w, specs, n, …)           parsed specs; done(…) comes later
 *     rb_store_begin
 *       rb_submission_add(s, now)               inside the caller's transaction, so that an
 *       rb_idempotency_add(…)                   Idempotency-Key commits with its jobs
 *     rb_store_end
 *     rb_submission_committed(s)                rings the hub, wakes the queue
 *     rb_submission_free(s)
 *
 * Loop thread only.
 */
#ifndef RB_SERVER_WORK_SUBMIT_H
#define RB_SERVER_WORK_SUBMIT_H

#include "api/job.h"
#include "api/job_spec.h"
#include "api/service.h"
#include "server/work/plan.h"
#include "server/work/work_state.h"

struct rb_submission;

struct rb_submission_item {
    struct rb_job_spec spec; /* defaults filled, lengths fitted to the model */
    struct rb_job_input inputs[RB_JOB_INPUTS_MAX];
    size_t input_count;
    struct rb_estimate estimate;
    const struct rb_plan *plan; /* NULL before the check; with the submission */
    char id[RB_JOB_ID_SIZE];    /* "" before rb_submission_add */
};

/* Called once, never from inside rb_submit_check. err's pointer is that of the member at fault,
 * "/jobs/3/models/b" for a batch. The submission is the caller's to free in any case, in here or
 * later. */
typedef void rb_submit_done(void *data, struct rb_submission *s, enum rb_status status,
                            const struct rb_error *err);

/* Takes the `count` specs and their array (rb_job_specs_free), even on failure. batch: pointers
 * start with "/jobs/<i>". Errors by way of done:
 *   RB_EINPUT      an unknown model, dataset or job; a length beyond the model's positions; a
 *                  dataset without the fields the task needs; a model that is not ready
 *   RB_EMODELS     models or tokenizers differ: the member of config.json and both values
 *   RB_EHEAD, RB_EDATASET, RB_EVOCAB, RB_ETENSOR, RB_ESHAPE, RB_ESAFETENSORS …  as the job would
 *   RB_EDISKFULL   fewer bytes free than the job will write
 * RB_ENOMEM at once. */
enum rb_status rb_submit_check(struct rb_work *w, struct rb_job_spec *specs, size_t count,
                               bool batch, rb_submit_done *done, void *data,
                               struct rb_submission **ret, struct rb_error *err) RB_MUST_CHECK;

/* A new job like `id`, which must be finished (RB_ECONFLICT, RB_ENOTFOUND at once). Stages and
 * points of the old one are reused where the inputs still have the same digests. It takes the old
 * one's place in its group. */
enum rb_status rb_submit_retry(struct rb_work *w, const char *id, rb_submit_done *done, void *data,
                               struct rb_submission **ret, struct rb_error *err) RB_MUST_CHECK;

/* All names that were not found, where that is why the check failed; else empty. */
const struct rb_problems *rb_submission_missing(const struct rb_submission *s);

size_t rb_submission_count(const struct rb_submission *s);
const struct rb_submission_item *rb_submission_item(const struct rb_submission *s, size_t i);

/* Whose the jobs are to be, and how many of theirs may wait and run (0: any number); bytes: that
 * they may store yet (UINT64_MAX: any number). Before rb_submission_add; all copied. */
struct rb_submitter {
    const char *name; /* "": nobody's */
    uint64_t queued, running, bytes;
};
void rb_submission_by(struct rb_submission *s, const struct rb_submitter *by);
/* Every job is to be of that group, at the place that it has in the submission. Before
 * rb_submission_add. */
void rb_submission_group(struct rb_submission *s, const char *group);

/* Adds every job, all or none. RB_EQUEUEFULL when they do not all fit below the queue limit or
 * their submitter's, RB_ETOOLARGE when they would store more than their submitter may,
 * RB_EDRAINING, RB_ECONFLICT when an input changed since the check. */
enum rb_status rb_submission_add(struct rb_submission *s, int64_t now_ms,
                                 struct rb_error *err) RB_MUST_CHECK;
/* After the commit. */
void rb_submission_committed(struct rb_submission *s);

/* Before done was called: done will not be called. s may be NULL. Jobs that were added and not
 * committed leave nothing behind. */
void rb_submission_free(struct rb_submission *s);

#endif
