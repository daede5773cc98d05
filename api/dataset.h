/* api/dataset.h: a registered text. */
#ifndef RB_API_DATASET_H
#define RB_API_DATASET_H

#include "api/artifact.h"
#include "api/decode.h"
#include "api/encode.h"
#include "api/names.h"
#include "core/text/dataset.h"

enum { RB_FIELD_NAME_MAX = 200 }; /* characters of a column's or member's name */

/* "text", "jsonl", "tsv", in enum rb_format's order, NULL-terminated. */
extern const char *const rb_dataset_format_names[];

/* Which fields are read; NULL: none. Owned. */
struct rb_dataset_fields {
    char *text, *text_pair, *label;
};

struct rb_dataset_resource {
    char name[RB_NAME_SIZE];
    enum rb_format format;
    uint64_t rows, bytes;
    char sha256[RB_SHA256_HEX_SIZE]; /* "": not yet computed, null */
    struct rb_dataset_fields fields; /* {"text","text_pair","label"}, null where none */
    int64_t created_ms;
    char submitted_by[RB_SUBMITTER_SIZE]; /* "": null */
};

void rb_dataset_resource_deinit(struct rb_dataset_resource *d);
void rb_dataset_encode(struct rb_json *w, const char *key, const struct rb_dataset_resource *d);

/* POST /v1/datasets. format defaults to "text". The fields may also stand in "fields", as an answer
 * has them. */
struct rb_dataset_post {
    char *name, *path; /* as rb_model_post's */
    uint32_t given;    /* of enum rb_dataset_given */
    enum rb_format format;
    struct rb_dataset_fields fields;
    struct rb_dataset_fields nested; /* "fields", as answers have them; moved into fields */
};
enum rb_dataset_given { RB_DATASET_FORMAT = 1, RB_DATASET_NESTED = 2 };
enum rb_status rb_dataset_post_decode(const json_t *json, struct rb_dataset_post *ret,
                                      struct rb_problems *problems,
                                      struct rb_error *err) RB_MUST_CHECK;
void rb_dataset_post_deinit(struct rb_dataset_post *p);

/* The rule between format and fields, for bodies and for PUT's query alike: text takes no fields,
 * jsonl and tsv need text, and no field is named twice. at: "" for a body ("/text"), NULL for a
 * query ("text"). */
void rb_dataset_fields_check(enum rb_format format, const char *text, const char *text_pair,
                             const char *label, const char *at, struct rb_problems *problems);

#endif
