#include "server/work/plan.h"
#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect_plan.h"
#include "core/align/joint.h"
#include "core/align/solve.h"
#include "core/learn/finetune.h"
#include "core/learn/learn.h"
#include "core/learn/least_squares.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"
#include "core/merge/refine.h"
#include "core/model/layer.h"
#include "core/tensor/split.h"

/* Code, libraries, the store's cache and BLAS's buffers. */
static const uint64_t PROCESS_BYTES = 48 * 1000 * 1000;
static const uint64_t SMALL_FILES_BYTES = 4 * 1000 * 1000;
enum { LAMBDAS_IN_FLIGHT = 2 };

/* ---- how many tokens ---- */

struct rb_plan_sizes rb_plan_sizes_of(const struct rb_subject *s)
{
    return (struct rb_plan_sizes){
        .align_tokens = rb_sequences_tokens(&s->align),
        .merge_tokens = rb_sequences_tokens(s->merge.count > 0 ? &s->merge : &s->align),
        .evaluate_tokens = rb_sequences_tokens(&s->evaluate),
        .predicted = s->evaluate.targets != NULL ? s->evaluate.target_count : s->evaluate.count,
    };
}

static uint64_t scale(const struct rb_sequences *s, uint64_t rows, uint32_t limit)
{
    uint64_t wanted = limit > 0 && limit < rows ? limit : rows;
    double mean = s->count > 0 ? (double)rb_sequences_tokens(s) / (double)s->count : 0;
    return (uint64_t)(mean * (double)wanted);
}

struct rb_plan_sizes rb_plan_sizes_guess(const struct rb_subject *s, const struct rb_places *p,
                                         const struct rb_job_spec *spec)
{
    const struct rb_evaluate_options *o = &spec->evaluate.options;
    struct rb_plan_sizes sizes = {.align_tokens =
                                      scale(&s->align, p->align.rows, spec->align.max_sequences)};
    sizes.merge_tokens = p->merge.path != NULL
                             ? scale(&s->merge, p->merge.rows, spec->align.max_sequences)
                             : sizes.align_tokens;
    if (p->evaluate.path == NULL)
        return sizes;
    if (rb_task_has_labels(o->task)) {
        sizes.evaluate_tokens = scale(&s->evaluate, p->evaluate.rows, o->max_examples);
        sizes.predicted = o->max_examples > 0 && o->max_examples < p->evaluate.rows
                              ? o->max_examples
                              : p->evaluate.rows;
        return sizes;
    }
    /* Rows of unknown length fill the blocks; a row of text has some thirty tokens. */
    uint64_t guess = p->evaluate.rows * 30, most = (uint64_t)o->max_blocks * o->block_size;
    sizes.evaluate_tokens = most > 0 && most < guess ? most : guess;
    sizes.predicted = o->task == RB_TASK_CLM
                          ? sizes.evaluate_tokens / o->block_size * (o->block_size - 1)
                          : (uint64_t)((double)sizes.evaluate_tokens * o->mask_probability);
    return sizes;
}

/* ---- costs: what the programs say of themselves, added ---- */

/* Of all curves over n lambdas. */
static uint32_t evaluations(const struct rb_job_spec *spec, uint32_t n)
{
    bool moved = spec->align.from_job != NULL || spec->align.options.components != 0;
    if (!spec->has_evaluate)
        return 0;
    if (!moved)
        return n;
    if (rb_job_spec_several(spec) && !spec->evaluate.options.control)
        return n;
    if (rb_job_spec_several(spec)) /* of all vertices where moving keeps functions */
        return 2 * n - (rb_alignment_preserves(&spec->align.options)
                            ? (uint32_t)rb_job_spec_models(spec)
                            : 1);
    if (!spec->evaluate.options.control) /* near: and the original B */
        return n + rb_align_is_near(&spec->align.options);
    bool folds = spec->align.from_job == NULL && rb_align_folds(&spec->align.options);
    uint32_t folded = folds && n > 2 ? n - 2 : 0; /* its ends are the control's */
    return 2 * n - 1 - (rb_alignment_preserves(&spec->align.options) ? 1 : 0) + folded;
}

static uint64_t at_least(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static double optional_cost(const struct rb_evaluate_options *o, const struct rb_plan_sizes *sizes,
                            double cost)
{
    double blocks = o->block_size > 0 ? (double)sizes->evaluate_tokens / (double)o->block_size : 0;
    return o->precision > 0 && blocks > RB_ROUNDS_FIRST ? cost * (1 - RB_ROUNDS_FIRST / blocks) : 0;
}

/* One checkpoint that is more than a sum: what is solved and trained, and its losses. */
static double making_cost(const struct rb_subject *s, const struct rb_job_spec *spec,
                          uint64_t tokens, double evaluation)
{
    double cost = spec->has_evaluate ? evaluation : 0;
    if (rb_job_spec_solves(spec))
        cost += rb_least_squares_cost(&s->model[0], s->models, tokens) +
                (spec->has_evaluate ? evaluation : 0);
    if (rb_job_spec_tunes(spec) && s->tune.count > 0)
        cost +=
            rb_finetune_cost(&s->model[0], &spec->merge.finetune, s->models, s->tune.starts[1]) +
            (spec->has_evaluate ? evaluation : 0);
    return cost;
}

static uint64_t making_bytes(const struct rb_subject *s, const struct rb_job_spec *spec,
                             uint64_t tokens)
{
    uint64_t bytes = 0;
    if (rb_job_spec_solves(spec))
        bytes += rb_least_squares_bytes(&s->model[0], s->models, tokens);
    if (rb_job_spec_tunes(spec) && s->tune.count > 0)
        bytes +=
            rb_finetune_bytes(&s->model[0], &spec->merge.finetune, s->models, s->tune.starts[1]);
    return bytes;
}

/* Tokens of a span while features are made. */
static uint64_t align_span(const struct rb_subject *s, const struct rb_job_spec *spec,
                           uint64_t tokens)
{
    size_t slab =
        rb_collect_slab(&s->model[0], s->models, rb_taps_needed(&spec->align.options), tokens);
    return rb_chunk_tokens(slab, s->models);
}

/* ---- aligning where memory is short ---- */

/* What of the models' files is in memory at once while features are made: a layer's tensors are
 * given back after use. */
static uint64_t resident_bytes(const struct rb_subject *s)
{
    const struct rb_config *c = &s->model[0].config;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->models; i++) {
        const struct rb_model *m = &s->model[i];
        uint64_t layer = rb_weights_layer_floats(c) * rb_dtype_bytes(rb_model_dtype(m));
        uint64_t gone = c->num_hidden_layers > 2 ? (c->num_hidden_layers - 2) * layer : 0;
        bytes += m->checkpoint.bytes > gone ? m->checkpoint.bytes - gone : 0;
    }
    return bytes;
}

/* While assignments are solved from a file: per worker a group's moments, mapped, its similarity
 * and what the assignment needs. */
static uint64_t solve_from_file_bytes(const struct rb_model *m, unsigned taps, unsigned workers)
{
    struct rb_collect_kind kinds[RB_TAP_COUNT];
    size_t n = rb_collect_kinds(m, taps, kinds);
    uint64_t widest = 0;
    for (size_t k = 0; k < n; k++)
        widest = at_least(widest, kinds[k].size);
    return workers * widest * widest * (sizeof(double) + 2 * sizeof(float));
}

/* Aligns in groups of layers if all sums at once are more than the limit. Returns the peak of
 * aligning and solving beside the process, 0 where they are not in groups. */
static uint64_t split_collection(const struct rb_subject *s, const struct rb_job_spec *spec,
                                 uint64_t tokens, const struct rb_plan_machine *machine,
                                 uint64_t needed, struct rb_plan *p)
{
    const struct rb_model *m = &s->model[0];
    const struct rb_align_options *o = &spec->align.options;
    unsigned taps = rb_taps_needed(o);
    uint64_t sums, buffers, longest = spec->align.max_length;
    double cost, layers;
    rb_collect_split_make(m, taps, tokens, UINT64_MAX, &p->split);
    if (s->models != 2 || PROCESS_BYTES + needed <= machine->memory_limit)
        return 0;
    rb_collect_estimate(m, 2, 1, taps, tokens, &sums, &buffers, &cost);
    uint64_t fixed = PROCESS_BYTES + resident_bytes(s) + buffers;
    fixed +=
        machine->workers *
        rb_layer_scratch_bytes(&m->config, at_least(align_span(s, spec, tokens), longest), longest);
    rb_collect_split_make(m, taps, tokens,
                          machine->memory_limit > fixed ? machine->memory_limit - fixed : 0,
                          &p->split);
    if (p->split.groups == 1)
        return 0;
    rb_collect_estimate(m, 2, 1, 0, tokens, &sums, &buffers, &layers);
    p->cost[RB_PHASE_ALIGNING] += (p->split.passes - 1) * layers;
    return at_least(fixed - PROCESS_BYTES + p->split.sum_bytes + p->split.stream_bytes,
                    rb_solve_bytes(&m->config, o, machine->workers) + resident_bytes(s) +
                        solve_from_file_bytes(m, taps, machine->workers));
}

/* Of a collection that several pairs have in common. */
static void share_costs(const struct rb_subject *s, unsigned taps, uint64_t tokens,
                        struct rb_plan *p)
{
    uint64_t sums, buffers;
    double pair;
    rb_collect_estimate(&s->model[0], 1, 0, taps, tokens, &sums, &buffers, &p->features_cost);
    rb_collect_estimate(&s->model[0], 2, 1, taps, tokens, &sums, &buffers, &pair);
    p->products_cost = pair - 2 * p->features_cost;
}

void rb_plan_make(const struct rb_subject *s, const struct rb_job_spec *spec,
                  const struct rb_plan_sizes *sizes, const struct rb_plan_machine *machine,
                  struct rb_plan *ret)
{
    const struct rb_config *c = &s->model[0].config;
    const struct rb_align_spec *align = &spec->align;
    uint32_t whole = evaluations(spec, (uint32_t)spec->lambdas.count);
    struct rb_plan p = {.evaluations = spec->points == RB_POINTS_AUTO
                                           ? evaluations(spec, RB_REFINE_EXPECTED)
                                           : whole,
                        .width = c->hidden_size,
                        .split = {.groups = 1, .passes = 1}};
    uint64_t models = 0;
    for (size_t i = 0; i < s->models; i++)
        models += s->model[i].checkpoint.bytes;
    uint64_t sums = 0, buffers = 0, working = 0, longest = 0, in_groups = 0;
    double cost, evaluation = 0;
    if (align->from_job == NULL && align->options.components != 0) {
        const struct rb_joint_input joint = {.config = c,
                                             .head = s->model[0].head,
                                             .reference = align->reference,
                                             .cycles = align->cycles,
                                             .count = s->models};
        rb_collect_estimate(
            &s->model[0], s->models, rb_joint_pairs(s->models, align->reference, align->cycles),
            rb_taps_needed(&align->options), sizes->align_tokens, &sums, &buffers, &cost);
        p.cost[RB_PHASE_ALIGNING] = cost;
        share_costs(s, rb_taps_needed(&align->options), sizes->align_tokens, &p);
        p.cost[RB_PHASE_SOLVING] = rb_joint_cost(&joint, &align->options);
        working =
            at_least(sums + buffers, sums + rb_solve_bytes(c, &align->options, machine->workers));
        p.moments_bytes = sums;
        p.model_bytes = (models + buffers) / s->models;
        in_groups = split_collection(s, spec, sizes->align_tokens, machine, models + working, &p);
        working = in_groups > 0 ? 0 : working;
        longest = align->max_length;
    }
    struct rb_learn_options learn = align->learn.options;
    if (align->has_learn && s->learn.count > 0 &&
        rb_learn_admit(&s->model[1], &align->options, align->learn.groups, &learn, NULL) == RB_OK) {
        p.cost[RB_PHASE_LEARNING] =
            (double)(s->models - 1) * rb_learn_cost(&s->model[1], &learn, s->learn.starts[1]);
        working = at_least(working, rb_learn_bytes(&s->model[1], &learn, s->learn.starts[1]));
    }
    if (align->from_job != NULL || align->options.components != 0)
        p.cost[RB_PHASE_CERTIFYING] =
            (double)(s->models - 1) *
            rb_certify_cost(&s->model[1], rb_align_folds(&align->options));
    if (spec->has_evaluate) {
        rb_evaluate_estimate(&s->model[0], &spec->evaluate.options, sizes->evaluate_tokens,
                             sizes->predicted, &buffers, &cost);
        evaluation = cost;
        p.cost[RB_PHASE_EVALUATING] = cost * p.evaluations;
        p.saved = cost * (whole - p.evaluations);
        p.optional = optional_cost(&spec->evaluate.options, sizes, p.cost[RB_PHASE_EVALUATING]);
        working = at_least(working, LAMBDAS_IN_FLIGHT * buffers);
        const struct rb_evaluate_options *o = &spec->evaluate.options;
        longest = at_least(longest, rb_task_has_labels(o->task) ? o->max_length : o->block_size);
    }
    uint64_t span = spec->has_evaluate ? rb_chunk_tokens(sizes->evaluate_tokens, 1) : 0;
    if (p.cost[RB_PHASE_ALIGNING] > 0)
        span = at_least(span, align_span(s, spec, sizes->align_tokens));
    if (at_least(span, longest) > RB_CHUNK_TOKENS) /* shorter ones: in PROCESS_BYTES */
        working += machine->workers * rb_layer_scratch_bytes(c, at_least(span, longest), longest);
    const struct rb_motion motion = {.decoder_untied =
                                         rb_alignment_unties(&s->model[1], &align->options)};
    struct rb_blend blend = rb_blend_pair(&s->model[0], &s->model[1], &motion, 0.5);
    for (size_t i = 2; i < s->models; i++)
        blend.terms[blend.count++] = (struct rb_blend_term){&s->model[i], &motion, 0.5};
    /* moments of a pair are kept; of each moved model beyond it an alignment as large as one */
    p.disk_bytes = SMALL_FILES_BYTES * (s->models - 1) + (s->models == 2 ? sums : 0);
    bool makes = rb_job_spec_makes(spec);
    if (makes)
        working = at_least(working, making_bytes(s, spec, sizes->merge_tokens));
    for (size_t i = 0; i < spec->merged.count; i++) {
        p.cost[makes ? RB_PHASE_MERGING : RB_PHASE_WRITING] +=
            rb_write_cost(&blend, spec->dtype) +
            (makes ? making_cost(s, spec, sizes->merge_tokens, evaluation) : 0);
        uint64_t bytes = rb_write_bytes(&blend, spec->dtype); /* in shards they lie there twice */
        p.disk_bytes += bytes > RB_SHARD_BYTES ? 2 * bytes : bytes;
    }
    p.peak_bytes = PROCESS_BYTES + at_least(models + working, in_groups);
    *ret = p;
}

uint64_t rb_plan_share_bytes(const struct rb_plan *p, size_t models, size_t pairs)
{
    return PROCESS_BYTES + models * p->model_bytes + pairs * p->moments_bytes;
}

double rb_plan_seconds(const struct rb_plan *plan, const struct rb_rates *rates, unsigned workers)
{
    double seconds = 0;
    for (int phase = 0; phase < RB_PHASE_COUNT; phase++)
        seconds += plan->cost[phase] / rb_rates_of(rates, (enum rb_phase)phase, plan->width);
    return seconds / workers;
}

double rb_plan_share_seconds(const struct rb_plan *plan, size_t models, size_t pairs,
                             const struct rb_rates *rates, unsigned workers)
{
    double cost = (double)models * plan->features_cost + (double)pairs * plan->products_cost;
    return cost / rb_rates_of(rates, RB_PHASE_ALIGNING, plan->width) / workers;
}

double rb_plan_saved_seconds(const struct rb_plan *plan, const struct rb_rates *rates,
                             unsigned workers)
{
    return plan->saved / rb_rates_of(rates, RB_PHASE_EVALUATING, plan->width) / workers;
}

double rb_plan_least_seconds(const struct rb_plan *plan, const struct rb_rates *rates,
                             unsigned workers)
{
    double rate = rb_rates_of(rates, RB_PHASE_EVALUATING, plan->width);
    return rb_plan_seconds(plan, rates, workers) - plan->optional / rate / workers;
}
