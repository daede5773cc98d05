/* The members of a job's spec, as tables. */
#include "api/dataset.h"
#include "api/job_spec_draft.h"
#include "api/job_spec_fields.h"
#include "api/model.h"
#include "api/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fewer than three tokens hold no word between [CLS] and [SEP]. */
enum {
    LENGTH_MIN = 3,
    LENGTH_MAX = 65536,
    COUNT_MAX = 100000000,
};
#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: exact in every JSON reader */

/* ---- members that are a name in the registry, or with RB_SPEC_PATHS a path ---- */

#define PATH_EXPECTED "a path of 1 to 4096 characters"

static char *copy_of(const char *text, struct rb_problems *problems)
{
    char *copy = strdup(text);
    if (copy == NULL)
        problems->out_of_memory = true;
    return copy;
}

/* A copy of the reference; NULL after a fault, or without memory. */
static char *decode_reference(const json_t *json, const char *pointer, unsigned flags,
                              const char *what, struct rb_problems *problems)
{
    bool paths = (flags & RB_SPEC_PATHS) != 0;
    const char *text = json_string_value(json);
    size_t bytes = json_string_length(json);
    if (text != NULL &&
        (paths ? rb_text_fits(text, 1, RB_PATH_CHARACTERS_MAX) : rb_name_valid(text, bytes)))
        return copy_of(text, problems);
    char found[80], named[128];
    rb_json_describe(json, found, sizeof found);
    (void)snprintf(named, sizeof named, "a %s's name (" RB_NAME_RULE ")", what);
    rb_problems_add(problems, pointer, "expected %s, found %s", paths ? PATH_EXPECTED : named,
                    found);
    return NULL;
}

static void decode_model(const json_t *json, const char *pointer, unsigned flags, void *target,
                         struct rb_problems *problems)
{
    free(*(char **)target); /* two members can name it */
    *(char **)target = decode_reference(json, pointer, flags, "model", problems);
}

void rb_dataset_ref_deinit(struct rb_dataset_ref *r)
{
    free(r->name);
    free(r->text);
    free(r->text_pair);
    free(r->label);
    *r = (struct rb_dataset_ref){0};
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

static enum rb_format format_of_path(const char *path)
{
    if (ends_with(path, ".jsonl"))
        return RB_JSONL;
    return ends_with(path, ".tsv") ? RB_TSV : RB_TEXT;
}

#define PATH_TEXT(name, most)                                                                      \
    .type = RB_FIELD_STRING, .offset = offsetof(struct rb_dataset_ref, name), .low = 1, .high = most
static const struct rb_field path_fields[] = {
    {.key = "path", PATH_TEXT(name, RB_PATH_CHARACTERS_MAX), .required = true},
    {.key = "format",
     .type = RB_FIELD_ENUM,
     .offset = offsetof(struct rb_dataset_ref, format),
     .names = rb_dataset_format_names},
    {.key = "text", PATH_TEXT(text, RB_FIELD_NAME_MAX)},
    {.key = "text_pair", PATH_TEXT(text_pair, RB_FIELD_NAME_MAX)},
    {.key = "label", PATH_TEXT(label, RB_FIELD_NAME_MAX)},
};
#define OBJECT(table, given_at)                                                                    \
    {                                                                                              \
        .fields = (table), .field_count = sizeof(table) / sizeof((table)[0]),                      \
        .given_offset = (given_at)                                                                 \
    }
static const struct rb_object path_object = OBJECT(path_fields, RB_NO_GIVEN);

static void decode_dataset(const json_t *json, const char *pointer, unsigned flags, void *target,
                           struct rb_problems *problems)
{
    struct rb_dataset_ref *ref = target;
    ref->is_path = (flags & RB_SPEC_PATHS) != 0;
    if (ref->is_path && json_is_object(json)) {
        const char *path = json_string_value(json_object_get(json, "path"));
        ref->format = path != NULL ? format_of_path(path) : RB_TEXT;
        size_t before = problems->found;
        rb_object_decode(json, pointer, &path_object, flags, ref, problems);
        if (problems->found == before)
            rb_dataset_fields_check(ref->format, ref->text, ref->text_pair, ref->label, pointer,
                                    problems);
        return;
    }
    ref->name = decode_reference(json, pointer, flags, "dataset", problems);
    ref->format = ref->is_path && ref->name != NULL ? format_of_path(ref->name) : RB_TEXT;
    if (ref->format != RB_TEXT)
        ref->text = copy_of("text", problems);
}

/* ---- the tables ---- */

#define AT(member) .offset = offsetof(struct rb_job_spec, member)

static void decode_others(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    struct rb_job_spec *s = target;
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count < 1 || count > RB_MODELS_MAX - 1) {
        char found[80];
        (void)snprintf(found, sizeof found, "an array of %zu", count);
        if (!json_is_array(json))
            rb_json_describe(json, found, sizeof found);
        rb_problems_add(problems, pointer, "expected an array of 1 to %d models, found %s",
                        RB_MODELS_MAX - 1, found);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char at[64];
        (void)snprintf(at, sizeof at, "%.40s/%zu", pointer, i);
        decode_model(json_array_get(json, i), at, flags, i == 0 ? &s->model_b : &s->more[i - 1],
                     problems);
    }
    s->more_count = count - 1;
}

#define MODEL(name, target)                                                                        \
    {                                                                                              \
        .key = (name), .type = RB_FIELD_CUSTOM, AT(target), .expected = "a model",                 \
        .decode = decode_model                                                                     \
    }
static const struct rb_field models_fields[] = {
    MODEL("a", model_a),
    MODEL("b", model_b),
    MODEL("anchor", model_a),
    {.key = "others",
     .type = RB_FIELD_CUSTOM,
     .expected = "an array of models",
     .decode = decode_others},
};
static const struct rb_object models_object = OBJECT(models_fields, RB_NO_GIVEN);

/* {"a", "b"}, or {"anchor", "others"} for any number. */
static void decode_models(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    static const char *const keys[2][2] = {{"a", "b"}, {"anchor", "others"}};
    struct rb_job_spec *s = target;
    char at[64];
    rb_object_decode(json, pointer, &models_object, flags, s, problems);
    s->anchored =
        json_object_get(json, "anchor") != NULL || json_object_get(json, "others") != NULL;
    for (int k = 0; k < 2 && json_is_object(json); k++) {
        (void)snprintf(at, sizeof at, "%.40s/%s", pointer, keys[s->anchored][k]);
        if (json_object_get(json, keys[s->anchored][k]) == NULL)
            rb_problems_add(problems, at, "required: expected %s, found no such member",
                            s->anchored && k == 1 ? "an array of models" : "a model");
        (void)snprintf(at, sizeof at, "%.40s/%s", pointer, keys[!s->anchored][k]);
        if (json_object_get(json, keys[!s->anchored][k]) != NULL)
            rb_problems_add(problems, at,
                            "expected \"a\" and \"b\", or \"anchor\" and \"others\", found both");
    }
}

/* ---- weights of several models ---- */

/* One list of weights behind those that are there; all have the length of the first. */
static void add_weights(const json_t *row, const char *pointer, struct rb_numbers *ret,
                        size_t columns, struct rb_problems *problems)
{
    for (size_t i = 0; i < columns; i++) {
        const json_t *v = json_array_get(row, i);
        if (!json_is_number(v)) {
            char found[80];
            rb_json_describe(v, found, sizeof found);
            rb_problems_add(problems, pointer, "expected a list of numbers, found %s in it", found);
            return;
        }
        ret->values[ret->count++] = json_number_value(v);
    }
    if (!rb_simplex_valid(ret->values + ret->count - columns, columns)) {
        double sum = 0;
        for (size_t i = 0; i < columns; i++)
            sum += ret->values[ret->count - columns + i];
        rb_problems_add(problems, pointer,
                        "expected weights from 0 to 1 that sum to 1, found a sum of %.9g", sum);
    }
}

/* Lists of weights, as one array: (rows, models). */
static void decode_weight_lists(const json_t *json, const char *pointer, size_t most,
                                struct rb_numbers *ret, struct rb_problems *problems)
{
    size_t rows = json_array_size(json), columns = json_array_size(json_array_get(json, 0));
    if (rows < 1 || rows > most || columns < 2 || columns > RB_MODELS_MAX) {
        rb_problems_add(problems, pointer,
                        "expected 1 to %zu lists of weights, one weight a model, found %zu of %zu",
                        most, rows, columns);
        return;
    }
    ret->values = calloc(rows * columns, sizeof *ret->values);
    if (ret->values == NULL) {
        problems->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        char at[64];
        const json_t *row = json_array_get(json, i);
        (void)snprintf(at, sizeof at, "%.40s/%zu", pointer, i);
        if (json_array_size(row) != columns) {
            rb_problems_add(problems, at, "expected %zu weights as in the first list, found %zu",
                            columns, json_array_size(row));
            return;
        }
        add_weights(row, at, ret, columns, problems);
    }
    ret->row = columns;
}

static void decode_weights(const json_t *json, const char *pointer, unsigned flags, void *target,
                           struct rb_problems *problems)
{
    struct rb_job_spec *s = target;
    int grid = RB_SIMPLEX_LISTED;
    (void)flags;
    if (json_is_array(json)) {
        decode_weight_lists(json, pointer, RB_POINTS_MAX, &s->weights, problems);
    } else if (rb_enum_decode(json, pointer, rb_simplex_names, &grid, problems)) {
        s->grid = (enum rb_simplex_grid)grid;
        if (grid == RB_SIMPLEX_LISTED)
            rb_problems_add(problems, pointer,
                            "expected lists of weights, \"simplex\" or \"centroid\"");
    }
}

static const struct rb_field merged_fields[] = {
    {.key = "merged",
     .type = RB_FIELD_NUMBERS,
     AT(merged),
     .low = 0,
     .high = 1,
     .most = RB_MERGED_MAX},
};
static const struct rb_object merged_object = OBJECT(merged_fields, RB_NO_GIVEN);

/* Lambdas, or lists of weights. */
static void decode_merged(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    struct rb_job_spec *s = target;
    char at[64];
    if (json_is_array(json_array_get(json, 0))) {
        decode_weight_lists(json, pointer, RB_MERGED_MAX, &s->merged_weights, problems);
        return;
    }
    json_t *alone = json_pack("{s:O}", "merged", (json_t *)(uintptr_t)json);
    (void)snprintf(at, sizeof at, "%.*s", (int)(strlen(pointer) - strlen("/merged")), pointer);
    if (alone == NULL)
        problems->out_of_memory = true;
    else
        rb_object_decode(alone, at, &merged_object, flags, s, problems);
    json_decref(alone);
}

#define IN_LEARN(member) .offset = offsetof(struct rb_learn_spec, member)
static const struct rb_field learn_fields[] = {
    {.key = "steps",
     .type = RB_FIELD_UINT,
     IN_LEARN(options.steps),
     .low = 1,
     .high = RB_LEARN_STEPS_MOST,
     .given = RB_LEARN_STEPS},
    {.key = "batch_tokens",
     .type = RB_FIELD_UINT,
     IN_LEARN(options.batch_tokens),
     .low = LENGTH_MIN,
     .high = RB_LEARN_BATCH_MOST,
     .given = RB_LEARN_BATCH_TOKENS},
    {.key = "learning_rate",
     .type = RB_FIELD_NUMBER,
     IN_LEARN(options.learning_rate),
     .low = 0,
     .open_low = true,
     .high = 1,
     .given = RB_LEARN_LEARNING_RATE},
    {.key = "lambda",
     .type = RB_FIELD_NUMBERS,
     IN_LEARN(lambda),
     .low = 0,
     .high = 1,
     .most = 2,
     .given = RB_LEARN_LAMBDA},
    {.key = "groups",
     .type = RB_FIELD_FLAGS,
     IN_LEARN(groups),
     .names = rb_learn_group_names,
     .given = RB_LEARN_GROUPS},
    {.key = "patience",
     .type = RB_FIELD_UINT,
     IN_LEARN(options.patience),
     .high = RB_LEARN_STEPS_MOST,
     .given = RB_LEARN_PATIENCE},
    {.key = "seed",
     .type = RB_FIELD_UINT64,
     IN_LEARN(options.seed),
     .high = SEED_MAX,
     .given = RB_LEARN_SEED},
    {.key = "dataset",
     .type = RB_FIELD_CUSTOM,
     IN_LEARN(dataset),
     .expected = "a dataset",
     .decode = decode_dataset,
     .given = RB_LEARN_DATASET},
};
static const struct rb_object learn_object =
    OBJECT(learn_fields, offsetof(struct rb_learn_spec, given));

#define IN_ALIGN(member) .offset = offsetof(struct rb_align_spec, member)
#define ALIGN_BOOL(member) .type = RB_FIELD_BOOL, IN_ALIGN(options.member)
#define ALIGN_ENUM(member)                                                                         \
    .type = RB_FIELD_ENUM, IN_ALIGN(options.member), .names = rb_##member##_names
static const struct rb_field align_fields[] = {
    {.key = "preset",
     .type = RB_FIELD_ENUM,
     IN_ALIGN(preset),
     .names = rb_preset_names,
     .given = RB_ALIGN_PRESET},
    {.key = "components",
     .type = RB_FIELD_FLAGS,
     IN_ALIGN(options.components),
     .names = rb_component_names,
     .given = RB_ALIGN_COMPONENTS},
    {.key = "heads", ALIGN_ENUM(heads), .given = RB_ALIGN_HEADS},
    {.key = "separate_qk", ALIGN_BOOL(separate_qk), .given = RB_ALIGN_SEPARATE_QK},
    {.key = "rotate_heads", ALIGN_BOOL(rotate_heads), .given = RB_ALIGN_ROTATE_HEADS},
    {.key = "head_map", ALIGN_ENUM(head_map), .given = RB_ALIGN_HEAD_MAP},
    {.key = "residual_map", ALIGN_ENUM(residual_map), .given = RB_ALIGN_RESIDUAL_MAP},
    {.key = "match", ALIGN_ENUM(match), .given = RB_ALIGN_MATCH},
    {.key = "rounds",
     .type = RB_FIELD_UINT,
     IN_ALIGN(options.rounds),
     .low = 1,
     .high = RB_ALIGN_ROUNDS_MOST,
     .given = RB_ALIGN_ROUNDS},
    {.key = "equivalence", ALIGN_ENUM(equivalence), .given = RB_ALIGN_EQUIVALENCE},
    {.key = "fold", ALIGN_BOOL(fold), .given = RB_ALIGN_FOLD},
    {.key = "signed", ALIGN_BOOL(signed_units), .given = RB_ALIGN_SIGNED},
    {.key = "residual", ALIGN_ENUM(residual), .given = RB_ALIGN_RESIDUAL},
    {.key = "decoder", ALIGN_ENUM(decoder), .given = RB_ALIGN_DECODER},
    {.key = "output_head", ALIGN_BOOL(output_head), .given = RB_ALIGN_OUTPUT_HEAD},
    {.key = "similarity", ALIGN_ENUM(similarity), .given = RB_ALIGN_SIMILARITY},
    {.key = "absolute", ALIGN_BOOL(absolute), .given = RB_ALIGN_ABSOLUTE},
    {.key = "pooling", ALIGN_ENUM(pooling), .given = RB_ALIGN_POOLING},
    {.key = "special_tokens", ALIGN_BOOL(special_tokens), .given = RB_ALIGN_SPECIAL_TOKENS},
    {.key = "dataset",
     .type = RB_FIELD_CUSTOM,
     IN_ALIGN(dataset),
     .expected = "a dataset",
     .decode = decode_dataset,
     .given = RB_ALIGN_DATASET},
    {.key = "max_sequences",
     .type = RB_FIELD_UINT,
     IN_ALIGN(max_sequences),
     .low = 1,
     .high = COUNT_MAX,
     .given = RB_ALIGN_MAX_SEQUENCES},
    {.key = "max_length",
     .type = RB_FIELD_UINT,
     IN_ALIGN(max_length),
     .low = LENGTH_MIN,
     .high = LENGTH_MAX,
     .given = RB_ALIGN_MAX_LENGTH},
    {.key = "reference",
     .type = RB_FIELD_ENUM,
     IN_ALIGN(reference),
     .names = rb_reference_names,
     .given = RB_ALIGN_REFERENCE},
    {.key = "cycles", .type = RB_FIELD_BOOL, IN_ALIGN(cycles), .given = RB_ALIGN_CYCLES},
    {.key = "from_job", .type = RB_FIELD_JOB_ID, IN_ALIGN(from_job), .given = RB_ALIGN_FROM_JOB},
    {.key = "learn",
     .type = RB_FIELD_OBJECT,
     IN_ALIGN(learn),
     .object = &learn_object,
     .given = RB_ALIGN_LEARN},
};
static const struct rb_object align_object =
    OBJECT(align_fields, offsetof(struct rb_align_spec, given));

static const struct rb_field interpolate_fields[] = {
    {.key = "points",
     .type = RB_FIELD_UINT,
     AT(points),
     .low = 2,
     .high = RB_POINTS_MAX,
     .word = "auto",
     .given = RB_GIVEN_POINTS},
    {.key = "lambdas",
     .type = RB_FIELD_NUMBERS,
     AT(lambdas),
     .low = 0,
     .high = 1,
     .most = RB_POINTS_MAX,
     .given = RB_GIVEN_LAMBDAS},
    {.key = "weights",
     .type = RB_FIELD_CUSTOM,
     .expected = "lists of weights, \"simplex\" or \"centroid\"",
     .decode = decode_weights,
     .given = RB_GIVEN_WEIGHTS},
};
static const struct rb_object interpolate_object =
    OBJECT(interpolate_fields, offsetof(struct rb_spec_draft, interpolate_given));

/* The metrics that can be asked for; those of blocks of text always come. In rb_metric_names'
 * order. */
enum { FIRST_METRIC = RB_ACCURACY };

static void decode_metric(const json_t *json, const char *pointer, unsigned flags, void *target,
                          struct rb_problems *problems)
{
    (void)flags;
    int index = 0;
    if (rb_enum_decode(json, pointer, rb_metric_names + FIRST_METRIC, &index, problems))
        *(enum rb_metric *)target = (enum rb_metric)(index + FIRST_METRIC);
}

#define IN_EVALUATE(member) .offset = offsetof(struct rb_evaluate_spec, member)
static const struct rb_field evaluate_fields[] = {
    {.key = "task",
     .type = RB_FIELD_ENUM,
     IN_EVALUATE(options.task),
     .required = true,
     .names = rb_task_names,
     .given = RB_EVALUATE_TASK},
    {.key = "dataset",
     .type = RB_FIELD_CUSTOM,
     IN_EVALUATE(dataset),
     .required = true,
     .expected = "a dataset",
     .decode = decode_dataset,
     .given = RB_EVALUATE_DATASET},
    {.key = "block_size",
     .type = RB_FIELD_UINT,
     IN_EVALUATE(options.block_size),
     .low = LENGTH_MIN,
     .high = LENGTH_MAX,
     .given = RB_EVALUATE_BLOCK_SIZE},
    {.key = "precision",
     .type = RB_FIELD_NUMBER,
     IN_EVALUATE(options.precision),
     .low = 0,
     .high = 10,
     .open_low = true,
     .given = RB_EVALUATE_PRECISION},
    {.key = "max_blocks",
     .type = RB_FIELD_UINT,
     IN_EVALUATE(options.max_blocks),
     .high = COUNT_MAX,
     .given = RB_EVALUATE_MAX_BLOCKS},
    {.key = "mask_probability",
     .type = RB_FIELD_NUMBER,
     IN_EVALUATE(options.mask_probability),
     .low = 0,
     .open_low = true,
     .high = 1,
     .given = RB_EVALUATE_MASK_PROBABILITY},
    {.key = "seed",
     .type = RB_FIELD_UINT64,
     IN_EVALUATE(options.seed),
     .high = SEED_MAX,
     .given = RB_EVALUATE_SEED},
    {.key = "max_length",
     .type = RB_FIELD_UINT,
     IN_EVALUATE(options.max_length),
     .low = LENGTH_MIN,
     .high = LENGTH_MAX,
     .given = RB_EVALUATE_MAX_LENGTH},
    {.key = "max_examples",
     .type = RB_FIELD_UINT,
     IN_EVALUATE(options.max_examples),
     .high = COUNT_MAX,
     .given = RB_EVALUATE_MAX_EXAMPLES},
    {.key = "metric",
     .type = RB_FIELD_CUSTOM,
     IN_EVALUATE(options.metric),
     .expected = "a metric",
     .decode = decode_metric,
     .given = RB_EVALUATE_METRIC},
    {.key = "control",
     .type = RB_FIELD_BOOL,
     IN_EVALUATE(options.control),
     .given = RB_EVALUATE_CONTROL},
};
static const struct rb_object evaluate_object =
    OBJECT(evaluate_fields, offsetof(struct rb_evaluate_spec, given));

static const struct rb_field outputs_fields[] = {
    {.key = "merged",
     .type = RB_FIELD_CUSTOM,
     .expected = "an array of lambdas, or of lists of weights",
     .decode = decode_merged},
    {.key = "dtype", .type = RB_FIELD_ENUM, AT(dtype), .names = rb_output_dtype_names},
};
static const struct rb_object outputs_object = OBJECT(outputs_fields, RB_NO_GIVEN);

#define IN_TUNE(member) .offset = offsetof(struct rb_finetune_options, member)
static const struct rb_field finetune_fields[] = {
    {.key = "steps", .type = RB_FIELD_UINT, IN_TUNE(steps), .low = 1, .high = RB_LEARN_STEPS_MOST},
    {.key = "learning_rate",
     .type = RB_FIELD_NUMBER,
     IN_TUNE(learning_rate),
     .low = 0,
     .open_low = true,
     .high = 1},
    {.key = "tokens",
     .type = RB_FIELD_UINT,
     IN_TUNE(tokens),
     .low = LENGTH_MIN,
     .high = RB_LEARN_BATCH_MOST},
};
static const struct rb_object finetune_object = OBJECT(finetune_fields, RB_NO_GIVEN);

#define IN_MERGE(member) .offset = offsetof(struct rb_merge_spec, member)
static const struct rb_field merge_fields[] = {
    {.key = "method",
     .type = RB_FIELD_ENUM,
     IN_MERGE(method),
     .names = rb_merge_method_names,
     .given = RB_MERGE_GIVEN_METHOD},
    {.key = "finetune",
     .type = RB_FIELD_OBJECT,
     IN_MERGE(finetune),
     .object = &finetune_object,
     .given = RB_MERGE_GIVEN_FINETUNE},
    {.key = "dataset",
     .type = RB_FIELD_CUSTOM,
     IN_MERGE(dataset),
     .expected = "a dataset",
     .decode = decode_dataset,
     .given = RB_MERGE_GIVEN_DATASET},
};
static const struct rb_object merge_object =
    OBJECT(merge_fields, offsetof(struct rb_merge_spec, given));

const char *const rb_spec_executor_names[] = {"default", "local", "slurm", NULL};

static void decode_executor(const json_t *json, const char *pointer, unsigned flags, void *target,
                            struct rb_problems *problems)
{
    int index;
    (void)flags;
    if (rb_enum_decode(json, pointer, rb_spec_executor_names + 1, &index, problems))
        *(enum rb_spec_executor *)target = (enum rb_spec_executor)(index + 1);
}

static const struct rb_field spec_fields[] = {
    {.key = "name",
     .type = RB_FIELD_STRING,
     AT(name),
     .low = 1,
     .high = RB_JOB_NAME_MAX,
     .given = RB_SPEC_NAME},
    {.key = "labels", .type = RB_FIELD_LABELS, AT(labels), .given = RB_SPEC_LABELS},
    {.key = "priority",
     .type = RB_FIELD_INT,
     AT(priority),
     .low = -RB_PRIORITY_MAX,
     .high = RB_PRIORITY_MAX,
     .given = RB_SPEC_PRIORITY},
    {.key = "executor",
     .type = RB_FIELD_CUSTOM,
     AT(executor),
     .expected = "\"local\" or \"slurm\"",
     .decode = decode_executor},
    {.key = "models",
     .type = RB_FIELD_CUSTOM,
     .required = true,
     .expected = "an object",
     .decode = decode_models},
    {.key = "align",
     .type = RB_FIELD_OBJECT,
     AT(align),
     .object = &align_object,
     .given = RB_SPEC_ALIGN},
    {.key = "interpolate",
     .type = RB_FIELD_OBJECT,
     .object = &interpolate_object,
     .given = RB_SPEC_INTERPOLATE},
    {.key = "evaluate",
     .type = RB_FIELD_OBJECT,
     AT(evaluate),
     .object = &evaluate_object,
     .given = RB_SPEC_EVALUATE},
    {.key = "merge",
     .type = RB_FIELD_OBJECT,
     AT(merge),
     .object = &merge_object,
     .given = RB_SPEC_MERGE},
    {.key = "outputs",
     .type = RB_FIELD_OBJECT,
     .object = &outputs_object,
     .given = RB_SPEC_OUTPUTS},
};
const struct rb_object rb_spec_object = OBJECT(spec_fields, offsetof(struct rb_job_spec, given));
