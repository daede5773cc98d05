/* tests/unit/work_support.h: server/work over a store in a temporary folder, without HTTP. */
#ifndef RB_TESTS_WORK_SUPPORT_H
#define RB_TESTS_WORK_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/store/jobs_read.h"
#include "server/work/work_state.h"

#include "unit/store_support.h"

#include <math.h>

static uv_loop_t loop;
static struct rb_work work;

/* Only once in a process: the pool's size is libuv's. */
static inline int set_up_work(void **state)
{
    (void)set_up(state);
    assert_int_equal(uv_loop_init(&loop), 0);
    work = (struct rb_work){.loop = &loop,
                            .store = store,
                            .options = {.data_dir = folder.path,
                                        .data_fd = open(folder.path, O_RDONLY | O_DIRECTORY),
                                        .workers = 1,
                                        .parallel_jobs = 2,
                                        .queue_limit = 10}};
    assert_ok(rb_pool_new(&loop, 1, &work.pool, &err));
    rb_hub_init(&work.hub);
    (void)uv_idle_init(&loop, &work.look);
    (void)uv_timer_init(&loop, &work.later);
    work.look.data = work.later.data = &work;
    return 0;
}

static inline int tear_down_work(void **state)
{
    rb_hub_deinit(&work.hub);
    rb_pool_close(work.pool);
    uv_close((uv_handle_t *)&work.look, NULL);
    uv_close((uv_handle_t *)&work.later, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    (void)close(work.options.data_fd);
    return tear_down(state);
}

/* Until nothing runs on the pool any more. */
static inline void run_out(void)
{
    do
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    while (rb_pool_has_asyncs(work.pool));
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static inline enum rb_job_status status_of(int64_t seq)
{
    struct rb_job_row row;
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    enum rb_job_status status = row.job.status;
    rb_job_row_deinit(&row);
    return status;
}

static inline uint32_t attempt_of(int64_t seq)
{
    struct rb_job_row row;
    assert_ok(rb_job_get_seq(store, seq, &row, &err));
    uint32_t attempt = row.job.attempt;
    rb_job_row_deinit(&row);
    return attempt;
}

#endif
