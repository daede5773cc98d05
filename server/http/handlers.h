/* server/http/handlers.h: what the route table points to; one file per resource. */
#ifndef RB_SERVER_HTTP_HANDLERS_H
#define RB_SERVER_HTTP_HANDLERS_H

#include "server/http/route.h"

/* service.c */
void rb_handle_livez(struct rb_request *r);
void rb_handle_readyz(struct rb_request *r);
void rb_handle_version(struct rb_request *r);
void rb_handle_metrics(struct rb_request *r);
void rb_handle_stats(struct rb_request *r);
void rb_handle_token(struct rb_request *r);
void rb_handle_demo(struct rb_request *r);
void rb_handle_retention(struct rb_request *r);
void rb_handle_openapi_yaml(struct rb_request *r);
void rb_handle_openapi_json(struct rb_request *r);

/* dashboard.c */
void rb_handle_dashboard(struct rb_request *r);
void rb_handle_dashboard_file(struct rb_request *r);

/* models.c */
extern const struct rb_body_stream rb_model_file_stream;
void rb_handle_models(struct rb_request *r);
void rb_handle_model(struct rb_request *r);
void rb_handle_model_import(struct rb_request *r);
void rb_handle_model_delete(struct rb_request *r);

/* datasets.c */
extern const struct rb_body_stream rb_dataset_stream;
void rb_handle_datasets(struct rb_request *r);
void rb_handle_dataset(struct rb_request *r);
void rb_handle_dataset_import(struct rb_request *r);
void rb_handle_dataset_delete(struct rb_request *r);

/* submissions.c */
void rb_handle_job_submit(struct rb_request *r);
void rb_handle_job_batch(struct rb_request *r);
void rb_handle_job_retry(struct rb_request *r);

/* jobs.c */
void rb_handle_jobs(struct rb_request *r);
void rb_handle_job(struct rb_request *r);
void rb_handle_job_patch(struct rb_request *r);
void rb_handle_job_cancel(struct rb_request *r);
void rb_handle_job_delete(struct rb_request *r);

/* sweeps.c */
void rb_handle_sweep_submit(struct rb_request *r);
void rb_handle_matrix_submit(struct rb_request *r);
void rb_handle_sweeps(struct rb_request *r);
void rb_handle_sweep(struct rb_request *r);
void rb_handle_sweep_delete(struct rb_request *r);
void rb_handle_sweep_cancel(struct rb_request *r);

/* events.c */
void rb_handle_events(struct rb_request *r);
void rb_handle_job_events(struct rb_request *r);
void rb_handle_sweep_events(struct rb_request *r);

/* curves.c */
void rb_handle_barrier(struct rb_request *r);
void rb_handle_barriers(struct rb_request *r);
void rb_handle_learning(struct rb_request *r);

/* alignments.c */
void rb_handle_alignment(struct rb_request *r);
void rb_handle_map(struct rb_request *r);
void rb_handle_permutations(struct rb_request *r);
void rb_handle_permutation(struct rb_request *r);
void rb_handle_correlations(struct rb_request *r);
void rb_handle_correlation(struct rb_request *r);

/* artifacts.c */
void rb_handle_artifacts(struct rb_request *r);
void rb_handle_artifact(struct rb_request *r);
void rb_handle_merged_digest(struct rb_request *r);
void rb_handle_merged_file(struct rb_request *r);
void rb_handle_merged_tar(struct rb_request *r);

#endif
