/* Byte-level BPE from vocab.json and merges.txt. */
#include "core/text/bpe_files.h"
#include "core/text/bpe.h"

#include "core/text/input_file.h"
#include "core/text/tokenizer_settings.h"
#include "core/text/tokenizer_json.h"
#include "core/text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MERGES_MAX_BYTES = 64 << 20 };

/* ---- merges.txt ---- */

/* "a b", NUL-terminated. */
static bool take_line(char *line, struct rb_bpe_pair *ret)
{
    char *space = strchr(line, ' ');
    if (space == NULL || strchr(space + 1, ' ') != NULL)
        return false;
    *ret = (struct rb_bpe_pair){line, space + 1, (size_t)(space - line)};
    return true;
}

/* Cuts text into lines, which are changed: each gets a NUL behind it. */
static enum rb_status take_lines(const char *path, char *text, size_t bytes,
                                 struct rb_bpe_pair *pairs, size_t *ret_count, struct rb_error *err)
{
    size_t count = 0, number = 0;
    for (char *line = text, *next; line < text + bytes; line = next) {
        char *end = memchr(line, '\n', (size_t)(text + bytes - line));
        end = end != NULL ? end : text + bytes;
        next = end + 1;
        number++;
        *end = '\0';
        if (memchr(line, '\0', (size_t)(end - line)) != NULL)
            return rb_error_set(err, RB_EVOCAB, "%s: line %zu contains a NUL byte", path, number);
        if (end > line && end[-1] == '\r')
            end[-1] = '\0';
        if (line[0] == '\0' || strncmp(line, "#version", 8) == 0)
            continue;
        if (!take_line(line, &pairs[count++])) {
            char shown[64];
            return rb_error_set(err, RB_EVOCAB,
                                "%s: line %zu: found '%s', expected two tokens with one space "
                                "between them",
                                path, number,
                                rb_utf8_excerpt(shown, sizeof shown, line, strlen(line)));
        }
    }
    *ret_count = count;
    return RB_OK;
}

static enum rb_status read_merges(const char *path, char **ret_text, struct rb_bpe_pair **ret,
                                  size_t *ret_count, struct rb_error *err)
{
    static const char bom[] = "\xEF\xBB\xBF";
    size_t bytes, lines = 1;
    enum rb_status status = rb_input_file_read(path, MERGES_MAX_BYTES, ret_text, &bytes, err);
    if (status != RB_OK)
        return status;
    char *text = *ret_text;
    if (bytes >= 3 && memcmp(text, bom, 3) == 0)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: begins with a byte order mark: save it as UTF-8 without one",
                            path);
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    *ret = calloc(lines, sizeof **ret);
    if (*ret == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", path);
    return take_lines(path, text, bytes, *ret, ret_count, err);
}

/* ---- what the class adds ---- */

static struct rb_template_part part(size_t count, int32_t id, uint8_t type)
{
    struct rb_template_part p = {.count = count};
    for (size_t i = 0; i < count; i++) {
        p.ids[i] = id;
        p.types[i] = type;
    }
    return p;
}

/* <s> a </s>, <s> a </s></s> b </s>; or, where it is asked for, the BOS before each text. */
static enum rb_status set_wraps(struct rb_tokenizer *t, const char *label,
                                const struct rb_tokenizer_settings *settings, struct rb_error *err)
{
    int32_t cls = t->special[RB_SPECIAL_CLS], sep = t->special[RB_SPECIAL_SEP];
    int32_t bos = t->special[RB_SPECIAL_BOS];
    bool roberta = settings->class->roberta;
    if (roberta && (cls < 0 || sep < 0))
        return rb_error_set(err, RB_EVOCAB, "%s: the %s is not in the vocabulary", label,
                            rb_special_names[cls < 0 ? RB_SPECIAL_CLS : RB_SPECIAL_SEP]);
    if (roberta) {
        t->single = (struct rb_template){.prefix = part(1, cls, 0), .suffix = part(1, sep, 0)};
        t->pair = t->single;
        t->pair.between = part(2, sep, 0);
        return RB_OK;
    }
    bool first = settings->add_bos_token && strcmp(settings->class->name, "GPT2Tokenizer") == 0;
    if (first && bos < 0)
        return rb_error_set(err, RB_EVOCAB,
                            "%s: add_bos_token is set, but the bos_token is not in the vocabulary",
                            label);
    t->single.prefix = part(first, bos, 0);
    t->pair = (struct rb_template){
        .prefix = part(first, bos, 0), .between = part(first, bos, 1), .types = {0, 1}};
    return RB_OK;
}

static enum rb_status make(const char *folder, const struct rb_tokenizer_settings *settings,
                           struct rb_bpe_parts *parts, struct rb_tokenizer **ret,
                           struct rb_error *err)
{
    const struct rb_tokenizer_class *class = settings->class;
    struct rb_added_token *added = calloc(settings->extra_count + RB_SPECIAL_COUNT, sizeof *added);
    if (added == NULL) {
        rb_vocabulary_deinit(&parts->vocabulary);
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
    }
    if (settings->extra_count > 0)
        memcpy(added, settings->extra, settings->extra_count * sizeof *added);
    parts->added = added;
    parts->added_count = rb_tokenizer_settings_add_specials(settings, &parts->vocabulary, added,
                                                            settings->extra_count);
    parts->prefix = parts->suffix = "";
    parts->compose = class->compose;
    if (settings->add_prefix_space)
        parts->words.steps[parts->words.count++] = RB_PRE_PREFIX_SPACE;
    parts->words.steps[parts->words.count++] = class->words;
    struct rb_tokenizer *t = NULL;
    enum rb_status status = rb_bpe_new(parts, &t, err);
    free(added);
    if (status != RB_OK)
        return status;
    rb_tokenizer_settings_set_specials(settings, t);
    status = rb_tokenizer_settings_check_ids(settings, folder, t, err);
    if (status == RB_OK)
        status = set_wraps(t, folder, settings, err);
    return rb_tokenizer_give(t, status, ret);
}

enum rb_status rb_bpe_open(const char *folder, const struct rb_tokenizer_settings *settings,
                           struct rb_tokenizer **ret, struct rb_error *err)
{
    char *vocab_path = NULL, *merges_path = NULL, *text = NULL;
    struct rb_bpe_pair *merges = NULL;
    json_t *vocab = NULL;
    struct rb_bpe_parts parts = {0};
    enum rb_status status = RB_OK;
    if (asprintf(&vocab_path, "%s/vocab.json", folder) < 0)
        return rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
    if (asprintf(&merges_path, "%s/merges.txt", folder) < 0) {
        merges_path = NULL;
        status = rb_error_set(err, RB_ENOMEM, "%s: out of memory", folder);
    }
    if (status == RB_OK)
        status = rb_tokenizer_json_read(vocab_path, &vocab, err);
    if (status == RB_OK)
        status = read_merges(merges_path, &text, &merges, &parts.merge_count, err);
    if (status == RB_OK && settings->class == NULL)
        status = rb_error_set(
            err, RB_EVOCAB,
            "%s: vocab.json and merges.txt do not say how a text is cut into words: expected a "
            "tokenizer.json, or a tokenizer_class in tokenizer_config.json that is one of %s",
            folder, rb_tokenizer_class_names());
    if (status == RB_OK)
        status = rb_vocabulary_from_json(&parts.vocabulary, vocab_path, "the file", vocab, err);
    if (status == RB_OK) {
        parts.label = vocab_path;
        parts.merges_label = merges_path;
        parts.merges = merges;
        status = make(folder, settings, &parts, ret, err);
    }
    json_decref(vocab);
    free(merges);
    free(text);
    free(merges_path);
    free(vocab_path);
    return status;
}
