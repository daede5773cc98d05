/* DESIGN. The folder is listed on a pool thread, names are held against the store on the loop, a
 * few hundred at a time, and what is left over is removed on a pool thread again. A job that is
 * submitted meanwhile makes its folder and commits its row within one turn of the loop, so
 * whenever a name is looked up its row is there, or will never be. */
#include "server/work/sweep.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/jobs.h"
#include "server/store/jobs_read.h"
#include "server/work/jobdir.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_AT_ONCE = 200 };

struct sweep {
    struct rb_work *w;
    struct rb_async async;
    char (*names)[RB_JOB_ID_SIZE];
    size_t count, capacity;
    size_t next;          /* to look up */
    size_t from, orphans; /* names[from, from + orphans) have no row */
};

static void step(struct sweep *s);

static void sweep_free(struct sweep *s)
{
    s->w->sweep = NULL;
    free(s->names);
    free(s);
}

/* ---- pool ---- */

static bool add_name(struct sweep *s, const char *name)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity > 0 ? 2 * s->capacity : 256;
        void *grown = realloc(s->names, capacity * sizeof *s->names);
        if (grown == NULL)
            return false;
        s->names = grown;
        s->capacity = capacity;
    }
    memcpy(s->names[s->count++], name, RB_JOB_ID_SIZE);
    return true;
}

static void list(struct rb_async *a)
{
    struct sweep *s = a->data;
    char *path = rb_layout_absolute(s->w->options.data_dir, RB_LAYOUT_JOBS);
    DIR *dir = path != NULL ? opendir(path) : NULL;
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (rb_job_id_valid(entry->d_name, strlen(entry->d_name)) && !add_name(s, entry->d_name))
            break;
    if (dir != NULL)
        closedir(dir);
    free(path);
}

static void remove_orphans(struct rb_async *a)
{
    struct sweep *s = a->data;
    for (size_t i = 0; i < s->orphans; i++) {
        char folder[RB_PATH_SIZE];
        rb_layout_job(s->names[s->from + i], NULL, folder);
        rb_data_remove(s->w->options.data_fd, folder);
    }
}

/* ---- loop ---- */

static void stepped(struct rb_async *a)
{
    step(a->data);
}

/* Looks up some names; those without a row gather at the front of their stretch. */
static void step(struct sweep *s)
{
    if (s->next == s->count || s->w->draining) {
        sweep_free(s);
        return;
    }
    s->from = s->next;
    s->orphans = 0;
    for (size_t i = 0; i < NAMES_AT_ONCE && s->next < s->count; i++, s->next++) {
        struct rb_job_row row;
        enum rb_status status = rb_job_get(s->w->store, s->names[s->next], &row, NULL);
        if (status == RB_OK)
            rb_job_row_deinit(&row);
        else if (status == RB_ENOTFOUND)
            memmove(s->names[s->from + s->orphans++], s->names[s->next], RB_JOB_ID_SIZE);
    }
    if (s->orphans > 0)
        rb_log_info("leftover job folders removed", RB_U("count", s->orphans));
    s->async.work = remove_orphans;
    s->async.done = stepped;
    rb_async_start(s->w->pool, &s->async);
}

enum rb_status rb_sweep_start(struct rb_work *w, struct rb_error *err)
{
    struct sweep *s = calloc(1, sizeof *s);
    if (s == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to sweep leftovers");
    s->w = w;
    w->sweep = s;
    s->async = (struct rb_async){.work = list, .done = stepped, .data = s};
    rb_async_start(w->pool, &s->async);
    return RB_OK;
}
