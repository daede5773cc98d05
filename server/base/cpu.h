/* server/base/cpu.h: what this processor can do, by asking it (CPUID; on arm64 the system), never
 * by its model number; and how fast it multiplies and adds when nothing else holds it up. Any
 * thread. */
#ifndef RB_SERVER_BASE_CPU_H
#define RB_SERVER_BASE_CPU_H

#include <stddef.h>
#include <stdint.h>

/* Bits of rb_cpu.features; set only where the system saves the registers too (XGETBV). */
enum rb_cpu_feature {
    RB_CPU_SSE3 = 1 << 0,
    RB_CPU_SSE42 = 1 << 1,
    RB_CPU_AVX = 1 << 2,
    RB_CPU_FMA = 1 << 3,
    RB_CPU_AVX2 = 1 << 4,
    RB_CPU_AVX512F = 1 << 5,
    RB_CPU_AVX512DQ = 1 << 6,
    RB_CPU_AVX512CD = 1 << 7,
    RB_CPU_AVX512BW = 1 << 8,
    RB_CPU_AVX512VL = 1 << 9,
    RB_CPU_AVX512BF16 = 1 << 10,
    RB_CPU_AMX_TILE = 1 << 11,
    RB_CPU_AMX_BF16 = 1 << 12,
    RB_CPU_AMD = 1 << 13, /* the maker: its kernels have tile sizes of their own */
    RB_CPU_SVE = 1 << 14, /* arm64 */
};

struct rb_cpu {
    /* As the processor gives it, blanks trimmed; arm64: of its numbers. "unknown" where it gives
     * none. */
    char name[64];
    uint32_t features;
};

void rb_cpu_read(struct rb_cpu *ret);

/* One way to do fused multiply-adds, an instruction set. */
struct rb_fma_set {
    const char *name;
    uint32_t needs; /* bits of rb_cpu_feature */
    /* rounds * per_round operations (a multiply-add counts two) in registers alone. Returns a sum
     * that depends on all of them. */
    float (*loop)(size_t rounds);
    size_t per_round;
};
/* Ends with a NULL name. */
extern const struct rb_fma_set rb_fma_sets[];

/* Operations per second of CPU time, on one core: the best of a few runs of some 2 ms. */
double rb_fma_rate(const struct rb_fma_set *set);
/* The most that any set reaches which the processor has: the limit of every product on one core. */
double rb_fma_limit(const struct rb_cpu *cpu);

#endif
