#include "server/work/making.h"
#include "core/learn/finetune.h"
#include "core/learn/least_squares.h"
#include "core/merge/evaluate.h"
#include "core/model/weights.h"
#include "server/base/beneath.h"
#include "server/base/clock.h"
#include "server/base/file.h"
#include "server/base/layout.h"
#include "server/base/log.h"
#include "server/store/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A small state costs nothing. */
static const uint64_t SAVE_NS = 60 * UINT64_C(1000000000), SMALL_NS = 250 * UINT64_C(1000000);
static const uint64_t SMALL_BYTES = 64 * 1000 * 1000;
static const size_t STATE_BYTES_MOST = (size_t)64 << 30;

/* What is done in turn; losses come after the straight merge and after what was made of it. */
enum step {
    STEP_LINEAR_LOSS,
    STEP_SOLVE,
    STEP_SOLVED_LOSS,
    STEP_TUNE,
    STEP_TUNED_LOSS,
    STEP_COUNT
};
static const struct {
    enum step step, of; /* of: what it is the loss of; told where that was done */
    const char *name;
} losses[] = {{STEP_LINEAR_LOSS, STEP_COUNT, "linear"},
              {STEP_SOLVED_LOSS, STEP_SOLVE, "least_squares"},
              {STEP_TUNED_LOSS, STEP_TUNE, "finetune"}};

/* What can be gone on from, in the order in which the chain has it. */
enum state { STATE_SOLVE, STATE_TUNE, STATE_COUNT };
static const struct {
    enum step step;
    const char *file;
} states[STATE_COUNT] = {{STEP_SOLVE, RB_FILE_MERGE_STATE}, {STEP_TUNE, RB_FILE_MERGE_TUNING}};

struct rb_making {
    struct rb_run *run;
    void (*done)(void *data, enum rb_status status, const struct rb_error *err);
    void *data;
    struct rb_blend blend, made; /* without the overlay, and with it */
    struct rb_overlay overlay;
    struct rb_program *steps[STEP_COUNT]; /* NULL: left out; owned by the chain */
    struct rb_program *chain;
    struct rb_pool_task task;
    struct rb_async async; /* states, read at the start and written between rounds */
    char *found[STATE_COUNT];
    size_t found_bytes[STATE_COUNT];
    unsigned char *state; /* on its way to the disk */
    size_t state_bytes;
    enum state state_of;
    uint32_t saved[STATE_COUNT]; /* layers, steps */
    uint64_t saved_ns;
    bool writing, ended;
    char *figures;
    enum rb_status status; /* of async … */
    struct rb_error error;
    enum rb_status end_status; /* … and of the chain */
    struct rb_error end_error;
};

void rb_making_free(struct rb_making *m)
{
    if (m == NULL)
        return;
    rb_program_free(m->chain);
    rb_overlay_deinit(&m->overlay);
    for (int i = 0; i < STATE_COUNT; i++)
        free(m->found[i]);
    free(m->state);
    free(m->figures);
    free(m);
}

const struct rb_overlay *rb_making_overlay(const struct rb_making *m)
{
    return &m->overlay;
}

const char *rb_making_figures(const struct rb_making *m)
{
    return m->figures;
}

static const struct rb_sequences *text_of(const struct rb_run *run)
{
    const struct rb_subject *s = &run->subject;
    return s->merge.count > 0 ? &s->merge : &s->align;
}

/* ---- the figures ---- */

static enum rb_status encode_losses(const struct rb_making *m, struct rb_json *w,
                                    struct rb_error *err)
{
    static const char *const members[] = {"loss", "standard_error"};
    enum { COUNT = sizeof losses / sizeof losses[0] };
    struct rb_point points[COUNT];
    enum rb_status status = RB_OK;
    for (size_t i = 0; i < COUNT && status == RB_OK; i++) {
        points[i] = (struct rb_point){.loss = NAN, .standard_error = NAN};
        if (m->steps[losses[i].step] != NULL)
            status = rb_evaluate_result(m->steps[losses[i].step], &points[i], err);
    }
    for (int member = 0; member < 2 && status == RB_OK; member++) {
        rb_json_object(w, members[member]);
        for (size_t i = 0; i < COUNT; i++)
            if (losses[i].of == STEP_COUNT || m->steps[losses[i].of] != NULL)
                rb_json_number(w, losses[i].name,
                               member == 0 ? points[i].loss : points[i].standard_error);
        rb_json_end(w);
    }
    return status;
}

static void encode_fit(const struct rb_making *m, struct rb_json *w)
{
    struct rb_least_squares_fit fit = rb_least_squares_result(m->steps[STEP_SOLVE]);
    rb_json_uint(w, "tokens_read", fit.tokens);
    rb_json_object(w, "fit");
    rb_json_number(w, "mean", fit.mean);
    rb_json_number(w, "solved", fit.solved);
    rb_json_end(w);
}

static void encode_tuning(const struct rb_making *m, struct rb_json *w)
{
    struct rb_finetune_figures f = rb_finetune_result(m->steps[STEP_TUNE]);
    const struct rb_finetune_options *o = &m->run->spec.merge.finetune;
    rb_json_object(w, "finetune");
    rb_json_uint(w, "steps", o->steps);
    rb_json_number(w, "learning_rate", o->learning_rate);
    rb_json_uint(w, "step_tokens", o->tokens);
    rb_json_number(w, "held_loss_before", f.loss_before);
    rb_json_number(w, "held_loss_after", f.loss_after);
    rb_json_number(w, "held_distance_before", f.distance_before);
    rb_json_number(w, "held_distance_after", f.distance_after);
    rb_json_end(w);
}

static enum rb_status encode_figures(struct rb_making *m, struct rb_error *err)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_string(&w, "method", rb_merge_method_names[m->run->spec.merge.method]);
    if (m->steps[STEP_SOLVE] != NULL)
        encode_fit(m, &w);
    if (m->steps[STEP_TUNE] != NULL)
        encode_tuning(m, &w);
    enum rb_status status = encode_losses(m, &w, err);
    rb_json_end(&w);
    if (status == RB_OK)
        status = rb_json_finish(&w, &m->figures, NULL, err);
    rb_json_deinit(&w);
    return status;
}

/* ---- the chain ---- */

static void finish(struct rb_making *m)
{
    if (m->end_status == RB_OK)
        m->end_status = encode_figures(m, &m->end_error);
    m->done(m->data, m->end_status, &m->end_error);
}

static void chain_ended(struct rb_pool_task *task, enum rb_status status,
                        const struct rb_error *err)
{
    struct rb_making *m = task->data;
    m->end_status = rb_run_models_used(m->run, task, status, err, &m->end_error);
    m->ended = true;
    if (!m->writing)
        finish(m);
}

/* ---- the state ---- */

static void write_state(struct rb_async *a)
{
    struct rb_making *m = a->data;
    char below[RB_PATH_SIZE];
    m->status = rb_file_put(m->run->work->options.data_fd,
                            rb_layout_job(m->run->row.job.id, states[m->state_of].file, below),
                            m->state, m->state_bytes, &m->error);
}

static void state_written(struct rb_async *a)
{
    struct rb_making *m = a->data;
    m->writing = false;
    if (m->status == RB_OK)
        m->status = rb_run_progressed(m->run, &m->error);
    if (m->status != RB_OK) /* the next minute tries again; the job itself goes on */
        rb_log_warn("a merge's state cannot be saved", RB_S("job", m->run->row.job.id),
                    RB_ERROR_FIELDS(&m->error));
    if (m->ended)
        finish(m);
}

static uint64_t pause_of(const struct rb_making *m)
{
    const struct rb_config *c = &rb_blend_model(&m->blend)->config;
    uint64_t bytes = rb_weights_layer_floats(c) * c->num_hidden_layers * sizeof(float);
    return bytes > SMALL_BYTES ? SAVE_NS : SMALL_NS;
}

/* How far a program is, in what it can be saved after; *ret_now: can it be at this moment? */
static uint32_t done_of(const struct rb_making *m, enum state state, bool *ret_now)
{
    const struct rb_program *p = m->steps[states[state].step];
    *ret_now = p != NULL && (state == STATE_SOLVE || rb_finetune_at_step(p));
    if (p == NULL)
        return 0;
    return state == STATE_SOLVE ? rb_least_squares_layers(p) : rb_finetune_steps_done(p);
}

static enum rb_status save(struct rb_making *m, struct rb_error *err)
{
    const struct rb_program *p = m->steps[states[m->state_of].step];
    free(m->state);
    m->state = NULL;
    return m->state_of == STATE_SOLVE ? rb_least_squares_save(p, &m->state, &m->state_bytes, err)
                                      : rb_finetune_save(p, &m->state, &m->state_bytes, err);
}

/* Between two rounds: to the disk, when a pause has passed and something was done in it. What is
 * solved is saved a last time before it is trained. */
static void between(struct rb_pool_task *task)
{
    struct rb_making *m = task->data;
    struct rb_error err;
    bool pause = rb_clock_monotonic_ns() - m->saved_ns < pause_of(m);
    for (int i = 0; i < STATE_COUNT && !m->writing; i++) {
        bool now, begun;
        uint32_t done = done_of(m, (enum state)i, &now);
        (void)done_of(m, STATE_TUNE, &begun);
        if (!now || done == m->saved[i] || (pause && !(i == STATE_SOLVE && begun)))
            continue;
        m->state_of = (enum state)i;
        if (save(m, &err) != RB_OK) {
            rb_log_warn("a merge's state cannot be saved", RB_S("job", m->run->row.job.id),
                        RB_ERROR_FIELDS(&err));
            return;
        }
        m->saved_ns = rb_clock_monotonic_ns();
        m->saved[i] = done;
        m->writing = true;
        m->async = (struct rb_async){.work = write_state, .done = state_written, .data = m};
        rb_async_start(m->run->work->pool, &m->async);
    }
}

static void read_state(struct rb_async *a)
{
    struct rb_making *m = a->data;
    char below[RB_PATH_SIZE];
    int data_fd = m->run->work->options.data_fd;
    const char *id = m->run->row.job.id;
    m->status = rb_mkdirs_beneath(data_fd, rb_layout_job(id, NULL, below), &m->error);
    for (int i = 0; i < STATE_COUNT && m->status == RB_OK; i++) {
        m->status = rb_file_get(data_fd, rb_layout_job(id, states[i].file, below), STATE_BYTES_MOST,
                                &m->found[i], &m->found_bytes[i], &m->error);
        if (m->status == RB_ENOTFOUND)
            m->status = RB_OK;
    }
}

/* What an earlier process left is gone on from, or said to be of no use. */
static void restore(struct rb_making *m, enum state state)
{
    struct rb_error err;
    struct rb_program *p = m->steps[states[state].step];
    const unsigned char *bytes = (const unsigned char *)m->found[state];
    if (p == NULL || bytes == NULL)
        return;
    if ((state == STATE_SOLVE ? rb_least_squares_restore : rb_finetune_restore)(
            p, bytes, m->found_bytes[state], &err) != RB_OK)
        rb_log_info("a merge starts anew", RB_S("job", m->run->row.job.id), RB_ERROR_FIELDS(&err));
    free(m->found[state]);
    m->found[state] = NULL;
}

static void go_on(struct rb_making *m)
{
    bool now;
    for (int i = 0; i < STATE_COUNT; i++) {
        restore(m, (enum state)i);
        m->saved[i] = done_of(m, (enum state)i, &now);
    }
    m->saved_ns = rb_clock_monotonic_ns();
    rb_run_program(m->run, &m->task, m->chain, chain_ended, m);
    m->task.between = between;
}

static void state_read(struct rb_async *a)
{
    struct rb_making *m = a->data;
    if (m->status == RB_OK)
        go_on(m);
    else
        m->done(m->data, m->status, &m->error);
}

/* ---- beginning ---- */

static enum rb_status make_tuning(struct rb_making *m, struct rb_error *err)
{
    const struct rb_run *run = m->run;
    const struct rb_subject *s = &run->subject;
    struct rb_blend *parents = calloc(s->models, sizeof *parents);
    if (parents == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to train a merge");
    for (size_t i = 0; i < s->models; i++)
        parents[i] = rb_blend_single(&s->model[i], NULL);
    const struct rb_learn_text text = rb_subject_learn_text(s, &s->tune);
    enum rb_status status = rb_finetune_new(&m->blend, &m->overlay, parents, s->models, &text,
                                            &run->spec.merge.finetune, &m->steps[STEP_TUNE], err);
    free(parents);
    return status;
}

static enum rb_status make_steps(struct rb_making *m, struct rb_error *err)
{
    const struct rb_run *run = m->run;
    const struct rb_evaluate_options *o = &run->spec.evaluate.options;
    const struct rb_sequences *s = &run->subject.evaluate;
    struct rb_program *chain[STEP_COUNT];
    size_t count = 0;
    bool solves = rb_job_spec_solves(&run->spec), tunes = rb_job_spec_tunes(&run->spec);
    bool evaluates = run->spec.has_evaluate;
    enum rb_status status = rb_overlay_init(&m->overlay, rb_blend_model(&m->blend), err);
    if (status != RB_OK)
        return status;
    m->made = m->blend;
    m->made.overlay = &m->overlay;
    if (evaluates)
        status = rb_evaluate_new(&m->blend, o, s, &m->steps[STEP_LINEAR_LOSS], err);
    if (status == RB_OK && solves)
        status =
            rb_least_squares_new(&m->blend, text_of(run), &m->overlay, &m->steps[STEP_SOLVE], err);
    if (status == RB_OK && evaluates && solves)
        status = rb_evaluate_new(&m->made, o, s, &m->steps[STEP_SOLVED_LOSS], err);
    if (status == RB_OK && tunes)
        status = make_tuning(m, err);
    if (status == RB_OK && evaluates && tunes)
        status = rb_evaluate_new(&m->made, o, s, &m->steps[STEP_TUNED_LOSS], err);
    for (int i = 0; i < STEP_COUNT; i++)
        if (m->steps[i] != NULL)
            chain[count++] = m->steps[i];
    if (status == RB_OK) /* takes them, whatever comes of it */
        return rb_program_chain_new(chain, count, &m->chain, err);
    for (size_t i = 0; i < count; i++)
        rb_program_free(chain[i]);
    return status;
}

enum rb_status rb_making_start(struct rb_run *run, const struct rb_blend *blend,
                               void (*done)(void *data, enum rb_status status,
                                            const struct rb_error *err),
                               void *data, struct rb_making **ret, struct rb_error *err)
{
    struct rb_making *m = calloc(1, sizeof *m);
    if (m == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to make a merge");
    m->run = run;
    m->done = done;
    m->data = data;
    m->blend = *blend;
    enum rb_status status = make_steps(m, err);
    if (status != RB_OK) {
        rb_making_free(m);
        return status;
    }
    *ret = m;
    m->async = (struct rb_async){.work = read_state, .done = state_read, .data = m};
    rb_async_start(run->work->pool, &m->async);
    return RB_OK;
}
