// LINK: server_base
/* The reserve comes and goes with the room; the figures are given, so no disk has to be full. */
#include "server/base/room.h"
#include "server/base/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "unit/tmpdir.h"

#define PLENTY (RB_ROOM_AGAIN_BYTES + 1)

static bool reserve_lies_there(struct tmpdir *dir)
{
    struct stat st;
    return stat(tmpdir_path(dir, RB_LAYOUT_RESERVE), &st) == 0 &&
           (uint64_t)st.st_size == RB_ROOM_RESERVE_BYTES &&
           (uint64_t)st.st_blocks * 512 >= RB_ROOM_RESERVE_BYTES;
}

static void assert_short(const struct rb_room *room, bool expected)
{
    struct rb_error err;
    assert_int_equal(room->is_short, expected);
    assert_int_equal(rb_room_check(room, &err), expected ? RB_EDISKFULL : RB_OK);
    if (expected)
        assert_non_null(strstr(err.detail, "deletions"));
}

static void test_reserve(void **state)
{
    (void)state;
    struct tmpdir dir;
    tmpdir_init(&dir);
    int root = open(dir.path, O_RDONLY | O_DIRECTORY);
    struct rb_room room;
    rb_room_init(&room, root);
    assert_short(&room, false);
    assert_true(reserve_lies_there(&dir));

    assert_false(rb_room_settle(&room, RB_ROOM_LEAST_BYTES)); /* just enough */
    assert_true(reserve_lies_there(&dir));
    assert_true(rb_room_settle(&room, RB_ROOM_LEAST_BYTES - 1));
    assert_false(reserve_lies_there(&dir));
    assert_short(&room, true);

    /* What it has freed is no room. */
    assert_false(rb_room_settle(&room, RB_ROOM_RESERVE_BYTES + RB_ROOM_LEAST_BYTES));
    assert_short(&room, true);
    assert_false(rb_room_settle(&room, RB_ROOM_AGAIN_BYTES - 1));
    assert_short(&room, true);
    assert_false(reserve_lies_there(&dir));
    assert_true(rb_room_settle(&room, RB_ROOM_AGAIN_BYTES));
    assert_short(&room, false);
    assert_true(reserve_lies_there(&dir));

    /* A quota shows in no figure. */
    assert_true(rb_room_spend(&room));
    assert_short(&room, true);
    assert_false(reserve_lies_there(&dir));
    assert_false(rb_room_spend(&room));

    /* A start finds what the last process left; here there is room, so it is made again. */
    rb_room_init(&room, root);
    assert_short(&room, false);
    assert_true(reserve_lies_there(&dir));
    assert_int_equal(rb_room_check(NULL, NULL), RB_OK);
    (void)close(root);
    tmpdir_deinit(&dir);
}

/* What lies there in another form is no reserve, and is made one. */
static void test_odd_reserves(void **state)
{
    (void)state;
    struct tmpdir dir;
    struct rb_room room;
    tmpdir_init(&dir);
    int root = open(dir.path, O_RDONLY | O_DIRECTORY);
    int fd = open(tmpdir_path(&dir, RB_LAYOUT_RESERVE), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
    rb_room_init(&room, root);
    assert_short(&room, false);
    assert_true(reserve_lies_there(&dir));
    assert_int_equal(remove(tmpdir_path(&dir, RB_LAYOUT_RESERVE)), 0);

    /* None can be made, though not for want of room: those who write will say why. */
    assert_int_equal(mkdir(tmpdir_path(&dir, RB_LAYOUT_RESERVE), 0700), 0);
    rb_room_init(&room, root);
    assert_false(room.is_held);
    assert_short(&room, false);
    assert_false(rb_room_settle(&room, PLENTY));
    assert_short(&room, false);
    (void)close(root);
    tmpdir_deinit(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_odd_reserves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
