#include "server/cli/node_products.h"
#include "api/artifact.h"
#include "server/base/blas_kernel.h"
#include "server/base/fsutil.h"
#include "server/store/results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t place_of(uint32_t curve, uint32_t index)
{
    return (size_t)curve * RB_POINTS_MAX + index;
}

enum rb_status rb_node_products_init(struct rb_node_products *p, unsigned threads,
                                     struct rb_error *err)
{
    const struct rb_kernel_info *kernel = rb_kernel_info();
    p->seal = (struct rb_seal){
        .attempt = p->bundle->attempt, .task = p->task, .threads = (uint32_t)threads};
    (void)snprintf(p->seal.cpu, sizeof p->seal.cpu, "%s", kernel->cpu);
    (void)snprintf(p->seal.blas_kernel, sizeof p->seal.blas_kernel, "%s", kernel->kernel);
    const char *node = getenv("SLURMD_NODENAME");
    if (node != NULL)
        (void)snprintf(p->seal.node, sizeof p->seal.node, "%s", node);
    else if (gethostname(p->seal.node, sizeof p->seal.node - 1) != 0)
        p->seal.node[0] = '\0';
    for (size_t i = 0; i < p->bundle->point_count; i++)
        p->points_asked += p->bundle->points[i].task == p->task;
    p->given = calloc((size_t)RB_CURVE_COUNT * RB_POINTS_MAX, sizeof *p->given);
    return p->given != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory for a unit's points");
}

void rb_node_products_deinit(struct rb_node_products *p)
{
    free(p->given);
    p->given = NULL;
}

static enum rb_status put_json(struct rb_node_products *p, const char *file, struct rb_json *w,
                               struct rb_error *err)
{
    char *text = NULL;
    size_t bytes;
    enum rb_status status = rb_json_finish(w, &text, &bytes, err);
    if (status == RB_OK)
        status = rb_bundle_put(p->bundle_fd, file, text, bytes, &p->seal, err);
    free(text);
    return status;
}

/* ---- points ---- */

static enum rb_status give_point(struct rb_node_products *p, const struct rb_point_row *row,
                                 struct rb_error *err)
{
    struct rb_product_point point = {
        .curve = (uint32_t)row->curve, .index = row->index, .point = row->point};
    struct rb_json w;
    char file[RB_PATH_SIZE];
    enum rb_status status = rb_blocks_read(p->store, p->seq, row->curve, row->index, &point.blocks,
                                           &point.block_count, err);
    if (status != RB_OK)
        return status;
    rb_json_init(&w);
    rb_product_point_encode(&w, NULL, &point);
    free(point.blocks);
    return put_json(p, rb_bundle_point_file(point.curve, point.index, file), &w, err);
}

enum rb_status rb_node_products_points(struct rb_node_products *p, struct rb_error *err)
{
    struct rb_point_row *rows = NULL;
    size_t count = 0;
    if (p->bundle->unit != RB_UNIT_POINTS)
        return RB_OK;
    enum rb_status status = rb_points_list(p->store, p->seq, &rows, &count, err);
    for (size_t i = 0; i < count && status == RB_OK; i++) {
        size_t place = place_of((uint32_t)rows[i].curve, rows[i].index);
        if (p->given[place] ||
            !rb_bundle_wants_point(p->bundle, p->task, (uint32_t)rows[i].curve, rows[i].index))
            continue;
        status = give_point(p, &rows[i], err);
        p->given[place] = status == RB_OK;
        p->points_given += status == RB_OK;
    }
    free(rows);
    return status;
}

/* ---- files ---- */

/* From the engine's folder to its place, as file of the folder `products`. */
static enum rb_status give_file(struct rb_node_products *p, const char *name, struct rb_error *err)
{
    char from[RB_PATH_SIZE], to[RB_PATH_SIZE];
    enum rb_status status = rb_mkdirs_beneath(p->bundle_fd, RB_BUNDLE_PRODUCTS, err);
    if (status != RB_OK)
        return status;
    (void)rb_layout_job(p->bundle->job, name, from);
    (void)rb_bundle_product_file(name, to);
    if (renameat(p->data_fd, from, p->bundle_fd, to) != 0)
        return rb_error_errno(err, errno, name);
    status = rb_sync_beneath(p->bundle_fd, to, err);
    return status == RB_OK ? rb_bundle_seal(p->bundle_fd, to, &p->seal, err) : status;
}

static enum rb_status give_merged(struct rb_node_products *p, struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < p->bundle->merged.count && status == RB_OK; i++) {
        char name[RB_ARTIFACT_NAME_SIZE];
        rb_artifact_merged_name(p->bundle->merged.values[i], name);
        status = give_file(p, name, err);
    }
    return status;
}

enum rb_status rb_node_products_files(struct rb_node_products *p, struct rb_error *err)
{
    /* Before learning there are no permutations yet: they are made with the certificate. */
    static const char *const files[] = {RB_FILE_LEARNING, RB_FILE_PERMUTATIONS, RB_FILE_ALIGNMENT};
    enum rb_status status = RB_OK;
    if (p->bundle->unit == RB_UNIT_POINTS)
        return RB_OK;
    if (p->bundle->unit == RB_UNIT_WRITE)
        return give_merged(p, err);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == RB_OK; i++) {
        char below[RB_PATH_SIZE];
        if (faccessat(p->data_fd, rb_layout_job(p->bundle->job, files[i], below), F_OK, 0) == 0)
            status = give_file(p, files[i], err);
    }
    return status;
}

enum rb_status rb_node_products_partial(struct rb_node_products *p, struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    if (p->bundle->unit != RB_UNIT_LEARN ||
        faccessat(p->data_fd, rb_layout_job(p->bundle->job, RB_FILE_LEARNING_STATE, below), F_OK,
                  0) != 0)
        return RB_OK;
    return give_file(p, RB_FILE_LEARNING_STATE, err);
}

/* ---- words ---- */

enum rb_status rb_node_products_outcome(struct rb_node_products *p,
                                        const struct rb_outcome *outcome, struct rb_error *err)
{
    struct rb_json w;
    char file[RB_PATH_SIZE];
    rb_json_init(&w);
    rb_outcome_encode(&w, NULL, outcome);
    return put_json(p, rb_bundle_outcome_file(p->task, file), &w, err);
}

enum rb_status rb_node_products_progress(struct rb_node_products *p,
                                         const struct rb_unit_progress *progress,
                                         struct rb_error *err)
{
    struct rb_json w;
    char file[RB_PATH_SIZE], *text = NULL;
    size_t bytes;
    rb_json_init(&w);
    rb_unit_progress_encode(&w, NULL, progress);
    enum rb_status status = rb_json_finish(&w, &text, &bytes, err);
    if (status == RB_OK)
        status =
            rb_file_put(p->bundle_fd, rb_bundle_progress_file(p->task, file), text, bytes, err);
    free(text);
    return status;
}
