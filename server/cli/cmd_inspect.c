/* What a folder holds, as the daemon would see it on registering: the same look (examine.h), with
 * what an operator wants to know beside it: the files that are not read, checksums, ties. */
#include "server/cli/commands.h"

#include "core/json.h"
#include "core/tensor/checkpoint.h"
#include "core/text/tokenizer.h"
#include "server/cli/signals.h"
#include "server/work/examine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char rb_cmd_inspect_help[] = "Usage: rebasind inspect PATH [--json]\n"
                                   "\n"
                                   "Says what the folder PATH holds, as the daemon sees it: "
                                   "family, sizes, head, dtype, tokenizer,\n"
                                   "the files that are read and those that are not, and what is "
                                   "wrong with it. A pytorch_model.bin\n"
                                   "is read, never run, and held against its own checksums.\n"
                                   "\n"
                                   "Exit status 0 if the daemon would register it, 2 if it would "
                                   "refuse, 1 if that cannot be told.\n"
                                   "\n"
                                   "Example:\n"
                                   "  rebasind inspect /srv/checkpoints/bert-a\n";

struct name_list {
    char **names;
    size_t count;
};

struct report {
    const char *path;
    char **read; /* the checkpoint's files, NULL-terminated; NULL if they could not be listed */
    struct name_list ignored;
    struct rb_model_resource model;
    struct rb_model_facts facts;
};

static void report_deinit(struct report *r)
{
    rb_checkpoint_files_free(r->read);
    for (size_t i = 0; i < r->ignored.count; i++)
        free(r->ignored.names[i]);
    free(r->ignored.names);
    rb_model_resource_deinit(&r->model);
}

/* ---- finding out ---- */

static enum rb_status no_memory(const struct report *r, struct rb_error *err)
{
    return rb_error_set(err, RB_ENOMEM, "%s: no memory to describe it", r->path);
}

static bool is_read(const struct report *r, const char *name)
{
    for (size_t i = 0; r->read != NULL && r->read[i] != NULL; i++)
        if (strcmp(r->read[i], name) == 0)
            return true;
    return false;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum rb_status list_ignored(struct report *r, struct rb_error *err)
{
    struct name_list *l = &r->ignored;
    DIR *dir = opendir(r->path);
    if (dir == NULL)
        return rb_error_errno(err, errno, r->path);
    enum rb_status s = RB_OK;
    struct dirent *entry;
    while (s == RB_OK && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || is_read(r, entry->d_name))
            continue;
        char **grown = realloc(l->names, (l->count + 1) * sizeof *grown);
        char *name = strdup(entry->d_name);
        l->names = grown != NULL ? grown : l->names;
        if (grown != NULL && name != NULL)
            l->names[l->count++] = name;
        else
            s = no_memory(r, err);
        if (s != RB_OK)
            free(name);
    }
    closedir(dir);
    if (l->count > 1)
        qsort(l->names, l->count, sizeof *l->names, by_string);
    return s;
}

/* A problem beside those that examining has found; at most one per file of weights. */
static enum rb_status add_problem(struct report *r, const struct rb_error *problem,
                                  struct rb_error *err)
{
    struct rb_model_resource *m = &r->model;
    struct rb_model_problem *grown =
        realloc(m->problems, (m->problem_count + 1) * sizeof *m->problems);
    if (grown == NULL)
        return no_memory(r, err);
    m->problems = grown;
    grown[m->problem_count] = (struct rb_model_problem){.status = problem->status};
    (void)snprintf(grown[m->problem_count++].detail, sizeof grown->detail, "%s", problem->detail);
    m->status = RB_MODEL_INVALID;
    return RB_OK;
}

/* Is it one of the problems, with or without the folder before it? */
static bool is_told(const struct report *r, const struct rb_error *problem)
{
    for (size_t i = 0; i < r->model.problem_count; i++)
        if (strstr(problem->detail, r->model.problems[i].detail) != NULL)
            return true;
    return false;
}

/* As the daemon does while it hashes. */
static enum rb_status check_file(struct report *r, const char *name, struct rb_error *err)
{
    const struct rb_container_format *format = rb_container_format_of(name);
    struct rb_error problem;
    char *path = NULL;
    if (format == NULL || format->check == NULL)
        return RB_OK;
    if (asprintf(&path, "%s/%s", r->path, name) < 0)
        return no_memory(r, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    free(path);
    enum rb_status s = fd >= 0 ? format->check(fd, name, NULL, NULL, &problem)
                               : rb_error_errno(&problem, errno, name);
    if (fd >= 0)
        close(fd);
    return s == RB_OK ? RB_OK : add_problem(r, &problem, err);
}

static enum rb_status look(struct report *r, struct rb_error *err)
{
    struct stat st;
    char *real = NULL;
    if (stat(r->path, &st) != 0)
        return rb_error_errno(err, errno, r->path);
    if (!S_ISDIR(st.st_mode))
        return rb_error_set(err, RB_ENOTFOUND, "%s: expected a folder", r->path);
    struct rb_error unlisted = {.status = RB_OK};
    if (rb_checkpoint_files(r->path, rb_tokenizer_files, &r->read, &unlisted) != RB_OK)
        r->read = NULL;
    enum rb_status s = list_ignored(r, err);
    if (s == RB_OK)
        s = rb_model_examine(r->path, &r->model, &r->facts, err);
    if (s == RB_OK && r->read == NULL && !is_told(r, &unlisted))
        s = add_problem(r, &unlisted, err); /* what registering would say */
    bool sound = s == RB_OK && r->read != NULL && r->model.problem_count == 0;
    for (size_t i = 0; sound && s == RB_OK && r->read[i] != NULL; i++)
        s = check_file(r, r->read[i], err);
    real = realpath(r->path, NULL);
    rb_model_source(true, real != NULL ? real : r->path, r->model.source);
    free(real);
    return s;
}

/* ---- telling ---- */

static void print_row(FILE *out, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void print_row(FILE *out, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(out, "  %-15s ", key);
    (void)vfprintf(out, format, args);
    fputc('\n', out);
    va_end(args);
}

static void print_sizes(const struct rb_model_resource *m, FILE *out)
{
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"layers", m->num_layers},     {"hidden size", m->hidden_size},
        {"heads", m->num_heads},       {"intermediate", m->intermediate_size},
        {"vocabulary", m->vocab_size}, {"positions", m->max_position_embeddings},
        {"parameters", m->parameters},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].value > 0)
            print_row(out, rows[i].key, "%" PRIu64, rows[i].value);
}

static void print_names(FILE *out, const char *key, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_row(out, i == 0 ? key : "", "%s", names[i]);
}

static size_t read_count(const struct report *r)
{
    size_t n = 0;
    while (r->read != NULL && r->read[n] != NULL)
        n++;
    return n;
}

static void print_text(const struct report *r, FILE *out)
{
    const struct rb_model_resource *m = &r->model;
    const struct rb_model_facts *f = &r->facts;
    fprintf(out, "%s\n", r->path);
    print_row(out, "usable", "%s", m->problem_count == 0 ? "yes" : "no");
    for (size_t i = 0; i < m->problem_count; i++)
        print_row(out, "problem", "%s", m->problems[i].detail);
    if (m->note[0] != '\0')
        print_row(out, "note", "%s", m->note);
    if (m->architecture[0] != '\0')
        print_row(out, "architecture", "%s", m->architecture);
    print_sizes(m, out);
    if (f->model_type != NULL) {
        print_row(out, "family", "%s", f->model_type);
        print_row(out, "head", "%s", f->head);
        if (f->has_decoder)
            print_row(out, "decoder", "%s", f->tied ? "the word embeddings (tied)" : "its own");
        print_row(out, "weights", "%zu tensors in %zu file%s, mostly %s", f->tensors, f->files,
                  f->files == 1 ? "" : "s", m->dtype);
    }
    if (m->tokenizer_kind[0] != '\0')
        print_row(out, "tokenizer", "%s, %u tokens", m->tokenizer_kind, m->tokenizer_size);
    print_row(out, "source", "%s", m->source);
    print_names(out, "read", r->read, read_count(r));
    print_names(out, "not read", r->ignored.names, r->ignored.count);
}

static void encode_names(struct rb_json *w, const char *key, char *const *names, size_t count)
{
    rb_json_array(w, key);
    for (size_t i = 0; names != NULL && i < count; i++)
        rb_json_string(w, NULL, names[i]);
    rb_json_end(w);
}

static void encode_facts(struct rb_json *w, const struct rb_model_facts *f,
                         const struct rb_model_resource *m)
{
    rb_json_text_or_null(w, "family", f->model_type != NULL ? f->model_type : "");
    rb_json_text_or_null(w, "head", f->head != NULL ? f->head : "");
    if (f->has_decoder)
        rb_json_bool(w, "tied_decoder", f->tied);
    else
        rb_json_null(w, "tied_decoder");
    rb_json_uint(w, "tensors", f->tensors);
    rb_json_uint(w, "weight_files", f->files);
    rb_json_text_or_null(w, "tokenizer", m->tokenizer_kind);
    rb_json_uint(w, "tokenizer_tokens", m->tokenizer_size);
}

static enum rb_status print_json(const struct report *r, FILE *out, struct rb_error *err)
{
    struct rb_json w;
    char *text;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_string(&w, "path", r->path);
    rb_json_bool(&w, "usable", r->model.problem_count == 0);
    encode_facts(&w, &r->facts, &r->model);
    encode_names(&w, "read", r->read, read_count(r));
    encode_names(&w, "not_read", r->ignored.names, r->ignored.count);
    rb_model_encode(&w, "model", &r->model);
    rb_json_end(&w);
    enum rb_status s = rb_json_finish(&w, &text, NULL, err);
    if (s != RB_OK)
        return s;
    fprintf(out, "%s\n", text);
    free(text);
    return RB_OK;
}

static const char *path_of(int argc, char *const argv[], bool *ret_json)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        bool json = strcmp(argv[i], "--json") == 0;
        if (!json && (argv[i][0] == '-' || argv[i][0] == '\0' || path != NULL))
            return NULL;
        *ret_json = *ret_json || json;
        path = json ? path : argv[i];
    }
    return path;
}

int rb_cmd_inspect(int argc, char *const argv[], FILE *out)
{
    bool json = false;
    struct rb_error err;
    struct report r = {.path = path_of(argc, argv, &json)};
    if (r.path == NULL) {
        fprintf(stderr,
                "rebasind: inspect takes a folder and --json or nothing; see `rebasind inspect "
                "--help`\n");
        return 2;
    }
    rb_json_prepare();
    rb_signals_set();
    enum rb_status s = look(&r, &err);
    bool usable = r.model.problem_count == 0;
    if (s == RB_OK && json)
        s = print_json(&r, out, &err);
    else if (s == RB_OK)
        print_text(&r, out);
    report_deinit(&r);
    if (s != RB_OK) {
        fprintf(stderr, "rebasind: %s\n", err.detail);
        return s == RB_ENOTFOUND ? 2 : 1;
    }
    if (fflush(out) != 0)
        return 1;
    return usable ? 0 : 2;
}
