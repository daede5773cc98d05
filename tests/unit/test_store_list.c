// LINK: server_store
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/store/jobs_internal.h"
#include "server/store/jobs_list.h"
#include "server/store/terms.h"
#include "unit/store_support.h"

/* The list is held against a slow one: all jobs in memory, filtered one by one, sorted by qsort. */

enum { JOBS = 3000, VALUES = 4 };

struct known {
    int64_t seq, created_ms, updated_ms;
    int32_t priority;
    enum rb_job_status status;
    int sweep, kind; /* labels' values; -1 without */
    int model_a, model_b;
};
static struct known known[JOBS];
static uint64_t random_state = 12345;

static unsigned pick(unsigned below)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(random_state >> 33) % below;
}

/* Valid until the next call. */
static struct rb_labels labels_of(const struct known *k)
{
    static char values[2][12];
    static struct rb_label items[2];
    struct rb_labels labels = {.items = items};
    if (k->sweep >= 0) {
        (void)snprintf(values[0], sizeof values[0], "%d", k->sweep);
        items[labels.count++] = (struct rb_label){.key = "sweep", .value = values[0]};
    }
    if (k->kind >= 0) {
        (void)snprintf(values[1], sizeof values[1], "%d", k->kind);
        items[labels.count++] = (struct rb_label){.key = "kind", .value = values[1]};
    }
    return labels;
}

static void add_known(struct known *k)
{
    struct rb_job job;
    make_job(&job, k->created_ms);
    job.priority = k->priority;
    job.labels = labels_of(k);
    (void)snprintf(job.inputs[0].name, sizeof job.inputs[0].name, "m%d", k->model_a);
    (void)snprintf(job.inputs[1].name, sizeof job.inputs[1].name, "m%d", k->model_b);
    assert_ok(rb_job_add(store, &job, &k->seq, NULL, &err));
}

/* The shortest way from queued to there. */
static void move_known(struct known *k)
{
    k->updated_ms = k->created_ms;
    if (k->status == RB_JOB_QUEUED)
        return;
    k->updated_ms = 5000 + (int64_t)pick(2000);
    if (k->status != RB_JOB_CANCELED && k->status != RB_JOB_FAILED)
        assert_ok(change_job(k->seq, RB_JOB_RUNNING, k->updated_ms));
    if (k->status != RB_JOB_RUNNING)
        assert_ok(change_job(k->seq, k->status, k->updated_ms));
}

static void relabel_known(struct known *k)
{
    k->sweep = (int)pick(VALUES);
    k->kind = (int)pick(2);
    const struct rb_job_patch patch = {.given = RB_PATCH_LABELS, .labels = labels_of(k)};
    assert_ok(rb_job_edit(store, k->seq, &patch, 0, k->created_ms, NULL, &err));
}

static int set_up_jobs(void **state)
{
    if (set_up(state) != 0)
        return -1;
    assert_ok(rb_store_begin(store, &err));
    for (size_t i = 0; i < JOBS; i++) {
        struct known *k = &known[i];
        *k = (struct known){.created_ms = 1000 + (int64_t)(i / 3) - (pick(20) == 0 ? 5 : 0),
                            .priority = (int32_t)pick(5) - 2,
                            .status = (enum rb_job_status)pick(RB_JOB_STATUS_COUNT),
                            .sweep = (int)pick(VALUES + 1) - 1,
                            .kind = pick(50) == 0 ? (int)pick(2) : -1,
                            .model_a = (int)pick(3),
                            .model_b = (int)pick(3)};
        add_known(k);
        if (i % 10 == 0)
            relabel_known(k);
        move_known(k);
    }
    return rb_store_end(store, RB_OK, &err) == RB_OK ? 0 : -1;
}

/* ---- the slow list ---- */

struct query {
    uint32_t statuses;
    int sweep, kind, model; /* -1: not asked */
    int64_t after, before;
    enum rb_job_sort sort;
};

static bool fits(const struct known *k, const struct query *q)
{
    return (q->statuses == 0 || (q->statuses & 1U << k->status) != 0) &&
           (q->sweep < 0 || k->sweep == q->sweep) && (q->kind < 0 || k->kind == q->kind) &&
           (q->model < 0 || k->model_a == q->model || k->model_b == q->model) &&
           (q->after == 0 || k->created_ms > q->after) &&
           (q->before == 0 || k->created_ms < q->before);
}

static enum rb_job_sort sort_now;

static int compare(const void *pa, const void *pb)
{
    const struct known *a = pa, *b = pb;
    int64_t x = 0, y = 0;
    bool down = false;
    switch (sort_now) {
    case RB_JOB_SORT_CREATED_DESC:
    case RB_JOB_SORT_CREATED:
        x = a->created_ms, y = b->created_ms, down = sort_now == RB_JOB_SORT_CREATED_DESC;
        break;
    case RB_JOB_SORT_UPDATED_DESC:
    case RB_JOB_SORT_UPDATED:
        x = a->updated_ms, y = b->updated_ms, down = sort_now == RB_JOB_SORT_UPDATED_DESC;
        break;
    default: /* highest priority first, then oldest; the other way round */
        x = -a->priority, y = -b->priority, down = sort_now == RB_JOB_SORT_PRIORITY;
        break;
    }
    int order = x != y ? (x < y ? -1 : 1) : a->seq < b->seq ? -1 : a->seq > b->seq;
    return down ? -order : order;
}

static size_t list_slowly(const struct query *q, struct known *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < JOBS; i++)
        if (fits(&known[i], q))
            ret[count++] = known[i];
    sort_now = q->sort;
    qsort(ret, count, sizeof *ret, compare);
    return count;
}

/* ---- the fast one ---- */

static size_t list_fast(const struct query *q, uint32_t limit, int64_t *ret, bool *ret_full_pages)
{
    char sweep[12], kind[12], model[16];
    struct rb_label labels[2];
    struct rb_job_filter f = {.statuses = q->statuses,
                              .labels = {labels, 0},
                              .created_after_ms = q->after,
                              .created_before_ms = q->before,
                              .sort = q->sort,
                              .limit = limit};
    struct rb_job_page page;
    size_t count = 0;
    (void)snprintf(sweep, sizeof sweep, "%d", q->sweep);
    (void)snprintf(kind, sizeof kind, "%d", q->kind);
    (void)snprintf(model, sizeof model, "m%d", q->model);
    if (q->sweep >= 0)
        labels[f.labels.count++] = (struct rb_label){.key = "sweep", .value = sweep};
    if (q->kind >= 0)
        labels[f.labels.count++] = (struct rb_label){.key = "kind", .value = kind};
    if (q->model >= 0)
        f.model = model;
    *ret_full_pages = true;
    do {
        assert_ok(rb_jobs_list(store, &f, &page, &err));
        assert_true(page.count <= limit);
        *ret_full_pages = *ret_full_pages && (page.count == limit || !page.next.present);
        for (size_t i = 0; i < page.count; i++)
            ret[count++] = page.rows[i].seq;
        f.after = page.next;
        rb_job_page_deinit(&page);
    } while (f.after.present);
    return count;
}

static void compare_lists(const struct query *q, uint32_t limit)
{
    static struct known expected[JOBS];
    static int64_t found[JOBS + 1];
    bool full_pages;
    size_t expected_count = list_slowly(q, expected);
    size_t count = list_fast(q, limit, found, &full_pages);
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(found[i], expected[i].seq);
    bool by_created = q->sort <= RB_JOB_SORT_CREATED;
    int terms = (q->sweep >= 0) + (q->kind >= 0) + (q->model >= 0);
    bool times = q->after != 0 || q->before != 0;
    /* What one index decides needs no candidates beyond the page. */
    if (by_created ? terms <= 1 : terms == 0 && !times)
        assert_true(full_pages);
}

static void test_random_lists(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 7, 50, 499, 500};
    for (int i = 0; i < 250; i++) {
        struct query q = {
            .statuses = pick(3) == 0 ? 0 : pick(1 << RB_JOB_STATUS_COUNT),
            .sweep = pick(3) == 0 ? (int)pick(VALUES) : -1,
            .kind = pick(4) == 0 ? (int)pick(2) : -1,
            .model = pick(3) == 0 ? (int)pick(3) : -1,
            .after = pick(3) == 0 ? 1000 + (int64_t)pick(1000) : 0,
            .before = pick(3) == 0 ? 1000 + (int64_t)pick(1000) : 0,
            .sort = (enum rb_job_sort)pick(RB_JOB_SORT_COUNT),
        };
        compare_lists(&q, i < 5 ? limits[i] : limits[1 + pick(4)]);
    }
}

/* Each sort alone, whole, in the smallest pages: every cursor is taken once. */
static void test_every_cursor(void **state)
{
    (void)state;
    for (int sort = 0; sort < RB_JOB_SORT_COUNT; sort++)
        compare_lists(&(struct query){.statuses = 1 << RB_JOB_FAILED | 1 << RB_JOB_QUEUED,
                                      .sweep = -1,
                                      .kind = -1,
                                      .model = -1,
                                      .sort = (enum rb_job_sort)sort},
                      1);
}

static void test_unknown_terms(void **state)
{
    (void)state;
    struct rb_label labels[9] = {{.key = "none", .value = "x"}};
    struct rb_job_filter f = {.labels = {labels, 1}, .limit = 10};
    struct rb_job_page page;
    assert_ok(rb_jobs_list(store, &f, &page, &err));
    assert_int_equal(page.count, 0);
    assert_false(page.next.present);
    rb_job_page_deinit(&page);
    f = (struct rb_job_filter){.model = "d", .limit = 10}; /* is a dataset */
    assert_ok(rb_jobs_list(store, &f, &page, &err));
    assert_int_equal(page.count, 0);
    rb_job_page_deinit(&page);
    for (size_t i = 0; i < 9; i++)
        labels[i] = labels[0];
    f = (struct rb_job_filter){.labels = {labels, 9}, .limit = 10};
    assert_int_equal(rb_jobs_list(store, &f, &page, &err), RB_EQUERY);
}

/* The mask beside each term of a job is of all its terms, and of no other. */
static void test_masks(void **state)
{
    (void)state;
    struct rb_query q;
    bool more;
    int64_t job = 0, bits = 0, mask = 0, rows = 0;
    rb_query_start(store, "SELECT job, term, mask FROM job_terms ORDER BY job", &q);
    for (;;) {
        assert_ok(rb_query_step(&q, &more, &err));
        if (!more)
            break;
        if (rb_column_int(&q, 0) != job) {
            assert_int_equal(mask, bits);
            bits = 0;
        }
        job = rb_column_int(&q, 0);
        bits |= rb_term_bit(rb_column_int(&q, 1));
        mask = rb_column_int(&q, 2);
        rows++;
    }
    assert_ok(rb_query_end(&q, RB_OK, &err));
    assert_int_equal(mask, bits);
    assert_true(rows > 3 * JOBS);
}

static int64_t number_of(const char *sql)
{
    struct rb_query q;
    bool row;
    rb_query_start(store, sql, &q);
    assert_ok(rb_query_step(&q, &row, &err));
    assert_true(row);
    int64_t n = rb_column_int(&q, 0);
    assert_ok(rb_query_end(&q, RB_OK, &err));
    return n;
}

/* The number beside each term is that of the jobs with it. */
static void assert_terms_counted(void)
{
    assert_int_equal(number_of("SELECT count(*) FROM terms WHERE jobs <> "
                               "(SELECT count(*) FROM job_terms WHERE term = id) OR jobs = 0"),
                     0);
}

/* A job that only its second label tells from thousands is on the first page: the rare one leads,
 * wherever it stands. Deleted, it takes its label along. */
static void test_rarest_leads(void **state)
{
    (void)state;
    struct rb_job job;
    struct rb_job_page page;
    int64_t seq;
    struct rb_label both[] = {{.key = "sweep", .value = "0"}, {.key = "rare", .value = "1"}};
    make_job(&job, 1);
    (void)snprintf(job.inputs[0].name, sizeof job.inputs[0].name, "m1");
    job.labels = (struct rb_labels){both, 2};
    assert_ok(rb_job_add(store, &job, &seq, NULL, &err));
    assert_true(number_of("SELECT jobs FROM terms WHERE name = 'sweep' AND value = '0'") >
                JOBS / 8);
    assert_int_equal(number_of("SELECT jobs FROM terms WHERE name = 'rare'"), 1);
    assert_terms_counted();
    for (int i = 0; i < 2; i++) {
        struct rb_label labels[] = {both[i], both[1 - i]};
        struct rb_job_filter f = {.labels = {labels, 2}, .model = "m1", .limit = 10};
        assert_ok(rb_jobs_list(store, &f, &page, &err));
        assert_int_equal(page.count, 1);
        assert_int_equal(page.rows[0].seq, seq);
        assert_false(page.next.present);
        rb_job_page_deinit(&page);
    }
    assert_ok(change_job(seq, RB_JOB_CANCELED, 2));
    assert_ok(rb_job_delete(store, seq, &err));
    assert_int_equal(number_of("SELECT count(*) FROM terms WHERE name = 'rare'"), 0);
    assert_terms_counted();
}

/* Eight labels, a model, all statuses and a cursor: the longest statement there is. */
static void test_longest_statement(void **state)
{
    (void)state;
    struct rb_label labels[8];
    struct rb_job_page page;
    for (size_t i = 0; i < 8; i++)
        labels[i] = (struct rb_label){.key = "sweep", .value = "1"};
    struct rb_job_filter f = {.labels = {labels, 8},
                              .model = "m1",
                              .created_after_ms = 5,
                              .created_before_ms = 1800,
                              .sort = RB_JOB_SORT_UPDATED_DESC,
                              .after = {true, 6000, 5},
                              .limit = 3};
    assert_ok(rb_jobs_list(store, &f, &page, &err));
    assert_int_equal(page.count, 3);
    rb_job_page_deinit(&page);
}

static void explain(const char *sql, const char *expected)
{
    struct rb_query q;
    bool more;
    char text[1024];
    (void)snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sql);
    rb_query_start(store, text, &q);
    assert_ok(rb_query_step(&q, &more, &err));
    if (!more || strstr(rb_column_text(&q, 3), expected) == NULL)
        fail_msg("%s: %s", sql, rb_column_text(&q, 3));
    assert_ok(rb_query_end(&q, RB_OK, &err));
}

/* The claim of the next job reads one entry of an index, however many there are. */
static void test_claim_uses_index(void **state)
{
    (void)state;
    explain("SELECT seq FROM jobs WHERE status = 'queued' ORDER BY rank, seq LIMIT 1",
            "USING COVERING INDEX jobs_by_rank (status=?)");
    explain("SELECT created_ms FROM jobs WHERE status = 'queued' ORDER BY created_ms LIMIT 1",
            "USING COVERING INDEX jobs_by_created (status=?)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lists),     cmocka_unit_test(test_every_cursor),
        cmocka_unit_test(test_unknown_terms),    cmocka_unit_test(test_longest_statement),
        cmocka_unit_test(test_claim_uses_index), cmocka_unit_test(test_masks),
        cmocka_unit_test(test_rarest_leads),
    };
    return cmocka_run_group_tests(tests, set_up_jobs, tear_down);
}
