/* api/event.h: what happened to a job, as a row of a JSON page and as a server-sent event. */
#ifndef RB_API_EVENT_H
#define RB_API_EVENT_H

#include "api/encode.h"
#include "api/job.h"
#include "core/merge/curve.h"

enum rb_event_type { RB_EVENT_STATUS, RB_EVENT_PROGRESS, RB_EVENT_POINT, RB_EVENT_NOTE };
extern const char *const rb_event_type_names[]; /* "status", "progress", "point", "note" */

/* folded: the control of models whose norms are folded (METHOD 10): averaged, not aligned. */
enum rb_curve_name { RB_CURVE_ALIGNED, RB_CURVE_CONTROL, RB_CURVE_FOLDED, RB_CURVE_COUNT };
extern const char *const rb_curve_names[]; /* "aligned", "control", "folded" */

struct rb_event {
    uint64_t id; /* ascending over all jobs; 0: passing progress, not kept and not replayed */
    enum rb_event_type type;
    char job[RB_JOB_ID_SIZE];
    int64_t created_ms;
    const char *data_json; /* one of the below, borrowed */
};

/* {"id","type","job","created_at","data"}; id null when 0. */
void rb_event_encode(struct rb_json *w, const char *key, const struct rb_event *e);

/* "id: 17\nevent: point\ndata: {…the same object…}\n\n", without the id line when id is 0.
 * New, free() it. RB_ENOMEM. */
enum rb_status rb_event_frame(const struct rb_event *e, char **ret, size_t *ret_bytes,
                              struct rb_error *err) RB_MUST_CHECK;
/* What keeps an idle stream alive: a comment line. */
#define RB_EVENT_HEARTBEAT ": heartbeat\n\n"

/* The data of each type, as a top-level object. */
/* {"status","phase","attempt","version","error"}. */
void rb_event_status_data(struct rb_json *w, const struct rb_job *j);
/* {"phase","done","total","unit","fraction","eta_seconds"}. */
void rb_event_progress_data(struct rb_json *w, enum rb_phase phase, const struct rb_progress *p);
/* {"curve","lambda","loss","standard_error","metrics"}. */
void rb_event_point_data(struct rb_json *w, enum rb_curve_name curve, enum rb_task task,
                         const struct rb_point *p);
/* {"unit","text"}: what becomes of a unit that is computed elsewhere, in words. */
void rb_event_note_data(struct rb_json *w, const char *unit, const char *text);

#endif
