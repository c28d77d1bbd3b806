/* SPDX-License-Identifier: MIT */
/* The packet tap: finds exit statuses and channel numbers in packets that are freed, keeps the books. */
#include "daemon/ssh/session/packet_tap.h"
#include "tests/support/test.h"

#include <malloc.h>
#include <string.h>

static uint32_t seen_channel;
static unsigned seen_count;

static enum sl_packet_tap_exit seen_exit;

static void on_exit_seen(void *arg, uint32_t channel, enum sl_packet_tap_exit exit)
{
    (void)arg;
    seen_channel = channel;
    seen_exit = exit;
    seen_count++;
}

static struct sl_packet_tap new_tap(void)
{
    seen_count = 0;
    return (struct sl_packet_tap){.max = 100000, .opened = SL_PACKET_TAP_NO_CHANNEL, .on_exit = on_exit_seen};
}

static void free_packet(struct sl_packet_tap *tap, const void *data, size_t len)
{
    void *mem = sl_packet_tap_alloc(tap, len);
    assert_non_null(mem);
    memcpy(mem, data, len);
    sl_packet_tap_free(tap, mem);
}

#define FREE(text) free_packet(&tap, text, sizeof(text) - 1)

TEST(test_exit_status)
{
    struct sl_packet_tap tap = new_tap();
    FREE("\x62\0\0\0\x07\0\0\0\x0b"
         "exit-status\0\0\0\0\0");
    assert_int_equal(seen_count, 1);
    assert_int_equal(seen_channel, 7);
    assert_int_equal(seen_exit, SL_PACKET_TAP_STATUS);
    FREE("\x62\0\0\0\x08\0\0\0\x0b"
         "exit-signal\0\0\0\0\x04SEGV\x01\0\0\0\0\0\0\0\0");
    assert_int_equal(seen_count, 2);
    assert_int_equal(seen_channel, 8);
    assert_int_equal(seen_exit, SL_PACKET_TAP_SIGNAL_CORE);
    FREE("\x62\0\0\0\x08\0\0\0\x0b"
         "exit-signal\0\0\0\0\x04TERM\0\0\0\0\0\0\0\0\0");
    assert_int_equal(seen_exit, SL_PACKET_TAP_SIGNAL);
    /* A length that lies. */
    FREE("\x62\0\0\0\x08\0\0\0\x0b"
         "exit-signal\0\xff\xff\xff\xffTERM\x01");
    assert_int_equal(seen_exit, SL_PACKET_TAP_SIGNAL);
    assert_int_equal(seen_count, 4);
    /* A packet cut short, our own request, data that only looks alike. */
    FREE("\x62\0\0\0\x07\0\0\0\x0b"
         "exit-stat");
    FREE("\x62\0\0\0\x07\0\0\0\x04"
         "exec\x01\0\0\0\x10"
         "exit-status00000");
    FREE("\x5e\0\0\0\x07\0\0\0\x0b"
         "exit-status\0\0\0\0\0");
    assert_int_equal(seen_count, 4);
    assert_int_equal(tap.bytes, 0);
}

/* Nothing is read behind a packet's end, which sanitizers see. */
TEST(a_signal_as_long_as_what_is_there)
{
    struct sl_packet_tap tap = new_tap();
    const char packet[] = "\x62\0\0\0\x08\0\0\0\x0b"
                          "exit-signal\0\0\0\0";
    uint8_t *mem = sl_packet_tap_alloc(&tap, 100);
    size_t len = malloc_usable_size(mem);
    memcpy(mem, packet, sizeof packet - 1);
    mem[sizeof packet - 1] = (uint8_t)(len - sizeof packet);
    sl_packet_tap_free(&tap, mem);
    assert_int_equal(seen_count, 1);
    assert_int_equal(seen_exit, SL_PACKET_TAP_SIGNAL);
}

TEST(test_channel_number)
{
    struct sl_packet_tap tap = new_tap();
    FREE("\x5c\0\0\0\x05\0\0\0\x05\0\x04\0\0\0\0\x80\0");
    assert_int_equal(tap.opened, SL_PACKET_TAP_NO_CHANNEL);
    FREE("\x5b\0\0\0\x05\0\0\0\x09\0\x04\0\0\0\0\x80\0");
    assert_int_equal(tap.opened, 5);
}

TEST(test_books)
{
    struct sl_packet_tap tap = new_tap();
    uint8_t *a = sl_packet_tap_alloc(&tap, 100);
    memset(a, 'a', 100);
    assert_true(tap.bytes >= 100);
    a = sl_packet_tap_realloc(&tap, a, 5000);
    assert_non_null(a);
    assert_int_equal(a[99], 'a');
    assert_true(tap.bytes >= 5000);
    assert_null(sl_packet_tap_alloc(&tap, 99000));
    assert_null(sl_packet_tap_alloc(&tap, SIZE_MAX));
    assert_null(sl_packet_tap_realloc(&tap, a, 200000));
    assert_int_equal(a[0], 'a');
    sl_packet_tap_free(&tap, NULL);
    sl_packet_tap_free(&tap, a);
    assert_int_equal(tap.bytes, 0);
}

/* Packets are allocated in the order in which they arrive, whatever the order in which libssh2 takes them. */
TEST(answers_are_known_by_their_order)
{
    struct sl_packet_tap tap = {.max = 1 << 20};
    uint8_t *first = sl_packet_tap_alloc(&tap, 5), *second = sl_packet_tap_alloc(&tap, 5);
    memcpy(first, "\x64\0\0\0\x03", 5);
    memcpy(second, "\x63\0\0\0\x03", 5);
    second = sl_packet_tap_realloc(&tap, second, 5); /* as it was, and later */
    sl_packet_tap_free(&tap, second);
    uint64_t taken_first = tap.answer;
    sl_packet_tap_free(&tap, first);
    assert_true(tap.answer < taken_first);
    assert_int_equal(tap.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_status),
        cmocka_unit_test(a_signal_as_long_as_what_is_there),
        cmocka_unit_test(test_channel_number),
        cmocka_unit_test(answers_are_known_by_their_order),
        cmocka_unit_test(test_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
