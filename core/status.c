#include "core/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const codes[RB_STATUS_COUNT] = {[RB_OK] = "ok",
#define RB_STATUS_ROW(sym, code, title) [sym] = (code),
                                                   RB_STATUS_MAP(RB_STATUS_ROW)
#undef RB_STATUS_ROW
};

/* How many bytes the UTF-8 character at c takes; 0 if there is none, whole and printable. */
static size_t character_bytes(const unsigned char *c)
{
    if (c[0] < 0x80)
        return c[0] >= 0x20 && c[0] != 0x7f;
    size_t n = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] >= 0xa0, beyond = c[0] == 0xf4 && c[1] >= 0x90;
    bool control = c[0] == 0xc2 && c[1] < 0xa0;
    return overlong || surrogate || beyond || control ? 0 : n;
}

/* Messages quote names from strangers and are cut to fit: what is left must still be UTF-8, for
 * JSON, and one line without control characters, for logs and terminals. */
static void make_printable(char *text)
{
    unsigned char *c = (unsigned char *)text;
    while (*c != '\0') {
        size_t n = character_bytes(c);
        if (n == 0)
            *c = '?';
        c += n > 0 ? n : 1;
    }
}

__attribute__((format(printf, 4, 0))) static enum rb_status fill(struct rb_error *err,
                                                                 enum rb_status status,
                                                                 const char *pointer,
                                                                 const char *format, va_list args)
{
    if (err != NULL) {
        err->status = status;
        (void)snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
        (void)vsnprintf(err->detail, sizeof err->detail, format, args);
        make_printable(err->pointer);
        make_printable(err->detail);
    }
    return status;
}

enum rb_status(rb_error_set)(struct rb_error *err, enum rb_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, "", format, args);
    va_end(args);
    return status;
}

enum rb_status(rb_error_at)(struct rb_error *err, enum rb_status status, const char *pointer,
                            const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, pointer, format, args);
    va_end(args);
    return status;
}

enum rb_status rb_error_prefix(struct rb_error *err, const char *format, ...)
{
    if (err == NULL)
        return RB_EINTERNAL;
    char old[sizeof err->detail];
    memcpy(old, err->detail, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->detail)
        (void)snprintf(err->detail + n, sizeof err->detail - (size_t)n, "%s", old);
    make_printable(err->detail);
    return err->status;
}

enum rb_status rb_error_errno(struct rb_error *err, int error_number, const char *what)
{
    enum rb_status status = RB_EIO;
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* RLIMIT_FSIZE: as full as a disk */
        status = RB_EDISKFULL;
        break;
    case EROFS: /* a disk with errors becomes read-only until someone has looked at it */
        status = RB_ESTORE;
        break;
    case EMFILE:
    case ENFILE:
        status = RB_EFILES;
        break;
    case ENOMEM:
        status = RB_ENOMEM;
        break;
    case ENOENT:
    case ENOTDIR:
        status = RB_ENOTFOUND;
        break;
    default:
        break;
    }
    return rb_error_set(err, status, "%s: %s", what, strerror(error_number));
}

enum rb_status rb_error_errno_writing(struct rb_error *err, int error_number, const char *what)
{
    if (error_number == EACCES || error_number == EPERM)
        return rb_error_set(err, RB_ESTORE, "%s: %s", what, strerror(error_number));
    return rb_error_errno(err, error_number, what);
}

const char *rb_status_code(enum rb_status status)
{
    return status < RB_STATUS_COUNT ? codes[status] : "unknown";
}
