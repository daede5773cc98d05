/* server/work/run_state.h: the inside of a run; for run*.c and stage_*.c only. The functions are
 * run.c's. */
#ifndef RB_SERVER_WORK_RUN_STATE_H
#define RB_SERVER_WORK_RUN_STATE_H

#include "api/barrier.h"
#include "api/bundle.h"
#include "core/align/alignment.h"
#include "core/merge/curve.h"
#include "server/work/jobdir.h"
#include "server/work/plan.h"
#include "server/store/jobs.h"
#include "server/work/run_stop.h"
#include "server/work/subject.h"

struct rb_stage {
    enum rb_phase phase;
    /* false: nothing to do, by the spec or because its product was found. */
    bool (*needed)(const struct rb_run *run);
    /* Ends in rb_run_stage_done, at once or later. */
    void (*enter)(struct rb_run *run);
    /* Frees what run->stage_data was (never NULL); nothing of the stage runs any more. May be NULL.
     */
    void (*leave)(struct rb_run *run, void *data);
};

extern const struct rb_stage rb_stage_loading, rb_stage_aligning, rb_stage_solving,
    rb_stage_learning, rb_stage_certifying, rb_stage_evaluating, rb_stage_merging, rb_stage_writing;

/* Where units are computed: executor.h. */
struct rb_executor {
    const char *name; /* as a spec and a job's environment say it */
    bool elsewhere;   /* whoever computed has read the models whole: they need not be here */
    /* In the order in which a run passes them; ends with NULL. */
    const struct rb_stage *const *stages;
    /* run->stop and run->why are set: what the present stage has under way comes to its end, and
     * the stage with it (rb_run_stage_done). */
    void (*stop)(struct rb_run *run);
    void (*progress)(const struct rb_run *run, struct rb_progress *ret);
    /* All stages are over, well or not, and the job's end is about to be stored: `then` is called
     * once nothing of it runs anywhere; with whole false where this process cannot wait for that.
     * NULL: nothing to wait for. */
    void (*conclude)(struct rb_run *run, bool well, void (*then)(struct rb_run *run, bool whole));
    /* May a process have died and units of that job be under way all the same? NULL: never. */
    bool (*adopts)(const struct rb_work *w, const char *job);
};

/* One loss curve of the job, by index of lambda. */
struct rb_run_curve {
    struct rb_point *points;
    bool *known;
};

/* How far a phase is, in core's unit of cost; and how fast it was. */
struct rb_run_phase {
    double weight; /* share of the job's progress: its cost as planned, never changed again */
    double total, done;
    double busy_seconds;           /* on a core, for what is done */
    double wall_seconds;           /* since it was first entered by this process */
    double fresh_cost, fresh_busy; /* done, and on a core, since rates last learnt from it */
};

/* How one model is moved. */
struct rb_run_moved {
    struct rb_alignment *alignment;
    struct rb_motion motion;
};

struct rb_run {
    struct rb_work *work;
    struct rb_run *next;
    void (*ended)(struct rb_work *w);
    struct rb_job_row row;
    struct rb_job_spec spec;
    atomic_bool stop; /* for items and plain jobs */
    enum rb_run_stop why;

    /* run.c: where it is */
    const struct rb_executor *executor; /* NULL before the spec is decoded */
    size_t stage;                       /* index into its table */
    void *stage_data;
    uint64_t entered_ns;
    uv_timer_t timer; /* waits for the disk to come back; closed last */
    uv_timer_t tick;  /* progress */
    int closing;
    bool in_stage, concluding;          /* concluding: nothing can be stopped any more */
    bool alone;                         /* no other was under way since the stage was entered */
    void (*resume)(struct rb_run *run); /* what the timer calls */
    double waited_seconds;
    enum rb_status final_status;
    struct rb_error error;

    /* loading */
    struct rb_places places;
    struct rb_subject subject;
    struct rb_plan plan;
    bool recorded[RB_PHASE_COUNT]; /* the stage has its row */
    struct rb_artifact *artifacts; /* that the job has already; (artifact_count) */
    size_t artifact_count;

    /* aligning, solving, certifying */
    struct rb_moments *moments;
    struct rb_alignment *alignment;
    struct rb_motion motion;
    /* Three models or more: moments by rb_pair_place, (spec.more_count) what moves the third and
     * those behind it (alignment and motion above are the second's), all or none; and what there is
     * to say of all together, as JSON. */
    struct rb_moments **pairs;
    size_t pair_count;
    struct rb_run_moved more[RB_MODELS_MAX - 2];
    char *reference;
    /* Where norms are folded (rb_align_folds): both models', and motions that do nothing else. */
    struct rb_fold fold[RB_MODELS_MAX];
    struct rb_motion folded[RB_MODELS_MAX];
    bool folds, has_motion; /* folds: they are; has_motion: the motions above are set */

    /* evaluating */
    struct rb_run_curve curves[RB_CURVE_COUNT]; /* by enum rb_curve_name */
    struct rb_run_phase phases[RB_PHASE_COUNT];
    const struct rb_pool_task *tasks[4]; /* under way, for progress; NULL where none */
};

/* The stage's state, all zero, as run->stage_data: `leave` frees it. NULL: no memory, and the stage
 * has ended. */
void *rb_run_stage_begin(struct rb_run *run, size_t bytes);
/* The present stage has ended and nothing of it runs. err may be NULL with RB_OK, and may be in the
 * stage's state. */
void rb_run_stage_done(struct rb_run *run, enum rb_status status, const struct rb_error *err);

/* Which indices of lambda the curves consist of, as far as that is known; members: (count) of
 * spec.lambdas. True once all of them are evaluated, aligned and control. */
bool rb_run_members(const struct rb_run *run, bool *members);

/* Does the job move B at all? */
bool rb_run_moves(const struct rb_run *run);
/* Is a control curve evaluated? Asked for; or B moves by near-equivalent maps, and where the curve
 * leads to points of its own, or to a precision, all of it is easier than its last point. */
bool rb_run_has_control(const struct rb_run *run);
/* Does B move by near-equivalent maps (METHOD 10)? */
bool rb_run_is_near(const struct rb_run *run);
/* Is the control's point at that index of lambda evaluated? The last one also where the barrier is
 * over the chord to the original B. */
bool rb_run_wants_control(const struct rb_run *run, size_t index);
/* The alignment's certificate, with B's losses once they are known. */
struct rb_certificate rb_run_certificate(const struct rb_run *run);
/* Is the folded control evaluated? Two models, a control, and norms folded. Its curve has the
 * control's points. */
bool rb_run_has_folded(const struct rb_run *run);
/* How many of these members it still lacks. */
size_t rb_run_folded_left(const struct rb_run *run, const bool *members);
/* Is it the control at that index of lambda? At the ends: folding changes no function. */
bool rb_run_shares_folded(const struct rb_run *run, size_t index);
/* Are both curves the same model at that index of lambda: lambda 0 is A; lambda 1 is B, moved or
 * not, if the certificate says that moving changed nothing; and all of them if nothing moves.
 * false without a control. */
bool rb_run_shares(const struct rb_run *run, size_t index);
/* The blend of a curve at a lambda, or of three models or more at what
 * stands for one: a point's number, or that of a list of spec.merged_weights. */
struct rb_blend rb_run_blend(const struct rb_run *run, enum rb_curve_name curve, double lambda);
struct rb_blend rb_run_merged_blend(const struct rb_run *run, size_t index);

/* How many models, and how the i-th of them moves (1 …). */
size_t rb_run_models(const struct rb_run *run);
bool rb_run_several(const struct rb_run *run);
struct rb_alignment *rb_run_alignment(const struct rb_run *run, size_t model);
const struct rb_motion *rb_run_motion(const struct rb_run *run, size_t model);

/* Starts a program of this run under its phase; the task's storage is the stage's. */
void rb_run_program(struct rb_run *run, struct rb_pool_task *task, struct rb_program *program,
                    void (*done)(struct rb_pool_task *task, enum rb_status status,
                                 const struct rb_error *err),
                    void *data);
/* The same for a program that is all that its phase does: its cost is the phase's. */
void rb_run_phase_program(struct rb_run *run, enum rb_phase phase, struct rb_pool_task *task,
                          struct rb_program *program,
                          void (*done)(struct rb_pool_task *task, enum rb_status status,
                                       const struct rb_error *err),
                          void *data);
/* First thing in that done: what the task did is counted. */
void rb_run_program_ended(struct rb_run *run, struct rb_pool_task *task);

/* The same, and whether the files that it read are still what they were: status, or what is wrong
 * with them, words in *ret_err. */
enum rb_status rb_run_models_used(struct rb_run *run, struct rb_pool_task *task,
                                  enum rb_status status, const struct rb_error *err,
                                  struct rb_error *ret_err) RB_MUST_CHECK;

/* Tells what is to be known before the job's results are used: in the log, as a note of that unit
 * (api/bundle.h) among the job's events, and in its row, where it stays (`warnings`). What cannot
 * be written is logged; the job goes on. */
void rb_run_warn(struct rb_run *run, const char *unit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Something of the run is on the disk that a stage's or a point's row does not say: a process that
 * is killed from now on has not been killed for nothing. */
enum rb_status rb_run_progressed(struct rb_run *run, struct rb_error *err) RB_MUST_CHECK;

/* Of the curves from that one on, the last whose point at that index of lambda is the same. */
enum rb_curve_name rb_run_last_same(const struct rb_run *run, enum rb_curve_name curve,
                                    size_t index);

/* Writes the stage's row, once. product: figures as JSON. */
enum rb_status rb_run_record(struct rb_run *run, enum rb_phase phase, const char *product,
                             struct rb_error *err) RB_MUST_CHECK;
/* The same with the files that the stage has written (count of them): all rows or none. product
 * NULL: the files alone. */
enum rb_status rb_run_record_files(struct rb_run *run, enum rb_phase phase, const char *product,
                                   const struct rb_artifact *files, size_t count,
                                   struct rb_error *err) RB_MUST_CHECK;
/* Has the job that artifact already, from before a restart? */
bool rb_run_has_artifact(const struct rb_run *run, const char *name);
/* Merged checkpoints that are still to be written. */
size_t rb_run_merged_left(const struct rb_run *run);
/* Adds a point with its blocks (one for each evaluated sequence; NULL: they are kept), rings. The
 * other curves' points, too, where they are known to be the same. */
enum rb_status rb_run_point(struct rb_run *run, enum rb_curve_name curve, size_t index,
                            const struct rb_point *point, const struct rb_block *blocks,
                            struct rb_error *err) RB_MUST_CHECK;

/* What the curve v, of this run, says about merging; RB_MERGE_NONE until it is whole. */
void rb_run_verdict(const struct rb_run *run, const struct rb_barrier_view *v,
                    struct rb_merge_verdict *ret);

/* A point of the run with (block_count) blocks; all borrowed. */
struct rb_run_point {
    enum rb_curve_name curve;
    size_t index;
    const struct rb_point *point;
    const struct rb_block *blocks;
    size_t block_count;
};
enum { RB_RUN_POINTS_AT_ONCE = 16 };
/* The same for several, at most RB_RUN_POINTS_AT_ONCE, in one transaction: all or none. With
 * evaluate.precision the blocks are appended to those of the round before (rounds.h). */
enum rb_status rb_run_points_with(struct rb_run *run, const struct rb_run_point *points,
                                  size_t count, struct rb_error *err) RB_MUST_CHECK;

/* The curves as far as they are known. points: the caller's, room for RB_CURVE_COUNT *
 * spec.lambdas.count. */
struct rb_barrier_view rb_run_barrier_view(const struct rb_run *run, struct rb_point *points);

#endif
