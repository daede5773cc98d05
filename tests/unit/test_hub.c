// LINK: server_work
/* Who hears what: listeners of one job its events alone, listeners of all jobs every one. */
#include "server/work/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct ear {
    struct rb_listener listener;
    unsigned heard, gone;
};

static void heard(struct rb_listener *l, const struct rb_event *event)
{
    (void)event;
    ((struct ear *)l->data)->heard++;
}

static void gone(struct rb_listener *l)
{
    ((struct ear *)l->data)->gone++;
}

static void listen(struct rb_hub *hub, struct ear *ear, const char *job)
{
    *ear = (struct ear){.listener = {.job = job, .heard = heard, .gone = gone}};
    ear->listener.data = ear;
    rb_hub_listen(hub, &ear->listener);
}

static void test_who_hears(void **state)
{
    (void)state;
    struct rb_hub hub;
    struct ear all, one, other;
    struct rb_event event = {.type = RB_EVENT_STATUS};
    rb_hub_init(&hub);
    listen(&hub, &all, NULL);
    listen(&hub, &one, "job_1");
    listen(&hub, &other, "job_2");
    strcpy(event.job, "job_1");
    rb_hub_publish(&hub, &event);
    assert_int_equal(all.heard, 1);
    assert_int_equal(one.heard, 1);
    assert_int_equal(other.heard, 0);
    rb_hub_deleted(&hub, "job_2");
    assert_int_equal(all.gone + one.gone, 0);
    assert_int_equal(other.gone, 1);
    rb_hub_unlisten(&hub, &one.listener);
    rb_hub_publish(&hub, &event);
    assert_int_equal(all.heard, 2);
    assert_int_equal(one.heard, 1);
    rb_hub_unlisten(&hub, &all.listener);
    rb_hub_unlisten(&hub, &other.listener);
    rb_hub_deinit(&hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_hears)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
