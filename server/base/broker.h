/* server/base/broker.h: a process outside the sandbox that may run Slurm's commands, and nothing
 * else.
 *
 * DESIGN. The daemon cannot execute anything once it is sandboxed (sandbox.h). So before that it
 * forks a broker, which reads requests from a socket pair and runs one command at a time. A request
 * is one of the kinds below with fields of text; the broker makes the argument vector itself from a
 * table, checks every field against what it may be, and runs the command by the absolute path found
 * at the start, with an environment of its own (PATH, and HOME and SLURM_CONF if they were set),
 * never by a shell. So whoever took over the daemon could make nodes run `rebasind work` on a
 * folder below --shared-dir, look at the queue, and cancel jobs of this user that are named as ours
 * are. The script that sbatch hands on is a constant of this file. Every command has a time limit
 * and its output a cap. The broker ends when the daemon does, and takes the command under way with
 * it.
 *
 *   request   magic, kind, id, bytes (uint32 each), then the fields, each ended by a zero byte
 *   reply     magic, id, status, output bytes, error bytes; then the output and the words
 */
#ifndef RB_SERVER_BASE_BROKER_H
#define RB_SERVER_BASE_BROKER_H

#include "api/status.h"

#include <stdint.h>
#include <sys/types.h>

enum rb_broker_kind {
    RB_BROKER_SUBMIT,  /* name, folder of the bundle, unit, tasks: sbatch; output: the job's number
                        */
    RB_BROKER_QUEUE,   /* squeue of this user's jobs: lines of RB_BROKER_QUEUE_FORMAT */
    RB_BROKER_CANCEL,  /* name: scancel */
    RB_BROKER_ACCOUNT, /* name: sacct; output: lines of state|exit code */
    RB_BROKER_KINDS
};

enum {
    RB_BROKER_MAGIC = 0x72626272,
    RB_BROKER_FIELDS = 4,
    RB_BROKER_REQUEST_MAX = 8192,
    RB_BROKER_OUTPUT_MAX = 32 * 1024 * 1024,
    RB_BROKER_WORDS_MAX = 600,
    RB_BROKER_TIMEOUT_S = 60,
    RB_BROKER_FAILED = 254, /* status: the command could not be run, or took too long */
    RB_BROKER_REFUSED = 255 /* status: the request was none; nothing was run */
};
#define RB_BROKER_QUEUE_FORMAT "%F|%K|%T|%r|%N|%j" /* number, tasks, state, reason, node, name */

struct rb_broker_request_head {
    uint32_t magic, kind, id, bytes;
};
struct rb_broker_reply_head {
    uint32_t magic, id, status, output_bytes, words_bytes;
};

struct rb_broker_options {
    char *commands[RB_BROKER_KINDS]; /* absolute paths of sbatch, squeue, scancel, sacct; owned */
    char *program;                   /* this program, as nodes run it; owned */
    const char *shared_dir;          /* absolute; borrowed */
    const char *slurm_options;       /* further flags of sbatch, split at blanks; borrowed */
};
/* Looks for the commands in PATH. RB_EUSAGE naming the one that is missing (sacct may be),
 * RB_ENOMEM. The caller owns *ret. */
enum rb_status rb_broker_options_find(const char *shared_dir, const char *slurm_options,
                                      struct rb_broker_options *ret,
                                      struct rb_error *err) RB_MUST_CHECK;
void rb_broker_options_deinit(struct rb_broker_options *o);

/* Forks it; before there are threads. *ret_fd is the daemon's end, not blocking, the caller's to
 * close, which ends the broker. RB_EINTERNAL, RB_EFILES. */
enum rb_status rb_broker_start(const struct rb_broker_options *o, int *ret_fd,
                               struct rb_error *err) RB_MUST_CHECK;

/* A request's bytes into buffer; 0 if they do not fit. fields: NULL where there are fewer. */
size_t rb_broker_encode(enum rb_broker_kind kind, uint32_t id, const char *const fields[],
                        unsigned char buffer[RB_BROKER_REQUEST_MAX]);

/* ---- the parts, for tests ---- */

enum { RB_BROKER_ARGUMENTS = 64, RB_BROKER_ARGUMENT_SIZE = 4200 };
struct rb_broker_command {
    const char *path;
    char *argv[RB_BROKER_ARGUMENTS + 1];
    char text[RB_BROKER_ARGUMENTS][64]; /* of short arguments made here */
    char long_text[2][RB_BROKER_ARGUMENT_SIZE];
    char *options; /* slurm_options, split; owned */
};
/* The command that a request's body asks for; script: the path under which sbatch finds it.
 * RB_EINPUT in words for any other body. *ret borrows from body and o: rb_broker_command_deinit. */
enum rb_status rb_broker_command_make(const struct rb_broker_options *o, uint32_t kind, char *body,
                                      size_t bytes, const char *script,
                                      struct rb_broker_command *ret,
                                      struct rb_error *err) RB_MUST_CHECK;
void rb_broker_command_deinit(struct rb_broker_command *c);

/* Runs a command to its end, as the broker does: its output (new, free()) and status. fd -1: nobody
 * whose going would end it. For check-config too. */
struct rb_broker_result {
    uint32_t status;
    char *output;
    size_t output_bytes;
    char words[RB_BROKER_WORDS_MAX]; /* of its standard error, cut */
};
void rb_broker_run(const struct rb_broker_command *c, int fd, struct rb_broker_result *ret);
/* An open file with the script, whose path for sbatch is /proc/self/fd/N. -1 with errno set. */
int rb_broker_script(void);

#endif
