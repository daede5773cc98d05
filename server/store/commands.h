/* server/store/commands.h: the subcommands that need no loop; called by main.
 *
 * argv[0] is the subcommand's name. They print to out, complaints to standard error, and return the
 * process's exit status: 0, 1 when it could not be done, 2 for a wrong command line. */
#ifndef RB_SERVER_STORE_COMMANDS_H
#define RB_SERVER_STORE_COMMANDS_H

#include "api/service.h"

#include <stdio.h>

/* token create [--name N] [--scopes read,submit,admin] | token list | token revoke ID; each with
 * the flags of serve, of which --data-dir matters. create prints the secret alone on out, the id on
 * standard error, so that it can be piped. */
int rb_cmd_token(int argc, char *const argv[], FILE *out);
/* check-config: prints every option with value and origin, then what is wrong with it: unreadable
 * import roots, a data folder that cannot be made, a newer database, exposure without a token. */
int rb_cmd_check_config(int argc, char *const argv[], FILE *out);

/* What --help says of a subcommand, with an example. */
extern const char rb_cmd_token_help[];
extern const char rb_cmd_check_config_help[];

/* version [--json]: the daemon's version and those of its libraries. The list comes from main,
 * which alone links them all; it ends with a NULL name. */
int rb_cmd_version(int argc, char *const argv[], const struct rb_library_version *libraries,
                   FILE *out);

#endif
