/* api/encode.h: writes JSON, front to back, into one growing buffer.
 *
 * DESIGN. Every answer of the service is written through this one writer, so that numbers, times
 * and missing values look the same everywhere: doubles in the fewest digits that read back to the
 * same bits (0.05, never 0.050000000000000003), NaN and infinities as null, bytes that are not
 * UTF-8 as U+FFFD. There is no tree in between: a page of 500 jobs is one buffer.
 *
 * Each function appends one value. `key` is the member's name inside an object and NULL inside an
 * array or at the top. Failure is sticky: once memory runs out all calls do nothing and
 * rb_json_finish reports it, so callers check once. Not thread-safe; any thread.
 *
 *     struct rb_json w;
 *     rb_json_init(&w);
 *     rb_json_object(&w, NULL);
 *     rb_json_string(&w, "name", name);
 *     rb_json_end(&w);
 *     status = rb_json_finish(&w, &text, &bytes, err);
 */
#ifndef RB_API_ENCODE_H
#define RB_API_ENCODE_H

#include "api/status.h"

#include <stdint.h>

struct rb_json {
    char *text;
    size_t bytes, capacity;
    bool comma;  /* a value stands before this place in the open object or array */
    bool failed; /* out of memory */
    uint32_t depth;
    char closers[32]; /* '}' or ']' of each open level */
};

void rb_json_init(struct rb_json *w);
/* Frees what was written; harmless after rb_json_finish. */
void rb_json_deinit(struct rb_json *w);

/* Gives the text away (NUL-terminated, *ret_bytes without the NUL; ret_bytes may be NULL) and
 * leaves w empty, ready for the next document; free() it. All levels must be closed.
 * RB_ENOMEM: w is emptied. */
enum rb_status rb_json_finish(struct rb_json *w, char **ret, size_t *ret_bytes,
                              struct rb_error *err) RB_MUST_CHECK;

/* Open an object or array, at most 32 levels; rb_json_end closes the innermost. */
void rb_json_object(struct rb_json *w, const char *key);
void rb_json_array(struct rb_json *w, const char *key);
void rb_json_end(struct rb_json *w);

void rb_json_null(struct rb_json *w, const char *key);
void rb_json_bool(struct rb_json *w, const char *key, bool value);
void rb_json_int(struct rb_json *w, const char *key, int64_t value);
void rb_json_uint(struct rb_json *w, const char *key, uint64_t value);
/* Not finite: null. */
void rb_json_number(struct rb_json *w, const char *key, double value);
/* A float in the fewest digits that read back to the same float. */
void rb_json_float(struct rb_json *w, const char *key, float value);
/* NULL: null. */
void rb_json_string(struct rb_json *w, const char *key, const char *value);
/* The empty string and NULL: null; for fixed buffers whose "" means "none". */
void rb_json_text_or_null(struct rb_json *w, const char *key, const char *value);
/* RFC 3339 UTC with milliseconds; below 0: null. */
void rb_json_time(struct rb_json *w, const char *key, int64_t unix_ms);
/* `value` is one complete JSON value written by us earlier (a stored spec); NULL: null. */
void rb_json_raw(struct rb_json *w, const char *key, const char *value);

enum { RB_NUMBER_SIZE = 32 };
/* The fewest digits that read back to the same double ("0.05", "1e-07"), locale-independent, into
 * buffer; "null" if not finite. Returns its length. The CSV writers use it too. */
size_t rb_number_format(double value, char buffer[RB_NUMBER_SIZE]);

#endif
