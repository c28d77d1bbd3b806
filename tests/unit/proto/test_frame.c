/* SPDX-License-Identifier: MIT */
/* Frames written and found, whole, in pieces and out of bounds. */
#include "proto/frame.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

TEST(a_frame_is_written_and_found)
{
    uint8_t room[32];
    struct sl_frame frame;
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    size_t begin = sl_frame_begin(&w, 0x01020304);
    sl_put_text(&w, "hi");
    sl_frame_end(&w, begin);
    assert_false(w.overflow);
    static const uint8_t expected[] = {0, 0, 0, 10, 1, 2, 3, 4, 0, 0, 0, 2, 'h', 'i'};
    assert_int_equal(w.at, sizeof expected);
    assert_memory_equal(room, expected, sizeof expected);

    assert_int_equal(sl_frame_parse(room, w.at, SL_FRAME_MAX, &frame), sizeof expected);
    assert_int_equal(frame.type, 0x01020304);
    assert_ptr_equal(frame.body.data, room + SL_FRAME_HEADER);
    assert_int_equal(frame.body.len, 6);
}

TEST(a_body_may_be_empty)
{
    static const uint8_t bytes[] = {0, 0, 0, 4, 0, 0, 0, 9};
    struct sl_frame frame;
    assert_int_equal(sl_frame_parse(bytes, sizeof bytes, SL_FRAME_MAX, &frame), 8);
    assert_int_equal(frame.type, 9);
    assert_int_equal(frame.body.len, 0);
}

/* Every cut of a frame asks for more; what follows a frame is left alone. */
TEST(frames_come_in_any_pieces)
{
    static const uint8_t bytes[] = {0, 0, 0, 6, 0, 0, 0, 1, 'a', 'b', 0, 0, 0, 4, 0, 0, 0, 2};
    struct sl_frame frame = {.type = 77};
    for (size_t len = 0; len < 10; len++) {
        uint8_t *exact = malloc(len + (len == 0));
        assert_non_null(exact);
        memcpy(exact, bytes, len);
        assert_int_equal(sl_frame_parse(exact, len, SL_FRAME_MAX, &frame), 0);
        assert_int_equal(frame.type, 77);
        free(exact);
    }
    for (size_t len = 10; len <= sizeof bytes; len++) {
        assert_int_equal(sl_frame_parse(bytes, len, SL_FRAME_MAX, &frame), 10);
        assert_int_equal(frame.type, 1);
        assert_int_equal(frame.body.len, 2);
    }
    assert_int_equal(sl_frame_parse(bytes + 10, 8, SL_FRAME_MAX, &frame), 8);
    assert_int_equal(frame.type, 2);
}

TEST(a_length_is_judged_by_its_four_bytes)
{
    static const struct {
        uint8_t bytes[4];
        uint32_t max;
        long result;
    } cases[] = {
        {{0, 0, 0, 0}, SL_FRAME_MAX, SL_E_PROTOCOL},
        {{0, 0, 0, 3}, SL_FRAME_MAX, SL_E_PROTOCOL},
        {{0, 0, 0, 4}, SL_FRAME_MAX, 0},
        {{0, 4, 0, 0}, SL_FRAME_MAX, 0},
        {{0, 4, 0, 1}, SL_FRAME_MAX, SL_E_PROTOCOL},
        {{0xff, 0xff, 0xff, 0xff}, SL_FRAME_MAX, SL_E_PROTOCOL},
        {{0, 0, 0, 100}, 100, 0},
        {{0, 0, 0, 101}, 100, SL_E_PROTOCOL},
    };
    struct sl_frame frame;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(sl_frame_parse(cases[i].bytes, 4, cases[i].max, &frame), cases[i].result);
}

TEST(the_largest_frame_fits)
{
    size_t size = 4 + (size_t)SL_FRAME_MAX;
    uint8_t *room = calloc(1, size);
    struct sl_frame frame;
    struct sl_writer w;
    assert_non_null(room);
    sl_writer_init(&w, room, size);
    size_t begin = sl_frame_begin(&w, 1);
    w.at = size;
    sl_frame_end(&w, begin);
    assert_int_equal(sl_frame_parse(room, size - 1, SL_FRAME_MAX, &frame), 0);
    assert_int_equal(sl_frame_parse(room, size, SL_FRAME_MAX, &frame), size);
    assert_int_equal(frame.body.len, SL_FRAME_MAX - 4);
    free(room);
}

TEST(frames_follow_each_other_in_one_writer)
{
    uint8_t room[20];
    struct sl_writer w;
    struct sl_frame frame;
    sl_writer_init(&w, room, sizeof room);
    sl_frame_end(&w, sl_frame_begin(&w, 1));
    size_t second = sl_frame_begin(&w, 2);
    assert_int_equal(second, 8);
    sl_put_u32(&w, 5);
    sl_frame_end(&w, second);
    assert_false(w.overflow);
    assert_int_equal(sl_frame_parse(room, w.at, SL_FRAME_MAX, &frame), 8);
    assert_int_equal(frame.type, 1);
    assert_int_equal(sl_frame_parse(room + 8, w.at - 8, SL_FRAME_MAX, &frame), 12);
    assert_int_equal(frame.type, 2);
    /* One more does not fit; ending it is harmless. */
    sl_frame_end(&w, sl_frame_begin(&w, 3));
    assert_true(w.overflow);
    assert_int_equal(sl_frame_parse(room + 8, 12, SL_FRAME_MAX, &frame), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_written_and_found),
        cmocka_unit_test(a_body_may_be_empty),
        cmocka_unit_test(frames_come_in_any_pieces),
        cmocka_unit_test(a_length_is_judged_by_its_four_bytes),
        cmocka_unit_test(the_largest_frame_fits),
        cmocka_unit_test(frames_follow_each_other_in_one_writer),
    };
    return cmocka_run_group_tests_name("proto.frame", tests, NULL, NULL);
}
