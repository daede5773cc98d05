#include "api/service.h"
#include "api/job_spec_encode.h"

#include <math.h>

static void encode_blas(struct rb_json *w, const struct rb_blas_view *b)
{
    rb_json_object(w, "blas");
    rb_json_string(w, "cpu", b->cpu);
    rb_json_string(w, "kernel", b->kernel);
    rb_json_string(w, "instruction_set", b->instruction_set);
    rb_json_string(w, "chosen_by", b->chosen_by);
    rb_json_bool(w, "proven", b->proven);
    rb_json_number(w, "gflops_per_core", b->rate > 0 ? b->rate * 1e-9 : NAN);
    rb_json_number(w, "fma_limit_gflops", b->limit > 0 ? b->limit * 1e-9 : NAN);
    rb_json_end(w);
}

static void encode_build(struct rb_json *w, const struct rb_version_view *v)
{
    rb_json_string(w, "version", v->version);
    rb_json_string(w, "commit", v->commit);
    rb_json_string(w, "compiler", v->compiler);
    rb_json_object(w, "libraries");
    for (size_t i = 0; i < v->library_count; i++)
        rb_json_string(w, v->libraries[i].name, v->libraries[i].version);
    rb_json_end(w);
}

void rb_version_encode(struct rb_json *w, const char *key, const struct rb_version_view *v)
{
    rb_json_object(w, key);
    rb_json_string(w, "name", "rebasind");
    encode_build(w, v);
    encode_blas(w, &v->blas);
    rb_json_end(w);
}

void rb_build_encode(struct rb_json *w, const char *key, const struct rb_version_view *v)
{
    rb_json_object(w, key);
    encode_build(w, v);
    rb_json_end(w);
}

void rb_ready_encode(struct rb_json *w, const struct rb_ready_check *checks, size_t count,
                     const struct rb_version_view *version)
{
    bool ready = true;
    for (size_t i = 0; i < count; i++)
        ready = ready && checks[i].ok;
    rb_json_object(w, NULL);
    rb_json_bool(w, "ready", ready);
    rb_json_array(w, "checks");
    for (size_t i = 0; i < count; i++) {
        rb_json_object(w, NULL);
        rb_json_string(w, "name", checks[i].name);
        rb_json_bool(w, "ok", checks[i].ok);
        rb_json_string(w, "detail", checks[i].detail);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_version_encode(w, "version", version);
    rb_json_end(w);
}

void rb_stats_encode(struct rb_json *w, const struct rb_stats_view *s)
{
    rb_json_object(w, NULL);
    rb_json_number(w, "uptime_seconds", s->uptime_seconds);
    rb_json_object(w, "jobs");
    for (int i = 0; i < RB_JOB_STATUS_COUNT; i++)
        rb_json_uint(w, rb_job_status_names[i], s->jobs[i]);
    rb_json_end(w);
    rb_json_uint(w, "models", s->models);
    rb_json_uint(w, "datasets", s->datasets);
    rb_json_uint(w, "workers", s->workers);
    rb_json_uint(w, "workers_busy", s->workers_busy);
    rb_json_uint(w, "queue_depth", s->queue_depth);
    rb_json_uint(w, "queue_limit", s->queue_limit);
    rb_json_number(w, "oldest_queued_seconds", s->oldest_queued_seconds);
    rb_json_uint(w, "store_bytes", s->store_bytes);
    rb_json_uint(w, "free_bytes", s->free_bytes);
    rb_json_uint(w, "event_listeners", s->event_listeners);
    rb_json_end(w);
}

void rb_estimate_encode(struct rb_json *w, const struct rb_job_spec *spec,
                        const struct rb_estimate *e)
{
    rb_json_object(w, NULL);
    rb_job_spec_encode(w, "spec", spec);
    rb_json_object(w, "estimate");
    rb_json_uint(w, "peak_bytes", e->peak_bytes);
    rb_json_number(w, "seconds", e->seconds);
    rb_json_uint(w, "disk_bytes", e->disk_bytes);
    rb_json_number(w, "saved_seconds", e->saved_seconds);
    rb_json_number(w, "least_seconds", e->least_seconds);
    rb_json_uint(w, "layer_groups", e->layer_groups);
    rb_json_number(w, "feature_passes", e->feature_passes);
    rb_json_end(w);
    rb_json_end(w);
}
