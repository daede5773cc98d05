#include "api/event.h"
#include "core/merge/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *const rb_event_type_names[] = {"status", "progress", "point", "note", NULL};
const char *const rb_curve_names[] = {"aligned", "control", "folded", NULL};

void rb_event_encode(struct rb_json *w, const char *key, const struct rb_event *e)
{
    rb_json_object(w, key);
    if (e->id > 0)
        rb_json_uint(w, "id", e->id);
    else
        rb_json_null(w, "id");
    rb_json_string(w, "type", rb_event_type_names[e->type]);
    rb_json_string(w, "job", e->job);
    rb_json_time(w, "created_at", e->created_ms);
    rb_json_raw(w, "data", e->data_json);
    rb_json_end(w);
}

/* The object is one line: the writer escapes line ends, and data_json came from it too. */
enum rb_status rb_event_frame(const struct rb_event *e, char **ret, size_t *ret_bytes,
                              struct rb_error *err)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_event_encode(&w, NULL, e);
    char *object = NULL;
    enum rb_status status = rb_json_finish(&w, &object, NULL, err);
    if (status != RB_OK)
        return status;
    char id[32] = "";
    if (e->id > 0)
        (void)snprintf(id, sizeof id, "id: %" PRIu64 "\n", e->id);
    char *frame = NULL;
    int bytes =
        asprintf(&frame, "%sevent: %s\ndata: %s\n\n", id, rb_event_type_names[e->type], object);
    free(object);
    if (bytes < 0)
        return rb_error_set(err, RB_ENOMEM, "not enough memory for an event");
    *ret = frame;
    if (ret_bytes != NULL)
        *ret_bytes = (size_t)bytes;
    return RB_OK;
}

void rb_event_status_data(struct rb_json *w, const struct rb_job *j)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "status", rb_job_status_names[j->status]);
    rb_phase_encode(w, "phase", j->phase);
    rb_json_uint(w, "attempt", j->attempt);
    rb_json_uint(w, "version", j->version);
    rb_job_error_encode(w, "error", &j->error);
    rb_json_end(w);
}

void rb_event_progress_data(struct rb_json *w, enum rb_phase phase, const struct rb_progress *p)
{
    rb_json_object(w, NULL);
    rb_phase_encode(w, "phase", phase);
    rb_progress_encode(w, p);
    rb_json_end(w);
}

void rb_event_point_data(struct rb_json *w, enum rb_curve_name curve, enum rb_task task,
                         const struct rb_point *p)
{
    unsigned metrics = rb_task_metrics(task, 0);
    rb_json_object(w, NULL);
    rb_json_string(w, "curve", rb_curve_names[curve]);
    rb_json_number(w, "lambda", p->lambda);
    rb_json_number(w, "loss", p->loss);
    rb_json_number(w, "standard_error", p->standard_error);
    rb_json_object(w, "metrics");
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        if ((metrics & 1U << m) != 0)
            rb_json_number(w, rb_metric_names[m], p->metrics[m]);
    rb_json_end(w);
    rb_json_end(w);
}

void rb_event_note_data(struct rb_json *w, const char *unit, const char *text)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "unit", unit);
    rb_json_string(w, "text", text);
    rb_json_end(w);
}
