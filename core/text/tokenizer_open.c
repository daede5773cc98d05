/* A tokenizer from a checkpoint's folder: vocab.txt and tokenizer_config.json. */
#include "core/text/wordpiece.h"

#include "core/input.h"
#include "core/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const rb_tokenizer_files[] = {"added_tokens.json",
                                          "merges.txt",
                                          "special_tokens_map.json",
                                          "tokenizer.json",
                                          "tokenizer_config.json",
                                          "vocab.json",
                                          "vocab.txt",
                                          NULL};

enum { VOCAB_MAX_BYTES = 64 << 20, CONFIG_MAX_BYTES = 1 << 20 };

static enum rb_status read_all(int fd, const char *path, char *buffer, size_t bytes,
                               struct rb_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, buffer + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rb_error_errno(err, errno, path);
        if (n == 0)
            return rb_error_set(err, RB_EIO, "%s: the file shrank while it was read", path);
        done += (size_t)n;
    }
    return RB_OK;
}

static enum rb_status read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_bytes,
                                struct rb_error *err)
{
    int fd;
    struct stat st;
    enum rb_status status = rb_input_open(path, 0, &fd, err);
    if (status != RB_OK)
        return status;
    if (fstat(fd, &st) != 0) {
        status = rb_error_errno(err, errno, path);
        goto err_after_open;
    }
    if (!S_ISREG(st.st_mode)) {
        status = rb_error_set(err, RB_EVOCAB, "%s is not a regular file", path);
        goto err_after_open;
    }
    if ((uint64_t)st.st_size > max_bytes) {
        status = rb_error_set(err, RB_EVOCAB, "%s is larger than %zu MB", path, max_bytes >> 20);
        goto err_after_open;
    }
    size_t bytes = (size_t)st.st_size;
    char *buffer = malloc(bytes + 1);
    if (buffer == NULL) {
        status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", path);
        goto err_after_open;
    }
    status = read_all(fd, path, buffer, bytes, err);
    if (status != RB_OK)
        goto err_after_buffer;
    close(fd);
    *ret = buffer;
    *ret_bytes = bytes;
    return RB_OK;

err_after_buffer:
    free(buffer);
err_after_open:
    close(fd);
    return status;
}

/* ---- tokenizer_config.json ---- */

enum member_type {
    BOOLEAN,         /* bool */
    BOOLEAN_OR_NULL, /* int: 0, 1, -1 for null */
    TOKEN            /* const char *: a string, or an object with a string "content" */
};

#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, type, offsetof(struct rb_wordpiece_options, name)                                   \
    }
static const struct member {
    const char *name;
    enum member_type type;
    size_t offset;
} members[] = {
    MEMBER(BOOLEAN, do_lower_case),
    MEMBER(BOOLEAN_OR_NULL, strip_accents),
    MEMBER(BOOLEAN, tokenize_chinese_chars),
    MEMBER(TOKEN, unk_token),
    MEMBER(TOKEN, sep_token),
    MEMBER(TOKEN, pad_token),
    MEMBER(TOKEN, cls_token),
    MEMBER(TOKEN, mask_token),
};
#undef MEMBER

static const char *const expected[] = {
    [BOOLEAN] = "true or false",
    [BOOLEAN_OR_NULL] = "true, false or null",
    [TOKEN] = "a string or an object with a string \"content\"",
};

static bool take_member(const struct member *m, const json_t *value, struct rb_wordpiece_options *o)
{
    void *target = (char *)o + m->offset;
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
    case TOKEN: {
        const char *token =
            json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
        if (token == NULL)
            return false;
        *(const char **)target = token;
        return true;
    }
    }
    return false;
}

/* The tokens in o belong to *ret, which the caller releases. */
static enum rb_status parse_config(const char *path, const char *text, size_t bytes,
                                   struct rb_wordpiece_options *o, json_t **ret,
                                   struct rb_error *err)
{
    /* As reals: transformers writes model_max_length = 10^30 for "none", beyond any integer. */
    json_error_t where;
    bool no_memory;
    json_t *config = rb_json_load(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                                  &where, &no_memory);
    if (no_memory)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to read it", path);
    if (config == NULL)
        return rb_error_set(err, RB_EVOCAB, "%s: line %d: %s", path, where.line, where.text);
    if (!json_is_object(config)) {
        json_decref(config);
        return rb_error_set(err, RB_EVOCAB, "%s: not a JSON object", path);
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *value = json_object_get(config, members[i].name);
        if (value != NULL && !take_member(&members[i], value, o)) {
            json_decref(config);
            return rb_error_at(err, RB_EVOCAB, members[i].name, "%s: %s must be %s", path,
                               members[i].name, expected[members[i].type]);
        }
    }
    *ret = config;
    return RB_OK;
}

/* Without the file all stays as it is. */
static enum rb_status read_config(const char *path, struct rb_wordpiece_options *o, json_t **ret,
                                  struct rb_error *err)
{
    char *text;
    size_t bytes;
    enum rb_status status = read_file(path, CONFIG_MAX_BYTES, &text, &bytes, err);
    if (status == RB_ENOTFOUND)
        return RB_OK;
    if (status != RB_OK)
        return status;
    status = parse_config(path, text, bytes, o, ret, err);
    free(text);
    return status;
}

enum rb_status rb_tokenizer_open(const char *folder, struct rb_tokenizer **ret,
                                 struct rb_error *err)
{
    char *vocab_path, *config_path;
    if (asprintf(&vocab_path, "%s/vocab.txt", folder) < 0)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
    enum rb_status status;
    if (asprintf(&config_path, "%s/tokenizer_config.json", folder) < 0) {
        status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
        goto err_after_vocab_path;
    }
    struct rb_wordpiece_options options;
    rb_wordpiece_options_default(&options);
    json_t *config = NULL;
    status = read_config(config_path, &options, &config, err);
    if (status != RB_OK)
        goto err_after_config_path;
    char *vocab;
    size_t bytes;
    status = read_file(vocab_path, VOCAB_MAX_BYTES, &vocab, &bytes, err);
    if (status != RB_OK)
        goto err_after_config;
    status = rb_wordpiece_new(vocab_path, vocab, bytes, &options, ret, err);
    free(vocab);

err_after_config:
    json_decref(config);
err_after_config_path:
    free(config_path);
err_after_vocab_path:
    free(vocab_path);
    return status;
}
