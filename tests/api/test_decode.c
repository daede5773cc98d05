// LINK: rb_api
/* The validator by itself, with a table of its own. */
#include "api/body.h"
#include "tests/api/api_support.h"

static const char *const color_names[] = {"red", "green", "blue", NULL};
enum color { RED, GREEN, BLUE };

struct inner {
    uint32_t given;
    double share;
};

struct sample {
    uint32_t given;
    bool on;
    int32_t step;
    uint32_t count;
    uint64_t seed;
    char *text, *name, *job;
    enum color color;
    unsigned colors;
    struct rb_numbers numbers;
    struct rb_labels labels;
    struct inner inner;
};

#define AT(member) .offset = offsetof(struct sample, member)
static const struct rb_field inner_fields[] = {
    {.key = "share",
     .type = RB_FIELD_NUMBER,
     .offset = offsetof(struct inner, share),
     .low = 0,
     .open_low = true,
     .high = 1,
     .given = 1,
     .required = true},
};
static const struct rb_object inner_object = {
    .fields = inner_fields, .field_count = 1, .given_offset = offsetof(struct inner, given)};
static const struct rb_field fields[] = {
    {.key = "on", .type = RB_FIELD_BOOL, AT(on), .given = 1},
    {.key = "step", .type = RB_FIELD_INT, AT(step), .low = -5, .high = 5, .given = 2},
    {.key = "count", .type = RB_FIELD_UINT, AT(count), .low = 2, .high = 1001, .given = 4},
    {.key = "seed", .type = RB_FIELD_UINT64, AT(seed), .high = 9007199254740991.0},
    {.key = "text",
     .type = RB_FIELD_STRING,
     AT(text),
     .low = 1,
     .high = 4,
     .nullable = true,
     .given = 8},
    {.key = "name", .type = RB_FIELD_NAME, AT(name)},
    {.key = "job", .type = RB_FIELD_JOB_ID, AT(job)},
    {.key = "color", .type = RB_FIELD_ENUM, AT(color), .names = color_names},
    {.key = "colors", .type = RB_FIELD_FLAGS, AT(colors), .names = color_names},
    {.key = "numbers", .type = RB_FIELD_NUMBERS, AT(numbers), .low = 0, .high = 1, .most = 3},
    {.key = "labels", .type = RB_FIELD_LABELS, AT(labels)},
    {.key = "inner", .type = RB_FIELD_OBJECT, AT(inner), .object = &inner_object},
};
static const struct rb_object object = {.fields = fields,
                                        .field_count = sizeof fields / sizeof fields[0],
                                        .given_offset = offsetof(struct sample, given)};

static void sample_deinit(struct sample *s)
{
    free(s->text);
    free(s->name);
    free(s->job);
    rb_numbers_deinit(&s->numbers);
    rb_labels_deinit(&s->labels);
}

static void decode(const char *body, struct sample *s, struct rb_problems *problems)
{
    json_t *json = json_of(body);
    rb_object_decode(json, "", &object, 0, s, problems);
    json_decref(json);
}

static void test_every_type_lands(void **state)
{
    (void)state;
    struct sample s = {0};
    struct rb_problems problems = {0};
    decode("{'on':true,'step':-5,'count':21.0,'seed':9007199254740991,'text':'漢字ab',"
           "'name':'bert-a.2','job':'job_019a2c9e-7c1d-7b3e-8f00-1234567890ab','color':'blue',"
           "'colors':['blue','red'],'numbers':[0.5,0,-0.0],'labels':{'b':'2','a':''},"
           "'inner':{'share':1}}",
           &s, &problems);
    assert_int_equal(problems.count, 0);
    assert_true(s.on);
    assert_int_equal(s.step, -5);
    assert_int_equal(s.count, 21);
    assert_true(s.seed == UINT64_C(9007199254740991));
    assert_string_equal(s.text, "漢字ab");
    assert_string_equal(s.name, "bert-a.2");
    assert_string_equal(s.job, "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab");
    assert_int_equal(s.color, BLUE);
    assert_int_equal(s.colors, 1 << BLUE | 1 << RED);
    assert_int_equal(s.numbers.count, 3);
    assert_true(s.numbers.values[0] == 0.5);
    assert_int_equal(s.labels.count, 2);
    assert_string_equal(s.labels.items[0].key, "a");
    assert_string_equal(s.labels.items[1].value, "2");
    assert_true(s.inner.share == 1);
    assert_int_equal(s.given, 1 | 2 | 4 | 8);
    assert_int_equal(s.inner.given, 1);
    sample_deinit(&s);
}

static void test_faults_say_where_and_what(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer, *word;
    } rows[] = {
        {"[]", "", "expected an object, found an array"},
        {"7", "", "found 7"},
        {"{'on':1}", "/on", "expected true or false, found 1"},
        {"{'on':null}", "/on", "found null"},
        {"{'count':'x'}", "/count", "expected an integer from 2 to 1001, found \"x\""},
        {"{'count':1}", "/count", "expected an integer from 2 to 1001, found 1"},
        {"{'count':1002}", "/count", "found 1002"},
        {"{'count':2.5}", "/count", "found 2.5"},
        {"{'step':-6}", "/step", "expected an integer from -5 to 5"},
        {"{'seed':9007199254740992}", "/seed", "from 0 to 9007199254740991"},
        {"{'seed':-1}", "/seed", "found -1"},
        {"{'text':''}", "/text", "a string of 1 to 4 characters"},
        {"{'text':'漢字漢字漢'}", "/text", "1 to 4 characters"},
        {"{'text':'a\\u0001'}", "/text", "found \"a?\""},
        {"{'name':'Bert'}", "/name", "starting with a letter or digit"},
        {"{'job':'job_1'}", "/job", "UUIDv7"},
        {"{'color':'gren'}", "/color",
         "expected one of red, green, blue, found \"gren\"; did you mean \"green\"?"},
        {"{'color':'zzzzzzz'}", "/color", "found \"zzzzzzz\""},
        {"{'color':3}", "/color", "expected one of red, green, blue, found 3"},
        {"{'colors':'red'}", "/colors", "expected an array of red, green, blue"},
        {"{'colors':['red','bleu']}", "/colors/1", "did you mean \"blue\"?"},
        {"{'colors':['red','red']}", "/colors/1", "once"},
        {"{'numbers':[0,1.5]}", "/numbers/1", "expected a number from 0 to 1, found 1.5"},
        {"{'numbers':[0,0,0,0]}", "/numbers", "at most 3 numbers, found 4"},
        {"{'numbers':{}}", "/numbers", "found an object"},
        {"{'labels':{'A':'x'}}", "/labels/A", "label's key"},
        {"{'labels':{'a':1}}", "/labels/a", "found 1"},
        {"{'labels':[]}", "/labels", "found an array"},
        {"{'inner':{}}", "/inner/share", "required"},
        {"{'inner':{'share':0}}", "/inner/share", "above 0, at most 1"},
        {"{'inner':[]}", "/inner", "expected an object"},
        {"{'cuont':3}", "/cuont", "unknown member"},
        {"{'cuont':3}", "/cuont", "did you mean \"count\"?"},
        {"{'a/b~c':3}", "/a~1b~0c", "unknown member"},
        {"{'inner':{'share':1,'x':1}}", "/inner/x", "expected one of share"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample s = {0};
        struct rb_problems problems = {0};
        decode(rows[i].body, &s, &problems);
        assert_int_equal(problems.count, 1);
        assert_fault(&problems, rows[i].pointer, rows[i].word, rows[i].body);
        struct rb_error err = {0};
        assert_int_equal(rb_problems_status(&problems, &err), RB_EINPUT);
        assert_string_equal(err.pointer, rows[i].pointer);
        sample_deinit(&s);
    }
}

/* An unlikely guess is not made. */
static void test_no_wild_suggestions(void **state)
{
    (void)state;
    char words[320];
    rb_enum_describe(color_names, "xylophone", words, sizeof words);
    assert_null(strstr(words, "did you mean"));
    rb_enum_describe(color_names, "", words, sizeof words);
    assert_null(strstr(words, "did you mean"));
    assert_int_equal(rb_enum_find(color_names, "green"), GREEN);
    assert_int_equal(rb_enum_find(color_names, "Green"), -1);
}

static void test_many_faults_are_counted(void **state)
{
    (void)state;
    struct sample s = {0};
    struct rb_problems problems = {0};
    json_t *json = json_object();
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(json, key, json_null());
    }
    rb_object_decode(json, "/jobs/3", &object, 0, &s, &problems);
    json_decref(json);
    assert_int_equal(problems.count, RB_PROBLEMS_MAX);
    assert_int_equal(problems.found, 20);
    assert_string_equal(problems.items[0].pointer, "/jobs/3/k0");
    struct rb_error err = {0};
    assert_int_equal(rb_problems_status(&problems, &err), RB_EINPUT);
    assert_non_null(strstr(err.detail, "and 19 more"));
}

static void test_null_clears_what_is_nullable(void **state)
{
    (void)state;
    struct sample s = {0};
    struct rb_problems problems = {0};
    decode("{'text':null}", &s, &problems);
    assert_int_equal(problems.count, 0);
    assert_int_equal(s.given, 8);
    assert_null(s.text);
}

/* A pointer too long for its buffer ends between two characters. */
static void test_long_keys_are_cut_between_characters(void **state)
{
    (void)state;
    char key[400];
    size_t n = 0;
    while (n + 3 < sizeof key) {
        memcpy(key + n, "漢", 3);
        n += 3;
    }
    key[n] = '\0';
    for (size_t size = 8; size < 40; size++) {
        char pointer[40] = "/x";
        rb_pointer_append(pointer, size, key);
        assert_true(strlen(pointer) < size);
        json_t *check = json_string(pointer); /* NULL unless UTF-8 */
        assert_non_null(check);
        json_decref(check);
    }
    struct sample s = {0};
    struct rb_problems problems = {0};
    json_t *json = json_object();
    json_object_set_new(json, key, json_string(key));
    json_object_set_new(json, "color", json_string(key));
    rb_object_decode(json, "", &object, 0, &s, &problems);
    json_decref(json);
    assert_int_equal(problems.count, 2);
    for (size_t i = 0; i < problems.count; i++) {
        json_t *check = json_string(problems.items[i].detail);
        assert_non_null(check);
        json_decref(check);
    }
}

/* ---- bodies ---- */

static enum rb_status parse(const char *text, struct rb_error *err)
{
    json_t *json = NULL;
    enum rb_status status = rb_body_parse(text, strlen(text), 4096, &json, err);
    if (status == RB_OK)
        json_decref(json);
    else
        assert_null(json);
    return status;
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum rb_status status;
        const char *word;
    } rows[] = {
        {"{\"a\":[1,2,{}]}", RB_OK, ""},
        {"7", RB_OK, ""},
        {"", RB_EJSON, "empty"},
        {"{\"a\":1,\n \"b\" 2}", RB_EJSON, "line 2, column 6"},
        {"{\"a\":1,\"a\":2}", RB_EJSON, "duplicate"},
        {"{\"a\":1} x", RB_EJSON, "line 1"},
        {"{\"a\":", RB_EJSON, "line 1"},
        {"{'a':1}", RB_EJSON, "line 1"},
        {"[1e999]", RB_EJSON, "line 1"},
        {"[123456789012345678901234567890]", RB_EJSON, "line 1"},
        {"[\"\xff\"]", RB_EJSON, "line 1"},
        {"[\"\\u0000\"]", RB_EJSON, "line 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_error err = {0};
        assert_int_equal(parse(rows[i].text, &err), rows[i].status);
        assert_non_null(strstr(err.detail, rows[i].word));
    }
}

static void test_body_limits(void **state)
{
    (void)state;
    char text[256];
    struct rb_error err = {0};
    for (size_t depth = RB_BODY_MAX_DEPTH; depth <= RB_BODY_MAX_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        assert_int_equal(parse(text, &err), depth > RB_BODY_MAX_DEPTH ? RB_EJSON : RB_OK);
    }
    assert_non_null(strstr(err.detail, "column 33"));
    /* Brackets in strings nest nothing. */
    assert_int_equal(parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[\"]", &err),
                     RB_OK);
    json_t *json = NULL;
    assert_int_equal(rb_body_parse("[1,2,3]", 7, 6, &json, &err), RB_ETOOLARGE);
    assert_non_null(strstr(err.detail, "at most 6 bytes, found 7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_lands),
        cmocka_unit_test(test_faults_say_where_and_what),
        cmocka_unit_test(test_no_wild_suggestions),
        cmocka_unit_test(test_many_faults_are_counted),
        cmocka_unit_test(test_null_clears_what_is_nullable),
        cmocka_unit_test(test_long_keys_are_cut_between_characters),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_body_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
