/* A temporary folder for one test, and files in it. Everything that fails ends the test. */
#ifndef RB_TESTS_TMPDIR_H
#define RB_TESTS_TMPDIR_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tmpdir {
    char path[64];
    char joined[4][512]; /* ring of results of tmpdir_path */
    unsigned next;
};

static inline int tmpdir_remove_one(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void tmpdir_init(struct tmpdir *t)
{
    memset(t, 0, sizeof *t);
    strcpy(t->path, "/tmp/rb-test-XXXXXX");
    assert_non_null(mkdtemp(t->path));
}

static inline void tmpdir_deinit(struct tmpdir *t)
{
    assert_int_equal(nftw(t->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* "folder/name"; good for the next three calls. */
static inline const char *tmpdir_path(struct tmpdir *t, const char *name)
{
    char *out = t->joined[t->next++ % 4];
    assert_true(strlen(t->path) + 1 + strlen(name) < sizeof t->joined[0]);
    strcat(strcat(strcpy(out, t->path), "/"), name);
    return out;
}

static inline const char *tmpdir_write(struct tmpdir *t, const char *name, const void *data,
                                       size_t bytes)
{
    const char *path = tmpdir_path(t, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* The whole file, to be freed. */
static inline unsigned char *tmpdir_read(const char *path, size_t *ret_bytes)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    unsigned char *data = malloc((size_t)st.st_size + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(data, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    fclose(f);
    data[st.st_size] = '\0';
    *ret_bytes = (size_t)st.st_size;
    return data;
}

static inline int tmpdir_count(struct tmpdir *t)
{
    int n = 0;
    DIR *d = opendir(t->path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

#endif
