#include "server/base/kernel_probe.h"

#include "core/memory.h"
#include "server/base/clock.h"
#include "server/base/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

const struct rb_products rb_products_openblas = {cblas_sgemm, cblas_dgemm, openblas_get_corename};

const char *const rb_kernel_outcome_words[] = {
    "right", "not in this library", "computes wrongly", "crashes", "hangs", "could not be tried",
};

/* ---- products against the reference ---- */

struct shape {
    int m, n, k;
};
/* Single units, rows, columns, around the tiles of kernels (4, 6, 8, 16, 24, 48), tall, wide, deep,
 * and more than one block of every kernel's depth. */
static const struct shape shapes[] = {
    {1, 1, 1},   {3, 5, 7},     {1, 769, 33},   {521, 1, 65},   {17, 31, 799},
    {65, 49, 8}, {449, 37, 61}, {33, 1031, 17}, {95, 143, 401},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], ROOM = 3 };

/* |left| <= 2047 (11 bits), |right| <= 10, depth below 820: sums stay below 2^24. In F64 left is
 * taken times 2^20 + 1, which F32 could not hold. */
enum { LEFT = 2047, RIGHT = 10 };
#define WIDE 1048577.0

struct matrices {
    float *left, *right, *before, *expected; /* (m, k) (k, n) (m, n) (m, n), row-major, dense */
    void *a, *b, *c;                         /* as handed to the product, in its type */
};

static int whole(uint32_t *state, int most)
{
    *state = *state * 1664525U + 1013904223U;
    return (int)(*state >> 8) % (2 * most + 1) - most;
}

static void make(const struct shape *s, struct matrices *x)
{
    uint32_t state = (uint32_t)(s->m * 31 + s->n * 7 + s->k);
    size_t m = (size_t)s->m, n = (size_t)s->n, k = (size_t)s->k;
    for (size_t i = 0; i < m * k; i++)
        x->left[i] = (float)whole(&state, LEFT);
    for (size_t i = 0; i < k * n; i++)
        x->right[i] = (float)whole(&state, RIGHT);
    for (size_t i = 0; i < m * n; i++)
        x->before[i] = (float)whole(&state, LEFT);
    memset(x->expected, 0, m * n * sizeof(float));
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < n; j++)
                x->expected[i * n + j] += x->left[i * k + l] * x->right[l * n + j];
}

static void put(void *to, bool wide, size_t at, double value)
{
    if (wide)
        ((double *)to)[at] = value;
    else
        ((float *)to)[at] = (float)value;
}

static double get(const void *from, bool wide, size_t at)
{
    return wide ? ((const double *)from)[at] : (double)((const float *)from)[at];
}

/* A dense (rows, columns) matrix as the product wants it: transposed or not, with room after each
 * row. Returns its leading dimension. */
static int lay(const float *dense, int rows, int columns, bool transposed, bool wide, double scale,
               void *to)
{
    int step = (transposed ? rows : columns) + ROOM;
    size_t all = (size_t)step * (size_t)(transposed ? columns : rows);
    for (size_t i = 0; i < all; i++)
        put(to, wide, i, NAN); /* what lies between the rows must not be read */
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            put(to, wide, (size_t)(transposed ? j * step + i : i * step + j),
                scale * (double)dense[i * columns + j]);
    return step;
}

enum { UNTOUCHED = 4711 };

static bool one_right(const struct rb_products *p, const struct shape *s, const struct matrices *x,
                      bool wide, unsigned way, bool adds)
{
    bool ta = way & 1, tb = way & 2;
    double scale = wide ? WIDE : 1;
    int lda = lay(x->left, s->m, s->k, ta, wide, scale, x->a);
    int ldb = lay(x->right, s->k, s->n, tb, wide, 1, x->b);
    int ldc = s->n + ROOM;
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < ldc; j++)
            put(x->c, wide, (size_t)i * (size_t)ldc + (size_t)j,
                j >= s->n ? UNTOUCHED
                : adds    ? scale * (double)x->before[i * s->n + j]
                          : NAN);
    enum CBLAS_TRANSPOSE a = ta ? CblasTrans : CblasNoTrans, b = tb ? CblasTrans : CblasNoTrans;
    if (wide)
        p->dgemm(CblasRowMajor, a, b, s->m, s->n, s->k, adds ? -1 : 1, x->a, lda, x->b, ldb, adds,
                 x->c, ldc);
    else
        p->sgemm(CblasRowMajor, a, b, s->m, s->n, s->k, adds ? -1 : 1, x->a, lda, x->b, ldb, adds,
                 x->c, ldc);
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < ldc; j++) {
            double sum = j < s->n ? (double)x->expected[i * s->n + j] : 0;
            double want = j >= s->n ? UNTOUCHED
                          : adds    ? scale * ((double)x->before[i * s->n + j] - sum)
                                    : scale * sum;
            if (get(x->c, wide, (size_t)i * (size_t)ldc + (size_t)j) != want)
                return false;
        }
    return true;
}

static const char *check_shape(const struct rb_products *p, const struct shape *s,
                               struct matrices *x)
{
    make(s, x);
    for (unsigned way = 0; way < 4; way++)
        for (int adds = 0; adds < 2; adds++) {
            if (!one_right(p, s, x, false, way, adds))
                return "sgemm";
            if (!one_right(p, s, x, true, way, adds))
                return "dgemm";
        }
    return NULL;
}

/* Room for the largest of all shapes, each side alone. */
static size_t most(void)
{
    size_t most = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        size_t m = (size_t)shapes[i].m + ROOM, n = (size_t)shapes[i].n + ROOM,
               k = (size_t)shapes[i].k + ROOM;
        size_t largest = m * k > k * n ? m * k : k * n;
        largest = m * n > largest ? m * n : largest;
        most = largest > most ? largest : most;
    }
    return most;
}

const char *rb_products_check(const struct rb_products *p)
{
    size_t n = most();
    struct matrices x = {.left = calloc(4 * n, sizeof(float)), .a = calloc(3 * n, sizeof(double))};
    const char *wrong = x.left == NULL || x.a == NULL ? "memory" : NULL;
    if (wrong == NULL) {
        x.right = x.left + n;
        x.before = x.left + 2 * n;
        x.expected = x.left + 3 * n;
        x.b = (double *)x.a + n;
        x.c = (double *)x.a + 2 * n;
    }
    for (size_t i = 0; i < SHAPES && wrong == NULL; i++)
        wrong = check_shape(p, &shapes[i], &x);
    free(x.left);
    free(x.a);
    return wrong;
}

double rb_products_rate(const struct rb_products *p)
{
    enum { SIDE = 768, RUNS = 3 };
    size_t n = (size_t)SIDE * SIDE;
    float *m = rb_calloc_aligned(3 * n, sizeof *m);
    double best = 0;
    for (int i = 0; i < RUNS && m != NULL; i++) {
        uint64_t begin = rb_clock_thread_ns();
        p->sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, m, SIDE, m + n, SIDE,
                 0, m + 2 * n, SIDE);
        double seconds = (double)(rb_clock_thread_ns() - begin) * 1e-9;
        double rate = 2.0 * (double)n * SIDE / (seconds > 1e-9 ? seconds : 1e-9);
        best = rate > best ? rate : best;
    }
    free(m);
    return best;
}

/* ---- the child ---- */

enum { CHILD_WRONG = 3, CHILD_ABSENT = 4 };

void rb_kernel_probe_answer(const struct rb_products *p)
{
    const char *limit = getenv("RB_KERNEL_PROBE"), *kernel = getenv("OPENBLAS_CORETYPE");
    struct rb_cpu cpu;
    if (limit == NULL || kernel == NULL)
        return;
    /* A crash is an answer, not something to keep; and nobody may have to end us. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)alarm((unsigned)strtoul(limit, NULL, 10) + 1);
    if (strcasecmp(p->corename(), kernel) != 0)
        _exit(CHILD_ABSENT);
    if (rb_products_check(p) != NULL)
        _exit(CHILD_WRONG);
    rb_cpu_read(&cpu);
    (void)printf("%s %.6g %.6g\n", p->corename(), rb_products_rate(p), rb_fma_limit(&cpu));
    _exit(fflush(stdout) == 0 ? 0 : 1);
}

/* ---- its parent ---- */

/* Our environment without what concerns kernels, and with what the child needs. */
static char **child_environment(const char *kernel, unsigned limit_ms, char **ret_words)
{
    static const char *const ours[] = {"OPENBLAS_CORETYPE=", "OPENBLAS_NUM_THREADS=", "RB_KERNEL_"};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **list = calloc(count + 4, sizeof *list);
    int length =
        asprintf(ret_words, "OPENBLAS_CORETYPE=%s%cOPENBLAS_NUM_THREADS=1%cRB_KERNEL_PROBE=%u",
                 kernel, 0, 0, limit_ms / 1000);
    if (list == NULL || length < 0) {
        free(list);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        bool keeps = true;
        for (size_t j = 0; j < sizeof ours / sizeof ours[0]; j++)
            keeps = keeps && strncmp(environ[i], ours[j], strlen(ours[j])) != 0;
        if (keeps)
            list[kept++] = environ[i];
    }
    for (int at = 0; at < length; at += (int)strlen(*ret_words + at) + 1)
        list[kept++] = *ret_words + at;
    return list;
}

static pid_t start_child(const char *kernel, unsigned limit_ms, int out_fd)
{
    pid_t pid = -1;
    char name[] = "rebasind", *words = NULL;
    char *const argv[] = {name, NULL};
    char **environment = child_environment(kernel, limit_ms, &words);
    posix_spawn_file_actions_t actions;
    if (environment == NULL)
        return -1;
    if (posix_spawn_file_actions_init(&actions) == 0) {
        if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) != 0 ||
            posix_spawn_file_actions_adddup2(&actions, out_fd, 1) != 0 ||
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) != 0 ||
            posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environment) != 0)
            pid = -1;
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    free(environment);
    free(words);
    return pid;
}

/* Until the child closes its end or the time is over: true in the first case. */
static bool read_answer(int fd, unsigned limit_ms, char *ret, size_t size)
{
    uint64_t end_ns = rb_clock_monotonic_ns() + limit_ms * (uint64_t)1000000;
    for (size_t length = 0;;) {
        uint64_t now_ns = rb_clock_monotonic_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = now_ns < end_ns ? poll(&p, 1, (int)((end_ns - now_ns) / 1000000) + 1) : 0;
        if (ready == 0)
            return false;
        ssize_t n = ready > 0 && length + 1 < size ? read(fd, ret + length, size - 1 - length) : -1;
        if (n > 0) {
            length += (size_t)n;
            ret[length] = '\0';
        } else if (n == 0 || length + 1 == size || errno != EINTR) {
            return true;
        }
    }
}

static enum rb_kernel_outcome judge(int state, const char *answer, struct rb_kernel_trial *trial)
{
    if (!WIFEXITED(state))
        return RB_KERNEL_CRASHED;
    if (WEXITSTATUS(state) == CHILD_WRONG)
        return RB_KERNEL_WRONG;
    if (WEXITSTATUS(state) == CHILD_ABSENT)
        return RB_KERNEL_ABSENT;
    if (WEXITSTATUS(state) != 0 ||
        sscanf(answer, "%31s %lf %lf", trial->kernel, &trial->rate, &trial->limit) != 3)
        return RB_KERNEL_UNTRIED;
    return RB_KERNEL_RIGHT;
}

void rb_kernel_try(const char *kernel, unsigned limit_ms, struct rb_kernel_trial *ret)
{
    struct rb_kernel_trial trial = {.outcome = RB_KERNEL_UNTRIED};
    char answer[128] = "";
    int ends[2], state = 0;
    *ret = trial;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = start_child(kernel, limit_ms, ends[1]);
    (void)close(ends[1]);
    if (pid > 0) {
        bool ended = read_answer(ends[0], limit_ms, answer, sizeof answer);
        if (!ended)
            (void)kill(pid, SIGKILL);
        while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
            ;
        trial.outcome = ended ? judge(state, answer, &trial) : RB_KERNEL_HUNG;
    }
    (void)close(ends[0]);
    *ret = trial;
}
