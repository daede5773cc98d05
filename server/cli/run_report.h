/* server/cli/run_report.h: what `rebasind run` shows a person: a progress bar, the table of the
 * barrier and a plot of it in characters. Writes to the stream given; no state of its own. */
#ifndef RB_SERVER_CLI_RUN_REPORT_H
#define RB_SERVER_CLI_RUN_REPORT_H

#include "api/barrier.h"
#include "api/job.h"

#include <stdio.h>

/* Draws over the line it drew before. */
void rb_report_progress(FILE *out, enum rb_phase phase, const struct rb_progress *p);
/* Takes that line away. */
void rb_report_progress_end(FILE *out);
/* lambda, aligned, control; both barriers with their lambda, the reduction unless the verdict is
 * that B's function was lost; the plot. */
void rb_report_barrier(FILE *out, const struct rb_barrier_view *v);
/* Whether moved B is still B, as the certificate says. */
void rb_report_certificate(FILE *out, const struct rb_job_summary *summary);
/* How far pairwise alignments agree around triangles, from reference.json; nothing where not all
 * pairs were aligned. */
void rb_report_cycles(FILE *out, const char *reference);
/* The verdict as a sentence; nothing where there is none. */
void rb_report_verdict(FILE *out, const struct rb_merge_verdict *verdict,
                       const struct rb_job_spec *spec);

#endif
