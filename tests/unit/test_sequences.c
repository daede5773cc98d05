// LINK: core_text
#include "core/text/wordpiece.h"
#include "unit/text_support.h"

#include <jansson.h>
#include <math.h>

#define VOCAB "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\n"
enum { PAD, UNK, CLS, SEP, MASK, A, B, C, D };

static struct rb_tokenizer *small_tokenizer(void)
{
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    struct rb_tokenizer *t;
    assert_int_equal(rb_wordpiece_new("v", VOCAB, strlen(VOCAB), &o, &t, NULL), RB_OK);
    return t;
}

static struct rb_dataset_view view_of(enum rb_format format, const char *data)
{
    return (struct rb_dataset_view){
        .label = "file", .format = format, .data = data, .bytes = strlen(data)};
}

static struct rb_dataset_view fixture_view(const char *file, enum rb_format format)
{
    char path[512];
    snprintf(path, sizeof path, "%s/data/%s", RB_FIXTURES, file);
    struct rb_dataset_view v = {.label = file, .format = format};
    v.data = read_whole(path, &v.bytes);
    return v;
}

static struct rb_sequences from_rows(const struct rb_tokenizer *t, const struct rb_dataset_view *v,
                                     size_t max_rows, size_t max_length)
{
    struct rb_sequences s;
    struct rb_error err;
    if (rb_sequences_from_rows(t, v, max_rows, max_length, &s, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return s;
}

/* ---- METHOD 7's generator ---- */

static void test_mix(void **state)
{
    (void)state;
    /* SplitMix64 from seed 0: the first outputs of its reference implementation */
    assert_true(rb_mix(0) == UINT64_C(0xE220A8397B1DCDAF));
    assert_true(rb_mix(UINT64_C(0x9E3779B97F4A7C15)) == UINT64_C(0x6E789E6AA1B965F4));
    double sum = 0;
    for (uint64_t s = 0; s < 100; s++)
        for (uint64_t t = 0; t < 100; t++) {
            double u = rb_mask_uniform(3, s, t, 1);
            assert_true(u >= 0 && u < 1);
            sum += u;
        }
    assert_true(fabs(sum / 10000 - 0.5) < 0.02);
    assert_true(rb_mask_uniform(3, 1, 2, 0) != rb_mask_uniform(3, 2, 1, 0));
    assert_true(rb_mask_uniform(3, 1, 2, 0) != rb_mask_uniform(4, 1, 2, 0));
    assert_true(rb_mask_uniform(3, 1, 2, 0) != rb_mask_uniform(3, 1, 2, 1));
}

/* ---- rows ---- */

static void assert_sequence(const struct rb_sequences *s, size_t i, const int32_t *ids,
                            const uint8_t *types, size_t count)
{
    assert_int_equal(s->starts[i + 1] - s->starts[i], count);
    assert_memory_equal(s->ids + s->starts[i], ids, count * sizeof *ids);
    assert_memory_equal(s->types + s->starts[i], types, count);
}

static void test_single_texts(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    struct rb_dataset_view v = view_of(RB_TEXT, "a b\n\na [SEP] c d\n\xC2\xAD.\n");
    struct rb_sequences s = from_rows(t, &v, 0, 5);
    static const uint8_t zeros[8];
    assert_int_equal(s.count, 3);
    assert_sequence(&s, 0, (int32_t[]){CLS, A, B, SEP}, zeros, 4);
    assert_sequence(&s, 1, (int32_t[]){CLS, A, SEP, C, SEP}, zeros, 5);
    assert_sequence(&s, 2, (int32_t[]){CLS, UNK, SEP}, zeros, 3);
    assert_int_equal(rb_sequences_tokens(&s), 12);
    /* a [SEP] that the text wrote is not one that the encoder added */
    assert_memory_equal(s.special, ((uint8_t[]){1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1}), 12);
    assert_int_equal(s.rows[0], 1);
    assert_int_equal(s.rows[1], 3);
    assert_int_equal(s.rows[2], 4);
    assert_null(s.labels);
    assert_null(s.targets);
    rb_sequences_deinit(&s);

    s = from_rows(t, &v, 2, 2); /* no room for any text */
    assert_int_equal(s.count, 2);
    assert_sequence(&s, 1, (int32_t[]){CLS, SEP}, zeros, 2);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

static void test_text_without_tokens_is_a_sequence(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    struct rb_dataset_view v = view_of(RB_TEXT, "\xC2\xAD\n");
    struct rb_sequences s = from_rows(t, &v, 0, 8);
    assert_sequence(&s, 0, (int32_t[]){CLS, SEP}, (uint8_t[]){0, 0}, 2);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

static void test_pairs_and_labels(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    struct rb_dataset_view v = view_of(RB_TSV, "y\tt\tu\n-2.5\ta b\tc\n1\ta\td d\n");
    v.fields = (struct rb_fields){"t", "u", "y"};
    struct rb_sequences s = from_rows(t, &v, 0, 16);
    assert_int_equal(s.count, 2);
    assert_sequence(&s, 0, (int32_t[]){CLS, A, B, SEP, C, SEP}, (uint8_t[]){0, 0, 0, 0, 1, 1}, 6);
    assert_sequence(&s, 1, (int32_t[]){CLS, A, SEP, D, D, SEP}, (uint8_t[]){0, 0, 0, 1, 1, 1}, 6);
    assert_memory_equal(s.special, ((uint8_t[]){1, 0, 0, 1, 0, 1}), 6);
    assert_true(s.labels[0] == -2.5);
    assert_true(s.labels[1] == 1);
    assert_int_equal(s.rows[1], 3);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

/* The table of Hugging Face's own test of longest_first, and what it leaves out. */
static void test_longest_first_truncation(void **state)
{
    (void)state;
    static const struct {
        size_t a, b, room, kept_a, kept_b;
    } cases[] = {
        {2, 2, 7, 2, 2}, {2, 4, 7, 2, 4}, {2, 8, 7, 2, 5}, {4, 2, 7, 4, 2}, {4, 4, 7, 3, 4},
        {4, 8, 7, 3, 4}, {8, 2, 7, 5, 2}, {8, 4, 7, 4, 3}, {8, 8, 7, 3, 4}, {8, 9, 6, 3, 3},
        {9, 1, 1, 1, 0}, {1, 9, 1, 0, 1}, {1, 1, 1, 0, 1}, {9, 9, 0, 0, 0}, {9, 1, 2, 1, 1},
    };
    struct rb_tokenizer *t = small_tokenizer();
    for (size_t i = 0; i < COUNT(cases); i++) {
        char data[128] = "t\tu\n";
        for (size_t n = 0; n < cases[i].a; n++)
            strcat(data, "a ");
        strcat(data, "\t");
        for (size_t n = 0; n < cases[i].b; n++)
            strcat(data, "b ");
        struct rb_dataset_view v = view_of(RB_TSV, data);
        v.fields = (struct rb_fields){.text = "t", .text_pair = "u"};
        struct rb_sequences s = from_rows(t, &v, 0, cases[i].room + 3);
        size_t a = 0, b = 0;
        for (size_t n = 0; n < rb_sequences_tokens(&s); n++) {
            a += s.ids[n] == A;
            b += s.ids[n] == B;
        }
        if (a != cases[i].kept_a || b != cases[i].kept_b)
            fail_msg("case %zu keeps %zu and %zu", i, a, b);
        rb_sequences_deinit(&s);
    }
    rb_tokenizer_free(t);
}

static void test_row_errors(void **state)
{
    (void)state;
    static const struct {
        enum rb_format format;
        struct rb_fields fields;
        const char *data;
        size_t max_length;
        enum rb_status status;
        const char *words;
    } cases[] = {
        {RB_TEXT, {0}, " \n", 8, RB_EDATASET, "file: no usable line"},
        {RB_TEXT, {0}, "a\n\xFF\n", 8, RB_EDATASET, "file: line 2: not UTF-8"},
        {RB_TEXT, {0}, "a\n", 1, RB_EINPUT, "max_length 1"},
        {RB_TSV, {.text = "t", .text_pair = "u"}, "t\tu\na\tb\n", 2, RB_EINPUT, "max_length 2"},
        {RB_TSV, {.text = "t", .text_pair = "u"}, "t\na\n", 8, RB_EDATASET, "no column 'u'"},
        {RB_JSONL, {.text = "t"}, "{\"t\":\"a\"}\n{}\n", 8, RB_EDATASET, "line 2: no member 't'"},
    };
    struct rb_tokenizer *t = small_tokenizer();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_dataset_view v = view_of(cases[i].format, cases[i].data);
        v.fields = cases[i].fields;
        struct rb_sequences s = {.count = 77};
        struct rb_error err;
        assert_int_equal(rb_sequences_from_rows(t, &v, 0, cases[i].max_length, &s, &err),
                         cases[i].status);
        assert_contains(err.detail, cases[i].words);
        assert_int_equal(s.count, 77);
    }
    /* the rows behind max_rows are not looked at */
    struct rb_dataset_view v = view_of(RB_TEXT, "a\n\xFF\n");
    struct rb_sequences s = from_rows(t, &v, 1, 8);
    assert_int_equal(s.count, 1);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

/* ---- the fixtures' numbers ---- */

static void test_fixture_alignment(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        size_t max_length, tokens;
    } cases[] = {{"bert-a", 48, 40681}, {"authors-a", 128, 56119}, {"overlap-b", 128, 56119}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_tokenizer *t = open_fixture_tokenizer(cases[i].model);
        struct rb_dataset_view v = fixture_view("align.txt", RB_TEXT);
        struct rb_sequences s = from_rows(t, &v, 1000, cases[i].max_length);
        assert_int_equal(s.count, 1000);
        assert_int_equal(rb_sequences_tokens(&s), cases[i].tokens);
        size_t special = 0;
        for (size_t n = 0; n < rb_sequences_tokens(&s); n++)
            special += s.special[n];
        assert_int_equal(special, 2000);
        rb_sequences_deinit(&s);
        rb_tokenizer_free(t);
        free((char *)v.data);
    }
}

static void test_fixture_labels_and_pairs(void **state)
{
    (void)state;
    struct rb_tokenizer *t = open_fixture_tokenizer("authors-a");
    struct rb_dataset_view v = fixture_view("authors.jsonl", RB_JSONL);
    v.fields = (struct rb_fields){.text = "sentence", .label = "label"};
    struct rb_sequences s = from_rows(t, &v, 500, 128);
    assert_int_equal(s.count, 500);
    for (size_t i = 0; i < s.count; i++)
        assert_true(s.labels[i] == 0 || s.labels[i] == 1 || s.labels[i] == 2 || s.labels[i] == 3);
    assert_true(s.labels[0] == 0 && s.labels[1] == 3 && s.labels[4] == 2);
    rb_sequences_deinit(&s);
    free((char *)v.data);

    v = fixture_view("overlap.tsv", RB_TSV);
    v.fields = (struct rb_fields){"sentence1", "sentence2", "label"};
    s = from_rows(t, &v, 500, 128);
    assert_int_equal(s.count, 500);
    for (size_t i = 0; i < s.count; i++) {
        assert_true(s.labels[i] >= 0 && s.labels[i] <= 5);
        assert_int_equal(s.types[s.starts[i]], 0);
        assert_int_equal(s.types[s.starts[i + 1] - 1], 1);
    }
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
    free((char *)v.data);
}

static void test_fixture_masks(void **state)
{
    (void)state;
    json_t *golden = json_load_file(RB_FIXTURES "/golden/mlm.json", 0, NULL);
    assert_non_null(golden);
    size_t predicted = (size_t)json_integer_value(json_object_get(golden, "predicted"));
    json_decref(golden);
    assert_int_equal(predicted, 1766);
    struct rb_tokenizer *t = open_fixture_tokenizer("bert-a");
    struct rb_dataset_view v = fixture_view("eval.txt", RB_TEXT);
    struct rb_sequences s;
    assert_int_equal(rb_sequences_mlm(t, &v, 48, 256, 0.15, 0, &s, NULL), RB_OK);
    assert_int_equal(s.count, 256);
    assert_int_equal(rb_sequences_tokens(&s), 256 * 48);
    assert_int_equal(s.target_count, predicted);
    size_t targets = 0, masked = 0, same = 0;
    for (size_t i = 0; i < rb_sequences_tokens(&s); i++) {
        assert_in_range(s.ids[i], 0, 511);
        if (s.targets[i] < 0)
            continue;
        targets++;
        masked += s.ids[i] == rb_tokenizer_special(t, RB_SPECIAL_MASK);
        same += s.ids[i] == s.targets[i];
        assert_false(rb_tokenizer_is_special(t, s.targets[i]));
        assert_int_equal(s.special[i], 0);
    }
    assert_int_equal(targets, predicted);
    assert_in_range(masked, predicted * 75 / 100, predicted * 85 / 100);
    assert_in_range(same, predicted * 7 / 100, predicted * 13 / 100);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
    free((char *)v.data);
}

/* ---- blocks ---- */

static void test_blocks(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    struct rb_dataset_view v = view_of(RB_TEXT, "a b c\n[UNK] d\na\n"); /* 5 + 4 + 3 tokens */
    static const int32_t runs[] = {CLS, A, B, C, SEP, CLS, UNK, D, SEP, CLS, A, SEP};
    struct rb_sequences s;
    assert_int_equal(rb_sequences_mlm(t, &v, 5, 0, 1, 7, &s, NULL), RB_OK);
    assert_int_equal(s.count, 2); /* the last 2 tokens are dropped */
    assert_int_equal(s.starts[2], 10);
    for (size_t i = 0; i < 10; i++) {
        /* with probability 1 all are predicted but the special ones, also [UNK] from the text */
        bool candidate = runs[i] >= A;
        assert_int_equal(s.targets[i], candidate ? runs[i] : -1);
        assert_int_equal(s.special[i], runs[i] == CLS || runs[i] == SEP);
        assert_int_equal(s.types[i], 0);
        if (!candidate)
            assert_int_equal(s.ids[i], runs[i]);
    }
    assert_int_equal(s.target_count, 4);
    assert_int_equal(s.rows[0], 0);
    assert_null(s.labels);
    rb_sequences_deinit(&s);

    /* max_blocks cuts, and what comes behind is not read */
    v = view_of(RB_TEXT, "a b c\na b c\n\xFF\n");
    assert_int_equal(rb_sequences_mlm(t, &v, 5, 2, 1, 7, &s, NULL), RB_OK);
    assert_int_equal(s.count, 2);
    rb_sequences_deinit(&s);
    struct rb_error err;
    assert_int_equal(rb_sequences_mlm(t, &v, 5, 3, 1, 7, &s, &err), RB_EDATASET);
    assert_contains(err.detail, "line 3");
    v = view_of(RB_TEXT, "a b c d a b c d\n"); /* one row fills more blocks than asked for */
    assert_int_equal(rb_sequences_mlm(t, &v, 5, 1, 1, 7, &s, NULL), RB_OK);
    assert_int_equal(s.count, 1);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

/* METHOD 7 word for word, on a block known by heart. */
static void test_masks_follow_the_method(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    char data[4096] = "";
    for (int i = 0; i < 1000; i++)
        strcat(data, "c ");
    struct rb_dataset_view v = view_of(RB_TEXT, data);
    struct rb_sequences s;
    assert_int_equal(rb_sequences_mlm(t, &v, 100, 0, 0.5, 42, &s, NULL), RB_OK);
    size_t kinds[3] = {0};
    for (size_t i = 0; i < rb_sequences_tokens(&s); i++) {
        size_t block = i / 100, at = i % 100;
        if (s.special[i] || rb_mask_uniform(42, block, at, 0) >= 0.5) {
            assert_int_equal(s.targets[i], -1);
            continue;
        }
        double u = rb_mask_uniform(42, block, at, 1);
        int32_t expected = C;
        if (u < 0.8)
            expected = MASK;
        else if (u < 0.9)
            expected = (int32_t)floor(rb_mask_uniform(42, block, at, 2) * 9);
        kinds[u < 0.8 ? 0 : u < 0.9 ? 1 : 2]++;
        assert_int_equal(s.targets[i], C);
        assert_int_equal(s.ids[i], expected);
    }
    assert_true(kinds[0] > 0 && kinds[1] > 0 && kinds[2] > 0);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

static void test_mlm_reads_the_text_only(void **state)
{
    (void)state;
    struct rb_tokenizer *t = small_tokenizer();
    struct rb_dataset_view v = view_of(RB_TSV, "t\tu\ty\na\t\tnone\n");
    v.fields = (struct rb_fields){"t", "u", "y"};
    struct rb_sequences s;
    assert_int_equal(rb_sequences_mlm(t, &v, 3, 0, 1, 0, &s, NULL), RB_OK);
    assert_int_equal(s.count, 1);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
}

static void test_mlm_errors(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t block_size, max_blocks;
        double probability;
        enum rb_status status;
        const char *words;
    } cases[] = {
        {"", 4, 0, 1, RB_EDATASET, "file: no usable line"},
        {"a b\n", 5, 0, 1, RB_EDATASET, "4 tokens do not fill one block of 5"},
        {"[UNK]\n", 3, 0, 1, RB_EDATASET, "no position is predicted"},
        {"a\n", 3, 0, 1e-9, RB_EDATASET, "no position is predicted"},
        {"a\n", 0, 0, 1, RB_EINPUT, "blocks of 0 tokens"},
        {"a\n", SIZE_MAX, 2, 1, RB_EINPUT, "cannot be made"},
        {"a\n", 3, 0, 0, RB_EINPUT, "mask_probability 0 "},
        {"a\n", 3, 0, 1.5, RB_EINPUT, "mask_probability 1.5"},
        {"a\n", 3, 0, NAN, RB_EINPUT, "mask_probability nan"},
    };
    struct rb_tokenizer *t = small_tokenizer();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_dataset_view v = view_of(RB_TEXT, cases[i].data);
        struct rb_sequences s = {.count = 77};
        struct rb_error err;
        assert_int_equal(rb_sequences_mlm(t, &v, cases[i].block_size, cases[i].max_blocks,
                                          cases[i].probability, 0, &s, &err),
                         cases[i].status);
        assert_contains(err.detail, cases[i].words);
        assert_int_equal(s.count, 77);
    }
    rb_tokenizer_free(t);
}

/* ---- causal blocks, and what decoders and RoBERTa put around a text ---- */

/* METHOD 9: BOS as the post-processor says, EOS behind each line; next tokens within a block. */
static void test_clm(void **state)
{
    (void)state;
    enum { BOS = 510, EOS = 511, LINES = 3 };
    struct rb_tokenizer *t = open_fixture_tokenizer("llama-a");
    struct rb_dataset_view v = view_of(RB_TEXT, "a b\n\nthe end\nagain");
    static const char *const lines[LINES] = {"a b", "the end", "again"};
    struct rb_ids all = {0};
    for (int i = 0; i < LINES; i++) {
        assert_true(rb_ids_reserve(&all, 2));
        all.ids[all.count++] = BOS;
        assert_int_equal(rb_tokenizer_encode(t, lines[i], strlen(lines[i]), &all, NULL), RB_OK);
        assert_true(rb_ids_reserve(&all, 1));
        all.ids[all.count++] = EOS;
    }
    enum { BLOCK = 4 };
    struct rb_sequences s;
    assert_int_equal(rb_sequences_clm(t, &v, BLOCK, 0, &s, NULL), RB_OK);
    assert_int_equal(s.count, all.count / BLOCK);
    assert_true(s.count >= 3);
    assert_int_equal(s.target_count, s.count * (BLOCK - 1));
    for (size_t i = 0; i < s.count * BLOCK; i++) {
        assert_int_equal(s.ids[i], all.ids[i]);
        assert_int_equal(s.targets[i], i % BLOCK == BLOCK - 1 ? -1 : all.ids[i + 1]);
        assert_int_equal(s.special[i], all.ids[i] >= BOS);
        assert_int_equal(s.types[i], 0);
    }
    assert_null(s.labels);
    rb_sequences_deinit(&s);
    assert_int_equal(rb_sequences_clm(t, &v, BLOCK, 2, &s, NULL), RB_OK);
    assert_int_equal(s.count, 2);
    rb_sequences_deinit(&s);
    struct rb_error err;
    assert_int_equal(rb_sequences_clm(t, &v, 1, 0, &s, &err), RB_EINPUT);
    assert_contains(err.detail, "at least 2");
    assert_int_equal(rb_sequences_clm(t, &v, 1000, 0, &s, &err), RB_EDATASET);
    assert_contains(err.detail, "do not fill one block of 1000");
    free(all.ids);
    rb_tokenizer_free(t);
}

/* The clm goldens were computed on these blocks: their unigram loss, add-one smoothed counts of
 * align.txt's tokens over the targets of the first 32 blocks of eval.txt, tells the stream apart
 * from all others (without BOS, without EOS, cut elsewhere). */
static void test_clm_is_the_reference_stream(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        double unigram_loss;
    } cases[] = {{"gpt2-a", 5.309637804720658},
                 {"neox-a", 5.297630470158883},
                 {"llama-a", 5.298436005221499}};
    struct rb_dataset_view align = fixture_view("align.txt", RB_TEXT);
    struct rb_dataset_view eval = fixture_view("eval.txt", RB_TEXT);
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum { IDS = 512 };
        struct rb_tokenizer *t = open_fixture_tokenizer(cases[i].model);
        struct rb_sequences s;
        double counts[IDS], total = IDS, loss = 0;
        for (int id = 0; id < IDS; id++)
            counts[id] = 1;
        /* blocks of 2, so that no more than one token is dropped */
        assert_int_equal(rb_sequences_clm(t, &align, 2, 0, &s, NULL), RB_OK);
        size_t tokens = rb_sequences_tokens(&s);
        for (size_t k = 0; k < tokens; k++)
            counts[s.ids[k]]++;
        total += (double)tokens;
        rb_sequences_deinit(&s);
        assert_int_equal(rb_sequences_clm(t, &eval, 128, 32, &s, NULL), RB_OK);
        assert_int_equal(s.target_count, 4064);
        for (size_t k = 0; k < rb_sequences_tokens(&s); k++)
            if (s.targets[k] >= 0)
                loss -= log(counts[s.targets[k]] / total) / (double)s.target_count;
        assert_true(fabs(loss - cases[i].unigram_loss) < 5e-6);
        rb_sequences_deinit(&s);
        rb_tokenizer_free(t);
    }
    free((char *)align.data);
    free((char *)eval.data);
}

/* The numbers of tokens that the goldens give for 500 lines, cut at 128. */
static void test_decoders_align(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        size_t tokens;
    } cases[] = {{"gpt2-a", 31031}, {"neox-a", 31141}, {"llama-a", 31530}};
    struct rb_dataset_view v = fixture_view("align.txt", RB_TEXT);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_tokenizer *t = open_fixture_tokenizer(cases[i].model);
        struct rb_sequences s = from_rows(t, &v, 500, 128);
        assert_int_equal(rb_sequences_tokens(&s), cases[i].tokens);
        rb_sequences_deinit(&s);
        rb_tokenizer_free(t);
    }
    free((char *)v.data);
}

static void test_roberta_pairs(void **state)
{
    (void)state;
    struct rb_tokenizer *t = open_fixture_tokenizer("roberta-a");
    struct rb_dataset_view v = view_of(RB_JSONL, "{\"a\":\"a b\",\"b\":\"c d\"}");
    v.fields = (struct rb_fields){.text = "a", .text_pair = "b"};
    struct rb_sequences s = from_rows(t, &v, 0, 128);
    static const uint8_t zeros[8];
    assert_int_equal(s.count, 1);
    assert_sequence(&s, 0, (int32_t[]){0, 68, 274, 2, 2, 70, 295, 2}, zeros, 8);
    assert_memory_equal(s.special, ((uint8_t[]){1, 0, 0, 1, 1, 0, 0, 1}), 8);
    rb_sequences_deinit(&s);
    s = from_rows(t, &v, 0, 6); /* one token each is left */
    assert_sequence(&s, 0, (int32_t[]){0, 68, 2, 2, 70, 2}, zeros, 6);
    rb_sequences_deinit(&s);
    struct rb_error err;
    assert_int_equal(rb_sequences_from_rows(t, &v, 0, 3, &s, &err), RB_EINPUT);
    assert_contains(err.detail, "at least 4");
    rb_tokenizer_free(t);
}

/* METHOD 9: <s>, </s>, <pad> are never predicted; the reference has 1774 targets. */
static void test_roberta_mlm(void **state)
{
    (void)state;
    struct rb_tokenizer *t = open_fixture_tokenizer("roberta-a");
    struct rb_dataset_view v = fixture_view("eval.txt", RB_TEXT);
    struct rb_sequences s;
    assert_int_equal(rb_sequences_mlm(t, &v, 48, 256, 0.15, 0, &s, NULL), RB_OK);
    assert_int_equal(s.count, 256);
    assert_int_equal(s.target_count, 1774);
    rb_sequences_deinit(&s);
    rb_tokenizer_free(t);
    t = open_fixture_tokenizer("gpt2-a");
    struct rb_error err;
    assert_int_equal(rb_sequences_mlm(t, &v, 48, 256, 0.15, 0, &s, &err), RB_EHEAD);
    assert_contains(err.detail, "no mask token");
    rb_tokenizer_free(t);
    free((char *)v.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_single_texts),
        cmocka_unit_test(test_text_without_tokens_is_a_sequence),
        cmocka_unit_test(test_pairs_and_labels),
        cmocka_unit_test(test_longest_first_truncation),
        cmocka_unit_test(test_row_errors),
        cmocka_unit_test(test_fixture_alignment),
        cmocka_unit_test(test_fixture_labels_and_pairs),
        cmocka_unit_test(test_fixture_masks),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_masks_follow_the_method),
        cmocka_unit_test(test_mlm_reads_the_text_only),
        cmocka_unit_test(test_mlm_errors),
        cmocka_unit_test(test_clm),
        cmocka_unit_test(test_clm_is_the_reference_stream),
        cmocka_unit_test(test_decoders_align),
        cmocka_unit_test(test_roberta_pairs),
        cmocka_unit_test(test_roberta_mlm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
