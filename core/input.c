#include "core/input.h"

#include <errno.h>
#include <fcntl.h>

static rb_input_opener *opener;
static void *opener_data;

void rb_input_open_by(rb_input_opener *by, void *data)
{
    opener = by;
    opener_data = data;
}

enum rb_status rb_input_open(const char *path, int flags, int *ret_fd, struct rb_error *err)
{
    flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (opener != NULL)
        return opener(opener_data, path, flags, ret_fd, err);
    int fd = open(path, flags);
    if (fd < 0)
        return rb_error_errno(err, errno, path);
    *ret_fd = fd;
    return RB_OK;
}
