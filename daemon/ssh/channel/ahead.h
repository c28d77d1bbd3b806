/* SPDX-License-Identifier: MIT */
/* ahead.h - how many channels to open before they are asked for, when a stream may take one, and what is learned of the
 * server on the way: a second session is tried where nothing hangs on it, and that a connection goes on after a command
 * is seen before the next one is sent. Opens none itself. */
#ifndef SSHLEASE_SSH_CHANNEL_AHEAD_H
#define SSHLEASE_SSH_CHANNEL_AHEAD_H

#include "daemon/ssh/session/conn_base.h"

/* How many channels should be opened now beyond the `held` ones, when `needed` are waited for. */
uint32_t sl_ahead_wanted(const struct sl_conn *conn, uint32_t held, uint32_t needed);
/* A session channel was opened; or the server refused one: sets when the next is tried, and learns its limit. */
void sl_ahead_opened(struct sl_conn *conn);
void sl_ahead_refused(struct sl_conn *conn);
/* The operation under way was answered, whatever the answer. */
void sl_ahead_answered(struct sl_conn *conn);
/* Session channels that the server was seen to allow; UINT32_MAX: not known. */
uint32_t sl_ahead_slot_limit(const struct sl_conn *conn);
/* Streams that may be open at once: the policy's, or what the server was seen to allow. */
uint32_t sl_ahead_stream_limit(const struct sl_conn *conn);

/* Whether a stream may take an open channel now: not while a second session is tried, nor before the connection has
 * answered after a command where that is not known of the server. */
bool sl_ahead_may_start(const struct sl_conn *conn);
/* All sessions that the server was seen to allow are in use. */
bool sl_ahead_is_full(const struct sl_conn *conn);
/* Whether that answer is what is missing. */
bool sl_ahead_needs_proof(const struct sl_conn *conn);
/* Commands that may be started yet, those that have been and have not ended not counted; UINT32_MAX: any number. */
uint32_t sl_ahead_uses_left(const struct sl_conn *conn);

/* The second session: opened beside one that nobody uses, and each is sent its cookie when both are open, so that one
 * which shadows the other shows. sl_ahead_begin_trial() comes with each session that is opened, and begins where that is due. */
void sl_ahead_begin_trial(struct sl_conn *conn);
void sl_ahead_trial_failed(struct sl_conn *conn, const char *why);
/* A command's end was told of on a channel that runs none. */
void sl_ahead_mixed_up(struct sl_conn *conn);
/* Whether channels that nobody uses yet are to be sent their cookies now. */
bool sl_ahead_marks(const struct sl_conn *conn);
/* One turn: what has become of the trial. */
void sl_ahead_step(struct sl_conn *conn);
uint64_t sl_ahead_deadline(const struct sl_conn *conn);
/* The connection is over; the server has ended it. True: what was under way here was why. */
bool sl_ahead_lost(struct sl_conn *conn);

#endif
