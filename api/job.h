/* api/job.h: the job resource, as GET /v1/jobs/{id} shows it. */
#ifndef RB_API_JOB_H
#define RB_API_JOB_H

#include "api/artifact.h"
#include "api/decode.h"
#include "api/encode.h"
#include "api/job_spec.h"
#include "api/names.h"
#include "api/verdict.h"

/* queued -> running -> succeeded | failed; canceling -> canceled. */
enum rb_job_status {
    RB_JOB_QUEUED,
    RB_JOB_RUNNING,
    RB_JOB_CANCELING,
    RB_JOB_SUCCEEDED,
    RB_JOB_FAILED,
    RB_JOB_CANCELED,
    RB_JOB_STATUS_COUNT
};
/* In enum order, NULL-terminated: rb_enum_find looks names up. */
extern const char *const rb_job_status_names[];

/* succeeded, failed or canceled: it will not change by itself again. */
static inline bool rb_job_status_terminal(enum rb_job_status s)
{
    return s >= RB_JOB_SUCCEEDED;
}

/* The stages, in the order in which a job passes them. */
enum rb_phase {
    RB_PHASE_NONE, /* not running: null */
    RB_PHASE_LOADING,
    RB_PHASE_ALIGNING,
    RB_PHASE_SOLVING,
    RB_PHASE_LEARNING,
    RB_PHASE_CERTIFYING,
    RB_PHASE_EVALUATING,
    RB_PHASE_MERGING, /* checkpoints that are more than a sum of weights */
    RB_PHASE_WRITING,
    RB_PHASE_COUNT
};
/* In enum order; the name of RB_PHASE_NONE is "none" and never goes over the wire. */
extern const char *const rb_phase_names[];

/* Of a unit that a cluster computes, its tasks. */
struct rb_progress_tasks {
    const char *unit; /* static text */
    uint32_t total;   /* 0: there is none */
    uint32_t pending, running;
    char reason[64]; /* why the pending ones wait, in the cluster's word; "": null */
};

struct rb_progress {
    double done, total; /* fraction = done / total; total 0: not known, fraction 0 */
    const char *unit;   /* "sequences", "points" …; static text, NULL: null */
    double eta_seconds; /* of the whole job; NaN: null */
    struct rb_progress_tasks tasks;
};

struct rb_job_input {
    char role[24]; /* "model_a", "model_b", "model_3" …, "align_dataset", "learn_dataset", … */
    char name[RB_NAME_SIZE];
    char sha256[RB_SHA256_HEX_SIZE]; /* "": null */
};
enum { RB_JOB_INPUTS_MAX = RB_MODELS_MAX + 5 };
/* The role of the i-th model, from 0. */
void rb_job_model_role(size_t i, char ret[24]);

/* NaN: null. */
struct rb_job_summary {
    double barrier_chord, barrier_mean;
    double control_barrier_chord, control_barrier_mean;
    /* 1 - barrier_mean / control_barrier_mean; NaN too where moving lost B's function */
    double reduction;
    double reduction_error; /* its standard error */
    int equivalent;         /* the certificate's word: -1 not known (null), 0, 1 … */
    int kind;               /* … and enum rb_certificate_kind, -1: null; of near ones also: */
    double kl, top1_agreement, loss_before, loss_after;
    struct rb_merge_verdict verdict;
};

/* Nothing known. */
struct rb_job_summary rb_job_summary_none(void);

/* On what a job is computed: {"cpu","blas_kernel","instruction_set","gflops_per_core","threads",
 * "executor","nodes"}. All strings borrowed. */
struct rb_environment {
    const char *cpu, *blas_kernel;
    const char *instruction_set; /* NULL: null */
    double rate;                 /* operations per second of sgemm on one core; 0: null */
    uint32_t threads;
    const char *executor; /* "local" */
    uint32_t nodes;
};
void rb_environment_encode(struct rb_json *w, const char *key, const struct rb_environment *e);

enum { RB_JOB_WARNING_SIZE = 400 };

struct rb_job_error {
    enum rb_status status; /* RB_OK: the job has no error: null */
    char detail[512];
};

/* Strings are malloc'ed and owned: rb_job_deinit. */
struct rb_job {
    char id[RB_JOB_ID_SIZE];
    char retry_of[RB_JOB_ID_SIZE];          /* "": null */
    char warning[RB_JOB_WARNING_SIZE];      /* what to know before using its results; "": none */
    char kept_warning[RB_JOB_WARNING_SIZE]; /* the same, found while it ran: its row keeps it */
    char group[RB_JOB_ID_SIZE];             /* of jobs asked for together; "": null */
    uint32_t position;                      /* in it, from 0 */
    char submitted_by[RB_SUBMITTER_SIZE];   /* "": null */
    uint64_t running_limit;                 /* of theirs at once; 0: any number; not told */
    enum rb_job_status status;
    enum rb_phase phase;
    int32_t priority;
    uint32_t attempt; /* 0 before the first run */
    struct rb_progress progress;
    char *name; /* NULL: null */
    struct rb_labels labels;
    char *spec_json; /* as rb_job_spec_encode wrote it */
    struct rb_job_input inputs[RB_JOB_INPUTS_MAX];
    size_t input_count;
    int64_t created_ms, started_ms, finished_ms, updated_ms; /* -1: null */
    uint64_t version;                                        /* grows with every change; the ETag */
    struct rb_job_summary summary;
    double timings[RB_PHASE_COUNT]; /* seconds; NaN: not run, left out */
    uint64_t peak_bytes;            /* 0: null */
    char *environment_json; /* as rb_environment_encode wrote it; NULL: never claimed, null */
    struct rb_job_error error;
    struct rb_artifact *artifacts; /* malloc'ed */
    size_t artifact_count;
};

/* An empty queued job: NaN, -1 and NULL where nothing is known. */
void rb_job_init(struct rb_job *j);
void rb_job_deinit(struct rb_job *j);

/* All members of openapi.yaml's Job, null where unknown; links are absolute paths (links.h).
 * Leaves the object closed; for `rebasind run --json`, rb_job_encode_open leaves it open for more
 * members (a barrier): the caller ends it with rb_json_end. */
void rb_job_encode(struct rb_json *w, const char *key, const struct rb_job *j);
void rb_job_encode_open(struct rb_json *w, const char *key, const struct rb_job *j);

/* Parts that events show too. The progress goes, member by member, into the open object. */
void rb_phase_encode(struct rb_json *w, const char *key, enum rb_phase phase);
void rb_progress_encode(struct rb_json *w, const struct rb_progress *p);
/* Into an open object: the members of a summary that tables of jobs show too, barrier_chord to
 * equivalent. */
void rb_job_figures_encode(struct rb_json *w, const struct rb_job_summary *s);
void rb_job_error_encode(struct rb_json *w, const char *key, const struct rb_job_error *e);

/* summary{…} from the two curves' barriers and the certificate is filled by the caller; this is
 * the one rule for the reduction: 1 - aligned / control, NaN unless control > 0. */
double rb_reduction(double aligned, double control);

/* PATCH: each member may be absent; name null takes the name away; labels replace all labels. */
enum rb_job_patch_given { RB_PATCH_NAME = 1, RB_PATCH_LABELS = 2, RB_PATCH_PRIORITY = 4 };

struct rb_job_patch {
    uint32_t given;
    char *name; /* NULL with RB_PATCH_NAME: none */
    struct rb_labels labels;
    int32_t priority;
};

/* RB_EINPUT, also for a patch without any member; RB_ENOMEM. The caller owns *ret. */
enum rb_status rb_job_patch_decode(const json_t *json, struct rb_job_patch *ret,
                                   struct rb_problems *problems,
                                   struct rb_error *err) RB_MUST_CHECK;
void rb_job_patch_deinit(struct rb_job_patch *p);

#endif
