/* api/decode.h: JSON in is declared, not coded.
 *
 * DESIGN. A body is parsed by rb_body_parse (body.h) under hard limits (size, depth, duplicate
 * keys), then one validator, rb_object_decode, interprets a table of fields: key, type, bounds,
 * whether it is required, and where in the caller's struct the value goes. Members the table does
 * not name are errors. It does not stop at the first fault: up to RB_PROBLEMS_MAX are collected,
 * each with its RFC 6901 JSON pointer and with what was expected and what was found. Rules between
 * members
 * ("rotate_heads needs mha") are the resources' own code and report through the same list.
 *
 * Pure functions, no globals; any thread.
 */
#ifndef RB_API_DECODE_H
#define RB_API_DECODE_H

#include "api/problems.h"
#include "api/status.h"

#include <jansson.h>
#include <stdint.h>

enum {
    RB_LABELS_MAX = 32,
    RB_LABEL_VALUE_MAX = 128, /* characters */
};

/* Growing lists; zero-initialise, freed by the owner's deinit. */
struct rb_numbers {
    double *values;
    size_t count;
    size_t row; /* of lists of lists: how many belong to one; else 0 */
};

struct rb_label {
    char *key, *value;
};

struct rb_labels {
    struct rb_label *items; /* sorted by key, keys distinct */
    size_t count;
};

void rb_numbers_deinit(struct rb_numbers *n);
void rb_labels_deinit(struct rb_labels *l);

enum rb_field_type {
    /*                    target in the struct      low, high mean      */
    RB_FIELD_BOOL,    /*  bool                      -                   */
    RB_FIELD_INT,     /*  int32_t                   bounds              */
    RB_FIELD_UINT,    /*  uint32_t                  bounds              */
    RB_FIELD_UINT64,  /*  uint64_t                  bounds, <= 2^53 - 1 */
    RB_FIELD_NUMBER,  /*  double                    bounds              */
    RB_FIELD_STRING,  /*  char *, malloc'ed         characters          */
    RB_FIELD_NAME,    /*  char *, malloc'ed         -  (the name rule)  */
    RB_FIELD_JOB_ID,  /*  char *, malloc'ed         -  (the job id rule) */
    RB_FIELD_ENUM,    /*  an enum (int-sized)       -  (names[])        */
    RB_FIELD_FLAGS,   /*  unsigned, bit i: names[i] -  (array of distinct names) */
    RB_FIELD_NUMBERS, /*  struct rb_numbers         of each element; most count  */
    RB_FIELD_LABELS,  /*  struct rb_labels          -  (object of strings)       */
    RB_FIELD_OBJECT,  /*  a struct with its own table                            */
    RB_FIELD_CUSTOM,  /*  whatever decode() fills                                */
};

struct rb_object;

struct rb_field {
    const char *key;
    enum rb_field_type type;
    size_t offset;  /* of the target in the caller's struct */
    uint32_t given; /* bit set in the struct's given member when the key is there; 0: none */
    bool required;
    bool open_low; /* low itself is not allowed */
    bool nullable; /* null sets the given bit and leaves the target as it is */
    double low, high;
    const char *word;         /* RB_FIELD_UINT: a string that stands for UINT32_MAX; or NULL */
    size_t most;              /* RB_FIELD_NUMBERS: elements */
    const char *const *names; /* RB_FIELD_ENUM, RB_FIELD_FLAGS: NULL-terminated */
    const struct rb_object *object; /* RB_FIELD_OBJECT */
    const char *expected;           /* RB_FIELD_CUSTOM: "a model's name", for messages */
    void (*decode)(const json_t *json, const char *pointer, unsigned flags, void *target,
                   struct rb_problems *problems); /* RB_FIELD_CUSTOM */
};

struct rb_object {
    const struct rb_field *fields;
    size_t field_count;
    size_t given_offset; /* of a uint32_t; RB_NO_GIVEN: no field has a given bit */
};

#define RB_NO_GIVEN SIZE_MAX

/* Decodes json into target, whose defaults the caller has set; members that are absent keep them.
 * `at` is the pointer of json itself ("" for the body, "/jobs/3"). flags is handed to custom
 * decoders. Faults go to problems; what was decoded before stays in target, so the caller always
 * deinitialises it. */
void rb_object_decode(const json_t *json, const char *at, const struct rb_object *object,
                      unsigned flags, void *target, struct rb_problems *problems);

/* What RB_FIELD_STRING asks of a text: low to high characters, none of them hidden
 * (rb_text_hidden). */
bool rb_text_fits(const char *text, size_t low, size_t high);
/* One enum by name, for custom decoders: true and *ret = index into names, or a fault that lists
 * the names and suggests the nearest. */
bool rb_enum_decode(const json_t *json, const char *pointer, const char *const *names, int *ret,
                    struct rb_problems *problems);

#endif
