#include "server/work/hf_cache.h"
#include "server/work/imports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where below a root caches lie. */
static const char *const places[] = {"", "/hub"};
enum { PLACES = sizeof places / sizeof places[0], REFERENCE_BYTES = 64 };

static const char DEFAULT_BRANCH[] = "main";

static enum rb_status no_memory(const struct rb_hf_name *name, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: no memory to find it", name->repository);
}

/* Is there a folder, below the roots? */
static enum rb_status look(const struct rb_strings *roots, const char *path, bool *ret,
                           struct rb_error *err)
{
    char *real = NULL;
    *ret = false;
    if (access(path, F_OK) != 0)
        return RB_OK;
    enum rb_status status = rb_import_resolve(roots, path, &real, err);
    free(real);
    *ret = status == RB_OK;
    return status == RB_EINPUT || status == RB_ENOTFOUND ? RB_OK : status;
}

/* What the cache has under refs/: a commit; "" if there is no such reference. */
static enum rb_status read_reference(const struct rb_strings *roots, const char *folder,
                                     const char *revision, char commit[REFERENCE_BYTES],
                                     struct rb_error *err)
{
    struct rb_import_rules rules = {.roots = roots, .data_dir = "/nowhere"};
    char *path = NULL;
    int fd = -1;
    commit[0] = '\0';
    if (asprintf(&path, "%s/refs/%s", folder, revision) < 0)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", folder);
    enum rb_status status =
        rb_import_open(&rules, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, &fd, err);
    if (status == RB_OK) {
        ssize_t n = read(fd, commit, REFERENCE_BYTES - 1);
        commit[n > 0 ? n : 0] = '\0';
        commit[strcspn(commit, "\r\n")] = '\0';
        close(fd);
        if (!rb_hf_commit_valid(commit))
            status = rb_error_at(err, RB_EINPUT, "/hf", "%s: holds no commit", path);
    } else if (status == RB_ENOTFOUND || status == RB_EINPUT) {
        status = RB_OK;
    }
    free(path);
    return status;
}

/* The snapshot in the cache's folder of this model. */
static enum rb_status find_snapshot(const struct rb_strings *roots, const char *folder,
                                    const struct rb_hf_name *name, char **ret, struct rb_error *err)
{
    const char *revision = name->revision[0] != '\0' ? name->revision : DEFAULT_BRANCH;
    char commit[REFERENCE_BYTES] = "";
    bool there = false;
    char *path = NULL;
    enum rb_status status = RB_OK;
    if (rb_hf_commit_valid(revision))
        (void)snprintf(commit, sizeof commit, "%.40s", revision);
    else
        status = read_reference(roots, folder, revision, commit, err);
    if (status != RB_OK)
        return status;
    if (commit[0] == '\0')
        return rb_error_at(
            err, RB_EINPUT, "/hf",
            "%s: the cache has no revision '%s': fetch it with `huggingface-cli download "
            "%s --revision %s`, or name the commit",
            folder, revision, name->repository, revision);
    if (asprintf(&path, "%s/snapshots/%s", folder, commit) < 0)
        return no_memory(name, err);
    status = look(roots, path, &there, err);
    if (status == RB_OK && !there)
        status = rb_error_at(err, RB_EINPUT, "/hf",
                             "%s: no such snapshot: fetch it with `huggingface-cli download %s "
                             "--revision %s`",
                             path, name->repository, commit);
    if (status == RB_OK)
        *ret = path;
    else
        free(path);
    return status;
}

enum rb_status rb_hf_cache_find(const struct rb_strings *roots, const struct rb_hf_name *name,
                                char **ret, struct rb_error *err)
{
    char folder_name[RB_HF_NAME_SIZE];
    rb_hf_name_folder(name, folder_name);
    for (size_t i = 0; i < (roots != NULL ? roots->count : 0) * PLACES; i++) {
        char *folder = NULL;
        bool there = false;
        if (asprintf(&folder, "%s%s/%s", roots->items[i / PLACES], places[i % PLACES],
                     folder_name) < 0)
            return no_memory(name, err);
        enum rb_status status = look(roots, folder, &there, err);
        if (status == RB_OK && there)
            status = find_snapshot(roots, folder, name, ret, err);
        free(folder);
        if (status != RB_OK || there)
            return status;
    }
    return rb_error_at(
        err, RB_EINPUT, "/hf",
        "no import root is a Hugging Face cache with %s in it: fetch it with "
        "`huggingface-cli download %s --cache-dir ROOT`, ROOT being one of --import-root",
        folder_name, name->repository);
}
