/* SPDX-License-Identifier: MIT */
/* Numbers and strings within their bounds. */
#include "proto/status.h"
#include "proto/wire.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

/* A reader over an allocation of exactly `len` bytes, so that a sanitizer sees any read behind it. */
static struct sl_reader exact(const void *data, size_t len, void **ret_memory)
{
    struct sl_reader r;
    *ret_memory = malloc(len);
    assert_non_null(*ret_memory);
    memcpy(*ret_memory, data, len);
    sl_reader_init(&r, *ret_memory, len);
    return r;
}

TEST(numbers_are_big_endian)
{
    static const uint8_t bytes[] = {
        0x7f, 0x01, 0x00, 0xfe, 0xdc, 0xba, 0x98, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    struct sl_reader r;
    uint8_t u8;
    bool flag;
    uint32_t u32;
    uint64_t u64;
    sl_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(sl_reader_left(&r), sizeof bytes);
    assert_int_equal(sl_get_u8(&r, &u8), 0);
    assert_int_equal(u8, 0x7f);
    assert_int_equal(sl_get_bool(&r, &flag), 0);
    assert_true(flag);
    assert_int_equal(sl_get_bool(&r, &flag), 0);
    assert_false(flag);
    assert_int_equal(sl_get_u32(&r, &u32), 0);
    assert_int_equal(u32, 0xfedcba98);
    assert_int_equal(sl_get_end(&r), SL_E_PROTOCOL);
    assert_int_equal(sl_get_u64(&r, &u64), 0);
    assert_true(u64 == 0x0123456789abcdefu);
    assert_int_equal(sl_get_end(&r), 0);
    assert_int_equal(sl_reader_left(&r), 0);
}

TEST(any_byte_but_zero_is_true)
{
    static const uint8_t byte = 0x80;
    struct sl_reader r;
    bool flag = false;
    sl_reader_init(&r, &byte, 1);
    assert_int_equal(sl_get_bool(&r, &flag), 0);
    assert_true(flag);
}

/* One byte short of each type: refused, with cursor and result as they were. */
TEST(short_input_is_refused_and_changes_nothing)
{
    static const uint8_t bytes[8] = {0, 0, 0, 4, 'a', 'b', 'c'};
    void *memory;
    struct sl_reader r;
    uint8_t u8 = 0x55;
    bool flag = true;
    uint32_t u32 = 0x55555555;
    uint64_t u64 = 0x5555555555555555;
    struct sl_bytes text = {.data = bytes, .len = 5};
    sl_reader_init(&r, NULL, 0);
    assert_int_equal(sl_get_u8(&r, &u8), SL_E_PROTOCOL);
    assert_int_equal(u8, 0x55);
    assert_int_equal(sl_get_bool(&r, &flag), SL_E_PROTOCOL);
    assert_true(flag);
    assert_int_equal(sl_get_u32(&r, &u32), SL_E_PROTOCOL);
    assert_int_equal(sl_get_end(&r), 0);

    r = exact(bytes, 3, &memory);
    assert_int_equal(sl_get_u32(&r, &u32), SL_E_PROTOCOL);
    assert_int_equal(sl_get_string(&r, &text), SL_E_PROTOCOL);
    assert_int_equal(r.at, 0);
    free(memory);

    r = exact(bytes, 7, &memory);
    assert_int_equal(sl_get_u64(&r, &u64), SL_E_PROTOCOL);
    assert_int_equal(sl_get_string(&r, &text), SL_E_PROTOCOL);
    assert_int_equal(sl_get_text(&r, 100, &text), SL_E_PROTOCOL);
    assert_int_equal(r.at, 0);
    free(memory);

    assert_int_equal(u32, 0x55555555);
    assert_true(u64 == 0x5555555555555555);
    assert_ptr_equal(text.data, bytes);
    assert_int_equal(text.len, 5);
}

TEST(strings_borrow_their_bytes)
{
    static const uint8_t bytes[] = {0, 0, 0, 3, 'a', 0, 'c', 0, 0, 0, 0};
    struct sl_bytes text;
    struct sl_reader r;
    sl_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(sl_get_string(&r, &text), 0);
    assert_ptr_equal(text.data, bytes + 4);
    assert_int_equal(text.len, 3);
    assert_int_equal(sl_get_string(&r, &text), 0);
    assert_int_equal(text.len, 0);
    assert_int_equal(sl_get_end(&r), 0);
}

TEST(a_length_of_four_billion_does_not_wrap)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 'a', 'b'};
    struct sl_bytes text;
    struct sl_reader r;
    sl_reader_init(&r, bytes, sizeof bytes);
    assert_int_equal(sl_get_string(&r, &text), SL_E_PROTOCOL);
    assert_int_equal(sl_get_text(&r, SIZE_MAX, &text), SL_E_PROTOCOL);
    assert_int_equal(r.at, 0);
}

TEST(texts_have_no_nul_and_a_maximum)
{
    static const uint8_t with_nul[] = {0, 0, 0, 3, 'a', 0, 'c'};
    static const uint8_t plain[] = {0, 0, 0, 3, 'a', 'b', 'c'};
    struct sl_bytes text = {.data = NULL, .len = 9};
    struct sl_reader r;
    sl_reader_init(&r, with_nul, sizeof with_nul);
    assert_int_equal(sl_get_text(&r, 100, &text), SL_E_PROTOCOL);
    assert_int_equal(r.at, 0);
    sl_reader_init(&r, plain, sizeof plain);
    assert_int_equal(sl_get_text(&r, 2, &text), SL_E_PROTOCOL);
    assert_int_equal(r.at, 0);
    assert_null(text.data);
    assert_int_equal(sl_get_text(&r, 3, &text), 0);
    assert_int_equal(text.len, 3);
    assert_memory_equal(text.data, "abc", 3);
}

TEST(what_is_put_is_what_is_got)
{
    uint8_t room[64];
    struct sl_writer w;
    struct sl_reader r;
    struct sl_bytes text;
    uint8_t u8;
    bool flag;
    uint32_t u32;
    uint64_t u64;
    sl_writer_init(&w, room, sizeof room);
    sl_put_u8(&w, 200);
    sl_put_bool(&w, true);
    sl_put_u32(&w, 0x80000001);
    sl_put_u64(&w, UINT64_MAX - 1);
    sl_put_string(&w, "a\0b", 3);
    sl_put_text(&w, "");
    sl_put_bytes(&w, "raw", 3);
    sl_put_bytes(&w, NULL, 0);
    assert_false(w.overflow);

    sl_reader_init(&r, room, w.at);
    assert_int_equal(sl_get_u8(&r, &u8), 0);
    assert_int_equal(u8, 200);
    assert_int_equal(sl_get_bool(&r, &flag), 0);
    assert_true(flag);
    assert_int_equal(sl_get_u32(&r, &u32), 0);
    assert_int_equal(u32, 0x80000001);
    assert_int_equal(sl_get_u64(&r, &u64), 0);
    assert_true(u64 == UINT64_MAX - 1);
    assert_int_equal(sl_get_string(&r, &text), 0);
    assert_int_equal(text.len, 3);
    assert_memory_equal(text.data, "a\0b", 3);
    assert_int_equal(sl_get_string(&r, &text), 0);
    assert_int_equal(text.len, 0);
    assert_int_equal(sl_reader_left(&r), 3);
    assert_memory_equal(room + r.at, "raw", 3);
}

/* Every capacity below what is needed overflows, writes nothing behind it, and stays overflowed. */
TEST(a_writer_never_passes_its_end)
{
    for (size_t cap = 0; cap < 22; cap++) {
        uint8_t *room = malloc(cap + 1);
        struct sl_writer w;

        assert_non_null(room);
        room[cap] = 0xa5;
        sl_writer_init(&w, room, cap);
        sl_put_u64(&w, 1);
        sl_put_u32(&w, 2);
        sl_put_u8(&w, 3);
        sl_put_bool(&w, true);
        sl_put_text(&w, "four");
        assert_true(w.overflow);
        assert_true(w.at <= cap);
        assert_int_equal(room[cap], 0xa5);
        size_t at = w.at;
        sl_put_bytes(&w, "", 0);
        sl_put_u8(&w, 1);
        assert_int_equal(w.at, at);
        free(room);
    }
}

TEST(an_exact_fit_is_no_overflow)
{
    uint8_t room[8];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_put_text(&w, "four");
    assert_false(w.overflow);
    assert_int_equal(w.at, sizeof room);
    sl_put_u8(&w, 1);
    assert_true(w.overflow);
}

TEST(an_empty_writer_takes_nothing)
{
    struct sl_writer w;
    sl_writer_init(&w, NULL, 0);
    sl_put_bytes(&w, NULL, 0);
    assert_false(w.overflow);
    sl_put_string(&w, NULL, (size_t)UINT32_MAX + 1);
    assert_true(w.overflow);
    sl_put_u8(&w, 1);
    assert_int_equal(w.at, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(any_byte_but_zero_is_true),
        cmocka_unit_test(short_input_is_refused_and_changes_nothing),
        cmocka_unit_test(strings_borrow_their_bytes),
        cmocka_unit_test(a_length_of_four_billion_does_not_wrap),
        cmocka_unit_test(texts_have_no_nul_and_a_maximum),
        cmocka_unit_test(what_is_put_is_what_is_got),
        cmocka_unit_test(a_writer_never_passes_its_end),
        cmocka_unit_test(an_exact_fit_is_no_overflow),
        cmocka_unit_test(an_empty_writer_takes_nothing),
    };
    return cmocka_run_group_tests_name("proto.wire", tests, NULL, NULL);
}
