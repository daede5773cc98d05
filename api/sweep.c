#include "api/sweep.h"

#include "api/spec_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_sweep_deinit(struct rb_sweep *s)
{
    free(s->name);
    rb_labels_deinit(&s->labels);
    json_decref(s->spec);
    json_decref(s->grid);
    *s = (struct rb_sweep){0};
}

/* ---- the body ---- */

/* "align" holds "align.heads": one of them would be lost. */
static bool holds(const char *a, const char *b)
{
    size_t n = strlen(a);
    return strncmp(a, b, n) == 0 && b[n] == '.';
}

static void check_values(const char *pointer, const char *key, json_t *values,
                         struct rb_problems *problems)
{
    char found[80];
    if (!json_is_array(values) || json_array_size(values) == 0) {
        rb_json_describe(values, found, sizeof found);
        rb_problems_add(problems, pointer, "expected a list of values for %s, found %s", key,
                        json_is_array(values) ? "an empty one" : found);
        return;
    }
    for (size_t i = 0; i < json_array_size(values); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(values, i), json_array_get(values, k))) {
                rb_problems_add(problems, pointer, "values %zu and %zu of %s are the same", k, i,
                                key);
                return;
            }
}

static void check_key(const char *pointer, const char *key, json_t *grid,
                      struct rb_problems *problems)
{
    const char *other;
    json_t *ignored;
    if (!rb_spec_path_valid(key))
        rb_problems_add(problems, pointer,
                        "expected a member of the spec by its way from the root, as in "
                        "align.heads, found '%.70s'",
                        key);
    json_object_foreach(grid, other, ignored)
    {
        if (holds(other, key))
            rb_problems_add(problems, pointer, "%s is a part of %s, which is in the grid, too", key,
                            other);
    }
}

static void decode_grid(const json_t *json, const char *pointer, unsigned flags, void *target,
                        struct rb_problems *problems)
{
    json_t *grid = (json_t *)(uintptr_t)json, **ret = target, *values;
    const char *key;
    double combinations = 1;
    (void)flags;
    size_t keys = json_object_size(json);
    if (!json_is_object(json) || keys < 1 || keys > RB_SWEEP_KEYS_MAX) {
        char found[80];
        (void)snprintf(found, sizeof found, "%zu members", keys);
        if (!json_is_object(json))
            rb_json_describe(json, found, sizeof found);
        rb_problems_add(problems, pointer,
                        "expected an object of 1 to %d members of the spec, each with a list of "
                        "values, found %s",
                        RB_SWEEP_KEYS_MAX, found);
        return;
    }
    json_object_foreach(grid, key, values)
    {
        char at[160];
        (void)snprintf(at, sizeof at, "%s/%.100s", pointer, key);
        check_key(at, key, grid, problems);
        check_values(at, key, values, problems);
        combinations *= (double)json_array_size(values);
    }
    if (combinations > RB_SWEEP_JOBS_MAX)
        rb_problems_add(problems, pointer, "expected at most %d combinations, found %.0f",
                        RB_SWEEP_JOBS_MAX, combinations);
    *ret = json_incref(grid);
}

static void decode_spec(const json_t *json, const char *pointer, unsigned flags, void *target,
                        struct rb_problems *problems)
{
    json_t **ret = target;
    char found[80];
    (void)flags;
    if (json_is_object(json)) {
        *ret = json_incref((json_t *)(uintptr_t)json);
        return;
    }
    rb_json_describe(json, found, sizeof found);
    rb_problems_add(problems, pointer, "expected a job, as POST /v1/jobs takes it, found %s",
                    found);
}

static const struct rb_field fields[] = {
    {.key = "spec",
     .type = RB_FIELD_CUSTOM,
     .offset = offsetof(struct rb_sweep, spec),
     .required = true,
     .expected = "a job",
     .decode = decode_spec},
    {.key = "grid",
     .type = RB_FIELD_CUSTOM,
     .offset = offsetof(struct rb_sweep, grid),
     .required = true,
     .expected = "an object of lists",
     .decode = decode_grid},
    {.key = "name",
     .type = RB_FIELD_STRING,
     .offset = offsetof(struct rb_sweep, name),
     .low = 1,
     .high = RB_JOB_NAME_MAX},
    {.key = "labels", .type = RB_FIELD_LABELS, .offset = offsetof(struct rb_sweep, labels)},
};
static const struct rb_object object = {
    .fields = fields, .field_count = sizeof fields / sizeof fields[0], .given_offset = RB_NO_GIVEN};

enum rb_status rb_sweep_decode_as(const struct rb_object *body, const json_t *json,
                                  struct rb_sweep *ret, struct rb_problems *problems,
                                  struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    struct rb_sweep s = {0};
    rb_object_decode(json, "", body, 0, &s, list);
    enum rb_status status = rb_problems_status(list, err);
    if (status == RB_OK)
        *ret = s;
    else
        rb_sweep_deinit(&s);
    return status;
}

enum rb_status rb_sweep_decode(const json_t *json, struct rb_sweep *ret,
                               struct rb_problems *problems, struct rb_error *err)
{
    return rb_sweep_decode_as(&object, json, ret, problems, err);
}

/* ---- combinations ---- */

static size_t combinations(const json_t *grid)
{
    size_t n = 1;
    const char *key;
    json_t *values;
    json_object_foreach((json_t *)(uintptr_t)grid, key, values)
    {
        n *= json_array_size(values);
    }
    return n;
}

size_t rb_sweep_count(const struct rb_sweep *s)
{
    return combinations(s->grid);
}

/* Which of the values of each key, in the grid's order; the last key turns fastest. */
static void choose(const json_t *grid, size_t index, size_t chosen[RB_SWEEP_KEYS_MAX])
{
    size_t rest = combinations(grid), k = 0;
    const char *key;
    json_t *values;
    json_object_foreach((json_t *)(uintptr_t)grid, key, values)
    {
        rest /= json_array_size(values);
        chosen[k++] = index / rest;
        index %= rest;
    }
}

/* "heads=monotonic, rotate_heads=true" behind the name; cut where it is too long. */
static void write_name(const struct rb_sweep *s, const char *base, const size_t *chosen, char *name,
                       size_t size)
{
    size_t used = (size_t)snprintf(name, size, "%s", base != NULL ? base : ""), k = 0;
    const char *key, *mark = base != NULL ? ": " : "";
    json_t *values;
    json_object_foreach(s->grid, key, values)
    {
        json_t *value = json_array_get(values, chosen[k++]);
        char *text =
            json_is_string(value)
                ? NULL
                : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        const char *last = strrchr(key, '.');
        const char *a = json_string_value(json_object_get(value, "a"));
        const char *b = json_string_value(json_object_get(value, "b"));
        if (a != NULL && b != NULL && used < size) { /* two models */
            used += (size_t)snprintf(name + used, size - used, "%s%s and %s", mark, a, b);
            mark = ", ";
        } else if (json_array_size(values) > 1 && used < size) {
            used += (size_t)snprintf(name + used, size - used, "%s%s=%s", mark,
                                     last != NULL ? last + 1 : key,
                                     text != NULL ? text : json_string_value(value));
            mark = ", ";
        }
        free(text);
    }
}

/* At most RB_JOB_NAME_MAX characters, none cut in two. */
static void cut_name(char *name)
{
    size_t characters = 0, end = 0;
    for (size_t i = 0; name[i] != '\0'; i++) {
        if (((unsigned char)name[i] & 0xc0) == 0x80)
            continue;
        if (++characters > RB_JOB_NAME_MAX) {
            name[i] = '\0';
            return;
        }
        end = i;
    }
    /* The buffer may have ended inside the last character. */
    unsigned char first = (unsigned char)name[end];
    size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    if (strlen(name + end) < need)
        name[end] = '\0';
}

static bool add_labels(json_t *spec, const struct rb_labels *labels)
{
    json_t *all = json_object_get(spec, "labels");
    if (labels->count == 0 || (all != NULL && !json_is_object(all)))
        return true;
    if (all == NULL && json_object_set_new(spec, "labels", all = json_object()) != 0)
        return false;
    for (size_t i = 0; i < labels->count; i++)
        if (json_object_set_new(all, labels->items[i].key, json_string(labels->items[i].value)) !=
            0)
            return false;
    return true;
}

/* New; NULL without memory. */
static json_t *combine(const struct rb_sweep *s, size_t index)
{
    size_t chosen[RB_SWEEP_KEYS_MAX], k = 0;
    char name[4 * RB_JOB_NAME_MAX + 8];
    const char *key;
    json_t *values, *spec = json_deep_copy(s->spec);
    bool fine = spec != NULL;
    choose(s->grid, index, chosen);
    json_object_foreach(s->grid, key, values)
    {
        json_t *value = json_deep_copy(json_array_get(values, chosen[k++]));
        if (fine && value != NULL)
            (void)rb_spec_path_set(spec, key, value);
        fine = fine && value != NULL;
        json_decref(value);
    }
    const json_t *own = fine ? json_object_get(spec, "name") : NULL;
    if (fine && (own == NULL || json_is_string(own))) {
        write_name(s, s->name != NULL ? s->name : json_string_value(own), chosen, name,
                   sizeof name);
        cut_name(name);
        if (name[0] != '\0')
            fine = json_object_set_new(spec, "name", json_string(name)) == 0;
    }
    fine = fine && add_labels(spec, &s->labels);
    if (fine)
        return spec;
    json_decref(spec);
    return NULL;
}

/* Is pointer ("/align/heads/0") at or below the member of key ("align.heads")? The rest, or NULL.
 */
static const char *below(const char *pointer, const char *key)
{
    char way[RB_SPEC_PATH_MAX + 2];
    (void)snprintf(way, sizeof way, "/%s", key);
    for (char *dot; (dot = strchr(way, '.')) != NULL;)
        *dot = '/';
    size_t n = strlen(way);
    bool inside = strncmp(pointer, way, n) == 0 && (pointer[n] == '\0' || pointer[n] == '/');
    return inside ? pointer + n : NULL;
}

void rb_sweep_place(const struct rb_sweep *s, size_t index, char *pointer, size_t size)
{
    size_t chosen[RB_SWEEP_KEYS_MAX], k = 0;
    char placed[256];
    const char *key, *rest;
    json_t *values;
    choose(s->grid, index, chosen);
    (void)snprintf(placed, sizeof placed, "/spec%.150s", pointer);
    json_object_foreach(s->grid, key, values)
    {
        rest = below(pointer, key);
        if (rest != NULL)
            (void)snprintf(placed, sizeof placed, "/grid/%s/%zu%.80s", key, chosen[k], rest);
        k++;
    }
    (void)snprintf(pointer, size, "%.150s", placed);
}

static void add_faults(const struct rb_sweep *s, size_t index, struct rb_problems *from,
                       struct rb_problems *to)
{
    to->out_of_memory |= from->out_of_memory;
    for (size_t i = 0; i < from->count; i++) {
        struct rb_fault *f = &from->items[i];
        bool known = false;
        rb_sweep_place(s, index, f->pointer, sizeof f->pointer);
        for (size_t k = 0; k < to->count; k++)
            known = known || (strcmp(to->items[k].pointer, f->pointer) == 0 &&
                              strcmp(to->items[k].detail, f->detail) == 0);
        if (!known)
            rb_problems_add(to, f->pointer, "%s", f->detail);
    }
}

enum rb_status rb_sweep_specs(const struct rb_sweep *s, struct rb_job_spec **ret,
                              struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    size_t count = rb_sweep_count(s);
    struct rb_job_spec *specs = calloc(count, sizeof *specs);
    list->out_of_memory |= specs == NULL;
    for (size_t i = 0; i < count && !list->out_of_memory; i++) {
        struct rb_problems faults = {0};
        json_t *json = combine(s, i);
        if (json == NULL)
            list->out_of_memory = true;
        else if (rb_job_spec_decode(json, "", 0, &specs[i], &faults, NULL) != RB_OK)
            add_faults(s, i, &faults, list);
        json_decref(json);
    }
    enum rb_status status = rb_problems_status(list, err);
    if (status == RB_OK)
        *ret = specs;
    else if (specs != NULL)
        rb_job_specs_free(specs, count);
    return status;
}

void rb_sweep_settings(struct rb_json *w, const char *name, const json_t *grid, size_t index)
{
    size_t chosen[RB_SWEEP_KEYS_MAX] = {0}, k = 0;
    const char *key;
    json_t *values;
    choose(grid, index, chosen);
    rb_json_object(w, name);
    json_object_foreach((json_t *)(uintptr_t)grid, key, values)
    {
        char *text = json_dumps(json_array_get(values, chosen[k++]),
                                JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
        w->failed = w->failed || text == NULL;
        if (text != NULL && json_array_size(values) > 1)
            rb_json_raw(w, key, text);
        free(text);
    }
    rb_json_end(w);
}
