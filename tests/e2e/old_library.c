/* Stands before OpenBLAS and says, as a library would that is older than the processor, that it
 * chose its kernel for any processor. With RB_OLD_LIBRARY=stubborn it says so whatever it is told,
 * except to a trial: what would start again and again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int told, trial, stubborn;

__attribute__((constructor)) static void look(void)
{
    const char *how = getenv("RB_OLD_LIBRARY");
    told = getenv("OPENBLAS_CORETYPE") != NULL;
    trial = getenv("RB_KERNEL_PROBE") != NULL;
    stubborn = how != NULL && strcmp(how, "stubborn") == 0;
}

char *openblas_get_corename(void);
char *openblas_get_corename(void)
{
    static char old[] = "Prescott";
    char *(*real)(void) = (char *(*)(void))dlsym(RTLD_NEXT, "openblas_get_corename");
    return trial || (told && !stubborn) ? real() : old;
}
