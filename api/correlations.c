#include "api/correlations.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void encode_distribution(struct rb_json *w, const char *key, const struct rb_distribution *d)
{
    static const char *const names[] = {"p5", "p25", "p50", "p75", "p95"};
    rb_json_object(w, key);
    rb_json_number(w, "mean", d->mean);
    rb_json_object(w, "quantiles");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        rb_json_number(w, names[i], d->quantiles[i]);
    rb_json_end(w);
    rb_json_end(w);
}

double rb_correlation_moved(const struct rb_group *g)
{
    return g->correlations.moved_known ? g->correlations.moved.mean : (double)NAN;
}

/* The members of a group, into the open object. */
static void encode_members(struct rb_json *w, const struct rb_group *g)
{
    const struct rb_correlations *c = &g->correlations;
    rb_json_string(w, "name", g->name);
    rb_json_uint(w, "size", g->size);
    rb_json_string(w, "verdict", rb_verdict_names[c->verdict]);
    rb_json_number(w, "weak_share", c->weak_share);
    encode_distribution(w, "before", &c->identity);
    encode_distribution(w, "after", &c->matched);
    if (c->moved_known)
        encode_distribution(w, "moved", &c->moved);
    else
        rb_json_null(w, "moved");
    encode_distribution(w, "best_unmatched", &c->best_unmatched);
}

void rb_correlations_encode(struct rb_json *w, const char *job, const struct rb_alignment *a)
{
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    rb_json_uint(w, "tokens", a->tokens);
    rb_json_array(w, "groups");
    for (size_t i = 0; i < a->group_count; i++) {
        rb_json_object(w, NULL);
        encode_members(w, &a->groups[i]);
        rb_json_end(w);
    }
    rb_json_end(w);
    rb_json_end(w);
}

/* ---- one group ---- */

static void encode_counts(struct rb_json *w, const char *key, const uint64_t *counts)
{
    rb_json_array(w, key);
    for (int i = 0; i < RB_HISTOGRAM_BINS; i++)
        rb_json_uint(w, NULL, counts[i]);
    rb_json_end(w);
}

static void encode_histogram(struct rb_json *w, const struct rb_correlations *c)
{
    rb_json_object(w, "histogram");
    rb_json_array(w, "edges");
    for (int i = 0; i <= RB_HISTOGRAM_BINS; i++)
        rb_json_number(w, NULL, (2.0 * i - RB_HISTOGRAM_BINS) / RB_HISTOGRAM_BINS);
    rb_json_end(w);
    encode_counts(w, "before", c->identity.histogram);
    encode_counts(w, "after", c->matched.histogram);
    encode_counts(w, "best_unmatched", c->best_unmatched.histogram);
    rb_json_end(w);
}

/* The mean of one block of `step` by `step` cells of the stored map. */
static double block_mean(const float *map, uint32_t map_size, uint32_t step, uint32_t row,
                         uint32_t column)
{
    double sum = 0;
    for (uint32_t i = 0; i < step; i++)
        for (uint32_t j = 0; j < step; j++)
            sum += (double)map[(size_t)(row * step + i) * map_size + column * step + j];
    return sum / ((double)step * step);
}

static void encode_map(struct rb_json *w, const char *key, const float *map, uint32_t map_size,
                       uint32_t size)
{
    rb_json_array(w, key);
    for (uint32_t row = 0; row < size; row++) {
        rb_json_array(w, NULL);
        for (uint32_t column = 0; column < size; column++)
            rb_json_float(w, NULL, (float)block_mean(map, map_size, map_size / size, row, column));
        rb_json_end(w);
    }
    rb_json_end(w);
}

void rb_correlation_encode(struct rb_json *w, const char *job, const struct rb_group *group,
                           uint32_t matrix_size)
{
    const struct rb_correlations *c = &group->correlations;
    rb_json_object(w, NULL);
    rb_json_string(w, "job", job);
    encode_members(w, group);
    encode_histogram(w, c);
    if (matrix_size > 0) {
        rb_json_object(w, "matrix");
        rb_json_uint(w, "size", matrix_size);
        encode_map(w, "before", c->heatmap_before, c->heatmap_size, matrix_size);
        encode_map(w, "after", c->heatmap_after, c->heatmap_size, matrix_size);
        rb_json_end(w);
    }
    rb_json_end(w);
}

/* "1, 2, 4, 8" into buffer: what divides n. */
static void list_divisors(uint32_t n, char *buffer, size_t size)
{
    size_t used = 0;
    for (uint32_t i = 1; i <= n && used < size; i++)
        if (n % i == 0)
            used += (size_t)snprintf(buffer + used, size - used, "%s%u", i > 1 ? ", " : "", i);
}

enum rb_status rb_correlation_size_decode(const struct rb_group *group, const char *text,
                                          uint32_t *ret, struct rb_error *err)
{
    const struct rb_correlations *c = &group->correlations;
    if (c->heatmap_size == 0 || c->heatmap_before == NULL || c->heatmap_after == NULL)
        return rb_error_set(err, RB_ENOTFOUND, "group %s has no stored matrix", group->name);
    if (text == NULL) {
        *ret = c->heatmap_size;
        return RB_OK;
    }
    bool digits = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    unsigned long size = digits ? strtoul(text, NULL, 10) : 0;
    if (size == 0 || size > c->heatmap_size || c->heatmap_size % size != 0) {
        char sizes[160];
        list_divisors(c->heatmap_size, sizes, sizeof sizes);
        return rb_error_at(err, RB_EQUERY, "size",
                           "expected a size that divides the stored matrix of group %s: one of %s; "
                           "found \"%.20s\"",
                           group->name, sizes, text);
    }
    *ret = (uint32_t)size;
    return RB_OK;
}
