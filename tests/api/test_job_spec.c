// LINK: rb_api
#include "tests/api/api_support.h"

#include "api/artifact.h"
#include "api/job_spec.h"
#include "api/job_spec_encode.h"

#define ID "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
#define MODELS "'models':{'a':'bert-a','b':'bert-b'}"
#define MLM "'evaluate':{'task':'mlm','dataset':'eval'"
#define LABELED "'align':{'components':[]},'evaluate':{'dataset':'d','task':"

static enum rb_status decode(const char *body, unsigned flags, struct rb_job_spec *spec,
                             struct rb_problems *problems)
{
    json_t *json = json_of(body);
    struct rb_error err = {0};
    enum rb_status status = rb_job_spec_decode(json, "", flags, spec, problems, &err);
    json_decref(json);
    return status;
}

static void decode_ok(const char *body, unsigned flags, struct rb_job_spec *spec)
{
    struct rb_problems problems = {0};
    if (decode(body, flags, spec, &problems) != RB_OK)
        fail_msg("%s: %s\nin %s", problems.items[0].pointer, problems.items[0].detail, body);
}

static char *encode(const struct rb_job_spec *spec)
{
    struct rb_json w;
    rb_json_init(&w);
    rb_job_spec_encode(&w, NULL, spec);
    return text_of(&w);
}

/* The contract's own example, word for word (API.md). */
static const char example[] =
    "{'name':'heads on 1000 lines', 'labels':{'sweep':'heads'}, 'priority':0,"
    " 'models':{'a':'bert-a','b':'bert-b'},"
    " 'align':{'components':['ff','mha'], 'heads':'permute', 'separate_qk':false,"
    " 'rotate_heads':false, 'residual':'last', 'decoder':'tied', 'output_head':false,"
    " 'similarity':'correlation', 'absolute':false, 'pooling':'token', 'special_tokens':true,"
    " 'dataset':'align', 'max_sequences':1000, 'max_length':128},"
    " 'interpolate':{'points':21},"
    " 'evaluate':{'task':'mlm','dataset':'eval','block_size':128,'max_blocks':256,"
    "'mask_probability':0.15,'seed':0,'control':true},"
    " 'outputs':{'merged':[0.5],'dtype':'source'}}";

static void test_example_of_the_contract(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    decode_ok(example, 0, &spec);
    assert_string_equal(spec.name, "heads on 1000 lines");
    assert_string_equal(spec.model_b, "bert-b");
    assert_string_equal(spec.align.dataset.name, "align");
    assert_int_equal(spec.lambdas.count, 21);
    for (int i = 0; i <= 20; i++)
        assert_true(spec.lambdas.values[i] == i / 20.0);
    assert_int_equal(spec.merged.count, 1);
    /* It holds every member with its default, so it is already canonical. */
    char *text = encode(&spec);
    json_error_t why;
    assert_tree(json_loads(text, 0, &why), example);
    free(text);
    rb_job_spec_deinit(&spec);
}

static void test_defaults(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    decode_ok("{" MODELS ",'align':{'dataset':'align'}," MLM "}}", 0, &spec);
    assert_null(spec.name);
    assert_int_equal(spec.align.options.components, RB_COMPONENT_FF | RB_COMPONENT_MHA);
    assert_int_equal(spec.align.max_sequences, 1000);
    assert_int_equal(spec.align.max_length, 128);
    assert_int_equal(spec.align.given, RB_ALIGN_DATASET);
    assert_int_equal(spec.points, 21);
    assert_int_equal(spec.evaluate.options.block_size, 128);
    assert_int_equal(spec.evaluate.options.max_blocks, 256);
    assert_true(spec.evaluate.options.mask_probability == 0.15);
    assert_true(spec.evaluate.options.control);
    assert_int_equal(spec.evaluate.given, RB_EVALUATE_TASK | RB_EVALUATE_DATASET);
    assert_int_equal(spec.merged.count, 0);
    assert_int_equal(spec.dtype, RB_OUT_SOURCE);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS ",'align':{'dataset':'d'},'interpolate':{'points':'auto'}," MLM "}}", 0,
              &spec);
    assert_true(spec.points == RB_POINTS_AUTO);
    assert_int_equal(spec.lambdas.count, 21);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS "," LABELED "'classification'}}", 0, &spec);
    assert_int_equal(spec.align.options.components, 0);
    assert_int_equal(spec.evaluate.options.max_length, 128);
    assert_int_equal(spec.evaluate.options.max_examples, 0);
    assert_int_equal(spec.evaluate.options.metric, RB_ACCURACY);
    assert_int_equal(spec.evaluate.options.block_size, 0);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS "," LABELED "'regression'}}", 0, &spec);
    assert_int_equal(spec.evaluate.options.metric, RB_PEARSON);
    rb_job_spec_deinit(&spec);

    /* METHOD 4: the output head takes the decoder out of its tie. */
    decode_ok("{" MODELS ",'align':{'dataset':'d','output_head':true}}", 0, &spec);
    assert_int_equal(spec.align.options.decoder, RB_DECODER_UNTIED);
    assert_false(spec.has_evaluate);
    rb_job_spec_deinit(&spec);
}

static void test_lambdas_are_resolved(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    decode_ok("{" MODELS ",'align':{'components':[]},'interpolate':{'lambdas':[0.75,0.25,0.25,1]}"
              "," MLM "}}",
              0, &spec);
    static const double expected[] = {0, 0.25, 0.75, 1};
    assert_int_equal(spec.lambdas.count, 4);
    assert_memory_equal(spec.lambdas.values, expected, sizeof expected);
    assert_int_equal(spec.points, 0);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS ",'align':{'components':[]},'interpolate':{'lambdas':[]}," MLM "}}", 0,
              &spec);
    assert_int_equal(spec.lambdas.count, 2);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS ",'align':{'components':[]},'outputs':{'merged':[1,0.5,0.5,-0.0]}}", 0,
              &spec);
    assert_int_equal(spec.merged.count, 3);
    assert_true(spec.merged.values[0] == 0 && spec.merged.values[2] == 1);
    rb_job_spec_deinit(&spec);
}

#define JOINT "'models':{'anchor':'x','others':['y','z']}"
#define THREE "'models':{'anchor':'x','others':['y','z']},'align':{'components':[]}"

/* Models beyond two: points are weights, the vertices first; what is encoded decodes to the same.
 */
static void test_several_models(void **state)
{
    (void)state;
    struct rb_job_spec spec, again;
    decode_ok("{" THREE ",'interpolate':{'weights':[[0.5,0.5,0],[0,1,0],[0.2,0.3,0.5]]}," MLM
              "},'outputs':{'merged':[[0.5,0.25,0.25],[0,0,1]]}}",
              0, &spec);
    static const double weights[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0, 0.2, 0.3, 0.5};
    assert_int_equal(rb_job_spec_models(&spec), 3);
    assert_string_equal(rb_job_spec_model(&spec, 2), "z");
    assert_int_equal(spec.lambdas.count, 5);
    assert_int_equal(spec.weights.count, 15);
    assert_memory_equal(spec.weights.values, weights, sizeof weights);
    assert_int_equal(spec.merged.count, 2);
    assert_int_equal((int)spec.merged.values[1], RB_MERGED_WEIGHTS + 1);
    char *text = NULL;
    struct rb_json w;
    struct rb_error err;
    rb_json_init(&w);
    rb_job_spec_encode(&w, NULL, &spec);
    assert_int_equal(rb_json_finish(&w, &text, NULL, &err), RB_OK);
    assert_int_equal(rb_job_spec_restore(text, &again, &err), RB_OK);
    assert_int_equal(again.weights.count, 15);
    assert_memory_equal(again.weights.values, weights, sizeof weights);
    assert_int_equal(again.merged_weights.count, 6);
    rb_job_spec_deinit(&again);
    rb_job_spec_deinit(&spec);
    free(text);

    decode_ok("{" THREE "," MLM "}}", 0, &spec);
    assert_int_equal(spec.grid, RB_SIMPLEX_CENTROID);
    assert_int_equal(spec.lambdas.count, 3 * 4 + 1);
    rb_job_spec_deinit(&spec);
    decode_ok("{" THREE ",'interpolate':{'weights':'simplex'}," MLM "}}", 0, &spec);
    assert_int_equal(spec.lambdas.count, 7);
    rb_job_spec_deinit(&spec);
    decode_ok("{" THREE ",'interpolate':{'weights':'simplex','points':6}," MLM "}}", 0, &spec);
    assert_int_equal(spec.lambdas.count, 21);
    rb_job_spec_deinit(&spec);
    decode_ok("{'models':{'anchor':'x','others':['y']},'align':{'components':[]}," MLM "}}", 0,
              &spec);
    assert_int_equal(rb_job_spec_models(&spec), 2);
    assert_int_equal(spec.lambdas.count, 21);
    rb_job_spec_deinit(&spec);
}

/* Models and points of a stored spec alone are those of all of it, whatever else stands there. */
static void test_points_of_a_stored_spec(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{" THREE "," MLM "}}",
        "{" THREE ",'interpolate':{'weights':'simplex','points':6}," MLM "}}",
        "{'name':'\\'{ models','labels':{'models':'interpolate','x':'}'}"
        "," THREE ",'interpolate':{'weights':[[0.5,0.5,0],[0,1,0],[0.2,0.3,0.5]]}," MLM
        "},'outputs':{'merged':[[0.5,0.25,0.25],[0,0,1]]}}",
        "{" JOINT ",'align':{'dataset':'d'},'outputs':{'merged':[[0.5,0.25,0.25]]}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct rb_job_spec whole, points;
        struct rb_error err;
        decode_ok(bodies[i], 0, &whole);
        char *text = encode(&whole);
        assert_int_equal(rb_job_spec_restore_points(text, &points, &err), RB_OK);
        assert_int_equal(rb_job_spec_models(&points), 3);
        for (size_t m = 0; m < 3; m++)
            assert_string_equal(rb_job_spec_model(&points, m), rb_job_spec_model(&whole, m));
        if (whole.has_evaluate) {
            assert_int_equal(points.lambdas.count, whole.lambdas.count);
            assert_int_equal(points.weights.count, whole.weights.count);
            assert_memory_equal(points.weights.values, whole.weights.values,
                                whole.weights.count * sizeof *whole.weights.values);
        }
        assert_null(points.name);
        assert_false(points.has_evaluate);
        rb_job_spec_deinit(&points);
        rb_job_spec_deinit(&whole);
        free(text);
    }
    struct rb_job_spec none;
    struct rb_error err;
    assert_int_equal(rb_job_spec_restore_points("{}", &none, &err), RB_EINPUT);
    assert_int_equal(rb_job_spec_restore_points("{\"models\":{\"a\":", &none, &err), RB_EINPUT);
    assert_int_equal(rb_job_spec_restore_points("\"", &none, &err), RB_EINPUT);
}

/* One row: a body that is wrong in one place. */
static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer, *word;
    } rows[] = {
        {"[]", "", "expected an object"},
        {"{'align':{'components':[]}," MLM "}}", "/models", "required"},
        {"{'models':{'a':'x'}," MLM "},'align':{'components':[]}}", "/models/b", "required"},
        {"{'models':{'a':'x','b':'../y'}," MLM "},'align':{'components':[]}}", "/models/b",
         "a model's name"},
        {"{" MODELS "," MLM "},'align':{'components':[]},'algin':{}}", "/algin",
         "did you mean \"align\"?"},
        {"{" MODELS "," MLM "}}", "/align/dataset", "required"},
        {"{" MODELS "," MLM "},'align':{}}", "/align/dataset", "components [] needs none"},
        {"{" MODELS ",'align':{'components':[]}}", "", "something to do"},
        {"{" MODELS ",'name':'','align':{'dataset':'d'}}", "/name", "1 to 200 characters"},
        {"{" MODELS ",'priority':101,'align':{'dataset':'d'}}", "/priority", "-100 to 100"},
        /* several models */
        {"{'models':{'anchor':'x'},'align':{'components':[]}," MLM "}}", "/models/others",
         "required"},
        {"{'models':{'others':['y','z']},'align':{'components':[]}," MLM "}}", "/models/anchor",
         "required"},
        {"{'models':{'anchor':'x','others':[]},'align':{'components':[]}," MLM "}}",
         "/models/others", "1 to 31 models"},
        {"{'models':{'anchor':'x','others':['y','../z']},'align':{'components':[]}," MLM "}}",
         "/models/others/1", "a model's name"},
        {"{'models':{'anchor':'x','others':['y'],'b':'z'},'align':{'components':[]}," MLM "}}",
         "/models/b", "found both"},
        {"{" THREE ",'interpolate':{'weights':[[0.5,0.5,0],[0.5,0.4,0]]}," MLM "}}",
         "/interpolate/weights/1", "sum of 0.9"},
        {"{" THREE ",'interpolate':{'weights':[[1.5,-0.5,0]]}," MLM "}}", "/interpolate/weights/0",
         "from 0 to 1"},
        {"{" THREE ",'interpolate':{'weights':[[0.5,0.5]]}," MLM "}}", "/interpolate/weights",
         "3 weights, one a model, found lists of 2"},
        {"{" THREE ",'interpolate':{'weights':'simplx'}," MLM "}}", "/interpolate/weights",
         "did you mean \"simplex\"?"},
        {"{" THREE ",'interpolate':{'lambdas':[0.5]}," MLM "}}", "/interpolate/lambdas", "for two"},
        {"{" THREE ",'interpolate':{'points':'auto'}," MLM "}}", "/interpolate/points", "for two"},
        {"{" THREE ",'outputs':{'merged':[0.5]}," MLM "}}", "/outputs/merged", "lists of weights"},
        {"{" MODELS ",'align':{'components':[]},'interpolate':{'weights':'simplex'}," MLM "}}",
         "/interpolate/weights", "three models"},
        {"{" MODELS ",'align':{'components':[]},'outputs':{'merged':[[0.5,0.5]]}}",
         "/outputs/merged", "lambdas for two"},
        /* align */
        {"{" MODELS ",'align':{'dataset':'d','components':['fff']}}", "/align/components/0",
         "did you mean \"ff\"?"},
        {"{" MODELS ",'align':{'dataset':'d','heads':'permut'}}", "/align/heads",
         "did you mean \"permute\"?"},
        {"{" MODELS ",'align':{'dataset':'d','separte_qk':true}}", "/align/separte_qk",
         "did you mean \"separate_qk\"?"},
        {"{" MODELS ",'align':{'dataset':'d','components':['ff'],'heads':'monotonic'}}",
         "/align/heads", "component \"mha\""},
        {"{" MODELS ",'align':{'dataset':'d','components':['ff'],'separate_qk':true}}",
         "/align/separate_qk", "component \"mha\""},
        {"{" MODELS ",'align':{'dataset':'d','components':['ff'],'rotate_heads':true}}",
         "/align/rotate_heads", "component \"mha\""},
        {"{" MODELS ",'align':{'dataset':'d','rotate_heads':true,'heads':'ignore'}}",
         "/align/rotate_heads", "ignore"},
        {"{" MODELS ",'align':{'dataset':'d','components':['ff'],'head_map':'orthogonal'}}",
         "/align/head_map", "component \"mha\""},
        {"{" MODELS ",'align':{'dataset':'d','head_map':'orthogonal','heads':'ignore'}}",
         "/align/head_map", "ignore"},
        {"{" MODELS ",'align':{'dataset':'d','residual_map':'orthogonal'}}", "/align/residual_map",
         "component \"residual\""},
        {"{" MODELS ",'align':{'dataset':'d','components':['residual'],'residual':'first',"
         "'residual_map':'orthogonal'}}",
         "/align/residual", "all"},
        {"{" MODELS ",'align':{'dataset':'d','components':['residual'],'match':'weights'}}",
         "/align/match", "residual_map"},
        {"{" MODELS ",'align':{'dataset':'d','rounds':2}}", "/align/rounds", "residual_map"},
        {"{" MODELS ",'align':{'dataset':'d','rounds':0}}", "/align/rounds", "from 1 to 20"},
        {"{" JOINT ",'align':{'dataset':'d','reference':'universe','match':'weights'}}",
         "/align/match", "universe"},
        {"{" JOINT ",'align':{'dataset':'d','reference':'universe','rounds':3,'components':['ff',"
         "'residual'],'residual_map':'orthogonal','match':'both'}}",
         "/align/rounds", "universe"},
        {"{" MODELS ",'align':{'dataset':'d','cycles':true}}", "/align/cycles", "three models"},
        {"{" JOINT "," MLM "},'align':{'components':[],'cycles':true}}", "/align/cycles",
         "component"},
        {"{" JOINT ",'align':{'dataset':'d','cycles':1}}", "/align/cycles", "true or false"},
        {"{" MODELS ",'align':{'components':[],'fold':true}}", "/align/fold", "component"},
        {"{" MODELS ",'align':{'dataset':'d','head_map':'unitary'}}", "/align/head_map",
         "expected one of permutation, orthogonal"},
        {"{" MODELS ",'align':{'dataset':'d','residual':'first'}}", "/align/residual",
         "component \"residual\""},
        {"{" MODELS ",'align':{'dataset':'d','decoder':'untied'}}", "/align/decoder",
         "component \"residual\""},
        {"{" MODELS ",'align':{'dataset':'d','output_head':true,'decoder':'tied'}}",
         "/align/decoder", "expected \"untied\""},
        {"{" MODELS "," MLM "},'align':{'components':[],'output_head':true}}", "/align/output_head",
         "component"},
        {"{" MODELS ",'align':{'dataset':'d','max_length':2}}", "/align/max_length", "from 3"},
        {"{" MODELS ",'align':{'dataset':'d','max_sequences':0}}", "/align/max_sequences",
         "from 1"},
        {"{" MODELS ",'align':{'from_job':'" ID "','heads':'permute'}}", "/align/from_job",
         "alone"},
        {"{" MODELS ",'align':{'from_job':'job_7'}}", "/align/from_job", "UUIDv7"},
        {"{" MODELS ",'align':{'dataset':{'path':'x'}}}", "/align/dataset", "a dataset's name"},
        {"{" MODELS ",'align':{'dataset':'d','learn':{'steps':0}}}", "/align/learn/steps",
         "from 1 to 100000"},
        {"{" MODELS ",'align':{'dataset':'d','learn':{'lambda':[0.6,0.4]}}}", "/align/learn/lambda",
         "descend"},
        {"{" MODELS ",'align':{'dataset':'d','learn':{'lambda':[0.5]}}}", "/align/learn/lambda",
         "two numbers"},
        {"{" MODELS ",'align':{'dataset':'d','learn':{'groups':['residual']}}}",
         "/align/learn/groups", "component \"residual\""},
        {"{" MODELS ",'align':{'dataset':'d','components':['ff'],'learn':{}}}", "/align/learn",
         "no map to learn"},
        /* interpolate */
        {"{" MODELS ",'align':{'dataset':'d'},'interpolate':{'points':21,'lambdas':[]}}",
         "/interpolate", "either points or lambdas"},
        {"{" MODELS ",'align':{'dataset':'d'},'interpolate':{'points':1}}", "/interpolate/points",
         "an integer from 2 to 1001, or \"auto\", found 1"},
        {"{" MODELS ",'align':{'dataset':'d'},'interpolate':{'points':'x'}}", "/interpolate/points",
         "an integer from 2 to 1001, or \"auto\", found \"x\""},
        {"{" MODELS ",'align':{'dataset':'d'},'interpolate':{'lambdas':[0.5,1.01]}}",
         "/interpolate/lambdas/1", "from 0 to 1"},
        /* evaluate */
        {"{" MODELS ",'align':{'dataset':'d'},'evaluate':{'dataset':'e'}}", "/evaluate/task",
         "expected one of mlm, classification, regression"},
        {"{" MODELS ",'align':{'dataset':'d'},'evaluate':{'task':'mlm'}}", "/evaluate/dataset",
         "required"},
        {"{" MODELS "," LABELED "'classification','block_size':64}}", "/evaluate/block_size",
         "only with task \"mlm\""},
        {"{" MODELS "," LABELED "'classification','max_blocks':64}}", "/evaluate/max_blocks",
         "only with task \"mlm\""},
        {"{" MODELS "," LABELED "'regression','seed':0}}", "/evaluate/seed",
         "only with task \"mlm\""},
        {"{" MODELS "," LABELED "'regression','mask_probability':0.15}}",
         "/evaluate/mask_probability", "only with task \"mlm\""},
        {"{" MODELS "," LABELED "'regression','block_size':64}}", "/evaluate/block_size",
         "only with task \"mlm\" or \"clm\""},
        {"{" MODELS "," LABELED "'clm','seed':7}}", "/evaluate/seed",
         "only with task \"mlm\", found"},
        {"{" MODELS "," LABELED "'clm','mask_probability':0.15}}", "/evaluate/mask_probability",
         "only with task \"mlm\", found with \"clm\""},
        {"{" MODELS "," LABELED "'clm','metric':'perplexity'}}", "/evaluate/metric",
         "expected one of accuracy"},
        {"{" MODELS "," LABELED "'clm','max_length':64}}", "/evaluate/max_length",
         "\"classification\" or \"regression\""},
        {"{" MODELS "," LABELED "'mlm','metric':'accuracy'}}", "/evaluate/metric",
         "\"classification\" or \"regression\""},
        {"{" MODELS "," LABELED "'mlm','max_length':64}}", "/evaluate/max_length",
         "\"classification\" or \"regression\""},
        {"{" MODELS "," LABELED "'mlm','max_examples':64}}", "/evaluate/max_examples",
         "\"classification\" or \"regression\""},
        {"{" MODELS "," LABELED "'classification','metric':'pearson'}}", "/evaluate/metric",
         "one of accuracy, f1, matthews for task"},
        {"{" MODELS "," LABELED "'regression','metric':'f1'}}", "/evaluate/metric",
         "one of pearson, spearman"},
        {"{" MODELS "," LABELED "'classification','metric':'acuracy'}}", "/evaluate/metric",
         "did you mean \"accuracy\"?"},
        {"{" MODELS "," LABELED "'mlm','mask_probability':0}}", "/evaluate/mask_probability",
         "above 0"},
        /* outputs */
        {"{" MODELS ",'align':{'dataset':'d'},'outputs':{'merged':[2]}}", "/outputs/merged/0",
         "from 0 to 1"},
        {"{" MODELS ",'align':{'dataset':'d'},'outputs':{'dtype':'bf-16'}}", "/outputs/dtype",
         "did you mean \"bf16\"?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_job_spec spec = {.points = 77};
        struct rb_problems problems = {0};
        assert_int_equal(decode(rows[i].body, 0, &spec, &problems), RB_EINPUT);
        assert_fault(&problems, rows[i].pointer, rows[i].word, rows[i].body);
        if (problems.found != 1)
            fail_msg("%zu faults, the second at %s: %s\nfor %s", problems.found,
                     problems.items[1].pointer, problems.items[1].detail, rows[i].body);
        assert_int_equal(spec.points, 77); /* untouched */
    }
}

/* A client that wrote three wrong things hears of three. */
static void test_all_faults_at_once(void **state)
{
    (void)state;
    const char *body = "{'models':{'a':'A','b':'b'},'align':{'dataset':'d','heads':'x'},"
                       "'interpolate':{'points':0}," MLM ",'metric':'f1'}}";
    struct rb_job_spec spec;
    struct rb_problems problems = {0};
    assert_int_equal(decode(body, 0, &spec, &problems), RB_EINPUT);
    assert_int_equal(problems.found, 4);
    assert_fault(&problems, "/models/a", "name", body);
    assert_fault(&problems, "/align/heads", "one of", body);
    assert_fault(&problems, "/interpolate/points", "integer", body);
    assert_fault(&problems, "/evaluate/metric", "only with", body);
}

/* Canonical text is a fixed point: what the store keeps means the same when it is read again. */
static void test_round_trips(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned flags;
    } rows[] = {
        {example, 0},
        {"{" MODELS ",'align':{'from_job':'" ID "'},'interpolate':{'points':5}," MLM "}}", 0},
        {"{" MODELS ",'align':{'dataset':'d'},'interpolate':{'points':'auto'}," MLM
         ",'precision':0.02}}",
         0},
        {"{" MODELS ",'align':{'components':[]},'interpolate':{'lambdas':[0.3,0.1]}," MLM
         ",'seed':9007199254740991,'max_blocks':0}}",
         0},
        {"{" MODELS ",'align':{'dataset':'d','output_head':true}}", 0},
        {"{" JOINT ",'align':{'dataset':'d','cycles':true}}", 0},
        {"{" JOINT ",'align':{'from_job':'" ID "'}}", 0},
        {"{" JOINT ",'align':{'dataset':'d','reference':'universe','cycles':true}}", 0},
        {"{" MODELS ",'align':{'dataset':'d','cycles':false}}", 0},
        {"{" MODELS ",'align':{'dataset':'d','learn':{'steps':7,'lambda':[0.25,0.5],'seed':3,"
         "'groups':['heads'],'dataset':'more','patience':0,'batch_tokens':64}}}",
         0},
        {"{" MODELS ",'align':{'dataset':'d','components':['residual','ff'],'residual':'separate',"
         "'decoder':'untied','output_head':true,'absolute':true,'similarity':'dot',"
         "'pooling':'max','special_tokens':false}}",
         0},
        {"{" MODELS "," LABELED "'classification','metric':'matthews','max_examples':10,"
         "'control':false}}",
         0},
        {"{" MODELS "," LABELED "'regression','max_length':64}}", 0},
        {"{'models':{'a':'/m/a','b':'./b'},'align':{'dataset':'a.txt'},'evaluate':"
         "{'task':'classification','dataset':{'path':'x','format':'tsv','text':'s','text_pair':'t',"
         "'label':'gold'}}}",
         RB_SPEC_PATHS},
        {"{'models':{'a':'a','b':'b'},'align':{'components':[]},'evaluate':"
         "{'task':'regression','dataset':'x.jsonl'}}",
         RB_SPEC_PATHS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_job_spec first, second;
        decode_ok(rows[i].body, rows[i].flags, &first);
        char *once = encode(&first);
        decode_ok(once, rows[i].flags, &second);
        char *twice = encode(&second);
        assert_string_equal(once, twice);
        assert_memory_equal(&first.align.options, &second.align.options,
                            sizeof first.align.options);
        assert_int_equal(first.align.cycles, strstr(rows[i].body, "'cycles':true") != NULL);
        assert_int_equal(second.align.cycles, first.align.cycles);
        assert_int_equal(first.lambdas.count, second.lambdas.count);
        assert_memory_equal(first.lambdas.values, second.lambdas.values,
                            first.lambdas.count * sizeof(double));
        free(once);
        free(twice);
        rb_job_spec_deinit(&first);
        rb_job_spec_deinit(&second);
    }
}

static void test_paths(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    decode_ok("{'models':{'a':'/srv/A','b':'../B'},'align':{'dataset':'lines.txt'},"
              "'evaluate':{'task':'classification','dataset':'authors.jsonl'}}",
              RB_SPEC_PATHS, &spec);
    assert_string_equal(spec.model_a, "/srv/A");
    assert_true(spec.align.dataset.is_path);
    assert_int_equal(spec.align.dataset.format, RB_TEXT);
    assert_null(spec.align.dataset.text);
    assert_int_equal(spec.evaluate.dataset.format, RB_JSONL);
    assert_string_equal(spec.evaluate.dataset.text, "text");
    assert_string_equal(spec.evaluate.dataset.label, "label");
    rb_job_spec_deinit(&spec);

    static const struct {
        const char *body, *pointer, *word;
    } rows[] = {
        {"{" MODELS ",'align':{'from_job':'" ID "'}}", "/align/from_job", "keeps no jobs"},
        {"{" MODELS ",'align':{'dataset':''}}", "/align/dataset", "a path"},
        {"{" MODELS ",'align':{'dataset':'a\\u0001'}}", "/align/dataset", "a path"}, /* fuzzer */
        {"{" MODELS ",'align':{'dataset':{'format':'tsv'}}}", "/align/dataset/path", "required"},
        {"{" MODELS ",'align':{'dataset':{'path':'x.tsv'}}}", "/align/dataset/text", "column"},
        {"{" MODELS ",'align':{'dataset':{'path':'x','text':'t'}}}", "/align/dataset/text",
         "format text"},
        {"{" MODELS "," LABELED "'classification'}}", "/evaluate/dataset", "with labels"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_problems problems = {0};
        assert_int_equal(decode(rows[i].body, RB_SPEC_PATHS, &spec, &problems), RB_EINPUT);
        assert_fault(&problems, rows[i].pointer, rows[i].word, rows[i].body);
        assert_int_equal(problems.found, 1);
    }
}

/* Blocks as for mlm, 1024 tokens long, no masks. */
static void test_clm(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    struct rb_error err = {0};
    decode_ok("{" MODELS "," LABELED "'clm'}}", 0, &spec);
    assert_int_equal(spec.evaluate.options.task, RB_TASK_CLM);
    assert_int_equal(spec.evaluate.options.block_size, 1024);
    assert_int_equal(spec.evaluate.options.max_blocks, 256);
    assert_int_equal(spec.evaluate.options.metric, RB_PERPLEXITY);
    assert_int_equal(rb_job_spec_fit(&spec, "", 2048, NULL, &err), RB_OK);
    assert_int_equal(spec.evaluate.options.block_size, 1024);
    assert_int_equal(rb_job_spec_fit(&spec, "", 512, NULL, &err), RB_OK);
    assert_int_equal(spec.evaluate.options.block_size, 512);
    char *text = encode(&spec);
    assert_non_null(strstr(text,
                           "\"evaluate\":{\"task\":\"clm\",\"dataset\":\"d\",\"block_size\":512,"
                           "\"max_blocks\":256,\"control\":true}"));
    free(text);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS "," LABELED "'clm','block_size':600}}", 0, &spec);
    assert_int_equal(rb_job_spec_fit(&spec, "", 512, NULL, &err), RB_EINPUT);
    assert_string_equal(err.pointer, "/evaluate/block_size");
    rb_job_spec_deinit(&spec);
}

static void test_lengths_fit_the_model(void **state)
{
    (void)state;
    struct rb_job_spec spec;
    struct rb_error err = {0};
    decode_ok("{" MODELS ",'align':{'dataset':'d'}," MLM "}}", 0, &spec);
    assert_int_equal(rb_job_spec_fit(&spec, "", 64, NULL, &err), RB_OK);
    assert_int_equal(spec.align.max_length, 64);
    assert_int_equal(spec.evaluate.options.block_size, 64);
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS ",'align':{'dataset':'d','max_length':65}," MLM ",'block_size':64}}", 0,
              &spec);
    struct rb_problems problems = {0};
    assert_int_equal(rb_job_spec_fit(&spec, "/jobs/2", 64, &problems, &err), RB_EINPUT);
    assert_int_equal(problems.found, 1);
    assert_fault(&problems, "/jobs/2/align/max_length", "64, found 65", "fit");
    rb_job_spec_deinit(&spec);

    decode_ok("{" MODELS "," LABELED "'regression','max_length':512}}", 0, &spec);
    assert_int_equal(rb_job_spec_fit(&spec, "", 512, NULL, &err), RB_OK);
    assert_int_equal(rb_job_spec_fit(&spec, "", 511, NULL, &err), RB_EINPUT);
    assert_string_equal(err.pointer, "/evaluate/max_length");
    rb_job_spec_deinit(&spec);
}

static void test_batches(void **state)
{
    (void)state;
    struct rb_job_spec *specs = NULL;
    size_t count = 0;
    struct rb_error err = {0};
    json_t *json = json_of("{'jobs':[{" MODELS ",'align':{'dataset':'d'}},{" MODELS
                           ",'align':{'dataset':'e'},'priority':3}]}");
    assert_int_equal(rb_job_batch_decode(json, &specs, &count, NULL, &err), RB_OK);
    json_decref(json);
    assert_int_equal(count, 2);
    assert_int_equal(specs[1].priority, 3);
    assert_string_equal(specs[0].align.dataset.name, "d");
    rb_job_specs_free(specs, count);

    struct rb_problems problems = {0};
    json = json_of("{'jobs':[{" MODELS ",'align':{'dataset':'d'}},{" MODELS
                   ",'align':{'heads':7,'dataset':'d'}},{}]}");
    assert_int_equal(rb_job_batch_decode(json, &specs, &count, &problems, &err), RB_EINPUT);
    json_decref(json);
    assert_fault(&problems, "/jobs/1/align/heads", "found 7", "batch");
    assert_fault(&problems, "/jobs/2/models", "required", "batch");
    for (size_t i = 0; i < problems.count; i++)
        assert_null(strstr(problems.items[i].pointer, "/jobs/0"));

    static const char *const wrong[] = {"{}", "{'jobs':[]}", "{'jobs':{}}", "[]", "{'jobs':7}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json = json_of(wrong[i]);
        assert_int_equal(rb_job_batch_decode(json, &specs, &count, NULL, &err), RB_EINPUT);
        json_decref(json);
    }
    json = json_object();
    json_t *jobs = json_array();
    for (int i = 0; i <= RB_BATCH_MAX; i++)
        json_array_append_new(jobs, json_object());
    json_object_set_new(json, "jobs", jobs);
    assert_int_equal(rb_job_batch_decode(json, &specs, &count, NULL, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "1 to 100 jobs, found an array of 101"));
    json_decref(json);
}

/* A recipe leaves out what its place has no room for: rounds, beside a universe's own. */
static void test_recipes_in_their_places(void **state)
{
    (void)state;
    const struct rb_align_shape shape = {
        .embedding_size = 8, .hidden_size = 8, .norm_before = true, .head = RB_HEAD_CAUSAL};
    static const char *const references[] = {"anchor", "universe"};
    for (size_t i = 0; i < 2; i++) {
        char text[300];
        struct rb_job_spec spec;
        struct rb_problems problems = {0};
        struct rb_error err;
        (void)snprintf(text, sizeof text,
                       "{" JOINT ",'align':{'dataset':'d','preset':'best','reference':'%s'},"
                       "'outputs':{'merged':[[0.5,0.25,0.25]]}}",
                       references[i]);
        json_t *json = json_of(text);
        assert_int_equal(rb_job_spec_decode(json, "", 0, &spec, &problems, &err), RB_OK);
        assert_int_equal(rb_job_spec_settle(&spec, "", "gpt2", &shape, &problems, &err), RB_OK);
        assert_int_equal(spec.align.options.rounds, i == 0 ? 3 : 1);
        assert_int_equal(spec.align.options.match, RB_MATCH_BOTH);
        rb_job_spec_deinit(&spec);
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_of_the_contract),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_lambdas_are_resolved),
        cmocka_unit_test(test_several_models),
        cmocka_unit_test(test_points_of_a_stored_spec),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_clm),
        cmocka_unit_test(test_lengths_fit_the_model),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_recipes_in_their_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
