// LINK: server_cli
#include <setjmp.h>
#include <sys/stat.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/fsutil.h"
#include "server/base/log.h"
#include "server/cli/commands.h"
#include "server/store/tokens.h"
#include "unit/store_support.h"

#include <sys/wait.h>
#include <uv.h>

static int root;

static int set_up_tokens(void **state)
{
    rb_log_init(RB_LOG_TEXT, RB_LOG_ERROR + 1, 2);
    if (set_up(state) != 0)
        return -1;
    return rb_root_open(folder.path, false, &root, &err) == RB_OK ? 0 : -1;
}

static int tear_down_tokens(void **state)
{
    close(root);
    return tear_down(state);
}

static void test_scopes(void **state)
{
    (void)state;
    unsigned scopes;
    char text[RB_SCOPES_TEXT];
    assert_ok(rb_scopes_parse("read", &scopes, &err));
    assert_int_equal(scopes, RB_SCOPE_READ);
    assert_ok(rb_scopes_parse("submit", &scopes, &err));
    assert_int_equal(scopes, RB_SCOPE_SUBMIT | RB_SCOPE_READ);
    assert_ok(rb_scopes_parse("read,admin", &scopes, &err));
    assert_int_equal(scopes, RB_SCOPE_ALL);
    rb_scopes_format(scopes, text);
    assert_string_equal(text, "read,submit,admin");
    static const char *const bad[] = {"", "write", "read,", ",read", "read, submit", "Read"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rb_scopes_parse(bad[i], &scopes, &err), RB_EUSAGE);
}

/* A running daemon sees what the command does from the next request on. */
static void test_life(void **state)
{
    (void)state;
    struct rb_tokens *tokens;
    struct rb_token made;
    char secret[RB_TOKEN_TEXT], wrong[RB_TOKEN_TEXT];
    assert_ok(rb_tokens_open(root, NULL, &tokens, &err));
    assert_int_equal(rb_tokens_count(tokens), 0);
    assert_ok(rb_token_create(root,
                              &(struct rb_token){.scopes = RB_SCOPE_READ, .name = "a \"name\""},
                              &made, secret, &err));
    assert_int_equal(rb_tokens_count(tokens), 1);
    const struct rb_token *found = rb_tokens_find(tokens, secret, strlen(secret));
    assert_non_null(found);
    assert_string_equal(found->id, made.id);
    assert_int_equal(found->scopes, RB_SCOPE_READ);
    assert_string_equal(found->name, "a \"name\"");
    memcpy(wrong, secret, sizeof wrong);
    wrong[RB_TOKEN_TEXT - 2] ^= 1;
    assert_null(rb_tokens_find(tokens, wrong, strlen(wrong)));
    assert_null(rb_tokens_find(tokens, secret, strlen(secret) - 1));
    assert_null(rb_tokens_find(tokens, "", 0));
    assert_ok(rb_token_revoke(root, made.id, &err));
    assert_null(rb_tokens_find(tokens, secret, strlen(secret)));
    assert_ok(rb_token_revoke(root, made.id, &err));
    assert_int_equal(rb_tokens_count(tokens), 1); /* revoked, yet the service stays closed */
    assert_int_equal(rb_token_revoke(root, "tok_none", &err), RB_ENOTFOUND);
    rb_tokens_close(tokens);
}

/* The secret is nowhere in the data folder, the file is for the owner alone. */
static void test_secrets_are_not_kept(void **state)
{
    (void)state;
    struct rb_token made;
    char secret[RB_TOKEN_TEXT];
    struct stat st;
    size_t bytes;
    assert_ok(
        rb_token_create(root, &(struct rb_token){.scopes = RB_SCOPE_ALL}, &made, secret, &err));
    const char *path = tmpdir_path(&folder, "tokens");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    unsigned char *text = tmpdir_read(path, &bytes);
    assert_null(strstr((char *)text, secret));
    assert_non_null(strstr((char *)text, made.id));
    free(text);
}

/* Damage and loss under a running daemon change nothing; at start they are refused. */
static void test_damaged_file(void **state)
{
    (void)state;
    struct rb_tokens *tokens, *other;
    struct rb_token made;
    char secret[RB_TOKEN_TEXT];
    assert_ok(rb_token_create(root, &(struct rb_token){.scopes = RB_SCOPE_READ, .name = "x"}, &made,
                              secret, &err));
    assert_ok(rb_tokens_open(root, NULL, &tokens, &err));
    (void)tmpdir_write(&folder, "tokens", "# fine\ntok_1\tnonsense\n", 22);
    assert_int_equal(rb_tokens_open(root, NULL, &other, &err), RB_EUSAGE);
    assert_non_null(strstr(err.detail, "tokens:2"));
    assert_non_null(rb_tokens_find(tokens, secret, strlen(secret)));
    assert_int_equal(unlink(tmpdir_path(&folder, "tokens")), 0);
    assert_non_null(rb_tokens_find(tokens, secret, strlen(secret)));
    assert_int_equal(rb_tokens_count(tokens), 1);
    rb_tokens_close(tokens);
    assert_ok(rb_tokens_open(root, NULL, &tokens, &err));
    assert_int_equal(rb_tokens_count(tokens), 0);
    rb_tokens_close(tokens);
}

static void test_bad_lines(void **state)
{
    (void)state;
    struct rb_tokens *tokens;
    char line[512], zeros[65];
    memset(zeros, '0', 64);
    zeros[64] = '\0';
    static const char *const forms[] = {
        "tok_1\t%s\tread\t2026-01-01T00:00:00.000Z\t-", /* no name's tab */
        "tok_1\t%.63s\tread\t2026-01-01T00:00:00.000Z\t-\tx",
        "tok_1\t%s\twrite\t2026-01-01T00:00:00.000Z\t-\tx",
        "tok_1\t%s\tread\tyesterday\t-\tx",
        "tok_1\t%s\tread\t2026-01-01T00:00:00.000Z\tnow\tx",
        "tok_111111111111111\t%s\tread\t2026-01-01T00:00:00.000Z\t-\tx",
        "\t%s\tread\t2026-01-01T00:00:00.000Z\t-\tx",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int n = snprintf(line, sizeof line, forms[i], zeros);
#pragma GCC diagnostic pop
        (void)tmpdir_write(&folder, "tokens", line, (size_t)n);
        assert_int_equal(rb_tokens_open(root, NULL, &tokens, &err), RB_EUSAGE);
    }
}

static void test_token_file(void **state)
{
    (void)state;
    static const char secret[] = "0123456789abcdef0123456789abcdef";
    struct rb_tokens *tokens;
    const char *path = tmpdir_write(&folder, "secret", "0123456789abcdef0123456789abcdef\n\n", 34);
    assert_ok(rb_tokens_open(root, path, &tokens, &err));
    assert_int_equal(rb_tokens_count(tokens), 1);
    const struct rb_token *found = rb_tokens_find(tokens, secret, strlen(secret));
    assert_non_null(found);
    assert_string_equal(found->id, "tok_file");
    assert_int_equal(found->scopes, RB_SCOPE_ALL);
    usleep(10000); /* the clock of file times is coarse */
    path = tmpdir_write(&folder, "secret", "another-secret-that-is-long-enough!", 35);
    assert_null(rb_tokens_find(tokens, secret, strlen(secret)));
    assert_non_null(rb_tokens_find(tokens, "another-secret-that-is-long-enough!", 35));
    assert_true(rb_tokens_valid(tokens, "tok_file"));
    /* Emptied, gone, or no file any more: it opens nothing, and the service stays closed. */
    usleep(10000);
    path = tmpdir_write(&folder, "secret", "", 0);
    assert_null(rb_tokens_find(tokens, "another-secret-that-is-long-enough!", 35));
    assert_false(rb_tokens_valid(tokens, "tok_file"));
    assert_int_equal(rb_tokens_count(tokens), 1);
    assert_int_equal(unlink(path), 0);
    assert_null(rb_tokens_find(tokens, "another-secret-that-is-long-enough!", 35));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(rb_tokens_find(tokens, "another-secret-that-is-long-enough!", 35));
    assert_int_equal(rb_tokens_count(tokens), 1);
    assert_int_equal(unlink(path), 0);
    path = tmpdir_write(&folder, "secret", "another-secret-that-is-long-enough!", 35);
    assert_non_null(rb_tokens_find(tokens, "another-secret-that-is-long-enough!", 35));
    rb_tokens_close(tokens);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(rb_tokens_open(root, path, &tokens, &err), RB_EUSAGE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rb_tokens_open(root, "/dev/tty", &tokens, &err) == RB_OK, 0);
    path = tmpdir_write(&folder, "secret", "short\n", 6);
    assert_int_equal(rb_tokens_open(root, path, &tokens, &err), RB_EUSAGE);
    path = tmpdir_write(&folder, "secret", "with a blank, though it is long enough", 38);
    assert_int_equal(rb_tokens_open(root, path, &tokens, &err), RB_EUSAGE);
    path = tmpdir_write(&folder, "secret", "", 0);
    assert_int_equal(rb_tokens_open(root, path, &tokens, &err), RB_EUSAGE);
    assert_int_equal(rb_tokens_open(root, "/dev/null/none", &tokens, &err), RB_ENOTFOUND);
    assert_int_equal(rb_token_revoke(root, "tok_file", &err), RB_EUSAGE);
}

static void test_last_used(void **state)
{
    (void)state;
    struct rb_tokens *tokens;
    struct rb_token token = {.id = "tok_1"};
    const char *path = tmpdir_path(&folder, "rebasind.db");
    assert_ok(rb_tokens_open(root, NULL, &tokens, &err));
    assert_int_equal(rb_token_last_used_ms(path, "tok_1"), -1);
    rb_token_used(tokens, store, &token, 1000000);
    assert_int_equal(rb_token_last_used_ms(path, "tok_1"), 1000000); /* beside the open store */
    rb_token_used(tokens, store, &token, 1000001);
    assert_int_equal(rb_token_last_used_ms(path, "tok_1"), 1000000);
    rb_token_used(tokens, store, &token, 1060000);
    assert_int_equal(rb_token_last_used_ms(path, "tok_1"), 1060000);
    assert_int_equal(rb_token_last_used_ms("/nowhere.db", "tok_1"), -1);
    rb_tokens_close(tokens);
}

/* Many at once lose nothing: each waits for the lock. */
static void test_concurrent_creation(void **state)
{
    (void)state;
    enum { CHILDREN = 8 };
    struct rb_token *list, made;
    char secret[RB_TOKEN_TEXT];
    size_t count;
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0)
            _exit(rb_token_create(root, &(struct rb_token){.scopes = RB_SCOPE_READ, .name = "x"},
                                  &made, secret, &err) == RB_OK
                      ? 0
                      : 1);
    for (int i = 0, code; i < CHILDREN; i++) {
        assert_true(wait(&code) > 0);
        assert_int_equal(code, 0);
    }
    assert_ok(rb_tokens_list(root, &list, &count, &err));
    assert_int_equal(count, CHILDREN);
    free(list);
}

/* ---- the commands ---- */

static char *output;
static size_t output_bytes;

/* Runs a command on the folder; what it printed is in output until the next call. */
static int run(int (*command)(int argc, char *const argv[], FILE *out), const char *word,
               const char *second, const char *flag)
{
    char data_dir[128];
    (void)snprintf(data_dir, sizeof data_dir, "--data-dir=%s", folder.path);
    char *argv[6] = {(char *)(uintptr_t) "command", data_dir};
    int argc = 2;
    const char *const more[] = {word, second, flag};
    for (size_t i = 0; i < 3; i++)
        if (more[i] != NULL)
            argv[argc++] = (char *)(uintptr_t)more[i];
    free(output);
    FILE *out = open_memstream(&output, &output_bytes);
    int null = open("/dev/null", O_WRONLY), kept = dup(2);
    dup2(null, 2);
    int code = command(argc, argv, out);
    dup2(kept, 2);
    close(null);
    close(kept);
    fclose(out);
    return code;
}

static void test_token_command(void **state)
{
    (void)state;
    struct rb_tokens *tokens;
    struct rb_token *list;
    size_t count;
    assert_int_equal(run(rb_cmd_token, "create", NULL, "--name=sweeps"), 0);
    assert_int_equal(output_bytes, RB_TOKEN_TEXT); /* the secret and a newline, nothing else */
    assert_ok(rb_tokens_open(root, NULL, &tokens, &err));
    const struct rb_token *found = rb_tokens_find(tokens, output, output_bytes - 1);
    assert_non_null(found);
    assert_int_equal(found->scopes, RB_SCOPE_SUBMIT | RB_SCOPE_READ);
    rb_tokens_close(tokens);
    assert_ok(rb_tokens_list(root, &list, &count, &err));
    assert_int_equal(run(rb_cmd_token, "list", NULL, NULL), 0);
    assert_non_null(strstr(output, list[0].id));
    assert_non_null(strstr(output, "sweeps"));
    assert_int_equal(run(rb_cmd_token, "revoke", list[0].id, NULL), 0);
    assert_int_equal(run(rb_cmd_token, "list", NULL, NULL), 0);
    assert_non_null(strstr(output, "revoked"));
    free(list);
    assert_int_equal(run(rb_cmd_token, "revoke", "tok_none", NULL), 1);
    assert_int_equal(run(rb_cmd_token, "revoke", NULL, NULL), 2);
    assert_int_equal(run(rb_cmd_token, "make", NULL, NULL), 2);
    assert_int_equal(run(rb_cmd_token, NULL, NULL, NULL), 2);
    assert_int_equal(run(rb_cmd_token, "create", NULL, "--scopes=write"), 2);
    assert_int_equal(run(rb_cmd_token, "create", NULL, "--scoops=read"), 2);
    char long_name[100];
    (void)snprintf(long_name, sizeof long_name, "--name=%080d", 1);
    assert_int_equal(run(rb_cmd_token, "create", NULL, long_name), 2);
    assert_int_equal(run(rb_cmd_token, "create", NULL, "--name=a\tb"), 2);
}

static void test_check_config_command(void **state)
{
    (void)state;
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, NULL), 0);
    assert_non_null(strstr(output, "listen = 127.0.0.1:8686"));
    assert_non_null(strstr(output, folder.path));
    assert_non_null(strstr(output, "# flag"));
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--import-root=/dev/null/none"), 1);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--listen=0.0.0.0:80"), 1);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--token-file=/dev/null/none"), 1);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--data-dir=/dev/null/x"), 1);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--liste=x"), 2);
    char future[128];
    (void)snprintf(future, sizeof future, "--data-dir=%s/a/b", folder.path);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, future), 0);
    assert_int_equal(access(tmpdir_path(&folder, "a"), F_OK), -1); /* nothing was made */
    assert_int_equal(run(rb_cmd_token, "create", NULL, NULL), 0);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, "--listen=0.0.0.0:80"), 0);
    rb_store_close(store);
    store = NULL;
    (void)tmpdir_write(&folder, "rebasind.db", "garbage that is no database at all", 34);
    assert_int_equal(run(rb_cmd_check_config, NULL, NULL, NULL), 1);
}

static void test_version_command(void **state)
{
    (void)state;
    char json[64], plain[64];
    (void)snprintf(json, sizeof json, "\"libuv\":\"%s\"", uv_version_string());
    (void)snprintf(plain, sizeof plain, "libuv %s\n", uv_version_string());
    char *argv[] = {(char *)(uintptr_t) "version", (char *)(uintptr_t) "--json", NULL};
    char *text;
    size_t bytes;
    for (int argc = 1; argc <= 2; argc++) {
        FILE *out = open_memstream(&text, &bytes);
        assert_int_equal(rb_cmd_version(argc, argv, out), 0);
        fclose(out);
        assert_non_null(strstr(text, RB_VERSION));
        assert_non_null(strstr(text, argc == 1 ? plain : json));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scopes, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_life, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_secrets_are_not_kept, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_damaged_file, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_bad_lines, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_token_file, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_last_used, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_concurrent_creation, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_token_command, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_check_config_command, set_up_tokens, tear_down_tokens),
        cmocka_unit_test_setup_teardown(test_version_command, set_up_tokens, tear_down_tokens),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(output);
    return failed;
}
