/* Arbitrary bytes as text, under every setting of a fixed vocabulary. The first byte chooses the
 * setting. Ids must be in range, and a second run must say the same. */
#include "core/text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vocab[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nab\n##b\n##abc\nthe\n##s\n,\n`\n[\n]\n"
    "i\n##\xCC\x87\n\xE4\xB8\xAD\n\xC3\xA9\n##\xE3\x80\xAE\n##\xF0\x9D\x85\xA5\n\xE1\x84\x80\n"
    "##\xE1\x85\xA1\nx\n##x\n";

static struct rb_tokenizer *make(int switches)
{
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.do_lower_case = switches & 1;
    o.strip_accents = switches >> 1 & 1;
    o.tokenize_chinese_chars = switches >> 2 & 1;
    struct rb_tokenizer *t;
    if (rb_wordpiece_new("vocab", vocab, sizeof vocab - 1, &o, &t, NULL) != RB_OK)
        abort();
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rb_tokenizer *tokenizers[8];
    if (size == 0)
        return 0;
    struct rb_tokenizer **t = &tokenizers[data[0] & 7];
    if (*t == NULL)
        *t = make(data[0] & 7);
    const char *text = (const char *)data + 1;
    struct rb_ids ids = {0};
    if (rb_tokenizer_encode(*t, text, size - 1, &ids, NULL) != RB_OK)
        abort();
    size_t count = ids.count;
    for (size_t i = 0; i < count; i++)
        if (rb_tokenizer_token(*t, ids.ids[i]) == NULL)
            abort();
    if (rb_tokenizer_encode(*t, text, size - 1, &ids, NULL) != RB_OK || ids.count != 2 * count ||
        (count > 0 && memcmp(ids.ids, ids.ids + count, count * sizeof *ids.ids) != 0))
        abort();
    free(ids.ids);
    return 0;
}
