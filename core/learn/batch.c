#include "core/learn/batch.h"

#include <stdlib.h>
#include <string.h>

enum { SPAN_TOKENS = 256 };

/* Draws of a step, beside METHOD 7's three of a position. */
enum { DRAW_BLOCK, DRAW_LAMBDA };

enum rb_status rb_learn_batch_init(struct rb_learn_batch *ret, const struct rb_learn_text *text,
                                   size_t blocks, struct rb_error *err)
{
    size_t length = text->blocks->starts[1] - text->blocks->starts[0], tokens = blocks * length;
    struct rb_learn_batch b = {.block_size = length, .capacity = blocks};
    b.s.starts = calloc(blocks + 1, sizeof *b.s.starts);
    b.s.ids = calloc(tokens, sizeof *b.s.ids);
    b.s.types = calloc(tokens, sizeof *b.s.types);
    b.s.special = calloc(tokens, sizeof *b.s.special);
    b.s.targets = calloc(tokens, sizeof *b.s.targets);
    b.spans = calloc(blocks + 1, sizeof *b.spans);
    if (b.s.starts == NULL || b.s.ids == NULL || b.s.types == NULL || b.s.special == NULL ||
        b.s.targets == NULL || b.spans == NULL) {
        rb_learn_batch_deinit(&b);
        return rb_error_set(err, RB_ENOMEM, "no memory for a batch of %zu tokens", tokens);
    }
    for (size_t i = 0; i <= blocks; i++)
        b.s.starts[i] = i * length;
    *ret = b;
    return RB_OK;
}

void rb_learn_batch_deinit(struct rb_learn_batch *b)
{
    rb_sequences_deinit(&b->s);
    free(b->spans);
    *b = (struct rb_learn_batch){0};
}

size_t rb_learn_train_blocks(const struct rb_learn_text *text)
{
    size_t held = text->blocks->count / 10;
    if (held == 0 && text->blocks->count > 1)
        held = 1;
    return text->blocks->count - held;
}

/* The batch is of that many blocks. */
static void begin(struct rb_learn_batch *b, size_t count)
{
    size_t each = SPAN_TOKENS / b->block_size;
    each = each > 0 ? each : 1;
    b->s.count = count;
    b->s.target_count = 0;
    b->span_count = 0;
    for (size_t i = 0; i < count; i += each)
        b->spans[b->span_count++] = i;
    b->spans[b->span_count] = count;
}

/* The tokens from `source` on become block `to` of the batch; mask_seed and number: of its masks.
 */
static void take(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t source,
                 size_t to, uint64_t mask_seed, uint64_t number)
{
    const struct rb_sequences *t = text->blocks;
    size_t n = b->block_size, at = to * n;
    memcpy(b->s.ids + at, t->ids + source, n * sizeof *b->s.ids);
    memcpy(b->s.special + at, t->special + source, n);
    for (size_t i = 0; i < n; i++) {
        int32_t *id = &b->s.ids[at + i], *target = &b->s.targets[at + i];
        if (text->mask_id < 0)
            *target = i + 1 < n ? t->ids[source + i + 1] : -1;
        else
            *target = rb_mask_token(mask_seed, number, i, text->mask_probability, text->mask_id,
                                    text->mask_vocabulary, t->special[source + i] != 0, id);
        b->s.target_count += *target >= 0;
    }
}

void rb_learn_batch_draw(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t blocks,
                         uint64_t seed, uint32_t step)
{
    uint64_t step_seed = rb_mix(rb_mix(seed) ^ step);
    size_t last = (rb_learn_train_blocks(text) - 1) * b->block_size; /* where one may begin */
    begin(b, blocks);
    for (size_t i = 0; i < blocks; i++) {
        double u = rb_mask_uniform(step_seed, DRAW_BLOCK, i, 0);
        take(b, text, (size_t)(u * ((double)last + 1)), i, step_seed, i);
    }
}

void rb_learn_batch_held(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t first,
                         size_t count, uint64_t seed)
{
    size_t train = rb_learn_train_blocks(text);
    begin(b, count);
    for (size_t i = 0; i < count; i++)
        take(b, text, (train + first + i) * b->block_size, i, seed, first + i);
}

bool rb_learn_batch_look(struct rb_learn_batch *b, const struct rb_learn_text *text, size_t *first,
                         uint64_t seed)
{
    size_t held = text->blocks->count - rb_learn_train_blocks(text);
    held = held < RB_LEARN_HELD_BLOCKS ? held : RB_LEARN_HELD_BLOCKS;
    size_t left = held - *first, count = left < b->capacity ? left : b->capacity;
    if (count == 0)
        return false;
    rb_learn_batch_held(b, text, *first, count, seed);
    *first += count;
    return true;
}

struct rb_span rb_learn_batch_span(const struct rb_learn_batch *b, size_t i)
{
    return (struct rb_span){b->s.starts + b->spans[i], b->spans[i + 1] - b->spans[i]};
}

size_t rb_learn_batch_row(const struct rb_learn_batch *b, size_t i)
{
    return b->s.starts[b->spans[i]];
}

size_t rb_learn_step_blocks(size_t tokens, size_t block_size)
{
    size_t blocks = tokens / block_size;
    return blocks > 0 ? blocks : 1;
}

double rb_learn_predicted(const struct rb_model *m, size_t tokens)
{
    return m->head == RB_HEAD_CAUSAL ? (double)tokens : RB_LEARN_MASKED * (double)tokens;
}

double rb_learn_draw_lambda(const struct rb_learn_options *o, uint32_t step)
{
    double u = rb_mask_uniform(rb_mix(rb_mix(o->seed) ^ step), DRAW_LAMBDA, 0, 0);
    return o->lambda[0] + (o->lambda[1] - o->lambda[0]) * u;
}
