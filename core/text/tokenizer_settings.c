#include "core/text/tokenizer_settings.h"

#include "core/text/input_file.h"
#include "core/text/tokenizer_ops.h"
#include "core/text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROBERTA_TOKENS                                                                             \
    {                                                                                              \
        [RB_SPECIAL_UNK] = "<unk>", [RB_SPECIAL_SEP] = "</s>", [RB_SPECIAL_PAD] = "<pad>",         \
        [RB_SPECIAL_CLS] = "<s>", [RB_SPECIAL_MASK] = "<mask>", [RB_SPECIAL_BOS] = "<s>",          \
        [RB_SPECIAL_EOS] = "</s>"                                                                  \
    }
#define GPT2_TOKENS                                                                                \
    {                                                                                              \
        [RB_SPECIAL_UNK] = "<|endoftext|>", [RB_SPECIAL_BOS] = "<|endoftext|>",                    \
        [RB_SPECIAL_EOS] = "<|endoftext|>"                                                         \
    }
static const struct rb_tokenizer_class classes[] = {
    {"GPT2Tokenizer", "gpt2", false, RB_PRE_GPT2, false, GPT2_TOKENS},
    {"RobertaTokenizer", "roberta", false, RB_PRE_GPT2, true, ROBERTA_TOKENS},
    {"LongformerTokenizer", NULL, false, RB_PRE_GPT2, true, ROBERTA_TOKENS},
    {"BartTokenizer", NULL, false, RB_PRE_GPT2, true, ROBERTA_TOKENS},
    {"GPTNeoXTokenizer", "gpt_neox", true, RB_PRE_GPT2, false, GPT2_TOKENS},
    {"Qwen2Tokenizer",
     "qwen2",
     true,
     RB_PRE_QWEN2,
     false,
     {[RB_SPECIAL_UNK] = "<|endoftext|>",
      [RB_SPECIAL_PAD] = "<|endoftext|>",
      [RB_SPECIAL_EOS] = "<|endoftext|>"}},
};
#undef ROBERTA_TOKENS
#undef GPT2_TOKENS
enum { CLASSES = sizeof classes / sizeof classes[0] };

const char *rb_tokenizer_class_names(void)
{
    return "GPT2Tokenizer, RobertaTokenizer, LongformerTokenizer, BartTokenizer, "
           "GPTNeoXTokenizer, Qwen2Tokenizer";
}

/* ---- members ---- */

enum member_type {
    BOOLEAN,         /* bool */
    BOOLEAN_OR_NULL, /* int: 0, 1, -1 for null */
    NAME             /* const char *, NULL for null */
};

#define MEMBER(type, json, name)                                                                   \
    {                                                                                              \
        json, type, offsetof(struct rb_tokenizer_settings, name)                                   \
    }
static const struct member {
    const char *name;
    enum member_type type;
    size_t offset;
} members[] = {
    MEMBER(BOOLEAN, "do_lower_case", do_lower_case),
    MEMBER(BOOLEAN_OR_NULL, "strip_accents", strip_accents),
    MEMBER(BOOLEAN, "tokenize_chinese_chars", tokenize_chinese_chars),
    MEMBER(BOOLEAN, "add_prefix_space", add_prefix_space),
    MEMBER(BOOLEAN, "add_bos_token", add_bos_token),
    MEMBER(NAME, "tokenizer_class", class_name),
};
#undef MEMBER

static const char *const expected[] = {
    [BOOLEAN] = "true or false",
    [BOOLEAN_OR_NULL] = "true, false or null",
    [NAME] = "a string or null",
};

static bool take_member(const struct member *m, const json_t *value,
                        struct rb_tokenizer_settings *s)
{
    void *target = (char *)s + m->offset;
    switch (m->type) {
    case BOOLEAN:
        if (!json_is_boolean(value))
            return false;
        *(bool *)target = json_is_true(value);
        return true;
    case BOOLEAN_OR_NULL:
        if (!json_is_boolean(value) && !json_is_null(value))
            return false;
        *(int *)target = json_is_null(value) ? -1 : json_is_true(value);
        return true;
    case NAME:
        if (!json_is_string(value) && !json_is_null(value))
            return false;
        *(const char **)target = json_string_value(value);
        return true;
    }
    return false;
}

static enum rb_status take_members(const char *path, const json_t *config,
                                   struct rb_tokenizer_settings *s, struct rb_error *err)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *value = json_object_get(config, members[i].name);
        if (value != NULL && !take_member(&members[i], value, s))
            return rb_error_set(err, RB_EVOCAB, "%s: %s must be %s", path, members[i].name,
                                expected[members[i].type]);
    }
    return RB_OK;
}

/* ---- special tokens ---- */

/* A token as a string or an object. */
static bool take_token(const json_t *value, struct rb_added_token *ret)
{
    const char *content =
        json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    if (content == NULL)
        return false;
    *ret = (struct rb_added_token){
        .content = content,
        .id = -1,
        .single_word = json_is_true(json_object_get(value, "single_word")),
        .lstrip = json_is_true(json_object_get(value, "lstrip")),
        .rstrip = json_is_true(json_object_get(value, "rstrip")),
        .normalized = json_is_true(json_object_get(value, "normalized")),
    };
    return true;
}

static enum rb_status take_tokens(const char *path, const json_t *config,
                                  struct rb_tokenizer_settings *s, struct rb_error *err)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++) {
        const json_t *value = json_object_get(config, rb_special_names[i]);
        if (value == NULL || json_is_null(value) || s->tokens[i].content != NULL)
            continue;
        if (!take_token(value, &s->tokens[i]))
            return rb_error_set(err, RB_EVOCAB,
                                "%s: %s must be a string or an object with a string \"content\"",
                                path, rb_special_names[i]);
    }
    return RB_OK;
}

/* ---- added tokens ---- */

static int by_id(const void *a, const void *b)
{
    int32_t x = ((const struct rb_added_token *)a)->id, y = ((const struct rb_added_token *)b)->id;
    return x < y ? -1 : x > y;
}

static bool has_extra(const struct rb_tokenizer_settings *s, const char *content)
{
    for (size_t i = 0; i < s->extra_count; i++)
        if (strcmp(s->extra[i].content, content) == 0)
            return true;
    return false;
}

static bool read_id(double number, int32_t *ret)
{
    if (!(number >= 0 && number < RB_VOCABULARY_IDS) || number != (double)(int32_t)number)
        return false;
    *ret = (int32_t)number;
    return true;
}

/* {"50264": {"content": "<mask>", "lstrip": true, …}} or {"<mask>": 50264}. */
static bool take_extra(const char *key, const json_t *value, bool by_content,
                       struct rb_added_token *ret)
{
    if (by_content) {
        *ret = (struct rb_added_token){.content = key, .normalized = true};
        return read_id(json_is_real(value) ? json_real_value(value) : -1, &ret->id);
    }
    char *end;
    double number = strtod(key, &end);
    return take_token(value, ret) && json_is_object(value) && *end == '\0' && key[0] >= '0' &&
           key[0] <= '9' && read_id(number, &ret->id);
}

static enum rb_status take_extras(const char *path, const char *member, json_t *tokens,
                                  bool by_content, struct rb_tokenizer_settings *s,
                                  struct rb_error *err)
{
    const char *key;
    json_t *value;
    size_t count = json_object_size(tokens);
    if (tokens != NULL && !json_is_object(tokens))
        return rb_error_set(err, RB_EVOCAB, "%s: %s must be an object", path, member);
    if (count == 0)
        return RB_OK;
    if (s->extra_count + count > RB_ADDED_MAX)
        return rb_error_set(err, RB_EVOCAB, "%s: %zu added tokens, at most %d are allowed", path,
                            count, RB_ADDED_MAX);
    struct rb_added_token *grown = reallocarray(s->extra, s->extra_count + count, sizeof *s->extra);
    if (grown == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", path);
    s->extra = grown;
    json_object_foreach(tokens, key, value)
    {
        struct rb_added_token token;
        if (!take_extra(key, value, by_content, &token)) {
            char shown[64];
            return rb_error_set(err, RB_EVOCAB, "%s: %s '%s': expected an added token and its id",
                                path, member,
                                rb_utf8_excerpt(shown, sizeof shown, key, strlen(key)));
        }
        if (!has_extra(s, token.content))
            s->extra[s->extra_count++] = token;
    }
    qsort(s->extra, s->extra_count, sizeof *s->extra, by_id);
    return RB_OK;
}

/* ---- the class ---- */

static const struct rb_tokenizer_class *class_named(const char *name)
{
    size_t bytes = strlen(name);
    if (bytes > 4 && strcmp(name + bytes - 4, "Fast") == 0)
        bytes -= 4;
    for (size_t i = 0; i < CLASSES; i++)
        if (strncmp(classes[i].name, name, bytes) == 0 && classes[i].name[bytes] == '\0')
            return &classes[i];
    return NULL;
}

static const struct rb_tokenizer_class *class_of_model(const char *model_type)
{
    for (size_t i = 0; i < CLASSES; i++)
        if (classes[i].model_type != NULL && strcmp(classes[i].model_type, model_type) == 0)
            return &classes[i];
    return NULL;
}

/* By config.json, if that can be read at all: what is wrong with it is the model's to say. */
static const struct rb_tokenizer_class *class_of_folder(const char *path)
{
    json_t *config = NULL;
    if (rb_input_file_json(path, &config, NULL) != RB_OK)
        return NULL;
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const struct rb_tokenizer_class *class = type != NULL ? class_of_model(type) : NULL;
    json_decref(config);
    return class;
}

/* ---- the files ---- */

/* *ret NULL without the file. */
static enum rb_status read_optional(const char *path, json_t **ret, struct rb_error *err)
{
    *ret = NULL;
    enum rb_status status = rb_input_file_json(path, ret, err);
    return status == RB_ENOTFOUND ? RB_OK : status;
}

static enum rb_status take_file(int file, const char *path, struct rb_tokenizer_settings *s,
                                struct rb_error *err)
{
    enum { CONFIG, MAP, ADDED };
    enum rb_status status = read_optional(path, &s->files[file], err);
    json_t *json = s->files[file];
    if (status != RB_OK || json == NULL)
        return status;
    if (file == ADDED)
        return take_extras(path, "token", json, true, s, err);
    if (file == CONFIG)
        status = take_members(path, json, s, err);
    if (status == RB_OK)
        status = take_tokens(path, json, s, err);
    if (status == RB_OK && file == CONFIG)
        status = take_extras(path, "added_tokens_decoder",
                             json_object_get(json, "added_tokens_decoder"), false, s, err);
    return status;
}

enum rb_status rb_tokenizer_settings_read(const char *folder, struct rb_tokenizer_settings *ret,
                                          struct rb_error *err)
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json", "config.json"};
    struct rb_tokenizer_settings s = {
        .do_lower_case = true, .tokenize_chinese_chars = true, .strip_accents = -1};
    enum rb_status status = RB_OK;
    for (int i = 0; i < 4 && status == RB_OK; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", folder, names[i]) < 0) {
            status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
            break;
        }
        if (i < 3)
            status = take_file(i, path, &s, err);
        else if (s.class_name != NULL && class_named(s.class_name) != NULL)
            s.class = class_named(s.class_name);
        else
            s.class = class_of_folder(path);
        free(path);
    }
    if (status == RB_OK)
        *ret = s;
    else
        rb_tokenizer_settings_deinit(&s);
    return status;
}

void rb_tokenizer_settings_deinit(struct rb_tokenizer_settings *s)
{
    for (int i = 0; i < 3; i++)
        json_decref(s->files[i]);
    free(s->extra);
    *s = (struct rb_tokenizer_settings){0};
}

/* ---- what a tokenizer takes from them ---- */

size_t rb_tokenizer_settings_add_specials(const struct rb_tokenizer_settings *settings,
                                          const struct rb_vocabulary *v,
                                          struct rb_added_token *tokens, size_t count)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++) {
        struct rb_added_token token = settings->tokens[i];
        if (token.content == NULL && settings->class != NULL)
            token = (struct rb_added_token){
                .content = settings->class->tokens[i],
                .lstrip = settings->class->roberta && i == RB_SPECIAL_MASK,
            };
        bool known = token.content == NULL || token.content[0] == '\0' ||
                     rb_vocabulary_find(v, token.content, strlen(token.content)) < 0;
        for (size_t k = 0; k < count && !known; k++)
            known = strcmp(tokens[k].content, token.content) == 0;
        if (!known)
            tokens[count++] = token;
    }
    return count;
}

void rb_tokenizer_settings_set_specials(const struct rb_tokenizer_settings *settings,
                                        struct rb_tokenizer *t)
{
    for (int i = 0; i < RB_SPECIAL_COUNT; i++) {
        const char *content = settings->tokens[i].content;
        if (content == NULL && settings->class != NULL)
            content = settings->class->tokens[i];
        t->special[i] = content != NULL && content[0] != '\0' ? rb_tokenizer_find(t, content) : -1;
    }
}

enum rb_status rb_tokenizer_settings_check_ids(const struct rb_tokenizer_settings *settings,
                                               const char *folder, const struct rb_tokenizer *t,
                                               struct rb_error *err)
{
    for (size_t i = 0; i < settings->extra_count; i++) {
        const struct rb_added_token *token = &settings->extra[i];
        int32_t id = rb_tokenizer_find(t, token->content);
        if (token->content[0] != '\0' && id != token->id) {
            char shown[64];
            return rb_error_set(
                err, RB_EVOCAB,
                "%s: the added token '%s' has id %d in its file, but behind the vocabulary it "
                "would get %d",
                folder,
                rb_utf8_excerpt(shown, sizeof shown, token->content, strlen(token->content)),
                token->id, id);
        }
    }
    return RB_OK;
}
