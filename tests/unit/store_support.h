/* A store in a temporary folder, and jobs for it. */
#ifndef RB_TESTS_STORE_SUPPORT_H
#define RB_TESTS_STORE_SUPPORT_H

#include "server/base/ids.h"
#include "server/store/jobs.h"
#include "server/store/results.h"
#include "unit/tmpdir.h"

static struct tmpdir folder;
static struct rb_store *store;
static struct rb_error err; /* of the last call */

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum rb_status status_ = (call);                                                           \
        if (status_ != RB_OK)                                                                      \
            fail_msg("%s: %s: %s", #call, rb_problem_code(status_), err.detail);                   \
    } while (0)

static inline void open_store(const char *vfs)
{
    assert_ok(rb_store_open(tmpdir_path(&folder, "rebasind.db"), vfs, NULL, &store, &err));
}

static inline int set_up(void **state)
{
    (void)state;
    assert_ok(rb_ids_init(&err));
    tmpdir_init(&folder);
    open_store(NULL);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    rb_store_close(store);
    store = NULL;
    tmpdir_deinit(&folder);
    return 0;
}

static inline void reopen_store(void)
{
    rb_store_close(store);
    open_store(NULL);
}

/* A job at that time that uses models a and b and dataset d; *job is the caller's to change. */
static inline void make_job(struct rb_job *job, int64_t created_ms)
{
    static char spec[] = "{\"models\":{}}";
    static const struct rb_job_input inputs[] = {
        {.role = "model_a", .name = "a"},
        {.role = "model_b", .name = "b"},
        {.role = "align_dataset", .name = "d"},
    };
    rb_job_init(job);
    rb_job_id_make(created_ms, job->id);
    job->created_ms = created_ms;
    job->spec_json = spec;
    memcpy(job->inputs, inputs, sizeof inputs);
    job->input_count = 3;
}

static inline int64_t add_job(int64_t created_ms)
{
    struct rb_job job;
    int64_t seq;
    make_job(&job, created_ms);
    assert_ok(rb_job_add(store, &job, &seq, NULL, &err));
    return seq;
}

static inline enum rb_status change_job(int64_t seq, enum rb_job_status to, int64_t at_ms)
{
    struct rb_job_change change = {
        .to = to, .phase = to == RB_JOB_RUNNING ? RB_PHASE_LOADING : RB_PHASE_NONE, .at_ms = at_ms};
    return rb_job_change(store, seq, &change, NULL, &err);
}

#endif
