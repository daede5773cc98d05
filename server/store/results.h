/* server/store/results.h: what a job has finished: stages, the loss at each lambda, artifacts.
 *
 * A row here is a promise: the stage is not run again, the lambda not evaluated again, the file
 * is whole. Files are synced (server/base/fsutil.h) before their row is written. Adding a stage or
 * a point also notes that the job made progress (rb_job_row.run_attempts). Loop thread only.
 */
#ifndef RB_SERVER_STORE_RESULTS_H
#define RB_SERVER_STORE_RESULTS_H

#include "server/base/hash.h"
#include "server/store/store.h"

/* ---- stages ---- */

struct rb_stage_row {
    char *stage;   /* name chosen by server/work */
    char *product; /* JSON: figures and file names */
    double seconds;
    int64_t finished_at_ms;
};
/* RB_ECONFLICT if that stage of the job is there already. */
enum rb_status rb_stage_add(struct rb_store *s, int64_t job, const struct rb_stage_row *row,
                            struct rb_error *err) RB_MUST_CHECK;
/* In the order they were added. The caller owns *ret: rb_stages_free. */
enum rb_status rb_stages_list(struct rb_store *s, int64_t job, struct rb_stage_row **ret,
                              size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
void rb_stages_free(struct rb_stage_row *rows, size_t count);

/* ---- points of the loss curves ---- */

enum rb_curve_kind { RB_CURVE_ALIGNED, RB_CURVE_CONTROL, RB_CURVE_COUNT };

struct rb_point_row {
    enum rb_curve_kind curve;
    uint32_t index; /* of lambda in the spec's list */
    double lambda, loss, standard_error;
    char *metrics; /* JSON object or NULL */
    int64_t at_ms;
};
/* With its "point" event in the same transaction; event NULL adds none and leaves ret_event_id 0.
 * RB_ECONFLICT if that index of that curve is there already. */
enum rb_status rb_point_add(struct rb_store *s, int64_t job, const struct rb_point_row *row,
                            const char *event, int64_t *ret_event_id,
                            struct rb_error *err) RB_MUST_CHECK;
/* By curve, then index. The caller owns *ret: rb_points_free. */
enum rb_status rb_points_list(struct rb_store *s, int64_t job, struct rb_point_row **ret,
                              size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
void rb_points_free(struct rb_point_row *rows, size_t count);

/* For a retry: gives job `to` all stages and points that `from` has and `to` lacks. */
enum rb_status rb_results_copy(struct rb_store *s, int64_t from, int64_t to,
                               struct rb_error *err) RB_MUST_CHECK;

/* ---- artifacts ---- */

struct rb_artifact_row {
    char *name; /* file name below jobs/<id>/ */
    uint64_t bytes;
    unsigned char sha256[RB_SHA256_BYTES];
    char *media_type;
    int64_t created_at_ms;
};
/* Replaces one of the same name. */
enum rb_status rb_artifact_put(struct rb_store *s, int64_t job, const struct rb_artifact_row *row,
                               struct rb_error *err) RB_MUST_CHECK;
/* RB_ENOTFOUND. The caller owns *ret: rb_artifact_row_deinit. */
enum rb_status rb_artifact_get(struct rb_store *s, int64_t job, const char *name,
                               struct rb_artifact_row *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_artifact_row_deinit(struct rb_artifact_row *row);
/* By name. The caller owns *ret: rb_artifacts_free. */
enum rb_status rb_artifacts_list(struct rb_store *s, int64_t job, struct rb_artifact_row **ret,
                                 size_t *ret_count, struct rb_error *err) RB_MUST_CHECK;
void rb_artifacts_free(struct rb_artifact_row *rows, size_t count);

#endif
