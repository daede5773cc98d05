/* server/base/datadir.h: the data folder's disk and lock. */
#ifndef RB_SERVER_BASE_DATADIR_H
#define RB_SERVER_BASE_DATADIR_H

#include "api/status.h"

#include <stdint.h>

/* Free bytes for an unprivileged writer on root_fd's file system. */
enum rb_status rb_disk_free(int root_fd, uint64_t *ret_bytes, struct rb_error *err) RB_MUST_CHECK;

/* Locks "lock" below root_fd for this process until *ret_fd is closed or the process ends, and
 * writes the process id into it. RB_ELOCKED naming the holder's id. */
enum rb_status rb_data_lock(int root_fd, int *ret_fd, struct rb_error *err) RB_MUST_CHECK;

/* Is the folder that root_fd was opened from still what `path` names? RB_ESTORE once it was moved
 * away or unmounted: not the fault of whoever asks. Any thread. */
enum rb_status rb_data_check(int root_fd, const char *path, struct rb_error *err) RB_MUST_CHECK;

#endif
