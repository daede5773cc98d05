#include "core/tensor/pickle.h"
#include "core/tensor/bytes.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 100 };

/* A tuple, list or dictionary. */
struct rb_pickle_node {
    struct rb_pickle_value *items;
    uint32_t count, capacity;
    uint32_t depth; /* at least how deep its items nest */
};

/* ---- memory ---- */

static enum rb_status no_memory(struct rb_pickle *p)
{
    return rb_error_set(p->err, RB_ENOMEM, "%s: no memory for its pickle", p->label);
}

/* Makes room for `more` elements of `size` bytes beside `count`. */
static bool make_room(void *array, size_t *capacity, size_t count, size_t more, size_t size)
{
    void **at = array;
    if (more <= *capacity - count)
        return true;
    size_t wanted = *capacity > 0 ? 2 * *capacity : 64;
    while (wanted - count < more)
        wanted *= 2;
    void *grown = realloc(*at, wanted * size);
    if (grown == NULL)
        return false;
    *at = grown;
    *capacity = wanted;
    return true;
}

static enum rb_status push(struct rb_pickle *p, struct rb_pickle_value v)
{
    if (!make_room(&p->stack, &p->stack_capacity, p->stack_count, 1, sizeof v))
        return no_memory(p);
    p->stack[p->stack_count++] = v;
    return RB_OK;
}

static enum rb_status node_new(struct rb_pickle *p, size_t *ret)
{
    if (!make_room(&p->nodes, &p->node_capacity, p->node_count, 1, sizeof *p->nodes))
        return no_memory(p);
    p->nodes[p->node_count] = (struct rb_pickle_node){.depth = 1};
    *ret = p->node_count++;
    return RB_OK;
}

static bool is_container(const struct rb_pickle_value *v)
{
    return v->kind == RB_PICKLE_TUPLE || v->kind == RB_PICKLE_LIST || v->kind == RB_PICKLE_DICT;
}

/* Puts n values behind a container's items. */
static enum rb_status add_items(struct rb_pickle *p, size_t node,
                                const struct rb_pickle_value *from, size_t n)
{
    struct rb_pickle_node *to = &p->nodes[node];
    if (n > to->capacity - to->count) {
        size_t wanted = to->count == 0                             ? n
                        : to->count + n > 2 * (size_t)to->capacity ? to->count + n
                                                                   : 2 * (size_t)to->capacity;
        struct rb_pickle_value *grown = realloc(to->items, wanted * sizeof *grown);
        if (grown == NULL)
            return no_memory(p);
        to->items = grown;
        to->capacity = (uint32_t)wanted;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_container(&from[i]) && p->nodes[from[i].index].depth >= to->depth)
            to->depth = p->nodes[from[i].index].depth + 1;
        to->items[to->count++] = from[i];
    }
    return to->depth <= RB_PICKLE_MAX_DEPTH
               ? RB_OK
               : rb_pickle_bad(p, "values nest deeper than %d", RB_PICKLE_MAX_DEPTH);
}

void rb_pickle_deinit(struct rb_pickle *p)
{
    for (size_t i = 0; i < p->node_count; i++)
        free(p->nodes[i].items);
    free(p->nodes);
    free(p->stack);
    free(p->memo);
    free(p->memo_set);
    *p = (struct rb_pickle){0};
}

/* ---- what values are ---- */

const struct rb_pickle_value *rb_pickle_items(const struct rb_pickle *p,
                                              const struct rb_pickle_value *v, size_t *ret_count)
{
    *ret_count = p->nodes[v->index].count;
    return p->nodes[v->index].items;
}

const unsigned char *rb_pickle_text(const struct rb_pickle *p, const struct rb_pickle_value *v)
{
    return p->text + v->at;
}

bool rb_pickle_is_text(const struct rb_pickle *p, const struct rb_pickle_value *v,
                       const char *expected)
{
    return v->kind == RB_PICKLE_TEXT && v->length == strlen(expected) &&
           memcmp(p->text + v->at, expected, v->length) == 0;
}

const char *rb_pickle_kind_name(const struct rb_pickle_value *v)
{
    static const char *const names[] = {
        [RB_PICKLE_NONE] = "None",
        [RB_PICKLE_BOOL] = "a boolean",
        [RB_PICKLE_INT] = "an integer",
        [RB_PICKLE_NUMBER] = "a large or broken number",
        [RB_PICKLE_TEXT] = "text",
        [RB_PICKLE_BYTES] = "bytes",
        [RB_PICKLE_TUPLE] = "a tuple",
        [RB_PICKLE_LIST] = "a list",
        [RB_PICKLE_DICT] = "a dictionary",
        [RB_PICKLE_GLOBAL] = "a class or function",
        [RB_PICKLE_OBJECT] = "a tensor or storage",
        [RB_PICKLE_MARK] = "a mark",
    };
    return names[v->kind];
}

enum rb_status rb_pickle_dict_new(struct rb_pickle *p, uint8_t tag, struct rb_pickle_value *ret)
{
    size_t node;
    enum rb_status s = node_new(p, &node);
    if (s == RB_OK)
        *ret = (struct rb_pickle_value){.kind = RB_PICKLE_DICT, .tag = tag, .index = node};
    return s;
}

/* ---- reading the bytes ---- */

static enum rb_status take(struct rb_pickle *p, uint64_t n, const unsigned char **ret)
{
    if (n > p->bytes - p->at) {
        p->cut_short = true;
        return rb_pickle_bad(p, "ends where %llu bytes must follow", (unsigned long long)n);
    }
    *ret = p->text + p->at;
    p->at += (size_t)n;
    return RB_OK;
}

/* A little-endian number of n bytes, at most 8. */
static enum rb_status take_number(struct rb_pickle *p, size_t n, uint64_t *ret)
{
    const unsigned char *bytes;
    uint64_t number = 0;
    enum rb_status s = take(p, n, &bytes);
    if (s != RB_OK)
        return s;
    for (size_t i = n; i-- > 0;)
        number = number << 8 | bytes[i];
    *ret = number;
    return RB_OK;
}

/* ---- the stack ---- */

/* How many values lie above the topmost mark. */
static size_t above_mark(const struct rb_pickle *p)
{
    size_t n = 0;
    while (n < p->stack_count && p->stack[p->stack_count - 1 - n].kind != RB_PICKLE_MARK)
        n++;
    return n;
}

/* The n topmost values, none of which may be a mark. */
static enum rb_status need(struct rb_pickle *p, size_t n, struct rb_pickle_value **ret)
{
    if (n > p->stack_count)
        return rb_pickle_bad(p, "takes %zu values from a stack of %zu", n, p->stack_count);
    struct rb_pickle_value *top = p->stack + p->stack_count - n;
    for (size_t i = 0; i < n; i++)
        if (top[i].kind == RB_PICKLE_MARK)
            return rb_pickle_bad(p, "takes values from below a mark");
    *ret = top;
    return RB_OK;
}

/* The values above the topmost mark; the mark lies at (*ret)[-1]. */
static enum rb_status need_marked(struct rb_pickle *p, struct rb_pickle_value **ret,
                                  size_t *ret_count)
{
    size_t n = above_mark(p);
    if (n == p->stack_count)
        return rb_pickle_bad(p, "no mark is on the stack");
    *ret = p->stack + p->stack_count - n;
    *ret_count = n;
    return RB_OK;
}

static enum rb_status tuple_of(struct rb_pickle *p, size_t n, size_t dropped)
{
    size_t node;
    enum rb_status s = node_new(p, &node);
    if (s == RB_OK)
        s = add_items(p, node, p->stack + p->stack_count - n, n);
    if (s != RB_OK)
        return s;
    p->stack_count -= n + dropped;
    return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_TUPLE, .index = node});
}

/* ---- opcodes ---- */

struct opcode {
    enum rb_status (*run)(struct rb_pickle *p, size_t argument);
    size_t argument;
};

static enum rb_status op_proto(struct rb_pickle *p, size_t argument)
{
    uint64_t version;
    (void)argument;
    if (p->opcodes != 1)
        return rb_pickle_bad(p, "PROTO in the middle");
    enum rb_status s = take_number(p, 1, &version);
    if (s == RB_OK && (version < 2 || version > 5))
        return rb_pickle_bad(p, "protocol %u, expected 2 to 5", (unsigned)version);
    return s;
}

/* Frames only say how the writer cut its output. */
static enum rb_status op_frame(struct rb_pickle *p, size_t argument)
{
    uint64_t bytes;
    (void)argument;
    enum rb_status s = take_number(p, 8, &bytes);
    if (s != RB_OK)
        return s;
    if (bytes > p->bytes - p->at) {
        p->cut_short = true;
        return rb_pickle_bad(p, "a frame of %llu bytes reaches beyond the pickle",
                             (unsigned long long)bytes);
    }
    return RB_OK;
}

static enum rb_status op_mark(struct rb_pickle *p, size_t argument)
{
    (void)argument;
    if (++p->marks > RB_PICKLE_MAX_MARKS)
        return rb_pickle_bad(p, "over %d marks on the stack", RB_PICKLE_MAX_MARKS);
    return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_MARK});
}

static enum rb_status op_none(struct rb_pickle *p, size_t argument)
{
    (void)argument;
    return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_NONE});
}

static enum rb_status op_bool(struct rb_pickle *p, size_t argument)
{
    return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_BOOL, .integer = (int64_t)argument});
}

/* BININT1 and BININT2 are unsigned, BININT is signed. */
static enum rb_status op_int(struct rb_pickle *p, size_t bytes)
{
    uint64_t number;
    enum rb_status s = take_number(p, bytes, &number);
    if (s != RB_OK)
        return s;
    int64_t integer = bytes == 4 ? (int32_t)(uint32_t)number : (int64_t)number;
    return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_INT, .integer = integer});
}

/* LONG1 and LONG4: a length of `argument` bytes, then two's complement. */
static enum rb_status op_long(struct rb_pickle *p, size_t argument)
{
    uint64_t n, number = 0;
    const unsigned char *bytes;
    enum rb_status s = take_number(p, argument, &n);
    if (s != RB_OK)
        return s;
    if (n > RB_PICKLE_MAX_NUMBER_BYTES)
        return rb_pickle_bad(p, "an integer of %llu bytes, at most %d are allowed",
                             (unsigned long long)n, RB_PICKLE_MAX_NUMBER_BYTES);
    struct rb_pickle_value v = {.kind = RB_PICKLE_NUMBER, .length = (uint32_t)n, .at = p->at};
    s = take(p, n, &bytes);
    if (s != RB_OK)
        return s;
    if (n <= 8) {
        for (size_t i = 8; i-- > 0;)
            number = number << 8 | (i < n                                 ? bytes[i]
                                    : n > 0 && (bytes[n - 1] & 0x80) != 0 ? 0xffu
                                                                          : 0u);
        v = (struct rb_pickle_value){.kind = RB_PICKLE_INT, .integer = (int64_t)number};
    }
    return push(p, v);
}

static enum rb_status op_float(struct rb_pickle *p, size_t argument)
{
    const unsigned char *bytes;
    enum rb_status s = take(p, argument, &bytes);
    return s == RB_OK ? push(p, (struct rb_pickle_value){.kind = RB_PICKLE_NUMBER}) : s;
}

/* A string whose length has `argument` bytes. */
static enum rb_status take_string(struct rb_pickle *p, size_t argument, uint8_t kind)
{
    uint64_t n;
    const unsigned char *bytes;
    enum rb_status s = take_number(p, argument, &n);
    if (s != RB_OK)
        return s;
    if (n > RB_PICKLE_MAX_STRING)
        return rb_pickle_bad(p, "a string of %llu bytes, at most %d are allowed",
                             (unsigned long long)n, RB_PICKLE_MAX_STRING);
    struct rb_pickle_value v = {.kind = kind, .length = (uint32_t)n, .at = p->at};
    s = take(p, n, &bytes);
    if (s == RB_OK && kind == RB_PICKLE_TEXT && !rb_utf8_is_valid(bytes, (size_t)n))
        return rb_pickle_bad(p, "text that is not UTF-8");
    return s == RB_OK ? push(p, v) : s;
}

static enum rb_status op_text(struct rb_pickle *p, size_t argument)
{
    return take_string(p, argument, RB_PICKLE_TEXT);
}

static enum rb_status op_bytes(struct rb_pickle *p, size_t argument)
{
    return take_string(p, argument, RB_PICKLE_BYTES);
}

static enum rb_status op_empty(struct rb_pickle *p, size_t kind)
{
    size_t node;
    enum rb_status s = node_new(p, &node);
    if (s != RB_OK)
        return s;
    return push(p, (struct rb_pickle_value){.kind = (uint8_t)kind, .index = node});
}

static enum rb_status op_tuple(struct rb_pickle *p, size_t argument)
{
    struct rb_pickle_value *items;
    size_t n;
    (void)argument;
    enum rb_status s = need_marked(p, &items, &n);
    if (s != RB_OK)
        return s;
    p->marks--;
    return tuple_of(p, n, 1);
}

static enum rb_status op_tuple_n(struct rb_pickle *p, size_t n)
{
    struct rb_pickle_value *items;
    enum rb_status s = need(p, n, &items);
    return s == RB_OK ? tuple_of(p, n, 0) : s;
}

static bool can_be_key(const struct rb_pickle_value *v)
{
    return v->kind != RB_PICKLE_LIST && v->kind != RB_PICKLE_DICT;
}

/* Puts n values into the container before them, which must be of that kind. */
static enum rb_status fill(struct rb_pickle *p, uint8_t kind, const struct rb_pickle_value *to,
                           const struct rb_pickle_value *items, size_t n)
{
    if (to->kind != kind)
        return rb_pickle_bad(p, "puts items into %s", rb_pickle_kind_name(to));
    if (kind == RB_PICKLE_DICT) {
        if (n % 2 != 0)
            return rb_pickle_bad(p, "a key without a value");
        for (size_t i = 0; i < n; i += 2)
            if (!can_be_key(&items[i]))
                return rb_pickle_bad(p, "%s as a key", rb_pickle_kind_name(&items[i]));
    }
    return add_items(p, to->index, items, n);
}

/* APPENDS and SETITEMS. */
static enum rb_status op_fill_marked(struct rb_pickle *p, size_t kind)
{
    struct rb_pickle_value *items;
    size_t n;
    enum rb_status s = need_marked(p, &items, &n);
    if (s != RB_OK)
        return s;
    if (p->stack_count - n < 2)
        return rb_pickle_bad(p, "nothing below the mark to put items into");
    s = fill(p, (uint8_t)kind, items - 2, items, n);
    p->stack_count -= n + 1;
    p->marks--;
    return s;
}

/* APPEND and SETITEM. */
static enum rb_status op_fill_one(struct rb_pickle *p, size_t kind)
{
    struct rb_pickle_value *items;
    size_t n = kind == RB_PICKLE_DICT ? 2 : 1;
    enum rb_status s = need(p, n + 1, &items);
    if (s != RB_OK)
        return s;
    s = fill(p, (uint8_t)kind, items, items + 1, n);
    p->stack_count -= n;
    return s;
}

/* ---- the memo ---- */

static enum rb_status memo_put(struct rb_pickle *p, uint64_t slot)
{
    struct rb_pickle_value *top;
    enum rb_status s = need(p, 1, &top);
    if (s != RB_OK)
        return s;
    if (slot >= RB_PICKLE_MAX_MEMO)
        return rb_pickle_bad(p, "memo slot %llu, at most %d are allowed", (unsigned long long)slot,
                             RB_PICKLE_MAX_MEMO);
    if (slot >= p->memo_capacity) {
        size_t wanted = 2 * (size_t)slot + 64;
        struct rb_pickle_value *memo = realloc(p->memo, wanted * sizeof *memo);
        if (memo == NULL)
            return no_memory(p);
        p->memo = memo;
        bool *set = realloc(p->memo_set, wanted * sizeof *set);
        if (set == NULL)
            return no_memory(p);
        memset(set + p->memo_capacity, 0, (wanted - p->memo_capacity) * sizeof *set);
        p->memo_set = set;
        p->memo_capacity = wanted;
    }
    p->memo_count += !p->memo_set[slot];
    p->memo[slot] = *top;
    p->memo_set[slot] = true;
    return RB_OK;
}

static enum rb_status op_put(struct rb_pickle *p, size_t argument)
{
    uint64_t slot;
    enum rb_status s = take_number(p, argument, &slot);
    return s == RB_OK ? memo_put(p, slot) : s;
}

static enum rb_status op_memoize(struct rb_pickle *p, size_t argument)
{
    (void)argument;
    return memo_put(p, p->memo_count);
}

static enum rb_status op_get(struct rb_pickle *p, size_t argument)
{
    uint64_t slot;
    enum rb_status s = take_number(p, argument, &slot);
    if (s != RB_OK)
        return s;
    if (slot >= p->memo_capacity || !p->memo_set[slot])
        return rb_pickle_bad(p, "memo slot %llu was never set", (unsigned long long)slot);
    return push(p, p->memo[slot]);
}

/* ---- names and objects ---- */

static bool name_is(const unsigned char *text, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(text, name, n) == 0;
}

/* Pushes the global of that name, if it is one of the host's. */
static enum rb_status push_global(struct rb_pickle *p, const unsigned char *module,
                                  size_t module_bytes, const unsigned char *name, size_t name_bytes)
{
    const struct rb_pickle_host *h = p->host;
    for (size_t i = 0; i < h->global_count; i++)
        if (name_is(module, module_bytes, h->globals[i].module) &&
            name_is(name, name_bytes, h->globals[i].name))
            return push(p, (struct rb_pickle_value){.kind = RB_PICKLE_GLOBAL, .index = i});
    return rb_pickle_bad(
        p,
        "asks for '%.*s.%.*s': a weights file may only name what tensors are made of, "
        "and is never run as a program",
        (int)(module_bytes < SHOWN ? module_bytes : SHOWN), (const char *)module,
        (int)(name_bytes < SHOWN ? name_bytes : SHOWN), (const char *)name);
}

static enum rb_status take_line(struct rb_pickle *p, const unsigned char **ret, size_t *ret_bytes)
{
    size_t left = p->bytes - p->at, most = RB_PICKLE_MAX_GLOBAL + 1;
    const unsigned char *from = p->text + p->at;
    const unsigned char *end = memchr(from, '\n', left < most ? left : most);
    if (end == NULL && left < most) {
        p->cut_short = true;
        return rb_pickle_bad(p, "ends within a name");
    }
    if (end == NULL)
        return rb_pickle_bad(p, "a name of over %d bytes, beginning '%.*s'", RB_PICKLE_MAX_GLOBAL,
                             40, (const char *)from);
    *ret = from;
    *ret_bytes = (size_t)(end - from);
    p->at += *ret_bytes + 1;
    return RB_OK;
}

static enum rb_status op_global(struct rb_pickle *p, size_t argument)
{
    const unsigned char *module, *name;
    size_t module_bytes, name_bytes;
    (void)argument;
    enum rb_status s = take_line(p, &module, &module_bytes);
    if (s == RB_OK)
        s = take_line(p, &name, &name_bytes);
    return s == RB_OK ? push_global(p, module, module_bytes, name, name_bytes) : s;
}

static enum rb_status op_stack_global(struct rb_pickle *p, size_t argument)
{
    struct rb_pickle_value *v;
    (void)argument;
    enum rb_status s = need(p, 2, &v);
    if (s != RB_OK)
        return s;
    if (v[0].kind != RB_PICKLE_TEXT || v[1].kind != RB_PICKLE_TEXT)
        return rb_pickle_bad(p, "a global named by %s and %s", rb_pickle_kind_name(&v[0]),
                             rb_pickle_kind_name(&v[1]));
    p->stack_count -= 2;
    return push_global(p, p->text + v[0].at, v[0].length, p->text + v[1].at, v[1].length);
}

static enum rb_status op_reduce(struct rb_pickle *p, size_t argument)
{
    struct rb_pickle_value *v, made;
    size_t n;
    (void)argument;
    enum rb_status s = need(p, 2, &v);
    if (s != RB_OK)
        return s;
    if (v[0].kind != RB_PICKLE_GLOBAL || v[1].kind != RB_PICKLE_TUPLE)
        return rb_pickle_bad(p, "calls %s with %s", rb_pickle_kind_name(&v[0]),
                             rb_pickle_kind_name(&v[1]));
    const struct rb_pickle_value *args = rb_pickle_items(p, &v[1], &n);
    s = p->host->reduce(p->host->data, p, v[0].index, args, n, &made);
    if (s != RB_OK)
        return s;
    p->stack_count -= 2;
    return push(p, made);
}

static enum rb_status op_build(struct rb_pickle *p, size_t argument)
{
    struct rb_pickle_value *v;
    (void)argument;
    enum rb_status s = need(p, 2, &v);
    if (s == RB_OK)
        s = p->host->build(p->host->data, p, &v[0], &v[1]);
    if (s == RB_OK)
        p->stack_count--;
    return s;
}

static enum rb_status op_persistent(struct rb_pickle *p, size_t argument)
{
    struct rb_pickle_value *v, made;
    (void)argument;
    enum rb_status s = need(p, 1, &v);
    if (s == RB_OK)
        s = p->host->persistent(p->host->data, p, v, &made);
    if (s != RB_OK)
        return s;
    p->stack_count--;
    return push(p, made);
}

/* What Python writes for plain values and torch's tensors in protocols 2 to 5; STOP is none of
 * them. */
static const struct opcode opcodes[256] = {
    [0x80] = {op_proto, 0},
    [0x95] = {op_frame, 0},
    ['('] = {op_mark, 0},
    ['N'] = {op_none, 0},
    [0x88] = {op_bool, 1},
    [0x89] = {op_bool, 0},
    ['K'] = {op_int, 1},
    ['M'] = {op_int, 2},
    ['J'] = {op_int, 4},
    [0x8a] = {op_long, 1},
    [0x8b] = {op_long, 4},
    ['G'] = {op_float, 8},
    [0x8c] = {op_text, 1},
    ['X'] = {op_text, 4},
    [0x8d] = {op_text, 8},
    ['C'] = {op_bytes, 1},
    ['B'] = {op_bytes, 4},
    [0x8e] = {op_bytes, 8},
    [')'] = {op_empty, RB_PICKLE_TUPLE},
    [']'] = {op_empty, RB_PICKLE_LIST},
    ['}'] = {op_empty, RB_PICKLE_DICT},
    ['t'] = {op_tuple, 0},
    [0x85] = {op_tuple_n, 1},
    [0x86] = {op_tuple_n, 2},
    [0x87] = {op_tuple_n, 3},
    ['a'] = {op_fill_one, RB_PICKLE_LIST},
    ['e'] = {op_fill_marked, RB_PICKLE_LIST},
    ['s'] = {op_fill_one, RB_PICKLE_DICT},
    ['u'] = {op_fill_marked, RB_PICKLE_DICT},
    ['q'] = {op_put, 1},
    ['r'] = {op_put, 4},
    [0x94] = {op_memoize, 0},
    ['h'] = {op_get, 1},
    ['j'] = {op_get, 4},
    ['c'] = {op_global, 0},
    [0x93] = {op_stack_global, 0},
    ['R'] = {op_reduce, 0},
    ['b'] = {op_build, 0},
    ['Q'] = {op_persistent, 0},
};

/* Python's other opcodes, by name for messages: text forms of protocol 0, classes, what no value
 * needs. */
static const char *const refused_names[256] = {
    ['0'] = "POP",          ['1'] = "POP_MARK",
    ['2'] = "DUP",          ['F'] = "FLOAT",
    ['I'] = "INT",          ['L'] = "LONG",
    ['P'] = "PERSID",       ['S'] = "STRING",
    ['T'] = "BINSTRING",    ['U'] = "SHORT_BINSTRING",
    ['V'] = "UNICODE",      ['d'] = "DICT",
    ['g'] = "GET",          ['i'] = "INST",
    ['l'] = "LIST",         ['o'] = "OBJ",
    ['p'] = "PUT",          [0x81] = "NEWOBJ",
    [0x82] = "EXT1",        [0x83] = "EXT2",
    [0x84] = "EXT4",        [0x8f] = "EMPTY_SET",
    [0x90] = "ADDITEMS",    [0x91] = "FROZENSET",
    [0x92] = "NEWOBJ_EX",   [0x96] = "BYTEARRAY8",
    [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER",
};

static enum rb_status stop(struct rb_pickle *p, struct rb_pickle_value *ret)
{
    if (p->stack_count != 1 || p->stack[0].kind == RB_PICKLE_MARK)
        return rb_pickle_bad(p, "ends with %zu values on the stack, expected one", p->stack_count);
    *ret = p->stack[0];
    return RB_OK;
}

static enum rb_status run(struct rb_pickle *p, struct rb_pickle_value *ret)
{
    for (;;) {
        const unsigned char *code;
        enum rb_status s = take(p, 1, &code);
        if (s != RB_OK)
            return s;
        if (++p->opcodes > RB_PICKLE_MAX_OPCODES)
            return rb_pickle_bad(p, "over %d opcodes", RB_PICKLE_MAX_OPCODES);
        if (p->opcodes == 1 && *code != 0x80)
            return rb_pickle_bad(p, "begins with 0x%02x, expected the opcode PROTO", *code);
        if (*code == '.')
            return stop(p, ret);
        const struct opcode *op = &opcodes[*code];
        if (op->run == NULL)
            return rb_pickle_bad(p, "opcode 0x%02x (%s), which no file of tensors needs", *code,
                                 refused_names[*code] != NULL ? refused_names[*code] : "unknown");
        s = op->run(p, op->argument);
        if (s != RB_OK)
            return s;
    }
}

enum rb_status rb_pickle_run(struct rb_pickle *p, const char *label, const unsigned char *text,
                             size_t bytes, const struct rb_pickle_host *host,
                             struct rb_pickle_value *ret, struct rb_error *err)
{
    *p = (struct rb_pickle){.label = label, .err = err, .host = host, .text = text, .bytes = bytes};
    return run(p, ret);
}
