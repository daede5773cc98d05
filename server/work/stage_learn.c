/* The learning stage: from the matched alignment to learned maps (core/learn); of three models or
 * more each moved one's with the anchor, one model after the other.
 *
 * DESIGN. While it runs, the program's state is copied between two steps, once a minute or when it
 * has looked at the held text (but not more often than four times a second), and written beside the
 * job's artifacts with the training curve as far as it is known: a killed job goes on from there,
 * with the same bits. The end is in this order, each on disk before the next: training curve,
 * alignment with the learned maps (it says so itself), row of the stage. A process that finds
 * learned maps without the row has only the row left to write; a model whose maps are learned is
 * passed by. Files are called by rb_artifact_of_model. */
#include "api/artifact.h"
#include "api/learning.h"
#include "core/learn/learn.h"
#include "core/learn/learn_apply.h"
#include "core/learn/learn_state.h"
#include "server/base/clock.h"
#include "server/base/beneath.h"
#include "server/base/file.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/results.h"
#include "server/work/stage_joint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t SAVE_NS = 60 * UINT64_C(1000000000), LOOK_NS = 250 * UINT64_C(1000000);
static const size_t STATE_BYTES_MOST = (size_t)8 << 30;

struct learn {
    struct rb_run *run;
    size_t model;          /* the one that is moved, 1 … */
    struct rb_async async; /* reading at the start, saving at the end */
    struct rb_async copy;  /* a state on its way to the disk */
    bool copying, ended;
    struct rb_pool_task task;
    struct rb_program *program;
    struct rb_learn_options options;
    char *found; /* the state that an earlier process left */
    size_t found_bytes;
    unsigned char *state; /* (state_bytes) the copy */
    size_t state_bytes;
    char *curve; /* JSON */
    size_t curve_bytes, curve_looks;
    uint64_t copied_ns;
    struct rb_artifact artifact;
    enum rb_status status; /* of async … */
    struct rb_error error;
    enum rb_status copy_status; /* … of copy … */
    struct rb_error copy_error;
    enum rb_status end_status; /* … and of the program */
    struct rb_error end_error;
};

/* What is of the present model alone. */
static void forget(struct learn *l)
{
    rb_program_free(l->program);
    free(l->found);
    free(l->state);
    free(l->curve);
    *l = (struct learn){.run = l->run, .model = l->model};
}

static void leave(struct rb_run *run, void *data)
{
    struct learn *l = data;
    (void)run;
    forget(l);
    free(l);
}

/* ---- options ---- */

static enum rb_status options_of(const struct rb_run *run, struct rb_learn_options *ret,
                                 struct rb_error *err)
{
    const struct rb_align_spec *a = &run->spec.align;
    *ret = a->learn.options;
    return rb_learn_admit(&run->subject.model[1], &a->options, a->learn.groups, ret, err);
}

static bool is_learned(const struct rb_run *run, size_t model)
{
    return rb_run_alignment(run, model)->learned.steps > 0;
}

/* ---- pool: files ---- */

/* file: of the present model, of that kind. */
static const char *path_of(const struct learn *l, const char *file, char below[RB_PATH_SIZE])
{
    char name[RB_FILE_NAME_SIZE];
    rb_artifact_of_model(file, l->model, name);
    return rb_layout_job(l->run->row.job.id, name, below);
}

static enum rb_status put(const struct learn *l, const char *file, const void *bytes, size_t count,
                          struct rb_error *err)
{
    char below[RB_PATH_SIZE];
    return rb_file_put(l->run->work->options.data_fd, path_of(l, file, below), bytes, count, err);
}

static void read_state(struct rb_async *a)
{
    struct learn *l = a->data;
    char below[RB_PATH_SIZE];
    int data_fd = l->run->work->options.data_fd;
    l->status =
        rb_mkdirs_beneath(data_fd, rb_layout_job(l->run->row.job.id, NULL, below), &l->error);
    if (l->status != RB_OK)
        return;
    l->status = rb_file_get(data_fd, path_of(l, RB_FILE_LEARNING_STATE, below), STATE_BYTES_MOST,
                            &l->found, &l->found_bytes, &l->error);
    if (l->status == RB_ENOTFOUND)
        l->status = RB_OK;
}

static void write_copy(struct rb_async *a)
{
    struct learn *l = a->data;
    l->copy_status = put(l, RB_FILE_LEARNING, l->curve, l->curve_bytes, &l->copy_error);
    if (l->copy_status == RB_OK && l->state != NULL)
        l->copy_status = put(l, RB_FILE_LEARNING_STATE, l->state, l->state_bytes, &l->copy_error);
}

static void save_all(struct rb_async *a)
{
    struct learn *l = a->data;
    char name[RB_FILE_NAME_SIZE];
    l->status = RB_OK;
    if (l->curve != NULL)
        l->status = put(l, RB_FILE_LEARNING, l->curve, l->curve_bytes, &l->error);
    if (l->status == RB_OK && l->program != NULL)
        l->status = rb_joint_save_alignment(l->run, l->model, &l->error);
    rb_artifact_of_model(RB_FILE_LEARNING, l->model, name);
    if (l->status == RB_OK)
        l->status = rb_job_describe_artifact(l->run->work, l->run->row.job.id, name, &l->artifact,
                                             &l->error);
}

/* ---- loop ---- */

static enum rb_status encode_curve(struct learn *l, bool complete, struct rb_error *err)
{
    struct rb_json w;
    size_t count;
    const struct rb_learn_look *looks = rb_learn_curve(l->program, &count);
    free(l->curve);
    l->curve = NULL;
    rb_json_init(&w);
    rb_learning_encode(&w, l->run->row.job.id, complete, l->options.steps,
                       rb_learn_steps_done(l->program), rb_learn_best_step(l->program), looks,
                       count);
    enum rb_status status = rb_json_finish(&w, &l->curve, &l->curve_bytes, err);
    rb_json_deinit(&w);
    l->curve_looks = count;
    return status;
}

static void finish(struct learn *l);

static void copied(struct rb_async *a)
{
    struct learn *l = a->data;
    l->copying = false;
    if (l->copy_status == RB_OK && l->state != NULL)
        l->copy_status = rb_run_progressed(l->run, &l->copy_error);
    if (l->copy_status != RB_OK) /* the next minute tries again; the job itself goes on */
        rb_log_warn("learning's state cannot be saved", RB_S("job", l->run->row.job.id),
                    RB_ERROR_FIELDS(&l->copy_error));
    if (l->ended)
        finish(l);
}

/* Between two rounds: a state to the disk when one is due, the curve whenever it has grown. */
static void between(struct rb_pool_task *task)
{
    struct learn *l = task->data;
    struct rb_error err;
    size_t count;
    (void)rb_learn_curve(l->program, &count);
    bool looked = count != l->curve_looks;
    bool due = rb_clock_monotonic_ns() - l->copied_ns >= (looked ? LOOK_NS : SAVE_NS);
    if (l->copying || !rb_learn_at_step(l->program) || (!due && !looked))
        return;
    free(l->state);
    l->state = NULL;
    enum rb_status status = encode_curve(l, false, &err);
    if (status == RB_OK && due) {
        l->copied_ns = rb_clock_monotonic_ns();
        status = rb_learn_save(l->program, &l->state, &l->state_bytes, &err);
    }
    if (status != RB_OK) {
        rb_log_warn("learning's state cannot be saved", RB_S("job", l->run->row.job.id),
                    RB_ERROR_FIELDS(&err));
        return;
    }
    l->copying = true;
    l->copy = (struct rb_async){.work = write_copy, .done = copied, .data = l};
    rb_async_start(l->run->work->pool, &l->copy);
}

static bool is_last(const struct learn *l)
{
    return l->model + 1 == rb_run_models(l->run);
}

/* Of all models but the last the file alone: the stage's row says that nothing is left to learn. */
static enum rb_status record(struct learn *l, struct rb_error *err)
{
    struct rb_run *run = l->run;
    const struct rb_learned_facts *f = &rb_run_alignment(run, l->model)->learned;
    char product[160];
    (void)snprintf(product, sizeof product, "{\"steps\":%u,\"best_step\":%u}", f->steps,
                   f->best_step);
    return rb_run_record_files(run, RB_PHASE_LEARNING, is_last(l) ? product : NULL, &l->artifact, 1,
                               err);
}

static void begin(struct learn *l);

static void saved(struct rb_async *a)
{
    struct learn *l = a->data;
    if (l->status == RB_OK)
        l->status = record(l, &l->error);
    if (l->status != RB_OK || is_last(l)) {
        rb_run_stage_done(l->run, l->status, &l->error);
        return;
    }
    forget(l);
    l->model++;
    begin(l);
}

static void start_saving(struct learn *l)
{
    l->async = (struct rb_async){.work = save_all, .done = saved, .data = l};
    rb_async_start(l->run->work->pool, &l->async);
}

/* The learned maps into the run. */
static enum rb_status take(struct learn *l, struct rb_error *err)
{
    struct rb_run *run = l->run;
    enum rb_status status = encode_curve(l, true, err);
    if (status == RB_OK)
        status = rb_learn_apply(l->program, rb_run_alignment(run, l->model), err);
    return status == RB_OK ? rb_joint_motion_again(run, l->model, err) : status;
}

/* The program has ended and no copy is on its way. */
static void finish(struct learn *l)
{
    enum rb_status status = l->end_status;
    if (status == RB_OK)
        status = take(l, &l->end_error);
    if (status != RB_OK) {
        rb_run_stage_done(l->run, status, &l->end_error);
        return;
    }
    start_saving(l);
}

static void learned(struct rb_pool_task *task, enum rb_status status, const struct rb_error *err)
{
    struct learn *l = task->data;
    rb_run_program_ended(l->run, task);
    l->ended = true;
    l->end_status = status;
    if (status != RB_OK)
        l->end_error = *err;
    if (!l->copying)
        finish(l);
}

static void state_read(struct rb_async *a)
{
    struct learn *l = a->data;
    struct rb_run *run = l->run;
    struct rb_error err = l->error;
    enum rb_status status = l->status;
    const struct rb_learn_text text = rb_subject_learn_text(&run->subject, &run->subject.learn);
    if (status == RB_OK)
        status = options_of(run, &l->options, &err);
    if (status == RB_OK)
        status = rb_learn_new(&run->subject.model[0], run->folds ? &run->folded[0] : NULL,
                              &run->subject.model[l->model], rb_joint_motion(run, l->model), &text,
                              &l->options, &l->program, &err);
    if (status != RB_OK) {
        rb_run_stage_done(l->run, status, &err);
        return;
    }
    if (l->found != NULL &&
        rb_learn_restore(l->program, (unsigned char *)l->found, l->found_bytes, &err) != RB_OK)
        rb_run_warn(run, rb_unit_names[RB_UNIT_LEARN], "align.learn: learning starts anew: %s",
                    err.detail);
    free(l->found);
    l->found = NULL;
    run->phases[RB_PHASE_LEARNING].total =
        run->phases[RB_PHASE_LEARNING].done +
        l->program->total_cost * (double)(rb_run_models(run) - l->model);
    rb_run_program(run, &l->task, l->program, learned, l);
    l->task.between = between;
}

static void begin(struct learn *l)
{
    if (is_learned(l->run, l->model)) { /* before, but not recorded */
        start_saving(l);
        return;
    }
    l->async = (struct rb_async){.work = read_state, .done = state_read, .data = l};
    rb_async_start(l->run->work->pool, &l->async);
}

static void enter(struct rb_run *run)
{
    struct learn *l = rb_run_stage_begin(run, sizeof *l);
    if (l == NULL)
        return;
    l->run = run;
    l->model = 1;
    run->phases[RB_PHASE_LEARNING].done = 0;
    begin(l);
}

static bool needed(const struct rb_run *run)
{
    return run->spec.align.has_learn && run->spec.align.from_job == NULL &&
           !run->recorded[RB_PHASE_LEARNING];
}

const struct rb_stage rb_stage_learning = {RB_PHASE_LEARNING, needed, enter, leave};
