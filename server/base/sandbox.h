/* server/base/sandbox.h: what the daemon takes away from itself before it reads a stranger's byte.
 *
 * DESIGN. Four locks, each for what the others leave open, and none needs a privilege:
 *  - no_new_privs: no set-user-id program gives anything back;
 *  - rlimits: no core dump (it would hold models and texts), no locked memory, no real-time
 *    priority, no message queues; as many descriptors as there are now, never more;
 *  - Landlock: files only below the data folder (read and write) and below the import roots, the
 *    token file's folder and a short table of /proc (read); TCP only by listening on one's own port
 *    (kernel 6.7 on); no signals and no abstract sockets to processes outside (6.12 on);
 *  - seccomp: the calls in the table of sandbox_seccomp.c. What else there is answers as if the
 *    kernel were too old for it; a call that only an intruder makes (execve, ptrace, mount, …) ends
 *    the process. Memory that can be executed can neither be made nor changed.
 * All of it lasts until the process ends and holds for every thread made later. Landlock binds the
 * calling thread only, so the threads that OpenBLAS starts when it is loaded are ended first (they
 * come back, inside, if they are ever needed); seccomp binds all threads at once.
 *
 * Where the kernel lacks something, the rest is applied, and the report says what is missing.
 */
#ifndef RB_SERVER_BASE_SANDBOX_H
#define RB_SERVER_BASE_SANDBOX_H

#include "server/base/config.h"

enum rb_sandbox_part {
    RB_SANDBOX_NO_NEW_PRIVS,
    RB_SANDBOX_RLIMITS,
    RB_SANDBOX_LANDLOCK,
    RB_SANDBOX_SECCOMP,
    RB_SANDBOX_PART_COUNT
};
/* "no_new_privs", "rlimits", "landlock", "seccomp". */
extern const char *const rb_sandbox_part_names[RB_SANDBOX_PART_COUNT];

/* PARTIAL: it is on, but something that a newer kernel could hold is free. */
enum rb_sandbox_state { RB_SANDBOX_OFF, RB_SANDBOX_PARTIAL, RB_SANDBOX_ON };
extern const char *const rb_sandbox_state_names[]; /* "off", "partial", "on" */

struct rb_sandbox_report {
    struct {
        enum rb_sandbox_state state;
        char detail[192]; /* what is held, what is free, or why it is off */
    } parts[RB_SANDBOX_PART_COUNT];
    char text[RB_SANDBOX_PART_COUNT * 224]; /* all of them in one line, for readyz?verbose */
};

/* Applies what --sandbox asks for to this process, for good: call it once data_dir (absolute, as in
 * struct rb_server) exists, before the store is opened, sockets are bound and threads are made.
 * With `auto`, what cannot be had is left out; with `require` that is RB_EUSAGE naming it; with
 * `off` nothing is done. An import root that does not exist (yet) is out of reach until the next
 * start, and logged. RB_EIO if data_dir cannot be opened, RB_EUSAGE as above; what was applied
 * before an error stays. The main thread, alone. */
enum rb_status rb_sandbox_apply(const struct rb_settings *settings, const char *data_dir,
                                struct rb_sandbox_report *ret, struct rb_error *err) RB_MUST_CHECK;

/* One line a part: "sandbox part=landlock state=on detail=…"; a warning where it is off. */
void rb_sandbox_log(const struct rb_sandbox_report *report);

#endif
