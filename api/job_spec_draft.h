/* api/job_spec_draft.h: a spec while it is decoded; private to api/job_spec*.c. */
#ifndef RB_API_JOB_SPEC_DRAFT_H
#define RB_API_JOB_SPEC_DRAFT_H

#include "api/job_spec.h"

enum { RB_GIVEN_POINTS = 1, RB_GIVEN_LAMBDAS = 2, RB_GIVEN_WEIGHTS = 4 };

struct rb_spec_draft {
    struct rb_job_spec spec;    /* first: the table's offsets are those of the spec */
    uint32_t interpolate_given; /* of those above */
    unsigned flags;
    const char *at;
    struct rb_problems *problems;
};

#endif
