/* bench_core: core's phases against the machine's own matrix product rate, and where their time
 * goes.
 *
 *    bench_core [options] ROW...
 *
 * Rows: kernel machine shapes collect evaluate align job assign learn. Each prints lines "row
 * key=value
 * ...". Options:
 *    --models FOLDER   work in FOLDER (models a and b are made there if missing); else a new
 *                      folder under $TMPDIR, removed at the end
 *    --shape NAME      of models to be made: base (default), large, or
 *                      layers,hidden,heads,inner,vocabulary,positions
 *    --threads LIST    e.g. 1,2 (default): each row runs once per number
 *    --lines N --mean M --longest N     sequences of the alignment set (256, 40, 128)
 *    --blocks N --block-size N          MLM blocks (256, 128)
 *    --points N        lambdas of a job's curves (3)
 *    --tokens N --steps N               of row learn, beyond two steps (1024, 6)
 *    --size N --matrix FILE             of row assign (3072; FILE: raw F32, instead of made ones)
 *    --repeat N        rounds over all rows; machine is measured anew in each (1)
 *    --profile         where the CPU time went
 *    --dump FOLDER     write the matrices of row assign there: noise.f32, factors.f32
 *
 * OpenBLAS runs the kernel that the daemon would run here, proven as there (a set OPENBLAS_CORETYPE
 * stays).
 *
 * Rates: "wall" divides by elapsed time, "cpu" by the CPU time of the threads inside items: the
 * first is what a user sees, the second what the code does when others use the machine too. */
#include "server/base/blas_kernel.h"
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void openblas_set_num_threads(int n);

void must(enum rb_status s, const struct rb_error *err)
{
    if (s == RB_OK)
        return;
    (void)fprintf(stderr, "bench_core: %s\n", err->detail);
    exit(1);
}

/* ---- models ---- */

void bench_models(struct bench *b)
{
    struct rb_error err = {0};
    if (b->opened)
        return;
    for (int i = 0; i < 2; i++) {
        char path[4096], file[4200];
        (void)snprintf(path, sizeof path, "%s/%c", b->folder, "ab"[i]);
        (void)snprintf(file, sizeof file, "%s/vocab.txt", path); /* written last */
        if (access(file, R_OK) != 0) {
            (void)mkdir(path, 0777);
            must(synth_model_write(path, &b->shape, (uint64_t)i + 1, &err), &err);
        }
        must(rb_model_open(path, &b->model[i], &err), &err);
    }
    const struct rb_config *c = &b->model[0].config;
    b->shape =
        (struct synth_shape){c->num_hidden_layers, c->hidden_size, c->attention.heads,
                             c->mlp.inner_size,    c->vocab_size,  c->max_position_embeddings};
    b->opened = true;
}

static void remove_models(struct bench *b)
{
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt"};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        if (b->opened)
            rb_model_deinit(&b->model[i]);
        for (size_t f = 0; b->temporary && f < sizeof files / sizeof files[0]; f++) {
            (void)snprintf(path, sizeof path, "%s/%c/%s", b->folder, "ab"[i], files[f]);
            (void)unlink(path);
        }
        (void)snprintf(path, sizeof path, "%s/%c", b->folder, "ab"[i]);
        if (b->temporary)
            (void)rmdir(path);
    }
    if (b->temporary)
        (void)rmdir(b->folder);
}

/* ---- inputs ---- */

void bench_lines(struct bench *b, struct rb_sequences *ret)
{
    struct rb_error err = {0};
    must(synth_lines(&b->shape, b->lines, b->mean, b->longest, 7, ret, &err), &err);
}

void bench_blocks(struct bench *b, struct rb_sequences *ret)
{
    struct rb_error err = {0};
    must(synth_blocks(&b->shape, b->blocks, b->block_size, 8, ret, &err), &err);
}

/* ---- the command ---- */

struct row {
    const char *name;
    void (*run)(struct bench *b, unsigned threads);
};

static const struct row rows[] = {
    {"kernel", row_kernel},   {"machine", row_machine},   {"shapes", row_shapes},
    {"collect", row_collect}, {"evaluate", row_evaluate}, {"align", row_align},
    {"job", row_job},         {"assign", row_assign},     {"learn", row_learn},
};

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    (void)fprintf(stderr, "bench_core: no row '%s'\n", name);
    exit(2);
}

static struct synth_shape parse_shape(const char *text)
{
    struct synth_shape s;
    if (strcmp(text, "base") == 0)
        return synth_base;
    if (strcmp(text, "large") == 0)
        return synth_large;
    if (sscanf(text, "%u,%u,%u,%u,%u,%u", &s.layers, &s.hidden, &s.heads, &s.inner, &s.vocab,
               &s.positions) != 6) {
        (void)fprintf(stderr, "bench_core: no shape '%s'\n", text);
        exit(2);
    }
    return s;
}

static void parse_threads(struct bench *b, char *text)
{
    b->thread_count = 0;
    for (char *t = strtok(text, ","); t != NULL && b->thread_count < 8; t = strtok(NULL, ","))
        b->threads[b->thread_count++] = (unsigned)strtoul(t, NULL, 10);
}

/* Returns how many arguments it took. */
static int parse_option(struct bench *b, char **a)
{
    const char *name = a[0], *value = a[1] != NULL ? a[1] : "";
    struct {
        const char *name;
        size_t *to;
    } sizes[] = {{"--lines", &b->lines},   {"--longest", &b->longest},
                 {"--blocks", &b->blocks}, {"--block-size", &b->block_size},
                 {"--points", &b->points}, {"--size", &b->size},
                 {"--tokens", &b->tokens}, {"--steps", &b->steps}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (strcmp(name, sizes[i].name) == 0) {
            *sizes[i].to = strtoul(value, NULL, 10);
            return 2;
        }
    if (strcmp(name, "--profile") == 0) {
        b->profile = true;
        return 1;
    }
    if (strcmp(name, "--models") == 0) {
        (void)snprintf(b->folder, sizeof b->folder, "%s", value);
        b->temporary = false;
    } else if (strcmp(name, "--shape") == 0) {
        b->shape = parse_shape(value);
    } else if (strcmp(name, "--threads") == 0) {
        parse_threads(b, a[1]);
    } else if (strcmp(name, "--mean") == 0) {
        b->mean = strtod(value, NULL);
    } else if (strcmp(name, "--repeat") == 0) {
        b->repeat = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(name, "--dump") == 0) {
        b->dump = value;
    } else if (strcmp(name, "--matrix") == 0) {
        b->matrix = value;
    } else {
        (void)fprintf(stderr, "bench_core: no option '%s'\n", name);
        exit(2);
    }
    return 2;
}

static void make_folder(struct bench *b)
{
    const char *base = getenv("TMPDIR");
    if (!b->temporary) {
        (void)mkdir(b->folder, 0777);
        return;
    }
    (void)snprintf(b->folder, sizeof b->folder, "%s/rb-bench-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(b->folder) == NULL) {
        perror(b->folder);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct bench b = {.temporary = true,
                             .threads = {1, 2},
                             .thread_count = 2,
                             .lines = 256,
                             .mean = 40,
                             .longest = 128,
                             .blocks = 256,
                             .block_size = 128,
                             .points = 3,
                             .size = 3072,
                             .tokens = 1024,
                             .steps = 6,
                             .repeat = 1};
    struct rb_error err = {0};
    int i = 1;
    rb_kernel_begin(argv);
    must(rb_kernel_settle_cached(&err), &err);
    b.shape = synth_base;
    while (i < argc && argv[i][0] == '-')
        i += parse_option(&b, argv + i);
    for (int r = i; r < argc; r++)
        (void)find_row(argv[r]);
    openblas_set_num_threads(1);
    make_folder(&b);
    for (unsigned n = 0; n < b.repeat; n++)
        for (int r = i; r < argc; r++)
            for (size_t t = 0; t < b.thread_count; t++)
                find_row(argv[r])->run(&b, b.threads[t]);
    remove_models(&b);
    return 0;
}
