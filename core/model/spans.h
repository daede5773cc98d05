/* core/model/spans.h: token sequences as the forward pass takes them: checked once against the
 * model's tables, cut into runs of whole sequences that lie end to end without padding. */
#ifndef RB_CORE_MODEL_SPANS_H
#define RB_CORE_MODEL_SPANS_H

#include "core/model/config.h"
#include "core/sequences.h"

/* A run of whole sequences inside packed tokens. */
struct rb_span {
    const size_t *starts; /* (count + 1); starts[0] may be > 0 */
    size_t count;
};

static inline size_t rb_span_tokens(const struct rb_span *s)
{
    return s->starts[s->count] - s->starts[0];
}
size_t rb_span_longest(const struct rb_span *s); /* tokens of its longest sequence */

/* Cuts sequences [from, to) into as many spans as hold `tokens` tokens each, all of about the same
 * size and none longer than `tokens` and a sequence; a function of the data only. Fills firsts with
 * the first sequence of each span, and its end. */
size_t rb_spans_count(const struct rb_sequences *s, size_t from, size_t to, size_t tokens);
void rb_spans_fill(const struct rb_sequences *s, size_t from, size_t to, size_t tokens,
                   size_t *firsts);

/* Sequences [from, *) that make a slab of about `tokens` tokens. */
size_t rb_slab_end(const struct rb_sequences *s, size_t from, size_t tokens);

/* Do all ids, positions, token types and targets lie inside the model's tables? RB_EDATASET naming
 * the line and what does not fit (a second sentence for a model of one token type, say). Done once
 * for all sequences, by rb_collect_new and rb_evaluate_check; nothing below looks again. */
enum rb_status rb_sequences_check(const struct rb_config *c, const struct rb_sequences *s,
                                  struct rb_error *err) RB_MUST_CHECK;

enum {
    RB_CHUNK_TOKENS = 512, /* 50-100 ms of a BERT-base layer */
    RB_WIDE_CHUNK_TOKENS = 2 * RB_CHUNK_TOKENS,
};

/* Tokens of a span, of `models` models over a slab of so many. Every product packs its weights
 * first, which at 512 rows is a tenth of it on fast processors: spans are twice as long where 8 of
 * them are left, of all models together. */
static inline size_t rb_chunk_tokens(size_t slab_tokens, size_t models)
{
    size_t left = slab_tokens / RB_WIDE_CHUNK_TOKENS * models;
    return left >= 8 ? RB_WIDE_CHUNK_TOKENS : RB_CHUNK_TOKENS;
}

#endif
