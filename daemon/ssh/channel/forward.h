/* SPDX-License-Identifier: MIT */
/* forward.h - channels on which the server connects to somewhere for us: how they are asked for, and what the answer
 * says. Knows no stream. */
#ifndef SSHLEASE_SSH_CHANNEL_FORWARD_H
#define SSHLEASE_SSH_CHANNEL_FORWARD_H

#include "daemon/ssh/channel/channel.h"

/* Asks for the channel that `spec` (TCP or UNIX) describes. *ret_where: where it leads, for messages; the caller frees
 * it. 0 or SL_E_NOMEM. */
int sl_forward_ask(
    struct sl_tenant *tenant, const struct sl_stream_spec *spec, char **ret_where, struct sl_chan **ret_chan);
/* Why it was refused, or has not come, as a sentence. Returns `buf`. */
#define SL_FORWARD_WHY_SIZE 640u
const char *sl_forward_why(const struct sl_chan *chan, const char *where, char *buf, size_t size);

#endif
