#include "server/base/ids.h"

#include <sodium.h>
#include <stdio.h>

enum rb_status rb_ids_init(struct rb_error *err)
{
    if (sodium_init() < 0)
        return rb_error_set(err, RB_EINTERNAL, "libsodium cannot be started");
    return RB_OK;
}

/* The millisecond and the counter of the last id, as one number: of 12 bits, begun at random below
 * half of them, so that 2,048 ids fit a millisecond; further ones borrow from the next. */
static uint64_t next_time(int64_t realtime_ms)
{
    static _Thread_local uint64_t last;
    uint64_t now = (uint64_t)realtime_ms << 12 | randombytes_uniform(1 << 11);
    last = now >> 12 > last >> 12 ? now : last + 1;
    return last;
}

static void make_id(const char *prefix, int64_t realtime_ms, char ret[RB_JOB_ID_SIZE])
{
    unsigned char u[16];
    uint64_t time = next_time(realtime_ms);
    randombytes_buf(u, sizeof u);
    for (int i = 0; i < 6; i++)
        u[i] = (unsigned char)(time >> (52 - 8 * i));
    u[6] = (unsigned char)((time >> 8 & 0x0f) | 0x70);
    u[7] = (unsigned char)time;
    u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
    (void)snprintf(ret, RB_JOB_ID_SIZE,
                   "%s%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", prefix,
                   u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                   u[13], u[14], u[15]);
}

void rb_job_id_make(int64_t realtime_ms, char ret[RB_JOB_ID_SIZE])
{
    make_id("job_", realtime_ms, ret);
}

void rb_group_id_make(int64_t realtime_ms, char ret[RB_JOB_ID_SIZE])
{
    make_id("grp_", realtime_ms, ret);
}

/* Prefix and random hex digits that fill size bytes with the NUL. */
static void make(const char *prefix, char *ret, size_t size)
{
    unsigned char bytes[16];
    size_t length = (size_t)snprintf(ret, size, "%s", prefix);
    size_t count = (size - length - 1) / 2;
    randombytes_buf(bytes, count);
    (void)sodium_bin2hex(ret + length, size - length, bytes, count);
}

void rb_request_id_make(char ret[RB_REQUEST_ID_TEXT])
{
    make("req_", ret, RB_REQUEST_ID_TEXT);
}

void rb_token_id_make(char ret[RB_TOKEN_ID_TEXT])
{
    make("tok_", ret, RB_TOKEN_ID_TEXT);
}

void rb_token_make(char ret[RB_TOKEN_TEXT])
{
    unsigned char secret[RB_TOKEN_BYTES];
    randombytes_buf(secret, sizeof secret);
    int length = snprintf(ret, RB_TOKEN_TEXT, "rb_");
    (void)sodium_bin2base64(ret + length, (size_t)(RB_TOKEN_TEXT - length), secret, sizeof secret,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
}
