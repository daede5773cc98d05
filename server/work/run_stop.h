/* server/work/run_stop.h: how long a run waits, and why it stops; types only. */
#ifndef RB_SERVER_WORK_RUN_STOP_H
#define RB_SERVER_WORK_RUN_STOP_H

enum {
    RB_RUN_PATIENCE_S = 600,
    RB_RUN_PATIENCE_UNIT_S = 10, /* of `rebasind work` */
    RB_RUN_WAIT_MS = 1000,
    RB_RUN_PROGRESS_MS = 500
};

enum rb_run_stop { RB_RUN_GOES_ON, RB_RUN_DRAIN, RB_RUN_CANCEL };

#endif
