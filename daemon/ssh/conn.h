/* SPDX-License-Identifier: MIT */
/* conn.h - the turn of a connection, for the transport that gives it. Nothing below knows of it. */
#ifndef SSHLEASE_SSH_CONN_H
#define SSHLEASE_SSH_CONN_H

#include "daemon/ssh/session/conn_base.h"

/* One turn: everything that can be done now. The connection may be freed when this returns. */
void sl_conn_tick(struct sl_conn *conn);

#endif
