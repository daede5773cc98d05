/* Bytes to JSON, under limits that hold before the parser is let at them. */
#include "api/body.h"
#include "api/decode.h"

#include "core/json.h"

/* Line and column of a byte, as jansson counts them: from 1, columns in characters. */
static void locate(const char *text, size_t at, int *ret_line, int *ret_column)
{
    *ret_line = 1;
    *ret_column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*ret_line;
            *ret_column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*ret_column;
        }
    }
}

/* The first bracket that opens a level too many, bytes if there is none. Brackets in strings do
 * not count; whether the rest is JSON is for the parser to say. */
static size_t too_deep_at(const char *text, size_t bytes)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > RB_BODY_MAX_DEPTH)
                return i;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return bytes;
}

/* Words for people: jansson's name the C constant that would allow it. */
static const char *parser_words(const json_error_t *why)
{
    return json_error_code(why) == json_error_null_character
               ? "the character \\u0000 is not taken in a string"
               : why->text;
}

enum rb_status rb_body_parse(const char *text, size_t bytes, size_t max_bytes, json_t **ret,
                             struct rb_error *err)
{
    if (bytes > max_bytes)
        return rb_error_set(err, RB_ETOOLARGE, "expected at most %zu bytes, found %zu", max_bytes,
                            bytes);
    if (bytes == 0)
        return rb_error_set(err, RB_EJSON, "expected a JSON value, found an empty body");
    int line = 0, column = 0;
    size_t deep = too_deep_at(text, bytes);
    if (deep < bytes) {
        locate(text, deep, &line, &column);
        return rb_error_set(err, RB_EJSON,
                            "line %d, column %d: expected at most %d nested levels, found more",
                            line, column, RB_BODY_MAX_DEPTH);
    }
    json_error_t why;
    bool no_memory;
    json_t *json =
        rb_json_load(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why, &no_memory);
    if (no_memory)
        return rb_error_set(err, RB_ENOMEM, "not enough memory to read the body");
    if (json == NULL)
        return rb_error_set(err, RB_EJSON, "line %d, column %d: %s", why.line,
                            why.column > 0 ? why.column : 1, parser_words(&why));
    *ret = json;
    return RB_OK;
}
