#include "server/cli/signals.h"
#include "core/tensor/map.h"

#include <signal.h>
#include <stddef.h>

/* core puts zeros where the file was and notes it. Any other SIGBUS is a crash as before. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!rb_map_sigbus(info->si_addr))
        (void)signal(number, SIG_DFL); /* the access is tried again, and ends the process */
}

void rb_signals_set(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL); /* the write says EFBIG */
    (void)sigaction(SIGBUS, &bus, NULL);
}
