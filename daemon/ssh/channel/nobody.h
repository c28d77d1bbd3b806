/* SPDX-License-Identifier: MIT */
/* nobody.h - handlers that hear nothing: what a stream or a port calls when its lease is over for whoever opened it. */
#ifndef SSHLEASE_SSH_CHANNEL_NOBODY_H
#define SSHLEASE_SSH_CHANNEL_NOBODY_H

#include "daemon/ssh/transport.h"

extern const struct sl_stream_handler sl_nobody_stream;
extern const struct sl_remote_handler sl_nobody_remote;

#endif
