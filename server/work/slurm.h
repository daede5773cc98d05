/* server/work/slurm.h: the executor `slurm`: units of jobs as jobs of the lab's own cluster.
 *
 * DESIGN. A unit becomes a bundle (bundle_dir.h) in a folder that every node sees, and a job array
 * of Slurm whose tasks run `rebasind work` on it. Three sources say how it goes, and the first that
 * knows wins:
 *   1. the bundle's folder: a sealed product is done, whatever the queue says; an outcome says
 * whose fault a failure is;
 *   2. the queue: one squeue for all units, every 5 s and slower as it answers slower. An answer
 * that failed says nothing at all;
 *   3. what is not in the queue, in two good answers one after the other, and has no product, is
 *      gone: it is submitted again, as another attempt, at most three times without anything new.
 * Each submission has a name of its own, which holds the job and the attempt, and its bundle is on
 * disk before it is submitted: a daemon that was killed finds the bundle, looks for the name in the
 * queue, and goes on waiting. Products of another attempt are not taken. Commands go through the
 * broker (server/base/broker.h). Files are read and written on the pool; a cluster's file system
 * that hangs hangs only that.
 *
 *     SHARED/lock                               one daemon for a folder
 *     SHARED/units/JOB/UNIT.ATTEMPT/            a bundle
 *     SHARED/inputs/SHA256/                     uploads that nodes must see, while a job needs them
 *
 * A run ends only when nothing of it is in the queue (rb_executor.conclude). Loop thread only.
 */
#ifndef RB_SERVER_WORK_SLURM_H
#define RB_SERVER_WORK_SLURM_H

#include "server/work/slurm_options.h"
#include "server/work/work_state.h"

/* From here on w runs jobs there, too. RB_ENOMEM, RB_EINTERNAL. */
enum rb_status rb_slurm_open(struct rb_work *w, const struct rb_slurm_options *options,
                             struct rb_error *err) RB_MUST_CHECK;
/* No run is under way. w->slurm may be NULL. Frees itself once the loop has run again. */
void rb_slurm_close(struct rb_work *w);

#endif
