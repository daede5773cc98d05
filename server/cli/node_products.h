/* server/cli/node_products.h: what `rebasind work` gives back: files of the bundle's folder, each
 * written, synced, renamed and sealed (server/work/bundle_dir.h). Main thread; blocks on disk. */
#ifndef RB_SERVER_CLI_NODE_PRODUCTS_H
#define RB_SERVER_CLI_NODE_PRODUCTS_H

#include "server/store/store.h"
#include "server/work/bundle_dir.h"

struct rb_node_products {
    int bundle_fd, data_fd; /* of the bundle's folder, and of the engine's below it; borrowed */
    const char *scratch;    /* the engine's folder, below the bundle's */
    const struct rb_bundle *bundle;
    uint32_t task;
    struct rb_store *store;
    int64_t seq;         /* the job's in that store */
    struct rb_seal seal; /* who makes them; size and digest are set for each */
    bool *given;         /* (RB_CURVE_COUNT * RB_POINTS_MAX) points that are there already */
    size_t points_given, points_asked;
};

/* Sets who makes them, and how many points are asked for. p's borrowed members are set. RB_ENOMEM.
 */
enum rb_status rb_node_products_init(struct rb_node_products *p, unsigned threads,
                                     struct rb_error *err) RB_MUST_CHECK;
void rb_node_products_deinit(struct rb_node_products *p);

/* Points that the engine has recorded since. */
enum rb_status rb_node_products_points(struct rb_node_products *p,
                                       struct rb_error *err) RB_MUST_CHECK;
/* All files that the unit gives back, once it is done. */
enum rb_status rb_node_products_files(struct rb_node_products *p,
                                      struct rb_error *err) RB_MUST_CHECK;
/* After a stop: what a later attempt can go on from (the state of what is being learned). */
enum rb_status rb_node_products_partial(struct rb_node_products *p,
                                        struct rb_error *err) RB_MUST_CHECK;
/* How the task ended, where it did not do all; sealed. */
enum rb_status rb_node_products_outcome(struct rb_node_products *p,
                                        const struct rb_outcome *outcome,
                                        struct rb_error *err) RB_MUST_CHECK;
/* The heartbeat. */
enum rb_status rb_node_products_progress(struct rb_node_products *p,
                                         const struct rb_unit_progress *progress,
                                         struct rb_error *err) RB_MUST_CHECK;

#endif
