/* server/http/clients.h: the connections: how many, from where, and how long they may take.
 *
 * libmicrohttpd's own limits close connections without a word and know only inactivity, which a
 * client that sends a byte a second never shows. So each connection has an absolute deadline here
 * for its headers and one for its body, which rb_clients_tick enforces by answering 408 on the
 * socket, where no reply has begun, and shutting it down. When the table is full the connection
 * that has been without a request longest makes room; if all are busy, the new one's request is
 * answered 429. Trusted proxies are exempt from the limit per address.
 *
 * libmicrohttpd's sockets are edge-triggered, and a hang-up that comes together with the last bytes
 * makes no edge of its own: once a second those who still owe us something are looked at.
 *
 * Loop thread only. */
#ifndef RB_SERVER_HTTP_CLIENTS_H
#define RB_SERVER_HTTP_CLIENTS_H

#include "api/status.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/* An address as 16 bytes; IPv4 mapped. */
struct rb_address {
    unsigned char bytes[16];
};

struct rb_request;

enum rb_client_state {
    RB_CLIENT_HEADERS, /* fresh or kept alive: a request's headers are awaited */
    RB_CLIENT_BODY,
    RB_CLIENT_BUSY, /* a handler runs or a reply leaves */
};

struct rb_client {
    int fd; /* libmicrohttpd's */
    struct rb_address address;
    enum rb_client_state state;
    uint64_t deadline_ns; /* HEADERS, BODY */
    uint64_t body_began_ns, body_bytes;
    bool mid_headers;                  /* a head has begun to arrive */
    bool refused;                      /* over a limit: its request is answered 429 */
    bool ended;                        /* shut down; libmicrohttpd will notice */
    bool lingering;                    /* has been answered; its bytes are thrown away */
    struct rb_request *request;        /* under way on it (exchange.c); NULL: none */
    struct rb_client *next, *previous; /* by state: those in HEADERS, oldest first; others */
    struct rb_clients *clients;
};

struct rb_client_ring {
    struct rb_client *first, *last;
};

struct rb_clients {
    unsigned limit, limit_per_address;
    uint64_t header_timeout_ns, body_timeout_ns;
    unsigned count;
    uint64_t looked_ns;
    struct rb_client_ring awaiting, busy;
    struct rb_address_count **buckets; /* connections by address */
};

/* How many sockets libmicrohttpd may hold beyond limit, so that there is one to evict for. */
enum {
    RB_CLIENTS_SLACK = 64,
    RB_CLIENTS_MIN_BYTES_PER_SECOND = 1024,
    RB_CLIENTS_LINGER_MS = 2000,
};

enum rb_status rb_clients_init(struct rb_clients *c, unsigned limit, unsigned limit_per_address,
                               uint64_t header_timeout_ms, uint64_t body_timeout_ms,
                               struct rb_error *err) RB_MUST_CHECK;
/* All clients must have left. */
void rb_clients_deinit(struct rb_clients *c);

/* NULL when out of memory: such a connection has no limits but libmicrohttpd's. */
struct rb_client *rb_client_join(struct rb_clients *c, int fd, const struct sockaddr *address,
                                 bool exempt, uint64_t now_ns);
void rb_client_leave(struct rb_client *client);

/* What the connection does now. client may be NULL in all of these. */
void rb_client_awaits(struct rb_client *client, bool mid_headers, uint64_t now_ns);
void rb_client_sends_body(struct rb_client *client, uint64_t now_ns);
void rb_client_body_progress(struct rb_client *client, uint64_t bytes, uint64_t now_ns);
void rb_client_is_busy(struct rb_client *client);

/* Writes a problem straight to the socket, if no reply can be on its way, and shuts it down. */
void rb_client_end(struct rb_client *client, const struct rb_error *err, const char *request_id);
/* The same for a client that is still sending: the daemon's side is shut, what arrives is still
 * read for RB_CLIENTS_LINGER_MS, so that the client finds the answer and not a reset connection.
 * headers: lines of the reply ("Name: value\r\n"), "" if none. */
void rb_client_linger(struct rb_client *client, const struct rb_error *err, const char *request_id,
                      const char *headers, uint64_t now_ns);
/* Has the peer closed its side? Costs a system call. */
bool rb_client_hung_up(const struct rb_client *client);

/* Ends those beyond their deadline. */
void rb_clients_tick(struct rb_clients *c, uint64_t now_ns);

/* IPv4 and IPv6 as one; false for other families. */
bool rb_address_from_sockaddr(const struct sockaddr *sa, struct rb_address *ret);
/* "192.0.2.1", "2001:db8::1" */
bool rb_address_parse(const char *text, struct rb_address *ret);
char *rb_address_format(const struct rb_address *a, char *buffer, size_t size);
/* "10.0.0.0/8", "::1": does the network hold the address? A malformed network holds nothing. */
bool rb_network_holds(const char *network, const struct rb_address *a);

#endif
