/* DESIGN. Five steps: find the files and look at their beginnings (pool), recall their digests
 * (loop), hash them in pieces and read a text whole (pool, in the lane of what reads files whole),
 * write the row (loop). What a header or a first line can tell is told before anything is read
 * whole. Two uploads into one model may be looked at at the same time, and the older look may end
 * last; it is then out of date and writes nothing. */
#include "server/work/inspect.h"
#include "core/input.h"
#include "core/tensor/map.h"
#include "server/base/clock.h"
#include "server/base/datadir.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/datasets.h"
#include "server/store/jobs.h"
#include "server/store/models.h"
#include "server/store/terms.h"
#include "server/work/digests.h"
#include "server/work/examine.h"
#include "server/work/hf_cache.h"
#include "server/work/imports.h"
#include "server/work/jobdir.h"
#include "server/work/work_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum inspection_end { GOES_ON, LEFT, DELETED, DRAINED };

struct rb_inspection {
    struct rb_work *w;
    struct rb_inspection *next; /* of w->inspections */
    struct rb_async async;
    rb_inspect_done *done; /* NULL: forgotten */
    void *data;

    bool is_model, uploaded;
    atomic_bool stop; /* for the pool: it is of no use any more */
    enum inspection_end why;
    bool superseded; /* a later look at the same thing has been written */
    uint64_t order;
    char *name;
    char *hf;   /* a model's name in a Hugging Face cache; its path is then found */
    char *path; /* as given; once found the real one */
    struct rb_digests digests;
    struct rb_model_resource model;
    struct rb_dataset_resource dataset;
    char submitter[RB_SUBMITTER_SIZE];
    bool guessed;              /* nobody told that a dataset is text */
    char stored[RB_PATH_SIZE]; /* an uploaded dataset's place below the data folder */

    enum rb_status status;
    struct rb_error error;
};

static void inspection_free(struct rb_inspection *i)
{
    rb_digests_deinit(&i->digests);
    rb_model_resource_deinit(&i->model);
    rb_dataset_resource_deinit(&i->dataset);
    free(i->name);
    free(i->path);
    free(i->hf);
    free(i);
}

/* ---- facts about a model ---- */

static void list_files(struct rb_inspection *i)
{
    struct rb_model_resource *m = &i->model;
    m->files = calloc(i->digests.count + 1, sizeof *m->files);
    if (m->files == NULL) {
        i->status = rb_error_set(&i->error, RB_ENOMEM, "no memory to describe the model");
        return;
    }
    for (size_t k = 0; k < i->digests.count; k++) {
        const struct rb_digest_file *f = &i->digests.files[k];
        struct rb_model_file *to = &m->files[m->file_count++];
        (void)snprintf(to->name, sizeof to->name, "%.63s", f->name);
        to->bytes = f->id.bytes;
        rb_sha256_hex(f->sha256, to->sha256);
    }
    m->bytes = rb_digests_bytes(&i->digests);
}

/* What the headers say; reads no weights. */
static void examine_model(struct rb_inspection *i)
{
    struct rb_model_resource *m = &i->model;
    i->status = rb_model_examine(i->path, m, NULL, &i->error);
    if (i->status == RB_OK && !i->uploaded && m->problem_count > 0)
        i->status = rb_error_set(
            &i->error, m->problems[0].status == RB_ENOTFOUND ? RB_EINPUT : m->problems[0].status,
            "%s: %s", i->path, m->problems[0].detail);
}

static void describe_model(struct rb_inspection *i)
{
    list_files(i);
    if (i->model.status == RB_MODEL_READY)
        rb_digests_model_hex(&i->digests, i->model.sha256);
}

/* ---- facts about a dataset ---- */

/* What may be read to find the first row; cut after a line, so that no row is. */
static size_t beginning(const char *data, size_t bytes)
{
    enum { MOST = 32 << 20 }; /* more than a line may have */
    if (bytes <= MOST)
        return bytes;
    const char *newline = memrchr(data, '\n', MOST);
    return newline != NULL ? (size_t)(newline + 1 - data) : MOST;
}

/* The first row alone: a file of the wrong kind shows there. */
static enum rb_status read_first_row(const char *label, const struct rb_dataset_resource *d,
                                     const struct rb_fields *fields, const struct rb_map *map,
                                     struct rb_error *err)
{
    const char *data = (const char *)rb_map_data(map);
    struct rb_dataset_reader *reader;
    struct rb_row row;
    bool more;
    enum rb_status status = rb_dataset_reader_new(
        label, d->format, fields, data, beginning(data, (size_t)rb_map_bytes(map)), &reader, err);
    if (status != RB_OK)
        return status;
    status = rb_dataset_reader_next(reader, &row, &more, err);
    rb_dataset_reader_free(reader);
    return status;
}

/* Are the first lines, as far as they are not empty, JSON objects, all of them? */
static bool is_json_lines(const void *data, uint64_t bytes)
{
    enum { LINES_MOST = 200, LINE_BYTES_MOST = 1 << 20 };
    const char *at = data, *end = at + bytes;
    size_t seen = 0;
    for (; at < end && seen < LINES_MOST; at++) {
        const char *line = at, *stop = memchr(at, '\n', (size_t)(end - at));
        at = stop != NULL ? stop : end;
        while (line < at && (*line == ' ' || *line == '\t' || *line == '\r'))
            line++;
        if (line == at)
            continue;
        if (*line != '{' || at - line > LINE_BYTES_MOST)
            return false;
        json_t *json = json_loadb(line, (size_t)(at - line), 0, NULL);
        bool is_object = json_is_object(json);
        json_decref(json);
        if (!is_object)
            return false;
        seen++;
    }
    return seen > 0;
}

/* summary NULL: only its beginning. */
static enum rb_status read_dataset(struct rb_inspection *i, struct rb_dataset_summary *summary,
                                   struct rb_error *err)
{
    const struct rb_dataset_resource *d = &i->dataset;
    const struct rb_fields fields = {d->fields.text, d->fields.text_pair, d->fields.label};
    struct rb_map *map = NULL;
    struct stat st;
    int fd;
    enum rb_status status = rb_input_open(i->path, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0) {
        status = rb_error_errno(err, errno, i->path);
        close(fd);
        return status;
    }
    if (st.st_size == 0) {
        close(fd);
        return rb_error_set(err, RB_EDATASET, "no usable line: the file is empty");
    }
    status = rb_map_open(fd, &st, i->path, &map, err);
    close(fd);
    if (status != RB_OK)
        return status;
    const char *label = i->uploaded ? i->name : i->path;
    if (i->guessed && d->format == RB_TEXT && is_json_lines(rb_map_data(map), rb_map_bytes(map)))
        status = rb_error_set(err, RB_EDATASET,
                              "every line is a JSON object, which as text would be words: say "
                              "format=jsonl and which field has the text, or format=text if that "
                              "is meant");
    if (status != RB_OK) {
        rb_map_close(map);
        return status;
    }
    status = summary == NULL
                 ? read_first_row(label, d, &fields, map, err)
                 : rb_dataset_check(label, d->format, &fields, (const char *)rb_map_data(map),
                                    (size_t)rb_map_bytes(map), &i->stop, summary, err);
    if (rb_map_damaged(map))
        status = rb_error_set(err, RB_EIO, "%s: was shortened while it was read", i->path);
    rb_map_close(map);
    return status;
}

/* Under a name of its own, so that the row and the file it names change together: a crash in
 * between leaves a file that no row names. Synced before it is renamed: the same text may be stored
 * there already, and a disk that keeps names before data would lose it. */
static enum rb_status store_dataset(struct rb_inspection *i, struct rb_error *err)
{
    char folder[RB_PATH_SIZE], digits[17];
    int data_fd = i->w->options.data_fd;
    (void)snprintf(digits, sizeof digits, "%.16s", i->dataset.sha256);
    rb_layout_dataset(i->name, digits, i->stored);
    enum rb_status status =
        rb_mkdirs_beneath(data_fd, rb_layout_dataset(i->name, NULL, folder), err);
    if (status != RB_OK)
        return status;
    const char *below = i->path + strlen(i->w->options.data_dir) + 1;
    status = rb_sync_beneath(data_fd, below, err);
    if (status != RB_OK)
        return status;
    if (renameat(data_fd, below, data_fd, i->stored) != 0)
        return rb_error_errno(err, errno, i->stored);
    return rb_sync_beneath(data_fd, i->stored, err);
}

static void describe_dataset(struct rb_inspection *i)
{
    struct rb_dataset_summary summary = {0};
    i->status = read_dataset(i, &summary, &i->error);
    if (i->status != RB_OK)
        return;
    i->dataset.rows = summary.rows;
    rb_dataset_summary_deinit(&summary);
    i->dataset.bytes = rb_digests_bytes(&i->digests);
    rb_digests_file_hex(&i->digests, i->dataset.sha256);
    if (i->uploaded)
        i->status = store_dataset(i, &i->error);
}

/* ---- steps ---- */

static enum rb_status find_in_cache(struct rb_inspection *i, const struct rb_strings *roots)
{
    struct rb_hf_name name;
    char *path = NULL;
    if (!rb_hf_name_parse(i->hf, &name))
        return rb_error_at(&i->error, RB_EINPUT, "/hf", "expected " RB_HF_NAME_RULE);
    enum rb_status status = rb_hf_cache_find(roots, &name, &path, &i->error);
    if (status != RB_OK)
        return status;
    free(i->path);
    i->path = path;
    return RB_OK;
}

/* A checkpoint is a folder, a text a file; nothing else is opened, which might wait for ever. */
static enum rb_status check_kind(const struct rb_inspection *i, struct rb_error *err)
{
    struct stat st;
    if (stat(i->path, &st) != 0)
        return rb_error_errno(err, errno, i->path);
    if (i->is_model ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode))
        return RB_OK;
    return rb_error_at(err, RB_EINPUT, "/path", "%s: expected a %s", i->path,
                       i->is_model ? "folder" : "regular file");
}

static void find(struct rb_async *a)
{
    struct rb_inspection *i = a->data;
    const struct rb_strings *roots = i->uploaded ? NULL : i->w->options.import_roots;
    if (i->status == RB_OK && i->hf != NULL)
        i->status = find_in_cache(i, roots);
    if (i->status != RB_OK)
        return;
    if (!i->uploaded) {
        char *real = NULL;
        i->status = rb_import_resolve(roots, i->path, &real, &i->error);
        if (i->status == RB_ENOTFOUND)
            i->status = rb_error_at(&i->error, RB_EINPUT, "/path", "%s: no such %s", i->path,
                                    i->is_model ? "folder" : "file");
        if (i->status != RB_OK)
            return;
        free(i->path);
        i->path = real;
    }
    i->status = check_kind(i, &i->error);
    if (i->status != RB_OK && i->uploaded) { /* or it would be taken for the client's fault */
        enum rb_status s = rb_data_check(i->w->options.data_fd, i->w->options.data_dir, &i->error);
        i->status = s != RB_OK ? s : i->status;
    }
    if (i->status != RB_OK)
        return;
    i->status = i->is_model
                    ? rb_digests_scan_folder(i->path, i->uploaded, roots, &i->digests, &i->error)
                    : rb_digests_scan_file(i->path, &i->digests, &i->error);
    if (i->status == RB_ENOTFOUND) /* of a folder that is there: some file of a checkpoint */
        i->status = i->error.status = RB_EINPUT;
    if (i->status != RB_OK)
        return;
    if (i->is_model)
        examine_model(i);
    else
        i->status = read_dataset(i, NULL, &i->error);
}

static void read_whole(struct rb_async *a)
{
    struct rb_inspection *i = a->data;
    if (i->status == RB_OK)
        i->status = rb_digests_step(&i->digests, &i->stop, &a->again, &i->error);
    if (a->again && i->status == RB_OK)
        return;
    a->again = false;
    if (i->status == RB_OK)
        (i->is_model ? describe_model : describe_dataset)(i);
    if (i->status != RB_OK && !i->is_model && i->uploaded)
        (void)unlink(i->path);
}

static enum rb_status name_is_free(struct rb_inspection *i, struct rb_error *err)
{
    struct rb_model_row model;
    struct rb_dataset_row dataset;
    enum rb_status status = i->is_model ? rb_model_get(i->w->store, i->name, &model, err)
                                        : rb_dataset_get(i->w->store, i->name, &dataset, err);
    if (status == RB_ENOTFOUND)
        return RB_OK;
    if (status != RB_OK)
        return status;
    if (i->is_model)
        rb_model_row_deinit(&model);
    else
        rb_dataset_row_deinit(&dataset);
    return rb_error_at(err, RB_ECONFLICT, "/name", "a %s named '%s' is registered already",
                       i->is_model ? "model" : "dataset", i->name);
}

static enum rb_status put_model(struct rb_inspection *i, struct rb_error *err)
{
    char place[RB_PATH_SIZE];
    rb_layout_model(i->name, NULL, place);
    struct rb_model_row row = {
        .resource = i->model,
        .imported = !i->uploaded,
        .path = i->uploaded ? place : i->path,
        .updated_ms = rb_clock_realtime_ms(),
    };
    row.resource.created_ms = row.updated_ms;
    memcpy(row.resource.submitted_by, i->submitter, sizeof i->submitter);
    return rb_model_put(i->w->store, &row, NULL, err);
}

static void remove_other_files(struct rb_inspection *i, const char *old)
{
    if (old != NULL && strcmp(old, i->stored) != 0)
        rb_data_remove(i->w->options.data_fd, old);
}

static enum rb_status put_dataset(struct rb_inspection *i, struct rb_error *err)
{
    struct rb_dataset_row row = {
        .resource = i->dataset,
        .imported = !i->uploaded,
        .path = i->uploaded ? i->stored : i->path,
        .updated_ms = rb_clock_realtime_ms(),
    };
    struct rb_dataset_row old = {.path = NULL};
    bool used = false;
    row.resource.created_ms = row.updated_ms;
    memcpy(row.resource.submitted_by, i->submitter, sizeof i->submitter);
    enum rb_status status = rb_jobs_use_dataset(i->w->store, i->name, &used, err);
    if (status == RB_OK && used)
        status = rb_error_set(err, RB_EINUSE, "dataset '%s' is used by a live job", i->name);
    if (status != RB_OK)
        return status;
    bool replaces = rb_dataset_get(i->w->store, i->name, &old, NULL) == RB_OK;
    status = rb_dataset_put(i->w->store, &row, NULL, err);
    if (status == RB_OK && replaces && !old.imported && i->uploaded)
        remove_other_files(i, old.path);
    if (replaces)
        rb_dataset_row_deinit(&old);
    return status;
}

static enum rb_status put(struct rb_inspection *i, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    if (!i->uploaded)
        status = name_is_free(i, err);
    if (status != RB_OK || i->superseded)
        return status;
    (void)snprintf(i->model.name, sizeof i->model.name, "%s", i->name);
    (void)snprintf(i->dataset.name, sizeof i->dataset.name, "%s", i->name);
    status = i->is_model ? put_model(i, err) : put_dataset(i, err);
    for (struct rb_inspection *o = i->w->inspections; status == RB_OK && o != NULL; o = o->next)
        if (o->is_model == i->is_model && o->order < i->order && strcmp(o->name, i->name) == 0)
            o->superseded = true;
    return status;
}

static void unlist(struct rb_inspection *i)
{
    struct rb_inspection **at = &i->w->inspections;
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
}

/* In the words of whoever ended it. */
static void say_why(struct rb_inspection *i)
{
    if (i->why == DRAINED)
        i->status = rb_error_set(&i->error, RB_EDRAINING,
                                 "the daemon is shutting down and reads no more; try again soon");
    else if (i->why == DELETED)
        i->status = rb_error_at(&i->error, RB_ECONFLICT, "/name",
                                "'%s' was deleted while it was imported", i->name);
}

static void examined(struct rb_async *a)
{
    struct rb_inspection *i = a->data;
    if (i->status == RB_OK && i->why != GOES_ON) /* at the last moment */
        i->status = rb_error_set(&i->error, RB_ECANCELED, "the import was given up");
    if (i->status == RB_ECANCELED)
        say_why(i);
    if (i->status == RB_OK) {
        rb_digests_remember(&i->digests, i->w->store);
        i->status = put(i, &i->error);
    }
    unlist(i);
    if (i->status != RB_OK)
        rb_log_warn(i->is_model ? "model refused" : "dataset refused", RB_S("name", i->name),
                    RB_ERROR_FIELDS(&i->error));
    else
        rb_log_info(i->is_model ? "model" : "dataset", RB_S("name", i->name),
                    RB_S("status", i->is_model ? rb_model_status_names[i->model.status] : "ready"));
    if (i->done != NULL)
        i->done(i->data, i->status, i->status == RB_OK ? NULL : &i->error);
    inspection_free(i);
}

static void found(struct rb_async *a)
{
    struct rb_inspection *i = a->data;
    rb_digests_recall(&i->digests, i->w->store);
    i->async.work = read_whole;
    i->async.done = examined;
    i->async.lane = RB_LANE_READ;
    rb_async_start(i->w->pool, &i->async);
}

/* ---- the four ways in ---- */

static struct rb_inspection *inspection_new(struct rb_work *w, bool is_model, bool uploaded,
                                            const char *name, char *path, rb_inspect_done *done,
                                            void *data)
{
    struct rb_inspection *i = calloc(1, sizeof *i);
    char *copy = strdup(name);
    if (i == NULL || copy == NULL || path == NULL) {
        free(i);
        free(copy);
        free(path);
        return NULL;
    }
    *i = (struct rb_inspection){
        .w = w,
        .next = w->inspections,
        .async = {.work = find, .done = found, .data = i},
        .done = done,
        .data = data,
        .is_model = is_model,
        .uploaded = uploaded,
        .order = w->inspection_order++,
        .name = copy,
        .path = path,
    };
    w->inspections = i;
    return i;
}

static struct rb_inspection *begin(struct rb_inspection *i)
{
    if (i != NULL) {
        if (!i->uploaded)
            i->status = name_is_free(i, &i->error);
        rb_async_start(i->w->pool, &i->async);
    }
    return i;
}

void rb_inspection_by(struct rb_inspection *i, const char *submitter)
{
    if (i != NULL)
        (void)snprintf(i->submitter, sizeof i->submitter, "%s", submitter);
}

struct rb_inspection *rb_model_import(struct rb_work *w, const char *name, const char *path,
                                      const char *hf, rb_inspect_done *done, void *data)
{
    struct rb_inspection *i =
        inspection_new(w, true, false, name, strdup(path != NULL ? path : ""), done, data);
    if (i != NULL && hf != NULL && (i->hf = strdup(hf)) == NULL) {
        unlist(i);
        inspection_free(i);
        return NULL;
    }
    return begin(i);
}

struct rb_inspection *rb_model_uploaded(struct rb_work *w, const char *name, rb_inspect_done *done,
                                        void *data)
{
    char place[RB_PATH_SIZE];
    rb_layout_model(name, NULL, place);
    return begin(inspection_new(w, true, true, name, rb_layout_absolute(w->options.data_dir, place),
                                done, data));
}

static char *copy_or_null(const char *s, bool *failed)
{
    char *copy = s != NULL ? strdup(s) : NULL;
    *failed = *failed || (s != NULL && copy == NULL);
    return copy;
}

static struct rb_inspection *begin_dataset(struct rb_inspection *i, enum rb_format format,
                                           bool format_given, const struct rb_fields *fields)
{
    bool failed = false;
    if (i == NULL)
        return NULL;
    i->dataset.format = format;
    i->guessed = !format_given;
    i->dataset.fields = (struct rb_dataset_fields){
        .text = copy_or_null(fields->text, &failed),
        .text_pair = copy_or_null(fields->text_pair, &failed),
        .label = copy_or_null(fields->label, &failed),
    };
    if (failed) {
        unlist(i);
        inspection_free(i);
        return NULL;
    }
    return begin(i);
}

struct rb_inspection *rb_dataset_import(struct rb_work *w, const char *name, const char *path,
                                        enum rb_format format, bool format_given,
                                        const struct rb_fields *fields, rb_inspect_done *done,
                                        void *data)
{
    struct rb_inspection *i = inspection_new(w, false, false, name, strdup(path), done, data);
    return begin_dataset(i, format, format_given, fields);
}

struct rb_inspection *rb_dataset_uploaded(struct rb_work *w, const char *name, const char *path,
                                          enum rb_format format, bool format_given,
                                          const struct rb_fields *fields, rb_inspect_done *done,
                                          void *data)
{
    struct rb_inspection *i = inspection_new(
        w, false, true, name, rb_layout_absolute(w->options.data_dir, path), done, data);
    return begin_dataset(i, format, format_given, fields);
}

/* ---- the end before the end ---- */

static void give_up(struct rb_inspection *i, enum inspection_end why)
{
    i->why = i->why == GOES_ON ? why : i->why;
    atomic_store(&i->stop, true);
}

void rb_inspection_forget(struct rb_inspection *i)
{
    if (i == NULL)
        return;
    i->done = NULL;
    if (!i->uploaded)
        give_up(i, LEFT);
}

bool rb_inspections_delete(struct rb_work *w, bool models, const char *name)
{
    bool any = false;
    for (struct rb_inspection *i = w->inspections; i != NULL; i = i->next)
        if (i->is_model == models && !i->uploaded && strcmp(i->name, name) == 0) {
            give_up(i, DELETED);
            any = true;
        }
    return any;
}

void rb_inspections_drain(struct rb_work *w)
{
    for (struct rb_inspection *i = w->inspections; i != NULL; i = i->next)
        give_up(i, DRAINED);
}
