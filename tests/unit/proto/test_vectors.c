/* SPDX-License-Identifier: MIT */
/* The test vectors of the native protocol, both ways: fields -> frame and frame -> fields. Encoding the fields proves
 * the encoder against them; that encoding the decoded message gives the same frame proves the decoder against the
 * encoder. */
#include "proto/msg.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { U32, U64, BOOL, STRING, HEX };

/* Where a field's value goes in struct sl_msg. */
static const struct {
    const char *type, *name;
    enum kind kind;
    size_t offset;
} members[] = {
#define MEMBER(type, name, kind, member)                                                                               \
    {                                                                                                                  \
        type, name, kind, offsetof(struct sl_msg, member)                                                              \
    }
    MEMBER("HELLO", "version_min", U32, hello.version_min),
    MEMBER("HELLO", "version_max", U32, hello.version_max),
    MEMBER("HELLO", "program", STRING, hello.program),
    MEMBER("WELCOME", "version", U32, welcome.version),
    MEMBER("WELCOME", "daemon", STRING, welcome.daemon),
    MEMBER("RELEASE", "rid", U32, request.rid),
    MEMBER("STATUS", "rid", U32, request.rid),
    MEMBER("RELOAD", "rid", U32, request.rid),
    MEMBER("OK", "rid", U32, request.rid),
    MEMBER("ERROR", "rid", U32, error.rid),
    MEMBER("ERROR", "code", U32, error.code),
    MEMBER("ERROR", "unsent", BOOL, error.unsent),
    MEMBER("ERROR", "text", STRING, error.text),
    MEMBER("ACQUIRE", "rid", U32, acquire.rid),
    MEMBER("ACQUIRE", "target", STRING, acquire.target),
    MEMBER("ACQUIRE", "acquire_timeout_ms", U32, acquire.acquire_timeout_ms),
    MEMBER("ACQUIRE", "lease_timeout_ms", U32, acquire.lease_timeout_ms),
    MEMBER("ACQUIRE", "label", STRING, acquire.label),
    MEMBER("WAITING", "rid", U32, waiting.rid),
    MEMBER("WAITING", "position", U32, waiting.position),
    MEMBER("WAITING", "waited_ms", U32, waiting.waited_ms),
    MEMBER("WAITING", "reason", STRING, waiting.reason),
    MEMBER("GRANTED", "rid", U32, granted.rid),
    MEMBER("GRANTED", "lease", U64, granted.lease),
    MEMBER("GRANTED", "lease_timeout_ms", U32, granted.lease_timeout_ms),
    MEMBER("GRANTED", "max_lease_ms", U32, granted.max_lease_ms),
    MEMBER("GRANTED", "streams", U32, granted.streams),
    MEMBER("RENEW", "rid", U32, renew.rid),
    MEMBER("RENEW", "lease_timeout_ms", U32, renew.lease_timeout_ms),
    MEMBER("RENEWED", "rid", U32, renewed.rid),
    MEMBER("RENEWED", "lease_timeout_ms", U32, renewed.lease_timeout_ms),
    MEMBER("LEASE_ENDED", "lease", U64, lease_ended.lease),
    MEMBER("LEASE_ENDED", "code", U32, lease_ended.code),
    MEMBER("LEASE_ENDED", "text", STRING, lease_ended.text),
    MEMBER("STREAM_OPEN", "rid", U32, stream_open.rid),
    MEMBER("STREAM_OPEN", "stream", U32, stream_open.stream),
    MEMBER("STREAM_OPEN", "kind", U32, stream_open.kind),
    MEMBER("STREAM_OPEN", "command", STRING, stream_open.command),
    MEMBER("STREAM_OPEN", "window", U32, stream_open.window),
    MEMBER("STREAM_OPENED", "rid", U32, stream_opened.rid),
    MEMBER("STREAM_OPENED", "stream", U32, stream_opened.stream),
    MEMBER("STREAM_OPENED", "window", U32, stream_opened.window),
    MEMBER("DATA", "stream", U32, data.stream),
    MEMBER("DATA", "fd", U32, data.fd),
    MEMBER("DATA", "data_hex", HEX, data.data),
    MEMBER("WINDOW", "stream", U32, window.stream),
    MEMBER("WINDOW", "bytes", U32, window.bytes),
    MEMBER("EOF", "stream", U32, stream.stream),
    MEMBER("CLOSE", "stream", U32, stream.stream),
    MEMBER("SIGNAL", "stream", U32, signal.stream),
    MEMBER("SIGNAL", "name", STRING, signal.name),
    MEMBER("WINDOW_CHANGE", "stream", U32, window_change.stream),
    MEMBER("WINDOW_CHANGE", "cols", U32, window_change.cols),
    MEMBER("WINDOW_CHANGE", "rows", U32, window_change.rows),
    MEMBER("WINDOW_CHANGE", "width_px", U32, window_change.width_px),
    MEMBER("WINDOW_CHANGE", "height_px", U32, window_change.height_px),
    MEMBER("STREAM_END", "stream", U32, stream_end.stream),
    MEMBER("STREAM_END", "how", U32, stream_end.how),
    MEMBER("STREAM_END", "exit_status", U32, stream_end.exit_status),
    MEMBER("STREAM_END", "signal", STRING, stream_end.signal),
    MEMBER("STREAM_END", "core_dumped", BOOL, stream_end.core_dumped),
    MEMBER("STREAM_END", "text", STRING, stream_end.text),
    MEMBER("END", "rid", U32, end.rid),
    MEMBER("END", "lease", U64, end.lease),
    MEMBER("STATUS_REPLY", "rid", U32, status_reply.rid),
    MEMBER("STATUS_REPLY", "more", BOOL, status_reply.more),
    MEMBER("STATUS_REPLY", "json", STRING, status_reply.json),
    MEMBER("STREAM_OPEN_FDS", "rid", U32, stream_open.rid),
    MEMBER("STREAM_OPEN_FDS", "stream", U32, stream_open.stream),
    MEMBER("STREAM_OPEN_FDS", "kind", U32, stream_open.kind),
    MEMBER("STREAM_OPEN_FDS", "command", STRING, stream_open.command),
    MEMBER("STREAM_OPEN_FDS", "fds", U32, stream_open.fds),
    MEMBER("OUTPUT_LOST", "stream", U32, output_lost.stream),
    MEMBER("OUTPUT_LOST", "fd", U32, output_lost.fd),
    MEMBER("OUTPUT_LOST", "code", U32, output_lost.code),
    MEMBER("OUTPUT_LOST", "text", STRING, output_lost.text),
    MEMBER("EXITED", "stream", U32, exited.stream),
    MEMBER("EXITED", "how", U32, exited.how),
    MEMBER("EXITED", "exit_status", U32, exited.exit_status),
    MEMBER("EXITED", "signal", STRING, exited.signal),
    MEMBER("EXITED", "core_dumped", BOOL, exited.core_dumped),
    MEMBER("MUX", "rid", U32, mux.rid),
    MEMBER("MUX", "target", STRING, mux.target),
    MEMBER("RECONNECT", "rid", U32, mux.rid),
    MEMBER("RECONNECT", "target", STRING, mux.target),
    MEMBER("MUX_PATH", "rid", U32, mux_path.rid),
    MEMBER("MUX_PATH", "path", STRING, mux_path.path),
    MEMBER("pty", "term", STRING, stream_open.pty_req.term),
    MEMBER("pty", "cols", U32, stream_open.pty_req.cols),
    MEMBER("pty", "rows", U32, stream_open.pty_req.rows),
    MEMBER("pty", "width_px", U32, stream_open.pty_req.width_px),
    MEMBER("pty", "height_px", U32, stream_open.pty_req.height_px),
    MEMBER("pty", "modes_hex", HEX, stream_open.pty_req.modes),
};

#define ROOM (SL_FRAME_MAX + 4)

/* Memory that lives as long as one vector is looked at. */
struct scratch {
    uint8_t at[ROOM];
    size_t used;
};

static uint8_t nibble(char c)
{
    assert_non_null(strchr("0123456789abcdef", c));
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct sl_bytes from_hex(struct scratch *scratch, const char *hex)
{
    size_t len = strlen(hex) / 2;
    struct sl_bytes bytes = {.data = scratch->at + scratch->used, .len = len};
    assert_int_equal(strlen(hex) % 2, 0);
    assert_true(len <= sizeof scratch->at - scratch->used);
    for (size_t i = 0; i < len; i++)
        scratch->at[scratch->used++] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return bytes;
}

static void set_member(struct scratch *scratch, struct sl_msg *msg, const char *type, const char *name, json_t *value)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strcmp(members[i].type, type) != 0 || strcmp(members[i].name, name) != 0)
            continue;
        void *member = (char *)msg + members[i].offset;
        switch (members[i].kind) {
        case U32:
            assert_true(json_is_integer(value));
            *(uint32_t *)member = (uint32_t)json_integer_value(value);
            return;
        case U64: /* a string: not every language's JSON holds 64 bits in a number */
            assert_true(json_is_string(value));
            *(uint64_t *)member = strtoull(json_string_value(value), NULL, 10);
            return;
        case BOOL:
            assert_true(json_is_boolean(value));
            *(bool *)member = json_is_true(value);
            return;
        case STRING:
            assert_true(json_is_string(value));
            *(struct sl_bytes *)member = sl_bytes_of(json_string_value(value));
            return;
        case HEX:
            assert_true(json_is_string(value));
            *(struct sl_bytes *)member = from_hex(scratch, json_string_value(value));
            return;
        }
    }
    fail_msg("no member for %s.%s", type, name);
}

static void set_pty(struct scratch *scratch, struct sl_msg *msg, json_t *pty)
{
    const char *name;
    json_t *value;
    msg->stream_open.pty = json_is_object(pty);
    json_object_foreach(pty, name, value) set_member(scratch, msg, "pty", name, value);
}

static void set_env(struct scratch *scratch, struct sl_msg *msg, json_t *env)
{
    struct sl_writer w;
    json_t *pair;
    size_t i;
    sl_writer_init(&w, scratch->at + scratch->used, sizeof scratch->at - scratch->used);
    json_array_foreach(env, i, pair)
    {
        sl_put_text(&w, json_string_value(json_array_get(pair, 0)));
        sl_put_text(&w, json_string_value(json_array_get(pair, 1)));
    }
    assert_false(w.overflow);
    msg->stream_open.env_count = (uint32_t)json_array_size(env);
    sl_reader_init(&msg->stream_open.env, w.data, w.at);
    scratch->used += w.at;
}

static struct sl_msg msg_of(struct scratch *scratch, json_t *vector)
{
    const char *type = json_string_value(json_object_get(vector, "type"));
    struct sl_msg msg = {.type = (enum sl_msg_type)json_integer_value(json_object_get(vector, "number"))};
    const char *name;
    json_t *value;
    assert_string_equal(sl_msg_type_name(msg.type), type);
    json_object_foreach(json_object_get(vector, "fields"), name, value)
    {
        if (strcmp(name, "magic") == 0)
            assert_string_equal(json_string_value(value), SL_MSG_MAGIC);
        else if (strcmp(name, "pty") == 0)
            set_pty(scratch, &msg, value);
        else if (strcmp(name, "env") == 0)
            set_env(scratch, &msg, value);
        else
            set_member(scratch, &msg, type, name, value);
    }
    return msg;
}

static void assert_encodes_to(const struct sl_msg *msg, struct sl_bytes frame)
{
    static uint8_t room[ROOM];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w, msg);
    assert_false(w.overflow);
    assert_int_equal(w.at, frame.len);
    assert_memory_equal(w.data, frame.data, frame.len);
    assert_true(sl_msg_size(msg) >= w.at);
}

static void check_valid(json_t *vector)
{
    static struct scratch scratch;
    struct sl_frame frame;
    struct sl_msg decoded;
    scratch.used = 0;
    struct sl_bytes bytes = from_hex(&scratch, json_string_value(json_object_get(vector, "frame_hex")));
    struct sl_msg msg = msg_of(&scratch, vector);

    assert_int_equal(sl_frame_parse(bytes.data, bytes.len, SL_FRAME_MAX, &frame), bytes.len);
    assert_int_equal(frame.type, msg.type);
    assert_int_equal(sl_msg_decode(&frame, &decoded), 0);
    if (!json_is_true(json_object_get(vector, "decode_only"))) {
        assert_encodes_to(&msg, bytes);
        assert_encodes_to(&decoded, bytes);
        return;
    }
    /* There is another, canonical frame for the same message: the one that both encode to. */
    static uint8_t room[ROOM];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w, &msg);
    assert_false(w.overflow);
    assert_encodes_to(&decoded, (struct sl_bytes){.data = w.data, .len = w.at});
}

/* Parsed from an allocation of exactly its size, so that a sanitizer sees one byte too many read. */
static void check_invalid(json_t *vector)
{
    static struct scratch scratch;
    const char *error = json_string_value(json_object_get(vector, "error"));
    struct sl_frame frame;
    struct sl_msg msg;
    scratch.used = 0;
    struct sl_bytes bytes = from_hex(&scratch, json_string_value(json_object_get(vector, "frame_hex")));
    uint8_t *exact = malloc(bytes.len + (bytes.len == 0));
    assert_non_null(exact);
    memcpy(exact, bytes.data, bytes.len);
    long took = sl_frame_parse(exact, bytes.len, SL_FRAME_MAX, &frame);
    if (strcmp(error, "incomplete") == 0) {
        assert_int_equal(took, 0);
    } else {
        assert_string_equal(error, sl_status_name(SL_E_PROTOCOL));
        if (took > 0) {
            assert_int_equal(took, bytes.len);
            assert_int_equal(sl_msg_decode(&frame, &msg), SL_E_PROTOCOL);
        } else {
            assert_int_equal(took, SL_E_PROTOCOL);
        }
    }
    free(exact);
}

/* Those of every version; each is in the file of the version that brought its message. */
static json_t *load(void)
{
    json_t *all = json_array(), *vector;
    size_t i;
    for (unsigned version = 1; version <= SL_MSG_VERSION; version++) {
        char path[512];
        json_error_t error;
        snprintf(path, sizeof path, VECTORS, version);
        json_t *vectors = json_load_file(path, 0, &error);
        if (vectors == NULL)
            fail_msg("%s:%d: %s", path, error.line, error.text);
        assert_true(json_is_array(vectors));
        json_array_foreach(vectors, i, vector)
        {
            const uint32_t number = (uint32_t)json_integer_value(json_object_get(vector, "number"));
            if (json_object_get(vector, "error") == NULL)
                assert_int_equal(sl_msg_since(number), version);
        }
        assert_int_equal(json_array_extend(all, vectors), 0);
        json_decref(vectors);
    }
    return all;
}

/* Says which vector a failed assertion was about; cmocka's own lines do not. */
static void each(bool valid, void (*check)(json_t *vector))
{
    json_t *vectors = load(), *vector;
    size_t i, count = 0;
    json_array_foreach(vectors, i, vector)
    {
        if ((json_object_get(vector, "error") == NULL) != valid)
            continue;
        fprintf(stderr, "vector: %s\n", json_string_value(json_object_get(vector, "name")));
        check(vector);
        count++;
    }
    assert_true(count > 40);
    json_decref(vectors);
}

TEST(valid_messages)
{
    each(true, check_valid);
}

TEST(invalid_messages)
{
    each(false, check_invalid);
}

TEST(every_type_has_a_vector)
{
    json_t *vectors = load(), *vector;
    bool seen[256] = {false};
    size_t i;
    json_array_foreach(vectors, i, vector) seen[json_integer_value(json_object_get(vector, "number")) & 255] = true;
    for (uint32_t type = 1; type < 256; type++)
        assert_int_equal(seen[type], strcmp(sl_msg_type_name(type), "unknown") != 0);
    json_decref(vectors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_messages),
        cmocka_unit_test(invalid_messages),
        cmocka_unit_test(every_type_has_a_vector),
    };
    return cmocka_run_group_tests_name("proto.vectors", tests, NULL, NULL);
}
