/* SPDX-License-Identifier: MIT */
/* SOCKS 4, 4a and 5, byte by byte and whole. */
#include "daemon/front/forward/socks.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static struct sl_socks socks;
static uint8_t reply[SL_SOCKS_REPLY_MAX];
static size_t reply_len;

/* Each prefix of a message asks for more and changes nothing; the whole is used, and what comes behind it is not. */
static void feed(const uint8_t *data, size_t len)
{
    uint8_t more[SL_SOCKS_REQUEST_MAX];
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(sl_socks_feed(&socks, data, i, reply, &reply_len), 0);
        assert_true(socks.phase < SL_SOCKS_ASKED);
        assert_int_equal(reply_len, 0);
    }
    memcpy(more, data, len);
    more[len] = 0x47;
    assert_int_equal(sl_socks_feed(&socks, more, len + 1, reply, &reply_len), len);
}

static void expect_reply(const uint8_t *data, size_t len)
{
    assert_int_equal(reply_len, len);
    assert_memory_equal(reply, data, len);
}

static void expect_asked(const char *host, uint16_t port)
{
    assert_int_equal(socks.phase, SL_SOCKS_ASKED);
    assert_string_equal(socks.host, host);
    assert_int_equal(socks.port, port);
    assert_int_equal(sl_socks_feed(&socks, (const uint8_t *)"x", 1, reply, &reply_len), 0);
}

static void answer(enum sl_socks_verdict verdict)
{
    reply_len = sl_socks_answer(&socks, verdict, reply);
}

TEST(socks4_takes_an_address)
{
    sl_socks_init(&socks);
    feed(BYTES(4, 1, 0x1f, 0x90, 192, 0, 2, 7, 'm', 'e', 0));
    assert_int_equal(reply_len, 0);
    expect_asked("192.0.2.7", 8080);
    answer(SL_SOCKS_CONNECTED);
    expect_reply(BYTES(0, 90, 0, 0, 0, 0, 0, 0));
    answer(SL_SOCKS_REFUSED);
    expect_reply(BYTES(0, 91, 0, 0, 0, 0, 0, 0));
}

TEST(socks4a_takes_a_name)
{
    sl_socks_init(&socks);
    feed(BYTES(4, 1, 0, 80, 0, 0, 0, 1, 0, 'w', 'e', 'b', 0));
    expect_asked("web", 80);
    sl_socks_init(&socks);
    feed(BYTES(4, 1, 0, 80, 0, 0, 0, 1, 0, 0));
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(0, 91, 0, 0, 0, 0, 0, 0));
    /* 0.0.0.0 is an address. */
    sl_socks_init(&socks);
    feed(BYTES(4, 1, 0, 80, 0, 0, 0, 0, 0));
    expect_asked("0.0.0.0", 80);
}

TEST(socks4_binds_nothing)
{
    sl_socks_init(&socks);
    feed(BYTES(4, 2, 0, 80, 192, 0, 2, 7, 0));
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    assert_non_null(strstr(socks.why, "CONNECT"));
    expect_reply(BYTES(0, 91, 0, 0, 0, 0, 0, 0));
}

static void greet5(void)
{
    sl_socks_init(&socks);
    feed(BYTES(5, 2, 2, 0));
    assert_int_equal(socks.phase, SL_SOCKS_REQUEST);
    expect_reply(BYTES(5, 0));
}

TEST(socks5_takes_names_and_addresses)
{
    greet5();
    feed(BYTES(5, 1, 0, 3, 11, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'o', 'r', 'g', 0x01, 0xbb));
    expect_asked("example.org", 443);
    answer(SL_SOCKS_CONNECTED);
    expect_reply(BYTES(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
    answer(SL_SOCKS_REFUSED);
    expect_reply(BYTES(5, 1, 0, 1, 0, 0, 0, 0, 0, 0));
    greet5();
    feed(BYTES(5, 1, 0, 1, 127, 0, 0, 1, 0xff, 0xff));
    expect_asked("127.0.0.1", 65535);
    greet5();
    feed(BYTES(5, 1, 0, 4, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 22));
    expect_asked("2001:db8::1", 22);
}

TEST(socks5_says_what_it_does_not_do)
{
    sl_socks_init(&socks);
    feed(BYTES(5, 1, 2)); /* a password only */
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(5, 0xff));
    sl_socks_init(&socks);
    feed(BYTES(5, 0));
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(5, 0xff));
    greet5();
    feed(BYTES(5, 3, 0, 1, 127, 0, 0, 1, 0, 53)); /* UDP ASSOCIATE */
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(5, 7, 0, 1, 0, 0, 0, 0, 0, 0));
    greet5();
    feed(BYTES(4, 1, 0, 1, 127, 0, 0, 1, 0, 53));
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    greet5();
    assert_true(sl_socks_feed(&socks, BYTES(5, 1, 0, 9, 0), reply, &reply_len) > 0);
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(5, 8, 0, 1, 0, 0, 0, 0, 0, 0));
    greet5();
    feed(BYTES(5, 1, 0, 3, 3, 'a', 0, 'b', 0, 80)); /* a NUL in the name */
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    expect_reply(BYTES(5, 1, 0, 1, 0, 0, 0, 0, 0, 0));
}

TEST(what_is_no_socks_is_said_so)
{
    sl_socks_init(&socks);
    assert_int_equal(sl_socks_feed(&socks, (const uint8_t *)"GET / HTTP/1.1", 14, reply, &reply_len), 0);
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    assert_string_equal(socks.why, "something that is not SOCKS");
    assert_int_equal(reply_len, 0);
    /* A user name that does not end is not waited for. */
    uint8_t endless[SL_SOCKS_REQUEST_MAX] = {4, 1, 0, 80, 192, 0, 2, 7};
    memset(endless + 8, 'x', sizeof endless - 8);
    sl_socks_init(&socks);
    assert_int_equal(sl_socks_feed(&socks, endless, sizeof endless - 1, reply, &reply_len), 0);
    assert_int_equal(socks.phase, SL_SOCKS_GREETING);
    assert_int_equal(sl_socks_feed(&socks, endless, sizeof endless, reply, &reply_len), 0);
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
    /* Nor a host name longer than one can be. */
    uint8_t name[8 + 1 + 300 + 1] = {4, 1, 0, 80, 0, 0, 0, 1};
    memset(name + 9, 'h', 300);
    sl_socks_init(&socks);
    feed(name, sizeof name);
    assert_int_equal(socks.phase, SL_SOCKS_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(socks4_takes_an_address),
        cmocka_unit_test(socks4a_takes_a_name),
        cmocka_unit_test(socks4_binds_nothing),
        cmocka_unit_test(socks5_takes_names_and_addresses),
        cmocka_unit_test(socks5_says_what_it_does_not_do),
        cmocka_unit_test(what_is_no_socks_is_said_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
