#include "server/base/cpu.h"

#include "server/base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- what it has ---- */

#if defined(__x86_64__)
#include <cpuid.h>

enum cpu_register { EAX, EBX, ECX, EDX };
/* Bits of XCR0: the registers that the system saves. */
enum { SAVES_NONE = 0, SAVES_YMM = 0x6, SAVES_ZMM = 0xe6, SAVES_TILES = 0x60000 };

/* Intel's and AMD's manuals, "CPUID". */
static const struct {
    uint32_t leaf, subleaf;
    enum cpu_register at;
    unsigned bit;
    uint32_t saved; /* bits of XCR0 */
    enum rb_cpu_feature feature;
} rows[] = {
    {1, 0, ECX, 0, SAVES_NONE, RB_CPU_SSE3},       {1, 0, ECX, 20, SAVES_NONE, RB_CPU_SSE42},
    {1, 0, ECX, 28, SAVES_YMM, RB_CPU_AVX},        {1, 0, ECX, 12, SAVES_YMM, RB_CPU_FMA},
    {7, 0, EBX, 5, SAVES_YMM, RB_CPU_AVX2},        {7, 0, EBX, 16, SAVES_ZMM, RB_CPU_AVX512F},
    {7, 0, EBX, 17, SAVES_ZMM, RB_CPU_AVX512DQ},   {7, 0, EBX, 28, SAVES_ZMM, RB_CPU_AVX512CD},
    {7, 0, EBX, 30, SAVES_ZMM, RB_CPU_AVX512BW},   {7, 0, EBX, 31, SAVES_ZMM, RB_CPU_AVX512VL},
    {7, 1, EAX, 5, SAVES_ZMM, RB_CPU_AVX512BF16},  {7, 0, EDX, 24, SAVES_TILES, RB_CPU_AMX_TILE},
    {7, 0, EDX, 22, SAVES_TILES, RB_CPU_AMX_BF16},
};

static uint32_t saved_registers(void)
{
    uint32_t r[4], low, high;
    enum { OSXSAVE = 27 };
    if (!__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) || (r[ECX] >> OSXSAVE & 1) == 0)
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void read_name(struct rb_cpu *cpu)
{
    enum { BRAND = 0x80000002, BRAND_BYTES = 48 };
    uint32_t r[12];
    char text[BRAND_BYTES + 1] = "";
    for (uint32_t i = 0; i < 3; i++)
        if (!__get_cpuid(BRAND + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]))
            return;
    memcpy(text, r, BRAND_BYTES);
    const char *from = text + strspn(text, " ");
    size_t length = strlen(from);
    while (length > 0 && from[length - 1] == ' ')
        length--;
    if (length > 0)
        (void)snprintf(cpu->name, sizeof cpu->name, "%.*s", (int)length, from);
    for (char *c = cpu->name; *c != '\0'; c++) /* a hypervisor may say what it likes */
        if (*c < ' ' || *c > '~')
            *c = '?';
}

void rb_cpu_read(struct rb_cpu *ret)
{
    *ret = (struct rb_cpu){.name = "unknown"};
    uint32_t saved = saved_registers(), r[4];
    char maker[13] = "";
    read_name(ret);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (__get_cpuid_count(rows[i].leaf, rows[i].subleaf, &r[0], &r[1], &r[2], &r[3]) &&
            (r[rows[i].at] >> rows[i].bit & 1) != 0 && (saved & rows[i].saved) == rows[i].saved)
            ret->features |= rows[i].feature;
    if (__get_cpuid(0, &r[0], &r[1], &r[2], &r[3])) {
        memcpy(maker, &r[EBX], 4);
        memcpy(maker + 4, &r[EDX], 4);
        memcpy(maker + 8, &r[ECX], 4);
        if (strcmp(maker, "AuthenticAMD") == 0)
            ret->features |= RB_CPU_AMD;
    }
}

#else
#include <asm/hwcap.h>
#include <sys/auxv.h>

/* Linux, arch/arm64/include/asm/cputype.h: who made it, which of theirs. */
static const struct {
    uint32_t maker, part;
    const char *name;
} processors[] = {
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd08, "Cortex-A72"},  {0x41, 0xd0b, "Cortex-A76"},
    {0x41, 0xd0c, "Neoverse-N1"}, {0x41, 0xd40, "Neoverse-V1"}, {0x41, 0xd49, "Neoverse-N2"},
    {0x41, 0xd4f, "Neoverse-V2"}, {0x43, 0x0af, "ThunderX2"},   {0x46, 0x001, "A64FX"},
    {0x48, 0xd01, "TSV110"},      {0xc0, 0xac3, "Ampere-1"},    {0xc0, 0xac4, "Ampere-1A"},
};

/* The kernel lets everyone read the register that /proc/cpuinfo is made of, where it says so. */
static void read_name(struct rb_cpu *cpu)
{
    uint64_t midr;
    __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
    uint32_t maker = midr >> 24 & 0xff, part = midr >> 4 & 0xfff;
    (void)snprintf(cpu->name, sizeof cpu->name, "arm64, maker 0x%02x, part 0x%03x", maker, part);
    for (size_t i = 0; i < sizeof processors / sizeof processors[0]; i++)
        if (processors[i].maker == maker && processors[i].part == part)
            (void)snprintf(cpu->name, sizeof cpu->name, "%s", processors[i].name);
}

void rb_cpu_read(struct rb_cpu *ret)
{
    unsigned long has = getauxval(AT_HWCAP);
    *ret = (struct rb_cpu){.name = "unknown"};
    if ((has & HWCAP_CPUID) != 0)
        read_name(ret);
    if ((has & HWCAP_SVE) != 0)
        ret->features |= RB_CPU_SVE;
}

#endif

/* ---- how fast ---- */

/* Twelve sums, each waiting for itself alone: more than any core's latency times its ports, and
 * few enough that sixteen registers hold them with the two constants. The factor is a shade below
 * 1, so that nothing grows or dies out. */
#define FOR_SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define SUM_BEGIN(i) vector s##i = one * (float)(i);
#define SUM_STEP(i) s##i = s##i * factor + one;
#define SUM_KEEP(i) __asm__ volatile("" : "+" REGISTER(s##i));
#define SUM_FOLD(i) all += s##i;
#define DEFINE_LOOP(name, attribute, bytes)                                                        \
    attribute static float name(size_t rounds)                                                     \
    {                                                                                              \
        typedef float vector __attribute__((vector_size(bytes)));                                  \
        volatile float given[2] = {1, 0.999999F};                                                  \
        float first = given[0], second = given[1], sum = 0;                                        \
        vector one = (vector){0} + first, factor = (vector){0} + second, all = (vector){0};        \
        FOR_SUMS(SUM_BEGIN)                                                                        \
        for (size_t r = 0; r < rounds; r++) {                                                      \
            FOR_SUMS(SUM_STEP)                                                                     \
            FOR_SUMS(SUM_KEEP)                                                                     \
        }                                                                                          \
        FOR_SUMS(SUM_FOLD)                                                                         \
        for (size_t j = 0; j < sizeof all / sizeof(float); j++)                                    \
            sum += all[j];                                                                         \
        return sum;                                                                                \
    }
enum { SUMS = 12 };
#define PER_ROUND(bytes) (2 * SUMS * (size_t)(bytes) / sizeof(float))

#if defined(__x86_64__)
#define REGISTER(x) "x"(x)
DEFINE_LOOP(loop_sse2, , 16)
DEFINE_LOOP(loop_avx2, __attribute__((target("avx2,fma"))), 32)
#undef REGISTER
#define REGISTER(x) "v"(x)
DEFINE_LOOP(loop_avx512, __attribute__((target("avx512f,fma"))), 64)

const struct rb_fma_set rb_fma_sets[] = {
    {"AVX-512", RB_CPU_AVX512F, loop_avx512, PER_ROUND(64)},
    {"AVX2", RB_CPU_AVX2 | RB_CPU_FMA, loop_avx2, PER_ROUND(32)},
    {"SSE2", 0, loop_sse2, PER_ROUND(16)},
    {NULL, 0, NULL, 0},
};
#else
#define REGISTER(x) "w"(x)
DEFINE_LOOP(loop_plain, , 16)

const struct rb_fma_set rb_fma_sets[] = {
    {"128 bits", 0, loop_plain, PER_ROUND(16)},
    {NULL, 0, NULL, 0},
};
#endif

double rb_fma_rate(const struct rb_fma_set *set)
{
    enum { RUNS = 4, ROUNDS = 200000 };
    volatile float kept; /* or the loop has no use */
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        uint64_t begin = rb_clock_thread_ns();
        kept = set->loop(ROUNDS);
        (void)kept;
        double seconds = (double)(rb_clock_thread_ns() - begin) * 1e-9;
        double rate = (double)ROUNDS * (double)set->per_round / (seconds > 1e-9 ? seconds : 1e-9);
        best = rate > best ? rate : best;
    }
    return best;
}

double rb_fma_limit(const struct rb_cpu *cpu)
{
    double limit = 0;
    for (const struct rb_fma_set *s = rb_fma_sets; s->name != NULL; s++) {
        double rate = (cpu->features & s->needs) == s->needs ? rb_fma_rate(s) : 0;
        limit = rate > limit ? rate : limit;
    }
    return limit;
}
