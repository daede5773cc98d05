#include "core/text/pretokenize.h"

#include "core/text/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- the patterns ---- */

static const struct {
    const char *name, *pattern; /* pattern NULL: not a regular expression */
} steps[] = {
    [RB_PRE_GPT2] = {"GPT-2's pattern", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
                                        "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    [RB_PRE_LLAMA3] = {"Llama 3's pattern",
                       "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                       "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    [RB_PRE_QWEN2] = {"Qwen2's pattern",
                      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    [RB_PRE_DIGITS] = {"digits one by one", NULL},
    [RB_PRE_NUMBERS] = {"numbers apart", NULL},
    [RB_PRE_PREFIX_SPACE] = {"a space in front", NULL},
};

bool rb_pre_step_of(const char *pattern, enum rb_pre_step *ret)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i].pattern != NULL && strcmp(steps[i].pattern, pattern) == 0) {
            *ret = (enum rb_pre_step)i;
            return true;
        }
    return false;
}

const char *rb_pre_step_name(enum rb_pre_step step)
{
    return steps[step].name;
}

/* ---- characters ---- */

/* What the patterns distinguish. */
enum class { LETTER, NUMBER, SPACE, OTHER, END };

static const uint8_t ascii_class[128] = {['\t'] = SPACE + 1, ['\n'] = SPACE + 1, ['\v'] = SPACE + 1,
                                         ['\f'] = SPACE + 1, ['\r'] = SPACE + 1, [' '] = SPACE + 1};

/* The class of the character at text + at, and its bytes. */
static enum class class_at(const char *text, size_t bytes, size_t at, size_t *ret_bytes) {
    if (at >= bytes){ *ret_bytes = 0; return END;}
unsigned char c = (unsigned char)text[at];
int32_t code = c;
*ret_bytes = 1;
if (c < 128 && ascii_class[c] != 0)
    return SPACE;
if (c >= 128) {
    size_t n = rb_utf8_decode(text + at, bytes - at, &code);
    assert(n > 0);
    *ret_bytes = n;
    if (rb_char_is_space(code))
        return SPACE;
}
if (rb_char_is_letter(code))
    return LETTER;
return rb_char_is_number(code) ? NUMBER : OTHER;
}

/* The end of the run of this class that begins at `at`, of at most `most` characters. */
static size_t run_end(enum class class, const char *text, size_t bytes, size_t at, size_t most)
{
    size_t n;
    while (most-- > 0 && class_at(text, bytes, at, &n) == class)
        at += n;
    return at;
}

/* The last character of text[0, end). */
static size_t last_begin(const char *text, size_t end)
{
    size_t begin = end - 1;
    while (begin > 0 && ((unsigned char)text[begin] & 0xC0) == 0x80)
        begin--;
    return begin;
}

/* ---- the parts that patterns share ---- */

/* 's|'t|'re|'ve|'m|'ll|'d: bytes of the one at text[0], 0 if none is. Without regard to case, a
 * long s is an s too. */
static size_t contraction(const char *text, size_t bytes, bool any_case)
{
    if (bytes < 2 || text[0] != '\'')
        return 0;
    static const char long_s[] = "\xC5\xBF";
    if (any_case && bytes >= 3 && memcmp(text + 1, long_s, 2) == 0)
        return 3;
    char fold = any_case ? 0x20 : 0;
    char first = (char)(text[1] | fold), second = (char)(bytes > 2 ? text[2] | fold : 0);
    switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return 2;
    case 'r':
    case 'v':
        return second == 'e' ? 3 : 0;
    case 'l':
        return second == 'l' ? 3 : 0;
    default:
        return 0;
    }
}

/* \s+(?!\S)|\s+ of the white space at text[0]: all of a run but its last character, which belongs
 * to the word that follows; all of it at the end of the text or if it is one character. */
static size_t white_space(const char *text, size_t bytes)
{
    size_t end = run_end(SPACE, text, bytes, 0, SIZE_MAX);
    if (end == bytes)
        return end;
    size_t last = last_begin(text, end);
    return last > 0 ? last : end;
}

static size_t next_gpt2(const char *text, size_t bytes)
{
    size_t n = contraction(text, bytes, false);
    if (n > 0)
        return n;
    size_t begin = text[0] == ' ';
    enum class class = class_at(text, bytes, begin, &n);
    if (class == SPACE || class == END)
        return white_space(text, bytes);
    return run_end(class, text, bytes, begin, SIZE_MAX);
}

static bool is_newline(char c)
{
    return c == '\r' || c == '\n';
}

/* \s*[\r\n]+ at text[0]: up to the last line end of the run; 0 if the run has none. */
static size_t to_last_newline(const char *text, size_t bytes)
{
    size_t end = run_end(SPACE, text, bytes, 0, SIZE_MAX);
    while (end > 0 && !is_newline(text[end - 1]))
        end--;
    return end;
}

static size_t next_llama3(const char *text, size_t bytes, size_t numbers)
{
    size_t n, m;
    size_t end = contraction(text, bytes, true);
    if (end > 0)
        return end;
    enum class first = class_at(text, bytes, 0, &n), second = class_at(text, bytes, n, &m);
    if (first == LETTER)
        return run_end(LETTER, text, bytes, 0, SIZE_MAX);
    if (first != NUMBER && !is_newline(text[0]) && second == LETTER)
        return run_end(LETTER, text, bytes, n, SIZE_MAX);
    if (first == NUMBER)
        return run_end(NUMBER, text, bytes, 0, numbers);
    if (first == OTHER || (text[0] == ' ' && second == OTHER)) {
        end = run_end(OTHER, text, bytes, first == OTHER ? 0 : n, SIZE_MAX);
        while (end < bytes && is_newline(text[end]))
            end++;
        return end;
    }
    end = to_last_newline(text, bytes);
    return end > 0 ? end : white_space(text, bytes);
}

/* Numbers: one, or a run; else all up to the next. */
static size_t next_number(const char *text, size_t bytes, size_t numbers)
{
    size_t end = run_end(NUMBER, text, bytes, 0, numbers), n;
    if (end > 0)
        return end;
    for (enum class class = OTHER; class != NUMBER && class != END; end += n)
        class = class_at(text, bytes, end, &n);
    return end - n;
}

size_t rb_pre_next(enum rb_pre_step step, const char *text, size_t bytes)
{
    switch (step) {
    case RB_PRE_GPT2:
        return next_gpt2(text, bytes);
    case RB_PRE_LLAMA3:
        return next_llama3(text, bytes, 3);
    case RB_PRE_QWEN2:
        return next_llama3(text, bytes, 1);
    case RB_PRE_DIGITS:
        return next_number(text, bytes, 1);
    case RB_PRE_NUMBERS:
        return next_number(text, bytes, SIZE_MAX);
    case RB_PRE_PREFIX_SPACE:
        break;
    }
    return bytes;
}

/* ---- all steps ---- */

static enum rb_status run(const struct rb_pretokenizer *p, size_t step, const char *text,
                          size_t bytes, rb_pre_visit *visit, void *data, struct rb_error *err)
{
    if (step == p->count)
        return visit(data, text, bytes, err);
    enum rb_status status = RB_OK;
    if (p->steps[step] != RB_PRE_PREFIX_SPACE) {
        for (size_t at = 0, n; at < bytes && status == RB_OK; at += n) {
            n = rb_pre_next(p->steps[step], text + at, bytes - at);
            status = run(p, step + 1, text + at, n, visit, data, err);
        }
        return status;
    }
    if (text[0] == ' ')
        return run(p, step + 1, text, bytes, visit, data, err);
    char *copy = malloc(bytes + 1);
    if (copy == NULL)
        return rb_error_set(err, RB_ENOMEM, "out of memory for a text of %zu bytes", bytes);
    copy[0] = ' ';
    memcpy(copy + 1, text, bytes);
    status = run(p, step + 1, copy, bytes + 1, visit, data, err);
    free(copy);
    return status;
}

enum rb_status rb_pretokenize(const struct rb_pretokenizer *p, const char *text, size_t bytes,
                              rb_pre_visit *visit, void *data, struct rb_error *err)
{
    return bytes > 0 ? run(p, 0, text, bytes, visit, data, err) : RB_OK;
}
