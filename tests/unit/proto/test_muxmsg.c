/* SPDX-License-Identifier: MIT */
/* OpenSSH's multiplexing messages. A client's are those that OpenSSH 9.2 sent (tests/vectors/mux-v4.json: the bytes as
 * they came); a master's are written out here. */
#include "proto/muxmsg.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct recorded {
    uint8_t *data; /* exactly as long as the frame */
    size_t len;
    struct sl_frame frame;
};

static uint8_t nibble(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct recorded unhex(const char *hex)
{
    struct recorded r = {.len = strlen(hex) / 2};
    r.data = malloc(r.len);
    assert_non_null(r.data);
    for (size_t i = 0; i < r.len; i++)
        r.data[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    assert_int_equal(sl_frame_parse(r.data, r.len, SL_FRAME_MAX, &r.frame), r.len);
    return r;
}

static json_t *load(void)
{
    json_error_t error;
    json_t *all = json_load_file(VECTORS, 0, &error);

    assert_non_null(all);
    return all;
}

static struct recorded find(const char *name)
{
    json_t *all = load(), *one;
    size_t i;
    struct recorded found = {.data = NULL};
    json_array_foreach(all, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
            found = unhex(json_string_value(json_object_get(one, "frame_hex")));
    }
    json_decref(all);
    assert_non_null(found.data);
    return found;
}

static struct recorded decoded(const char *name, enum sl_mux_type type, struct sl_mux_msg *ret_msg)
{
    struct recorded r = find(name);
    assert_int_equal(sl_mux_decode(&r.frame, ret_msg), 0);
    assert_int_equal(ret_msg->type, type);
    return r;
}

static void assert_text(struct sl_bytes bytes, const char *expected)
{
    assert_int_equal(bytes.len, strlen(expected));
    assert_memory_equal(bytes.data, expected, bytes.len);
}

TEST(a_hello_has_a_version_and_no_request_id)
{
    struct sl_mux_msg msg;
    struct recorded r = decoded("hello", SL_MUX_HELLO, &msg);
    assert_int_equal(msg.version, 4);
    free(r.data);
}

TEST(a_hello_may_carry_extensions)
{
    static const uint8_t body[] = {0, 0, 0, 4, 0, 0, 0, 4, 'i', 'n', 'f', 'o', 0, 0, 0, 1, 0};
    struct sl_frame frame = {.type = SL_MUX_HELLO, .body = {.data = body, .len = sizeof body}};
    struct sl_mux_msg msg;
    assert_int_equal(sl_mux_decode(&frame, &msg), 0);
    assert_int_equal(msg.version, 4);
    frame.body.len--;
    assert_int_equal(sl_mux_decode(&frame, &msg), SL_E_PROTOCOL);
}

TEST(a_command)
{
    struct sl_mux_msg msg;
    struct recorded r = decoded("exec", SL_MUX_NEW_SESSION, &msg);
    assert_int_equal(msg.rid, 1);
    assert_false(msg.new_session.tty || msg.new_session.x11 || msg.new_session.agent || msg.new_session.subsystem);
    assert_int_equal(msg.new_session.escape, '~');
    assert_text(msg.new_session.term, "xterm-256color");
    assert_text(msg.new_session.command, "uname -a");
    assert_int_equal(msg.new_session.env_count, 0);
    free(r.data);
}

TEST(a_shell_on_a_terminal_and_a_subsystem)
{
    struct sl_mux_msg msg;
    struct recorded r = decoded("shell on a terminal", SL_MUX_NEW_SESSION, &msg);
    assert_true(msg.new_session.tty);
    assert_int_equal(msg.new_session.command.len, 0);
    free(r.data);
    r = decoded("subsystem", SL_MUX_NEW_SESSION, &msg);
    assert_true(msg.new_session.subsystem);
    assert_false(msg.new_session.tty);
    assert_text(msg.new_session.command, "sftp");
    free(r.data);
}

TEST(variables_and_flags)
{
    struct sl_bytes name, value;
    struct sl_mux_msg msg;
    struct recorded r = decoded("environment", SL_MUX_NEW_SESSION, &msg);
    assert_true(msg.new_session.tty && msg.new_session.x11 && msg.new_session.agent);
    assert_true(msg.new_session.escape > 255);
    assert_int_equal(msg.new_session.env_count, 3);
    struct sl_reader env = msg.new_session.env;
    assert_true(sl_mux_env_next(&env, &name, &value));
    assert_text(name, "LANG");
    assert_text(value, "C.UTF-8");
    assert_true(sl_mux_env_next(&env, &name, &value));
    assert_text(name, "LC_ALL");
    assert_text(value, "C");
    assert_true(sl_mux_env_next(&env, &name, &value));
    assert_text(name, "EMPTY");
    assert_text(value, "");
    assert_false(sl_mux_env_next(&env, &name, &value));
    free(r.data);
}

TEST(what_is_no_variable_is_left_out)
{
    static const uint8_t list[] = {0, 0, 0, 2, 'N', 'O', 0, 0, 0, 2, '=', 'x', 0, 0, 0, 0, 0, 0, 0, 3, 'A', '=', '='};
    struct sl_bytes name, value;
    struct sl_reader env;
    sl_reader_init(&env, list, sizeof list);
    assert_true(sl_mux_env_next(&env, &name, &value));
    assert_text(name, "A");
    assert_text(value, "=");
    assert_false(sl_mux_env_next(&env, &name, &value));
}

TEST(requests_that_are_a_number_only)
{
    static const struct {
        const char *name;
        enum sl_mux_type type;
    } all[] = {
        {"alive check", SL_MUX_ALIVE_CHECK},
        {"stop", SL_MUX_STOP_LISTENING},
        {"exit", SL_MUX_TERMINATE},
        {"proxy", SL_MUX_PROXY},
    };
    struct sl_mux_msg msg;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct recorded r = decoded(all[i].name, all[i].type, &msg);
        assert_int_equal(msg.rid, 0);
        free(r.data);
    }
}

TEST(forwards)
{
    struct sl_mux_msg msg;
    struct recorded r = decoded("stdio forward", SL_MUX_NEW_STDIO_FWD, &msg);
    assert_text(msg.stdio_fwd.host, "db");
    assert_int_equal(msg.stdio_fwd.port, 5432);
    free(r.data);
    r = decoded("local forward", SL_MUX_OPEN_FWD, &msg);
    assert_int_equal(msg.fwd.kind, SL_MUX_FWD_LOCAL);
    assert_text(msg.fwd.listen_host, "");
    assert_int_equal(msg.fwd.listen_port, 8080);
    assert_text(msg.fwd.connect_host, "db");
    assert_int_equal(msg.fwd.connect_port, 80);
    free(r.data);
    r = decoded("local forward of a path", SL_MUX_OPEN_FWD, &msg);
    assert_text(msg.fwd.listen_host, "/tmp/here");
    assert_int_equal(msg.fwd.listen_port, SL_MUX_PORT_PATH);
    assert_text(msg.fwd.connect_host, "/run/there");
    assert_int_equal(msg.fwd.connect_port, SL_MUX_PORT_PATH);
    free(r.data);
    r = decoded("remote forward", SL_MUX_OPEN_FWD, &msg);
    assert_int_equal(msg.fwd.kind, SL_MUX_FWD_REMOTE);
    assert_int_equal(msg.fwd.listen_port, 0);
    free(r.data);
    r = decoded("dynamic forward", SL_MUX_OPEN_FWD, &msg);
    assert_int_equal(msg.fwd.kind, SL_MUX_FWD_DYNAMIC);
    free(r.data);
    r = decoded("cancel", SL_MUX_CLOSE_FWD, &msg);
    assert_int_equal(msg.fwd.listen_port, 8080);
    free(r.data);
}

/* Every recorded message, cut anywhere or longer by a byte, is refused, but where a cut falls between two of a list. */
TEST(what_is_cut_or_too_long_is_refused)
{
    json_t *all = load(), *one;
    size_t i;
    json_array_foreach(all, i, one)
    {
        struct recorded r = unhex(json_string_value(json_object_get(one, "frame_hex")));
        uint8_t *longer = malloc(r.frame.body.len + 1);
        struct sl_mux_msg msg;
        assert_non_null(longer);
        memcpy(longer, r.frame.body.data, r.frame.body.len);
        longer[r.frame.body.len] = 0;
        struct sl_frame frame = {.type = r.frame.type, .body = {.data = longer, .len = r.frame.body.len + 1}};
        assert_int_equal(sl_mux_decode(&frame, &msg), SL_E_PROTOCOL);
        const bool list = strcmp(json_string_value(json_object_get(one, "name")), "environment") == 0;
        for (frame.body.len = 0; !list && frame.body.len < r.frame.body.len; frame.body.len++)
            assert_int_equal(sl_mux_decode(&frame, &msg), SL_E_PROTOCOL);
        free(longer);
        free(r.data);
    }
    json_decref(all);
}

TEST(what_no_client_sends_is_refused)
{
    static const uint32_t types[] = {0, 2, 0x10000003, 0x10000009 + 1, 0x80000001, 0x80000008, UINT32_MAX};
    static const uint8_t nul_inside[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 'a', 0, 0, 0, 0, 22};
    struct sl_frame frame = {.body = {.data = nul_inside, .len = 4}};
    struct sl_mux_msg msg;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        frame.type = types[i];
        assert_int_equal(sl_mux_decode(&frame, &msg), SL_E_PROTOCOL);
    }
    frame = (struct sl_frame){.type = SL_MUX_NEW_STDIO_FWD, .body = {.data = nul_inside, .len = sizeof nul_inside}};
    assert_int_equal(sl_mux_decode(&frame, &msg), SL_E_PROTOCOL);

    struct recorded r = find("dynamic forward");
    r.data[15] = 4; /* the last byte of its kind */
    assert_int_equal(sl_mux_decode(&r.frame, &msg), SL_E_PROTOCOL);
    free(r.data);
}

#define EXPECT_BYTES(writer, ...)                                                                                      \
    do {                                                                                                               \
        static const uint8_t expected[] = {__VA_ARGS__};                                                               \
        assert_false((writer).overflow);                                                                               \
        assert_int_equal((writer).at, sizeof expected);                                                                \
        assert_memory_equal((writer).data, expected, sizeof expected);                                                 \
        (writer).at = 0;                                                                                               \
    } while (0)

TEST(a_master_s_answers)
{
    uint8_t room[64];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_hello(&w);
    EXPECT_BYTES(w, 0, 0, 0, 21, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 'i', 'n', 'f', 'o', 0, 0, 0, 1, '0');
    sl_mux_put_ok(&w, 0);
    EXPECT_BYTES(w, 0, 0, 0, 8, 0x80, 0, 0, 1, 0, 0, 0, 0);
    sl_mux_put_refusal(&w, SL_MUX_PERMISSION_DENIED, 7, "no");
    EXPECT_BYTES(w, 0, 0, 0, 14, 0x80, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 2, 'n', 'o');
    sl_mux_put_refusal(&w, SL_MUX_FAILURE, 7, "no");
    EXPECT_BYTES(w, 0, 0, 0, 14, 0x80, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 2, 'n', 'o');
    sl_mux_put_fatal(&w, "no");
    EXPECT_BYTES(w, 0, 0, 0, 10, 0x80, 0, 0, 3, 0, 0, 0, 2, 'n', 'o');
    sl_mux_put_exit(&w, 9, 255);
    EXPECT_BYTES(w, 0, 0, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 255);
    sl_mux_put_alive(&w, 1, 0x1234);
    EXPECT_BYTES(w, 0, 0, 0, 12, 0x80, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0x12, 0x34);
    sl_mux_put_session_opened(&w, 2, 9);
    EXPECT_BYTES(w, 0, 0, 0, 12, 0x80, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 9);
    sl_mux_put_remote_port(&w, 3, 8022);
    EXPECT_BYTES(w, 0, 0, 0, 12, 0x80, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0x1f, 0x56);
    sl_mux_put_ext_info(&w, 5, true, "x");
    EXPECT_BYTES(w, 0, 0, 0, 17, 0x90, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 'x');
    sl_mux_put_tty_alloc_fail(&w, 9);
    EXPECT_BYTES(w, 0, 0, 0, 8, 0x80, 0, 0, 8, 0, 0, 0, 9);
}

TEST(an_answer_of_no_known_type)
{
    uint8_t room[64];
    struct sl_frame frame;
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_unknown(&w, 1, "no");
    assert_int_equal(sl_frame_parse(w.data, w.at, SL_FRAME_MAX, &frame), w.at);
    assert_string_equal(sl_mux_type_name(frame.type), "unknown");
}

TEST(a_long_text_is_cut)
{
    uint8_t *room = malloc(SL_MUX_REPLY_MAX);
    char *text = malloc(10000);
    struct sl_frame frame;
    struct sl_writer w;
    assert_non_null(room);
    assert_non_null(text);
    memset(text, 'x', 9999);
    text[9999] = '\0';
    sl_writer_init(&w, room, SL_MUX_REPLY_MAX);
    sl_mux_put_refusal(&w, SL_MUX_FAILURE, 1, text);
    assert_false(w.overflow);
    assert_int_equal(sl_frame_parse(w.data, w.at, SL_FRAME_MAX, &frame), w.at);
    assert_int_equal(frame.body.len, 8 + SL_MUX_TEXT_MAX);
    free(text);
    free(room);
}

TEST(types_have_names)
{
    assert_string_equal(sl_mux_type_name(SL_MUX_NEW_SESSION), "NEW_SESSION");
    assert_string_equal(sl_mux_type_name(SL_MUX_TTY_ALLOC_FAIL), "TTY_ALLOC_FAIL");
    assert_string_equal(sl_mux_type_name(3), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hello_has_a_version_and_no_request_id),
        cmocka_unit_test(a_hello_may_carry_extensions),
        cmocka_unit_test(a_command),
        cmocka_unit_test(a_shell_on_a_terminal_and_a_subsystem),
        cmocka_unit_test(variables_and_flags),
        cmocka_unit_test(what_is_no_variable_is_left_out),
        cmocka_unit_test(requests_that_are_a_number_only),
        cmocka_unit_test(forwards),
        cmocka_unit_test(what_is_cut_or_too_long_is_refused),
        cmocka_unit_test(what_no_client_sends_is_refused),
        cmocka_unit_test(a_master_s_answers),
        cmocka_unit_test(an_answer_of_no_known_type),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(types_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
