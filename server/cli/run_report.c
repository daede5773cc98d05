#include "server/cli/run_report.h"

#include <math.h>
#include <string.h>

enum { BAR_WIDTH = 32, PLOT_ROWS = 14, PLOT_COLUMNS = 63 };

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

static void print_cell(FILE *out, const struct rb_curve_points *curve, size_t i)
{
    if (i < curve->count)
        fprintf(out, "  %9.4f", curve->points[i].loss);
    else
        fprintf(out, "  %9s", "-");
}

static void print_barrier(FILE *out, const char *name, double aligned, double aligned_lambda,
                          bool has_control, double control, double control_lambda)
{
    fprintf(out, "barrier over the %-5s  aligned %.4f at lambda %.2f", name, aligned,
            aligned_lambda);
    if (has_control) {
        double reduction = rb_reduction(aligned, control);
        fprintf(out, ", control %.4f at %.2f", control, control_lambda);
        if (!isnan(reduction))
            fprintf(out, ": reduced by %.1f %%", 100 * reduction);
    }
    fputc('\n', out);
}

void rb_report_barrier(FILE *out, const struct rb_barrier_view *v)
{
    struct rb_barrier aligned, control = {0};
    fprintf(out, "%6s  %9s%s\n", "lambda", "aligned", v->has_control ? "    control" : "");
    for (size_t i = 0; i < v->lambda_count; i++) {
        fprintf(out, "%6.3f", v->lambdas[i]);
        print_cell(out, &v->aligned, i);
        if (v->has_control)
            print_cell(out, &v->control, i);
        fputc('\n', out);
    }
    plot(out, v);
    if (!rb_curve_barrier(v, &v->aligned, &aligned))
        return;
    bool has_control = v->has_control && rb_curve_barrier(v, &v->control, &control);
    fputc('\n', out);
    print_barrier(out, "chord", aligned.chord, aligned.chord_lambda, has_control, control.chord,
                  control.chord_lambda);
    print_barrier(out, "mean", aligned.mean, aligned.mean_lambda, has_control, control.mean,
                  control.mean_lambda);
}

void rb_report_certificate(FILE *out, const struct rb_job_summary *summary)
{
    if (summary->equivalent >= 0)
        fprintf(out, "certificate: moved B %s\n",
                summary->equivalent ? "computes the same function as B"
                                    : "is another function than B");
}
