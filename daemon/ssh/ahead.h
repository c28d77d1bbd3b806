/* ahead.h - how many channels to open before they are asked for, and what a server that refuses teaches. Opens none
 * itself. */
#ifndef SSHLEASE_SSH_AHEAD_H
#define SSHLEASE_SSH_AHEAD_H

#include "daemon/ssh/conn_base.h"

/* How many channels should be opened now beyond the `held` ones, when `needed` are waited for. */
uint32_t sl_ahead_wanted(const struct sl_conn *conn, uint32_t held, uint32_t needed);
/* A session channel was opened; or the server refused one: sets when the next is tried, and learns its limit. */
void sl_ahead_opened(struct sl_conn *conn);
void sl_ahead_refused(struct sl_conn *conn);
/* Session channels that the server was seen to allow; UINT32_MAX: not known. */
uint32_t sl_ahead_slot_limit(const struct sl_conn *conn);
/* Streams that may be open at once: the policy's, or what the server was seen to allow. */
uint32_t sl_ahead_stream_limit(const struct sl_conn *conn);

#endif
