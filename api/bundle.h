/* api/bundle.h: one unit of a job, as it travels to the machine that computes it.
 *
 * A bundle is a folder. bundle.json in it (below) says what is to be computed;
 * alignment.safetensors lies beside it where the unit needs one. Inputs stay where they are: named
 * by path and SHA-256. What the unit gives back (product.h) is written into the same folder. Every
 * file has a seal beside it that says its size and digest. Pure functions; any thread. */
#ifndef RB_API_BUNDLE_H
#define RB_API_BUNDLE_H

#include "api/decode.h"
#include "api/encode.h"
#include "api/event.h"

enum rb_unit { RB_UNIT_ALIGN, RB_UNIT_LEARN, RB_UNIT_POINTS, RB_UNIT_WRITE, RB_UNIT_COUNT };
extern const char *const rb_unit_names[]; /* "align", "learn", "points", "write"; ends with NULL */

enum {
    RB_BUNDLE_FORMAT = 1,
    RB_BUNDLE_BYTES_MAX = 16 * 1024 * 1024,
    RB_BUNDLE_POINTS_MAX = 3 * RB_POINTS_MAX, /* of each curve */
    RB_BUNDLE_PATH_MAX = 4096,
};

/* Strings owned by the bundle. path NULL: the role names no files (from_job). */
struct rb_bundle_input {
    char role[24];
    char *name;
    char sha256[RB_SHA256_HEX_SIZE];
    char *path;
    bool is_model;
    enum rb_format format; /* of a text; with the names of its fields */
    char *text, *text_pair, *label;
};

/* One lambda of one curve, and which task of the array computes it. */
struct rb_bundle_point {
    uint32_t task, curve, index;
};

struct rb_bundle {
    enum rb_unit unit;
    char *job;        /* its id */
    uint32_t attempt; /* of the job's submissions, from 1 */
    uint32_t tries;   /* submissions before it without anything new */
    char *version;    /* of the rebasind that wrote it: others may compute other bits */
    char *spec_json;
    struct rb_bundle_input inputs[RB_JOB_INPUTS_MAX];
    size_t input_count;
    /* Which stages are over; all that they left is in alignment.safetensors. */
    bool solved, learned, certified;
    uint32_t tasks;                 /* >= 1 */
    struct rb_bundle_point *points; /* (point_count) of unit "points", by task */
    size_t point_count;
    struct rb_numbers merged; /* lambdas that unit "write" writes */
};
void rb_bundle_deinit(struct rb_bundle *b);

/* {"format","version","unit","job","attempt","tries","spec","inputs":[{"role","name","sha256","path",
 * "format","text","text_pair","label"}],"solved","learned","certified",
 * "tasks":[[["aligned",3],…],…],"merged":[…]}. */
void rb_bundle_encode(struct rb_json *w, const char *key, const struct rb_bundle *b);

/* RB_EINPUT naming the member, what was found and what was expected, also for another format;
 * RB_EJSON; RB_ENOMEM. The caller owns *ret. */
enum rb_status rb_bundle_decode(const char *text, size_t bytes, struct rb_bundle *ret,
                                struct rb_error *err) RB_MUST_CHECK;

#endif
