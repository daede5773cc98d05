#include "server/cli/run_spec.h"
#include "api/body.h"
#include "api/hf_name.h"
#include "api/spec_path.h"
#include "server/work/hf_cache.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPEC_BYTES_MAX = 1024 * 1024 };

/* ---- the file ---- */

static enum rb_status read_text(const char *file, char *text, size_t *ret_bytes,
                                struct rb_error *err)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    if (in == NULL)
        return rb_error_errno(err, errno, file);
    *ret_bytes = fread(text, 1, SPEC_BYTES_MAX + 1, in);
    enum rb_status status = ferror(in) ? rb_error_errno(err, errno, file) : RB_OK;
    if (in != stdin)
        fclose(in);
    return status;
}

static enum rb_status parse(const char *file, json_t **ret, struct rb_error *err)
{
    size_t bytes = 0;
    char *text = malloc(SPEC_BYTES_MAX + 1);
    if (text == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory to read %s", file);
    enum rb_status status = read_text(file, text, &bytes, err);
    if (status == RB_OK) {
        status = rb_body_parse(text, bytes, SPEC_BYTES_MAX, ret, err);
        if (status != RB_OK)
            status = rb_error_prefix(err, "%s: ", file);
    }
    free(text);
    return status;
}

/* "align.heads=monotonic", "evaluate.max_blocks=16", "align.components=[\"ff\"]". */
static enum rb_status set_one(json_t *spec, const char *set, struct rb_error *err)
{
    char path[RB_SPEC_PATH_MAX + 2];
    const char *equals = strchr(set, '=');
    (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(set, "="), set);
    if (equals == NULL || !rb_spec_path_valid(path))
        return rb_error_set(err, RB_EUSAGE,
                            "--set: expected a member of the spec and its value, as in "
                            "align.heads=monotonic, found \"%.80s\"",
                            set);
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (value == NULL)
        value = json_string(equals + 1);
    bool done = value != NULL && rb_spec_path_set(spec, path, value);
    json_decref(value);
    return done ? RB_OK
                : rb_error_set(err, RB_EUSAGE,
                               "--set %.80s: what leads there in the spec is no object, or the "
                               "value is no text",
                               set);
}

/* ---- paths ---- */

static char *beside(const char *file, const char *path)
{
    char *joined = NULL;
    const char *slash = strrchr(file, '/');
    int folder = slash != NULL ? (int)(slash - file) : 0;
    if (slash == NULL)
        return strdup(path);
    return asprintf(&joined, "%.*s/%s", folder, file, path) < 0 ? NULL : joined;
}

static enum rb_status find_path(const char *file, const char *path, const char *pointer, char **ret,
                                struct rb_error *err)
{
    char *first = path[0] == '/' ? strdup(path) : beside(file, path);
    char *second = strdup(path), **found = NULL;
    enum rb_status status = RB_OK;
    if (first == NULL || second == NULL)
        status = rb_error_set(err, RB_ENOMEM, "no memory to find %s", path);
    else if (access(first, F_OK) == 0)
        found = &first;
    else if (access(second, F_OK) == 0)
        found = &second;
    else if (strcmp(first, second) == 0)
        status = rb_error_at(err, RB_ENOTFOUND, pointer, "%s: no such file or folder", first);
    else
        status = rb_error_at(err, RB_ENOTFOUND, pointer,
                             "%s: no such file or folder, neither %s nor in the working directory",
                             path, first);
    if (status == RB_OK) {
        *ret = *found;
        *found = NULL;
    }
    free(first);
    free(second);
    return status;
}

/* ---- the Hugging Face cache ---- */

static const char HF[] = "hf:";

static bool names_hf(const char *path)
{
    return strncmp(path, HF, sizeof HF - 1) == 0;
}

/* Where huggingface_hub keeps it, by its own variables; *ret NULL: nowhere. New, free(). */
static enum rb_status default_cache(char **ret, struct rb_error *err)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    *ret = NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *base = getenv(places[i].variable);
        if (base == NULL || base[0] == '\0')
            continue;
        if (asprintf(ret, "%s%s", base, places[i].below) < 0) {
            *ret = NULL;
            return rb_error_set(err, RB_ENOMEM, "no memory to find the Hugging Face cache");
        }
        break;
    }
    return RB_OK;
}

/* "hf:org/name[@revision]" below the roots, or in the user's own cache if there are none. */
static enum rb_status find_hf(const struct rb_strings *roots, const char *path, const char *pointer,
                              char **ret, struct rb_error *err)
{
    struct rb_hf_name name;
    char *own = NULL;
    if (!rb_hf_name_parse(path + sizeof HF - 1, &name))
        return rb_error_at(err, RB_EINPUT, pointer, "%s: expected hf: and then %s", path,
                           RB_HF_NAME_RULE);
    enum rb_status status = roots->count > 0 ? RB_OK : default_cache(&own, err);
    const struct rb_strings cache = {.items = &own, .count = own != NULL ? 1 : 0};
    if (status == RB_OK)
        status = rb_hf_cache_find(roots->count > 0 ? roots : &cache, &name, ret, err);
    if (status != RB_OK)
        (void)snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    free(own);
    return status;
}

/* ---- names ---- */

/* The last part of the path, in what a name may hold. */
static void name_from(const char *path, char name[RB_NAME_SIZE])
{
    size_t end = strlen(path), n = 0;
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t from = end;
    while (from > 0 && path[from - 1] != '/')
        from--;
    for (size_t i = from; i < end && n < RB_NAME_MAX - 4; i++) {
        char c = (char)tolower((unsigned char)path[i]);
        bool first = isascii(c) && isalnum((unsigned char)c);
        if (first || (n > 0 && (c == '.' || c == '_' || c == '-')))
            name[n++] = c;
        else if (n > 0)
            name[n++] = '-';
    }
    name[n] = '\0';
    if (n == 0)
        (void)snprintf(name, RB_NAME_SIZE, "input");
}

/* Where a spec's paths are looked for. */
struct place {
    const char *file;               /* the spec's */
    const struct rb_strings *roots; /* caches of "hf:" */
};

static bool taken(const struct rb_run_spec *s, const struct rb_run_input *in)
{
    for (size_t i = 0; i < s->input_count; i++)
        if (s->inputs[i].is_model == in->is_model && strcmp(s->inputs[i].name, in->name) == 0)
            return true;
    return false;
}

static enum rb_status add_input(struct rb_run_spec *s, const struct place *place, const char *path,
                                const struct rb_dataset_ref *dataset, const char *pointer,
                                char **ret_name, struct rb_error *err)
{
    struct rb_run_input *in = &s->inputs[s->input_count];
    *in = (struct rb_run_input){.is_model = dataset == NULL, .pointer = pointer};
    bool hf = in->is_model && names_hf(path);
    char *found = NULL;
    enum rb_status status = hf ? find_hf(place->roots, path, pointer, &found, err)
                               : find_path(place->file, path, pointer, &found, err);
    if (status != RB_OK)
        return status;
    if (dataset != NULL)
        in->dataset = *dataset;
    name_from(hf ? path + sizeof HF - 1 : found,
              in->name); /* a snapshot's folder is called by its commit */
    size_t length = strlen(in->name);
    for (unsigned k = 2; taken(s, in); k++)
        (void)snprintf(in->name + length, sizeof in->name - length, "-%u", k);
    in->path = found;
    s->input_count++;
    free(*ret_name);
    *ret_name = strdup(in->name);
    return *ret_name != NULL ? RB_OK : rb_error_set(err, RB_ENOMEM, "no memory to name %s", path);
}

static enum rb_status name_inputs(struct rb_run_spec *s, const struct place *place,
                                  struct rb_error *err)
{
    struct rb_job_spec *given = &s->as_given, *job = &s->job;
    enum rb_status status =
        add_input(s, place, given->model_a, NULL, given->anchored ? "/models/anchor" : "/models/a",
                  &job->model_a, err);
    if (status == RB_OK)
        status = add_input(s, place, given->model_b, NULL,
                           given->anchored ? "/models/others/0" : "/models/b", &job->model_b, err);
    for (size_t i = 0; i < given->more_count && status == RB_OK; i++)
        status = add_input(s, place, given->more[i], NULL, "/models/others", &job->more[i], err);
    if (status == RB_OK && given->align.options.components != 0)
        status = add_input(s, place, given->align.dataset.name, &given->align.dataset,
                           "/align/dataset", &job->align.dataset.name, err);
    if (status == RB_OK && given->align.has_learn && given->align.learn.dataset.name != NULL)
        status = add_input(s, place, given->align.learn.dataset.name, &given->align.learn.dataset,
                           "/align/learn/dataset", &job->align.learn.dataset.name, err);
    if (status == RB_OK && rb_job_spec_makes(given) && given->merge.dataset.name != NULL)
        status = add_input(s, place, given->merge.dataset.name, &given->merge.dataset,
                           "/merge/dataset", &job->merge.dataset.name, err);
    if (status == RB_OK && given->has_evaluate)
        status = add_input(s, place, given->evaluate.dataset.name, &given->evaluate.dataset,
                           "/evaluate/dataset", &job->evaluate.dataset.name, err);
    job->align.dataset.is_path = job->evaluate.dataset.is_path = false;
    job->align.learn.dataset.is_path = job->merge.dataset.is_path = false;
    return status;
}

enum rb_status rb_run_spec_read(const char *file, const struct rb_words *sets,
                                const struct rb_strings *roots, struct rb_run_spec *ret,
                                struct rb_error *err)
{
    const struct place place = {file, roots};
    struct rb_run_spec s = {0};
    json_t *json = NULL;
    enum rb_status status = parse(file, &json, err);
    if (status != RB_OK)
        return status;
    for (size_t i = 0; sets != NULL && i < sets->count && status == RB_OK; i++)
        status = set_one(json, sets->items[i], err);
    if (status == RB_OK)
        status = rb_job_spec_decode(json, "", RB_SPEC_PATHS, &s.as_given, NULL, err);
    if (status == RB_OK)
        status = rb_job_spec_decode(json, "", RB_SPEC_PATHS, &s.job, NULL, err);
    json_decref(json);
    if (status == RB_OK)
        status = name_inputs(&s, &place, err);
    if (status == RB_OK)
        *ret = s;
    else
        rb_run_spec_deinit(&s);
    return status;
}

void rb_run_spec_deinit(struct rb_run_spec *s)
{
    for (size_t i = 0; i < s->input_count; i++)
        free(s->inputs[i].path);
    rb_job_spec_deinit(&s->as_given);
    rb_job_spec_deinit(&s->job);
    *s = (struct rb_run_spec){0};
}
