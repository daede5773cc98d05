// LINK: server_base
/* Every case is a child that puts the sandbox on itself: what it did is told by its exit status. */
#include "server/base/options.h"
#include "server/base/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

enum { UNAVAILABLE = 77 }; /* what the case is about is not to be had here */

static struct tmpdir tmp; /* of the case that runs */

static char *join(const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", tmp.path, name) > 0);
    return path;
}

/* Settings of a daemon on `port` with data and import folders of its own, loaded as in life. */
static struct rb_settings settings_for(const char *port, const char *mode)
{
    struct rb_settings s;
    struct rb_error err;
    char listen[32];
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%s", port);
    char *data = join("data"), *import = join("import"), *token = join("secret/token");
    char *const argv[] = {"rebasind", "--listen",      listen,       "--data-dir",
                          data,       "--import-root", import,       "--token-file",
                          token,      "--sandbox",     (char *)mode, NULL};
    char *const environment[] = {NULL};
    enum rb_status status = rb_settings_load(11, argv, environment, NULL, &s, &err);
    free(data);
    free(import);
    free(token);
    if (status != RB_OK)
        fail_msg("%s", err.detail);
    return s;
}

static int setup(void **state)
{
    (void)state;
    static const char *const folders[] = {"data", "import", "secret", "outside"};
    tmpdir_init(&tmp);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(mkdir(tmpdir_path(&tmp, folders[i]), 0700), 0);
    tmpdir_write(&tmp, "data/old", "x", 1);
    tmpdir_write(&tmp, "import/weights", "x", 1);
    tmpdir_write(&tmp, "secret/token", "x", 1);
    tmpdir_write(&tmp, "outside/private", "x", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tmpdir_deinit(&tmp);
    return 0;
}

/* ---- children ---- */

static struct rb_sandbox_report report; /* of the child */

static bool has(enum rb_sandbox_part part)
{
    return report.parts[part].state != RB_SANDBOX_OFF;
}

/* Ends the child with the line's number unless the expression holds. */
#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #expression, strerror(errno));          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static int run_child(void (*body)(const struct rb_settings *s), const char *port, const char *mode)
{
    struct rb_settings s = settings_for(port, mode);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        body(&s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    rb_settings_deinit(&s);
    return status;
}

static void expect_fine(void (*body)(const struct rb_settings *s))
{
    int status = run_child(body, "8686", "auto");
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNAVAILABLE) {
        print_message("not to be had on this kernel or in this build\n");
        return;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void apply(const struct rb_settings *s, enum rb_sandbox_part needed)
{
    struct rb_error err;
    if (rb_sandbox_apply(s, s->data_dir, &report, &err) != RB_OK) {
        fprintf(stderr, "%s\n", err.detail);
        _exit(1);
    }
    if (!has(needed))
        _exit(UNAVAILABLE);
}

static bool opens(const char *name, int flags)
{
    char *path = join(name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int error = errno;
    free(path);
    if (fd >= 0)
        (void)close(fd);
    errno = error;
    return fd >= 0;
}

static bool denied(bool done)
{
    return !done && (errno == EACCES || errno == EPERM || errno == ENOSYS);
}

/* ---- Landlock ---- */

static void use_files(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_LANDLOCK);
    CHECK(opens("data/old", O_RDWR));
    CHECK(opens("data/new", O_RDWR | O_CREAT | O_EXCL));
    CHECK(mkdir(join("data/folder"), 0700) == 0);
    CHECK(rename(join("data/new"), join("data/folder/new")) == 0); /* an upload's last step */
    CHECK(linkat(AT_FDCWD, join("data/folder/new"), AT_FDCWD, join("data/linked"), 0) ==
          0);                                  /* align.from_job */
    CHECK(truncate(join("data/old"), 0) != 0); /* not one of our calls */
    CHECK(opens("data/old", O_WRONLY | O_TRUNC));
    CHECK(unlink(join("data/folder/new")) == 0);
    CHECK(rmdir(join("data/folder")) == 0);
    CHECK(opens("import/weights", O_RDONLY));
    CHECK(opens("import", O_RDONLY | O_DIRECTORY));
    CHECK(denied(opens("import/weights", O_WRONLY)));
    CHECK(denied(opens("import/more", O_WRONLY | O_CREAT)));
    CHECK(denied(unlink(join("import/weights")) == 0));
    CHECK(opens("secret/token", O_RDONLY));
    CHECK(denied(opens("secret/token", O_WRONLY)));
    CHECK(denied(opens("outside/private", O_RDONLY)));
    CHECK(denied(opens("outside/more", O_WRONLY | O_CREAT)));
    CHECK(denied(rename(join("data/old"), join("outside/old")) == 0));
    CHECK(denied(linkat(AT_FDCWD, join("data/old"), AT_FDCWD, join("outside/old"), 0) == 0));
    CHECK(denied(open("/etc/passwd", O_RDONLY) >= 0));
    CHECK(denied(open("/proc/1/environ", O_RDONLY) >= 0));
    CHECK(open("/proc/self/statm", O_RDONLY) >= 0);
    CHECK(open("/dev/urandom", O_RDONLY) >= 0);
    CHECK(denied(open("/dev/null", O_WRONLY) >= 0));
    CHECK(open("/proc/self/clear_refs", O_WRONLY) >= 0);
}

static void *use_files_of_thread(void *data)
{
    (void)data;
    CHECK(opens("data/old", O_RDWR));
    CHECK(denied(opens("outside/private", O_RDONLY)));
    return NULL;
}

/* The pool's threads come later, and are inside. */
static void use_thread(const struct rb_settings *s)
{
    pthread_t thread;
    apply(s, RB_SANDBOX_LANDLOCK);
    CHECK(pthread_create(&thread, NULL, use_files_of_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static int socket_at(uint16_t port, int (*act)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    return act(fd, (struct sockaddr *)&in, sizeof in);
}

static void use_ports(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_LANDLOCK);
    if (strstr(report.parts[RB_SANDBOX_LANDLOCK].detail, ": files, TCP") == NULL)
        _exit(UNAVAILABLE);
    CHECK(socket_at(8686, bind) == 0 || errno == EADDRINUSE);
    CHECK(denied(socket_at(8687, bind) == 0));
    CHECK(denied(socket_at(8686, connect) == 0));
}

static void use_any_port(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_LANDLOCK);
    CHECK(socket_at(0, bind) == 0);
}

static void test_files(void **state)
{
    (void)state;
    expect_fine(use_files);
}

static void test_threads(void **state)
{
    (void)state;
    expect_fine(use_thread);
}

static void test_ports(void **state)
{
    (void)state;
    expect_fine(use_ports);
    int status = run_child(use_any_port, "0", "auto");
    assert_true(WIFEXITED(status) &&
                (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == UNAVAILABLE));
}

/* ---- seccomp ---- */

static void use_calls(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_SECCOMP);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int both = MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, both, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(denied(mprotect(memory, page, PROT_READ | PROT_EXEC) == 0));
    CHECK(denied(mmap(NULL, page, PROT_READ | PROT_EXEC, both, -1, 0) != MAP_FAILED));
    CHECK(denied(socket(AF_NETLINK, SOCK_RAW, 0) >= 0));
    CHECK(denied(socket(AF_PACKET, SOCK_RAW, 0) >= 0));
    CHECK(denied(fork() >= 0));
    CHECK(denied(syscall(SYS_memfd_create, "x", 0) >= 0));
    CHECK(denied(kill(getppid(), 0) == 0));
}

static void call_program(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_SECCOMP);
    char *const argv[] = {"true", NULL};
    execv("/bin/true", argv);
}

static void call_trace(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_SECCOMP);
    (void)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void test_calls(void **state)
{
    (void)state;
    expect_fine(use_calls);
}

static void test_deadly(void **state)
{
    (void)state;
    void (*const bodies[])(const struct rb_settings *s) = {call_program, call_trace};
    for (size_t i = 0; i < 2; i++) {
        int status = run_child(bodies[i], "8686", "auto");
        if (WIFEXITED(status) && WEXITSTATUS(status) == UNAVAILABLE)
            continue;
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

/* ---- the small parts, modes, report ---- */

static void use_limits(const struct rb_settings *s)
{
    struct rlimit limit;
    char line[256], privileges[64] = "";
    apply(s, RB_SANDBOX_RLIMITS);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max == limit.rlim_cur);
    FILE *f = fopen("/proc/self/status", "re");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "NoNewPrivs:", 11) == 0)
            strcpy(privileges, line);
    CHECK(strstr(privileges, "1") != NULL);
}

static void use_off(const struct rb_settings *s)
{
    struct rb_error err;
    CHECK(rb_sandbox_apply(s, s->data_dir, &report, &err) == RB_OK);
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++)
        CHECK(!has(i));
    CHECK(opens("outside/private", O_RDONLY));
}

/* Everything is there, or there is no start. */
static void use_require(const struct rb_settings *s)
{
    struct rb_error err;
    enum rb_status status = rb_sandbox_apply(s, s->data_dir, &report, &err);
    bool all = true;
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++)
        all = all && has(i);
    CHECK(status == RB_OK ? all : status == RB_EUSAGE && strstr(err.detail, "require") != NULL);
}

static void use_report(const struct rb_settings *s)
{
    apply(s, RB_SANDBOX_RLIMITS);
    for (size_t i = 0; i < RB_SANDBOX_PART_COUNT; i++) {
        CHECK(strstr(report.text, rb_sandbox_part_names[i]) != NULL);
        CHECK(strstr(report.text, report.parts[i].detail) != NULL);
        CHECK(report.parts[i].detail[0] != '\0');
    }
    CHECK(strstr(report.text, "threads of libraries") == NULL);
}

static void lose_data(const struct rb_settings *s)
{
    struct rb_error err;
    enum rb_status status = rb_sandbox_apply(s, join("absent"), &report, &err);
    if (status == RB_OK && !has(RB_SANDBOX_LANDLOCK))
        _exit(UNAVAILABLE);
    CHECK(status != RB_OK && strstr(err.detail, "absent") != NULL);
}

static void test_limits(void **state)
{
    (void)state;
    expect_fine(use_limits);
}

static void test_modes(void **state)
{
    (void)state;
    assert_int_equal(run_child(use_off, "8686", "off"), 0);
    assert_int_equal(run_child(use_require, "8686", "require"), 0);
}

static void test_report(void **state)
{
    (void)state;
    expect_fine(use_report);
}

static void test_no_data(void **state)
{
    (void)state;
    expect_fine(lose_data);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_files), CASE(test_threads), CASE(test_ports),
        CASE(test_calls), CASE(test_deadly),  CASE(test_limits),
        CASE(test_modes), CASE(test_report),  CASE(test_no_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
