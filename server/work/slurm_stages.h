/* server/work/slurm_stages.h: the stages of a run whose units are computed by Slurm. */
#ifndef RB_SERVER_WORK_SLURM_STAGES_H
#define RB_SERVER_WORK_SLURM_STAGES_H

#include "server/work/run_state.h"

/* finding (places, points, alignment; no model is opened), align, learn, points, write; then, on
 * this machine, loading where checkpoints were written, and the small files. */
extern const struct rb_stage *const rb_slurm_stages[];
/* Is its stage_data a struct rb_slurm_unit? */
bool rb_slurm_stage_is_unit(const struct rb_stage *stage);

#endif
