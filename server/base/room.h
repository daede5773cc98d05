/* server/base/room.h: what the daemon does when the disk under its data folder is full.
 *
 * DESIGN. Making room takes room: the database writes to its log that a job is deleted before it
 * forgets it, and opening it makes files. So as long as there is room a file of
 * RB_ROOM_RESERVE_BYTES lies in the data folder for nothing (RB_LAYOUT_RESERVE). When less than
 * RB_ROOM_LEAST_BYTES are free it is given up and room is short: reads, cancellations and deletions
 * are served from what that has freed, nothing else is begun (a job under way waits, the queue
 * stands). Once RB_ROOM_AGAIN_BYTES are free the reserve is made again and all is as before. The
 * state is thus on disk, and a restart finds it: room is short while the reserve is missing.
 *
 * Loop thread only. Blocks on the disk as fstatvfs(2) and unlink(2) do. */
#ifndef RB_SERVER_BASE_ROOM_H
#define RB_SERVER_BASE_ROOM_H

#include "api/status.h"

#include <stdint.h>

#define RB_ROOM_RESERVE_BYTES ((uint64_t)8 << 20)
#define RB_ROOM_LEAST_BYTES ((uint64_t)2 << 20)
#define RB_ROOM_AGAIN_BYTES (2 * RB_ROOM_RESERVE_BYTES)

struct rb_room {
    int root_fd;         /* the data folder's; borrowed */
    bool is_held;        /* the reserve lies there */
    bool is_short;       /* it does not, for want of room */
    uint64_t free_bytes; /* at the last look */
};

/* Looks for the first time; a change for the worse is in the log. */
void rb_room_init(struct rb_room *room, int root_fd);
/* Looks at the disk and does what DESIGN says; true if is_short has changed, which is logged. */
bool rb_room_look(struct rb_room *room);
/* The same with a figure that is known. */
bool rb_room_settle(struct rb_room *room, uint64_t free_bytes);
/* Gives the reserve up although there seems to be room: a quota, which no look shows. True if there
 * was one to give up. */
bool rb_room_spend(struct rb_room *room);
/* RB_EDISKFULL, with what is served and how much is needed, while room is short. room may be NULL:
 * RB_OK. */
enum rb_status rb_room_check(const struct rb_room *room, struct rb_error *err) RB_MUST_CHECK;

#endif
