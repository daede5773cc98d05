/* api/service.h: what the daemon says about itself: /version, /readyz?verbose, /v1/stats, and the
 * estimate of a dry run. All strings borrowed. */
#ifndef RB_API_SERVICE_H
#define RB_API_SERVICE_H

#include "api/job.h"
#include "api/model.h"

/* GET /version: {"name":"rebasind","version","commit","compiler","libraries":{name: version},
 * "blas":{…}}. */
struct rb_library_version {
    const char *name, *version;
};
/* What multiplies: "blas":{"cpu","kernel","instruction_set","chosen_by","proven",
 * "gflops_per_core","fma_limit_gflops"}. */
struct rb_blas_view {
    const char *cpu, *kernel;
    const char *instruction_set; /* NULL: null */
    const char *chosen_by;       /* "library", "daemon", "user" */
    bool proven;                 /* held against a reference on this machine */
    double rate, limit;          /* operations per second of one core; 0: null */
};
struct rb_version_view {
    const char *version, *commit, *compiler; /* commit may be NULL: null */
    const struct rb_library_version *libraries;
    size_t library_count;
    struct rb_blas_view blas;
};
void rb_version_encode(struct rb_json *w, const char *key, const struct rb_version_view *v);
/* What of it is the same wherever this binary runs, for the provenance of what it wrote:
 * {"version","commit","compiler","libraries"}. */
void rb_build_encode(struct rb_json *w, const char *key, const struct rb_version_view *v);

/* GET /readyz?verbose: {"ready","checks":[{"name","ok","detail"}],"version":{…}}. */
struct rb_ready_check {
    const char *name; /* "store", "disk", "workers", "draining" */
    bool ok;
    const char *detail; /* NULL: null */
};
void rb_ready_encode(struct rb_json *w, const struct rb_ready_check *checks, size_t count,
                     const struct rb_version_view *version);

/* GET /v1/stats. */
struct rb_stats_view {
    double uptime_seconds;
    uint64_t jobs[RB_JOB_STATUS_COUNT]; /* by status */
    uint64_t models, datasets;
    uint32_t workers, workers_busy;
    uint32_t queue_depth, queue_limit;
    double oldest_queued_seconds;     /* NaN: none is queued */
    uint64_t store_bytes, free_bytes; /* of the data folder and its disk */
    uint32_t event_listeners;
};
void rb_stats_encode(struct rb_json *w, const struct rb_stats_view *s);

/* POST /v1/jobs?dry_run=true: {"spec":{…},"estimate":{"peak_bytes","seconds","disk_bytes",
 * "saved_seconds","least_seconds","layer_groups","feature_passes"}}. */
struct rb_estimate {
    uint64_t peak_bytes, disk_bytes;
    double seconds;        /* NaN: null */
    double saved_seconds;  /* by interpolate.points "auto", against the whole grid; NaN: null */
    double least_seconds;  /* where the first round of evaluate.precision suffices; NaN: null */
    uint32_t layer_groups; /* in which moments are made: 1 where all fit into memory */
    double feature_passes; /* through the models for that: 1 unless features are computed again */
};
void rb_estimate_encode(struct rb_json *w, const struct rb_job_spec *spec,
                        const struct rb_estimate *e);

#endif
