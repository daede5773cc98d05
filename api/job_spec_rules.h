/* api/job_spec_rules.h: what members of a spec mean to each other; private to
 * api/job_spec*.c. */
#ifndef RB_API_JOB_SPEC_RULES_H
#define RB_API_JOB_SPEC_RULES_H

#include "api/job_spec_draft.h"

/* A fault at `pointer` below the spec. */
void rb_draft_fault(struct rb_spec_draft *d, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Where the points are: lambdas, or of three models or more weights, and all in the order that is
 * theirs. Part of what follows. */
void rb_draft_place(struct rb_spec_draft *d);

/* The rules between members, and the defaults that depend on other members. */
void rb_draft_check(struct rb_spec_draft *d);

/* align.preset into the spec, now that the models are known: faults go to d->problems. */
void rb_draft_settle(struct rb_spec_draft *d, const char *family,
                     const struct rb_align_shape *shape);

#endif
