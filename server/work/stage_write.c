/* The writing stage: merged checkpoints, one after the other, then the small files: the barrier,
 * and what makes the job's folder a checkpoint of its own (config, vocabulary, and an index that
 * names the merged file nearest to lambda 0.5); at last each checkpoint as a folder to use
 * (merged_folder.h). */
#include "api/artifact.h"
#include "api/barrier.h"
#include "api/barrier_kept.h"
#include "api/permutations.h"
#include "core/input.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/shards.h"
#include "core/tensor/split.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/models.h"
#include "server/store/results.h"
#include "server/work/bundle_dir.h"
#include "server/work/making.h"
#include "server/work/merged_folder.h"
#include "server/work/run_state.h"
#include "server/work/stage_load.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 20, COPIED_BYTES_MAX = 64 * 1024 * 1024 };

struct small_file {
    const char *name;
    bool of_checkpoint; /* it belongs into the merged folders, too */
    char *bytes;        /* NULL: to be copied from model A's folder, if it is there */
    size_t count;
};

struct write {
    struct rb_run *run;
    struct rb_async async;
    struct rb_pool_task task;
    struct rb_program *program;
    bool makes; /* the merging stage: checkpoints alone, which are made first */
    struct rb_making *making;
    struct rb_blend blend;
    size_t next; /* of spec.merged */
    char name[RB_ARTIFACT_NAME_SIZE];
    char *path;
    char lambda_text[32];
    struct rb_metadata metadata[RB_MODELS_MAX + 3];
    char digest_names[RB_MODELS_MAX][48]; /* "rebasind.model_a.sha256" */
    char weights_text[RB_MODELS_MAX * 26];
    struct small_file files[FILES_MAX];
    size_t file_count;
    char *figures;                 /* of the checkpoint that the card is of */
    struct rb_artifact *artifacts; /* not yet in the store; room for all */
    size_t artifact_count;
    struct rb_point *points; /* of the curve, which the card tells */
    struct rb_barrier_view curve;
    struct rb_barrier_errors curve_errors;
    char *product; /* those errors, to be kept; NULL: there are none */
    struct rb_merge_verdict verdict;
    struct rb_model_card card;
    struct rb_certificate certificate; /* that the card tells */
    enum rb_status status;
    struct rb_error error;
};

static void write_leave(struct rb_run *run, void *data)
{
    struct write *s = data;
    (void)run;
    rb_program_free(s->program);
    rb_making_free(s->making);
    free(s->figures);
    for (size_t i = 0; i < s->file_count; i++)
        free(s->files[i].bytes);
    free(s->artifacts);
    free(s->points);
    free(s->product);
    free(s->path);
    free(s);
}

/* ---- the small files ---- */

static size_t index_of_best(const struct rb_run *run)
{
    const struct rb_numbers *n = &run->spec.merged;
    size_t best = 0;
    for (size_t i = 1; i < n->count; i++)
        if (fabs(n->values[i] - 0.5) < fabs(n->values[best] - 0.5))
            best = i;
    return best;
}

/* Pool: {"metadata":{"total_size"},"weight_map":{tensor: file}}, as transformers reads it. */
static enum rb_status make_index(struct write *s, struct small_file *f, struct rb_error *err)
{
    const struct rb_run *run = s->run;
    char name[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE];
    struct rb_safetensors st;
    uint64_t total = 0;
    rb_artifact_merged_name(run->spec.merged.values[index_of_best(run)], name);
    char *path = rb_layout_absolute(run->work->options.data_dir,
                                    rb_layout_job(run->row.job.id, name, below));
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write an index");
    enum rb_status status = rb_safetensors_open(path, &st, err);
    free(path);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < st.tensor_count; i++)
        total += st.tensors[i].bytes;
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_object(&w, "metadata");
    rb_json_uint(&w, "total_size", total);
    rb_json_end(&w);
    rb_json_object(&w, "weight_map");
    for (size_t i = 0; i < st.tensor_count; i++)
        rb_json_string(&w, st.tensors[i].name, name);
    rb_json_end(&w);
    rb_json_end(&w);
    rb_safetensors_deinit(&st);
    return rb_json_finish(&w, &f->bytes, &f->count, err);
}

/* Pool: what a merged file's metadata say of how it was made; free(). */
static enum rb_status read_figures(const struct rb_run *run, double lambda, char **ret,
                                   struct rb_error *err)
{
    char name[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE];
    struct rb_safetensors st;
    rb_artifact_merged_name(lambda, name);
    char *path = rb_layout_absolute(run->work->options.data_dir,
                                    rb_layout_job(run->row.job.id, name, below));
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to read %s", name);
    enum rb_status status = rb_safetensors_open(path, &st, err);
    free(path);
    if (status != RB_OK)
        return status;
    const char *found = rb_safetensors_metadata(&st, RB_MAKING_KEY);
    char *copy = strdup(found != NULL ? found : "null");
    rb_safetensors_deinit(&st);
    if (copy == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to read %s", name);
    *ret = copy;
    return RB_OK;
}

static void encode_place(struct rb_json *w, const struct rb_run *run, size_t index)
{
    char name[RB_ARTIFACT_NAME_SIZE];
    size_t models = rb_run_models(run);
    rb_artifact_merged_name(run->spec.merged.values[index], name);
    rb_json_string(w, "file", name);
    if (!rb_run_several(run)) {
        rb_json_number(w, "lambda", run->spec.merged.values[index]);
        return;
    }
    rb_json_array(w, "weights");
    for (size_t m = 0; m < models; m++)
        rb_json_number(w, NULL, run->spec.merged_weights.values[index * models + m]);
    rb_json_end(w);
}

/* Pool: {"job","merged":[{"file","lambda"|"weights","made":{…}}]}: making.h. */
static enum rb_status make_merge(struct write *s, struct small_file *f, struct rb_error *err)
{
    const struct rb_run *run = s->run;
    enum rb_status status = RB_OK;
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_string(&w, "job", run->row.job.id);
    rb_json_array(&w, "merged");
    for (size_t i = 0; i < run->spec.merged.count && status == RB_OK; i++) {
        char *figures = NULL;
        status = read_figures(run, run->spec.merged.values[i], &figures, err);
        rb_json_object(&w, NULL);
        encode_place(&w, run, i);
        rb_json_raw(&w, "made", figures);
        rb_json_end(&w);
        free(figures);
    }
    rb_json_end(&w);
    rb_json_end(&w);
    if (status == RB_OK)
        status = rb_json_finish(&w, &f->bytes, &f->count, err);
    rb_json_deinit(&w);
    return status;
}

static enum rb_status read_whole(int fd, const char *path, struct small_file *f,
                                 struct rb_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return rb_error_errno(err, errno, path);
    if (!S_ISREG(st.st_mode) || st.st_size > COPIED_BYTES_MAX)
        return rb_error_set(err, RB_EIO, "%s: expected a file of at most %d bytes", path,
                            COPIED_BYTES_MAX);
    f->bytes = malloc((size_t)st.st_size + 1);
    if (f->bytes == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to copy %s", f->name);
    f->count = (size_t)st.st_size;
    ssize_t n = pread(fd, f->bytes, f->count, 0);
    if (n < 0)
        return rb_error_errno(err, errno, path);
    if ((size_t)n < f->count)
        return rb_error_set(err, RB_EIO, "%s: was cut short while it was copied", path);
    return RB_OK;
}

/* Pool: a file of a model's folder, absent unless it is there. The folder may have changed since
 * the model was registered. */
static enum rb_status read_companion(const char *folder, struct small_file *f, struct rb_error *err)
{
    char *path = NULL;
    int fd = -1;
    if (asprintf(&path, "%s/%s", folder, f->name) < 0)
        return rb_error_set(err, RB_ENOMEM, "no memory to copy %s", f->name);
    enum rb_status status = rb_input_open(path, 0, &fd, err);
    if (status == RB_OK)
        status = read_whole(fd, path, f, err);
    else if (status == RB_ENOTFOUND)
        status = RB_OK;
    if (fd >= 0)
        close(fd);
    free(path);
    return status;
}

static enum rb_status put_file(struct write *s, struct small_file *f, struct rb_error *err)
{
    const struct rb_run *run = s->run;
    char below[RB_PATH_SIZE];
    enum rb_status status = RB_OK;
    if (f->bytes == NULL)
        status = strcmp(f->name, RB_SHARDS_INDEX) == 0 ? make_index(s, f, err)
                 : strcmp(f->name, RB_FILE_MERGE) == 0
                     ? make_merge(s, f, err)
                     : read_companion(run->places.path[0], f, err);
    if (status != RB_OK || f->bytes == NULL)
        return status;
    status = rb_file_put(run->work->options.data_fd, rb_layout_job(run->row.job.id, f->name, below),
                         f->bytes, f->count, err);
    if (status == RB_OK)
        status = rb_job_describe_artifact(run->work, run->row.job.id, f->name,
                                          &s->artifacts[s->artifact_count], err);
    s->artifact_count += status == RB_OK;
    return status;
}

/* Pool. A card that cannot be read names no license. */
static void read_license(const char *folder, char ret[RB_LICENSE_SIZE])
{
    struct small_file card = {.name = RB_FOLDER_CARD};
    struct rb_error ignored;
    if (read_companion(folder, &card, &ignored) == RB_OK && card.bytes != NULL)
        rb_card_license(card.bytes, card.count, ret);
    free(card.bytes);
}

static enum rb_status put_folders(struct write *s, struct rb_error *err)
{
    const struct rb_run *run = s->run;
    struct rb_folder_file files[FILES_MAX];
    struct rb_merged_folder folder = {
        .card = &s->card, .files = files, .shard_bytes = RB_SHARD_BYTES};
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].of_checkpoint && s->files[i].bytes != NULL)
            files[folder.file_count++] =
                (struct rb_folder_file){s->files[i].name, s->files[i].bytes, s->files[i].count};
    for (size_t i = 0; i < rb_run_models(run) && run->spec.merged.count > 0; i++)
        read_license(run->places.path[i], s->card.parents[i].license);
    for (size_t i = 0; i < run->spec.merged.count && status == RB_OK; i++) {
        size_t count = 0;
        if (atomic_load(&run->stop))
            return rb_error_set(err, RB_ECANCELED, "stopped");
        s->card.lambda = run->spec.merged.values[i];
        free(s->figures);
        s->figures = NULL;
        if (rb_job_spec_makes(&run->spec))
            status = read_figures(run, s->card.lambda, &s->figures, err);
        if (status != RB_OK)
            return status;
        s->card.merge = s->figures;
        if (rb_run_several(run))
            s->card.weights = run->spec.merged_weights.values + i * rb_run_models(run);
        status =
            rb_merged_folder_put(run->work, &folder, s->artifacts + s->artifact_count, &count, err);
        s->artifact_count += count;
    }
    return status;
}

static void put_files(struct rb_async *a)
{
    struct write *s = a->data;
    char below[RB_PATH_SIZE];
    s->status = rb_mkdirs_beneath(s->run->work->options.data_fd,
                                  rb_layout_job(s->run->row.job.id, NULL, below), &s->error);
    for (size_t i = 0; i < s->file_count && s->status == RB_OK; i++)
        s->status = put_file(s, &s->files[i], &s->error);
    if (s->status == RB_OK)
        s->status = put_folders(s, &s->error);
}

/* The whole list of artifacts in one transaction; with the last of them the stage's product. */
static enum rb_status put_artifacts(struct write *s, const char *product, struct rb_error *err)
{
    return rb_run_record_files(s->run, RB_PHASE_WRITING, product, s->artifacts, s->artifact_count,
                               err);
}

static void files_put(struct rb_async *a)
{
    struct write *s = a->data;
    if (s->status == RB_OK)
        s->status = put_artifacts(s, s->product, &s->error);
    rb_run_stage_done(s->run, s->status, &s->error);
}

static enum rb_status make_barrier(struct write *s, struct rb_error *err)
{
    struct rb_run *run = s->run;
    size_t n = run->spec.lambdas.count;
    struct small_file *json = &s->files[s->file_count], *csv = json + 1;
    struct rb_json w;
    s->points = calloc(RB_CURVE_COUNT * n + 1, sizeof *s->points);
    if (s->points == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write the barrier");
    s->curve = rb_run_barrier_view(run, s->points);
    enum rb_status status =
        rb_barrier_errors_read(run->work->store, run->row.seq, &s->curve, &s->curve_errors, err);
    if (status != RB_OK)
        return status;
    s->curve.errors = &s->curve_errors;
    if (s->curve_errors.blocks > 0 && s->product == NULL)
        status = rb_barrier_kept_print(&s->curve_errors, s->curve.models, &s->product, err);
    if (status != RB_OK)
        return status;
    rb_run_verdict(run, &s->curve, &s->verdict);
    s->curve.verdict = &s->verdict;
    s->card.curve = &s->curve;
    rb_json_init(&w);
    rb_barrier_encode(&w, NULL, &s->curve);
    *json = (struct small_file){.name = RB_FILE_BARRIER_JSON};
    *csv = (struct small_file){.name = RB_FILE_BARRIER_CSV};
    s->file_count += 2;
    status = rb_json_finish(&w, &json->bytes, &json->count, err);
    if (status == RB_OK)
        status = rb_barrier_csv(&s->curve, &csv->bytes, &csv->count, err);
    return status;
}

/* All of the card but its curve, and what the pool reads. */
static enum rb_status fill_card(struct write *s, struct rb_error *err)
{
    const struct rb_run *run = s->run;
    struct rb_model_card *card = &s->card;
    if (run->alignment != NULL)
        s->certificate = rb_run_certificate(run);
    card->job = run->row.job.id;
    card->version = RB_VERSION;
    card->spec = run->row.job.spec_json;
    const char *made = run->executor->elsewhere ? run->row.job.environment_json : NULL;
    card->environment = made != NULL ? made : run->work->options.environment;
    card->build = run->work->options.build;
    card->dtype = rb_output_dtype_names[run->spec.dtype];
    card->inputs = run->row.job.inputs;
    card->input_count = run->row.job.input_count;
    card->moved = rb_run_moves(run);
    card->certificate = card->moved && s->certificate.present ? &s->certificate : NULL;
    card->parent_count = rb_run_models(run);
    for (size_t i = 0; i < card->parent_count; i++) {
        struct rb_card_parent *p = &card->parents[i];
        struct rb_model_row model;
        enum rb_status status = rb_model_get(run->work->store, run->places.name[i], &model, err);
        if (status != RB_OK)
            return status;
        (void)snprintf(p->name, sizeof p->name, "%s", run->places.name[i]);
        memcpy(p->source, model.resource.source, sizeof p->source);
        rb_model_row_deinit(&model);
    }
    return RB_OK;
}

/* Once more, now that B's losses are known: near-equivalent maps are told with them. */
static enum rb_status make_permutations(struct write *s, struct rb_error *err)
{
    struct rb_run *run = s->run;
    struct small_file *f = &s->files[s->file_count];
    struct rb_certificate before = run->alignment->certificate;
    struct rb_json w;
    rb_json_init(&w);
    run->alignment->certificate = rb_run_certificate(run);
    rb_permutations_encode(&w, run->row.job.id, run->alignment);
    run->alignment->certificate = before;
    *f = (struct small_file){.name = RB_FILE_PERMUTATIONS};
    s->file_count++;
    return rb_json_finish(&w, &f->bytes, &f->count, err);
}

static enum rb_status make_checkpoint_files(struct write *s, struct rb_error *err)
{
    struct rb_blend blend = rb_run_merged_blend(s->run, index_of_best(s->run));
    json_t *config = rb_write_config(&blend, s->run->spec.dtype);
    char *text =
        config != NULL ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(config);
    if (text == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write config.json");
    s->files[s->file_count++] = (struct small_file){
        .name = "config.json", .of_checkpoint = true, .bytes = text, .count = strlen(text)};
    for (size_t i = 0; rb_tokenizer_files[i] != NULL; i++)
        s->files[s->file_count++] =
            (struct small_file){.name = rb_tokenizer_files[i], .of_checkpoint = true};
    s->files[s->file_count++] = (struct small_file){.name = RB_SHARDS_INDEX};
    if (rb_job_spec_makes(&s->run->spec))
        s->files[s->file_count++] = (struct small_file){.name = RB_FILE_MERGE};
    return fill_card(s, err);
}

static void write_small_files(struct write *s)
{
    struct rb_error err;
    enum rb_status status = RB_OK;
    if (s->run->spec.has_evaluate)
        status = make_barrier(s, &err);
    if (status == RB_OK && s->run->spec.has_evaluate && rb_run_is_near(s->run))
        status = make_permutations(s, &err);
    if (status == RB_OK && s->run->spec.merged.count > 0)
        status = make_checkpoint_files(s, &err);
    if (status != RB_OK) {
        rb_run_stage_done(s->run, status, &err);
        return;
    }
    s->async = (struct rb_async){.work = put_files, .done = files_put, .data = s};
    rb_async_start(s->run->work->pool, &s->async);
}

/* ---- merged checkpoints ---- */

static void write_next(struct write *s);

static void describe(struct rb_async *a)
{
    struct write *s = a->data;
    char below[RB_PATH_SIZE];
    const char *id = s->run->row.job.id;
    int data_fd = s->run->work->options.data_fd;
    s->status = rb_sync_beneath(data_fd, rb_layout_job(id, s->name, below), &s->error);
    if (s->makes && s->status == RB_OK) {
        rb_data_remove(data_fd, rb_layout_job(id, RB_FILE_MERGE_STATE, below));
        rb_data_remove(data_fd, rb_layout_job(id, RB_FILE_MERGE_TUNING, below));
    }
    if (s->status == RB_OK)
        s->status =
            rb_job_describe_artifact(s->run->work, id, s->name, &s->artifacts[0], &s->error);
}

static void described(struct rb_async *a)
{
    struct write *s = a->data;
    struct rb_error err = s->error;
    enum rb_status status = s->status;
    s->artifact_count = 1;
    if (status == RB_OK)
        status = put_artifacts(s, NULL, &err);
    s->artifact_count = 0;
    if (status == RB_OK)
        write_next(s);
    else
        rb_run_stage_done(s->run, status, &err);
}

static void merged(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct write *s = task->data;
    struct rb_run *run = s->run;
    status = rb_run_models_used(run, task, status, err, &s->error);
    rb_program_free(s->program);
    s->program = NULL;
    rb_making_free(s->making);
    s->making = NULL;
    if (status != RB_OK) {
        rb_run_stage_done(s->run, status, &s->error);
        return;
    }
    s->async =
        (struct rb_async){.work = describe, .done = described, .data = s, .lane = RB_LANE_READ};
    rb_async_start(run->work->pool, &s->async);
}

/* "0.5,0.25,0.25" */
static const char *write_weights(struct write *s)
{
    size_t at = 0;
    for (size_t m = 0; m < s->blend.count; m++)
        at += (size_t)snprintf(s->weights_text + at, sizeof s->weights_text - at, "%s%.17g",
                               m > 0 ? "," : "", s->blend.terms[m].weight);
    return s->weights_text;
}

static size_t fill_metadata(struct write *s)
{
    struct rb_run *run = s->run;
    size_t n = 0;
    (void)snprintf(s->lambda_text, sizeof s->lambda_text, "%.17g", s->blend.lambda);
    s->metadata[n++] = (struct rb_metadata){"rebasind.job", run->row.job.id};
    if (rb_run_several(run))
        s->metadata[n++] = (struct rb_metadata){"rebasind.weights", write_weights(s)};
    else
        s->metadata[n++] = (struct rb_metadata){"rebasind.lambda", s->lambda_text};
    for (size_t i = 0; i < run->row.job.input_count && i < rb_run_models(run); i++) {
        (void)snprintf(s->digest_names[i], sizeof s->digest_names[i], "rebasind.%s.sha256",
                       run->row.job.inputs[i].role);
        s->metadata[n++] = (struct rb_metadata){s->digest_names[i], run->row.job.inputs[i].sha256};
    }
    if (s->making != NULL)
        s->metadata[n++] = (struct rb_metadata){RB_MAKING_KEY, rb_making_figures(s->making)};
    return n;
}

static enum rb_status start_merged(struct write *s, size_t index, struct rb_error *err)
{
    struct rb_run *run = s->run;
    char below[RB_PATH_SIZE];
    enum rb_status status = rb_mkdirs_beneath(run->work->options.data_fd,
                                              rb_layout_job(run->row.job.id, NULL, below), err);
    if (status != RB_OK)
        return status;
    free(s->path);
    s->path = rb_layout_absolute(run->work->options.data_dir,
                                 rb_layout_job(run->row.job.id, s->name, below));
    if (s->path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write %s", s->name);
    s->blend = rb_run_merged_blend(run, index);
    s->blend.overlay = s->making != NULL ? rb_making_overlay(s->making) : NULL;
    status = rb_write_new(&s->blend, run->spec.dtype, s->path, s->metadata, fill_metadata(s),
                          &s->program, err);
    if (status == RB_OK)
        rb_run_program(run, &s->task, s->program, merged, s);
    return status;
}

static void made(void *data, enum rb_status status, const struct rb_error *made_err)
{
    struct write *s = data;
    struct rb_error err;
    if (status == RB_OK)
        status = start_merged(s, s->next - 1, &err);
    else
        err = *made_err;
    if (status != RB_OK)
        rb_run_stage_done(s->run, status, &err);
}

static enum rb_status start_making(struct write *s, size_t index, struct rb_error *err)
{
    struct rb_blend blend = rb_run_merged_blend(s->run, index);
    return rb_making_start(s->run, &blend, made, s, &s->making, err);
}

static void write_next(struct write *s)
{
    const struct rb_numbers *lambdas = &s->run->spec.merged;
    const struct rb_bundle *bundle = s->run->work->options.bundle;
    struct rb_error err;
    while (s->next < lambdas->count) {
        size_t index = s->next++;
        rb_artifact_merged_name(lambdas->values[index], s->name);
        if (rb_run_has_artifact(s->run, s->name) ||
            (bundle != NULL && !rb_bundle_wants_merged(bundle, lambdas->values[index])))
            continue;
        enum rb_status status =
            s->makes ? start_making(s, index, &err) : start_merged(s, index, &err);
        if (status != RB_OK)
            rb_run_stage_done(s->run, status, &err);
        return;
    }
    if (bundle != NULL || s->makes) /* the small files are made where the curve is known */
        rb_run_stage_done(s->run, RB_OK, NULL);
    else
        write_small_files(s);
}

/* What is left when the stage is entered, also when it was given up in the middle before. */
static void set_cost(struct rb_run *run)
{
    enum rb_phase phase = rb_job_spec_makes(&run->spec) ? RB_PHASE_MERGING : RB_PHASE_WRITING;
    struct rb_run_phase *p = &run->phases[phase];
    double all = run->plan.cost[phase], count = (double)run->spec.merged.count;
    p->total = p->done + (count > 0 ? all / count * (double)rb_run_merged_left(run) : 0);
}

static void begin(struct rb_run *run, bool makes)
{
    struct rb_error err;
    struct write *s = rb_run_stage_begin(run, sizeof *s);
    if (s == NULL)
        return;
    s->artifacts =
        calloc(FILES_MAX + run->spec.merged.count * RB_FOLDER_FILES_MAX, sizeof *s->artifacts);
    if (s->artifacts == NULL) {
        (void)rb_error_set(&err, RB_ENOMEM, "no memory to write");
        rb_run_stage_done(run, RB_ENOMEM, &err);
        return;
    }
    s->run = run;
    s->makes = makes;
    if (!makes && rb_job_spec_makes(&run->spec)) { /* the merging stage has left some */
        enum rb_status status = rb_run_artifacts_read(run, &err);
        if (status != RB_OK) {
            rb_run_stage_done(run, status, &err);
            return;
        }
    }
    set_cost(run);
    write_next(s);
}

static void write_enter(struct rb_run *run)
{
    begin(run, false);
}

static void merge_enter(struct rb_run *run)
{
    begin(run, true);
}

static bool merge_needed(const struct rb_run *run)
{
    return rb_job_spec_makes(&run->spec) && rb_run_merged_left(run) > 0;
}

const struct rb_stage rb_stage_merging = {RB_PHASE_MERGING, merge_needed, merge_enter, write_leave};

static bool write_needed(const struct rb_run *run)
{
    return run->spec.has_evaluate || run->spec.merged.count > 0;
}

const struct rb_stage rb_stage_writing = {RB_PHASE_WRITING, write_needed, write_enter, write_leave};
