#include "core/tensor/safetensors_write.h"
#include "core/memory.h"
#include "core/tensor/safetensors_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DATA_ALIGNMENT = 8 };

struct part {
    char *name;
    uint64_t begin, bytes; /* in the file */
    atomic_uint_least64_t written;
};

struct rb_st_writer {
    char *path, *temporary;
    int fd;
    struct part *parts;
    size_t count;
    uint64_t data_begin, file_bytes;
};

/* ---- the header ---- */

static enum rb_status no_memory(const struct rb_st_writer *w, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: no memory to write it", w->path);
}

/* Takes the offsets from specs; parts' `begin` is relative to the data until the header is known.
 */
static enum rb_status plan_parts(struct rb_st_writer *w, const struct rb_st_spec *specs,
                                 struct rb_error *err)
{
    size_t at = 0;
    w->parts = calloc(w->count + 1, sizeof *w->parts);
    if (w->parts == NULL)
        return no_memory(w, err);
    for (size_t i = 0; i < w->count; i++) {
        size_t bytes;
        struct part *part = &w->parts[i];
        part->begin = at;
        if (specs[i].rank > RB_ST_MAX_RANK ||
            !rb_shape_bytes(specs[i].dtype, specs[i].shape, specs[i].rank, &bytes) ||
            !rb_add_size(at, bytes, &at) || at > INT64_MAX / 2)
            return rb_error_set(err, RB_EINTERNAL, "%s: tensor '%s' is too large to write", w->path,
                                specs[i].name);
        part->bytes = bytes;
        part->name = strdup(specs[i].name);
        if (part->name == NULL)
            return no_memory(w, err);
    }
    w->file_bytes = at;
    return RB_OK;
}

static json_t *tensor_entry(const struct rb_st_spec *spec, const struct part *part)
{
    uint64_t end = part->begin + part->bytes;
    json_t *shape = json_array();
    for (uint32_t i = 0; i < spec->rank; i++)
        (void)json_array_append_new(shape, json_integer((json_int_t)spec->shape[i]));
    if (json_array_size(shape) != spec->rank) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", rb_dtype_name(spec->dtype), "shape", shape,
                     "data_offsets", (json_int_t)part->begin, (json_int_t)end);
}

static enum rb_status add_metadata(const struct rb_st_writer *w, json_t *header,
                                   const struct rb_metadata *metadata, size_t count,
                                   struct rb_error *err)
{
    if (count == 0)
        return RB_OK;
    json_t *all = json_object();
    for (size_t i = 0; i < count; i++)
        if (json_object_set_new(all, metadata[i].key, json_string(metadata[i].value)) != 0) {
            json_decref(all);
            return no_memory(w, err);
        }
    return json_object_set_new(header, "__metadata__", all) == 0 ? RB_OK : no_memory(w, err);
}

static enum rb_status describe(const struct rb_st_writer *w, const struct rb_st_spec *specs,
                               const struct rb_metadata *metadata, size_t metadata_count,
                               json_t *header, struct rb_error *err)
{
    enum rb_status s = add_metadata(w, header, metadata, metadata_count, err);
    for (size_t i = 0; s == RB_OK && i < w->count; i++) {
        if (json_object_get(header, specs[i].name) != NULL)
            return rb_error_set(err, RB_EINTERNAL, "%s: tensor '%s' is announced twice", w->path,
                                specs[i].name);
        if (json_object_set_new(header, specs[i].name, tensor_entry(&specs[i], &w->parts[i])) != 0)
            s = no_memory(w, err);
    }
    return s;
}

static enum rb_status write_all(const struct rb_st_writer *w, uint64_t offset, const void *data,
                                size_t bytes, struct rb_error *err)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t n = pwrite(w->fd, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rb_error_errno(err, errno, w->path);
        from += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return RB_OK;
}

/* The header is padded with spaces so that the data begin on an 8-byte boundary. */
static enum rb_status write_header(struct rb_st_writer *w, const char *text, struct rb_error *err)
{
    static const char padding[DATA_ALIGNMENT] = "        ";
    size_t length = strlen(text);
    size_t padded = (length + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT;
    if (padded > RB_ST_MAX_HEADER_BYTES)
        return rb_error_set(err, RB_EINTERNAL, "%s: a header of %zu bytes, at most %zu are allowed",
                            w->path, padded, RB_ST_MAX_HEADER_BYTES);
    unsigned char head[RB_ST_LENGTH_BYTES];
    rb_st_length_put(head, padded);
    w->data_begin = RB_ST_LENGTH_BYTES + padded;
    w->file_bytes += w->data_begin;
    enum rb_status s = write_all(w, 0, head, sizeof head, err);
    if (s == RB_OK)
        s = write_all(w, RB_ST_LENGTH_BYTES, text, length, err);
    if (s == RB_OK)
        s = write_all(w, RB_ST_LENGTH_BYTES + length, padding, padded - length, err);
    return s;
}

static enum rb_status build_header(struct rb_st_writer *w, const struct rb_st_spec *specs,
                                   const struct rb_metadata *metadata, size_t metadata_count,
                                   struct rb_error *err)
{
    json_t *header = json_object();
    enum rb_status s = describe(w, specs, metadata, metadata_count, header, err);
    char *text = s == RB_OK ? json_dumps(header, JSON_COMPACT) : NULL;
    if (s == RB_OK)
        s = text != NULL ? write_header(w, text, err) : no_memory(w, err);
    free(text);
    json_decref(header);
    return s;
}

/* ---- the file ---- */

static void writer_free(struct rb_st_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    for (size_t i = 0; w->parts != NULL && i < w->count; i++)
        free(w->parts[i].name);
    free(w->parts);
    free(w->temporary);
    free(w->path);
    free(w);
}

static struct rb_st_writer *writer_new(const char *path, size_t count)
{
    struct rb_st_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->fd = -1;
    w->count = count;
    w->path = strdup(path);
    if (w->path == NULL || asprintf(&w->temporary, "%s.tmp", path) < 0) {
        w->temporary = NULL;
        writer_free(w);
        return NULL;
    }
    return w;
}

/* A temporary file that is already there is left from a run that was killed. */
static enum rb_status create(struct rb_st_writer *w, struct rb_error *err)
{
    if (unlink(w->temporary) != 0 && errno != ENOENT)
        return rb_error_errno_writing(err, errno, w->path);
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    return w->fd >= 0 ? RB_OK : rb_error_errno_writing(err, errno, w->path);
}

/* A full disk should be found before an hour of work, not after. */
static enum rb_status reserve(const struct rb_st_writer *w, struct rb_error *err)
{
    int rc;
    do
        rc = fallocate(w->fd, 0, 0, (off_t)w->file_bytes);
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        rc = ftruncate(w->fd, (off_t)w->file_bytes);
    return rc == 0 ? RB_OK : rb_error_errno(err, errno, w->path);
}

enum rb_status rb_st_writer_open(const char *path, const struct rb_st_spec *specs, size_t count,
                                 const struct rb_metadata *metadata, size_t metadata_count,
                                 struct rb_st_writer **ret, struct rb_error *err)
{
    struct rb_st_writer *w = writer_new(path, count);
    if (w == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to write it", path);
    enum rb_status s = plan_parts(w, specs, err);
    if (s == RB_OK)
        s = create(w, err);
    if (s != RB_OK)
        goto err_after_new;
    s = build_header(w, specs, metadata, metadata_count, err);
    if (s == RB_OK)
        s = reserve(w, err);
    if (s != RB_OK)
        goto err_after_create;
    *ret = w;
    return RB_OK;

err_after_create:
    (void)unlink(w->temporary);
err_after_new:
    writer_free(w);
    return s;
}

enum rb_status rb_st_writer_write(struct rb_st_writer *w, size_t index, uint64_t offset,
                                  const void *data, size_t bytes, struct rb_error *err)
{
    if (index >= w->count)
        return rb_error_set(err, RB_EINTERNAL, "%s: tensor %zu of %zu", w->path, index, w->count);
    struct part *part = &w->parts[index];
    if (offset > part->bytes || bytes > part->bytes - offset)
        return rb_error_set(err, RB_EINTERNAL,
                            "%s: tensor '%s' has %" PRIu64 " bytes, not %zu at %" PRIu64, w->path,
                            part->name, part->bytes, bytes, offset);
    enum rb_status s = write_all(w, w->data_begin + part->begin + offset, data, bytes, err);
    if (s == RB_OK)
        (void)atomic_fetch_add(&part->written, bytes);
    return s;
}

static enum rb_status check_complete(const struct rb_st_writer *w, struct rb_error *err)
{
    for (size_t i = 0; i < w->count; i++) {
        uint64_t written = atomic_load(&w->parts[i].written);
        if (written != w->parts[i].bytes)
            return rb_error_set(err, RB_EINTERNAL,
                                "%s: tensor '%s' has %" PRIu64 " bytes, %" PRIu64 " were written",
                                w->path, w->parts[i].name, w->parts[i].bytes, written);
    }
    return RB_OK;
}

/* A rename is durable once the folder is. */
static enum rb_status sync_folder(const char *path, struct rb_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (folder == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to write it", path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum rb_status s = RB_OK;
    if (fd < 0 || fsync(fd) != 0)
        s = rb_error_errno(err, errno, folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return s;
}

static enum rb_status publish(struct rb_st_writer *w, struct rb_error *err)
{
    if (fsync(w->fd) != 0)
        return rb_error_errno(err, errno, w->path);
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0 || rename(w->temporary, w->path) != 0)
        return rb_error_errno_writing(err, errno, w->path);
    return RB_OK;
}

enum rb_status rb_st_writer_commit(struct rb_st_writer *w, struct rb_error *err)
{
    enum rb_status s = check_complete(w, err);
    if (s == RB_OK)
        s = publish(w, err);
    if (s != RB_OK) {
        rb_st_writer_abort(w);
        return s;
    }
    s = sync_folder(w->path, err);
    writer_free(w);
    return s;
}

void rb_st_writer_abort(struct rb_st_writer *w)
{
    if (w == NULL)
        return;
    (void)unlink(w->temporary);
    writer_free(w);
}

enum rb_status rb_st_writer_end(struct rb_st_writer *w, enum rb_status status, struct rb_error *err)
{
    if (status == RB_OK)
        return rb_st_writer_commit(w, err);
    rb_st_writer_abort(w);
    return status;
}
