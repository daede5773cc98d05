/* core/model/tensors.h: the one way to a stored weight. A slot is read as (rows, columns), whatever
 * view and dtype the file has it in; nothing else looks into a tensor's bytes. */
#ifndef RB_CORE_MODEL_TENSORS_H
#define RB_CORE_MODEL_TENSORS_H

#include "core/memory.h"
#include "core/model/model.h"

/* Which rows of a slot are asked for: first, first + 1, … or, with a list, those it names. */
struct rb_rows {
    size_t first, count;
    const uint32_t *list; /* (count) or NULL; each inside the tensor */
};

static inline size_t rb_row_at(const struct rb_rows *r, size_t i)
{
    return r->list != NULL ? r->list[i] : r->first + i;
}

/* Those rows in F32: dst (count, columns) row-major. A vector has one column, i.e. its elements are
 * rows. The slot must be bound. RB_ENOMEM only. */
enum rb_status rb_tensor_read(const struct rb_model *m, enum rb_slot slot, uint32_t layer,
                              const struct rb_rows *rows, float *dst, struct rb_scratch *scratch,
                              struct rb_error *err) RB_MUST_CHECK;

/* The whole slot without copying where it lies in memory as F32, aligned, row after row; else
 * NULL. */
const float *rb_tensor_direct(const struct rb_model *m, enum rb_slot slot, uint32_t layer);

/* Where row r of a slot lies in its stored tensor: a row of it, but with RB_LAYOUT_TRANSPOSED (and
 * more than one column) a column of it. */
size_t rb_tensor_stored_row(const struct rb_config *c, const struct rb_tensor_row *row, size_t r);

#endif
