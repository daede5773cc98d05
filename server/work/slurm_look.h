/* server/work/slurm_look.h: when units look into their folders.
 *
 * DESIGN. A thousand units are looked after by one thread that also answers requests. So folders
 * are read on the pool, RB_SLURM_LOOKS at once; most looks are glances, which only ask the folder
 * whether anything has come (its time of change) and end there; and what the others have found is
 * gone through in slices of RB_SLURM_TURN_MS, one for each turn of the loop. What is found and not
 * yet gone through is therefore that of RB_SLURM_LOOKS units at most. Loop thread only. */
#ifndef RB_SERVER_WORK_SLURM_LOOK_H
#define RB_SERVER_WORK_SLURM_LOOK_H

#include "server/work/slurm_state.h"

/* looked: takes what a unit has found; the unit may be gone then. */
void rb_slurm_look_open(struct rb_slurm *s, void (*looked)(struct rb_slurm_unit *u));

/* That unit is to look, as soon as it is its turn; does nothing where it may not now. */
void rb_slurm_look(struct rb_slurm_unit *u);
/* All are, whose last look is long enough ago. */
void rb_slurm_look_all(struct rb_slurm *s, uint64_t now_ns);
/* The unit goes; it is not busy. */
void rb_slurm_look_forget(struct rb_slurm_unit *u);

#endif
