/* server/cli/check_cluster.h: would `rebasind serve` find its cluster? For check-config. */
#ifndef RB_SERVER_CLI_CHECK_CLUSTER_H
#define RB_SERVER_CLI_CHECK_CLUSTER_H

#include "server/base/config.h"

/* Are the commands there, does the queue answer, can the folder be written, and does a probe that
 * is submitted there start this program on a node, which sees the folder and writes into it?
 * Removes what it made; waits for the probe at most RB_PROBE_S. Nothing without --shared-dir.
 * Errors say how to mend it. After rb_ids_init. */
enum { RB_PROBE_S = 60 };
enum rb_status rb_cluster_check(const struct rb_settings *settings,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
