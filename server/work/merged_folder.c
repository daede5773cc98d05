#include "server/work/merged_folder.h"
#include "core/tensor/container.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/split.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct putting {
    const struct rb_work *work;
    const struct rb_merged_folder *folder;
    char name[RB_ARTIFACT_NAME_SIZE]; /* the folder's */
    struct rb_artifact *ret;
    size_t count;
};

static enum rb_status describe(struct putting *p, const char *name, struct rb_error *err)
{
    enum rb_status status =
        rb_job_describe_artifact(p->work, p->folder->card->job, name, &p->ret[p->count], err);
    p->count += status == RB_OK;
    return status;
}

/* "merged/lambda-0.50/config.json" */
static char *name_in(const struct putting *p, const char *file, char buffer[RB_ARTIFACT_NAME_SIZE])
{
    (void)snprintf(buffer, RB_ARTIFACT_NAME_SIZE, "%.*s/%s", RB_ARTIFACT_NAME_SIZE / 2, p->name,
                   file);
    return buffer;
}

static enum rb_status put_file(struct putting *p, const char *file, const char *bytes, size_t count,
                               struct rb_error *err)
{
    char name[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE];
    (void)name_in(p, file, name);
    enum rb_status status =
        rb_file_put(p->work->options.data_fd, rb_layout_job(p->folder->card->job, name, below),
                    bytes, count, err);
    return status == RB_OK ? describe(p, name, err) : status;
}

/* A text that a writer of api/model_card.h has made; taken. */
static enum rb_status put_text(struct putting *p, const char *file, enum rb_status made, char *text,
                               size_t count, struct rb_error *err)
{
    if (made != RB_OK)
        return made;
    enum rb_status status = put_file(p, file, text, count, err);
    free(text);
    return status;
}

static enum rb_status link_weights(struct putting *p, const char *flat, struct rb_error *err)
{
    char name[RB_ARTIFACT_NAME_SIZE];
    enum rb_status status = rb_job_link_artifact(p->work, p->folder->card->job, flat,
                                                 name_in(p, RB_FOLDER_WEIGHTS, name), err);
    return status == RB_OK ? describe(p, name, err) : status;
}

/* The whole path of an artifact; free(). NULL when out of memory. */
static char *path_of(const struct putting *p, const char *name)
{
    char below[RB_PATH_SIZE];
    return rb_layout_absolute(p->work->options.data_dir,
                              rb_layout_job(p->folder->card->job, name, below));
}

static enum rb_status put_shard(struct putting *p, const struct rb_split *split,
                                const struct rb_safetensors *st, size_t shard, struct rb_error *err)
{
    char file[RB_SPLIT_NAME_SIZE], name[RB_ARTIFACT_NAME_SIZE];
    rb_split_name(split, shard, file);
    char *path = path_of(p, name_in(p, file, name));
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write %s", name);
    enum rb_status status = rb_split_write(split, st, shard, path, err);
    free(path);
    return status == RB_OK ? describe(p, name, err) : status;
}

static enum rb_status put_shards(struct putting *p, const struct rb_split *split,
                                 const struct rb_safetensors *st, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < split->count && status == RB_OK; i++)
        status = put_shard(p, split, st, i, err);
    if (status != RB_OK)
        return status;
    json_t *index = rb_split_index(split, st);
    char *text = index != NULL ? json_dumps(index, JSON_INDENT(2)) : NULL;
    json_decref(index);
    status = text != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory to write an index");
    return put_text(p, RB_SHARDS_INDEX, status, text, text != NULL ? strlen(text) : 0, err);
}

static enum rb_status put_weights(struct putting *p, struct rb_error *err)
{
    char flat[RB_ARTIFACT_NAME_SIZE];
    struct rb_safetensors st;
    struct rb_split split;
    rb_artifact_merged_name(p->folder->card->lambda, flat);
    char *path = path_of(p, flat);
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to write %s", p->name);
    enum rb_status status = rb_safetensors_open(path, &st, err);
    free(path);
    if (status != RB_OK)
        return status;
    status = rb_split_plan(&st, p->folder->shard_bytes, RB_FOLDER_SHARDS_MAX, &split, err);
    if (status == RB_OK) {
        status = split.count == 1 ? link_weights(p, flat, err) : put_shards(p, &split, &st, err);
        rb_split_deinit(&split);
    }
    rb_safetensors_deinit(&st);
    return status;
}

static enum rb_status put_card(struct putting *p, struct rb_error *err)
{
    const struct rb_model_card *card = p->folder->card;
    char *text = NULL;
    size_t count = 0;
    enum rb_status status = rb_model_card_write(card, RB_FOLDER_CURVE, &text, &count, err);
    status = put_text(p, RB_FOLDER_CARD, status, text, count, err);
    if (status != RB_OK)
        return status;
    status = rb_model_card_provenance(card, &text, &count, err);
    status = put_text(p, RB_FOLDER_PROVENANCE, status, text, count, err);
    if (status != RB_OK || card->curve == NULL || card->weights != NULL)
        return status;
    status = rb_model_card_svg(card, &text, &count, err);
    return put_text(p, RB_FOLDER_CURVE, status, text, count, err);
}

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct rb_artifact *)x)->name, ((const struct rb_artifact *)y)->name);
}

static enum rb_status put_digest(struct putting *p, struct rb_error *err)
{
    const struct rb_model_card *card = p->folder->card;
    struct rb_tar_entry entries[RB_FOLDER_FILES_MAX];
    unsigned char digest[RB_SHA256_BYTES];
    char hex[RB_SHA256_HEX], name[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE];
    char line[RB_SHA256_HEX + RB_ARTIFACT_NAME_SIZE + 8];
    size_t count = 0;
    qsort(p->ret, p->count, sizeof *p->ret, by_name);
    enum rb_status status = rb_folder_tar_open(p->work->options.data_fd, card->job, card->lambda,
                                               p->ret, p->count, entries, &count, err);
    if (status == RB_OK)
        status = rb_tar_sha256(entries, count, digest, err);
    rb_folder_tar_close(entries, count);
    if (status != RB_OK)
        return status;
    rb_sha256_hex(digest, hex);
    rb_artifact_tar_digest_name(card->lambda, name);
    (void)snprintf(line, sizeof line, "%s  %s.tar\n", hex, rb_artifact_file_name(p->name));
    status = rb_file_put(p->work->options.data_fd, rb_layout_job(card->job, name, below), line,
                         strlen(line), err);
    return status == RB_OK ? describe(p, name, err) : status;
}

enum rb_status rb_merged_folder_put(const struct rb_work *w, const struct rb_merged_folder *f,
                                    struct rb_artifact ret[RB_FOLDER_FILES_MAX], size_t *ret_count,
                                    struct rb_error *err)
{
    struct putting p = {.work = w, .folder = f, .ret = ret};
    char below[RB_PATH_SIZE];
    rb_artifact_folder_name(f->card->lambda, p.name);
    enum rb_status status =
        rb_mkdirs_beneath(w->options.data_fd, rb_layout_job(f->card->job, p.name, below), err);
    for (size_t i = 0; i < f->file_count && status == RB_OK; i++)
        status = put_file(&p, f->files[i].name, f->files[i].bytes, f->files[i].count, err);
    if (status == RB_OK)
        status = put_card(&p, err);
    if (status == RB_OK)
        status = put_weights(&p, err);
    if (status == RB_OK)
        status = put_digest(&p, err);
    if (status == RB_OK)
        *ret_count = p.count;
    return status;
}

/* ---- the tar ---- */

enum rb_status rb_folder_digest_read(int data_fd, const char *job, double lambda,
                                     unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    enum { LINE_MAX_BYTES = 256 };
    char name[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE], *line = NULL;
    size_t bytes;
    rb_artifact_tar_digest_name(lambda, name);
    enum rb_status status =
        rb_file_get(data_fd, rb_layout_job(job, name, below), LINE_MAX_BYTES, &line, &bytes, err);
    if (status != RB_OK)
        return status;
    if (bytes >= RB_SHA256_HEX)
        line[RB_SHA256_HEX - 1] = '\0';
    if (!rb_sha256_from_hex(line, ret))
        status = rb_error_set(err, RB_EINTERNAL, "%s: expected 64 hex digits and a name", below);
    free(line);
    return status;
}

static enum rb_status open_entry(int data_fd, const char *job, const struct rb_artifact *a,
                                 size_t skipped, struct rb_tar_entry *ret, struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    struct stat st;
    enum rb_status status =
        rb_open_beneath(data_fd, rb_layout_job(job, a->name, below), O_RDONLY, 0, &ret->fd, err);
    if (status != RB_OK) /* the row says it is there */
        return status == RB_ENOTFOUND ? rb_error_set(err, RB_EIO, "%s is gone from the disk", below)
                                      : status;
    if (fstat(ret->fd, &st) != 0)
        status = rb_error_errno(err, errno, below);
    else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != a->bytes)
        status = rb_error_set(err, RB_EIO, "%s has %lld bytes, recorded were %llu", below,
                              (long long)st.st_size, (unsigned long long)a->bytes);
    if (status != RB_OK)
        (void)close(ret->fd);
    ret->bytes = a->bytes;
    (void)snprintf(ret->name, sizeof ret->name, "%s", a->name + skipped);
    return status;
}

enum rb_status rb_folder_tar_open(int data_fd, const char *job, double lambda,
                                  const struct rb_artifact *artifacts, size_t count,
                                  struct rb_tar_entry *ret, size_t *ret_count, struct rb_error *err)
{
    char folder[RB_ARTIFACT_NAME_SIZE];
    enum rb_status status = RB_OK;
    rb_artifact_folder_name(lambda, folder);
    size_t length = strlen(folder), skipped = (size_t)(rb_artifact_file_name(folder) - folder);
    *ret_count = 0;
    for (size_t i = 0; i < count && status == RB_OK; i++) {
        if (strncmp(artifacts[i].name, folder, length) != 0 || artifacts[i].name[length] != '/')
            continue;
        if (*ret_count == RB_FOLDER_FILES_MAX)
            return rb_error_set(err, RB_EINTERNAL, "%s has more than %d files", folder,
                                RB_FOLDER_FILES_MAX);
        status = open_entry(data_fd, job, &artifacts[i], skipped, &ret[*ret_count], err);
        *ret_count += status == RB_OK;
    }
    return status;
}

void rb_folder_tar_close(struct rb_tar_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)close(entries[i].fd);
}
