/* make_model: a random BERT checkpoint on disk, a text for it, and what the engine reads in a text.
 *
 *    make_model model FOLDER SEED LAYERS HIDDEN HEADS INNER VOCABULARY POSITIONS
 *    make_model text  FILE   SEED LINES MEAN_TOKENS LONGEST VOCABULARY
 *    make_model lines FILE   MODEL TEXT LINES LONGEST
 *    make_model blocks FILE  MODEL TEXT BLOCKS SIZE SEED
 *
 * The last two write a sequence of ids a line, "id:target" where the MLM task predicts, so that
 * another program can be given exactly what the engine computes on. */
#include "core/text/packing.h"
#include "core/text/tokenizer_open.h"
#include "tests/bench/synth.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void *map_text(const char *path, size_t *ret_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(1);
    }
    *ret_bytes = (size_t)st.st_size;
    void *data = mmap(NULL, *ret_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (data == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return data;
}

static enum rb_status make_ids(char **a, struct rb_error *err)
{
    bool blocks = strcmp(a[1], "blocks") == 0;
    struct rb_dataset_view view = {.label = a[4], .format = RB_TEXT};
    struct rb_tokenizer *t;
    struct rb_sequences q;
    view.data = map_text(a[4], &view.bytes);
    enum rb_status s = rb_tokenizer_open(a[3], &t, err);
    if (s != RB_OK)
        return s;
    s = blocks ? rb_sequences_mlm(t, &view, number(a[6]), number(a[5]), 0.15, number(a[7]), &q, err)
               : rb_sequences_from_rows(t, &view, number(a[5]), number(a[6]), &q, err);
    rb_tokenizer_free(t);
    if (s != RB_OK)
        return s;
    s = synth_sequences_write(&q, a[2], err);
    rb_sequences_deinit(&q);
    return s;
}

static const struct {
    const char *name;
    int arguments;
    enum rb_status (*make)(char **a, struct rb_error *err);
} commands[] = {
    {"model", 10, make_model},
    {"text", 8, make_text},
    {"lines", 7, make_ids},
    {"blocks", 8, make_ids},
};

int main(int argc, char **argv)
{
    struct rb_error err = {0};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (argc != commands[i].arguments || strcmp(argv[1], commands[i].name) != 0)
            continue;
        enum rb_status s = commands[i].make(argv, &err);
        if (s != RB_OK)
            (void)fprintf(stderr, "make_model: %s\n", err.detail);
        return s == RB_OK ? 0 : 1;
    }
    (void)fprintf(stderr,
                  "usage: make_model model FOLDER SEED LAYERS HIDDEN HEADS INNER VOCABULARY "
                  "POSITIONS\n"
                  "       make_model text FILE SEED LINES MEAN_TOKENS LONGEST VOCABULARY\n"
                  "       make_model lines FILE MODEL TEXT LINES LONGEST\n"
                  "       make_model blocks FILE MODEL TEXT BLOCKS SIZE SEED\n");
    return 2;
}
