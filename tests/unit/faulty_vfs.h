/* An SQLite VFS that fails on demand and forgets what was not synced.
 *
 * faulty_vfs_register(); rb_store_open(path, "faulty", …). Then:
 *  - faulty.write_code, faulty.sync_code: what writes and syncs answer from now on (0: work);
 *  - faulty.die_at: the process ends (_exit 9) at the sync of that number, before it has happened;
 *  - with faulty.track, each sync copies the file to "<file>.synced"; faulty_power_loss(path) then
 *    puts the database and its log back to what was synced last.
 */
#ifndef RB_TESTS_FAULTY_VFS_H
#define RB_TESTS_FAULTY_VFS_H

#include <sqlite3.h>

#include "unit/tmpdir.h"

static struct {
    int write_code, sync_code;
    bool track;
    long syncs, die_at;
    sqlite3_vfs vfs, *real;
} faulty;

struct faulty_file {
    sqlite3_file base;
    char path[512];
    sqlite3_file *real; /* behind this struct */
};

static struct faulty_file *faulty_of(sqlite3_file *f)
{
    return (struct faulty_file *)f;
}

#define FAULTY_FORWARD(name, parameters, arguments)                                                \
    static int faulty_##name parameters                                                            \
    {                                                                                              \
        sqlite3_file *real = faulty_of(f)->real;                                                   \
        return real->pMethods->name arguments;                                                     \
    }
FAULTY_FORWARD(xClose, (sqlite3_file * f), (real))
FAULTY_FORWARD(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 o), (real, p, n, o))
FAULTY_FORWARD(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (real, n))
FAULTY_FORWARD(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (real, n))
FAULTY_FORWARD(xLock, (sqlite3_file * f, int level), (real, level))
FAULTY_FORWARD(xUnlock, (sqlite3_file * f, int level), (real, level))
FAULTY_FORWARD(xCheckReservedLock, (sqlite3_file * f, int *out), (real, out))
FAULTY_FORWARD(xFileControl, (sqlite3_file * f, int op, void *p), (real, op, p))
FAULTY_FORWARD(xSectorSize, (sqlite3_file * f), (real))
FAULTY_FORWARD(xDeviceCharacteristics, (sqlite3_file * f), (real))
FAULTY_FORWARD(xShmMap, (sqlite3_file * f, int page, int size, int extend, void volatile **p),
               (real, page, size, extend, p))
FAULTY_FORWARD(xShmLock, (sqlite3_file * f, int offset, int n, int flags), (real, offset, n, flags))
FAULTY_FORWARD(xShmUnmap, (sqlite3_file * f, int flag), (real, flag))

static void faulty_xShmBarrier(sqlite3_file *f)
{
    faulty_of(f)->real->pMethods->xShmBarrier(faulty_of(f)->real);
}

static int faulty_xWrite(sqlite3_file *f, const void *p, int n, sqlite3_int64 o)
{
    sqlite3_file *real = faulty_of(f)->real;
    return faulty.write_code != 0 ? faulty.write_code : real->pMethods->xWrite(real, p, n, o);
}

static void faulty_copy(const char *from, const char *to)
{
    size_t bytes;
    unsigned char *data = tmpdir_read(from, &bytes);
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, bytes, out), bytes);
    assert_int_equal(fclose(out), 0);
    free(data);
}

static int faulty_xSync(sqlite3_file *f, int flags)
{
    char synced[520];
    sqlite3_file *real = faulty_of(f)->real;
    if (faulty.sync_code != 0)
        return faulty.sync_code;
    if (++faulty.syncs == faulty.die_at)
        _exit(9);
    if (faulty.track) {
        (void)snprintf(synced, sizeof synced, "%s.synced", faulty_of(f)->path);
        faulty_copy(faulty_of(f)->path, synced);
        return SQLITE_OK;
    }
    return real->pMethods->xSync(real, flags);
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = faulty_xClose,
    .xRead = faulty_xRead,
    .xWrite = faulty_xWrite,
    .xTruncate = faulty_xTruncate,
    .xSync = faulty_xSync,
    .xFileSize = faulty_xFileSize,
    .xLock = faulty_xLock,
    .xUnlock = faulty_xUnlock,
    .xCheckReservedLock = faulty_xCheckReservedLock,
    .xFileControl = faulty_xFileControl,
    .xSectorSize = faulty_xSectorSize,
    .xDeviceCharacteristics = faulty_xDeviceCharacteristics,
    .xShmMap = faulty_xShmMap,
    .xShmLock = faulty_xShmLock,
    .xShmBarrier = faulty_xShmBarrier,
    .xShmUnmap = faulty_xShmUnmap,
};

static int faulty_xOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct faulty_file *file = faulty_of(f);
    (void)vfs;
    file->real = (sqlite3_file *)(file + 1);
    file->base.pMethods = NULL;
    (void)snprintf(file->path, sizeof file->path, "%s", name != NULL ? name : "");
    int code = faulty.real->xOpen(faulty.real, name, file->real, flags, out);
    if (file->real->pMethods != NULL)
        file->base.pMethods = &faulty_methods;
    return code;
}

static inline void faulty_vfs_register(void)
{
    memset(&faulty, 0, sizeof faulty);
    faulty.real = sqlite3_vfs_find(NULL);
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.szOsFile = (int)sizeof(struct faulty_file) + faulty.real->szOsFile;
    faulty.vfs.xOpen = faulty_xOpen;
    assert_int_equal(sqlite3_vfs_register(&faulty.vfs, 0), SQLITE_OK);
}

static inline void faulty_power_loss(const char *database)
{
    static const char *const suffixes[] = {"", "-wal"};
    for (size_t i = 0; i < 2; i++) {
        char path[512], synced[520];
        (void)snprintf(path, sizeof path, "%s%s", database, suffixes[i]);
        (void)snprintf(synced, sizeof synced, "%s.synced", path);
        if (access(synced, F_OK) == 0)
            faulty_copy(synced, path);
        else
            (void)unlink(path);
    }
    char shm[512];
    (void)snprintf(shm, sizeof shm, "%s-shm", database);
    (void)unlink(shm);
}

#endif
