#include "server/store/caches.h"

#include "server/store/query.h"

#include <stdlib.h>

/* ---- digests ---- */

static int64_t nanoseconds(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

struct rb_file_id rb_file_id_of(const char *path, const struct stat *st)
{
    return (struct rb_file_id){
        .path = path,
        .bytes = (uint64_t)st->st_size,
        .device = st->st_dev,
        .inode = st->st_ino,
        .mtime_ns = nanoseconds(&st->st_mtim),
        .ctime_ns = nanoseconds(&st->st_ctim),
    };
}

/* In the order of the statements below: all 64 bits of the two numbers may be in use. */
static void bind_file(struct rb_query *q, const struct rb_file_id *file)
{
    rb_bind_text(q, file->path);
    rb_bind_uint(q, file->bytes);
    rb_bind_int(q, (int64_t)file->device);
    rb_bind_int(q, (int64_t)file->inode);
    rb_bind_int(q, file->mtime_ns);
    rb_bind_int(q, file->ctime_ns);
}

enum rb_status rb_hash_get(struct rb_store *s, const struct rb_file_id *file, bool *ret_found,
                           unsigned char ret[RB_SHA256_BYTES], struct rb_error *err)
{
    struct rb_query q;
    bool found = false;
    rb_query_start(s,
                   "SELECT sha256 FROM hashes WHERE path = ? AND bytes = ? AND device = ? "
                   "AND inode = ? AND mtime_ns = ? AND ctime_ns = ?",
                   &q);
    bind_file(&q, file);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        found = rb_column_digest(&q, 0, ret);
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret_found = found;
    return status;
}

enum rb_status rb_hash_put(struct rb_store *s, const struct rb_file_id *file,
                           const unsigned char sha256[RB_SHA256_BYTES], int64_t now_ms,
                           struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "INSERT OR REPLACE INTO hashes (path, bytes, device, inode, mtime_ns, "
                   "ctime_ns, sha256, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                   &q);
    bind_file(&q, file);
    rb_bind_digest(&q, sha256);
    rb_bind_int(&q, now_ms);
    return rb_store_run(&q, err);
}

/* ---- moments ---- */

void rb_moments_row_deinit(struct rb_moments_row *row)
{
    free(row->key);
    free(row->file);
    *row = (struct rb_moments_row){0};
}

/* Ends q, whose columns are those of the table, and reads its first row. */
static enum rb_status read_moments(struct rb_query *q, bool *ret_found, struct rb_moments_row *ret,
                                   struct rb_error *err)
{
    struct rb_moments_row row = {0};
    bool found = false, more = false;
    enum rb_status status = rb_query_step(q, &found, err);
    if (status == RB_OK && found) {
        row = (struct rb_moments_row){.key = rb_column_copy(q, 0),
                                      .file = rb_column_copy(q, 1),
                                      .bytes = rb_column_uint(q, 2),
                                      .created_at_ms = rb_column_int(q, 3),
                                      .used_at_ms = rb_column_int(q, 4)};
        status = rb_query_step(q, &more, err); /* an UPDATE is stepped to its end */
    }
    status = rb_query_end(q, status, err);
    if (status != RB_OK) {
        rb_moments_row_deinit(&row);
        return status;
    }
    if (found)
        *ret = row;
    *ret_found = found;
    return RB_OK;
}

static enum rb_status use_moments(struct rb_store *s, const char *key, int64_t now_ms,
                                  bool *ret_found, struct rb_moments_row *ret, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "UPDATE moments SET used_ms = max(used_ms, ?) WHERE key = ? "
                   "RETURNING key, file, bytes, created_ms, used_ms",
                   &q);
    rb_bind_int(&q, now_ms);
    rb_bind_text(&q, key);
    return read_moments(&q, ret_found, ret, err);
}

enum rb_status rb_moments_get(struct rb_store *s, const char *key, int64_t now_ms, bool *ret_found,
                              struct rb_moments_row *ret, struct rb_error *err)
{
    struct rb_moments_row row = {0};
    bool found = false;
    enum rb_status status = rb_store_begin(s, err);
    if (status != RB_OK)
        return status;
    status = rb_store_end(s, use_moments(s, key, now_ms, &found, &row, err), err);
    if (status != RB_OK) {
        rb_moments_row_deinit(&row);
        return status;
    }
    if (found)
        *ret = row;
    *ret_found = found;
    return RB_OK;
}

enum rb_status rb_moments_put(struct rb_store *s, const struct rb_moments_row *row,
                              struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?)", &q);
    rb_bind_text(&q, row->key);
    rb_bind_text(&q, row->file);
    rb_bind_uint(&q, row->bytes);
    rb_bind_int(&q, row->created_at_ms);
    rb_bind_int(&q, row->used_at_ms);
    return rb_store_run(&q, err);
}

enum rb_status rb_moments_remove(struct rb_store *s, const char *key, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s, "DELETE FROM moments WHERE key = ?", &q);
    rb_bind_text(&q, key);
    return rb_store_run(&q, err);
}

enum rb_status rb_moments_total(struct rb_store *s, uint64_t *ret_bytes, struct rb_error *err)
{
    return rb_query_number(s, "SELECT coalesce(sum(bytes), 0) FROM moments", ret_bytes, err);
}

enum rb_status rb_moments_oldest(struct rb_store *s, bool *ret_found, struct rb_moments_row *ret,
                                 struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "SELECT key, file, bytes, created_ms, used_ms FROM moments ORDER BY used_ms "
                   "LIMIT 1",
                   &q);
    return read_moments(&q, ret_found, ret, err);
}

/* ---- rates ---- */

static void bind_rate_key(struct rb_query *q, const struct rb_rate_key *key)
{
    rb_bind_text(q, key->cpu);
    rb_bind_text(q, key->kernel);
    rb_bind_text(q, key->what);
}

enum rb_status rb_rate_get(struct rb_store *s, const struct rb_rate_key *key, bool *ret_found,
                           struct rb_rate *ret, struct rb_error *err)
{
    struct rb_query q;
    struct rb_rate rate = {0};
    bool found = false;
    rb_query_start(s, "SELECT rate, seconds FROM rates WHERE cpu = ? AND kernel = ? AND what = ?",
                   &q);
    bind_rate_key(&q, key);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        rate = (struct rb_rate){rb_column_double(&q, 0), rb_column_double(&q, 1)};
    status = rb_query_end(&q, status, err);
    if (status != RB_OK)
        return status;
    if (found)
        *ret = rate;
    *ret_found = found;
    return RB_OK;
}

enum rb_status rb_rate_put(struct rb_store *s, const struct rb_rate_key *key,
                           const struct rb_rate *rate, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(
        s, "INSERT OR REPLACE INTO rates (cpu, kernel, what, rate, seconds) VALUES (?, ?, ?, ?, ?)",
        &q);
    bind_rate_key(&q, key);
    rb_bind_double(&q, rate->rate);
    rb_bind_double(&q, rate->seconds);
    return rb_query_run(&q, err);
}
