#include "server/work/slurm_note.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/store/events.h"

#include <stdarg.h>
#include <stdio.h>

static enum rb_status write_news(struct rb_run *run, const struct rb_slurm_news *news,
                                 const char *text, struct rb_event_row rows[2],
                                 struct rb_error *err)
{
    struct rb_store *store = run->work->store;
    enum rb_status status = rb_store_begin(store, err);
    if (status != RB_OK)
        return status;
    status = rb_event_note(store, run->row.seq, run->row.job.id, news->unit, text,
                           rb_clock_realtime_ms(), &rows[0], err);
    if (status == RB_OK && news->change != NULL)
        status = rb_job_change(store, run->row.seq, news->change, &rows[1], err);
    if (status == RB_OK && news->progressed)
        status = rb_job_progressed(store, run->row.seq, err);
    return rb_store_end(store, status, err);
}

__attribute__((format(printf, 3, 0))) static void
tell(struct rb_run *run, const struct rb_slurm_news *news, const char *format, va_list arguments)
{
    char text[512];
    struct rb_event_row rows[2] = {0};
    struct rb_error err;
    (void)vsnprintf(text, sizeof text, format, arguments);
    rb_log_info("unit", RB_S("job", run->row.job.id), RB_S("unit", news->unit),
                RB_S("detail", text));
    enum rb_status status = write_news(run, news, text, rows, &err);
    if (status != RB_OK)
        rb_log_warn("not noted", RB_S("job", run->row.job.id), RB_ERROR_FIELDS(&err));
    rb_hub_ring_all(&run->work->hub, status, rows, 2);
}

void rb_slurm_tell(struct rb_run *run, const struct rb_slurm_news *news, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(run, news, format, arguments);
    va_end(arguments);
}

void rb_slurm_note(struct rb_run *run, const char *unit, const char *format, ...)
{
    const struct rb_slurm_news news = {.unit = unit};
    va_list arguments;
    va_start(arguments, format);
    tell(run, &news, format, arguments);
    va_end(arguments);
}
