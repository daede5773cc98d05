#include "core/text/unicode.h"

#include <assert.h>
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
