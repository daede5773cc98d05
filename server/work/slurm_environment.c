#include "server/work/slurm_environment.h"
#include "api/body.h"
#include "server/base/clock.h"
#include "server/work/slurm_note.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 4096 };

/* The environment as JSON, which an earlier process may have begun; nodes is a list in memory. */
static json_t *open_environment(const struct rb_run *run)
{
    json_t *e = NULL;
    struct rb_error ignored;
    const char *text = run->row.job.environment_json;
    if (text != NULL && rb_body_parse(text, strlen(text), strlen(text), &e, &ignored) != RB_OK)
        e = NULL;
    const char *executor = json_string_value(json_object_get(e, "executor"));
    if (executor != NULL && strcmp(executor, "slurm") == 0)
        return e;
    json_decref(e);
    return json_pack("{s:n,s:n,s:n,s:n,s:i,s:s,s:i,s:[],s:[],s:[]}", "cpu", "blas_kernel",
                     "instruction_set", "gflops_per_core", "threads", 0, "executor", "slurm",
                     "nodes", 0, "node_names", "cpus", "blas_kernels");
}

/* A new name at its end; true if it was new. */
static bool add_name(json_t *list, const char *name)
{
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
            return false;
    return name[0] != '\0' && count < NAMES_MAX &&
           json_array_append_new(list, json_string(name)) == 0;
}

void rb_slurm_environment_add(struct rb_run *run, const struct rb_seal *seal)
{
    json_t *e = open_environment(run);
    if (e == NULL)
        return;
    json_t *nodes = json_object_get(e, "node_names");
    bool changed = add_name(nodes, seal->node);
    changed |= add_name(json_object_get(e, "cpus"), seal->cpu);
    changed |= add_name(json_object_get(e, "blas_kernels"), seal->blas_kernel);
    json_int_t threads = json_integer_value(json_object_get(e, "threads"));
    (void)json_object_set_new(e, "nodes", json_integer((json_int_t)json_array_size(nodes)));
    if ((json_int_t)seal->threads > threads)
        (void)json_object_set_new(e, "threads", json_integer(seal->threads));
    /* What a job on one machine says, where there is one answer. */
    const json_t *kernels = json_object_get(e, "blas_kernels");
    bool same = json_array_size(kernels) == 1;
    (void)json_object_set_new(e, "cpu",
                              json_array_size(json_object_get(e, "cpus")) == 1
                                  ? json_string(seal->cpu)
                                  : json_string("several"));
    (void)json_object_set_new(e, "blas_kernel",
                              same ? json_string(seal->blas_kernel) : json_string("several"));
    char *text = changed ? json_dumps(e, JSON_COMPACT) : NULL;
    if (text != NULL) {
        free(run->row.job.environment_json);
        run->row.job.environment_json = text;
    }
    if (changed && json_array_size(kernels) == 2)
        rb_slurm_note(run, "points",
                      "nodes differ in their BLAS kernel (%s, %s): last bits of points may, too",
                      json_string_value(json_array_get(kernels, 0)),
                      json_string_value(json_array_get(kernels, 1)));
    json_decref(e);
}

struct rb_job_change rb_slurm_environment_change(const struct rb_run *run)
{
    return (struct rb_job_change){
        .to = RB_JOB_RUNNING,
        .phase = run->row.job.phase,
        .at_ms = rb_clock_realtime_ms(),
        .environment = run->row.job.environment_json,
    };
}
