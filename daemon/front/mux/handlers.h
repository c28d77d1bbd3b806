/* SPDX-License-Identifier: MIT */
/* handlers.h - what mux.c hands a client's messages and descriptors to, and what it tells them of its end. */
#ifndef SSHLEASE_FRONT_MUX_HANDLERS_H
#define SSHLEASE_FRONT_MUX_HANDLERS_H

#include "daemon/front/mux/client.h"

/* The message borrows its frame: valid during the call. Where it returns having set client->fds, mux.c waits for as
 * many descriptors as belong to it before it looks at the next frame, and then calls the handler whose name
 * ends in _fds. */

/* mux/session.c */
void sl_mux_on_new_session(struct sl_mux_client *client, const struct sl_mux_msg *msg);
/* The session's SL_MUX_SESSION_FDS descriptors, its own from here on. */
void sl_mux_on_session_fds(struct sl_mux_client *client, const int fd[SL_MUX_SESSION_FDS]);
/* The window of its terminal may have changed. */
void sl_mux_session_look(struct sl_mux_client *client);
/* Whether its terminal has to be looked at, because the client cannot tell. */
bool sl_mux_session_unwatched(const struct sl_mux_client *client);
/* A session without a shell, which is there for its forwards: it ends. */
void sl_mux_session_terminate(struct sl_mux_client *client);
/* The client is gone, or the daemon stops: frees the session. Where `tell`, what can be said is said first. */
void sl_mux_session_drop(struct sl_mux_client *client, bool tell);

/* forward/forward.c */
void sl_mux_on_open_fwd(struct sl_mux_client *client, const struct sl_mux_msg *msg);
void sl_mux_on_close_fwd(struct sl_mux_client *client, const struct sl_mux_msg *msg);
/* Whether the client has asked for forwards and nothing else, and has been answered: then it need not stay. */
bool sl_mux_forwards_stand(struct sl_mux_client *client);
/* The client's session has ended: its forwards end in order, and its lease is given back. */
void sl_mux_forwards_end(struct sl_mux_client *client);
/* The client is gone, or the daemon stops, and its lease abandoned: frees its forwards. */
void sl_mux_forwards_drop(struct sl_mux_client *client);

/* forward/stdio.c */
void sl_mux_on_stdio_fwd(struct sl_mux_client *client, const struct sl_mux_msg *msg);
/* The stdio forward's SL_MUX_STDIO_FWD_FDS descriptors, its own from here on. */
void sl_mux_on_stdio_fwd_fds(struct sl_mux_client *client, const int fd[SL_MUX_STDIO_FWD_FDS]);
/* The client is gone, or the daemon stops: frees it. */
void sl_mux_stdio_drop(struct sl_mux_client *client);

/* mux/info.c */
void sl_mux_on_ext_info(struct sl_mux_client *client, const struct sl_mux_msg *msg);

#endif
