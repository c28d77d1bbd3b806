/* SPDX-License-Identifier: MIT */
/* Any bytes as a frame's type and body: whatever decodes can be encoded, within sl_msg_size(), and decodes again to the
 * same message. */
#include "proto/msg.h"
#include "proto/status.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

struct encoded {
    uint8_t *data; /* allocated to exactly sl_msg_size() */
    size_t len;
};

static struct encoded encode(const struct sl_msg *msg)
{
    size_t bound = sl_msg_size(msg);
    uint8_t *data = malloc(bound);
    struct sl_writer w;
    FUZZ_CHECK(data != NULL);
    sl_writer_init(&w, data, bound);
    sl_msg_encode(&w, msg);
    FUZZ_CHECK(!w.overflow);
    return (struct encoded){data, w.at};
}

static void check_env(const struct sl_msg *msg)
{
    struct sl_reader env = msg->stream_open.env;
    struct sl_bytes name, value;
    uint32_t count = 0;
    while (sl_msg_env_next(&env, &name, &value))
        count++;
    FUZZ_CHECK(count == msg->stream_open.env_count && sl_reader_left(&env) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_reader r;
    struct sl_frame frame, frame_again;
    struct sl_msg msg, msg_again;
    sl_reader_init(&r, data, size);
    if (sl_get_u32(&r, &frame.type) != 0)
        return 0;
    frame.body = (struct sl_bytes){.data = data + r.at, .len = sl_reader_left(&r)};
    int status = sl_msg_decode(&frame, &msg);
    if (status != 0) {
        FUZZ_CHECK(status == SL_E_PROTOCOL);
        return 0;
    }
    FUZZ_CHECK(msg.type == (enum sl_msg_type)frame.type);
    FUZZ_CHECK(sl_msg_since(frame.type) != 0);
    if (msg.type == SL_MSG_STREAM_OPEN || msg.type == SL_MSG_STREAM_OPEN_FDS)
        check_env(&msg);

    struct encoded first = encode(&msg);
    FUZZ_CHECK(first.len <= 4 + size); /* shorter only by what a later version's HELLO carries */
    FUZZ_CHECK(sl_frame_parse(first.data, first.len, SL_FRAME_MAX, &frame_again) == (long)first.len);
    FUZZ_CHECK(sl_msg_decode(&frame_again, &msg_again) == 0);
    struct encoded second = encode(&msg_again);
    FUZZ_CHECK(second.len == first.len && memcmp(second.data, first.data, first.len) == 0);
    free(first.data);
    free(second.data);
    return 0;
}
