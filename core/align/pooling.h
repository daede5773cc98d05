/* core/align/pooling.h: which rows of features count, and what becomes of a sequence's (METHOD 2).
 */
#ifndef RB_CORE_ALIGN_POOLING_H
#define RB_CORE_ALIGN_POOLING_H

#include "core/align/options.h"
#include "core/status.h"
#include "core/sequences.h"

struct rb_pool_rows {
    const struct rb_sequences *sequences; /* borrowed */
    enum rb_pooling pooling;
    bool special_tokens; /* they count */
    size_t *before;      /* (sequences + 1) rows before each sequence; owned */
};

/* RB_EDATASET when no row is left; RB_ENOMEM. */
enum rb_status rb_pool_rows_init(struct rb_pool_rows *p, const struct rb_sequences *sequences,
                                 enum rb_pooling pooling, bool special_tokens,
                                 struct rb_error *err) RB_MUST_CHECK;
void rb_pool_rows_deinit(struct rb_pool_rows *p);

/* Rows of sequences [from, to). */
static inline size_t rb_pool_rows_between(const struct rb_pool_rows *p, size_t from, size_t to)
{
    return p->before[to] - p->before[from];
}

/* Every token is a row: features need not be copied. */
bool rb_pool_rows_are_tokens(const struct rb_pool_rows *p);

/* One sequence's features x (tokens, d) -> its rows at dst. */
void rb_pool_sequence(const struct rb_pool_rows *p, size_t sequence, const float *x, size_t d,
                      float *dst);

#endif
