// LINK: core_text
#include "unit/text_support.h"

#include <math.h>

#define TEXT(literal) literal, sizeof literal - 1
#define BOM "\xEF\xBB\xBF"

static const struct rb_fields no_fields, text_only = {.text = "t"}, all_fields = {"t", "u", "y"};

/* All rows as "line:text|pair|label;" or the error's words. */
static char *read_all(enum rb_format format, const struct rb_fields *fields, const char *data,
                      size_t bytes, enum rb_status *ret_status)
{
    char *out;
    size_t out_bytes;
    FILE *f = open_memstream(&out, &out_bytes);
    assert_non_null(f);
    struct rb_error err = {.detail = ""};
    struct rb_dataset_reader *r = NULL;
    enum rb_status status = rb_dataset_reader_new("file", format, fields, data, bytes, &r, &err);
    bool more = status == RB_OK;
    while (more) {
        struct rb_row row;
        status = rb_dataset_reader_next(r, &row, &more, &err);
        if (status != RB_OK || !more)
            break;
        fprintf(f, "%d:%.*s", (int)row.number, (int)row.text_bytes, row.text);
        if (row.text_pair != NULL)
            fprintf(f, "|%.*s", (int)row.text_pair_bytes, row.text_pair);
        if (!isnan(row.label))
            fprintf(f, "|%g", row.label);
        fputc(';', f);
    }
    rb_dataset_reader_free(r);
    if (status != RB_OK)
        fprintf(f, "!%s", err.detail);
    fclose(f);
    *ret_status = status;
    return out;
}

static void test_rows(void **state)
{
    (void)state;
    static const struct {
        enum rb_format format;
        const struct rb_fields *fields;
        const char *data;
        size_t bytes;
        const char *rows;
    } cases[] = {
        {RB_TEXT, &no_fields, TEXT("a\nb c\n"), "1:a;2:b c;"},
        {RB_TEXT, NULL, TEXT("a\nb"), "1:a;2:b;"},
        {RB_TEXT, NULL, TEXT(BOM "a\r\nb\rc\r\n"), "1:a;2:b\rc;"},
        {RB_TEXT, NULL, TEXT("\n \t\n\xE3\x80\x80\x1C\nx\n\n"), "4:x;"},
        {RB_TEXT, NULL, TEXT(""), ""},
        {RB_JSONL, &text_only, TEXT("{\"t\": \"a\"}\n\n  \n{\"t\":\"\\u00e9\",\"x\":[1]}"),
         "1:a;4:\xC3\xA9;"},
        {RB_JSONL, &text_only, TEXT(BOM "{\"t\": \"\"}\r\n"), "1:;"},
        {RB_JSONL, &text_only, TEXT("{\"t\": \"a\", \"id\": 123456789012345678901234567890}"),
         "1:a;"},
        {RB_JSONL, &all_fields,
         TEXT("{\"t\": \"a\", \"u\": \"b\", \"y\": 2}\n{\"t\": \"a\", \"u\": \"b\", \"y\": -0.5}\n"
              "{\"t\": \"a\", \"u\": \"b\", \"y\": true}\n{\"t\": \"a\", \"u\": \"b\", \"y\": "
              "false}\n"),
         "1:a|b|2;2:a|b|-0.5;3:a|b|1;4:a|b|0;"},
        {RB_TSV, &text_only, TEXT("x\tt\n1\ta\n2\t\n"), "2:a;3:;"},
        {RB_TSV, &all_fields, TEXT(BOM "y\tu\tt\r\n1e-1\tb\ta \"q\"\r\n\r\n+3\tb\ta"),
         "2:a \"q\"|b|0.1;4:a|b|3;"},
        {RB_TSV, &text_only, TEXT("t\n a\n \n"), "2: a;3: ;"},
        {RB_TSV, &text_only, TEXT("t\n"), ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum rb_status status;
        char *rows =
            read_all(cases[i].format, cases[i].fields, cases[i].data, cases[i].bytes, &status);
        if (status != RB_OK || strcmp(rows, cases[i].rows) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, rows, cases[i].rows);
        free(rows);
    }
}

static void test_errors_name_file_line_and_field(void **state)
{
    (void)state;
    static const struct {
        enum rb_format format;
        const struct rb_fields *fields;
        const char *data;
        size_t bytes;
        const char *words; /* after the rows before it */
    } cases[] = {
        {RB_TEXT, NULL,
         TEXT("a\nb\xE9"
              "c\n"),
         "1:a;!file: line 2: not UTF-8: byte 0xE9 at position 2"},
        {RB_TEXT, &text_only, TEXT("a\n"), "!file: lines of text have no fields"},
        {RB_JSONL, &no_fields, TEXT("{}"), "!file: which field holds the text is not said"},
        {RB_TSV, NULL, TEXT("t\na"), "!file: which field holds the text is not said"},
        {RB_JSONL, &text_only, TEXT("{\"t\":\"a\"}\n{\"t\":}\n"),
         "1:a;!file: line 2: not valid JSON at column 6: "},
        {RB_JSONL, &text_only, TEXT("{\"t\":\"a\"} x"), "!file: line 1: not valid JSON"},
        {RB_JSONL, &text_only, TEXT("{\"t\":\"a\",\"t\":\"b\"}"), "duplicate object key"},
        {RB_JSONL, &text_only, TEXT("{\"t\":\"a\xFF\"}"), "!file: line 1: not UTF-8: byte 0xFF"},
        {RB_JSONL, &text_only, TEXT("[1]"), "!file: line 1: an array, expected an object"},
        {RB_JSONL, &text_only, TEXT("7"), "!file: line 1: not valid JSON"},
        {RB_JSONL, &text_only, TEXT("{\"a\":1,\"b\":2}"),
         "!file: line 1: no member 't'; the members are 'a', 'b'"},
        {RB_JSONL, &text_only, TEXT("{}"), "!file: line 1: no member 't'; the members are none"},
        {RB_JSONL, &text_only, TEXT("{\"t\":null}"), "line 1: 't' is null, expected a string"},
        {RB_JSONL, &text_only, TEXT("{\"t\":3}"), "line 1: 't' is a number, expected a string"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":[],\"y\":1}"),
         "line 1: 'u' is an array, expected a string"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":\" \",\"y\":1}"),
         "line 1: the second text, 'u', is empty"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":\"b\",\"y\":\"3\"}"),
         "line 1: the label 'y' is the string \"3\", expected a number or a boolean"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":\"b\",\"y\":{}}"),
         "line 1: the label 'y' is an object, expected a number"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":\"b\",\"y\":1e999}"),
         "line 1: not valid JSON"},
        {RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":\"b\"}"), "no member 'y'"},
        {RB_TSV, &text_only, TEXT(""), "!file: no usable line"},
        {RB_TSV, &text_only, TEXT("a\tb\n1\t2\n"),
         "!file: line 1: no column 't'; the columns are 'a', 'b'"},
        {RB_TSV, &text_only, TEXT("t\tb\tt\n"),
         "!file: line 1: columns 1 and 3 are both called 't'"},
        {RB_TSV, &text_only, TEXT("t\ta\0\n"), "the name of column 2 contains a NUL byte"},
        {RB_TSV, &text_only, TEXT("t\tb\n1\t2\n1\n"),
         "2:1;!file: line 3: 1 cells, expected the header's 2"},
        {RB_TSV, &text_only, TEXT("t\tb\n1\t2\t3\n"), "line 2: 3 cells, expected the header's 2"},
        {RB_TSV, &all_fields, TEXT("t\tu\ty\na\t\t1\n"), "line 2: the second text, 'u', is empty"},
        {RB_TSV, &all_fields, TEXT("t\tu\ty\na\tb\tyes\n"),
         "line 2: the label 'y' is 'yes', expected a number"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum rb_status status;
        char *found =
            read_all(cases[i].format, cases[i].fields, cases[i].data, cases[i].bytes, &status);
        if (status != RB_EDATASET || strstr(found, cases[i].words) == NULL)
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, found, cases[i].words);
        free(found);
    }
}

static void test_the_error_points_to_the_field(void **state)
{
    (void)state;
    struct rb_dataset_summary s;
    struct rb_error err;
    assert_int_equal(rb_dataset_check("f", RB_TSV, &all_fields, TEXT("t\tu\n"), NULL, &s, &err),
                     RB_EDATASET);
    assert_string_equal(err.pointer, "y");
    assert_int_equal(
        rb_dataset_check("f", RB_JSONL, &all_fields, TEXT("{\"t\":\"a\",\"u\":1}"), NULL, &s, &err),
        RB_EDATASET);
    assert_string_equal(err.pointer, "u");
}

static void test_tsv_numbers(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-1", "+2.5", "3e2", ".5", "1e-400"};
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "nan",
                                      "inf",
                                      "0x1",
                                      "1e999",
                                      "1,5",
                                      "--1",
                                      "e",
                                      "1.2.3",
                                      "0000000000000000000000000000000000000000"
                                      "0000000000000000000000001"};
    for (size_t i = 0; i < COUNT(good) + COUNT(bad); i++) {
        bool ok = i < COUNT(good);
        char data[256];
        snprintf(data, sizeof data, "t\tu\ty\na\tb\t%s\n", ok ? good[i] : bad[i - COUNT(good)]);
        enum rb_status status;
        free(read_all(RB_TSV, &all_fields, data, strlen(data), &status));
        assert_int_equal(status, ok ? RB_OK : RB_EDATASET);
    }
}

static void test_check(void **state)
{
    (void)state;
    struct rb_dataset_summary s;
    struct rb_error err;
    assert_int_equal(rb_dataset_check("f", RB_TEXT, NULL, TEXT("a\n\nb\n"), NULL, &s, &err), RB_OK);
    assert_int_equal(s.rows, 2);
    assert_null(s.fields);
    assert_int_equal(s.field_count, 0);
    rb_dataset_summary_deinit(&s);

    /* without fields: the shape, and what there is to choose from */
    assert_int_equal(rb_dataset_check("f", RB_JSONL, NULL,
                                      TEXT("{\"z\":1,\"a\":\"x\"}\n{\"q\":1}\n"), NULL, &s, &err),
                     RB_OK);
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.field_count, 2);
    assert_string_equal(s.fields[0], "z");
    assert_string_equal(s.fields[1], "a");
    rb_dataset_summary_deinit(&s);

    assert_int_equal(
        rb_dataset_check("f", RB_TSV, &no_fields, TEXT("a\tb c\n1\t2\n"), NULL, &s, &err), RB_OK);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.field_count, 2);
    assert_string_equal(s.fields[1], "b c");
    rb_dataset_summary_deinit(&s);

    /* a bad row far down is found too */
    assert_int_equal(
        rb_dataset_check("f", RB_TSV, &no_fields, TEXT("a\tb\n1\t2\n1\t2\n3\n"), NULL, &s, &err),
        RB_EDATASET);
    assert_contains(err.detail, "f: line 4");
}

static void test_no_usable_line(void **state)
{
    (void)state;
    static const struct {
        enum rb_format format;
        const char *data;
        size_t bytes;
    } cases[] = {
        {RB_TEXT, TEXT("")},       {RB_TEXT, TEXT(" \n\t\n\n")}, {RB_TEXT, TEXT(BOM)},
        {RB_JSONL, TEXT("\n \n")}, {RB_TSV, TEXT("")},           {RB_TSV, TEXT("a\tb\n")},
        {RB_TSV, TEXT("a\n\n\n")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_dataset_summary s = {.rows = 77};
        struct rb_error err;
        assert_int_equal(rb_dataset_check("f.txt", cases[i].format, NULL, cases[i].data,
                                          cases[i].bytes, NULL, &s, &err),
                         RB_EDATASET);
        assert_string_equal(err.detail, "f.txt: no usable line");
        assert_int_equal(s.rows, 77); /* untouched on failure */
    }
    /* an empty mapping has no address */
    struct rb_dataset_summary s;
    assert_int_equal(rb_dataset_check("f", RB_TEXT, NULL, NULL, 0, NULL, &s, NULL), RB_EDATASET);
}

static void test_limits(void **state)
{
    (void)state;
    enum { LIMIT = 16 << 20 };
    char *data = malloc(LIMIT + 8);
    assert_non_null(data);
    memset(data, 'x', LIMIT + 8);
    struct rb_dataset_summary s;
    struct rb_error err;
    memcpy(data + LIMIT, "\r\na\n", 4);
    assert_int_equal(rb_dataset_check("f", RB_TEXT, NULL, data, LIMIT + 4, NULL, &s, &err), RB_OK);
    assert_int_equal(s.rows, 2);
    memcpy(data + LIMIT, "x\na\n", 4);
    assert_int_equal(rb_dataset_check("f", RB_TEXT, NULL, data, LIMIT + 4, NULL, &s, &err),
                     RB_EDATASET);
    assert_string_equal(err.detail, "f: line 1: longer than 16 MB");

    /* names are cut, not the message's end; many columns are refused before they cost time */
    size_t bytes = 0;
    for (int i = 0; i < 1024; i++)
        bytes += (size_t)sprintf(data + bytes, "%scolumn %d", i > 0 ? "\t" : "", i);
    assert_int_equal(rb_dataset_check("f", RB_TSV, &text_only, data, bytes, NULL, &s, &err),
                     RB_EDATASET);
    assert_contains(err.detail, "the columns are 'column 0', 'column 1'");
    assert_contains(err.detail, ", \xE2\x80\xA6");
    strcpy(data + bytes, "\tt");
    assert_int_equal(rb_dataset_check("f", RB_TSV, &text_only, data, bytes + 2, NULL, &s, &err),
                     RB_EDATASET);
    assert_contains(err.detail, "more than 1024 columns");
    memset(data, '\t', LIMIT);
    assert_int_equal(rb_dataset_check("f", RB_TSV, &text_only, data, LIMIT, NULL, &s, &err),
                     RB_EDATASET);

    /* arrays in arrays: refused by depth, not by the stack's end */
    memset(data, '[', LIMIT);
    memcpy(data, "{\"t\":", 5);
    assert_int_equal(rb_dataset_check("f", RB_JSONL, NULL, data, LIMIT, NULL, &s, &err),
                     RB_EDATASET);
    assert_contains(err.detail, "line 1: not valid JSON");
    free(data);
}

static void test_formats_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"text", "jsonl", "tsv"};
    for (size_t i = 0; i < COUNT(names); i++) {
        enum rb_format f;
        assert_true(rb_format_from_name(names[i], &f));
        assert_int_equal(f, i);
        assert_string_equal(rb_format_name(f), names[i]);
    }
    enum rb_format f = RB_TSV;
    assert_false(rb_format_from_name("csv", &f));
    assert_int_equal(f, RB_TSV);
}

static void test_fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        enum rb_format format;
        struct rb_fields fields;
        uint64_t rows;
        size_t field_count;
    } cases[] = {
        {"align.txt", RB_TEXT, {0}, 4000, 0},
        {"authors.jsonl", RB_JSONL, {.text = "sentence", .label = "label"}, 0, 2},
        {"overlap.jsonl", RB_JSONL, {"sentence1", "sentence2", "label"}, 0, 3},
        {"overlap.tsv", RB_TSV, {"sentence1", "sentence2", "label"}, 0, 3},
    };
    uint64_t overlap_rows = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/data/%s", RB_FIXTURES, cases[i].file);
        size_t bytes;
        char *data = read_whole(path, &bytes);
        struct rb_dataset_summary s;
        struct rb_error err;
        if (rb_dataset_check(cases[i].file, cases[i].format, &cases[i].fields, data, bytes, NULL,
                             &s, &err) != RB_OK)
            fail_msg("%s", err.detail);
        if (cases[i].rows > 0)
            assert_int_equal(s.rows, cases[i].rows);
        assert_int_equal(s.field_count, cases[i].field_count);
        if (strncmp(cases[i].file, "overlap", 7) == 0) {
            assert_true(overlap_rows == 0 || overlap_rows == s.rows);
            overlap_rows = s.rows;
        }
        rb_dataset_summary_deinit(&s);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_errors_name_file_line_and_field),
        cmocka_unit_test(test_the_error_points_to_the_field),
        cmocka_unit_test(test_tsv_numbers),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_no_usable_line),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_formats_have_names),
        cmocka_unit_test(test_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
