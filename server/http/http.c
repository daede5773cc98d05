#include "server/base/addresses.h"
#include "server/http/internal.h"

#include "api/links.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/cache.h"
#include "server/http/demo.h"
#include "server/http/exchange.h"
#include "server/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONNECTION_MEMORY_BYTES =
        128 * 1024, /* half for reading, half for records of a head (head.h) */
    BACKLOG = 1024,
    IDLE_GRACE_SECONDS = 2, /* libmicrohttpd closes without a word: clients.h comes first */
    SYSTEMD_FIRST_FD = 3,
};

/* ---- the listening socket ---- */

/* The socket that systemd listens on for us, -1 if there is none (sd_listen_fds(3)). */
static int inherited_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid() ||
        strtol(count, NULL, 10) < 1)
        return -1;
    return SYSTEMD_FIRST_FD;
}

static socklen_t make_sockaddr(const struct rb_listen *where, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (where->ipv6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(where->port)};
        (void)inet_pton(AF_INET6, where->host, &in6.sin6_addr); /* numeric: rb_listen_parse */
        memcpy(ret, &in6, sizeof in6);
        return sizeof in6;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(where->port)};
    (void)inet_pton(AF_INET, where->host, &in.sin_addr);
    memcpy(ret, &in, sizeof in);
    return sizeof in;
}

static enum rb_status open_socket(const char *text, int *ret, struct rb_error *err)
{
    struct rb_listen where;
    struct sockaddr_storage address;
    enum rb_status s = rb_listen_parse(text, &where, err);
    if (s != RB_OK)
        return s;
    socklen_t bytes = make_sockaddr(&where, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return rb_error_errno(err, errno, "socket");
    int yes = 1, no = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (where.ipv6) /* "[::]" serves IPv4 as well */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (bind(fd, (struct sockaddr *)&address, bytes) != 0 || listen(fd, BACKLOG) != 0) {
        s = rb_error_set(err, RB_EUSAGE, "cannot listen on %s: %s", text, strerror(errno));
        (void)close(fd);
        return s;
    }
    *ret = fd;
    return RB_OK;
}

/* http://host:port/prefix/ with the port that is really there. */
static void write_url(struct rb_http *http, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    struct rb_address where = {{0}};
    char host[64];
    uint16_t port = 0;
    if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
        (void)rb_address_from_sockaddr((struct sockaddr *)&address, &where);
    if (address.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address, sizeof in);
        port = ntohs(in.sin_port);
    } else if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof in6);
        port = ntohs(in6.sin6_port);
    }
    rb_address_format(&where, host, sizeof host);
    bool brackets = strchr(host, ':') != NULL;
    (void)snprintf(http->url, sizeof http->url, "http://%s%s%s:%u%s/", brackets ? "[" : "", host,
                   brackets ? "]" : "", port, http->server->settings->route_prefix);
}

/* ---- connections ---- */

static bool is_proxy(const struct rb_http *http, const struct sockaddr *sa)
{
    const struct rb_strings *proxies = &http->server->settings->trusted_proxies;
    struct rb_address address;
    if (!rb_address_from_sockaddr(sa, &address))
        return false;
    for (size_t i = 0; i < proxies->count; i++)
        if (rb_network_holds(proxies->items[i], &address))
            return true;
    return false;
}

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct rb_http *http = data;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        rb_exchange_forget(*context);
        rb_client_leave(*context);
        *context = NULL;
    } else {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        const struct sockaddr *address =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
        *context = rb_client_join(&http->clients, fd, address, is_proxy(http, address),
                                  rb_clock_monotonic_ns());
    }
    rb_metrics_set(http->server->metrics, RB_METER_CONNECTIONS, http->clients.count, NULL, NULL);
}

static void on_head_begun(void *data, void *context)
{
    (void)data;
    rb_client_awaits(context, true, rb_clock_monotonic_ns());
}

static bool on_refuse(void *data, void *context, const struct rb_gate *gate)
{
    return rb_exchange_refuse(data, context, gate);
}

static void on_pump_log(void *data, bool grave, const char *line)
{
    (void)data;
    if (grave)
        rb_log_error("http", RB_S("detail", line));
    else
        rb_log_debug("http", RB_S("detail", line));
}

static void on_tick(uv_timer_t *timer)
{
    struct rb_http *http = timer->data;
    uint64_t now_ns = rb_clock_monotonic_ns();
    rb_clients_tick(&http->clients, now_ns);
    rb_exchanges_tick(http, now_ns);
}

/* ---- life ---- */

static enum rb_status split_prefix(struct rb_http *http, struct rb_error *err)
{
    rb_links_begin_with(http->server->settings->route_prefix);
    http->prefix_text = strdup(http->server->settings->route_prefix);
    if (http->prefix_text == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the route prefix");
    char *rest = NULL;
    for (char *part = strtok_r(http->prefix_text, "/", &rest); part != NULL;
         part = strtok_r(NULL, "/", &rest)) {
        if (http->prefix.count == RB_TARGET_MAX_SEGMENTS)
            return rb_error_set(err, RB_EUSAGE, "--route-prefix has more than %d segments",
                                RB_TARGET_MAX_SEGMENTS);
        http->prefix.segments[http->prefix.count++] = part;
    }
    return RB_OK;
}

static enum rb_status open_pump(struct rb_http *http, struct rb_error *err)
{
    const struct rb_settings *settings = http->server->settings;
    int fd = inherited_socket();
    if (fd < 0) {
        enum rb_status s = open_socket(settings->listen, &fd, err);
        if (s != RB_OK)
            return s;
    }
    write_url(http, fd);
    const struct rb_pump_options options = {
        .loop = http->server->loop,
        .listen_fd = fd,
        .connection_limit = (unsigned)settings->max_connections + RB_CLIENTS_SLACK,
        .connection_memory_bytes = CONNECTION_MEMORY_BYTES,
        .idle_seconds = (unsigned)(settings->body_timeout_ms / 1000) + IDLE_GRACE_SECONDS,
        .data = http,
        .connection = on_connection,
        .request_line = rb_exchange_new,
        .request = rb_exchange_step,
        .completed = rb_exchange_completed,
        .head_begun = on_head_begun,
        .refuse = on_refuse,
        .log = on_pump_log,
    };
    return rb_pump_open(&options, &http->pump, err);
}

enum rb_status rb_http_open(struct rb_server *server, struct rb_work *work, struct rb_http **ret,
                            struct rb_error *err)
{
    const struct rb_settings *settings = server->settings;
    struct rb_http *http = calloc(1, sizeof *http);
    if (http == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the HTTP server");
    http->server = server;
    http->work = work;
    http->requests.next = http->requests.previous = &http->requests;
    enum rb_status s = split_prefix(http, err);
    if (s != RB_OK)
        goto err_after_alloc;
    s = rb_clients_init(&http->clients, (unsigned)settings->max_connections,
                        (unsigned)settings->max_connections_per_address,
                        settings->header_timeout_ms, settings->body_timeout_ms, err);
    if (s != RB_OK)
        goto err_after_alloc;
    http->cache = rb_cache_new();
    http->demo = rb_demo_find(&settings->import_root);
    server->http = http;
    s = open_pump(http, err);
    if (s != RB_OK)
        goto err_after_clients;
    (void)uv_timer_init(server->loop, &http->tick);
    http->tick.data = http;
    (void)uv_timer_start(&http->tick, on_tick, RB_HTTP_TICK_MS, RB_HTTP_TICK_MS);
    *ret = http;
    return RB_OK;

err_after_clients:
    server->http = NULL;
    free(http->demo);
    rb_cache_free(http->cache);
    rb_clients_deinit(&http->clients);
err_after_alloc:
    free(http->prefix_text);
    free(http);
    return s;
}

const char *rb_http_url(const struct rb_http *http)
{
    return http->url;
}

void rb_http_drain(struct rb_http *http)
{
    http->draining = true;
    rb_exchanges_stop(http, false);
}

unsigned rb_http_active(const struct rb_http *http)
{
    return http->request_count;
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct rb_http *http = handle->data;
    free(http->prefix_text);
    free(http);
}

void rb_http_close(struct rb_http *http)
{
    if (http == NULL)
        return;
    rb_exchanges_stop(http, true);
    rb_pump_close(http->pump);
    http->pump = NULL;
    rb_clients_deinit(&http->clients);
    rb_cache_free(http->cache);
    free(http->demo);
    uv_close((uv_handle_t *)&http->tick, on_tick_closed);
}
