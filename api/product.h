/* api/product.h: what a unit (bundle.h) gives back, as small files of JSON.
 *
 *   FILE.seal        written after FILE is whole and synced: its size and digest, who made it
 *   point-….json     one lambda of one curve with its blocks, bit for bit
 *   outcome-K.json   how task K ended; the last of all, so that with "ok" all is there
 *   progress-K.json  how far task K is; rewritten while it runs
 *
 * Pure functions; any thread. Decoders: RB_EJSON, RB_EINPUT with words, RB_ENOMEM. */
#ifndef RB_API_PRODUCT_H
#define RB_API_PRODUCT_H

#include "api/decode.h"
#include "api/encode.h"
#include "api/event.h"

enum { RB_PRODUCT_JSON_MAX = 64 * 1024 * 1024, RB_PRODUCT_WORD_SIZE = 80 };

/* A file's seal. */
struct rb_seal {
    uint64_t bytes;
    char sha256[RB_SHA256_HEX_SIZE];
    uint32_t attempt, task;
    /* On what it was made: last bits differ between kernels. */
    char node[RB_PRODUCT_WORD_SIZE], cpu[RB_PRODUCT_WORD_SIZE], blas_kernel[RB_PRODUCT_WORD_SIZE];
    uint32_t threads;
};
void rb_seal_encode(struct rb_json *w, const char *key, const struct rb_seal *s);
enum rb_status rb_seal_decode(const char *text, size_t bytes, struct rb_seal *ret,
                              struct rb_error *err) RB_MUST_CHECK;

struct rb_product_point {
    uint32_t curve, index;
    struct rb_point point;
    struct rb_block *blocks; /* (block_count) owned */
    size_t block_count;
};
void rb_product_point_deinit(struct rb_product_point *p);
void rb_product_point_encode(struct rb_json *w, const char *key, const struct rb_product_point *p);
/* The caller owns *ret. */
enum rb_status rb_product_point_decode(const char *text, size_t bytes, struct rb_product_point *ret,
                                       struct rb_error *err) RB_MUST_CHECK;

struct rb_outcome {
    bool job_failed; /* with another status than RB_OK: the job's own fault: trying again gives the
                        same. Else the machine's */
    enum rb_status status;
    char detail[512];
    char warning[RB_JOB_WARNING_SIZE]; /* what to know of the result, however it ended; "": none */
};
void rb_outcome_encode(struct rb_json *w, const char *key, const struct rb_outcome *o);
enum rb_status rb_outcome_decode(const char *text, size_t bytes, struct rb_outcome *ret,
                                 struct rb_error *err) RB_MUST_CHECK;

struct rb_unit_progress {
    enum rb_phase phase;
    double fraction;
    int64_t at_ms; /* by the node's clock */
};
void rb_unit_progress_encode(struct rb_json *w, const char *key, const struct rb_unit_progress *p);
enum rb_status rb_unit_progress_decode(const char *text, size_t bytes, struct rb_unit_progress *ret,
                                       struct rb_error *err) RB_MUST_CHECK;

#endif
