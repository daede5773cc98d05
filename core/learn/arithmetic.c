#include "core/learn/arithmetic.h"
#include "core/model/kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

void rb_learn_arithmetic(char ret[RB_LEARN_ARITHMETIC_SIZE])
{
    const char *config = openblas_get_config(), *libc = "unknown";
    size_t version = strcspn(config, " ");
    version += config[version] == ' ' ? 1 + strcspn(config + version + 1, " ") : 0;
#ifdef __GLIBC__
    libc = gnu_get_libc_version();
#endif
    memset(ret, 0, RB_LEARN_ARITHMETIC_SIZE);
    (void)snprintf(ret, RB_LEARN_ARITHMETIC_SIZE,
                   "arithmetic %d, kernels %s, %.*s %s, glibc %s, " COMPILER ", flags " RB_FLAGS,
                   RB_LEARN_ARITHMETIC, rb_kernels()->name, (int)version, config,
                   openblas_get_corename(), libc);
}

enum rb_status rb_learn_arithmetic_check(const char found[RB_LEARN_ARITHMETIC_SIZE],
                                         const char *what, struct rb_error *err)
{
    char mine[RB_LEARN_ARITHMETIC_SIZE];
    rb_learn_arithmetic(mine);
    if (memcmp(found, mine, sizeof mine) == 0)
        return RB_OK;
    return rb_error_set(err, RB_EINPUT,
                        "the saved %s is of another arithmetic (%.*s), here it is %s: its bits "
                        "cannot be gone on from",
                        what, RB_LEARN_ARITHMETIC_SIZE - 1, found, mine);
}
