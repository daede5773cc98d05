/* server/work/slurm_files.h: what the executor `slurm` reads and writes in --shared-dir. Pool
 * threads, but for the names; a->data is the unit, whose members say what was found. */
#ifndef RB_SERVER_WORK_SLURM_FILES_H
#define RB_SERVER_WORK_SLURM_FILES_H

#include "server/work/slurm_state.h"

/* "units/JOB", or of one attempt "units/JOB/UNIT.ATTEMPT"; fills and returns buffer. */
char *rb_slurm_job_folder(const char *job, char buffer[RB_PATH_SIZE]);
char *rb_slurm_unit_folder(const char *job, enum rb_unit unit, uint32_t attempt,
                           char buffer[RB_PATH_SIZE]);

/* unit->found: the newest whole bundle of this kind, which is then in unit->bundle and folder. */
void rb_slurm_find_bundle(struct rb_async *a);
/* Writes unit->bundle into unit->folder, and copies what nodes cannot see otherwise. */
void rb_slurm_make_bundle(struct rb_async *a);
/* Looks for products; unit->artifacts are then in the job's own folder. */
void rb_slurm_scan(struct rb_async *a);

#endif
