#include "server/work/bundle_dir.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEAL_BYTES_MAX = 4096 };

char *rb_bundle_point_file(uint32_t curve, uint32_t index, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "point-%s-%04u.json", rb_curve_names[curve], index);
    return buffer;
}

char *rb_bundle_outcome_file(uint32_t task, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "outcome-%u.json", task);
    return buffer;
}

char *rb_bundle_progress_file(uint32_t task, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "progress-%u.json", task);
    return buffer;
}

char *rb_bundle_product_file(const char *name, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, RB_BUNDLE_PRODUCTS "/%s", name);
    return buffer;
}

/* ---- seals ---- */

static char *seal_name(const char *file, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "%.140s.seal", file);
    return buffer;
}

enum rb_status rb_bundle_seal(int root_fd, const char *file, struct rb_seal *seal,
                              struct rb_error *err)
{
    struct rb_json w;
    char name[RB_PATH_SIZE], *text;
    size_t bytes;
    enum rb_status status = rb_file_measure(root_fd, file, &seal->bytes, seal->sha256, err);
    if (status != RB_OK)
        return status;
    rb_json_init(&w);
    rb_seal_encode(&w, NULL, seal);
    status = rb_json_finish(&w, &text, &bytes, err);
    if (status != RB_OK)
        return status;
    status = rb_file_put(root_fd, seal_name(file, name), text, bytes, err);
    free(text);
    return status;
}

static enum rb_status read_seal(int root_fd, const char *file, struct rb_seal *ret,
                                struct rb_error *err)
{
    char name[RB_PATH_SIZE], *text;
    size_t bytes;
    enum rb_status status =
        rb_file_get(root_fd, seal_name(file, name), SEAL_BYTES_MAX, &text, &bytes, err);
    if (status != RB_OK)
        return status;
    status = rb_seal_decode(text, bytes, ret, err);
    free(text);
    if (status == RB_EINPUT || status == RB_EJSON) {
        err->status = RB_EDIGEST;
        (void)rb_error_prefix(err, "%s is damaged: ", name);
        status = RB_EDIGEST;
    }
    return status;
}

static enum rb_status compare(const char *file, const struct rb_seal *seal, uint64_t bytes,
                              const char *sha256, struct rb_error *err)
{
    if (bytes == seal->bytes && strcmp(sha256, seal->sha256) == 0)
        return RB_OK;
    return rb_error_set(
        err, RB_EDIGEST, "%s is damaged: it has %llu bytes with SHA-256 %s, expected %llu with %s",
        file, (unsigned long long)bytes, sha256, (unsigned long long)seal->bytes, seal->sha256);
}

enum rb_status rb_bundle_check(int root_fd, const char *file, struct rb_seal *ret,
                               struct rb_error *err)
{
    struct rb_seal seal;
    uint64_t bytes;
    char sha256[RB_SHA256_HEX];
    enum rb_status status = read_seal(root_fd, file, &seal, err);
    if (status == RB_OK)
        status = rb_file_measure(root_fd, file, &bytes, sha256, err);
    if (status == RB_OK)
        status = compare(file, &seal, bytes, sha256, err);
    if (status == RB_OK)
        *ret = seal;
    return status;
}

enum rb_status rb_bundle_get(int root_fd, const char *file, size_t max_bytes, char **ret,
                             size_t *ret_bytes, struct rb_seal *ret_seal, struct rb_error *err)
{
    struct rb_seal seal;
    unsigned char digest[RB_SHA256_BYTES];
    char sha256[RB_SHA256_HEX], *text = NULL;
    size_t bytes = 0;
    enum rb_status status = read_seal(root_fd, file, &seal, err);
    if (status == RB_OK)
        status = rb_file_get(root_fd, file, max_bytes, &text, &bytes, err);
    if (status != RB_OK)
        return status;
    rb_sha256_of(text, bytes, digest);
    rb_sha256_hex(digest, sha256);
    status = compare(file, &seal, bytes, sha256, err);
    if (status != RB_OK) {
        free(text);
        return status;
    }
    *ret = text;
    *ret_bytes = bytes;
    if (ret_seal != NULL)
        *ret_seal = seal;
    return RB_OK;
}

enum rb_status rb_bundle_put(int root_fd, const char *file, const void *bytes, size_t count,
                             struct rb_seal *seal, struct rb_error *err)
{
    enum rb_status status = rb_file_put(root_fd, file, bytes, count, err);
    return status == RB_OK ? rb_bundle_seal(root_fd, file, seal, err) : status;
}

/* ---- what a task is to do ---- */

bool rb_bundle_wants_point(const struct rb_bundle *b, uint32_t task, uint32_t curve, uint32_t index)
{
    for (size_t i = 0; i < b->point_count; i++)
        if (b->points[i].task == task && b->points[i].curve == curve && b->points[i].index == index)
            return true;
    return b->point_count == 0;
}

bool rb_bundle_wants_merged(const struct rb_bundle *b, double lambda)
{
    for (size_t i = 0; i < b->merged.count; i++)
        if (b->merged.values[i] == lambda)
            return true;
    return false;
}
