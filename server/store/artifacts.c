#include "server/store/results.h"

#include "server/store/query.h"

enum rb_status rb_artifact_put(struct rb_store *s, int64_t job, const struct rb_artifact *artifact,
                               struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s, "INSERT OR REPLACE INTO artifacts (job, name, bytes, sha256) VALUES (?, ?, ?, ?)", &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, artifact->name);
    rb_bind_uint(&q, artifact->bytes);
    rb_bind_hex_digest(&q, artifact->sha256);
    return rb_store_run(&q, err);
}

static void read_row(struct rb_query *q, void *row)
{
    struct rb_artifact *ret = row;
    rb_column_string(q, 0, ret->name, sizeof ret->name);
    ret->bytes = rb_column_uint(q, 1);
    rb_column_hex_digest(q, 2, ret->sha256);
}

enum rb_status rb_artifact_get(struct rb_store *s, int64_t job, const char *name,
                               struct rb_artifact *ret, struct rb_error *err)
{
    struct rb_query q;
    bool found;
    struct rb_artifact artifact;
    rb_query_start(s, "SELECT name, bytes, sha256 FROM artifacts WHERE job = ? AND name = ?", &q);
    rb_bind_int(&q, job);
    rb_bind_text(&q, name);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && !found)
        status = rb_error_set(err, RB_ENOTFOUND, "the job has no artifact \"%s\"", name);
    if (status == RB_OK)
        read_row(&q, &artifact);
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret = artifact;
    return status;
}

static const struct rb_row_kind artifact_kind = {sizeof(struct rb_artifact), read_row, NULL};

enum rb_status rb_artifacts_list(struct rb_store *s, int64_t job, struct rb_artifact **ret,
                                 size_t *ret_count, struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    rb_query_start(s, "SELECT name, bytes, sha256 FROM artifacts WHERE job = ? ORDER BY name", &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_list(&q, &artifact_kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}
