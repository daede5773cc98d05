/* server/store/results.h: what a job has finished: stages, the loss at each lambda, artifacts.
 *
 * A row here is a promise: the stage is not run again, the lambda not evaluated again, the file
 * is whole. Files are synced (server/base/fsutil.h) before their row is written. Adding a stage or
 * a point also notes that the job made progress (rb_job_row.run_attempts). Loop thread only.
 */
#ifndef RB_SERVER_STORE_RESULTS_H
#define RB_SERVER_STORE_RESULTS_H

#include "server/store/artifacts.h"
#include "server/store/stages.h"

#endif
