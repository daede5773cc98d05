#include "core/program.h"

#include <stdlib.h>

enum rb_status rb_program_run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                                   struct rb_error *err)
{
    rb_scratch_reset(&w->scratch);
    if (rb_worker_stopped(w))
        return rb_error_set(err, RB_ECANCELED, "canceled");
    return p->ops->run_item(p, item, w, err);
}

enum rb_status rb_program_run(struct rb_program *p, struct rb_worker *w, struct rb_error *err)
{
    for (;;) {
        size_t items;
        enum rb_status status = p->ops->next_round(p, &items, err);
        if (status != RB_OK || items == 0)
            return status;
        for (size_t i = 0; i < items; i++) {
            status = rb_program_run_item(p, i, w, err);
            if (status != RB_OK)
                return status;
        }
    }
}

/* In front of what was asked for, as long as a cache line. */
struct rb_program_block {
    struct rb_program_block *next;
    unsigned char rest[RB_ALIGNMENT - sizeof(struct rb_program_block *)];
};

void *rb_program_alloc(struct rb_program *p, size_t count, size_t size)
{
    size_t bytes;
    if (!rb_mul_size(count, size, &bytes) || !rb_add_size(bytes, RB_ALIGNMENT, &bytes))
        return NULL;
    struct rb_program_block *block = rb_calloc_aligned(bytes, 1);
    if (block == NULL)
        return NULL;
    block->next = p->blocks_;
    p->blocks_ = block;
    return block + 1;
}

void rb_program_free(struct rb_program *p)
{
    if (p == NULL)
        return;
    struct rb_program_block *block = p->blocks_;
    p->ops->free(p);
    while (block != NULL) {
        struct rb_program_block *next = block->next;
        free(block);
        block = next;
    }
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

/* ---- chains ---- */

struct chain {
    struct rb_program program;
    struct rb_program **links;
    size_t count, at;
};

static enum rb_status chain_next_round(struct rb_program *p, size_t *ret_items,
                                       struct rb_error *err)
{
    struct chain *c = (struct chain *)p;
    *ret_items = 0;
    while (c->at < c->count) {
        enum rb_status s = c->links[c->at]->ops->next_round(c->links[c->at], ret_items, err);
        if (s != RB_OK || *ret_items > 0)
            return s;
        c->at++;
    }
    return RB_OK;
}

static enum rb_status chain_run_item(struct rb_program *p, size_t item, struct rb_worker *w,
                                     struct rb_error *err)
{
    struct rb_program *link = ((struct chain *)p)->links[((struct chain *)p)->at];
    return link->ops->run_item(link, item, w, err);
}

static double chain_item_cost(const struct rb_program *p, size_t item)
{
    const struct rb_program *link = ((const struct chain *)p)->links[((const struct chain *)p)->at];
    return link->ops->item_cost(link, item);
}

static void chain_free(struct rb_program *p)
{
    struct chain *c = (struct chain *)p;
    for (size_t i = 0; i < c->count; i++)
        rb_program_free(c->links[i]);
    free(c->links);
    free(c);
}

static const struct rb_program_ops chain_ops = {chain_next_round, chain_run_item, chain_item_cost,
                                                chain_free};

enum rb_status rb_program_chain_new(struct rb_program *const *programs, size_t count,
                                    struct rb_program **ret, struct rb_error *err)
{
    struct chain *c = calloc(1, sizeof *c);
    struct rb_program **links = calloc(count + 1, sizeof(struct rb_program *));
    if (c == NULL || links == NULL) {
        free(c);
        free(links);
        for (size_t i = 0; i < count; i++)
            rb_program_free(programs[i]);
        return rb_error_set(err, RB_ENOMEM, "no memory for %zu programs", count);
    }
    *c = (struct chain){.program = {.ops = &chain_ops}, .links = links, .count = count};
    for (size_t i = 0; i < count; i++) {
        links[i] = programs[i];
        c->program.total_cost += programs[i]->total_cost;
    }
    *ret = &c->program;
    return RB_OK;
}
