/* server/base/blas_kernel.h: which of OpenBLAS's kernels multiplies here.
 *
 * DESIGN. OpenBLAS chooses its kernel by the processor's model number: one that is newer than the
 * library gets a kernel for any processor, five times slower than the right one. So a command that
 * computes first asks the processor what it can do (cpu.h), takes the best kernel of a table that
 * this allows, tries it in a child process (kernel_probe.h), and when OpenBLAS runs another starts
 * this program again with OPENBLAS_CORETYPE set. RB_KERNEL_CHOSEN in the environment says that this
 * has been done: it is never done twice. A kernel set by the user stays.
 *
 * The verdict is kept, per processor and library, in a file: only the first start pays for the
 * trial. Before the sandbox, threads and sockets; main's thread only. */
#ifndef RB_SERVER_BASE_BLAS_KERNEL_H
#define RB_SERVER_BASE_BLAS_KERNEL_H

#include "core/status.h"
#include "server/base/cpu.h"
#include "server/base/kernel_probe.h"

/* A row of the table: best first, a NULL name ends. */
struct rb_blas_kernel {
    const char *name; /* what OPENBLAS_CORETYPE takes; compared without case */
    const char *instruction_set;
    uint32_t needs; /* bits of rb_cpu_feature */
};
extern const struct rb_blas_kernel rb_blas_kernels[];

enum rb_kernel_origin {
    RB_KERNEL_BY_LIBRARY, /* what OpenBLAS chose by itself, and nothing better is known */
    RB_KERNEL_BY_DAEMON,
    RB_KERNEL_BY_USER,
};
/* "library", "daemon", "user" */
extern const char *const rb_kernel_origin_names[];

struct rb_kernel_info {
    char cpu[64];
    char kernel[RB_KERNEL_NAME_SIZE];
    const char *instruction_set; /* NULL: a kernel that the table does not know */
    enum rb_kernel_origin origin;
    double rate;  /* operations per second of sgemm on one core; 0: not measured */
    double limit; /* the same of fused multiply-adds in registers alone */
    /* Of the user's choice, if the table knows it: what that would take, of a better instruction
     * set; else NULL. */
    const char *better;
    bool proven; /* it was held against the reference here */
};

/* ---- for main and the commands ---- */

/* First of all in main: answers if this is a trial's child; remembers the arguments. */
void rb_kernel_begin(char *const argv[]);
/* The right kernel, before anything else is made. Verdicts are kept in `folder` ("": there)
 * below root_fd (open; borrowed; -1: nowhere). Starts the program again if another kernel is
 * needed: then it does not return. RB_EINTERNAL when no kernel of the library computes right; all
 * else only costs speed and goes on. */
enum rb_status rb_kernel_settle(int root_fd, const char *folder,
                                struct rb_error *err) RB_MUST_CHECK;
/* rb_kernel_settle with a folder of the user's cache ($XDG_CACHE_HOME or ~/.cache, rebasind/), for
 * commands without a data folder. */
enum rb_status rb_kernel_settle_cached(struct rb_error *err) RB_MUST_CHECK;
/* What runs. Before rb_kernel_settle only names. Any thread after it. */
const struct rb_kernel_info *rb_kernel_info(void);
/* Logs it, and warns where its rate is below half of the processor's limit. */
void rb_kernel_log(const struct rb_kernel_info *info);

/* ---- the parts, for tests ---- */

struct rb_kernel_verdict {
    struct rb_kernel_trial trial; /* of the first kernel that is right; outcome says if there is one
                                   */
    char refused[256];            /* the others before it, in words; may be "" */
};
typedef void rb_kernel_trier(void *data, const char *kernel, struct rb_kernel_trial *ret);
/* Tries in order: what OpenBLAS chose, if the table does not know it or its instruction set is the
 * best there is here; then the table's rows that the processor can run. Where none is right the
 * outcome is RB_KERNEL_WRONG if one was broken, else RB_KERNEL_UNTRIED. */
void rb_kernel_choose(const struct rb_blas_kernel *table, uint32_t features, const char *chosen,
                      rb_kernel_trier *try, void *data, struct rb_kernel_verdict *ret);
/* Same, but asks the file `key` below folder_fd first and keeps there what it finds out. */
void rb_kernel_choose_once(int folder_fd, const char *key, const struct rb_blas_kernel *table,
                           uint32_t features, const char *chosen, rb_kernel_trier *try, void *data,
                           struct rb_kernel_verdict *ret);
/* The same file for the same processor and library. */
void rb_kernel_key(const struct rb_cpu *cpu, char *ret, size_t size);

#endif
