/* server/work/slurm_options.h: what the executor `slurm` is opened with; types only. */
#ifndef RB_SERVER_WORK_SLURM_OPTIONS_H
#define RB_SERVER_WORK_SLURM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct rb_slurm_options {
    const char *shared_dir;   /* absolute; borrowed */
    int shared_fd;            /* the same folder, open; borrowed */
    int broker_fd;            /* of rb_broker_start; taken over */
    uint32_t points_per_task; /* >= 1 */
    bool is_default;          /* for jobs whose spec does not say */
};

#endif
