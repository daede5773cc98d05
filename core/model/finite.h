/* core/model/finite.h: is every weight of a model a finite number?
 *
 * One infinity or NaN spreads through every product that meets it, and an infinite logit makes
 * every comparison with it meaningless; so it is looked for before anything is computed. */
#ifndef RB_CORE_MODEL_FINITE_H
#define RB_CORE_MODEL_FINITE_H

#include "core/model/model.h"

#include <stdatomic.h>

/* Reads every bound tensor once, in the order of the checkpoint's names. RB_ENUMERIC names the
 * first tensor that holds an infinity, a NaN or an F64 beyond F32's range, the element's row and
 * column, and its value. RB_ECANCELED once *stop is set (stop may be NULL). What was read counts no
 * longer as this process's memory. Any thread. */
enum rb_status rb_model_check_finite(const struct rb_model *m, const atomic_bool *stop,
                                     struct rb_error *err) RB_MUST_CHECK;
/* The element of values that is not finite and comes first; count if all are. */
size_t rb_find_not_finite(enum rb_dtype dtype, const void *values, size_t count);

#endif
