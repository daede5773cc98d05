/* server/work/stage_joint.h: aligning, solving and certifying three models or more: what the stages
 * of those names do then. Files are called by rb_artifact_of_model. */
#ifndef RB_SERVER_WORK_STAGE_JOINT_H
#define RB_SERVER_WORK_STAGE_JOINT_H

#include "server/work/run_state.h"

/* reference.json of the job's folder; *ret new, free(). Pool threads; blocks. */
enum rb_status rb_joint_reference_read(const struct rb_run *run, char **ret,
                                       struct rb_error *err) RB_MUST_CHECK;

/* Gives the run alignments, by model (1 …); NULL is left in their places. */
void rb_joint_take_over(struct rb_run *run, struct rb_alignment **alignments);
/* Frees the run's alignments and motions. */
void rb_joint_drop(struct rb_run *run);
/* The motions of the run's alignments, of a pair too; all or none. */
enum rb_status rb_joint_motions(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

/* The motion of one model (1 …), and that of an alignment that has changed: where that fails the
 * run has no motions. */
struct rb_motion *rb_joint_motion(struct rb_run *run, size_t model);
enum rb_status rb_joint_motion_again(struct rb_run *run, size_t model,
                                     struct rb_error *err) RB_MUST_CHECK;

/* The alignment of a model (1 …, of a pair too) to the job's folder, made where it is not there,
 * synced. The file is called by rb_artifact_of_model. Pool threads; blocks. As rb_alignment_save.
 */
enum rb_status rb_joint_save_alignment(const struct rb_run *run, size_t model,
                                       struct rb_error *err) RB_MUST_CHECK;

/* As rb_stage's enter; they leave by rb_joint_leave. */
void rb_joint_align_enter(struct rb_run *run);
void rb_joint_solve_enter(struct rb_run *run);
void rb_joint_certify_enter(struct rb_run *run);
void rb_joint_leave(void *data);

#endif
