#include "api/retention.h"

static void encode_age(struct rb_json *w, const char *key, uint64_t ms)
{
    if (ms > 0)
        rb_json_number(w, key, (double)ms * 1e-3);
    else
        rb_json_null(w, key);
}

static void encode_item(struct rb_json *w, const struct rb_retired *item)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "job", item->id);
    rb_json_string(w, "removes", item->whole ? "job" : "artifacts");
    rb_json_text_or_null(w, "submitted_by", item->submitted_by);
    rb_json_time(w, "finished_at", item->finished_ms);
    rb_json_uint(w, "bytes", item->bytes);
    rb_json_end(w);
}

void rb_retention_encode(struct rb_json *w, const struct rb_retention *keep,
                         const struct rb_retention_totals *totals, const struct rb_retired *items,
                         size_t count)
{
    rb_json_object(w, NULL);
    encode_age(w, "keep_jobs_seconds", keep->jobs_ms);
    encode_age(w, "keep_artifacts_seconds", keep->artifacts_ms);
    rb_json_uint(w, "jobs", totals->jobs);
    rb_json_uint(w, "artifacts", totals->artifacts);
    rb_json_uint(w, "bytes", totals->bytes);
    rb_json_uint(w, "spared", totals->spared);
    rb_json_bool(w, "more", totals->more);
    rb_json_array(w, "data");
    for (size_t i = 0; i < count; i++)
        encode_item(w, &items[i]);
    rb_json_end(w);
    rb_json_end(w);
}
