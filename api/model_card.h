/* api/model_card.h: what stands beside a merged checkpoint: a model card for people (README.md,
 * with the Hub's YAML head), the curve as SVG, and the provenance for machines. The same facts give
 * the same bytes. Any thread. */
#ifndef RB_API_MODEL_CARD_H
#define RB_API_MODEL_CARD_H

#include "api/barrier.h"
#include "api/job.h"
#include "api/model.h"
#include "core/align/alignment.h"

enum { RB_LICENSE_SIZE = 64 };

struct rb_card_parent {
    char name[RB_NAME_SIZE];           /* as it is registered */
    char source[RB_MODEL_SOURCE_SIZE]; /* rb_model_resource.source; "": not known */
    char license[RB_LICENSE_SIZE];     /* "": its card names none */
};

/* Texts and pointers are borrowed. */
struct rb_model_card {
    const char *job, *version; /* id; the daemon's version */
    const char *spec;          /* JSON, as rb_job_spec_encode wrote it */
    const char *environment;   /* JSON, as rb_environment_encode wrote it; NULL: null */
    const char *build;         /* JSON, as rb_build_encode wrote it; NULL: null */
    const char *dtype;         /* of rb_output_dtype_names */
    double lambda;
    struct rb_card_parent parents[RB_MODELS_MAX]; /* a (or the anchor), b, … */
    size_t parent_count;
    const double *weights; /* (parent_count) of three models or more: lambda is then their number */
    const struct rb_job_input *inputs;
    size_t input_count;
    const struct rb_barrier_view *curve;      /* NULL: the job has none */
    bool moved;                               /* was B moved at all */
    const struct rb_certificate *certificate; /* NULL: there is none */
    const char *merge; /* JSON of this checkpoint in merge.json; NULL: it is the plain sum */
};

/* The `license` of a card's YAML head (from "---" to "---"): one word of a-z A-Z 0-9 . + - in
 * quotes or not; "" for everything else. */
void rb_card_license(const char *card, size_t bytes, char ret[RB_LICENSE_SIZE]);

/* README.md; its curve is the file `svg` beside it. New, free() it. RB_ENOMEM. */
enum rb_status rb_model_card_write(const struct rb_model_card *c, const char *svg, char **ret,
                                   size_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;
/* Both curves over lambda, with a line at `lambda`. c->curve is there. New, free() it. RB_ENOMEM.
 */
enum rb_status rb_model_card_svg(const struct rb_model_card *c, char **ret, size_t *ret_bytes,
                                 struct rb_error *err) RB_MUST_CHECK;
/* {"job","version","lambda" (of three models or more
 * "weights"),"dtype","inputs":[{"role","name","sha256","source","license"}],"spec",
 * "barrier","certificate","environment","build"}: parts the job has not are null; source and
 * license stand with models alone. New, free() it. RB_ENOMEM. */
enum rb_status rb_model_card_provenance(const struct rb_model_card *c, char **ret,
                                        size_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;

#endif
