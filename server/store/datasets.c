#include "server/store/datasets.h"

#include "server/store/query.h"
#include "server/store/terms.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static enum rb_status put_row(struct rb_store *s, const struct rb_dataset_row *row,
                              bool *ret_created, struct rb_error *err)
{
    struct rb_query q;
    const struct rb_dataset_resource *d = &row->resource;
    rb_query_start(
        s,
        "INSERT INTO datasets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1, ?13) "
        "ON CONFLICT (name) DO UPDATE SET imported = ?2, path = ?3, format = ?4, text_field = ?5, "
        "text_pair_field = ?6, label_field = ?7, lines = ?8, bytes = ?9, sha256 = ?10, "
        "updated_ms = ?12, version = version + 1 RETURNING version",
        &q);
    rb_bind_text(&q, d->name);
    rb_bind_int(&q, row->imported);
    rb_bind_text(&q, row->path);
    rb_bind_text(&q, rb_dataset_format_names[d->format]);
    rb_bind_text(&q, d->fields.text);
    rb_bind_text(&q, d->fields.text_pair);
    rb_bind_text(&q, d->fields.label);
    rb_bind_uint(&q, d->rows);
    rb_bind_uint(&q, d->bytes);
    rb_bind_hex_digest(&q, d->sha256);
    rb_bind_int(&q, d->created_ms);
    rb_bind_int(&q, row->updated_ms);
    rb_bind_text(&q, d->submitted_by);
    return rb_registered_put(&q, ret_created, err);
}

enum rb_status rb_dataset_put(struct rb_store *s, const struct rb_dataset_row *row,
                              bool *ret_created, struct rb_error *err)
{
    bool created = false;
    enum rb_status status = rb_store_begin(s, err);
    if (status == RB_OK)
        status = rb_store_end(s, put_row(s, row, &created, err), err);
    if (status == RB_OK && ret_created != NULL)
        *ret_created = created;
    return status;
}

/* ---- reading ---- */

void rb_dataset_row_deinit(struct rb_dataset_row *row)
{
    rb_dataset_resource_deinit(&row->resource);
    free(row->path);
    *row = (struct rb_dataset_row){0};
}

#define SELECT_DATASETS                                                                            \
    "SELECT name, imported, path, format, text_field, text_pair_field, label_field, lines, "       \
    "bytes, sha256, created_ms, updated_ms, version, submitted_by FROM datasets "

static void read_row(struct rb_query *q, void *row)
{
    struct rb_dataset_row *ret = row;
    struct rb_dataset_resource *d = &ret->resource;
    *ret = (struct rb_dataset_row){.imported = rb_column_int(q, 1) != 0,
                                   .path = rb_column_copy(q, 2),
                                   .updated_ms = rb_column_int(q, 11),
                                   .version = rb_column_uint(q, 12)};
    rb_column_string(q, 0, d->name, sizeof d->name);
    d->format = (enum rb_format)rb_column_enum(q, 3, rb_dataset_format_names);
    d->fields.text = rb_column_copy(q, 4);
    d->fields.text_pair = rb_column_copy(q, 5);
    d->fields.label = rb_column_copy(q, 6);
    d->rows = rb_column_uint(q, 7);
    d->bytes = rb_column_uint(q, 8);
    rb_column_hex_digest(q, 9, d->sha256);
    d->created_ms = rb_column_int(q, 10);
    rb_column_string(q, 13, d->submitted_by, sizeof d->submitted_by);
}

static void deinit_row(void *row)
{
    rb_dataset_row_deinit(row);
}

static const struct rb_row_kind dataset_kind = {sizeof(struct rb_dataset_row), read_row,
                                                deinit_row};

static enum rb_status read_rows(struct rb_query *q, void **ret, size_t *ret_count,
                                struct rb_error *err)
{
    return rb_query_list(q, &dataset_kind, ret, ret_count, err);
}

/* ---- what datasets and models do alike ---- */

static struct rb_registered describe(const void *row)
{
    const struct rb_dataset_row *m = row;
    return (struct rb_registered){m->resource.name, m->resource.submitted_by, m->imported,
                                  m->updated_ms, m->version};
}

const struct rb_registered_kind rb_datasets_kind = {
    .noun = "dataset",
    .plural = "datasets",
    .select_one = SELECT_DATASETS "WHERE name = ?",
    .select_page =
        SELECT_DATASETS "WHERE name > ?1 AND " RB_REGISTERED_MINE " ORDER BY name LIMIT ?2",
    .remove = "DELETE FROM datasets WHERE name = ?",
    .used = rb_jobs_use_dataset,
    .read = read_rows,
    .describe = describe,
    .deinit = deinit_row,
    .row_bytes = sizeof(struct rb_dataset_row),
};

enum rb_status rb_dataset_get(struct rb_store *s, const char *name, struct rb_dataset_row *ret,
                              struct rb_error *err)
{
    return rb_registered_read(s, &rb_datasets_kind, name, ret, err);
}

enum rb_status rb_datasets_count(struct rb_store *s, uint64_t *ret, struct rb_error *err)
{
    return rb_query_number(s, "SELECT count(*) FROM datasets", ret, err);
}
