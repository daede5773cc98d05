/* server/store/stages.h: finished stages, and the points of the loss curves. */
#ifndef RB_SERVER_STORE_STAGES_H
#define RB_SERVER_STORE_STAGES_H

#include "api/barrier.h"
#include "api/event.h"
#include "server/store/events.h"
#include "server/store/store.h"

/* When written borrowed, when read owned. */
struct rb_stage_row {
    char *stage;   /* name chosen by server/work */
    char *product; /* JSON: figures and file names */
    double seconds;
    int64_t finished_ms;
};

/* RB_ECONFLICT if that stage of the job is there already. */
enum rb_status rb_stage_add(struct rb_store *s, int64_t job, const struct rb_stage_row *row,
                            struct rb_error *err) RB_MUST_CHECK;

/* In the order they were added. The caller owns *ret: rb_stages_free. */
enum rb_status rb_stages_list(struct rb_store *s, int64_t job, struct rb_stage_row **ret,
                              size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
void rb_stages_free(struct rb_stage_row *rows, size_t count);

struct rb_point_row {
    enum rb_task task; /* for its event; not stored */
    enum rb_curve_name curve;
    uint32_t index; /* of lambda in the spec's list */
    struct rb_point point;
    const struct rb_block *blocks; /* (block_count), written beside it, borrowed; not read here */
    size_t block_count;
};

/* Together with its "point" event, which goes to *ret_event (the caller's; may be NULL).
 * RB_ECONFLICT if that index of that curve is there already. */
enum rb_status rb_point_add(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                            int64_t at_ms, struct rb_event_row *ret_event,
                            struct rb_error *err) RB_MUST_CHECK;

/* In the order of enum rb_curve_name, each by index; numbers bit for bit as added
 * (but for the sign of a zero). The caller frees *ret: free(). */
enum rb_status rb_points_list(struct rb_store *s, int64_t job, struct rb_point_row **ret,
                              size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;

/* The same without indices, and how many there are of each curve. The caller frees points: free().
 */
struct rb_curves {
    struct rb_point *points;
    size_t counts[RB_CURVE_COUNT];
};
enum rb_status rb_curves_read(struct rb_store *s, int64_t job, struct rb_curves *ret,
                              struct rb_error *err) RB_MUST_CHECK;

/* Of one point, in order, bit for bit. *ret new: free(); NULL and 0 if none are kept. */
enum rb_status rb_blocks_read(struct rb_store *s, int64_t job, enum rb_curve_name curve,
                              uint32_t index, struct rb_block **ret, size_t *ret_count,
                              struct rb_error *err) RB_MUST_CHECK;
/* Adds blocks behind those of the point that are kept. */
enum rb_status rb_blocks_append(struct rb_store *s, int64_t job, enum rb_curve_name curve,
                                uint32_t index, const struct rb_block *blocks, size_t count,
                                struct rb_error *err) RB_MUST_CHECK;
/* The errors of the job's barriers: as the writing stage left them, else from the blocks kept. v:
 * of the job, its points as indexed. */
enum rb_status rb_barrier_errors_read(struct rb_store *s, int64_t job,
                                      const struct rb_barrier_view *v,
                                      struct rb_barrier_errors *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* What the evaluating stage of an earlier version left of the folded control; none where it left
 * nothing. */
enum rb_status rb_folded_control_read(struct rb_store *s, int64_t job,
                                      struct rb_folded_control *ret,
                                      struct rb_error *err) RB_MUST_CHECK;

/* For a retry: gives job `to` all stages and points that `from` has and `to` lacks. */
enum rb_status rb_results_copy(struct rb_store *s, int64_t from, int64_t to,
                               struct rb_error *err) RB_MUST_CHECK;

#endif
