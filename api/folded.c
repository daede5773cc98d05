#include "api/folded.h"
#include "api/body.h"
#include "api/decode.h"

#include <math.h>
#include <string.h>

struct rb_folded_control rb_folded_control_none(void)
{
    return (struct rb_folded_control){NAN, NAN, NAN, NAN};
}

enum { PRODUCT_MOST = 160 };

#define MEMBER(name) .type = RB_FIELD_NUMBER, .offset = offsetof(struct rb_folded_control, name)
static const struct rb_field inner_fields[] = {
    {.key = "loss", MEMBER(loss), .low = 0, .high = 1e300, .required = true},
    {.key = "standard_error", MEMBER(standard_error), .low = 0, .high = 1e300, .required = true},
};
static const struct rb_object inner_object = {.fields = inner_fields,
                                              .field_count =
                                                  sizeof inner_fields / sizeof inner_fields[0],
                                              .given_offset = RB_NO_GIVEN};
static const struct rb_field fields[] = {
    {.key = "folded_control", .type = RB_FIELD_OBJECT, .object = &inner_object},
};
static const struct rb_object object = {
    .fields = fields, .field_count = sizeof fields / sizeof fields[0], .given_offset = RB_NO_GIVEN};

enum rb_status rb_folded_control_decode(const char *product, struct rb_folded_control *ret,
                                        struct rb_error *err)
{
    struct rb_problems problems = {0};
    struct rb_folded_control f = rb_folded_control_none();
    json_t *json;
    enum rb_status s = rb_body_parse(product, strlen(product), PRODUCT_MOST, &json, err);
    if (s != RB_OK)
        return s;
    rb_object_decode(json, "", &object, 0, &f, &problems);
    json_decref(json);
    s = rb_problems_status(&problems, err);
    if (f.loss >= 0)
        f.lambda = 0.5;
    if (s == RB_OK)
        *ret = f;
    return s;
}
