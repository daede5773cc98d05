#include "server/cli/run_report.h"
#include "core/align/alignment.h"
#include "core/json.h"
#include "core/merge/barrier.h"

#include <math.h>
#include <string.h>

enum { BAR_WIDTH = 32, PLOT_ROWS = 14, PLOT_COLUMNS = 63, CYCLES_A_LINE = 4 };

/* ---- progress ---- */

void rb_report_progress(FILE *out, enum rb_phase phase, const struct rb_progress *p)
{
    double fraction = p->total > 0 ? p->done / p->total : 0;
    int full = (int)(fraction * BAR_WIDTH + 0.5);
    fprintf(out, "\r\033[K%-10s [", phase != RB_PHASE_NONE ? rb_phase_names[phase] : "starting");
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < full ? '#' : '.', out);
    fprintf(out, "] %3.0f %%", 100 * fraction);
    if (!isnan(p->eta_seconds) && p->eta_seconds >= 90)
        fprintf(out, "  %.0f min left", p->eta_seconds / 60);
    else if (!isnan(p->eta_seconds))
        fprintf(out, "  %.0f s left", p->eta_seconds);
    fflush(out);
}

void rb_report_progress_end(FILE *out)
{
    fputs("\r\033[K", out);
    fflush(out);
}

/* ---- the plot ---- */

struct canvas {
    char cells[PLOT_ROWS][PLOT_COLUMNS + 1];
    double low, high;
};

static void widen(struct canvas *c, const struct rb_curve_points *curve)
{
    for (size_t i = 0; i < curve->count; i++) {
        c->low = fmin(c->low, curve->points[i].loss);
        c->high = fmax(c->high, curve->points[i].loss);
    }
}

static void draw(struct canvas *c, const struct rb_curve_points *curve, char mark)
{
    for (size_t i = 0; i < curve->count; i++) {
        double height = (curve->points[i].loss - c->low) / (c->high - c->low);
        size_t column = (size_t)(curve->points[i].lambda * (PLOT_COLUMNS - 1) + 0.5);
        size_t row = (size_t)((1 - height) * (PLOT_ROWS - 1) + 0.5);
        c->cells[row][column] = c->cells[row][column] == ' ' ? mark : '@';
    }
}

static void plot(FILE *out, const struct rb_barrier_view *v)
{
    struct canvas c = {.low = INFINITY, .high = -INFINITY};
    widen(&c, &v->aligned);
    widen(&c, &v->control);
    if (!(c.high > c.low))
        return;
    for (size_t r = 0; r < PLOT_ROWS; r++)
        memset(c.cells[r], ' ', PLOT_COLUMNS);
    draw(&c, &v->control, 'o');
    draw(&c, &v->aligned, '*');
    fputc('\n', out);
    for (size_t r = 0; r < PLOT_ROWS; r++) {
        double loss = c.high - (c.high - c.low) * (double)r / (PLOT_ROWS - 1);
        if (r % 4 == 0 || r + 1 == PLOT_ROWS)
            fprintf(out, "%8.3f |%s\n", loss, c.cells[r]);
        else
            fprintf(out, "         |%s\n", c.cells[r]);
    }
    fputs("         +", out);
    for (int i = 0; i < PLOT_COLUMNS; i++)
        fputc('-', out);
    fprintf(out, "\n          0%*s%*s\n", PLOT_COLUMNS / 2, "lambda", PLOT_COLUMNS / 2, "1");
    fputs(v->has_control ? "          * aligned   o control   @ both\n" : "", out);
}

/* ---- the table ---- */

static const struct rb_point *point_at(const struct rb_curve_points *curve, double lambda)
{
    for (size_t i = 0; i < curve->count; i++)
        if (curve->points[i].lambda == lambda)
            return &curve->points[i];
    return NULL;
}

static void print_cell(FILE *out, const struct rb_point *point)
{
    if (point != NULL)
        fprintf(out, "  %9.4f", point->loss);
    else
        fprintf(out, "  %9s", "-");
}

struct figure {
    double value, error, lambda; /* error NaN: not known */
};

/* "0.1234 ± 0.0056"; the error is left out where it is not known. */
static void print_figure(FILE *out, const char *name, const struct figure *f, const char *at)
{
    fprintf(out, "%s %.4f", name, f->value);
    if (!isnan(f->error))
        fprintf(out, " ± %.4f", f->error);
    fprintf(out, " at %s%.2f", at, f->lambda);
}

static void print_barrier(FILE *out, const char *name, const struct figure *aligned,
                          const struct figure *control, double reduction_error, bool ranks)
{
    fprintf(out, "barrier over the %-5s  ", name);
    print_figure(out, "aligned", aligned, "lambda ");
    if (control != NULL) {
        double reduction = ranks ? rb_reduction(aligned->value, control->value) : (double)NAN;
        print_figure(out, ", control", control, "");
        if (!isnan(reduction))
            fprintf(out, ": reduced by %.1f", 100 * reduction);
        if (!isnan(reduction) && !isnan(reduction_error))
            fprintf(out, " ± %.1f", 100 * reduction_error);
        fputs(!isnan(reduction) ? " %" : "", out);
    }
    fputc('\n', out);
}

/* Three models or more: a row per list of weights, and the highest barrier. */
static void report_several(FILE *out, const struct rb_barrier_view *v)
{
    struct rb_barrier aligned, control = {0};
    fprintf(out, "%9s%s  weights\n", "aligned", v->has_control ? "    control" : "");
    for (size_t i = 0; i < v->lambda_count; i++) {
        print_cell(out, point_at(&v->aligned, v->lambdas[i]));
        if (v->has_control)
            print_cell(out, point_at(&v->control, v->lambdas[i]));
        fputs(" ", out);
        for (size_t m = 0; m < v->models; m++)
            fprintf(out, " %.3f", v->weights[i * v->models + m]);
        fputc('\n', out);
    }
    if (!rb_curve_barrier(v, &v->aligned, &aligned))
        return;
    fprintf(out, "\nhighest barrier %.4f", aligned.chord);
    if (v->errors != NULL && !isnan(v->errors->chord[0]))
        fprintf(out, " ± %.4f", v->errors->chord[0]);
    if (v->has_control && rb_curve_barrier(v, &v->control, &control))
        fprintf(out, ", control %.4f", control.chord);
    fputc('\n', out);
}

void rb_report_barrier(FILE *out, const struct rb_barrier_view *v)
{
    struct rb_barrier aligned, control = {0};
    if (v->weights != NULL) {
        report_several(out, v);
        return;
    }
    fprintf(out, "%6s  %9s%s\n", "lambda", "aligned", v->has_control ? "    control" : "");
    for (size_t i = 0; i < v->lambda_count; i++) {
        const struct rb_point *aligned_point = point_at(&v->aligned, v->lambdas[i]);
        const struct rb_point *control_point = point_at(&v->control, v->lambdas[i]);
        if (v->adaptive && aligned_point == NULL && control_point == NULL)
            continue; /* not needed */
        fprintf(out, "%6.3f", v->lambdas[i]);
        print_cell(out, aligned_point);
        if (v->has_control)
            print_cell(out, control_point);
        fputc('\n', out);
    }
    plot(out, v);
    if (!rb_curve_barrier(v, &v->aligned, &aligned))
        return;
    bool has_control = v->has_control && rb_curve_barrier(v, &v->control, &control);
    static const struct rb_barrier_errors unknown = {.chord = {NAN, NAN, NAN},
                                                     .mean = {NAN, NAN, NAN},
                                                     .reduction_chord = NAN,
                                                     .reduction_mean = NAN};
    const struct rb_barrier_errors *e = v->errors != NULL ? v->errors : &unknown;
    struct figure chord[2] = {{aligned.chord, e->chord[0], aligned.chord_lambda},
                              {control.chord, e->chord[1], control.chord_lambda}};
    struct figure mean[2] = {{aligned.mean, e->mean[0], aligned.mean_lambda},
                             {control.mean, e->mean[1], control.mean_lambda}};
    fputc('\n', out);
    bool ranks = v->verdict == NULL || rb_merge_verdict_ranks(v->verdict);
    print_barrier(out, "chord", &chord[0], has_control ? &chord[1] : NULL, e->reduction_chord,
                  ranks);
    print_barrier(out, "mean", &mean[0], has_control ? &mean[1] : NULL, e->reduction_mean, ranks);
    const struct rb_folded_control folded = rb_barrier_folded(v);
    if (rb_folded_control_known(&folded))
        fprintf(out, "folded, not aligned: %.4f over the chord at %.2f\n", folded.barrier,
                folded.lambda);
}

void rb_report_cycles(FILE *out, const char *reference)
{
    bool no_memory;
    json_error_t why;
    json_t *facts = rb_json_load(reference, strlen(reference), 0, &why, &no_memory);
    json_t *cycles = json_object_get(facts, "cycle_consistency"), *share;
    const char *group;
    size_t column = 0;
    if (json_object_size(cycles) > 0)
        fputs("pairwise alignments agree around triangles in\n", out);
    json_object_foreach(cycles, group, share)
    {
        fprintf(out, "  %-13s ", group);
        if (json_is_number(share))
            fprintf(out, "%5.1f %%", 100 * json_number_value(share));
        else
            fprintf(out, "%7s", "-");
        if (++column % CYCLES_A_LINE == 0 || column == json_object_size(cycles))
            fputc('\n', out);
    }
    json_decref(facts);
}

void rb_report_verdict(FILE *out, const struct rb_merge_verdict *verdict,
                       const struct rb_job_spec *spec)
{
    char sentence[RB_MERGE_SENTENCE_SIZE];
    if (verdict->kind != RB_MERGE_NONE)
        fprintf(out, "%s\n", rb_merge_verdict_sentence(verdict, spec, sentence));
}

static void report_near(FILE *out, const struct rb_job_summary *s)
{
    fputs("certificate: moved B is near B, not the same function", out);
    if (!isnan(s->kl))
        fprintf(out, ": KL %.4f nats, %.1f %% of first choices the same", s->kl,
                100 * s->top1_agreement);
    if (!isnan(s->loss_before))
        fprintf(out, "; B's loss %.4f, moved %.4f", s->loss_before, s->loss_after);
    fputc('\n', out);
}

void rb_report_certificate(FILE *out, const struct rb_job_summary *summary)
{
    if (summary->kind == RB_KIND_NEAR)
        report_near(out, summary);
    else if (summary->equivalent >= 0)
        fprintf(out, "certificate: moved B %s\n",
                summary->equivalent ? "computes the same function as B"
                                    : "is another function than B");
}
