/* server/base/metrics.h: what Prometheus reads at /metrics, declared in one table.
 *
 * Loop thread only: no locks. Counters and histograms are added to where things happen; gauges
 * marked * are set by the handler of /metrics from the store and the pool just before rendering.
 * A series exists from its first use on; series without labels exist, at 0, from the start. At most
 * RB_METRICS_SERIES_MAX series of a metric: label values must come from closed sets (route
 * templates, never paths); what exceeds that is counted under the label value "other".
 *
 *    symbol, kind, name without prefix, label 1 ("" none), label 2, buckets, help
 */
#ifndef RB_SERVER_BASE_METRICS_H
#define RB_SERVER_BASE_METRICS_H

#include "api/status.h"

#include <stdint.h>

/* clang-format off */
#define RB_METER_MAP(X)                                                                           \
    X(BUILD, GAUGE, "build_info", "version", "", NONE,                                             \
      "Always 1, with the version of the daemon")                                                  \
    X(START, GAUGE, "start_time_seconds", "", "", NONE,                                            \
      "When the daemon started, in seconds since 1970")                                            \
    X(BLAS_RATE, GAUGE, "blas_flops_per_second", "kernel", "instruction_set", NONE,                \
      "Operations per second of a matrix product on one core, by OpenBLAS's kernel")               \
    X(FMA_LIMIT, GAUGE, "fma_limit_flops_per_second", "", "", NONE,                                \
      "Operations per second of fused multiply-adds in registers alone on one core")               \
    X(REQUESTS, COUNTER, "http_requests_total", "route", "status", NONE,                           \
      "Requests answered, by route template and status")                                           \
    X(REQUEST_SECONDS, HISTOGRAM, "http_request_duration_seconds", "route", "", LATENCY,           \
      "Time from the first byte of a request to its queued reply, long polls excepted")            \
    X(REQUEST_BYTES, COUNTER, "http_received_bytes_total", "", "", NONE,                           \
      "Bytes of request bodies")                                                                   \
    X(REPLY_BYTES, COUNTER, "http_sent_bytes_total", "", "", NONE,                                 \
      "Bytes of reply bodies")                                                                     \
    X(REFUSED, COUNTER, "http_refused_total", "reason", "", NONE,                                  \
      "Requests and connections refused before a handler, by error code")                          \
    X(CONNECTIONS, GAUGE, "http_connections", "", "", NONE,                                        \
      "Open connections")                                                                          \
    X(LISTENERS, GAUGE, "event_listeners", "", "", NONE,                                           \
      "Open streams of server-sent events")                                                        \
    X(LOOP_LAG, HISTOGRAM, "loop_lag_seconds", "", "", LATENCY,                                    \
      "How late a timer of the loop fires")                                                        \
    X(QUEUE_DEPTH, GAUGE, "queue_depth", "", "", NONE,                                             \
      "* Jobs that wait")                                                                          \
    X(QUEUE_AGE, GAUGE, "queue_oldest_seconds", "", "", NONE,                                      \
      "* How long the oldest waiting job has waited")                                              \
    X(JOBS, GAUGE, "jobs", "status", "", NONE,                                                     \
      "* Jobs in the store, by status")                                                            \
    X(JOBS_FINISHED, COUNTER, "jobs_finished_total", "status", "", NONE,                           \
      "Jobs that this process brought to an end, by status")                                       \
    X(RETIRED, COUNTER, "retention_removed_total", "what", "", NONE,                               \
      "Jobs removed by their age, whole (job) or their merged checkpoints alone (artifacts)")      \
    X(RETIRED_BYTES, COUNTER, "retention_removed_bytes_total", "what", "", NONE,                   \
      "Bytes of artifacts removed by age")                                                         \
    X(PHASE_SECONDS, HISTOGRAM, "phase_duration_seconds", "phase", "", PHASE,                      \
      "Time a job spent in a phase")                                                               \
    X(TOKENS, COUNTER, "tokens_processed_total", "phase", "", NONE,                                \
      "Tokens that went through a model, by phase")                                                \
    X(POOL_BUSY, GAUGE, "pool_busy_workers", "", "", NONE,                                         \
      "* Work items running now")                                                                  \
    X(POOL_WORKERS, GAUGE, "pool_workers", "", "", NONE,                                           \
      "* Work items that may run at once")                                                         \
    X(LANE_BUSY, GAUGE, "lane_busy", "lane", "", NONE,                                             \
      "* Plain jobs running now, by lane: quick ones, and those that read files whole")            \
    X(LANE_WAITS, GAUGE, "lane_waiting", "lane", "", NONE,                                         \
      "* Plain jobs that wait for their lane")                                                     \
    X(POOL_ITEMS, COUNTER, "pool_items_total", "", "", NONE,                                       \
      "Work items finished")                                                                       \
    X(POOL_SECONDS, COUNTER, "pool_busy_seconds_total", "", "", NONE,                              \
      "Time that work items ran, over all workers")                                                \
    X(UNITS, GAUGE, "units", "state", "", NONE,                                                    \
      "Tasks of units that the cluster's queue has, by state: pending or running")                 \
    X(UNIT_WAIT, HISTOGRAM, "unit_queue_wait_seconds", "", "", PHASE,                              \
      "Time from a unit's submission until one of its tasks was first seen running")               \
    X(UNIT_RETRIES, COUNTER, "unit_retries_total", "unit", "", NONE,                               \
      "Units that ended without their result and were submitted again, or given up")               \
    X(QUEUE_FAILURES, COUNTER, "cluster_queue_failures_total", "", "", NONE,                       \
      "Questions to the cluster's queue that failed")                                              \
    X(STORE_BYTES, GAUGE, "store_bytes", "", "", NONE,                                             \
      "* Size of the database with its log")                                                       \
    X(STORE_COMMIT_SECONDS, HISTOGRAM, "store_commit_duration_seconds", "", "", LATENCY,           \
      "Time of a transaction's commit")                                                            \
    X(STORE_ERRORS, COUNTER, "store_errors_total", "code", "", NONE,                               \
      "Failed operations on the store, by error code")                                             \
    X(UPLOAD_BYTES, COUNTER, "upload_bytes_total", "", "", NONE,                                   \
      "Bytes of models and datasets uploaded")                                                     \
    X(DISK_FREE, GAUGE, "data_free_bytes", "", "", NONE,                                           \
      "* Free disk at the data folder")                                                            \
    X(MOMENTS_BYTES, GAUGE, "moments_cache_bytes", "", "", NONE,                                   \
      "* Size of the kept moments")                                                                \
    X(MOMENTS_HITS, COUNTER, "moments_cache_requests_total", "result", "", NONE,                   \
      "Look-ups of kept moments: hit or miss")                                                     \
    X(RESIDENT, GAUGE, "resident_memory_bytes", "", "", NONE,                                      \
      "* Resident memory of the daemon")                                                           \
    X(CPU_SECONDS, COUNTER, "cpu_seconds_total", "", "", NONE,                                     \
      "* User and system time of the daemon")                                                      \
    X(OPEN_FILES, GAUGE, "open_files", "", "", NONE,                                               \
      "* Open file descriptors of the daemon")
/* clang-format on */

enum rb_meter {
#define RB_METER_ENUM(symbol, kind, name, label1, label2, buckets, help) RB_METER_##symbol,
    RB_METER_MAP(RB_METER_ENUM)
#undef RB_METER_ENUM
        RB_METER_COUNT
};

enum { RB_METRICS_SERIES_MAX = 1024 };

struct rb_metrics;

/* NULL when out of memory. */
struct rb_metrics *rb_metrics_new(void);
void rb_metrics_free(struct rb_metrics *m); /* m may be NULL */

/* Label values are copied; NULL where the table names no label (asserted). These never fail: out
 * of memory loses the sample. m may be NULL (tools without metrics). */
void rb_metrics_add(struct rb_metrics *m, enum rb_meter meter, double by, const char *label1,
                    const char *label2);
void rb_metrics_set(struct rb_metrics *m, enum rb_meter meter, double value, const char *label1,
                    const char *label2);
void rb_metrics_observe(struct rb_metrics *m, enum rb_meter meter, double value,
                        const char *label1);

/* Sets RESIDENT, CPU_SECONDS and OPEN_FILES from /proc/self. */
void rb_metrics_collect_process(struct rb_metrics *m);

/* Prometheus text exposition 0.0.4 ("text/plain; version=0.0.4; charset=utf-8"). *ret is
 * NUL-terminated and the caller's: free(). RB_ENOMEM. */
enum rb_status rb_metrics_render(const struct rb_metrics *m, char **ret, size_t *ret_bytes,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
