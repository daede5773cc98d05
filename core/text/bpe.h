/* core/text/bpe.h: byte-level BPE, as GPT-2, RoBERTa, GPT-NeoX, Llama 3 and Qwen2 have it: added
 * tokens apart, NFC where the model asks for it, words by a known pattern (pretokenize.h), the
 * bytes of each word merged pair by pair in the order of the merges. Equal, id for id, to Hugging
 * Face's fast tokenizers. Made by tokenizer_json.c and bpe_files.c. */
#ifndef RB_CORE_TEXT_BPE_H
#define RB_CORE_TEXT_BPE_H

#include "core/text/pretokenize.h"
#include "core/text/tokenizer_ops.h"

/* continuing_subword_prefix and end_of_word_suffix: bytes at most. */
enum { RB_BPE_AFFIX_BYTES = 64 };

/* Two tokens that become one. */
struct rb_bpe_pair {
    const char *a, *b; /* a's bytes: a_bytes; b is NUL-terminated */
    size_t a_bytes;
};

/* What a byte-level BPE is made of. All borrowed for the call, but the vocabulary, which is taken
 * (and released on failure too). */
struct rb_bpe_parts {
    const char *label, *merges_label; /* files in messages */
    struct rb_vocabulary vocabulary;  /* of the model; bytes as characters, as GPT-2 writes them */
    const struct rb_bpe_pair *merges; /* in their order */
    size_t merge_count;
    const char *prefix, *suffix; /* of what continues a word, of what ends it; "" for none */
    const char *unk_token;       /* for a byte without a token; NULL: such bytes vanish */
    bool fuse_unk;               /* several in a row are one */
    bool ignore_merges;          /* a word that is a token is taken whole */
    bool compose;                /* the normalizer is NFC */
    struct rb_pretokenizer words;
    const struct rb_added_token *added;
    size_t added_count;
};

/* The tokenizer has neither special ids (all -1) nor templates yet: whoever makes it sets them.
 * RB_EVOCAB naming the merge or token at fault, RB_ENOMEM. */
enum rb_status rb_bpe_new(struct rb_bpe_parts *parts, struct rb_tokenizer **ret,
                          struct rb_error *err) RB_MUST_CHECK;

/* The character that GPT-2 writes for a byte: itself where it is visible, else one from U+0100 on.
 * out: at least 3 bytes, NUL-terminated; returns how many without it. */
size_t rb_bpe_byte_char(unsigned char byte, char out[3]);

#endif
