/* SPDX-License-Identifier: MIT */
/* What the vectors cannot show: refusals of the encoder, large messages, lists. See test_vectors.c for the rest. */
#include "proto/msg.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

#define ROOM (SL_FRAME_MAX + 4)
static uint8_t room[ROOM];
static char filler[ROOM];

static struct sl_bytes filled(size_t len)
{
    memset(filler, 'x', len);
    return (struct sl_bytes){.data = (const uint8_t *)filler, .len = len};
}

/* Encodes and decodes; 0, or SL_E_INVALID when the encoder refuses. */
static int round_trip(const struct sl_msg *msg, struct sl_msg *ret_msg)
{
    struct sl_writer w;
    struct sl_frame frame;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w, msg);
    if (w.overflow) {
        assert_int_equal(w.at, 0);
        return SL_E_INVALID;
    }
    assert_true(sl_msg_size(msg) >= w.at);
    assert_int_equal(sl_frame_parse(room, w.at, SL_FRAME_MAX, &frame), w.at);
    return sl_msg_decode(&frame, ret_msg);
}

static void assert_refused(struct sl_msg msg)
{
    struct sl_msg decoded;
    assert_int_equal(round_trip(&msg, &decoded), SL_E_INVALID);
}

static struct sl_msg acquire(struct sl_bytes target)
{
    return (struct sl_msg){.type = SL_MSG_ACQUIRE, .acquire = {.rid = 1, .target = target}};
}

static struct sl_msg stream_open(void)
{
    return (struct sl_msg){
        .type = SL_MSG_STREAM_OPEN,
        .stream_open = {.rid = 1, .kind = SL_KIND_EXEC, .command = sl_bytes_of("true"), .window = 1},
    };
}

TEST(types_have_names_and_senders)
{
    assert_string_equal(sl_msg_type_name(SL_MSG_ACQUIRE), "ACQUIRE");
    assert_string_equal(sl_msg_type_name(0), "unknown");
    assert_string_equal(sl_msg_type_name(99), "unknown");
    assert_string_equal(sl_msg_type_name(SL_MSG_MUX_PATH + 1), "unknown");
    assert_string_equal(sl_msg_type_name(UINT32_MAX), "unknown");
    for (uint32_t type = 0; type < 300; type++) {
        bool known = strcmp(sl_msg_type_name(type), "unknown") != 0;
        assert_int_equal(sl_msg_from_client(type), known && type < 100);
        assert_int_equal(sl_msg_since(type) != 0, known);
        assert_true(sl_msg_since(type) <= SL_MSG_VERSION);
    }
}

TEST(a_refused_body_leaves_the_result_alone)
{
    static const uint8_t body[] = {0, 0, 0, 1, 0, 0, 0};
    struct sl_frame frame = {.type = SL_MSG_WINDOW, .body = {.data = body, .len = sizeof body}};
    struct sl_msg msg = {.type = SL_MSG_OK, .request = {.rid = 42}};
    assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);
    assert_int_equal(msg.type, SL_MSG_OK);
    assert_int_equal(msg.request.rid, 42);
}

TEST(a_body_over_the_largest_frame_is_refused)
{
    uint8_t *body = calloc(1, SL_FRAME_MAX);
    struct sl_frame frame = {.type = SL_MSG_HELLO, .body = {.data = body, .len = SL_FRAME_MAX - 4}};
    struct sl_writer w;
    struct sl_msg msg;
    assert_non_null(body);
    sl_writer_init(&w, body, SL_FRAME_MAX);
    sl_put_text(&w, SL_MSG_MAGIC);
    assert_int_equal(sl_msg_decode(&frame, &msg), 0); /* trailing bytes, up to a whole frame of them */
    frame.body.len++;
    assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);
    free(body);
}

TEST(maxima_hold_both_ways)
{
    struct sl_msg msg, decoded;
    msg = acquire(filled(SL_MSG_NAME_MAX));
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.acquire.target.len, SL_MSG_NAME_MAX);
    assert_refused(acquire(filled(SL_MSG_NAME_MAX + 1)));

    msg = stream_open();
    msg.stream_open.command = filled(SL_MSG_COMMAND_MAX);
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.stream_open.command.len, SL_MSG_COMMAND_MAX);
    msg.stream_open.command = filled(SL_MSG_COMMAND_MAX + 1);
    assert_refused(msg);

    msg = (struct sl_msg){.type = SL_MSG_DATA, .data = {.data = filled(SL_MSG_DATA_MAX)}};
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.data.data.len, SL_MSG_DATA_MAX);
    msg.data.data = filled(SL_MSG_DATA_MAX + 1);
    assert_refused(msg);

    msg = (struct sl_msg){.type = SL_MSG_STATUS_REPLY, .status_reply = {.rid = 1, .json = filled(SL_MSG_PART_MAX)}};
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.status_reply.json.len, SL_MSG_PART_MAX);
    msg.status_reply.json = filled(SL_MSG_PART_MAX + 1);
    assert_refused(msg);
}

/* The decoder's side of the maxima that are too large for the vectors' file. */
TEST(large_strings_are_refused)
{
    struct sl_writer w;
    struct sl_frame frame;
    struct sl_msg msg;
    const uint8_t *text = filled(SL_MSG_COMMAND_MAX + 1).data;
    sl_writer_init(&w, room, sizeof room);
    sl_put_u32(&w, 1);
    sl_put_u32(&w, 0);
    sl_put_string(&w, text, SL_MSG_DATA_MAX + 1);
    frame = (struct sl_frame){.type = SL_MSG_DATA, .body = {.data = room, .len = w.at}};
    assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);

    sl_writer_init(&w, room, sizeof room);
    sl_put_u32(&w, 1);
    sl_put_bool(&w, false);
    sl_put_string(&w, text, SL_MSG_PART_MAX + 1);
    frame = (struct sl_frame){.type = SL_MSG_STATUS_REPLY, .body = {.data = room, .len = w.at}};
    assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);

    sl_writer_init(&w, room, sizeof room);
    sl_put_u32(&w, 1);
    sl_put_u32(&w, 1);
    sl_put_u32(&w, SL_KIND_EXEC);
    sl_put_string(&w, text, SL_MSG_COMMAND_MAX + 1);
    sl_put_u32(&w, 0);
    sl_put_bool(&w, false);
    sl_put_u32(&w, 0);
    frame = (struct sl_frame){.type = SL_MSG_STREAM_OPEN, .body = {.data = room, .len = w.at}};
    assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);
}

TEST(what_cannot_be_decoded_is_not_encoded)
{
    struct sl_msg msg;
    assert_refused((struct sl_msg){.type = (enum sl_msg_type)99});
    assert_refused((struct sl_msg){.type = SL_MSG_RELEASE});
    assert_refused(acquire((struct sl_bytes){.data = (const uint8_t *)"a\0b", .len = 3}));
    assert_refused((struct sl_msg){.type = SL_MSG_ERROR, .error = {.rid = 1, .code = 0}});
    assert_refused((struct sl_msg){.type = SL_MSG_DATA, .data = {.fd = 2}});
    assert_refused((struct sl_msg){.type = SL_MSG_WINDOW, .window = {.bytes = SL_MSG_WINDOW_MAX + 1}});
    assert_refused((struct sl_msg){.type = SL_MSG_STREAM_END, .stream_end = {.how = 3}});
    msg = stream_open();
    msg.stream_open.kind = SL_KIND_SHELL;
    assert_refused(msg);
    msg = stream_open();
    msg.stream_open.kind = 0;
    assert_refused(msg);
    msg = stream_open();
    msg.stream_open.kind = SL_KIND_SUBSYSTEM;
    msg.stream_open.command = filled(SL_MSG_NAME_MAX + 1);
    assert_refused(msg);
}

/* A text may come from a server: whatever it holds, the message about it gets out. */
TEST(remarks_are_made_to_fit)
{
    struct sl_msg decoded;
    struct sl_msg msg = {.type = SL_MSG_ERROR, .error = {.rid = 1, .code = 3, .text = filled(SL_MSG_TEXT_MAX + 100)}};
    filler[1] = '\0';
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.error.text.len, SL_MSG_TEXT_MAX);
    assert_memory_equal(decoded.error.text.data, "x?xx", 4);
}

static void assert_head_fits(struct sl_msg msg, struct sl_bytes bytes)
{
    uint8_t head[SL_MSG_HEAD_MAX + SL_MSG_DATA_MAX];
    struct sl_msg decoded;
    struct sl_writer w;
    assert_int_equal(round_trip(&msg, &decoded), 0);
    sl_writer_init(&w, head, SL_MSG_HEAD_MAX);
    sl_msg_encode_head(&w, &msg);
    assert_false(w.overflow);
    memcpy(head + w.at, bytes.data, bytes.len);
    assert_memory_equal(head, room, w.at + bytes.len);
}

TEST(a_head_and_its_bytes_are_the_message)
{
    struct sl_bytes bytes = filled(SL_MSG_DATA_MAX);
    struct sl_msg data = {.type = SL_MSG_DATA, .data = {.stream = 7, .fd = SL_DATA_STDERR, .data = bytes}};
    uint8_t head[SL_MSG_HEAD_MAX];
    struct sl_writer w;
    assert_head_fits(data, bytes);
    assert_head_fits(
        (struct sl_msg){.type = SL_MSG_STATUS_REPLY, .status_reply = {.rid = 9, .more = true, .json = bytes}}, bytes);
    data.data.data.len++;
    sl_writer_init(&w, head, sizeof head);
    sl_msg_encode_head(&w, &data);
    assert_true(w.overflow);
    assert_int_equal(w.at, 0);
}

TEST(too_little_room_leaves_nothing_behind)
{
    struct sl_msg msg = acquire(sl_bytes_of("web1"));
    size_t size = sl_msg_size(&msg);
    struct sl_writer w;
    for (size_t cap = 0; cap < size; cap++) {
        sl_writer_init(&w, room, cap);
        sl_msg_encode(&w, &msg);
        assert_true(w.overflow);
        assert_int_equal(w.at, 0);
    }
    sl_writer_init(&w, room, size + 5);
    sl_msg_encode(&w, &msg);
    assert_false(w.overflow);
    assert_int_equal(w.at, size);
    sl_msg_encode(&w, &msg);
    assert_true(w.overflow);
    assert_int_equal(w.at, size);
}

static uint8_t env_room[ROOM + 4096];

static void set_env(struct sl_msg *msg, uint32_t count, size_t value_len)
{
    struct sl_writer w;
    filled(value_len);
    sl_writer_init(&w, env_room, sizeof env_room);
    for (uint32_t i = 0; i < count; i++) {
        sl_put_text(&w, "NAME");
        sl_put_string(&w, filler, value_len);
    }
    assert_false(w.overflow);
    msg->stream_open.env_count = count;
    sl_reader_init(&msg->stream_open.env, env_room, w.at);
}

TEST(variables_are_listed)
{
    struct sl_msg msg = stream_open(), decoded;
    struct sl_bytes name, value;
    set_env(&msg, 2, 3);
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.stream_open.env_count, 2);
    struct sl_reader env = decoded.stream_open.env;
    for (int i = 0; i < 2; i++) {
        assert_true(sl_msg_env_next(&env, &name, &value));
        assert_int_equal(name.len, 4);
        assert_memory_equal(name.data, "NAME", 4);
        assert_int_equal(value.len, 3);
        assert_memory_equal(value.data, "xxx", 3);
    }
    assert_false(sl_msg_env_next(&env, &name, &value));
    assert_int_equal(name.len, 4);
}

TEST(variables_must_be_as_many_as_counted)
{
    struct sl_msg msg = stream_open(), decoded;
    set_env(&msg, SL_MSG_ENV_MAX, 0);
    assert_int_equal(round_trip(&msg, &decoded), 0);
    assert_int_equal(decoded.stream_open.env_count, SL_MSG_ENV_MAX);
    msg.stream_open.env_count--;
    assert_refused(msg);
    msg.stream_open.env_count += 2;
    assert_refused(msg);
    set_env(&msg, SL_MSG_ENV_MAX + 1, 0);
    assert_refused(msg);
    set_env(&msg, 1, SL_MSG_ENV_VALUE_MAX);
    assert_int_equal(round_trip(&msg, &decoded), 0);
    set_env(&msg, 1, SL_MSG_ENV_VALUE_MAX + 1);
    assert_refused(msg);
}

/* Each variable is within its maximum, all of them are more than a frame holds. */
TEST(a_message_over_the_largest_frame_is_refused)
{
    struct sl_msg msg = stream_open(), decoded;
    set_env(&msg, 7, SL_MSG_ENV_VALUE_MAX);
    assert_int_equal(round_trip(&msg, &decoded), 0);
    set_env(&msg, 8, SL_MSG_ENV_VALUE_MAX);
    static uint8_t more[ROOM + 4096];
    struct sl_writer w;
    sl_writer_init(&w, more, sizeof more);
    sl_msg_encode(&w, &msg);
    assert_true(w.overflow);
    assert_int_equal(w.at, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_names_and_senders),
        cmocka_unit_test(a_refused_body_leaves_the_result_alone),
        cmocka_unit_test(a_body_over_the_largest_frame_is_refused),
        cmocka_unit_test(maxima_hold_both_ways),
        cmocka_unit_test(large_strings_are_refused),
        cmocka_unit_test(what_cannot_be_decoded_is_not_encoded),
        cmocka_unit_test(remarks_are_made_to_fit),
        cmocka_unit_test(a_head_and_its_bytes_are_the_message),
        cmocka_unit_test(too_little_room_leaves_nothing_behind),
        cmocka_unit_test(variables_are_listed),
        cmocka_unit_test(variables_must_be_as_many_as_counted),
        cmocka_unit_test(a_message_over_the_largest_frame_is_refused),
    };
    return cmocka_run_group_tests_name("proto.msg", tests, NULL, NULL);
}
