/* api/job_spec_draft.h: a spec while it is decoded; private to api/job_spec*.c. */
#ifndef RB_API_JOB_SPEC_DRAFT_H
#define RB_API_JOB_SPEC_DRAFT_H

#include "api/job_spec.h"

enum { RB_GIVEN_POINTS = 1, RB_GIVEN_LAMBDAS = 2 };

struct rb_spec_draft {
    struct rb_job_spec spec;    /* first: the table's offsets are those of the spec */
    uint32_t interpolate_given; /* of the two above */
    unsigned flags;
    const char *at;
    struct rb_problems *problems;
};

/* The table of POST /v1/jobs; its target is a draft. job_spec_fields.c */
extern const struct rb_object rb_spec_object;
void rb_dataset_ref_deinit(struct rb_dataset_ref *r);

/* A fault at `pointer` below the spec. job_spec_rules.c */
void rb_draft_fault(struct rb_spec_draft *d, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The rules between members, and the defaults that depend on other members. */
void rb_draft_check(struct rb_spec_draft *d);

#endif
