/* server/store/terms.h: what jobs are found by: labels, models, datasets. */
#ifndef RB_SERVER_STORE_TERMS_H
#define RB_SERVER_STORE_TERMS_H

#include "api/decode.h"
#include "server/store/store.h"

enum rb_term_kind { RB_TERM_LABEL, RB_TERM_MODEL, RB_TERM_DATASET };

struct rb_term {
    enum rb_term_kind kind;
    const char *name, *value; /* value "" but for labels */
};

/* Adds a term to the job seq, whose row must be there. */
enum rb_status rb_term_add(struct rb_store *s, int64_t job, const struct rb_term *term,
                           struct rb_error *err) RB_MUST_CHECK;

/* Takes all labels away from the job. */
enum rb_status rb_terms_clear_labels(struct rb_store *s, int64_t job,
                                     struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_terms_add_labels(struct rb_store *s, int64_t job, const struct rb_labels *labels,
                                   struct rb_error *err) RB_MUST_CHECK;

/* The labels of the job, sorted by key. The caller owns *ret. */
enum rb_status rb_terms_get_labels(struct rb_store *s, int64_t job, struct rb_labels *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

/* To be called when the job's terms have changed: sets the masks by which lists pass over it. */
enum rb_status rb_terms_mark(struct rb_store *s, int64_t job, struct rb_error *err) RB_MUST_CHECK;

/* The bit that stands for the term in a mask. */
int64_t rb_term_bit(int64_t id);

/* The term's id and on how many jobs it is; 0 and 0 if no job has it. */
enum rb_status rb_term_find(struct rb_store *s, const struct rb_term *term, int64_t *ret_id,
                            uint64_t *ret_jobs, struct rb_error *err) RB_MUST_CHECK;

/* Does a live job use that model or dataset? */
enum rb_status rb_jobs_use_model(struct rb_store *s, const char *name, bool *ret,
                                 struct rb_error *err) RB_MUST_CHECK;
enum rb_status rb_jobs_use_dataset(struct rb_store *s, const char *name, bool *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

#endif
