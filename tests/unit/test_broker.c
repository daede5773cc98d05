// LINK: server_base
/* The broker: which requests it takes, what it makes of them, and that it ends with its peer. */
#include "server/base/broker.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "job_019a2c9e-7c1d-7b3e-8f00-1234567890ab"
#define NAME "rebasind-" JOB "-points.7"
#define FOLDER "/shared/units/" JOB "/points.7"

static char commands[RB_BROKER_KINDS][32] = {"/bin/echo", "/bin/echo", "/bin/false", "/bin/cat"};
static char program[] = "/usr/bin/rebasind";

static struct rb_broker_options options(void)
{
    struct rb_broker_options o = {
        .program = program, .shared_dir = "/shared", .slurm_options = " --mem=1G\t--qos=low "};
    for (int i = 0; i < RB_BROKER_KINDS; i++)
        o.commands[i] = commands[i];
    return o;
}

static enum rb_status make(uint32_t kind, const char *body, size_t bytes,
                           struct rb_broker_command *c)
{
    struct rb_broker_options o = options();
    struct rb_error err;
    char copy[RB_BROKER_REQUEST_MAX];
    memcpy(copy, body, bytes);
    enum rb_status status =
        rb_broker_command_make(&o, kind, copy, bytes, "/proc/self/fd/9", c, &err);
    if (status != RB_OK)
        assert_true(err.detail[0] != '\0');
    return status;
}

static void test_submit_is_a_vector(void **state)
{
    struct rb_broker_command c;
    struct rb_broker_options o = options();
    struct rb_error err;
    char body[] = NAME "\0" FOLDER "\0points\0"
                       "12";
    static const char *const expected[] = {"/bin/echo",
                                           "--mem=1G",
                                           "--qos=low",
                                           "--parsable",
                                           "--array=0-11",
                                           "--signal=B:TERM@60",
                                           "--open-mode=append",
                                           "--chdir=/",
                                           "--export=ALL",
                                           "--output=" FOLDER "/log-%a.txt",
                                           "--job-name=" NAME,
                                           "/proc/self/fd/9",
                                           "/usr/bin/rebasind",
                                           FOLDER,
                                           "points",
                                           NULL};
    (void)state;
    assert_int_equal(rb_broker_command_make(&o, RB_BROKER_SUBMIT, body, sizeof body,
                                            "/proc/self/fd/9", &c, &err),
                     RB_OK);
    for (size_t i = 0; expected[i] != NULL || c.argv[i] != NULL; i++) {
        assert_non_null(c.argv[i]);
        assert_non_null(expected[i]);
        assert_string_equal(c.argv[i], expected[i]);
    }
    rb_broker_command_deinit(&c);
}

#define BODY(text) text, sizeof(text)

static void test_all_else_is_refused(void **state)
{
    static const struct {
        uint32_t kind;
        const char *body;
        size_t bytes;
    } rows[] = {
        {RB_BROKER_SUBMIT, BODY("rebasind-x-points.7\0" FOLDER "\0points\0"
                                "12")},
        {RB_BROKER_SUBMIT, BODY("rebasind-" JOB "-points.7; id\0" FOLDER "\0points\0"
                                "12")},
        {RB_BROKER_SUBMIT, BODY("rebasind-" JOB "-points.\0" FOLDER "\0points\0"
                                "12")},
        {RB_BROKER_SUBMIT, BODY("rebasind-" JOB "-dots.7\0" FOLDER "\0points\0"
                                "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0/etc\0points\0"
                                     "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0/shared/../etc\0points\0"
                                     "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0/shared/a b\0points\0"
                                     "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0/sharedother\0points\0"
                                     "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0--help\0"
                                     "12")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0points\0"
                                     "0")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0points\0"
                                     "-1")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0points\0"
                                     "99999")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0points")},
        {RB_BROKER_SUBMIT, BODY(NAME "\0" FOLDER "\0points\0"
                                     "12\0more")},
        {RB_BROKER_QUEUE, BODY("x")},
        {RB_BROKER_CANCEL, BODY("")},
        {RB_BROKER_CANCEL, BODY("-u root")},
        {RB_BROKER_CANCEL, BODY("somebody-elses-job")},
        {RB_BROKER_ACCOUNT, BODY("--help")},
        {RB_BROKER_ACCOUNT, BODY("12")},
        {RB_BROKER_KINDS, BODY("")},
        {UINT32_MAX, BODY("")},
        {RB_BROKER_CANCEL, NAME, sizeof NAME - 1}, /* not ended by a zero */
    };
    struct rb_broker_command c;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (make(rows[i].kind, rows[i].body, rows[i].bytes, &c) != RB_EINPUT)
            fail_msg("row %zu is taken", i);
    assert_int_equal(make(RB_BROKER_CANCEL, BODY(NAME), &c), RB_OK);
    assert_string_equal(c.argv[3], "--name=" NAME);
    rb_broker_command_deinit(&c);
    assert_int_equal(make(RB_BROKER_ACCOUNT, BODY(NAME), &c), RB_OK);
    assert_string_equal(c.argv[6], "--name=" NAME);
    rb_broker_command_deinit(&c);
    assert_int_equal(make(RB_BROKER_QUEUE, "", 0, &c), RB_OK);
}

/* Whatever bytes come: refused or one of the four commands, and nothing is read beyond them. */
static void test_any_bytes(void **state)
{
    static const char words[] = NAME "\0" FOLDER "\0points\0"
                                     "12\0../;$(id)\0\xff-";
    struct rb_broker_command c;
    uint64_t seed = 1;
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char body[160];
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        size_t bytes = (seed >> 33) % sizeof body;
        memcpy(body, words, bytes < sizeof words ? bytes : sizeof words);
        if (bytes > sizeof words)
            memset(body + sizeof words, 'x', bytes - sizeof words);
        for (int flips = (int)(seed >> 60) % 4; flips > 0 && bytes > 0; flips--) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            body[(seed >> 33) % bytes] = words[(seed >> 20) % sizeof words];
        }
        if (make((uint32_t)(seed >> 50) % 5, body, bytes, &c) != RB_OK)
            continue;
        bool known = false;
        for (int i = 0; i < RB_BROKER_KINDS; i++)
            known |= strcmp(c.path, commands[i]) == 0;
        assert_true(known);
        rb_broker_command_deinit(&c);
    }
}

/* ---- the process ---- */

static bool get(int fd, void *to, size_t bytes)
{
    for (size_t got = 0; got < bytes;) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 10000) != 1)
            return false;
        ssize_t n = read(fd, (char *)to + got, bytes - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void ask(int fd, enum rb_broker_kind kind, const char *const fields[],
                struct rb_broker_reply_head *head, char *text)
{
    unsigned char buffer[RB_BROKER_REQUEST_MAX];
    size_t bytes = rb_broker_encode(kind, 5, fields, buffer);
    assert_true(bytes > 0);
    assert_int_equal(write(fd, buffer, bytes), bytes);
    assert_true(get(fd, head, sizeof *head));
    assert_int_equal(head->magic, RB_BROKER_MAGIC);
    assert_int_equal(head->id, 5);
    assert_true(head->output_bytes + head->words_bytes < 4096);
    assert_true(get(fd, text, head->output_bytes + head->words_bytes));
    text[head->output_bytes + head->words_bytes] = '\0';
}

static void test_process(void **state)
{
    struct rb_broker_options o = options();
    struct rb_broker_reply_head head;
    struct rb_error err;
    char text[4096];
    int fd;
    (void)state;
    assert_int_equal(rb_broker_start(&o, &fd, &err), RB_OK);
    ask(fd, RB_BROKER_QUEUE, NULL, &head, text);
    assert_int_equal(head.status, 0);
    assert_string_equal(text, "--noheader --states=all --me --format=" RB_BROKER_QUEUE_FORMAT "\n");
    ask(fd, RB_BROKER_CANCEL, (const char *const[]){NAME}, &head, text);
    assert_int_equal(head.status, 1); /* /bin/false */
    ask(fd, RB_BROKER_CANCEL, (const char *const[]){"all"}, &head, text);
    assert_int_equal(head.status, RB_BROKER_REFUSED);
    assert_non_null(strstr(text, "no name of ours"));
    ask(fd, RB_BROKER_ACCOUNT, (const char *const[]){NAME}, &head, text);
    assert_true(head.status != 0 && head.words_bytes > 0); /* cat knows no such flag */
    /* What is no request ends it: the peer is not who it was. */
    static const char noise[64] = "GET / HTTP/1.1\r\n";
    assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
    assert_false(get(fd, &head, sizeof head));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit_is_a_vector),
        cmocka_unit_test(test_all_else_is_refused),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
