/* SPDX-License-Identifier: MIT */
/* session.h - a libssh2 session from its settings to its end: handshake, host key, and what its errors mean.
 * Knows no channel's purpose and no uv. */
#ifndef SSHLEASE_SSH_SESSION_SESSION_H
#define SSHLEASE_SSH_SESSION_SESSION_H

#include "daemon/ssh/keys/known_hosts.h"
#include "daemon/ssh/session/conn_base.h"

/* What a command, or a variable with its name, may have: what the library sends in one packet. The build of a library
 * that sends packets as long as OpenSSH takes them says so by defining this. */
#ifndef SL_LIBSSH2_SENDS_LARGE_PACKETS
#define SL_LIBSSH2_SENDS_LARGE_PACKETS 0
#endif
#if SL_LIBSSH2_SENDS_LARGE_PACKETS
#define SL_REQUEST_MAX 262000u
#define SL_REQUEST_WHY "a packet of OpenSSH's has no room for more"
#else
#define SL_REQUEST_MAX 34000u
#define SL_REQUEST_WHY "the libssh2 that sshleased was built with sends no more"
#endif
/* A server may mind a longer one: dropbear ends the connection at 9000 bytes, and no packet over 35000 need be taken
 * (RFC 4253 section 6.1). */
#define SL_REQUEST_LONG 8192u

/* Before the first step. 0, SL_E_NOMEM or SL_E_INTERNAL. */
int sl_session_prepare(struct sl_conn *conn, const struct sl_known_keys *known);
/* Frees what is kept of the server's offer; also when the session is gone. */
void sl_session_forget_offer(struct sl_conn *conn);
/* One step of the handshake, for a worker; its result is for sl_session_handshake_result(): 0, SL_E_AGAIN, or the
 * connection has died. */
int sl_session_handshake_step(struct sl_conn *conn);
int sl_session_handshake_result(struct sl_conn *conn, int result);
/* The server's key, in the session's memory; NULL when there is none. */
const uint8_t *sl_session_host_key(struct sl_conn *conn, size_t *ret_len);

/* Whether libssh2's answer is about one request only; otherwise the session is over. */
bool sl_session_survives(int result);
/* The connection dies of a libssh2 error, or of its socket's. */
void sl_session_failed(struct sl_conn *conn, int result);
void sl_session_lost(struct sl_conn *conn);
/* DISCONNECT into the out-queue, where it can be said at all. */
void sl_session_say_goodbye(struct sl_conn *conn);

/* What an EBADMSG of the connection is called. */
#define SL_DAMAGED_TEXT "a packet was damaged on its way (wrong MAC)"

#endif
