/* SPDX-License-Identifier: MIT */
/* preopen.h - how many channels to open before they are asked for, when a stream may take one, and what is learned of
 * the server on the way: a second session is tried where nothing hangs on it, and that a connection goes on after a
 * command is seen before the next one is sent. Opens none itself. */
#ifndef SSHLEASE_SSH_CHANNEL_PREOPEN_H
#define SSHLEASE_SSH_CHANNEL_PREOPEN_H

#include "daemon/ssh/session/conn_base.h"

/* How many channels should be opened now beyond the `held` ones, when `needed` are waited for. */
uint32_t sl_preopen_wanted(const struct sl_conn *conn, uint32_t held, uint32_t needed);
/* A session channel was opened; or the server refused one: sets when the next is tried, and learns its limit. */
void sl_preopen_opened(struct sl_conn *conn);
void sl_preopen_refused(struct sl_conn *conn);
/* The operation under way was answered, whatever the answer. */
void sl_preopen_answered(struct sl_conn *conn);
/* Session channels that the server was seen to allow; UINT32_MAX: not known. */
uint32_t sl_preopen_slot_limit(const struct sl_conn *conn);
/* Streams that may be open at once: the policy's, or what the server was seen to allow. */
uint32_t sl_preopen_stream_limit(const struct sl_conn *conn);

/* Whether a stream may take an open channel now: not while a second session is tried, nor before the connection has
 * answered after a command where that is not known of the server. */
bool sl_preopen_may_start(const struct sl_conn *conn);
/* All sessions that the server was seen to allow are in use. */
bool sl_preopen_is_full(const struct sl_conn *conn);
/* Whether that answer is what is missing. */
bool sl_preopen_needs_proof(const struct sl_conn *conn);
/* Commands that may be started yet, those that have been and have not ended not counted; UINT32_MAX: any number. */
uint32_t sl_preopen_uses_left(const struct sl_conn *conn);

/* The second session: opened beside one that nobody uses, and each is sent its cookie when both are open, so that one
 * which shadows the other shows. sl_preopen_begin_trial() comes with each session that is opened, and begins where that
 * is due. */
void sl_preopen_begin_trial(struct sl_conn *conn);
void sl_preopen_trial_failed(struct sl_conn *conn, const char *why);
/* A command's end was told of on a channel that runs none. */
void sl_preopen_mixed_up(struct sl_conn *conn);
/* Whether channels that nobody uses yet are to be sent their cookies now. */
bool sl_preopen_marks(const struct sl_conn *conn);
/* One turn: what has become of the trial. */
void sl_preopen_step(struct sl_conn *conn);
uint64_t sl_preopen_deadline(const struct sl_conn *conn);
/* The connection is over; the server has ended it. True: what was under way here was why. */
bool sl_preopen_lost(struct sl_conn *conn);

#endif
