/* server/work/stage_joint.h: aligning, solving and certifying three models or more: what the stages
 * of those names do then. The alignment of the second model is called as that of a pair is, those
 * behind it have their number in the name: alignment-2.safetensors. */
#ifndef RB_SERVER_WORK_STAGE_JOINT_H
#define RB_SERVER_WORK_STAGE_JOINT_H

#include "server/work/run_state.h"

/* file with the model's number (1 …) in it. */
void rb_joint_file(const char *file, size_t model, char ret[RB_FILE_NAME_SIZE]);

/* reference.json of the job's folder; *ret new, free(). Pool threads; blocks. */
enum rb_status rb_joint_reference_read(const struct rb_run *run, char **ret,
                                       struct rb_error *err) RB_MUST_CHECK;

/* Gives the run alignments, by model (1 …); NULL is left in their places. */
void rb_joint_take_over(struct rb_run *run, struct rb_alignment **alignments);
/* Frees the run's alignments and motions. */
void rb_joint_drop(struct rb_run *run);
/* The motions of the run's alignments, of a pair too; all or none. */
enum rb_status rb_joint_motions(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

/* As rb_stage's enter; they leave by rb_joint_leave. */
void rb_joint_align_enter(struct rb_run *run);
void rb_joint_solve_enter(struct rb_run *run);
void rb_joint_certify_enter(struct rb_run *run);
void rb_joint_leave(void *data);

#endif
