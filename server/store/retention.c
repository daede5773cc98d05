#include "server/store/retention.h"

#include "server/store/artifacts.h"
#include "server/store/jobs_internal.h"

/* Parameters: ?1 jobs that ended by then go, ?2 their merged checkpoints do, ?3 looked_ms; -1 for
 * none. Ended is not enough: a job that is put back into the queue could have ended before. */
#define ENDED "j.status IN ('succeeded', 'failed', 'canceled')"
#define NAMED                                                                                      \
    "EXISTS (SELECT 1 FROM job_inputs i WHERE i.role = 'from_job' AND i.name = j.id AND i.job <> " \
    "j.seq)"
#define MERGED "a.job = j.seq AND a.name GLOB 'merged*'"

/* seq, id, submitted_by, finished_ms, bytes, whole. Each part is one range of an index, so it may
 * end at a limit without having looked at the rest; jobs that others name are few. */
#define WHOLE_JOBS                                                                                 \
    "SELECT j.seq AS seq, j.id, j.submitted_by, j.finished_ms AS finished, "                       \
    "(SELECT coalesce(sum(a.bytes), 0) FROM artifacts a WHERE a.job = j.seq) AS bytes, "           \
    "1 AS whole FROM jobs j INDEXED BY jobs_by_finish WHERE j.finished_ms <= ?1 AND " ENDED        \
    " AND NOT " NAMED
#define MERGED_OF                                                                                  \
    "SELECT j.seq AS seq, j.id, j.submitted_by, j.finished_ms AS finished, "                       \
    "(SELECT sum(a.bytes) FROM artifacts a WHERE " MERGED ") AS bytes, 0 AS whole FROM "
#define HAS_MERGED ENDED " AND EXISTS (SELECT 1 FROM artifacts a WHERE " MERGED ")"
#define NAMED_JOBS                                                                                 \
    "(SELECT DISTINCT name FROM job_inputs WHERE role = 'from_job') n CROSS JOIN jobs j "          \
    "ON j.id = n.name WHERE j.finished_ms <= ?1 AND "
#define MERGED_OF_YOUNG                                                                            \
    MERGED_OF "jobs j INDEXED BY jobs_by_finish WHERE j.finished_ms > max(?1, ?3) AND "            \
              "j.finished_ms <= ?2 AND " HAS_MERGED
#define MERGED_OF_NAMED                                                                            \
    MERGED_OF NAMED_JOBS "j.finished_ms > ?3 AND j.finished_ms <= ?2 AND " HAS_MERGED
#define OLDEST(part) "SELECT * FROM (" part " ORDER BY j.finished_ms LIMIT ?4)"
#define ALL_PARTS                                                                                  \
    OLDEST(WHOLE_JOBS) " UNION ALL " OLDEST(MERGED_OF_YOUNG) " UNION ALL " OLDEST(MERGED_OF_NAMED)

static int64_t cutoff(uint64_t keep_ms, int64_t now_ms)
{
    return keep_ms == 0 || keep_ms > (uint64_t)now_ms ? -1 : now_ms - (int64_t)keep_ms;
}

static void ask(struct rb_store *s, const char *sql, const struct rb_retention *keep,
                int64_t now_ms, int64_t looked_ms, struct rb_query *ret)
{
    rb_query_start(s, sql, ret);
    rb_bind_int(ret, cutoff(keep->jobs_ms, now_ms));
    rb_bind_int(ret, cutoff(keep->artifacts_ms, now_ms));
    rb_bind_int(ret, looked_ms);
}

static void read_row(struct rb_query *q, void *row)
{
    struct rb_retired *ret = row;
    *ret = (struct rb_retired){.seq = rb_column_int(q, 0)};
    rb_column_string(q, 1, ret->id, sizeof ret->id);
    rb_column_string(q, 2, ret->submitted_by, sizeof ret->submitted_by);
    ret->finished_ms = rb_column_time(q, 3);
    ret->bytes = rb_column_uint(q, 4);
    ret->whole = rb_column_int(q, 5) != 0;
}

enum rb_status rb_retention_list(struct rb_store *s, const struct rb_retention *keep,
                                 int64_t now_ms, int64_t looked_ms, uint32_t limit,
                                 struct rb_retired **ret, size_t *ret_count, struct rb_error *err)
{
    static const struct rb_row_kind kind = {sizeof(struct rb_retired), read_row, NULL};
    struct rb_query q;
    void *rows;
    ask(s, "SELECT * FROM (" ALL_PARTS ") ORDER BY whole DESC, finished, seq LIMIT ?4", keep,
        now_ms, looked_ms, &q);
    rb_bind_int(&q, limit);
    enum rb_status status = rb_query_list(&q, &kind, &rows, ret_count, err);
    if (status == RB_OK)
        *ret = rows;
    return status;
}

enum rb_status rb_retention_count(struct rb_store *s, const struct rb_retention *keep,
                                  int64_t now_ms, struct rb_retention_totals *ret,
                                  struct rb_error *err)
{
    struct rb_query q;
    bool found;
    ask(s,
        "SELECT coalesce(sum(whole), 0), count(*) - coalesce(sum(whole), 0), "
        "coalesce(sum(bytes), 0), (SELECT count(*) FROM " NAMED_JOBS ENDED ") "
        "FROM (" ALL_PARTS ")",
        keep, now_ms, -1, &q);
    rb_bind_int(&q, RB_RETENTION_COUNTED);
    enum rb_status status = rb_query_step(&q, &found, err);
    if (status == RB_OK && found)
        *ret = (struct rb_retention_totals){
            .jobs = rb_column_uint(&q, 0),
            .artifacts = rb_column_uint(&q, 1),
            .bytes = rb_column_uint(&q, 2),
            .spared = rb_column_uint(&q, 3),
            .more = rb_column_uint(&q, 0) == RB_RETENTION_COUNTED ||
                    rb_column_uint(&q, 1) >= RB_RETENTION_COUNTED,
        };
    return rb_query_end(&q, status, err);
}

enum rb_status rb_merged_forget(struct rb_store *s, int64_t job, int64_t at_ms,
                                struct rb_event_row *ret_event, struct rb_error *err)
{
    const struct rb_job_patch nothing = {.given = 0};
    struct rb_query q;
    rb_query_start(s, "DELETE FROM artifacts WHERE job = ? AND name GLOB 'merged*'", &q);
    rb_bind_int(&q, job);
    enum rb_status status = rb_query_run(&q, err);
    return status == RB_OK ? rb_job_edit(s, job, &nothing, 0, at_ms, ret_event, err) : status;
}

enum rb_status rb_groups_prune(struct rb_store *s, int64_t before_ms, struct rb_error *err)
{
    struct rb_query q;
    rb_query_start(s,
                   "DELETE FROM groups WHERE created_ms < ? AND NOT EXISTS (SELECT 1 FROM jobs "
                   "WHERE group_seq = groups.seq)",
                   &q);
    rb_bind_int(&q, before_ms);
    return rb_query_run(&q, err);
}
