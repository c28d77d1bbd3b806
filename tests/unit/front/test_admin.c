/* SPDX-License-Identifier: MIT */
/* STATUS, END and RELOAD: what they show and do, and for whom. */
#include "tests/unit/front/front_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The last STATUS that was refused while another was answered. */
static uint32_t busy_rid;

/* All parts of one answer; the caller frees. */
static json_t *hear_status(struct sl_raw_client *c, uint32_t rid, unsigned *ret_parts)
{
    static char text[4000000];
    size_t len = 0;
    json_error_t error;
    bool more;

    *ret_parts = 0;
    do {
        uint32_t type = sl_raw_hear(c);
        if (type == SL_MSG_ERROR && c->msg.error.code == -SL_E_BUSY) { /* the answer to another one, in between */
            busy_rid = c->msg.error.rid;
            more = true;
            continue;
        }
        assert_int_equal(type, SL_MSG_STATUS_REPLY);
        assert_int_equal(c->msg.status_reply.rid, rid);
        memcpy(text + len, c->msg.status_reply.json.data, c->msg.status_reply.json.len);
        len += c->msg.status_reply.json.len;
        (*ret_parts)++;
        more = c->msg.status_reply.more;
    } while (more);
    json_t *status = json_loadb(text, len, 0, &error);
    if (status == NULL)
        fail_msg("%s in %.*s", error.text, (int)len, text);
    return status;
}

static json_int_t number(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

static void status_shows_who_holds_and_who_waits(void **state)
{
    struct sl_front_world f;
    unsigned parts;
    (void)state;
    sl_front_init(&f, FRONT_CONF("max_connections: 1") "  b: {max_connections: 7}\n");
    struct sl_raw_client *c = sl_raw_lease(&f), *waiter = sl_raw_hello(&f);
    json_int_t id = (json_int_t)c->msg.granted.lease;
    sl_raw_exec(c, 2, 1, "hang", 1000);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_acquire(waiter, 1, "a");
    sl_world_settle(&f.world);
    sl_raw_request(c, SL_MSG_STATUS, 9);
    json_t *status = hear_status(c, 9, &parts);
    assert_int_equal(parts, 1);
    assert_string_equal(text(status, "state"), "running");
    assert_int_equal(number(status, "pid"), getpid());
    assert_true(number(status, "uptime_ms") >= 0);

    const json_t *targets = json_object_get(status, "targets");
    assert_int_equal(json_array_size(targets), 2);
    const json_t *a = json_array_get(targets, 0), *connections = json_object_get(a, "connections");
    assert_string_equal(text(a, "name"), "a");
    assert_int_equal(number(connections, "leased"), 1);
    assert_int_equal(number(connections, "idle"), 0);
    assert_int_equal(number(a, "waiters"), 1);
    assert_int_equal(number(json_array_get(targets, 1), "max_connections"), 7);

    const json_t *leases = json_object_get(status, "leases");
    assert_int_equal(json_array_size(leases), 2);
    const json_t *held = json_array_get(leases, 0);
    assert_int_equal(number(held, "id"), id);
    assert_string_equal(text(held, "state"), "granted");
    assert_string_equal(text(held, "target"), "a");
    assert_string_equal(text(held, "label"), "l");
    assert_int_equal(number(held, "pid"), getpid());
    assert_int_equal(number(held, "uid"), getuid());
    assert_non_null(strstr(text(held, "command"), "unit_front_admin"));
    const struct passwd *user = getpwuid(getuid());
    if (user != NULL)
        assert_string_equal(text(held, "user"), user->pw_name);
    assert_int_equal(number(held, "streams"), 1);
    assert_in_range(number(held, "expires_ms"), 800000, 900000);
    assert_string_equal(text(json_array_get(leases, 1), "state"), "waiting");
    assert_in_range(number(json_array_get(leases, 1), "expires_ms"), 20000, 30000);

    const json_t *counters = json_object_get(status, "counters");
    assert_int_equal(number(json_object_get(counters, "leases_granted"), "granted"), 1);
    json_decref(status);
    sl_raw_close(c);
    sl_raw_close(waiter);
    sl_front_fini(&f);
}

TEST(a_large_status_comes_in_parts_even_to_a_slow_reader)
{
    struct sl_front_world f;
    unsigned parts;
    char *yaml = malloc(200000);
    size_t len;
    assert_non_null(yaml);
    len = (size_t)snprintf(yaml, 200000, "limits: {targets: 5000}\n" FRONT_CONF(""));
    for (int i = 0; i < 4000; i++)
        len += (size_t)snprintf(yaml + len, 200000 - len, "  target-number-%d: {}\n", i);
    sl_front_init(&f, yaml);
    free(yaml);
    struct sl_raw_client *c = sl_raw_hello(&f);
    sl_raw_request(c, SL_MSG_STATUS, 3);
    sl_raw_request(c, SL_MSG_STATUS, 4); /* one at a time */
    sl_raw_expect_error(c, 4, SL_E_BUSY);
    uint8_t byte;
    WORLD_UNTIL(&f.world, recv(c->fd, &byte, 1, MSG_PEEK) == 1);
    sl_world_settle(&f.world);
    sl_raw_request(c, SL_MSG_STATUS, 44); /* the first is still not sent, for nobody reads */
    sl_world_settle(&f.world);
    json_t *status = hear_status(c, 3, &parts);
    assert_true(parts > 5);
    assert_int_equal(busy_rid, 44);
    assert_int_equal(json_array_size(json_object_get(status, "targets")), 4001);
    json_decref(status);
    sl_raw_request(c, SL_MSG_STATUS, 5);
    status = hear_status(c, 5, &parts);
    json_decref(status);
    /* And the client may go in the middle of it. */
    sl_raw_request(c, SL_MSG_STATUS, 6);
    (void)uv_run(&f.world.loop, UV_RUN_NOWAIT);
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    sl_raw_request(c, SL_MSG_STATUS, 7);
    sl_raw_expect(c, SL_MSG_STATUS_REPLY);
    sl_raw_close(c);
    sl_front_fini(&f);
}

/* The thread pool is done with it, but the loop hears of the client's end first. */
TEST(the_client_may_go_while_its_status_is_made)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    sl_raw_request(c, SL_MSG_STATUS, 2);
    (void)uv_run(&f.world.loop, UV_RUN_NOWAIT); /* reads it and hands it to the pool */
    sl_raw_close(c);
    (void)usleep(50000); /* for the pool: its end cannot be awaited without the loop, which must not run yet */
    sl_world_settle(&f.world);
    c = sl_raw_hello(&f);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(texts_that_are_no_utf8_do_not_spoil_it)
{
    struct sl_front_world f;
    unsigned parts;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_hello(&f);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_ACQUIRE,
                      .acquire = {.rid = 1, .target = sl_bytes_of("a"), .label = sl_bytes_of("a\xff\"\n")}});
    sl_raw_expect(c, SL_MSG_GRANTED);
    sl_raw_request(c, SL_MSG_STATUS, 2);
    json_t *status = hear_status(c, 2, &parts);
    assert_string_equal(text(json_array_get(json_object_get(status, "leases"), 0), "label"), "a?\"\n");
    json_decref(status);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(end_takes_a_lease_back)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f), *admin = sl_raw_hello(&f);
    uint64_t lease = c->msg.granted.lease;
    sl_raw_say(admin, &(struct sl_msg){.type = SL_MSG_END, .end = {.rid = 1, .lease = lease + 1}});
    sl_raw_expect_error(admin, 1, SL_E_NO_LEASE);
    sl_raw_say(admin, &(struct sl_msg){.type = SL_MSG_END, .end = {.rid = 2, .lease = lease}});
    sl_raw_expect(admin, SL_MSG_OK);
    sl_raw_expect(c, SL_MSG_LEASE_ENDED);
    sl_raw_say(admin, &(struct sl_msg){.type = SL_MSG_END, .end = {.rid = 3, .lease = lease}});
    sl_raw_expect_error(admin, 3, SL_E_NO_LEASE);
    sl_raw_close(c);
    sl_raw_close(admin);
    sl_front_fini(&f);
}

TEST(reload_answers_when_it_is_done)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_hello(&f);
    sl_raw_request(c, SL_MSG_RELOAD, 1);
    sl_raw_expect_silence(c);
    sl_raw_request(c, SL_MSG_RELOAD, 2);
    sl_raw_expect_error(c, 2, SL_E_BUSY);
    assert_non_null(f.reloaded);
    f.reloaded(f.reloaded_arg, 0, "");
    f.reloaded = NULL;
    sl_raw_expect(c, SL_MSG_OK);
    assert_int_equal(c->msg.request.rid, 1);

    sl_raw_request(c, SL_MSG_RELOAD, 3);
    sl_raw_expect_silence(c);
    assert_non_null(f.reloaded);
    f.reloaded(f.reloaded_arg, SL_E_CONFIG, "file:1:2: wrong\nfile:3:4: wrong, too");
    f.reloaded = NULL;
    sl_raw_expect_error(c, 3, SL_E_CONFIG);
    assert_memory_equal(c->msg.error.text.data, "file:1:2: wrong\nfile:3", 21);

    f.reload_refusal = SL_E_LIMIT;
    sl_raw_request(c, SL_MSG_RELOAD, 4);
    sl_raw_expect_error(c, 4, SL_E_LIMIT);
    f.reload_refusal = 0;
    /* Nobody is left to hear it. */
    sl_raw_request(c, SL_MSG_RELOAD, 5);
    sl_raw_expect_silence(c);
    sl_raw_close(c);
    sl_world_settle(&f.world);
    assert_non_null(f.reloaded);
    f.reloaded(f.reloaded_arg, 0, "");
    sl_front_fini(&f);
}

TEST(strangers_see_and_end_what_is_theirs_only)
{
    struct sl_front_world f;
    unsigned parts;
    if (geteuid() != 0)
        skip(); /* cannot be somebody else */
    sl_front_init(&f, FRONT_CONF("") "  b: {allow: {users: [2]}}\n");
    struct sl_raw_client *c = sl_raw_lease(&f), *other = sl_raw_connect_as(&f, 1);
    uint64_t lease = c->msg.granted.lease;
    sl_raw_greet(other);
    sl_raw_request(other, SL_MSG_RELOAD, 1);
    sl_raw_expect_error(other, 1, SL_E_NOT_ALLOWED);
    sl_raw_say(other, &(struct sl_msg){.type = SL_MSG_END, .end = {.rid = 2, .lease = lease}});
    sl_raw_expect_error(other, 2, SL_E_NOT_ALLOWED);
    sl_raw_acquire(other, 3, "b");
    sl_raw_expect_error(other, 3, SL_E_NOT_ALLOWED);
    sl_raw_acquire(other, 4, "a");
    sl_raw_expect(other, SL_MSG_GRANTED);
    assert_int_equal(sl_fake_counts(f.world.transport).dialed, 2); /* not root's connection */
    sl_raw_request(other, SL_MSG_STATUS, 5);
    json_t *status = hear_status(other, 5, &parts);
    assert_int_equal(json_array_size(json_object_get(status, "targets")), 1);
    const json_t *leases = json_object_get(status, "leases");
    assert_int_equal(json_array_size(leases), 1);
    assert_int_equal(number(json_array_get(leases, 0), "uid"), 1);
    json_decref(status);
    sl_raw_close(c);
    sl_raw_close(other);
    sl_front_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_shows_who_holds_and_who_waits),
        cmocka_unit_test(a_large_status_comes_in_parts_even_to_a_slow_reader),
        cmocka_unit_test(the_client_may_go_while_its_status_is_made),
        cmocka_unit_test(texts_that_are_no_utf8_do_not_spoil_it),
        cmocka_unit_test(end_takes_a_lease_back),
        cmocka_unit_test(strangers_see_and_end_what_is_theirs_only),
        cmocka_unit_test(reload_answers_when_it_is_done),
    };
    return cmocka_run_group_tests_name("front.admin", tests, NULL, NULL);
}
