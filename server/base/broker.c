#include "server/base/broker.h"
#include "api/bundle.h"
#include "server/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const command_names[RB_BROKER_KINDS] = {"sbatch", "squeue", "scancel", "sacct"};
static const size_t field_counts[RB_BROKER_KINDS] = {4, 0, 1, 1};

/* What a node runs. The words come as arguments: nothing is put together by a shell. */
static const char script_text[] = "#!/bin/sh\nexec \"$1\" work \"$2\" --unit \"$3\"\n";

/* ---- where the commands are ---- */

static char *find_command(const char *name)
{
    const char *path = getenv("PATH");
    char candidate[4096];
    for (const char *at = path != NULL ? path : "/usr/bin:/bin"; at != NULL; at++) {
        size_t length = strcspn(at, ":");
        int n = snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, at, name);
        if (at[0] == '/' && n < (int)sizeof candidate && access(candidate, X_OK) == 0)
            return strdup(candidate);
        at = strchr(at, ':');
        if (at == NULL)
            break;
    }
    return NULL;
}

enum rb_status rb_broker_options_find(const char *shared_dir, const char *slurm_options,
                                      struct rb_broker_options *ret, struct rb_error *err)
{
    struct rb_broker_options o = {.shared_dir = shared_dir, .slurm_options = slurm_options};
    enum rb_status status = RB_OK;
    for (int i = 0; i < RB_BROKER_KINDS && status == RB_OK; i++) {
        o.commands[i] = find_command(command_names[i]);
        if (o.commands[i] == NULL && i != RB_BROKER_ACCOUNT)
            status = rb_error_set(err, RB_EUSAGE,
                                  "--executor slurm: %s is not in PATH; install Slurm's commands "
                                  "(Debian: slurm-client)",
                                  command_names[i]);
    }
    o.program = realpath("/proc/self/exe", NULL);
    if (status == RB_OK && o.program == NULL)
        status = rb_error_errno(err, errno, "/proc/self/exe");
    if (status != RB_OK)
        rb_broker_options_deinit(&o);
    else
        *ret = o;
    return status;
}

void rb_broker_options_deinit(struct rb_broker_options *o)
{
    for (int i = 0; i < RB_BROKER_KINDS; i++)
        free(o->commands[i]);
    free(o->program);
    *o = (struct rb_broker_options){0};
}

/* ---- what may be asked for ---- */

/* "rebasind-JOB-UNIT.ATTEMPT". */
static bool is_our_name(const char *name)
{
    static const char prefix[] = "rebasind-";
    size_t at = sizeof prefix - 1;
    if (strlen(name) > 120 || strncmp(name, prefix, at) != 0 ||
        !rb_job_id_valid(name + at, strnlen(name + at, RB_JOB_ID_LENGTH)))
        return false;
    at += RB_JOB_ID_LENGTH;
    if (name[at++] != '-')
        return false;
    for (size_t u = 0; rb_unit_names[u] != NULL; u++) {
        size_t length = strlen(rb_unit_names[u]);
        const char *rest = name + at + length;
        if (strncmp(name + at, rb_unit_names[u], length) == 0 && *rest == '.')
            return rest[1] != '\0' && strlen(rest + 1) <= 9 &&
                   strspn(rest + 1, "0123456789") == strlen(rest + 1);
    }
    return false;
}

static bool is_folder_of_ours(const char *shared_dir, const char *folder)
{
    size_t length = strlen(shared_dir);
    if (strlen(folder) > 4000 || strncmp(folder, shared_dir, length) != 0 || folder[length] != '/')
        return false;
    const char *rest = folder + length;
    return rest[strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789_-./")] == '\0' &&
           strstr(rest, "/..") == NULL;
}

static bool is_number(const char *text, unsigned long most)
{
    size_t length = strlen(text);
    return length > 0 && length <= 9 && strspn(text, "0123456789") == length &&
           strtoul(text, NULL, 10) <= most;
}

/* ---- argument vectors ---- */

struct maker {
    struct rb_broker_command *c;
    size_t count, short_count, long_count;
};

static void add(struct maker *m, char *argument)
{
    if (m->count < RB_BROKER_ARGUMENTS)
        m->c->argv[m->count++] = argument;
}

static void add_text(struct maker *m, const char *text)
{
    char *to = m->c->text[m->short_count++];
    (void)snprintf(to, sizeof m->c->text[0], "%s", text);
    add(m, to);
}

static void add_long(struct maker *m, const char *before, const char *text, const char *after)
{
    char *to = m->c->long_text[m->long_count++];
    (void)snprintf(to, sizeof m->c->long_text[0], "%s%s%s", before, text, after);
    add(m, to);
}

/* The operator's flags come first: what is said after them holds. */
static enum rb_status make_submit(const struct rb_broker_options *o, char *const fields[],
                                  const char *script, struct maker *m, struct rb_error *err)
{
    char array[64];
    m->c->options = strdup(o->slurm_options);
    if (m->c->options == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a command");
    char *rest = m->c->options;
    for (char *word; (word = strsep(&rest, " \t")) != NULL;)
        if (word[0] != '\0')
            add(m, word);
    unsigned long tasks = strtoul(fields[3], NULL, 10);
    (void)snprintf(array, sizeof array, "--array=0-%lu", tasks - 1);
    add_text(m, "--parsable");
    add_text(m, array);
    add_text(m, "--signal=B:TERM@60");
    add_text(m, "--open-mode=append");
    add_text(m, "--chdir=/");
    add_text(m, "--export=ALL");
    add_long(m, "--output=", fields[1], "/log-%a.txt");
    add_long(m, "--job-name=", fields[0], "");
    add_text(m, script);
    add(m, o->program);
    add(m, fields[1]);
    add(m, fields[2]);
    if (m->count >= RB_BROKER_ARGUMENTS)
        return rb_error_set(err, RB_EINPUT, "--slurm-options: expected at most %d words",
                            RB_BROKER_ARGUMENTS - 14);
    return RB_OK;
}

static enum rb_status make(const struct rb_broker_options *o, uint32_t kind, char *const fields[],
                           const char *script, struct maker *m, struct rb_error *err)
{
    const char *name = fields[0];
    if (kind != RB_BROKER_QUEUE && !is_our_name(name))
        return rb_error_set(err, RB_EINPUT, "no name of ours: \"%.60s\"", name);
    switch (kind) {
    case RB_BROKER_SUBMIT:
        if (!is_folder_of_ours(o->shared_dir, fields[1]))
            return rb_error_set(err, RB_EINPUT, "no folder below --shared-dir: \"%.80s\"",
                                fields[1]);
        if (rb_enum_find(rb_unit_names, fields[2]) < 0 ||
            !is_number(fields[3], RB_BUNDLE_POINTS_MAX) || fields[3][0] == '0')
            return rb_error_set(err, RB_EINPUT, "no unit and count of tasks");
        return make_submit(o, fields, script, m, err);
    case RB_BROKER_QUEUE:
        add_text(m, "--noheader");
        add_text(m, "--states=all");
        add_text(m, "--me");
        add_text(m, "--format=" RB_BROKER_QUEUE_FORMAT);
        return RB_OK;
    case RB_BROKER_CANCEL:
        add_text(m, "--quiet");
        add_text(m, "--me");
        add_long(m, "--name=", name, "");
        return RB_OK;
    default:
        add_text(m, "--noheader");
        add_text(m, "--parsable2");
        add_text(m, "--allocations");
        add_text(m, "--format=State,ExitCode");
        add_text(m, "--starttime=now-30days"); /* by itself it looks at today only */
        add_long(m, "--name=", name, "");
        return RB_OK;
    }
}

static enum rb_status split(uint32_t kind, char *body, size_t bytes, char *fields[RB_BROKER_FIELDS],
                            struct rb_error *err)
{
    size_t count = 0;
    if (kind >= RB_BROKER_KINDS)
        return rb_error_set(err, RB_EINPUT, "no kind of request: %u", kind);
    for (size_t at = 0; at < bytes; at += strlen(body + at) + 1) {
        if (memchr(body + at, '\0', bytes - at) == NULL || count == field_counts[kind])
            return rb_error_set(err, RB_EINPUT, "expected %zu fields", field_counts[kind]);
        fields[count++] = body + at;
    }
    if (count != field_counts[kind])
        return rb_error_set(err, RB_EINPUT, "expected %zu fields, found %zu", field_counts[kind],
                            count);
    return RB_OK;
}

enum rb_status rb_broker_command_make(const struct rb_broker_options *o, uint32_t kind, char *body,
                                      size_t bytes, const char *script,
                                      struct rb_broker_command *ret, struct rb_error *err)
{
    char none[] = "", *fields[RB_BROKER_FIELDS] = {none, none, none, none};
    struct maker m = {.c = ret};
    memset(ret, 0, sizeof *ret);
    enum rb_status status = split(kind, body, bytes, fields, err);
    if (status != RB_OK)
        return status;
    ret->path = o->commands[kind];
    if (ret->path == NULL)
        return rb_error_set(err, RB_EINPUT, "%s is not installed", command_names[kind]);
    add(&m, o->commands[kind]);
    status = make(o, kind, fields, script, &m, err);
    if (status != RB_OK)
        rb_broker_command_deinit(ret);
    return status;
}

void rb_broker_command_deinit(struct rb_broker_command *c)
{
    free(c->options);
    c->options = NULL;
}

int rb_broker_script(void)
{
    int fd = memfd_create("rebasind-unit", 0); /* not closed by exec: sbatch reads it */
    if (fd >= 0 && write(fd, script_text, sizeof script_text - 1) != sizeof script_text - 1) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* ---- running one ---- */

static void exec_command(const struct rb_broker_command *c, int out, int words)
{
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", bits[] = "SLURM_BITSTR_LEN=0";
    char home[4096], conf[4096];
    char *environment[5] = {path, bits};
    size_t n = 2;
    if (getenv("HOME") != NULL &&
        snprintf(home, sizeof home, "HOME=%s", getenv("HOME")) < (int)sizeof home)
        environment[n++] = home;
    if (getenv("SLURM_CONF") != NULL &&
        snprintf(conf, sizeof conf, "SLURM_CONF=%s", getenv("SLURM_CONF")) < (int)sizeof conf)
        environment[n++] = conf;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(words, STDERR_FILENO) < 0)
        _exit(127);
    (void)execve(c->path, c->argv, environment);
    _exit(127);
}

struct reading {
    int out, words, peer;
    size_t capacity, words_bytes;
    uint64_t until_ns;
    bool too_much;
    struct rb_broker_result *r;
};

static bool take_output(struct reading *d)
{
    if (d->r->output_bytes + 65536 > d->capacity) {
        size_t capacity = d->capacity > 0 ? 2 * d->capacity : 65536 * 2;
        char *grown =
            capacity <= (size_t)2 * RB_BROKER_OUTPUT_MAX ? realloc(d->r->output, capacity) : NULL;
        if (grown == NULL) {
            d->too_much = true;
            return false;
        }
        d->r->output = grown;
        d->capacity = capacity;
    }
    ssize_t n = read(d->out, d->r->output + d->r->output_bytes, 65536 - 1);
    if (n > 0)
        d->r->output_bytes += (size_t)n;
    d->too_much = d->r->output_bytes > RB_BROKER_OUTPUT_MAX;
    return n > 0 && !d->too_much;
}

static bool take_words(struct reading *d)
{
    char piece[1024];
    ssize_t n = read(d->words, piece, sizeof piece);
    size_t room = sizeof d->r->words - 1 - d->words_bytes;
    if (n <= 0)
        return false;
    size_t kept = (size_t)n < room ? (size_t)n : room;
    memcpy(d->r->words + d->words_bytes, piece, kept);
    d->words_bytes += kept;
    return true;
}

/* Until both ends are closed; false when it took too long, said too much, or nobody waits. */
static bool read_both(struct reading *d)
{
    bool out = true, words = true;
    while (out || words) {
        uint64_t now = rb_clock_monotonic_ns();
        if (now >= d->until_ns)
            return false;
        struct pollfd fds[3] = {
            {out ? d->out : -1, POLLIN, 0}, {words ? d->words : -1, POLLIN, 0}, {d->peer, 0, 0}};
        int n = poll(fds, 3, (int)((d->until_ns - now) / 1000000) + 1);
        if (n < 0 && errno != EINTR)
            return false;
        if (n <= 0)
            continue;
        if ((fds[2].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
            return false;
        if (fds[0].revents != 0)
            out = take_output(d);
        if (fds[1].revents != 0)
            words = take_words(d);
        if (d->too_much)
            return false;
    }
    return true;
}

static void run_child(struct reading *d, pid_t child)
{
    int state = 0;
    bool whole = read_both(d);
    if (!whole)
        (void)kill(child, SIGKILL);
    while (waitpid(child, &state, 0) < 0 && errno == EINTR)
        ;
    d->r->status = whole && WIFEXITED(state) ? (uint32_t)WEXITSTATUS(state) : RB_BROKER_FAILED;
    if (!whole && d->r->words[0] == '\0')
        (void)snprintf(d->r->words, sizeof d->r->words,
                       d->too_much ? "it said too much" : "no answer in %d s", RB_BROKER_TIMEOUT_S);
}

void rb_broker_run(const struct rb_broker_command *c, int fd, struct rb_broker_result *ret)
{
    int out[2], words[2];
    *ret = (struct rb_broker_result){.status = RB_BROKER_FAILED};
    if (pipe2(out, O_CLOEXEC) != 0)
        return;
    if (pipe2(words, O_CLOEXEC) != 0) {
        (void)close(out[0]);
        (void)close(out[1]);
        return;
    }
    /* No handlers of libraries: they would put right what the broker has closed. */
    pid_t child = _Fork();
    if (child == 0)
        exec_command(c, out[1], words[1]);
    (void)close(out[1]);
    (void)close(words[1]);
    struct reading d = {.out = out[0], .words = words[0], .peer = fd, .r = ret};
    d.until_ns = rb_clock_monotonic_ns() + RB_BROKER_TIMEOUT_S * UINT64_C(1000000000);
    if (child > 0)
        run_child(&d, child);
    (void)close(out[0]);
    (void)close(words[0]);
    for (char *p = ret->words; *p != '\0'; p++)
        if (iscntrl((unsigned char)*p))
            *p = ' ';
}

/* ---- the process ---- */

static bool read_all(int fd, void *to, size_t bytes)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t n = read(fd, (char *)to + got, bytes - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t bytes)
{
    for (size_t put = 0; put < bytes;) {
        ssize_t n = write(fd, (const char *)from + put, bytes - put);
        if (n < 0 && errno != EINTR)
            return false;
        put += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* One request; false ends the broker. */
static bool serve_one(const struct rb_broker_options *o, int fd, const char *script)
{
    static struct rb_broker_command command;
    struct rb_broker_request_head head;
    char body[RB_BROKER_REQUEST_MAX];
    struct rb_error err;
    struct rb_broker_result result = {.status = RB_BROKER_REFUSED};
    if (!read_all(fd, &head, sizeof head) || head.magic != RB_BROKER_MAGIC ||
        head.bytes > sizeof body || !read_all(fd, body, head.bytes))
        return false;
    if (rb_broker_command_make(o, head.kind, body, head.bytes, script, &command, &err) == RB_OK) {
        rb_broker_run(&command, fd, &result);
        rb_broker_command_deinit(&command);
    } else {
        (void)snprintf(result.words, sizeof result.words, "%s", err.detail);
    }
    const struct rb_broker_reply_head reply = {
        .magic = RB_BROKER_MAGIC,
        .id = head.id,
        .status = result.status,
        .output_bytes = (uint32_t)result.output_bytes,
        .words_bytes = (uint32_t)strlen(result.words),
    };
    bool fine = write_all(fd, &reply, sizeof reply) &&
                write_all(fd, result.output, result.output_bytes) &&
                write_all(fd, result.words, reply.words_bytes);
    free(result.output);
    return fine;
}

/* Nothing of the daemon's but the socket stays open. */
static void close_others(int fd, int script_fd)
{
    int from = STDERR_FILENO + 1;
    for (int i = from; i < 1024; i++)
        if (i != fd && i != script_fd)
            (void)close(i);
}

static void broker(const struct rb_broker_options *o, int fd)
{
    char script[64];
    int script_fd = rb_broker_script();
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < 32; i++)
        (void)signal(i, i == SIGPIPE || i == SIGINT || i == SIGHUP ? SIG_IGN : SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_NAME, "rebasind-broker");
    close_others(fd, script_fd);
    (void)snprintf(script, sizeof script, "/proc/self/fd/%d", script_fd);
    while (script_fd >= 0 && serve_one(o, fd, script))
        ;
    _exit(0);
}

enum rb_status rb_broker_start(const struct rb_broker_options *o, int *ret_fd, struct rb_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return rb_error_errno(err, errno, "socketpair");
    pid_t child = fork();
    if (child == 0) {
        (void)close(pair[0]);
        broker(o, pair[1]);
    }
    (void)close(pair[1]);
    if (child < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        enum rb_status status = rb_error_errno(err, errno, "fork");
        (void)close(pair[0]);
        return status;
    }
    *ret_fd = pair[0];
    return RB_OK;
}

size_t rb_broker_encode(enum rb_broker_kind kind, uint32_t id, const char *const fields[],
                        unsigned char buffer[RB_BROKER_REQUEST_MAX])
{
    struct rb_broker_request_head head = {RB_BROKER_MAGIC, kind, id, 0};
    size_t at = sizeof head;
    for (size_t i = 0; i < field_counts[kind]; i++) {
        size_t length = strlen(fields[i]) + 1;
        if (at + length > RB_BROKER_REQUEST_MAX)
            return 0;
        memcpy(buffer + at, fields[i], length);
        at += length;
    }
    head.bytes = (uint32_t)(at - sizeof head);
    memcpy(buffer, &head, sizeof head);
    return at;
}
