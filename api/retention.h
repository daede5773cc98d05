/* api/retention.h: what a daemon removes by its age, as GET /v1/retention tells of it. Pure. */
#ifndef RB_API_RETENTION_H
#define RB_API_RETENTION_H

#include "api/encode.h"
#include "api/job.h"

/* How long things are kept after their job's end; 0: for ever. */
struct rb_retention {
    uint64_t jobs_ms;      /* finished jobs, with everything of theirs */
    uint64_t artifacts_ms; /* their merged checkpoints alone */
};

/* A job whose time is over. */
struct rb_retired {
    int64_t seq; /* the store's key */
    char id[RB_JOB_ID_SIZE];
    char submitted_by[RB_SUBMITTER_SIZE]; /* "": nobody */
    int64_t finished_ms;
    uint64_t bytes; /* of its artifacts that go */
    bool whole;     /* the job goes, not just its merged checkpoints */
};

struct rb_retention_totals {
    uint64_t jobs, artifacts; /* jobs that go, and jobs that lose their merged checkpoints */
    uint64_t bytes;
    uint64_t spared; /* jobs that would go if no other job were aligned by theirs */
    bool more;       /* there are more than were counted */
};

/* {"keep_jobs_seconds","keep_artifacts_seconds","jobs","artifacts","bytes","spared","more","data":[{"job",
 * "removes":"job" or "artifacts","submitted_by","finished_at","bytes"}]}; items: (count), the
 * oldest first. */
void rb_retention_encode(struct rb_json *w, const struct rb_retention *keep,
                         const struct rb_retention_totals *totals, const struct rb_retired *items,
                         size_t count);

#endif
