/* A library between rebasind and libc (LD_PRELOAD) for the tests of faults. Nothing of it is in the
 * product.
 *
 * It does two things, each only when its variable is set:
 *  - RB_FAULTS_JOURNAL: a file that tells of every change made to files, in their order: data,
 *    names, syncs, and what was answered to clients. faults.py replays it into what a disk may show
 *    after the process or the power went, at any of these moments.
 *  - RB_FAULTS_CONTROL: a mapped `struct control` by which a test lets the nth allocation, write,
 *    sync, rename, open or reservation fail, or one in so many.
 *
 * One lock orders the changes and the journal, so what the journal says is what happened. stdio's
 * own system calls are inside libc and pass by: the daemon writes no data through stdio.
 * Allocations fail only for callers in the modules that the test names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the real ones ---- */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* ---- faults ---- */

enum class { MEMORY, WRITE, SYNC, RENAME, OPEN, RESERVE, CLASSES };

/* faults.py has the same layout. */
struct fault {
    uint64_t calls, hits;  /* counted here; the test sets them to 0 */
    uint64_t first, last;  /* calls of these numbers, from 1, fail; 0: none */
    uint64_t one_in, seed; /* besides, one in so many; 0: none */
    uint64_t error;        /* errno */
    uint64_t least_bytes;  /* smaller allocations succeed */
    uint64_t modules;      /* a bit for each module whose allocations count */
};
struct control {
    struct fault faults[CLASSES];
};

static struct control *control;

/* The order of faults.py's MODULES; the last is all others. */
static const char *const module_names[] = {"rebasind",      "libsqlite3", "libjansson",
                                           "libmicrohttpd", "libc.so",    "libuv"};
enum { MODULES = sizeof module_names / sizeof module_names[0], RANGES = 32 };
static struct range {
    uintptr_t begin, end;
    unsigned module;
} ranges[RANGES];
static unsigned range_count;

static int add_module(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    unsigned module = MODULES;
    bool *first = data;
    for (unsigned i = 0; i < MODULES; i++)
        if (strncmp(name, module_names[i], strlen(module_names[i])) == 0)
            module = i;
    if (*first) /* the program comes first and has no name */
        module = 0;
    *first = false;
    for (int i = 0; i < info->dlpi_phnum && range_count < RANGES; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0 && module < MODULES)
            ranges[range_count++] = (struct range){
                info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz, module};
    }
    return 0;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

/* Is this call one of those that fail? Sets errno if so. */
static bool strikes(enum class class)
{
    if (control == NULL)
        return false;
    struct fault *f = &control->faults[class];
    uint64_t call = __atomic_add_fetch(&f->calls, 1, __ATOMIC_RELAXED);
    if (!(f->first != 0 && call >= f->first && call <= f->last) &&
        !(f->one_in != 0 && mix(mix(call) + f->seed) % f->one_in == 0))
        return false;
    __atomic_add_fetch(&f->hits, 1, __ATOMIC_RELAXED);
    errno = (int)f->error;
    return true;
}

/* ---- the journal ---- */

struct record { /* followed by the name and the data; faults.py has the same layout */
    uint8_t kind, is_folder;
    uint16_t name_bytes;
    uint32_t data_bytes;
    uint64_t inode, other;
    int64_t offset;
    uint64_t length;
};

static int journal = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void begin(void)
{
    if (journal >= 0)
        pthread_mutex_lock(&lock);
}

static void end(void)
{
    int error = errno;
    if (journal >= 0)
        pthread_mutex_unlock(&lock);
    errno = error;
}

static void put(const struct record *r, const char *name, const void *data)
{
    struct iovec parts[3] = {{(void *)(uintptr_t)r, sizeof *r},
                             {(void *)(uintptr_t)name, r->name_bytes},
                             {(void *)(uintptr_t)data, r->data_bytes}};
    size_t total = sizeof *r + r->name_bytes + r->data_bytes;
    if (syscall(SYS_writev, journal, parts, 3) != (long)total)
        abort(); /* the disk of the test is full */
}

/* The inode of an open file or folder; 0 for anything else. */
static uint64_t inode_of(int fd, bool *ret_regular)
{
    struct stat st;
    if (fd <= STDERR_FILENO || fstat(fd, &st) != 0)
        return 0;
    *ret_regular = S_ISREG(st.st_mode);
    return *ret_regular || S_ISDIR(st.st_mode) ? st.st_ino : 0;
}

/* Where a path ends: the folder's inode and the name in it. */
static uint64_t place(int at, const char *path, const char **ret_name)
{
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');
    struct stat st;
    *ret_name = slash == NULL ? path : slash + 1;
    if (slash == path)
        strcpy(folder, "/");
    else if (slash != NULL && (size_t)(slash - path) < sizeof folder) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
    }
    return fstatat(at, folder, &st, 0) == 0 ? st.st_ino : 0;
}

static bool exists(int at, const char *path)
{
    struct stat st;
    return fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void note_new(int at, const char *path, bool is_folder)
{
    struct stat st;
    const char *name;
    if (fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    struct record r = {.kind = 'C', .is_folder = is_folder, .other = st.st_ino};
    r.inode = place(at, path, &name);
    r.name_bytes = (uint16_t)strlen(name);
    put(&r, name, NULL);
}

static void note_write(int fd, const void *data, int64_t offset, ssize_t count)
{
    bool regular;
    struct record r = {.kind = 'W', .inode = inode_of(fd, &regular), .offset = offset};
    if (r.inode == 0 || !regular || count <= 0)
        return;
    r.data_bytes = (uint32_t)count;
    put(&r, NULL, data);
}

static void note_size(char kind, int fd, int64_t offset, uint64_t length)
{
    bool regular;
    struct record r = {
        .kind = (uint8_t)kind, .inode = inode_of(fd, &regular), .offset = offset, .length = length};
    if (r.inode != 0)
        put(&r, NULL, NULL);
}

static void note_name(char kind, int at, const char *path, uint64_t other)
{
    const char *name;
    struct record r = {.kind = (uint8_t)kind, .other = other};
    r.inode = place(at, path, &name);
    r.name_bytes = (uint16_t)strlen(name);
    put(&r, name, NULL);
}

/* What a client is told, before it is told. */
static void note_reply(int fd, const void *data, size_t count)
{
    struct stat st;
    if (journal < 0 || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    struct record r = {.kind = 'P', .data_bytes = count < 4096 ? (uint32_t)count : 4096};
    begin();
    put(&r, NULL, data);
    end();
}

/* ---- opening ---- */

static int opened(int at, const char *path, int flags, bool there, int fd)
{
    if (journal >= 0 && fd >= 0 && (flags & O_CREAT) != 0 && !there)
        note_new(at, path, false);
    if (journal >= 0 && fd >= 0 && (flags & O_TRUNC) != 0)
        note_size('T', fd, 0, 0);
    return fd;
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    if (strikes(OPEN))
        return -1;
    begin();
    bool there = journal >= 0 && exists(at, path);
    long fd = syscall(SYS_openat, at, path, flags, mode);
    (void)opened(at, path, flags, there, (int)fd);
    end();
    return (int)fd;
}

#define MODE_OF(flags, mode)                                                                       \
    do {                                                                                           \
        if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                              \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            mode = va_arg(list, mode_t);                                                           \
            va_end(list);                                                                          \
        }                                                                                          \
    } while (0)

#define OPEN_FUNCTIONS(suffix)                                                                     \
    int open##suffix(const char *path, int flags, ...)                                             \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        MODE_OF(flags, mode);                                                                      \
        return open_at(AT_FDCWD, path, flags, mode);                                               \
    }                                                                                              \
    int openat##suffix(int at, const char *path, int flags, ...)                                   \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        MODE_OF(flags, mode);                                                                      \
        return open_at(at, path, flags, mode);                                                     \
    }
OPEN_FUNCTIONS()
OPEN_FUNCTIONS(64)

/* openat2 has no function in libc. */
long syscall(long number, ...)
{
    static long (*next)(long, ...);
    long a[6];
    va_list list;
    if (next == NULL)
        next = REAL(syscall);
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number != SYS_openat2)
        return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const char *path = (const char *)a[1];
    const uint64_t *how = (const uint64_t *)a[2]; /* its first member is the flags */
    if (strikes(OPEN))
        return -1;
    begin();
    bool there = journal >= 0 && exists((int)a[0], path);
    long fd = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    (void)opened((int)a[0], path, (int)how[0], there, (int)fd);
    end();
    return fd;
}

/* ---- data ---- */

ssize_t write(int fd, const void *data, size_t count)
{
    bool regular = false;
    note_reply(fd, data, count);
    if (control != NULL && inode_of(fd, &regular) != 0 && strikes(WRITE))
        return -1;
    begin();
    ssize_t n = REAL(write)(fd, data, count);
    if (journal >= 0 && n > 0)
        note_write(fd, data, lseek(fd, 0, SEEK_CUR) - n, n);
    end();
    return n;
}

#define PWRITE_FUNCTION(suffix)                                                                    \
    ssize_t pwrite##suffix(int fd, const void *data, size_t count, off_t offset)                   \
    {                                                                                              \
        if (strikes(WRITE))                                                                        \
            return -1;                                                                             \
        begin();                                                                                   \
        ssize_t n = REAL(pwrite##suffix)(fd, data, count, offset);                                 \
        if (journal >= 0)                                                                          \
            note_write(fd, data, offset, n);                                                       \
        end();                                                                                     \
        return n;                                                                                  \
    }
PWRITE_FUNCTION()
PWRITE_FUNCTION(64)

#define SIZE_FUNCTIONS(suffix)                                                                     \
    int ftruncate##suffix(int fd, off_t size)                                                      \
    {                                                                                              \
        if (strikes(RESERVE))                                                                      \
            return -1;                                                                             \
        begin();                                                                                   \
        int rc = REAL(ftruncate##suffix)(fd, size);                                                \
        if (journal >= 0 && rc == 0)                                                               \
            note_size('T', fd, size, 0);                                                           \
        end();                                                                                     \
        return rc;                                                                                 \
    }                                                                                              \
    int fallocate##suffix(int fd, int mode, off_t offset, off_t length)                            \
    {                                                                                              \
        if (strikes(RESERVE))                                                                      \
            return -1;                                                                             \
        begin();                                                                                   \
        int rc = REAL(fallocate##suffix)(fd, mode, offset, length);                                \
        if (journal >= 0 && rc == 0 && mode == 0)                                                  \
            note_size('A', fd, offset, (uint64_t)length);                                          \
        end();                                                                                     \
        return rc;                                                                                 \
    }
SIZE_FUNCTIONS()
SIZE_FUNCTIONS(64)

#define SYNC_FUNCTION(name)                                                                        \
    int name(int fd)                                                                               \
    {                                                                                              \
        if (strikes(SYNC))                                                                         \
            return -1;                                                                             \
        begin();                                                                                   \
        int rc = journal >= 0 ? 0 : REAL(name)(fd);                                                \
        if (journal >= 0)                                                                          \
            note_size('S', fd, 0, 0);                                                              \
        end();                                                                                     \
        return rc;                                                                                 \
    }
SYNC_FUNCTION(fsync)
SYNC_FUNCTION(fdatasync)

/* ---- names ---- */

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    const char *from_name, *to_name;
    char names[1024];
    if (strikes(RENAME))
        return -1;
    begin();
    int rc = REAL(renameat)(from_at, from, to_at, to);
    if (journal >= 0 && rc == 0) {
        struct record r = {.kind = 'R'};
        r.inode = place(from_at, from, &from_name);
        r.other = place(to_at, to, &to_name);
        size_t n = strlen(from_name) + 1;
        if (n + strlen(to_name) > sizeof names)
            abort();
        memcpy(names, from_name, n);
        memcpy(names + n, to_name, strlen(to_name));
        r.name_bytes = (uint16_t)(n + strlen(to_name));
        put(&r, names, NULL);
    }
    end();
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    struct stat st;
    if (strikes(RENAME))
        return -1;
    begin();
    int rc = REAL(linkat)(from_at, from, to_at, to, flags);
    if (journal >= 0 && rc == 0 && fstatat(to_at, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        note_name('L', to_at, to, st.st_ino);
    end();
    return rc;
}

int unlinkat(int at, const char *path, int flags)
{
    begin();
    int rc = REAL(unlinkat)(at, path, flags);
    if (journal >= 0 && rc == 0)
        note_name('U', at, path, 0);
    end();
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    if (strikes(RENAME))
        return -1;
    begin();
    int rc = REAL(mkdirat)(at, path, mode);
    if (journal >= 0 && rc == 0)
        note_new(at, path, true);
    end();
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- replies ---- */

ssize_t send(int fd, const void *data, size_t count, int flags)
{
    note_reply(fd, data, count);
    return REAL(send)(fd, data, count, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    for (size_t i = 0; i < message->msg_iovlen; i++)
        note_reply(fd, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return REAL(sendmsg)(fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++)
        note_reply(fd, parts[i].iov_base, parts[i].iov_len);
    return REAL(writev)(fd, parts, count);
}

/* ---- memory ---- */

#ifdef RB_FAULTS_MEMORY /* not beside a sanitizer's allocator */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static bool counts(const struct fault *f, const void *caller)
{
    for (unsigned i = 0; i < range_count; i++)
        if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end)
            return (f->modules >> ranges[i].module & 1) != 0;
    return false;
}

static bool memory_strikes(size_t bytes, const void *caller)
{
    if (control == NULL)
        return false;
    const struct fault *f = &control->faults[MEMORY];
    return bytes >= f->least_bytes && counts(f, caller) && strikes(MEMORY);
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t bytes)
{
    if (memory_strikes(bytes, __builtin_return_address(0)))
        return no_memory();
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t each)
{
    if (memory_strikes(count * each, __builtin_return_address(0)))
        return no_memory();
    return __libc_calloc(count, each);
}

void *realloc(void *old, size_t bytes)
{
    if (bytes > 0 && memory_strikes(bytes, __builtin_return_address(0)))
        return no_memory();
    return __libc_realloc(old, bytes);
}

int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
    if (memory_strikes(bytes, __builtin_return_address(0)))
        return ENOMEM;
    return REAL(posix_memalign)(ret, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    if (memory_strikes(bytes, __builtin_return_address(0)))
        return no_memory();
    return REAL(aligned_alloc)(alignment, bytes);
}

#endif

/* ---- the beginning ---- */

__attribute__((constructor)) static void shim_begin(void)
{
    enum { HIGH = 200 }; /* above what the daemon counts and limits */
    const char *path = getenv("RB_FAULTS_JOURNAL");
    if (path != NULL) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, HIGH) : -1;
        if (high < 0)
            abort();
        close(fd);
        journal = high;
    }
    path = getenv("RB_FAULTS_CONTROL");
    if (path != NULL) {
        bool first = true;
        (void)dl_iterate_phdr(add_module, &first);
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
        void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd < 0 || at == MAP_FAILED)
            abort();
        close(fd);
        control = at;
    }
}
