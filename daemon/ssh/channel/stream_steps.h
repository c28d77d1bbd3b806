/* SPDX-License-Identifier: MIT */
/* stream_steps.h - the steps of a stream's way that have files of their own, and what they share; for stream_*.c only.
 */
#ifndef SSHLEASE_SSH_CHANNEL_STREAM_STEPS_H
#define SSHLEASE_SSH_CHANNEL_STREAM_STEPS_H

#include "daemon/ssh/channel/stream.h"

/* --- stream_end.c: from the wish to end it, or the server's close, to its result --- */

/* Its connection was closed or lost meanwhile: the stream may be gone. */
bool sl_stream_is_over(const struct sl_stream *stream);
bool sl_stream_is_late(const struct sl_stream *stream);
uint64_t sl_stream_in_ms(const struct sl_stream *stream, uint64_t ms);
/* on_end, without a result. */
void sl_stream_end_unknown(struct sl_stream *stream, const char *text);
/* The server has opened it. */
void sl_stream_tell_open(struct sl_stream *stream);
/* The stream never ran: the channel goes, on_open says why, on_end follows. `unanswered` as for sl_chan_close(). */
void sl_stream_refuse(struct sl_stream *stream, int status, const char *text, bool unanswered);
/* Its channel is about to be closed. `by_server`: the server has done so, or nothing runs there. A drain counts these.
 */
void sl_stream_note_end(struct sl_stream *stream, bool by_server);
/* on_exit, if the server has said how the command ended and that was not told yet. */
void sl_stream_tell_exit(struct sl_stream *stream);
/* Hang-up, TERM, KILL, CLOSE, each when the one before has had its time. */
void sl_stream_run_ending(struct sl_stream *stream);
void sl_stream_start_finishing(struct sl_stream *stream);
void sl_stream_run_finishing(struct sl_stream *stream);

/* --- stream_start.c: from an open channel to the server's answer --- */

/* Each is false when the stream may be gone, or waits for a channel again. */
bool sl_stream_run_setup(struct sl_stream *stream);
bool sl_stream_run_starting(struct sl_stream *stream);
/* Set-up that was not answered in time, or that nobody waits for any more. */
bool sl_stream_check_setup(struct sl_stream *stream);

#endif
