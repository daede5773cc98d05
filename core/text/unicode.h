/* core/text/unicode.h: what the tokenizer asks about single characters, and UTF-8 from outside. */
#ifndef RB_CORE_TEXT_UNICODE_H
#define RB_CORE_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What BERT does with a character. */
enum rb_char_class {
    RB_CHAR_WORD,  /* part of a word */
    RB_CHAR_SPACE, /* ends a word, and is gone */
    RB_CHAR_PUNCT, /* a word of its own */
    RB_CHAR_DROP   /* gone as if it had never been there: control, format, private use, U+FFFD */
};

extern const uint8_t rb_ascii_class[128]; /* enum rb_char_class */

/* code: 0 … 0x10FFFF. */
enum rb_char_class rb_char_class(int32_t code);
/* In the ranges that BERT calls Chinese and sets apart with spaces. */
bool rb_char_is_cjk(int32_t code);

/* White space, letters, numbers and word characters as Unicode has them (White_Space, L, N, and
 * \w of UTS 18), whatever BERT thinks of them. */
bool rb_char_is_space(int32_t code);
bool rb_char_is_letter(int32_t code);
bool rb_char_is_number(int32_t code);
bool rb_char_is_word(int32_t code);

/* One character becomes at most this many. */
enum { RB_NORMAL_CHARS = 8 };

/* strip: canonical decomposition without the non-spacing marks; lower: Unicode's lower case,
 * without context, after that. Writes the characters to out and returns how many, which may be 0.
 * Canonical order between marks is the caller's to keep (rb_word_push). */
size_t rb_char_normalize(int32_t code, bool strip, bool lower, int32_t out[RB_NORMAL_CHARS]);

/* Canonical composition (NFC) of valid UTF-8. *text and *bytes stay as they are if they are it
 * already, else they point into *ret_owned, which the caller frees. Takes time in proportion to the
 * text, however many marks are piled up. False when out of memory. */
bool rb_utf8_compose(const char **text, size_t *bytes, char **ret_owned);

/* Decodes the character at text[0]; returns its length in bytes, or 0 if the bytes there are not
 * UTF-8. bytes > 0. */
size_t rb_utf8_decode(const char *text, size_t bytes, int32_t *ret_code);
/* Offset of the first byte that is not UTF-8; `bytes` if all are. */
size_t rb_utf8_valid_prefix(const char *text, size_t bytes);
/* Nothing but white space and control characters? An invalid byte is neither. */
bool rb_utf8_is_blank(const char *text, size_t bytes);

/* A piece of untrusted UTF-8 for an error message: at most size-1 bytes, cut at a character and
 * marked "…" if cut, control characters and invalid bytes as '?'. NUL-terminated; size > 4. Returns
 * out. */
const char *rb_utf8_excerpt(char *out, size_t size, const char *text, size_t bytes);

#endif
