/* rebasind: the table of subcommands. `serve` is what flags alone run; nothing at all prints help.
 */
#include "server/cli/commands.h"

#include "server/base/blas_kernel.h"
#include "server/base/config.h"
#include "server/base/config_print.h"

#include <stdio.h>
#include <string.h>

static int cmd_help(int argc, char *const argv[], FILE *out);

static const char help_help[] = "Usage: rebasind help [COMMAND]\n"
                                "\n"
                                "Says what COMMAND does, or what commands there are.\n"
                                "\n"
                                "Example:\n"
                                "  rebasind help token\n";

static const char *const none[] = {NULL};
static const char *const for_run[] = {"config", "data-dir", "import-root", "workers", NULL};
static const char *const for_data[] = {"config", "data-dir", NULL};
static const char *const for_work[] = {"config", "workers", NULL};
static const char *const for_health[] = {"config", "listen", "route-prefix", NULL};

static const struct command {
    const char *name, *summary, *help;
    /* The options that mean something to it, NULL-terminated; NULL: all of them. */
    const char *const *options;
    int (*run)(int argc, char *const argv[], FILE *out);
} commands[] = {
    {"serve", "run the daemon (also what options alone do)", rb_cmd_serve_help, NULL, rb_cmd_serve},
    {"run", "run one job without a server", rb_cmd_run_help, for_run, rb_cmd_run},
    {"inspect", "say what a model folder holds and what is wrong with it", rb_cmd_inspect_help,
     none, rb_cmd_inspect},
    {"export", "copy a merged model folder out of the data folder", rb_cmd_export_help, for_data,
     rb_cmd_export},
    {"check-config", "print the settings and what is wrong with them", rb_cmd_check_config_help,
     NULL, rb_cmd_check_config},
    {"health", "ask a running daemon whether it is ready", rb_cmd_health_help, for_health,
     rb_cmd_health},
    {"token", "make, list and revoke tokens", rb_cmd_token_help, for_data, rb_cmd_token},
    {"work", "compute one unit of a job, on a node of a cluster", rb_cmd_work_help, for_work,
     rb_cmd_work},
    {"version", "print versions", rb_cmd_version_help, none, rb_cmd_version},
    {"help", "print help", help_help, none, cmd_help},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_overview(FILE *out)
{
    fputs("rebasind merges Transformers: it aligns model B to model A by permutation, walks from\n"
          "one to the other, and serves the loss barrier.\n"
          "\n"
          "Usage: rebasind COMMAND [OPTIONS]\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "`rebasind COMMAND --help` says more and gives an example.\n"
          "\n"
          "Example:\n"
          "  rebasind serve --data-dir /var/lib/rebasind --import-root /srv/checkpoints\n",
          out);
}

static void print_help(const struct command *command, FILE *out)
{
    fputs(command->help, out);
    if (command->options == none)
        return;
    fputs("\nOptions:\n", out);
    rb_options_help(out, command->options);
}

static int unknown(const char *name)
{
    fprintf(stderr, "rebasind: there is no command '%s'; see `rebasind help`\n", name);
    return 2;
}

static int cmd_help(int argc, char *const argv[], FILE *out)
{
    if (argc < 2) {
        print_overview(out);
        return 0;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL)
        return unknown(argv[1]);
    print_help(command, out);
    return 0;
}

/* --help among the arguments, before a "--". */
static bool wants_help(int argc, char *const argv[])
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char *argv[])
{
    const struct command *command = &commands[0];
    rb_kernel_begin(argv);
    if (argc < 2) {
        print_overview(stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (argc > 1 && argv[1][0] != '-') {
        command = find_command(argv[1]);
        if (command == NULL)
            return unknown(argv[1]);
        argc--;
        argv++;
    } else if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        char *const plain[] = {argv[0], NULL};
        return rb_cmd_version(1, plain, stdout);
    } else if (wants_help(argc, argv)) {
        print_overview(stdout);
        fputs("\nOptions:\n", stdout);
        rb_options_help(stdout, NULL);
        return 0;
    }
    if (wants_help(argc, argv)) {
        print_help(command, stdout);
        return 0;
    }
    int status = command->run(argc, argv, stdout);
    /* Whoever reads a result has to learn that there is none. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "rebasind: standard output cannot be written\n");
        return status != 0 ? status : 1;
    }
    return status;
}
