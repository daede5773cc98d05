/* server/base/sandbox_internal.h: the two large parts of the sandbox; private to server/base. */
#ifndef RB_SERVER_BASE_SANDBOX_INTERNAL_H
#define RB_SERVER_BASE_SANDBOX_INTERNAL_H

#include "server/base/sandbox.h"

/* How one part went; detail as in struct rb_sandbox_report. */
struct rb_sandbox_outcome {
    enum rb_sandbox_state state;
    char detail[192];
};

__attribute__((format(printf, 3, 4))) void rb_sandbox_outcome_set(struct rb_sandbox_outcome *o,
                                                                  enum rb_sandbox_state state,
                                                                  const char *format, ...);

#endif
