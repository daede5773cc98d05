/* server/cli/notify.h: what systemd wants to hear (sd_notify(3)), without its library. Loop thread.
 */
#ifndef RB_SERVER_CLI_NOTIFY_H
#define RB_SERVER_CLI_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; does nothing when nobody listens. */
void rb_notify(const char *state);
/* How often WATCHDOG=1 is expected at least, in ms; 0: not at all. */
uint64_t rb_notify_watchdog_ms(void);

#endif
