#include "core/tensor/map.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct rb_map {
    struct rb_map *next; /* set before the node is published, never changed */
    /* An owner takes the node by `taken`. The range is empty unless a mapping is open: `end` is
     * the last thing set and the first thing cleared. */
    atomic_bool taken, damaged;
    atomic_uintptr_t begin, end;
    struct stat file; /* when it was mapped */
};

static _Atomic(struct rb_map *) maps;
static atomic_long page_bytes; /* sysconf is not async-signal-safe */

static struct rb_map *node_take(void)
{
    struct rb_map *m = atomic_load(&maps);
    for (; m != NULL; m = m->next) {
        bool taken = false;
        if (atomic_compare_exchange_strong(&m->taken, &taken, true))
            return m;
    }
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    atomic_store(&m->taken, true);
    m->next = atomic_load(&maps);
    while (!atomic_compare_exchange_weak(&maps, &m->next, m))
        ;
    return m;
}

enum rb_status rb_map_open(int fd, const struct stat *st, const char *label, struct rb_map **ret,
                           struct rb_error *err)
{
    atomic_store(&page_bytes, sysconf(_SC_PAGESIZE));
    struct rb_map *m = node_take();
    if (m == NULL)
        return rb_error_set(err, RB_ENOMEM, "%s: no memory to map it", label);
    void *data = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        atomic_store(&m->taken, false);
        return rb_error_errno(err, errno, label);
    }
    m->file = *st;
    atomic_store(&m->damaged, false);
    atomic_store(&m->begin, (uintptr_t)data);
    atomic_store(&m->end, (uintptr_t)data + (size_t)st->st_size);
    *ret = m;
    return RB_OK;
}

void rb_map_close(struct rb_map *map)
{
    if (map == NULL)
        return;
    void *data = (void *)atomic_load(&map->begin);
    atomic_store(&map->end, 0);
    atomic_store(&map->begin, 0);
    (void)munmap(data, (size_t)map->file.st_size);
    atomic_store(&map->taken, false);
}

const unsigned char *rb_map_data(const struct rb_map *map)
{
    return (const unsigned char *)atomic_load(&map->begin);
}

uint64_t rb_map_bytes(const struct rb_map *map)
{
    return (uint64_t)map->file.st_size;
}

void rb_map_forget(const struct rb_map *map, const void *data, size_t bytes)
{
    if (map == NULL)
        return;
    uintptr_t page = (uintptr_t)atomic_load(&page_bytes), first = (uintptr_t)data;
    uintptr_t end = first + bytes;
    if (first < atomic_load(&map->begin) || end > atomic_load(&map->end))
        return;
    first = (first + page - 1) / page * page;
    end = end / page * page;
    if (first < end)
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

bool rb_map_damaged(const struct rb_map *map)
{
    return atomic_load(&map->damaged);
}

bool rb_map_same_file(const struct rb_map *map, const struct stat *st)
{
    const struct stat *was = &map->file;
    return was->st_dev == st->st_dev && was->st_ino == st->st_ino && was->st_size == st->st_size &&
           was->st_mtim.tv_sec == st->st_mtim.tv_sec && was->st_mtim.tv_nsec == st->st_mtim.tv_nsec;
}

/* One page and no more: it is the one that faulted, so nothing of value can be in its place. */
static bool put_zero_page(uintptr_t address)
{
    uintptr_t page = (uintptr_t)atomic_load(&page_bytes);
    void *at = mmap((void *)(address / page * page), page, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return at != MAP_FAILED;
}

bool rb_map_sigbus(void *address)
{
    int saved_errno = errno;
    uintptr_t at = (uintptr_t)address;
    bool ours = false;
    /* No stop at the first hit: a node that is just being closed and opened again can show a
     * range it never had, and the mapping that is truly meant must be marked in any case. */
    for (struct rb_map *m = atomic_load(&maps); m != NULL; m = m->next) {
        uintptr_t begin = atomic_load(&m->begin), end = atomic_load(&m->end);
        if (at < begin || at >= end)
            continue;
        atomic_store(&m->damaged, true);
        ours = put_zero_page(at) || ours;
    }
    errno = saved_errno;
    return ours;
}
