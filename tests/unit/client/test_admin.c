/* SPDX-License-Identifier: MIT */
/* The administrative requests. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PART 100000u

static void answers_all(struct fake *f)
{
    static char part[PART];
    uint32_t rid;
    fake_greet(f);
    memset(part, 'j', sizeof part);
    rid = fake_take(f, SL_MSG_STATUS)->request.rid;
    for (uint32_t i = 0; i < 5; i++)
        fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                         .status_reply = {.rid = rid, .more = i < 4, .json = {.data = (uint8_t *)part, .len = PART}}});
    const struct sl_msg_end *end = &fake_take(f, SL_MSG_END)->end;
    if (end->lease != UINT64_C(0x123456789))
        fake_fail(f, "END of another lease");
    fake_send_ok(f, end->rid);
    fake_send_error(f, fake_take(f, SL_MSG_END)->end.rid, SSHLEASE_E_NO_LEASE, true, "there is no lease 5");
    fake_send_ok(f, fake_take(f, SL_MSG_RELOAD)->request.rid);
    fake_send_error(f, fake_take(f, SL_MSG_RELOAD)->request.rid, SSHLEASE_E_CONFIG, true,
        "a.yaml:1:2: unknown key\na.yaml:3:4: \tno host\n");
    fake_send_error(f, fake_take(f, SL_MSG_STATUS)->request.rid, SSHLEASE_E_NOT_ALLOWED, true, "");
    fake_take_end(f);
}

TEST(answers)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, answers_all);
    char *json = NULL;
    assert_int_equal(sshlease_admin_status(lease, 10000, &json), 0);
    assert_int_equal(strlen(json), 5 * PART);
    free(json);
    json = NULL;
    assert_int_equal(sshlease_admin_end(lease, UINT64_C(0x123456789), 10000), 0);
    assert_int_equal(sshlease_admin_end(lease, 5, 10000), SSHLEASE_E_NO_LEASE);
    assert_string_equal(sshlease_error(lease), "there is no lease 5");
    assert_int_equal(sshlease_admin_reload(lease, SSHLEASE_FOREVER), 0);
    assert_int_equal(sshlease_admin_reload(lease, 10000), SSHLEASE_E_CONFIG);
    assert_string_equal(sshlease_error(lease), "a.yaml:1:2: unknown key\na.yaml:3:4: ?no host");
    assert_int_equal(sshlease_admin_status(lease, 10000, &json), SSHLEASE_E_NOT_ALLOWED);
    assert_null(json);
    assert_string_equal(sshlease_error(lease), "not allowed");
    sshlease_free(lease);
    fake_stop(&f);
}

static void answers_late(struct fake *f)
{
    uint32_t first, second;
    fake_greet(f);
    first = fake_take(f, SL_MSG_STATUS)->request.rid;
    second = fake_take(f, SL_MSG_STATUS)->request.rid;
    fake_take(f, SL_MSG_ACQUIRE); /* the test has seen that there is no answer yet */
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                     .status_reply = {.rid = first, .json = sl_bytes_of("the old answer")}});
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY, .status_reply = {.rid = second, .json = sl_bytes_of("{}")}});
    fake_take_end(f);
}

TEST(a_late_answer_is_not_the_next_ones)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, answers_late);
    char *json = NULL;
    int status;
    assert_int_equal(sshlease_admin_status(lease, 10, &json), SSHLEASE_E_TIMEOUT);
    assert_int_equal(sshlease_admin_status(lease, 0, &json), SSHLEASE_E_AGAIN);
    assert_int_equal(sshlease_admin_reload(lease, 0), SSHLEASE_E_BUSY);
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), 0);
    while ((status = sshlease_admin_status(lease, 0, &json)) == SSHLEASE_E_AGAIN) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
    }
    assert_int_equal(status, 0);
    assert_string_equal(json, "{}");
    free(json);
    sshlease_free(lease);
    fake_stop(&f);
}

static void goes_away_half_way(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = fake_take(f, SL_MSG_STATUS)->request.rid;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                     .status_reply = {.rid = rid, .more = true, .json = sl_bytes_of("{")}});
}

TEST(half_an_answer_is_none)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, goes_away_half_way);
    char *json = NULL;
    assert_int_equal(sshlease_admin_status(lease, 10000, &json), SSHLEASE_E_DAEMON_GONE);
    assert_null(json);
    assert_int_equal(sshlease_admin_end(lease, 1, 10000), SSHLEASE_E_DAEMON_GONE);
    sshlease_free(lease);
    fake_stop(&f);
}

static void answers_something_else(struct fake *f)
{
    fake_greet(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                     .status_reply = {.rid = fake_take(f, SL_MSG_RELOAD)->request.rid, .json = sl_bytes_of("{}")}});
    fake_take_end(f);
}

TEST(an_answer_to_something_else)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, answers_something_else);
    assert_int_equal(sshlease_admin_reload(lease, 10000), SSHLEASE_E_PROTOCOL);
    assert_string_equal(sshlease_error(lease), "sshleased sent STATUS_REPLY out of turn");
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(a_late_answer_is_not_the_next_ones),
        cmocka_unit_test(half_an_answer_is_none),
        cmocka_unit_test(an_answer_to_something_else),
    };
    return cmocka_run_group_tests_name("client.admin", tests, NULL, NULL);
}
