#include "server/work/places.h"
#include "api/artifact.h"
#include "server/base/layout.h"
#include "server/store/datasets.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/store/models.h"
#include "server/store/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_place_deinit(struct rb_text_place *t)
{
    free(t->name);
    free(t->path);
    free(t->text);
    free(t->text_pair);
    free(t->label);
}

void rb_places_deinit(struct rb_places *p)
{
    for (size_t i = 0; i < RB_MODELS_MAX; i++) {
        free(p->name[i]);
        free(p->path[i]);
        free(p->alignments[i]);
    }
    text_place_deinit(&p->align);
    text_place_deinit(&p->evaluate);
    text_place_deinit(&p->learn);
    text_place_deinit(&p->merge);
    *p = (struct rb_places){0};
}

struct finder {
    struct rb_work *w;
    struct rb_places places;
    struct rb_job_input *inputs;
    uint64_t *versions;
    size_t count;
    bool not_there;          /* the last look-up found nothing of that name */
    struct rb_error missing; /* of all such, the first one's pointer; RB_OK: none */
    struct rb_problems *all; /* the same singly; NULL: nobody asks */
};

static enum rb_status unknown(struct finder *f, struct rb_error *err, const char *pointer,
                              const char *what, const char *name)
{
    f->not_there = true;
    return rb_error_at(err, RB_EINPUT, pointer, "no %s is named '%s'", what, name);
}

static void add_input(struct finder *f, const char *role, const char *name, const char *sha256,
                      uint64_t version)
{
    struct rb_job_input *i = &f->inputs[f->count];
    (void)snprintf(i->role, sizeof i->role, "%s", role);
    (void)snprintf(i->name, sizeof i->name, "%s", name);
    (void)snprintf(i->sha256, sizeof i->sha256, "%s", sha256);
    f->versions[f->count++] = version;
}

static enum rb_status no_memory(struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "no memory to look up a job's inputs");
}

static char *absolute(const struct finder *f, bool imported, const char *path)
{
    return imported ? strdup(path) : rb_layout_absolute(f->w->options.data_dir, path);
}

static enum rb_status find_model(struct finder *f, size_t side, const char *name,
                                 struct rb_error *err)
{
    char room[32], role[24];
    const char *pointer = rb_job_spec_model_pointer(f->places.anchored, side, room);
    struct rb_model_row row;
    enum rb_status status = rb_model_get(f->w->store, name, &row, err);
    if (status == RB_ENOTFOUND)
        return unknown(f, err, pointer, "model", name);
    if (status != RB_OK)
        return status;
    if (row.resource.status != RB_MODEL_READY) {
        status = rb_error_at(err, RB_EINPUT, pointer, "model '%s' is %s: %s", name,
                             rb_model_status_names[row.resource.status],
                             row.resource.problem_count > 0 ? row.resource.problems[0].detail
                                                            : "files are missing");
    } else {
        f->places.name[side] = strdup(name);
        f->places.path[side] = absolute(f, row.imported, row.path);
        rb_job_model_role(side, role);
        add_input(f, role, name, row.resource.sha256, row.version);
        if (f->places.name[side] == NULL || f->places.path[side] == NULL)
            status = no_memory(err);
    }
    rb_model_row_deinit(&row);
    return status;
}

static char *take(char **from)
{
    char *s = *from;
    *from = NULL;
    return s;
}

static enum rb_status find_dataset(struct finder *f, const char *name, const char *pointer,
                                   const char *role, bool label, struct rb_text_place *ret,
                                   struct rb_error *err)
{
    struct rb_dataset_row row;
    enum rb_status status = rb_dataset_get(f->w->store, name, &row, err);
    if (status == RB_ENOTFOUND)
        return unknown(f, err, pointer, "dataset", name);
    if (status != RB_OK)
        return status;
    struct rb_dataset_resource *d = &row.resource;
    if (label && d->fields.label == NULL) {
        status = rb_error_at(
            err, RB_EINPUT, pointer,
            "dataset '%s' was registered without a label field, the task needs one", name);
    } else {
        *ret = (struct rb_text_place){
            .name = strdup(name),
            .path = absolute(f, row.imported, row.path),
            .format = d->format,
            .text = take(&d->fields.text),
            .text_pair = take(&d->fields.text_pair),
            .label = take(&d->fields.label),
            .rows = d->rows,
        };
        add_input(f, role, name, d->sha256, row.version);
        if (ret->name == NULL || ret->path == NULL)
            status = no_memory(err);
    }
    rb_dataset_row_deinit(&row);
    return status;
}

/* Where a job has the alignment of each model that is moved here. */
static enum rb_status place_alignments(struct finder *f, const char *id, struct rb_error *err)
{
    char below[RB_PATH_SIZE], name[RB_FILE_NAME_SIZE];
    for (size_t m = 1; m < f->places.models; m++) {
        rb_artifact_of_model(RB_FILE_ALIGNMENT, m, name);
        f->places.alignments[m] =
            rb_layout_absolute(f->w->options.data_dir, rb_layout_job(id, name, below));
        if (f->places.alignments[m] == NULL)
            return no_memory(err);
    }
    return RB_OK;
}

/* How many models a job has moved; the digest of the first one's alignment. */
static enum rb_status count_alignments(struct finder *f, int64_t job, size_t *ret,
                                       struct rb_artifact *ret_first, struct rb_error *err)
{
    struct rb_artifact artifact;
    char name[RB_FILE_NAME_SIZE];
    enum rb_status status = RB_OK;
    size_t count = 0;
    for (; count < RB_MODELS_MAX; count++) {
        rb_artifact_of_model(RB_FILE_ALIGNMENT, count + 1, name);
        status = rb_artifact_get(f->w->store, job, name, &artifact, err);
        if (status != RB_OK)
            break;
        if (count == 0)
            *ret_first = artifact;
    }
    *ret = count;
    return status == RB_ENOTFOUND ? RB_OK : status;
}

static enum rb_status find_alignments(struct finder *f, const char *id, struct rb_error *err)
{
    static const char *const pointer = "/align/from_job";
    struct rb_job_row row;
    struct rb_artifact first;
    size_t moved = 0, needed = f->places.models - 1;
    enum rb_status status = rb_job_get(f->w->store, id, &row, err);
    if (status == RB_ENOTFOUND)
        return unknown(f, err, pointer, "job", id);
    if (status != RB_OK)
        return status;
    if (row.job.status != RB_JOB_SUCCEEDED)
        status = rb_error_at(err, RB_EINPUT, pointer, "job %s is %s; expected one that succeeded",
                             id, rb_job_status_names[row.job.status]);
    if (status == RB_OK)
        status = count_alignments(f, row.seq, &moved, &first, err);
    if (status == RB_OK && moved == 0)
        status = rb_error_at(err, RB_EINPUT, pointer, "job %s has not aligned anything", id);
    if (status == RB_OK && needed > 1 && moved != needed)
        status = rb_error_at(err, RB_EINPUT, pointer,
                             "job %s has moved %zu of its models; expected %zu, as many as are "
                             "moved here",
                             id, moved, needed);
    rb_job_row_deinit(&row);
    if (status != RB_OK)
        return status;
    add_input(f, "from_job", id, first.sha256, 0);
    return place_alignments(f, id, err);
}

/* What is not registered is told all at once; what is wrong otherwise ends the search. */
static enum rb_status go_on(struct finder *f, enum rb_status status, struct rb_error *err)
{
    if (status != RB_EINPUT || !f->not_there)
        return status;
    f->not_there = false;
    if (f->all != NULL)
        rb_problems_add(f->all, err->pointer, "%s", err->detail);
    if (f->missing.status == RB_OK) {
        f->missing = *err;
        return RB_OK;
    }
    size_t used = strlen(f->missing.detail);
    size_t room = sizeof f->missing.detail - used;
    int wanted = snprintf(f->missing.detail + used, room, "; %s: %s", err->pointer, err->detail);
    if (wanted < 0) /* what does not fit is cut off */
        f->missing.detail[used] = '\0';
    return RB_OK;
}

enum rb_status rb_places_find(struct rb_work *w, const char *id, const struct rb_job_spec *spec,
                              struct rb_places *ret, struct rb_job_input *ret_inputs,
                              uint64_t *ret_versions, size_t *ret_count,
                              struct rb_problems *missing, struct rb_error *err)
{
    struct finder f = {.w = w, .inputs = ret_inputs, .versions = ret_versions, .all = missing};
    enum rb_status status = RB_OK;
    f.places.models = rb_job_spec_models(spec);
    f.places.anchored = spec->anchored;
    for (size_t i = 0; i < f.places.models && status == RB_OK; i++)
        status = go_on(&f, find_model(&f, i, rb_job_spec_model(spec, i), err), err);
    if (status == RB_OK && spec->align.from_job != NULL)
        status = id == NULL ? go_on(&f, find_alignments(&f, spec->align.from_job, err), err)
                            : place_alignments(&f, id, err);
    else if (status == RB_OK && spec->align.options.components != 0)
        status = go_on(&f,
                       find_dataset(&f, spec->align.dataset.name, "/align/dataset", "align_dataset",
                                    false, &f.places.align, err),
                       err);
    const struct rb_align_spec *align = &spec->align;
    if (status == RB_OK && align->has_learn && align->learn.dataset.name != NULL)
        status = go_on(&f,
                       find_dataset(&f, align->learn.dataset.name, "/align/learn/dataset",
                                    "learn_dataset", false, &f.places.learn, err),
                       err);
    if (status == RB_OK && rb_job_spec_makes(spec) && spec->merge.dataset.name != NULL)
        status = go_on(&f,
                       find_dataset(&f, spec->merge.dataset.name, "/merge/dataset", "merge_dataset",
                                    false, &f.places.merge, err),
                       err);
    if (status == RB_OK && spec->has_evaluate)
        status = go_on(
            &f,
            find_dataset(&f, spec->evaluate.dataset.name, "/evaluate/dataset", "evaluate_dataset",
                         rb_task_has_labels(spec->evaluate.options.task), &f.places.evaluate, err),
            err);
    if (status == RB_OK && f.missing.status != RB_OK) {
        status = f.missing.status;
        *err = f.missing;
    } else if (status != RB_OK && missing != NULL && missing->count > 0) {
        rb_problems_add(missing, err->pointer, "%s", err->detail);
    }
    if (status != RB_OK) {
        rb_places_deinit(&f.places);
        return status;
    }
    *ret = f.places;
    *ret_count = f.count;
    return RB_OK;
}
