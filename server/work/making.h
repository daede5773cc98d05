/* server/work/making.h: a merged checkpoint that is more than a sum of weights (METHOD 12), from
 * the straight merge to what is to be written: its loss, what is solved or trained, its loss then.
 *
 * DESIGN. One chain of core's programs. While it runs, what is solved is written beside the job's
 * artifacts, once a minute (of a small model every quarter of a second), and a killed job goes on
 * from there. The figures leave as JSON, which the checkpoint's metadata carry: what describes it
 * later reads them there. Loop thread. */
#ifndef RB_SERVER_WORK_MAKING_H
#define RB_SERVER_WORK_MAKING_H

#include "server/work/run_state.h"

struct rb_making;

/* The key of the figures in a checkpoint's metadata. */
#define RB_MAKING_KEY "rebasind.merge"

/* Starts to make that of the blend, which is copied; done is called on the loop, whatever the
 * end. The caller frees *ret after that. RB_ENOMEM, RB_EDATASET. */
enum rb_status
rb_making_start(struct rb_run *run, const struct rb_blend *blend,
                void (*done)(void *data, enum rb_status status, const struct rb_error *err),
                void *data, struct rb_making **ret, struct rb_error *err) RB_MUST_CHECK;
/* m may be NULL; nothing of it runs any more. */
void rb_making_free(struct rb_making *m);

/* Once done has said RB_OK: what stands in place of the sum, borrowed; and the figures as JSON:
 * {"method","tokens_read","fit":{"mean","solved"},"finetune":{"steps",…},"loss":{"linear",
 * "least_squares","finetune"},"standard_error":{likewise}}: what was not done is left out, losses
 * are null without evaluate. */
const struct rb_overlay *rb_making_overlay(const struct rb_making *m);
const char *rb_making_figures(const struct rb_making *m);

#endif
