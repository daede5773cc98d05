// LINK: core_text
#include "unit/text_support.h"

#include "core/text/tokenizer_open.h"
#include "core/text/unicode.h"
#include "core/text/vocabulary.h"
#include "core/text/wordpiece.h"

#include <ctype.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>

#define SPECIALS "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"

/* ---- the goldens ---- */

static void check_golden_case(const struct rb_tokenizer *t, const json_t *text,
                              const json_t *expected)
{
    struct rb_ids ids = {0};
    assert_int_equal(
        rb_tokenizer_encode(t, json_string_value(text), json_string_length(text), &ids, NULL),
        RB_OK);
    bool same = ids.count == json_array_size(expected);
    for (size_t i = 0; same && i < ids.count; i++)
        same = ids.ids[i] == json_integer_value(json_array_get(expected, i));
    if (!same) {
        print_error("\"%s\" gives", json_string_value(text));
        for (size_t i = 0; i < ids.count; i++)
            print_error(" %d", ids.ids[i]);
        fail();
    }
    free(ids.ids);
}

static void test_goldens(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool lower;
        int strip;
    } modes[] = {{"uncased", true, -1}, {"cased", false, -1}, {"uncased_keep_accents", true, 0}};
    json_error_t where;
    json_t *golden = json_load_file(RB_FIXTURES "/golden/tokens.json", JSON_ALLOW_NUL, &where);
    assert_non_null(golden);
    const json_t *cases = json_object_get(golden, "cases");
    assert_int_equal(json_array_size(cases), 90);
    size_t bytes;
    char *vocab = read_whole(RB_FIXTURES "/models/bert-a/vocab.txt", &bytes);
    for (size_t m = 0; m < COUNT(modes); m++) {
        struct rb_wordpiece_options o;
        rb_wordpiece_options_default(&o);
        o.do_lower_case = modes[m].lower;
        o.strip_accents = modes[m].strip;
        struct rb_tokenizer *t;
        assert_int_equal(rb_wordpiece_new("vocab.txt", vocab, bytes, &o, &t, NULL), RB_OK);
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *c = json_array_get(cases, i);
            check_golden_case(t, json_object_get(c, "text"), json_object_get(c, modes[m].name));
        }
        rb_tokenizer_free(t);
    }
    free(vocab);
    json_decref(golden);
}

/* ---- single rules, on a vocabulary made for them ---- */

static const char rule_vocab[] =
    SPECIALS "a\n##b\nab\n##c\nabc\nA\ni\n##\xCC\x87\ne\n##e\n`\n,\n\xE4\xB8\xAD\n##\xE4\xB8\xAD\n"
             "\xCD\xB8\n##\xE3\x80\xAE\n##\xF0\x9D\x85\xA5\n\xC3\xA9\n\xC3\x89\nE\nx\n##x\n";

enum { LOWER = 1, STRIP = 2, CJK = 4 };

/* The pieces of text, joined by spaces; malloced. */
static char *pieces(const struct rb_tokenizer *t, const char *text, size_t bytes)
{
    struct rb_ids ids = {0};
    assert_int_equal(rb_tokenizer_encode(t, text, bytes, &ids, NULL), RB_OK);
    size_t total = 1;
    for (size_t i = 0; i < ids.count; i++)
        total += strlen(rb_tokenizer_token(t, ids.ids[i])) + 1;
    char *out = calloc(1, total);
    assert_non_null(out);
    for (size_t i = 0; i < ids.count; i++) {
        strcat(out, i > 0 ? " " : "");
        strcat(out, rb_tokenizer_token(t, ids.ids[i]));
    }
    free(ids.ids);
    return out;
}

static struct rb_tokenizer *make(const char *vocab, int switches)
{
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.do_lower_case = (switches & LOWER) != 0;
    o.strip_accents = (switches & STRIP) != 0;
    o.tokenize_chinese_chars = (switches & CJK) != 0;
    struct rb_tokenizer *t;
    struct rb_error err;
    if (rb_wordpiece_new("vocab", vocab, strlen(vocab), &o, &t, &err) != RB_OK)
        fail_msg("%s", err.detail);
    return t;
}

#define TEXT(literal) literal, sizeof literal - 1

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        int switches;
        const char *text;
        size_t bytes;
        const char *pieces;
    } cases[] = {
        {0, TEXT(""), ""},
        {0, TEXT("abc abcb ac"), "abc abc ##b a ##c"},
        /* one unknown piece makes the word unknown, also when it is the last */
        {0, TEXT("abz z"), "[UNK] [UNK]"},
        {LOWER, TEXT("ABC"), "abc"},
        {0, TEXT("A AB"), "A [UNK]"},
        /* an accent goes with strip, stays without, whether lower case or not */
        {STRIP, TEXT("\xC3\x89 \xC3\xA9"), "E e"},
        {LOWER, TEXT("\xC3\x89"), "\xC3\xA9"},
        {LOWER | STRIP, TEXT("\xC3\x89"), "e"},
        {0, TEXT("\xC3\x89"), "\xC3\x89"},
        /* U+0130 becomes i and U+0307, or i alone once that is stripped */
        {LOWER, TEXT("\xC4\xB0"), "i ##\xCC\x87"},
        {LOWER | STRIP, TEXT("\xC4\xB0"), "i"},
        /* U+1FEF is no punctuation, but decomposes to '`' */
        {STRIP,
         TEXT("a\xE1\xBF\xAF"
              "b"),
         "a ` [UNK]"},
        {0, TEXT("a,a"), "a , a"},
        /* Chinese characters stand alone, unless told not to */
        {CJK, TEXT("a\xE4\xB8\xAD\xE4\xB8\xAD"), "a \xE4\xB8\xAD \xE4\xB8\xAD"},
        {0, TEXT("a\xE4\xB8\xAD"), "a ##\xE4\xB8\xAD"},
        /* control, format and private characters, NUL, U+FFFD and invalid bytes leave no gap */
        {0,
         TEXT("a\0b\x01\xC2\xAD\xEE\x80\x80\xEF\xBF\xBD\xFF\xC0\xE4\xB8"
              "c"),
         "abc"},
        /* but an unassigned character (U+0378) is text */
        {0, TEXT("\xCD\xB8"), "\xCD\xB8"},
        {0, TEXT("a\tb"), "a [UNK]"},
        /* canonical order: U+302E (class 224) after U+1D165 (216), whichever was written first */
        {STRIP, TEXT("a\xE3\x80\xAE\xF0\x9D\x85\xA5"), "a ##\xF0\x9D\x85\xA5 ##\xE3\x80\xAE"},
        {0, TEXT("a\xE3\x80\xAE\xF0\x9D\x85\xA5"), "a ##\xE3\x80\xAE ##\xF0\x9D\x85\xA5"},
        /* special tokens: in the raw text, exact case, inside words, also beside each other */
        {LOWER, TEXT("a[MASK]b[SEP][CLS]"), "a [MASK] [UNK] [SEP] [CLS]"},
        {LOWER, TEXT("[mask]"), "[UNK] [UNK] [UNK]"},
        {LOWER, TEXT("[MASK"), "[UNK] [UNK]"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_tokenizer *t = make(rule_vocab, cases[i].switches);
        char *found = pieces(t, cases[i].text, cases[i].bytes);
        if (strcmp(found, cases[i].pieces) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, found, cases[i].pieces);
        free(found);
        rb_tokenizer_free(t);
    }
}

static void test_longest_special_token_wins(void **state)
{
    (void)state;
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.mask_token = "<m>";
    o.pad_token = "<m>>";
    o.sep_token = "[CLS]"; /* two roles, one token */
    static const char vocab[] = "[UNK]\n[CLS]\n<m>\n<m>>\n";
    struct rb_tokenizer *t;
    assert_int_equal(rb_wordpiece_new("v", vocab, sizeof vocab - 1, &o, &t, NULL), RB_OK);
    char *found = pieces(t, TEXT("<m>><m>[CLS]"));
    assert_string_equal(found, "<m>> <m> [CLS]");
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_CLS), 1);
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_SEP), 1);
    assert_int_equal(rb_tokenizer_special(t, RB_SPECIAL_MASK), 2);
    assert_int_equal(rb_tokenizer_vocab_size(t), 4);
    for (int32_t id = 0; id < 4; id++)
        assert_true(rb_tokenizer_is_special(t, id));
    assert_false(rb_tokenizer_is_special(t, 4));
    assert_null(rb_tokenizer_token(t, 4));
    assert_null(rb_tokenizer_token(t, -1));
    free(found);
    rb_tokenizer_free(t);
}

static void test_words_of_100_characters(void **state)
{
    (void)state;
    static const struct {
        int chars;
        bool known;
    } cases[] = {{99, true}, {100, true}, {101, false}, {5000, false}};
    struct rb_tokenizer *t = make(rule_vocab, STRIP);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[10010] = "";
        int n = cases[i].chars;
        for (int c = 0; c < n; c++) /* what is stripped does not count */
            strcat(text, c % 2 == 0 ? "x" : "x\xCC\x81");
        strcat(text, " abc");
        struct rb_ids ids = {0};
        assert_int_equal(rb_tokenizer_encode(t, text, strlen(text), &ids, NULL), RB_OK);
        assert_int_equal(ids.count, cases[i].known ? n + 1 : 2);
        assert_string_equal(rb_tokenizer_token(t, ids.ids[0]), cases[i].known ? "x" : "[UNK]");
        assert_string_equal(rb_tokenizer_token(t, ids.ids[ids.count - 1]), "abc");
        free(ids.ids);
    }
    rb_tokenizer_free(t);
}

/* ---- against a slow, obvious implementation ---- */

struct chars {
    int32_t c[4096];
    size_t n;
};

static void push(struct chars *to, int32_t c)
{
    assert_true(to->n < COUNT(to->c));
    to->c[to->n++] = c;
}

static bool is_space(int32_t c)
{
    utf8proc_category_t g = utf8proc_category(c);
    return c == '\t' || c == '\n' || c == '\r' || g == UTF8PROC_CATEGORY_ZS ||
           g == UTF8PROC_CATEGORY_ZL || g == UTF8PROC_CATEGORY_ZP;
}

static bool is_punctuation(int32_t c)
{
    utf8proc_category_t g = utf8proc_category(c);
    return (c < 128 && c > 0 && ispunct(c)) ||
           (g >= UTF8PROC_CATEGORY_PC && g <= UTF8PROC_CATEGORY_PO);
}

/* One step after the other over the whole text, as bert.rs describes it. */
static void reference_normalize(const struct chars *in, bool lower, bool strip, bool cjk,
                                struct chars *out)
{
    static struct chars clean, spaced, bare;
    clean.n = spaced.n = bare.n = out->n = 0;
    for (size_t i = 0; i < in->n; i++) {
        int32_t c = in->c[i];
        utf8proc_category_t g = utf8proc_category(c);
        bool control =
            g == UTF8PROC_CATEGORY_CC || g == UTF8PROC_CATEGORY_CF || g == UTF8PROC_CATEGORY_CO;
        if (is_space(c))
            push(&clean, ' ');
        else if (!control && c != 0xFFFD)
            push(&clean, c);
    }
    for (size_t i = 0; i < clean.n; i++) {
        bool alone = cjk && rb_char_is_cjk(clean.c[i]);
        if (alone)
            push(&spaced, ' ');
        push(&spaced, clean.c[i]);
        if (alone)
            push(&spaced, ' ');
    }
    if (strip) {
        static char utf8[4 * COUNT(spaced.c) + 1];
        size_t bytes = 0;
        for (size_t i = 0; i < spaced.n; i++)
            bytes += (size_t)utf8proc_encode_char(spaced.c[i], (utf8proc_uint8_t *)utf8 + bytes);
        utf8proc_ssize_t n = utf8proc_decompose((utf8proc_uint8_t *)utf8, (utf8proc_ssize_t)bytes,
                                                spaced.c, COUNT(spaced.c), UTF8PROC_DECOMPOSE);
        assert_true(n >= 0 && (size_t)n <= COUNT(spaced.c));
        spaced.n = (size_t)n;
    }
    for (size_t i = 0; i < spaced.n; i++)
        if (!strip || utf8proc_category(spaced.c[i]) != UTF8PROC_CATEGORY_MN)
            push(&bare, spaced.c[i]);
    for (size_t i = 0; i < bare.n; i++) {
        if (lower && bare.c[i] == 0x130) {
            push(out, 'i');
            push(out, 0x307);
        } else {
            push(out, lower ? utf8proc_tolower(bare.c[i]) : bare.c[i]);
        }
    }
}

/* Every prefix, the longest first, against every token. */
static void reference_wordpiece(const struct rb_tokenizer *t, const int32_t *c, size_t n,
                                struct chars *ids)
{
    size_t before = ids->n;
    for (size_t at = 0; at < n && n <= 100;) {
        size_t end = n;
        int32_t found = -1;
        for (; end > at && found < 0; end--) {
            char piece[512];
            size_t bytes = at > 0 ? 2 : 0;
            memcpy(piece, "##", 2);
            for (size_t i = at; i < end; i++)
                bytes += (size_t)utf8proc_encode_char(c[i], (utf8proc_uint8_t *)piece + bytes);
            piece[bytes] = '\0';
            for (size_t id = 0; id < rb_tokenizer_vocab_size(t); id++)
                if (strcmp(rb_tokenizer_token(t, (int32_t)id), piece) == 0)
                    found = (int32_t)id;
            if (found >= 0)
                break;
        }
        if (found < 0)
            break;
        push(ids, found);
        at = end;
        if (at == n)
            return;
    }
    ids->n = before;
    push(ids, 1); /* [UNK] */
}

static void reference_encode(const struct rb_tokenizer *t, const struct chars *text, bool lower,
                             bool strip, bool cjk, struct chars *ids)
{
    static struct chars normal;
    reference_normalize(text, lower, strip, cjk, &normal);
    ids->n = 0;
    for (size_t i = 0; i < normal.n;) {
        if (is_space(normal.c[i])) {
            i++;
            continue;
        }
        size_t end = i + 1;
        if (!is_punctuation(normal.c[i]))
            while (end < normal.n && !is_space(normal.c[end]) && !is_punctuation(normal.c[end]))
                end++;
        reference_wordpiece(t, normal.c + i, end - i, ids);
        i = end;
    }
}

static void test_equals_the_reference_on_random_text(void **state)
{
    (void)state;
    static const int32_t alphabet[] = {
        'a',    'b',   'c',    'x',     'A',    ' ',     ',',     '`',     0,       '\n',
        0x301,  0x307, 0x345,  0x302E,  0x302F, 0x1D165, 0x1D16D, 0x1D15E, 0xE9,    0xC9,
        0x130,  0x131, 0x4E2D, 0x2F800, 0xAC01, 0x1FEF,  0x37E,   0x226E,  0x2126,  0xDF,
        0x1E9E, 0x3A3, 0x200B, 0xA0,    0x2028, 0xFFFD,  0xE000,  0x378,   0x1F600, 0x10FFFF,
        0x1C5,  0x958, 0xF900, 0x1BF2,  0x94D,  0x2000,  0x3000,  0x85,    0x13A0,  0x16FF0};
    uint64_t random = 1;
    for (int switches = 0; switches < 8; switches++) {
        bool lower = switches & LOWER, strip = switches & STRIP, cjk = switches & CJK;
        struct rb_tokenizer *t = make(rule_vocab, switches);
        for (int round = 0; round < 400; round++) {
            static struct chars text, expected;
            static char utf8[4 * 1024];
            size_t bytes = 0, n = random_below(&random, round % 8 == 0 ? 300 : 24);
            /* runs of a few letters, so that words and runs of marks do come up */
            uint32_t span = round % 3 == 0 ? COUNT(alphabet) : 4 + random_below(&random, 16);
            uint32_t from = random_below(&random, COUNT(alphabet) - span + 1);
            text.n = 0;
            for (size_t i = 0; i < n; i++) {
                int32_t c = random_below(&random, 3) == 0
                                ? alphabet[random_below(&random, 4)]
                                : alphabet[from + random_below(&random, span)];
                push(&text, c);
                bytes += (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)utf8 + bytes);
            }
            reference_encode(t, &text, lower, strip, cjk, &expected);
            struct rb_ids ids = {0};
            assert_int_equal(rb_tokenizer_encode(t, utf8, bytes, &ids, NULL), RB_OK);
            assert_int_equal(ids.count, expected.n);
            for (size_t i = 0; i < ids.count; i++)
                assert_int_equal(ids.ids[i], expected.c[i]);
            free(ids.ids);
        }
        rb_tokenizer_free(t);
    }
}

/* The word buffer relies on it: a mark that canonical order can move is never a word's end. */
static void test_combining_marks_are_parts_of_words(void **state)
{
    (void)state;
    for (int32_t c = 0; c < 0x110000; c++)
        if (utf8proc_get_property(c)->combining_class != 0) {
            assert_int_equal(rb_char_class(c), RB_CHAR_WORD);
            assert_false(rb_char_is_cjk(c));
            assert_int_equal(utf8proc_tolower(c), c);
        }
}

/* The ranges that bert.rs lists, at their edges. */
static void test_chinese_ranges(void **state)
{
    (void)state;
    static const int32_t ranges[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                        {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                        {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    for (int32_t c = 0; c < 0x110000; c++) {
        bool expected = false;
        for (size_t i = 0; i < COUNT(ranges); i++)
            expected = expected || (c >= ranges[i][0] && c <= ranges[i][1]);
        assert_int_equal(rb_char_is_cjk(c), expected);
    }
}

/* ---- time ---- */

static void test_hostile_texts_take_linear_time(void **state)
{
    (void)state;
    enum { BYTES = 2 << 20 };
    static const char *const units[] = {
        "a",
        "x",
        "[",
        "[MAS",
        "[MASK]",
        "\xCC\x81",
        "\xE3\x80\xAE\xF0\x9D\x85\xA5",
        "\xE4\xB8\xAD",
        "\xFF",
        ",",
        " ",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxz ",
        "\xEA\xB0\x81",
        "x\xCC\x81 "};
    /* the longer the tokens, the more prefixes of a word come into question */
    char vocab[sizeof rule_vocab + 200];
    snprintf(vocab, sizeof vocab, "%s%0100d\n", rule_vocab, 0);
    struct rb_tokenizer *t = make(vocab, LOWER | STRIP | CJK);
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (size_t u = 0; u < COUNT(units); u++) {
        size_t n = strlen(units[u]);
        for (size_t i = 0; i < BYTES; i++)
            text[i] = units[u][i % n];
        struct rb_ids ids = {0};
        double start = cpu_seconds();
        assert_int_equal(rb_tokenizer_encode(t, text, BYTES, &ids, NULL), RB_OK);
        double seconds = cpu_seconds() - start;
        /* far above what it takes, with sanitizers too; quadratic time would be hours */
        if (seconds > 30)
            fail_msg("\"%s\" repeated takes %.1f s", units[u], seconds);
        free(ids.ids);
    }
    free(text);
    rb_tokenizer_free(t);
}

/* ---- vocabularies from outside ---- */

static void test_vocabularies_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *vocab;
        size_t bytes;
        const char *words;
    } cases[] = {
        {TEXT(""), "empty"},
        {TEXT("[PAD]\n[UNK]\n[CLS]\n[SEP]\n"), "mask_token '[MASK]'"},
        {TEXT(SPECIALS "a\nb\na\n"), "line 8 repeats the token 'a' of line 6"},
        {TEXT(SPECIALS "\n\n"), "line 7 repeats the token '' of line 6"},
        {TEXT(SPECIALS "a\nb\xFF\n"), "line 7 is not UTF-8 at byte 2"},
        {TEXT(SPECIALS "a\0b\n"), "line 6 contains a NUL byte"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_wordpiece_options o;
        rb_wordpiece_options_default(&o);
        struct rb_tokenizer *t = NULL;
        struct rb_error err;
        assert_int_equal(rb_wordpiece_new("v.txt", cases[i].vocab, cases[i].bytes, &o, &t, &err),
                         RB_EVOCAB);
        assert_contains(err.detail, "v.txt");
        assert_contains(err.detail, cases[i].words);
        assert_null(t);
    }
}

static void test_vocabulary_line_limit(void **state)
{
    (void)state;
    for (size_t bytes = 1024; bytes <= 1025; bytes++) {
        char vocab[sizeof SPECIALS + 1100] = SPECIALS;
        memset(vocab + strlen(vocab), 'z', bytes);
        strcat(vocab, "\r\n"); /* the line end does not count */
        struct rb_wordpiece_options o;
        rb_wordpiece_options_default(&o);
        struct rb_tokenizer *t;
        struct rb_error err;
        enum rb_status status = rb_wordpiece_new("v", vocab, strlen(vocab), &o, &t, &err);
        assert_int_equal(status, bytes <= 1024 ? RB_OK : RB_EVOCAB);
        if (status == RB_OK) {
            assert_int_equal(strlen(rb_tokenizer_token(t, 5)), bytes);
            rb_tokenizer_free(t);
        } else {
            assert_contains(err.detail, "line 6 is longer than 1024 bytes");
        }
    }
}

/* As many tokens as it takes to be refused, all with one home slot in the table they make. */
static void test_colliding_tokens_are_refused(void **state)
{
    (void)state;
    enum { TOKENS = 700, SLOTS = 2048 };
    static char vocab[TOKENS * 12 + 1];
    size_t bytes = 0, found = 0;
    for (uint32_t n = 0; found < TOKENS; n++) {
        char token[12];
        size_t length = (size_t)snprintf(token, sizeof token, "%u", n);
        uint64_t spread = rb_vocabulary_spread(rb_vocabulary_hash(RB_HASH_START, token, length));
        if ((spread & (SLOTS - 1)) != 0)
            continue;
        bytes += (size_t)snprintf(vocab + bytes, sizeof vocab - bytes, "%s\n", token);
        found++;
    }
    struct rb_vocabulary v;
    struct rb_error err;
    assert_int_equal(rb_vocabulary_init(&v, "v", vocab, bytes, &err), RB_EVOCAB);
    assert_contains(err.detail, "built to share one hash");
}

static void test_every_token_is_found(void **state)
{
    (void)state;
    enum { TOKENS = 200000 };
    char *vocab = malloc((size_t)TOKENS * 8);
    assert_non_null(vocab);
    size_t bytes = 0;
    for (int i = 0; i < TOKENS; i++)
        bytes += (size_t)sprintf(vocab + bytes, "%d%s", i, i + 1 < TOKENS ? "\r\n" : "");
    struct rb_vocabulary v;
    assert_int_equal(rb_vocabulary_init(&v, "v", vocab, bytes, NULL), RB_OK);
    assert_int_equal(v.count, TOKENS);
    for (int i = 0; i < TOKENS; i++) {
        char token[16];
        int n = sprintf(token, "%d", i);
        assert_int_equal(rb_vocabulary_find(&v, token, (size_t)n), i);
    }
    assert_int_equal(rb_vocabulary_find(&v, "x", 1), -1);
    rb_vocabulary_deinit(&v);
    free(vocab);
}

static void test_equal(void **state)
{
    (void)state;
    struct rb_tokenizer *a = make(SPECIALS "a\nb\n", LOWER | STRIP | CJK);
    static const struct {
        const char *vocab;
        int switches;
        const char *words; /* NULL: equal */
    } cases[] = {
        {SPECIALS "a\nb\n", LOWER | STRIP | CJK, NULL},
        {SPECIALS "a\r\nb", LOWER | STRIP | CJK, NULL},
        {SPECIALS "a\nc\n", LOWER | STRIP | CJK, "line 7 on: 'b' in A, 'c' in B"},
        {SPECIALS "a\n", LOWER | STRIP | CJK, "line 7 on: 7 tokens in A, 6 in B"},
        {SPECIALS "a\nb\n", STRIP | CJK, "do_lower_case: true in A, false in B"},
        {SPECIALS "a\nb\n", LOWER | CJK, "strip_accents"},
        {SPECIALS "a\nb\n", LOWER | STRIP, "tokenize_chinese_chars"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rb_tokenizer *b = make(cases[i].vocab, cases[i].switches);
        struct rb_error err;
        enum rb_status status = rb_tokenizer_equal(a, b, &err);
        assert_int_equal(status, cases[i].words == NULL ? RB_OK : RB_EMODELS);
        if (status != RB_OK)
            assert_contains(err.detail, cases[i].words);
        rb_tokenizer_free(b);
    }
    struct rb_wordpiece_options o;
    rb_wordpiece_options_default(&o);
    o.mask_token = "a";
    struct rb_tokenizer *b;
    struct rb_error err;
    assert_int_equal(rb_wordpiece_new("b", TEXT(SPECIALS "a\nb\n"), &o, &b, NULL), RB_OK);
    assert_int_equal(rb_tokenizer_equal(a, b, &err), RB_EMODELS);
    assert_contains(err.detail, "mask_token: '[MASK]' in A, 'a' in B");
    rb_tokenizer_free(b);
    rb_tokenizer_free(a);
}

/* ---- a checkpoint's folder ---- */

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (text == NULL)
        return;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static void test_open(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        enum rb_status status;
        const char *expected; /* pieces of "AÉ 中中 <m>", or words of the error */
    } cases[] = {
        {NULL, RB_OK, "ae \xE4\xB8\xAD \xE4\xB8\xAD [UNK] m [UNK]"},
        {"{}", RB_OK, "ae \xE4\xB8\xAD \xE4\xB8\xAD [UNK] m [UNK]"},
        {"{\"do_lower_case\": false, \"model_max_length\": 1000000000000000019884624838656}", RB_OK,
         "A\xC3\x89 \xE4\xB8\xAD \xE4\xB8\xAD [UNK] m [UNK]"},
        {"{\"strip_accents\": false}", RB_OK, "a\xC3\xA9 \xE4\xB8\xAD \xE4\xB8\xAD [UNK] m [UNK]"},
        {"{\"strip_accents\": true, \"do_lower_case\": false}", RB_OK,
         "AE \xE4\xB8\xAD \xE4\xB8\xAD [UNK] m [UNK]"},
        {"{\"tokenize_chinese_chars\": false}", RB_OK, "ae [UNK] [UNK] m [UNK]"},
        {"{\"mask_token\": \"<m>\"}", RB_OK, "ae \xE4\xB8\xAD \xE4\xB8\xAD <m>"},
        {"{\"mask_token\": {\"content\": \"<m>\", \"lstrip\": false}}", RB_OK,
         "ae \xE4\xB8\xAD \xE4\xB8\xAD <m>"},
        {"{\"mask_token\": \"<x>\"}", RB_EVOCAB, "mask_token '<x>' is not in the vocabulary"},
        {"{\"mask_token\": \"\"}", RB_EVOCAB, "mask_token '' is not in the vocabulary"},
        {"{\"mask_token\": 3}", RB_EVOCAB, "mask_token must be a string or an object"},
        {"{\"mask_token\": {}}", RB_EVOCAB, "mask_token must be a string or an object"},
        {"{\"do_lower_case\": 1}", RB_EVOCAB, "do_lower_case must be true or false"},
        {"{\"do_lower_case\": null}", RB_EVOCAB, "do_lower_case must be true or false"},
        {"{\"strip_accents\": \"no\"}", RB_EVOCAB, "strip_accents must be true, false or null"},
        {"{\"tokenize_chinese_chars\": []}", RB_EVOCAB, "tokenize_chinese_chars must be"},
        {"[]", RB_EVOCAB, "not a JSON object"},
        {"{\"a\": 1,\n", RB_EVOCAB, "tokenizer_config.json: line "},
        {"{\"do_lower_case\": true, \"do_lower_case\": false}", RB_EVOCAB, "duplicate"},
    };
    char folder[] = "/tmp/rb-test-tokenizer-XXXXXX";
    assert_non_null(mkdtemp(folder));
    write_file(folder, "vocab.txt",
               SPECIALS "ae\nA\xC3\x89\na\xC3\xA9\nAE\n\xE4\xB8\xAD\nm\n<m>\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_file(folder, "tokenizer_config.json", cases[i].config);
        struct rb_tokenizer *t;
        struct rb_error err = {.detail = ""};
        enum rb_status status = rb_tokenizer_open(folder, &t, &err);
        if (status != cases[i].status)
            fail_msg("case %zu: %s: %s", i, rb_status_code(status), err.detail);
        if (status != RB_OK) {
            assert_contains(err.detail, folder);
            assert_contains(err.detail, cases[i].expected);
            continue;
        }
        char *found = pieces(t, TEXT("A\xC3\x89 \xE4\xB8\xAD\xE4\xB8\xAD <m>"));
        if (strcmp(found, cases[i].expected) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, found, cases[i].expected);
        free(found);
        rb_tokenizer_free(t);
    }
    write_file(folder, "tokenizer_config.json", NULL);
    write_file(folder, "vocab.txt", NULL);
    rmdir(folder);
}

static void test_open_refuses_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/rb-test-tokenizer-XXXXXX", vocab[64], config[80];
    assert_non_null(mkdtemp(folder));
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", folder);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", folder);
    struct rb_tokenizer *t;
    struct rb_error err;
    assert_int_equal(rb_tokenizer_open("/nonexistent", &t, &err), RB_ENOTFOUND);
    assert_int_equal(rb_tokenizer_open(folder, &t, &err), RB_ENOTFOUND);
    assert_contains(err.detail, vocab);

    assert_int_equal(mkfifo(vocab, 0600), 0); /* nobody ever writes: must not block */
    assert_int_equal(rb_tokenizer_open(folder, &t, &err), RB_EVOCAB);
    assert_contains(err.detail, "not a regular file");
    unlink(vocab);

    write_file(folder, "vocab.txt", SPECIALS);
    assert_int_equal(truncate(vocab, (64 << 20) + 1), 0);
    assert_int_equal(rb_tokenizer_open(folder, &t, &err), RB_EVOCAB);
    assert_contains(err.detail, "larger than 64 MB");

    write_file(folder, "tokenizer_config.json", "{}");
    assert_int_equal(truncate(config, (1 << 20) + 1), 0);
    assert_int_equal(rb_tokenizer_open(folder, &t, &err), RB_EVOCAB);
    assert_contains(err.detail, "tokenizer_config.json is larger than 1 MB");
    unlink(vocab);
    unlink(config);
    rmdir(folder);
}

/* ---- excerpts for messages ---- */

static void test_excerpts(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *text;
        size_t bytes;
        const char *expected;
    } cases[] = {
        {8, TEXT(""), ""},
        {8, TEXT("1234567"), "1234567"},
        {8, TEXT("12345678"), "1234\xE2\x80\xA6"},
        {8, TEXT("\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"), "\xC3\xA9\xC3\xA9\xE2\x80\xA6"},
        {8,
         TEXT("a\n\0\xFF"
              "b"),
         "a???b"},
        {8, TEXT("\xF0\x9F\x98\x80\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80\xE2\x80\xA6"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[64];
        memset(out, 'Z', sizeof out);
        assert_string_equal(rb_utf8_excerpt(out, cases[i].size, cases[i].text, cases[i].bytes),
                            cases[i].expected);
        assert_int_equal(out[cases[i].size], 'Z');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_longest_special_token_wins),
        cmocka_unit_test(test_words_of_100_characters),
        cmocka_unit_test(test_equals_the_reference_on_random_text),
        cmocka_unit_test(test_combining_marks_are_parts_of_words),
        cmocka_unit_test(test_chinese_ranges),
        cmocka_unit_test(test_hostile_texts_take_linear_time),
        cmocka_unit_test(test_vocabularies_that_are_refused),
        cmocka_unit_test(test_vocabulary_line_limit),
        cmocka_unit_test(test_colliding_tokens_are_refused),
        cmocka_unit_test(test_every_token_is_found),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_refuses_files),
        cmocka_unit_test(test_excerpts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
