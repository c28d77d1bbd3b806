/* SPDX-License-Identifier: MIT */
/* frame.h - finds frames in a byte stream: uint32 length (not counting itself), uint32 type, body. Pure.
 * The native protocol and OpenSSH's multiplexing protocol share this shape. */
#ifndef SSHLEASE_PROTO_FRAME_H
#define SSHLEASE_PROTO_FRAME_H

#include "proto/wire.h"

/* The largest value of `length`: 256 KiB, as OpenSSH's mux client has it. */
#define SL_FRAME_MAX 262144u
/* Bytes before the body: length and type. */
#define SL_FRAME_HEADER 8u

struct sl_frame {
    uint32_t type;
    struct sl_bytes body; /* borrowed from the bytes given */
};

/* Looks for one frame at the start of `data`. Returns the bytes it takes (> 0) and fills *ret_frame, 0 when more bytes
 * are needed, or SL_E_PROTOCOL for a length below 4 or above `max_length`. The length is judged as soon as its four
 * bytes are there, so a liar cannot make the reader wait for, or hold, more than the maximum. */
long sl_frame_parse(const void *data, size_t len, uint32_t max_length, struct sl_frame *ret_frame);

/* Starts a frame of `type` in `w`; returns the position to hand to sl_frame_end(), which fills the length in. */
size_t sl_frame_begin(struct sl_writer *w, uint32_t type);
void sl_frame_end(struct sl_writer *w, size_t begin);
/* The same for a frame whose last `more` bytes are not written into `w`. */
void sl_frame_end_before(struct sl_writer *w, size_t begin, size_t more);

#endif
