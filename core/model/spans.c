#include "core/model/spans.h"

/* Spans of about equal size, none of them much longer than asked for: a short one at the end would
 * be a product at half the rate. */
static size_t next_span(const struct rb_sequences *s, size_t from, size_t to, size_t tokens)
{
    size_t rest = s->starts[to] - s->starts[from], spans = (rest + tokens - 1) / tokens;
    size_t end = from;
    while (end < to && (s->starts[end] - s->starts[from]) * spans < rest)
        end++;
    return end;
}

size_t rb_spans_count(const struct rb_sequences *s, size_t from, size_t to, size_t tokens)
{
    size_t n = 0;
    for (; from < to; from = next_span(s, from, to, tokens))
        n++;
    return n;
}

void rb_spans_fill(const struct rb_sequences *s, size_t from, size_t to, size_t tokens,
                   size_t *firsts)
{
    for (; from < to; from = next_span(s, from, to, tokens))
        *firsts++ = from;
    *firsts = to;
}

size_t rb_span_longest(const struct rb_span *span)
{
    size_t most = 0;
    for (size_t s = 0; s < span->count; s++) {
        size_t n = span->starts[s + 1] - span->starts[s];
        most = n > most ? n : most;
    }
    return most;
}

size_t rb_slab_end(const struct rb_sequences *s, size_t from, size_t tokens)
{
    size_t to = from;
    while (to < s->count && (to == from || s->starts[to + 1] - s->starts[from] <= tokens))
        to++;
    return to;
}

/* ---- bounds ---- */

static enum rb_status refuse(const struct rb_sequences *s, size_t sequence, const char *what,
                             long long found, const char *member, uint32_t size,
                             struct rb_error *err)
{
    unsigned long long line = s->rows != NULL ? s->rows[sequence] : 0;
    return rb_error_set(err, RB_EDATASET, "line %llu: %s %lld, but the model's %s is %u", line,
                        what, found, member, size);
}

enum rb_status rb_sequences_check(const struct rb_config *c, const struct rb_sequences *s,
                                  struct rb_error *err)
{
    for (size_t q = 0; q < s->count; q++) {
        size_t first = s->starts[q], end = s->starts[q + 1];
        if (end - first > c->max_length)
            return refuse(s, q, "tokens:", (long long)(end - first),
                          c->max_length == c->max_position_embeddings ? "max_position_embeddings"
                                                                      : "usable length",
                          c->max_length, err);
        for (size_t t = first; t < end; t++) {
            if (s->ids[t] < 0 || (uint32_t)s->ids[t] >= c->vocab_size)
                return refuse(s, q, "token id", s->ids[t], "vocab_size", c->vocab_size, err);
            if (c->type_vocab_size > 0 && s->types[t] >= c->type_vocab_size)
                return refuse(s, q, "token type", s->types[t], "type_vocab_size",
                              c->type_vocab_size, err);
            if (s->targets != NULL && s->targets[t] >= 0 &&
                (uint32_t)s->targets[t] >= c->vocab_size)
                return refuse(s, q, "target", s->targets[t], "vocab_size", c->vocab_size, err);
        }
    }
    return RB_OK;
}
