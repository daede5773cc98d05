/* server/base/sandbox_seccomp.h: the part of the sandbox that limits system calls; private to
 * server/base. */
#ifndef RB_SERVER_BASE_SANDBOX_SECCOMP_H
#define RB_SERVER_BASE_SANDBOX_SECCOMP_H

#include "server/base/sandbox_internal.h"

/* All threads. no_new_privs must be set. */
void rb_sandbox_seccomp(struct rb_sandbox_outcome *ret);

#endif
