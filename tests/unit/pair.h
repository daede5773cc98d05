/* tests/unit/pair.h: two random models on disk, A and B, something for them to read, and the way
 * from moments to the loss along the path, on the calling thread. */
#ifndef RB_TESTS_PAIR_H
#define RB_TESTS_PAIR_H

#include "unit/random_model.h"

#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/solve.h"
#include "core/merge/curve.h"
#include "core/merge/evaluate.h"

struct pair {
    struct tmpdir dir;
    struct random_shape shape;
    struct random_model random_a, random_b; /* change them, then pair_open */
    struct rb_model a, b;
    struct rb_sequences align, eval;
    struct rb_worker worker;
    struct rb_error err;
};

enum pair_kind {
    PAIR_SAME,       /* B starts as a copy of A */
    PAIR_INDEPENDENT /* B is drawn on its own */
};

static inline void pair_init(struct pair *p, const struct random_shape *shape, enum pair_kind kind,
                             uint64_t seed)
{
    memset(p, 0, sizeof *p);
    p->shape = *shape;
    tmpdir_init(&p->dir);
    rb_worker_init(&p->worker, NULL);
    random_model_init(&p->random_a, shape, seed);
    random_model_init(&p->random_b, shape, kind == PAIR_SAME ? seed : seed + 1000);
    p->align = random_sequences(shape, 70, 3, shape->positions, seed + 1);
    p->eval = random_sequences(shape, 24, 3, shape->positions, seed + 2);
}

/* Both to disk and back. */
static inline void pair_open(struct pair *p)
{
    random_model_open(&p->random_a, &p->dir, "a", &p->a);
    random_model_open(&p->random_b, &p->dir, "b", &p->b);
    MUST(rb_models_equal(&p->a, &p->b, &p->err), &p->err);
}

static inline void pair_deinit(struct pair *p)
{
    random_model_deinit(&p->random_a);
    random_model_deinit(&p->random_b);
    rb_model_deinit(&p->a);
    rb_model_deinit(&p->b);
    rb_sequences_deinit(&p->align);
    rb_sequences_deinit(&p->eval);
    rb_worker_deinit(&p->worker);
    tmpdir_deinit(&p->dir);
}

static inline struct rb_moments *pair_collect(struct pair *p, const struct rb_align_options *o)
{
    struct rb_program *program;
    MUST(rb_collect_new(&p->a, &p->b, &p->align, rb_taps_needed(o), o, &program, &p->err), &p->err);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    struct rb_moments *m = rb_collect_take(program);
    rb_program_free(program);
    return m;
}

static inline struct rb_certificate pair_certify(struct pair *p, const struct rb_alignment *a)
{
    struct rb_program *program;
    MUST(rb_certify_new(&p->b, a, &program, &p->err), &p->err);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    struct rb_certificate c = rb_certify_result(program);
    rb_program_free(program);
    return c;
}

/* With its certificate. */
static inline struct rb_alignment *pair_align(struct pair *p, const struct rb_align_options *o)
{
    struct rb_program *program;
    struct rb_moments *m = pair_collect(p, o);
    MUST(rb_solve_new(&p->a.config, p->a.head, m, o, &program, &p->err), &p->err);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    struct rb_alignment *a = rb_solve_take(program);
    rb_program_free(program);
    rb_moments_free(m);
    a->certificate = pair_certify(p, a);
    return a;
}

static inline enum rb_task pair_task(const struct pair *p)
{
    return p->shape.head == RB_HEAD_MLM ? RB_TASK_MLM
           : p->shape.labels == 1       ? RB_TASK_REGRESSION
                                        : RB_TASK_CLASSIFICATION;
}

static inline double pair_loss(struct pair *p, const struct rb_blend *blend)
{
    const struct rb_evaluate_options o = {.task = pair_task(p)};
    struct rb_program *program;
    struct rb_point point;
    MUST(rb_evaluate_new(blend, &o, &p->eval, &program, &p->err), &p->err);
    MUST(rb_program_run(program, &p->worker, &p->err), &p->err);
    MUST(rb_evaluate_result(program, &point, &p->err), &p->err);
    rb_program_free(program);
    return point.loss;
}

#endif
