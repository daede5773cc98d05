#include "core/text/unicode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define W RB_CHAR_WORD
#define S RB_CHAR_SPACE
#define P RB_CHAR_PUNCT
#define D RB_CHAR_DROP
/* BERT takes every ASCII symbol for punctuation, also those that Unicode calls symbols ($+<=>^`|~).
 */
const uint8_t rb_ascii_class[128] = {
    D, D, D, D, D, D, D, D, D, S, S, D, D, S, D, D, /* NUL … SI */
    D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, /* DLE … US */
    S, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, /* space … / */
    W, W, W, W, W, W, W, W, W, W, P, P, P, P, P, P, /* 0 … ? */
    P, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, /* @ … O */
    W, W, W, W, W, W, W, W, W, W, W, P, P, P, P, P, /* P … _ */
    P, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, /* ` … o */
    W, W, W, W, W, W, W, W, W, W, W, P, P, P, P, D, /* p … DEL */
};

/* Unassigned code points (Cn) stay, as in Hugging Face's tokenizer, whose tables do not know them:
 * text newer than these tables becomes [UNK] rather than nothing. */
static const uint8_t category_class[] = {
    [UTF8PROC_CATEGORY_CN] = W, [UTF8PROC_CATEGORY_LU] = W, [UTF8PROC_CATEGORY_LL] = W,
    [UTF8PROC_CATEGORY_LT] = W, [UTF8PROC_CATEGORY_LM] = W, [UTF8PROC_CATEGORY_LO] = W,
    [UTF8PROC_CATEGORY_MN] = W, [UTF8PROC_CATEGORY_MC] = W, [UTF8PROC_CATEGORY_ME] = W,
    [UTF8PROC_CATEGORY_ND] = W, [UTF8PROC_CATEGORY_NL] = W, [UTF8PROC_CATEGORY_NO] = W,
    [UTF8PROC_CATEGORY_PC] = P, [UTF8PROC_CATEGORY_PD] = P, [UTF8PROC_CATEGORY_PS] = P,
    [UTF8PROC_CATEGORY_PE] = P, [UTF8PROC_CATEGORY_PI] = P, [UTF8PROC_CATEGORY_PF] = P,
    [UTF8PROC_CATEGORY_PO] = P, [UTF8PROC_CATEGORY_SM] = W, [UTF8PROC_CATEGORY_SC] = W,
    [UTF8PROC_CATEGORY_SK] = W, [UTF8PROC_CATEGORY_SO] = W, [UTF8PROC_CATEGORY_ZS] = S,
    [UTF8PROC_CATEGORY_ZL] = S, [UTF8PROC_CATEGORY_ZP] = S, [UTF8PROC_CATEGORY_CC] = D,
    [UTF8PROC_CATEGORY_CF] = D, [UTF8PROC_CATEGORY_CS] = D, [UTF8PROC_CATEGORY_CO] = D,
};
#undef W
#undef S
#undef P
#undef D

enum { REPLACEMENT_CHARACTER = 0xFFFD, I_WITH_DOT_ABOVE = 0x130, DOT_ABOVE = 0x307 };

enum rb_char_class rb_char_class(int32_t code)
{
    if (code < 128)
        return (enum rb_char_class)rb_ascii_class[code];
    if (code == REPLACEMENT_CHARACTER)
        return RB_CHAR_DROP;
    return (enum rb_char_class)category_class[utf8proc_category(code)];
}

bool rb_char_is_cjk(int32_t code)
{
    static const struct {
        int32_t first, last;
    } ranges[] = {
        {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
        {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

bool rb_char_is_space(int32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool rb_char_is_letter(int32_t code)
{
    if (code < 128)
        return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    utf8proc_category_t c = utf8proc_category(code);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool rb_char_is_number(int32_t code)
{
    if (code < 128)
        return code >= '0' && code <= '9';
    utf8proc_category_t c = utf8proc_category(code);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool rb_char_is_word(int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    bool joiner = code == 0x200C || code == 0x200D;
    /* Other_Alphabetic beyond marks and numbers: letters in circles and squares. */
    bool enclosed = (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
                    (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           joiner || enclosed;
}

static size_t decompose_without_marks(int32_t code, int32_t out[RB_NORMAL_CHARS])
{
    int32_t parts[RB_NORMAL_CHARS];
    int boundary = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(code, parts, RB_NORMAL_CHARS, UTF8PROC_DECOMPOSE, &boundary);
    assert(n > 0 && n < RB_NORMAL_CHARS); /* Unicode: at most 4 */
    size_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN)
            out[kept++] = parts[i];
    return kept;
}

size_t rb_char_normalize(int32_t code, bool strip, bool lower, int32_t out[RB_NORMAL_CHARS])
{
    size_t n = 1;
    out[0] = code;
    if (strip)
        n = decompose_without_marks(code, out);
    if (!lower)
        return n;
    /* The one character whose lower case is two, whatever stands around it. */
    if (n == 1 && out[0] == I_WITH_DOT_ABOVE) {
        out[0] = 'i';
        out[1] = DOT_ABOVE;
        return 2;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = utf8proc_tolower(out[i]);
    return n;
}

/* ---- canonical composition ---- */

/* Characters below this begin a new piece: none of them composes with what stands before it. */
enum { FIRST_MARK = 0x300, CLASSES = 256 };

/* Codes, and room to sort them in. */
struct codes {
    int32_t *codes;
    size_t count, capacity;
    int32_t *sorted;
};

static bool codes_reserve(struct codes *c, size_t more)
{
    if (c->capacity - c->count >= more)
        return true;
    size_t capacity = c->capacity + c->capacity / 2 + more + 64;
    int32_t *grown = reallocarray(c->codes, capacity, sizeof *grown);
    if (grown == NULL)
        return false;
    c->codes = grown;
    grown = reallocarray(c->sorted, capacity, sizeof *grown);
    if (grown == NULL)
        return false;
    c->sorted = grown;
    c->capacity = capacity;
    return true;
}

static unsigned combining_class(int32_t code)
{
    return (unsigned)utf8proc_get_property(code)->combining_class;
}

/* A run of marks in the order of their classes; those of one class keep theirs. By counting: a text
 * may pile up millions. */
static void sort_marks(int32_t *marks, int32_t *room, size_t count)
{
    size_t begins[CLASSES + 1] = {0};
    for (size_t i = 0; i < count; i++)
        begins[combining_class(marks[i]) + 1]++;
    for (size_t c = 1; c <= CLASSES; c++)
        begins[c] += begins[c - 1];
    for (size_t i = 0; i < count; i++)
        room[begins[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, room, count * sizeof *marks);
}

static void order_marks(struct codes *c)
{
    for (size_t i = 0; i < c->count;) {
        size_t end = i;
        while (end < c->count && combining_class(c->codes[end]) != 0)
            end++;
        if (end - i > 1)
            sort_marks(c->codes + i, c->sorted, end - i);
        i = end + 1;
    }
}

/* Appends the composed piece to out, which has room: it never grows beyond 3 times its bytes. */
static bool compose_piece(struct codes *c, const char *text, size_t bytes, char *out, size_t *used)
{
    c->count = 0;
    for (size_t i = 0; i < bytes;) {
        int32_t code;
        int boundary = 0;
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        if (n == 0 || !codes_reserve(c, RB_NORMAL_CHARS))
            return false;
        utf8proc_ssize_t made = utf8proc_decompose_char(code, c->codes + c->count, RB_NORMAL_CHARS,
                                                        UTF8PROC_DECOMPOSE, &boundary);
        assert(made > 0 && made <= RB_NORMAL_CHARS);
        c->count += (size_t)made;
        i += n;
    }
    order_marks(c);
    utf8proc_ssize_t left = utf8proc_normalize_utf32(c->codes, (utf8proc_ssize_t)c->count,
                                                     UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < left; i++)
        *used += (size_t)utf8proc_encode_char(c->codes[i], (utf8proc_uint8_t *)out + *used);
    return left >= 0;
}

static bool compose_all(const char *text, size_t bytes, struct codes *c, char *out, size_t *used)
{
    for (size_t i = 0; i < bytes;) {
        /* One character, and what follows that could change it. */
        int32_t code;
        size_t end = i + rb_utf8_decode(text + i, bytes - i, &code);
        bool plain = code < FIRST_MARK;
        while (end < bytes) {
            size_t n = rb_utf8_decode(text + end, bytes - end, &code);
            if (n == 0 || code < FIRST_MARK)
                break;
            plain = false;
            end += n;
        }
        if (end == i) /* the caller has checked that it is UTF-8 */
            return false;
        if (plain) {
            memcpy(out + *used, text + i, end - i);
            *used += end - i;
        } else if (!compose_piece(c, text + i, end - i, out, used)) {
            return false;
        }
        i = end;
    }
    return true;
}

bool rb_utf8_compose(const char **text, size_t *bytes, char **ret_owned)
{
    bool plain = true;
    for (size_t i = 0; i < *bytes && plain; i++)
        plain = (unsigned char)(*text)[i] < 0xCC; /* what U+0300 and all behind it begin with */
    if (plain)
        return true;
    struct codes c = {0};
    char *out = malloc(*bytes * 3 + 1);
    size_t used = 0;
    bool made = out != NULL && compose_all(*text, *bytes, &c, out, &used);
    free(c.codes);
    free(c.sorted);
    if (!made) {
        free(out);
        return false;
    }
    *ret_owned = out;
    *text = out;
    *bytes = used;
    return true;
}

size_t rb_utf8_decode(const char *text, size_t bytes, int32_t *ret_code)
{
    /* No character is longer than 4 bytes, and the length given must fit a signed size. */
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text,
                                          (utf8proc_ssize_t)(bytes < 4 ? bytes : 4), ret_code);
    return n > 0 ? (size_t)n : 0;
}

size_t rb_utf8_valid_prefix(const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes) {
        if ((unsigned char)text[i] < 128) {
            i++;
            continue;
        }
        int32_t code;
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        if (n == 0)
            break;
        i += n;
    }
    return i;
}

bool rb_utf8_is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        int32_t code;
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        if (n == 0)
            return false;
        if (rb_char_class(code) != RB_CHAR_SPACE && utf8proc_category(code) != UTF8PROC_CATEGORY_CC)
            return false;
        i += n;
    }
    return true;
}

const char *rb_utf8_excerpt(char *out, size_t size, const char *text, size_t bytes)
{
    static const char ellipsis[] = "…";
    size_t used = 0, fits = 0; /* fits: how much can stay if the ellipsis must follow */
    size_t i = 0;
    while (i < bytes) {
        int32_t code;
        size_t n = rb_utf8_decode(text + i, bytes - i, &code);
        bool shown = n > 0 && utf8proc_category(code) != UTF8PROC_CATEGORY_CC;
        size_t width = shown ? n : 1;
        if (used + width >= size) {
            memcpy(out + fits, ellipsis, sizeof ellipsis);
            return out;
        }
        if (shown)
            memcpy(out + used, text + i, n);
        else
            out[used] = '?';
        used += width;
        if (used + sizeof ellipsis <= size)
            fits = used;
        i += n > 0 ? n : 1;
    }
    out[used] = '\0';
    return out;
}
