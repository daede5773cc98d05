#include "server/http/clients.h"

#include "api/problem.h"
#include "server/base/clock.h"
#include "server/base/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUCKETS = 1024, LOOK_EVERY_NS = 1000000000 };

struct rb_address_count {
    struct rb_address address;
    unsigned count;
    struct rb_address_count *next;
};

/* ---- addresses ---- */

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static void from_ipv4(const void *four, struct rb_address *ret)
{
    memcpy(ret->bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(ret->bytes + sizeof mapped_prefix, four, 4);
}

bool rb_address_from_sockaddr(const struct sockaddr *sa, struct rb_address *ret)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        from_ipv4(&in.sin_addr, ret);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(ret->bytes, &in6.sin6_addr, sizeof ret->bytes);
        return true;
    }
    return false;
}

bool rb_address_parse(const char *text, struct rb_address *ret)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) {
        from_ipv4(bytes, ret);
        return true;
    }
    if (inet_pton(AF_INET6, text, bytes) != 1)
        return false;
    memcpy(ret->bytes, bytes, sizeof ret->bytes);
    return true;
}

char *rb_address_format(const struct rb_address *a, char *buffer, size_t size)
{
    bool mapped = memcmp(a->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
    const void *from = mapped ? a->bytes + sizeof mapped_prefix : a->bytes;
    if (inet_ntop(mapped ? AF_INET : AF_INET6, from, buffer, (socklen_t)size) == NULL)
        (void)snprintf(buffer, size, "?");
    return buffer;
}

bool rb_network_holds(const char *network, const struct rb_address *a)
{
    char text[64];
    const char *slash = strchrnul(network, '/');
    size_t n = (size_t)(slash - network);
    struct rb_address base;
    if (n >= sizeof text)
        return false;
    memcpy(text, network, n);
    text[n] = '\0';
    if (!rb_address_parse(text, &base))
        return false;
    unsigned long bits = 128;
    if (*slash == '/') {
        char *end;
        bool is_ipv4 = strchr(text, ':') == NULL;
        bits = strtoul(slash + 1, &end, 10) + (is_ipv4 ? 96 : 0);
        if (*end != '\0' || end == slash + 1 || bits > 128)
            return false;
    }
    size_t whole = bits / 8, rest = bits % 8;
    if (memcmp(base.bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 || ((base.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}

/* ---- counting by address ---- */

static struct rb_address_count **find_count(struct rb_clients *c, const struct rb_address *a)
{
    uint32_t hash = 2166136261U; /* FNV-1a; a crowded bucket costs little at these sizes */
    for (size_t i = 0; i < sizeof a->bytes; i++)
        hash = (hash ^ a->bytes[i]) * 16777619U;
    struct rb_address_count **at = &c->buckets[hash % BUCKETS];
    while (*at != NULL && memcmp((*at)->address.bytes, a->bytes, sizeof a->bytes) != 0)
        at = &(*at)->next;
    return at;
}

/* The connections of that address now, this one included; 0 when out of memory. */
static unsigned count_in(struct rb_clients *c, const struct rb_address *a)
{
    struct rb_address_count **at = find_count(c, a);
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL)
            return 0;
        (*at)->address = *a;
    }
    return ++(*at)->count;
}

static void count_out(struct rb_clients *c, const struct rb_address *a)
{
    struct rb_address_count **at = find_count(c, a), *gone = *at;
    if (gone == NULL || --gone->count > 0)
        return;
    *at = gone->next;
    free(gone);
}

/* ---- rings ---- */

static struct rb_client_ring *ring_of(struct rb_client *client)
{
    return client->state == RB_CLIENT_HEADERS ? &client->clients->awaiting : &client->clients->busy;
}

static void link_last(struct rb_client *client)
{
    struct rb_client_ring *ring = ring_of(client);
    client->previous = ring->last;
    client->next = NULL;
    if (ring->last != NULL)
        ring->last->next = client;
    else
        ring->first = client;
    ring->last = client;
}

static void unlink_client(struct rb_client *client)
{
    struct rb_client_ring *ring = ring_of(client);
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        ring->first = client->next;
    if (client->next != NULL)
        client->next->previous = client->previous;
    else
        ring->last = client->previous;
}

static void change(struct rb_client *client, enum rb_client_state state)
{
    unlink_client(client);
    client->state = state;
    link_last(client);
}

/* ---- life ---- */

enum rb_status rb_clients_init(struct rb_clients *c, unsigned limit, unsigned limit_per_address,
                               uint64_t header_timeout_ms, uint64_t body_timeout_ms,
                               struct rb_error *err)
{
    *c = (struct rb_clients){
        .limit = limit,
        .limit_per_address = limit_per_address,
        .header_timeout_ns = header_timeout_ms * 1000000,
        .body_timeout_ns = body_timeout_ms * 1000000,
    };
    c->buckets = calloc(BUCKETS, sizeof(struct rb_address_count *));
    return c->buckets != NULL ? RB_OK
                              : rb_error_set(err, RB_ENOMEM, "no memory for the connection table");
}

void rb_clients_deinit(struct rb_clients *c)
{
    assert(c->count == 0);
    free(c->buckets);
    c->buckets = NULL;
}

struct rb_client *rb_client_join(struct rb_clients *c, int fd, const struct sockaddr *address,
                                 bool exempt, uint64_t now_ns)
{
    struct rb_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->clients = c;
    client->fd = fd;
    (void)rb_address_from_sockaddr(address, &client->address);
    client->state = RB_CLIENT_HEADERS;
    client->deadline_ns = now_ns + c->header_timeout_ns;
    link_last(client);
    c->count++;
    unsigned same = count_in(c, &client->address);
    if (!exempt && c->limit_per_address > 0 && same > c->limit_per_address) {
        client->refused = true;
    } else if (c->count > c->limit) {
        /* Those ended already leave with libmicrohttpd's next run. */
        struct rb_client *oldest = c->awaiting.first;
        while (oldest != NULL && oldest->ended)
            oldest = oldest->next;
        if (oldest != NULL && oldest != client)
            rb_client_end(oldest, NULL, NULL);
        else
            client->refused = true;
    }
    return client;
}

void rb_client_leave(struct rb_client *client)
{
    if (client == NULL)
        return;
    count_out(client->clients, &client->address);
    unlink_client(client);
    client->clients->count--;
    free(client);
}

/* ---- what they do ---- */

void rb_client_awaits(struct rb_client *client, bool mid_headers, uint64_t now_ns)
{
    if (client == NULL)
        return;
    client->mid_headers = mid_headers;
    client->deadline_ns = now_ns + client->clients->header_timeout_ns;
    change(client, RB_CLIENT_HEADERS);
}

void rb_client_sends_body(struct rb_client *client, uint64_t now_ns)
{
    if (client == NULL)
        return;
    client->body_began_ns = now_ns;
    client->body_bytes = 0;
    client->deadline_ns = now_ns + client->clients->body_timeout_ns;
    change(client, RB_CLIENT_BODY);
}

void rb_client_body_progress(struct rb_client *client, uint64_t bytes, uint64_t now_ns)
{
    if (client == NULL || client->lingering)
        return;
    client->body_bytes += bytes;
    /* Each arrival buys a new pause, but on the whole it must be faster than the least rate. */
    uint64_t paid_ns = client->body_bytes * (1000000000 / RB_CLIENTS_MIN_BYTES_PER_SECOND);
    uint64_t by_pause = now_ns + client->clients->body_timeout_ns;
    uint64_t by_rate = client->body_began_ns + client->clients->body_timeout_ns + paid_ns;
    client->deadline_ns = by_pause < by_rate ? by_pause : by_rate;
}

void rb_client_is_busy(struct rb_client *client)
{
    if (client != NULL && client->state != RB_CLIENT_BUSY)
        change(client, RB_CLIENT_BUSY);
}

/* ---- ending them ---- */

static void send_problem(const struct rb_client *client, const struct rb_error *err,
                         const char *request_id, const char *headers)
{
    struct rb_json w;
    char *body, *head;
    size_t bytes;
    rb_json_init(&w);
    rb_problem_encode(&w, err, NULL, request_id);
    if (rb_json_finish(&w, &body, &bytes, NULL) != RB_OK)
        return;
    int n = asprintf(&head,
                     "HTTP/1.1 %d %s\r\nContent-Type: " RB_PROBLEM_MEDIA_TYPE
                     "\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n",
                     rb_problem_http(err->status), rb_problem_code(err->status), bytes, headers);
    if (n > 0) {
        /* Both fit an empty socket buffer; if they do not, the client learns it from the close. */
        if (send(client->fd, head, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) == n)
            (void)!send(client->fd, body, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        free(head);
    }
    free(body);
}

void rb_client_end(struct rb_client *client, const struct rb_error *err, const char *request_id)
{
    char headers[192];
    if (client == NULL || client->ended)
        return;
    (void)snprintf(headers, sizeof headers,
                   "X-Request-Id: %s\r\nCache-Control: no-store\r\n"
                   "X-Content-Type-Options: nosniff\r\n",
                   request_id != NULL ? request_id : "none");
    client->ended = true;
    if (err != NULL && client->state != RB_CLIENT_BUSY && !client->lingering)
        send_problem(client, err, request_id, headers);
    (void)shutdown(client->fd, SHUT_RDWR);
}

void rb_client_linger(struct rb_client *client, const struct rb_error *err, const char *request_id,
                      const char *headers, uint64_t now_ns)
{
    if (client == NULL || client->ended || client->lingering)
        return;
    send_problem(client, err, request_id, headers);
    (void)shutdown(client->fd, SHUT_WR);
    client->lingering = true;
    client->deadline_ns = now_ns + RB_CLIENTS_LINGER_MS * (uint64_t)1000000;
}

bool rb_client_hung_up(const struct rb_client *client)
{
    /* Not by a read: there may be bytes before the end that nobody may take (gate.h). */
    struct pollfd p = {.fd = client->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

static void end_late(struct rb_client *client)
{
    struct rb_error err;
    char address[64];
    bool speaks = (client->state == RB_CLIENT_BODY || client->mid_headers) && !client->lingering;
    (void)rb_error_set(&err, RB_EBODYTIMEOUT, "the %s did not arrive in time",
                       client->state == RB_CLIENT_BODY ? "body" : "headers");
    if (speaks)
        rb_log_info("slow client ended",
                    RB_S("client", rb_address_format(&client->address, address, sizeof address)),
                    RB_S("detail", err.detail));
    rb_client_end(client, speaks ? &err : NULL, NULL);
}

static void tick_ring(struct rb_client_ring *ring, uint64_t now_ns, bool look)
{
    for (struct rb_client *client = ring->first; client != NULL; client = client->next) {
        if (client->state == RB_CLIENT_BUSY || client->ended)
            continue;
        if (now_ns > client->deadline_ns)
            end_late(client);
        else if (look && rb_client_hung_up(client))
            rb_client_end(client, NULL, NULL);
    }
}

void rb_clients_tick(struct rb_clients *c, uint64_t now_ns)
{
    bool look = now_ns >= c->looked_ns + LOOK_EVERY_NS;
    if (look)
        c->looked_ns = now_ns;
    tick_ring(&c->awaiting, now_ns, look);
    tick_ring(&c->busy, now_ns, look);
}
