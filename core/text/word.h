/* core/text/word.h: one word under construction, as WordPiece takes it. Fixed in size: a longer
 * word is [UNK] whatever it contains, so only its length is kept. */
#ifndef RB_CORE_TEXT_WORD_H
#define RB_CORE_TEXT_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RB_WORD_CHARS = 100 };

struct rb_word {
    size_t chars;                       /* RB_WORD_CHARS + 1 means "more than that" */
    uint16_t starts[RB_WORD_CHARS + 1]; /* character i is bytes [starts[i], starts[i+1]) */
    uint8_t combining[RB_WORD_CHARS];   /* canonical combining class, to keep canonical order */
    char bytes[RB_WORD_CHARS * 4];      /* UTF-8 */
};

static inline void rb_word_clear(struct rb_word *w)
{
    w->chars = 0;
    w->starts[0] = 0;
}

static inline bool rb_word_too_long(const struct rb_word *w)
{
    return w->chars > RB_WORD_CHARS;
}

static inline void rb_word_push_ascii(struct rb_word *w, char c)
{
    if (w->chars >= RB_WORD_CHARS) {
        w->chars = RB_WORD_CHARS + 1;
        return;
    }
    size_t at = w->starts[w->chars];
    w->bytes[at] = c;
    w->combining[w->chars] = 0;
    w->starts[++w->chars] = (uint16_t)(at + 1);
}

/* ordered: put a combining mark where canonical order wants it among the marks before it (NFD). */
void rb_word_push(struct rb_word *w, int32_t code, bool ordered);

#endif
