#include "server/work/slurm_look.h"
#include "server/base/clock.h"
#include "server/work/slurm_files.h"

/* ---- lines ---- */

static void append(struct rb_slurm_units *line, struct rb_slurm_unit *u)
{
    u->behind = NULL;
    u->in_line = true;
    *line->end = u;
    line->end = &u->behind;
}

static struct rb_slurm_unit *take(struct rb_slurm_units *line)
{
    struct rb_slurm_unit *u = line->first;
    line->first = u->behind;
    if (line->first == NULL)
        line->end = &line->first;
    u->in_line = false;
    return u;
}

/* ---- looking ---- */

static void begin_some(struct rb_slurm *s);
static void turn(uv_idle_t *handle);

static void come_back(struct rb_async *a)
{
    struct rb_slurm_unit *u = a->data;
    struct rb_slurm *s = u->slurm;
    if (u->unchanged && !u->leaving) {
        u->busy = false;
        s->looks--;
        begin_some(s);
        return;
    }
    append(&s->back, u);
    (void)uv_idle_start(&s->turn, turn);
}

static void begin(struct rb_slurm_unit *u)
{
    u->glanced_ns = rb_clock_monotonic_ns();
    u->glance = u->misses == 0 && u->seen_ns != 0 && ++u->glances < RB_SLURM_SCAN_GLANCES;
    if (!u->glance)
        u->glances = 0;
    u->scan_misses = u->misses;
    u->busy = true;
    u->async = (struct rb_async){
        .work = rb_slurm_scan, .done = come_back, .data = u, .lane = RB_LANE_READ};
    u->slurm->looks++;
    rb_async_start(u->slurm->work->pool, &u->async);
}

static bool may_look(const struct rb_slurm_unit *u)
{
    return u->step == RB_SLURM_WATCH && !u->busy && !u->in_line;
}

static void begin_some(struct rb_slurm *s)
{
    while (s->looks < RB_SLURM_LOOKS && s->wait.first != NULL) {
        struct rb_slurm_unit *u = take(&s->wait);
        if (may_look(u)) /* it may have been submitted again meanwhile */
            begin(u);
    }
}

void rb_slurm_look(struct rb_slurm_unit *u)
{
    if (!may_look(u))
        return;
    append(&u->slurm->wait, u);
    begin_some(u->slurm);
}

void rb_slurm_look_all(struct rb_slurm *s, uint64_t now_ns)
{
    uint64_t every = s->unit_count < RB_SLURM_SCAN_MANY ? RB_SLURM_GLANCE_MS : RB_SLURM_POLL_MS;
    for (struct rb_slurm_unit *u = s->units, *next; u != NULL; u = next) {
        next = u->next;
        if (now_ns - u->glanced_ns >= every * 1000000)
            rb_slurm_look(u);
    }
}

void rb_slurm_look_forget(struct rb_slurm_unit *u)
{
    struct rb_slurm_units *line = &u->slurm->wait;
    if (!u->in_line)
        return;
    struct rb_slurm_unit **at = &line->first;
    while (*at != u)
        at = &(*at)->behind;
    *at = u->behind;
    if (line->end == &u->behind)
        line->end = at;
    u->in_line = false;
}

/* ---- what they have found ---- */

static void turn(uv_idle_t *handle)
{
    struct rb_slurm *s = handle->data;
    uint64_t until = rb_clock_monotonic_ns() + RB_SLURM_TURN_MS * UINT64_C(1000000);
    while (s->back.first != NULL) {
        struct rb_slurm_unit *u = take(&s->back);
        s->looks--;
        s->looked(u);
        if (rb_clock_monotonic_ns() >= until)
            break;
    }
    begin_some(s);
    if (s->back.first == NULL)
        (void)uv_idle_stop(handle);
}

void rb_slurm_look_open(struct rb_slurm *s, void (*looked)(struct rb_slurm_unit *u))
{
    s->looked = looked;
    s->wait.end = &s->wait.first;
    s->back.end = &s->back.first;
    (void)uv_idle_init(s->work->loop, &s->turn);
    s->turn.data = s;
}
