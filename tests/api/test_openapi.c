// LINK: rb_api
/* openapi.yaml and api/ say the same: error codes, what a body may hold, what answers hold. */
#include "tests/api/api_support.h"

#include "api/alignment.h"
#include "api/barrier.h"
#include "api/correlations.h"
#include "api/dataset.h"
#include "api/event.h"
#include "api/job.h"
#include "api/job_spec_encode.h"
#include "api/model.h"
#include "api/page.h"
#include "api/permutations.h"
#include "api/problem.h"
#include "api/service.h"

#include <math.h>

#define ID "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"

static char *yaml;
static json_t *document;

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    char *text = NULL;
    size_t bytes = 0, capacity = 0, n = 0;
    do {
        capacity += 1 << 18;
        text = realloc(text, capacity + 1);
        assert_non_null(text);
        n = fread(text + bytes, 1, capacity - bytes, file);
        bytes += n;
    } while (n > 0);
    (void)fclose(file);
    text[bytes] = '\0';
    return text;
}

static int load(void **state)
{
    (void)state;
    json_error_t why;
    yaml = read_file(RB_FIXTURES "/../../openapi.yaml");
    document = json_load_file(RB_OPENAPI_JSON, JSON_REJECT_DUPLICATES, &why);
    if (document == NULL)
        fail_msg("openapi.json: %s", why.text);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(yaml);
    json_decref(document);
    return 0;
}

/* ---- error codes, both ways, as text ---- */

/* The table of ErrorCode has one row for each row of api/status.h, and no other. */
static void test_every_code_is_documented(void **state)
{
    (void)state;
    for (int i = 1; i < (int)RB_PROBLEM_COUNT; i++) {
        enum rb_status status = (enum rb_status)i;
        char row[256], item[80];
        (void)snprintf(row, sizeof row, "| `%s` | %d | %s | %s |\n", rb_problem_code(status),
                       rb_problem_http(status), rb_problem_retryable(status) ? "yes" : "no",
                       rb_problem_title(status));
        (void)snprintf(item, sizeof item, "\n        - %s\n", rb_problem_code(status));
        if (strstr(yaml, row) == NULL)
            fail_msg("openapi.yaml lacks the row %s", row);
        if (strstr(yaml, item) == NULL)
            fail_msg("openapi.yaml's enum lacks %s", rb_problem_code(status));
    }
}

static void test_every_documented_code_exists(void **state)
{
    (void)state;
    int rows = 0, types = 0;
    for (const char *c = yaml; (c = strstr(c, "\n        | `")) != NULL; c++) {
        char code[64];
        assert_int_equal(sscanf(c, "\n        | `%63[a-z_]`", code), 1);
        if (rb_problem_status(code) == RB_OK)
            fail_msg("openapi.yaml has the code %s, api/status.h has not", code);
        rows++;
    }
    assert_int_equal(rows, (int)RB_PROBLEM_COUNT - 1);
    for (const char *c = yaml; (c = strstr(c, "urn:rebasind:error:")) != NULL; c++) {
        char code[64];
        if (sscanf(c, "urn:rebasind:error:%63[a-z_]", code) == 1) {
            assert_int_not_equal(rb_problem_status(code), RB_OK);
            types++;
        }
    }
    assert_true(types > 30);
}

/* Each response component lists exactly the codes that have its HTTP status, but for those that
 * never leave by HTTP. */
static void test_responses_list_their_codes(void **state)
{
    (void)state;
    json_t *responses = json_object_get(json_object_get(document, "components"), "responses");
    json_t *examples = json_object_get(json_object_get(document, "components"), "examples");
    static const enum rb_status local[] = {RB_ENUMERIC, RB_ECRASHLOOP, RB_ECANCELED,
                                           RB_EVERSION, RB_ELOCKED,    RB_EUSAGE};
    for (int i = 1; i < (int)RB_PROBLEM_COUNT; i++) {
        enum rb_status status = (enum rb_status)i;
        bool is_local = false;
        for (size_t l = 0; l < sizeof local / sizeof local[0]; l++)
            is_local = is_local || local[l] == status;
        json_t *example = json_object_get(examples, rb_problem_code(status));
        if (is_local) {
            assert_null(example);
            continue;
        }
        json_t *value = json_object_get(example, "value");
        if (json_integer_value(json_object_get(value, "status")) != rb_problem_http(status) ||
            strcmp(json_string_value(json_object_get(value, "title")), rb_problem_title(status)) !=
                0)
            fail_msg("the example of %s is wrong or missing", rb_problem_code(status));
        int listed = 0;
        const char *name;
        json_t *response;
        json_object_foreach(responses, name, response)
        {
            json_t *content =
                json_object_get(json_object_get(response, "content"), RB_PROBLEM_MEDIA_TYPE);
            listed += json_object_get(json_object_get(content, "examples"),
                                      rb_problem_code(status)) != NULL;
        }
        if (listed != 1)
            fail_msg("%s stands in %d responses", rb_problem_code(status), listed);
    }
}

/* ---- schemas ---- */

static json_t *schema_of(const char *name)
{
    json_t *schema =
        json_object_get(json_object_get(json_object_get(document, "components"), "schemas"), name);
    if (schema == NULL)
        fail_msg("no schema %s", name);
    return schema;
}

static json_t *resolve(json_t *schema)
{
    static const char prefix[] = "#/components/schemas/";
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref == NULL)
        return schema;
    assert_int_equal(strncmp(ref, prefix, sizeof prefix - 1), 0);
    return resolve(schema_of(ref + sizeof prefix - 1));
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool type_fits(const json_t *types, const json_t *value)
{
    if (json_is_array(types)) {
        for (size_t i = 0; i < json_array_size(types); i++)
            if (type_fits(json_array_get(types, i), value))
                return true;
        return false;
    }
    const char *type = json_string_value(types), *found = type_name(value);
    return strcmp(type, found) == 0 ||
           (strcmp(type, "number") == 0 && strcmp(found, "integer") == 0);
}

/* Whether value is what schema says: types, enums, required and unknown members, items. Answers
 * may grow members, but not before they are written down. *ret_why names the place. */
static bool conforms(json_t *schema, json_t *value, const char *at, char *why, size_t why_size);

/* Members that schema, or a part of its allOf, knows. */
static json_t *find_property(json_t *schema, const char *key)
{
    schema = resolve(schema);
    json_t *found = json_object_get(json_object_get(schema, "properties"), key);
    json_t *parts = json_object_get(schema, "allOf");
    for (size_t i = 0; found == NULL && i < json_array_size(parts); i++)
        found = find_property(json_array_get(parts, i), key);
    return found;
}

static bool has_required(json_t *schema, json_t *value, const char *at, char *why, size_t why_size)
{
    schema = resolve(schema);
    json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *key = json_string_value(json_array_get(required, i));
        if (json_object_get(value, key) == NULL) {
            (void)snprintf(why, why_size, "%s lacks %s", at, key);
            return false;
        }
    }
    json_t *parts = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(parts); i++)
        if (!has_required(json_array_get(parts, i), value, at, why, why_size))
            return false;
    return true;
}

static bool object_conforms(json_t *schema, json_t *value, const char *at, char *why,
                            size_t why_size)
{
    const char *key;
    json_t *member;
    if (!has_required(schema, value, at, why, why_size))
        return false;
    json_object_foreach(value, key, member)
    {
        char below[200];
        (void)snprintf(below, sizeof below, "%s/%s", at, key);
        json_t *property = find_property(schema, key);
        if (property == NULL)
            property = json_object_get(schema, "additionalProperties");
        if (!json_is_object(property)) {
            (void)snprintf(why, why_size, "%s is not in the schema", below);
            return false;
        }
        if (!conforms(property, member, below, why, why_size))
            return false;
    }
    return true;
}

static bool any_conforms(json_t *choices, json_t *value, const char *at, char *why, size_t why_size)
{
    for (size_t i = 0; i < json_array_size(choices); i++)
        if (conforms(json_array_get(choices, i), value, at, why, why_size))
            return true;
    return false;
}

static bool in_enum(json_t *names, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (json_equal(json_array_get(names, i), value))
            return true;
    return false;
}

static bool conforms(json_t *schema, json_t *value, const char *at, char *why, size_t why_size)
{
    schema = resolve(schema);
    json_t *choices = json_object_get(schema, "anyOf");
    if (choices == NULL)
        choices = json_object_get(schema, "oneOf");
    if (choices != NULL)
        return any_conforms(choices, value, at, why, why_size);
    json_t *types = json_object_get(schema, "type"), *names = json_object_get(schema, "enum");
    json_t *constant = json_object_get(schema, "const"), *items = json_object_get(schema, "items");
    (void)snprintf(why, why_size, "%s is %s", at, type_name(value));
    if ((types != NULL && !type_fits(types, value)) || (names != NULL && !in_enum(names, value)) ||
        (constant != NULL && !json_equal(constant, value)))
        return false;
    if (json_is_object(value))
        return object_conforms(schema, value, at, why, why_size);
    for (size_t i = 0; items != NULL && i < json_array_size(value); i++)
        if (!conforms(items, json_array_get(value, i), at, why, why_size))
            return false;
    return true;
}

static void assert_conforms(const char *schema, struct rb_json *w)
{
    char why[256] = "";
    json_t *value = tree_of(w);
    if (!conforms(schema_of(schema), value, "", why, sizeof why))
        fail_msg("%s: %s", schema, why);
    json_decref(value);
}

/* ---- what the daemon answers ---- */

static void test_jobs_fit_their_schema(void **state)
{
    (void)state;
    struct rb_json w;
    struct rb_job job;
    rb_json_init(&w);
    rb_job_init(&job);
    (void)snprintf(job.id, sizeof job.id, ID);
    job.spec_json = strdup("{\"models\":{\"a\":\"a\",\"b\":\"b\"}}");
    job.created_ms = job.updated_ms = 1;
    rb_job_encode(&w, NULL, &job);
    assert_conforms("Job", &w);
    job.status = RB_JOB_RUNNING;
    rb_environment_encode(&w, NULL,
                          &(struct rb_environment){"Xeon", "SkylakeX", NULL, 1e11, 2, "local", 1});
    assert_int_equal(rb_json_finish(&w, &job.environment_json, NULL, NULL), RB_OK);
    job.inputs[0] = (struct rb_job_input){"align_dataset", "x", "ab"};
    job.input_count = 1;
    job.error = (struct rb_job_error){RB_ENUMERIC, "x"};
    job.artifacts = calloc(1, sizeof *job.artifacts);
    job.artifacts[0] = (struct rb_artifact){"x", 1, "ab"};
    job.artifact_count = 1;
    for (int p = RB_PHASE_LOADING; p < RB_PHASE_COUNT; p++) {
        job.timings[p] = 1;
        job.phase = (enum rb_phase)p;
        rb_job_encode(&w, NULL, &job);
        assert_conforms("Job", &w);
    }
    for (int s = 0; s < RB_JOB_STATUS_COUNT; s++) {
        job.status = (enum rb_job_status)s;
        rb_job_encode(&w, NULL, &job);
        assert_conforms("Job", &w);
    }
    rb_page_begin(&w);
    rb_job_encode(&w, NULL, &job);
    rb_page_end(&w, "abc");
    assert_conforms("JobPage", &w);
    rb_job_deinit(&job);
}

static void test_registry_fits_its_schema(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    struct rb_model_file file = {"a", 1, ""};
    struct rb_model_problem problem = {RB_ECONFIG, "x"};
    struct rb_model_resource model = {.name = "m"};
    rb_model_encode(&w, NULL, &model);
    assert_conforms("Model", &w);
    model = (struct rb_model_resource){.name = "m",
                                       .status = RB_MODEL_READY,
                                       .architecture = "X",
                                       .hidden_size = 1,
                                       .num_layers = 1,
                                       .num_heads = 1,
                                       .intermediate_size = 1,
                                       .vocab_size = 1,
                                       .max_position_embeddings = 1,
                                       .parameters = 1,
                                       .dtype = "BF16",
                                       .files = &file,
                                       .file_count = 1,
                                       .problems = &problem,
                                       .problem_count = 1};
    rb_model_encode(&w, NULL, &model);
    assert_conforms("Model", &w);
    struct rb_dataset_resource dataset = {.name = "d", .format = RB_JSONL};
    rb_dataset_encode(&w, NULL, &dataset);
    assert_conforms("Dataset", &w);
    struct rb_artifact artifact = {"x", 1, "ab"};
    rb_artifacts_encode(&w, &artifact, 1);
    assert_conforms("ArtifactList", &w);
}

static void test_results_fit_their_schema(void **state)
{
    (void)state;
    static const double grid[] = {0, 1};
    struct rb_point points[2] = {{.lambda = 0, .loss = 1}, {.lambda = 1, .loss = 2}};
    struct rb_json w;
    rb_json_init(&w);
    for (int control = 0; control <= 2; control++) {
        struct rb_barrier_view v = {.job = ID,
                                    .lambdas = grid,
                                    .lambda_count = 2,
                                    .aligned = {points, 2},
                                    .has_control = control > 0,
                                    .control = {points, (size_t)control}};
        rb_barrier_encode(&w, NULL, &v);
        assert_conforms("Barrier", &w);
    }
    uint32_t index[] = {0, 1};
    float matrix[4] = {0}, rotation[2] = {1, 1};
    struct rb_group group = {
        .name = "layer.0.mha",
        .axis = RB_AXIS_V,
        .size = 2,
        .index = index,
        .head_count = 2,
        .kv_count = 2,
        .heads = index,
        .kv_heads = index,
        .values = index,
        .signs = rotation,
        .rotation = rotation,
        .correlations = {.heatmap_size = 2, .heatmap_before = matrix, .heatmap_after = matrix}};
    struct rb_alignment alignment = {
        .groups = &group, .group_count = 1, .certificate = {.present = true}};
    rb_permutations_encode(&w, ID, &alignment);
    assert_conforms("Permutations", &w);
    rb_permutation_encode(&w, ID, &group, true);
    assert_conforms("Permutation", &w);
    rb_alignment_encode(&w, ID, &alignment);
    assert_conforms("Alignment", &w);
    alignment.learned = (struct rb_learned_facts){.steps = 3, .held_before = 2, .held_after = 1};
    rb_alignment_encode(&w, ID, &alignment);
    assert_conforms("Alignment", &w);
    assert_int_equal(rb_alignment_group_encode(&w, ID, &group, true, NULL), RB_OK);
    assert_conforms("AlignmentMap", &w);
    rb_correlations_encode(&w, ID, &alignment);
    assert_conforms("Correlations", &w);
    rb_correlation_encode(&w, ID, &group, 2);
    assert_conforms("Correlation", &w);
}

static void assert_event(enum rb_event_type type, struct rb_json *data)
{
    char *text = text_of(data);
    struct rb_event event = {
        .id = type == RB_EVENT_PROGRESS ? 0 : 1, .type = type, .job = ID, .data_json = text};
    rb_event_encode(data, NULL, &event);
    assert_conforms("Event", data);
    free(text);
}

static void test_events_fit_their_schema(void **state)
{
    (void)state;
    struct rb_json w;
    struct rb_job job;
    rb_json_init(&w);
    rb_job_init(&job);
    rb_event_status_data(&w, &job);
    assert_event(RB_EVENT_STATUS, &w);
    rb_event_progress_data(&w, RB_PHASE_SOLVING, &job.progress);
    assert_event(RB_EVENT_PROGRESS, &w);
    struct rb_point point = {.lambda = 0.5, .loss = 1};
    rb_event_point_data(&w, RB_CURVE_CONTROL, RB_TASK_MLM, &point);
    assert_event(RB_EVENT_POINT, &w);
    rb_event_note_data(&w, "points", "submitted as job 7 of Slurm, 4 tasks");
    assert_event(RB_EVENT_NOTE, &w);
}

static void test_service_fits_its_schema(void **state)
{
    (void)state;
    struct rb_json w;
    rb_json_init(&w);
    const struct rb_library_version library = {"x", "1"};
    const struct rb_version_view version = {
        "1", NULL, "gcc", &library, 1, {"Xeon", "SkylakeX", "AVX-512", "user", false, 1e11, 2e11}};
    const struct rb_ready_check check = {"disk", true, NULL};
    rb_version_encode(&w, NULL, &version);
    assert_conforms("Version", &w);
    rb_ready_encode(&w, &check, 1, &version);
    assert_conforms("Readiness", &w);
    rb_stats_encode(&w, &(struct rb_stats_view){.oldest_queued_seconds = NAN});
    assert_conforms("Stats", &w);
    struct rb_error err;
    (void)rb_error_at(&err, RB_EINPUT, "/x", "y");
    rb_problem_encode(&w, &err, NULL, NULL);
    assert_conforms("Problem", &w);
}

/* ---- what a client may send ---- */

static bool decodes(json_t *body, struct rb_problems *problems)
{
    struct rb_job_spec spec;
    *problems = (struct rb_problems){0};
    if (rb_job_spec_decode(body, "", 0, &spec, problems, NULL) != RB_OK)
        return false;
    rb_job_spec_deinit(&spec);
    return true;
}

/* Every example of a job's body is one the daemon would take, and fits the schema. */
static void test_examples_decode(void **state)
{
    (void)state;
    json_t *examples = json_object_get(json_object_get(document, "components"), "examples");
    int specs = 0;
    const char *name;
    json_t *example;
    json_object_foreach(examples, name, example)
    {
        json_t *value = json_object_get(example, "value");
        struct rb_problems problems;
        char why[256];
        if (strncmp(name, "Spec", 4) != 0)
            continue;
        specs++;
        if (!decodes(value, &problems))
            fail_msg("%s: %s %s", name, problems.items[0].pointer, problems.items[0].detail);
        if (!conforms(schema_of("JobSpec"), value, "", why, sizeof why))
            fail_msg("%s: %s", name, why);
    }
    assert_true(specs >= 5);
}

/* A spec that holds every default says what the schema's defaults say. */
static void test_defaults_are_the_schemas(void **state)
{
    (void)state;
    static const struct {
        const char *member, *schema;
    } parts[] = {{"align", "SpecAlign"},
                 {"interpolate", "SpecInterpolate"},
                 {"evaluate", "SpecEvaluate"},
                 {"outputs", "SpecOutputs"}};
    static const char *const tasks[] = {"mlm", "clm", "classification"};
    int compared = 0;
    for (size_t t = 0; t < sizeof tasks / sizeof tasks[0]; t++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{'models':{'a':'a','b':'b'},'align':{'dataset':'d'},"
                       "'evaluate':{'task':'%s','dataset':'d'}}",
                       tasks[t]);
        json_t *json = json_of(body);
        struct rb_job_spec spec;
        struct rb_json w;
        rb_json_init(&w);
        assert_int_equal(rb_job_spec_decode(json, "", 0, &spec, NULL, NULL), RB_OK);
        rb_job_spec_encode(&w, NULL, &spec);
        json_t *full = tree_of(&w);
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            const char *key;
            json_t *property;
            json_object_foreach(json_object_get(schema_of(parts[p].schema), "properties"), key,
                                property)
            {
                json_t *expected = json_object_get(property, "default");
                json_t *found = json_object_get(json_object_get(full, parts[p].member), key);
                if (expected == NULL || found == NULL)
                    continue;
                compared++;
                if (!json_equal(expected, found))
                    fail_msg("default of %s.%s", parts[p].member, key);
            }
        }
        json_decref(full);
        json_decref(json);
        rb_job_spec_deinit(&spec);
    }
    assert_true(compared > 30);
}

/* What is said about that very value (and not about how it goes with others); NULL if nothing. */
static const char *refusal(const struct rb_problems *problems, const char *pointer)
{
    size_t n = strlen(pointer);
    for (size_t i = 0; i < problems->count; i++)
        if (strncmp(problems->items[i].pointer, pointer, n) == 0 &&
            strstr(problems->items[i].detail, "only with") == NULL &&
            strstr(problems->items[i].detail, "for task") == NULL)
            return problems->items[i].detail;
    return NULL;
}

/* How many names "expected one of a, b, c, found …" lists. */
static size_t names_listed(const char *words)
{
    size_t listed = 1;
    for (const char *c = words; *c != '\0' && strncmp(c, ", found", 7) != 0; c++)
        listed += *c == ',';
    return listed;
}

/* Puts value at part.key of a spec and says whether the decoder refuses it there; words (may be
 * NULL): what it says then. Takes value. */
static bool refuses_saying(const char *part, const char *key, json_t *value, char words[320])
{
    json_t *body = json_of("{'models':{'a':'a','b':'b'},'align':{'dataset':'d','components':"
                           "['ff','mha','residual']},'interpolate':{},"
                           "'evaluate':{'task':'mlm','dataset':'d'},'outputs':{}}");
    json_object_set_new(json_object_get(body, part), key, value);
    char pointer[80];
    struct rb_problems problems;
    (void)snprintf(pointer, sizeof pointer, "/%s/%s", part, key);
    const char *found = decodes(body, &problems) ? NULL : refusal(&problems, pointer);
    if (words != NULL)
        (void)snprintf(words, 320, "%s", found != NULL ? found : "");
    json_decref(body);
    return found != NULL;
}

static bool refuses(const char *part, const char *key, json_t *value)
{
    return refuses_saying(part, key, value, NULL);
}

/* Of several types the first. */
static const char *type_of(json_t *schema)
{
    json_t *type = json_object_get(schema, "type");
    return json_string_value(json_is_array(type) ? json_array_get(type, 0) : type);
}

static void check_bounds(const char *part, const char *key, json_t *schema)
{
    json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    json_t *open = json_object_get(schema, "exclusiveMinimum");
    assert_non_null(high);
    assert_true(low != NULL || open != NULL);
    double least = json_number_value(low != NULL ? low : open), most = json_number_value(high);
    bool whole = strcmp(type_of(schema), "integer") == 0;
    double step = whole ? 1 : 0.125;
    if (refuses(part, key, json_real(most)) || !refuses(part, key, json_real(most + step)) ||
        refuses(part, key, json_real(least)) != (open != NULL) ||
        !refuses(part, key, json_real(least - step)))
        fail_msg("bounds of %s.%s", part, key);
    if (whole && !refuses(part, key, json_real(least + 0.5)))
        fail_msg("%s.%s takes fractions", part, key);
}

static void check_names(const char *part, const char *key, json_t *names, bool in_array)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        json_t *value = json_incref(json_array_get(names, i));
        if (refuses(part, key, in_array ? json_pack("[o]", value) : value))
            fail_msg("%s.%s: %s", part, key, json_string_value(json_array_get(names, i)));
    }
    char words[320];
    json_t *value = json_string("zz");
    if (!refuses_saying(part, key, in_array ? json_pack("[o]", value) : value, words))
        fail_msg("%s.%s takes anything", part, key);
    if (names_listed(words) != json_array_size(names))
        fail_msg("%s.%s: the decoder says %s", part, key, words);
}

/* Every number of the schema has the decoder's bounds, every name is one it knows. */
static void test_bounds_and_names_are_the_schemas(void **state)
{
    (void)state;
    static const struct {
        const char *member, *schema;
    } parts[] = {{"align", "SpecAlign"},
                 {"interpolate", "SpecInterpolate"},
                 {"evaluate", "SpecEvaluate"},
                 {"outputs", "SpecOutputs"}};
    int numbers = 0, names = 0;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        const char *key;
        json_t *property;
        json_object_foreach(json_object_get(schema_of(parts[p].schema), "properties"), key,
                            property)
        {
            json_t *schema = resolve(property);
            const char *type = type_of(schema);
            json_t *items = resolve(json_object_get(schema, "items"));
            if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0) {
                check_bounds(parts[p].member, key, schema);
                numbers++;
            } else if (json_object_get(schema, "enum") != NULL) {
                check_names(parts[p].member, key, json_object_get(schema, "enum"), false);
                names++;
            } else if (json_object_get(items, "enum") != NULL) {
                check_names(parts[p].member, key, json_object_get(items, "enum"), true);
                names++;
            }
        }
    }
    assert_int_equal(numbers, 11);
    assert_int_equal(names, 15);
}

/* The members that a decoder knows are those of the schema: it lists them when it meets another. */
static void test_members_are_the_schemas(void **state)
{
    (void)state;
    static const struct {
        const char *body, *schema;
    } rows[] = {
        {"{'models':{'a':'a','b':'b'},'zz':1}", "JobSpec"},
        {"{'models':{'a':'a','b':'b','zz':1}}", "SpecModels"},
        {"{'models':{'a':'a','b':'b'},'align':{'zz':1}}", "SpecAlign"},
        {"{'models':{'a':'a','b':'b'},'align':{'learn':{'zz':1}}}", "SpecLearn"},
        {"{'models':{'a':'a','b':'b'},'interpolate':{'zz':1}}", "SpecInterpolate"},
        {"{'models':{'a':'a','b':'b'},'evaluate':{'zz':1}}", "SpecEvaluate"},
        {"{'models':{'a':'a','b':'b'},'outputs':{'zz':1}}", "SpecOutputs"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *body = json_of(rows[i].body);
        struct rb_problems problems;
        assert_false(decodes(body, &problems));
        json_decref(body);
        const char *words = NULL;
        for (size_t f = 0; f < problems.count; f++)
            if (strstr(problems.items[f].detail, "unknown member") != NULL)
                words = problems.items[f].detail;
        assert_non_null(words);
        json_t *properties = json_object_get(schema_of(rows[i].schema), "properties");
        assert_int_equal(names_listed(words), json_object_size(properties));
        const char *key;
        json_t *property;
        json_object_foreach(properties, key, property) if (strstr(words, key) == NULL)
            fail_msg("%s: the decoder does not know %s", rows[i].schema, key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_is_documented),
        cmocka_unit_test(test_every_documented_code_exists),
        cmocka_unit_test(test_responses_list_their_codes),
        cmocka_unit_test(test_jobs_fit_their_schema),
        cmocka_unit_test(test_registry_fits_its_schema),
        cmocka_unit_test(test_results_fit_their_schema),
        cmocka_unit_test(test_events_fit_their_schema),
        cmocka_unit_test(test_service_fits_its_schema),
        cmocka_unit_test(test_examples_decode),
        cmocka_unit_test(test_defaults_are_the_schemas),
        cmocka_unit_test(test_bounds_and_names_are_the_schemas),
        cmocka_unit_test(test_members_are_the_schemas),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
