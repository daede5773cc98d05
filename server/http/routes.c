#include "server/http/handlers.h"
#include "server/http/upload.h"

#include "api/event.h"
#include "api/job.h"
#include "server/store/jobs.h"
#include "server/store/jobs_list.h"

#define PAGE_RULES                                                                                 \
    {.name = "limit", .max = 20},                                                                  \
    {                                                                                              \
        .name = "page_token", .max = 200                                                           \
    }

static const char *const format_names[] = {"text", "jsonl", "tsv", NULL};

#define MINE_RULE                                                                                  \
    {                                                                                              \
        .name = "mine", .type = RB_QUERY_FLAG                                                      \
    }

static const struct rb_query_rule list_rules[] = {PAGE_RULES, MINE_RULE, {.name = NULL}};
static const struct rb_query_rule page_rules[] = {PAGE_RULES, {.name = NULL}};

static const struct rb_query_rule ready_rules[] = {
    {.name = "verbose", .type = RB_QUERY_FLAG},
    {.name = NULL},
};

static const struct rb_query_rule dataset_rules[] = {
    {.name = "format", .type = RB_QUERY_ENUM, .names = format_names},
    {.name = "text", .max = 800},
    {.name = "text_pair", .max = 800},
    {.name = "label", .max = 800},
    {.name = NULL},
};

static const struct rb_query_rule retention_rules[] = {
    {.name = "keep_jobs", .max = 20},
    {.name = "keep_artifacts", .max = 20},
    {.name = NULL},
};

static const struct rb_query_rule submit_rules[] = {
    {.name = "dry_run", .type = RB_QUERY_FLAG},
    {.name = NULL},
};

static const struct rb_query_rule jobs_rules[] = {
    PAGE_RULES,
    {.name = "status", .max = 100, .times = RB_JOB_STATUS_COUNT},
    {.name = "label", .max = 600, .times = 8},
    {.name = "model", .type = RB_QUERY_NAME},
    {.name = "group", .type = RB_QUERY_GROUP},
    MINE_RULE,
    {.name = "created_after", .type = RB_QUERY_TIME},
    {.name = "created_before", .type = RB_QUERY_TIME},
    {.name = "sort", .type = RB_QUERY_ENUM, .names = rb_job_sort_names},
    {.name = NULL},
};

static const struct rb_query_rule barriers_rules[] = {
    {.name = "job", .type = RB_QUERY_JOB, .times = 100, .required = true},
    {.name = NULL},
};

#define MODEL_RULE                                                                                 \
    {                                                                                              \
        .name = "model", .type = RB_QUERY_NAME                                                     \
    }

static const struct rb_query_rule alignment_rules[] = {MODEL_RULE, {.name = NULL}};

static const struct rb_query_rule permutation_rules[] = {
    MODEL_RULE,
    {.name = "rotations", .type = RB_QUERY_FLAG},
    {.name = NULL},
};

static const struct rb_query_rule correlation_rules[] = {
    MODEL_RULE,
    {.name = "matrix", .type = RB_QUERY_FLAG},
    {.name = "size", .max = 8},
    {.name = NULL},
};

/* clang-format off */
#define GET(operation, path, access, query, handle)                                                \
    {operation, path, query, NULL, handle, RB_GET, RB_ACCESS_##access, RB_BODY_NONE, false, false}
#define POLL(operation, path, query, handle)                                                       \
    {operation, path, query, NULL, handle, RB_GET, RB_ACCESS_READ, RB_BODY_NONE, false, true}
#define ACT(operation, method, path, access, handle)                                               \
    {operation, path, NULL, NULL, handle, RB_##method, RB_ACCESS_##access, RB_BODY_NONE,           \
     RB_##method == RB_DELETE, false}
#define PRESS(operation, path, handle)                                                             \
    {operation, path, NULL, NULL, handle, RB_POST, RB_ACCESS_SUBMIT, RB_BODY_EMPTY, false, false}
#define CANCEL(operation, path, handle)                                                            \
    {operation, path, NULL, NULL, handle, RB_POST, RB_ACCESS_SUBMIT, RB_BODY_EMPTY, true, false}
#define JSON(operation, method, path, access, query, handle)                                       \
    {operation, path, query, NULL, handle, RB_##method, RB_ACCESS_##access, RB_BODY_JSON, false, false}
#define STREAM(operation, path, query, stream)                                                     \
    {operation, path, query, &(stream), rb_upload_end, RB_PUT, RB_ACCESS_SUBMIT, RB_BODY_STREAM,   \
     false, false}

const struct rb_route rb_routes[] = {
    /* service */
    GET("getLivez", "/livez", OPEN, NULL, rb_handle_livez),
    GET("getReadyz", "/readyz", OPEN, ready_rules, rb_handle_readyz),
    GET("getVersion", "/version", OPEN, NULL, rb_handle_version),
    GET("getMetrics", "/metrics", READ, NULL, rb_handle_metrics),
    GET("getOpenapiYaml", "/openapi.yaml", OPEN, NULL, rb_handle_openapi_yaml),
    GET("getOpenapiJson", "/openapi.json", OPEN, NULL, rb_handle_openapi_json),
    GET("getStats", "/v1/stats", READ, NULL, rb_handle_stats),
    GET("getToken", "/v1/tokens/self", READ, NULL, rb_handle_token),
    GET("getDemo", "/v1/demo", READ, NULL, rb_handle_demo),
    GET("getRetention", "/v1/retention", READ, retention_rules, rb_handle_retention),
    GET("getDashboard", "/", OPEN, NULL, rb_handle_dashboard),
    GET("getDashboardFile", "/dashboard/{file}", OPEN, NULL, rb_handle_dashboard_file),

    /* models */
    POLL("listModels", "/v1/models", list_rules, rb_handle_models),
    JSON("importModel", POST, "/v1/models", SUBMIT, NULL, rb_handle_model_import),
    POLL("getModel", "/v1/models/{name}", NULL, rb_handle_model),
    ACT("deleteModel", DELETE, "/v1/models/{name}", SUBMIT, rb_handle_model_delete),
    STREAM("putModelFile", "/v1/models/{name}/files/{file}", NULL, rb_model_file_stream),

    /* datasets */
    POLL("listDatasets", "/v1/datasets", list_rules, rb_handle_datasets),
    JSON("importDataset", POST, "/v1/datasets", SUBMIT, NULL, rb_handle_dataset_import),
    POLL("getDataset", "/v1/datasets/{name}", NULL, rb_handle_dataset),
    ACT("deleteDataset", DELETE, "/v1/datasets/{name}", SUBMIT, rb_handle_dataset_delete),
    STREAM("putDataset", "/v1/datasets/{name}", dataset_rules, rb_dataset_stream),

    /* jobs */
    JSON("createJob", POST, "/v1/jobs", SUBMIT, submit_rules, rb_handle_job_submit),
    JSON("createJobs", POST, "/v1/jobs/batch", SUBMIT, NULL, rb_handle_job_batch),
    POLL("listJobs", "/v1/jobs", jobs_rules, rb_handle_jobs),
    POLL("getJob", "/v1/jobs/{id}", NULL, rb_handle_job),
    JSON("patchJob", PATCH, "/v1/jobs/{id}", SUBMIT, NULL, rb_handle_job_patch),
    ACT("deleteJob", DELETE, "/v1/jobs/{id}", SUBMIT, rb_handle_job_delete),
    CANCEL("cancelJob", "/v1/jobs/{id}/cancel", rb_handle_job_cancel),
    PRESS("retryJob", "/v1/jobs/{id}/retry", rb_handle_job_retry),

    /* many jobs asked for as one */
    JSON("createSweep", POST, "/v1/sweeps", SUBMIT, submit_rules, rb_handle_sweep_submit),
    JSON("createMatrix", POST, "/v1/jobs/matrix", SUBMIT, submit_rules, rb_handle_matrix_submit),
    POLL("listSweeps", "/v1/sweeps", page_rules, rb_handle_sweeps),
    POLL("getSweep", "/v1/sweeps/{id}", NULL, rb_handle_sweep),
    ACT("deleteSweep", DELETE, "/v1/sweeps/{id}", SUBMIT, rb_handle_sweep_delete),
    CANCEL("cancelSweep", "/v1/sweeps/{id}/cancel", rb_handle_sweep_cancel),
    POLL("listSweepEvents", "/v1/sweeps/{id}/events", page_rules, rb_handle_sweep_events),

    /* what they bring */
    POLL("listJobEvents", "/v1/jobs/{id}/events", page_rules, rb_handle_job_events),
    POLL("listEvents", "/v1/events", page_rules, rb_handle_events),
    POLL("getBarrier", "/v1/jobs/{id}/barrier", NULL, rb_handle_barrier),
    POLL("getBarriers", "/v1/barriers", barriers_rules, rb_handle_barriers),
    POLL("getLearning", "/v1/jobs/{id}/learning", alignment_rules, rb_handle_learning),
    POLL("getAlignment", "/v1/jobs/{id}/alignment", alignment_rules, rb_handle_alignment),
    POLL("getMap", "/v1/jobs/{id}/alignment/{group}", permutation_rules, rb_handle_map),
    POLL("getPermutations", "/v1/jobs/{id}/permutations", alignment_rules, rb_handle_permutations),
    POLL("getPermutation", "/v1/jobs/{id}/permutations/{group}", permutation_rules,
        rb_handle_permutation),
    POLL("getCorrelations", "/v1/jobs/{id}/correlations", alignment_rules, rb_handle_correlations),
    POLL("getCorrelation", "/v1/jobs/{id}/correlations/{group}", correlation_rules,
        rb_handle_correlation),
    POLL("listArtifacts", "/v1/jobs/{id}/artifacts", NULL, rb_handle_artifacts),
    GET("getArtifact", "/v1/jobs/{id}/artifacts/{name}", READ, NULL, rb_handle_artifact),
    GET("getMergedDigest", "/v1/jobs/{id}/artifacts/merged/{file}", READ, NULL,
        rb_handle_merged_digest),
    GET("getMergedFile", "/v1/jobs/{id}/artifacts/merged/{folder}/{file}", READ, NULL,
        rb_handle_merged_file),
    GET("getMergedTar", "/v1/jobs/{id}/merged/{lambda}.tar", READ, NULL, rb_handle_merged_tar),
};
/* clang-format on */

const size_t rb_route_count = sizeof rb_routes / sizeof rb_routes[0];
