#include "server/http/text.h"

#include <string.h>

/* Bytes of the UTF-8 character at p (of the `left` there are), 0 if malformed. Ranges of the
 * second byte as in the Unicode standard, table 3-7. */
static size_t character_bytes(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char first, last, second_first, second_last;
        size_t bytes;
    } rows[] = {
        {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if (p[0] < rows[r].first || p[0] > rows[r].last)
            continue;
        if (rows[r].bytes == 1)
            return 1;
        if (left < rows[r].bytes || p[1] < rows[r].second_first || p[1] > rows[r].second_last)
            return 0;
        for (size_t i = 2; i < rows[r].bytes; i++)
            if (p[i] < 0x80 || p[i] > 0xBF)
                return 0;
        return rows[r].bytes;
    }
    return 0;
}

bool rb_text_printable(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < bytes;) {
        size_t n = character_bytes(p + i, bytes - i);
        if (n == 0 || (n == 1 && (p[i] < 0x20 || p[i] == 0x7F)))
            return false;
        i += n;
    }
    return true;
}

static bool lower_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

bool rb_text_token_character(char c)
{
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool rb_text_is_key(const char *text, size_t max_bytes)
{
    size_t n = 0;
    for (; text[n] != '\0'; n++) {
        bool known = lower_or_digit(text[n]) || (text[n] >= 'A' && text[n] <= 'Z') ||
                     strchr("-._:~+/=", text[n]) != NULL;
        if (n >= max_bytes || !known)
            return false;
    }
    return n > 0;
}

bool rb_text_uint64(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (text[0] == '\0')
        return false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value) || value > max)
            return false;
    }
    *ret = value;
    return true;
}
