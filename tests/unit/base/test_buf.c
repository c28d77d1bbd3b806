/* SPDX-License-Identifier: MIT */
/* The byte queue: order, limit, and that an empty one holds no memory. */
#include "base/buf.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

TEST(test_bytes_come_out_in_order)
{
    struct sl_buf buf;
    sl_buf_init(&buf, 100000);
    uint8_t next_in = 0, next_out = 0;
    size_t held = 0;
    uint32_t chance = 12345;
    for (int i = 0; i < 20000; i++) {
        chance = chance * 1664525u + 1013904223u;
        size_t n = (chance >> 16) % 700;
        if ((chance & 0x100) != 0) {
            uint8_t bytes[700];
            for (size_t k = 0; k < n; k++)
                bytes[k] = (uint8_t)(next_in + k);
            int r = sl_buf_put(&buf, bytes, n);
            if (held + n > 100000) {
                assert_int_equal(r, SL_E_LIMIT);
            } else {
                assert_int_equal(r, 0);
                next_in = (uint8_t)(next_in + n);
                held += n;
            }
        } else {
            n = n < held ? n : held;
            const uint8_t *data = sl_buf_data(&buf);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(data[k], (uint8_t)(next_out + k));
            sl_buf_drop(&buf, n);
            next_out = (uint8_t)(next_out + n);
            held -= n;
        }
        assert_int_equal(buf.len, held);
    }
    sl_buf_fini(&buf);
}

TEST(test_empty_holds_no_memory)
{
    struct sl_buf buf;
    sl_buf_init(&buf, 64);
    assert_null(sl_buf_data(&buf));
    assert_int_equal(sl_buf_put(&buf, "abc", 3), 0);
    assert_non_null(buf.mem);
    sl_buf_drop(&buf, 1);
    assert_memory_equal(sl_buf_data(&buf), "bc", 2);
    sl_buf_drop(&buf, 2);
    assert_null(buf.mem);
    assert_int_equal(buf.max, 64);
    assert_int_equal(sl_buf_put(&buf, "", 0), 0);
    assert_null(buf.mem);
}

TEST(test_limit)
{
    struct sl_buf buf;
    sl_buf_init(&buf, 8);
    assert_int_equal(sl_buf_put(&buf, "12345678", 8), 0);
    assert_int_equal(sl_buf_put(&buf, "9", 1), SL_E_LIMIT);
    assert_null(sl_buf_reserve(&buf, 1));
    sl_buf_drop(&buf, 3);
    assert_null(sl_buf_reserve(&buf, 4));
    uint8_t *room = sl_buf_reserve(&buf, 3);
    assert_non_null(room);
    memcpy(room, "abc", 3);
    sl_buf_commit(&buf, 3);
    assert_memory_equal(sl_buf_data(&buf), "45678abc", 8);
    sl_buf_fini(&buf);
}

TEST(test_a_text_ends_by_a_nul_and_is_given_away)
{
    struct sl_buf buf;
    sl_buf_init(&buf, 8);
    assert_int_equal(sl_buf_put_text(&buf, NULL, 0), 0);
    assert_int_equal(sl_buf_put_text(&buf, "1234", 4), 0);
    assert_int_equal(sl_buf_put_text(&buf, "5678", 4), SL_E_LIMIT);
    assert_int_equal(sl_buf_put_text(&buf, "567", 3), 0);
    assert_int_equal(buf.len, 7);
    char *text = sl_buf_take(&buf);
    assert_string_equal(text, "1234567");
    free(text);
    assert_int_equal(buf.len, 0);
    assert_null(sl_buf_take(&buf));
    assert_int_equal(sl_buf_put(&buf, "12345678", 8), 0);
    sl_buf_fini(&buf);
}

TEST(test_what_is_kept)
{
    struct sl_buf buf = {.max = 10000, .keep = 2048};
    assert_int_equal(sl_buf_put(&buf, "abc", 3), 0);
    const uint8_t *data = sl_buf_data(&buf);
    sl_buf_drop(&buf, 3);
    assert_memory_equal(data, "abc", 3);
    assert_ptr_equal(sl_buf_reserve(&buf, 1024), data);
    assert_true(sl_buf_room(&buf) >= 1024);
    assert_non_null(sl_buf_reserve(&buf, 2049)); /* more than is kept */
    sl_buf_commit(&buf, 1);
    sl_buf_drop(&buf, 1);
    assert_null(buf.mem);
    assert_int_equal(buf.keep, 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_in_order),
        cmocka_unit_test(test_empty_holds_no_memory),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_a_text_ends_by_a_nul_and_is_given_away),
        cmocka_unit_test(test_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
