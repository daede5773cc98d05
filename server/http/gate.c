#include "server/http/gate.h"

#include <assert.h>
#include <string.h>

static enum rb_scan look_at_head(struct rb_gate *g, const char *at, size_t n)
{
    enum rb_scan r = rb_request_head_scan(at, n, &g->head, &g->error);
    g->in_head = r == RB_SCAN_PARTIAL;
    if (r != RB_SCAN_WHOLE)
        return r;
    g->heads++;
    g->cleared += g->head.bytes + g->head.content_length;
    g->state = g->head.chunked ? RB_GATE_CHUNK : RB_GATE_HEAD;
    return r;
}

static enum rb_scan look_at_chunk(struct rb_gate *g, const char *at, size_t n)
{
    size_t line;
    uint64_t size;
    enum rb_scan r = rb_chunk_scan(at, n, &line, &size, &g->error);
    if (r != RB_SCAN_WHOLE)
        return r;
    g->cleared += line + size;
    g->state = size > 0 ? RB_GATE_CHUNK_END : RB_GATE_TRAILERS;
    return r;
}

static enum rb_scan look_at_chunk_end(struct rb_gate *g, const char *at, size_t n)
{
    if (at[0] == '\r' && n < 2)
        return RB_SCAN_PARTIAL;
    if (at[0] != '\r' || at[1] != '\n') {
        (void)rb_error_at(&g->error, RB_EHEADER, "Transfer-Encoding",
                          "a chunk is longer or shorter than its line says");
        return RB_SCAN_BAD;
    }
    g->cleared += 2;
    g->state = RB_GATE_CHUNK;
    return RB_SCAN_WHOLE;
}

static enum rb_scan look_at_trailers(struct rb_gate *g, const char *at, size_t n)
{
    size_t bytes;
    enum rb_scan r = rb_trailers_scan(at, n, &bytes, &g->error);
    if (r != RB_SCAN_WHOLE)
        return r;
    g->cleared += bytes;
    g->state = RB_GATE_HEAD;
    return r;
}

void rb_gate_look(struct rb_gate *g, const char *bytes, size_t n)
{
    static enum rb_scan (*const looks[])(struct rb_gate *, const char *, size_t) = {
        [RB_GATE_HEAD] = look_at_head,
        [RB_GATE_CHUNK] = look_at_chunk,
        [RB_GATE_CHUNK_END] = look_at_chunk_end,
        [RB_GATE_TRAILERS] = look_at_trailers,
    };
    enum rb_scan r = RB_SCAN_WHOLE;
    while (r == RB_SCAN_WHOLE && g->state != RB_GATE_SHUT && g->cleared < n)
        r = looks[g->state](g, bytes + g->cleared, n - (size_t)g->cleared);
    if (r == RB_SCAN_BAD) {
        g->shut_in_body = g->state != RB_GATE_HEAD;
        g->state = RB_GATE_SHUT;
    }
}

void rb_gate_read(struct rb_gate *g, size_t n)
{
    assert(n <= g->cleared);
    g->cleared -= n;
}
