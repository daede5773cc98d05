/* core/status.h: what can go wrong in core.
 *
 * Every fallible function returns enum rb_status, fills `struct rb_error` with the words for a
 * person, and leaves its ret_ parameters untouched on failure. A row is a status with its stable
 * code and title. Numbers from RB_STATUS_COUNT on belong to the program around core, which may
 * return statuses of its own by the same functions (api/status.h).
 */
#ifndef RB_CORE_STATUS_H
#define RB_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#define RB_STATUS_MAP(X)                                                                           \
    X(RB_EINPUT, "invalid_request", "The request does not fit the contract")                       \
    X(RB_ESAFETENSORS, "invalid_safetensors", "The safetensors file is damaged")                   \
    X(RB_ETORCH, "invalid_torch_file", "The pytorch_model.bin file cannot be used")                \
    X(RB_ECONFIG, "invalid_model_config", "The model's config.json cannot be used")                \
    X(RB_EVOCAB, "invalid_vocabulary", "The vocabulary cannot be used")                            \
    X(RB_EDATASET, "invalid_dataset", "The dataset cannot be used")                                \
    X(RB_ETENSOR, "missing_tensor", "A tensor of the architecture is missing")                     \
    X(RB_ESHAPE, "shape_mismatch", "A tensor has another shape than the model needs")              \
    X(RB_EMODELS, "models_differ", "The two models cannot be merged")                              \
    X(RB_EHEAD, "head_mismatch", "The model's head does not fit the task")                         \
    X(RB_ENUMERIC, "not_finite", "A value is not a finite number")                                 \
    X(RB_ENOTFOUND, "not_found", "No such resource")                                               \
    X(RB_EDISKFULL, "no_space", "The data folder's disk is full")                                  \
    X(RB_ESTORE, "store_unavailable", "The store cannot be used right now")                        \
    X(RB_ENOMEM, "out_of_memory", "Not enough memory")                                             \
    X(RB_EFILES, "out_of_files", "Out of file descriptors")                                        \
    X(RB_EIO, "io_error", "A file could not be read or written")                                   \
    X(RB_EINTERNAL, "internal_error", "A bug in rebasind")                                         \
    X(RB_ECANCELED, "canceled", "The job was canceled")

enum rb_status {
    RB_OK = 0,
#define RB_STATUS_ENUM(sym, code, title) sym,
    RB_STATUS_MAP(RB_STATUS_ENUM)
#undef RB_STATUS_ENUM
        RB_STATUS_COUNT,
    RB_STATUS_LIMIT = 255
};

/* The words for a person: what was found where, and what was expected. */
struct rb_error {
    enum rb_status status;
    char pointer[160]; /* the member of the input at fault; "" if none. In core: its own name */
    char detail[512];  /* UTF-8, no trailing newline */
};

#define RB_MUST_CHECK __attribute__((warn_unused_result))

/* Fills err (may be NULL) and returns status, so that `return rb_error_set(err, RB_ESHAPE, …)`
 * is how every failure is raised. Clears the pointer. */
enum rb_status rb_error_set(struct rb_error *err, enum rb_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the place in the input. core says what a thing is called where core reads it: a key
 * of config.json, an option, a field of a text. Who called with a larger input (a request's body)
 * puts its own pointer to that place there. */
enum rb_status rb_error_at(struct rb_error *err, enum rb_status status, const char *pointer,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Puts a prefix ("model 'bert-a': ") before the detail already in err; returns err's status. */
enum rb_status rb_error_prefix(struct rb_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* From errno of a failed system call on `what` (a path): RB_EDISKFULL, RB_EFILES, RB_ENOMEM,
 * RB_ENOTFOUND or RB_EIO, with strerror in the detail. */
enum rb_status rb_error_errno(struct rb_error *err, int error_number, const char *what);
/* The same of a call that makes or changes `what`, in a folder of our own: that it may not be
 * written is a fault of the host, which passes once it is mended (RB_ESTORE). */
enum rb_status rb_error_errno_writing(struct rb_error *err, int error_number, const char *what);

/* So that compilers and analysers know what these return: never RB_OK, and the very status that was
 * given. (status is evaluated twice: always a constant or a variable.) */
#define rb_error_set(err, status, ...)                                                             \
    (rb_error_set(err, status, __VA_ARGS__), (enum rb_status)(status))
#define rb_error_at(err, status, pointer, ...)                                                     \
    (rb_error_at(err, status, pointer, __VA_ARGS__), (enum rb_status)(status))

/* The stable code ("shape_mismatch"); "ok" for RB_OK, "unknown" for one that is not core's. Never
 * NULL. */
const char *rb_status_code(enum rb_status status);

#endif
