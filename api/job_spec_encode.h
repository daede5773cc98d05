/* api/job_spec_encode.h: a spec as JSON again. */
#ifndef RB_API_JOB_SPEC_ENCODE_H
#define RB_API_JOB_SPEC_ENCODE_H

#include "api/encode.h"
#include "api/job_spec.h"

/* The spec with all defaults filled, members that mean nothing left out. Decoding it again gives
 * the same job, and the same text: what the store keeps. */
void rb_job_spec_encode(struct rb_json *w, const char *key, const struct rb_job_spec *s);

/* Labels as an object of strings; the job resource shows them too. */
void rb_labels_encode(struct rb_json *w, const char *key, const struct rb_labels *labels);

#endif
