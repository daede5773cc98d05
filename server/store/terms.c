#include "server/store/jobs_internal.h"
#include "server/store/terms.h"

#include <stdlib.h>

static const char *const kind_names[] = {"label", "model", "dataset"};

static void bind_term(struct rb_query *q, const struct rb_term *term)
{
    rb_bind_text(q, kind_names[term->kind]);
    rb_bind_text(q, term->name);
    rb_bind_text(q, term->value);
}

enum rb_status rb_term_find(struct rb_store *s, const struct rb_term *term, int64_t *ret_id,
                            uint64_t *ret_jobs, struct rb_error *err)
{
    struct rb_query q;
    bool row;
    rb_query_start(s, "SELECT id, jobs FROM terms WHERE kind = ? AND name = ? AND value = ?", &q);
    bind_term(&q, term);
    enum rb_status status = rb_query_step(&q, &row, err);
    bool found = status == RB_OK && row;
    int64_t id = found ? rb_column_int(&q, 0) : 0;
    uint64_t jobs = found ? rb_column_uint(&q, 1) : 0;
    status = rb_query_end(&q, status, err);
    if (status == RB_OK) {
        *ret_id = id;
        *ret_jobs = jobs;
    }
    return status;
}

static enum rb_status intern(struct rb_store *s, const struct rb_term *term, int64_t *ret_id,
                             struct rb_error *err)
{
    struct rb_query q;
    uint64_t jobs;
    enum rb_status status = rb_term_find(s, term, ret_id, &jobs, err);
    if (status != RB_OK || *ret_id != 0)
        return status;
    rb_query_start(s, "INSERT INTO terms (kind, name, value) VALUES (?, ?, ?)", &q);
    bind_term(&q, term);
    status = rb_query_run(&q, err);
    if (status == RB_OK)
        *ret_id = rb_store_last_id(s);
    return status;
}

enum rb_status rb_term_add(struct rb_store *s, int64_t job, const struct rb_term *term,
                           struct rb_error *err)
{
    struct rb_query q;
    int64_t id;
    enum rb_status status = intern(s, term, &id, err);
    if (status != RB_OK)
        return status;
    rb_query_start(s,
                   "INSERT OR IGNORE INTO job_terms (term, status, created_ms, job) "
                   "SELECT ?, status, created_ms, seq FROM jobs WHERE seq = ?",
                   &q);
    rb_bind_int(&q, id);
    rb_bind_int(&q, job);
    return rb_query_run(&q, err);
}

enum rb_status rb_terms_clear_labels(struct rb_store *s, int64_t job, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "DELETE FROM job_terms WHERE job = ? AND "
                   "(SELECT kind FROM terms WHERE id = term) = 'label'",
                   &q);
    rb_bind_int(&q, job);
    return rb_query_run(&q, err);
}

enum rb_status rb_terms_add_labels(struct rb_store *s, int64_t job, const struct rb_labels *labels,
                                   struct rb_error *err)
{
    enum rb_status status = RB_OK;
    for (size_t i = 0; status == RB_OK && i < labels->count; i++) {
        const struct rb_label *l = &labels->items[i];
        status = rb_term_add(s, job, &(struct rb_term){RB_TERM_LABEL, l->key, l->value}, err);
    }
    return status;
}

static void read_label(struct rb_query *q, void *row)
{
    *(struct rb_label *)row =
        (struct rb_label){.key = rb_column_copy(q, 0), .value = rb_column_copy(q, 1)};
}

static void deinit_label(void *row)
{
    struct rb_label *label = row;
    free(label->key);
    free(label->value);
}

static const struct rb_row_kind label_kind = {sizeof(struct rb_label), read_label, deinit_label};

enum rb_status rb_terms_get_labels(struct rb_store *s, int64_t job, struct rb_labels *ret,
                                   struct rb_error *err)
{
    struct rb_query q;
    void *rows;
    /* CROSS: from the job to its few terms, never through all labels there are in their order. */
    rb_query_start(s,
                   "SELECT t.name, t.value FROM job_terms j CROSS JOIN terms t ON t.id = j.term "
                   "WHERE j.job = ? AND t.kind = 'label' ORDER BY t.name",
                   &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_list(&q, &label_kind, &rows, &ret->count, err);
    if (status == RB_OK)
        ret->items = rows;
    return status;
}

/* ---- masks ---- */

enum { MASK_BITS = 63 }; /* the sign stays free, so that sums of bits are never negative */

int64_t rb_term_bit(int64_t id)
{
    return (int64_t)1 << id % MASK_BITS;
}

/* The sum of distinct bits is their union. */
enum rb_status rb_terms_mark(struct rb_store *s, int64_t job, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "UPDATE job_terms SET mask = "
                   "(SELECT sum(DISTINCT 1 << term % ?2) FROM job_terms "
                   "WHERE job = ?1) WHERE job = ?1",
                   &q);
    rb_bind_int(&q, job);
    rb_bind_int(&q, MASK_BITS);
    return rb_query_run(&q, err);
}

/* ---- who uses what ---- */

static enum rb_status in_use(struct rb_store *s, const struct rb_term *term, bool *ret,
                             struct rb_error *err)
{
    struct rb_query q;
    bool row;
    int64_t id;
    uint64_t jobs;
    enum rb_status status = rb_term_find(s, term, &id, &jobs, err);
    if (status != RB_OK)
        return status;
    rb_query_start(s,
                   "SELECT 1 FROM job_terms WHERE term = ? AND "
                   "status IN ('queued', 'running', 'canceling') LIMIT 1",
                   &q);
    rb_bind_int(&q, id);
    status = rb_query_step(&q, &row, err);
    status = rb_query_end(&q, status, err);
    if (status == RB_OK)
        *ret = row;
    return status;
}

enum rb_status rb_jobs_use_model(struct rb_store *s, const char *name, bool *ret,
                                 struct rb_error *err)
{
    return in_use(s, &(struct rb_term){RB_TERM_MODEL, name, ""}, ret, err);
}

enum rb_status rb_jobs_use_dataset(struct rb_store *s, const char *name, bool *ret,
                                   struct rb_error *err)
{
    return in_use(s, &(struct rb_term){RB_TERM_DATASET, name, ""}, ret, err);
}
