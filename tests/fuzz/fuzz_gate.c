/* Arbitrary bytes as what a client writes into a connection; the first says in what steps they
 * arrive. However they do, the same of them may be read, and nothing is looked at beyond them. */
#include "server/http/gate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static size_t feed(struct rb_gate *g, const uint8_t *data, size_t n, size_t step)
{
    size_t read = 0;
    for (size_t arrived = 0; arrived < n;) {
        arrived = arrived + step < n ? arrived + step : n;
        char *exact = malloc(arrived - read + 1); /* so that a byte beyond is seen */
        require(exact != NULL);
        memcpy(exact, data + read, arrived - read);
        rb_gate_look(g, exact, arrived - read);
        free(exact);
        size_t can = g->cleared < arrived - read ? (size_t)g->cleared : arrived - read;
        rb_gate_read(g, can);
        read += can;
    }
    return read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rb_gate whole = {0}, parts = {0};
    if (size < 2)
        return 0;
    size_t a = feed(&whole, data + 1, size - 1, size);
    size_t b = feed(&parts, data + 1, size - 1, (size_t)data[0] + 1);
    require(a == b && whole.state == parts.state && whole.heads == parts.heads);
    require(whole.state != RB_GATE_SHUT || whole.error.status == parts.error.status);
    return 0;
}
