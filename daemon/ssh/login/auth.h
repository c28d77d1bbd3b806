/* SPDX-License-Identifier: MIT */
/* auth.h - logs in: tries what the target has against what the server takes, until it is in or nothing is left. */
#ifndef SSHLEASE_SSH_LOGIN_AUTH_H
#define SSHLEASE_SSH_LOGIN_AUTH_H

#include "daemon/ssh/session/conn_base.h"

/* 0 or SL_E_NOMEM. The connection is scheduled whenever there is something to do. */
int sl_auth_new(struct sl_conn *conn, struct sl_auth **ret_auth);
void sl_auth_free(struct sl_auth *auth); /* wipes; NULL is fine; not while the session is off-loop */
/* One turn: 0 once the server has let us in; SL_E_AGAIN, also after the connection has died of it. */
int sl_auth_tick(struct sl_auth *auth);
/* What else than the server it waits for, to be put behind a sentence: ": the agent …", or "". Static. */
const char *sl_auth_delay(const struct sl_auth *auth);
/* Whether the server's next bytes are awaited. */
bool sl_auth_wants_read(const struct sl_auth *auth);

#endif
