// LINK: core_text
#include "core/text/bpe.h"
#include "core/text/unicode.h"
#include "unit/text_support.h"
#include "unit/tmpdir.h"

#include <jansson.h>

/* ---- what the reference says of every golden string ---- */

static struct rb_tokenizer *open_folder(const char *name)
{
    char path[512];
    struct rb_tokenizer *t = NULL;
    struct rb_error err;
    snprintf(path, sizeof path, "%s/tokenizers/%s", RB_FIXTURES, name);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_roberta),
        cmocka_unit_test(test_golden_roberta_pairs),
        cmocka_unit_test(test_golden_decoders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
