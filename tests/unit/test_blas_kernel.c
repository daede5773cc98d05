// LINK: server_base
/* Kernels that compute wrongly, crash, hang or are not there, against the trial in a child; and the
 * choice among them. The children are this program again: main answers for the kernel that it is
 * named. */
#include "server/base/blas_kernel.h"
#include "server/base/fsutil.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cmocka.h>

#include "unit/tmpdir.h"

enum { LIMIT_MS = 60000, HANG_MS = 300 };

/* ---- broken products ---- */

#define ARGUMENTS(type)                                                                            \
    enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE ta, enum CBLAS_TRANSPOSE tb, blasint m,           \
        blasint n, blasint k, type alpha, const type *a, blasint lda, const type *b, blasint ldb,  \
        type beta, type *c, blasint ldc
#define PASS order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc

/* The last row of a tall product: what a tile's remainder gets wrong. */
static void wrong_at_the_end(ARGUMENTS(float))
{
    cblas_sgemm(PASS);
    if (m > 400)
        c[(m - 1) * ldc] += 1;
}
static void wrong_transposed(ARGUMENTS(float))
{
    cblas_sgemm(PASS);
    if (ta == CblasTrans && tb == CblasTrans && n > 100)
        c[n - 1] = 0;
}
/* beta 0 must not read what is there. */
static void reads_at_beta_0(ARGUMENTS(float))
{
    float before = c[0];
    cblas_sgemm(PASS);
    if (beta == 0)
        c[0] += 0 * before;
}
static void writes_beside(ARGUMENTS(float))
{
    cblas_sgemm(PASS);
    c[n] = 0;
}
/* Inputs cut to bfloat16, as fast modes do. */
static void narrow(ARGUMENTS(float))
{
    size_t count = (size_t)lda * (size_t)(ta == CblasTrans ? k : m);
    float *cut = malloc(count * sizeof *cut);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &a[i], sizeof bits);
        bits &= 0xffff0000U;
        memcpy(&cut[i], &bits, sizeof bits);
    }
    cblas_sgemm(order, ta, tb, m, n, k, alpha, cut, lda, b, ldb, beta, c, ldc);
    free(cut);
}
/* F64 by way of F32. */
static void narrow_f64(ARGUMENTS(double))
{
    cblas_dgemm(PASS);
    for (blasint i = 0; i < m; i++)
        for (blasint j = 0; j < n; j++)
            c[i * ldc + j] = (double)(float)c[i * ldc + j];
}
static void crashes(ARGUMENTS(float))
{
    (void)raise(SIGILL);
    cblas_sgemm(PASS);
}
static void hangs(ARGUMENTS(float))
{
    (void)pause();
    cblas_sgemm(PASS);
}

static char *named(void)
{
    return getenv("OPENBLAS_CORETYPE");
}
static char *another(void)
{
    static char name[] = "Other";
    return name;
}

static const struct fake {
    const char *kernel;
    struct rb_products products;
    enum rb_kernel_outcome outcome;
} fakes[] = {
    {"Right", {cblas_sgemm, cblas_dgemm, named}, RB_KERNEL_RIGHT},
    {"WrongAtTheEnd", {wrong_at_the_end, cblas_dgemm, named}, RB_KERNEL_WRONG},
    {"WrongTransposed", {wrong_transposed, cblas_dgemm, named}, RB_KERNEL_WRONG},
    {"ReadsAtBeta0", {reads_at_beta_0, cblas_dgemm, named}, RB_KERNEL_WRONG},
    {"WritesBeside", {writes_beside, cblas_dgemm, named}, RB_KERNEL_WRONG},
    {"Narrow", {narrow, cblas_dgemm, named}, RB_KERNEL_WRONG},
    {"NarrowF64", {cblas_sgemm, narrow_f64, named}, RB_KERNEL_WRONG},
    {"Crashes", {crashes, cblas_dgemm, named}, RB_KERNEL_CRASHED},
    {"Hangs", {hangs, cblas_dgemm, named}, RB_KERNEL_HUNG},
    {"Absent", {cblas_sgemm, cblas_dgemm, another}, RB_KERNEL_ABSENT},
};
enum { FAKES = sizeof fakes / sizeof fakes[0] };

/* ---- the trial ---- */

static void each_is_found_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAKES; i++) {
        struct rb_kernel_trial t;
        print_message("%s\n", fakes[i].kernel);
        rb_kernel_try(fakes[i].kernel, fakes[i].outcome == RB_KERNEL_HUNG ? HANG_MS : LIMIT_MS, &t);
        assert_int_equal(t.outcome, fakes[i].outcome);
        if (t.outcome == RB_KERNEL_RIGHT) {
            assert_string_equal(t.kernel, fakes[i].kernel);
            assert_true(t.rate > 0 && t.limit > 0);
        }
    }
}

static void the_library_here_is_right(void **state)
{
    (void)state;
    assert_null(rb_products_check(&rb_products_openblas));
}

/* ---- the choice ---- */

static const struct rb_blas_kernel table[] = {
    {"New", "wide", 1 | 2}, {"Newer", "wide", 1 | 2 | 4},
    {"Middle", "half", 1},  {"Old", "narrow", 0},
    {NULL, NULL, 0},
};

struct trier {
    const char *refused[4]; /* as broken; NULL ends */
    enum rb_kernel_outcome as;
    char tried[64];
};

static void fake_try(void *data, const char *kernel, struct rb_kernel_trial *ret)
{
    struct trier *t = data;
    *ret = (struct rb_kernel_trial){.rate = 1e11, .limit = 2e11};
    strcat(strcat(t->tried, kernel), " ");
    strcpy(ret->kernel, kernel);
    for (size_t i = 0; i < 4 && t->refused[i] != NULL; i++)
        if (strcmp(t->refused[i], kernel) == 0)
            ret->outcome = t->as;
}

static void choose(uint32_t features, const char *own, const struct trier *with, const char *tried,
                   enum rb_kernel_outcome outcome, const char *kernel)
{
    struct rb_kernel_verdict v;
    struct trier t = *with;
    rb_kernel_choose(table, features, own, fake_try, &t, &v);
    assert_string_equal(t.tried, tried);
    assert_int_equal(v.trial.outcome, outcome);
    if (outcome == RB_KERNEL_RIGHT)
        assert_string_equal(v.trial.kernel, kernel);
}

static void the_best_that_runs_and_is_right(void **state)
{
    (void)state;
    const struct trier all = {.as = RB_KERNEL_WRONG};
    choose(3, "Old", &all, "New ", RB_KERNEL_RIGHT, "New");
    choose(1, "Old", &all, "Middle ", RB_KERNEL_RIGHT, "Middle");
    choose(0, "Old", &all, "Old ", RB_KERNEL_RIGHT, "Old");
    /* As good as the best: no need to start again. */
    choose(7, "Newer", &all, "Newer ", RB_KERNEL_RIGHT, "Newer");
    /* A library newer than the table knows what it does. */
    choose(7, "Future", &all, "Future ", RB_KERNEL_RIGHT, "Future");
    /* Or does not: SVE of an arm64, whose rows are what every arm64 has. */
    const struct trier wide = {.refused = {"Future"}, .as = RB_KERNEL_CRASHED};
    choose(0, "Future", &wide, "Future Old ", RB_KERNEL_RIGHT, "Old");
    const struct trier one = {.refused = {"New"}, .as = RB_KERNEL_WRONG};
    choose(3, "Old", &one, "New Middle ", RB_KERNEL_RIGHT, "Middle");
    choose(7, "New", &one, "New Newer ", RB_KERNEL_RIGHT, "Newer");
    const struct trier gone = {.refused = {"New", "Newer"}, .as = RB_KERNEL_ABSENT};
    choose(7, "Old", &gone, "New Newer Middle ", RB_KERNEL_RIGHT, "Middle");
    const struct trier every = {.refused = {"New", "Newer", "Middle", "Old"},
                                .as = RB_KERNEL_CRASHED};
    choose(7, "Old", &every, "New Newer Middle Old ", RB_KERNEL_WRONG, NULL);
    const struct trier none = {.refused = {"New", "Newer", "Middle", "Old"},
                               .as = RB_KERNEL_UNTRIED};
    choose(7, "Old", &none, "New Newer Middle Old ", RB_KERNEL_UNTRIED, NULL);
}

static void the_verdict_is_kept(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_error err;
    struct rb_kernel_verdict v;
    int fd = -1;
    tmpdir_init(&dir);
    assert_int_equal(rb_root_open(dir.path, false, &fd, &err), RB_OK);
    struct trier t = {.refused = {"New"}, .as = RB_KERNEL_WRONG};
    rb_kernel_choose_once(fd, "k", table, 3, "Old", fake_try, &t, &v);
    assert_string_equal(t.tried, "New Middle ");
    t.tried[0] = '\0';
    memset(&v, 0, sizeof v);
    rb_kernel_choose_once(fd, "k", table, 3, "Old", fake_try, &t, &v);
    assert_string_equal(t.tried, "");
    assert_string_equal(v.trial.kernel, "Middle");
    assert_string_equal(v.refused, "New computes wrongly");
    assert_true(v.trial.rate == 1e11 && v.trial.limit == 2e11);
    /* Another processor or library, and a file that is damaged: found out anew. */
    rb_kernel_choose_once(fd, "other", table, 3, "Old", fake_try, &t, &v);
    assert_string_equal(t.tried, "New Middle ");
    t.tried[0] = '\0';
    tmpdir_write(&dir, "k", "rebasind kernel 1\nMid", 21);
    rb_kernel_choose_once(fd, "k", table, 3, "Old", fake_try, &t, &v);
    assert_string_equal(t.tried, "New Middle ");
    /* What nobody could try is no verdict. */
    struct trier none = {.refused = {"Old"}, .as = RB_KERNEL_UNTRIED};
    rb_kernel_choose_once(fd, "none", table, 0, "Old", fake_try, &none, &v);
    assert_int_equal(access(tmpdir_path(&dir, "none"), F_OK), -1);
    close(fd);
    tmpdir_deinit(&dir);
}

static void the_processor_is_read(void **state)
{
    (void)state;
    struct rb_cpu cpu;
    char key[32], again[32];
    rb_cpu_read(&cpu);
    assert_true(strlen(cpu.name) > 0);
#if defined(__aarch64__)
    /* Without a name, verdicts of SVE would hold for processors that have none. */
    assert_string_not_equal(cpu.name, "unknown");
    assert_int_equal((cpu.features & RB_CPU_SVE) != 0, (getauxval(AT_HWCAP) & HWCAP_SVE) != 0);
#endif
    assert_true(rb_fma_limit(&cpu) > 0);
    rb_kernel_key(&cpu, key, sizeof key);
    rb_kernel_key(&cpu, again, sizeof again);
    assert_string_equal(key, again);
    cpu.features ^= RB_CPU_AVX2;
    rb_kernel_key(&cpu, again, sizeof again);
    assert_string_not_equal(key, again);
}

int main(void)
{
    const char *kernel = getenv("OPENBLAS_CORETYPE");
    for (size_t i = 0; kernel != NULL && i < FAKES; i++)
        if (strcmp(fakes[i].kernel, kernel) == 0)
            rb_kernel_probe_answer(&fakes[i].products);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_found_out),
        cmocka_unit_test(the_library_here_is_right),
        cmocka_unit_test(the_best_that_runs_and_is_right),
        cmocka_unit_test(the_verdict_is_kept),
        cmocka_unit_test(the_processor_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
