#include "api/barrier_kept.h"
#include "api/body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void encode_list(struct rb_json *w, const char *key, const double *values, size_t count)
{
    rb_json_array(w, key);
    for (size_t i = 0; i < count; i++)
        rb_json_number(w, NULL, values[i]);
    rb_json_end(w);
}

enum rb_status rb_barrier_kept_print(const struct rb_barrier_errors *e, size_t models, char **ret,
                                     struct rb_error *err)
{
    const double reduction[2] = {e->reduction_chord, e->reduction_mean};
    struct rb_json w;
    rb_json_init(&w);
    rb_json_object(&w, NULL);
    rb_json_object(&w, "barrier_errors");
    rb_json_uint(&w, "blocks", e->blocks);
    encode_list(&w, "chord", e->chord, RB_CURVE_COUNT);
    encode_list(&w, "mean", e->mean, RB_CURVE_COUNT);
    encode_list(&w, "reduction", reduction, 2);
    encode_list(&w, "parents", e->parent, models);
    rb_json_array(&w, "points");
    for (int c = 0; c < 2; c++)
        encode_list(&w, NULL, e->point[c], e->point_count[c]);
    rb_json_end(&w);
    rb_json_end(&w);
    rb_json_end(&w);
    return rb_json_finish(&w, ret, NULL, err);
}

/* Numbers, and null for NaN; at most `most` of them. */
static bool decode_list(const json_t *list, size_t most, double *ret, size_t *ret_count)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > most)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_number(value) && !json_is_null(value))
            return false;
        ret[i] = json_is_number(value) ? json_number_value(value) : (double)NAN;
    }
    *ret_count = count;
    return true;
}

/* Neither more nor fewer. */
static bool decode_all(const json_t *json, const char *key, size_t wanted, double *ret)
{
    size_t count = 0;
    return decode_list(json_object_get(json, key), wanted, ret, &count) && count == wanted;
}

static bool decode(const json_t *json, struct rb_barrier_errors *e)
{
    const json_t *blocks = json_object_get(json, "blocks"),
                 *points = json_object_get(json, "points");
    double reduction[2];
    size_t parents = 0;
    for (size_t m = 0; m < RB_MODELS_MAX; m++)
        e->parent[m] = (double)NAN;
    bool fine = json_is_integer(blocks) && json_integer_value(blocks) > 0 &&
                decode_all(json, "chord", RB_CURVE_COUNT, e->chord) &&
                decode_all(json, "mean", RB_CURVE_COUNT, e->mean) &&
                decode_all(json, "reduction", 2, reduction) &&
                decode_list(json_object_get(json, "parents"), RB_MODELS_MAX, e->parent, &parents) &&
                json_array_size(points) == 2;
    for (size_t c = 0; c < 2 && fine; c++)
        fine = decode_list(json_array_get(points, c), RB_BARRIER_ERRORS_MAX, e->point[c],
                           &e->point_count[c]);
    if (!fine)
        return false;
    e->blocks = (size_t)json_integer_value(blocks);
    e->reduction_chord = reduction[0];
    e->reduction_mean = reduction[1];
    return true;
}

enum rb_status rb_barrier_kept_decode(const char *product, bool *ret_known,
                                      struct rb_barrier_errors *ret, struct rb_error *err)
{
    struct rb_barrier_errors e = {.blocks = 0};
    size_t bytes = strlen(product);
    json_t *json;
    enum rb_status status = rb_body_parse(product, bytes, bytes, &json, err);
    if (status != RB_OK)
        return status;
    bool known = decode(json_object_get(json, "barrier_errors"), &e);
    json_decref(json);
    if (known)
        *ret = e;
    *ret_known = known;
    return RB_OK;
}
