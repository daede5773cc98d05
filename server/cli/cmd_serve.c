/* `rebasind serve`: builds the daemon from the bottom up, runs the loop, and takes it apart.
 *
 * DESIGN of the end. The first SIGTERM or SIGINT drains: readyz says 503, what would start work is
 * refused, long polls are answered, streams end; server/work lets items under way finish and puts
 * running jobs back. When that is done and no reply is on its way any more, or --drain-timeout has
 * passed, everything closes and the process exits 0. A second signal no longer waits for replies.
 * Were server/work not to come to its end in time, the process leaves by _exit: whatever was
 * acknowledged is on disk. */
#include "server/cli/commands.h"
#include "server/cli/environment.h"
#include "server/cli/notify.h"
#include "server/cli/signals.h"

#include "core/json.h"
#include "server/base/addresses.h"
#include "server/base/blas_kernel.h"
#include "server/base/broker.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/ids.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/base/options.h"
#include "server/http/http.h"
#include "server/server.h"
#include "server/store/idempotency.h"
#include "server/store/store.h"
#include "server/store/tokens.h"
#include "server/work/queue.h"
#include "server/work/retention.h"
#include "server/work/slurm.h"
#include "server/work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

const char rb_cmd_serve_help[] =
    "Usage: rebasind [serve] [OPTIONS]\n"
    "\n"
    "Runs the daemon until SIGTERM or SIGINT. SIGHUP reads the tokens and --log-level again. Each\n"
    "option can also be given as a REBASIND_… variable or in the file that --config names.\n"
    "\n"
    "Example:\n"
    "  rebasind serve --data-dir /var/lib/rebasind --import-root /srv/checkpoints\n";

enum {
    LAG_TICK_MS = 500,
    PRUNE_EVERY_MS = 60 * 1000,
    PRUNE_AGAIN_MS = 200, /* there was more than one turn could remove */
    END_TICK_MS = 20,
    ROOM_TICK_MS = 1000,
    SIGNALS = 12, /* rows of signal_table */
};
#define END_GRACE_NS ((uint64_t)2 * 1000000000) /* for pool items after --drain-timeout */

struct daemon {
    struct rb_server server;
    struct rb_settings settings;
    uv_loop_t loop;
    struct rb_work work;
    char *environment;                        /* of every job */
    char shared_dir[4096];                    /* absolute; "": none */
    int shared_fd, shared_lock_fd, broker_fd; /* where there is one */
    char *build;                              /* of merged folders */
    uv_signal_t signal_handles[SIGNALS];
    uv_timer_t lag, prune, room, watchdog, end;
    uint64_t lag_due_ns;
    unsigned ends; /* signals that ask it to end */
    int argc;
    char *const *argv;  /* read again on SIGHUP */
    uint64_t end_by_ns; /* once draining */
    bool drained;
};

/* ---- before the loop ---- */

/* As many descriptors as we may have: each connection, checkpoint and artifact takes one. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static enum rb_status open_data(struct daemon *d, struct rb_error *err)
{
    const char *path = d->settings.data_dir;
    enum rb_status s = rb_root_open(path, true, &d->server.data_fd, err);
    if (s != RB_OK)
        return s;
    s = rb_data_lock(d->server.data_fd, &d->server.lock_fd, err);
    if (s != RB_OK)
        goto err_after_root;
    char *absolute = realpath(path, NULL);
    if (absolute == NULL || strlen(absolute) >= sizeof d->server.data_dir) {
        s = absolute == NULL ? rb_error_errno(err, errno, path)
                             : rb_error_set(err, RB_EUSAGE, "--data-dir is longer than %zu bytes",
                                            sizeof d->server.data_dir - 1);
        free(absolute);
        goto err_after_lock;
    }
    (void)snprintf(d->server.data_dir, sizeof d->server.data_dir, "%s", absolute);
    free(absolute);
    return RB_OK;

err_after_lock:
    (void)close(d->server.lock_fd);
err_after_root:
    (void)close(d->server.data_fd);
    return s;
}

/* May start this program again. A folder that cannot keep the verdict only costs time. */
static enum rb_status settle_kernel(struct daemon *d, struct rb_error *err)
{
    bool kept = rb_mkdirs_beneath(d->server.data_fd, RB_LAYOUT_KERNELS, err) == RB_OK;
    enum rb_status s = rb_kernel_settle(kept ? d->server.data_fd : -1, RB_LAYOUT_KERNELS, err);
    if (s == RB_OK) {
        rb_kernel_log(rb_kernel_info());
        s = rb_environment_here((unsigned)d->settings.workers, &d->environment, err);
    }
    if (s == RB_OK)
        s = rb_build_here(&d->build, err);
    return s;
}

/* The database makes files to be opened. On a full disk they take what the reserve has freed, and
 * what a dead process left in tmp/. */
static enum rb_status open_database(struct daemon *d, struct rb_error *err)
{
    char path[RB_DATABASE_PATH_SIZE];
    struct rb_error ignored; /* what cannot be swept is swept by rb_work_start, or said there */
    if (d->server.room.is_short)
        (void)!rb_remove_beneath(d->server.data_fd, RB_LAYOUT_TEMPORARY, &ignored);
    enum rb_status s = rb_store_open(rb_layout_database(d->server.data_dir, path), NULL,
                                     d->server.metrics, &d->server.store, err);
    if (s == RB_EDISKFULL && rb_room_spend(&d->server.room))
        s = rb_store_open(path, NULL, d->server.metrics, &d->server.store, err);
    if (s != RB_OK && d->server.room.is_short)
        (void)rb_error_prefix(err,
                              "the disk of the data folder is full (%llu MiB free) and its reserve "
                              "is used up: make some room there, 1 MiB will do to begin with; ",
                              (unsigned long long)(d->server.room.free_bytes >> 20));
    return s;
}

/* The cluster's folder, and the broker: the last moment at which anything can be forked. */
static enum rb_status open_cluster(struct daemon *d, struct rb_error *err)
{
    const char *path = d->settings.shared_dir;
    struct rb_broker_options options;
    if (path[0] == '\0' && d->settings.executor == RB_EXECUTOR_LOCAL)
        return RB_OK;
    if (path[0] == '\0')
        return rb_error_set(err, RB_EUSAGE,
                            "--executor slurm needs --shared-dir, a folder that "
                            "every node sees at the same path");
    enum rb_status s = rb_root_open(path, true, &d->shared_fd, err);
    if (s == RB_OK)
        s = rb_data_lock(d->shared_fd, &d->shared_lock_fd, err);
    if (s != RB_OK)
        return rb_error_prefix(err, "--shared-dir: ");
    char *absolute = realpath(path, NULL);
    if (absolute == NULL || strlen(absolute) >= sizeof d->shared_dir) {
        free(absolute);
        return rb_error_set(err, RB_EUSAGE, "--shared-dir: %.200s cannot be resolved", path);
    }
    (void)snprintf(d->shared_dir, sizeof d->shared_dir, "%s", absolute);
    free(absolute);
    s = rb_broker_options_find(d->shared_dir, d->settings.slurm_options, &options, err);
    if (s != RB_OK)
        return s;
    s = rb_broker_start(&options, &d->broker_fd, err);
    rb_broker_options_deinit(&options);
    return s;
}

static enum rb_status open_slurm(struct daemon *d, struct rb_error *err)
{
    const struct rb_slurm_options options = {
        .shared_dir = d->shared_dir,
        .shared_fd = d->shared_fd,
        .broker_fd = d->broker_fd,
        .points_per_task = (uint32_t)d->settings.slurm_points_per_task,
        .is_default = d->settings.executor == RB_EXECUTOR_SLURM,
    };
    return d->shared_dir[0] != '\0' ? rb_slurm_open(&d->work, &options, err) : RB_OK;
}

static enum rb_status open_store(struct daemon *d, struct rb_error *err)
{
    enum rb_status s = open_database(d, err);
    if (s != RB_OK)
        return s;
    s = rb_tokens_open(d->server.data_fd, d->settings.token_file, &d->server.tokens, err);
    if (s != RB_OK)
        goto err_after_store;
    s = rb_settings_check_exposure(&d->settings, rb_tokens_count(d->server.tokens), err);
    if (s != RB_OK)
        goto err_after_tokens;
    return RB_OK;

err_after_tokens:
    rb_tokens_close(d->server.tokens);
err_after_store:
    rb_store_close(d->server.store);
    return s;
}

static enum rb_status open_work(struct daemon *d, struct rb_error *err)
{
    const struct rb_work_options options = {
        .data_dir = d->server.data_dir,
        .data_fd = d->server.data_fd,
        .import_roots = &d->settings.import_root,
        .workers = (unsigned)d->settings.workers,
        .memory_limit = d->settings.memory_limit,
        .parallel_jobs = 2, /* one computes while the other's rounds end */
        .queue_limit = d->settings.queue_limit,
        .moments_cache_bytes = d->settings.moments_cache_bytes,
        .environment = d->environment,
        .build = d->build,
        .room = &d->server.room,
    };
    enum rb_status s =
        rb_work_init(&d->work, &d->loop, d->server.store, d->server.metrics, &options, err);
    if (s == RB_OK)
        d->server.work = &d->work;
    return s;
}

/* ---- signals ---- */

static void end_on(struct daemon *d, const char *name);
static void reload_on(struct daemon *d, const char *name);
static void ignore_on(struct daemon *d, const char *name);

/* Whatever would end the process by default and is no sign of a bug: so that no end but a crash
 * counts as an attempt of the jobs under way. */
static const struct {
    int number;
    const char *name;
    void (*act)(struct daemon *d, const char *name);
} signal_table[SIGNALS] = {
    {SIGTERM, "SIGTERM", end_on},    {SIGINT, "SIGINT", end_on},
    {SIGQUIT, "SIGQUIT", end_on},    {SIGXCPU, "SIGXCPU", end_on},
    {SIGPWR, "SIGPWR", end_on},      {SIGHUP, "SIGHUP", reload_on},
    {SIGUSR1, "SIGUSR1", ignore_on}, {SIGUSR2, "SIGUSR2", ignore_on},
    {SIGALRM, "SIGALRM", ignore_on}, {SIGVTALRM, "SIGVTALRM", ignore_on},
    {SIGIO, "SIGIO", ignore_on},     {SIGSTKFLT, "SIGSTKFLT", ignore_on},
};

static void reload_on(struct daemon *d, const char *name)
{
    struct rb_settings fresh;
    struct rb_error err;
    rb_tokens_reload(d->server.tokens);
    if (rb_settings_load(d->argc, d->argv, NULL, NULL, &fresh, &err) != RB_OK) {
        rb_log_warn("settings not read again", RB_S("signal", name), RB_ERROR_FIELDS(&err));
        return;
    }
    d->settings.log_level = fresh.log_level;
    rb_settings_deinit(&fresh);
    rb_log_init(d->settings.log_format, d->settings.log_level, STDERR_FILENO);
    rb_log_info("tokens and log level read again", RB_S("signal", name),
                RB_S("level", rb_log_level_names[d->settings.log_level]));
}

static void ignore_on(struct daemon *d, const char *name)
{
    (void)d;
    rb_log_info("signal ignored", RB_S("signal", name));
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    for (int i = 0; i < SIGNALS; i++)
        if (signal_table[i].number == number)
            signal_table[i].act(d, signal_table[i].name);
}

/* Until the loop runs they wait or are as nothing, rather than end a daemon that is starting. */
static void ignore_signals(void)
{
    for (int i = 0; i < SIGNALS; i++)
        if (signal_table[i].act != end_on)
            (void)signal(signal_table[i].number, SIG_IGN);
}

/* ---- the end ---- */

/* Requests first: what still ran for them on the pool ends before the pool does. */
static void close_http(struct daemon *d)
{
    rb_http_close(d->server.http);
    d->server.http = NULL;
}

static void close_rest(struct daemon *d)
{
    rb_work_deinit(&d->work);
    for (int i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&d->signal_handles[i], NULL);
        /* No further one may cut the end short: libuv has just given back the default. */
        (void)signal(signal_table[i].number, SIG_IGN);
    }
    uv_close((uv_handle_t *)&d->lag, NULL);
    uv_close((uv_handle_t *)&d->prune, NULL);
    uv_close((uv_handle_t *)&d->room, NULL);
    uv_close((uv_handle_t *)&d->watchdog, NULL);
    uv_close((uv_handle_t *)&d->end, NULL);
}

static void on_end_tick(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t now_ns = rb_clock_monotonic_ns();
    bool late = now_ns >= d->end_by_ns || d->ends > 1;
    if (d->server.http != NULL && (late || (d->drained && rb_http_active(d->server.http) == 0)))
        close_http(d);
    if (d->server.http == NULL && d->drained && !rb_pool_has_asyncs(d->work.pool)) {
        close_rest(d);
    } else if (now_ns >= d->end_by_ns + END_GRACE_NS) {
        rb_log_error("work did not end in time; leaving it to the next start");
        _exit(1);
    }
}

static void on_drained(void *data)
{
    struct daemon *d = data;
    d->drained = true;
}

static void begin_drain(struct daemon *d, const char *why)
{
    rb_log_info("draining", RB_S("signal", why));
    rb_notify("STOPPING=1");
    d->server.draining = true;
    d->end_by_ns = rb_clock_monotonic_ns() + d->settings.drain_timeout_ms * 1000000;
    rb_http_drain(d->server.http);
    rb_work_drain(&d->work, on_drained, d);
    (void)uv_timer_start(&d->end, on_end_tick, END_TICK_MS, END_TICK_MS);
}

static void end_on(struct daemon *d, const char *name)
{
    if (d->ends++ == 0)
        begin_drain(d, name);
}

/* ---- what else the loop does ---- */

static void on_lag_tick(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t now_ns = rb_clock_monotonic_ns();
    double late = now_ns > d->lag_due_ns ? (double)(now_ns - d->lag_due_ns) * 1e-9 : 0;
    rb_metrics_observe(d->server.metrics, RB_METER_LOOP_LAG, late, NULL);
    uv_update_time(&d->loop);
    d->lag_due_ns = now_ns + LAG_TICK_MS * (uint64_t)1000000;
    (void)uv_timer_start(timer, on_lag_tick, LAG_TICK_MS, 0);
}

/* Once a minute, or as much oftener as what is kept for less asks for. */
static uint64_t prune_every_ms(const struct rb_retention *keep)
{
    uint64_t every_ms = PRUNE_EVERY_MS;
    if (keep->jobs_ms > 0 && keep->jobs_ms < every_ms)
        every_ms = keep->jobs_ms;
    if (keep->artifacts_ms > 0 && keep->artifacts_ms < every_ms)
        every_ms = keep->artifacts_ms;
    return every_ms > PRUNE_AGAIN_MS ? every_ms : PRUNE_AGAIN_MS;
}

static void on_prune(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    struct rb_error err;
    const struct rb_retention keep = {d->settings.keep_jobs_ms, d->settings.keep_artifacts_ms};
    bool more = false;
    if (rb_idempotency_prune(d->server.store, rb_clock_realtime_ms(), &err) != RB_OK)
        rb_log_warn("old idempotency keys not removed", RB_ERROR_FIELDS(&err));
    if (!d->server.draining &&
        rb_retention_run(&d->work, &keep, rb_clock_realtime_ms(), &more, &err) != RB_OK)
        rb_log_warn("what is old was not removed", RB_ERROR_FIELDS(&err));
    (void)uv_timer_start(timer, on_prune, more ? PRUNE_AGAIN_MS : prune_every_ms(&keep), 0);
}

static void on_room_tick(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    if (rb_room_look(&d->server.room))
        rb_queue_wake(&d->work);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    rb_notify("WATCHDOG=1");
}

static void start_handles(struct daemon *d)
{
    uint64_t watchdog_ms = rb_notify_watchdog_ms() / 2;
    /* These fail only on a loop that is closed. */
    for (int i = 0; i < SIGNALS; i++) {
        (void)uv_signal_init(&d->loop, &d->signal_handles[i]);
        d->signal_handles[i].data = d;
        (void)uv_signal_start(&d->signal_handles[i], on_signal, signal_table[i].number);
    }
    (void)uv_timer_init(&d->loop, &d->lag);
    (void)uv_timer_init(&d->loop, &d->prune);
    (void)uv_timer_init(&d->loop, &d->room);
    (void)uv_timer_init(&d->loop, &d->watchdog);
    (void)uv_timer_init(&d->loop, &d->end);
    d->lag.data = d->prune.data = d->room.data = d->end.data = d;
    d->lag_due_ns = rb_clock_monotonic_ns() + LAG_TICK_MS * (uint64_t)1000000;
    (void)uv_timer_start(&d->lag, on_lag_tick, LAG_TICK_MS, 0);
    const struct rb_retention keep = {d->settings.keep_jobs_ms, d->settings.keep_artifacts_ms};
    (void)uv_timer_start(&d->prune, on_prune, prune_every_ms(&keep), 0);
    (void)uv_timer_start(&d->room, on_room_tick, ROOM_TICK_MS, ROOM_TICK_MS);
    if (watchdog_ms > 0)
        (void)uv_timer_start(&d->watchdog, on_watchdog, watchdog_ms, watchdog_ms);
}

/* ---- serve ---- */

/* Before anything was served: what work has begun by itself ends first. */
static void drain_work(struct daemon *d)
{
    rb_work_drain(&d->work, on_drained, d);
    while (!d->drained)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
}

static void end_work(struct daemon *d)
{
    drain_work(d);
    rb_work_deinit(&d->work);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
}

static void set_first_metrics(struct daemon *d)
{
    rb_metrics_set(d->server.metrics, RB_METER_BUILD, 1, RB_VERSION, NULL);
    rb_metrics_set(d->server.metrics, RB_METER_START, (double)d->server.started_at_ms * 1e-3, NULL,
                   NULL);
    const struct rb_kernel_info *kernel = rb_kernel_info();
    rb_metrics_set(d->server.metrics, RB_METER_BLAS_RATE, kernel->rate, kernel->kernel,
                   kernel->instruction_set != NULL ? kernel->instruction_set : "unknown");
    rb_metrics_set(d->server.metrics, RB_METER_FMA_LIMIT, kernel->limit, NULL, NULL);
    /* At 0, so that the first failure is an increase and not a new series. */
    static const enum rb_job_status ends[] = {RB_JOB_SUCCEEDED, RB_JOB_FAILED, RB_JOB_CANCELED};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        rb_metrics_add(d->server.metrics, RB_METER_JOBS_FINISHED, 0, rb_job_status_names[ends[i]],
                       NULL);
}

/* Everything that can fail before the first request, and the loop. */
static enum rb_status serve(struct daemon *d, struct rb_error *err)
{
    enum rb_status s = open_data(d, err);
    if (s != RB_OK)
        return s;
    rb_room_init(&d->server.room, d->server.data_fd);
    s = settle_kernel(d, err);
    if (s != RB_OK)
        goto err_after_data;
    s = open_cluster(d, err);
    if (s != RB_OK)
        goto err_after_data;
    s = rb_sandbox_apply(&d->settings, d->server.data_dir, &d->server.sandbox, err);
    if (s != RB_OK)
        goto err_after_data;
    rb_sandbox_log(&d->server.sandbox);
    d->server.metrics = rb_metrics_new();
    if (d->server.metrics == NULL) {
        s = rb_error_set(err, RB_ENOMEM, "no memory for metrics");
        goto err_after_data;
    }
    set_first_metrics(d);
    s = open_store(d, err);
    if (s != RB_OK)
        goto err_after_metrics;
    s = open_work(d, err);
    if (s != RB_OK)
        goto err_after_store;
    s = open_slurm(d, err);
    if (s != RB_OK)
        goto err_after_work;
    s = rb_http_open(&d->server, &d->work, &d->server.http, err);
    if (s != RB_OK)
        goto err_after_work;
    start_handles(d);
    s = rb_work_start(&d->work, err);
    if (s == RB_OK) {
        rb_log_info("listening", RB_S("url", rb_http_url(d->server.http)),
                    RB_S("data_dir", d->server.data_dir), RB_U("workers", d->settings.workers),
                    RB_S("version", RB_VERSION));
        rb_notify("READY=1");
    } else {
        close_http(d);
        drain_work(d);
        close_rest(d);
    }
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    goto err_after_store; /* work and http have closed themselves */

err_after_work:
    end_work(d);
err_after_store:
    rb_tokens_close(d->server.tokens);
    rb_store_close(d->server.store);
err_after_metrics:
    rb_metrics_free(d->server.metrics);
err_after_data:
    (void)close(d->server.lock_fd);
    (void)close(d->server.data_fd);
    return s;
}

int rb_cmd_serve(int argc, char *const argv[], FILE *out)
{
    (void)out;              /* a daemon has a log */
    static struct daemon d; /* the loop's handles live in it */
    struct rb_error err;
    rb_json_prepare();
    if (rb_ids_init(&err) != RB_OK ||
        rb_settings_load(argc, argv, NULL, NULL, &d.settings, &err) != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return err.status == RB_EUSAGE ? 2 : 1;
    }
    rb_log_init(d.settings.log_format, d.settings.log_level, STDERR_FILENO);
    (void)umask(077);
    rb_signals_set();
    ignore_signals();
    d.argc = argc;
    d.argv = argv;
    raise_file_limit();
    (void)uv_loop_init(&d.loop);
    d.server.loop = &d.loop;
    d.server.settings = &d.settings;
    d.server.started_at_ms = rb_clock_realtime_ms();
    d.server.started_ns = rb_clock_monotonic_ns();
    enum rb_status s = serve(&d, &err);
    if (s != RB_OK)
        rb_log_error("cannot serve", RB_ERROR_FIELDS(&err));
    else
        rb_log_info("stopped");
    (void)uv_loop_close(&d.loop);
    free(d.environment);
    free(d.build);
    rb_settings_deinit(&d.settings);
    return s == RB_OK ? 0 : s == RB_EUSAGE ? 2 : 1;
}
