/* SPDX-License-Identifier: MIT */
/* Any bytes as a stream of frames: what is found is what the length says, lies within the input, does not depend on how
 * much more has come, and is written again byte for byte. */
#include "proto/frame.h"
#include "proto/status.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_found(const uint8_t *at, size_t left, long took, const struct sl_frame *frame)
{
    size_t size = (size_t)took;
    struct sl_frame other = {.type = frame->type + 1};
    struct sl_writer w;
    FUZZ_CHECK(size <= left && size >= SL_FRAME_HEADER);
    FUZZ_CHECK(frame->body.data == at + SL_FRAME_HEADER && frame->body.len == size - SL_FRAME_HEADER);
    FUZZ_CHECK(sl_frame_parse(at, size, SL_FRAME_MAX, &other) == took && other.type == frame->type);
    FUZZ_CHECK(sl_frame_parse(at, size - 1, SL_FRAME_MAX, &other) == 0);

    uint8_t *again = malloc(size);
    FUZZ_CHECK(again != NULL);
    sl_writer_init(&w, again, size);
    size_t begin = sl_frame_begin(&w, frame->type);
    sl_put_bytes(&w, frame->body.data, frame->body.len);
    sl_frame_end(&w, begin);
    FUZZ_CHECK(!w.overflow && w.at == size && memcmp(again, at, size) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (;;) {
        struct sl_frame frame;
        long took = sl_frame_parse(data + at, size - at, SL_FRAME_MAX, &frame);
        if (took > 0) {
            check_found(data + at, size - at, took, &frame);
            at += (size_t)took;
            continue;
        }
        FUZZ_CHECK(took == 0 || took == SL_E_PROTOCOL);
        /* A refusal needs the length only; what is awaited is never more than the maximum. */
        if (took < 0)
            FUZZ_CHECK(size - at >= 4 && sl_frame_parse(data + at, 4, SL_FRAME_MAX, &frame) == took);
        else
            FUZZ_CHECK(size - at < 4 + (size_t)SL_FRAME_MAX);
        return 0;
    }
}
