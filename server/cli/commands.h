/* server/cli/commands.h: the subcommands, one file each (cmd_<name>.c); main.c has their table.
 *
 * argv[0] is not looked at. What was asked for goes to out, complaints to standard error. Each
 * returns the process's exit status: 0, 1 when it could not be done, 2 for a wrong command line.
 * rb_cmd_…_help is what --help says of it, with an example. */
#ifndef RB_SERVER_CLI_COMMANDS_H
#define RB_SERVER_CLI_COMMANDS_H

#include <stdio.h>

/* Runs the daemon until SIGTERM or SIGINT. 0 after a drain. */
int rb_cmd_serve(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_serve_help[];

/* One job without a server: `run SPEC.json`. */
int rb_cmd_run(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_run_help[];

/* Prints every option with value and origin, then what is wrong with it: unreadable import roots, a
 * data folder that cannot be made, a newer database, exposure without a token. */
int rb_cmd_check_config(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_check_config_help[];

/* Asks /readyz of the daemon that these settings would start. */
int rb_cmd_health(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_health_help[];

/* export JOB --lambda L --to DIR: copies a merged folder out of --data-dir, held against its
 * digest; 2 where DIR is not empty. */
int rb_cmd_export(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_export_help[];

/* inspect PATH [--json]: what a folder holds, as the daemon sees it; 2 where it would be refused.
 */
int rb_cmd_inspect(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_inspect_help[];

/* token create [--name N] [--scopes read,submit,admin] | token list | token revoke ID; each with
 * the flags of serve, of which --data-dir matters. create prints the secret alone on out, the id on
 * standard error, so that it can be piped. */
int rb_cmd_token(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_token_help[];

/* work BUNDLE --unit U [--task K]: one unit of a job, for a node of a cluster; 75 where another try
 * may help. */
int rb_cmd_work(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_work_help[];

/* version [--json]: the daemon's version and those of its libraries. */
int rb_cmd_version(int argc, char *const argv[], FILE *out);
extern const char rb_cmd_version_help[];

#endif
