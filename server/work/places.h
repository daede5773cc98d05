/* server/work/places.h: where what a job's spec names lies, and what it was when it was looked up.
 */
#ifndef RB_SERVER_WORK_PLACES_H
#define RB_SERVER_WORK_PLACES_H

#include "api/job.h"
#include "api/job_spec.h"
#include "server/work/work_state.h"

/* Where a text lies and how it is read. Strings owned; path NULL: the job needs none. */
struct rb_text_place {
    char *name, *path;
    enum rb_format format;
    char *text, *text_pair, *label;
    uint64_t rows; /* as counted at registration */
};

struct rb_places {
    char *name[RB_MODELS_MAX], *path[RB_MODELS_MAX]; /* of the models: a (or the anchor), b, … */
    size_t models;                                   /* how many */
    bool anchored;                                   /* as the spec says it */
    struct rb_text_place align, evaluate;
    struct rb_text_place learn; /* where align.learn has a dataset of its own; else empty */
    struct rb_text_place merge; /* where merge has one; else empty */
    /* Paths of another job's alignments, by the model that each moves; NULL: none. */
    char *alignments[RB_MODELS_MAX];
};
void rb_places_deinit(struct rb_places *p);

/* Looks up the models, datasets and job that a spec names. Loop thread. Errors have their pointer
 * at the spec's member: RB_EINPUT for names that are unknown or not ready. inputs: roles, names and
 * digests; versions: of the rows in the same order (0 for a job). id: of the job itself once it has
 * been submitted, and has its own copy of align.from_job's alignment; NULL before. Names that are
 * unknown are all added to missing (unless NULL), each at its member; err has them in one. */
enum rb_status rb_places_find(struct rb_work *w, const char *id, const struct rb_job_spec *spec,
                              struct rb_places *ret, struct rb_job_input *ret_inputs,
                              uint64_t *ret_versions, size_t *ret_count,
                              struct rb_problems *missing, struct rb_error *err) RB_MUST_CHECK;

#endif
