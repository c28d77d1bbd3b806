/* SPDX-License-Identifier: MIT */
/* remote.h - ports that the server listens on for us (tcpip-forward, RFC 4254 section 7.1): asked for, cancelled, and
 * what arrives on them. Knows nothing of where it leads. The public verbs are in transport.h and streams.h. */
#ifndef SSHLEASE_SSH_CHANNEL_REMOTE_H
#define SSHLEASE_SSH_CHANNEL_REMOTE_H

#include "daemon/ssh/channel/tenant.h"

/* With the gate open: takes what the server says to one that was asked for. Calls nobody. */
void sl_remote_pump(struct sl_conn *conn);
/* One turn for all of them; any may have ended, and the connection been closed, when it returns. */
void sl_remote_tick(struct sl_conn *conn);
/* Those of the tenant call nobody any more. */
void sl_remote_mute(struct sl_tenant *tenant);
/* As sl_remote_close(), each of the tenant's. */
void sl_remote_close_all(struct sl_tenant *tenant);
/* The tenant goes; what the server has not answered yet goes by itself. */
void sl_remote_disown(struct sl_tenant *tenant);
/* Every one gets its on_closed. The session may be gone already, and goes next: it frees what libssh2 has of them. */
void sl_remote_end_all(struct sl_conn *conn);

#endif
