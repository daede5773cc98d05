/* api/job_spec.h: what a client asks for: the body of POST /v1/jobs, and SPEC.json of
 * `rebasind run`. After decoding every member has its value; the `given` bits say which ones the
 * client wrote, so that a default may give way to the model (rb_job_spec_fit) and a wish may not.
 */
#ifndef RB_API_JOB_SPEC_H
#define RB_API_JOB_SPEC_H

#include "api/decode.h"
#include "api/encode.h"
#include "core/align/preset.h"
#include "core/learn/options.h"
#include "core/merge/options.h"
#include "core/merge/simplex.h"
#include "core/merge/write.h"
#include "core/text/dataset.h"

enum {
    RB_JOB_NAME_MAX = 200, /* characters */
    RB_PRIORITY_MAX = 100, /* -100 … 100; higher runs first */
    RB_POINTS_MAX = 1001,
    RB_MERGED_MAX = 101,
    RB_MODELS_MAX = 32, /* in one job */
    RB_BATCH_MAX = 100,
};
/* "auto": of the grid of RB_REFINE_POINTS only what rb_refine asks for is evaluated. */
#define RB_POINTS_AUTO UINT32_MAX

enum rb_spec_flags {
    /* Models and datasets are paths, not names in the registry; a dataset may then also be
     * {"path","format","text","text_pair","label"}. align.from_job is refused: there is no store.
     */
    RB_SPEC_PATHS = 1,
};

/* A dataset by name; with RB_SPEC_PATHS by path, and then how it is read. */
struct rb_dataset_ref {
    char *name; /* NULL: none */
    bool is_path;
    /* Of a path. Given as a plain string the format is told by the ending (.jsonl, .tsv, else
     * text) and the fields are "text" and, for tasks with labels, "label". */
    enum rb_format format;
    char *text, *text_pair, *label; /* NULL: none */
};

/* Bits of rb_align_spec.given. */
enum rb_align_given {
    RB_ALIGN_COMPONENTS = 1 << 0,
    RB_ALIGN_HEADS = 1 << 1,
    RB_ALIGN_SEPARATE_QK = 1 << 2,
    RB_ALIGN_ROTATE_HEADS = 1 << 3,
    RB_ALIGN_RESIDUAL = 1 << 4,
    RB_ALIGN_DECODER = 1 << 5,
    RB_ALIGN_OUTPUT_HEAD = 1 << 6,
    RB_ALIGN_SIMILARITY = 1 << 7,
    RB_ALIGN_ABSOLUTE = 1 << 8,
    RB_ALIGN_POOLING = 1 << 9,
    RB_ALIGN_SPECIAL_TOKENS = 1 << 10,
    RB_ALIGN_DATASET = 1 << 11,
    RB_ALIGN_MAX_SEQUENCES = 1 << 12,
    RB_ALIGN_MAX_LENGTH = 1 << 13,
    RB_ALIGN_FROM_JOB = 1 << 14,
    RB_ALIGN_HEAD_MAP = 1 << 15,
    RB_ALIGN_SIGNED = 1 << 16,
    RB_ALIGN_MATCH = 1 << 17,
    RB_ALIGN_RESIDUAL_MAP = 1 << 18,
    RB_ALIGN_FOLD = 1 << 19,
    RB_ALIGN_EQUIVALENCE = 1 << 20,
    RB_ALIGN_PRESET = 1 << 21,
    RB_ALIGN_ROUNDS = 1 << 22,
    RB_ALIGN_LEARN = 1 << 24,
    RB_ALIGN_REFERENCE = 1 << 25,
    RB_ALIGN_CYCLES = 1 << 26,
};

/* Bits of rb_learn_spec.given. */
enum rb_learn_given {
    RB_LEARN_STEPS = 1 << 0,
    RB_LEARN_BATCH_TOKENS = 1 << 1,
    RB_LEARN_LEARNING_RATE = 1 << 2,
    RB_LEARN_LAMBDA = 1 << 3,
    RB_LEARN_GROUPS = 1 << 4,
    RB_LEARN_PATIENCE = 1 << 5,
    RB_LEARN_SEED = 1 << 6,
    RB_LEARN_DATASET = 1 << 7,
};

/* align.learn (METHOD 11). What a model leaves free is its family's matter: see groups. */
struct rb_learn_spec {
    uint32_t given;
    struct rb_learn_options options; /* residual, query_keys and values are set from groups later */
    unsigned groups;                 /* of enum rb_learn_group; 0: all that the model admits */
    struct rb_numbers lambda;        /* as it came: two numbers; in options afterwards */
    struct rb_dataset_ref dataset;   /* name NULL: align's own */
};

struct rb_align_spec {
    uint32_t given;
    /* Not RB_PRESET_PAPER until rb_job_spec_settle has written the family's recipe into options. */
    enum rb_preset preset;
    char *from_job; /* NULL, or a job whose alignment is used: all below is then meaningless */
    /* decoder is RB_DECODER_UNTIED whenever output_head is set: METHOD 4. */
    struct rb_align_options options;
    struct rb_dataset_ref dataset; /* there whenever components is not 0 and from_job is NULL */
    uint32_t max_sequences;        /* 1000 */
    uint32_t max_length;           /* 128 */
    enum rb_reference reference;   /* of three models or more */
    bool cycles;                   /* likewise: all pairs are aligned, to see whether they agree */
    bool has_learn;                /* maps are learned after they were matched */
    struct rb_learn_spec learn;
};

/* Bits of rb_evaluate_spec.given. */
enum rb_evaluate_given {
    RB_EVALUATE_TASK = 1 << 0,
    RB_EVALUATE_DATASET = 1 << 1,
    RB_EVALUATE_BLOCK_SIZE = 1 << 2,
    RB_EVALUATE_MAX_BLOCKS = 1 << 3,
    RB_EVALUATE_MASK_PROBABILITY = 1 << 4,
    RB_EVALUATE_SEED = 1 << 5,
    RB_EVALUATE_MAX_LENGTH = 1 << 6,
    RB_EVALUATE_MAX_EXAMPLES = 1 << 7,
    RB_EVALUATE_METRIC = 1 << 8,
    RB_EVALUATE_CONTROL = 1 << 9,
    RB_EVALUATE_PRECISION = 1 << 10,
};

struct rb_evaluate_spec {
    uint32_t given;
    struct rb_evaluate_options options; /* members of the other tasks are 0 */
    struct rb_dataset_ref dataset;
};

/* Bits of rb_merge_spec.given. */
enum rb_merge_given {
    RB_MERGE_GIVEN_METHOD = 1 << 0,
    RB_MERGE_GIVEN_DATASET = 1 << 1,
    RB_MERGE_GIVEN_FINETUNE = 1 << 2,
};

/* merge (METHOD 12): how the checkpoints of outputs.merged are made. The curve is of the straight
 * path whatever it says. */
struct rb_merge_spec {
    uint32_t given;
    enum rb_merge_method method;
    struct rb_finetune_options finetune; /* with RB_MERGE_GIVEN_FINETUNE */
    struct rb_dataset_ref dataset;       /* name NULL: align's own */
};

/* Who computes. DEFAULT: what the daemon was started with. */
enum rb_spec_executor { RB_SPEC_EXECUTOR_DEFAULT, RB_SPEC_EXECUTOR_LOCAL, RB_SPEC_EXECUTOR_SLURM };
/* In enum order; "default" never goes over the wire. */
extern const char *const rb_spec_executor_names[];

/* Bits of rb_job_spec.given. */
enum rb_spec_given {
    RB_SPEC_ALIGN = 1 << 0,
    RB_SPEC_INTERPOLATE = 1 << 1,
    RB_SPEC_EVALUATE = 1 << 2,
    RB_SPEC_OUTPUTS = 1 << 3,
    RB_SPEC_NAME = 1 << 4,
    RB_SPEC_LABELS = 1 << 5,
    RB_SPEC_PRIORITY = 1 << 6,
    RB_SPEC_MERGE = 1 << 7,
};

struct rb_job_spec {
    uint32_t given;
    int32_t priority;
    char *name; /* NULL: none */
    struct rb_labels labels;
    char *model_a, *model_b;       /* names; with RB_SPEC_PATHS folders */
    char *more[RB_MODELS_MAX - 2]; /* (more_count) the models beyond two; model_a is the anchor */
    size_t more_count;
    struct rb_align_spec align;
    bool anchored;             /* models were given as {"anchor", "others"} */
    bool has_evaluate;         /* false: no curve; lambdas are then not used */
    uint32_t points;           /* 0 when lambdas or weights were listed, or RB_POINTS_AUTO */
    enum rb_simplex_grid grid; /* of three models or more */
    enum rb_output_dtype dtype;
    /* Resolved: ascending, distinct, first 0, last 1. Of three models or more the numbers of the
     * points, 0, 1 … */
    struct rb_numbers lambdas;
    struct rb_numbers weights; /* (lambdas.count, models) likewise: the vertices come first */
    struct rb_evaluate_spec evaluate;
    /* Lambdas to write as checkpoints: ascending, distinct, in [0, 1]. Of three models or more
     * RB_MERGED_WEIGHTS, RB_MERGED_WEIGHTS + 1 …, whose weights follow. */
    struct rb_numbers merged;
    struct rb_numbers merged_weights; /* (merged.count, models) */
    struct rb_merge_spec merge;
    enum rb_spec_executor executor;
};

/* Are merged checkpoints solved for, are they trained, … */
static inline bool rb_job_spec_solves(const struct rb_job_spec *s)
{
    return s->merged.count > 0 && s->merge.method == RB_METHOD_LEAST_SQUARES;
}
static inline bool rb_job_spec_tunes(const struct rb_job_spec *s)
{
    return s->merged.count > 0 && (s->merge.given & RB_MERGE_GIVEN_FINETUNE) != 0;
}
/* … or at least one of both, so that they need a text to be made from? */
static inline bool rb_job_spec_makes(const struct rb_job_spec *s)
{
    return rb_job_spec_solves(s) || rb_job_spec_tunes(s);
}

/* How many models, and the i-th's name. */
static inline size_t rb_job_spec_models(const struct rb_job_spec *s)
{
    return 2 + s->more_count;
}
static inline bool rb_job_spec_several(const struct rb_job_spec *s)
{
    return s->more_count > 0;
}
static inline const char *rb_job_spec_model(const struct rb_job_spec *s, size_t i)
{
    return i == 0 ? s->model_a : i == 1 ? s->model_b : s->more[i - 2];
}
/* Where the i-th model stands in the spec: "/models/a", "/models/others/3". */
const char *rb_job_spec_model_pointer(bool anchored, size_t i, char buffer[32]);

/* Decodes one job. `at` is the pointer of json ("" or "/jobs/3"). All faults go to problems (may
 * be NULL); err says the first. RB_EINPUT, RB_ENOMEM. The caller owns *ret: rb_job_spec_deinit;
 * untouched on failure. */
enum rb_status rb_job_spec_decode(const json_t *json, const char *at, unsigned flags,
                                  struct rb_job_spec *ret, struct rb_problems *problems,
                                  struct rb_error *err) RB_MUST_CHECK;
void rb_job_spec_deinit(struct rb_job_spec *s);

/* Puts align.preset's recipe for the models' family into the members of align that were not given,
 * and then holds them against each other as decoding does without a preset. Nothing without one;
 * call it once the models are known, before rb_job_spec_fit. RB_EINPUT. */
enum rb_status rb_job_spec_settle(struct rb_job_spec *s, const char *at, const char *family,
                                  const struct rb_align_shape *shape, struct rb_problems *problems,
                                  struct rb_error *err) RB_MUST_CHECK;

/* Holds the lengths against the model (METHOD 7): max_length and block_size that were not given
 * are capped at `longest`, the tokens that one sequence of the models may have; one that was given
 * and is longer is an error. Call it once the models are known, before encoding. RB_EINPUT. */
enum rb_status rb_job_spec_fit(struct rb_job_spec *s, const char *at, uint32_t longest,
                               struct rb_problems *problems, struct rb_error *err) RB_MUST_CHECK;

/* The spec from that text. RB_EJSON, RB_EINPUT, RB_ENOMEM. The caller owns *ret:
 * rb_job_spec_deinit; untouched on failure. */
enum rb_status rb_job_spec_restore(const char *text, struct rb_job_spec *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

/* The same, but of a spec of three models or more nothing else than its models, lambdas and
 * weights: what names a point. Lists of jobs ask for it, each for all of its rows. */
enum rb_status rb_job_spec_restore_points(const char *text, struct rb_job_spec *ret,
                                          struct rb_error *err) RB_MUST_CHECK;

/* {"jobs":[…]} of POST /v1/jobs/batch: 1 to RB_BATCH_MAX jobs, all or none. The caller owns the
 * array and each spec: rb_job_specs_free. */
enum rb_status rb_job_batch_decode(const json_t *json, struct rb_job_spec **ret, size_t *ret_count,
                                   struct rb_problems *problems,
                                   struct rb_error *err) RB_MUST_CHECK;
void rb_job_specs_free(struct rb_job_spec *specs, size_t count);

#endif
