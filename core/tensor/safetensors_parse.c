/* The header's parser: text from strangers in, checked tensors out.
 *
 * DESIGN. The header is one JSON object with an entry per tensor, up to 100 MB of it. Only its
 * outermost level is walked here; each entry's extent, depth and number of values are bounded
 * first (json_bounded.h) and then jansson, which knows JSON, reads that one entry and frees it
 * again. So memory stays in proportion to the number of tensors, not to what a hostile text can
 * make a parser allocate. Names are compared once all are there: sorted, twins are neighbours. */
#include "core/tensor/safetensors_parse.h"
#include "core/json.h"
#include "core/json_bounded.h"
#include "core/tensor/safetensors_format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(size_t) >= 8, "tensors are mapped whole: a 64-bit address space");

enum {
    MAX_DEPTH = 4,             /* header, tensor, shape, and one to spare */
    MAX_ENTRY_BYTES = 1 << 16, /* dtype, eight dimensions and two offsets fill some 300 */
    MAX_METADATA = 1 << 16,
    MAX_METADATA_BYTES = 1 << 24,
    SHOWN = 120, /* of a name, in messages */
};

/* Where a tensor's data lie, for the check of the whole. */
struct range {
    uint64_t begin, end;
    const char *name;
};

struct parser {
    const char *label;
    struct rb_error *err;
    const char *text; /* the header, not terminated */
    size_t bytes, at;
    uint64_t data_bytes;
    const unsigned char *data;
    struct rb_safetensors st;
    struct range *ranges; /* as many as tensors */
    size_t capacity;      /* of st.tensors and ranges */
    size_t names_used;
    bool has_metadata;
};

#define BAD(p, format, ...)                                                                        \
    rb_error_set((p)->err, RB_ESAFETENSORS, "%s: " format, (p)->label, ##__VA_ARGS__)
#define BAD_TENSOR(p, name, format, ...)                                                           \
    BAD(p, "tensor '%.*s': " format, SHOWN, name, ##__VA_ARGS__)

static enum rb_status no_memory(struct parser *p)
{
    (void)rb_error_set(p->err, RB_ENOMEM, "%s: no memory for its header", p->label);
    return RB_ENOMEM;
}

static void skip_space(struct parser *p)
{
    for (; p->at < p->bytes; p->at++) {
        char c = p->text[p->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
    }
}

static bool take(struct parser *p, char c)
{
    skip_space(p);
    if (p->at == p->bytes || p->text[p->at] != c)
        return false;
    p->at++;
    return true;
}

static enum rb_status expected(struct parser *p, const char *what)
{
    if (p->at == p->bytes)
        return BAD(p, "header ends at byte %zu where %s was expected", p->at, what);
    return BAD(p, "header byte %zu is 0x%02x where %s was expected", p->at,
               (unsigned)(unsigned char)p->text[p->at], what);
}

/* A copy that lives as long as the file. The arena is as large as the header: an escaped string is
 * never shorter than what it stands for, and its quotes make room for the terminator. */
static const char *keep(struct parser *p, const char *string, size_t length)
{
    char *copy = p->st.names + p->names_used;
    memcpy(copy, string, length);
    copy[length] = '\0';
    p->names_used += length + 1;
    return copy;
}

/* ---- one tensor's entry ---- */

static enum rb_status read_shape(struct parser *p, const json_t *shape, struct rb_tensor *t)
{
    if (!json_is_array(shape))
        return BAD_TENSOR(p, t->name, "no array 'shape'");
    if (json_array_size(shape) > RB_ST_MAX_RANK)
        return BAD_TENSOR(p, t->name, "shape has %zu axes, at most %d are supported",
                          json_array_size(shape), RB_ST_MAX_RANK);
    t->rank = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < t->rank; i++) {
        const json_t *axis = json_array_get(shape, i);
        if (!json_is_integer(axis) || json_integer_value(axis) < 0)
            return BAD_TENSOR(p, t->name, "shape: axis %" PRIu32 " is not a whole number >= 0", i);
        t->shape[i] = (uint64_t)json_integer_value(axis);
    }
    return RB_OK;
}

static enum rb_status read_offsets(struct parser *p, const json_t *offsets,
                                   const struct rb_tensor *t, struct range *ret)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return BAD_TENSOR(p, t->name, "data_offsets are not two whole numbers");
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from)
        return BAD_TENSOR(p, t->name,
                          "data_offsets [%" JSON_INTEGER_FORMAT ",%" JSON_INTEGER_FORMAT
                          "] are not in order",
                          from, to);
    if ((uint64_t)to > p->data_bytes)
        return BAD_TENSOR(p, t->name,
                          "data_offsets end at %" JSON_INTEGER_FORMAT ", beyond the %" PRIu64
                          " data bytes in the file",
                          to, p->data_bytes);
    *ret = (struct range){(uint64_t)from, (uint64_t)to, t->name};
    return RB_OK;
}

static enum rb_status read_tensor(struct parser *p, const json_t *entry, struct rb_tensor *t,
                                  struct range *range)
{
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return BAD_TENSOR(p, t->name, "no string 'dtype'");
    if (!rb_dtype_from_name(json_string_value(dtype), json_string_length(dtype), &t->dtype))
        return BAD_TENSOR(p, t->name, "dtype '%.*s' is not supported", SHOWN,
                          json_string_value(dtype));
    enum rb_status s = read_shape(p, json_object_get(entry, "shape"), t);
    if (s == RB_OK)
        s = read_offsets(p, json_object_get(entry, "data_offsets"), t, range);
    if (s != RB_OK)
        return s;
    /* A key we do not know could say that the bytes mean something else. */
    if (json_object_size(entry) != 3)
        return BAD_TENSOR(p, t->name, "unknown keys beside dtype, shape and data_offsets");
    char shape[RB_ST_MAX_RANK * 22 + 3];
    (void)rb_shape_text(t->shape, t->rank, shape, sizeof shape);
    if (!rb_shape_bytes(t->dtype, t->shape, t->rank, &t->bytes))
        return BAD_TENSOR(p, t->name, "shape %s of %s is too large", shape,
                          rb_dtype_name(t->dtype));
    if (t->bytes != range->end - range->begin)
        return BAD_TENSOR(p, t->name, "shape %s of %s needs %zu bytes, data_offsets give %" PRIu64,
                          shape, rb_dtype_name(t->dtype), t->bytes, range->end - range->begin);
    t->data = p->data != NULL ? p->data + range->begin : NULL;
    return RB_OK;
}

static enum rb_status make_room(struct parser *p)
{
    if (p->st.tensor_count == RB_ST_MAX_TENSORS)
        return BAD(p, "over %d tensors", RB_ST_MAX_TENSORS);
    if (p->st.tensor_count < p->capacity)
        return RB_OK;
    size_t capacity = p->capacity > 0 ? 2 * p->capacity : 256;
    struct rb_tensor *tensors = realloc(p->st.tensors, capacity * sizeof *tensors);
    if (tensors == NULL)
        return no_memory(p);
    p->st.tensors = tensors;
    struct range *ranges = realloc(p->ranges, capacity * sizeof *ranges);
    if (ranges == NULL)
        return no_memory(p);
    p->ranges = ranges;
    p->capacity = capacity;
    return RB_OK;
}

static enum rb_status add_tensor(struct parser *p, const json_t *key, const json_t *entry)
{
    const char *name = json_string_value(key);
    if (json_string_length(key) > RB_ST_MAX_NAME)
        return BAD_TENSOR(p, name, "name of %zu bytes, at most %d are allowed",
                          json_string_length(key), RB_ST_MAX_NAME);
    enum rb_status s = make_room(p);
    if (s != RB_OK)
        return s;
    struct rb_tensor *t = &p->st.tensors[p->st.tensor_count];
    *t = (struct rb_tensor){.name = keep(p, name, json_string_length(key))};
    s = read_tensor(p, entry, t, &p->ranges[p->st.tensor_count]);
    if (s == RB_OK)
        p->st.tensor_count++;
    return s;
}

/* ---- __metadata__ ---- */

static enum rb_status add_metadata(struct parser *p, json_t *entry)
{
    if (p->has_metadata)
        return BAD(p, "duplicate key '__metadata__'");
    p->has_metadata = true;
    p->st.metadata = calloc(json_object_size(entry) + 1, sizeof *p->st.metadata);
    if (p->st.metadata == NULL)
        return no_memory(p);
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value)
    {
        if (!json_is_string(value))
            return BAD(p, "__metadata__: the value of '%.*s' is not a string", SHOWN, key);
        const char *kept_key = keep(p, key, strlen(key));
        const char *kept_value = keep(p, json_string_value(value), json_string_length(value));
        p->st.metadata[p->st.metadata_count++] = (struct rb_metadata){kept_key, kept_value};
    }
    return RB_OK;
}

/* ---- the outermost object ---- */

static enum rb_status read_key(struct parser *p, json_t **ret)
{
    skip_space(p);
    if (p->at == p->bytes || p->text[p->at] != '"')
        return expected(p, "a tensor's name");
    size_t span = rb_json_string_span(p->text + p->at, p->bytes - p->at);
    if (span == 0)
        return BAD(p, "header ends within the name at byte %zu", p->at);
    /* \u0041 for each byte is the longest way to write a name that is short enough. */
    if (span > RB_ST_MAX_NAME * 6 + 2)
        return BAD(p, "name of %zu bytes at byte %zu, at most %d are allowed", span - 2, p->at,
                   RB_ST_MAX_NAME);
    json_error_t why;
    bool out_of_memory;
    json_t *key = rb_json_load(p->text + p->at, span, JSON_DECODE_ANY, &why, &out_of_memory);
    if (out_of_memory)
        return no_memory(p);
    if (key == NULL)
        return BAD(p, "name at byte %zu: %s", p->at, why.text);
    p->at += span;
    *ret = key;
    return RB_OK;
}

static enum rb_status read_value(struct parser *p, const char *name, json_t **ret)
{
    skip_space(p);
    if (p->at == p->bytes || p->text[p->at] != '{')
        return expected(p, "an object");
    bool metadata = strcmp(name, "__metadata__") == 0;
    size_t max_bytes = metadata ? MAX_METADATA_BYTES : MAX_ENTRY_BYTES;
    struct rb_json_span span = rb_json_span(p->text + p->at, p->bytes - p->at);
    if (span.bytes == 0)
        return BAD_TENSOR(p, name, "its entry at byte %zu does not end", p->at);
    if (span.depth > MAX_DEPTH - 1)
        return BAD_TENSOR(p, name, "its entry nests the header %zu deep, at most %d is allowed",
                          span.depth + 1, MAX_DEPTH);
    if (span.bytes > max_bytes || span.values > MAX_METADATA)
        return BAD_TENSOR(p, name,
                          "its entry is too large: %zu bytes, %zu values; at most %zu and %d",
                          span.bytes, span.values, max_bytes, MAX_METADATA);
    json_error_t why;
    bool out_of_memory;
    json_t *value =
        rb_json_load(p->text + p->at, span.bytes, JSON_REJECT_DUPLICATES, &why, &out_of_memory);
    if (out_of_memory)
        return no_memory(p);
    if (value == NULL)
        return BAD_TENSOR(p, name, "%s", why.text);
    p->at += span.bytes;
    *ret = value;
    return RB_OK;
}

static enum rb_status read_entry(struct parser *p)
{
    json_t *key = NULL, *value = NULL;
    enum rb_status s = read_key(p, &key);
    if (s != RB_OK)
        return s;
    if (!take(p, ':'))
        s = expected(p, "':'");
    if (s == RB_OK)
        s = read_value(p, json_string_value(key), &value);
    if (s == RB_OK && strcmp(json_string_value(key), "__metadata__") == 0)
        s = add_metadata(p, value);
    else if (s == RB_OK)
        s = add_tensor(p, key, value);
    json_decref(value);
    json_decref(key);
    return s;
}

static enum rb_status read_header(struct parser *p)
{
    if (p->bytes == 0 || p->text[0] != '{')
        return BAD(p, "the header does not begin with '{'");
    p->at = 1;
    if (!take(p, '}')) {
        do {
            enum rb_status s = read_entry(p);
            if (s != RB_OK)
                return s;
        } while (take(p, ','));
        if (!take(p, '}'))
            return expected(p, "',' or '}'");
    }
    skip_space(p);
    return p->at == p->bytes ? RB_OK : expected(p, "padding");
}

/* ---- the whole ---- */

static int by_name(const void *a, const void *b)
{
    const struct rb_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int by_place(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static enum rb_status check_names(struct parser *p)
{
    if (p->st.tensor_count > 1)
        qsort(p->st.tensors, p->st.tensor_count, sizeof *p->st.tensors, by_name);
    for (size_t i = 1; i < p->st.tensor_count; i++)
        if (strcmp(p->st.tensors[i - 1].name, p->st.tensors[i].name) == 0)
            return BAD_TENSOR(p, p->st.tensors[i].name, "duplicate name");
    return RB_OK;
}

static enum rb_status check_coverage(struct parser *p)
{
    uint64_t covered = 0;
    if (p->st.tensor_count > 1)
        qsort(p->ranges, p->st.tensor_count, sizeof *p->ranges, by_place);
    for (size_t i = 0; i < p->st.tensor_count; i++) {
        const struct range *r = &p->ranges[i];
        if (r->begin < covered)
            return BAD_TENSOR(
                p, r->name, "overlap: begins at %" PRIu64 ", within '%.*s' which ends at %" PRIu64,
                r->begin, SHOWN, p->ranges[i - 1].name, covered);
        if (r->begin > covered)
            return BAD_TENSOR(p, r->name,
                              "hole: begins at %" PRIu64 ", the data before it end at %" PRIu64,
                              r->begin, covered);
        covered = r->end;
    }
    if (covered != p->data_bytes)
        return BAD(p, "%" PRIu64 " data bytes in the file, the tensors cover %" PRIu64,
                   p->data_bytes, covered);
    return RB_OK;
}

static enum rb_status read_length(struct parser *p, const unsigned char *head, size_t head_bytes,
                                  uint64_t file_bytes)
{
    if (file_bytes < RB_ST_LENGTH_BYTES || head_bytes < RB_ST_LENGTH_BYTES)
        return BAD(p, "%" PRIu64 " bytes are too few for a safetensors file", file_bytes);
    uint64_t n = rb_st_length_get(head);
    if (n > RB_ST_MAX_HEADER_BYTES)
        return BAD(p, "header length %" PRIu64 ", at most %zu is allowed", n,
                   RB_ST_MAX_HEADER_BYTES);
    if (n > file_bytes - RB_ST_LENGTH_BYTES)
        return BAD(p, "header length %" PRIu64 ", but the file has %" PRIu64 " bytes", n,
                   file_bytes);
    if (n > head_bytes - RB_ST_LENGTH_BYTES)
        return BAD(p, "header length %" PRIu64 ", but only %zu bytes have arrived", n, head_bytes);
    p->text = (const char *)head + RB_ST_LENGTH_BYTES;
    p->bytes = (size_t)n;
    p->data_bytes = file_bytes - RB_ST_LENGTH_BYTES - n;
    return RB_OK;
}

enum rb_status rb_safetensors_parse(const char *label, const void *head, size_t head_bytes,
                                    uint64_t file_bytes, const void *data,
                                    struct rb_safetensors *ret, struct rb_error *err)
{
    struct parser p = {.label = label, .err = err, .data = data};
    enum rb_status s = read_length(&p, head, head_bytes, file_bytes);
    if (s != RB_OK)
        return s;
    p.st.path = strdup(label);
    p.st.names = malloc(p.bytes + 1);
    s = p.st.path != NULL && p.st.names != NULL ? read_header(&p) : no_memory(&p);
    if (s == RB_OK)
        s = check_names(&p);
    if (s == RB_OK)
        s = check_coverage(&p);
    free(p.ranges);
    if (s == RB_OK)
        *ret = p.st;
    else
        rb_safetensors_deinit(&p.st);
    return s;
}
