/* server/commands.h: the subcommands that main.c's own folder implements. Exit statuses: 0, 1 when
 * it could not be done, 2 for a wrong command line. argv[0] is not looked at. */
#ifndef RB_SERVER_COMMANDS_H
#define RB_SERVER_COMMANDS_H

/* serve.c: runs until SIGTERM or SIGINT. 0 after a drain. */
int rb_cmd_serve(int argc, char *const argv[]);
extern const char rb_cmd_serve_help[];

/* health.c: asks /readyz of the daemon that these settings would start. */
int rb_cmd_health(int argc, char *const argv[]);
extern const char rb_cmd_health_help[];

/* cmd_run.c: one job without a server. */
int rb_cmd_run(int argc, char *const argv[]);
extern const char rb_cmd_run_help[];

#endif
