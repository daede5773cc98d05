/* core/text/vocabulary.h: tokens by id and a hash table over them. */
#ifndef RB_CORE_TEXT_VOCABULARY_H
#define RB_CORE_TEXT_VOCABULARY_H

#include "core/status.h"
#include "core/text/word.h"

#include <stdbool.h>
#include <stdint.h>

/* Ids are below this. */
enum { RB_VOCABULARY_IDS = 1 << 22 };

struct rb_vocabulary {
    size_t count;     /* one more than the largest id; ids without a token have no bytes of text */
    char *text;       /* all tokens, each with a NUL behind it */
    uint32_t *starts; /* (count + 1): token id begins at text + starts[id] */
    struct rb_vocabulary_slot {
        uint32_t tag; /* other bits of the hash than those that choose the slot */
        int32_t id;   /* -1: empty */
    } * slots;        /* open addressing, linear probing, at most half full */
    size_t slot_mask;
    size_t longest_bytes;
};

/* vocab: one token a line, line number - 1 = id; borrowed for the call only. RB_EVOCAB (empty, a
 * byte order mark, not UTF-8, a NUL byte, a line over 1 kB, more than 64 MB, a token twice, tokens
 * made to collide), RB_ENOMEM. */
enum rb_status rb_vocabulary_init(struct rb_vocabulary *v, const char *label, const char *vocab,
                                  size_t vocab_bytes, struct rb_error *err) RB_MUST_CHECK;
/* tokens[id], each UTF-8 and no two alike, NULL where an id has none; borrowed for the call only.
 * RB_EVOCAB (a token over 1 kB, more than 64 MB, tokens made to collide), RB_ENOMEM. */
enum rb_status rb_vocabulary_init_ids(struct rb_vocabulary *v, const char *label,
                                      const char *const *tokens, size_t count,
                                      struct rb_error *err) RB_MUST_CHECK;
void rb_vocabulary_deinit(struct rb_vocabulary *v);

/* Does a token have this id? id < count. */
static inline bool rb_vocabulary_has(const struct rb_vocabulary *v, size_t id)
{
    return v->starts[id + 1] > v->starts[id];
}

/* Of an id that has a token. */
static inline const char *rb_vocabulary_token(const struct rb_vocabulary *v, size_t id,
                                              size_t *ret_bytes)
{
    *ret_bytes = v->starts[id + 1] - v->starts[id] - 1;
    return v->text + v->starts[id];
}

/* The id of a token, -1 if there is none. */
int32_t rb_vocabulary_find(const struct rb_vocabulary *v, const char *token, size_t bytes);

/* WordPiece's step: the longest token that the word's characters from *at on begin with ("##"
 * before them unless *at is 0). Moves *at behind it and returns its id; -1 if no token fits. */
int32_t rb_vocabulary_longest(const struct rb_vocabulary *v, const struct rb_word *w, size_t *at);

/* Begin with RB_HASH_START; add any number of bytes; which slot that means is private. FNV-1a:
 * http://www.isthe.com/chongo/tech/comp/fnv/ (it grows byte by byte, so that all prefixes of a word
 * cost one pass). */
#define RB_HASH_START UINT64_C(0xCBF29CE484222325)
static inline uint64_t rb_vocabulary_hash(uint64_t hash, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}
/* The home slot of a finished hash, before the mask. */
static inline uint64_t rb_vocabulary_spread(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

#endif
