/* api/status.h: the registry of what can go wrong, as clients see it: every status of core and
 * those that only a server can raise, with code, title, HTTP status, and whether trying again can
 * help. openapi.yaml and the docs are checked against it (tests/api). Any thread.
 */
#ifndef RB_API_STATUS_H
#define RB_API_STATUS_H

#include "core/status.h"

/* core's rows (core/status.h) over HTTP: symbol, HTTP status, retryable. */
#define RB_CORE_HTTP_MAP(X)                                                                        \
    X(RB_EINPUT, 422, 0)                                                                           \
    X(RB_ESAFETENSORS, 422, 0)                                                                     \
    X(RB_ETORCH, 422, 0)                                                                           \
    X(RB_ECONFIG, 422, 0)                                                                          \
    X(RB_EVOCAB, 422, 0)                                                                           \
    X(RB_EDATASET, 422, 0)                                                                         \
    X(RB_ETENSOR, 422, 0)                                                                          \
    X(RB_ESHAPE, 422, 0)                                                                           \
    X(RB_EMODELS, 422, 0)                                                                          \
    X(RB_EHEAD, 422, 0)                                                                            \
    X(RB_ENUMERIC, 422, 0)                                                                         \
    X(RB_ENOTFOUND, 404, 0)                                                                        \
    X(RB_EDISKFULL, 503, 1)                                                                        \
    X(RB_ESTORE, 503, 1)                                                                           \
    X(RB_ENOMEM, 503, 1)                                                                           \
    X(RB_EFILES, 503, 1)                                                                           \
    X(RB_EIO, 500, 1)                                                                              \
    X(RB_EINTERNAL, 500, 0)                                                                        \
    X(RB_ECANCELED, 409, 0)

/* What only a server can raise: name, stable code, HTTP status, retryable, title. */
#define RB_SERVER_STATUS_MAP(X)                                                                    \
    X(EJSON, "invalid_json", 400, 0, "The body is not valid JSON")                                 \
    X(EQUERY, "invalid_query", 400, 0, "A query parameter is unknown or out of range")             \
    X(EHEADER, "invalid_header", 400, 0, "A request header is malformed")                          \
    X(EDIGEST, "digest_mismatch", 422, 0, "The body does not match its digest")                    \
    X(EMETHOD, "method_not_allowed", 405, 0, "The resource does not know this method")             \
    X(EACCEPT, "not_acceptable", 406, 0, "No representation fits the Accept header")               \
    X(EBODYTIMEOUT, "body_timeout", 408, 1, "The request took too long to arrive")                 \
    X(ECONFLICT, "conflict", 409, 0, "The resource's state does not allow this")                   \
    X(EINUSE, "in_use", 409, 0, "The resource is used by a live job")                              \
    X(EINFLIGHT, "idempotency_in_flight", 409, 1, "The first request with this key is running")    \
    X(EPRECOND, "precondition_failed", 412, 0, "The resource has changed since it was read")       \
    X(ETOOLARGE, "too_large", 413, 0, "The body is larger than allowed")                           \
    X(EURITOOLONG, "uri_too_long", 414, 0, "The request target is too long")                       \
    X(EMEDIA, "unsupported_media_type", 415, 0, "The media type is not supported here")            \
    X(ERANGE, "range_not_satisfiable", 416, 0, "The range lies outside the artifact")              \
    X(EIDEMPOTENCY, "idempotency_mismatch", 422, 0, "The key was used for another request")        \
    X(EPRECONDREQ, "precondition_required", 428, 0, "If-Match is required here")                   \
    X(EAUTH, "unauthorized", 401, 0, "A valid token is required")                                  \
    X(ESCOPE, "forbidden", 403, 0, "The token's scope does not allow this")                        \
    X(EORIGIN, "origin_refused", 403, 0, "The request's origin or host is not allowed")            \
    X(EHOST, "misdirected_request", 421, 0, "The Host header names another server")                \
    X(EQUEUEFULL, "queue_full", 429, 1, "The queue is full")                                       \
    X(EBUSY, "too_many_connections", 429, 1, "Too many connections")                               \
    X(EHEADERSIZE, "headers_too_large", 431, 0, "The request's headers are too large")             \
    X(EDRAINING, "draining", 503, 1, "The daemon is shutting down")                                \
    X(ECRASHLOOP, "crash_loop", 500, 0, "The job ended the daemon three times")                    \
    X(EVERSION, "newer_store", 500, 0, "The store was written by a newer rebasind")                \
    X(ELOCKED, "data_dir_locked", 500, 0, "Another daemon holds the data folder")                  \
    X(EUSAGE, "usage", 400, 0, "The command line or configuration is wrong")

enum rb_server_status {
    RB_SERVER_STATUS_BASE = RB_STATUS_COUNT - 1,
#define RB_SERVER_STATUS_ENUM(name, code, http, retryable, title) RB_SERVER_STATUS_##name,
    RB_SERVER_STATUS_MAP(RB_SERVER_STATUS_ENUM)
#undef RB_SERVER_STATUS_ENUM
        RB_PROBLEM_COUNT /* of all: statuses run from RB_OK to here */
};

/* An enumeration cannot be continued elsewhere, so these are constants of core's. */
#define RB_SERVER_STATUS(name) ((enum rb_status)RB_SERVER_STATUS_##name)
#define RB_EJSON RB_SERVER_STATUS(EJSON)
#define RB_EQUERY RB_SERVER_STATUS(EQUERY)
#define RB_EHEADER RB_SERVER_STATUS(EHEADER)
#define RB_EDIGEST RB_SERVER_STATUS(EDIGEST)
#define RB_EMETHOD RB_SERVER_STATUS(EMETHOD)
#define RB_EACCEPT RB_SERVER_STATUS(EACCEPT)
#define RB_EBODYTIMEOUT RB_SERVER_STATUS(EBODYTIMEOUT)
#define RB_ECONFLICT RB_SERVER_STATUS(ECONFLICT)
#define RB_EINUSE RB_SERVER_STATUS(EINUSE)
#define RB_EINFLIGHT RB_SERVER_STATUS(EINFLIGHT)
#define RB_EPRECOND RB_SERVER_STATUS(EPRECOND)
#define RB_ETOOLARGE RB_SERVER_STATUS(ETOOLARGE)
#define RB_EURITOOLONG RB_SERVER_STATUS(EURITOOLONG)
#define RB_EMEDIA RB_SERVER_STATUS(EMEDIA)
#define RB_ERANGE RB_SERVER_STATUS(ERANGE)
#define RB_EIDEMPOTENCY RB_SERVER_STATUS(EIDEMPOTENCY)
#define RB_EPRECONDREQ RB_SERVER_STATUS(EPRECONDREQ)
#define RB_EAUTH RB_SERVER_STATUS(EAUTH)
#define RB_ESCOPE RB_SERVER_STATUS(ESCOPE)
#define RB_EORIGIN RB_SERVER_STATUS(EORIGIN)
#define RB_EHOST RB_SERVER_STATUS(EHOST)
#define RB_EQUEUEFULL RB_SERVER_STATUS(EQUEUEFULL)
#define RB_EBUSY RB_SERVER_STATUS(EBUSY)
#define RB_EHEADERSIZE RB_SERVER_STATUS(EHEADERSIZE)
#define RB_EDRAINING RB_SERVER_STATUS(EDRAINING)
#define RB_ECRASHLOOP RB_SERVER_STATUS(ECRASHLOOP)
#define RB_EVERSION RB_SERVER_STATUS(EVERSION)
#define RB_ELOCKED RB_SERVER_STATUS(ELOCKED)
#define RB_EUSAGE RB_SERVER_STATUS(EUSAGE)

/* Stable code ("shape_mismatch"), title, HTTP status, and whether trying again can help. RB_OK
 * gives "ok", "OK", 200, false. Never NULL. */
const char *rb_problem_code(enum rb_status status);
const char *rb_problem_title(enum rb_status status);
int rb_problem_http(enum rb_status status);
bool rb_problem_retryable(enum rb_status status);
/* What a person can do about it, in a sentence or two. Never NULL. */
const char *rb_problem_remedy(enum rb_status status);
/* The status with that stable code, RB_OK if there is none. */
enum rb_status rb_problem_status(const char *code);

#endif
