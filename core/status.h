/* core/status.h: the one registry of what can go wrong.
 *
 * Every fallible function returns enum rb_status, fills `struct rb_error` with the words for a
 * person, and leaves its ret_ parameters untouched on failure. Each row below carries the stable
 * code that clients see and the HTTP status under which api/ reports it; openapi.yaml and the
 * docs are checked against this table (tests/api).
 *
 *    symbol            stable code            HTTP  retryable  title
 */
#ifndef RB_CORE_STATUS_H
#define RB_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#define RB_STATUS_MAP(X)                                                                           \
    X(RB_EJSON, "invalid_json", 400, 0, "The body is not valid JSON")                              \
    X(RB_EINPUT, "invalid_request", 422, 0, "The request does not fit the contract")               \
    X(RB_EQUERY, "invalid_query", 400, 0, "A query parameter is unknown or out of range")          \
    X(RB_EHEADER, "invalid_header", 400, 0, "A request header is malformed")                       \
    X(RB_ESAFETENSORS, "invalid_safetensors", 422, 0, "The safetensors file is damaged")           \
    X(RB_ECONFIG, "invalid_model_config", 422, 0, "The model's config.json cannot be used")        \
    X(RB_EVOCAB, "invalid_vocabulary", 422, 0, "The vocabulary cannot be used")                    \
    X(RB_EDATASET, "invalid_dataset", 422, 0, "The dataset cannot be used")                        \
    X(RB_ETENSOR, "missing_tensor", 422, 0, "A tensor of the architecture is missing")             \
    X(RB_ESHAPE, "shape_mismatch", 422, 0, "A tensor has another shape than the model needs")      \
    X(RB_EMODELS, "models_differ", 422, 0, "The two models cannot be merged")                      \
    X(RB_EHEAD, "head_mismatch", 422, 0, "The model's head does not fit the task")                 \
    X(RB_ENUMERIC, "not_finite", 422, 0, "A value is not a finite number")                         \
    X(RB_EDIGEST, "digest_mismatch", 422, 0, "The body does not match its digest")                 \
    X(RB_ENOTFOUND, "not_found", 404, 0, "No such resource")                                       \
    X(RB_EMETHOD, "method_not_allowed", 405, 0, "The resource does not know this method")          \
    X(RB_EACCEPT, "not_acceptable", 406, 0, "No representation fits the Accept header")            \
    X(RB_EBODYTIMEOUT, "body_timeout", 408, 1, "The request took too long to arrive")              \
    X(RB_ECONFLICT, "conflict", 409, 0, "The resource's state does not allow this")                \
    X(RB_EINUSE, "in_use", 409, 0, "The resource is used by a live job")                           \
    X(RB_EINFLIGHT, "idempotency_in_flight", 409, 1, "The first request with this key is running") \
    X(RB_EPRECOND, "precondition_failed", 412, 0, "The resource has changed since it was read")    \
    X(RB_ETOOLARGE, "too_large", 413, 0, "The body is larger than allowed")                        \
    X(RB_EURITOOLONG, "uri_too_long", 414, 0, "The request target is too long")                    \
    X(RB_EMEDIA, "unsupported_media_type", 415, 0, "The media type is not supported here")         \
    X(RB_ERANGE, "range_not_satisfiable", 416, 0, "The range lies outside the artifact")           \
    X(RB_EIDEMPOTENCY, "idempotency_mismatch", 422, 0, "The key was used for another request")     \
    X(RB_EPRECONDREQ, "precondition_required", 428, 0, "If-Match is required here")                \
    X(RB_EAUTH, "unauthorized", 401, 0, "A valid token is required")                               \
    X(RB_ESCOPE, "forbidden", 403, 0, "The token's scope does not allow this")                     \
    X(RB_EORIGIN, "origin_refused", 403, 0, "The request's origin or host is not allowed")         \
    X(RB_EHOST, "misdirected_request", 421, 0, "The Host header names another server")             \
    X(RB_EQUEUEFULL, "queue_full", 429, 1, "The queue is full")                                    \
    X(RB_EBUSY, "too_many_connections", 429, 1, "Too many connections")                            \
    X(RB_EHEADERSIZE, "headers_too_large", 431, 0, "The request's headers are too large")          \
    X(RB_EDRAINING, "draining", 503, 1, "The daemon is shutting down")                             \
    X(RB_EDISKFULL, "no_space", 503, 1, "The data folder's disk is full")                          \
    X(RB_ESTORE, "store_unavailable", 503, 1, "The store cannot be used right now")                \
    X(RB_ENOMEM, "out_of_memory", 503, 1, "Not enough memory")                                     \
    X(RB_EFILES, "out_of_files", 503, 1, "Out of file descriptors")                                \
    X(RB_EIO, "io_error", 500, 1, "A file could not be read or written")                           \
    X(RB_EINTERNAL, "internal_error", 500, 0, "A bug in rebasind")                                 \
    X(RB_ECRASHLOOP, "crash_loop", 500, 0, "The job ended the daemon three times")                 \
    X(RB_ECANCELED, "canceled", 409, 0, "The job was canceled")                                    \
    X(RB_EVERSION, "newer_store", 500, 0, "The store was written by a newer rebasind")             \
    X(RB_ELOCKED, "data_dir_locked", 500, 0, "Another daemon holds the data folder")               \
    X(RB_EUSAGE, "usage", 400, 0, "The command line or configuration is wrong")

enum rb_status {
    RB_OK = 0,
#define RB_STATUS_ENUM(sym, code, http, retryable, title) sym,
    RB_STATUS_MAP(RB_STATUS_ENUM)
#undef RB_STATUS_ENUM
        RB_STATUS_COUNT
};

/* The words for a person: what was found where, and what was expected. */
struct rb_error {
    enum rb_status status;
    char pointer[160]; /* JSON pointer or field name of the input at fault; "" if none */
    char detail[512];  /* UTF-8, no trailing newline */
};

#define RB_MUST_CHECK __attribute__((warn_unused_result))

/* Fills err (may be NULL) and returns status, so that `return rb_error_set(err, RB_ESHAPE, …)`
 * is how every failure is raised. Clears the pointer. */
enum rb_status rb_error_set(struct rb_error *err, enum rb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the place in the input: pointer is an RFC 6901 JSON pointer ("/align/heads"). */
enum rb_status rb_error_at(struct rb_error *err, enum rb_status status, const char *pointer,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts a prefix ("model 'bert-a': ") before the detail already in err; returns err's status. */
enum rb_status rb_error_prefix(struct rb_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* From errno of a failed system call on `what` (a path): RB_EDISKFULL, RB_EFILES, RB_ENOMEM,
 * RB_ENOTFOUND or RB_EIO, with strerror in the detail. */
enum rb_status rb_error_errno(struct rb_error *err, int error_number, const char *what);

/* So that compilers and analysers know what these return: never RB_OK, and the very status that was
 * given. (status is evaluated twice: always a constant or a variable.) */
#define rb_error_set(err, status, ...)                                                             \
    (rb_error_set(err, status, __VA_ARGS__), (enum rb_status)(status))
#define rb_error_at(err, status, pointer, ...)                                                     \
    (rb_error_at(err, status, pointer, __VA_ARGS__), (enum rb_status)(status))

/* Stable code ("shape_mismatch"), title, HTTP status, and whether trying again can help.
 * RB_OK gives "ok", "OK", 200, false. Never NULL. */
const char *rb_status_code(enum rb_status status);
const char *rb_status_title(enum rb_status status);
int rb_status_http(enum rb_status status);
bool rb_status_retryable(enum rb_status status);
/* The status with that stable code, RB_OK if there is none. */
enum rb_status rb_status_from_code(const char *code);

#endif
