/* What stands between token sequences and the embedding tables: nothing after this looks at bounds.
 */
#include "core/model/forward.h"

static enum rb_status refuse(const struct rb_sequences *s, size_t sequence, const char *what,
                             long long found, const char *member, uint32_t size,
                             struct rb_error *err)
{
    unsigned long long line = s->rows != NULL ? s->rows[sequence] : 0;
    return rb_error_set(err, RB_EDATASET, "line %llu: %s %lld, but the model's %s is %u", line,
                        what, found, member, size);
}

enum rb_status rb_forward_check(const struct rb_config *c, const struct rb_sequences *s,
                                struct rb_error *err)
{
    for (size_t q = 0; q < s->count; q++) {
        size_t first = s->starts[q], end = s->starts[q + 1];
        if (end - first > c->max_position_embeddings)
            return refuse(s, q, "tokens:", (long long)(end - first), "max_position_embeddings",
                          c->max_position_embeddings, err);
        for (size_t t = first; t < end; t++) {
            if (s->ids[t] < 0 || (uint32_t)s->ids[t] >= c->vocab_size)
                return refuse(s, q, "token id", s->ids[t], "vocab_size", c->vocab_size, err);
            if (s->types[t] >= c->type_vocab_size)
                return refuse(s, q, "token type", s->types[t], "type_vocab_size",
                              c->type_vocab_size, err);
            if (s->targets != NULL && s->targets[t] >= 0 &&
                (uint32_t)s->targets[t] >= c->vocab_size)
                return refuse(s, q, "target", s->targets[t], "vocab_size", c->vocab_size, err);
        }
    }
    return RB_OK;
}
