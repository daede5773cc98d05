/* server/cli/signals.h: what every subcommand that computes does about signals: SIGPIPE is ignored,
 * and a mapped checkpoint that shrinks (SIGBUS) fails its job instead of the process. */
#ifndef RB_SERVER_CLI_SIGNALS_H
#define RB_SERVER_CLI_SIGNALS_H

void rb_signals_set(void);

#endif
