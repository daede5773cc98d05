#include "server/http/pump.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_AT_ONCE = 64, DISCARDS_AT_ONCE = 16 };

/* One connection's gate, by its descriptor. */
struct tap {
    struct rb_pump *pump;
    struct rb_gate gate;
    int fd;
    void *context;    /* of the connection */
    bool begun;       /* head_begun was called for the head that arrives */
    struct tap *next; /* in pump->shut */
};

struct rb_pump {
    struct MHD_Daemon *daemon;
    struct rb_pump_options options;
    uv_poll_t poll;   /* the epoll set has something */
    uv_timer_t timer; /* libmicrohttpd wants to look at the clock */
    uv_idle_t again;  /* there is more to run after one turn of the loop */
    int handles_open;
    bool running; /* inside MHD_run: a wake now is kept for afterwards */
    bool woken;
    int listen_fd;      /* libmicrohttpd's */
    bool accept_failed; /* in this run an accept failed for want of descriptors or memory */
    bool accepts;       /* one has failed ever: the pump accepts, too */
    bool logged;        /* the log says so, and nothing was accepted since */
    struct tap *shut;   /* gates that are shut and not yet refused */
    char *window;       /* what has arrived and is looked at */
    size_t window_bytes;
};

/* recv() knows nothing but a descriptor. One loop thread fills and reads this. */
static struct {
    struct tap **by_fd;
    size_t count;
} taps;

static void on_timer(uv_timer_t *timer);
static void on_poll(uv_poll_t *poll, int status, int events);

/* ---- what libmicrohttpd may read ---- */

static struct tap *tap_of(int fd)
{
    return fd >= 0 && (size_t)fd < taps.count ? taps.by_fd[fd] : NULL;
}

/* NULL: no memory. */
static struct tap *tap_open(struct rb_pump *pump, int fd)
{
    if ((size_t)fd >= taps.count) {
        size_t count = 2 * (size_t)fd + 64;
        struct tap **grown = realloc(taps.by_fd, count * sizeof(struct tap *));
        if (grown == NULL)
            return NULL;
        memset(grown + taps.count, 0, (count - taps.count) * sizeof(struct tap *));
        taps.by_fd = grown;
        taps.count = count;
    }
    struct tap *t = calloc(1, sizeof *t);
    if (t != NULL)
        *t = (struct tap){.pump = pump, .fd = fd};
    taps.by_fd[fd] = t;
    return t;
}

static void tap_close(int fd)
{
    struct tap *t = tap_of(fd);
    if (t == NULL)
        return;
    for (struct tap **at = &t->pump->shut; *at != NULL; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    taps.by_fd[fd] = NULL;
    free(t);
}

static ssize_t discard(struct tap *t)
{
    for (int i = 0; i < DISCARDS_AT_ONCE; i++) {
        ssize_t n = recvfrom(t->fd, t->pump->window, t->pump->window_bytes, 0, NULL, NULL);
        if (n <= 0)
            return n;
    }
    errno = EAGAIN;
    return -1;
}

/* Looks at what has arrived; what recv says of it. */
static ssize_t look(struct tap *t, size_t wanted)
{
    ssize_t n = recvfrom(t->fd, t->pump->window, wanted, MSG_PEEK, NULL, NULL);
    if (n > 0)
        rb_gate_look(&t->gate, t->pump->window, (size_t)n);
    return n;
}

static bool peer_is_done(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

static ssize_t pass(struct tap *t, char *buffer, size_t size)
{
    struct rb_gate *g = &t->gate;
    size_t wanted = size + RB_GATE_WINDOW;
    assert(wanted <= t->pump->window_bytes);
    if (g->cleared < size && g->state != RB_GATE_SHUT) {
        ssize_t n = look(t, wanted);
        if (n <= 0)
            return n;
        if (g->cleared == 0 && g->state != RB_GATE_SHUT && peer_is_done(t->fd)) {
            (void)look(t, wanted); /* the rest may have come with the end */
            if (g->cleared == 0 && g->state != RB_GATE_SHUT)
                return 0;
        }
        if (g->state == RB_GATE_SHUT) {
            t->next = t->pump->shut;
            t->pump->shut = t;
        }
    }
    if (g->in_head && !t->begun && t->pump->options.head_begun != NULL)
        t->pump->options.head_begun(t->pump->options.data, t->context);
    t->begun = g->in_head;
    if (g->cleared == 0 && g->state == RB_GATE_SHUT)
        return discard(t);
    if (g->cleared == 0) {
        errno = EAGAIN;
        return -1;
    }
    /* Less than there is only where the rest needs more to arrive, or is refused: libmicrohttpd
     * takes a short read for the end of what there is, and waits for an edge. */
    ssize_t n =
        recvfrom(t->fd, buffer, size < g->cleared ? size : (size_t)g->cleared, 0, NULL, NULL);
    if (n > 0)
        rb_gate_read(g, (size_t)n);
    return n;
}

/* In place of libc's, see pump.h. */
__attribute__((visibility("default"))) ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    struct tap *t = flags == 0 ? tap_of(fd) : NULL;
    return t != NULL ? pass(t, buffer, size) : recvfrom(fd, buffer, size, flags, NULL, NULL);
}

static void refuse_shut(struct rb_pump *pump)
{
    for (struct tap **at = &pump->shut; *at != NULL;) {
        struct tap *t = *at;
        if (t->context == NULL)
            (void)shutdown(t->fd, SHUT_RDWR);
        else if (!pump->options.refuse(pump->options.data, t->context, &t->gate)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
    }
}

/* ---- the loop ---- */

static unsigned connections(const struct rb_pump *pump)
{
    return MHD_get_daemon_info(pump->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

/* After a failed accept libmicrohttpd accepts nothing until one of its connections goes, which may
 * take as long as an event stream; from then on the pump does it, too. */
static void accept_besides(struct rb_pump *pump)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && connections(pump) < pump->options.connection_limit;
         i++) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        int fd = accept4(pump->listen_fd, (struct sockaddr *)&address, &length,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        pump->logged = false;
        (void)MHD_add_connection(pump->daemon, fd, (struct sockaddr *)&address, length);
    }
}

static void run(struct rb_pump *pump)
{
    if (pump->daemon == NULL)
        return;
    assert(!pump->running);
    MHD_UNSIGNED_LONG_LONG timeout = RB_PUMP_TICK_MS;
    bool more = true;
    pump->accept_failed = false;
    for (int i = 0; more && i < RB_PUMP_RUNS_IN_A_ROW; i++) {
        pump->woken = false;
        pump->running = true;
        (void)MHD_run(pump->daemon);
        refuse_shut(pump);
        pump->running = false;
        if (MHD_get_timeout(pump->daemon, &timeout) != MHD_YES || timeout > RB_PUMP_TICK_MS)
            timeout = RB_PUMP_TICK_MS;
        more = pump->woken || timeout == 0;
    }
    if (pump->accepts)
        accept_besides(pump);
    /* Without a connection it would try again at once, for as long as descriptors are short. */
    bool pause = pump->accept_failed && connections(pump) == 0;
    if (more && !pause) {
        rb_pump_wake(pump);
        return;
    }
    if (pause)
        (void)uv_poll_stop(&pump->poll);
    uv_idle_stop(&pump->again);
    uv_timer_start(&pump->timer, on_timer, timeout, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct rb_pump *pump = timer->data;
    if (!uv_is_active((uv_handle_t *)&pump->poll))
        (void)uv_poll_start(&pump->poll, UV_READABLE, on_poll);
    run(pump);
}

static void on_again(uv_idle_t *idle)
{
    run(idle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error of the epoll descriptor shows in MHD_run itself */
    (void)events;
    run(poll->data);
}

void rb_pump_wake(struct rb_pump *pump)
{
    pump->woken = true;
    if (!pump->running && pump->daemon != NULL)
        uv_idle_start(&pump->again, on_again);
}

void rb_pump_suspend(struct rb_pump *pump, struct MHD_Connection *connection)
{
    (void)pump;
    MHD_suspend_connection(connection);
}

void rb_pump_resume(struct rb_pump *pump, struct MHD_Connection *connection)
{
    MHD_resume_connection(connection);
    rb_pump_wake(pump);
}

/* The only way to learn that an accept has failed is what libmicrohttpd says of it. */
static bool tells_of_shortage(struct rb_pump *pump, const char *format)
{
    static const char words[] = "Hit process or system resource limit";
    if (strncmp(format, words, sizeof words - 1) != 0)
        return false;
    pump->accept_failed = pump->accepts = true;
    return true;
}

static void on_log(void *data, const char *format, va_list args)
{
    struct rb_pump *pump = data;
    char line[512];
    if (tells_of_shortage(pump, format)) {
        if (pump->logged)
            return;
        pump->logged = true;
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the format is libmicrohttpd's own */
    int n = vsnprintf(line, sizeof line, format, args);
#pragma GCC diagnostic pop
    if (n <= 0)
        return;
    line[strcspn(line, "\n")] = '\0';
    pump->options.log(pump->options.data, false, line);
}

static int fd_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void *on_request_line(void *data, const char *target, struct MHD_Connection *connection)
{
    struct rb_pump *pump = data;
    struct tap *t = tap_of(fd_of(connection));
    if (t == NULL || t->gate.heads == 0) {
        pump->options.log(pump->options.data, true, "a request has not passed the gate; dropped");
        return NULL;
    }
    t->gate.heads--;
    return pump->options.request_line(pump->options.data, target, connection);
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct rb_pump *pump = data;
    int fd = fd_of(connection);
    struct tap *t = code == MHD_CONNECTION_NOTIFY_STARTED ? tap_open(pump, fd) : NULL;
    pump->options.connection(pump->options.data, connection, context, code);
    if (t != NULL)
        t->context = *context;
    else if (code == MHD_CONNECTION_NOTIFY_STARTED)
        (void)shutdown(fd, SHUT_RDWR); /* no memory for its gate */
    else
        tap_close(fd);
}

/* libmicrohttpd decodes the path and the query in place for its own use. rebasind reads neither
 * (server/http/target.h), and decoding could only hide what was sent. */
static size_t leave_escaped(void *data, struct MHD_Connection *connection, char *text)
{
    (void)data;
    (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *start_daemon(struct rb_pump *pump)
{
    const struct rb_pump_options *o = &pump->options;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, o->request,
        o->data, MHD_OPTION_EXTERNAL_LOGGER, on_log, pump, MHD_OPTION_LISTEN_SOCKET, o->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, o->connection_limit, MHD_OPTION_CONNECTION_TIMEOUT,
        o->idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->connection_memory_bytes,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, pump, MHD_OPTION_NOTIFY_COMPLETED,
        o->completed, o->data, MHD_OPTION_NOTIFY_CONNECTION, on_connection, pump, MHD_OPTION_END);
}

static void watch(struct rb_pump *pump, int epoll_fd)
{
    uv_loop_t *loop = pump->options.loop;
    /* None of these can fail: the descriptor is an epoll set, and the loop is open. */
    int failed = uv_poll_init(loop, &pump->poll, epoll_fd);
    failed |= uv_timer_init(loop, &pump->timer);
    failed |= uv_idle_init(loop, &pump->again);
    failed |= uv_poll_start(&pump->poll, UV_READABLE, on_poll);
    assert(failed == 0);
    (void)failed;
    pump->poll.data = pump->timer.data = pump->again.data = pump;
    pump->handles_open = 3;
}

enum rb_status rb_pump_open(const struct rb_pump_options *options, struct rb_pump **ret,
                            struct rb_error *err)
{
    struct rb_pump *pump = calloc(1, sizeof *pump);
    if (pump == NULL) {
        (void)close(options->listen_fd);
        return rb_error_set(err, RB_ENOMEM, "no memory for the HTTP server");
    }
    pump->options = *options;
    pump->listen_fd = options->listen_fd;
    pump->window_bytes = options->connection_memory_bytes + RB_GATE_WINDOW;
    pump->window = malloc(pump->window_bytes);
    if (pump->window == NULL) {
        (void)close(options->listen_fd);
        free(pump);
        return rb_error_set(err, RB_ENOMEM, "no memory for the HTTP server");
    }
    errno = 0;
    pump->daemon = start_daemon(pump);
    if (pump->daemon == NULL) {
        int error = errno;
        (void)close(options->listen_fd);
        free(pump->window);
        free(pump);
        return rb_error_errno(err, error, "starting the HTTP server");
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(pump->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    watch(pump, info->epoll_fd);
    rb_pump_wake(pump);
    *ret = pump;
    return RB_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct rb_pump *pump = handle->data;
    if (--pump->handles_open == 0) {
        free(pump->window);
        free(pump);
    }
}

void rb_pump_close(struct rb_pump *pump)
{
    if (pump == NULL)
        return;
    struct MHD_Daemon *daemon = pump->daemon;
    (void)uv_poll_stop(&pump->poll); /* before the descriptor goes */
    pump->daemon = NULL;
    MHD_stop_daemon(daemon); /* closes every tap */
    free(taps.by_fd);
    taps.by_fd = NULL;
    taps.count = 0;
    uv_close((uv_handle_t *)&pump->poll, on_closed);
    uv_close((uv_handle_t *)&pump->timer, on_closed);
    uv_close((uv_handle_t *)&pump->again, on_closed);
}
