/* SPDX-License-Identifier: MIT */
/* Streams: data and credit both ways, violations of it, and ends of every kind. */
#include "tests/unit/front/front_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_end(struct sl_raw_client *c, uint32_t stream, uint32_t how, uint32_t status)
{
    sl_raw_expect(c, SL_MSG_STREAM_END);
    assert_int_equal(c->msg.stream_end.stream, stream);
    assert_int_equal(c->msg.stream_end.how, how);
    assert_int_equal(c->msg.stream_end.exit_status, status);
}

static void open_stream(struct sl_raw_client *c, uint32_t stream, const char *command, uint32_t window)
{
    sl_raw_exec(c, 50 + stream, stream, command, window);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    assert_int_equal(c->msg.stream_opened.rid, 50 + stream);
    assert_int_equal(c->msg.stream_opened.stream, stream);
    assert_int_equal(c->msg.stream_opened.window, SL_STREAM_WINDOW);
}

TEST(what_goes_in_comes_out)
{
    struct sl_front_world f;
    static uint8_t out[2000000], in[sizeof out];
    size_t sent = 0, heard = 0, credit = SL_STREAM_WINDOW;
    bool eof = false, ended = false;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 23);
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 3, "cat", 100000);
    while (!ended) {
        while (credit > 0 && sent < sizeof out) {
            size_t part = sizeof out - sent < 30000 ? sizeof out - sent : 30000;
            if (part > credit)
                part = credit;
            sl_raw_data(c, 3, out + sent, part);
            sent += part;
            credit -= part;
            if (sent == sizeof out)
                sl_raw_stream(c, SL_MSG_EOF, 3);
        }
        switch (sl_raw_hear(c)) {
        case SL_MSG_DATA:
            assert_false(eof);
            assert_true(c->msg.data.data.len <= SL_MSG_DATA_MAX);
            assert_int_equal(c->msg.data.fd, SL_DATA_STDOUT);
            memcpy(in + heard, c->msg.data.data.data, c->msg.data.data.len);
            heard += c->msg.data.data.len;
            sl_raw_window(c, 3, (uint32_t)c->msg.data.data.len);
            break;
        case SL_MSG_WINDOW:
            credit += c->msg.window.bytes;
            break;
        case SL_MSG_EOF:
            eof = true;
            break;
        case SL_MSG_STREAM_END:
            assert_true(eof);
            ended = true;
            break;
        default:
            fail_msg("something else came");
        }
    }
    assert_int_equal(heard, sizeof out);
    assert_memory_equal(in, out, sizeof out);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(no_more_comes_than_was_asked_for)
{
    struct sl_front_world f;
    size_t heard = 0;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 1, "flood 1000", 0);
    sl_raw_expect_silence(c);
    sl_raw_window(c, 1, 10);
    sl_raw_expect(c, SL_MSG_DATA);
    assert_int_equal(c->msg.data.data.len, 10);
    sl_raw_expect_silence(c);
    sl_raw_window(c, 1, 990);
    while (heard < 990) {
        sl_raw_expect(c, SL_MSG_DATA);
        heard += c->msg.data.data.len;
    }
    sl_raw_expect(c, SL_MSG_EOF);
    expect_end(c, 1, SL_END_STATUS, 0);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(credit_beyond_what_is_lent_at_once_is_used_up_too)
{
    struct sl_front_world f;
    size_t heard = 0;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 1, "flood 5000000", 5000000);
    while (heard < 5000000) {
        sl_raw_expect(c, SL_MSG_DATA);
        heard += c->msg.data.data.len;
    }
    sl_raw_expect(c, SL_MSG_EOF);
    expect_end(c, 1, SL_END_STATUS, 0);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(who_does_not_read_delays_nobody)
{
    struct sl_front_world f;
    size_t heard = 0;
    sl_front_init(&f, FRONT_CONF("max_connections: 2"));
    struct sl_raw_client *lazy = sl_raw_lease(&f), *busy = sl_raw_lease(&f);
    for (uint32_t i = 0; i < 8; i++)
        sl_raw_exec(lazy, 10 + i, i, "flood 10000000", SL_MSG_WINDOW_MAX);
    sl_world_settle(&f.world);
    for (int i = 0; i < 20; i++) {
        open_stream(busy, 1, "exit 3", 1000);
        sl_raw_expect(busy, SL_MSG_EOF);
        expect_end(busy, 1, SL_END_STATUS, 3);
    }
    /* Still alive: it can be heard, and it gets everything in the end. */
    sl_raw_request(lazy, SL_MSG_RENEW, 99);
    unsigned ends = 0, renewed = 0;
    while (ends < 8) {
        uint32_t type = sl_raw_hear(lazy);
        assert_true(type != 0 && type != SL_MSG_ERROR);
        heard += type == SL_MSG_DATA ? lazy->msg.data.data.len : 0;
        ends += type == SL_MSG_STREAM_END;
        renewed += type == SL_MSG_RENEWED;
    }
    assert_int_equal(heard, 80000000);
    assert_int_equal(renewed, 1);
    sl_raw_close(lazy);
    sl_raw_close(busy);
    sl_front_fini(&f);
}

TEST(violations_of_credit_end_the_socket)
{
    static const uint8_t block[SL_MSG_DATA_MAX];
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 1, "sink", 1000); /* gives no credit back */
    for (unsigned i = 0; i < SL_STREAM_WINDOW / sizeof block; i++)
        sl_raw_data(c, 1, block, sizeof block);
    sl_raw_expect_silence(c);
    assert_int_equal(sl_fake_counts(f.world.transport).written, SL_STREAM_WINDOW);
    sl_raw_data(c, 1, block, 1);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "beyond the credit");
    sl_raw_close(c);

    c = sl_raw_lease(&f);
    sl_raw_exec(c, 2, 1, "slow", 1000);
    sl_raw_data(c, 1, block, 1); /* no credit before STREAM_OPENED */
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "beyond the credit");
    sl_raw_close(c);

    c = sl_raw_lease(&f);
    open_stream(c, 1, "hang", 1000);
    sl_raw_stream(c, SL_MSG_EOF, 1);
    sl_raw_stream(c, SL_MSG_EOF, 1); /* once is enough, twice does no harm */
    sl_raw_data(c, 1, block, 1);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "DATA came after EOF");
    sl_raw_close(c);

    c = sl_raw_lease(&f);
    open_stream(c, 1, "hang", 1000);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_DATA, .data = {.stream = 1, .fd = 1, .data = {block, 1}}});
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "fd 0");
    sl_raw_close(c);

    c = sl_raw_lease(&f);
    open_stream(c, 1, "hang", 1000);
    sl_raw_window(c, 1, SL_MSG_WINDOW_MAX - 1000);
    sl_raw_expect_silence(c);
    sl_raw_window(c, 1, 1);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "16777216");
    sl_raw_close(c);

    c = sl_raw_lease(&f);
    open_stream(c, 1, "hang", 1000);
    sl_raw_exec(c, 3, 1, "hang", 1000);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "has not ended");
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(refusals_are_answers)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("streams: 2"));
    struct sl_raw_client *c = sl_raw_lease(&f);
    assert_int_equal(c->msg.granted.streams, 2);
    sl_raw_exec(c, 2, 1, "refuse", 1000);
    sl_raw_expect_error(c, 2, SL_E_STREAM_REFUSED);
    assert_false(c->msg.error.unsent);
    open_stream(c, 1, "hang", 1000); /* the id is free again */
    open_stream(c, 2, "hang", 1000);
    sl_raw_exec(c, 3, 3, "hang", 1000);
    sl_raw_expect_error(c, 3, SL_E_STREAM_LIMIT);
    assert_true(c->msg.error.unsent);
    sl_raw_stream(c, SL_MSG_CLOSE, 2);
    expect_end(c, 2, SL_END_SIGNAL, 0);
    assert_int_equal(c->msg.stream_end.signal.len, 4);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(a_close_before_the_answer_waits_for_it)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    sl_raw_exec(c, 2, 1, "slow", 1000);
    sl_raw_stream(c, SL_MSG_CLOSE, 1);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    expect_end(c, 1, SL_END_SIGNAL, 0);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(environment_and_signals_are_passed_on)
{
    struct sl_front_world f;
    uint8_t room[256];
    struct sl_writer w;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    sl_writer_init(&w, room, sizeof room);
    sl_put_text(&w, "LC_X");
    sl_put_text(&w, "a value");
    sl_put_text(&w, "EMPTY");
    sl_put_text(&w, "");
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_STREAM_OPEN,
                      .stream_open = {.rid = 2,
                          .stream = 1,
                          .kind = SL_KIND_SHELL,
                          .window = 1,
                          .pty = true,
                          .pty_req = {.term = sl_bytes_of("xterm"), .cols = 80, .rows = 24},
                          .env_count = 2,
                          .env = {.data = room, .len = w.at}}});
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    assert_string_equal(sl_fake_counts(f.world.transport).last_env, "LC_X=a value");
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_SIGNAL, .signal = {.stream = 1, .name = sl_bytes_of("INT")}});
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_WINDOW_CHANGE, .window_change = {.stream = 1, .cols = 100}});
    sl_raw_expect_silence(c);
    assert_int_equal(sl_fake_counts(f.world.transport).signals, 1);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(the_end_of_a_lease_ends_its_streams_first)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_lease(&f), *admin = sl_raw_hello(&f);
    uint64_t lease = c->msg.granted.lease;
    open_stream(c, 1, "hang", 1000);
    sl_raw_exec(c, 2, 2, "slow", 1000);
    sl_raw_say(admin, &(struct sl_msg){.type = SL_MSG_END, .end = {.rid = 9, .lease = lease}});
    sl_raw_expect(admin, SL_MSG_OK);
    expect_end(c, 1, SL_END_UNKNOWN, 0);
    assert_true(c->msg.stream_end.text.len > 0);
    sl_raw_expect_error(c, 2, SL_E_REVOKED);
    sl_raw_expect(c, SL_MSG_LEASE_ENDED);
    assert_int_equal(c->msg.lease_ended.lease, lease);
    assert_int_equal(c->msg.lease_ended.code, -SL_E_REVOKED);
    sl_raw_expect_silence(c);
    /* The socket lives, and may ask again. */
    sl_raw_acquire(c, 3, "a");
    sl_raw_expect(c, SL_MSG_GRANTED);
    open_stream(c, 1, "hang", 1000);
    sl_fake_lose_all(f.world.transport, "reset by peer");
    expect_end(c, 1, SL_END_UNKNOWN, 0);
    sl_raw_expect(c, SL_MSG_LEASE_ENDED);
    assert_int_equal(c->msg.lease_ended.code, -SL_E_CONNECTION_LOST);
    sl_raw_close(c);
    sl_raw_close(admin);
    sl_front_fini(&f);
}

TEST(an_unclean_release_says_ok_last)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 1, "flood 100000000", SL_MSG_WINDOW_MAX);
    sl_raw_request(c, SL_MSG_RELEASE, 2);
    uint32_t type;
    while ((type = sl_raw_hear(c)) == SL_MSG_DATA)
        ;
    assert_int_equal(type, SL_MSG_STREAM_END);
    assert_int_equal(c->msg.stream_end.how, SL_END_UNKNOWN);
    sl_raw_expect(c, SL_MSG_OK);
    sl_raw_expect_silence(c);
    assert_int_equal(sl_world_counter(&f.world, "leases_ended", "unclean"), 1);
    sl_raw_close(c);
    sl_front_fini(&f);
}

/* The command is over, its output is not. */
TEST(an_exit_is_told_when_it_comes)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_stream(c, 3, "leave 4", 100000);
    sl_raw_expect(c, SL_MSG_EXITED);
    assert_int_equal(c->msg.exited.stream, 3);
    assert_int_equal(c->msg.exited.how, SL_END_STATUS);
    assert_int_equal(c->msg.exited.exit_status, 4);
    sl_raw_expect_silence(c);
    sl_raw_stream(c, SL_MSG_EOF, 3);
    sl_raw_expect(c, SL_MSG_EOF);
    expect_end(c, 3, SL_END_STATUS, 4);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(an_old_client_is_told_at_the_end)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_connect(&f);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_HELLO,
                      .hello = {.version_min = 1, .version_max = 2, .program = sl_bytes_of("test 1")}});
    sl_raw_expect(c, SL_MSG_WELCOME);
    sl_raw_acquire(c, 1, "a");
    sl_raw_expect(c, SL_MSG_GRANTED);
    open_stream(c, 3, "leave 4", 100000);
    sl_raw_expect_silence(c);
    sl_raw_stream(c, SL_MSG_EOF, 3);
    sl_raw_expect(c, SL_MSG_EOF);
    expect_end(c, 3, SL_END_STATUS, 4);
    sl_raw_close(c);
    sl_front_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exit_is_told_when_it_comes),
        cmocka_unit_test(an_old_client_is_told_at_the_end),
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(no_more_comes_than_was_asked_for),
        cmocka_unit_test(credit_beyond_what_is_lent_at_once_is_used_up_too),
        cmocka_unit_test(who_does_not_read_delays_nobody),
        cmocka_unit_test(violations_of_credit_end_the_socket),
        cmocka_unit_test(refusals_are_answers),
        cmocka_unit_test(a_close_before_the_answer_waits_for_it),
        cmocka_unit_test(environment_and_signals_are_passed_on),
        cmocka_unit_test(the_end_of_a_lease_ends_its_streams_first),
        cmocka_unit_test(an_unclean_release_says_ok_last),
    };
    return cmocka_run_group_tests_name("front.streams", tests, NULL, NULL);
}
