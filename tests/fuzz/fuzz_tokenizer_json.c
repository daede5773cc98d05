/* The files of a tokenizer and a text, all from one input, read from a real folder by the code that
 * a daemon reads it with:
 *   byte 0       even: tokenizer.json; odd: vocab.json
 *   up to 0xFE   that file
 *   up to 0xFE   merges.txt (odd only)
 *   up to 0xFE   tokenizer_config.json
 *   the rest     text
 * 0xFE never occurs in UTF-8. What is refused must be told in UTF-8; what is taken must give ids of
 * tokens, the same twice, and be equal to itself. */
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_open.h"

#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[] = "/dev/shm/rb-fuzz-XXXXXX";
static int folder = -1;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static int remove_one(const char *file, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(file);
}

static void remove_root(void)
{
    (void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(void)
{
    require(mkdtemp(root) != NULL);
    folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(folder >= 0);
    atexit(remove_root);
}

/* The part before the next 0xFE becomes a file; an empty one is no file. */
static void put_part(const char *name, const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size > 0 ? memchr(*data, 0xFE, *size) : NULL;
    size_t bytes = end != NULL ? (size_t)(end - *data) : *size;
    (void)unlinkat(folder, name, 0);
    if (bytes > 0) {
        int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        require(fd >= 0 && write(fd, *data, bytes) == (ssize_t)bytes);
        close(fd);
    }
    size_t used = bytes + (end != NULL);
    *data += used;
    *size -= used;
}

static void check(const struct rb_tokenizer *t, const char *text, size_t bytes)
{
    struct rb_ids ids = {0};
    require(rb_tokenizer_encode(t, text, bytes, &ids, NULL) == RB_OK);
    size_t count = ids.count;
    for (size_t i = 0; i < count; i++)
        require(rb_tokenizer_token(t, ids.ids[i]) != NULL &&
                (size_t)ids.ids[i] < rb_tokenizer_vocab_size(t));
    require(rb_tokenizer_encode(t, text, bytes, &ids, NULL) == RB_OK && ids.count == 2 * count);
    require(count == 0 || memcmp(ids.ids, ids.ids + count, count * sizeof *ids.ids) == 0);
    free(ids.ids);
    require(rb_tokenizer_equal(t, t, NULL) == RB_OK);
    for (int pair = 0; pair < 2; pair++)
        require(rb_template_tokens(rb_tokenizer_template(t, pair)) <= 3 * RB_TEMPLATE_PART_IDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_error err = {0};
    struct rb_tokenizer *t;
    if (size == 0)
        return 0;
    if (folder < 0)
        make_folder();
    bool files = data[0] & 1;
    data++;
    size--;
    (void)unlinkat(folder, files ? "tokenizer.json" : "vocab.json", 0);
    put_part(files ? "vocab.json" : "tokenizer.json", &data, &size);
    if (files)
        put_part("merges.txt", &data, &size);
    put_part("tokenizer_config.json", &data, &size);
    if (rb_tokenizer_open(root, &t, &err) != RB_OK) {
        json_t *told = json_string(err.detail);
        require(told != NULL && err.detail[0] != '\0');
        json_decref(told);
        return 0;
    }
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    check(t, text, size);
    free(text);
    rb_tokenizer_free(t);
    return 0;
}
