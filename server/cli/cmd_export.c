/* rebasind export: a merged folder out of a data folder, whose daemon may be running: nothing but
 * the job's own files is read, and what was read is held against the digest that was made when the
 * folder was written. */
#include "server/cli/commands.h"

#include "server/base/config.h"
#include "server/base/fsutil.h"
#include "server/base/options.h"
#include "server/work/merged_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char rb_cmd_export_help[] =
    "Usage: rebasind export JOB --lambda L --to DIR [OPTIONS]\n"
    "\n"
    "Copies a merged checkpoint of a job out of --data-dir, whose daemon may be running: the\n"
    "folder with weights, config, tokenizer, model card and provenance. DIR is made; one that is\n"
    "there must be empty. What is copied is held against the digest made when it was written.\n"
    "\n"
    "  --lambda L  one of the job's outputs.merged, as in 0.5, or weights-0\n"
    "  --to DIR    where the files go\n"
    "\n"
    "Exit status: 0 copied, 1 it could not be, 2 the command line is wrong.\n"
    "\n"
    "Example:\n"
    "  rebasind export job_019a2c9e-7c1d-7b3e-8f00-1234567890ab --lambda 0.5 --to merged \\\n"
    "      --data-dir /var/lib/rebasind\n";

enum { COPY_BYTES = 1 << 20 };

struct export
{
    const char *job, *lambda_text, *to;
    double lambda;
    int data_fd, to_fd;
    struct rb_tar_entry entries[RB_FOLDER_FILES_MAX];
    size_t count;
};

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct rb_artifact *)x)->name, ((const struct rb_artifact *)y)->name);
}

static enum rb_status describe(int fd, const char *folder, const char *file,
                               struct rb_artifact *ret, struct rb_error *err)
{
    struct stat st;
    if (snprintf(ret->name, sizeof ret->name, "%s/%s", folder, file) >= (int)sizeof ret->name)
        return rb_error_set(err, RB_EIO, "%s holds what was not written there: %.80s", folder,
                            file);
    if (fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return rb_error_errno(err, errno, file);
    ret->bytes = (uint64_t)st.st_size;
    return RB_OK;
}

/* The files of the folder, sorted: what the store lists, without asking it. */
static enum rb_status list_folder(const struct export *e, struct rb_artifact *ret,
                                  size_t *ret_count, struct rb_error *err)
{
    char folder[RB_ARTIFACT_NAME_SIZE], below[RB_PATH_SIZE];
    int fd = -1;
    size_t n = 0;
    rb_artifact_folder_name(e->lambda, folder);
    enum rb_status status = rb_open_beneath(e->data_fd, rb_layout_job(e->job, folder, below),
                                            O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        status = rb_error_errno(err, errno, below);
        (void)close(fd);
        return status;
    }
    for (struct dirent *d; status == RB_OK && (d = readdir(dir)) != NULL;) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (n == RB_FOLDER_FILES_MAX)
            status = rb_error_set(err, RB_EIO, "%s holds more files than were written", below);
        else
            status = describe(fd, folder, d->d_name, &ret[n++], err);
    }
    (void)closedir(dir);
    qsort(ret, n, sizeof *ret, by_name);
    *ret_count = n;
    return status;
}

/* Opens the folder's files and holds them against its digest. */
static enum rb_status open_source(struct export *e, struct rb_error *err)
{
    struct rb_artifact files[RB_FOLDER_FILES_MAX] = {0};
    unsigned char expected[RB_SHA256_BYTES], found[RB_SHA256_BYTES];
    size_t count = 0;
    enum rb_status status = rb_folder_digest_read(e->data_fd, e->job, e->lambda, expected, err);
    if (status == RB_ENOTFOUND)
        return rb_error_set(err, RB_ENOTFOUND, "%s has no merged folder at lambda %s", e->job,
                            e->lambda_text);
    if (status == RB_OK)
        status = list_folder(e, files, &count, err);
    if (status == RB_OK)
        status = rb_folder_tar_open(e->data_fd, e->job, e->lambda, files, count, e->entries,
                                    &e->count, err);
    if (status == RB_OK)
        status = rb_tar_sha256(e->entries, e->count, found, err);
    if (status == RB_OK && memcmp(found, expected, sizeof found) != 0)
        status = rb_error_set(err, RB_EIO,
                              "%s at lambda %s is not what was written: its digest "
                              "differs",
                              e->job, e->lambda_text);
    return status;
}

static enum rb_status open_target(struct export *e, struct rb_error *err)
{
    enum rb_status status = rb_root_open(e->to, true, &e->to_fd, err);
    if (status != RB_OK)
        return status;
    DIR *dir = opendir(e->to);
    if (dir == NULL)
        return rb_error_errno(err, errno, e->to);
    size_t found = 0;
    while (readdir(dir) != NULL)
        found++;
    (void)closedir(dir);
    return found <= 2 ? RB_OK
                      : rb_error_set(err, RB_EUSAGE, "%s: expected an empty or no folder", e->to);
}

static enum rb_status copy_bytes(const struct rb_tar_entry *from, int to, char *buffer,
                                 struct rb_error *err)
{
    for (uint64_t at = 0; at < from->bytes;) {
        ssize_t n = pread(from->fd, buffer, COPY_BYTES, (off_t)at);
        if (n == 0)
            return rb_error_set(err, RB_EIO, "%s was cut short while it was copied", from->name);
        for (ssize_t done = 0, m; n > 0 && done < n; done += m)
            if ((m = write(to, buffer + done, (size_t)(n - done))) < 0)
                return rb_error_errno(err, errno, from->name);
        if (n < 0)
            return rb_error_errno(err, errno, from->name);
        at += (uint64_t)n;
    }
    return rb_fd_sync(to, from->name, err);
}

static enum rb_status copy_one(const struct export *e, const struct rb_tar_entry *from,
                               char *buffer, struct rb_error *err)
{
    const char *name = rb_artifact_file_name(from->name);
    int to = openat(e->to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (to < 0)
        return rb_error_errno(err, errno, name);
    enum rb_status status = copy_bytes(from, to, buffer, err);
    if (close(to) != 0 && status == RB_OK)
        status = rb_error_errno(err, errno, name);
    if (status != RB_OK)
        (void)unlinkat(e->to_fd, name, 0);
    return status;
}

/* All files, or none. */
static enum rb_status copy_all(const struct export *e, struct rb_error *err)
{
    char *buffer = malloc(COPY_BYTES);
    if (buffer == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to copy");
    enum rb_status status = RB_OK;
    size_t n = 0;
    while (n < e->count && status == RB_OK) {
        status = copy_one(e, &e->entries[n], buffer, err);
        n += status == RB_OK;
    }
    if (status == RB_OK)
        status = rb_fd_sync(e->to_fd, e->to, err);
    while (status != RB_OK && n > 0)
        (void)unlinkat(e->to_fd, rb_artifact_file_name(e->entries[--n].name), 0);
    free(buffer);
    return status;
}

static enum rb_status check(struct export *e, struct rb_error *err)
{
    if (e->job == NULL || e->lambda_text == NULL || e->to == NULL)
        return rb_error_set(err, RB_EUSAGE,
                            "export needs JOB, --lambda and --to; see `rebasind export --help`");
    if (!rb_job_id_valid(e->job, strlen(e->job)))
        return rb_error_set(err, RB_EUSAGE, "expected " RB_JOB_ID_RULE ", found '%.60s'", e->job);
    if (!rb_artifact_lambda_parse(e->lambda_text, strlen(e->lambda_text), &e->lambda))
        return rb_error_set(err, RB_EUSAGE,
                            "--lambda: expected a number from 0 to 1, found '%.40s'",
                            e->lambda_text);
    return RB_OK;
}

static enum rb_status run(struct export *e, const char *data_dir, struct rb_error *err)
{
    enum rb_status status = check(e, err);
    if (status == RB_OK)
        status = rb_root_open(data_dir, false, &e->data_fd, err);
    if (status == RB_OK)
        status = open_source(e, err);
    if (status == RB_OK)
        status = open_target(e, err);
    if (status == RB_OK)
        status = copy_all(e, err);
    rb_folder_tar_close(e->entries, e->count);
    if (e->to_fd >= 0)
        (void)close(e->to_fd);
    if (e->data_fd >= 0)
        (void)close(e->data_fd);
    return status;
}

int rb_cmd_export(int argc, char *const argv[], FILE *out)
{
    struct rb_error err;
    struct rb_settings settings;
    struct export e = {.data_fd = -1, .to_fd = -1};
    const struct rb_extra_flag flags[] = {
        {.flag = "lambda", .ret_text = &e.lambda_text},
        {.flag = "to", .ret_text = &e.to},
        {.flag = NULL},
    };
    struct rb_arguments arguments = {.flags = flags, .words = &e.job, .words_max = 1};
    enum rb_status status = rb_settings_load(argc, argv, NULL, &arguments, &settings, &err);
    if (status == RB_OK) {
        status = run(&e, settings.data_dir, &err);
        rb_settings_deinit(&settings);
    }
    if (status != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return status == RB_EUSAGE ? 2 : 1;
    }
    fprintf(out, "%zu files are in %s\n", e.count, e.to);
    return fflush(out) == 0 ? 0 : 1;
}
