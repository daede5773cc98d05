/* bench_open: what opening a checkpoint costs, format against format.
 *
 *    bench_open REPEAT FOLDER...
 *
 * For each folder a line "open folder=... seconds=... anonymous_kb=... mapped_kb=...": the least
 * time of REPEAT openings (rb_model_open: headers read, every tensor found and its shape checked),
 * and how much more memory a process of its own then holds. Folders are taken in turn in each
 * round, files are in the page cache. */
#include "core/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FOLDERS = 16 };

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void open_model(const char *folder, struct rb_model *ret)
{
    struct rb_error err;
    if (rb_model_open(folder, ret, &err) == RB_OK)
        return;
    (void)fprintf(stderr, "bench_open: %s\n", err.detail);
    exit(1);
}

static double seconds_of(const char *folder)
{
    struct rb_model m;
    double start = now();
    open_model(folder, &m);
    double seconds = now() - start;
    rb_model_deinit(&m);
    return seconds;
}

/* Of this process; key as in /proc/self/status, e.g. "RssAnon:". */
static long status_kb(const char *key)
{
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtol(line + strlen(key), NULL, 10);
    if (f != NULL)
        (void)fclose(f);
    return kb;
}

/* In a child, so that what others left in the heap plays no part. */
static void print_memory(const char *folder, double seconds)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rb_model m;
        long anonymous = status_kb("RssAnon:"), mapped = status_kb("RssFile:");
        open_model(folder, &m);
        (void)printf("open folder=%s seconds=%.6f anonymous_kb=%ld mapped_kb=%ld\n", folder,
                     seconds, status_kb("RssAnon:") - anonymous, status_kb("RssFile:") - mapped);
        (void)fflush(stdout);
        _exit(0);
    }
    (void)waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    double least[FOLDERS];
    int count = argc - 2;
    if (count < 1 || count > FOLDERS) {
        (void)fprintf(stderr, "bench_open REPEAT FOLDER...\n");
        return 2;
    }
    for (long round = -1; round < strtol(argv[1], NULL, 10); round++) /* the first is for warmth */
        for (int i = 0; i < count; i++) {
            double seconds = seconds_of(argv[2 + i]);
            if (round <= 0 || seconds < least[i])
                least[i] = seconds;
        }
    for (int i = 0; i < count; i++)
        print_memory(argv[2 + i], least[i]);
    return 0;
}
