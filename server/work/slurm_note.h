/* server/work/slurm_note.h: what becomes of a job's units, in words. */
#ifndef RB_SERVER_WORK_SLURM_NOTE_H
#define RB_SERVER_WORK_SLURM_NOTE_H

#include "server/work/slurm_state.h"

/* Tells it in the job's events. */
void rb_slurm_note(struct rb_run *run, const char *unit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
