#include "server/work/slurm_queue.h"
#include "server/base/clock.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ---- */

/* Slurm's job states (squeue's manual). What is not here is taken to be active: better to wait than
 * to compute twice. */
static const struct {
    const char *state;
    bool running;
    const char *ended; /* NULL: active */
} states[] = {
    {"PENDING", false, NULL},
    {"RUNNING", true, NULL},
    {"COMPLETING", true, NULL},
    {"COMPLETED", false, ""},
    {"FAILED", false, "it failed on its node"},
    {"TIMEOUT", false,
     "its time limit ended it: ask for more with --time in --slurm-options, or fewer "
     "--slurm-points-per-task"},
    {"DEADLINE", false, "its deadline passed"},
    {"OUT_OF_MEMORY", false,
     "it took more memory than it had asked for: ask for more with --mem in "
     "--slurm-options"},
    {"NODE_FAIL", false, "its node was lost"},
    {"BOOT_FAIL", false, "its node did not start"},
    {"PREEMPTED", false, "it was preempted by another job"},
    {"CANCELLED", false, "it was cancelled from outside"},
};

const char *rb_slurm_account_parse(char *text)
{
    const char *ended = NULL;
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        size_t length = strcspn(line, "| "); /* "CANCELLED by 1000" */
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
            if (strlen(states[i].state) == length && strncmp(line, states[i].state, length) == 0 &&
                states[i].ended != NULL && states[i].ended[0] != '\0')
                ended = states[i].ended;
    }
    return ended;
}

uint32_t rb_slurm_tasks_count(const char *text)
{
    uint32_t count = 0;
    while (*text >= '0' && *text <= '9') {
        char *after;
        unsigned long from = strtoul(text, &after, 10), to = from;
        if (*after == '-')
            to = strtoul(after + 1, &after, 10);
        if (to < from || to - from > 1000000)
            break;
        count += (uint32_t)(to - from) + 1;
        if (*after != ',')
            break;
        text = after + 1;
    }
    return count > 0 ? count : 1;
}

bool rb_slurm_line_parse(char *text, struct rb_slurm_line *ret)
{
    char *fields[6] = {NULL};
    for (int i = 0; i < 6; i++)
        if ((fields[i] = i < 5 ? strsep(&text, "|") : text) == NULL)
            return false;
    if (strncmp(fields[5], "rebasind-", 9) != 0)
        return false;
    *ret = (struct rb_slurm_line){.name = fields[5],
                                  .reason = fields[3],
                                  .node = fields[4],
                                  .tasks = rb_slurm_tasks_count(fields[1]),
                                  .active = true};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(fields[2], states[i].state) == 0) {
            ret->active = states[i].ended == NULL;
            ret->running = states[i].running;
            ret->ended = ret->active || states[i].ended[0] == '\0' ? NULL : states[i].ended;
        }
    return true;
}

/* ---- questions ---- */

static void watch(struct rb_slurm *s)
{
    bool write = s->requests != NULL && s->written < s->requests->bytes;
    if (!s->dead)
        (void)uv_poll_start(&s->socket, UV_READABLE | (write ? UV_WRITABLE : 0),
                            rb_slurm_socket_ready);
}

struct rb_slurm_request *
rb_slurm_ask(struct rb_slurm *s, enum rb_broker_kind kind, const char *const fields[],
             void (*answered)(void *data, uint32_t status, char *output, const char *words),
             void *data)
{
    struct rb_slurm_request *r = calloc(1, sizeof *r);
    unsigned char buffer[RB_BROKER_REQUEST_MAX];
    if (r == NULL)
        return NULL;
    *r = (struct rb_slurm_request){
        .kind = kind, .id = s->next_id++, .answered = answered, .data = data};
    r->bytes = rb_broker_encode(kind, r->id, fields, buffer);
    r->text = malloc(r->bytes + 1);
    if (r->text == NULL) {
        free(r);
        return NULL;
    }
    memcpy(r->text, buffer, r->bytes);
    /* What asks goes before what submits, of which there may be hundreds; never before the one that
     * is with the broker. */
    struct rb_slurm_request **at = &s->requests;
    while (*at != NULL && (kind == RB_BROKER_SUBMIT || (*at)->kind != RB_BROKER_SUBMIT ||
                           (*at == s->requests && s->written > 0)))
        at = &(*at)->next;
    r->next = *at;
    *at = r;
    watch(s);
    return r;
}

static void request_free(struct rb_slurm_request *r)
{
    free(r->text);
    free(r);
}

void rb_slurm_forget(struct rb_slurm *s, const void *data)
{
    for (struct rb_slurm_request **at = &s->requests; *at != NULL;) {
        struct rb_slurm_request *r = *at;
        bool begun = r == s->requests && s->written > 0;
        if (r->data == data && !begun) {
            *at = r->next;
            request_free(r);
            continue;
        }
        if (r->data == data)
            r->data = NULL;
        at = &r->next;
    }
}

static void answer_first(struct rb_slurm *s, uint32_t status, char *output, const char *words)
{
    struct rb_slurm_request *r = s->requests;
    s->requests = r->next;
    s->written = 0;
    if (r->data != NULL)
        r->answered(r->data, status, output, words);
    request_free(r);
}

void rb_slurm_questions_end(struct rb_slurm *s)
{
    char nothing[] = "";
    s->dead = true;
    (void)uv_poll_stop(&s->socket);
    while (s->requests != NULL)
        answer_first(s, RB_BROKER_FAILED, nothing, "the broker has ended");
}

static bool write_some(struct rb_slurm *s)
{
    struct rb_slurm_request *r = s->requests;
    if (r == NULL || s->written == r->bytes)
        return true;
    if (s->written == 0)
        r->asked_ns = rb_clock_monotonic_ns();
    ssize_t n = write(s->options.broker_fd, r->text + s->written, r->bytes - s->written);
    if (n > 0)
        s->written += (size_t)n;
    return n > 0 || errno == EAGAIN || errno == EINTR;
}

/* The head, then the body behind it. 1: there may be more, 0: not now, -1: it has ended. */
static int read_some(struct rb_slurm *s)
{
    size_t all = s->head.output_bytes + (size_t)s->head.words_bytes, head = sizeof s->head;
    ssize_t n;
    if (s->read < head)
        n = read(s->options.broker_fd, (char *)&s->head + s->read, head - s->read);
    else
        n = read(s->options.broker_fd, s->body + (s->read - head), all - (s->read - head));
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    s->read += (size_t)n;
    if (s->read != head)
        return 1;
    all = s->head.output_bytes + (size_t)s->head.words_bytes;
    if (s->head.magic != RB_BROKER_MAGIC || s->requests == NULL || s->head.id != s->requests->id ||
        s->head.output_bytes > RB_BROKER_OUTPUT_MAX || s->head.words_bytes > RB_BROKER_WORDS_MAX)
        return -1;
    s->body = calloc(1, all + 2);
    return s->body != NULL ? 1 : -1;
}

static void answer_if_whole(struct rb_slurm *s)
{
    size_t all = s->head.output_bytes + (size_t)s->head.words_bytes;
    if (s->body == NULL || s->read < sizeof s->head + all)
        return;
    char *body = s->body;
    /* The words behind the output, each ended. */
    memmove(body + s->head.output_bytes + 1, body + s->head.output_bytes, s->head.words_bytes);
    body[s->head.output_bytes] = '\0';
    s->body = NULL;
    s->read = 0;
    answer_first(s, s->head.status, body, body + s->head.output_bytes + 1);
    memset(&s->head, 0, sizeof s->head);
    free(body);
}

void rb_slurm_socket_ready(uv_poll_t *handle, int status, int events)
{
    struct rb_slurm *s = handle->data;
    int more = 1;
    bool fine = status == 0;
    if (fine && (events & UV_READABLE) != 0)
        while ((more = read_some(s)) > 0)
            answer_if_whole(s);
    if (more >= 0 && fine)
        fine = write_some(s);
    if (more < 0 || !fine) {
        rb_log_error(
            "the broker for Slurm's commands has ended: jobs there wait for the next start");
        rb_slurm_questions_end(s);
        return;
    }
    watch(s);
}
