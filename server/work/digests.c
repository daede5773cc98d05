#include "server/work/digests.h"
#include "core/input.h"
#include "core/tensor/checkpoint.h"
#include "core/text/tokenizer.h"
#include "server/base/clock.h"
#include "server/store/caches.h"
#include "server/work/imports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file written just now may be written again within the clock's grain, unseen. */
static const int64_t SETTLED_NS = 2000000000;

/* ---- which files ---- */

static enum rb_status append(struct rb_digests *d, const char *name, const char *path, bool member,
                             bool weights, struct rb_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return rb_error_errno(err, errno, path);
    if (!S_ISREG(st.st_mode))
        return rb_error_set(err, RB_EINPUT, "%s: expected a regular file", path);
    struct rb_digest_file *grown = realloc(d->files, (d->count + 1) * sizeof *grown);
    if (grown == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to list it", path);
    d->files = grown;
    struct rb_digest_file *f = &grown[d->count];
    *f = (struct rb_digest_file){
        .name = strdup(name),
        .path = strdup(path),
        .member = member,
        .weights = weights,
    };
    f->id = rb_file_id_of(f->path, &st);
    d->count++;
    if (f->name == NULL || f->path == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to list it", path);
    return RB_OK;
}

static enum rb_status append_below(struct rb_digests *d, const char *folder, const char *name,
                                   const struct rb_strings *roots, bool member,
                                   struct rb_error *err)
{
    char *path = NULL, *real = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to list it", folder);
    enum rb_status status = rb_import_resolve(roots, path, &real, err);
    if (status == RB_OK)
        status = append(d, name, path, member, member, err);
    free(real);
    free(path);
    return status;
}

static bool listed(char **names, const char *name)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct rb_digest_file *)a)->name,
                  ((const struct rb_digest_file *)b)->name);
}

static enum rb_status scan_everything(const char *folder, char **members, struct rb_digests *d,
                                      struct rb_error *err)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return rb_error_errno(err, errno, folder);
    enum rb_status status = RB_OK;
    struct dirent *entry;
    while (status == RB_OK && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && entry->d_type != DT_DIR)
            status =
                append_below(d, folder, entry->d_name, NULL, listed(members, entry->d_name), err);
    closedir(dir);
    if (d->count > 0)
        qsort(d->files, d->count, sizeof *d->files, by_name);
    return status;
}

enum rb_status rb_digests_scan_folder(const char *folder, bool everything,
                                      const struct rb_strings *roots, struct rb_digests *ret,
                                      struct rb_error *err)
{
    char **members = NULL;
    struct rb_digests d = {0};
    enum rb_status status = rb_checkpoint_files(folder, rb_tokenizer_files, &members, err);
    if (everything)
        status = scan_everything(folder, status == RB_OK ? members : NULL, &d, err);
    else
        for (size_t i = 0; status == RB_OK && members[i] != NULL; i++)
            status = append_below(&d, folder, members[i], roots, true, err);
    rb_checkpoint_files_free(members);
    if (status == RB_OK)
        *ret = d;
    else
        rb_digests_deinit(&d);
    return status;
}

enum rb_status rb_digests_scan_file(const char *path, struct rb_digests *ret, struct rb_error *err)
{
    struct rb_digests d = {0};
    enum rb_status status = append(&d, path, path, true, false, err);
    if (status == RB_OK)
        *ret = d;
    else
        rb_digests_deinit(&d);
    return status;
}

/* ---- digests ---- */

void rb_digests_recall(struct rb_digests *d, struct rb_store *store)
{
    for (size_t i = 0; i < d->count; i++) {
        struct rb_digest_file *f = &d->files[i];
        bool found = false;
        if (rb_hash_get(store, &f->id, &found, f->sha256, NULL) == RB_OK && found)
            f->known = f->remembered = true;
    }
}

static bool is_stopped(void *stop)
{
    return atomic_load((const atomic_bool *)stop);
}

/* Weights that carry checksums of their own are held against them where they are read whole anyway.
 */
static enum rb_status check(const struct rb_digest_file *f, int fd, const atomic_bool *stop,
                            struct rb_error *err)
{
    const struct rb_container_format *format = f->weights ? rb_container_format_of(f->name) : NULL;
    if (format == NULL || format->check == NULL)
        return RB_OK;
    return format->check(fd, f->path, stop != NULL ? is_stopped : NULL, (void *)stop, err);
}

/* A new link or mode changes the time of change alone; the next look then hashes again. */
static bool same_content(const struct rb_file_id *id, const struct stat *st)
{
    struct rb_file_id now = rb_file_id_of(id->path, st);
    return now.bytes == id->bytes && now.device == id->device && now.inode == id->inode &&
           now.mtime_ns == id->mtime_ns;
}

static bool settled(const struct rb_file_id *id, int64_t now_ms)
{
    int64_t last_ns = id->mtime_ns > id->ctime_ns ? id->mtime_ns : id->ctime_ns;
    return last_ns + SETTLED_NS < now_ms * 1000000;
}

static void close_present(struct rb_digests *d)
{
    if (d->present.hasher != NULL)
        close(d->present.fd);
    rb_hasher_free(d->present.hasher);
    d->present.hasher = NULL;
}

static enum rb_status open_present(struct rb_digests *d, const struct rb_digest_file *f,
                                   struct rb_error *err)
{
    struct rb_hasher *hasher = rb_hasher_new();
    if (hasher == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to hash it", f->path);
    enum rb_status status = rb_input_open(f->path, 0, &d->present.fd, err);
    if (status != RB_OK) {
        rb_hasher_free(hasher);
        return status;
    }
    d->present.hasher = hasher;
    d->present.offset = 0;
    return RB_OK;
}

/* The whole file has been added. */
static enum rb_status end_present(struct rb_digests *d, struct rb_digest_file *f,
                                  const atomic_bool *stop, struct rb_error *err)
{
    struct stat st;
    enum rb_status status = check(f, d->present.fd, stop, err);
    bool same = fstat(d->present.fd, &st) == 0 && same_content(&f->id, &st) &&
                d->present.offset == f->id.bytes;
    rb_hasher_end(d->present.hasher, f->sha256);
    close_present(d);
    if (status == RB_OK && !same)
        status = rb_error_set(err, RB_EIO, "%s: changed while it was read", f->path);
    f->known = status == RB_OK;
    return status;
}

static enum rb_status hash_some(struct rb_digests *d, struct rb_digest_file *f, uint64_t *left,
                                const atomic_bool *stop, struct rb_error *err)
{
    uint64_t bytes;
    enum rb_status status = d->present.hasher != NULL ? RB_OK : open_present(d, f, err);
    if (status != RB_OK)
        return status;
    status = rb_hasher_add_fd(d->present.hasher, d->present.fd, f->path, d->present.offset, *left,
                              stop, &bytes, err);
    if (status != RB_OK) {
        close_present(d);
        return status;
    }
    d->present.offset += bytes;
    bool ended = bytes < *left;
    *left -= bytes;
    return ended ? end_present(d, f, stop, err) : RB_OK;
}

enum rb_status rb_digests_step(struct rb_digests *d, const atomic_bool *stop, bool *ret_more,
                               struct rb_error *err)
{
    uint64_t left = RB_DIGESTS_PIECE_BYTES;
    size_t i = 0;
    while (i < d->count && left > 0) {
        if (d->files[i].known) {
            i++;
            continue;
        }
        enum rb_status status = hash_some(d, &d->files[i], &left, stop, err);
        if (status != RB_OK)
            return status;
    }
    while (i < d->count && d->files[i].known)
        i++;
    *ret_more = i < d->count;
    return RB_OK;
}

void rb_digests_remember(struct rb_digests *d, struct rb_store *store)
{
    int64_t now_ms = rb_clock_realtime_ms();
    if (rb_store_begin(store, NULL) != RB_OK)
        return;
    enum rb_status status = RB_OK;
    for (size_t i = 0; status == RB_OK && i < d->count; i++) {
        struct rb_digest_file *f = &d->files[i];
        if (f->known && !f->remembered && settled(&f->id, now_ms))
            status = rb_hash_put(store, &f->id, f->sha256, now_ms, NULL);
    }
    /* Not remembering costs time, nothing else. */
    status = rb_store_end(store, status, NULL);
    (void)status;
}

void rb_digests_deinit(struct rb_digests *d)
{
    close_present(d);
    for (size_t i = 0; i < d->count; i++) {
        free(d->files[i].name);
        free(d->files[i].path);
    }
    free(d->files);
    *d = (struct rb_digests){0};
}

uint64_t rb_digests_bytes(const struct rb_digests *d)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < d->count; i++)
        bytes += d->files[i].member ? d->files[i].id.bytes : 0;
    return bytes;
}

void rb_digests_file_hex(const struct rb_digests *d, char ret[RB_SHA256_HEX])
{
    rb_sha256_hex(d->files[0].sha256, ret);
}

void rb_digests_model_hex(const struct rb_digests *d, char ret[RB_SHA256_HEX])
{
    struct rb_sha256 h;
    unsigned char digest[RB_SHA256_BYTES];
    rb_sha256_init(&h);
    for (size_t i = 0; i < d->count; i++) {
        const struct rb_digest_file *f = &d->files[i];
        char hex[RB_SHA256_HEX];
        if (!f->member)
            continue;
        rb_sha256_hex(f->sha256, hex);
        rb_sha256_add(&h, hex, strlen(hex));
        rb_sha256_add(&h, "  ", 2);
        rb_sha256_add(&h, f->name, strlen(f->name));
        rb_sha256_add(&h, "\n", 1);
    }
    rb_sha256_end(&h, digest);
    rb_sha256_hex(digest, ret);
}
