/* DESIGN. A page is read from one index in the order asked for. The jobs of each status are one run
 * of that index, in order, so the page is a merge of up to six runs, which SQLite does step by step
 * (EXPLAIN QUERY PLAN: MERGE (UNION ALL)); with a label or model among the filters, the runs are
 * those of job_terms. A run that begins after a cursor is two: the rest of the cursor's key, and
 * all keys beyond it; that way both are ranges of the index.
 *
 * What the index cannot decide (a second term, times when the order is another) is computed for
 * each candidate, and after REJECTED_MAX that do not fit the page ends, short or empty, with a
 * cursor. The rarest term leads. Looking for another costs a page of the database, the one that the
 * job's labels are read from afterwards; in order of creation the mask beside the leading term
 * decides first: it knows most of those that do not fit.
 */
#include "server/store/jobs_internal.h"
#include "server/store/jobs_list.h"
#include "server/store/jobs_read.h"
#include "server/store/terms.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { REJECTED_MAX = 250, TERMS_MAX = RB_JOB_FILTER_LABELS + 1 };

const char *const rb_job_sort_names[] = {
    "-created_at", "created_at", "-updated_at", "updated_at", "-priority", "priority", NULL,
};

static const struct {
    const char *column;
    bool descending;
    bool by_created;
} sorts[RB_JOB_SORT_COUNT] = {
    [RB_JOB_SORT_CREATED_DESC] = {"created_ms", true, true},
    [RB_JOB_SORT_CREATED] = {"created_ms", false, true},
    [RB_JOB_SORT_UPDATED_DESC] = {"updated_ms", true, false},
    [RB_JOB_SORT_UPDATED] = {"updated_ms", false, false},
    [RB_JOB_SORT_PRIORITY_DESC] = {"rank", false, false}, /* lowest rank first: jobs.h */
    [RB_JOB_SORT_PRIORITY] = {"rank", true, false},
};

struct list {
    struct rb_store *store;
    const struct rb_job_filter *filter;
    int64_t terms[TERMS_MAX]; /* ids of labels and model */
    size_t term_count;
    bool by_term;  /* terms[0] leads: the runs are of job_terms */
    int64_t group; /* 0: any; else it leads: the runs are of its own index, a few hundred jobs */
    bool by_submitter; /* they lead, as far as no group does */
    bool times_to_check;
    char sql[24576]; /* 12 runs, each with 9 terms */
    size_t used;
};

/* ---- the statement ----
 * Parameters: ?1 ?2 bounds of the key, exclusive; ?3 ?4 the cursor; ?5 ?6 times; ?7 the mask of the
 * terms that are checked; ?8 the group; ?9 the submitter; ?10… terms. */
enum { MASK_PARAMETER = 7, GROUP_PARAMETER, SUBMITTER_PARAMETER, TERM_PARAMETER };

__attribute__((format(printf, 2, 3))) static void append(struct list *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->sql + l->used, sizeof l->sql - l->used, format, args);
    va_end(args);
    assert(n >= 0 && (size_t)n < sizeof l->sql - l->used);
    l->used += (size_t)n;
}

/* The third column: does the candidate fit what the index does not decide? */
static void append_check(struct list *l, const char *job)
{
    append(l, "1");
    if (l->times_to_check)
        append(l, " AND created_ms > ?5 AND created_ms < ?6");
    if (l->by_term && l->term_count > 1)
        append(l, " AND t.mask & ?%d = ?%d", MASK_PARAMETER, MASK_PARAMETER);
    for (size_t i = l->by_term ? 1 : 0; i < l->term_count; i++)
        append(l,
               " AND EXISTS (SELECT 1 FROM job_terms c INDEXED BY job_terms_by_job"
               " WHERE c.job = %s AND c.term = ?%zu)",
               job, TERM_PARAMETER + i);
}

static void append_run(struct list *l, enum rb_job_status status, bool rest_of_key)
{
    const char *key = sorts[l->filter->sort].column;
    const char *job = l->by_term ? "t.job" : "t.seq";
    append(l, "%sSELECT %s, %s, ", l->used > 0 ? " UNION ALL " : "", key, job);
    append_check(l, job);
    append(l, " FROM %s t%s WHERE status = '%s'", l->by_term ? "job_terms" : "jobs",
           l->group != 0     ? " INDEXED BY jobs_by_group"
           : l->by_submitter ? " INDEXED BY jobs_by_submitter"
                             : "",
           rb_job_status_names[status]);
    if (l->filter->submitted_by != NULL)
        append(l, " AND submitted_by = ?%d", SUBMITTER_PARAMETER);
    if (l->group != 0)
        append(l, " AND group_seq = ?%d", GROUP_PARAMETER);
    if (l->by_term)
        append(l, " AND term = ?%d", TERM_PARAMETER);
    if (rest_of_key)
        append(l, " AND %s = ?3 AND %s %c ?4", key, job,
               sorts[l->filter->sort].descending ? '<' : '>');
    else
        append(l, " AND %s > ?1 AND %s < ?2", key, key);
}

static void write_statement(struct list *l)
{
    const struct rb_job_filter *f = l->filter;
    uint32_t statuses = f->statuses != 0 ? f->statuses : RB_JOB_ANY;
    for (enum rb_job_status i = 0; i < RB_JOB_STATUS_COUNT; i++) {
        if ((statuses & 1U << i) == 0)
            continue;
        if (f->after.present)
            append_run(l, i, true);
        append_run(l, i, false);
    }
    const char *direction = sorts[f->sort].descending ? "DESC" : "ASC";
    append(l, " ORDER BY 1 %s, 2 %s", direction, direction);
}

/* Parameters that a shape of the statement does not have are not bound. */
static void bind_at(struct rb_query *q, int parameter, int64_t value)
{
    if (parameter <= sqlite3_bind_parameter_count(q->statement)) {
        q->bound = parameter - 1;
        rb_bind_int(q, value);
    }
}

static void bind(const struct list *l, struct rb_query *q)
{
    const struct rb_job_filter *f = l->filter;
    int64_t after = f->created_after_ms != 0 ? f->created_after_ms : INT64_MIN;
    int64_t before = f->created_before_ms != 0 ? f->created_before_ms : INT64_MAX;
    int64_t low = sorts[f->sort].by_created ? after : INT64_MIN;
    int64_t high = sorts[f->sort].by_created ? before : INT64_MAX;
    if (f->after.present && sorts[f->sort].descending)
        high = f->after.key < high ? f->after.key : high;
    else if (f->after.present)
        low = f->after.key > low ? f->after.key : low;
    int64_t mask = 0;
    for (size_t i = 1; i < l->term_count; i++)
        mask |= rb_term_bit(l->terms[i]);
    const int64_t values[] = {low, high, f->after.key, f->after.seq, after, before, mask, l->group};
    for (int i = 0; i < GROUP_PARAMETER; i++)
        bind_at(q, i + 1, values[i]);
    if (f->submitted_by != NULL) {
        q->bound = SUBMITTER_PARAMETER - 1;
        rb_bind_text(q, f->submitted_by);
    }
    for (size_t i = 0; i < l->term_count; i++)
        bind_at(q, TERM_PARAMETER + (int)i, l->terms[i]);
}

/* ---- terms ---- */

/* The rarest term leads, the others are checked. */
static enum rb_status add_term(struct list *l, const struct rb_term *term, uint64_t *least,
                               struct rb_error *err)
{
    int64_t id = 0;
    uint64_t jobs = 0;
    enum rb_status status = rb_term_find(l->store, term, &id, &jobs, err);
    assert(l->term_count < TERMS_MAX);
    size_t place = l->term_count++;
    if (place > 0 && jobs < *least) {
        l->terms[place] = l->terms[0];
        place = 0;
    }
    l->terms[place] = id;
    *least = jobs < *least ? jobs : *least;
    return status;
}

static enum rb_status find_group(struct list *l, bool *ret_any, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(l->store, "SELECT seq FROM groups WHERE id = ?", &q);
    rb_bind_text(&q, l->filter->group);
    enum rb_status status = rb_query_step(&q, ret_any, err);
    if (status == RB_OK && *ret_any)
        l->group = rb_column_int(&q, 0);
    return rb_query_end(&q, status, err);
}

/* *ret_any false if a term is on no job at all, or there is no such group. */
static enum rb_status find_terms(struct list *l, bool *ret_any, struct rb_error *err)
{
    const struct rb_job_filter *f = l->filter;
    enum rb_status status = RB_OK;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; status == RB_OK && i < f->labels.count; i++) {
        const struct rb_label *label = &f->labels.items[i];
        status =
            add_term(l, &(struct rb_term){RB_TERM_LABEL, label->key, label->value}, &least, err);
    }
    if (status == RB_OK && f->model != NULL)
        status = add_term(l, &(struct rb_term){RB_TERM_MODEL, f->model, ""}, &least, err);
    *ret_any = least > 0;
    if (status == RB_OK && f->group != NULL && *ret_any)
        status = find_group(l, ret_any, err);
    return status;
}

/* ---- the page ---- */

struct found {
    int64_t seqs[500];
    size_t count;
    struct rb_job_cursor next;
};

static enum rb_status collect(const struct list *l, struct found *found, struct rb_error *err)
{
    struct rb_query q;
    bool more = true;
    struct rb_job_cursor last = {.present = true};
    rb_query_start(l->store, l->sql, &q);
    enum rb_status status = RB_OK;
    bind(l, &q);
    for (size_t rejected = 0; (status = rb_query_step(&q, &more, err)) == RB_OK && more;) {
        if (found->count == l->filter->limit || rejected == REJECTED_MAX) {
            found->next = last;
            break;
        }
        last.key = rb_column_int(&q, 0);
        last.seq = rb_column_int(&q, 1);
        if (rb_column_int(&q, 2) != 0)
            found->seqs[found->count++] = last.seq;
        else
            rejected++;
    }
    return rb_query_end(&q, status, err);
}

static enum rb_status read_rows(struct rb_store *s, const struct found *found,
                                struct rb_job_page *page, struct rb_error *err)
{
    page->rows = calloc(found->count > 0 ? found->count : 1, sizeof *page->rows);
    if (page->rows == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a page of jobs");
    for (size_t i = 0; i < found->count; i++) {
        enum rb_status status = rb_job_get_seq(s, found->seqs[i], &page->rows[i], err);
        if (status != RB_OK)
            return status;
        page->count++;
    }
    page->next = found->next;
    return RB_OK;
}

void rb_job_page_deinit(struct rb_job_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        rb_job_row_deinit(&page->rows[i]);
    free(page->rows);
    *page = (struct rb_job_page){0};
}

enum rb_status rb_jobs_list(struct rb_store *s, const struct rb_job_filter *filter,
                            struct rb_job_page *ret, struct rb_error *err)
{
    struct list l = {.store = s, .filter = filter};
    struct found found = {.count = 0};
    struct rb_job_page page = {0};
    bool any;
    assert(filter->limit >= 1 && filter->limit <= 500);
    if (filter->labels.count > RB_JOB_FILTER_LABELS)
        return rb_error_at(err, RB_EQUERY, "label", "expected at most %d labels, found %zu",
                           RB_JOB_FILTER_LABELS, filter->labels.count);
    enum rb_status status = rb_store_begin_reading(s, err);
    if (status != RB_OK)
        return status;
    status = find_terms(&l, &any, err);
    if (status == RB_OK && any) {
        bool times = filter->created_after_ms != 0 || filter->created_before_ms != 0;
        l.by_submitter = filter->submitted_by != NULL && sorts[filter->sort].by_created;
        l.by_term = l.group == 0 && filter->submitted_by == NULL && l.term_count > 0 &&
                    sorts[filter->sort].by_created;
        l.times_to_check = times && !sorts[filter->sort].by_created;
        write_statement(&l);
        status = collect(&l, &found, err);
    }
    if (status == RB_OK)
        status = read_rows(s, &found, &page, err);
    status = rb_store_end_reading(s, status);
    if (status != RB_OK) {
        rb_job_page_deinit(&page);
        return status;
    }
    *ret = page;
    return RB_OK;
}
