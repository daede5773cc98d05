/* What the daemon says about itself. */
#include "server/http/embedded.h"
#include "server/http/handlers.h"
#include "server/http/internal.h"
#include "server/http/libraries.h"
#include "server/http/reply.h"

#include "api/service.h"
#include "api/token.h"
#include "server/base/clock.h"
#include "server/base/datadir.h"
#include "server/base/fsutil.h"
#include "server/base/layout.h"
#include "server/http/router.h"
#include "server/store/caches.h"
#include "server/store/datasets.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/store/models.h"
#include "server/work/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below this nothing useful can be written any more. */
#define DISK_LEAST_BYTES (64 * RB_MIB)

void rb_handle_livez(struct rb_request *r)
{
    static const char text[] = "ok\n";
    rb_reply_static(r, MHD_HTTP_OK, "text/plain; charset=utf-8", text, sizeof text - 1);
}

/* ---- versions ---- */

void rb_handle_version(struct rb_request *r)
{
    struct rb_json w;
    const struct rb_version_view view = rb_version_here();
    rb_json_init(&w);
    rb_version_encode(&w, NULL, &view);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

/* ---- readiness ---- */

enum { CHECK_COUNT = 7 };

struct readiness {
    struct rb_ready_check checks[CHECK_COUNT];
    enum rb_status failure; /* of the first check that failed */
    char store[512], disk[160], workers[80], blas[160], lanes[160];
};

static void add_check(struct readiness *ready, size_t i, const char *name, enum rb_status failure,
                      const char *detail)
{
    ready->checks[i] =
        (struct rb_ready_check){.name = name, .ok = failure == RB_OK, .detail = detail};
    if (ready->failure == RB_OK)
        ready->failure = failure;
}

/* Is the data folder where it was, and can it be written? Free space says neither. At most once a
 * second, since it waits for the disk. */
static enum rb_status probe_disk(const struct rb_server *server, struct rb_error *err)
{
    static uint64_t probed_ns;
    static struct rb_error last;
    uint64_t now_ns = rb_clock_monotonic_ns();
    if (probed_ns == 0 || now_ns - probed_ns > 1000000000) {
        probed_ns = now_ns;
        last.status = rb_data_check(server->data_fd, server->data_dir, &last);
        if (last.status == RB_OK)
            last.status = rb_file_put(server->data_fd, RB_LAYOUT_PROBE, "probe\n", 6, &last);
        if (last.status == RB_EIO || last.status == RB_ENOTFOUND)
            last.status = RB_ESTORE;
    }
    *err = last;
    return last.status;
}

/* "quick: 0 of 2 busy, 0 wait; read: …" */
static void say_lanes(const struct rb_pool *pool, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < RB_LANE_COUNT && used < size; i++) {
        struct rb_lane_load l = rb_pool_lane(pool, (enum rb_lane)i);
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s: %u of %u busy, %u wait",
                             i > 0 ? "; " : "", rb_lane_names[i], l.running, l.limit, l.waiting);
    }
}

static void check_ready(const struct rb_server *server, struct readiness *ready)
{
    struct rb_error err;
    uint64_t free_bytes = 0;
    *ready = (struct readiness){.failure = RB_OK};
    add_check(ready, 0, "draining", server->draining ? RB_EDRAINING : RB_OK,
              server->draining ? "the daemon is shutting down" : NULL);
    enum rb_status s = rb_store_ping(server->store, &err);
    (void)snprintf(ready->store, sizeof ready->store, "%s",
                   s == RB_OK ? rb_store_library_version() : err.detail);
    add_check(ready, 1, "store", s, ready->store);
    s = rb_disk_free(server->data_fd, &free_bytes, &err);
    bool is_full = s == RB_OK && free_bytes < DISK_LEAST_BYTES;
    (void)snprintf(ready->disk, sizeof ready->disk, "%s%llu MiB free%s", is_full ? "full: " : "",
                   (unsigned long long)(free_bytes / RB_MIB),
                   server->room.is_short ? ", only reads, cancellations and deletions are served"
                                         : "");
    if (is_full || server->room.is_short)
        s = RB_EDISKFULL;
    if (s == RB_OK && (s = probe_disk(server, &err)) != RB_OK)
        (void)snprintf(ready->disk, sizeof ready->disk, "%.150s", err.detail);
    add_check(ready, 2, "disk", s, ready->disk);
    (void)snprintf(ready->workers, sizeof ready->workers, "%u of %u busy",
                   rb_pool_running(server->work->pool), rb_pool_workers(server->work->pool));
    add_check(ready, 3, "workers", RB_OK, ready->workers);
    add_check(ready, 4, "sandbox", RB_OK, server->sandbox.text);
    const struct rb_blas_view blas = rb_version_here().blas;
    (void)snprintf(ready->blas, sizeof ready->blas, "%s%s%s, %.0f of %.0f GF/s a core%s",
                   blas.kernel, blas.instruction_set != NULL ? ", " : "",
                   blas.instruction_set != NULL ? blas.instruction_set : "", blas.rate * 1e-9,
                   blas.limit * 1e-9, blas.rate < blas.limit / 2 ? ": slow" : "");
    add_check(ready, 5, "blas", RB_OK, ready->blas);
    say_lanes(server->work->pool, ready->lanes, sizeof ready->lanes);
    add_check(ready, 6, "lanes", RB_OK, ready->lanes);
}

void rb_handle_readyz(struct rb_request *r)
{
    static const char text[] = "ready\n";
    struct readiness ready;
    struct rb_json w;
    check_ready(rb_request_server(r), &ready);
    if (rb_query_flag(&r->target, "verbose")) {
        const struct rb_version_view view = rb_version_here();
        rb_json_init(&w);
        rb_ready_encode(&w, ready.checks, CHECK_COUNT, &view);
        rb_reply_json(r, ready.failure == RB_OK ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, &w);
        return;
    }
    if (ready.failure == RB_OK) {
        rb_reply_static(r, MHD_HTTP_OK, "text/plain; charset=utf-8", text, sizeof text - 1);
        return;
    }
    for (size_t i = 0; i < CHECK_COUNT; i++)
        if (!ready.checks[i].ok) {
            rb_reply_fail(r, ready.failure, "%s: %s", ready.checks[i].name, ready.checks[i].detail);
            return;
        }
}

/* ---- figures ---- */

static enum rb_status read_stats(const struct rb_server *server, struct rb_stats_view *ret,
                                 struct rb_error *err)
{
    struct rb_store *store = server->store;
    int64_t oldest_ms = -1, now_ms = rb_clock_realtime_ms();
    struct rb_stats_view s = {
        .uptime_seconds = (double)(rb_clock_monotonic_ns() - server->started_ns) * 1e-9,
        .workers = rb_pool_workers(server->work->pool),
        .workers_busy = rb_pool_running(server->work->pool),
        .queue_limit = (uint32_t)server->settings->queue_limit,
        .oldest_queued_seconds = NAN,
        .event_listeners = server->http->listeners,
        .store_bytes = rb_store_bytes(store),
    };
    enum rb_status status;
    if ((status = rb_jobs_count(store, s.jobs, err)) != RB_OK ||
        (status = rb_jobs_oldest_queued(store, &oldest_ms, err)) != RB_OK ||
        (status = rb_models_count(store, &s.models, err)) != RB_OK ||
        (status = rb_datasets_count(store, &s.datasets, err)) != RB_OK ||
        (status = rb_disk_free(server->data_fd, &s.free_bytes, err)) != RB_OK)
        return status;
    s.queue_depth = (uint32_t)s.jobs[RB_JOB_QUEUED];
    if (oldest_ms >= 0)
        s.oldest_queued_seconds = now_ms > oldest_ms ? (double)(now_ms - oldest_ms) * 1e-3 : 0;
    *ret = s;
    return RB_OK;
}

void rb_handle_stats(struct rb_request *r)
{
    struct rb_error err;
    struct rb_stats_view stats;
    struct rb_json w;
    if (read_stats(rb_request_server(r), &stats, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_json_init(&w);
    rb_stats_encode(&w, &stats);
    rb_reply_json(r, MHD_HTTP_OK, &w);
}

static void set_gauges(const struct rb_server *server, const struct rb_stats_view *s)
{
    struct rb_metrics *m = server->metrics;
    uint64_t moments_bytes;
    for (int i = 0; i < RB_JOB_STATUS_COUNT; i++)
        rb_metrics_set(m, RB_METER_JOBS, (double)s->jobs[i], rb_job_status_names[i], NULL);
    rb_metrics_set(m, RB_METER_QUEUE_DEPTH, s->queue_depth, NULL, NULL);
    rb_metrics_set(m, RB_METER_QUEUE_AGE,
                   isnan(s->oldest_queued_seconds) ? 0 : s->oldest_queued_seconds, NULL, NULL);
    rb_metrics_set(m, RB_METER_POOL_BUSY, s->workers_busy, NULL, NULL);
    rb_metrics_set(m, RB_METER_POOL_WORKERS, s->workers, NULL, NULL);
    for (int i = 0; i < RB_LANE_COUNT; i++) {
        struct rb_lane_load l = rb_pool_lane(server->work->pool, (enum rb_lane)i);
        rb_metrics_set(m, RB_METER_LANE_BUSY, l.running, rb_lane_names[i], NULL);
        rb_metrics_set(m, RB_METER_LANE_WAITS, l.waiting, rb_lane_names[i], NULL);
    }
    rb_metrics_set(m, RB_METER_STORE_BYTES, (double)s->store_bytes, NULL, NULL);
    rb_metrics_set(m, RB_METER_DISK_FREE, (double)s->free_bytes, NULL, NULL);
    rb_metrics_set(m, RB_METER_POOL_ITEMS, (double)rb_pool_items(server->work->pool), NULL, NULL);
    rb_metrics_set(m, RB_METER_POOL_SECONDS, rb_pool_busy_seconds(server->work->pool), NULL, NULL);
    if (rb_moments_total(server->store, &moments_bytes, NULL) == RB_OK)
        rb_metrics_set(m, RB_METER_MOMENTS_BYTES, (double)moments_bytes, NULL, NULL);
}

/* A store that cannot be read leaves its gauges as they were: the rest is still worth having. */
void rb_handle_metrics(struct rb_request *r)
{
    struct rb_server *server = rb_request_server(r);
    struct rb_error err;
    struct rb_stats_view stats;
    char *text;
    size_t bytes;
    if (read_stats(server, &stats, &err) == RB_OK)
        set_gauges(server, &stats);
    rb_metrics_collect_process(server->metrics);
    if (rb_metrics_render(server->metrics, &text, &bytes, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    rb_reply_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    rb_reply_text(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
}

/* ---- the contract ---- */

void rb_handle_openapi_yaml(struct rb_request *r)
{
    rb_reply_embedded(r, rb_embedded_find("openapi.yaml"), "application/yaml");
}

void rb_handle_openapi_json(struct rb_request *r)
{
    rb_reply_embedded(r, rb_embedded_find("openapi.json"), "application/json");
}

/* ---- who asks ---- */

void rb_handle_token(struct rb_request *r)
{
    struct rb_error err;
    struct rb_usage usage;
    struct rb_json w;
    const struct rb_identity *who = &r->who;
    if (rb_submitter_usage(rb_request_server(r)->store, who->name, &usage, &err) != RB_OK) {
        rb_reply_error(r, &err, NULL);
        return;
    }
    const struct rb_token_view view = {
        .id = who->token,
        .name = who->name,
        .read = (who->scopes & RB_SCOPE_READ) != 0,
        .submit = (who->scopes & RB_SCOPE_SUBMIT) != 0,
        .admin = (who->scopes & RB_SCOPE_ADMIN) != 0,
        .created_ms = who->created_ms,
        .expires_ms = who->expires_ms,
        .queued = who->limits.queued,
        .running = who->limits.running,
        .bytes = who->limits.bytes,
        .queued_now = usage.queued,
        .running_now = usage.running,
        .bytes_now = usage.bytes,
    };
    rb_json_init(&w);
    rb_token_encode(&w, &view);
    rb_reply_json(r, 200, &w);
}
