// LINK: server_work
/* What squeue's lines mean. */
#include "server/work/slurm_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_counts(void **state)
{
    static const struct {
        const char *text;
        uint32_t count;
    } rows[] = {{"0", 1},      {"0-3", 4},           {"2-41", 40},     {"0,3,7-9", 5},
                {"0-9%2", 10}, {"N/A", 1},           {"", 1},          {"3-1", 1},
                {"1,", 1},     {"0-99999999999", 1}, {"4294967295", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rb_slurm_tasks_count(rows[i].text) != rows[i].count)
            fail_msg("%s: %u", rows[i].text, rb_slurm_tasks_count(rows[i].text));
}

static void test_lines(void **state)
{
    static const struct {
        const char *text;
        bool ours, active, running;
        const char *ended; /* a word of it */
        uint32_t tasks;
    } rows[] = {
        {"5|2-5|PENDING|Resources||rebasind-x-points.1", true, true, false, NULL, 4},
        {"5|0|RUNNING|None|n1|rebasind-x-points.1", true, true, true, NULL, 1},
        {"5|0|COMPLETING|None|n1|rebasind-x-points.1", true, true, true, NULL, 1},
        {"5|0|COMPLETED|None|n1|rebasind-x-points.1", true, false, false, NULL, 1},
        {"5|0|OUT_OF_MEMORY|x|n1|rebasind-x-points.1", true, false, false, "--mem", 1},
        {"5|0|TIMEOUT|x|n1|rebasind-x-points.1", true, false, false, "--time", 1},
        {"5|0|NODE_FAIL|x|n1|rebasind-x-points.1", true, false, false, "node", 1},
        {"5|0|PREEMPTED|x|n1|rebasind-x-points.1", true, false, false, "preempted", 1},
        {"5|0|CANCELLED|x|n1|rebasind-x-points.1", true, false, false, "outside", 1},
        {"5|0|A_NEW_STATE|x|n1|rebasind-x-points.1", true, true, false, NULL, 1},
        {"5|0|RUNNING|None|n1|wrap", false, false, false, NULL, 0},
        {"5|0|RUNNING|None|n1", false, false, false, NULL, 0},
        {"", false, false, false, NULL, 0},
        {"slurm_load_jobs error: Unable to contact slurm controller", false, false, false, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[160];
        struct rb_slurm_line l;
        (void)snprintf(text, sizeof text, "%s", rows[i].text);
        assert_int_equal(rb_slurm_line_parse(text, &l), rows[i].ours);
        if (!rows[i].ours)
            continue;
        assert_int_equal(l.active, rows[i].active);
        assert_int_equal(l.running, rows[i].running);
        assert_int_equal(l.tasks, rows[i].tasks);
        assert_int_equal(l.ended != NULL, rows[i].ended != NULL);
        if (l.ended != NULL)
            assert_non_null(strstr(l.ended, rows[i].ended));
    }
}

static void test_account(void **state)
{
    static const struct {
        const char *text, *ended; /* a word of it */
    } rows[] = {
        {"COMPLETED|0:0\nTIMEOUT|0:0\nCOMPLETED|0:0\n", "--time"},
        {"OUT_OF_MEMORY|0:125\n", "--mem"},
        {"NODE_FAIL|1:0\n", "node was lost"},
        {"PREEMPTED|0:0\n", "preempted"},
        {"CANCELLED by 1000|0:15\n", "outside"},
        {"FAILED|75:0\n", "failed on its node"},
        {"COMPLETED|0:0\n", NULL},
        {"", NULL},
        {"CANCEL|0:0\nTIMEOUTS|0:0\nRUNNING|0:0\n|\n", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[160];
        (void)snprintf(text, sizeof text, "%s", rows[i].text);
        const char *ended = rb_slurm_account_parse(text);
        assert_int_equal(ended != NULL, rows[i].ended != NULL);
        if (ended != NULL)
            assert_non_null(strstr(ended, rows[i].ended));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
