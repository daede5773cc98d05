/* core/tensor/pickle.h: Python's pickle format, read as data; private to core/tensor.
 *
 * A pickle is a program for a small stack machine, and Python's own reader lets it call anything.
 * This one knows the opcodes by which plain values are written (PROTO 2 to 5: numbers, strings,
 * tuples, lists, dictionaries, the memo) and hands the three by which objects are made (REDUCE,
 * BUILD, BINPERSID) to a host, who knows a closed list of names. Another opcode or another name is
 * an error that shows it. Nothing is skipped, nothing is called, nothing outside the pickle is
 * looked at.
 *
 * Values are small and refer to what they hold: a memo reference costs the same whatever it stands
 * for, and no operation walks through what a value holds. Memory is in proportion to the number of
 * opcodes, of which there are at most RB_PICKLE_MAX_OPCODES.
 * https://github.com/python/cpython/blob/3.12/Lib/pickletools.py */
#ifndef RB_CORE_TENSOR_PICKLE_H
#define RB_CORE_TENSOR_PICKLE_H

#include "core/status.h"

#include <stdint.h>

enum {
    RB_PICKLE_MAX_BYTES = 1 << 25,
    RB_PICKLE_MAX_OPCODES = 1000000, /* a tensor takes some forty */
    RB_PICKLE_MAX_MEMO = 1000000,
    RB_PICKLE_MAX_MARKS = 256,
    RB_PICKLE_MAX_DEPTH = 64, /* of containers within containers */
    RB_PICKLE_MAX_STRING = 1 << 20,
    RB_PICKLE_MAX_NUMBER_BYTES = 64,
    RB_PICKLE_MAX_GLOBAL = 128, /* bytes of a module's or class's name */
};

enum rb_pickle_kind {
    RB_PICKLE_NONE,
    RB_PICKLE_BOOL,
    RB_PICKLE_INT,    /* fits 64 bits */
    RB_PICKLE_NUMBER, /* an integer of more than 8 bytes, at `at` as they are; or a float, length 0
                       */
    RB_PICKLE_TEXT,   /* UTF-8 */
    RB_PICKLE_BYTES,
    RB_PICKLE_TUPLE,
    RB_PICKLE_LIST,
    RB_PICKLE_DICT,
    RB_PICKLE_GLOBAL, /* index: the host's number for it */
    RB_PICKLE_OBJECT, /* made by the host: tag and index are its own */
    RB_PICKLE_MARK,   /* never leaves the machine */
};

struct rb_pickle_value {
    uint8_t kind; /* enum rb_pickle_kind */
    uint8_t tag;
    uint32_t length; /* of text, bytes and large numbers */
    union {
        int64_t integer; /* also of a bool */
        size_t at;       /* in the pickle's bytes */
        size_t index;    /* of a container, global or object */
    };
};

struct rb_pickle;

/* What may be named, and what happens then. */
struct rb_pickle_global {
    const char *module, *name;
    uint8_t id;
};

struct rb_pickle_host {
    void *data;
    const struct rb_pickle_global *globals;
    size_t global_count;
    /* global(args...), of which there are `count`. */
    enum rb_status (*reduce)(void *data, struct rb_pickle *p, size_t global,
                             const struct rb_pickle_value *args, size_t count,
                             struct rb_pickle_value *ret);
    /* Sets the state of `object`, which stays as it is. */
    enum rb_status (*build)(void *data, struct rb_pickle *p, const struct rb_pickle_value *object,
                            const struct rb_pickle_value *state);
    /* What the persistent id, any value, stands for. */
    enum rb_status (*persistent)(void *data, struct rb_pickle *p, const struct rb_pickle_value *id,
                                 struct rb_pickle_value *ret);
};

/* The reader's state; what a value refers to lives in it. */
struct rb_pickle {
    const char *label; /* for messages; borrowed, as are text and host */
    struct rb_error *err;
    const struct rb_pickle_host *host;
    const unsigned char *text;
    size_t bytes, at;
    bool cut_short; /* the pickle went on beyond its bytes */
    size_t opcodes, marks;
    struct rb_pickle_node *nodes;
    size_t node_count, node_capacity;
    struct rb_pickle_value *stack;
    size_t stack_count, stack_capacity;
    struct rb_pickle_value *memo;
    bool *memo_set;
    size_t memo_count, memo_capacity;
};

/* Runs one pickle from text on, to its STOP. RB_ETORCH with words, RB_ENOMEM. Whatever it returns,
 * rb_pickle_deinit afterwards. On success p->at bytes were read and *ret is its value. When it
 * fails because text ends too early, p->cut_short is set. */
enum rb_status rb_pickle_run(struct rb_pickle *p, const char *label, const unsigned char *text,
                             size_t bytes, const struct rb_pickle_host *host,
                             struct rb_pickle_value *ret, struct rb_error *err) RB_MUST_CHECK;
void rb_pickle_deinit(struct rb_pickle *p);

/* The items of a tuple or list; of a dictionary key, value, key, value..., in order and as often as
 * they were set. Valid until the machine goes on. */
const struct rb_pickle_value *rb_pickle_items(const struct rb_pickle *p,
                                              const struct rb_pickle_value *v, size_t *ret_count);
/* A new, empty dictionary; `tag` is the host's, 0 for dictionaries of the pickle's own. */
enum rb_status rb_pickle_dict_new(struct rb_pickle *p, uint8_t tag,
                                  struct rb_pickle_value *ret) RB_MUST_CHECK;
/* The bytes of text, bytes or a large number; not terminated. */
const unsigned char *rb_pickle_text(const struct rb_pickle *p, const struct rb_pickle_value *v);
bool rb_pickle_is_text(const struct rb_pickle *p, const struct rb_pickle_value *v,
                       const char *expected);
/* "a list", "text"... for messages. */
const char *rb_pickle_kind_name(const struct rb_pickle_value *v);
/* An error of the pickle, with the place in it where the machine is. */
#define rb_pickle_bad(p, format, ...)                                                              \
    rb_error_set((p)->err, RB_ETORCH, "%s: pickle byte %zu: " format, (p)->label, (p)->at,         \
                 ##__VA_ARGS__)

#endif
