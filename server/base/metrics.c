/* DESIGN. Each metric of the table has an array of series; a series is found by a hash of its label
 * values, compared before the strings are. Label values come from closed sets, so arrays stay
 * short and a request costs a few hundred comparisons of a number at worst. */
#include "server/base/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum kind { COUNTER, GAUGE, HISTOGRAM };
static const char *const kind_names[] = {"counter", "gauge", "histogram"};

enum buckets { NONE, LATENCY, PHASE, BUCKETS_COUNT };
enum { BOUNDS_MAX = 14 };
/* Seconds, ascending, 0 ends; the last bucket is +Inf. */
static const double bounds[BUCKETS_COUNT][BOUNDS_MAX + 1] = {
    [NONE] = {0},
    [LATENCY] = {.0005, .001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10, 0},
    [PHASE] = {.01, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 0},
};

static const struct {
    const char *name, *label1, *label2, *help;
    enum kind kind;
    enum buckets buckets;
} table[RB_METER_COUNT] = {
#define RB_METER_ROW(symbol, kind_, name_, label1_, label2_, buckets_, help_)                      \
    [RB_METER_##symbol] = {"rebasind_" name_, label1_, label2_, help_, kind_, buckets_},
    RB_METER_MAP(RB_METER_ROW)
#undef RB_METER_ROW
};

struct series {
    uint64_t hash;
    char *label1, *label2;
    double value;      /* of a histogram the sum */
    uint64_t *buckets; /* of a histogram: one per bound, then +Inf; each value in one of them */
};

struct family {
    struct series *series;
    size_t count, capacity;
};

struct rb_metrics {
    struct family families[RB_METER_COUNT];
};

static const char other[] = "other";

/* FNV-1a over both values and their ends. */
static uint64_t hash_labels(const char *label1, const char *label2)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (const char *s = label1; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3U;
    h *= 0x100000001b3U;
    for (const char *s = label2; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3U;
    return h;
}

static struct series *find(const struct family *f, const char *label1, const char *label2)
{
    uint64_t hash = hash_labels(label1, label2);
    for (size_t i = 0; i < f->count; i++) {
        struct series *s = &f->series[i];
        if (s->hash == hash && strcmp(s->label1, label1) == 0 && strcmp(s->label2, label2) == 0)
            return s;
    }
    return NULL;
}

static size_t bucket_count(enum rb_meter meter)
{
    size_t n = 0;
    while (bounds[table[meter].buckets][n] > 0)
        n++;
    return n + 1;
}

static bool grow(struct family *f)
{
    if (f->count < f->capacity)
        return true;
    size_t capacity = f->capacity == 0 ? 4 : 2 * f->capacity;
    struct series *larger = realloc(f->series, capacity * sizeof *larger);
    if (larger == NULL)
        return false;
    f->series = larger;
    f->capacity = capacity;
    return true;
}

static void free_series(struct series *s)
{
    free(s->label1);
    free(s->label2);
    free(s->buckets);
}

static struct series *add_series(struct family *f, enum rb_meter meter, const char *label1,
                                 const char *label2)
{
    if (!grow(f))
        return NULL;
    struct series s = {
        .hash = hash_labels(label1, label2), .label1 = strdup(label1), .label2 = strdup(label2)};
    bool histogram = table[meter].kind == HISTOGRAM;
    if (histogram)
        s.buckets = calloc(bucket_count(meter), sizeof *s.buckets);
    if (s.label1 == NULL || s.label2 == NULL || (histogram && s.buckets == NULL)) {
        free_series(&s);
        return NULL;
    }
    f->series[f->count] = s;
    return &f->series[f->count++];
}

/* The series of these labels, made if need be; NULL when out of memory or without metrics. */
static struct series *get_series(struct rb_metrics *m, enum rb_meter meter, const char *label1,
                                 const char *label2)
{
    if (m == NULL)
        return NULL;
    assert((label1 == NULL) == (table[meter].label1[0] == '\0'));
    assert((label2 == NULL) == (table[meter].label2[0] == '\0'));
    label1 = label1 == NULL ? "" : label1;
    label2 = label2 == NULL ? "" : label2;
    struct family *f = &m->families[meter];
    struct series *s = find(f, label1, label2);
    if (s != NULL)
        return s;
    if (f->count >= RB_METRICS_SERIES_MAX - 1) {
        label1 = *label1 != '\0' ? other : "";
        label2 = *label2 != '\0' ? other : "";
        s = find(f, label1, label2);
    }
    return s != NULL ? s : add_series(f, meter, label1, label2);
}

struct rb_metrics *rb_metrics_new(void)
{
    struct rb_metrics *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    for (enum rb_meter i = 0; i < RB_METER_COUNT; i++) {
        if (table[i].label1[0] == '\0' && get_series(m, i, NULL, NULL) == NULL) {
            rb_metrics_free(m);
            return NULL;
        }
    }
    return m;
}

void rb_metrics_free(struct rb_metrics *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < RB_METER_COUNT; i++) {
        for (size_t j = 0; j < m->families[i].count; j++)
            free_series(&m->families[i].series[j]);
        free(m->families[i].series);
    }
    free(m);
}

void rb_metrics_add(struct rb_metrics *m, enum rb_meter meter, double by, const char *label1,
                    const char *label2)
{
    assert(table[meter].kind != HISTOGRAM);
    struct series *s = get_series(m, meter, label1, label2);
    if (s != NULL)
        s->value += by;
}

void rb_metrics_set(struct rb_metrics *m, enum rb_meter meter, double value, const char *label1,
                    const char *label2)
{
    assert(table[meter].kind != HISTOGRAM);
    struct series *s = get_series(m, meter, label1, label2);
    if (s != NULL)
        s->value = value;
}

void rb_metrics_observe(struct rb_metrics *m, enum rb_meter meter, double value, const char *label1)
{
    assert(table[meter].kind == HISTOGRAM);
    struct series *s = get_series(m, meter, label1, NULL);
    if (s == NULL)
        return;
    const double *bound = bounds[table[meter].buckets];
    size_t i = 0;
    while (bound[i] > 0 && value > bound[i])
        i++;
    s->buckets[i]++;
    s->value += value;
}

/* ---- the process ---- */

static size_t count_open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    size_t count = 0;
    for (struct dirent *e; (e = readdir(folder)) != NULL;)
        count += e->d_name[0] != '.';
    (void)closedir(folder);
    return count - 1; /* the folder itself */
}

static uint64_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    uint64_t total_pages, resident_pages;
    bool read = fscanf(f, "%" SCNu64 " %" SCNu64, &total_pages, &resident_pages) == 2;
    (void)fclose(f);
    return read ? resident_pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

void rb_metrics_collect_process(struct rb_metrics *m)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        rb_metrics_set(m, RB_METER_CPU_SECONDS, seconds(usage.ru_utime) + seconds(usage.ru_stime),
                       NULL, NULL);
    rb_metrics_set(m, RB_METER_RESIDENT, (double)resident_bytes(), NULL, NULL);
    rb_metrics_set(m, RB_METER_OPEN_FILES, (double)count_open_files(), NULL, NULL);
}

/* ---- text exposition ---- */

/* Label values: backslash, quote and newline are escaped. */
static void write_label(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            fprintf(out, "\\%c", *value);
        else
            fputc(*value, out);
    }
    fputc('"', out);
}

static void write_name(FILE *out, enum rb_meter meter, const struct series *s, const char *suffix,
                       const char *le)
{
    const char *separator = "{";
    fprintf(out, "%s%s", table[meter].name, suffix);
    const char *names[] = {table[meter].label1, table[meter].label2, "le"};
    const char *values[] = {s->label1, s->label2, le};
    for (size_t i = 0; i < 3; i++) {
        if (names[i][0] == '\0' || values[i] == NULL)
            continue;
        fputs(separator, out);
        write_label(out, names[i], values[i]);
        separator = ",";
    }
    fputs(separator[0] == ',' ? "} " : " ", out);
}

static void write_histogram(FILE *out, enum rb_meter meter, const struct series *s)
{
    const double *bound = bounds[table[meter].buckets];
    uint64_t cumulated = 0;
    for (size_t i = 0; i < bucket_count(meter); i++) {
        char le[32] = "+Inf";
        if (bound[i] > 0)
            (void)snprintf(le, sizeof le, "%g", bound[i]);
        cumulated += s->buckets[i];
        write_name(out, meter, s, "_bucket", le);
        fprintf(out, "%" PRIu64 "\n", cumulated);
    }
    write_name(out, meter, s, "_sum", NULL);
    fprintf(out, "%.17g\n", s->value);
    write_name(out, meter, s, "_count", NULL);
    fprintf(out, "%" PRIu64 "\n", cumulated);
}

/* Help that begins with "* " marks gauges set on demand, for readers of the table only. */
static void write_family(FILE *out, const struct rb_metrics *m, enum rb_meter meter)
{
    const char *help = table[meter].help;
    const struct family *f = &m->families[meter];
    if (f->count == 0)
        return;
    fprintf(out, "# HELP %s %s\n", table[meter].name,
            strncmp(help, "* ", 2) == 0 ? help + 2 : help);
    fprintf(out, "# TYPE %s %s\n", table[meter].name, kind_names[table[meter].kind]);
    for (size_t i = 0; i < f->count; i++) {
        if (table[meter].kind == HISTOGRAM) {
            write_histogram(out, meter, &f->series[i]);
            continue;
        }
        write_name(out, meter, &f->series[i], "", NULL);
        fprintf(out, "%.17g\n", f->series[i].value);
    }
}

enum rb_status rb_metrics_render(const struct rb_metrics *m, char **ret, size_t *ret_bytes,
                                 struct rb_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return rb_error_set(err, RB_ENOMEM, "no memory for the metrics");
    for (enum rb_meter i = 0; i < RB_METER_COUNT; i++)
        write_family(out, m, i);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return rb_error_set(err, RB_ENOMEM, "no memory for the metrics");
    }
    *ret = text;
    *ret_bytes = bytes;
    return RB_OK;
}
