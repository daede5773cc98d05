/* A vocabulary, its settings and a text, all from one input:
 *   byte 0          the switches: lower case, accents (3 values), Chinese characters; bit 4: the
 *                   special tokens are put before the vocabulary, so that most inputs get further
 *   up to 0xFE      vocab.txt
 *   up to 0xFE      the mask token ("[MASK]" if empty)
 *   the rest        text
 * 0xFE never occurs in UTF-8, so it costs no reachable vocabulary. Every token must be found under
 * its own id, and ids must be in range. */
#include "core/text/wordpiece.h"
#include "core/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char specials[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/* The part before the next 0xFE, copied to memory of exactly its size (for the sanitizer's eyes),
 * `before` bytes of room in front. */
static char *take_part(const uint8_t **data, size_t *size, size_t before, size_t *ret_bytes)
{
    const uint8_t *end = *size > 0 ? memchr(*data, 0xFE, *size) : NULL;
    size_t bytes = end != NULL ? (size_t)(end - *data) : *size;
    char *part = malloc(before + bytes + 1);
    if (part == NULL)
        abort();
    if (bytes > 0)
        memcpy(part + before, *data, bytes);
    part[before + bytes] = '\0';
    size_t used = bytes + (end != NULL);
    *data += used;
    *size -= used;
    *ret_bytes = before + bytes;
    return part;
}

static void check_vocabulary(const char *vocab, size_t bytes)
{
    struct rb_vocabulary v;
    if (rb_vocabulary_init(&v, "vocab", vocab, bytes, NULL) != RB_OK)
        return;
    for (size_t id = 0; id < v.count; id++) {
        size_t token_bytes;
        const char *token = rb_vocabulary_token(&v, id, &token_bytes);
        if (rb_vocabulary_find(&v, token, token_bytes) != (int32_t)id)
            abort();
    }
    rb_vocabulary_deinit(&v);
}

static void check_text(const struct rb_tokenizer *t, const char *text, size_t bytes)
{
    struct rb_ids ids = {0};
    if (rb_tokenizer_encode(t, text, bytes, &ids, NULL) != RB_OK)
        abort();
    for (size_t i = 0; i < ids.count; i++)
        if (rb_tokenizer_token(t, ids.ids[i]) == NULL)
            abort();
    free(ids.ids);
    if (rb_tokenizer_equal(t, t, NULL) != RB_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t switches = *data++;
    size--;
    size_t before = switches & 16 ? sizeof specials - 1 : 0;
    size_t vocab_bytes, mask_bytes, text_bytes;
    char *vocab = take_part(&data, &size, before, &vocab_bytes);
    memcpy(vocab, specials, before);
    char *mask = take_part(&data, &size, 0, &mask_bytes);
    char *text = take_part(&data, &size, 0, &text_bytes);
    check_vocabulary(vocab, vocab_bytes);
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.do_lower_case = switches & 1;
    o.strip_accents = (switches >> 1 & 3) - 1;
    o.tokenize_chinese_chars = switches >> 3 & 1;
    if (mask[0] != '\0')
        o.mask_token = mask;
    struct rb_tokenizer *t;
    struct rb_error err;
    if (rb_wordpiece_new("vocab", vocab, vocab_bytes, &o, &t, &err) == RB_OK) {
        check_text(t, text, text_bytes);
        rb_tokenizer_free(t);
    }
    free(text);
    free(mask);
    free(vocab);
    return 0;
}
