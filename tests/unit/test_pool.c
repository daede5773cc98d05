// LINK: server_work
#include "server/work/hub.h"
#include "server/work/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A program whose every round depends on all items of the round before: x[i] = mix of the whole
 * previous vector. A missing barrier or a lost item changes the final sum. */
enum { WIDTH = 24, ROUNDS = 6 };

struct chain {
    struct rb_program program;
    size_t round;
    double before[WIDTH], after[WIDTH];
    atomic_int running;
    atomic_int most;
    atomic_bool overlapped; /* next_round was called while an item ran */
    size_t fail_round, fail_items[2];
    const char *log_name;
    unsigned sleep_us;
    int company;         /* items of the first round wait until so many run at once … */
    struct chain *other; /* … and the last item of each round until one of this program has run */
    atomic_int items_run;
};

static char event_log[512];

static enum rb_status chain_next(struct rb_program *p, size_t *ret, struct rb_error *err)
{
    struct chain *c = (struct chain *)p;
    if (atomic_load(&c->running) != 0)
        atomic_store(&c->overlapped, true);
    if (c->round == 99)
        return rb_error_set(err, RB_EIO, "the round itself failed");
    memcpy(c->before, c->after, sizeof c->before);
    *ret = c->round < ROUNDS ? WIDTH : 0;
    c->round++;
    return RB_OK;
}

enum { PATIENCE_MS = 20000 };

static bool must_wait(struct chain *c, size_t item)
{
    if (c->round == 1 && atomic_load(&c->most) < c->company)
        return true;
    return c->other != NULL && item == WIDTH - 1 && atomic_load(&c->other->items_run) == 0;
}

static enum rb_status chain_item(struct rb_program *p, size_t item, struct rb_worker *w,
                                 struct rb_error *err)
{
    struct chain *c = (struct chain *)p;
    int now = atomic_fetch_add(&c->running, 1) + 1, most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now)) {
    }
    atomic_fetch_add(&c->items_run, 1);
    float *scratch = rb_scratch_alloc(&w->scratch, WIDTH, sizeof *scratch);
    assert_non_null(scratch);
    double sum = 0;
    for (size_t j = 0; j < WIDTH; j++) {
        scratch[j] = (float)(c->before[j] * (double)(item + j + 1));
        sum += (double)scratch[j] / 3.0;
    }
    if (c->sleep_us > 0)
        uv_sleep(c->sleep_us / 1000);
    for (int i = 0; i < PATIENCE_MS && must_wait(c, item); i++)
        uv_sleep(1);
    c->after[item] = sum / (WIDTH * WIDTH) + (double)item;
    enum rb_status status = RB_OK;
    if (c->fail_round == c->round && (item == c->fail_items[0] || item == c->fail_items[1]))
        status = rb_error_set(err, RB_ENUMERIC, "item %zu", item);
    else if (rb_worker_stopped(w))
        status = rb_error_set(err, RB_ECANCELED, "item %zu was stopped", item);
    atomic_fetch_sub(&c->running, 1);
    return status;
}

static double chain_cost(const struct rb_program *p, size_t item)
{
    (void)p;
    (void)item;
    return 2.5;
}

static void chain_free(struct rb_program *p)
{
    (void)p;
}

static const struct rb_program_ops chain_ops = {chain_next, chain_item, chain_cost, chain_free};

static void chain_init(struct chain *c)
{
    memset(c, 0, sizeof *c);
    c->program.ops = &chain_ops;
    c->program.total_cost = 2.5 * WIDTH * ROUNDS;
    for (size_t i = 0; i < WIDTH; i++)
        c->after[i] = 1.0 / (double)(i + 3);
}

/* ---- the loop under test ---- */

struct bed {
    uv_loop_t loop;
    struct rb_pool *pool;
};

static void bed_open(struct bed *b, unsigned workers)
{
    struct rb_error err;
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(rb_pool_new(&b->loop, workers, &b->pool, &err), RB_OK);
    event_log[0] = '\0';
}

static void bed_close(struct bed *b)
{
    rb_pool_close(b->pool);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

struct outcome {
    struct rb_pool_task task;
    enum rb_status status;
    char detail[512];
    int calls;
};

static void note_done(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct outcome *o = task->data;
    struct chain *c = (struct chain *)task->program;
    assert_int_equal(atomic_load(&c->running), 0);
    o->status = status;
    o->calls++;
    if (err != NULL)
        (void)snprintf(o->detail, sizeof o->detail, "%s", err->detail);
    if (c->log_name != NULL)
        (void)strcat(event_log, c->log_name);
}

static void start(struct bed *b, struct outcome *o, struct chain *c, int priority, uint64_t order)
{
    memset(o, 0, sizeof *o);
    o->task = (struct rb_pool_task){
        .program = &c->program, .priority = priority, .order = order, .done = note_done, .data = o};
    rb_pool_start(b->pool, &o->task);
    assert_int_equal(o->calls, 0);
}

/* ---- tests ---- */

/* libuv sizes its pool once per process, so this runs first with the most threads; fewer workers
 * then use fewer of them. */
static void test_same_bits_with_any_number_of_workers(void **state)
{
    (void)state;
    double first[WIDTH];
    static const unsigned counts[] = {4, 2, 1};
    for (size_t k = 0; k < 3; k++) {
        struct bed b;
        struct chain c[3];
        struct outcome o[3];
        bed_open(&b, counts[k]);
        for (size_t i = 0; i < 3; i++) {
            chain_init(&c[i]);
            c[i].company = i == 0 ? (int)counts[k] : 0;
            start(&b, &o[i], &c[i], 0, 0);
        }
        uv_run(&b.loop, UV_RUN_DEFAULT);
        int most = 0;
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(o[i].calls, 1);
            assert_int_equal(o[i].status, RB_OK);
            assert_int_equal(o[i].task.items_done, WIDTH * ROUNDS);
            assert_true(o[i].task.cost_done == c[i].program.total_cost);
            assert_true(o[i].task.busy_seconds > 0);
            assert_false(atomic_load(&c[i].overlapped));
            most = most > atomic_load(&c[i].most) ? most : atomic_load(&c[i].most);
            if (k == 0 && i == 0)
                memcpy(first, c[i].after, sizeof first);
            assert_memory_equal(first, c[i].after, sizeof first);
        }
        assert_int_equal(most, (int)counts[k]); /* all slots at work, never more */
        assert_int_equal(rb_pool_running(b.pool), 0);
        assert_int_equal(rb_pool_items(b.pool), 3 * WIDTH * ROUNDS);
        bed_close(&b);
    }
}

static void test_order(void **state)
{
    (void)state;
    struct bed b;
    struct chain c[4];
    struct outcome o[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    static const int priorities[] = {0, 0, 5, -1};
    static const uint64_t ages[] = {9, 3, 9, 1};
    bed_open(&b, 1);
    for (size_t i = 0; i < 4; i++) {
        chain_init(&c[i]);
        c[i].log_name = names[i];
        start(&b, &o[i], &c[i], priorities[i], ages[i]);
    }
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_string_equal(event_log, "cbad");
    bed_close(&b);
}

/* The lowest failing item's error, whatever the number of workers; nothing runs after the round. */
static void test_first_error_wins(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 4; workers++) {
        struct bed b;
        struct chain c;
        struct outcome o;
        bed_open(&b, workers);
        chain_init(&c);
        c.sleep_us = 1000;
        c.fail_round = 3;
        c.fail_items[0] = 7;
        c.fail_items[1] = 6;
        start(&b, &o, &c, 0, 0);
        uv_run(&b.loop, UV_RUN_DEFAULT);
        assert_int_equal(o.calls, 1);
        assert_int_equal(o.status, RB_ENUMERIC);
        assert_string_equal(o.detail, "item 6");
        assert_int_equal(c.round, 3);
        assert_in_range(atomic_load(&c.items_run), 2 * WIDTH + 7, 3 * WIDTH);
        bed_close(&b);
    }
}

static void test_round_error(void **state)
{
    (void)state;
    struct bed b;
    struct chain c;
    struct outcome o;
    bed_open(&b, 2);
    chain_init(&c);
    c.round = 99;
    start(&b, &o, &c, 0, 0);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.status, RB_EIO);
    assert_string_equal(o.detail, "the round itself failed");
    bed_close(&b);
}

struct stopper {
    uv_timer_t timer;
    struct bed *bed;
    atomic_bool stop;
};

static void stop_now(uv_timer_t *timer)
{
    struct stopper *s = timer->data;
    atomic_store(&s->stop, true);
    rb_pool_stopping(s->bed->pool);
    uv_close((uv_handle_t *)timer, NULL);
}

/* A stopped program ends before it is through; another, which it kept waiting, goes on. */
static void test_stop(void **state)
{
    (void)state;
    struct bed b;
    struct chain c[2];
    struct outcome o[2];
    struct stopper s = {.bed = &b};
    bed_open(&b, 2);
    uv_timer_init(&b.loop, &s.timer);
    s.timer.data = &s;
    uv_timer_start(&s.timer, stop_now, 20, 0);
    for (size_t i = 0; i < 2; i++) {
        chain_init(&c[i]);
        c[i].sleep_us = 3000;
        start(&b, &o[i], &c[i], i == 0, 0);
    }
    o[0].task.stop = &s.stop;
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_int_equal(o[0].status, RB_ECANCELED);
    assert_true(o[0].task.items_done < WIDTH * ROUNDS / 2);
    assert_int_equal(o[1].status, RB_OK);
    assert_int_equal(o[1].task.items_done, WIDTH * ROUNDS);
    bed_close(&b);
}

/* While one program's round ends on a slow item, the other's items fill the free slot. */
static void test_interleaving(void **state)
{
    (void)state;
    struct bed b;
    struct chain c[2];
    struct outcome o[2];
    bed_open(&b, 2);
    for (size_t i = 0; i < 2; i++) {
        chain_init(&c[i]);
        start(&b, &o[i], &c[i], 0, i);
    }
    /* The first program (lower order) takes both slots until its last item: that one goes on only
     * once the free slot was given to the second program. */
    c[0].other = &c[1];
    uint64_t begin = uv_hrtime();
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_true(uv_hrtime() - begin < PATIENCE_MS * (uint64_t)1000000);
    assert_int_equal(o[0].status, RB_OK);
    assert_int_equal(o[1].status, RB_OK);
    bed_close(&b);
}

struct asyncs {
    struct rb_async async;
    atomic_int *running, *most;
    int *done;
};

static void async_work(struct rb_async *a)
{
    struct asyncs *s = a->data;
    int now = atomic_fetch_add(s->running, 1) + 1, most = atomic_load(s->most);
    while (now > most && !atomic_compare_exchange_weak(s->most, &most, now)) {
    }
    uv_sleep(3);
    atomic_fetch_sub(s->running, 1);
}

static void async_done(struct rb_async *a)
{
    struct asyncs *s = a->data;
    ++*s->done;
}

/* Plain jobs run beside a full set of items, at most RB_POOL_SPARE of them at once. */
static void test_asyncs(void **state)
{
    (void)state;
    struct bed b;
    struct chain c;
    struct outcome o;
    atomic_int running = 0, most = 0;
    int done = 0;
    struct asyncs s[9];
    bed_open(&b, 2);
    chain_init(&c);
    c.sleep_us = 2000;
    start(&b, &o, &c, 0, 0);
    memset(s, 0, sizeof s);
    for (size_t i = 0; i < 9; i++) {
        s[i] = (struct asyncs){.running = &running, .most = &most, .done = &done};
        s[i].async = (struct rb_async){.work = async_work, .done = async_done, .data = &s[i]};
        rb_async_start(b.pool, &s[i].async);
    }
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_int_equal(done, 9);
    assert_int_equal(atomic_load(&most), RB_POOL_SPARE);
    assert_int_equal(o.status, RB_OK);
    bed_close(&b);
}

struct pieces {
    struct rb_async async;
    int left; /* pieces */
    char name;
    char *order; /* which piece ran when */
};

static void pieces_work(struct rb_async *a)
{
    struct pieces *p = a->data;
    uv_sleep(2);
    a->again = --p->left > 0;
}

static void pieces_done(struct rb_async *a)
{
    struct pieces *p = a->data;
    assert_int_equal(p->left, 0);
    p->order[strlen(p->order)] = p->name;
}

/* Long ones come piece by piece, so that a short one that came later ends before them; and what is
 * in the other lane does not wait at all. */
static void test_lanes(void **state)
{
    (void)state;
    struct bed b;
    char order[8] = "";
    struct pieces p[6];
    bed_open(&b, 1);
    for (int i = 0; i < 6; i++) {
        p[i] = (struct pieces){.left = i < 4 ? 20 : 1, .name = (char)('a' + i), .order = order};
        p[i].async = (struct rb_async){.work = pieces_work,
                                       .done = pieces_done,
                                       .data = &p[i],
                                       .lane = i == 5 ? RB_LANE_QUICK : RB_LANE_READ};
        rb_async_start(b.pool, &p[i].async);
    }
    struct rb_lane_load read = rb_pool_lane(b.pool, RB_LANE_READ);
    assert_int_equal(read.running, RB_POOL_READERS);
    assert_int_equal(read.limit, RB_POOL_READERS);
    assert_int_equal(read.waiting, 5 - RB_POOL_READERS);
    assert_int_equal(rb_pool_lane(b.pool, RB_LANE_QUICK).running, 1);
    assert_true(rb_pool_has_asyncs(b.pool));
    uv_run(&b.loop, UV_RUN_DEFAULT);
    assert_false(rb_pool_has_asyncs(b.pool));
    assert_int_equal(order[0], 'f');
    assert_int_equal(order[1], 'e');
    assert_int_equal(strlen(order), 6);
    bed_close(&b);
}

/* ---- the hub ---- */

struct ear {
    struct rb_listener listener;
    struct rb_hub *hub;
    struct rb_listener *drop; /* unlistened on hearing */
    int heard;
    uint64_t last;
};

static void ear_heard(struct rb_listener *l, const struct rb_event *event)
{
    struct ear *e = l->data;
    e->heard++;
    e->last = event->id;
    if (e->drop != NULL)
        rb_hub_unlisten(e->hub, e->drop);
}

static void test_hub(void **state)
{
    (void)state;
    struct rb_hub hub;
    struct ear e[4];
    rb_hub_init(&hub);
    memset(e, 0, sizeof e);
    for (size_t i = 0; i < 4; i++) {
        e[i].hub = &hub;
        e[i].listener = (struct rb_listener){.heard = ear_heard, .data = &e[i]};
    }
    e[1].listener.job = "job_b";
    e[0].drop = &e[2].listener; /* two places on: must not be rung, nor break the walk */
    for (size_t i = 0; i < 4; i++)
        rb_hub_listen(&hub, &e[i].listener);
    rb_hub_publish(&hub, &(struct rb_event){.id = 7, .job = "job_a"});
    assert_int_equal(e[0].heard, 1);
    assert_int_equal(e[1].heard, 0);
    assert_int_equal(e[2].heard, 0);
    assert_int_equal(e[3].heard, 1);
    assert_int_equal(hub.count, 3);
    e[0].drop = &e[1].listener; /* the very next one */
    rb_hub_publish(&hub, &(struct rb_event){.id = 8, .job = "job_b"});
    assert_int_equal(e[1].heard, 0);
    assert_int_equal(e[3].last, 8);
    e[3].drop = &e[3].listener; /* itself */
    rb_hub_publish(&hub, &(struct rb_event){.id = 9, .job = "job_b"});
    assert_int_equal(hub.count, 1);
    rb_hub_unlisten(&hub, &e[3].listener);
    rb_hub_deinit(&hub);
    assert_false(e[0].listener.listening_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_with_any_number_of_workers),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_round_error),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_interleaving),
        cmocka_unit_test(test_asyncs),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
