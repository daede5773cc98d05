// LINK: core_tensor
#include "core/tensor/safetensors.h"
#include "core/tensor/safetensors_open.h"
#include "core/tensor/safetensors_parse.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* A file image: length, header, data_bytes bytes 0, 1, 2, ... To be freed. */
static unsigned char *image(const char *header, size_t header_bytes, size_t data_bytes,
                            size_t *ret_bytes)
{
    unsigned char *file = malloc(8 + header_bytes + data_bytes);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)header_bytes >> 8 * i);
    memcpy(file + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++)
        file[8 + header_bytes + i] = (unsigned char)i;
    *ret_bytes = 8 + header_bytes + data_bytes;
    return file;
}

static enum rb_status parse(const char *header, size_t data_bytes, struct rb_safetensors *ret,
                            struct rb_error *err)
{
    size_t bytes;
    unsigned char *file = image(header, strlen(header), data_bytes, &bytes);
    enum rb_status s = rb_safetensors_parse("f.safetensors", file, bytes, bytes, NULL, ret, err);
    free(file);
    return s;
}

/* ---- what is legal ---- */

static void test_legal_headers(void **state)
{
    (void)state;
    const struct {
        const char *header;
        size_t data_bytes, tensors;
    } rows[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{ \n\t}\r\n", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"x\":" ENTRY("F32", "[2,3]", "[0,24]") "}", 24, 1},
        {"{\"x\":" ENTRY("F32", "[2,3]", "[0,24]") "}       ", 24, 1},
        {"{ \"x\" : { \"shape\" : [ 2 ] , \"data_offsets\" : [ 0 , 4 ] , \"dtype\" : \"F16\" } }",
         4, 1},
        /* a scalar, and shapes with nothing in them, wherever they are said to lie */
        {"{\"x\":" ENTRY("F64", "[]", "[0,8]") "}", 8, 1},
        {"{\"x\":" ENTRY("F64", "[0]", "[0,0]") "}", 0, 1},
        {"{\"x\":" ENTRY("F64", "[4294967296,0,2]", "[1,1]") ",\"y\":" ENTRY(
             "U8", "[1]", "[0,1]") ",\"z\":" ENTRY("I8", "[2]", "[1,3]") "}",
         3, 3},
        /* order in the header need not be order in the file */
        {"{\"b\":" ENTRY("BOOL", "[4]", "[4,8]") ",\"a\":" ENTRY("I32", "[1]", "[0,4]") "}", 8, 2},
        {"{\"x\":" ENTRY("BF16", "[1,1,1,1,1,1,1,2]", "[0,4]") "}", 4, 1},
        {"{\"\":" ENTRY("I64", "[1]", "[0,8]") "}", 8, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_safetensors st;
        struct rb_error err = {0};
        if (parse(rows[i].header, rows[i].data_bytes, &st, &err) != RB_OK)
            fail_msg("%s: %s", rows[i].header, err.detail);
        assert_int_equal(st.tensor_count, rows[i].tensors);
        rb_safetensors_deinit(&st);
    }
}

static void test_fields(void **state)
{
    (void)state;
    const char header[] = "{\"w\":" ENTRY(
        "F16", "[2,1,2]",
        "[5,13]") ",\"__metadata__\":"
                  "{\"format\":\"pt\",\"\\u00e9\":\"\\ud83d\\ude00\"},\"\\u00fc\\n\":" ENTRY(
                      "I8", "[5]", "[0,5]") ",\"W\":" ENTRY("F32", "[]", "[13,17]") "}";
    size_t bytes;
    unsigned char *file = image(header, strlen(header), 17, &bytes);
    const unsigned char *data = file + 8 + strlen(header);
    struct rb_safetensors st;
    assert_int_equal(rb_safetensors_parse("label", file, bytes, bytes, data, &st, NULL), RB_OK);

    assert_string_equal(st.path, "label");
    assert_int_equal(st.tensor_count, 3);
    assert_string_equal(st.tensors[0].name, "W"); /* sorted */
    assert_string_equal(st.tensors[1].name, "w");
    assert_string_equal(st.tensors[2].name, "\xc3\xbc\n");

    const struct rb_tensor *w = rb_safetensors_find(&st, "w");
    assert_ptr_equal(w, &st.tensors[1]);
    assert_int_equal(w->dtype, RB_F16);
    assert_int_equal(w->rank, 3);
    assert_int_equal(w->shape[0], 2);
    assert_int_equal(w->shape[1], 1);
    assert_int_equal(w->shape[2], 2);
    assert_int_equal(w->bytes, 8);
    assert_ptr_equal(w->data, data + 5);
    assert_int_equal(rb_safetensors_find(&st, "W")->rank, 0);
    assert_ptr_equal(rb_safetensors_find(&st, "W")->data, data + 13);
    assert_null(rb_safetensors_find(&st, "v"));
    assert_null(rb_safetensors_find(&st, "__metadata__"));

    assert_int_equal(st.metadata_count, 2);
    assert_string_equal(rb_safetensors_metadata(&st, "format"), "pt");
    assert_string_equal(rb_safetensors_metadata(&st, "\xc3\xa9"), "\xf0\x9f\x98\x80");
    assert_null(rb_safetensors_metadata(&st, "w"));
    rb_safetensors_deinit(&st);

    /* Without data, on arrival: the same checks, no pointers. The header alone is enough. */
    assert_int_equal(rb_safetensors_parse("label", file, bytes - 17, bytes, NULL, &st, NULL),
                     RB_OK);
    assert_null(st.tensors[1].data);
    assert_int_equal(st.tensors[1].bytes, 8);
    rb_safetensors_deinit(&st);
    free(file);
}

/* ---- what is not ---- */

#define X_4 "{\"x\":" ENTRY("F32", "[1]", "[0,4]")

static void test_malformed_headers(void **state)
{
    (void)state;
    const struct {
        const char *header;
        size_t data_bytes;
        const char *word; /* in the detail */
    } rows[] = {
        /* the outermost object */
        {"", 0, "begin with '{'"},
        {" {}", 0, "begin with '{'"},
        {"[]", 0, "begin with '{'"},
        {"\xef\xbb\xbf{}", 0, "begin with '{'"},
        {"{", 0, "header ends at byte 1"},
        {"{}}", 0, "0x7d where padding"},
        {"{}x", 0, "0x78 where padding"},
        {"{},", 0, "0x2c where padding"},
        {"{,}", 0, "where a tensor's name"},
        {"{x:1}", 0, "where a tensor's name"},
        {X_4, 4, "header ends at byte 53 where ',' or '}'"},
        {X_4 ",", 4, "where a tensor's name"},
        {X_4 ",}", 4, "where a tensor's name"},
        {X_4 "]", 4, "0x5d where ',' or '}'"},
        {X_4 " \"y\":{}}", 4, "where ',' or '}'"},
        {"{\"x\" {}}", 0, "where ':'"},
        {"{\"x\"", 0, "header ends at byte 4 where ':'"},
        {"{\"x\":", 0, "where an object"},
        {"{\"x\":null}", 0, "where an object"},
        {"{\"x\":[]}", 0, "where an object"},
        {"{\"x\":\"{}\"}", 0, "where an object"},
        {"{\"x", 0, "within the name"},
        {"{\"x\\\"", 0, "within the name"},
        {"{\"x\\q\":{}}", 0, "invalid escape"},
        {"{\"\\u0000\":{}}", 0, "\\u0000"},
        {"{\"\xff\":{}}", 0, "decode byte 0xff"},
        {"{\"\xc3\":{}}", 0, "decode byte 0xc3"},
        {"{\"a\nb\":{}}", 0, "unexpected newline"},
        {"{\"x\":{", 0, "does not end"},
        {"{\"x\":{\"dtype\":\"F32}}", 0, "does not end"},
        {"{\"x\":{]}}", 0, "near ']'"},
        {"{\"x\":{\"dtype\":\"F32\",}}", 0, "near '}'"},
        {"{\"x\":{\"dtype\":F32}}", 0, "near 'F'"},
        {"{\"x\":{\"a\":[[[]]]}}", 0, "nests the header 5 deep, at most 4"},
        {"{\"__metadata__\":{\"a\":[[[]]]}}", 0, "nests the header 5 deep, at most 4"},

        /* duplicates */
        {X_4 ",\"x\":" ENTRY("F32", "[1]", "[0,4]") "}", 4, "duplicate name"},
        {X_4 ",\"y\":" ENTRY("F32", "[1]", "[4,8]") ",\"x\":" ENTRY("F32", "[1]", "[8,12]") "}", 12,
         "tensor 'x': duplicate name"},
        {X_4 ",\"\\u0078\":" ENTRY("F32", "[1]", "[4,8]") "}", 8, "duplicate name"},
        {"{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "duplicate object key"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate object key"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate key '__metadata__'"},

        /* __metadata__ */
        {"{\"__metadata__\":{\"a\":1}}", 0, "'a' is not a string"},
        {"{\"__metadata__\":{\"a\":null}}", 0, "'a' is not a string"},
        {"{\"__metadata__\":{\"ok\":\"\",\"b\":{\"c\":\"d\"}}}", 0, "'b' is not a string"},
        {"{\"__metadata__\":[]}", 0, "where an object"},

        /* a tensor's keys */
        {"{\"x\":{}}", 0, "no string 'dtype'"},
        {"{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no array 'shape'"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets are not two"},
        {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"packed\":true}}", 4,
         "unknown keys"},
        {"{\"x\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no string 'dtype'"},
        {"{\"x\":" ENTRY("F8_E4M3", "[4]", "[0,4]") "}", 4, "dtype 'F8_E4M3' is not supported"},
        {"{\"x\":" ENTRY("f32", "[1]", "[0,4]") "}", 4, "dtype 'f32' is not supported"},

        /* shapes */
        {"{\"x\":" ENTRY("F32", "{}", "[0,4]") "}", 4, "no array 'shape'"},
        {"{\"x\":" ENTRY("F32", "null", "[0,4]") "}", 4, "no array 'shape'"},
        {"{\"x\":" ENTRY("F32", "[[1]]", "[0,4]") "}", 4, "axis 0 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[1,1.0]", "[0,4]") "}", 4, "axis 1 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[\"1\"]", "[0,4]") "}", 4, "axis 0 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[-1]", "[0,4]") "}", 4, "axis 0 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[-1,-1]", "[0,4]") "}", 4, "axis 0 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[1e0]", "[0,4]") "}", 4, "axis 0 is not a whole number"},
        {"{\"x\":" ENTRY("F32", "[9223372036854775808]", "[0,4]") "}", 4, "too big integer"},
        {"{\"x\":" ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "9 axes, at most 8"},
        /* products that come out as 0, or as 4, if they may wrap */
        {"{\"x\":" ENTRY("F32", "[4294967296,4294967296]", "[0,0]") "}", 0, "too large"},
        {"{\"x\":" ENTRY("F32", "[4611686018427387904]", "[0,0]") "}", 0, "too large"},
        {"{\"x\":" ENTRY("F32", "[4611686018427387905]", "[0,4]") "}", 4, "too large"},
        {"{\"x\":" ENTRY("F32", "[0,4294967296,4294967296]", "[0,0]") "}", 0, "too large"},
        {"{\"x\":" ENTRY("F32", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "too large"},

        /* offsets */
        {"{\"x\":" ENTRY("F32", "[1]", "[]") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "[0]") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "[0,4,8]") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "[0,4.0]") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "[0.0,4]") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "{\"0\":0}") "}", 4, "data_offsets are not two"},
        {"{\"x\":" ENTRY("F32", "[1]", "[-4,0]") "}", 4, "[-4,0] are not in order"},
        {"{\"x\":" ENTRY("F32", "[1]", "[4,0]") "}", 4, "[4,0] are not in order"},
        {"{\"x\":" ENTRY("F32", "[1]", "[1,5]") "}", 4, "end at 5, beyond the 4 data bytes"},
        {"{\"x\":" ENTRY("F32", "[1]", "[0,4]") "}", 3, "end at 4, beyond the 3 data bytes"},
        {"{\"x\":" ENTRY("F32", "[2,3]", "[0,20]") "}", 20,
         "f.safetensors: tensor 'x': shape [2, 3] of F32 needs 24 bytes, data_offsets give 20"},
        {"{\"x\":" ENTRY("F32", "[2,3]", "[0,25]") "}", 25, "needs 24 bytes"},
        {"{\"x\":" ENTRY("F32", "[]", "[0,0]") "}", 0, "shape [] of F32 needs 4 bytes"},
        {"{\"x\":" ENTRY("F32", "[0]", "[0,4]") "}", 4, "shape [0] of F32 needs 0 bytes"},
        {"{\"x\":" ENTRY("BF16", "[1]", "[0,4]") "}", 4, "shape [1] of BF16 needs 2 bytes"},

        /* the data as a whole */
        {"{}", 1, "1 data bytes in the file, the tensors cover 0"},
        {X_4 "}", 8, "8 data bytes in the file, the tensors cover 4"},
        {"{\"x\":" ENTRY("F32", "[1]", "[4,8]") "}", 8, "'x': hole: begins at 4"},
        {X_4 ",\"y\":" ENTRY("F32", "[1]", "[8,12]") "}", 12, "'y': hole: begins at 8"},
        {X_4 ",\"y\":" ENTRY("F32", "[1]", "[0,4]") "}", 4, "overlap: begins at 0"},
        {X_4 ",\"y\":" ENTRY("U8", "[3]", "[2,5]") "}", 5, "'y': overlap: begins at 2"},
        {"{\"x\":" ENTRY("U8", "[8]", "[0,8]") ",\"y\":" ENTRY("U8", "[2]", "[3,5]") "}", 8,
         "'y': overlap: begins at 3, within 'x' which ends at 8"},
        {"{\"x\":" ENTRY("U8", "[8]", "[0,8]") ",\"y\":" ENTRY("U8", "[0]", "[3,3]") "}", 8,
         "'y': overlap: begins at 3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rb_safetensors st, untouched;
        struct rb_error err = {0};
        memset(&st, 0x5a, sizeof st);
        memset(&untouched, 0x5a, sizeof untouched);
        enum rb_status s = parse(rows[i].header, rows[i].data_bytes, &st, &err);
        if (s != RB_ESAFETENSORS || err.status != RB_ESAFETENSORS)
            fail_msg("%s: status %s (%s)", rows[i].header, rb_status_code(s), err.detail);
        if (strstr(err.detail, rows[i].word) == NULL)
            fail_msg("%s: '%s' should say '%s'", rows[i].header, err.detail, rows[i].word);
        assert_memory_equal(err.detail, "f.safetensors: ", 15);
        assert_memory_equal(&st, &untouched, sizeof st);
        assert_int_equal(parse(rows[i].header, rows[i].data_bytes, &st, NULL), RB_ESAFETENSORS);
    }
}

static void refuse(const void *head, size_t head_bytes, uint64_t file_bytes, const char *word)
{
    struct rb_safetensors st;
    struct rb_error err = {0};
    assert_int_equal(rb_safetensors_parse("f", head, head_bytes, file_bytes, NULL, &st, &err),
                     RB_ESAFETENSORS);
    if (strstr(err.detail, word) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
}

static void test_lengths(void **state)
{
    (void)state;
    unsigned char head[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    for (size_t n = 0; n < 8; n++)
        refuse(head, n, n, "too few");
    refuse(head, 10, 7, "7 bytes are too few");
    refuse(head, 8, 8, "header length 2, but the file has 8 bytes");
    refuse(head, 9, 9, "header length 2, but the file has 9 bytes");
    refuse(head, 9, 10, "only 9 bytes have arrived");
    head[0] = 3;
    refuse(head, 10, 10, "header length 3, but the file has 10 bytes");
    head[0] = 0;
    refuse(head, 10, 10, "begin with '{'");
    memset(head, 0xff, 8); /* 8 + length wraps around */
    refuse(head, 10, UINT64_MAX, "header length 18446744073709551615, at most 100000000");
    const unsigned char over[] = {0x01, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}'};
    refuse(over, 10, 200000000, "header length 100000001, at most 100000000");
    const unsigned char most[] = {0x00, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}'};
    refuse(most, 10, 200000000, "only 10 bytes have arrived");
}

/* A real header cut anywhere is refused, and no byte beyond it is read (ASan). */
static void test_every_truncation(void **state)
{
    (void)state;
    const char header[] =
        "{\"__metadata__\":{\"a\":\"\\u00e9\"},\"x\":" ENTRY("F32", "[2,3]", "[0,24]") "}";
    for (size_t n = 0; n < strlen(header); n++) {
        size_t bytes;
        struct rb_safetensors st;
        unsigned char *file = image(header, n, 24, &bytes);
        if (rb_safetensors_parse("f", file, bytes, bytes, NULL, &st, NULL) != RB_ESAFETENSORS)
            fail_msg("accepted the first %zu bytes", n);
        free(file);
    }
}

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
    char *out;
    va_list args;
    va_start(args, format);
    assert_true(vasprintf(&out, format, args) >= 0);
    va_end(args);
    return out;
}

static void refuse_text(char *header, size_t data_bytes, const char *word)
{
    size_t bytes;
    unsigned char *file = image(header, strlen(header), data_bytes, &bytes);
    refuse(file, bytes, bytes, word);
    free(file);
    free(header);
}

static void accept_text(char *header, size_t data_bytes)
{
    struct rb_safetensors st;
    struct rb_error err = {0};
    if (parse(header, data_bytes, &st, &err) != RB_OK)
        fail_msg("%s", err.detail);
    rb_safetensors_deinit(&st);
    free(header);
}

static char *repeat(const char *what, size_t times)
{
    size_t length = strlen(what);
    char *out = malloc(length * times + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(out + i * length, what, length);
    out[length * times] = '\0';
    return out;
}

static void test_caps(void **state)
{
    (void)state;
    const char entry[] = ENTRY("U8", "[1]", "[0,1]");
    char *a512 = repeat("a", 512), *u512 = repeat("\\u0061", 512), *spaces = repeat(" ", 66000);
    char *brackets = repeat("[", 1000000), *pairs = repeat("[],", 30000);
    accept_text(text("{\"%s\":%s}", a512, entry), 1);
    accept_text(text("{\"%s\":%s}", u512, entry), 1);
    refuse_text(text("{\"%sb\":%s}", a512, entry), 1, "name of 513 bytes");
    refuse_text(text("{\"%s%s%s%s%s%s%s\":%s}", a512, a512, a512, a512, a512, a512, a512, entry), 1,
                "name of 3584 bytes");
    refuse_text(text("{\"%s%s%s%s%s%s%s\\q\":%s}", a512, a512, a512, a512, a512, a512, a512, entry),
                1, "name of 3586 bytes"); /* before a parser sees it */
    /* what would cost a parser its stack or its memory */
    refuse_text(text("{\"x\":{\"shape\":%s", brackets), 0, "does not end");
    refuse_text(text("{\"x\":{\"shape\":[[%s[]]]}}", pairs), 0, "nests the header 5 deep");
    refuse_text(text("{\"x\":{\"shape\":[%s[]]}}", pairs), 0, "too large");
    refuse_text(text("{\"x\":{%s\"dtype\":\"U8\"}}", spaces), 0, "too large");
    free(pairs);
    pairs = repeat("\"\",", 70000);
    refuse_text(text("{\"__metadata__\":{\"a\":[%s\"\"]}}", pairs), 0, "too large");
    refuse_text(text("{\"__metadata__\":{\"a\":[%s1]}}", spaces), 0, "'a' is not a string");
    free(pairs);
    free(brackets);
    free(spaces);
    free(u512);
    free(a512);
}

static void test_too_many_tensors(void **state)
{
    (void)state;
    size_t used = 1, row = 64, count = RB_ST_MAX_TENSORS + 1;
    char *header = malloc(count * row + 2);
    header[0] = '{';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(header + used, row, "\"%zu\":" ENTRY("U8", "[0]", "[0,0]") "%s", i,
                                 i + 1 < count ? "," : "}");
    refuse_text(header, 0, "over 1000000 tensors");
}

static void test_messages_are_printable(void **state)
{
    (void)state;
    struct rb_safetensors st;
    struct rb_error err = {0};
    assert_int_equal(parse("{\"\\u001b[31m\\n\":{}}", 0, &st, &err), RB_ESAFETENSORS);
    assert_string_equal(err.detail, "f.safetensors: tensor '?[31m?': no string 'dtype'");
    /* cut at 120 bytes, in the middle of a character */
    char *name = repeat("\xe2\x82\xac", 170), *shown = repeat("\xe2\x82\xac", 40);
    char *header = text("{\"a%s\":{}}", name), *words = text("'a%.117s%s': no string", shown,
                                                             "?"
                                                             "?");
    assert_int_equal(parse(header, 0, &st, &err), RB_ESAFETENSORS);
    assert_non_null(strstr(err.detail, words));
    free(words);
    free(header);
    free(shown);
    free(name);
}

static void test_shape_text(void **state)
{
    (void)state;
    const uint64_t shape[RB_ST_MAX_RANK] = {512, 128, UINT64_MAX};
    char buffer[64], small[8];
    assert_string_equal(rb_shape_text(shape, 0, buffer, sizeof buffer), "[]");
    assert_string_equal(rb_shape_text(shape, 1, buffer, sizeof buffer), "[512]");
    assert_string_equal(rb_shape_text(shape, 3, buffer, sizeof buffer),
                        "[512, 128, 18446744073709551615]");
    assert_string_equal(rb_shape_text(shape, 3, small, sizeof small), "[512, 1");
}

/* ---- files ---- */

static void test_open(void **state)
{
    (void)state;
    struct rb_safetensors st;
    struct rb_error err = {0};
    const char path[] = RB_FIXTURES "/models/bert-a/model.safetensors";
    assert_int_equal(rb_safetensors_open(path, &st, &err), RB_OK);
    assert_string_equal(rb_safetensors_metadata(&st, "format"), "pt");
    const struct rb_tensor *t = rb_safetensors_find(&st, "bert.embeddings.word_embeddings.weight");
    assert_int_equal(t->dtype, RB_F32);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 512);
    assert_int_equal(t->shape[1], 128);

    /* the bytes are those of the file */
    size_t bytes;
    unsigned char *file = tmpdir_read(path, &bytes);
    size_t header = (size_t)file[0] | (size_t)file[1] << 8;
    assert_memory_equal(t->data, file + 8 + header, t->bytes);
    size_t sum = 0;
    for (size_t i = 0; i < st.tensor_count; i++)
        sum += st.tensors[i].bytes;
    assert_int_equal(sum, bytes - 8 - header);
    free(file);
    rb_safetensors_deinit(&st);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(rb_safetensors_open_fd(fd, "upload", &st, &err), RB_OK);
    close(fd);
    assert_string_equal(st.path, "upload");
    assert_non_null(rb_safetensors_find(&st, "bert.embeddings.word_embeddings.weight"));
    rb_safetensors_deinit(&st);
}

static void refuse_file(const char *path, enum rb_status status, const char *word)
{
    struct rb_safetensors st;
    struct rb_error err = {0};
    assert_int_equal(rb_safetensors_open(path, &st, &err), status);
    if (strstr(err.detail, word) == NULL || strstr(err.detail, path) == NULL)
        fail_msg("'%s' should say '%s'", err.detail, word);
}

static void test_open_refuses(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    refuse_file(tmpdir_path(&dir, "absent"), RB_ENOTFOUND, "No such file");
    refuse_file(dir.path, RB_ENOTFOUND, "not a regular file");
    assert_int_equal(mkfifo(tmpdir_path(&dir, "fifo"), 0600), 0);
    refuse_file(tmpdir_path(&dir, "fifo"), RB_ENOTFOUND, "not a regular file");
    refuse_file(tmpdir_write(&dir, "empty", "", 0), RB_ESAFETENSORS, "0 bytes are too few");
    refuse_file(tmpdir_write(&dir, "short", "\2\0\0\0\0\0\0", 7), RB_ESAFETENSORS, "too few");
    refuse_file(tmpdir_write(&dir, "cut", "\3\0\0\0\0\0\0\0{}", 10), RB_ESAFETENSORS,
                "header length 3, but the file has 10 bytes");
    refuse_file(tmpdir_write(&dir, "html", "<!DOCTYPE html>", 15), RB_ESAFETENSORS,
                "at most 100000000");
    refuse_file(tmpdir_write(&dir, "hole", "\2\0\0\0\0\0\0\0{}x", 11), RB_ESAFETENSORS,
                "the tensors cover 0");
    tmpdir_deinit(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legal_headers),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_malformed_headers), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_every_truncation),  cmocka_unit_test(test_caps),
        cmocka_unit_test(test_too_many_tensors),  cmocka_unit_test(test_messages_are_printable),
        cmocka_unit_test(test_shape_text),        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
