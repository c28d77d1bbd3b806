/* SPDX-License-Identifier: MIT */
/* Reads a frame's head and bounds, and writes a head whose length is filled in at the end. */
#include "proto/frame.h"

#include "proto/status.h"

#include <assert.h>

/* The type counts as part of what `length` measures. */
#define LENGTH_MIN 4u

long sl_frame_parse(const void *data, size_t len, uint32_t max_length, struct sl_frame *ret_frame)
{
    struct sl_reader r;
    uint32_t length, type;
    sl_reader_init(&r, data, len);
    if (sl_get_u32(&r, &length) != 0)
        return 0;
    if (length < LENGTH_MIN || length > max_length)
        return SL_E_PROTOCOL;
    if (length > sl_reader_left(&r))
        return 0;
    if (sl_get_u32(&r, &type) != 0)
        return SL_E_PROTOCOL;
    *ret_frame = (struct sl_frame){
        .type = type,
        .body = {.data = r.data + r.at, .len = length - LENGTH_MIN},
    };
    return (long)length + 4;
}

size_t sl_frame_begin(struct sl_writer *w, uint32_t type)
{
    size_t begin = w->at;
    sl_put_u32(w, 0);
    sl_put_u32(w, type);
    return begin;
}

void sl_frame_end(struct sl_writer *w, size_t begin)
{
    sl_frame_end_before(w, begin, 0);
}

void sl_frame_end_before(struct sl_writer *w, size_t begin, size_t more)
{
    if (w->overflow)
        return;
    assert(w->at >= begin + SL_FRAME_HEADER);
    size_t length = w->at - begin - 4 + more;
    if (length > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    struct sl_writer header;
    sl_writer_init(&header, w->data + begin, 4);
    sl_put_u32(&header, (uint32_t)length);
}
