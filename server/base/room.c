#include "server/base/room.h"
#include "server/base/beneath.h"
#include "server/base/datadir.h"
#include "server/base/layout.h"
#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool lies_there(int root_fd)
{
    struct stat st;
    return fstatat(root_fd, RB_LAYOUT_RESERVE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size >= RB_ROOM_RESERVE_BYTES;
}

static void give_up(struct rb_room *room)
{
    (void)unlinkat(room->root_fd, RB_LAYOUT_RESERVE, 0);
    room->is_held = false;
}

static enum rb_status make_reserve(struct rb_room *room, struct rb_error *err)
{
    int fd;
    enum rb_status status = rb_open_beneath(room->root_fd, RB_LAYOUT_RESERVE,
                                            O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, &fd, err);
    if (status != RB_OK)
        return status;
    int failure = posix_fallocate(fd, 0, (off_t)RB_ROOM_RESERVE_BYTES);
    (void)close(fd);
    if (failure == 0) {
        room->is_held = true;
        return RB_OK;
    }
    give_up(room);
    return rb_error_errno(err, failure, RB_LAYOUT_RESERVE);
}

bool rb_room_settle(struct rb_room *room, uint64_t free_bytes)
{
    struct rb_error err = {.status = RB_OK};
    bool was_short = room->is_short;
    room->free_bytes = free_bytes;
    if (room->is_held && free_bytes < RB_ROOM_LEAST_BYTES)
        give_up(room);
    else if (!room->is_held && free_bytes >= RB_ROOM_AGAIN_BYTES)
        (void)!make_reserve(room, &err);
    /* A disk that cannot be written at all is told by those who must write. */
    room->is_short = !room->is_held && (err.status == RB_OK || err.status == RB_EDISKFULL);
    if (room->is_short && !was_short)
        rb_log_warn("disk is full: only reads, cancellations and deletions are served",
                    RB_U("free_mib", free_bytes >> 20),
                    RB_U("needed_mib", RB_ROOM_AGAIN_BYTES >> 20));
    else if (was_short && !room->is_short)
        rb_log_info("disk has room again", RB_U("free_mib", free_bytes >> 20));
    return room->is_short != was_short;
}

bool rb_room_look(struct rb_room *room)
{
    struct rb_error ignored; /* readyz says it */
    uint64_t free_bytes;
    return rb_disk_free(room->root_fd, &free_bytes, &ignored) == RB_OK &&
           rb_room_settle(room, free_bytes);
}

void rb_room_init(struct rb_room *room, int root_fd)
{
    *room = (struct rb_room){.root_fd = root_fd, .is_held = lies_there(root_fd)};
    (void)rb_room_look(room);
}

bool rb_room_spend(struct rb_room *room)
{
    bool held = room->is_held;
    if (held)
        (void)rb_room_settle(room, 0);
    return held;
}

enum rb_status rb_room_check(const struct rb_room *room, struct rb_error *err)
{
    if (room == NULL || !room->is_short)
        return RB_OK;
    return rb_error_set(err, RB_EDISKFULL,
                        "the disk of the data folder is full, %llu MiB are free: until there are "
                        "%llu MiB only reads, cancellations and deletions are served",
                        (unsigned long long)(room->free_bytes >> 20),
                        (unsigned long long)(RB_ROOM_AGAIN_BYTES >> 20));
}
