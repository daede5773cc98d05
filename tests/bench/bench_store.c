/* The store with many jobs in it: what a page, a job and a claim cost.
 *
 *     bench_store FOLDER [JOBS [WORDS]]      (1,000,000 jobs unless given; about 2 GB)
 *
 * Fills FOLDER/rebasind.db up to that number (a filled one is used again), opens it anew and, for
 * each operation with WORDS in its name, prints median, 99th percentile and maximum of each
 * operation, and the processor time of the median one, which other work on the machine does not
 * touch. Exit status 1 if a median of what issue 5 limits to 5 ms is above that.
 */
#include "server/base/clock.h"
#include "server/base/ids.h"
#include "server/store/jobs.h"
#include "server/store/jobs_list.h"
#include "server/store/jobs_read.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 20000, ROUNDS = 300, SWEEPS = 1000 };
static const double limit_ms = 5;

static struct rb_store *store;
static struct rb_error err;
static int64_t jobs;
static const char *folder;
static uint64_t random_state = 1;

static void check(enum rb_status status)
{
    if (status == RB_OK)
        return;
    fprintf(stderr, "bench_store: %s: %s\n", rb_problem_code(status), err.detail);
    exit(1);
}

static uint64_t pick(uint64_t below)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (random_state >> 33) % below;
}

/* ---- filling ---- */

/* As long as a real one with its defaults filled in. */
static const char spec[] =
    "{\"models\":{\"a\":\"bert-a\",\"b\":\"bert-b\"},\"align\":{\"components\":[\"ff\",\"mha\"],"
    "\"heads\":\"permute\",\"separate_qk\":false,\"rotate_heads\":false,\"residual\":\"last\","
    "\"decoder\":\"tied\",\"output_head\":false,\"similarity\":\"correlation\",\"absolute\":false,"
    "\"pooling\":\"token\",\"special_tokens\":true,\"dataset\":\"align\",\"max_sequences\":1000,"
    "\"max_length\":128},\"interpolate\":{\"points\":21},\"evaluate\":{\"task\":\"mlm\","
    "\"dataset\":\"eval\",\"block_size\":128,\"max_blocks\":256,\"mask_probability\":0.15,"
    "\"seed\":0,\"control\":true},\"outputs\":{\"merged\":[0.5],\"dtype\":\"source\"}}";

static void fill_input(struct rb_job_input *input, const char *role, const char *name, uint64_t n)
{
    (void)snprintf(input->role, sizeof input->role, "%s", role);
    (void)snprintf(input->name, sizeof input->name, "%s-%llu", name, (unsigned long long)n);
    memset(input->sha256, 'a', sizeof input->sha256 - 1);
}

static void add(int64_t number)
{
    struct rb_job job;
    char text[sizeof spec], sweep[24], owner[24];
    char keys[2][8] = {"owner", "sweep"};
    struct rb_label labels[] = {{keys[0], owner}, {keys[1], sweep}};
    int64_t seq;
    rb_job_init(&job);
    memcpy(text, spec, sizeof spec);
    job.spec_json = text;
    job.created_ms = 1700000000000 + number * 250;
    rb_job_id_make(job.created_ms, job.id);
    job.priority = (int32_t)pick(3) - 1;
    (void)snprintf(owner, sizeof owner, "%llu", (unsigned long long)pick(5));
    (void)snprintf(sweep, sizeof sweep, "%lld", (long long)(number % SWEEPS));
    job.labels = (struct rb_labels){labels, 2};
    job.input_count = 4;
    fill_input(&job.inputs[0], "model_a", "bert", pick(20));
    fill_input(&job.inputs[1], "model_b", "bert", pick(20));
    fill_input(&job.inputs[2], "align_dataset", "text", 0);
    fill_input(&job.inputs[3], "evaluate_dataset", "text", 1);
    check(rb_job_add(store, &job, &seq, NULL, &err));
    struct rb_job_change run = {
        .to = RB_JOB_RUNNING, .phase = RB_PHASE_LOADING, .at_ms = job.created_ms + 1000};
    struct rb_job_change end = {.to = RB_JOB_SUCCEEDED, .at_ms = job.created_ms + 60000};
    if (number % 1000 == 0)
        end.to = RB_JOB_FAILED;
    else if (number % 100 == 1)
        return; /* one in a hundred waits */
    check(rb_job_change(store, seq, &run, NULL, &err));
    check(rb_job_change(store, seq, &end, NULL, &err));
}

static int64_t count(void)
{
    uint64_t counts[RB_JOB_STATUS_COUNT], sum = 0;
    check(rb_jobs_count(store, counts, &err));
    for (size_t i = 0; i < RB_JOB_STATUS_COUNT; i++)
        sum += counts[i];
    return (int64_t)sum;
}

static void fill(void)
{
    uint64_t begun = rb_clock_monotonic_ns();
    for (int64_t have = count(); have < jobs;) {
        check(rb_store_begin(store, &err));
        for (int64_t i = 0; i < BATCH && have < jobs; i++)
            add(have++);
        check(rb_store_end(store, RB_OK, &err));
        fprintf(stderr, "\r%lld jobs, %.0f s", (long long)have,
                1e-9 * (double)(rb_clock_monotonic_ns() - begun));
    }
    fprintf(stderr, "\n");
}

/* ---- what is measured ---- */

static char sweep_key[] = "sweep", owner_key[] = "owner", label_values[2][24];
static struct rb_label labels[] = {{sweep_key, label_values[0]}, {owner_key, label_values[1]}};

static void list(const struct rb_job_filter *filter)
{
    struct rb_job_filter f = *filter;
    struct rb_job_page page;
    if (f.limit == 0)
        f.limit = 50;
    check(rb_jobs_list(store, &f, &page, &err));
    rb_job_page_deinit(&page);
}

enum { RARE = 1, COMMON = 2, BOTH = 3 };

/* A sweep's label is on one job in a thousand, an owner's on one in five. */
static struct rb_labels pick_labels(unsigned which)
{
    (void)snprintf(label_values[0], sizeof label_values[0], "%u", (unsigned)pick(SWEEPS));
    (void)snprintf(label_values[1], sizeof label_values[1], "%u", (unsigned)pick(5));
    return (struct rb_labels){which == COMMON ? labels + 1 : labels, which == BOTH ? 2 : 1};
}

static void first_page(void)
{
    list(&(struct rb_job_filter){0});
}

static void largest_page(void)
{
    list(&(struct rb_job_filter){.limit = 500});
}

static void deep_page(void)
{
    int64_t number = (int64_t)pick((uint64_t)jobs);
    list(&(struct rb_job_filter){.after = {true, 1700000000000 + number * 250, number}});
}

static void by_status(void)
{
    list(&(struct rb_job_filter){.statuses = 1U << pick(RB_JOB_STATUS_COUNT)});
}

static void by_statuses(void)
{
    list(&(struct rb_job_filter){.statuses = RB_JOB_LIVE | 1 << RB_JOB_FAILED});
}

static void by_label(void)
{
    list(&(struct rb_job_filter){.labels = pick_labels(RARE)});
}

static void by_common_label_and_rare_status(void)
{
    list(&(struct rb_job_filter){.labels = pick_labels(COMMON), .statuses = 1 << RB_JOB_FAILED});
}

static void by_two_labels(void)
{
    list(&(struct rb_job_filter){.labels = pick_labels(BOTH)});
}

static void by_label_and_model(void)
{
    list(&(struct rb_job_filter){.labels = pick_labels(COMMON), .model = "bert-7"});
}

static void by_absent_pair(void)
{
    list(&(struct rb_job_filter){
        .labels = pick_labels(COMMON), .model = "bert-7", .statuses = 1 << RB_JOB_CANCELED});
}

static void by_model(void)
{
    list(&(struct rb_job_filter){.model = "bert-3"});
}

static void by_time(void)
{
    int64_t at = 1700000000000 + (int64_t)pick((uint64_t)jobs) * 250;
    list(&(struct rb_job_filter){.created_after_ms = at, .created_before_ms = at + 60000});
}

static void by_time_in_another_order(void)
{
    int64_t at = 1700000000000 + (int64_t)pick((uint64_t)jobs) * 250;
    list(&(struct rb_job_filter){
        .created_after_ms = at, .created_before_ms = at + 60000, .sort = RB_JOB_SORT_PRIORITY});
}

static void by_update(void)
{
    list(&(struct rb_job_filter){.sort = RB_JOB_SORT_UPDATED_DESC});
}

static void by_priority_deep(void)
{
    list(&(struct rb_job_filter){.sort = RB_JOB_SORT_PRIORITY_DESC,
                                 .after = {true, 0, (int64_t)pick((uint64_t)jobs)}});
}

static void one_job(void)
{
    struct rb_job_row row, again;
    check(rb_job_get_seq(store, 1 + (int64_t)pick((uint64_t)jobs), &row, &err));
    check(rb_job_get(store, row.job.id, &again, &err));
    rb_job_row_deinit(&row);
    rb_job_row_deinit(&again);
}

static void find_next(void)
{
    struct rb_job_row row;
    bool found;
    check(rb_job_next(store, &found, &row, &err));
    if (found)
        rb_job_row_deinit(&row);
}

static void claim(void)
{
    struct rb_job_row row;
    bool found;
    struct rb_job_change run = {.to = RB_JOB_RUNNING, .phase = RB_PHASE_LOADING, .at_ms = 1};
    check(rb_job_next(store, &found, &row, &err));
    if (!found)
        return;
    check(rb_job_change(store, row.seq, &run, NULL, &err));
    rb_job_row_deinit(&row);
}

static void submit(void)
{
    add(jobs++ / 100 * 100 + 1); /* one that stays queued */
}

enum { BARE_BYTES = 48 * 1024, BARE_PLACES = 21 };

/* What a commit waits for: about as much as a claim writes, over what is in a file of the log's
 * size (1 MB, where it is checkpointed) already, and on the disk. */
static void bare_sync(void)
{
    static int fd = -1;
    static unsigned place;
    static const char pages[BARE_BYTES];
    bool done = true;
    if (fd < 0) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/bare", folder);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        (void)unlink(path);
        for (int i = 0; i < BARE_PLACES; i++)
            done = done && write(fd, pages, BARE_BYTES) == BARE_BYTES;
        done = done && fsync(fd) == 0;
    }
    off_t at = (off_t)(place++ % BARE_PLACES) * BARE_BYTES;
    if (!done || pwrite(fd, pages, BARE_BYTES, at) != BARE_BYTES || fdatasync(fd) != 0) {
        perror("bench_store: bare");
        exit(1);
    }
}

static void counts(void)
{
    (void)count();
}

static const struct {
    const char *name;
    bool limited; /* by issue 5 */
    void (*run)(void);
} operations[] = {
    {"page, newest first", true, first_page},
    {"page of 500", false, largest_page},
    {"page, deep", true, deep_page},
    {"page by status", true, by_status},
    {"page by four statuses", true, by_statuses},
    {"page by label", true, by_label},
    {"page by common label, rare status", true, by_common_label_and_rare_status},
    {"page by two labels", true, by_two_labels},
    {"page by label and model", true, by_label_and_model},
    {"page by label, model, status without a job", true, by_absent_pair},
    {"page by model", true, by_model},
    {"page by time", true, by_time},
    {"page by time, in order of priority", true, by_time_in_another_order},
    {"page, last updated first", true, by_update},
    {"page by priority, deep", true, by_priority_deep},
    {"a job, by seq and by id", true, one_job},
    {"counts by status", true, counts},
    {"next job", true, find_next},
    {"claim with its commit", true, claim},
    {"submission with its commit", false, submit},
    {"48 KB written and synced, without a database", false, bare_sync},
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double processor_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* True if the operation keeps its limit. */
static bool measure(size_t i)
{
    double ms[ROUNDS], cpu_ms[ROUNDS];
    for (size_t r = 0; r < ROUNDS; r++) {
        uint64_t begun = rb_clock_monotonic_ns();
        double cpu_begun = processor_ms();
        operations[i].run();
        cpu_ms[r] = processor_ms() - cpu_begun;
        ms[r] = 1e-6 * (double)(rb_clock_monotonic_ns() - begun);
    }
    qsort(ms, ROUNDS, sizeof ms[0], compare);
    qsort(cpu_ms, ROUNDS, sizeof cpu_ms[0], compare);
    bool over = operations[i].limited && ms[ROUNDS / 2] > limit_ms;
    printf("%-44s %9.3f %9.3f %9.3f %9.3f%s\n", operations[i].name, ms[ROUNDS / 2],
           cpu_ms[ROUNDS / 2], ms[ROUNDS * 99 / 100], ms[ROUNDS - 1], over ? "  above 5 ms" : "");
    return !over;
}

int main(int argc, char *argv[])
{
    char path[4096];
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store FOLDER [JOBS [WORDS]]\n");
        return 2;
    }
    jobs = argc > 2 ? strtoll(argv[2], NULL, 10) : 1000000;
    folder = argv[1];
    (void)snprintf(path, sizeof path, "%s/rebasind.db", folder);
    check(rb_ids_init(&err));
    check(rb_store_open(path, NULL, NULL, &store, &err));
    fill();
    rb_store_close(store);
    check(rb_store_open(path, NULL, NULL, &store, &err));
    jobs = count();
    printf("%lld jobs, %.2f GB\n%-44s %9s %9s %9s %9s\n", (long long)jobs,
           1e-9 * (double)rb_store_bytes(store), "ms", "median", "processor", "p99", "max");
    bool kept = true;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (argc <= 3 || strstr(operations[i].name, argv[3]) != NULL)
            kept = measure(i) && kept;
    rb_store_close(store);
    return kept ? 0 : 1;
}
