#include "api/hf_name.h"

#include <stdio.h>
#include <string.h>

enum { COMMIT_DIGITS = 40 };

static const char FOLDER_PREFIX[] = "models--", SNAPSHOTS[] = "/snapshots/";

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* One part between slashes: begins and ends with a letter, and holds neither ".." nor "--". */
static bool is_part(const char *part, size_t n)
{
    if (n == 0 || !is_letter(part[0]) || !is_letter(part[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        bool mark = part[i] == '.' || part[i] == '-';
        if (!mark && !is_letter(part[i]))
            return false;
        if (mark && i > 0 && part[i - 1] == part[i])
            return false;
    }
    return true;
}

/* At most `most` parts with slashes between them. */
static bool is_parts(const char *text, size_t n, size_t most)
{
    size_t from = 0, parts = 0;
    for (size_t i = 0; i <= n; i++)
        if (i == n || text[i] == '/') {
            if (++parts > most || !is_part(text + from, i - from))
                return false;
            from = i + 1;
        }
    return true;
}

bool rb_hf_name_parse(const char *text, struct rb_hf_name *ret)
{
    size_t n = strcspn(text, "@");
    const char *revision = text[n] == '@' ? text + n + 1 : "";
    if (n >= sizeof ret->repository || strlen(revision) >= sizeof ret->revision)
        return false;
    if (!is_parts(text, n, 2) ||
        (text[n] == '@' && !is_parts(revision, strlen(revision), 8))) /* refs/pr/1 */
        return false;
    (void)snprintf(ret->repository, sizeof ret->repository, "%.*s", (int)n, text);
    (void)snprintf(ret->revision, sizeof ret->revision, "%s", revision);
    return true;
}

bool rb_hf_commit_valid(const char *text)
{
    return strlen(text) == COMMIT_DIGITS && strspn(text, "0123456789abcdef") == COMMIT_DIGITS;
}

void rb_hf_name_folder(const struct rb_hf_name *name, char ret[RB_HF_NAME_SIZE])
{
    const char *slash = strchr(name->repository, '/');
    int org = slash != NULL ? (int)(slash - name->repository) : 0;
    (void)snprintf(ret, RB_HF_NAME_SIZE, "%s%.*s%s%s", FOLDER_PREFIX, org, name->repository,
                   slash != NULL ? "--" : "", slash != NULL ? slash + 1 : name->repository);
}

bool rb_hf_name_of_path(const char *path, struct rb_hf_name *ret)
{
    char text[RB_HF_NAME_SIZE];
    const char *commit = strrchr(path, '/');
    size_t tail = sizeof SNAPSHOTS - 2; /* without its last '/' */
    if (commit == NULL || !rb_hf_commit_valid(commit + 1) || (size_t)(commit - path) < tail ||
        strncmp(commit - tail, SNAPSHOTS, tail + 1) != 0)
        return false;
    const char *end = commit - tail, *from = end;
    while (from > path && from[-1] != '/')
        from--;
    size_t prefix = sizeof FOLDER_PREFIX - 1, n = (size_t)(end - from);
    if (n <= prefix || strncmp(from, FOLDER_PREFIX, prefix) != 0 || n - prefix >= 300)
        return false;
    (void)snprintf(text, sizeof text, "%.*s", (int)(n - prefix), from + prefix);
    char *dashes = strstr(text, "--");
    if (dashes != NULL) {
        dashes[0] = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    }
    size_t used = strlen(text);
    (void)snprintf(text + used, sizeof text - used, "@%s", commit + 1);
    return rb_hf_name_parse(text, ret);
}
