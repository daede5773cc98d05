// LINK: server_base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/addresses.h"
#include "server/base/config_print.h"
#include "server/base/config.h"
#include "server/base/options.h"
#include "unit/tmpdir.h"

enum { ARGUMENTS_MAX = 16 };

/* Loads with flags and variables, both NULL-terminated. */
static enum rb_status load(char *const flags[], char *const variables[], struct rb_settings *s,
                           struct rb_error *err)
{
    char *argv[ARGUMENTS_MAX] = {(char[]){"serve"}};
    static char *const none[] = {NULL};
    int argc = 1;
    for (; flags != NULL && flags[argc - 1] != NULL; argc++)
        argv[argc] = flags[argc - 1];
    return rb_settings_load(argc, argv, variables != NULL ? variables : none, NULL, s, err);
}

#define FLAGS(...) ((char *const[]){__VA_ARGS__, NULL})

static void assert_refused(char *const flags[], char *const variables[], const char *words)
{
    struct rb_settings s;
    struct rb_error err = {0};
    assert_int_equal(load(flags, variables, &s, &err), RB_EUSAGE);
    if (strstr(err.detail, words) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", words, err.detail);
}

static void test_defaults(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(NULL, NULL, &s, &err), RB_OK);
    assert_string_equal(s.listen, "127.0.0.1:8686");
    assert_string_equal(s.data_dir, "./rebasind-data");
    assert_int_equal(s.queue_limit, 1000);
    assert_true(s.workers >= 1);
    assert_true(s.max_upload_bytes == 16 * RB_GIB);
    assert_int_equal(s.drain_timeout_ms, 10000);
    assert_int_equal(s.log_format, RB_LOG_TEXT);
    assert_int_equal(s.log_level, RB_LOG_INFO);
    assert_int_equal(s.import_root.count, 0);
    assert_int_equal(s.origin[RB_OPTION_listen], RB_ORIGIN_DEFAULT);
    rb_settings_deinit(&s);
}

static void test_state_directory(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(NULL, FLAGS("STATE_DIRECTORY=/var/lib/rebasind:/other"), &s, &err),
                     RB_OK);
    assert_string_equal(s.data_dir, "/var/lib/rebasind");
    rb_settings_deinit(&s);
    assert_int_equal(load(FLAGS("--data-dir=/x"), FLAGS("STATE_DIRECTORY=/y"), &s, &err), RB_OK);
    assert_string_equal(s.data_dir, "/x");
    rb_settings_deinit(&s);
}

/* A stronger source wins whatever the order in which they are read. */
static void test_precedence(void **state)
{
    (void)state;
    struct tmpdir t;
    struct rb_settings s;
    struct rb_error err;
    tmpdir_init(&t);
    static const char text[] =
        "# the lab's\n\nworkers = 3\nqueue-limit=30 # short\n"
        "max-upload-bytes = 2 GiB\nlog-format = \"json\"\r\n"
        "import-root = /a\nimport-root = /b # twice\ndata-dir = \"/x # y\"\n";
    const char *path = tmpdir_write(&t, "conf", text, sizeof text - 1);
    char variable[128];
    (void)snprintf(variable, sizeof variable, "REBASIND_CONFIG=%s", path);
    assert_int_equal(load(FLAGS("--workers", "5"),
                          FLAGS(variable, "REBASIND_WORKERS=4", "REBASIND_QUEUE_LIMIT=40"), &s,
                          &err),
                     RB_OK);
    assert_int_equal(s.workers, 5);
    assert_int_equal(s.origin[RB_OPTION_workers], RB_ORIGIN_FLAG);
    assert_int_equal(s.queue_limit, 40);
    assert_int_equal(s.origin[RB_OPTION_queue_limit], RB_ORIGIN_ENVIRONMENT);
    assert_true(s.max_upload_bytes == 2 * RB_GIB);
    assert_int_equal(s.origin[RB_OPTION_max_upload_bytes], RB_ORIGIN_FILE);
    assert_int_equal(s.log_format, RB_LOG_JSON);
    assert_int_equal(s.import_root.count, 2);
    assert_string_equal(s.import_root.items[1], "/b");
    assert_string_equal(s.data_dir, "/x # y");
    rb_settings_deinit(&s);
    tmpdir_deinit(&t);
}

/* A stronger list replaces, one source's list grows. */
static void test_lists(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(FLAGS("--import-root", "/a, /b", "--import-root=/c"),
                          FLAGS("REBASIND_IMPORT_ROOT=/never"), &s, &err),
                     RB_OK);
    assert_int_equal(s.import_root.count, 3);
    assert_string_equal(s.import_root.items[0], "/a");
    assert_string_equal(s.import_root.items[1], "/b");
    assert_string_equal(s.import_root.items[2], "/c");
    rb_settings_deinit(&s);
}

/* Whichever source is read first. */
static void test_order_of_sources(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(NULL, NULL, &s, &err), RB_OK);
    static const struct {
        enum rb_origin origin;
        const char *text;
        size_t count;
    } steps[] = {{RB_ORIGIN_FILE, "/a,/b", 2},
                 {RB_ORIGIN_FILE, "/c", 3},
                 {RB_ORIGIN_FLAG, "/d", 1},
                 {RB_ORIGIN_ENVIRONMENT, "/e", 1},
                 {RB_ORIGIN_FLAG, "/f", 2}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(
            rb_option_set(&s, RB_OPTION_import_root, steps[i].origin, "test", steps[i].text, &err),
            RB_OK);
        assert_int_equal(s.import_root.count, steps[i].count);
    }
    assert_string_equal(s.import_root.items[0], "/d");
    rb_settings_deinit(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused(FLAGS("--wrokers", "3"), NULL, "did you mean --workers");
    assert_refused(NULL, FLAGS("REBASIND_QUEUE_LIMTI=3"), "did you mean REBASIND_QUEUE_LIMIT");
    assert_refused(FLAGS("--workers"), NULL, "--workers: expected a value");
    assert_refused(FLAGS("--workers", "three"), NULL, "--workers: expected a whole number");
    assert_refused(FLAGS("--workers", "-1"), NULL, "found \"-1\"");
    assert_refused(FLAGS("--queue-limit", "0"), NULL, "expected 1 to 1000000");
    assert_refused(FLAGS("--max-body-bytes", "99999999999999999999"), NULL, "a size");
    assert_refused(FLAGS("--max-body-bytes", "1MB"), NULL, "a size such as 512MiB");
    assert_refused(FLAGS("--drain-timeout", "10"), NULL, "a time such as");
    assert_refused(NULL, FLAGS("REBASIND_LOG_FORMAT=jsno"), "REBASIND_LOG_FORMAT: expected one of");
    assert_refused(FLAGS("--listen", "0.0.0.0"), NULL, "listen: expected");
    assert_refused(FLAGS("--listen", "127.0.0.1:99999"), NULL, "listen: expected");
    assert_refused(FLAGS("--listen", "::1:80"), NULL, "[::1]:8686");
    assert_refused(FLAGS("--route-prefix", "merge"), NULL, "route-prefix: expected");
    assert_refused(FLAGS("--route-prefix", "/a//b"), NULL, "route-prefix: expected");
    assert_refused(FLAGS("--route-prefix", "/a b"), NULL, "route-prefix: expected");
    assert_refused(FLAGS("--allowed-hosts", "a/b"), NULL, "allowed-hosts: expected");
    assert_refused(FLAGS("--allowed-origins", "lab.example"), NULL, "https://lab.example");
    assert_refused(FLAGS("--trusted-proxies", "10.0.0.0/33"), NULL, "10.0.0.0/8");
    assert_refused(FLAGS("word"), NULL, "unexpected argument \"word\"");
    assert_refused(FLAGS("-w"), NULL, "there is no flag -w");
}

static void refuse_file(const char *text, const char *words)
{
    struct tmpdir t;
    tmpdir_init(&t);
    char flag[128];
    (void)snprintf(flag, sizeof flag, "--config=%s", tmpdir_write(&t, "conf", text, strlen(text)));
    assert_refused(FLAGS(flag), NULL, words);
    tmpdir_deinit(&t);
}

static void test_bad_files(void **state)
{
    (void)state;
    refuse_file("workers = 2\nqueue_limit = 3\n", "conf:2: there is no key queue_limit");
    refuse_file("workers = 2\nqueue_limit = 3\n", "did you mean queue-limit");
    refuse_file("workers = 2\nworkers = 3\n", "conf:2: workers stands here for the second time");
    refuse_file("workers\n", "conf:1: expected key = value");
    refuse_file("config = /etc/x\n", "cannot name another");
    refuse_file("workers = many\n", "conf:1: expected a whole number");
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(FLAGS("--config", "/nowhere/conf"), NULL, &s, &err), RB_ENOTFOUND);
    assert_non_null(strstr(err.detail, "configuration file: "));
}

/* Variables of a Kubernetes service that is called rebasind. */
static void test_service_links(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(NULL,
                          FLAGS("REBASIND_SERVICE_HOST=10.0.0.7", "REBASIND_PORT=tcp://10.0.0.7:80",
                                "REBASIND_PORT_80_TCP_ADDR=10.0.0.7", "REBASIND"),
                          &s, &err),
                     RB_OK);
    rb_settings_deinit(&s);
}

static void test_subcommand_arguments(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    const char *words[2], *name = NULL;
    bool json = false;
    const struct rb_extra_flag flags[] = {
        {.flag = "name", .ret_text = &name}, {.flag = "json", .ret_given = &json}, {.flag = NULL}};
    struct rb_arguments a = {.flags = flags, .words = words, .words_max = 2};
    char *const argv[] = {"token", "create", "--name=x", "--json", "--workers", "2", "--", "--odd"};
    assert_int_equal(rb_settings_load(8, argv, FLAGS("A=b"), &a, &s, &err), RB_OK);
    assert_int_equal(a.word_count, 2);
    assert_string_equal(words[0], "create");
    assert_string_equal(words[1], "--odd");
    assert_string_equal(name, "x");
    assert_true(json);
    assert_int_equal(s.workers, 2);
    rb_settings_deinit(&s);
    a.word_count = 0;
    char *const bad[] = {"token", "--json=yes"};
    assert_int_equal(rb_settings_load(2, bad, FLAGS("A=b"), &a, &s, &err), RB_EUSAGE);
}

static void test_listen(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool ipv6, loopback;
    } cases[] = {
        {"127.0.0.1:8686", "127.0.0.1", 8686, false, true},
        {"127.9.9.9:0", "127.9.9.9", 0, false, true},
        {"localhost:80", "127.0.0.1", 80, false, true},
        {"[::1]:65535", "::1", 65535, true, true},
        {"[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, true, true},
        {"0.0.0.0:80", "0.0.0.0", 80, false, false},
        {":80", "::", 80, true, false},
        {"[::]:80", "::", 80, true, false},
        {"192.0.2.1:80", "192.0.2.1", 80, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rb_listen l;
        struct rb_error err;
        assert_int_equal(rb_listen_parse(cases[i].text, &l, &err), RB_OK);
        assert_string_equal(l.host, cases[i].host);
        assert_int_equal(l.port, cases[i].port);
        assert_int_equal(l.ipv6, cases[i].ipv6);
        assert_int_equal(l.loopback, cases[i].loopback);
    }
    static const char *const bad[] = {"",        ":",           "host.example:80", "1.2.3.4:",
                                      "[::1]80", "[1.2.3.4]:8", "1.2.3.4:80x",     "1.2.3:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rb_listen l;
        struct rb_error err;
        assert_int_equal(rb_listen_parse(bad[i], &l, &err), RB_EUSAGE);
    }
}

static void test_exposure(void **state)
{
    (void)state;
    struct rb_settings s;
    struct rb_error err;
    assert_int_equal(load(FLAGS("--listen", "0.0.0.0:80"), NULL, &s, &err), RB_OK);
    assert_int_equal(rb_settings_check_exposure(&s, 0, &err), RB_EUSAGE);
    assert_non_null(strstr(err.detail, "rebasind token create"));
    assert_int_equal(rb_settings_check_exposure(&s, 1, &err), RB_OK);
    rb_settings_deinit(&s);
    assert_int_equal(load(FLAGS("--listen", "[::1]:80"), NULL, &s, &err), RB_OK);
    assert_int_equal(rb_settings_check_exposure(&s, 0, &err), RB_OK);
    rb_settings_deinit(&s);
}

/* What check-config prints is a configuration file that gives the same settings. */
static void test_print_reads_back(void **state)
{
    (void)state;
    struct tmpdir t;
    struct rb_settings s, again;
    struct rb_error err;
    tmpdir_init(&t);
    assert_int_equal(
        load(FLAGS("--data-dir", "/a #b", "--import-root", "/r,/q", "--header-timeout", "1500ms",
                   "--max-body-bytes", "3KiB", "--log-level=warn", "--route-prefix", "/merge/"),
             NULL, &s, &err),
        RB_OK);
    assert_string_equal(s.route_prefix, "/merge");
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    rb_settings_print(&s, out);
    fclose(out);
    assert_non_null(strstr(text, "header-timeout = 1500ms"));
    assert_non_null(strstr(text, "# flag"));
    char *config_line = strstr(text, "config = "); /* empty: not a key of the file */
    assert_ptr_equal(config_line, text);
    char flag[128];
    char *rest = strchr(text, '\n') + 1;
    (void)snprintf(flag, sizeof flag, "--config=%s", tmpdir_write(&t, "conf", rest, strlen(rest)));
    assert_int_equal(load(FLAGS(flag), NULL, &again, &err), RB_OK);
    assert_string_equal(again.data_dir, s.data_dir);
    assert_int_equal(again.import_root.count, 2);
    assert_int_equal(again.header_timeout_ms, 1500);
    assert_int_equal(again.max_body_bytes, 3072);
    assert_int_equal(again.log_level, RB_LOG_WARN);
    assert_string_equal(again.route_prefix, "/merge");
    free(text);
    rb_settings_deinit(&s);
    rb_settings_deinit(&again);
    tmpdir_deinit(&t);
}

static void test_help(void **state)
{
    (void)state;
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    rb_options_help(out, NULL);
    rb_options_markdown(out);
    fclose(out);
    assert_non_null(strstr(text, "--moments-cache-bytes SIZE"));
    assert_non_null(strstr(text, "| `data-dir` | `REBASIND_DATA_DIR` |"));
    free(text);
}

/* docs/configuration.md holds the table as it is; with RB_UPDATE_DOCS=1 this test rewrites it. */
static void test_documentation(void **state)
{
    (void)state;
    static const char path[] = RB_FIXTURES "/../../docs/configuration.md";
    char *table;
    size_t table_bytes, bytes;
    FILE *out = open_memstream(&table, &table_bytes);
    rb_options_markdown(out);
    fclose(out);
    unsigned char *text = tmpdir_read(path, &bytes);
    char *begin = strstr((char *)text, "| flag and key |");
    assert_non_null(begin);
    if (getenv("RB_UPDATE_DOCS") != NULL) {
        out = fopen(path, "w");
        assert_non_null(out);
        fprintf(out, "%.*s%s", (int)(begin - (char *)text), (char *)text, table);
        fclose(out);
    } else if (strcmp(begin, table) != 0) {
        fail_msg("%s is not what the table of options says; RB_UPDATE_DOCS=1 rewrites it", path);
    }
    free(text);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_state_directory),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_service_links),
        cmocka_unit_test(test_subcommand_arguments),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_exposure),
        cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
