/* server/cli/environment.h: what this process is and computes on, for the commands that do. */
#ifndef RB_SERVER_CLI_ENVIRONMENT_H
#define RB_SERVER_CLI_ENVIRONMENT_H

#include "core/status.h"

/* Of every job that runs here, for rb_work_options: JSON, new, free(). After rb_kernel_settle.
 * RB_ENOMEM. */
enum rb_status rb_environment_here(unsigned threads, char **ret,
                                   struct rb_error *err) RB_MUST_CHECK;
/* What wrote a merged folder, for rb_work_options: JSON, new, free(). RB_ENOMEM. */
enum rb_status rb_build_here(char **ret, struct rb_error *err) RB_MUST_CHECK;

#endif
