/* What the members of a job's spec mean to each other. */
#include "api/job_spec_draft.h"
#include "api/job_spec_rules.h"

#include "api/artifact.h"
#include "core/merge/refine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_draft_fault(struct rb_spec_draft *d, const char *pointer, const char *format, ...)
{
    char where[sizeof d->problems->items[0].pointer], words[sizeof d->problems->items[0].detail];
    (void)snprintf(where, sizeof where, "%s%s", d->at, pointer);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    rb_problems_add(d->problems, where, "%s", words);
}

/* ---- align: which members mean something with which components ---- */

/* A member whose value is the default's changes nothing and is taken anywhere, so that a form may
 * send all of its fields; another value without the component is a mistake. */
static void check_components(struct rb_spec_draft *d)
{
    const struct rb_align_options *o = &d->spec.align.options;
    struct rb_align_options plain;
    rb_align_options_default(&plain);
    const struct {
        const char *pointer;
        bool asks;
        enum rb_component needs;
    } rules[] = {
        {"/align/heads", o->heads != plain.heads, RB_COMPONENT_MHA},
        {"/align/separate_qk", o->separate_qk, RB_COMPONENT_MHA},
        {"/align/rotate_heads", o->rotate_heads, RB_COMPONENT_MHA},
        {"/align/head_map", o->head_map != plain.head_map, RB_COMPONENT_MHA},
        {"/align/residual", o->residual != plain.residual, RB_COMPONENT_RESIDUAL},
        {"/align/residual_map", o->residual_map != plain.residual_map, RB_COMPONENT_RESIDUAL},
        /* output_head unties by itself: saying so is no mistake */
        {"/align/decoder", o->decoder != plain.decoder && !o->output_head, RB_COMPONENT_RESIDUAL},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].asks && (o->components & rules[i].needs) == 0)
            rb_draft_fault(d, rules[i].pointer,
                           "expected only with component \"%s\", found without it",
                           rules[i].needs == RB_COMPONENT_MHA ? "mha" : "residual");
}

/* Learning moves what alignment has matched: without the component there is nothing to start at. */
static void check_learn(struct rb_spec_draft *d)
{
    struct rb_align_spec *a = &d->spec.align;
    struct rb_learn_spec *l = &a->learn;
    const struct {
        enum rb_learn_group group;
        enum rb_component needs;
        const char *words;
    } rules[] = {
        {RB_LEARN_RESIDUAL, RB_COMPONENT_RESIDUAL, "\"residual\""},
        {RB_LEARN_HEADS, RB_COMPONENT_MHA, "\"mha\""},
        {RB_LEARN_HEAD_ORDER, RB_COMPONENT_MHA, "\"mha\""},
        {RB_LEARN_FF, RB_COMPONENT_FF, "\"ff\""},
        {RB_LEARN_SCALES, RB_COMPONENT_FF, "\"ff\""},
    };
    a->has_learn = (a->given & RB_ALIGN_LEARN) != 0;
    if (!a->has_learn)
        return;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if ((l->groups & rules[i].group) != 0 && (a->options.components & rules[i].needs) == 0)
            rb_draft_fault(d, "/align/learn/groups",
                           "expected component %s beside it, found align without", rules[i].words);
    if ((a->options.components & (RB_COMPONENT_RESIDUAL | RB_COMPONENT_MHA)) == 0 &&
        (l->groups & (RB_LEARN_FF | RB_LEARN_SCALES)) == 0)
        rb_draft_fault(d, "/align/learn",
                       "expected component \"mha\" or \"residual\", found neither: there is no map "
                       "to learn");
    if ((l->given & RB_LEARN_LAMBDA) == 0)
        return;
    if (l->lambda.count != 2 || l->lambda.values[0] > l->lambda.values[1]) {
        rb_draft_fault(d, "/align/learn/lambda",
                       "expected two numbers from 0 to 1 in ascending order, found %zu%s",
                       l->lambda.count, l->lambda.count == 2 ? " that descend" : "");
        return;
    }
    l->options.lambda[0] = l->lambda.values[0];
    l->options.lambda[1] = l->lambda.values[1];
}

/* METHOD 10: near-equivalent maps turn the stream; the head's hidden layer is then matched on its
 * own and the decoder untied, exactly. */
static void check_near(struct rb_spec_draft *d)
{
    struct rb_align_spec *a = &d->spec.align;
    struct rb_align_options *o = &a->options;
    if (o->equivalence != RB_EQUIVALENCE_NEAR)
        return;
    if (!rb_align_turns_stream(o))
        rb_draft_fault(d, "/align/equivalence",
                       "expected \"near\" only with component \"residual\" and residual_map "
                       "\"orthogonal\", found it without: all else keeps the function exactly");
    if ((a->given & RB_ALIGN_OUTPUT_HEAD) != 0 && !o->output_head)
        rb_draft_fault(d, "/align/output_head",
                       "expected true or no such member, found false: with equivalence \"near\" "
                       "the head keeps a basis of its own");
    o->output_head = true;
}

/* What `match` and `rounds` need: something that weights can be compared for, and a stream whose
 * map comes anew in each round. */
static void check_match(struct rb_spec_draft *d)
{
    const struct rb_align_spec *a = &d->spec.align;
    const struct rb_align_options *o = &a->options;
    bool units = (o->components & (RB_COMPONENT_FF | RB_COMPONENT_MHA)) != 0;
    bool turns = rb_align_turns_stream(o), universe = a->reference == RB_REFERENCE_UNIVERSE;
    if (o->match != RB_MATCH_ACTIVATIONS && !turns && !units)
        rb_draft_fault(d, "/align/match",
                       "expected only with component \"ff\" or \"mha\" or residual_map "
                       "\"orthogonal\", found \"%s\" without",
                       rb_match_names[o->match]);
    if (o->match != RB_MATCH_ACTIVATIONS && !turns && units && universe)
        rb_draft_fault(d, "/align/match",
                       "expected \"activations\" with reference \"universe\", whose FF and heads "
                       "go by them, found \"%s\"",
                       rb_match_names[o->match]);
    if (o->rounds > 1 && !turns)
        rb_draft_fault(
            d, "/align/rounds",
            "expected more than 1 only with residual_map \"orthogonal\", found %u without: no "
            "later round would see another stream",
            o->rounds);
    if (o->rounds > 1 && turns && universe)
        rb_draft_fault(d, "/align/rounds",
                       "expected 1 with reference \"universe\", which has rounds of its own, found "
                       "%u",
                       o->rounds);
}

static void check_align(struct rb_spec_draft *d)
{
    struct rb_align_spec *a = &d->spec.align;
    struct rb_align_options *o = &a->options;
    if ((a->given & RB_ALIGN_FROM_JOB) != 0) {
        if ((a->given & ~(uint32_t)RB_ALIGN_FROM_JOB) != 0)
            rb_draft_fault(
                d, "/align/from_job",
                "expected to stand alone (it reuses that job's permutations), found other "
                "members beside it in align");
        if ((d->flags & RB_SPEC_PATHS) != 0)
            rb_draft_fault(d, "/align/from_job",
                           "expected a job of the daemon, found none: rebasind run keeps no jobs");
        return;
    }
    check_near(d);
    check_components(d);
    check_learn(d);
    if (rb_align_head_map(o) != RB_HEAD_MAP_PERMUTATION && o->heads == RB_HEADS_IGNORE)
        rb_draft_fault(
            d, o->rotate_heads ? "/align/rotate_heads" : "/align/head_map",
            "expected heads \"permute\" or \"monotonic\", found \"ignore\": without matched "
            "heads there is nothing to rotate");
    if (rb_align_turns_stream(o) && (a->given & RB_ALIGN_RESIDUAL) != 0 &&
        o->residual != RB_RESIDUAL_ALL)
        rb_draft_fault(d, "/align/residual",
                       "expected \"all\" or no such member, found \"%s\": an orthogonal map is of "
                       "all taps",
                       rb_residual_names[o->residual]);
    if (rb_align_turns_stream(o))
        o->residual = RB_RESIDUAL_ALL;
    check_match(d);
    if (a->cycles && o->components == 0)
        rb_draft_fault(d, "/align/cycles", "expected at least one component, found none");
    if (o->fold && o->components == 0)
        rb_draft_fault(d, "/align/fold", "expected at least one component, found none");
    if (o->output_head && o->components == 0)
        rb_draft_fault(d, "/align/output_head", "expected at least one component, found none");
    if (o->output_head && (a->given & RB_ALIGN_DECODER) != 0 && o->decoder == RB_DECODER_TIED)
        rb_draft_fault(
            d, "/align/decoder",
            "expected \"untied\", found \"tied\": with output_head the decoder keeps a basis of "
            "its own");
    if (o->output_head)
        o->decoder = RB_DECODER_UNTIED;
    if (o->components != 0 && (a->given & RB_ALIGN_DATASET) == 0)
        rb_draft_fault(
            d, "/align/dataset",
            "required: expected a dataset to align on, found no such member (components [] "
            "needs none)");
}

/* ---- evaluate ---- */

enum { FOR_MLM = 1 << RB_TASK_MLM, FOR_BLOCKS = FOR_MLM | 1 << RB_TASK_CLM };
enum { FOR_LABELS = 1 << RB_TASK_CLASSIFICATION | 1 << RB_TASK_REGRESSION };

static const struct {
    const char *pointer;
    uint32_t given;
    unsigned tasks;
} task_members[] = {
    {"/evaluate/block_size", RB_EVALUATE_BLOCK_SIZE, FOR_BLOCKS},
    {"/evaluate/max_blocks", RB_EVALUATE_MAX_BLOCKS, FOR_BLOCKS},
    {"/evaluate/precision", RB_EVALUATE_PRECISION, FOR_BLOCKS},
    {"/evaluate/mask_probability", RB_EVALUATE_MASK_PROBABILITY, FOR_MLM},
    {"/evaluate/seed", RB_EVALUATE_SEED, FOR_MLM},
    {"/evaluate/max_length", RB_EVALUATE_MAX_LENGTH, FOR_LABELS},
    {"/evaluate/max_examples", RB_EVALUATE_MAX_EXAMPLES, FOR_LABELS},
    {"/evaluate/metric", RB_EVALUATE_METRIC, FOR_LABELS},
};

static const struct {
    enum rb_metric first, last; /* the task's metrics are neighbours in enum rb_metric */
    const char *names;
} task_metrics[] = {
    [RB_TASK_MLM] = {RB_PSEUDO_PERPLEXITY, RB_PSEUDO_PERPLEXITY, ""},
    [RB_TASK_CLASSIFICATION] = {RB_ACCURACY, RB_MATTHEWS, "accuracy, f1, matthews"},
    [RB_TASK_REGRESSION] = {RB_PEARSON, RB_SPEARMAN, "pearson, spearman"},
    [RB_TASK_CLM] = {RB_PERPLEXITY, RB_PERPLEXITY, ""},
};

static void default_evaluate(struct rb_evaluate_spec *e)
{
    struct rb_evaluate_options *o = &e->options;
    if (!rb_task_has_labels(o->task)) {
        if ((e->given & RB_EVALUATE_BLOCK_SIZE) == 0)
            o->block_size = o->task == RB_TASK_CLM ? 1024 : 128;
        o->max_blocks = (e->given & RB_EVALUATE_MAX_BLOCKS) != 0 ? o->max_blocks : 256;
        if (o->task == RB_TASK_MLM && (e->given & RB_EVALUATE_MASK_PROBABILITY) == 0)
            o->mask_probability = 0.15;
    } else {
        o->max_length = (e->given & RB_EVALUATE_MAX_LENGTH) != 0 ? o->max_length : 128;
    }
    if ((e->given & RB_EVALUATE_METRIC) == 0)
        o->metric = task_metrics[o->task].first;
}

/* The label of a path that does not say it. */
static void check_labels(struct rb_spec_draft *d, struct rb_dataset_ref *ref)
{
    if (!ref->is_path || ref->name == NULL || ref->label != NULL)
        return;
    if (ref->format == RB_TEXT)
        rb_draft_fault(d, "/evaluate/dataset",
                       "expected a jsonl or tsv file with labels, found format text");
    else
        ref->label = strdup("label");
    d->problems->out_of_memory |= ref->format != RB_TEXT && ref->label == NULL;
}

static void check_evaluate(struct rb_spec_draft *d)
{
    struct rb_evaluate_spec *e = &d->spec.evaluate;
    enum rb_task task = e->options.task;
    for (size_t i = 0; i < sizeof task_members / sizeof task_members[0]; i++)
        if ((e->given & task_members[i].given) != 0 && (task_members[i].tasks & 1U << task) == 0)
            rb_draft_fault(
                d, task_members[i].pointer, "expected only with task %s, found with \"%s\"",
                task_members[i].tasks == FOR_MLM      ? "\"mlm\""
                : task_members[i].tasks == FOR_BLOCKS ? "\"mlm\" or \"clm\""
                                                      : "\"classification\" or \"regression\"",
                rb_task_names[task]);
    default_evaluate(e);
    enum rb_metric metric = e->options.metric;
    if (rb_task_has_labels(task) &&
        (metric < task_metrics[task].first || metric > task_metrics[task].last))
        rb_draft_fault(d, "/evaluate/metric", "expected one of %s for task \"%s\", found \"%s\"",
                       task_metrics[task].names, rb_task_names[task], rb_metric_names[metric]);
    if (rb_task_has_labels(task))
        check_labels(d, &e->dataset);
}

/* ---- lambdas ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_distinct(struct rb_numbers *n)
{
    if (n->count == 0)
        return;
    qsort(n->values, n->count, sizeof *n->values, compare_doubles);
    size_t kept = 1;
    for (size_t i = 1; i < n->count; i++)
        if (n->values[i] > n->values[kept - 1])
            n->values[kept++] = n->values[i];
    n->count = kept;
}

/* The vertices, then what was listed, each once. */
static bool list_weights(struct rb_spec_draft *d, size_t models, struct rb_numbers *ret)
{
    const struct rb_numbers *listed = &d->spec.weights;
    ret->values = calloc(models * models + listed->count, sizeof *ret->values);
    if (ret->values == NULL)
        return false;
    for (size_t m = 0; m < models; m++)
        ret->values[m * models + m] = 1;
    ret->count = models * models;
    for (size_t i = 0; i < listed->count; i += models) {
        bool known = false;
        for (size_t k = 0; k < ret->count && !known; k += models)
            known = rb_simplex_equal(listed->values + i, ret->values + k, models);
        if (known)
            continue;
        memcpy(ret->values + ret->count, listed->values + i, models * sizeof *ret->values);
        ret->count += models;
    }
    return true;
}

static bool grid_weights(struct rb_spec_draft *d, size_t models, struct rb_numbers *ret)
{
    struct rb_job_spec *s = &d->spec;
    if (s->points == 0 && s->grid == RB_SIMPLEX_CENTROID)
        s->points = 5;
    size_t count = rb_simplex_count(s->grid, models, s->points);
    if (count > RB_POINTS_MAX) {
        rb_draft_fault(d, "/interpolate/points", "expected at most %d points in all, found %zu",
                       RB_POINTS_MAX, count);
        return true;
    }
    ret->values = calloc(count * models, sizeof *ret->values);
    if (ret->values == NULL)
        return false;
    ret->count = count * models;
    rb_simplex_fill(s->grid, models, s->points, ret->values);
    return true;
}

/* A list's weights must be one a model. */
static void check_columns(struct rb_spec_draft *d, const char *pointer, const struct rb_numbers *n,
                          size_t models)
{
    if (n->count > 0 && n->row != models)
        rb_draft_fault(d, pointer, "expected lists of %zu weights, one a model, found lists of %zu",
                       models, n->row);
}

/* Numbers 0, 1 … stand for the points where lambdas would. */
static struct rb_numbers numbered(size_t count, double first)
{
    struct rb_numbers n = {.values = calloc(count + 1, sizeof *n.values), .count = count};
    for (size_t i = 0; n.values != NULL && i < count; i++)
        n.values[i] = first + (double)i;
    return n;
}

static void resolve_weights(struct rb_spec_draft *d)
{
    struct rb_job_spec *s = &d->spec;
    size_t models = rb_job_spec_models(s), before = d->problems->found;
    bool given = (d->interpolate_given & RB_GIVEN_WEIGHTS) != 0;
    struct rb_numbers resolved = {0};
    if ((d->interpolate_given & RB_GIVEN_LAMBDAS) != 0)
        rb_draft_fault(d, "/interpolate/lambdas",
                       "expected weights for %zu models, found lambdas, which are for two", models);
    if (s->points == RB_POINTS_AUTO)
        rb_draft_fault(d, "/interpolate/points",
                       "expected a number for %zu models, found \"auto\", which is for two",
                       models);
    if (given && s->grid == RB_SIMPLEX_LISTED && s->points != 0)
        rb_draft_fault(d, "/interpolate/points",
                       "expected no such member beside lists of weights, found %u", s->points);
    check_columns(d, "/interpolate/weights", &s->weights, models);
    check_columns(d, "/outputs/merged", &s->merged_weights, models);
    if (s->merged.count > 0)
        rb_draft_fault(d, "/outputs/merged",
                       "expected lists of weights for %zu models, found lambdas", models);
    if (!given)
        s->grid = RB_SIMPLEX_CENTROID;
    if (d->problems->found != before)
        return;
    bool ok = s->grid == RB_SIMPLEX_LISTED ? list_weights(d, models, &resolved)
                                           : grid_weights(d, models, &resolved);
    if (ok && resolved.count / models > RB_POINTS_MAX)
        rb_draft_fault(d, "/interpolate/weights",
                       "expected at most %d lists with the vertices, found %zu", RB_POINTS_MAX,
                       resolved.count / models);
    rb_numbers_deinit(&s->weights);
    s->weights = resolved;
    s->weights.row = models;
    s->lambdas = numbered(resolved.count / models, 0);
    rb_numbers_deinit(&s->merged);
    s->merged = numbered(s->merged_weights.count / models, RB_MERGED_WEIGHTS);
    if (!ok || s->lambdas.values == NULL || s->merged.values == NULL)
        d->problems->out_of_memory = true;
}

/* What is for two models, and what is not. */
static void check_several(struct rb_spec_draft *d)
{
    const struct rb_job_spec *s = &d->spec;
    const struct {
        const char *pointer, *what;
        bool found;
    } pairs_only[] = {
        {"/align/equivalence", "\"near\"", s->align.options.equivalence == RB_EQUIVALENCE_NEAR},
        {"/executor", "\"slurm\"", s->executor == RB_SPEC_EXECUTOR_SLURM},
    };
    for (size_t i = 0; i < sizeof pairs_only / sizeof pairs_only[0]; i++)
        if (rb_job_spec_several(s) && pairs_only[i].found)
            rb_draft_fault(d, pairs_only[i].pointer, "%s is for two models, found %zu",
                           pairs_only[i].what, rb_job_spec_models(s));
    if (rb_job_spec_several(s))
        return;
    if ((d->interpolate_given & RB_GIVEN_WEIGHTS) != 0)
        rb_draft_fault(d, "/interpolate/weights",
                       "expected three models or more, found two: their points are lambdas");
    if (s->merged_weights.count > 0)
        rb_draft_fault(d, "/outputs/merged",
                       "expected lambdas for two models, found lists of weights");
    if (s->align.cycles)
        rb_draft_fault(d, "/align/cycles",
                       "expected three models or more, found two: cycles are around three");
}

static void resolve_lambdas(struct rb_spec_draft *d)
{
    struct rb_job_spec *s = &d->spec;
    bool listed = (d->interpolate_given & RB_GIVEN_LAMBDAS) != 0;
    if (listed && (d->interpolate_given & RB_GIVEN_POINTS) != 0) {
        rb_draft_fault(d, "/interpolate", "expected either points or lambdas, found both");
        return;
    }
    if (!listed && s->points == 0)
        s->points = 21;
    size_t listed_count = s->lambdas.count;
    size_t count = listed                        ? listed_count + 2
                   : s->points == RB_POINTS_AUTO ? RB_REFINE_POINTS
                                                 : s->points;
    double *values = calloc(count, sizeof *values);
    if (values == NULL) {
        d->problems->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        values[i] = !listed            ? (double)i / (double)(count - 1)
                    : i < listed_count ? s->lambdas.values[i]
                                       : (double)(i - listed_count); /* 0 and 1 */
    rb_numbers_deinit(&s->lambdas);
    s->lambdas = (struct rb_numbers){.values = values, .count = count};
    sort_distinct(&s->lambdas);
    if (s->lambdas.count > RB_POINTS_MAX)
        rb_draft_fault(d, "/interpolate/lambdas",
                       "expected at most %d values with 0 and 1, found %zu", RB_POINTS_MAX,
                       s->lambdas.count);
}

/* ---- the whole ---- */

/* What is made from a text needs one, and somewhere to go. */
static void check_merge(struct rb_spec_draft *d)
{
    const struct rb_job_spec *s = &d->spec;
    bool aligns = s->align.from_job == NULL && s->align.options.components != 0;
    bool tunes = (s->merge.given & RB_MERGE_GIVEN_FINETUNE) != 0;
    const char *member = tunes ? "finetune" : "method";
    if (s->merge.method == RB_METHOD_LINEAR && !tunes) {
        if (s->merge.dataset.name != NULL)
            rb_draft_fault(d, "/merge/dataset",
                           "expected method \"least_squares\" or finetune beside it, found "
                           "\"linear\" alone, which reads no text");
        return;
    }
    if (s->merged.count == 0)
        rb_draft_fault(d, tunes ? "/merge/finetune" : "/merge/method",
                       "expected checkpoints to be written (outputs.merged), found none: the curve "
                       "is of the straight path");
    if (!aligns && s->merge.dataset.name == NULL)
        rb_draft_fault(d, "/merge/dataset",
                       "required: expected a dataset, found no such member, nor align.dataset, "
                       "which would serve");
    if (s->executor == RB_SPEC_EXECUTOR_SLURM)
        rb_draft_fault(d, "/executor",
                       "expected \"local\" with merge.%s beyond \"linear\" (least_squares, "
                       "finetune), found \"slurm\"",
                       member);
}

static void check_purpose(struct rb_spec_draft *d)
{
    const struct rb_job_spec *s = &d->spec;
    if (s->align.from_job == NULL && s->align.options.components == 0 && !s->has_evaluate &&
        s->merged.count == 0)
        rb_draft_fault(
            d, "",
            "expected something to do, found nothing: align has no components, and there is "
            "neither evaluate nor outputs.merged");
}

/* Is every member of that part right by itself? Otherwise rules over it would only add noise. */
static bool is_clean(const struct rb_spec_draft *d, const char *part)
{
    char pointer[sizeof d->problems->items[0].pointer];
    int n = snprintf(pointer, sizeof pointer, "%s%s", d->at, part);
    for (size_t i = 0; i < d->problems->count; i++)
        if (strncmp(d->problems->items[i].pointer, pointer, (size_t)n) == 0)
            return false;
    return true;
}

/* ---- presets ---- */

/* The recipe's members, but for those that were given and what they leave no place for. */
static void fill_recipe(struct rb_align_spec *a, const struct rb_align_options *r)
{
    struct rb_align_options *o = &a->options;
    const uint32_t given = a->given;
    if ((given & RB_ALIGN_COMPONENTS) == 0)
        o->components = r->components;
    bool heads = (o->components & RB_COMPONENT_MHA) != 0 && o->heads != RB_HEADS_IGNORE;
    bool stream = (o->components & RB_COMPONENT_RESIDUAL) != 0;
    bool of_a_tap = (given & RB_ALIGN_RESIDUAL) != 0 && o->residual != RB_RESIDUAL_ALL;
    if (heads && (given & (RB_ALIGN_HEAD_MAP | RB_ALIGN_ROTATE_HEADS)) == 0)
        o->head_map = r->head_map;
    if (stream && (given & RB_ALIGN_RESIDUAL_MAP) == 0 && !of_a_tap)
        o->residual_map = r->residual_map;
    if (stream && (given & RB_ALIGN_RESIDUAL) == 0)
        o->residual = r->residual;
    if (rb_align_turns_stream(o) && (given & RB_ALIGN_MATCH) == 0)
        o->match = r->match;
    bool universe = a->reference == RB_REFERENCE_UNIVERSE; /* has rounds of its own */
    if (rb_align_turns_stream(o) && (given & RB_ALIGN_ROUNDS) == 0 && !universe)
        o->rounds = r->rounds;
    if ((given & RB_ALIGN_SIGNED) == 0)
        o->signed_units = r->signed_units;
}

void rb_draft_settle(struct rb_spec_draft *d, const char *family,
                     const struct rb_align_shape *shape)
{
    struct rb_align_spec *a = &d->spec.align;
    struct rb_align_options recipe;
    bool near = a->options.equivalence == RB_EQUIVALENCE_NEAR;
    if (a->preset == RB_PRESET_PAPER)
        return;
    rb_preset_options(a->preset, family, shape, near, &recipe);
    fill_recipe(a, &recipe);
    a->preset = RB_PRESET_PAPER;
    check_align(d);
}

/* ---- all of it ---- */

void rb_draft_place(struct rb_spec_draft *d)
{
    if (rb_job_spec_several(&d->spec))
        resolve_weights(d);
    else
        resolve_lambdas(d);
}

void rb_draft_check(struct rb_spec_draft *d)
{
    struct rb_align_spec *a = &d->spec.align;
    d->spec.has_evaluate = (d->spec.given & RB_SPEC_EVALUATE) != 0;
    if (a->preset == RB_PRESET_LEARNED && (a->given & RB_ALIGN_FROM_JOB) == 0)
        a->given |= RB_ALIGN_LEARN;
    a->has_learn = (a->given & RB_ALIGN_LEARN) != 0;
    if ((a->given & RB_ALIGN_FROM_JOB) != 0)
        a->preset = RB_PRESET_PAPER; /* it stands alone: a fault */
    if (is_clean(d, "/align") && a->preset == RB_PRESET_PAPER)
        check_align(d);
    if (d->spec.has_evaluate && is_clean(d, "/evaluate"))
        check_evaluate(d);
    check_several(d);
    bool placed = is_clean(d, "/interpolate") && is_clean(d, "/outputs");
    if (placed || (!rb_job_spec_several(&d->spec) && is_clean(d, "/interpolate")))
        rb_draft_place(d);
    if (!rb_job_spec_several(&d->spec))
        sort_distinct(&d->spec.merged);
    if (is_clean(d, "/merge") && is_clean(d, "/align") && placed)
        check_merge(d);
    if (d->problems->count == 0)
        check_purpose(d);
}
