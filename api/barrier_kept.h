/* api/barrier_kept.h: the errors of a finished job's barriers, kept with its results: making them
 * reads every block of every point (METHOD 13), which may be many. */
#ifndef RB_API_BARRIER_KEPT_H
#define RB_API_BARRIER_KEPT_H

#include "api/barrier.h"

/* As the product of the writing stage, the same bits when read again:
 * {"barrier_errors":{"blocks","chord":[3],"mean":[3],"reduction":[2],"parents":[models],
 * "points":[[…],[…]]}}. New, free() it. RB_ENOMEM. */
enum rb_status rb_barrier_kept_print(const struct rb_barrier_errors *e, size_t models, char **ret,
                                     struct rb_error *err) RB_MUST_CHECK;
/* From there. *ret_known false: the product says nothing of them, or nothing that fits. RB_EJSON,
 * RB_ENOMEM. */
enum rb_status rb_barrier_kept_decode(const char *product, bool *ret_known,
                                      struct rb_barrier_errors *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

#endif
