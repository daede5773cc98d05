/* A tokenizer from a checkpoint's folder: which files are there decides its kind. */
#include "core/text/tokenizer_open.h"
#include "core/text/bpe_files.h"
#include "core/text/input_file.h"
#include "core/text/tokenizer_json.h"
#include "core/text/wordpiece.h"

#include "core/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const rb_tokenizer_files[] = {
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    NULL,
};

enum { VOCAB_MAX_BYTES = 64 << 20 };

static enum rb_status make_wordpiece(const char *path, struct rb_vocabulary *v,
                                     const struct rb_tokenizer_settings *settings,
                                     struct rb_tokenizer **ret, struct rb_error *err)
{
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.do_lower_case = settings->do_lower_case;
    o.strip_accents = settings->strip_accents;
    o.tokenize_chinese_chars = settings->tokenize_chinese_chars;
    const char **const parts[] = {&o.unk_token, &o.sep_token, &o.pad_token, &o.cls_token,
                                  &o.mask_token};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (settings->tokens[i].content != NULL)
            *parts[i] = settings->tokens[i].content;
    struct rb_added_token *added = calloc(settings->extra_count + RB_SPECIAL_COUNT, sizeof *added);
    if (added == NULL) {
        rb_vocabulary_deinit(v);
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", path);
    }
    if (settings->extra_count > 0)
        memcpy(added, settings->extra, settings->extra_count * sizeof *added);
    o.added = added;
    o.added_count = rb_tokenizer_settings_add_specials(settings, v, added, settings->extra_count);
    enum rb_status status = rb_wordpiece_new_from(path, v, &o, ret, err);
    free(added);
    return status;
}

static enum rb_status open_vocab_txt(const char *folder, const char *path,
                                     const struct rb_tokenizer_settings *settings,
                                     struct rb_tokenizer **ret, struct rb_error *err)
{
    char *text;
    size_t bytes;
    struct rb_vocabulary v;
    struct rb_tokenizer *t = NULL;
    enum rb_status status = rb_input_file_read(path, VOCAB_MAX_BYTES, &text, &bytes, err);
    if (status != RB_OK)
        return status;
    status = rb_vocabulary_init(&v, path, text, bytes, err);
    free(text);
    if (status == RB_OK)
        status = make_wordpiece(path, &v, settings, &t, err);
    if (status == RB_OK)
        status = rb_tokenizer_settings_check_ids(settings, folder, t, err);
    return rb_tokenizer_give(t, status, ret);
}

static enum rb_status open_tokenizer_json(const char *folder, const char *path,
                                          const struct rb_tokenizer_settings *settings,
                                          struct rb_tokenizer **ret, struct rb_error *err)
{
    (void)folder;
    return rb_tokenizer_json_open(path, settings, ret, err);
}

static enum rb_status open_vocab_json(const char *folder, const char *path,
                                      const struct rb_tokenizer_settings *settings,
                                      struct rb_tokenizer **ret, struct rb_error *err)
{
    (void)path;
    return rb_bpe_open(folder, settings, ret, err);
}

/* The first that is there decides. */
static const struct {
    const char *name;
    enum rb_status (*open)(const char *folder, const char *path,
                           const struct rb_tokenizer_settings *settings, struct rb_tokenizer **ret,
                           struct rb_error *err);
} ways[] = {
    {"vocab.txt", open_vocab_txt},
    {"tokenizer.json", open_tokenizer_json},
    {"vocab.json", open_vocab_json},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* RB_ENOTFOUND, RB_OK, or what prevents a look. */
static enum rb_status look(const char *folder, const char *name, char **ret_path,
                           struct rb_error *err)
{
    int fd;
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
    enum rb_status status = rb_input_open(path, 0, &fd, err);
    if (status == RB_OK)
        close(fd);
    if (status == RB_OK && ret_path != NULL)
        *ret_path = path;
    else
        free(path);
    return status;
}

static enum rb_status none_found(const char *folder, struct rb_error *err)
{
    static const char *const foreign[] = {"tokenizer.model", "spiece.model",
                                          "sentencepiece.bpe.model"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (look(folder, foreign[i], NULL, NULL) == RB_OK)
            return rb_error_set(err, RB_EVOCAB,
                                "%s: %s is a SentencePiece vocabulary, which does not load: only "
                                "WordPiece and byte-level BPE do",
                                folder, foreign[i]);
    return rb_error_set(err, RB_ENOTFOUND,
                        "%s/vocab.txt is missing, and so are tokenizer.json and vocab.json: one of "
                        "them must be there",
                        folder);
}

enum rb_status rb_tokenizer_open(const char *folder, struct rb_tokenizer **ret,
                                 struct rb_error *err)
{
    struct rb_tokenizer_settings settings;
    enum rb_status status = rb_tokenizer_settings_read(folder, &settings, err);
    if (status != RB_OK)
        return status;
    status = RB_ENOTFOUND;
    for (size_t i = 0; i < WAYS && status == RB_ENOTFOUND; i++) {
        char *path;
        status = look(folder, ways[i].name, &path, err);
        if (status != RB_OK)
            continue;
        status = ways[i].open(folder, path, &settings, ret, err);
        free(path);
        goto out;
    }
    if (status == RB_ENOTFOUND)
        status = none_found(folder, err);
out:
    rb_tokenizer_settings_deinit(&settings);
    return status;
}
