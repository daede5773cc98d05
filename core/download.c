#include "core/download.h"

#include <string.h>
#include <strings.h>

const char rb_download_pointer[] =
    "a Git LFS pointer, not the file itself: run `git lfs pull` in the folder it was cloned to, or "
    "fetch the file with `huggingface-cli download`";
const char rb_download_page[] =
    "an HTML page, not the file itself: the download was answered by a page; if the model asks to "
    "be logged in (a gated model), accept its terms on the Hub, run `huggingface-cli login` and "
    "fetch it again";

const char *rb_download_failed(const char *text, size_t bytes)
{
    static const struct {
        const char *begins, *sentence;
    } rows[] = {{"version https://git-lfs", rb_download_pointer},
                {"<!doctype html", rb_download_page},
                {"<html", rb_download_page}};
    size_t start = 0;
    while (start < bytes && start < 64 && text[start] != '\0' &&
           strchr(" \t\r\n", text[start]) != NULL)
        start++;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = strlen(rows[i].begins);
        if (bytes - start >= n && strncasecmp(text + start, rows[i].begins, n) == 0)
            return rows[i].sentence;
    }
    return NULL;
}
