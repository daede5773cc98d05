#include "api/model.h"

#include "api/hf_name.h"

#include <stdio.h>
#include <stdlib.h>

const char *const rb_model_status_names[] = {"incomplete", "ready", "invalid", NULL};

void rb_model_resource_deinit(struct rb_model_resource *m)
{
    free(m->files);
    free(m->problems);
    *m = (struct rb_model_resource){0};
}

static void encode_size(struct rb_json *w, const char *key, uint64_t size)
{
    if (size > 0)
        rb_json_uint(w, key, size);
    else
        rb_json_null(w, key);
}

static void encode_files(struct rb_json *w, const struct rb_model_resource *m)
{
    rb_json_array(w, "files");
    for (size_t i = 0; i < m->file_count; i++) {
        rb_json_object(w, NULL);
        rb_json_string(w, "name", m->files[i].name);
        rb_json_uint(w, "bytes", m->files[i].bytes);
        rb_json_text_or_null(w, "sha256", m->files[i].sha256);
        rb_json_end(w);
    }
    rb_json_end(w);
}

static void encode_problems(struct rb_json *w, const struct rb_model_resource *m)
{
    rb_json_array(w, "problems");
    for (size_t i = 0; i < m->problem_count; i++) {
        rb_json_object(w, NULL);
        rb_json_string(w, "code", rb_problem_code(m->problems[i].status));
        rb_json_string(w, "detail", m->problems[i].detail);
        rb_json_end(w);
    }
    rb_json_end(w);
}

static void encode_tokenizer(struct rb_json *w, const struct rb_model_resource *m)
{
    if (m->tokenizer_kind[0] == '\0') {
        rb_json_null(w, "tokenizer");
        return;
    }
    rb_json_object(w, "tokenizer");
    rb_json_string(w, "kind", m->tokenizer_kind);
    rb_json_uint(w, "vocabulary_size", m->tokenizer_size);
    rb_json_end(w);
}

void rb_model_encode(struct rb_json *w, const char *key, const struct rb_model_resource *m)
{
    rb_json_object(w, key);
    rb_json_string(w, "name", m->name);
    rb_json_string(w, "status", rb_model_status_names[m->status]);
    rb_json_text_or_null(w, "architecture", m->architecture);
    rb_json_text_or_null(w, "family", m->family);
    encode_size(w, "hidden_size", m->hidden_size);
    encode_size(w, "num_layers", m->num_layers);
    encode_size(w, "num_heads", m->num_heads);
    encode_size(w, "intermediate_size", m->intermediate_size);
    encode_size(w, "vocab_size", m->vocab_size);
    encode_size(w, "max_position_embeddings", m->max_position_embeddings);
    encode_size(w, "parameters", m->parameters);
    rb_json_text_or_null(w, "dtype", m->dtype);
    rb_json_uint(w, "bytes", m->bytes);
    rb_json_text_or_null(w, "sha256", m->sha256);
    encode_files(w, m);
    encode_problems(w, m);
    rb_json_string(w, "source", m->source);
    rb_json_text_or_null(w, "submitted_by", m->submitted_by);
    encode_tokenizer(w, m);
    rb_json_text_or_null(w, "note", m->note);
    rb_json_time(w, "created_at", m->created_ms);
    rb_json_end(w);
}

void rb_model_source(bool imported, const char *path, char ret[RB_MODEL_SOURCE_SIZE])
{
    struct rb_hf_name name;
    if (imported && rb_hf_name_of_path(path, &name))
        (void)snprintf(ret, RB_MODEL_SOURCE_SIZE, "hf:%s@%s", name.repository, name.revision);
    else
        (void)snprintf(ret, RB_MODEL_SOURCE_SIZE, "%s", imported ? "import" : "upload");
}

/* ---- POST ---- */

static const struct rb_field post_fields[] = {
    {.key = "name",
     .type = RB_FIELD_NAME,
     .offset = offsetof(struct rb_model_post, name),
     .required = true},
    {.key = "path",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct rb_model_post, path),
     .low = 1,
     .high = RB_PATH_CHARACTERS_MAX},
    {.key = "hf",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct rb_model_post, hf),
     .low = 1,
     .high = RB_HF_NAME_SIZE - 1},
};
static const struct rb_object post_object = {
    .fields = post_fields,
    .field_count = sizeof post_fields / sizeof post_fields[0],
    .given_offset = RB_NO_GIVEN,
};

void rb_import_path_check(const char *path, struct rb_problems *problems)
{
    if (path != NULL && path[0] != '/')
        rb_problems_add(problems, "/path", "expected an absolute path, found \"%.80s\"", path);
}

/* Where the model lies is said once. */
static void check_place(const struct rb_model_post *post, struct rb_problems *problems)
{
    struct rb_hf_name name;
    if (post->path != NULL && post->hf != NULL)
        rb_problems_add(problems, "/hf", "expected path or hf, found both");
    else if (post->hf != NULL && !rb_hf_name_parse(post->hf, &name))
        rb_problems_add(problems, "/hf", "expected " RB_HF_NAME_RULE ", found \"%.80s\"", post->hf);
}

static bool has_member(const json_t *json, const char *key)
{
    return json_object_get(json, key) != NULL;
}

enum rb_status rb_model_post_decode(const json_t *json, struct rb_model_post *ret,
                                    struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    struct rb_model_post post = {0};
    rb_object_decode(json, "", &post_object, 0, &post, list);
    if (json_is_object(json) && !has_member(json, "path") && !has_member(json, "hf"))
        rb_problems_add(list, "/path", "required: a folder's path, or hf: org/name");
    rb_import_path_check(post.path, list);
    check_place(&post, list);
    enum rb_status status = rb_problems_status(list, err);
    if (status == RB_OK)
        *ret = post;
    else
        rb_model_post_deinit(&post);
    return status;
}

void rb_model_post_deinit(struct rb_model_post *p)
{
    free(p->name);
    free(p->path);
    free(p->hf);
    *p = (struct rb_model_post){0};
}
