// LINK: rb_api
/* A matrix's body, its pairs, where their faults are, and the order of its models. */
#include "tests/api/api_support.h"

#include "api/matrix.h"
#include "api/sweep_table.h"

#include <math.h>
#include <string.h>

#define SPEC "'spec':{'align':{'dataset':'d'},'evaluate':{'task':'mlm','dataset':'e'}}"

static void test_pairs(void **state)
{
    (void)state;
    struct rb_error err;
    struct rb_sweep s;
    struct rb_job_spec *specs;
    json_t *body = json_of("{'models':['x','y','z'],'name':'n'," SPEC "}");
    assert_int_equal(rb_matrix_decode(body, &s, NULL, &err), RB_OK);
    assert_int_equal(rb_sweep_count(&s), 3);
    assert_int_equal(rb_matrix_models(s.grid), 3);
    assert_int_equal(rb_sweep_specs(&s, &specs, NULL, &err), RB_OK);
    static const char *const names[][3] = {
        {"x", "y", "n: x and y"}, {"x", "z", "n: x and z"}, {"y", "z", "n: y and z"}};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(rb_job_spec_model(&specs[i], 0), names[i][0]);
        assert_string_equal(rb_job_spec_model(&specs[i], 1), names[i][1]);
        assert_string_equal(rb_matrix_model(s.grid, i, 0), names[i][0]);
        assert_string_equal(specs[i].name, names[i][2]);
    }
    static const char *const places[][2] = {
        {"/grid/models/2/b", "/models/2"}, {"/grid/models/2/a", "/models/1"},
        {"/grid/models/0/a", "/models/0"}, {"/grid/models/1", "/models"},
        {"/grid/models/9/a", "/models"},   {"/grid", "/models"},
        {"/spec/align", "/spec/align"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char pointer[128];
        (void)snprintf(pointer, sizeof pointer, "%s", places[i][0]);
        rb_matrix_place(s.grid, pointer, sizeof pointer);
        assert_string_equal(pointer, places[i][1]);
    }
    rb_job_specs_free(specs, 3);
    rb_sweep_deinit(&s);
    json_decref(body);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[][2] = {
        {"{" SPEC "}", "/models"},
        {"{'models':['x','y']}", "/spec"},
        {"{'models':[]," SPEC "}", "/models"},
        {"{'models':['x']," SPEC "}", "/models"},
        {"{'models':{'a':'x','b':'y'}," SPEC "}", "/models"},
        {"{'models':['x','y','x']," SPEC "}", "/models/2"},
        {"{'models':['x','Y']," SPEC "}", "/models/1"},
        {"{'models':['x',null]," SPEC "}", "/models/1"},
        {"{'models':['x','y'],'spec':[]}", "/spec"},
        {"{'models':['x','y'],'spec':{'models':{}}}", "/spec/models"},
        {"{'models':['x','y'],'grid':{}," SPEC "}", "/grid"},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct rb_error err;
        struct rb_sweep s;
        json_t *body = json_of(bodies[i][0]);
        if (rb_matrix_decode(body, &s, NULL, &err) != RB_EINPUT)
            fail_msg("taken: %s", bodies[i][0]);
        assert_string_equal(err.pointer, bodies[i][1]);
        json_decref(body);
    }
    /* one more than there may be */
    json_t *body = json_of("{" SPEC "}"), *models = json_array();
    for (int i = 0; i <= RB_MATRIX_MODELS_MAX; i++)
        json_array_append_new(models, json_sprintf("m%d", i));
    json_object_set(body, "models", models);
    struct rb_error err;
    struct rb_sweep s;
    assert_int_equal(rb_matrix_decode(body, &s, NULL, &err), RB_EINPUT);
    json_array_remove(models, 0);
    assert_int_equal(rb_matrix_decode(body, &s, NULL, &err), RB_OK);
    assert_int_equal(rb_sweep_count(&s), 496);
    assert_int_equal(rb_matrix_models(s.grid), 32);
    assert_string_equal(rb_matrix_model(s.grid, 495, 1), "m32");
    static const size_t among[][3] = {{0, 496, 32},  {0, 1, 2},   {0, 31, 32}, {31, 61, 31},
                                      {495, 496, 2}, {30, 32, 4}, {7, 7, 0}};
    for (size_t i = 0; i < sizeof among / sizeof among[0]; i++)
        assert_int_equal(rb_matrix_among(32, among[i][0], among[i][1]), among[i][2]);
    rb_sweep_deinit(&s);
    json_decref(models);
    json_decref(body);
}

/* Points on a line, their distances as barriers: neighbours stand together, whatever the order. */
static void test_close_models_stand_together(void **state)
{
    (void)state;
    static const double at[] = {5, 0, 5.5, 0.5, 10};
    double d[25];
    size_t order[5];
    for (size_t i = 0; i < 25; i++)
        d[i] = i % 6 == 0 ? (double)NAN : fabs(at[i / 5] - at[i % 5]);
    rb_matrix_order(d, 5, order);
    static const size_t expected[] = {4, 2, 0, 3, 1};
    bool forth = true, back = true;
    for (size_t i = 0; i < 5; i++) {
        forth = forth && order[i] == expected[i];
        back = back && order[4 - i] == expected[i];
    }
    assert_true(forth || back);
    for (size_t i = 0; i < 25; i++)
        d[i] = (double)NAN; /* nothing is known: all are there */
    rb_matrix_order(d, 5, order);
    unsigned seen = 0;
    for (size_t i = 0; i < 5; i++)
        seen |= 1U << order[i];
    assert_int_equal(seen, 31);
}

static void test_what_it_shows(void **state)
{
    (void)state;
    json_t *grid = json_of("{'models':[{'a':'x','b':'y'},{'a':'x','b':'z'},{'a':'y','b':'z'}]}");
    struct rb_job jobs[2];
    struct rb_sweep_row rows[2];
    for (size_t i = 0; i < 2; i++) {
        rb_job_init(&jobs[i]);
        jobs[i].status = i == 0 ? RB_JOB_SUCCEEDED : RB_JOB_RUNNING;
        jobs[i].summary.barrier_chord = 0.25;
        (void)snprintf(jobs[i].id, sizeof jobs[i].id, "job_%zu", i);
        rows[i] = (struct rb_sweep_row){.position = i + 1, .job = &jobs[i]}; /* one was deleted */
    }
    struct rb_sweep_view v = {.id = "g",
                              .kind = "matrix",
                              .labels = "{}",
                              .spec = "{}",
                              .grid_text = "{}",
                              .grid = grid,
                              .submitted_by = "",
                              .jobs = 3,
                              .rows = rows,
                              .count = 2,
                              .eta_seconds = (double)NAN};
    struct rb_json w;
    struct rb_error err;
    char *text;
    size_t bytes;
    rb_json_init(&w);
    rb_sweep_encode(&w, NULL, &v, true);
    assert_int_equal(rb_json_finish(&w, &text, NULL, &err), RB_OK);
    assert_non_null(strstr(text, "\"matrix\":{\"models\":[\"x\",\"y\",\"z\"],\"order\":["));
    assert_non_null(
        strstr(text, "\"barriers\":[[null,null,0.25],[null,null,null],[0.25,null,null]]}"));
    assert_non_null(strstr(text, "\"models\":{\"a\":\"y\",\"b\":\"z\"}"));
    free(text);
    assert_int_equal(rb_sweep_csv(&v, &text, &bytes, &err), RB_OK);
    assert_int_equal(strncmp(text, "job,name,status,model_a,model_b,rank,", 37), 0);
    assert_non_null(strstr(text, "\njob_1,,running,y,z,,"));
    free(text);
    json_decref(grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_close_models_stand_together),
        cmocka_unit_test(test_what_it_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
