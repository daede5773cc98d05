/* server/base/sandbox_landlock.h: the part of the sandbox that limits files; private to
 * server/base. */
#ifndef RB_SERVER_BASE_SANDBOX_LANDLOCK_H
#define RB_SERVER_BASE_SANDBOX_LANDLOCK_H

#include "server/base/sandbox_internal.h"

/* The calling thread and its later children. no_new_privs must be set. RB_EIO if data_dir cannot be
 * opened; whatever else goes wrong is an outcome. */
enum rb_status rb_sandbox_landlock(const struct rb_settings *settings, const char *data_dir,
                                   struct rb_sandbox_outcome *ret,
                                   struct rb_error *err) RB_MUST_CHECK;

#endif
