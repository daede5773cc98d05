/* server/base/fsutil.h: how files are made and opened, by four headers: beneath.h (below a root),
 * tree.h (whole folders), file.h (whole or absent), datadir.h (the lock on the data folder).
 *
 * DESIGN. Every file that rebasind makes or opens under a name that others chose is reached from a
 * folder's descriptor with openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS): no "..", no absolute
 * link, no /proc magic leads out, whatever happens to the tree meanwhile. Every file that must
 * survive power loss goes through struct rb_file_writer: written under a temporary name, synced,
 * renamed, and its folder synced. These are the only places that write blobs, so faults are
 * injected here and nowhere else.
 *
 * Any thread; all of it may block on disk. Errors name the path: RB_EIO, RB_ENOTFOUND, RB_EFILES,
 * RB_EDISKFULL, RB_ENOMEM by errno; RB_EINPUT for a path that leads out of its root.
 */
#ifndef RB_SERVER_BASE_FSUTIL_H
#define RB_SERVER_BASE_FSUTIL_H

#include "server/base/beneath.h"
#include "server/base/datadir.h"
#include "server/base/file.h"
#include "server/base/tree.h"

#endif
