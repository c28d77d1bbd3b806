/* SPDX-License-Identifier: MIT */
/* Any bytes as the type and body of a mux client's frame: whatever decodes lies within the input and holds no NUL; its
 * variables come to no more than were counted. */
#include "proto/muxmsg.h"
#include "proto/status.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_text(struct sl_bytes text, const struct sl_frame *frame)
{
    if (text.len == 0)
        return;
    FUZZ_CHECK(text.data >= frame->body.data && text.data + text.len <= frame->body.data + frame->body.len);
    FUZZ_CHECK(memchr(text.data, '\0', text.len) == NULL);
}

static void check_session(const struct sl_mux_new_session *session, const struct sl_frame *frame)
{
    struct sl_reader env = session->env;
    struct sl_bytes name, value;
    uint32_t count = 0;
    check_text(session->term, frame);
    check_text(session->command, frame);
    while (sl_mux_env_next(&env, &name, &value)) {
        check_text(name, frame);
        check_text(value, frame);
        FUZZ_CHECK(name.len > 0 && memchr(name.data, '=', name.len) == NULL);
        count++;
    }
    FUZZ_CHECK(count <= session->env_count && sl_reader_left(&env) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_reader r;
    struct sl_frame frame;
    struct sl_mux_msg msg;
    sl_reader_init(&r, data, size);
    if (sl_get_u32(&r, &frame.type) != 0)
        return 0;
    frame.body = (struct sl_bytes){.data = data + r.at, .len = sl_reader_left(&r)};
    int status = sl_mux_decode(&frame, &msg);
    if (status != 0) {
        FUZZ_CHECK(status == SL_E_PROTOCOL);
        return 0;
    }
    FUZZ_CHECK((uint32_t)msg.type == frame.type);
    FUZZ_CHECK(strcmp(sl_mux_type_name(frame.type), "unknown") != 0);
    switch (msg.type) {
    case SL_MUX_NEW_SESSION:
        check_session(&msg.new_session, &frame);
        break;
    case SL_MUX_OPEN_FWD:
    case SL_MUX_CLOSE_FWD:
        check_text(msg.fwd.listen_host, &frame);
        check_text(msg.fwd.connect_host, &frame);
        break;
    case SL_MUX_NEW_STDIO_FWD:
        check_text(msg.stdio_fwd.host, &frame);
        break;
    case SL_MUX_EXT_INFO:
        check_text(msg.ext_info, &frame);
        break;
    default:
        break;
    }
    return 0;
}
