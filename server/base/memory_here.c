#include "server/base/memory_here.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static bool read_text(const char *path, char *ret, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(ret, 1, size - 1, f);
    ret[n] = '\0';
    (void)fclose(f);
    return n > 0;
}

static uint64_t limit_in(const char *root, const char *group)
{
    char path[2 * PATH_BYTES], text[64];
    uint64_t limit;
    (void)snprintf(path, sizeof path, "%s%s/memory.max", root, group);
    if (!read_text(path, text, sizeof text) || sscanf(text, "%" SCNu64, &limit) != 1 || limit == 0)
        return UINT64_MAX; /* "max", or no controller here */
    return limit;
}

uint64_t rb_memory_of_cgroup(const char *root, const char *membership)
{
    char group[PATH_BYTES];
    const char *line = strstr(membership, "0::/");
    if (line == NULL || (line != membership && line[-1] != '\n'))
        return UINT64_MAX;
    size_t length = strcspn(line + 3, "\n");
    if (length >= sizeof group)
        return UINT64_MAX;
    memcpy(group, line + 3, length);
    group[length] = '\0';
    uint64_t least = limit_in(root, "");
    while (group[0] != '\0') {
        uint64_t limit = limit_in(root, group);
        least = limit < least ? limit : least;
        *strrchr(group, '/') = '\0';
    }
    return least;
}

uint64_t rb_memory_here(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t here = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX / 2;
    char text[PATH_BYTES];
    uint64_t group = read_text("/proc/self/cgroup", text, sizeof text)
                         ? rb_memory_of_cgroup("/sys/fs/cgroup", text)
                         : UINT64_MAX;
    here = group < here ? group : here;
    return here - here / 8;
}
