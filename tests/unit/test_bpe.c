// LINK: core_text
#include "core/text/bpe.h"
#include "core/text/tokenizer_open.h"
#include "core/text/unicode.h"
#include "unit/text_support.h"
#include "unit/tmpdir.h"

#include <jansson.h>

/* ---- what the reference says of every golden string ---- */

/* Where a fixture tokenizer lies: with its model, if it has one here. */
static void folder_path(const char *name, char *path, size_t size)
{
    const char *below = strcmp(name, "qwen2") == 0 ? "tokenizers" : "models";
    snprintf(path, size, "%s/%s/%s", RB_FIXTURES, below, name);
}

static struct rb_tokenizer *open_folder(const char *name)
{
    char path[512];
    struct rb_tokenizer *t = NULL;
    struct rb_error err;
    folder_path(name, path, sizeof path);
    if (rb_tokenizer_open(path, &t, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return t;
}

/* Ids as the post-processor has them, by the template. */
static void encode_wrapped(const struct rb_tokenizer *t, const char *a, size_t a_bytes,
                           const char *b, size_t b_bytes, struct rb_ids *ids)
{
    const struct rb_template *w = rb_tokenizer_template(t, b != NULL);
    const struct rb_template_part *parts[] = {&w->prefix, &w->between, &w->suffix};
    ids->count = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(rb_ids_reserve(ids, parts[i]->count));
        for (size_t k = 0; k < parts[i]->count; k++)
            ids->ids[ids->count++] = parts[i]->ids[k];
        if (i == 0)
            assert_int_equal(rb_tokenizer_encode(t, a, a_bytes, ids, NULL), RB_OK);
        if (i == 1 && b != NULL)
            assert_int_equal(rb_tokenizer_encode(t, b, b_bytes, ids, NULL), RB_OK);
    }
}

static bool ids_are(const struct rb_ids *ids, const json_t *expected)
{
    if (json_array_size(expected) != ids->count)
        return false;
    for (size_t i = 0; i < ids->count; i++)
        if (json_integer_value(json_array_get(expected, i)) != ids->ids[i])
            return false;
    return true;
}

static json_t *golden(const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s", RB_FIXTURES, file);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    return root;
}

/* member: of each case; wrapped: with what the post-processor adds. */
static void check_cases(const char *file, const char *folder, const char *member, bool wrapped,
                        size_t least)
{
    json_t *root = golden(file);
    struct rb_tokenizer *t = open_folder(folder);
    struct rb_ids ids = {0};
    size_t i, wrong = 0, count = 0;
    json_t *one;
    json_array_foreach(json_object_get(root, "cases"), i, one)
    {
        const json_t *text = json_object_get(one, "text");
        const char *s = json_string_value(text);
        size_t bytes = json_string_length(text);
        ids.count = 0;
        if (wrapped)
            encode_wrapped(t, s, bytes, NULL, 0, &ids);
        else
            assert_int_equal(rb_tokenizer_encode(t, s, bytes, &ids, NULL), RB_OK);
        count++;
        if (!ids_are(&ids, json_object_get(one, member))) {
            wrong++;
            print_message("%s: differs for: %s\n", folder, s);
        }
    }
    assert_true(count >= least);
    assert_int_equal(wrong, 0);
    free(ids.ids);
    rb_tokenizer_free(t);
    json_decref(root);
}

static void test_golden_roberta(void **state)
{
    (void)state;
    check_cases("tokens-roberta.json", "roberta-a", "ids", false, 234);
}

static void test_golden_roberta_pairs(void **state)
{
    (void)state;
    json_t *root = golden("tokens-roberta.json"), *one;
    struct rb_tokenizer *t = open_folder("roberta-a");
    struct rb_ids ids = {0};
    size_t i;
    json_array_foreach(json_object_get(root, "pairs"), i, one)
    {
        const json_t *a = json_object_get(one, "text"), *b = json_object_get(one, "text_pair");
        encode_wrapped(t, json_string_value(a), json_string_length(a), json_string_value(b),
                       json_string_length(b), &ids);
        assert_true(ids_are(&ids, json_object_get(one, "ids")));
    }
    assert_int_equal(i, 3);
    free(ids.ids);
    rb_tokenizer_free(t);
    json_decref(root);
}

static void test_golden_decoders(void **state)
{
    (void)state;
    check_cases("tokens-decoders.json", "gpt2-a", "gpt2", true, 233);
    check_cases("tokens-decoders.json", "neox-a", "neox", true, 233);
    check_cases("tokens-decoders.json", "llama-a", "llama3", true, 233);
    check_cases("tokens-decoders.json", "qwen2", "qwen2", true, 233);
}

/* ---- rules in all combinations ---- */

static json_t *fixture_json(const char *folder)
{
    char path[512];
    folder_path(folder, path, sizeof path);
    strcat(path, "/tokenizer.json");
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

/* bert-a's vocabulary in the frame that the golden file gives. */
static json_t *bert_json(const json_t *golden_root)
{
    size_t bytes;
    json_t *root = json_deep_copy(json_object_get(golden_root, "bert")), *vocab = json_object();
    char *text = read_whole(RB_FIXTURES "/models/bert-a/vocab.txt", &bytes), *save = NULL;
    int id = 0;
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        json_object_set_new(vocab, line, json_integer(id++));
    json_object_set_new(json_object_get(root, "model"), "vocab", vocab);
    free(text);
    return root;
}

static bool has_any(const char *token, const json_t *without)
{
    size_t i;
    json_t *part;
    json_array_foreach(without, i,
                       part) if (strstr(token, json_string_value(part)) != NULL) return true;
    return false;
}

static void merge_parts(const json_t *merge, char parts[2][64])
{
    if (json_is_array(merge))
        for (size_t i = 0; i < 2; i++)
            snprintf(parts[i], 64, "%s", json_string_value(json_array_get(merge, i)));
    else
        assert_int_equal(sscanf(json_string_value(merge), "%63s %63s", parts[0], parts[1]), 2);
}

/* Takes tokens and the merges of them out of a model. */
static void take_out(json_t *model, const json_t *without)
{
    json_t *vocab = json_object_get(model, "vocab"), *kept = json_array(), *merge;
    const char *token;
    json_t *id;
    void *next;
    size_t i;
    json_object_foreach_safe(vocab, next, token, id) if (has_any(token, without))
        json_object_del(vocab, token);
    json_array_foreach(json_object_get(model, "merges"), i, merge)
    {
        char parts[2][64], made[128];
        merge_parts(merge, parts);
        snprintf(made, sizeof made, "%s%s", parts[0], parts[1]);
        if (json_object_get(vocab, parts[0]) != NULL && json_object_get(vocab, parts[1]) != NULL &&
            json_object_get(vocab, made) != NULL)
            json_array_append(kept, merge);
    }
    json_object_set_new(model, "merges", kept);
}

static json_t *tokenizer_of(const json_t *root, const json_t *one)
{
    json_t *whole = json_object_get(one, "whole"), *set = json_object_get(one, "set"), *value;
    if (whole != NULL)
        return json_incref(whole);
    const char *base = json_string_value(json_object_get(one, "base")), *key;
    json_t *t = strcmp(base, "bert-a") == 0 ? bert_json(root) : fixture_json(base);
    json_object_foreach(set, key, value)
    {
        if (strcmp(key, "model") == 0)
            json_object_update(json_object_get(t, "model"), value);
        else
            json_object_set(t, key, value);
    }
    if (json_array_size(json_object_get(one, "without")) > 0)
        take_out(json_object_get(t, "model"), json_object_get(one, "without"));
    return t;
}

/* A folder with this tokenizer.json alone. */
static enum rb_status open_json(struct tmpdir *dir, const json_t *json, struct rb_tokenizer **ret,
                                struct rb_error *err)
{
    assert_int_equal(json_dump_file(json, tmpdir_path(dir, "tokenizer.json"), 0), 0);
    return rb_tokenizer_open(dir->path, ret, err);
}

static bool types_are(const struct rb_tokenizer *t, const struct rb_ids *ids, size_t a_count,
                      bool pair, const json_t *expected)
{
    const struct rb_template *w = rb_tokenizer_template(t, pair);
    size_t at = 0;
    assert_int_equal(json_array_size(expected), ids->count);
#define NEXT json_integer_value(json_array_get(expected, at++))
    for (size_t i = 0; i < w->prefix.count; i++)
        if (NEXT != w->prefix.types[i])
            return false;
    for (size_t i = 0; i < a_count; i++)
        if (NEXT != w->types[0])
            return false;
    for (size_t i = 0; i < w->between.count; i++)
        if (NEXT != w->between.types[i])
            return false;
    while (at + w->suffix.count < ids->count)
        if (NEXT != w->types[1])
            return false;
    for (size_t i = 0; i < w->suffix.count; i++)
        if (NEXT != w->suffix.types[i])
            return false;
#undef NEXT
    return true;
}

static size_t check_texts(const struct rb_tokenizer *t, const json_t *texts, size_t number)
{
    struct rb_ids ids = {0}, a_ids = {0};
    size_t i, wrong = 0;
    json_t *one;
    json_array_foreach(texts, i, one)
    {
        const json_t *a = json_array_get(one, 0), *b = json_array_get(one, 1);
        bool pair = json_is_string(b);
        encode_wrapped(t, json_string_value(a), json_string_length(a), json_string_value(b),
                       json_string_length(b), &ids);
        a_ids.count = 0;
        assert_int_equal(
            rb_tokenizer_encode(t, json_string_value(a), json_string_length(a), &a_ids, NULL),
            RB_OK);
        if (!ids_are(&ids, json_array_get(one, 2)) ||
            !types_are(t, &ids, a_ids.count, pair, json_array_get(one, 3))) {
            wrong++;
            print_message("case %zu, text %zu differs: %s\n", number, i, json_string_value(a));
        }
    }
    free(ids.ids);
    free(a_ids.ids);
    return wrong;
}

static void test_golden_rules(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = golden("tokens-rules.json"), *one;
    size_t i, wrong = 0;
    json_array_foreach(json_object_get(root, "cases"), i, one)
    {
        json_t *json = tokenizer_of(root, one);
        struct rb_tokenizer *t = NULL;
        struct rb_error err;
        if (open_json(&dir, json, &t, &err) != RB_OK)
            fail_msg("case %zu: %s", i, err.detail);
        wrong += check_texts(t, json_object_get(one, "texts"), i);
        if (rb_tokenizer_equal(t, t, &err) != RB_OK)
            fail_msg("case %zu: %s", i, err.detail);
        rb_tokenizer_free(t);
        json_decref(json);
    }
    assert_int_equal(i, 78);
    assert_int_equal(wrong, 0);
    json_decref(root);
    tmpdir_deinit(&dir);
}

/* ---- vocab.json and merges.txt ---- */

static void copy_file(struct tmpdir *dir, const char *folder, const char *name)
{
    char path[512];
    size_t bytes;
    folder_path(folder, path, sizeof path);
    strcat(strcat(path, "/"), name);
    char *text = read_whole(path, &bytes);
    tmpdir_write(dir, name, text, bytes);
    free(text);
}

static void put(struct tmpdir *dir, const char *name, const char *text)
{
    if (text != NULL)
        tmpdir_write(dir, name, text, strlen(text));
    else
        (void)remove(tmpdir_path(dir, name));
}

static struct rb_tokenizer *open_dir(struct tmpdir *dir)
{
    struct rb_tokenizer *t = NULL;
    struct rb_error err;
    if (rb_tokenizer_open(dir->path, &t, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return t;
}

static void assert_equal_tokenizers(const struct rb_tokenizer *a, const struct rb_tokenizer *b)
{
    struct rb_error err;
    if (rb_tokenizer_equal(a, b, &err) != RB_OK || rb_tokenizer_equal(b, a, &err) != RB_OK)
        fail_msg("%s", err.detail);
}

/* The same content in other files is the same tokenizer. */
static void test_files_do_not_matter(void **state)
{
    (void)state;
    static const char *const members[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    struct tmpdir dir;
    tmpdir_init(&dir);
    for (size_t i = 0; i < 3; i++)
        copy_file(&dir, "roberta-a", members[i]);
    struct rb_tokenizer *json = open_folder("roberta-a"), *files = open_dir(&dir);
    assert_equal_tokenizers(json, files);
    assert_string_equal(rb_tokenizer_kind(files), "bpe");
    assert_int_equal(rb_tokenizer_vocab_size(files), 512);
    rb_tokenizer_free(files);
    put(&dir, "tokenizer_config.json", "{\"tokenizer_class\": \"RobertaTokenizerFast\"}");
    files = open_dir(&dir); /* what the class knows of itself */
    assert_equal_tokenizers(json, files);
    rb_tokenizer_free(files);
    put(&dir, "tokenizer_config.json", NULL);
    put(&dir, "config.json", "{\"model_type\": \"roberta\"}");
    files = open_dir(&dir);
    assert_equal_tokenizers(json, files);
    rb_tokenizer_free(files);
    rb_tokenizer_free(json);
    tmpdir_deinit(&dir);
}

static void test_merges_as_strings_or_pairs(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = fixture_json("qwen2"), *model = json_object_get(root, "model"), *merge;
    json_t *strings = json_array();
    size_t i;
    struct rb_tokenizer *pairs = open_folder("qwen2"), *t;
    json_array_foreach(json_object_get(model, "merges"), i, merge)
    {
        char parts[2][64];
        merge_parts(merge, parts);
        json_array_append_new(strings, json_sprintf("%s %s", parts[0], parts[1]));
    }
    json_object_set_new(model, "merges", strings);
    assert_int_equal(open_json(&dir, root, &t, NULL), RB_OK);
    assert_equal_tokenizers(pairs, t);
    rb_tokenizer_free(t);
    /* swapping two merges that touch each other is another tokenizer */
    json_t *first = json_incref(json_array_get(strings, 0));
    json_array_set(strings, 0, json_array_get(strings, 1));
    json_array_set_new(strings, 1, first);
    struct rb_error err;
    assert_int_equal(open_json(&dir, root, &t, NULL), RB_OK);
    assert_int_equal(rb_tokenizer_equal(pairs, t, &err), RB_EMODELS);
    assert_contains(err.detail, "from merge 1 on");
    rb_tokenizer_free(t);
    rb_tokenizer_free(pairs);
    json_decref(root);
    tmpdir_deinit(&dir);
}

/* Replaces the member at a path like "model.ignore_merges" or "added_tokens.0.lstrip". */
static void replace(json_t *root, const char *path, const char *value)
{
    char parts[128], *save = NULL;
    snprintf(parts, sizeof parts, "%s", path);
    json_t *at = root, *v = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(v);
    for (char *p = strtok_r(parts, ".", &save), *next; p != NULL; p = next) {
        next = strtok_r(NULL, ".", &save);
        size_t index = strtoul(p, NULL, 10);
        if (next == NULL && json_is_array(at))
            json_array_set(at, index, v);
        else if (next == NULL)
            json_object_set(at, p, v);
        else
            at = json_is_array(at) ? json_array_get(at, index) : json_object_get(at, p);
    }
    json_decref(v);
}

static void test_equal_by_what_they_do(void **state)
{
    (void)state;
    static const struct {
        const char *base, *path, *value;
        const char *words; /* NULL: the same */
    } cases[] = {
        {"roberta-a", "truncation", "{\"max_length\": 3}", NULL},
        {"roberta-a", "padding", "{\"strategy\": \"BatchLongest\"}", NULL},
        {"roberta-a", "decoder", "null", NULL},
        {"roberta-a", "added_tokens.0.normalized", "true", NULL}, /* nothing can overlap */
        {"roberta-a", "added_tokens.0.special", "false", NULL},
        {"roberta-a", "normalizer", "{\"type\":\"Sequence\",\"normalizers\":[]}", NULL},
        {"roberta-a", "model.unk_token", "\"<unk>\"", NULL}, /* every byte is a token */
        {"roberta-a", "model.fuse_unk", "true", NULL},
        {"roberta-a", "post_processor.trim_offsets", "false", NULL},
        {"roberta-a", "post_processor",
         "{\"type\":\"TemplateProcessing\","
         "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
         "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
         "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],"
         "\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
         "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
         "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},"
         "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},"
         "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}},"
         "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],"
         "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":[\"<s>\"]},"
         "\"</s>\":{\"id\":\"</s>\",\"ids\":[2],\"tokens\":[\"</s>\"]}}}",
         NULL},
        {"qwen2", "pre_tokenizer.pretokenizers.0.invert", "true", NULL},
        {"roberta-a", "added_tokens.4.lstrip", "false", "added token '<mask>'"},
        {"roberta-a", "added_tokens.4.rstrip", "true", "added token '<mask>'"},
        {"roberta-a", "added_tokens.4.single_word", "true", "added token '<mask>'"},
        {"roberta-a", "added_tokens.4.content", "\"he\"", "is an added token in"},
        {"roberta-a", "normalizer", "{\"type\":\"NFC\"}", "normalizer: none in A, NFC in B"},
        {"roberta-a", "pre_tokenizer.add_prefix_space", "true", "how they cut a text into words"},
        {"roberta-a", "pre_tokenizer.use_regex", "false",
         "how they cut a text into words: GPT-2's pattern in A, nothing in B"},
        {"roberta-a", "model.ignore_merges", "true", "ignore_merges: false in A, true in B"},
        {"roberta-a", "model.merges.0", "\"h e\"", "from merge 1 on"},
        {"roberta-a", "post_processor.type", "\"BertProcessing\"", "around a pair of texts"},
        {"roberta-a", "post_processor.sep.1", "3", "around a text"},
        {"neox-a", "added_tokens.0.normalized", "true", "added token '<|endoftext|>'"},
    };
    struct tmpdir dir;
    tmpdir_init(&dir);
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *root = fixture_json(cases[i].base);
        struct rb_tokenizer *a = NULL, *b = NULL;
        struct rb_error err = {0};
        if (open_json(&dir, root, &a, &err) != RB_OK)
            fail_msg("%s", err.detail);
        replace(root, cases[i].path, cases[i].value);
        if (open_json(&dir, root, &b, &err) != RB_OK)
            fail_msg("%s: %s", cases[i].path, err.detail);
        enum rb_status status = rb_tokenizer_equal(a, b, &err);
        if ((status == RB_OK) != (cases[i].words == NULL))
            fail_msg("%s: %s", cases[i].path, err.detail);
        if (status != RB_OK) {
            assert_int_equal(status, RB_EMODELS);
            assert_contains(err.detail, cases[i].words);
        }
        rb_tokenizer_free(a);
        rb_tokenizer_free(b);
        json_decref(root);
    }
    tmpdir_deinit(&dir);
}

static void test_kinds_differ(void **state)
{
    (void)state;
    struct rb_tokenizer *a = open_fixture_tokenizer("bert-a"), *b = open_folder("roberta-a");
    struct rb_error err;
    assert_int_equal(rb_tokenizer_equal(a, b, &err), RB_EMODELS);
    assert_contains(err.detail, "wordpiece in A, bpe in B");
    rb_tokenizer_free(a);
    rb_tokenizer_free(b);
}

/* WordPiece from tokenizer.json is what vocab.txt gives. */
static void test_wordpiece_from_json(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = golden("tokens-rules.json"), *json = bert_json(root);
    struct rb_tokenizer *a = open_fixture_tokenizer("bert-a"), *b = NULL;
    assert_int_equal(open_json(&dir, json, &b, NULL), RB_OK);
    assert_equal_tokenizers(a, b);
    assert_string_equal(rb_tokenizer_kind(b), "wordpiece");
    rb_tokenizer_free(b);
    replace(json, "normalizer.lowercase", "false");
    struct rb_error err;
    assert_int_equal(open_json(&dir, json, &b, NULL), RB_OK);
    assert_int_equal(rb_tokenizer_equal(a, b, &err), RB_EMODELS);
    assert_contains(err.detail, "do_lower_case");
    rb_tokenizer_free(b);
    rb_tokenizer_free(a);
    json_decref(json);
    json_decref(root);
    tmpdir_deinit(&dir);
}

static void test_special_ids(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        int32_t ids[RB_SPECIAL_COUNT]; /* unk sep pad cls mask bos eos */
    } cases[] = {
        {"roberta-a", {3, 2, 1, 0, 511, 0, 2}},
        {"gpt2-a", {511, -1, -1, -1, -1, 511, 511}},
        {"neox-a", {0, -1, -1, -1, -1, 0, 0}},
        {"llama-a", {-1, -1, -1, -1, -1, 510, 511}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_tokenizer *t = open_folder(cases[i].folder);
        for (int k = 0; k < RB_SPECIAL_COUNT; k++)
            if (rb_tokenizer_special(t, (enum rb_special)k) != cases[i].ids[k])
                fail_msg("%s: %s is %d", cases[i].folder, rb_special_names[k],
                         rb_tokenizer_special(t, (enum rb_special)k));
        assert_false(rb_tokenizer_is_special(t, 40));
        assert_false(rb_tokenizer_is_special(t, -1));
        rb_tokenizer_free(t);
    }
}

/* ---- merging ---- */

enum { TINY = 3 + 9 + 27 + 40 };

/* Merges over three letters, drawn at random: of pairs of tokens, each made once. */
struct tiny {
    char tokens[TINY][130];
    int pairs[TINY][3]; /* a, b, result */
    size_t tokens_count, pair_count;
};

static int tiny_find(const struct tiny *m, const char *token)
{
    for (size_t i = 0; i < m->tokens_count; i++)
        if (strcmp(m->tokens[i], token) == 0)
            return (int)i;
    return -1;
}

static void tiny_make(struct tiny *m, uint64_t *random)
{
    *m = (struct tiny){.tokens_count = 3};
    strcpy(m->tokens[0], "a");
    strcpy(m->tokens[1], "b");
    strcpy(m->tokens[2], "c");
    while (m->pair_count < 40) {
        uint32_t a = random_below(random, (uint32_t)m->tokens_count);
        uint32_t b = random_below(random, (uint32_t)m->tokens_count);
        char made[130];
        snprintf(made, sizeof made, "%s%s", m->tokens[a], m->tokens[b]);
        if (strlen(made) > 40)
            continue;
        bool known = false;
        for (size_t i = 0; i < m->pair_count; i++)
            known = known || (m->pairs[i][0] == (int)a && m->pairs[i][1] == (int)b);
        if (known)
            continue;
        int id = tiny_find(m, made);
        if (id < 0) {
            id = (int)m->tokens_count++;
            snprintf(m->tokens[id], sizeof m->tokens[id], "%s", made);
        }
        m->pairs[m->pair_count][0] = (int)a;
        m->pairs[m->pair_count][1] = (int)b;
        m->pairs[m->pair_count++][2] = id;
    }
}

/* The plain reference: the first merge in the list that is somewhere, at its leftmost place. */
static size_t tiny_merge(const struct tiny *m, int *symbols, size_t n)
{
    for (size_t p = 0; p < m->pair_count;) {
        size_t i = 0;
        while (i + 1 < n && (symbols[i] != m->pairs[p][0] || symbols[i + 1] != m->pairs[p][1]))
            i++;
        if (i + 1 >= n) {
            p++;
            continue;
        }
        symbols[i] = m->pairs[p][2];
        memmove(symbols + i + 1, symbols + i + 2, (n - i - 2) * sizeof *symbols);
        n--;
        p = 0;
    }
    return n;
}

static json_t *tiny_json(const struct tiny *m)
{
    json_t *root = fixture_json("qwen2"), *model = json_object_get(root, "model");
    json_t *vocab = json_object(), *merges = json_array();
    for (size_t i = 0; i < m->tokens_count; i++)
        json_object_set_new(vocab, m->tokens[i], json_integer((json_int_t)i));
    for (size_t i = 0; i < m->pair_count; i++)
        json_array_append_new(
            merges, json_pack("[ss]", m->tokens[m->pairs[i][0]], m->tokens[m->pairs[i][1]]));
    json_object_set_new(model, "vocab", vocab);
    json_object_set_new(model, "merges", merges);
    json_object_set_new(root, "added_tokens", json_array());
    return root;
}

static void test_merging_equals_the_plain_way(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    uint64_t random = 1;
    for (int round = 0; round < 30; round++) {
        struct tiny m;
        tiny_make(&m, &random);
        json_t *json = tiny_json(&m);
        struct rb_tokenizer *t;
        struct rb_error err;
        if (open_json(&dir, json, &t, &err) != RB_OK)
            fail_msg("%s", err.detail);
        struct rb_ids ids = {0};
        for (size_t length = 1; length < 140; length += length < 55 ? 1 : 17) {
            char word[140];
            int symbols[140];
            for (size_t i = 0; i < length; i++) {
                symbols[i] = (int)random_below(&random, 3);
                word[i] = (char)('a' + symbols[i]);
            }
            size_t n = tiny_merge(&m, symbols, length);
            ids.count = 0;
            assert_int_equal(rb_tokenizer_encode(t, word, length, &ids, NULL), RB_OK);
            assert_int_equal(ids.count, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(ids.ids[i], symbols[i]);
        }
        free(ids.ids);
        rb_tokenizer_free(t);
        json_decref(json);
    }
    tmpdir_deinit(&dir);
}

/* Words and runs of a megabyte: none may cost more than in proportion to its length. Each of
 * these takes hours if it does; the test's time limit is the judge. */
static void test_hostile_texts_end(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    static const char *const units[] = {"a",         "ab",       "the",      " ",
                                        "\n",        " \n",      "9",        "\xE4\xB8\xAD",
                                        "'",         "!",        "\xCC\x81", "\xCC\x81\xCC\xA7",
                                        "e\xCC\x81", "  <mask>", "</s> ",    "<"};
    static const char *const folders[] = {"roberta-a", "neox-a", "llama-a", "qwen2"};
    char *text = malloc(BYTES);
    struct rb_ids ids = {0};
    for (size_t f = 0; f < COUNT(folders); f++) {
        struct rb_tokenizer *t = open_folder(folders[f]);
        for (size_t u = 0; u < COUNT(units); u++) {
            size_t n = strlen(units[u]);
            for (size_t i = 0; i < BYTES; i++)
                text[i] = units[u][i % n];
            ids.count = 0;
            assert_int_equal(rb_tokenizer_encode(t, text, BYTES / 12 * 12, &ids, NULL), RB_OK);
            assert_true(ids.count > 0);
        }
        rb_tokenizer_free(t);
    }
    free(ids.ids);
    free(text);
}

/* Of a merge that comes twice the later place counts: "b c" is then the first. */
static void test_merge_that_comes_twice(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = fixture_json("qwen2"), *model = json_object_get(root, "model");
    json_object_set_new(model, "vocab",
                        json_pack("{si,si,si,si,si}", "a", 0, "b", 1, "c", 2, "ab", 3, "bc", 4));
    json_object_set_new(model, "merges", json_pack("[sss]", "a b", "b c", "a b"));
    struct rb_tokenizer *t;
    struct rb_ids ids = {0};
    assert_int_equal(open_json(&dir, root, &t, NULL), RB_OK);
    assert_int_equal(rb_tokenizer_encode(t, "abc", 3, &ids, NULL), RB_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[0], 0);
    assert_int_equal(ids.ids[1], 4);
    free(ids.ids);
    rb_tokenizer_free(t);
    json_decref(root);
    tmpdir_deinit(&dir);
}

/* Pieces as the regular expressions make them, with '|' between. */
static void test_words(void **state)
{
    (void)state;
    static const struct {
        enum rb_pre_step step;
        const char *text, *words;
    } cases[] = {
        {RB_PRE_GPT2, "I'm  12345 ok!!\n\n x'S", "I|'m| | 12345| ok|!!|\n\n| x|'|S"},
        {RB_PRE_LLAMA3, "I'M  12345 ok!!\n\n x'S", "I|'M| | |123|45| ok|!!\n\n| x|'S"},
        {RB_PRE_QWEN2, "I'M  123 ok!!\n\n x", "I|'M| | |1|2|3| ok|!!\n\n| x"},
        {RB_PRE_LLAMA3, "a \n \n  b\t\tc", "a| \n \n| | b|\t|\tc"},
        {RB_PRE_DIGITS, "ab12 3", "ab|1|2| |3"},
        {RB_PRE_NUMBERS, "ab12 3", "ab|12| |3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char joined[256] = "";
        for (const char *p = cases[i].text; *p != '\0';) {
            size_t n = rb_pre_next(cases[i].step, p, strlen(p));
            strncat(strcat(joined, p == cases[i].text ? "" : "|"), p, n);
            p += n;
        }
        assert_string_equal(joined, cases[i].words);
    }
}

/* What a text is wrapped in is special even where no file names the parts. */
static void test_wrapping_tokens_are_special(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = fixture_json("roberta-a");
    struct rb_tokenizer *t;
    assert_int_equal(open_json(&dir, root, &t, NULL), RB_OK);
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_CLS), -1);
    assert_true(rb_tokenizer_is_special(t, 0) && rb_tokenizer_is_special(t, 2));
    assert_false(rb_tokenizer_is_special(t, 5));
    rb_tokenizer_free(t);
    json_decref(root);
    tmpdir_deinit(&dir);
}

/* ---- what does not load ---- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *base, *path, *value, *words;
    } cases[] = {
        {"roberta-a", "model.type", "\"Unigram\"",
         "model: found an object of type 'Unigram', expected BPE (byte-level) or WordPiece"},
        {"roberta-a", "model.type", "\"WordLevel\"", "'WordLevel'"},
        {"roberta-a", "model", "null", "model: found null"},
        {"roberta-a", "normalizer", "{\"type\":\"Lowercase\"}",
         "normalizer: found an object of type 'Lowercase', expected null, NFC or a Sequence"},
        {"roberta-a", "normalizer",
         "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFKC\"}]}",
         "normalizer.normalizers[1]: found an object of type 'NFKC'"},
        {"roberta-a", "pre_tokenizer", "null", "pre_tokenizer: found null, expected ByteLevel"},
        {"roberta-a", "pre_tokenizer", "{\"type\":\"Metaspace\"}", "only byte-level BPE loads"},
        {"roberta-a", "pre_tokenizer.add_prefix_space", "3",
         "pre_tokenizer.add_prefix_space: found 3, expected true or false"},
        {"qwen2", "pre_tokenizer.pretokenizers.0.pattern.Regex", "\"\\\\w+\"",
         "pre_tokenizer.pretokenizers[0].pattern: found '\\w+', expected the regular expression"},
        {"qwen2", "pre_tokenizer.pretokenizers.0.pattern", "{\"String\":\" \"}",
         "pattern: found an object"},
        {"qwen2", "pre_tokenizer.pretokenizers.0.behavior", "\"MergedWithPrevious\"",
         "behavior: found 'MergedWithPrevious', expected Isolated"},
        {"qwen2", "pre_tokenizer.pretokenizers.0.behavior", "\"Removed\"", "Removed with invert"},
        {"qwen2", "pre_tokenizer.pretokenizers.1",
         "{\"type\":\"Digits\",\"individual_digits\":true}", "expected ByteLevel in it"},
        {"qwen2", "pre_tokenizer.pretokenizers.0",
         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}",
         "expected nothing behind ByteLevel"},
        {"roberta-a", "post_processor", "{\"type\":\"Odd\"}", "post_processor: found an object"},
        {"roberta-a", "post_processor.cls.1", "512", "post_processor.cls[1]: found 512"},
        {"roberta-a", "post_processor.sep.1", "-1", "post_processor.sep[1]: found -1"},
        {"llama-a", "post_processor.processors.0",
         "{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",1],\"sep\":[\"b\",2]}",
         "post_processor.processors[1]: found an object of type 'TemplateProcessing', expected "
         "one"},
        {"llama-a", "post_processor.processors.1.single.1.Sequence.id", "\"B\"",
         "single[1].Sequence.id: found 'B', expected A once"},
        {"llama-a", "post_processor.processors.1.single.0.SpecialToken.type_id", "2",
         "single[0].type_id: found 2, expected 0 or 1"},
        {"llama-a", "post_processor.processors.1.single.0.SpecialToken.id", "\"x\"",
         "single[0].SpecialToken.id: found 'x'"},
        {"llama-a", "post_processor.processors.1.single", "[]", "the sequence A in it"},
        {"roberta-a", "model.dropout", "0.1", "model.dropout: found 0.1, expected null"},
        {"roberta-a", "model.merges.3", "\"a\"", "model.merges[3]: found 'a'"},
        {"roberta-a", "model.merges.3", "\"a b c\"", "model.merges[3]: found 'a b c'"},
        {"roberta-a", "model.merges.3", "[\"a\"]", "model.merges[3]: found an array"},
        {"roberta-a", "model.merges.3", "\"a nonesuch\"",
         "merge 4: 'nonesuch' is not in the vocabulary"},
        {"roberta-a", "model.merges.3", "\"a a\"", "merge 4: what its two tokens make"},
        {"roberta-a", "model.merges", "{}", "model.merges: found an object"},
        {"roberta-a", "model.vocab", "[]", "model.vocab: found an array"},
        {"roberta-a", "model.vocab", "{}", "model.vocab: found an object"},
        {"roberta-a", "model.vocab.a", "-1", "the id of 'a' must be an integer"},
        {"roberta-a", "model.vocab.a", "1.5", "the id of 'a' must be an integer"},
        {"roberta-a", "model.vocab.a", "4194304", "the id of 'a' must be an integer below 4194304"},
        {"roberta-a", "model.vocab.a", "5", "have the same id 5"},
        {"roberta-a", "model.unk_token", "7",
         "model.unk_token: found 7, expected a string or null"},
        {"roberta-a", "added_tokens", "{}", "added_tokens: found an object"},
        {"roberta-a", "added_tokens.1", "\"x\"", "added_tokens[1]: found 'x'"},
        {"roberta-a", "added_tokens.1.lstrip", "null", "added_tokens[1].lstrip: found null"},
        {"roberta-a", "added_tokens.1.content", "\"<s>\"", "the added token '<s>' comes twice"},
    };
    struct tmpdir dir;
    tmpdir_init(&dir);
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *root = fixture_json(cases[i].base);
        replace(root, cases[i].path, cases[i].value);
        struct rb_tokenizer *t = NULL;
        struct rb_error err = {0};
        if (open_json(&dir, root, &t, &err) != RB_EVOCAB)
            fail_msg("%s = %s is taken", cases[i].path, cases[i].value);
        assert_contains(err.detail, "tokenizer.json: ");
        assert_contains(err.detail, cases[i].words);
        assert_null(t);
        json_decref(root);
    }
    tmpdir_deinit(&dir);
}

static void test_byte_fallback(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = fixture_json("roberta-a");
    struct rb_tokenizer *t = NULL;
    struct rb_error err;
    replace(root, "model.byte_fallback", "true"); /* has no effect: every byte is a token */
    assert_int_equal(open_json(&dir, root, &t, &err), RB_OK);
    rb_tokenizer_free(t);
    json_object_del(json_object_get(json_object_get(root, "model"), "vocab"), "!");
    assert_int_equal(open_json(&dir, root, &t, &err), RB_EVOCAB);
    assert_contains(err.detail, "model.byte_fallback: found true, expected false");
    json_decref(root);
    tmpdir_deinit(&dir);
}

/* Ids chosen so that all merges have one home: no look-up may walk them all. */
static void test_colliding_merges_are_refused(void **state)
{
    (void)state;
    enum { MERGES = 700, SLOTS = 2048 };
    struct tmpdir dir;
    tmpdir_init(&dir);
    json_t *root = fixture_json("qwen2"), *model = json_object_get(root, "model");
    json_t *vocab = json_object(), *merges = json_array();
    json_object_set_new(vocab, "a", json_integer(0));
    for (uint32_t id = 4000, found = 0; found < MERGES; id++) {
        char b[16], ab[32];
        if ((rb_mix(id) & (SLOTS - 1)) != 0)
            continue;
        snprintf(b, sizeof b, "b%u", found);
        snprintf(ab, sizeof ab, "a%s", b);
        json_object_set_new(vocab, b, json_integer(id));
        json_object_set_new(vocab, ab, json_integer(1 + found++));
        json_array_append_new(merges, json_pack("[ss]", "a", b));
    }
    json_object_set_new(model, "vocab", vocab);
    json_object_set_new(model, "merges", merges);
    struct rb_tokenizer *t = NULL;
    struct rb_error err;
    assert_int_equal(open_json(&dir, root, &t, &err), RB_EVOCAB);
    assert_contains(err.detail, "built to share one hash");
    json_decref(root);
    tmpdir_deinit(&dir);
}

#define BOM "\xEF\xBB\xBF"

static void test_folders_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *vocab_txt, *tokenizer_json, *vocab_json, *merges, *config, *added, *model;
        enum rb_status status;
        const char *words;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL, NULL, NULL, RB_ENOTFOUND, "vocab.txt is missing"},
        {NULL, NULL, NULL, NULL, NULL, NULL, "x", RB_EVOCAB, "is a SentencePiece vocabulary"},
        {BOM "[PAD]\n", NULL, NULL, NULL, NULL, NULL, NULL, RB_EVOCAB,
         "vocab.txt: begins with a byte order mark"},
        {NULL, BOM "{}", NULL, NULL, NULL, NULL, NULL, RB_EVOCAB,
         "tokenizer.json: begins with a byte order mark"},
        {NULL, "[]", NULL, NULL, NULL, NULL, NULL, RB_EVOCAB, "not a JSON object"},
        {NULL, "{}", NULL, NULL, NULL, NULL, NULL, RB_EVOCAB, "model: found nothing"},
        {NULL, NULL, "{\"a\":0}", NULL, NULL, NULL, NULL, RB_ENOTFOUND, "merges.txt"},
        {NULL, NULL, "{\"a\":0}", "", NULL, NULL, NULL, RB_EVOCAB,
         "do not say how a text is cut into words"},
        {NULL, NULL, "{\"a\":0}", "a b\n", "{\"tokenizer_class\":\"CamembertTokenizer\"}", NULL,
         NULL, RB_EVOCAB, "one of GPT2Tokenizer, "},
        {NULL, NULL, "{\"a\":0}", "#version: 0.2\na\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}",
         NULL, NULL, RB_EVOCAB, "merges.txt: line 2: found 'a', expected two tokens"},
        {NULL, NULL, "{\"a\":0}", BOM "a b\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", NULL,
         NULL, RB_EVOCAB, "merges.txt: begins with a byte order mark"},
        {NULL, NULL, "{\"a\":0}", "a b\n", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", NULL, NULL,
         RB_EVOCAB, "merges.txt: merge 1: 'b' is not in the vocabulary"},
        {NULL, NULL, "{\"a\":\"x\"}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", NULL, NULL,
         RB_EVOCAB, "vocab.json: the file: the id of 'a' must be"},
        {NULL, NULL, "{\"a\":0}", "", "{\"tokenizer_class\":\"RobertaTokenizer\"}", NULL, NULL,
         RB_EVOCAB, "the cls_token is not in the vocabulary"},
        {NULL, NULL, "{\"a\":0}", "",
         "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":true}", NULL, NULL, RB_EVOCAB,
         "add_bos_token is set"},
        {NULL, NULL, "{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "{\"<x>\": 7}",
         NULL, RB_EVOCAB, "'<x>' has id 7 in its file, but behind the vocabulary it would get 1"},
        {NULL, NULL, "{\"a\":0}", "", "{\"tokenizer_class\":\"GPT2Tokenizer\"}", "{\"<x>\": -1}",
         NULL, RB_EVOCAB, "token '<x>': expected an added token and its id"},
        {NULL, NULL, "{\"a\":0}", "", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}",
         NULL, NULL, RB_EVOCAB, "added_tokens_decoder 'x': expected an added token"},
        {NULL, NULL, "{\"a\":0}", "", "{\"added_tokens_decoder\": []}", NULL, NULL, RB_EVOCAB,
         "added_tokens_decoder must be an object"},
        {NULL, NULL, "{\"a\":0}", "", "{\"tokenizer_class\": 7}", NULL, NULL, RB_EVOCAB,
         "tokenizer_class must be a string or null"},
    };
    struct tmpdir dir;
    tmpdir_init(&dir);
    for (size_t i = 0; i < COUNT(cases); i++) {
        put(&dir, "vocab.txt", cases[i].vocab_txt);
        put(&dir, "tokenizer.json", cases[i].tokenizer_json);
        put(&dir, "vocab.json", cases[i].vocab_json);
        put(&dir, "merges.txt", cases[i].merges);
        put(&dir, "tokenizer_config.json", cases[i].config);
        put(&dir, "added_tokens.json", cases[i].added);
        put(&dir, "tokenizer.model", cases[i].model);
        struct rb_tokenizer *t = NULL;
        struct rb_error err = {0};
        assert_int_equal(rb_tokenizer_open(dir.path, &t, &err), cases[i].status);
        assert_contains(err.detail, cases[i].words);
        assert_null(t);
    }
    tmpdir_deinit(&dir);
}

/* What tokenizer_config.json and added_tokens.json add to vocab.json. */
static void test_settings(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    put(&dir, "vocab.json",
        "{\"a\":0,\"b\":1,\"ab\":2,\"\xC4\xA0\":3,\"\xC4\xA0"
        "ab\":4,\"<e>\":5}");
    put(&dir, "merges.txt", "#version: 0.2\r\na b\r\n\xC4\xA0 ab\r\n");
    put(&dir, "tokenizer_config.json",
        "{\"tokenizer_class\":\"GPT2TokenizerFast\",\"add_prefix_space\":true,\"bos_token\":\"<e>"
        "\","
        "\"eos_token\":{\"content\":\"<f>\",\"lstrip\":true},\"unk_token\":null,"
        "\"add_bos_token\":true,\"model_max_length\":1000000000000000019884624838656,"
        "\"added_tokens_decoder\":{\"6\":{\"content\":\"<f>\",\"lstrip\":true,\"rstrip\":false,"
        "\"single_word\":false,\"normalized\":false,\"special\":true}}}");
    put(&dir, "added_tokens.json", "{\"<f>\":6,\"<g>\":7}");
    struct rb_tokenizer *t = open_dir(&dir);
    struct rb_ids ids = {0};
    static const char text[] = "ab <f>ab<g>ab";
    encode_wrapped(t, text, sizeof text - 1, "ab", 2, &ids);
    static const int32_t expected[] = {5, 4, 6, 4, 7, 4, 5, 4};
    assert_int_equal(ids.count, COUNT(expected));
    assert_memory_equal(ids.ids, expected, sizeof expected);
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_EOS), 6);
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_UNK), -1);
    assert_int_equal(rb_tokenizer_vocab_size(t), 8);
    assert_string_equal(rb_tokenizer_token(t, 7), "<g>");
    assert_null(rb_tokenizer_token(t, 8));
    free(ids.ids);
    rb_tokenizer_free(t);
    tmpdir_deinit(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_roberta),
        cmocka_unit_test(test_golden_roberta_pairs),
        cmocka_unit_test(test_golden_decoders),
        cmocka_unit_test(test_golden_rules),
        cmocka_unit_test(test_files_do_not_matter),
        cmocka_unit_test(test_merges_as_strings_or_pairs),
        cmocka_unit_test(test_equal_by_what_they_do),
        cmocka_unit_test(test_kinds_differ),
        cmocka_unit_test(test_wordpiece_from_json),
        cmocka_unit_test(test_special_ids),
        cmocka_unit_test(test_merging_equals_the_plain_way),
        cmocka_unit_test(test_merge_that_comes_twice),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_wrapping_tokens_are_special),
        cmocka_unit_test(test_hostile_texts_end),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_byte_fallback),
        cmocka_unit_test(test_colliding_merges_are_refused),
        cmocka_unit_test(test_folders_that_are_refused),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
