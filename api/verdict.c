#include "api/verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const rb_merge_verdict_names[] = {
    "none",
    "better than both",
    "between",
    "worse than both",
    "no better than chance",
    "not the same function",
    NULL,
};
_Static_assert(sizeof rb_merge_verdict_names / sizeof *rb_merge_verdict_names == RB_MERGE_COUNT + 1,
               "a name for each verdict");

const char *const rb_written_names[] = {"linear", "least_squares", "finetuned",
                                        "least_squares, finetuned", NULL};
_Static_assert(sizeof rb_written_names / sizeof *rb_written_names == RB_WRITTEN_COUNT + 1,
               "a name for each");

struct rb_merge_verdict rb_merge_verdict_none(void)
{
    const double nan = (double)NAN;
    return (struct rb_merge_verdict){.lambda = nan,
                                     .loss = nan,
                                     .metric = nan,
                                     .midpoint_loss = nan,
                                     .parent_loss = {nan, nan},
                                     .parent_metric = {nan, nan},
                                     .chance = rb_chance_unknown()};
}

/* ---- the answer ---- */

/* By how much a loss is above a parent's, as far as that is more than the choice of blocks would
 * bring about, or the rounding of F32: else 0. error: NaN where not known. */
static double above(double loss, double parent, double error)
{
    static const double ROUNDING = 1e-5;
    double margin = ROUNDING * fabs(parent);
    if (2 * error > margin)
        margin = 2 * error;
    double difference = loss - parent;
    return fabs(difference) > margin ? difference : 0;
}

/* parents: (count), as are errors, which may be NULL. */
static enum rb_merge_verdict_kind judge(double loss, double chance, const struct rb_point *parents,
                                        const double *errors, size_t count)
{
    size_t better = 0, worse = 0;
    if (!isnan(chance) && loss >= chance)
        return RB_MERGE_CHANCE;
    for (size_t i = 0; i < count; i++) {
        double d = above(loss, parents[i].loss, errors != NULL ? errors[i] : (double)NAN);
        better += d < 0;
        worse += d > 0;
    }
    if (better == count)
        return RB_MERGE_BETTER;
    return worse == count ? RB_MERGE_WORSE : RB_MERGE_BETWEEN;
}

/* The metric asked for goes with tasks that have labels; the others have one each. */
static enum rb_metric metric_of(enum rb_task task, enum rb_metric asked)
{
    if (task == RB_TASK_MLM)
        return RB_PSEUDO_PERPLEXITY;
    return task == RB_TASK_CLM ? RB_PERPLEXITY : asked;
}

size_t rb_merge_best(const struct rb_point *points, size_t count)
{
    size_t best = count >= 3 ? 1 : 0;
    for (size_t i = 2; i + 1 < count; i++)
        best = points[i].loss < points[best].loss ? i : best;
    return best;
}

/* A grid may have it as 0.5 or as what a division made of it. */
static double loss_halfway(const struct rb_point *points, size_t count)
{
    for (size_t i = 1; i + 1 < count; i++)
        if (fabs(points[i].lambda - 0.5) < 1e-9)
            return points[i].loss;
    return (double)NAN;
}

static void take_best(const struct rb_point *best, struct rb_merge_verdict *v)
{
    v->lambda = best->lambda;
    v->loss = best->loss;
    v->metric = best->metrics[v->metric_name];
}

static void take_parent(const struct rb_point *parent, size_t place, struct rb_merge_verdict *v)
{
    v->parent_loss[place] = parent->loss;
    v->parent_metric[place] = parent->metrics[v->metric_name];
}

static struct rb_merge_verdict begin(enum rb_task task, enum rb_metric metric,
                                     const struct rb_chance *chance, enum rb_sameness same)
{
    struct rb_merge_verdict v = rb_merge_verdict_none();
    v.near = same == RB_SAME_NEAR;
    v.metric_name = metric_of(task, metric);
    if (chance != NULL)
        v.chance = *chance;
    return v;
}

void rb_merge_verdict_make(const struct rb_point *points, size_t count, enum rb_task task,
                           enum rb_metric metric, const struct rb_chance *chance,
                           const double parent_errors[2], enum rb_sameness same,
                           struct rb_merge_verdict *ret)
{
    struct rb_merge_verdict v = begin(task, metric, chance, same);
    if (count >= 3) {
        const struct rb_point ends[2] = {points[0], points[count - 1]};
        take_best(&points[rb_merge_best(points, count)], &v);
        v.midpoint_loss = loss_halfway(points, count);
        take_parent(&ends[0], 0, &v);
        take_parent(&ends[1], 1, &v);
        v.kind = judge(v.loss, v.chance.loss, ends, parent_errors, 2);
    }
    if (same == RB_SAME_DIFFERENT)
        v.kind = RB_MERGE_DIFFERENT;
    *ret = v;
}

size_t rb_merge_best_of(const struct rb_point *points, size_t count, size_t models)
{
    size_t best = models < count ? models : 0;
    for (size_t i = models + 1; i < count; i++)
        best = points[i].loss < points[best].loss ? i : best;
    return best;
}

void rb_merge_verdict_several(const struct rb_point *points, size_t count, size_t models,
                              enum rb_task task, enum rb_metric metric,
                              const struct rb_chance *chance, const double *parent_errors,
                              enum rb_sameness same, struct rb_merge_verdict *ret)
{
    struct rb_merge_verdict v = begin(task, metric, chance, same);
    size_t best = 0, worst = 0;
    for (size_t m = 1; m < models && count > models; m++) {
        best = points[m].loss < points[best].loss ? m : best;
        worst = points[m].loss > points[worst].loss ? m : worst;
    }
    if (count > models) {
        take_best(&points[rb_merge_best_of(points, count, models)], &v);
        take_parent(&points[best], 0, &v);
        take_parent(&points[worst], 1, &v);
        v.kind = judge(v.loss, v.chance.loss, points, parent_errors, models);
    }
    if (same == RB_SAME_DIFFERENT)
        v.kind = RB_MERGE_DIFFERENT;
    *ret = v;
}

/* ---- in words ---- */

static bool is_of_several(const struct rb_merge_verdict *v)
{
    return v->lambda > 1;
}

/* Which end the best point lies beside: 'A', 'B', or 0 for neither. */
static char beside(const struct rb_merge_verdict *v)
{
    bool good = v->kind == RB_MERGE_BETTER || v->kind == RB_MERGE_BETWEEN;
    if (!good || is_of_several(v) || (v->lambda >= 0.25 && v->lambda <= 0.75))
        return 0;
    return v->lambda < 0.25 ? 'A' : 'B';
}

char *rb_merge_verdict_label(const struct rb_merge_verdict *v, char ret[RB_MERGE_LABEL_SIZE])
{
    char end = beside(v);
    ret[0] = '\0';
    if (v->kind != RB_MERGE_NONE)
        (void)snprintf(ret, RB_MERGE_LABEL_SIZE, "%s%s%.1s", rb_merge_verdict_names[v->kind],
                       end != 0 ? ", beside " : "", &end);
    return ret;
}

struct sentence {
    char *text;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct sentence *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->text + s->used, RB_MERGE_SENTENCE_SIZE - s->used, format, args);
    va_end(args);
    if (n > 0)
        s->used += (size_t)n;
    if (s->used >= RB_MERGE_SENTENCE_SIZE)
        s->used = RB_MERGE_SENTENCE_SIZE - 1;
}

static bool is_average(const double *weights, size_t models)
{
    bool same = true;
    for (size_t m = 1; m < models; m++)
        same = same && fabs(weights[m] - weights[0]) < 1e-9;
    return same;
}

/* "0.5 gpt2-a + 0.5 gpt2-b": models without a weight are left out, and those that a sentence has
 * no room for are counted. */
static void say_sum(struct sentence *s, const struct rb_job_spec *spec, const double *weights)
{
    static const size_t ROOM = 256;
    size_t models = rb_job_spec_models(spec), begun = s->used, left = 0;
    for (size_t m = 0; m < models; m++) {
        const char *name = rb_job_spec_model(spec, m);
        if (weights[m] == 0)
            continue;
        if (strlen(name) > ROOM)
            say(s, "%s%.3g of model %zu", s->used > begun ? " + " : "", weights[m], m);
        else if (s->used > begun && s->used - begun + strlen(name) > ROOM)
            left++;
        else
            say(s, "%s%.3g %s", s->used > begun ? " + " : "", weights[m], name);
    }
    if (left > 0)
        say(s, " and %zu more", left);
}

static void say_weights(struct sentence *s, const struct rb_job_spec *spec, double point)
{
    static const char *const numbers[] = {"three", "four",  "five", "six",
                                          "seven", "eight", "nine", "ten"};
    size_t models = rb_job_spec_models(spec);
    const double *weights = spec->weights.values + (size_t)point * models;
    say(s, " at ");
    if (!is_average(weights, models))
        say_sum(s, spec, weights);
    else if (models - 3 < sizeof numbers / sizeof numbers[0])
        say(s, "the average of all %s", numbers[models - 3]);
    else
        say(s, "the average of all %zu", models);
    say(s, ": ");
}

static void say_where(struct sentence *s, const struct rb_merge_verdict *v,
                      const struct rb_job_spec *spec)
{
    char end = beside(v);
    if (end != 0)
        say(s, " only beside %c,", end);
    if (is_of_several(v) && spec != NULL && rb_job_spec_several(spec) &&
        v->lambda < (double)spec->lambdas.count)
        say_weights(s, spec, v->lambda);
    else
        say(s, " at %s %.3g: ", is_of_several(v) ? "weights no." : "lambda", v->lambda);
}

static void say_figures(struct sentence *s, const struct rb_merge_verdict *v)
{
    say(s,
        is_of_several(v) ? "loss %.3f, the parents from %.3f to %.3f"
                         : "loss %.3f, the parents %.3f and %.3f",
        v->loss, v->parent_loss[0], v->parent_loss[1]);
    if (!isnan(v->midpoint_loss) && fabs(v->lambda - 0.5) > 1e-9)
        say(s, ", halfway %.3f", v->midpoint_loss);
    if (!isnan(v->chance.loss))
        say(s, ", guessing by frequency %.3f", v->chance.loss);
    if (!isnan(v->chance.accuracy) && v->metric_name == RB_ACCURACY && !isnan(v->metric))
        say(s, "; accuracy %.3f, always the commonest class %.3f", v->metric, v->chance.accuracy);
}

char *rb_merge_verdict_sentence(const struct rb_merge_verdict *v, const struct rb_job_spec *spec,
                                char ret[RB_MERGE_SENTENCE_SIZE])
{
    struct sentence s = {ret, 0};
    const char *both = is_of_several(v) ? "all" : "both";
    ret[0] = '\0';
    switch (v->kind) {
    case RB_MERGE_NONE:
    case RB_MERGE_COUNT:
        return ret;
    case RB_MERGE_BETTER:
        say(&s, "Better than %s parents", both);
        say_where(&s, v, spec);
        break;
    case RB_MERGE_BETWEEN:
        say(&s, "Between its parents");
        say_where(&s, v, spec);
        break;
    case RB_MERGE_WORSE:
        say(&s, "Worse than %s parents, at best", both);
        say_where(&s, v, spec);
        break;
    case RB_MERGE_CHANCE:
        say(&s, "No better than chance, at best");
        say_where(&s, v, spec);
        break;
    case RB_MERGE_DIFFERENT:
        say(&s, "Not the same function: what was moved no longer computes what B computes, so the "
                "curve says nothing about merging A and B");
        break;
    }
    if (v->kind != RB_MERGE_DIFFERENT)
        say_figures(&s, v);
    say(&s, "%s.", v->near ? "; B was moved nearly, not exactly" : "");
    static const char *const how[RB_WRITTEN_COUNT] = {
        [RB_WRITTEN_SOLVED] = "solved by least squares",
        [RB_WRITTEN_TUNED] = "trained after the merge",
        [RB_WRITTEN_BOTH] = "solved by least squares and trained after it"};
    if (how[v->written] != NULL)
        say(&s,
            " This is the straight path's; the checkpoints written are %s: no points of it, and no "
            "parent's function.",
            how[v->written]);
    return ret;
}

/* ---- JSON ---- */

void rb_merge_verdict_encode(struct rb_json *w, const char *key, const struct rb_merge_verdict *v,
                             const struct rb_job_spec *spec)
{
    char sentence[RB_MERGE_SENTENCE_SIZE], label[RB_MERGE_LABEL_SIZE];
    if (v->kind == RB_MERGE_NONE) {
        rb_json_null(w, key);
        return;
    }
    rb_json_object(w, key);
    rb_json_string(w, "text", rb_merge_verdict_names[v->kind]);
    rb_json_string(w, "label", rb_merge_verdict_label(v, label));
    rb_json_string(w, "sentence", rb_merge_verdict_sentence(v, spec, sentence));
    if (v->written != RB_WRITTEN_LINEAR)
        rb_json_string(w, "written", rb_written_names[v->written]);
    rb_json_number(w, "best_lambda", v->lambda);
    rb_json_number(w, "loss", v->loss);
    rb_json_number(w, "midpoint_loss", v->midpoint_loss);
    if (isnan(v->metric)) {
        rb_json_null(w, "metric");
    } else {
        rb_json_object(w, "metric");
        rb_json_string(w, "name", rb_metric_names[v->metric_name]);
        rb_json_number(w, "value", v->metric);
        rb_json_end(w);
    }
    rb_json_array(w, "parents");
    for (int i = 0; i < 2; i++) {
        rb_json_object(w, NULL);
        rb_json_number(w, "loss", v->parent_loss[i]);
        rb_json_number(w, "metric", v->parent_metric[i]);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_json_number(w, "chance", v->chance.loss);
    rb_json_number(w, "chance_accuracy", v->chance.accuracy);
    rb_json_end(w);
}
