/* SPDX-License-Identifier: MIT */
/* env.h - environment variables on a session channel: the cookie, and what a client asked for. One question is out at a
 * time, and what the server does with each name is learned. Starts no command. */
#ifndef SSHLEASE_SSH_CHANNEL_ENV_H
#define SSHLEASE_SSH_CHANNEL_ENV_H

#include "daemon/ssh/channel/channel.h"

/* The environment variable that marks what is started in a channel. Servers commonly accept LC_*. */
#define SL_COOKIE_NAME "LC_SSHLEASE"

/* Results of both: 0 when that is settled, SL_E_AGAIN while the answer is out, SL_E_STREAM_REFUSED when the channel is
 * of no use any more (the server did not answer in time, or has ended it), or the connection has died. */

/* Sends the channel's cookie where the target is swept and the server is not known to mind, or collects its answer. */
int sl_env_settle_cookie(struct sl_chan *chan);
/* The same for one variable. What the server is known to refuse or to mind is not sent, and settled. */
int sl_env_settle(struct sl_chan *chan, const char *name, const char *value);

/* While a question is out: whether a request of another type may follow it. Its answer must be known to be SUCCESS, for
 * of two answers libssh2 gives the first to ask the SUCCESS. */
bool sl_env_may_follow(const struct sl_chan *chan);
/* libssh2 has said no to a request that followed `chan`'s last question. True: the no was the question's, and the
 * request has the yes that the question was given. `answer` is the request's, as the packet tap saw it. */
bool sl_env_unswap(struct sl_chan *chan, uint64_t answer);

/* The connection was ended by the server: what was out may have been why. True: it was. */
bool sl_env_lost(struct sl_conn *conn);
/* When the first answer that is out is late; UINT64_MAX: none is out. */
uint64_t sl_env_deadline(const struct sl_conn *conn);

#endif
