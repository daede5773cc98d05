/* Arbitrary bytes as the body of each request that takes one; the first byte chooses which. What is
 * accepted must come back from its canonical text unchanged; what is refused must be told in UTF-8.
 */
#include "api/body.h"
#include "api/dataset.h"
#include "api/job.h"
#include "api/job_spec_encode.h"
#include "api/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1 << 20 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static char *encode(const struct rb_job_spec *spec)
{
    struct rb_json w;
    char *text = NULL;
    rb_json_init(&w);
    rb_job_spec_encode(&w, NULL, spec);
    require(rb_json_finish(&w, &text, NULL, NULL) == RB_OK);
    return text;
}

static void try_spec(const json_t *json, unsigned flags, struct rb_problems *problems)
{
    struct rb_job_spec first, second;
    json_t *again = NULL;
    if (rb_job_spec_decode(json, "", flags, &first, problems, NULL) != RB_OK)
        return;
    require(first.lambdas.count >= 2 && first.lambdas.values[0] == 0 &&
            first.lambdas.values[first.lambdas.count - 1] == 1);
    char *once = encode(&first);
    require(rb_body_parse(once, strlen(once), strlen(once), &again, NULL) == RB_OK);
    require(rb_job_spec_decode(again, "", flags, &second, NULL, NULL) == RB_OK);
    char *twice = encode(&second);
    require(strcmp(once, twice) == 0);
    free(once);
    free(twice);
    json_decref(again);
    rb_job_spec_deinit(&first);
    rb_job_spec_deinit(&second);
}

static void try_others(const json_t *json, unsigned choice, struct rb_problems *problems)
{
    struct rb_job_patch patch;
    struct rb_job_spec *specs;
    size_t count;
    struct rb_model_post model;
    struct rb_dataset_post dataset;
    if (choice == 2 && rb_job_batch_decode(json, &specs, &count, problems, NULL) == RB_OK)
        rb_job_specs_free(specs, count);
    if (choice == 3 && rb_job_patch_decode(json, &patch, problems, NULL) == RB_OK)
        rb_job_patch_deinit(&patch);
    if (choice == 4 && rb_model_post_decode(json, &model, problems, NULL) == RB_OK)
        rb_model_post_deinit(&model);
    if (choice == 5 && rb_dataset_post_decode(json, &dataset, problems, NULL) == RB_OK)
        rb_dataset_post_deinit(&dataset);
}

static void require_utf8(const char *text)
{
    json_t *string = json_string(text);
    require(string != NULL);
    json_decref(string);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = NULL;
    struct rb_problems problems = {0};
    if (size == 0 ||
        rb_body_parse((const char *)data + 1, size - 1, MAX_BYTES, &json, NULL) != RB_OK)
        return 0;
    unsigned choice = data[0] % 6;
    if (choice < 2)
        try_spec(json, choice == 1 ? RB_SPEC_PATHS : 0, &problems);
    else
        try_others(json, choice, &problems);
    for (size_t i = 0; i < problems.count; i++) {
        require_utf8(problems.items[i].pointer);
        require_utf8(problems.items[i].detail);
    }
    json_decref(json);
    return 0;
}
