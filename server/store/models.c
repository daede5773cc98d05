#include "server/store/models.h"

#include "server/store/query.h"
#include "server/store/terms.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static enum rb_status put_row(struct rb_store *s, const struct rb_model_row *row, bool *ret_created,
                              struct rb_error *err)
{
    struct rb_query q;
    const struct rb_model_resource *m = &row->resource;
    rb_query_start(
        s,
        "INSERT INTO models VALUES "
        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 1, ?18, "
        "?19, ?20, ?21, ?22) "
        "ON CONFLICT (name) DO UPDATE SET imported = ?2, path = ?3, status = ?4, "
        "architecture = ?5, hidden_size = ?6, num_layers = ?7, num_heads = ?8, "
        "intermediate_size = ?9, vocab_size = ?10, max_position_embeddings = ?11, "
        "parameters = ?12, dtype = ?13, bytes = ?14, sha256 = ?15, updated_ms = ?17, note = ?18, "
        "family = ?19, tokenizer = ?20, tokenizer_size = ?21, "
        "version = version + 1 RETURNING version",
        &q);
    rb_bind_text(&q, m->name);
    rb_bind_int(&q, row->imported);
    rb_bind_text(&q, row->path);
    rb_bind_text(&q, rb_model_status_names[m->status]);
    rb_bind_text_or_null(&q, m->architecture);
    rb_bind_int(&q, m->hidden_size);
    rb_bind_int(&q, m->num_layers);
    rb_bind_int(&q, m->num_heads);
    rb_bind_int(&q, m->intermediate_size);
    rb_bind_int(&q, m->vocab_size);
    rb_bind_int(&q, m->max_position_embeddings);
    rb_bind_uint(&q, m->parameters);
    rb_bind_text_or_null(&q, m->dtype);
    rb_bind_uint(&q, m->bytes);
    rb_bind_hex_digest(&q, m->sha256);
    rb_bind_int(&q, m->created_ms);
    rb_bind_int(&q, row->updated_ms);
    rb_bind_text_or_null(&q, m->note);
    rb_bind_text_or_null(&q, m->family);
    rb_bind_text_or_null(&q, m->tokenizer_kind);
    rb_bind_int(&q, m->tokenizer_size);
    rb_bind_text(&q, m->submitted_by);
    return rb_registered_put(&q, ret_created, err);
}

static enum rb_status delete_parts(struct rb_store *s, const char *sql, const char *name,
                                   struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, sql, &q);
    rb_bind_text(&q, name);
    return rb_query_run(&q, err);
}

static enum rb_status put_files(struct rb_store *s, const struct rb_model_resource *m,
                                struct rb_error *err)
{
    struct rb_query q;
    enum rb_status status =
        delete_parts(s, "DELETE FROM model_files WHERE model = ?", m->name, err);
    for (size_t i = 0; status == RB_OK && i < m->file_count; i++) {
        rb_query_start(
            s, "INSERT INTO model_files (model, name, bytes, sha256) VALUES (?, ?, ?, ?)", &q);
        rb_bind_text(&q, m->name);
        rb_bind_text(&q, m->files[i].name);
        rb_bind_uint(&q, m->files[i].bytes);
        rb_bind_hex_digest(&q, m->files[i].sha256);
        status = rb_query_run(&q, err);
    }
    return status;
}

static enum rb_status put_problems(struct rb_store *s, const struct rb_model_resource *m,
                                   struct rb_error *err)
{
    struct rb_query q;
    enum rb_status status =
        delete_parts(s, "DELETE FROM model_problems WHERE model = ?", m->name, err);
    for (size_t i = 0; status == RB_OK && i < m->problem_count; i++) {
        rb_query_start(
            s, "INSERT INTO model_problems (model, position, code, detail) VALUES (?, ?, ?, ?)",
            &q);
        rb_bind_text(&q, m->name);
        rb_bind_uint(&q, i);
        rb_bind_text(&q, rb_problem_code(m->problems[i].status));
        rb_bind_text(&q, m->problems[i].detail);
        status = rb_query_run(&q, err);
    }
    return status;
}

enum rb_status rb_model_put(struct rb_store *s, const struct rb_model_row *row, bool *ret_created,
                            struct rb_error *err)
{
    bool created = false;
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = put_row(s, row, &created, err);
    if (status == RB_OK)
        status = put_files(s, &row->resource, err);
    if (status == RB_OK)
        status = put_problems(s, &row->resource, err);
    status = rb_store_end(s, status, err);
    if (status == RB_OK && ret_created != NULL)
        *ret_created = created;
    return status;
}

/* ---- reading ---- */

void rb_model_row_deinit(struct rb_model_row *row)
{
    rb_model_resource_deinit(&row->resource);
    free(row->path);
    *row = (struct rb_model_row){0};
}

#define SELECT_MODELS                                                                              \
    "SELECT name, imported, path, status, architecture, hidden_size, num_layers, num_heads, "      \
    "intermediate_size, vocab_size, max_position_embeddings, parameters, dtype, bytes, sha256, "   \
    "created_ms, updated_ms, version, note, family, tokenizer, tokenizer_size, submitted_by "      \
    "FROM models "

static void read_row(struct rb_query *q, void *row)
{
    struct rb_model_row *ret = row;
    struct rb_model_resource *m = &ret->resource;
    *ret = (struct rb_model_row){.imported = rb_column_int(q, 1) != 0,
                                 .path = rb_column_copy(q, 2),
                                 .updated_ms = rb_column_int(q, 16),
                                 .version = rb_column_uint(q, 17)};
    rb_column_string(q, 0, m->name, sizeof m->name);
    m->status = (enum rb_model_status)rb_column_enum(q, 3, rb_model_status_names);
    rb_column_string(q, 4, m->architecture, sizeof m->architecture);
    m->hidden_size = (uint32_t)rb_column_int(q, 5);
    m->num_layers = (uint32_t)rb_column_int(q, 6);
    m->num_heads = (uint32_t)rb_column_int(q, 7);
    m->intermediate_size = (uint32_t)rb_column_int(q, 8);
    m->vocab_size = (uint32_t)rb_column_int(q, 9);
    m->max_position_embeddings = (uint32_t)rb_column_int(q, 10);
    m->parameters = rb_column_uint(q, 11);
    rb_column_string(q, 12, m->dtype, sizeof m->dtype);
    m->bytes = rb_column_uint(q, 13);
    rb_column_hex_digest(q, 14, m->sha256);
    m->created_ms = rb_column_int(q, 15);
    rb_column_string(q, 18, m->note, sizeof m->note);
    rb_column_string(q, 19, m->family, sizeof m->family);
    rb_column_string(q, 20, m->tokenizer_kind, sizeof m->tokenizer_kind);
    m->tokenizer_size = (uint32_t)rb_column_int(q, 21);
    rb_column_string(q, 22, m->submitted_by, sizeof m->submitted_by);
    rb_model_source(ret->imported, ret->path != NULL ? ret->path : "", m->source);
}

static void deinit_row(void *row)
{
    rb_model_row_deinit(row);
}

static void read_file(struct rb_query *q, void *row)
{
    struct rb_model_file *file = row;
    rb_column_string(q, 0, file->name, sizeof file->name);
    file->bytes = rb_column_uint(q, 1);
    rb_column_hex_digest(q, 2, file->sha256);
}

static void read_problem(struct rb_query *q, void *row)
{
    struct rb_model_problem *problem = row;
    problem->status = rb_problem_status(rb_column_text(q, 0));
    rb_column_string(q, 1, problem->detail, sizeof problem->detail);
}

static const struct rb_row_kind model_kind = {sizeof(struct rb_model_row), read_row, deinit_row};
static const struct rb_row_kind file_kind = {sizeof(struct rb_model_file), read_file, NULL};
static const struct rb_row_kind problem_kind = {sizeof(struct rb_model_problem), read_problem,
                                                NULL};

static enum rb_status read_part(struct rb_store *s, const char *sql, const char *name,
                                const struct rb_row_kind *kind, void **ret, size_t *ret_count,
                                struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, sql, &q);
    rb_bind_text(&q, name);
    return rb_query_list(&q, kind, ret, ret_count, err);
}

static enum rb_status read_parts(struct rb_store *s, struct rb_model_row *row, struct rb_error *err)
{
    struct rb_model_resource *m = &row->resource;
    void *rows;
    enum rb_status status =
        read_part(s, "SELECT name, bytes, sha256 FROM model_files WHERE model = ? ORDER BY name",
                  m->name, &file_kind, &rows, &m->file_count, err);
    if (status != RB_OK)
        return status;
    m->files = rows;
    status =
        read_part(s, "SELECT code, detail FROM model_problems WHERE model = ? ORDER BY position",
                  m->name, &problem_kind, &rows, &m->problem_count, err);
    if (status == RB_OK)
        m->problems = rows;
    return status;
}

static enum rb_status read_rows(struct rb_query *q, void **ret, size_t *ret_count,
                                struct rb_error *err)
{
    struct rb_store *s = q->store;
    void *rows;
    size_t count;
    enum rb_status status = rb_query_list(q, &model_kind, &rows, &count, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; status == RB_OK && i < count; i++)
        status = read_parts(s, (struct rb_model_row *)rows + i, err);
    if (status != RB_OK) {
        rb_rows_free(&model_kind, rows, count);
        return status;
    }
    *ret = rows;
    *ret_count = count;
    return RB_OK;
}

/* ---- what datasets and models do alike ---- */

static struct rb_registered describe(const void *row)
{
    const struct rb_model_row *m = row;
    return (struct rb_registered){m->resource.name, m->resource.submitted_by, m->imported,
                                  m->updated_ms, m->version};
}

const struct rb_registered_kind rb_models_kind = {
    .noun = "model",
    .plural = "models",
    .select_one = SELECT_MODELS "WHERE name = ?",
    .select_page =
        SELECT_MODELS "WHERE name > ?1 AND " RB_REGISTERED_MINE " ORDER BY name LIMIT ?2",
    .remove = "DELETE FROM models WHERE name = ?",
    .used = rb_jobs_use_model,
    .read = read_rows,
    .describe = describe,
    .deinit = deinit_row,
    .row_bytes = sizeof(struct rb_model_row),
};

enum rb_status rb_model_get(struct rb_store *s, const char *name, struct rb_model_row *ret,
                            struct rb_error *err)
{
    return rb_registered_read(s, &rb_models_kind, name, ret, err);
}

enum rb_status rb_models_count(struct rb_store *s, uint64_t *ret, struct rb_error *err)
{
    return rb_query_number(s, "SELECT count(*) FROM models", ret, err);
}
