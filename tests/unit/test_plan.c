// LINK: server_work
/* What a job is planned to cost is what its programs cost, and that is the sum of their items: an
 * ETA takes one for the other. Solving, certifying and writing are planned to the last operation;
 * aligning and evaluating by the mean length of a sequence, so within a tenth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/job_spec.h"
#include "core/align/alignment.h"
#include "core/align/certify.h"
#include "core/align/collect.h"
#include "core/align/moments.h"
#include "core/align/solve.h"
#include "core/merge/evaluate.h"
#include "server/work/plan.h"
#include "unit/part.h"
#include "unit/tmpdir.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rb_error err;
static struct rb_worker worker;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != RB_OK)                                                                       \
            fail_msg("%s: %s", #call, err.detail);                                                 \
    } while (0)

/* ---- a job's parts, opened ---- */

struct fixture {
    struct rb_job_spec spec;
    struct rb_places places;
    struct rb_subject subject;
    struct rb_plan plan;
    struct tmpdir folder;
};

static char *path_of(const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", RB_FIXTURES, name) > 0);
    return path;
}

static char *text(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

struct sample {
    const char *spec, *models[2], *evaluate;
    enum rb_format format;
    const char *field, *pair, *label;
};

static void open_fixture(struct fixture *f, const struct sample *s)
{
    json_error_t why;
    json_t *json = json_loads(s->spec, 0, &why);
    if (json == NULL)
        fail_msg("%s", why.text);
    *f = (struct fixture){.places = {.align.format = RB_TEXT, .models = 2}};
    OK(rb_job_spec_decode(json, "", 0, &f->spec, NULL, &err));
    json_decref(json);
    for (int i = 0; i < 2; i++) {
        f->places.name[i] = text("m");
        f->places.path[i] = path_of(s->models[i]);
    }
    f->places.align.name = text("align");
    f->places.align.path = path_of("data/align.txt");
    f->places.evaluate = (struct rb_text_place){.name = text("evaluate"),
                                                .path = path_of(s->evaluate),
                                                .format = s->format,
                                                .text = text(s->field),
                                                .text_pair = text(s->pair),
                                                .label = text(s->label)};
    OK(rb_subject_open_models(&f->subject, &f->places, &err));
    OK(rb_job_spec_fit(&f->spec, "", f->subject.model[0].config.max_position_embeddings, NULL,
                       &err));
    OK(rb_subject_read_texts(&f->subject, &f->places, &f->spec, RB_SUBJECT_WHOLE, &err));
    struct rb_plan_sizes sizes = rb_plan_sizes_of(&f->subject);
    const struct rb_plan_machine machine = {1, UINT64_MAX};
    rb_plan_make(&f->subject, &f->spec, &sizes, &machine, &f->plan);
    tmpdir_init(&f->folder);
}

static void close_fixture(struct fixture *f)
{
    tmpdir_deinit(&f->folder);
    rb_subject_deinit(&f->subject);
    rb_places_deinit(&f->places);
    rb_job_spec_deinit(&f->spec);
}

/* ---- programs ---- */

/* Runs it; its items' costs, added. */
static double run(struct rb_program *p)
{
    double cost = 0;
    size_t items;
    for (;;) {
        OK(p->ops->next_round(p, &items, &err));
        if (items == 0)
            return cost;
        for (size_t i = 0; i < items; i++) {
            cost += p->ops->item_cost(p, i);
            OK(rb_program_run_item(p, i, &worker, &err));
        }
    }
}

static void check(const char *what, struct rb_program *p, double planned, double tolerance)
{
    double total = p->total_cost, items = run(p);
    assert_true(total > 0);
    if (fabs(items - total) > 1e-9 * total)
        fail_msg("%s: the items cost %.12g, the program says %.12g", what, items, total);
    if (fabs(planned - total) > tolerance * total)
        fail_msg("%s: planned were %.12g, it costs %.12g", what, planned, total);
}

static void check_job(const struct sample *sample)
{
    struct fixture f;
    struct rb_program *p;
    struct rb_motion motion;
    open_fixture(&f, sample);
    const struct rb_model *a = &f.subject.model[0], *b = &f.subject.model[1];
    const struct rb_align_options *o = &f.spec.align.options;
    OK(rb_collect_new(a, b, &f.subject.align, rb_taps_needed(o), o, &p, &err));
    check("aligning", p, f.plan.cost[RB_PHASE_ALIGNING], 0.1);
    struct rb_moments *moments = rb_collect_take(p);
    rb_program_free(p);
    OK(rb_solve_new(&a->config, a->head, moments, o, &p, &err));
    check("solving", p, f.plan.cost[RB_PHASE_SOLVING], 1e-12);
    struct rb_alignment *alignment = rb_solve_take(p);
    rb_program_free(p);
    rb_moments_free(moments);
    OK(rb_certify_new(b, alignment, &p, &err));
    check("certifying", p, f.plan.cost[RB_PHASE_CERTIFYING], 1e-12);
    rb_program_free(p);
    OK(rb_alignment_motion(alignment, b, &motion, &err));
    const struct rb_blend blend = rb_blend_pair(a, b, &motion, 0.5);
    OK(rb_evaluate_new(&blend, &f.spec.evaluate.options, &f.subject.evaluate, &p, &err));
    check("evaluating", p, f.plan.cost[RB_PHASE_EVALUATING] / f.plan.evaluations, 0.1);
    rb_program_free(p);
    OK(rb_write_new(&blend, f.spec.dtype, tmpdir_path(&f.folder, "merged.safetensors"), NULL, 0, &p,
                    &err));
    check("writing", p, f.plan.cost[RB_PHASE_WRITING] / (double)f.spec.merged.count, 1e-12);
    rb_program_free(p);
    rb_motion_deinit(&motion);
    rb_alignment_free(alignment);
    close_fixture(&f);
}

#define JOB(align, evaluate)                                                                       \
    "{\"models\":{\"a\":\"m\",\"b\":\"m\"},\"align\":{\"dataset\":\"align\"" align "},"            \
    "\"interpolate\":{\"points\":3},\"evaluate\":{\"dataset\":\"e\"," evaluate "},"                \
    "\"outputs\":{\"merged\":[0.25,0.5]}}"
#define WHOLE ",\"components\":[\"ff\",\"mha\",\"residual\"]"
#define BERT {"models/bert-a", "models/bert-b"}, "data/eval.txt", RB_TEXT, NULL, NULL, NULL

static const struct sample samples[] = {
    {JOB("", "\"task\":\"mlm\",\"max_blocks\":4"), BERT},
    {JOB(WHOLE, "\"task\":\"mlm\",\"max_blocks\":4"), BERT},
    {JOB(WHOLE ",\"decoder\":\"untied\"", "\"task\":\"mlm\",\"max_blocks\":2"), BERT},
    {JOB(WHOLE ",\"residual\":\"separate\"", "\"task\":\"mlm\",\"max_blocks\":2"), BERT},
    {JOB(",\"heads\":\"ignore\"", "\"task\":\"mlm\",\"max_blocks\":2"), BERT},
    {JOB(",\"separate_qk\":true,\"rotate_heads\":true", "\"task\":\"mlm\",\"max_blocks\":2"), BERT},
    {JOB(",\"output_head\":true", "\"task\":\"classification\""),
     {"models/authors-a", "models/authors-b"},
     "data/authors.jsonl",
     RB_JSONL,
     "sentence",
     NULL,
     "label"},
};

static void test_planned_is_run(void **state)
{
    (void)state;
    rb_worker_init(&worker, NULL);
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        if (part_has(i))
            check_job(&samples[i]);
    rb_worker_deinit(&worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_planned_is_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
