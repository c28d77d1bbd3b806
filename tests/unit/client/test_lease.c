/* SPDX-License-Identifier: MIT */
/* Acquire, renew, release, and every way a lease can end. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Turns the loop as an event loop would, until `status` is no longer AGAIN. */
static int drive(struct sshlease *lease, int (*result)(struct sshlease *))
{
    int status;
    while ((status = result(lease)) == SSHLEASE_E_AGAIN) {
        struct pollfd pfd = {.fd = sshlease_fd(lease)};
        int want = sshlease_want(lease);
        pfd.events = (short)((want & SSHLEASE_WANT_READ ? POLLIN : 0) | (want & SSHLEASE_WANT_WRITE ? POLLOUT : 0));
        int timeout_ms = sshlease_timeout_ms(lease);
        assert_true(poll(&pfd, 1, timeout_ms >= 0 ? timeout_ms : 10000) >= 0);
        if (sshlease_process(lease) != 0)
            return result(lease);
    }
    return status;
}

static void grants_and_releases(struct fake *f)
{
    fake_greet(f);
    const struct sl_msg_acquire *acquire = &fake_take(f, SL_MSG_ACQUIRE)->acquire;
    if (acquire->acquire_timeout_ms != 1500 || acquire->lease_timeout_ms != 2500 || acquire->target.len != 4 ||
        acquire->label.len != 5 || memcmp(acquire->label.data, "tests", 5) != 0)
        fake_fail(f, "ACQUIRE says something else than the options");
    fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED,
                     .granted = {.rid = acquire->rid,
                         .lease = UINT64_C(0x100000003),
                         .lease_timeout_ms = 2500,
                         .max_lease_ms = 9000,
                         .streams = 8}});
    fake_release(f);
    fake_grant(f);
    fake_release(f);
    fake_take_end(f);
}

TEST(acquire_and_release_again_and_again)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, grants_and_releases);
    const struct sshlease_acquire_options options = {
        .acquire_timeout_ms = 1500, .lease_timeout_ms = 2500, .label = "tests"};
    assert_int_equal(sshlease_id(lease), 0);
    assert_int_equal(sshlease_left_ms(lease), 0);
    assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
    assert_true(sshlease_id(lease) == UINT64_C(0x100000003));
    assert_in_range(sshlease_left_ms(lease), 1, 2500);
    assert_int_equal(sshlease_timeout_ms(lease), -1);
    assert_int_equal(sshlease_acquire(lease, "web1", &options), SSHLEASE_E_BUSY);
    assert_string_equal(sshlease_error(lease), "this handle has a lease already");
    assert_int_equal(sshlease_release(lease), 0);
    assert_int_equal(sshlease_id(lease), 0);
    assert_int_equal(sshlease_release(lease), SSHLEASE_E_NO_LEASE);
    assert_int_equal(sshlease_renew(lease, 0, NULL), SSHLEASE_E_NO_LEASE);

    /* The same without blocking. */
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), 0);
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), SSHLEASE_E_BUSY);
    assert_int_equal(drive(lease, sshlease_acquire_result), 0);
    assert_int_equal(sshlease_id(lease), 7);
    assert_int_equal(sshlease_release_start(lease), 0);
    assert_int_equal(sshlease_release_start(lease), SSHLEASE_E_BUSY);
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), SSHLEASE_E_BUSY);
    assert_int_equal(drive(lease, sshlease_release_result), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

/* It answers the release of a request that was given up, and then grants it. */
static void grants_too_late(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_OK, .request = {.rid = fake_take(f, SL_MSG_RELEASE)->request.rid}});
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_GRANTED,
               .granted = {.rid = rid, .lease = 7, .lease_timeout_ms = 1000, .max_lease_ms = 1000, .streams = 1}});
    fake_take_end(f);
}

TEST(a_grant_that_nobody_waits_for_is_a_violation)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, grants_too_late);
    assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), 0);
    assert_int_equal(sshlease_release_start(lease), 0);
    assert_int_equal(drive(lease, sshlease_release_result), 0);
    int status = 0;
    while (status == 0)
        status = sshlease_process(lease);
    assert_int_equal(status, SSHLEASE_E_PROTOCOL);
    sshlease_free(lease);
    fake_stop(&f);
}

static void refuses_twice(struct fake *f)
{
    fake_greet(f);
    fake_send_error(
        f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, SSHLEASE_E_HOST_KEY_CHANGED, true, "web1: the key has changed");
    fake_send_error(f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, SSHLEASE_E_QUEUE_FULL, true, "");
    fake_send_error(f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, -200, false, "from the future");
    fake_take_end(f);
}

TEST(refusals)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, refuses_twice);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), SSHLEASE_E_HOST_KEY_CHANGED);
    assert_string_equal(sshlease_error(lease), "web1: the key has changed");
    assert_true(sshlease_error_unsent(lease));
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), SSHLEASE_E_QUEUE_FULL);
    assert_string_equal(sshlease_error(lease), "too many are waiting already");
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), -200);
    assert_string_equal(sshlease_error(lease), "from the future");
    assert_false(sshlease_error_unsent(lease));
    assert_int_equal(sshlease_acquire_result(lease), -200);
    sshlease_free(lease);
    fake_stop(&f);
}

static void greets_only(struct fake *f)
{
    fake_greet(f);
    fake_take_end(f);
}

TEST(bad_arguments_are_refused_unsent)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, greets_only);
    char name[300];
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    assert_int_equal(sshlease_acquire(lease, NULL, NULL), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_acquire(lease, "", NULL), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_acquire(lease, name, NULL), SSHLEASE_E_INVALID);
    assert_string_equal(sshlease_error(lease), "the target's name has 256 bytes; it may have 255");
    assert_int_equal(
        sshlease_acquire(lease, "web1", &(struct sshlease_acquire_options){.label = name}), SSHLEASE_E_INVALID);
    assert_true(sshlease_error_unsent(lease));
    sshlease_free(lease);
    fake_stop(&f);
}

static void lets_wait(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    for (uint32_t i = 0; i < 2; i++)
        fake_send(f, &(struct sl_msg){.type = SL_MSG_WAITING,
                         .waiting = {.rid = rid,
                             .position = 3 - i,
                             .waited_ms = 5000 * (i + 1),
                             .reason = sl_bytes_of("2 of 2 connections are leased\n")}});
    fake_send_error(f, rid, SSHLEASE_E_TIMEOUT, true, "web1: nothing was free within 10 s");
    fake_take_end(f);
}

struct told {
    unsigned times;
    uint32_t position, waited_ms;
    char reason[64];
};

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct told *told = arg;
    told->times++;
    told->position = position;
    told->waited_ms = waited_ms;
    snprintf(told->reason, sizeof told->reason, "%s", reason);
}

TEST(a_long_wait_is_told)
{
    struct fake f = {0};
    struct sshlease *lease = fake_open(&f, lets_wait);
    struct told told = {0};
    const struct sshlease_acquire_options options = {.on_waiting = on_waiting, .arg = &told};
    assert_int_equal(sshlease_acquire(lease, "web1", &options), SSHLEASE_E_TIMEOUT);
    assert_int_equal(told.times, 2);
    assert_int_equal(told.position, 2);
    assert_int_equal(told.waited_ms, 10000);
    assert_string_equal(told.reason, "2 of 2 connections are leased");
    sshlease_free(lease);
    fake_stop(&f);
}

static void is_asked_to_forget(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, release = fake_take(f, SL_MSG_RELEASE)->request.rid;
    if (f->number == 0)
        fake_send_error(f, rid, SSHLEASE_E_CANCELLED, true, "cancelled");
    else /* the grant was on its way */
        fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED, .granted = {.rid = rid, .lease = 9, .streams = 1}});
    fake_send_ok(f, release);
    fake_grant(f);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_release_ends_a_wait)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct fake f = {.number = i};
        struct sshlease *lease = fake_open(&f, is_asked_to_forget);
        assert_int_equal(sshlease_acquire_start(lease, "web1", NULL), 0);
        assert_int_equal(sshlease_release(lease), 0);
        assert_int_equal(sshlease_id(lease), 0);
        assert_int_equal(sshlease_acquire(lease, "web1", NULL), 0);
        assert_int_equal(sshlease_release(lease), 0);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void renews(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    const struct sl_msg_renew *renew = &fake_take(f, SL_MSG_RENEW)->renew;
    if (renew->lease_timeout_ms != 70000)
        fake_fail(f, "RENEW for %u ms", renew->lease_timeout_ms);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = renew->rid, .lease_timeout_ms = 65000}});
    fake_send_error(f, fake_take(f, SL_MSG_RENEW)->renew.rid, SSHLEASE_E_NO_LEASE, true, "no lease of yours");
    uint32_t rid = fake_take(f, SL_MSG_RENEW)->renew.rid;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
                     .lease_ended = {.lease = 7, .code = (uint32_t)-SSHLEASE_E_REVOKED, .text = sl_bytes_of("gone")}});
    fake_send_error(f, rid, SSHLEASE_E_NO_LEASE, true, "no lease of yours");
    fake_grant(f);
    fake_take_end(f);
}

TEST(renewing)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, renews);
    uint32_t left_ms = 0;
    assert_int_equal(sshlease_renew(lease, 70000, &left_ms), 0);
    assert_int_equal(left_ms, 65000);
    assert_in_range(sshlease_left_ms(lease), 60001, 65000);
    assert_int_equal(sshlease_renew(lease, 1, NULL), SSHLEASE_E_NO_LEASE);
    assert_string_equal(sshlease_error(lease), "no lease of yours");
    assert_int_equal(sshlease_renew(lease, 1, NULL), SSHLEASE_E_REVOKED);
    assert_string_equal(sshlease_error(lease), "gone");
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void expects_renewals(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    /* Two that extend the lease, and one that reaches the longest: after that no more come. */
    uint32_t left[] = {90, 90, 5000};
    for (size_t i = 0; i < 3; i++) {
        const struct sl_msg_renew *renew = &fake_take(f, SL_MSG_RENEW)->renew;
        if (renew->lease_timeout_ms != 0)
            fake_fail(f, "the automatic RENEW asks for %u ms", renew->lease_timeout_ms);
        fake_send(
            f, &(struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = renew->rid, .lease_timeout_ms = left[i]}});
    }
    fake_take(f, SL_MSG_STATUS);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
                     .lease_ended = {.lease = 7, .code = (uint32_t)-SSHLEASE_E_EXPIRED, .text = sl_bytes_of("")}});
    fake_take_end(f);
}

TEST(automatic_renewal_stops_at_the_longest_lease)
{
    struct fake f = {.lease_ms = 90, .max_lease_ms = 5000};
    struct sshlease *lease = fake_open(&f, expects_renewals);
    const struct sshlease_acquire_options options = {.auto_renew = true};
    char *json;
    assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
    assert_in_range(sshlease_timeout_ms(lease), 0, 30);
    while (sshlease_left_ms(lease) < 1000) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_true(poll(&pfd, 1, sshlease_timeout_ms(lease)) >= 0);
        assert_int_equal(sshlease_process(lease), 0);
    }
    assert_int_equal(sshlease_timeout_ms(lease), -1);
    assert_int_equal(sshlease_admin_status(lease, 0, &json), SSHLEASE_E_AGAIN);
    while (sshlease_id(lease) != 0) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_true(poll(&pfd, 1, sshlease_timeout_ms(lease)) >= 0);
        assert_int_equal(sshlease_process(lease), 0);
    }
    assert_int_equal(sshlease_acquire_result(lease), SSHLEASE_E_EXPIRED);
    assert_string_equal(sshlease_error(lease), "the lease ran out");
    assert_int_equal(sshlease_timeout_ms(lease), -1);
    sshlease_free(lease);
    fake_stop(&f);
}

static void ends_the_lease(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_take(f, f->number == 1 ? SL_MSG_RELEASE : SL_MSG_STATUS);
    fake_send(f,
        &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
            .lease_ended = {
                .lease = 7, .code = (uint32_t)-SSHLEASE_E_REVOKED, .text = sl_bytes_of("web1: an operator took it")}});
    if (f->number == 1)
        fake_grant(f);
    else
        fake_take_end(f);
}

TEST(a_release_that_crosses_the_end)
{
    struct fake f = {.number = 1};
    struct sshlease *lease = fake_lease(&f, ends_the_lease);
    assert_int_equal(sshlease_release(lease), SSHLEASE_E_REVOKED);
    assert_string_equal(sshlease_error(lease), "web1: an operator took it");
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

TEST(the_end_is_said_once)
{
    struct fake f = {.number = 2};
    struct sshlease *lease = fake_lease(&f, ends_the_lease);
    struct sshlease_stream *stream = NULL;
    const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};
    char *json;
    assert_int_equal(sshlease_admin_status(lease, 0, &json), SSHLEASE_E_AGAIN);
    while (sshlease_id(lease) != 0) {
        struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
        assert_int_equal(sshlease_process(lease), 0);
    }
    assert_int_equal(sshlease_stream_start(lease, &command, &stream), SSHLEASE_E_REVOKED);
    assert_int_equal(sshlease_release(lease), SSHLEASE_E_REVOKED);
    assert_int_equal(sshlease_release(lease), SSHLEASE_E_NO_LEASE);
    assert_int_equal(sshlease_stream_start(lease, &command, &stream), SSHLEASE_E_NO_LEASE);
    assert_null(stream);
    sshlease_free(lease);
    fake_stop(&f);
}

static void goes_away(struct fake *f)
{
    fake_greet(f);
    if (f->number >= 1)
        fake_take(f, SL_MSG_ACQUIRE);
    if (f->number == 2)
        fake_send_error(f, 0, SSHLEASE_E_SHUTDOWN, false, "the daemon is ended now");
}

TEST(the_daemon_goes_away)
{
    static const struct {
        uint32_t number;
        int status;
        const char *text;
    } cases[] = {{0, SSHLEASE_E_DAEMON_GONE, "closed the connection"},
        {1, SSHLEASE_E_DAEMON_GONE, "closed the connection"}, {2, SSHLEASE_E_SHUTDOWN, "the daemon is ended now"}};
    const struct sshlease_acquire_options options = {.acquire_timeout_ms = 100}; /* and nobody comes in its place */
    for (size_t i = 0; i < 3; i++) {
        struct fake f = {.number = cases[i].number};
        struct sshlease *lease = fake_open(&f, goes_away);
        assert_int_equal(sshlease_acquire(lease, "web1", &options), cases[i].status);
        assert_non_null(strstr(sshlease_error(lease), cases[i].text));
        assert_true(sshlease_error_unsent(lease));
        assert_int_equal(sshlease_acquire(lease, "web1", &options), cases[i].status);
        assert_int_equal(sshlease_release(lease), cases[i].status);
        assert_int_equal(sshlease_renew(lease, 0, NULL), cases[i].status);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void grants_then_goes_away(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_take(f, f->number == 0 ? SL_MSG_RELEASE : SL_MSG_RENEW);
}

TEST(the_daemon_goes_away_under_a_lease)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct fake f = {.number = i};
        struct sshlease *lease = fake_lease(&f, grants_then_goes_away);
        assert_int_equal(i == 0 ? sshlease_release(lease) : sshlease_renew(lease, 0, NULL), SSHLEASE_E_DAEMON_GONE);
        assert_int_equal(sshlease_id(lease), 0);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void breaks_the_rules(struct fake *f)
{
    fake_greet(f);
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    switch (f->number) {
    case 0:
        fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED, .granted = {.rid = rid + 1, .lease = 1, .streams = 1}});
        break;
    case 1:
        fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED, .lease_ended = {.lease = 1, .code = 31}});
        break;
    case 2:
        fake_send(f, &(struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = 99}});
        break;
    case 3:
        fake_send(f, &(struct sl_msg){.type = SL_MSG_DATA, .data = {.stream = 5}});
        break;
    default: /* the end of somebody else's lease; the client waits for the answer to RENEW */
        fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED,
                         .granted = {.rid = rid, .lease = 1, .lease_timeout_ms = 9000, .streams = 1}});
        fake_take(f, SL_MSG_RENEW);
        fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED, .lease_ended = {.lease = 2, .code = 31}});
    }
    fake_take_end(f);
}

TEST(messages_out_of_turn)
{
    for (uint32_t i = 0; i < 5; i++) {
        struct fake f = {.number = i};
        struct sshlease *lease = fake_open(&f, breaks_the_rules);
        int status = sshlease_acquire(lease, "web1", NULL);
        if (status == 0)
            status = sshlease_renew(lease, 0, NULL);
        assert_int_equal(status, SSHLEASE_E_PROTOCOL);
        assert_non_null(strstr(sshlease_error(lease), "out of turn"));
        sshlease_free(lease);
        fake_stop(&f);
    }
}

static void sees_one_client(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_forked_child_has_no_part_in_it)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, sees_one_client);
    pid_t child = fork();
    if (child == 0) {
        struct sshlease_stream *stream;
        char *json;
        int wrong = 0;
        wrong += sshlease_release(lease) != SSHLEASE_E_FORKED;
        wrong += strstr(sshlease_error(lease), "which forked this one") == NULL;
        wrong += sshlease_renew(lease, 0, NULL) != SSHLEASE_E_FORKED;
        wrong += sshlease_acquire(lease, "web1", NULL) != SSHLEASE_E_FORKED;
        wrong += sshlease_acquire_result(lease) != SSHLEASE_E_FORKED;
        wrong += sshlease_process(lease) != SSHLEASE_E_FORKED;
        wrong += sshlease_admin_status(lease, 0, &json) != SSHLEASE_E_FORKED;
        wrong += sshlease_stream_start(lease, &(struct sshlease_command){.kind = SSHLEASE_SHELL}, &stream) !=
                 SSHLEASE_E_FORKED;
        sshlease_free(lease);
        _exit(wrong);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* The parent's lease has not noticed. */
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acquire_and_release_again_and_again),
        cmocka_unit_test(a_grant_that_nobody_waits_for_is_a_violation),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bad_arguments_are_refused_unsent),
        cmocka_unit_test(a_long_wait_is_told),
        cmocka_unit_test(a_release_ends_a_wait),
        cmocka_unit_test(renewing),
        cmocka_unit_test(automatic_renewal_stops_at_the_longest_lease),
        cmocka_unit_test(a_release_that_crosses_the_end),
        cmocka_unit_test(the_end_is_said_once),
        cmocka_unit_test(the_daemon_goes_away),
        cmocka_unit_test(the_daemon_goes_away_under_a_lease),
        cmocka_unit_test(messages_out_of_turn),
        cmocka_unit_test(a_forked_child_has_no_part_in_it),
    };
    return cmocka_run_group_tests_name("client.lease", tests, NULL, NULL);
}
