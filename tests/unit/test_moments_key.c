// LINK: server_work
/* Two runs share their moments only if all is the same that moments depend on: a pair of runs per
 * field of the key, and none for what they do not depend on. */
#include "server/work/moments_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

static void set_up(struct rb_run *run)
{
    static char text[] = "text";
    *run = (struct rb_run){0};
    static const struct rb_job_input inputs[] = {
        {.role = "model_a", .name = "a", .sha256 = "aa"},
        {.role = "model_b", .name = "b", .sha256 = "bb"},
        {.role = "align_dataset", .name = "d", .sha256 = "dd"},
        {.role = "evaluate_dataset", .name = "e", .sha256 = "ee"},
    };
    memcpy(run->row.job.inputs, inputs, sizeof inputs);
    run->row.job.input_count = 4;
    run->places.align.format = RB_JSONL;
    run->places.align.text = text;
    rb_align_options_default(&run->spec.align.options);
    run->spec.align.max_sequences = 1000;
    run->spec.align.max_length = 128;
}

static void digest(struct rb_run *run, size_t input)
{
    strcpy(run->row.job.inputs[input].sha256, "cc");
}

static void model_a(struct rb_run *r)
{
    digest(r, 0);
}
static void model_b(struct rb_run *r)
{
    digest(r, 1);
}
static void dataset(struct rb_run *r)
{
    digest(r, 2);
}
static void format(struct rb_run *r)
{
    r->places.align.format = RB_TSV;
}
static void text(struct rb_run *r)
{
    static char other[] = "other";
    r->places.align.text = other;
}
static void text_pair(struct rb_run *r)
{
    static char pair[] = "pair";
    r->places.align.text_pair = pair;
}
/* The same letters, cut elsewhere. */
static void text_and_pair(struct rb_run *r)
{
    static char first[] = "te", second[] = "xt";
    r->places.align.text = first;
    r->places.align.text_pair = second;
}
static void swapped(struct rb_run *r)
{
    strcpy(r->row.job.inputs[0].sha256, "bb");
    strcpy(r->row.job.inputs[1].sha256, "aa");
}
static void max_sequences(struct rb_run *r)
{
    r->spec.align.max_sequences = 999;
}
static void max_length(struct rb_run *r)
{
    r->spec.align.max_length = 127;
}
static void pooling(struct rb_run *r)
{
    r->spec.align.options.pooling = RB_POOL_MEAN;
}
static void special(struct rb_run *r)
{
    r->spec.align.options.special_tokens = false;
}
static void taps(struct rb_run *r)
{
    r->spec.align.options.components = RB_COMPONENT_FF;
}
static void folded(struct rb_run *r)
{
    r->spec.align.options.fold = true;
}

static void name(struct rb_run *r)
{
    strcpy(r->row.job.inputs[0].name, "other");
}
static void evaluated(struct rb_run *r)
{
    digest(r, 3);
}
static void similarity(struct rb_run *r)
{
    r->spec.align.options.similarity = RB_COVARIANCE;
}
static void heads(struct rb_run *r)
{
    r->spec.align.options.heads = RB_HEADS_MONOTONIC;
}

static void test_every_field(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        void (*change)(struct rb_run *run);
        bool matters;
    } rows[] = {
        {"model a", model_a, true},
        {"model b", model_b, true},
        {"models swapped", swapped, true},
        {"dataset", dataset, true},
        {"format", format, true},
        {"text", text, true},
        {"text_pair", text_pair, true},
        {"text and text_pair", text_and_pair, true},
        {"max_sequences", max_sequences, true},
        {"max_length", max_length, true},
        {"pooling", pooling, true},
        {"special_tokens", special, true},
        {"taps", taps, true},
        {"fold", folded, true},
        {"a model's name", name, false},
        {"the evaluated text", evaluated, false},
        {"similarity", similarity, false},
        {"heads", heads, false},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    char keys[ROWS + 1][RB_SHA256_HEX];
    struct rb_run run;
    set_up(&run);
    rb_moments_key(&run, keys[ROWS]);
    for (size_t i = 0; i < ROWS; i++) {
        set_up(&run);
        rows[i].change(&run);
        rb_moments_key(&run, keys[i]);
        if ((strcmp(keys[i], keys[ROWS]) != 0) != rows[i].matters)
            fail_msg("%s: the key is %s", rows[i].what, rows[i].matters ? "the same" : "another");
        for (size_t k = 0; k < i; k++)
            if (rows[i].matters && rows[k].matters && strcmp(keys[i], keys[k]) == 0)
                fail_msg("%s and %s have the same key", rows[i].what, rows[k].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_field)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
