// LINK: rb_api
/* Jobs, models, datasets, artifacts and the daemon itself as JSON, and the bodies that make them.
 */
#include "tests/api/api_support.h"

#include "api/dataset.h"
#include "api/job.h"
#include "api/hf_name.h"
#include "api/model.h"
#include "api/service.h"

#include <math.h>

#define ID "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"

static void test_new_job(void **state)
{
    (void)state;
    struct rb_job job;
    struct rb_json w;
    rb_json_init(&w);
    rb_job_init(&job);
    (void)snprintf(job.id, sizeof job.id, ID);
    job.created_ms = job.updated_ms = 1000;
    job.version = 1;
    rb_job_encode(&w, NULL, &job);
    assert_tree(tree_of(&w),
                "{'id':'" ID "','status':'queued','phase':null,"
                "'progress':{'done':0,'total':0,'unit':null,'fraction':0,'eta_seconds':null},"
                "'name':null,'labels':{},'priority':0,'spec':null,'inputs':[],'attempt':0,"
                "'created_at':'1970-01-01T00:00:01.000Z','started_at':null,'finished_at':null,"
                "'updated_at':'1970-01-01T00:00:01.000Z','version':1,'retry_of':null,'group':null,"
                "'submitted_by':null,"
                "'warnings':[],"
                "'summary':{'barrier_chord':null,'barrier_mean':null,'control_barrier_chord':null,"
                "'control_barrier_mean':null,'reduction':null,'reduction_standard_error':null,"
                "'equivalent':null,'kind':null,'verdict':null},'timings':{},"
                "'peak_bytes':null,'environment':null,'error':null,'artifacts':[],"
                "'links':{'self':'/v1/jobs/" ID "','events':'/v1/jobs/" ID "/events',"
                "'barrier':'/v1/jobs/" ID "/barrier','alignment':'/v1/jobs/" ID
                "/alignment','permutations':'/v1/jobs/" ID "/permutations',"
                "'correlations':'/v1/jobs/" ID "/correlations','artifacts':'/v1/jobs/" ID
                "/artifacts'}}");
    rb_job_deinit(&job);
}

static void test_failed_job(void **state)
{
    (void)state;
    struct rb_job job;
    rb_job_init(&job);
    job.status = RB_JOB_FAILED;
    job.name = strdup("n");
    job.spec_json = strdup("{\"models\":{}}");
    job.labels.items = calloc(1, sizeof *job.labels.items);
    job.labels.items[0] = (struct rb_label){strdup("k"), strdup("v")};
    job.labels.count = 1;
    job.progress = (struct rb_progress){5, 10, "points", 2.5, {"points", 11, 4, 3, "Priority"}};
    job.phase = RB_PHASE_EVALUATING;
    job.inputs[0] = (struct rb_job_input){"model_a", "bert-a", "ab"};
    job.input_count = 1;
    job.summary.barrier_chord = 0.05;
    job.summary.equivalent = 1;
    job.timings[RB_PHASE_SOLVING] = 0.25;
    job.peak_bytes = 7;
    job.environment_json = strdup("{\"cpu\":\"x\"}");
    job.error = (struct rb_job_error){RB_EDISKFULL, "no room for x"};
    job.artifacts = calloc(1, sizeof *job.artifacts);
    job.artifacts[0] = (struct rb_artifact){"barrier.csv", 12, ""};
    job.artifact_count = 1;
    struct rb_json w;
    rb_json_init(&w);
    rb_job_encode_open(&w, NULL, &job);
    rb_json_int(&w, "barrier", 1);
    rb_json_end(&w);
    json_t *json = tree_of(&w);
    static const struct {
        const char *member, *expected;
    } rows[] = {
        {"status", "'failed'"},
        {"phase", "'evaluating'"},
        {"progress",
         "{'done':5,'total':10,'unit':'points','fraction':0.5,'eta_seconds':2.5,'tasks':"
         "{'unit':'points','total':11,'pending':4,'running':3,'reason':'Priority'}}"},
        {"name", "'n'"},
        {"labels", "{'k':'v'}"},
        {"spec", "{'models':{}}"},
        {"inputs", "[{'role':'model_a','name':'bert-a','sha256':'ab'}]"},
        {"timings", "{'solving':0.25}"},
        {"peak_bytes", "7"},
        {"environment", "{'cpu':'x'}"},
        {"error", "{'code':'no_space','title':'The data folder\\u0027s disk is full',"
                  "'detail':'no room for x','retryable':true,'remedy':'Make room on the "
                  "disk of the daemon, then retry: the job goes on where it stopped.'}"},
        {"artifacts", "[{'name':'barrier.csv','bytes':12,'sha256':null,'media_type':'text/csv'}]"},
        {"barrier", "1"},
        {"id", "null"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_tree(json_incref(json_object_get(json, rows[i].member)), rows[i].expected);
    json_t *summary = json_object_get(json, "summary");
    assert_true(json_is_true(json_object_get(summary, "equivalent")));
    assert_true(json_real_value(json_object_get(summary, "barrier_chord")) == 0.05);
    json_decref(json);
    rb_job_deinit(&job);
}

static void test_statuses(void **state)
{
    (void)state;
    assert_int_equal(rb_enum_find(rb_job_status_names, "canceling"), RB_JOB_CANCELING);
    assert_int_equal(rb_enum_find(rb_phase_names, "writing"), RB_PHASE_WRITING);
    static const bool terminal[RB_JOB_STATUS_COUNT] = {
        [RB_JOB_SUCCEEDED] = true, [RB_JOB_FAILED] = true, [RB_JOB_CANCELED] = true};
    for (int s = 0; s < RB_JOB_STATUS_COUNT; s++)
        assert_int_equal(rb_job_status_terminal((enum rb_job_status)s), terminal[s]);
    assert_true(rb_reduction(0.5, 2) == 0.75);
    assert_true(rb_reduction(3, 2) == -0.5);
    assert_true(isnan(rb_reduction(1, 0)));
    assert_true(isnan(rb_reduction(1, NAN)));
}

static void test_patch(void **state)
{
    (void)state;
    struct rb_job_patch patch;
    struct rb_error err = {0};
    json_t *json = json_of("{'name':null,'labels':{'a':'b'}}");
    assert_int_equal(rb_job_patch_decode(json, &patch, NULL, &err), RB_OK);
    json_decref(json);
    assert_int_equal(patch.given, RB_PATCH_NAME | RB_PATCH_LABELS);
    assert_null(patch.name);
    assert_int_equal(patch.labels.count, 1);
    rb_job_patch_deinit(&patch);

    json = json_of("{'priority':-3,'name':'x'}");
    assert_int_equal(rb_job_patch_decode(json, &patch, NULL, &err), RB_OK);
    json_decref(json);
    assert_int_equal(patch.priority, -3);
    assert_string_equal(patch.name, "x");
    rb_job_patch_deinit(&patch);

    static const struct {
        const char *body, *pointer;
    } wrong[] = {
        {"{}", ""},
        {"{'status':'canceled'}", "/status"},
        {"{'labels':null}", "/labels"},
        {"[]", ""},
        {"{'name':''}", "/name"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json = json_of(wrong[i].body);
        assert_int_equal(rb_job_patch_decode(json, &patch, NULL, &err), RB_EINPUT);
        assert_string_equal(err.pointer, wrong[i].pointer);
        json_decref(json);
    }
}

static void test_artifact_names(void **state)
{
    (void)state;
    static const struct {
        double lambda;
        const char *name;
    } rows[] = {
        {0, "merged-0.00.safetensors"},      {0.5, "merged-0.50.safetensors"},
        {0.05, "merged-0.05.safetensors"},   {1, "merged-1.00.safetensors"},
        {0.125, "merged-0.125.safetensors"}, {1e-7, "merged-1e-07.safetensors"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[RB_ARTIFACT_NAME_SIZE];
        rb_artifact_merged_name(rows[i].lambda, name);
        assert_string_equal(name, rows[i].name);
        assert_true(rb_artifact_name_valid(name));
        rb_artifact_folder_name(rows[i].lambda, name);
        assert_memory_equal(name, "merged/lambda-", 14);
        assert_memory_equal(name + 14, rows[i].name + 7, strlen(name + 14));
    }
    char digest[RB_ARTIFACT_NAME_SIZE];
    rb_artifact_tar_digest_name(0.5, digest);
    assert_string_equal(digest, "merged/lambda-0.50.tar.sha256");
    assert_string_equal(rb_artifact_file_name(digest), "lambda-0.50.tar.sha256");
    assert_string_equal(rb_artifact_file_name("vocab.txt"), "vocab.txt");
    static const char *const numbers[] = {"0", "0.5", "0.50", "1", "1.00", "1e-07", "5e-1"};
    static const char *const no_numbers[] = {"",     "-0",  "1.01", ".5",   "0x1",
                                             "0.5 ", "nan", "1e9",  "0.5e", "0..5"};
    double lambda = -1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_true(rb_artifact_lambda_parse(numbers[i], strlen(numbers[i]), &lambda));
        assert_true(lambda == strtod(numbers[i], NULL));
    }
    for (size_t i = 0; i < sizeof no_numbers / sizeof no_numbers[0]; i++)
        assert_false(rb_artifact_lambda_parse(no_numbers[i], strlen(no_numbers[i]), &lambda));
    static const char *const lists[] = {"weights-0", "weights-12"};
    static const char *const no_lists[] = {"weights-", "weights-x", "weights-1234", "weights--1"};
    for (size_t i = 0; i < 2; i++) {
        char folder[RB_ARTIFACT_NAME_SIZE];
        assert_true(rb_artifact_lambda_parse(lists[i], strlen(lists[i]), &lambda));
        rb_artifact_folder_name(lambda, folder);
        assert_string_equal(rb_artifact_file_name(folder), lists[i]);
    }
    for (size_t i = 0; i < 4; i++)
        assert_false(rb_artifact_lambda_parse(no_lists[i], strlen(no_lists[i]), &lambda));
    static const char *const wrong[] = {"", ".", "..", ".x", "a/b", "a b", "ä"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(rb_artifact_name_valid(wrong[i]));
    assert_string_equal(rb_artifact_media_type("x.safetensors"), "application/octet-stream");
    assert_string_equal(rb_artifact_media_type("barrier.json"), "application/json");
    assert_string_equal(rb_artifact_media_type("vocab.txt"), "text/plain");
    assert_string_equal(rb_artifact_media_type("merged/lambda-0.50/README.md"), "text/markdown");
    assert_string_equal(rb_artifact_media_type("merged/lambda-0.50/curve.svg"), "image/svg+xml");
    assert_string_equal(rb_artifact_media_type(digest), "text/plain");
    assert_string_equal(rb_artifact_media_type("x"), "application/octet-stream");
}

static void test_models(void **state)
{
    (void)state;
    struct rb_model_file file = {"model.safetensors", 10, "cd"};
    struct rb_model_problem problem = {RB_ETENSOR, "no tensor x"};
    struct rb_model_resource model = {.name = "bert-a",
                                      .status = RB_MODEL_INVALID,
                                      .architecture = "BertForMaskedLM",
                                      .hidden_size = 128,
                                      .dtype = "F32",
                                      .bytes = 10,
                                      .files = &file,
                                      .file_count = 1,
                                      .problems = &problem,
                                      .problem_count = 1,
                                      .source = "upload",
                                      .family = "bert",
                                      .tokenizer_kind = "bpe",
                                      .tokenizer_size = 50265};
    struct rb_json w;
    rb_json_init(&w);
    rb_model_encode(&w, NULL, &model);
    assert_tree(tree_of(&w),
                "{'name':'bert-a','status':'invalid','architecture':'BertForMaskedLM',"
                "'hidden_size':128,'num_layers':null,'num_heads':null,'intermediate_size':null,"
                "'vocab_size':null,'max_position_embeddings':null,'parameters':null,'dtype':'F32',"
                "'bytes':10,'sha256':null,"
                "'files':[{'name':'model.safetensors','bytes':10,'sha256':'cd'}],"
                "'problems':[{'code':'missing_tensor','detail':'no tensor x'}],"
                "'source':'upload','submitted_by':null,'family':'bert',"
                "'tokenizer':{'kind':'bpe','vocabulary_size':50265},'note':null,"
                "'created_at':'1970-01-01T00:00:00.000Z'}");

    struct rb_model_post post;
    struct rb_error err = {0};
    json_t *json = json_of("{'name':'bert-a','path':'/srv/x'}");
    assert_int_equal(rb_model_post_decode(json, &post, NULL, &err), RB_OK);
    assert_string_equal(post.path, "/srv/x");
    rb_model_post_deinit(&post);
    json_decref(json);
    json = json_of("{'name':'bert-a','hf':'org/name@main'}");
    assert_int_equal(rb_model_post_decode(json, &post, NULL, &err), RB_OK);
    assert_string_equal(post.hf, "org/name@main");
    assert_null(post.path);
    rb_model_post_deinit(&post);
    json_decref(json);
    static const struct {
        const char *body, *pointer;
    } wrong[] = {
        {"{'name':'a','path':'/a','hf':'a/b'}", "/hf"},
        {"{'name':'a','hf':'../b'}", "/hf"},
        {"{'name':'a'}", "/path"},
        {"{'path':'/a'}", "/name"},
        {"{'name':'a','path':'a'}", "/path"},
        {"{'name':'A','path':'/a'}", "/name"},
        {"{'name':'a','path':'/a','x':1}", "/x"},
        {"{'name':'a','path':'/a\\n'}", "/path"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json = json_of(wrong[i].body);
        assert_int_equal(rb_model_post_decode(json, &post, NULL, &err), RB_EINPUT);
        assert_string_equal(err.pointer, wrong[i].pointer);
        json_decref(json);
    }
}

static void test_hf_names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *folder, *revision;
    } good[] = {
        {"bert-base-uncased", "models--bert-base-uncased", ""},
        {"google/multiberts-seed_0", "models--google--multiberts-seed_0", ""},
        {"a/b@main", "models--a--b", "main"},
        {"a/b@refs/pr/1", "models--a--b", "refs/pr/1"},
        {"a/b.c@v1.0", "models--a--b.c", "v1.0"},
    };
    static const char *const bad[] = {
        "",     "/",     "a/",      "/b",        "a/b/c", "a//b",     "../b",     "a/..",
        "a/b@", "a--b",  "a/b--c",  "a/.b",      "a/b.",  "a/b@../x", "a/b@/x",   "a/b@x/../y",
        "a b",  "a/b\n", "a/b@x y", "a/b@@main", "a\\b",  "a/b@.x",   "a/b@x/.y",
    };
    struct rb_hf_name name;
    char folder[RB_HF_NAME_SIZE], source[RB_MODEL_SOURCE_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(rb_hf_name_parse(good[i].text, &name));
        rb_hf_name_folder(&name, folder);
        assert_string_equal(folder, good[i].folder);
        assert_string_equal(name.revision, good[i].revision);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (rb_hf_name_parse(bad[i], &name))
            fail_msg("'%s' was taken for a name", bad[i]);
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
    static const struct {
        bool imported;
        const char *path, *source;
    } rows[] = {
        {true, "/c/models--a--b/snapshots/" COMMIT, "hf:a/b@" COMMIT},
        {true, "/c/hub/models--gpt2/snapshots/" COMMIT, "hf:gpt2@" COMMIT},
        {false, "/c/models--a--b/snapshots/" COMMIT, "upload"},
        {true, "/c/models--a--b/snapshots/" COMMIT "/x", "import"},
        {true, "/c/models--a--b/snapshots/main", "import"},
        {true, "/c/models--/snapshots/" COMMIT, "import"},
        {true, "/c/datasets--a--b/snapshots/" COMMIT, "import"},
        {true, "/snapshots/" COMMIT, "import"},
        {true, "/" COMMIT, "import"},
        {true, "", "import"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rb_model_source(rows[i].imported, rows[i].path, source);
        assert_string_equal(source, rows[i].source);
    }
}

static void test_datasets(void **state)
{
    (void)state;
    struct rb_dataset_resource dataset = {.name = "d",
                                          .format = RB_TSV,
                                          .rows = 3,
                                          .bytes = 9,
                                          .sha256 = "ef",
                                          .fields = {.text = (char[]){"s"}},
                                          .created_ms = 1};
    struct rb_json w;
    rb_json_init(&w);
    rb_dataset_encode(&w, NULL, &dataset);
    assert_tree(tree_of(&w), "{'name':'d','format':'tsv','rows':3,'bytes':9,'sha256':'ef',"
                             "'fields':{'text':'s','text_pair':null,'label':null},"
                             "'created_at':'1970-01-01T00:00:00.001Z','submitted_by':null}");

    struct rb_dataset_post post;
    struct rb_error err = {0};
    json_t *json = json_of("{'name':'d','path':'/x','format':'jsonl','text':'a','label':'b'}");
    assert_int_equal(rb_dataset_post_decode(json, &post, NULL, &err), RB_OK);
    assert_int_equal(post.format, RB_JSONL);
    assert_string_equal(post.fields.label, "b");
    assert_null(post.fields.text_pair);
    rb_dataset_post_deinit(&post);
    json_decref(json);
    static const struct {
        const char *body, *pointer;
    } wrong[] = {
        {"{'name':'d','path':'/x','format':'csv'}", "/format"},
        {"{'name':'d','path':'/x','format':'tsv'}", "/text"},
        {"{'name':'d','path':'/x','text':'a'}", "/text"},
        {"{'name':'d','path':'/x','format':'tsv','text':'a','text_pair':'a'}", "/text_pair"},
        {"{'name':'d','path':'x'}", "/path"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json = json_of(wrong[i].body);
        assert_int_equal(rb_dataset_post_decode(json, &post, NULL, &err), RB_EINPUT);
        assert_string_equal(err.pointer, wrong[i].pointer);
        json_decref(json);
    }
    for (int f = RB_TEXT; f <= RB_TSV; f++)
        assert_string_equal(rb_dataset_format_names[f], rb_format_name((enum rb_format)f));
    /* For a query the place is the parameter's name. */
    struct rb_problems problems = {0};
    rb_dataset_fields_check(RB_TSV, NULL, NULL, "l", NULL, &problems);
    assert_string_equal(problems.items[0].pointer, "text");
}

static void test_service(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    const struct rb_library_version libraries[] = {{"jansson", "2.14"}};
    const struct rb_version_view version = {
        "0.1.0", NULL, "gcc", libraries, 1, {"Xeon", "SkylakeX", NULL, "daemon", true, 1.5e11, 0}};
    const struct rb_ready_check checks[] = {{"store", true, NULL}, {"disk", false, "full"}};
    rb_ready_encode(&w, checks, 2, &version);
    assert_tree(tree_of(&w),
                "{'ready':false,'checks':[{'name':'store','ok':true,'detail':null},"
                "{'name':'disk','ok':false,'detail':'full'}],'version':{'name':'rebasind',"
                "'version':'0.1.0','commit':null,'compiler':'gcc','libraries':"
                "{'jansson':'2.14'},'blas':{'cpu':'Xeon','kernel':'SkylakeX',"
                "'instruction_set':null,'chosen_by':'daemon','proven':true,"
                "'gflops_per_core':150,'fma_limit_gflops':null}}}");
    rb_ready_encode(&w, checks, 1, &version);
    json_t *json = tree_of(&w);
    assert_true(json_is_true(json_object_get(json, "ready")));
    json_decref(json);

    struct rb_stats_view stats = {.uptime_seconds = 1.5, .oldest_queued_seconds = NAN};
    stats.jobs[RB_JOB_FAILED] = 2;
    rb_stats_encode(&w, &stats);
    json = tree_of(&w);
    assert_tree(json_incref(json_object_get(json, "jobs")),
                "{'queued':0,'running':0,'canceling':0,'succeeded':0,'failed':2,'canceled':0}");
    assert_true(json_is_null(json_object_get(json, "oldest_queued_seconds")));
    json_decref(json);

    struct rb_job_spec spec;
    json_t *body = json_of("{'models':{'a':'x','b':'y'},'align':{'dataset':'d'}}");
    assert_int_equal(rb_job_spec_decode(body, "", 0, &spec, NULL, NULL), RB_OK);
    rb_estimate_encode(&w, &spec, &(struct rb_estimate){100, 50, 2.5, 7, 1, 4, 1.5});
    json = tree_of(&w);
    assert_tree(
        json_incref(json_object_get(json, "estimate")),
        "{'peak_bytes':100,'seconds':2.5,'disk_bytes':50,'saved_seconds':7,'least_seconds':1,"
        "'layer_groups':4,'feature_passes':1.5}");
    assert_tree(json_incref(json_object_get(json_object_get(json, "spec"), "interpolate")),
                "{'points':21}");
    json_decref(json);
    json_decref(body);
    rb_job_spec_deinit(&spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_job),        cmocka_unit_test(test_failed_job),
        cmocka_unit_test(test_statuses),       cmocka_unit_test(test_patch),
        cmocka_unit_test(test_artifact_names), cmocka_unit_test(test_models),
        cmocka_unit_test(test_hf_names),       cmocka_unit_test(test_datasets),
        cmocka_unit_test(test_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
