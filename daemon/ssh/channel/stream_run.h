/* SPDX-License-Identifier: MIT */
/* stream_run.h - moves streams on, from request to result, on channels that channel.c opened. */
#ifndef SSHLEASE_SSH_CHANNEL_STREAM_RUN_H
#define SSHLEASE_SSH_CHANNEL_STREAM_RUN_H

#include "daemon/ssh/session/conn_base.h"

/* One turn for all of them; any may have ended, and the connection been closed, when it returns. */
void sl_stream_tick(struct sl_conn *conn);

#endif
