#include "core/program.h"

enum rb_status rb_program_run(struct rb_program *p, struct rb_worker *w, struct rb_error *err)
{
    for (;;) {
        size_t items;
        enum rb_status status = p->ops->next_round(p, &items, err);
        if (status != RB_OK || items == 0)
            return status;
        for (size_t i = 0; i < items; i++) {
            rb_scratch_reset(&w->scratch);
            status = p->ops->run_item(p, i, w, err);
            if (status != RB_OK)
                return status;
        }
    }
}

void rb_program_free(struct rb_program *p)
{
    if (p != NULL)
        p->ops->free(p);
}

void rb_worker_init(struct rb_worker *w, const atomic_bool *stop)
{
    rb_scratch_init(&w->scratch);
    w->stop = stop;
}

void rb_worker_deinit(struct rb_worker *w)
{
    rb_scratch_deinit(&w->scratch);
}
