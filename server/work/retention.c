/* DESIGN. Rows first, files after: what a crash leaves in between, no row names, and the next start
 * sweeps it (sweep.h) or finds it in tmp/. A few at a time, so that the loop serves others between
 * them, however many are due on the day that somebody sets an age. */
#include "server/work/retention.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/store/results.h"
#include "server/store/retention.h"
#include "server/work/jobdir.h"

#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 20 };

struct leaving {
    struct rb_retired *items;
    size_t count;
    struct rb_event_row events[AT_ONCE];    /* of jobs that stay */
    struct rb_artifact *artifacts[AT_ONCE]; /* of jobs that stay */
    size_t artifact_counts[AT_ONCE];
};

static void leaving_deinit(struct leaving *l)
{
    for (size_t i = 0; i < l->count; i++) {
        rb_event_row_deinit(&l->events[i]);
        free(l->artifacts[i]);
    }
    free(l->items);
}

static enum rb_status forget(struct rb_work *w, struct leaving *l, size_t i, int64_t now_ms,
                             struct rb_error *err)
{
    int64_t job = l->items[i].seq;
    if (l->items[i].whole)
        return rb_job_delete(w->store, job, err);
    enum rb_status status =
        rb_artifacts_list(w->store, job, &l->artifacts[i], &l->artifact_counts[i], err);
    return status == RB_OK ? rb_merged_forget(w->store, job, now_ms, &l->events[i], err) : status;
}

static enum rb_status forget_all(struct rb_work *w, struct leaving *l,
                                 const struct rb_retention *keep, int64_t now_ms,
                                 struct rb_error *err)
{
    enum rb_status status = rb_store_begin(w->store, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; i < l->count && status == RB_OK; i++)
        status = forget(w, l, i, now_ms, err);
    if (status == RB_OK && keep->jobs_ms > 0)
        status = rb_groups_prune(w->store, now_ms - (int64_t)keep->jobs_ms, err);
    return rb_store_end(w->store, status, err);
}

/* Files of before this form lie beside the folder, each by its own name. */
static void trash_merged(struct rb_work *w, const struct leaving *l, size_t i)
{
    static const char name[] = RB_FOLDER_MERGED;
    char path[RB_PATH_SIZE];
    const char *id = l->items[i].id;
    for (size_t k = 0; k < l->artifact_counts[i]; k++) {
        const char *file = l->artifacts[i][k].name;
        if (strncmp(file, name, sizeof name - 1) == 0 && strchr(file, '/') == NULL)
            rb_data_trash(w, rb_layout_job(id, file, path));
    }
    rb_data_trash(w, rb_layout_job(id, name, path));
}

static void tell(struct rb_work *w, struct leaving *l, size_t i)
{
    char path[RB_PATH_SIZE];
    const struct rb_retired *item = &l->items[i];
    const char *what = item->whole ? "job" : "artifacts";
    if (item->whole) {
        rb_hub_deleted(&w->hub, item->id);
        rb_data_trash(w, rb_layout_job(item->id, NULL, path));
    } else {
        rb_hub_ring(&w->hub, &l->events[i]);
        trash_merged(w, l, i);
    }
    rb_log_info("change", RB_S("by", "retention"),
                RB_S("operation", item->whole ? "deleteJob" : "deleteMerged"),
                RB_S("what", item->id), RB_S("of", item->submitted_by), RB_U("bytes", item->bytes));
    rb_metrics_add(w->metrics, RB_METER_RETIRED, 1, what, NULL);
    rb_metrics_add(w->metrics, RB_METER_RETIRED_BYTES, (double)item->bytes, what, NULL);
}

enum rb_status rb_retention_run(struct rb_work *w, const struct rb_retention *keep, int64_t now_ms,
                                bool *ret_more, struct rb_error *err)
{
    struct leaving l = {.count = 0};
    *ret_more = false;
    if (keep->jobs_ms == 0 && keep->artifacts_ms == 0)
        return RB_OK;
    enum rb_status status = rb_retention_list(w->store, keep, now_ms, w->merged_looked_ms, AT_ONCE,
                                              &l.items, &l.count, err);
    if (status == RB_OK)
        status = forget_all(w, &l, keep, now_ms, err);
    for (size_t i = 0; i < l.count && status == RB_OK; i++)
        tell(w, &l, i);
    if (status == RB_OK && l.count < AT_ONCE)
        w->merged_looked_ms = now_ms - (int64_t)keep->artifacts_ms;
    *ret_more = status == RB_OK && l.count == AT_ONCE;
    leaving_deinit(&l);
    return status;
}
