#include "api/barrier_kept.h"
#include "server/store/events_internal.h"
#include "server/store/jobs_internal.h"
#include "server/store/results.h"

#include <stdlib.h>
#include <string.h>

/* Turns "no row was inserted" into words. */
static enum rb_status check_added(struct rb_store *s, const char *what, struct rb_error *err)
{
    if (rb_store_changes(s) == 1)
        return RB_OK;
    return rb_error_set(err, RB_ECONFLICT, "%s has been recorded before", what);
}

/* ---- stages ---- */

static enum rb_status insert_stage(struct rb_store *s, int64_t job, const struct rb_stage_row *row,
                                   struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s,
        "INSERT INTO stages (job, position, stage, product, seconds, finished_ms) "
        "VALUES (?1, (SELECT coalesce(max(position), 0) + 1 FROM stages WHERE job = ?1), "
        "?2, ?3, ?4, ?5) ON CONFLICT (job, stage) DO NOTHING",
        &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, row->stage);
    rb_bind_text(&q, row->product);
    rb_bind_double(&q, row->seconds);
    rb_bind_int(&q, row->finished_ms);
    enum rb_status status = rb_query_run(&q, err);
    return status == RB_OK ? check_added(s, "the stage", err) : status;
}

enum rb_status rb_stage_add(struct rb_store *s, int64_t job, const struct rb_stage_row *row,
                            struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = insert_stage(s, job, row, err);
    if (status == RB_OK)
        status = rb_job_progressed(s, job, err);
    return rb_store_end(s, status, err);
}

static void read_stage(struct rb_query *q, void *row)
{
    *(struct rb_stage_row *)row = (struct rb_stage_row){.stage = rb_column_copy(q, 0),
                                                        .product = rb_column_copy(q, 1),
                                                        .seconds = rb_column_double(q, 2),
                                                        .finished_ms = rb_column_int(q, 3)};
}

static void deinit_stage(void *row)
{
    struct rb_stage_row *stage = row;
    free(stage->stage);
    free(stage->product);
}

static const struct rb_row_kind stage_kind = {sizeof(struct rb_stage_row), read_stage,
                                              deinit_stage};

void rb_stages_free(struct rb_stage_row *rows, size_t count)
{
    rb_rows_free(&stage_kind, rows, count);
}

enum rb_status rb_stages_list(struct rb_store *s, int64_t job, struct rb_stage_row **ret,
                              size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s,
                   "SELECT stage, product, seconds, finished_ms FROM "
                   "stages WHERE job = ? ORDER BY position",
                   &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_list(&q, &stage_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

/* ---- points ---- */

#define POINT_COLUMNS                                                                              \
    "curve, position, lambda, loss, standard_error, pseudo_perplexity, perplexity, accuracy, "     \
    "f1, matthews, pearson, spearman"
_Static_assert(RB_METRIC_COUNT == 7, "a column for each metric, in enum order");

static enum rb_status insert_point(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                                   struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT INTO points (job, " POINT_COLUMNS ") "
                   "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                   &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_curve_names[row->curve]);
    rb_bind_int(&q, row->index);
    rb_bind_double(&q, row->point.lambda);
    rb_bind_double(&q, row->point.loss);
    rb_bind_double(&q, row->point.standard_error);
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        rb_bind_double(&q, row->point.metrics[m]);
    enum rb_status status = rb_query_run(&q, err);
    return status == RB_OK ? check_added(s, "this lambda of the curve", err) : status;
}

static enum rb_status insert_blocks(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                                    struct rb_error *err)
{
    struct rb_query q;
    if (row->block_count == 0)
        return RB_OK;
    rb_query_start(s, "INSERT INTO point_blocks (job, curve, position, blocks) VALUES (?, ?, ?, ?)",
                   &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_curve_names[row->curve]);
    rb_bind_int(&q, row->index);
    rb_bind_blob(&q, row->blocks, row->block_count * sizeof *row->blocks);
    return rb_query_run(&q, err);
}

static enum rb_status add_event(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                                int64_t at_ms, struct rb_event_row *ret, struct rb_error *err)
{
    struct rb_query q;
    bool found;
    char id[RB_JOB_ID_SIZE] = "";
    rb_query_start(s, "SELECT id FROM jobs WHERE seq = ?", &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        rb_column_string(&q, 0, id, sizeof id);
    status = rb_query_end(&q, status, err);
    if (status != RB_OK)
        return status;
    struct rb_json data;
    rb_json_init(&data);
    rb_event_point_data(&data, row->curve, row->task, &row->point);
    return rb_event_add(s, job, id, RB_EVENT_POINT, &data, at_ms, ret, err);
}

enum rb_status rb_point_add(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                            int64_t at_ms, struct rb_event_row *ret_event, struct rb_error *err)
{
    struct rb_event_row event = {0};
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = insert_point(s, job, row, err);
    if (status == RB_OK)
        status = insert_blocks(s, job, row, err);
    if (status == RB_OK)
        status = rb_job_progressed(s, job, err);
    if (status == RB_OK)
        status = add_event(s, job, row, at_ms, &event, err);
    return rb_store_end_with_event(s, status, &event, ret_event, err);
}

static void read_point(struct rb_query *q, void *row)
{
    struct rb_point_row *ret = row;
    ret->curve = (enum rb_curve_name)rb_column_enum(q, 0, rb_curve_names);
    ret->index = (uint32_t)rb_column_int(q, 1);
    ret->point.lambda = rb_column_double(q, 2);
    ret->point.loss = rb_column_double(q, 3);
    ret->point.standard_error = rb_column_double(q, 4);
    for (int m = 0; m < RB_METRIC_COUNT; m++)
        ret->point.metrics[m] = rb_column_double(q, 5 + m);
}

static const struct rb_row_kind point_kind = {sizeof(struct rb_point_row), read_point, NULL};

enum rb_status rb_points_list(struct rb_store *s, int64_t job, struct rb_point_row **ret,
                              size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s, "SELECT " POINT_COLUMNS " FROM points WHERE job = ? ORDER BY curve, position",
                   &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_list(&q, &point_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

enum rb_status rb_curves_read(struct rb_store *s, int64_t job, struct rb_curves *ret,
                              struct rb_error *err)
{
    struct rb_point_row *rows;
    size_t count;
    enum rb_status status = rb_points_list(s, job, &rows, &count, err);
    if (status != RB_OK)
        return status;
    struct rb_curves c = {.points = calloc(count + 1, sizeof *c.points)};
    for (size_t i = 0; c.points != NULL && i < count; i++) {
        c.points[i] = rows[i].point;
        c.counts[rows[i].curve]++;
    }
    free(rows);
    if (c.points == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for %zu points", count);
    *ret = c;
    return RB_OK;
}

enum rb_status rb_blocks_read(struct rb_store *s, int64_t job, enum rb_curve_name curve,
                              uint32_t index, struct rb_block **ret, size_t *ret_count,
                              struct rb_error *err)
{
    struct rb_query q;
    bool found = false;
    struct rb_block *blocks = NULL;
    size_t bytes = 0;
    rb_query_start(
        s, "SELECT blocks FROM point_blocks WHERE job = ? AND curve = ? AND position = ?", &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_curve_names[curve]);
    rb_bind_int(&q, index);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        blocks = rb_column_blob_copy(&q, 0, &bytes);
    status = rb_query_end(&q, status, err);
    if (status != RB_OK) {
        free(blocks);
        return status;
    }
    *ret = blocks;
    *ret_count = bytes / sizeof *blocks;
    return RB_OK;
}

static enum rb_status append_blocks(struct rb_store *s, int64_t job, enum rb_curve_name curve,
                                    uint32_t index, const struct rb_block *blocks, size_t count,
                                    struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT INTO point_blocks (job, curve, position, blocks) VALUES (?, ?, ?, ?) "
                   "ON CONFLICT DO UPDATE SET blocks = CAST(blocks || excluded.blocks AS BLOB)",
                   &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_curve_names[curve]);
    rb_bind_int(&q, index);
    rb_bind_blob(&q, blocks, count * sizeof *blocks);
    return rb_query_run(&q, err);
}

enum rb_status rb_blocks_append(struct rb_store *s, int64_t job, enum rb_curve_name curve,
                                uint32_t index, const struct rb_block *blocks, size_t count,
                                struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = append_blocks(s, job, curve, index, blocks, count, err);
    if (status == RB_OK)
        status = rb_job_progressed(s, job, err);
    return rb_store_end(s, status, err);
}

struct blocks_of {
    struct rb_store *store;
    int64_t job;
};

static enum rb_status read_blocks(void *data, enum rb_curve_name curve, size_t index,
                                  struct rb_block **ret, size_t *ret_count, struct rb_error *err)
{
    const struct blocks_of *of = data;
    return rb_blocks_read(of->store, of->job, curve, (uint32_t)index, ret, ret_count, err);
}

/* What a stage of that name left: new, free(); NULL where it is not finished. */
static enum rb_status read_product(struct rb_store *s, int64_t job, enum rb_phase phase, char **ret,
                                   struct rb_error *err)
{
    struct rb_query q;
    bool found = false;
    char *product = NULL;
    rb_query_start(s, "SELECT product FROM stages WHERE job = ? AND stage = ?", &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, rb_phase_names[phase]);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        product = rb_column_copy(&q, 0);
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret = product;
    else
        free(product);
    return status;
}

enum rb_status rb_barrier_errors_read(struct rb_store *s, int64_t job,
                                      const struct rb_barrier_view *v,
                                      struct rb_barrier_errors *ret, struct rb_error *err)
{
    struct blocks_of of = {s, job};
    bool known = false;
    char *product = NULL;
    enum rb_status status = read_product(s, job, RB_PHASE_WRITING, &product, err);
    if (status == RB_OK && product != NULL)
        status = rb_barrier_kept_decode(product, &known, ret, err);
    free(product);
    if (status != RB_OK || known)
        return status;
    return rb_barrier_errors_make(v, read_blocks, &of, ret, err);
}

enum rb_status rb_folded_control_read(struct rb_store *s, int64_t job,
                                      struct rb_folded_control *ret, struct rb_error *err)
{
    struct rb_folded_control found = rb_folded_control_none();
    char *product = NULL;
    enum rb_status status = read_product(s, job, RB_PHASE_EVALUATING, &product, err);
    if (status == RB_OK && product != NULL)
        status = rb_folded_control_decode(product, &found, err);
    free(product);
    if (status == RB_OK)
        *ret = found;
    return status;
}

/* ---- for retries ---- */

static enum rb_status copy(struct rb_store *s, const char *sql, int64_t from, int64_t to,
                           struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, sql, &q);
    rb_bind_int(&q, from);
    rb_bind_int(&q, to);
    return rb_query_run(&q, err);
}

enum rb_status rb_results_copy(struct rb_store *s, int64_t from, int64_t to, struct rb_error *err)
{
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status =
        copy(s,
             "INSERT INTO stages (job, position, stage, product, seconds, finished_ms) "
             "SELECT ?2, position + (SELECT coalesce(max(position), 0) FROM stages WHERE job = "
             "?2), stage, product, seconds, finished_ms FROM stages "
             "WHERE job = ?1 ORDER BY position ON CONFLICT DO NOTHING",
             from, to, err);
    if (status == RB_OK)
        status = copy(s,
                      "INSERT INTO points (job, " POINT_COLUMNS ") SELECT ?2, " POINT_COLUMNS
                      " FROM points WHERE job = ?1 ON CONFLICT DO NOTHING",
                      from, to, err);
    if (status == RB_OK)
        status = copy(s,
                      "INSERT INTO point_blocks (job, curve, position, blocks) SELECT ?2, curve, "
                      "position, blocks FROM point_blocks WHERE job = ?1 ON CONFLICT DO NOTHING",
                      from, to, err);
    return rb_store_end(s, status, err);
}
