/* server/store/jobs_internal.h: what the files about jobs share; private to server/store. */
#ifndef RB_SERVER_STORE_JOBS_INTERNAL_H
#define RB_SERVER_STORE_JOBS_INTERNAL_H

#include "server/store/query.h"
#include "server/store/jobs.h"

/* Notes that something of the running job became durable. */
enum rb_status rb_job_progressed(struct rb_store *s, int64_t job,
                                 struct rb_error *err) RB_MUST_CHECK;

#endif
