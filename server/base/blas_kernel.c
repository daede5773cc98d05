#include "server/base/blas_kernel.h"

#include "server/base/clock.h"
#include "server/base/fsutil.h"
#include "server/base/hash.h"
#include "server/base/layout.h"
#include "server/base/log.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* For sgemm the three with AVX-512 are the same but for tile sizes; of those the first is in the
 * most builds and measured 2 % faster. */
#define AVX512                                                                                     \
    (RB_CPU_AVX512F | RB_CPU_AVX512DQ | RB_CPU_AVX512CD | RB_CPU_AVX512BW | RB_CPU_AVX512VL |      \
     RB_CPU_AVX2 | RB_CPU_FMA)
const struct rb_blas_kernel rb_blas_kernels[] = {
#if defined(__x86_64__)
    {"SkylakeX", "AVX-512", AVX512},
    {"Cooperlake", "AVX-512", AVX512 | RB_CPU_AVX512BF16},
    {"SapphireRapids", "AVX-512", AVX512 | RB_CPU_AVX512BF16 | RB_CPU_AMX_TILE | RB_CPU_AMX_BF16},
    {"Zen", "AVX2", RB_CPU_AVX2 | RB_CPU_FMA | RB_CPU_AMD},
    {"Haswell", "AVX2", RB_CPU_AVX2 | RB_CPU_FMA},
    {"Sandybridge", "AVX", RB_CPU_AVX},
    {"Nehalem", "SSE4.2", RB_CPU_SSE42},
    {"Prescott", "SSE3", RB_CPU_SSE3},
#elif defined(__aarch64__)
    /* Of the library's choice it is tried first, SVE's too: these two are what there is instead. */
    {"neoversen1", "NEON", 0},
    {"armv8", "NEON", 0},
#endif
    {NULL, NULL, 0},
};

const char *const rb_kernel_origin_names[] = {"library", "daemon", "user", NULL};

static const struct rb_blas_kernel *find(const struct rb_blas_kernel *table, const char *name)
{
    while (table->name != NULL && strcasecmp(table->name, name) != 0)
        table++;
    return table->name != NULL ? table : NULL;
}

static bool runs(const struct rb_blas_kernel *row, uint32_t features)
{
    return (features & row->needs) == row->needs;
}

/* The best row for that processor; its name is NULL if there is none. */
static const struct rb_blas_kernel *best_of(const struct rb_blas_kernel *table, uint32_t features)
{
    while (table->name != NULL && !runs(table, features))
        table++;
    return table;
}

/* ---- choosing ---- */

struct search {
    rb_kernel_trier *try;
    void *data;
    bool found, broken; /* broken: one computed wrongly, crashed or hung */
    struct rb_kernel_verdict v;
};

static void attempt(struct search *s, const char *kernel)
{
    struct rb_kernel_verdict *v = &s->v;
    size_t length = strlen(v->refused);
    s->try(s->data, kernel, &v->trial);
    enum rb_kernel_outcome outcome = v->trial.outcome;
    s->found = outcome == RB_KERNEL_RIGHT;
    s->broken = s->broken || outcome == RB_KERNEL_WRONG || outcome == RB_KERNEL_CRASHED ||
                outcome == RB_KERNEL_HUNG;
    if (!s->found)
        (void)snprintf(v->refused + length, sizeof v->refused - length, "%s%s %s",
                       length > 0 ? ", " : "", kernel, rb_kernel_outcome_words[outcome]);
}

void rb_kernel_choose(const struct rb_blas_kernel *table, uint32_t features, const char *chosen,
                      rb_kernel_trier *try, void *data, struct rb_kernel_verdict *ret)
{
    struct search s = {.try = try, .data = data, .v.trial.outcome = RB_KERNEL_UNTRIED};
    const struct rb_blas_kernel *own = find(table, chosen), *best = best_of(table, features);
    bool own_first = own == NULL || (best->name != NULL &&
                                     strcmp(own->instruction_set, best->instruction_set) == 0);
    if (own_first)
        attempt(&s, chosen);
    for (; !s.found && best->name != NULL; best++)
        if (runs(best, features) && !(own_first && strcasecmp(best->name, chosen) == 0))
            attempt(&s, best->name);
    if (!s.found)
        s.v.trial.outcome = s.broken ? RB_KERNEL_WRONG : RB_KERNEL_UNTRIED;
    *ret = s.v;
}

/* ---- what is kept ---- */

#define VERDICT_FORM "rebasind kernel 1\n%31s %lf %lf\n%n"

static bool recall(int folder_fd, const char *key, struct rb_kernel_verdict *ret)
{
    char *text;
    size_t bytes;
    struct rb_error err;
    struct rb_kernel_verdict v = {.trial.outcome = RB_KERNEL_RIGHT};
    int end = 0;
    if (rb_file_get(folder_fd, key, 1024, &text, &bytes, &err) != RB_OK)
        return false;
    bool read =
        sscanf(text, VERDICT_FORM, v.trial.kernel, &v.trial.rate, &v.trial.limit, &end) == 3 &&
        end > 0 && v.trial.rate > 0 && v.trial.limit > 0;
    if (read)
        (void)snprintf(v.refused, sizeof v.refused, "%.*s", (int)strcspn(text + end, "\n"),
                       text + end);
    free(text);
    if (read)
        *ret = v;
    return read;
}

/* What cannot be kept is found out again. */
static void keep(int folder_fd, const char *key, const struct rb_kernel_verdict *v)
{
    char text[512];
    struct rb_error err;
    int length = snprintf(text, sizeof text, "rebasind kernel 1\n%s %.6g %.6g\n%s\n",
                          v->trial.kernel, v->trial.rate, v->trial.limit, v->refused);
    if (rb_file_put(folder_fd, key, text, (size_t)length, &err) != RB_OK)
        rb_log_warn("the kernel's verdict was not kept", RB_ERROR_FIELDS(&err));
}

void rb_kernel_choose_once(int folder_fd, const char *key, const struct rb_blas_kernel *table,
                           uint32_t features, const char *chosen, rb_kernel_trier *try, void *data,
                           struct rb_kernel_verdict *ret)
{
    if (folder_fd >= 0 && recall(folder_fd, key, ret))
        return;
    rb_kernel_choose(table, features, chosen, try, data, ret);
    if (folder_fd >= 0 && ret->trial.outcome == RB_KERNEL_RIGHT)
        keep(folder_fd, key, ret);
}

/* The library's file stands for its build: a package that is replaced has other times and sizes. */
void rb_kernel_key(const struct rb_cpu *cpu, char *ret, size_t size)
{
    Dl_info library = {0};
    struct stat st = {0};
    char text[1024], hex[RB_SHA256_HEX];
    unsigned char digest[RB_SHA256_BYTES];
    /* A cast through an object: ISO C knows none from functions. */
    union {
        void (*function)(int);
        void *address;
    } of = {.function = openblas_set_num_threads};
    if (dladdr(of.address, &library) == 0 || library.dli_fname == NULL ||
        stat(library.dli_fname, &st) != 0)
        library.dli_fname = "";
    int length = snprintf(text, sizeof text, "%s\n%" PRIx32 "\n%s\n%lld %lld.%09ld\n", cpu->name,
                          cpu->features, library.dli_fname, (long long)st.st_size,
                          (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    rb_sha256_of(text, strnlen(text, (size_t)length), digest);
    rb_sha256_hex(digest, hex);
    (void)snprintf(ret, size, "kernel-%.16s", hex);
}

/* ---- this process ---- */

enum { TRIAL_LIMIT_MS = 10000 };

static struct {
    char *const *argv;
    bool settled, chosen_before, by_user;
    struct rb_kernel_info info;
} self;

void rb_kernel_begin(char *const argv[])
{
    rb_kernel_probe_answer(&rb_products_openblas);
    const char *set = getenv("OPENBLAS_CORETYPE");
    self.argv = argv;
    self.chosen_before = getenv("RB_KERNEL_CHOSEN") != NULL;
    self.by_user = !self.chosen_before && set != NULL && set[0] != '\0';
    /* Whatever this process starts decides for itself. */
    (void)unsetenv("RB_KERNEL_CHOSEN");
    if (self.chosen_before)
        (void)unsetenv("OPENBLAS_CORETYPE");
}

/* Only comes back if the program cannot be started again. */
static void start_again(const char *kernel)
{
    if (setenv("OPENBLAS_CORETYPE", kernel, 1) != 0 || setenv("RB_KERNEL_CHOSEN", kernel, 1) != 0)
        return;
    (void)execv("/proc/self/exe", self.argv);
    (void)unsetenv("OPENBLAS_CORETYPE");
    (void)unsetenv("RB_KERNEL_CHOSEN");
    rb_log_warn("the program could not be started again with the right kernel",
                RB_S("kernel", kernel));
}

static void try_child(void *data, const char *kernel, struct rb_kernel_trial *ret)
{
    (void)data;
    rb_kernel_try(kernel, TRIAL_LIMIT_MS, ret);
}

static void fill_names(struct rb_kernel_info *info, const struct rb_cpu *cpu)
{
    const struct rb_blas_kernel *row = find(rb_blas_kernels, openblas_get_corename());
    *info = (struct rb_kernel_info){
        .instruction_set = row != NULL ? row->instruction_set : NULL,
        .origin = self.chosen_before ? RB_KERNEL_BY_DAEMON
                  : self.by_user     ? RB_KERNEL_BY_USER
                                     : RB_KERNEL_BY_LIBRARY,
    };
    memcpy(info->cpu, cpu->name, sizeof info->cpu);
    (void)snprintf(info->kernel, sizeof info->kernel, "%s", openblas_get_corename());
}

static void measure(struct rb_kernel_info *info, const struct rb_cpu *cpu)
{
    openblas_set_num_threads(1);
    info->rate = rb_products_rate(&rb_products_openblas);
    info->limit = rb_fma_limit(cpu);
}

enum rb_status rb_kernel_settle(int root_fd, const char *folder, struct rb_error *err)
{
    struct rb_cpu cpu;
    struct rb_kernel_verdict v;
    char key[32], path[RB_PATH_SIZE];
    rb_cpu_read(&cpu);
    fill_names(&self.info, &cpu);
    self.settled = true;
    if (self.by_user || self.argv == NULL) {
        const struct rb_blas_kernel *best = best_of(rb_blas_kernels, cpu.features);
        if (self.by_user && best->name != NULL && self.info.instruction_set != NULL &&
            strcmp(best->instruction_set, self.info.instruction_set) != 0)
            self.info.better = best->name;
        measure(&self.info, &cpu);
        return RB_OK;
    }
    rb_kernel_key(&cpu, key, sizeof key);
    (void)snprintf(path, sizeof path, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", key);
    rb_kernel_choose_once(root_fd, path, rb_blas_kernels, cpu.features, self.info.kernel, try_child,
                          NULL, &v);
    if (v.trial.outcome == RB_KERNEL_WRONG)
        return rb_error_set(err, RB_EINTERNAL,
                            "no kernel of this OpenBLAS computes right on this processor (%s): %s",
                            cpu.name, v.refused);
    if (v.refused[0] != '\0')
        rb_log_warn("kernels of OpenBLAS refused", RB_S("refused", v.refused));
    bool right = v.trial.outcome == RB_KERNEL_RIGHT;
    if (right && strcasecmp(v.trial.kernel, self.info.kernel) != 0 && !self.chosen_before)
        start_again(v.trial.kernel);
    if (right && strcasecmp(v.trial.kernel, self.info.kernel) == 0) {
        self.info.rate = v.trial.rate;
        self.info.limit = v.trial.limit;
        self.info.proven = true;
    } else {
        measure(&self.info, &cpu);
    }
    return RB_OK;
}

enum rb_status rb_kernel_settle_cached(struct rb_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[4096] = "";
    int fd = -1;
    if (cache != NULL && cache[0] == '/') /* others are to be ignored, says the standard */
        (void)snprintf(path, sizeof path, "%s/rebasind", cache);
    else if (home != NULL && home[0] == '/')
        (void)snprintf(path, sizeof path, "%s/.cache/rebasind", home);
    if (path[0] != '\0' && rb_root_open(path, true, &fd, err) != RB_OK)
        fd = -1;
    enum rb_status status = rb_kernel_settle(fd, "", err);
    if (fd >= 0)
        (void)close(fd);
    return status;
}

const struct rb_kernel_info *rb_kernel_info(void)
{
    if (!self.settled) {
        struct rb_cpu cpu;
        rb_cpu_read(&cpu);
        fill_names(&self.info, &cpu);
    }
    return &self.info;
}

void rb_kernel_log(const struct rb_kernel_info *info)
{
    rb_log_info("kernel", RB_S("cpu", info->cpu), RB_S("kernel", info->kernel),
                RB_S("instruction_set", info->instruction_set),
                RB_S("chosen_by", rb_kernel_origin_names[info->origin]),
                RB_B("proven", info->proven), RB_D("gflops_per_core", info->rate * 1e-9),
                RB_D("fma_limit_gflops", info->limit * 1e-9));
    if (info->rate <= 0 || info->rate >= info->limit / 2)
        return;
    if (info->better != NULL)
        rb_log_warn(
            "products run below half of what this processor can do, since OPENBLAS_CORETYPE "
            "was set: without it a better kernel is taken",
            RB_S("kernel", info->kernel), RB_S("better", info->better),
            RB_D("share", info->rate / info->limit));
    else
        rb_log_warn("products run below half of what this processor can do; a newer OpenBLAS, or "
                    "another OPENBLAS_CORETYPE, may know it better",
                    RB_S("kernel", info->kernel), RB_D("share", info->rate / info->limit));
}
