/* server/base/memory_here.h: how much memory this process may count on. */
#ifndef RB_SERVER_BASE_MEMORY_HERE_H
#define RB_SERVER_BASE_MEMORY_HERE_H

#include <stdint.h>

/* Seven eighths of what the machine has, or of what the process's cgroup (version 2) may have, if
 * that is less: the rest is the kernel's and other jobs' small things. > 0. */
uint64_t rb_memory_here(void);

/* The smallest memory.max of the cgroup that `membership` (what is in /proc/self/cgroup) names and
 * of all above it, in the tree mounted at `root`; UINT64_MAX without any. */
uint64_t rb_memory_of_cgroup(const char *root, const char *membership);

#endif
