#include "server/base/layout.h"

#include <sodium.h>
#include <stdio.h>

#define DATABASE "rebasind.db"

const char *const rb_layout_all[] = {
    RB_LAYOUT_JOBS,
    "cache",
    "models",
    "datasets",
    RB_LAYOUT_TEMPORARY,
    DATABASE,
    (DATABASE "-wal"),
    (DATABASE "-shm"),
    RB_LAYOUT_LOCK,
    RB_LAYOUT_RESERVE,
    RB_LAYOUT_TOKENS,
    RB_LAYOUT_TOKENS_LOCK,
    NULL,
};

static char *join(const char *collection, const char *name, const char *file,
                  char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, "%s/%s%s%s", collection, name, file != NULL ? "/" : "",
                   file != NULL ? file : "");
    return buffer;
}

char *rb_layout_database(const char *data_dir, char buffer[RB_DATABASE_PATH_SIZE])
{
    (void)snprintf(buffer, RB_DATABASE_PATH_SIZE, "%s/" DATABASE, data_dir);
    return buffer;
}

char *rb_layout_job(const char *id, const char *file, char buffer[RB_PATH_SIZE])
{
    return join(RB_LAYOUT_JOBS, id, file, buffer);
}

char *rb_layout_model(const char *name, const char *file, char buffer[RB_PATH_SIZE])
{
    return join("models", name, file, buffer);
}

char *rb_layout_dataset(const char *name, const char *file, char buffer[RB_PATH_SIZE])
{
    return join("datasets", name, file, buffer);
}

char *rb_layout_moments(const char *key, char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, RB_LAYOUT_MOMENTS "/%s.safetensors", key);
    return buffer;
}

char *rb_layout_temporary(char buffer[RB_PATH_SIZE])
{
    (void)snprintf(buffer, RB_PATH_SIZE, RB_LAYOUT_TEMPORARY "/%08x%08x", randombytes_random(),
                   randombytes_random());
    return buffer;
}

char *rb_layout_absolute(const char *data_dir, const char *below)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", data_dir, below) < 0 ? NULL : path;
}
