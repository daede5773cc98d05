#include "core/text/word.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

/* Moves the last character before character `to`. An insertion sort, at most RB_WORD_CHARS steps
 * a character however many marks a hostile text piles up. */
static void move_last(struct rb_word *w, size_t to)
{
    size_t last = w->chars - 1;
    size_t begin = w->starts[to], from = w->starts[last], end = w->starts[w->chars];
    size_t width = end - from;
    char bytes[4];
    uint8_t class = w->combining[last];
    assert(width <= sizeof bytes);
    memcpy(bytes, w->bytes + from, width);
    memmove(w->bytes + begin + width, w->bytes + begin, from - begin);
    memcpy(w->bytes + begin, bytes, width);
    memmove(w->combining + to + 1, w->combining + to, last - to);
    w->combining[to] = class;
    for (size_t i = last; i > to; i--)
        w->starts[i] = (uint16_t)(w->starts[i - 1] + width);
}

void rb_word_push(struct rb_word *w, int32_t code, bool ordered)
{
    if (w->chars >= RB_WORD_CHARS) {
        w->chars = RB_WORD_CHARS + 1;
        return;
    }
    size_t at = w->starts[w->chars];
    utf8proc_ssize_t n = utf8proc_encode_char(code, (utf8proc_uint8_t *)w->bytes + at);
    utf8proc_propval_t class = ordered ? utf8proc_get_property(code)->combining_class : 0;
    size_t to = w->chars;
    w->combining[w->chars++] = (uint8_t) class;
    w->starts[w->chars] = (uint16_t)(at + (size_t)n);
    if (class == 0)
        return;
    while (to > 0 && w->combining[to - 1] > class)
        to--;
    if (to + 1 < w->chars)
        move_last(w, to);
}
