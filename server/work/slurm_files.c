#include "server/work/slurm_files.h"
#include "core/align/alignment_file.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/work/jobdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { COPY_BYTES = 1024 * 1024 };

char *rb_slurm_job_folder(const char *job, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "units/%s", job);
    return buffer;
}

char *rb_slurm_unit_folder(const char *job, enum rb_unit unit, uint32_t attempt,
                           char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "units/%s/%s.%u", job, rb_unit_names[unit], attempt);
    return buffer;
}

static int shared_fd(const struct rb_slurm_unit *u)
{
    return u->slurm->options.shared_fd;
}

/* ---- copies ---- */

static enum rb_status copy_bytes(int from_fd, struct rb_file_writer *w, const char *label,
                                 struct rb_error *err)
{
    char *buffer = malloc(COPY_BYTES);
    enum rb_status status =
        buffer != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory to copy %s", label);
    ssize_t n = 1;
    while (status == RB_OK && n > 0) {
        n = read(from_fd, buffer, COPY_BYTES);
        if (n < 0)
            status = rb_error_errno(err, errno, label);
        else if (n > 0)
            status = rb_file_write(w, buffer, (size_t)n, err);
    }
    free(buffer);
    return status;
}

/* Between two roots. */
static enum rb_status copy_file(int from_root, const char *from, int to_root, const char *to,
                                struct rb_error *err)
{
    struct rb_file_writer w;
    int fd;
    enum rb_status status = rb_open_beneath(from_root, from, O_RDONLY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    status = rb_file_begin(to_root, to, &w, err);
    if (status == RB_OK) {
        status = copy_bytes(fd, &w, from, err);
        if (status == RB_OK)
            status = rb_file_commit(&w, err);
        else
            rb_file_abort(&w);
    }
    (void)close(fd);
    return status;
}

/* The files of an uploaded model's folder, or one text, below inputs/SHA256/. */
static enum rb_status copy_folder(const struct rb_slurm_unit *u, const char *below, const char *to,
                                  struct rb_error *err)
{
    int data_fd = u->run->work->options.data_fd, fd;
    enum rb_status status = rb_open_beneath(data_fd, below, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (status != RB_OK)
        return status;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return rb_error_errno(err, errno, below);
    }
    for (struct dirent *e; status == RB_OK && (e = readdir(dir)) != NULL;) {
        char from[1024], target[1024];
        struct stat st;
        (void)snprintf(from, sizeof from, "%s/%s", below, e->d_name);
        (void)snprintf(target, sizeof target, "%s/%s", to, e->d_name);
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            status = copy_file(data_fd, from, shared_fd(u), target, err);
    }
    (void)closedir(dir);
    return status;
}

/* Uploads lie in the data folder, which nodes do not see: they get a copy, once for all jobs. */
static enum rb_status share_input(struct rb_slurm_unit *u, struct rb_bundle_input *in,
                                  struct rb_error *err)
{
    const char *data_dir = u->run->work->options.data_dir;
    size_t length = strlen(data_dir);
    char to[RB_PATH_SIZE], whole[RB_PATH_SIZE + 8];
    if (in->path == NULL || strncmp(in->path, data_dir, length) != 0 || in->path[length] != '/')
        return RB_OK;
    const char *below = in->path + length + 1, *file = strrchr(in->path, '/') + 1;
    (void)snprintf(to, sizeof to, "inputs/%s", in->sha256);
    (void)snprintf(whole, sizeof whole, "%s/.whole", to);
    if (faccessat(shared_fd(u), whole, F_OK, 0) != 0) {
        enum rb_status status = rb_mkdirs_beneath(shared_fd(u), to, err);
        if (status == RB_OK && in->is_model)
            status = copy_folder(u, below, to, err);
        else if (status == RB_OK) {
            char target[1024];
            (void)snprintf(target, sizeof target, "%s/%s", to, file);
            status = copy_file(u->run->work->options.data_fd, below, shared_fd(u), target, err);
        }
        if (status == RB_OK)
            status = rb_file_put(shared_fd(u), whole, "", 0, err);
        if (status != RB_OK)
            return status;
    }
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s%s", u->slurm->options.shared_dir, to, in->is_model ? "" : "/",
                 in->is_model ? "" : file) < 0)
        return rb_error_set(err, RB_ENOMEM, "no memory for a bundle");
    free(in->path);
    in->path = path;
    return RB_OK;
}

/* ---- a bundle ---- */

static enum rb_status give_alignment(const struct rb_slurm_unit *u, struct rb_seal *seal,
                                     struct rb_error *err)
{
    char from[RB_PATH_SIZE], to[RB_PATH_SIZE + 32];
    if (!u->bundle.solved)
        return RB_OK;
    (void)snprintf(to, sizeof to, "%s/%s", u->folder, RB_FILE_ALIGNMENT);
    enum rb_status status =
        copy_file(u->run->work->options.data_fd,
                  rb_layout_job(u->bundle.job, RB_FILE_ALIGNMENT, from), shared_fd(u), to, err);
    return status == RB_OK ? rb_bundle_seal(shared_fd(u), to, seal, err) : status;
}

/* What the attempt before has learned so far. */
static enum rb_status give_state(const struct rb_slurm_unit *u, struct rb_seal *seal,
                                 struct rb_error *err)
{
    char from[RB_PATH_SIZE + 48], to[RB_PATH_SIZE + 32];
    struct rb_seal old;
    if (u->kind != RB_UNIT_LEARN || u->previous[0] == '\0')
        return RB_OK;
    (void)snprintf(from, sizeof from, "%s/" RB_BUNDLE_PRODUCTS "/%s", u->previous,
                   RB_FILE_LEARNING_STATE);
    (void)snprintf(to, sizeof to, "%s/%s", u->folder, RB_FILE_LEARNING_STATE);
    if (rb_bundle_check(shared_fd(u), from, &old, err) != RB_OK)
        return RB_OK; /* there is none, or none that is whole: it starts anew */
    enum rb_status status = copy_file(shared_fd(u), from, shared_fd(u), to, err);
    return status == RB_OK ? rb_bundle_seal(shared_fd(u), to, seal, err) : status;
}

static enum rb_status put_bundle(const struct rb_slurm_unit *u, struct rb_seal *seal,
                                 struct rb_error *err)
{
    char file[RB_PATH_SIZE + 32], *text = NULL;
    size_t bytes;
    struct rb_json w;
    rb_json_init(&w);
    rb_bundle_encode(&w, NULL, &u->bundle);
    enum rb_status status = rb_json_finish(&w, &text, &bytes, err);
    (void)snprintf(file, sizeof file, "%s/" RB_BUNDLE_FILE, u->folder);
    if (status == RB_OK)
        status = rb_bundle_put(shared_fd(u), file, text, bytes, seal, err);
    free(text);
    return status;
}

void rb_slurm_make_bundle(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    struct rb_seal seal = {.attempt = u->bundle.attempt};
    struct rb_error *err = &u->error;
    u->status = rb_mkdirs_beneath(shared_fd(u), u->folder, err);
    for (size_t i = 0; i < u->bundle.input_count && u->status == RB_OK; i++)
        u->status = share_input(u, &u->bundle.inputs[i], err);
    if (u->status == RB_OK)
        u->status = give_alignment(u, &seal, err);
    if (u->status == RB_OK)
        u->status = give_state(u, &seal, err);
    if (u->status == RB_OK) /* last: from now on it is whole */
        u->status = put_bundle(u, &seal, err);
    if (u->status == RB_OK && u->previous[0] != '\0')
        rb_data_remove(shared_fd(u), u->previous);
}

/* ---- what an earlier process left ---- */

static void read_found(struct rb_slurm_unit *u, uint32_t attempt)
{
    char file[RB_PATH_SIZE + 32], *text;
    size_t bytes;
    (void)rb_slurm_unit_folder(u->run->row.job.id, u->kind, attempt, u->folder);
    (void)snprintf(file, sizeof file, "%s/" RB_BUNDLE_FILE, u->folder);
    /* Half of one is none: it was never submitted. */
    if (rb_bundle_get(shared_fd(u), file, RB_BUNDLE_BYTES_MAX, &text, &bytes, NULL, &u->error) !=
        RB_OK)
        return;
    u->found = rb_bundle_decode(text, bytes, &u->bundle, &u->error) == RB_OK;
    free(text);
}

/* The newest attempt before that one; 0: there is none. */
static uint32_t attempt_before(const struct rb_slurm_unit *u, uint32_t before)
{
    char below[RB_PATH_SIZE];
    const char *kind = rb_unit_names[u->kind];
    size_t length = strlen(kind);
    uint32_t newest = 0;
    struct rb_error ignored;
    int fd;
    if (rb_open_beneath(shared_fd(u), rb_slurm_job_folder(u->run->row.job.id, below),
                        O_RDONLY | O_DIRECTORY, 0, &fd, &ignored) != RB_OK)
        return 0;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return 0;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strncmp(e->d_name, kind, length) == 0 && e->d_name[length] == '.') {
            uint32_t attempt = (uint32_t)strtoul(e->d_name + length + 1, NULL, 10);
            newest = attempt > newest && attempt < before ? attempt : newest;
        }
    (void)closedir(dir);
    return newest;
}

void rb_slurm_find_bundle(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    uint32_t attempt = UINT32_MAX;
    u->status = RB_OK;
    /* Before one that was not made whole there is the one whose tries it was to count. */
    while (!u->found && (attempt = attempt_before(u, attempt)) > 0)
        read_found(u, attempt);
    if (!u->found)
        u->folder[0] = '\0';
}

/* ---- products ---- */

static void path_in(const struct rb_slurm_unit *u, const char *file, char path[2 * RB_PATH_SIZE])
{
    (void)snprintf(path, (size_t)2 * RB_PATH_SIZE, "%s/%s", u->folder, file);
}

/* true once it is whole and of this attempt. What is damaged counts as not there: it will be made
 * again. */
static bool get_json(const struct rb_slurm_unit *u, const char *file, char **ret, size_t *ret_bytes,
                     struct rb_seal *seal)
{
    char path[2 * RB_PATH_SIZE];
    struct rb_error ignored;
    path_in(u, file, path);
    if (rb_bundle_get(shared_fd(u), path, RB_PRODUCT_JSON_MAX, ret, ret_bytes, seal, &ignored) !=
        RB_OK)
        return false;
    /* 0: of a node that could not read its bundle, to say so. */
    if (seal->attempt == u->bundle.attempt || seal->attempt == 0)
        return true;
    free(*ret);
    return false;
}

static void scan_outcomes(struct rb_slurm_unit *u)
{
    u->done_well = u->all_ended = true;
    u->job_failed = u->has_outcome = false;
    for (uint32_t t = 0; t < u->bundle.tasks; t++) {
        char file[RB_PATH_SIZE], *text;
        size_t bytes;
        struct rb_outcome outcome;
        struct rb_error ignored;
        struct rb_seal seal;
        if (!get_json(u, rb_bundle_outcome_file(t, file), &text, &bytes, &seal)) {
            u->done_well = u->all_ended = false;
            continue;
        }
        bool read = rb_outcome_decode(text, bytes, &outcome, &ignored) == RB_OK;
        free(text);
        if (read && outcome.warning[0] != '\0')
            memcpy(u->warning, outcome.warning, sizeof u->warning);
        if (read && outcome.status == RB_OK)
            continue;
        u->done_well = false;
        if (read && (!u->has_outcome || (outcome.job_failed && !u->job_failed))) {
            u->outcome = outcome;
            u->has_outcome = true;
            u->job_failed |= outcome.job_failed;
        }
    }
}

static bool scan_point(struct rb_slurm_unit *u, uint32_t curve, uint32_t index)
{
    char file[RB_PATH_SIZE], *text;
    size_t bytes;
    struct rb_error ignored;
    struct rb_product_point *p = &u->points[u->point_count];
    struct rb_seal *seal = &u->seals[u->point_count];
    if (!u->wanted[(size_t)curve * RB_POINTS_MAX + index] ||
        !get_json(u, rb_bundle_point_file(curve, index, file), &text, &bytes, seal))
        return false;
    bool fine = rb_product_point_decode(text, bytes, p, &ignored) == RB_OK;
    free(text);
    if (fine && (p->curve != curve || p->index != index)) {
        rb_product_point_deinit(p);
        fine = false;
    }
    u->point_count += fine;
    return fine;
}

static void scan_points(struct rb_slurm_unit *u)
{
    size_t n = u->bundle.point_count;
    if (n == 0 && !u->done_well)
        return; /* which points there will be is known at the end */
    size_t all = n > 0 ? n : RB_CURVE_COUNT * u->run->spec.lambdas.count;
    for (size_t i = 0; i < all; i++) {
        if (u->point_count == RB_SLURM_POINTS_AT_ONCE) {
            u->more = true; /* the next look takes them, whether or not the folder changes */
            u->seen_ns = 0;
            return;
        }
        size_t lambdas = u->run->spec.lambdas.count;
        struct rb_bundle_point p = {0, (uint32_t)(i / lambdas), (uint32_t)(i % lambdas)};
        if (n > 0)
            p = u->bundle.points[i];
        (void)scan_point(u, p.curve, p.index);
    }
}

/* Into the job's own folder, and held against the seal there. */
static enum rb_status take_file(struct rb_slurm_unit *u, const char *name, struct rb_error *err)
{
    char file[RB_PATH_SIZE], from[2 * RB_PATH_SIZE], to[RB_PATH_SIZE];
    const struct rb_work *w = u->run->work;
    const char *job = u->run->row.job.id;
    struct rb_artifact *artifact = &u->artifacts[u->artifact_count];
    path_in(u, rb_bundle_product_file(name, file), from);
    enum rb_status status = rb_bundle_check(shared_fd(u), from, &u->seal, err);
    if (status == RB_OK && u->seal.attempt != u->bundle.attempt)
        status = rb_error_set(err, RB_ENOTFOUND, "%s is of another attempt", name);
    if (status == RB_OK)
        status = rb_mkdirs_beneath(w->options.data_fd, rb_layout_job(job, NULL, to), err);
    if (status == RB_OK)
        status =
            copy_file(shared_fd(u), from, w->options.data_fd, rb_layout_job(job, name, to), err);
    if (status == RB_OK)
        status = rb_job_describe_artifact(w, job, name, artifact, err);
    if (status == RB_OK && strcmp(artifact->sha256, u->seal.sha256) != 0)
        status = rb_error_set(err, RB_EDIGEST, "%s changed while it was copied", name);
    u->artifact_count += status == RB_OK;
    return status;
}

static enum rb_status take_alignment(struct rb_slurm_unit *u, struct rb_error *err)
{
    bool certified = u->kind == RB_UNIT_LEARN || !u->run->spec.align.has_learn;
    char below[RB_PATH_SIZE];
    enum rb_status status = RB_OK;
    if (u->kind == RB_UNIT_LEARN)
        status = take_file(u, RB_FILE_LEARNING, err);
    if (status == RB_OK && certified)
        status = take_file(u, RB_FILE_PERMUTATIONS, err);
    if (status == RB_OK)
        status = take_file(u, RB_FILE_ALIGNMENT, err);
    if (status != RB_OK)
        return status;
    char *path = rb_layout_absolute(u->run->work->options.data_dir,
                                    rb_layout_job(u->run->row.job.id, RB_FILE_ALIGNMENT, below));
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to load an alignment");
    status = rb_alignment_load(path, &u->alignment, err);
    free(path);
    return status;
}

static enum rb_status take_merged(struct rb_slurm_unit *u, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < u->bundle.merged.count && status == RB_OK; i++) {
        char name[RB_ARTIFACT_NAME_SIZE];
        rb_artifact_merged_name(u->bundle.merged.values[i], name);
        status = take_file(u, name, err);
    }
    return status;
}

static void scan_progress(struct rb_slurm_unit *u)
{
    char file[RB_PATH_SIZE], path[2 * RB_PATH_SIZE], *text;
    size_t bytes;
    struct rb_unit_progress progress;
    struct rb_error ignored;
    path_in(u, rb_bundle_progress_file(0, file), path);
    if (u->kind == RB_UNIT_POINTS ||
        rb_file_get(shared_fd(u), path, 4096, &text, &bytes, &ignored) != RB_OK)
        return;
    if (rb_unit_progress_decode(text, bytes, &progress, &ignored) == RB_OK) {
        u->fraction = progress.fraction;
        u->phase = progress.phase;
    }
    free(text);
}

/* What comes is renamed into the folder, which changes its time; 0: not known. */
static int64_t folder_changed_ns(const struct rb_slurm_unit *u)
{
    struct stat st;
    if (fstatat(shared_fd(u), u->folder, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* Not even a file of some words fits. */
static bool is_full(const struct rb_slurm_unit *u)
{
    struct statvfs v;
    return fstatvfs(shared_fd(u), &v) == 0 && (v.f_bavail * v.f_frsize < 65536 || v.f_favail == 0);
}

void rb_slurm_scan(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    int64_t changed_ns = folder_changed_ns(u);
    for (size_t i = 0; i < u->point_count; i++)
        rb_product_point_deinit(&u->points[i]);
    u->status = RB_OK;
    u->point_count = u->artifact_count = 0;
    u->unchanged = u->glance && changed_ns == u->seen_ns;
    if (u->unchanged)
        return;
    u->seen_ns = changed_ns; /* before the rest: what comes meanwhile is seen by the next glance */
    u->full = is_full(u);
    u->more = false;
    scan_outcomes(u);
    scan_progress(u);
    if (u->kind == RB_UNIT_POINTS)
        scan_points(u);
    else if (u->done_well)
        u->status =
            u->kind == RB_UNIT_WRITE ? take_merged(u, &u->error) : take_alignment(u, &u->error);
    if (u->status == RB_EDIGEST || u->status == RB_ENOTFOUND) {
        /* Damaged, or not to be seen yet: not done. Once it has left the queue it is made again. */
        u->seen_ns = 0;
        u->done_well = false;
        u->artifact_count = 0;
        u->status = RB_OK;
    }
}
