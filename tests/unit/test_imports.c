// LINK: server_work
/* Core reads below the import roots only, whatever a path has become since somebody looked at it:
 * every file of a model is replaced by a link, inside and outside, and opened by core itself. */
#include "unit/odd_shapes.h"

#include "core/input.h"
#include "core/tensor/checkpoint.h"
#include "core/text/tokenizer.h"
#include "core/text/tokenizer_open.h"
#include "server/work/imports.h"

#include <sys/socket.h>
#include <sys/un.h>

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";

struct fixture {
    struct tmpdir dir;
    char root[100], model[120];
    char *roots[1];
    struct rb_strings strings;
    struct rb_import_rules rules;
};

static void open_fixture(struct fixture *f)
{
    struct random_model m;
    memset(f, 0, sizeof *f);
    tmpdir_init(&f->dir);
    assert_int_equal(mkdir(tmpdir_path(&f->dir, "in"), 0700), 0);
    assert_int_equal(mkdir(tmpdir_path(&f->dir, "out"), 0700), 0);
    assert_int_equal(mkdir(tmpdir_path(&f->dir, "in/blobs"), 0700), 0);
    (void)snprintf(f->root, sizeof f->root, "%s/in", f->dir.path);
    (void)snprintf(f->model, sizeof f->model, "%s/model", f->root);
    random_model_init(&m, &odd_shapes[0], 7);
    (void)random_model_write(&m, &f->dir, "in/model");
    random_model_deinit(&m);
    (void)tmpdir_write(&f->dir, "in/model/vocab.txt", vocab, sizeof vocab - 1);
    (void)tmpdir_write(&f->dir, "in/model/tokenizer_config.json", "{}", 2);
    f->roots[0] = f->root;
    f->strings = (struct rb_strings){f->roots, 1};
    f->rules = (struct rb_import_rules){&f->strings, "/nonexistent/data"};
    rb_input_open_by(rb_import_open, &f->rules);
}

static void close_fixture(struct fixture *f)
{
    rb_input_open_by(NULL, NULL);
    tmpdir_deinit(&f->dir);
}

static enum rb_status open_model(const struct fixture *f, struct rb_error *err)
{
    struct rb_checkpoint c;
    enum rb_status s = rb_checkpoint_open(f->model, &c, err);
    if (s == RB_OK)
        rb_checkpoint_deinit(&c);
    return s;
}

static enum rb_status open_vocabulary(const struct fixture *f, struct rb_error *err)
{
    struct rb_tokenizer *t;
    enum rb_status s = rb_tokenizer_open(f->model, &t, err);
    if (s == RB_OK)
        rb_tokenizer_free(t);
    return s;
}

static const struct {
    const char *name; /* NULL: the folder itself */
    enum rb_status (*open)(const struct fixture *f, struct rb_error *err);
} cases[] = {
    {"config.json", open_model},
    {"model.safetensors", open_model},
    {NULL, open_model},
    {"vocab.txt", open_vocabulary},
    {"tokenizer_config.json", open_vocabulary},
    {NULL, open_vocabulary},
};

/* Moves what a case is about to `to` (from the fixture's folder), a link in its place. */
static void move(const struct fixture *f, size_t i, const char *to)
{
    char from[300], target[300];
    const char *name = cases[i].name;
    (void)snprintf(from, sizeof from, "%s%s%s", f->model, name != NULL ? "/" : "",
                   name != NULL ? name : "");
    (void)snprintf(target, sizeof target, "%s/%s", f->dir.path, to);
    assert_int_equal(rename(from, target), 0);
    assert_int_equal(symlink(target, from), 0);
}

static void test_links_outward(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct rb_error err = {0};
        open_fixture(&f);
        MUST(cases[i].open(&f, &err), &err);
        move(&f, i, "out/it");
        enum rb_status s = cases[i].open(&f, &err);
        if (s != RB_EINPUT || strstr(err.detail, "not below an import root") == NULL)
            fail_msg("case %zu: %s: %s", i, rb_problem_code(s), err.detail);
        rb_input_open_by(NULL, NULL); /* `rebasind run` reads what its user can read */
        MUST(cases[i].open(&f, &err), &err);
        close_fixture(&f);
    }
}

/* A Hugging Face cache: the folder holds links to blobs beside it. */
static void test_links_inward(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f;
        struct rb_error err = {0};
        open_fixture(&f);
        move(&f, i, "in/blobs/it");
        MUST(cases[i].open(&f, &err), &err);
        close_fixture(&f);
    }
}

/* What the daemon stored itself is no import. */
static void test_data_folder(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_error err = {0};
    open_fixture(&f);
    f.roots[0] = f.dir.joined[0];
    (void)strcpy(f.dir.joined[0], "/nonexistent");
    assert_int_equal(open_model(&f, &err), RB_EINPUT);
    f.rules.data_dir = f.root;
    MUST(open_model(&f, &err), &err);
    close_fixture(&f);
}

/* Neither a file that is missing nor a FIFO is waited for. */
static void test_no_file(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_error err = {0};
    char path[200];
    int fd;
    open_fixture(&f);
    (void)snprintf(path, sizeof path, "%s/absent", f.model);
    assert_int_equal(rb_input_open(path, 0, &fd, &err), RB_ENOTFOUND);
    (void)snprintf(path, sizeof path, "%s/vocab.txt", f.model);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_not_equal(open_vocabulary(&f, &err), RB_OK);
    close_fixture(&f);
}

/* A socket below the root is not said to be elsewhere. */
static void test_what_does_not_open(void **state)
{
    (void)state;
    struct fixture f;
    struct rb_error err = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1, s = socket(AF_UNIX, SOCK_STREAM, 0);
    open_fixture(&f);
    assert_true((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s/s", f.root) <
                sizeof address.sun_path);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(rb_input_open(address.sun_path, 0, &fd, &err), RB_EINPUT);
    assert_text_has(err.detail, "does not open");
    close(s);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_outward),      cmocka_unit_test(test_links_inward),
        cmocka_unit_test(test_data_folder),        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_what_does_not_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
