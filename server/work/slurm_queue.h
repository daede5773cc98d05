/* server/work/slurm_queue.h: questions to the broker, and what squeue's lines mean. */
#ifndef RB_SERVER_WORK_SLURM_QUEUE_H
#define RB_SERVER_WORK_SLURM_QUEUE_H

#include "server/work/slurm_state.h"

/* Asks; one after the other. answered is called on the loop with the command's status, its output
 * (NUL-terminated, may be cut into pieces) and words; RB_BROKER_FAILED where there is no broker any
 * more. NULL when out of memory. */
struct rb_slurm_request *
rb_slurm_ask(struct rb_slurm *s, enum rb_broker_kind kind, const char *const fields[],
             void (*answered)(void *data, uint32_t status, char *output, const char *words),
             void *data);
/* Nobody waits any more for what asked with that data; what was not yet begun is not. */
void rb_slurm_forget(struct rb_slurm *s, const void *data);
/* The socket can be read or written. */
void rb_slurm_socket_ready(uv_poll_t *handle, int status, int events);
/* All questions are answered with RB_BROKER_FAILED. */
void rb_slurm_questions_end(struct rb_slurm *s);

/* One line of squeue by RB_BROKER_QUEUE_FORMAT; borrows from text, which it cuts. false: no line of
 * ours. tasks: how many it stands for. */
struct rb_slurm_line {
    const char *name, *reason, *node;
    uint32_t tasks;
    bool active; /* it waits or runs */
    bool running;
    const char *ended; /* in words, when it ended otherwise than well; NULL */
};
bool rb_slurm_line_parse(char *text, struct rb_slurm_line *ret);
/* sacct's lines "state|exit code" of one submission: in words, what did not end well; NULL where
 * they say of nothing that it ended otherwise than well. Cuts text; the words are static. */
const char *rb_slurm_account_parse(char *text);
/* How many elements "0-3,7,9-10%2" has; 1 for what is no such list. */
uint32_t rb_slurm_tasks_count(const char *text);

#endif
