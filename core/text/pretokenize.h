/* core/text/pretokenize.h: cutting a text into the words that byte-level BPE works on, by the
 * patterns that models use. No regular expressions are run: three patterns, of GPT-2, Llama 3 and
 * Qwen2, are known by their exact text and scanned by hand, on Unicode's categories, in time in
 * proportion to the text. Equal to what Hugging Face's tokenizers (Oniguruma) make of them. */
#ifndef RB_CORE_TEXT_PRETOKENIZE_H
#define RB_CORE_TEXT_PRETOKENIZE_H

#include "core/status.h"

#include <stdint.h>

/* What is done to each piece, one after the other. */
enum rb_pre_step {
    RB_PRE_GPT2,         /* cut by GPT-2's pattern, which ByteLevel's use_regex means too */
    RB_PRE_LLAMA3,       /* by Llama 3's: numbers in threes */
    RB_PRE_QWEN2,        /* by Qwen2's: numbers one by one */
    RB_PRE_DIGITS,       /* each number a piece of its own */
    RB_PRE_NUMBERS,      /* each run of numbers a piece of its own */
    RB_PRE_PREFIX_SPACE, /* a space before a piece that does not begin with one */
};

enum { RB_PRE_STEPS = 8 };

struct rb_pretokenizer {
    enum rb_pre_step steps[RB_PRE_STEPS];
    size_t count;
};

/* The step that cuts by this regular expression; false if it is none that is known. */
bool rb_pre_step_of(const char *pattern, enum rb_pre_step *ret);
/* A few words for messages: "GPT-2's pattern". */
const char *rb_pre_step_name(enum rb_pre_step step);

/* The end of the word that begins at text[0]; bytes > 0, text valid UTF-8; step is one that cuts.
 */
size_t rb_pre_next(enum rb_pre_step step, const char *text, size_t bytes);

/* Calls visit for each word of text (valid UTF-8), in order. Stops at the first failure and returns
 * it; RB_ENOMEM. */
typedef enum rb_status rb_pre_visit(void *data, const char *word, size_t bytes,
                                    struct rb_error *err);
enum rb_status rb_pretokenize(const struct rb_pretokenizer *p, const char *text, size_t bytes,
                              rb_pre_visit *visit, void *data, struct rb_error *err) RB_MUST_CHECK;

#endif
