#include "server/work/moments_cache.h"
#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/store/caches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *digest_of(const struct rb_job *job, const char *role)
{
    for (size_t i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].role, role) == 0)
            return job->inputs[i].sha256;
    return "";
}

static void add_text(struct rb_sha256 *h, const char *text)
{
    const char *s = text != NULL ? text : "";
    rb_sha256_add(h, s, strlen(s) + 1);
}

void rb_moments_key(const struct rb_run *run, char ret[RB_SHA256_HEX])
{
    rb_moments_key_for(run, &run->row.job, ret);
}

void rb_moments_key_for(const struct rb_run *run, const struct rb_job *job, char ret[RB_SHA256_HEX])
{
    const struct rb_align_spec *a = &run->spec.align;
    struct rb_sha256 h;
    unsigned char digest[RB_SHA256_BYTES];
    char numbers[160];
    rb_sha256_init(&h);
    add_text(&h, "rebasind moments 1");
    add_text(&h, digest_of(job, "model_a"));
    add_text(&h, digest_of(job, "model_b"));
    add_text(&h, digest_of(job, "align_dataset"));
    add_text(&h, rb_format_name(run->places.align.format));
    add_text(&h, run->places.align.text);
    add_text(&h, run->places.align.text_pair);
    (void)snprintf(numbers, sizeof numbers, "%u %u %d %d %u", a->max_sequences, a->max_length,
                   (int)a->options.pooling, a->options.special_tokens, rb_taps_needed(&a->options));
    add_text(&h, numbers);
    if (rb_align_folds(&a->options)) /* of other features */
        add_text(&h, "folded");
    rb_sha256_end(&h, digest);
    rb_sha256_hex(digest, ret);
}

char *rb_moments_path(const struct rb_work *w, const char *key)
{
    char below[RB_PATH_SIZE];
    return rb_layout_absolute(w->options.data_dir, rb_layout_moments(key, below));
}

enum rb_status rb_moments_write(const struct rb_work *w, const char *key,
                                const struct rb_moments *moments, uint64_t *ret_bytes,
                                struct rb_error *err)
{
    struct stat st;
    char *path = rb_moments_path(w, key);
    if (path == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for a path");
    enum rb_status status = RB_OK;
    if (moments->mapped == NULL) { /* else they lie there already */
        status = rb_mkdirs_beneath(w->options.data_fd, RB_LAYOUT_MOMENTS, err);
        if (status == RB_OK)
            status = rb_moments_save(moments, path, err);
    }
    if (status == RB_OK && stat(path, &st) == 0)
        *ret_bytes = (uint64_t)st.st_size;
    free(path);
    return status;
}

bool rb_moments_there(struct rb_work *w, const char *key)
{
    struct rb_moments_row row;
    bool found = false;
    if (rb_moments_get(w->store, key, rb_clock_realtime_ms(), &found, &row, NULL) != RB_OK)
        found = false;
    else if (found)
        rb_moments_row_deinit(&row);
    return found;
}

bool rb_moments_known(struct rb_work *w, const char *key)
{
    bool found = rb_moments_there(w, key);
    rb_metrics_add(w->metrics, RB_METER_MOMENTS_HITS, 1, found ? "hit" : "miss", NULL);
    return found;
}

void rb_moments_keep(struct rb_work *w, const char *key, uint64_t bytes)
{
    char below[RB_PATH_SIZE];
    int64_t now_ms = rb_clock_realtime_ms();
    char *key_copy = strdup(key), *file = strdup(strrchr(rb_layout_moments(key, below), '/') + 1);
    struct rb_error err;
    if (key_copy != NULL && file != NULL) {
        struct rb_moments_row row = {.key = key_copy,
                                     .file = file,
                                     .bytes = bytes,
                                     .created_at_ms = now_ms,
                                     .used_at_ms = now_ms};
        if (rb_moments_put(w->store, &row, &err) != RB_OK)
            rb_log_warn("moments are not kept", RB_ERROR_FIELDS(&err));
    }
    free(key_copy);
    free(file);
}

void rb_moments_drop(struct rb_work *w, const char *key)
{
    char below[RB_PATH_SIZE];
    struct rb_error err;
    if (rb_moments_remove(w->store, key, &err) != RB_OK ||
        rb_remove_beneath(w->options.data_fd, rb_layout_moments(key, below), &err) != RB_OK)
        rb_log_warn("moments cannot be removed", RB_ERROR_FIELDS(&err));
}

void rb_moments_trim(struct rb_work *w)
{
    uint64_t total = 0;
    while (rb_moments_total(w->store, &total, NULL) == RB_OK &&
           total > w->options.moments_cache_bytes) {
        struct rb_moments_row row;
        bool found = false;
        if (rb_moments_oldest(w->store, &found, &row, NULL) != RB_OK || !found)
            return;
        rb_moments_drop(w, row.key);
        rb_moments_row_deinit(&row);
        uint64_t left = total;
        if (rb_moments_total(w->store, &left, NULL) != RB_OK || left >= total)
            return; /* the store refuses; the next job tries again */
    }
}
