/* server/work/slurm_note.h: what becomes of a job's units, in words. */
#ifndef RB_SERVER_WORK_SLURM_NOTE_H
#define RB_SERVER_WORK_SLURM_NOTE_H

#include "server/work/slurm_state.h"

/* What is written together with a note, in one transaction: a commit is a sync of the disk. */
struct rb_slurm_news {
    const char *unit;
    const struct rb_job_change *change; /* of the job; NULL: none */
    bool progressed; /* a process that dies from now on has not died for nothing */
};
void rb_slurm_tell(struct rb_run *run, const struct rb_slurm_news *news, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Tells it in the job's events. */
void rb_slurm_note(struct rb_run *run, const char *unit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
