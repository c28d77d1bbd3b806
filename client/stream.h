/* SPDX-License-Identifier: MIT */
/* stream.h - one stream of a lease, inside the library: its state, its credit both ways, and what came and was not read
 * yet. */
#ifndef SSHLEASE_CLIENT_STREAM_H
#define SSHLEASE_CLIENT_STREAM_H

#include "client/handle.h"

/* The credit the daemon holds on each stream, so also the most that is ever buffered for it here. Given back in halves.
 */
#define SL_STREAM_WINDOW 262144u

enum sl_lib_stream_state {
    SL_LIB_STREAM_OPENING, /* STREAM_OPEN is queued or sent */
    SL_LIB_STREAM_OPEN,
    SL_LIB_STREAM_ENDED,     /* refused, ended, or its lease is over */
    SL_LIB_STREAM_DISCARDED, /* the caller has freed it; the daemon has still to say that it is over */
};

/* What came and was not read: runs of bytes of one output each, in the order of their coming. A run is four bytes of
 * header (the length, the highest bit set for stderr) and its bytes; the last one grows while nothing else comes
 * between. */
struct sl_inbox {
    struct sl_buf bytes;
    size_t last; /* how many of them the last run has, its header included */
};

struct sshlease_stream {
    TAILQ_ENTRY(sshlease_stream) entry;
    struct sshlease *lease;
    enum sl_lib_stream_state state;
    uint32_t id, open_rid;
    uint32_t credit_in;      /* what the daemon may still send */
    uint32_t credit_pending; /* what was read since credit was given last */
    uint32_t credit_out;     /* what we may still send */
    bool eof_sent;
    bool exited;     /* the daemon has said how the command ended, which `result` holds, but its output goes on */
    bool passed;     /* its bytes go by descriptors; nothing is read or written here */
    int lost;        /* why its output could not be written; 0: it could */
    char *lost_text; /* for a person */
    struct sl_inbox inbox;
    int status; /* ENDED: 0 when the daemon said how it ended, which `result` holds; else why it did not */
    bool unsent;
    struct sshlease_result result;
};

/* Opens a stream; the message is queued, not sent. As sshlease_stream_start(), which has seen that the link and the
 * lease are there. `fd`: as of sshlease_stream_start_passed(), for the caller to send along; NULL: none are passed. */
int sl_stream_begin(
    struct sshlease *lease, const struct sshlease_command *command, const int *fd, struct sshlease_stream **ret_stream);
/* The first bytes that wait to be read and which output they are of (1 or 2). Length 0: none. Borrowed until anything
 * else is called. */
struct sl_bytes sl_stream_peek(const struct sshlease_stream *stream, int *ret_fd);
/* Takes `count` bytes of what sl_stream_peek() showed. */
void sl_stream_consume(struct sshlease_stream *stream, size_t count);
/* Queues as much data as credit and buffer let pass; returns how much, or a status. Sends nothing. */
long sl_stream_queue_data(struct sshlease_stream *stream, const void *data, size_t len);
/* Whether sl_stream_queue_data() would take something now. When not, WINDOW or the socket's readiness to take more
 * changes that, which the next turn of the link waits for; when so, waiting for either could last for ever. */
bool sl_stream_can_send(const struct sshlease_stream *stream);
/* Queues EOF if it was not yet. */
int sl_stream_queue_eof(struct sshlease_stream *stream);
/* Makes it DISCARDED: nobody reads it any more. */
void sl_stream_discard(struct sshlease_stream *stream);
void sl_stream_destroy(struct sshlease_stream *stream);

#endif
