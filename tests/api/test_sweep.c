// LINK: rb_api
/* A sweep's body, its combinations, where their faults are, its ranks and its table. */
#include "tests/api/api_support.h"

#include "api/sweep.h"
#include "api/sweep_table.h"

#include <math.h>
#include <string.h>

#define SPEC                                                                                       \
    "'spec':{'models':{'a':'a','b':'b'},'labels':{'x':'1'},'align':{'dataset':'d'},"               \
    "'evaluate':{'task':'mlm','dataset':'e'}}"

static struct rb_sweep sweep_of(const char *text)
{
    struct rb_error err;
    struct rb_sweep s;
    json_t *body = json_of(text);
    assert_int_equal(rb_sweep_decode(body, &s, NULL, &err), RB_OK);
    json_decref(body);
    return s;
}

static void test_combinations(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_job_spec *specs;
    struct rb_sweep s = sweep_of("{" SPEC ",'labels':{'y':'2'},'grid':{'align.heads':['permute',"
                                 "'monotonic'],'interpolate.points':[3],'evaluate.seed':[4,5]}}");
    assert_int_equal(rb_sweep_count(&s), 4);
    assert_int_equal(rb_sweep_specs(&s, &specs, NULL, &err), RB_OK);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(specs[i].align.options.heads,
                         i < 2 ? RB_HEADS_PERMUTE : RB_HEADS_MONOTONIC);
        assert_int_equal(specs[i].evaluate.options.seed, 4 + i % 2);
        assert_int_equal(specs[i].points, 3);
        assert_int_equal(specs[i].labels.count, 2);
    }
    assert_string_equal(specs[1].name, "heads=permute, seed=5");
    rb_job_specs_free(specs, 4);
    struct rb_json w;
    rb_json_init(&w);
    rb_sweep_settings(&w, NULL, s.grid, 2);
    assert_tree(tree_of(&w), "{'align.heads':'monotonic','evaluate.seed':4}");
    rb_sweep_deinit(&s);
}

/* 200 characters at most, whole ones. */
static void test_long_names_are_cut(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_job_spec *specs;
    char text[2048], name[700] = "";
    for (int i = 0; i < 199; i++)
        (void)strcat(name, "\xe2\x82\xac");
    (void)snprintf(text, sizeof text, "{" SPEC ",'name':'%s','grid':{'evaluate.seed':[1,2]}}",
                   name);
    struct rb_sweep s = sweep_of(text);
    assert_int_equal(rb_sweep_specs(&s, &specs, NULL, &err), RB_OK);
    assert_int_equal(strlen(specs[0].name), 199 * 3 + 1);
    assert_string_equal(specs[0].name + 199 * 3, ":");
    rb_job_specs_free(specs, 2);
    rb_sweep_deinit(&s);
}

static void test_faults_are_placed(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_job_spec *specs;
    struct rb_problems problems = {0};
    struct rb_sweep s = sweep_of("{'spec':{'models':{'a':'a','b':'b'},'oops':1,'align':{'dataset':"
                                 "'d'}},'grid':{'align.heads':['permute','x'],'align.learn':[{"
                                 "'steps':5},{'steps':-1}]}}");
    assert_int_equal(rb_sweep_specs(&s, &specs, &problems, &err), RB_EINPUT);
    static const char *const expected[] = {"/spec/oops", "/grid/align.learn/1/steps",
                                           "/grid/align.heads/1"};
    assert_int_equal(problems.count, 3); /* each once, whatever combination it is of */
    for (size_t e = 0; e < 3; e++) {
        bool found = false;
        for (size_t i = 0; i < problems.count; i++)
            found = found || strcmp(problems.items[i].pointer, expected[e]) == 0;
        if (!found)
            fail_msg("no fault at %s", expected[e]);
    }
    char pointer[160] = "/align/headsmore";
    rb_sweep_place(&s, 0, pointer, sizeof pointer);
    assert_string_equal(pointer, "/spec/align/headsmore");
    rb_sweep_deinit(&s);
}

static void test_grids_that_are_refused(void **state)
{
    (void)state;
    static const char *const grids[] = {
        "{}",
        "[]",
        "1",
        "{'align.heads':[]}",
        "{'align.heads':'permute'}",
        "{'Align':[1]}",
        "{'align.':[1]}",
        "{'.align':[1]}",
        "{'a..b':[1]}",
        "{'':[1]}",
        "{'a/b':[1]}",
        "{'a':[1,2,1]}",
        "{'align':[{}],'align.heads':['permute']}",
        "{'a':[1],'b':[1],'c':[1],'d':[1],'e':[1],'f':[1],'g':[1],'h':[1],'i':[1]}",
    };
    for (size_t i = 0; i < sizeof grids / sizeof grids[0]; i++) {
        char text[1024];
        struct rb_error err;
        struct rb_sweep s;
        (void)snprintf(text, sizeof text, "{" SPEC ",'grid':%s}", grids[i]);
        json_t *body = json_of(text);
        if (rb_sweep_decode(body, &s, NULL, &err) != RB_EINPUT)
            fail_msg("taken: %s", grids[i]);
        assert_int_equal(strncmp(err.pointer, "/grid", 5), 0);
        json_decref(body);
    }
}

static struct rb_job job_of(double loss, enum rb_merge_verdict_kind kind)
{
    struct rb_job j;
    rb_job_init(&j);
    j.status = RB_JOB_SUCCEEDED;
    (void)snprintf(j.id, sizeof j.id, "job_%g", loss);
    j.summary.verdict.kind = kind;
    j.summary.verdict.loss = loss;
    return j;
}

/* What is another function has no rank, however small its loss. */
static void test_ranks_and_table(void **state)
{
    (void)state;
    struct rb_job jobs[] = {job_of(3, RB_MERGE_WORSE), job_of(1, RB_MERGE_DIFFERENT),
                            job_of(2, RB_MERGE_BETTER), job_of(4, RB_MERGE_CHANCE)};
    jobs[3].status = RB_JOB_RUNNING;
    jobs[0].name = (char *)(uintptr_t) "a \"b\", c";
    struct rb_sweep_row rows[4];
    json_t *grid = json_of("{'align.heads':['w','x','y',{'z':1}]}");
    for (size_t i = 0; i < 4; i++)
        rows[i] = (struct rb_sweep_row){.position = i, .job = &jobs[i]};
    rb_sweep_rank(rows, 4, grid);
    static const uint32_t ranks[] = {2, 0, 1, 0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(rows[i].rank, ranks[i]);
    struct rb_sweep_view v = {.id = "g",
                              .kind = "sweep",
                              .grid = grid,
                              .jobs = 4,
                              .rows = rows,
                              .count = 4,
                              .eta_seconds = (double)NAN};
    assert_string_equal(rb_sweep_status(&v), "running");
    assert_true(rb_sweep_fraction(&v) == 0.75);
    jobs[3].status = RB_JOB_FAILED;
    assert_string_equal(rb_sweep_status(&v), "failed");
    struct rb_error err;
    char *text;
    size_t bytes;
    assert_int_equal(rb_sweep_csv(&v, &text, &bytes, &err), RB_OK);
    assert_non_null(strstr(text, "job,name,status,align.heads,rank,barrier_chord,"));
    assert_non_null(strstr(text, "\njob_3,\"a \"\"b\"\", c\",succeeded,w,2,"));
    assert_non_null(strstr(text, "\njob_4,,failed,\"{\"\"z\"\":1}\",,"));
    free(text);
    json_decref(grid);
    grid = json_of("{'evaluate.seed':[1,2,3,4]}");
    rb_sweep_rank(rows, 4, grid);
    assert_int_equal(rows[0].rank + rows[2].rank, 0);
    json_decref(grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combinations),      cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_faults_are_placed), cmocka_unit_test(test_grids_that_are_refused),
        cmocka_unit_test(test_ranks_and_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
