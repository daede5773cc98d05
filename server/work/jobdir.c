#include "server/work/jobdir.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/store/datasets.h"
#include "server/store/jobs.h"
#include "server/store/models.h"
#include "server/store/results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *rb_job_path(const char *id, const char *file, char buffer[RB_JOB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_JOB_PATH_SIZE, "jobs/%s%s%s", id, file != NULL ? "/" : "",
                   file != NULL ? file : "");
    return buffer;
}

char *rb_data_path(const struct rb_work *w, const char *below)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", w->options.data_dir, below) < 0 ? NULL : path;
}

void rb_data_remove(int data_fd, const char *below)
{
    struct rb_error err;
    if (rb_remove_beneath(data_fd, below, &err) != RB_OK)
        rb_log_warn("cannot be removed", RB_S("path", below), RB_ERROR_FIELDS(&err));
}

/* ---- another job's alignment ---- */

static enum rb_status copy_file(int data_fd, const char *from, const char *to, struct rb_error *err)
{
    char *bytes = NULL;
    size_t count = 0;
    enum rb_status status = rb_file_get(data_fd, from, SIZE_MAX / 2, &bytes, &count, err);
    if (status == RB_OK)
        status = rb_file_put(data_fd, to, bytes, count, err);
    free(bytes);
    return status;
}

enum rb_status rb_job_link_alignment(const struct rb_work *w, const char *from, const char *id,
                                     struct rb_error *err)
{
    char source[RB_JOB_PATH_SIZE], folder[RB_JOB_PATH_SIZE], target[RB_JOB_PATH_SIZE];
    int data_fd = w->options.data_fd;
    rb_job_path(from, RB_ALIGNMENT_FILE, source);
    rb_job_path(id, RB_ALIGNMENT_FILE, target);
    enum rb_status status = rb_mkdirs_beneath(data_fd, rb_job_path(id, NULL, folder), err);
    if (status != RB_OK)
        return status;
    if (linkat(data_fd, source, data_fd, target, 0) == 0)
        return rb_sync_beneath(data_fd, target, err);
    if (errno == ENOENT)
        return rb_error_errno(err, errno, source);
    return copy_file(data_fd, source, target, err);
}

enum rb_status rb_job_describe_artifact(const struct rb_work *w, const char *id, const char *name,
                                        struct rb_artifact *ret, struct rb_error *err)
{
    char path[RB_JOB_PATH_SIZE];
    unsigned char digest[RB_SHA256_BYTES];
    struct stat st;
    int fd = -1;
    rb_job_path(id, name, path);
    enum rb_status status = rb_open_beneath(w->options.data_fd, path, O_RDONLY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0)
        status = rb_error_errno(err, errno, path);
    else
        status = rb_sha256_fd(fd, path, NULL, digest, err);
    close(fd);
    if (status != RB_OK)
        return status;
    *ret = (struct rb_artifact){.bytes = (uint64_t)st.st_size};
    (void)snprintf(ret->name, sizeof ret->name, "%s", name);
    rb_sha256_hex(digest, ret->sha256);
    return RB_OK;
}

/* ---- what a spec names ---- */

struct finder {
    struct rb_work *w;
    struct rb_places places;
    struct rb_job_input *inputs;
    uint64_t *versions;
    size_t count;
};

static enum rb_status unknown(struct rb_error *err, const char *pointer, const char *what,
                              const char *name)
{
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
    return imported ? strdup(path) : rb_data_path(f->w, path);
}

static enum rb_status find_model(struct finder *f, int side, const char *name, struct rb_error *err)
{
    static const char *const pointers[2] = {"/models/a", "/models/b"};
    static const char *const roles[2] = {"model_a", "model_b"};
    struct rb_model_row row;
    enum rb_status status = rb_model_get(f->w->store, name, &row, err);
    if (status == RB_ENOTFOUND)
        return unknown(err, pointers[side], "model", name);
    if (status != RB_OK)
        return status;
    if (row.resource.status != RB_MODEL_READY) {
        status = rb_error_at(err, RB_EINPUT, pointers[side], "model '%s' is %s: %s", name,
                             rb_model_status_names[row.resource.status],
                             row.resource.problem_count > 0 ? row.resource.problems[0].detail
                                                            : "files are missing");
    } else {
        f->places.name[side] = strdup(name);
        f->places.path[side] = absolute(f, row.imported, row.path);
        add_input(f, roles[side], name, row.resource.sha256, row.version);
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
        return unknown(err, pointer, "dataset", name);
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

static enum rb_status find_alignment(struct finder *f, const char *id, struct rb_error *err)
{
    static const char *const pointer = "/align/from_job";
    struct rb_job_row row;
    struct rb_artifact artifact;
    char below[RB_JOB_PATH_SIZE];
    enum rb_status status = rb_job_get(f->w->store, id, &row, err);
    if (status == RB_ENOTFOUND)
        return unknown(err, pointer, "job", id);
    if (status != RB_OK)
        return status;
    if (row.job.status != RB_JOB_SUCCEEDED)
        status = rb_error_at(err, RB_EINPUT, pointer, "job %s is %s; expected one that succeeded",
                             id, rb_job_status_names[row.job.status]);
    if (status == RB_OK) {
        status = rb_artifact_get(f->w->store, row.seq, RB_ALIGNMENT_FILE, &artifact, err);
        if (status == RB_ENOTFOUND)
            status = rb_error_at(err, RB_EINPUT, pointer, "job %s has not aligned anything", id);
    }
    rb_job_row_deinit(&row);
    if (status != RB_OK)
        return status;
    f->places.alignment = rb_data_path(f->w, rb_job_path(id, RB_ALIGNMENT_FILE, below));
    add_input(f, "from_job", id, artifact.sha256, 0);
    return f->places.alignment != NULL ? RB_OK : no_memory(err);
}

static enum rb_status own_alignment(struct finder *f, const char *id, struct rb_error *err)
{
    char below[RB_JOB_PATH_SIZE];
    f->places.alignment = rb_data_path(f->w, rb_job_path(id, RB_ALIGNMENT_FILE, below));
    return f->places.alignment != NULL ? RB_OK : no_memory(err);
}

enum rb_status rb_places_find(struct rb_work *w, const char *id, const struct rb_job_spec *spec,
                              struct rb_places *ret, struct rb_job_input *ret_inputs,
                              uint64_t *ret_versions, size_t *ret_count, struct rb_error *err)
{
    struct finder f = {.w = w, .inputs = ret_inputs, .versions = ret_versions};
    enum rb_status status = find_model(&f, 0, spec->model_a, err);
    if (status == RB_OK)
        status = find_model(&f, 1, spec->model_b, err);
    if (status == RB_OK && spec->align.from_job != NULL)
        status =
            id == NULL ? find_alignment(&f, spec->align.from_job, err) : own_alignment(&f, id, err);
    else if (status == RB_OK && spec->align.options.components != 0)
        status = find_dataset(&f, spec->align.dataset.name, "/align/dataset", "align_dataset",
                              false, &f.places.align, err);
    if (status == RB_OK && spec->has_evaluate)
        status =
            find_dataset(&f, spec->evaluate.dataset.name, "/evaluate/dataset", "evaluate_dataset",
                         spec->evaluate.options.task != RB_TASK_MLM, &f.places.evaluate, err);
    if (status != RB_OK) {
        rb_places_deinit(&f.places);
        return status;
    }
    *ret = f.places;
    *ret_count = f.count;
    return RB_OK;
}
