/* api/model.h: a registered checkpoint. */
#ifndef RB_API_MODEL_H
#define RB_API_MODEL_H

#include "api/artifact.h"
#include "api/decode.h"
#include "api/encode.h"
#include "api/names.h"

enum rb_model_status { RB_MODEL_INCOMPLETE, RB_MODEL_READY, RB_MODEL_INVALID };
extern const char *const rb_model_status_names[]; /* "incomplete", "ready", "invalid" */

struct rb_model_file {
    char name[RB_ARTIFACT_NAME_SIZE];
    uint64_t bytes;
    char sha256[RB_SHA256_HEX_SIZE]; /* "": not yet computed, null */
};

enum { RB_MODEL_SOURCE_SIZE = 440, RB_MODEL_NOTE_SIZE = 256 };

/* Why a model is not ready: a stable code and the words. */
struct rb_model_problem {
    enum rb_status status;
    char detail[512];
};

/* Sizes are 0 (null) until the config could be read. Pointers are malloc'ed and owned. */
struct rb_model_resource {
    char name[RB_NAME_SIZE];
    enum rb_model_status status;
    char architecture[64]; /* "BertForMaskedLM"; "": null */
    uint32_t hidden_size, num_layers, num_heads, intermediate_size, vocab_size;
    uint32_t max_position_embeddings;
    uint64_t parameters;
    char dtype[8]; /* "F32"; "": null */
    uint64_t bytes;
    char sha256[RB_SHA256_HEX_SIZE]; /* over the sorted files' names and digests; "": null */
    struct rb_model_file *files;
    size_t file_count;
    struct rb_model_problem *problems;
    size_t problem_count;
    /* "import", "upload", or "hf:org/name@commit" if it was imported from a Hugging Face cache */
    char source[RB_MODEL_SOURCE_SIZE];
    char submitted_by[RB_SUBMITTER_SIZE]; /* "": null */
    char family[32];                      /* config.json's model_type; "": null */
    char tokenizer_kind[16];              /* "wordpiece", "bpe"; "": none could be opened */
    uint32_t tokenizer_size;              /* one more than its largest id */
    char note[RB_MODEL_NOTE_SIZE]; /* what is worth knowing of it though it can be used; "": null */
    int64_t created_ms;
};

void rb_model_resource_deinit(struct rb_model_resource *m);
void rb_model_encode(struct rb_json *w, const char *key, const struct rb_model_resource *m);

enum { RB_PATH_CHARACTERS_MAX = 4096 };
/* What models and datasets ask of a path to import: that it is absolute. Faults point at "/path".
 * path may be NULL: no fault. */
void rb_import_path_check(const char *path, struct rb_problems *problems);

/* source, from where the model lies: imported in place or not, and its path. */
void rb_model_source(bool imported, const char *path, char ret[RB_MODEL_SOURCE_SIZE]);

/* POST /v1/models: a folder below an import root, by its path or by its name in a Hugging Face
 * cache; exactly one of the two is given. */
struct rb_model_post {
    char *name,
        *path, /* absolute, 1 to 4096 characters; that it lies below a root is not checked */
        *hf;   /* as rb_hf_name_parse takes it (api/hf_name.h); else NULL */
};
enum rb_status rb_model_post_decode(const json_t *json, struct rb_model_post *ret,
                                    struct rb_problems *problems,
                                    struct rb_error *err) RB_MUST_CHECK;
void rb_model_post_deinit(struct rb_model_post *p);

#endif
