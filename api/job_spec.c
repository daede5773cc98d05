/* The body of POST /v1/jobs: from JSON to a spec, whole or not at all. */
#include "api/body.h"
#include "api/job_spec_draft.h"
#include "api/job_spec_fields.h"
#include "api/job_spec_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void spec_default(struct rb_job_spec *s)
{
    *s = (struct rb_job_spec){
        .align = {.max_sequences = 1000, .max_length = 128},
        .evaluate.options = {.control = true},
        .dtype = RB_OUT_SOURCE,
    };
    rb_align_options_default(&s->align.options);
    rb_learn_options_default(&s->align.learn.options);
    rb_finetune_options_default(&s->merge.finetune);
}

static enum rb_status finish(const struct rb_problems *problems, struct rb_job_spec *spec,
                             struct rb_job_spec *ret, struct rb_error *err)
{
    enum rb_status status = rb_problems_status(problems, err);
    if (status == RB_OK)
        *ret = *spec;
    else
        rb_job_spec_deinit(spec);
    return status;
}

enum rb_status rb_job_spec_decode(const json_t *json, const char *at, unsigned flags,
                                  struct rb_job_spec *ret, struct rb_problems *problems,
                                  struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_spec_draft d = {
        .flags = flags, .at = at, .problems = problems != NULL ? problems : &own};
    spec_default(&d.spec);
    rb_object_decode(json, at, &rb_spec_object, flags, &d, d.problems);
    if (json_is_object(json))
        rb_draft_check(&d);
    return finish(d.problems, &d.spec, ret, err);
}

enum rb_status rb_job_spec_restore(const char *text, struct rb_job_spec *ret, struct rb_error *err)
{
    json_t *json;
    size_t bytes = strlen(text);
    enum rb_status status = rb_body_parse(text, bytes, bytes, &json, err);
    if (status != RB_OK)
        return status;
    status = rb_job_spec_decode(json, "", 0, ret, NULL, err);
    json_decref(json);
    return status;
}

/* A member of an object that was written by us (rb_job_spec_encode), key and value as they stand
 * there, quoted: "\"models\":"; *ret_bytes 0: there is none. */
static const char *find_member(const char *text, const char *quoted, size_t *ret_bytes)
{
    const char *found = NULL;
    int depth = 0;
    bool inside = false; /* of a string */
    *ret_bytes = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (inside && c[0] == '\\' && c[1] != '\0') {
            c++;
            continue;
        }
        if (inside) {
            inside = *c != '"';
            continue;
        }
        bool ends = depth == 1 && (*c == ',' || *c == '}');
        if (found != NULL && ends) {
            *ret_bytes = (size_t)(c - found);
            return found;
        }
        if (depth == 1 && *c == '"' && strncmp(c, quoted, strlen(quoted)) == 0)
            found = c;
        inside = *c == '"';
        depth += (*c == '{' || *c == '[') - (*c == '}' || *c == ']');
    }
    return text;
}

enum rb_status rb_job_spec_restore_points(const char *text, struct rb_job_spec *ret,
                                          struct rb_error *err)
{
    size_t models, interpolate;
    const char *m = find_member(text, "\"models\":", &models);
    const char *i = find_member(text, "\"interpolate\":", &interpolate);
    size_t room = models + interpolate + 4;
    char *part = malloc(room);
    json_t *json = NULL;
    if (part == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a job's points");
    (void)snprintf(part, room, "{%.*s%s%.*s}", (int)models, m, interpolate > 0 ? "," : "",
                   (int)interpolate, i);
    enum rb_status status = rb_body_parse(part, strlen(part), room, &json, err);
    free(part);
    if (status != RB_OK)
        return status;
    struct rb_problems problems = {0};
    struct rb_spec_draft d = {.at = "", .problems = &problems};
    spec_default(&d.spec);
    rb_object_decode(json, "", &rb_spec_object, 0, &d, &problems);
    if (problems.found == 0)
        rb_draft_place(&d);
    json_decref(json);
    return finish(&problems, &d.spec, ret, err);
}

const char *rb_job_spec_model_pointer(bool anchored, size_t i, char buffer[32])
{
    if (!anchored)
        return i == 0 ? "/models/a" : "/models/b";
    if (i == 0)
        return "/models/anchor";
    (void)snprintf(buffer, 32, "/models/others/%u", (unsigned)(i - 1));
    return buffer;
}

void rb_job_spec_deinit(struct rb_job_spec *s)
{
    free(s->name);
    rb_labels_deinit(&s->labels);
    free(s->model_a);
    free(s->model_b);
    for (size_t i = 0; i < RB_MODELS_MAX - 2; i++)
        free(s->more[i]);
    free(s->align.from_job);
    rb_dataset_ref_deinit(&s->align.dataset);
    rb_dataset_ref_deinit(&s->align.learn.dataset);
    rb_numbers_deinit(&s->align.learn.lambda);
    rb_dataset_ref_deinit(&s->evaluate.dataset);
    rb_dataset_ref_deinit(&s->merge.dataset);
    rb_numbers_deinit(&s->lambdas);
    rb_numbers_deinit(&s->weights);
    rb_numbers_deinit(&s->merged);
    rb_numbers_deinit(&s->merged_weights);
    *s = (struct rb_job_spec){0};
}

enum rb_status rb_job_spec_settle(struct rb_job_spec *s, const char *at, const char *family,
                                  const struct rb_align_shape *shape, struct rb_problems *problems,
                                  struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_spec_draft d = {.spec = *s, .at = at, .problems = problems != NULL ? problems : &own};
    rb_draft_settle(&d, family, shape);
    *s = d.spec; /* what it owns is the same */
    return rb_problems_status(d.problems, err);
}

enum rb_status rb_job_spec_fit(struct rb_job_spec *s, const char *at, uint32_t longest,
                               struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_spec_draft d = {.at = at, .problems = problems != NULL ? problems : &own};
    bool labels = rb_task_has_labels(s->evaluate.options.task);
    struct {
        bool used, given;
        uint32_t *length;
        const char *pointer;
    } lengths[] = {
        {s->align.from_job == NULL && s->align.options.components != 0,
         (s->align.given & RB_ALIGN_MAX_LENGTH) != 0, &s->align.max_length, "/align/max_length"},
        {s->has_evaluate && !labels, (s->evaluate.given & RB_EVALUATE_BLOCK_SIZE) != 0,
         &s->evaluate.options.block_size, "/evaluate/block_size"},
        {s->has_evaluate && labels, (s->evaluate.given & RB_EVALUATE_MAX_LENGTH) != 0,
         &s->evaluate.options.max_length, "/evaluate/max_length"},
    };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (!lengths[i].used || *lengths[i].length <= longest)
            continue;
        if (lengths[i].given)
            rb_draft_fault(&d, lengths[i].pointer,
                           "expected at most what the models take of a sequence, %u, found %u",
                           longest, *lengths[i].length);
        else
            *lengths[i].length = longest;
    }
    return rb_problems_status(d.problems, err);
}

/* ---- batch ---- */

void rb_job_specs_free(struct rb_job_spec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rb_job_spec_deinit(&specs[i]);
    free(specs);
}

struct batch {
    struct rb_job_spec *specs;
    size_t count;
};

static void decode_jobs(const json_t *json, const char *pointer, unsigned flags, void *target,
                        struct rb_problems *problems)
{
    struct batch *b = target;
    size_t count = json_array_size(json);
    if (count < 1 || count > RB_BATCH_MAX) {
        char found[80];
        (void)snprintf(found, sizeof found, "an array of %zu", count);
        if (!json_is_array(json))
            rb_json_describe(json, found, sizeof found);
        rb_problems_add(problems, pointer, "expected an array of 1 to %d jobs, found %s",
                        RB_BATCH_MAX, found);
        return;
    }
    b->specs = calloc(count, sizeof *b->specs);
    if (b->specs == NULL) {
        problems->out_of_memory = true;
        return;
    }
    for (b->count = 0; b->count < count; b->count++) {
        char at[64];
        (void)snprintf(at, sizeof at, "%s/%zu", pointer, b->count);
        /* Each job's own list: a fault of one must not make the others look faulty. */
        struct rb_problems own = {0};
        if (rb_job_spec_decode(json_array_get(json, b->count), at, flags, &b->specs[b->count], &own,
                               NULL) != RB_OK) {
            problems->out_of_memory |= own.out_of_memory;
            for (size_t i = 0; i < own.count; i++)
                rb_problems_add(problems, own.items[i].pointer, "%s", own.items[i].detail);
            problems->found += own.found - own.count;
        }
    }
}

static const struct rb_field batch_fields[] = {
    {.key = "jobs",
     .type = RB_FIELD_CUSTOM,
     .required = true,
     .expected = "an array of jobs",
     .decode = decode_jobs},
};
static const struct rb_object batch_object = {
    .fields = batch_fields, .field_count = 1, .given_offset = RB_NO_GIVEN};

enum rb_status rb_job_batch_decode(const json_t *json, struct rb_job_spec **ret, size_t *ret_count,
                                   struct rb_problems *problems, struct rb_error *err)
{
    struct rb_problems own = {0};
    struct rb_problems *list = problems != NULL ? problems : &own;
    struct batch b = {0};
    rb_object_decode(json, "", &batch_object, 0, &b, list);
    enum rb_status status = rb_problems_status(list, err);
    if (status != RB_OK) {
        rb_job_specs_free(b.specs, b.count);
        return status;
    }
    *ret = b.specs;
    *ret_count = b.count;
    return RB_OK;
}
