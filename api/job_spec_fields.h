/* api/job_spec_fields.h: the table of a job's spec; private to api/job_spec*.c. */
#ifndef RB_API_JOB_SPEC_FIELDS_H
#define RB_API_JOB_SPEC_FIELDS_H

#include "api/job_spec_draft.h"

/* The table of POST /v1/jobs; its target is a draft. */
extern const struct rb_object rb_spec_object;
void rb_dataset_ref_deinit(struct rb_dataset_ref *r);

#endif
