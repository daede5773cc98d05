#include "core/learn/learn_state.h"
#include "core/learn/arithmetic.h"
#include "core/learn/checksum.h"
#include "core/learn/learn_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- the state ----
 *
 * A header, what the bits depend on (arithmetic.h), the options and what the text was (a run goes
 * on only where all of it is the same), the counters, the training curve, the parameters with
 * Adam's moments and the best; a checksum. */

struct state_head {
    char magic[8];
    char arithmetic[RB_LEARN_ARITHMETIC_SIZE];
    struct rb_learn_options options;
    uint64_t text, parameters, look_count;
    uint32_t step, best_step, looks_since_best, steps_since_look, ended;
    double best_held, last_loss, sum_since_look;
};

static const char MAGIC[8] = "rblearn3";

static uint64_t text_number(const struct rb_learn *c)
{
    const struct rb_sequences *t = c->text.blocks;
    uint64_t sum = rb_mix((uint64_t)c->batch.block_size ^ (uint64_t)(int64_t)c->text.mask_id);
    sum = rb_learn_checksum(&c->text.mask_probability, sizeof(double), sum);
    return rb_learn_checksum(t->ids, rb_sequences_tokens(t) * sizeof *t->ids, sum);
}

/* Options without what padding holds. */
static void copy_options(const struct rb_learn_options *o, struct rb_learn_options *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->steps = o->steps;
    ret->batch_tokens = o->batch_tokens;
    ret->learning_rate = o->learning_rate;
    ret->lambda[0] = o->lambda[0];
    ret->lambda[1] = o->lambda[1];
    ret->patience = o->patience;
    ret->seed = o->seed;
    ret->residual = o->residual;
    ret->query_keys = o->query_keys;
    ret->values = o->values;
    ret->stretches = o->stretches;
    ret->orders = o->orders;
    ret->scales = o->scales;
    ret->head_orders = o->head_orders;
}

enum { VECTORS = 4 }; /* x, m, v, best */

static size_t state_bytes(size_t parameters, size_t looks)
{
    return sizeof(struct state_head) + looks * sizeof(struct rb_learn_look) +
           VECTORS * parameters * sizeof(double) + sizeof(uint64_t);
}

enum rb_status rb_learn_save(const struct rb_program *p, unsigned char **ret, size_t *ret_bytes,
                             struct rb_error *err)
{
    const struct rb_learn *c = (const struct rb_learn *)p;
    size_t n = c->maps.parameters, bytes = state_bytes(n, c->look_count);
    unsigned char *out = calloc(1, bytes), *at = out;
    if (out == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to save %zu parameters of maps", n);
    struct state_head head;
    memset(&head, 0, sizeof head);
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    rb_learn_arithmetic(head.arithmetic);
    copy_options(&c->options, &head.options);
    head.text = text_number(c);
    head.parameters = n;
    head.look_count = c->look_count;
    head.step = c->step;
    head.best_step = c->best_step;
    head.looks_since_best = c->looks_since_best;
    head.steps_since_look = c->steps_since_look;
    head.ended = c->ended;
    head.best_held = c->best_held;
    head.last_loss = c->last_loss;
    head.sum_since_look = c->sum_since_look;
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    for (size_t i = 0; i < c->look_count; i++, at += sizeof(struct rb_learn_look)) {
        memcpy(at + offsetof(struct rb_learn_look, step), &c->looks[i].step, sizeof(uint32_t));
        memcpy(at + offsetof(struct rb_learn_look, train_loss), &c->looks[i].train_loss,
               sizeof(double));
        memcpy(at + offsetof(struct rb_learn_look, held_loss), &c->looks[i].held_loss,
               sizeof(double));
    }
    const double *vectors[VECTORS] = {c->maps.x, c->maps.m, c->maps.v, c->best};
    for (int v = 0; v < VECTORS; v++, at += n * sizeof(double))
        memcpy(at, vectors[v], n * sizeof(double));
    uint64_t sum = rb_learn_checksum(out, bytes - sizeof sum, 0);
    memcpy(at, &sum, sizeof sum);
    *ret = out;
    *ret_bytes = bytes;
    return RB_OK;
}

static enum rb_status refuse(struct rb_error *err, const char *why)
{
    return rb_error_set(err, RB_EINPUT, "the saved state of learning cannot be used: %s", why);
}

enum rb_status rb_learn_restore(struct rb_program *p, const unsigned char *bytes, size_t count,
                                struct rb_error *err)
{
    struct rb_learn *c = (struct rb_learn *)p;
    struct state_head head;
    size_t n = c->maps.parameters, most = c->options.steps / RB_LEARN_LOOK_EVERY + 2;
    if (count < sizeof head)
        return refuse(err, "it is cut short");
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0)
        return refuse(err, "another build of rebasind wrote it");
    if (head.parameters != n || head.look_count > most ||
        count != state_bytes(n, (size_t)head.look_count))
        return refuse(err, "it is of another size");
    uint64_t sum;
    memcpy(&sum, bytes + count - sizeof sum, sizeof sum);
    if (sum != rb_learn_checksum(bytes, count - sizeof sum, 0))
        return refuse(err, "it is damaged");
    enum rb_status s = rb_learn_arithmetic_check(head.arithmetic, "state of learning", err);
    if (s != RB_OK)
        return s;
    struct rb_learn_options mine;
    copy_options(&c->options, &mine);
    /* copy_options leaves no padding unset */
    if (memcmp((const void *)&head.options, (const void *)&mine, sizeof mine) != 0 ||
        head.text != text_number(c) || head.step > c->options.steps)
        return refuse(err, "it belongs to other options or to another text");
    struct rb_learn_look *looks = calloc((size_t)head.look_count + 1, sizeof *looks);
    if (looks == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the training curve");
    const unsigned char *at = bytes + sizeof head;
    memcpy(looks, at, (size_t)head.look_count * sizeof *looks);
    at += (size_t)head.look_count * sizeof *looks;
    double *vectors[VECTORS] = {c->maps.x, c->maps.m, c->maps.v, c->best};
    for (int v = 0; v < VECTORS; v++, at += n * sizeof(double))
        memcpy(vectors[v], at, n * sizeof(double));
    free(c->looks);
    c->looks = looks;
    c->look_count = (size_t)head.look_count;
    c->look_capacity = c->look_count + 1;
    c->step = head.step;
    c->best_step = head.best_step;
    c->looks_since_best = head.looks_since_best;
    c->steps_since_look = head.steps_since_look;
    c->ended = head.ended != 0;
    c->best_held = head.best_held;
    c->last_loss = head.last_loss;
    c->sum_since_look = head.sum_since_look;
    return RB_OK;
}
