/* server/work/subject.h: what a job works on, opened: its bound models, their tokenizer, and the
 * texts as token sequences. The same code opens it for a submission's check and for the run, so
 * both refuse with the same words.
 *
 * Pool threads; blocks on disk; err must not be NULL. Errors have their pointer at the member of
 * the job's spec that names what is wrong ("/models/b"), and name the model or dataset in the
 * detail.
 */
#ifndef RB_SERVER_WORK_SUBJECT_H
#define RB_SERVER_WORK_SUBJECT_H

#include "api/job_spec.h"
#include "core/learn/batch.h"
#include "core/merge/chance.h"
#include "core/model/model.h"
#include "core/text/packing.h"
#include "server/work/places.h"

#include <stdatomic.h>

/* Zero-initialise. */
struct rb_subject {
    struct rb_model model[RB_MODELS_MAX]; /* (models) a (or the anchor), b, … */
    bool opened[RB_MODELS_MAX];
    size_t models;
    struct rb_tokenizer *tokenizer;
    struct rb_sequences align, evaluate; /* count 0 where the job needs none */
    struct rb_sequences learn;           /* blocks, unmasked; likewise */
    struct rb_sequences merge;           /* lines of merge.dataset; likewise */
    struct rb_sequences tune;            /* blocks to train a merge on; likewise */
    struct rb_chance chance;             /* of evaluate; with RB_SUBJECT_WHOLE alone */
};
void rb_subject_deinit(struct rb_subject *s);

/* Blocks of the subject's, as a learning program reads them: masked where its models predict masked
 * tokens. Borrows both. */
struct rb_learn_text rb_subject_learn_text(const struct rb_subject *s,
                                           const struct rb_sequences *blocks);

/* Opens and compares models and tokenizers: RB_EMODELS, RB_EVOCAB (also when the vocabulary has
 * more tokens than the model has embeddings), or as rb_model_open and rb_tokenizer_open. On
 * failure s holds what was opened. */
enum rb_status rb_subject_open_models(struct rb_subject *s, const struct rb_places *p,
                                      struct rb_error *err) RB_MUST_CHECK;

/* Is every weight of all models finite? Reads them whole. RB_ENUMERIC naming model and tensor,
 * RB_ECANCELED once *stop is set. */
enum rb_status rb_subject_check_finite(const struct rb_subject *s, const struct rb_places *p,
                                       const atomic_bool *stop, struct rb_error *err) RB_MUST_CHECK;

enum rb_subject_extent {
    RB_SUBJECT_WHOLE,
    RB_SUBJECT_SAMPLE, /* as much as shows whether it can be used: some hundred rows, one block */
};

/* Reads the texts that spec asks for and checks head and labels: RB_EDATASET, RB_EHEAD. spec's
 * lengths must fit the model (rb_job_spec_fit). */
enum rb_status rb_subject_read_texts(struct rb_subject *s, const struct rb_places *p,
                                     const struct rb_job_spec *spec, enum rb_subject_extent extent,
                                     struct rb_error *err) RB_MUST_CHECK;

/* Has a mapped checkpoint changed while it was read? As rb_checkpoint_verify. */
enum rb_status rb_subject_verify(const struct rb_subject *s, const struct rb_places *p,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
