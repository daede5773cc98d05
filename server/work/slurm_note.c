#include "server/work/slurm_note.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/store/events.h"

#include <stdarg.h>
#include <stdio.h>

void rb_slurm_note(struct rb_run *run, const char *unit, const char *format, ...)
{
    char text[512];
    struct rb_event_row row = {0};
    struct rb_error err;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rb_log_info("unit", RB_S("job", run->row.job.id), RB_S("unit", unit), RB_S("detail", text));
    if (rb_event_note(run->work->store, run->row.seq, run->row.job.id, unit, text,
                      rb_clock_realtime_ms(), &row, &err) == RB_OK)
        rb_hub_ring(&run->work->hub, &row);
}
