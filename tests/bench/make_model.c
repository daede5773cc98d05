/* make_model: a random BERT checkpoint, or a text for it, on disk.
 *
 *    make_model model FOLDER SEED LAYERS HIDDEN HEADS INNER VOCABULARY POSITIONS
 *    make_model text  FILE   SEED LINES MEAN_TOKENS LONGEST VOCABULARY
 */
#include "tests/bench/synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static enum rb_status make_model(char **a, struct rb_error *err)
{
    const struct synth_shape s = {number(a[4]), number(a[5]), number(a[6]),
                                  number(a[7]), number(a[8]), number(a[9])};
    (void)mkdir(a[2], 0777);
    return synth_model_write(a[2], &s, number(a[3]), err);
}

static enum rb_status make_text(char **a, struct rb_error *err)
{
    const struct synth_shape s = {.vocab = number(a[7])};
    struct rb_sequences q;
    enum rb_status st =
        synth_lines(&s, number(a[4]), strtod(a[5], NULL), number(a[6]), number(a[3]), &q, err);
    if (st != RB_OK)
        return st;
    st = synth_text_write(&q, a[2], err);
    rb_sequences_deinit(&q);
    return st;
}

int main(int argc, char **argv)
{
    struct rb_error err = {0};
    enum rb_status s = RB_EUSAGE;
    if (argc == 10 && strcmp(argv[1], "model") == 0)
        s = make_model(argv, &err);
    else if (argc == 8 && strcmp(argv[1], "text") == 0)
        s = make_text(argv, &err);
    else
        (void)fprintf(stderr, "usage: make_model model FOLDER SEED LAYERS HIDDEN HEADS INNER "
                              "VOCABULARY POSITIONS\n"
                              "       make_model text FILE SEED LINES MEAN_TOKENS LONGEST "
                              "VOCABULARY\n");
    if (s != RB_OK && s != RB_EUSAGE)
        (void)fprintf(stderr, "make_model: %s\n", err.detail);
    return s == RB_OK ? 0 : 1;
}
