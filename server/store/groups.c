#include "server/store/groups.h"

#include "server/store/jobs_read.h"
#include "server/store/query.h"

#include <stdlib.h>

void rb_group_row_deinit(struct rb_group_row *row)
{
    free(row->name);
    free(row->labels);
    free(row->spec);
    free(row->grid);
    *row = (struct rb_group_row){0};
}

enum rb_status rb_group_add(struct rb_store *s, const struct rb_group_row *row,
                            struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT INTO groups (id, kind, name, labels, spec, grid, jobs, created_ms, "
                   "submitted_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   &q);
    rb_bind_texts(
        &q, (const char *[]){row->id, row->kind, row->name, row->labels, row->spec, row->grid}, 6);
    rb_bind_uint(&q, row->jobs);
    rb_bind_int(&q, row->created_ms);
    rb_bind_text(&q, row->submitted_by);
    return rb_query_run(&q, err);
}

/* ---- reading ---- */

#define SELECT_GROUPS                                                                              \
    "SELECT seq, id, kind, name, labels, spec, grid, jobs, created_ms, submitted_by FROM groups "

static void read_row(struct rb_query *q, void *row)
{
    struct rb_group_row *g = row;
    *g = (struct rb_group_row){.seq = rb_column_int(q, 0),
                               .name = rb_column_copy(q, 3),
                               .labels = rb_column_copy(q, 4),
                               .spec = rb_column_copy(q, 5),
                               .grid = rb_column_copy(q, 6),
                               .jobs = (size_t)rb_column_uint(q, 7),
                               .created_ms = rb_column_int(q, 8)};
    rb_column_string(q, 1, g->id, sizeof g->id);
    rb_column_string(q, 2, g->kind, sizeof g->kind);
    rb_column_string(q, 9, g->submitted_by, sizeof g->submitted_by);
}

static void deinit_row(void *row)
{
    rb_group_row_deinit(row);
}

static const struct rb_row_kind group_kind = {sizeof(struct rb_group_row), read_row, deinit_row};

enum rb_status rb_group_get(struct rb_store *s, const char *id, struct rb_group_row *ret,
                            struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    size_t count;
    rb_query_start(s, SELECT_GROUPS "WHERE id = ?", &q);
    rb_bind_text(&q, id);
    enum rb_status status = rb_query_list(&q, &group_kind, &rows, &count, err);
    if (status != RB_OK)
        return status;
    if (count == 1)
        *ret = *(struct rb_group_row *)rows;
    else
        status = rb_error_set(err, RB_ENOTFOUND, "there is no sweep %s", id);
    free(rows);
    return status;
}

enum rb_status rb_groups_list(struct rb_store *s, int64_t before, uint32_t limit,
                              struct rb_group_row **ret, size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s, SELECT_GROUPS "WHERE seq < ? ORDER BY seq DESC LIMIT ?", &q);
    rb_bind_int(&q, before != 0 ? before : INT64_MAX);
    rb_bind_uint(&q, limit);
    enum rb_status status = rb_query_list(&q, &group_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

void rb_groups_free(struct rb_group_row *rows, size_t count)
{
    rb_rows_free(&group_kind, rows, count);
}

/* ---- its jobs ---- */

static void read_seq(struct rb_query *q, void *row)
{
    *(int64_t *)row = rb_column_int(q, 0);
}

static const struct rb_row_kind seq_kind = {sizeof(int64_t), read_seq, NULL};

static enum rb_status read_seqs(struct rb_store *s, const char *sql, int64_t group, int64_t **ret,
                                size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s, sql, &q);
    rb_bind_int(&q, group);
    enum rb_status status = rb_query_list(&q, &seq_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

enum rb_status rb_group_members(struct rb_store *s, int64_t group, int64_t **ret, size_t *ret_count,
                                struct rb_error *err)
{
    return read_seqs(s, "SELECT seq FROM jobs WHERE group_seq = ? ORDER BY seq", group, ret,
                     ret_count, err);
}

void rb_group_jobs_free(struct rb_job_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rb_job_row_deinit(&rows[i]);
    free(rows);
}

enum rb_status rb_group_jobs(struct rb_store *s, int64_t group, struct rb_job_row **ret,
                             size_t *ret_count, struct rb_error *err)
{
    int64_t *seqs;
    size_t count, read = 0;
    enum rb_status status = read_seqs(s,
                                      "SELECT max(seq) FROM jobs WHERE group_seq = ? "
                                      "GROUP BY position ORDER BY position",
                                      group, &seqs, &count, err);
    if (status != RB_OK)
        return status;
    struct rb_job_row *rows = calloc(count + 1, sizeof *rows);
    if (rows == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory for %zu jobs", count);
    for (; status == RB_OK && read < count; read += status == RB_OK)
        status = rb_job_get_seq(s, seqs[read], &rows[read], err);
    free(seqs);
    if (status != RB_OK) {
        rb_group_jobs_free(rows, rows != NULL ? read : 0);
        return status;
    }
    *ret = rows;
    *ret_count = count;
    return RB_OK;
}

bool rb_group_has(struct rb_store *s, int64_t group, const char *job)
{
    struct rb_query q;
    bool found = false;
    struct rb_error ignored;
    rb_query_start(s, "SELECT 1 FROM jobs WHERE id = ? AND group_seq = ?", &q);
    rb_bind_text(&q, job);
    rb_bind_int(&q, group);
    enum rb_status status = rb_query_step(&q, &found, &ignored);
    return rb_query_end(&q, status, &ignored) == RB_OK && found;
}

enum rb_status rb_group_delete(struct rb_store *s, int64_t group, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, "DELETE FROM groups WHERE seq = ?", &q);
    rb_bind_int(&q, group);
    return rb_query_run(&q, err);
}
