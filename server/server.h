/* server/server.h: the daemon's central struct. Start reading here.
 *
 * One uv loop owns everything below: only its thread touches these fields, the store and the
 * connections. Pool threads get read-only input and a private output and know nothing of this
 * struct. What lies on a higher floor of server/ is an opaque pointer here, so that base, store,
 * work and http each see only what is below them. cmd_serve.c fills it in this order and takes it
 * apart in the reverse one.
 */
#ifndef RB_SERVER_SERVER_H
#define RB_SERVER_SERVER_H

#include "server/base/config.h"
#include "server/base/metrics.h"
#include "server/base/room.h"
#include "server/base/sandbox.h"

#include <uv.h>

struct rb_store;  /* server/store/store.h: the database */
struct rb_tokens; /* server/store/tokens.h: who may do what */
struct rb_work;   /* server/work/work.h: pool, hub, queue: everything that computes */
struct rb_http;   /* server/http/: connections */

struct rb_server {
    uv_loop_t *loop;
    const struct rb_settings *settings; /* never changes once loaded */
    int data_fd;                        /* the data folder, a root for server/base/fsutil.h */
    int lock_fd;                        /* held while the daemon lives */
    char data_dir[4096];                /* absolute */
    struct rb_room room;                /* is the disk full? */
    struct rb_sandbox_report sandbox;   /* what the daemon has locked away from itself */

    struct rb_metrics *metrics;
    struct rb_store *store;
    struct rb_tokens *tokens;
    struct rb_work *work;
    struct rb_http *http;

    bool draining; /* after SIGTERM: readyz says 503, no new work starts */
    int64_t started_at_ms;
    uint64_t started_ns; /* by the clock that never goes back */
};

#endif
