/* SPDX-License-Identifier: MIT */
/* client.h - one client of the mux front end: its state, its lease, and what is sent to it. Calls no handler. For
 * daemon/front/mux/ and daemon/front/forward/ only. */
#ifndef SSHLEASE_FRONT_MUX_CLIENT_H
#define SSHLEASE_FRONT_MUX_CLIENT_H

#include "base/log.h"
#include "daemon/lease/lease.h"
#include "daemon/net/peer.h"
#include "daemon/net/socket.h"
#include "daemon/net/watch.h"
#include "proto/muxmsg.h"

#include <sys/queue.h>
#include <uv.h>

enum sl_mux_phase {
    SL_MUX_GREETING, /* connected, has not said HELLO */
    SL_MUX_READY,
    SL_MUX_STANDING,  /* gone, but for the forwards it has asked for; without a socket */
    SL_MUX_FINISHING, /* has been told all; its socket is closed when its lease has been given back */
    SL_MUX_LEAVING,   /* has no lease any more; the socket is finishing or closing */
};

/* Whose descriptors come next. */
enum sl_mux_fds { SL_MUX_FDS_NONE, SL_MUX_FDS_SESSION, SL_MUX_FDS_STDIO_FWD, SL_MUX_FDS_UNWANTED };

/* A client has one lease at most: its session and its forwards use it together. */
struct sl_mux_user_handler {
    /* It takes a while. NULL is fine. */
    void (*on_waiting)(void *arg, uint32_t position, uint32_t waited_ms, const char *reason);
    /* Streams may be opened: sl_lease_stream_open(client->lease, …). */
    void (*on_granted)(void *arg);
    /* The lease was refused, or is over by something else than its users' leaving; its streams do not call any more.
     * The last callback: the user is not on the list any more. */
    void (*on_lost)(void *arg, int status, const char *text);
};
struct sl_mux_user {
    TAILQ_ENTRY(sl_mux_user) link;
    const struct sl_mux_user_handler *handler;
    void *arg;
    const char *label; /* of the lease, when this user is the one to ask for it; NULL: "mux" */
    bool joined;       /* on the list: mux/lease.c's to say */
};
TAILQ_HEAD(sl_mux_user_list, sl_mux_user);

struct sl_mux_session;
struct sl_mux_forwards;
struct sl_mux_stdio;

struct sl_mux_client {
    TAILQ_ENTRY(sl_mux_client) link;
    struct sl_mux *mux;
    struct sl_socket *socket; /* NULL: closed */
    struct sl_who who;
    char *target;
    enum sl_mux_phase phase;
    enum sl_mux_fds fds;
    bool signals;      /* it is told our pid, and says by SIGWINCH that a window has changed */
    bool counts;       /* as one of its user's clients, */
    bool is_beyond;    /* or as one who is told that it is one too many */
    uint64_t heard_ms; /* when it last said something */
    char *refusal;     /* not NULL: this client is served nothing, and told so when it asks */

    struct sl_lease *lease; /* asked for, held or given back; NULL: none */
    struct sl_mux_user_list users;
    uv_timer_t renewal;

    struct sl_mux_session *session;   /* mux/session.c's; NULL: none */
    struct sl_mux_stdio *stdio;       /* forward/stdio.c's; NULL: none */
    struct sl_mux_forwards *forwards; /* forward/forward.c's; NULL: none */
    uint32_t sessions;                /* session ids given out */
};

TAILQ_HEAD(sl_mux_client_list, sl_mux_client);

struct sl_mux_sockets;

struct sl_mux {
    uv_loop_t *loop;
    const struct sl_log *log;
    struct sl_driver *driver;
    struct sl_watch *watch;
    struct sl_mux_client_list clients; /* who has said something last is the last */
    unsigned beyond;                   /* clients that are told that they are one too many */
    struct sl_mux_sockets *sockets;    /* mux/sockets.c's */
    struct sl_dialer *dialer;          /* for forwards that connect here */
    uv_signal_t winch;                 /* a client says that a window has changed */
    uv_timer_t look;                   /* for those who cannot say so */
    bool stopped;
};

/* --- what is sent --- */

/* Sends what `w` holds. */
void sl_mux_client_send(struct sl_mux_client *client, const struct sl_writer *w);
void sl_mux_client_ok(struct sl_mux_client *client, uint32_t rid);
/* `text`, without the "target NAME: " that may stand before it. */
const char *sl_mux_client_reason(const struct sl_mux_client *client, const char *text);
/* PERMISSION_DENIED or FAILURE; "target NAME: TEXT" is what it says. */
void sl_mux_client_refuse(struct sl_mux_client *client, enum sl_mux_type type, uint32_t rid, const char *text);
/* What a client cannot pass over in silence: an answer of no known type. */
void sl_mux_client_refuse_loudly(struct sl_mux_client *client, uint32_t rid, const char *text);
/* The one way into another phase. */
void sl_mux_client_move(struct sl_mux_client *c, enum sl_mux_phase to);
/* Nothing more is to be said: the socket is closed when the lease has been given back. Idempotent. */
void sl_mux_client_finish(struct sl_mux_client *client);
/* Nothing more is to be said, but its forwards stay, and with them the lease: only the socket is closed. */
void sl_mux_client_stand(struct sl_mux_client *client);
/* It has no socket any more, and no lease: off the list; its memory goes with its timer's handle. Idempotent. */
void sl_mux_client_forget(struct sl_mux_client *client);
/* It is none of its user's clients any more. Idempotent. */
void sl_mux_client_uncount(struct sl_mux_client *client);
/* One that is on no list yet. */
void sl_mux_client_free(struct sl_mux_client *client);

/* --- its lease (mux/lease.c) --- */

/* Adds a user, in the caller's memory; asks for a lease where there is none. When one is held already, on_granted is
 * called before this returns. 0 or SL_E_NOMEM; on an error no callback comes. Not of a client that is finishing. */
int sl_mux_lease_join(struct sl_mux_client *client, struct sl_mux_user *user);
/* No callback comes any more; nothing happens where that is so already. Where it was the last one, the lease is given
 * back: clean when all streams have ended, else reclaimed. */
void sl_mux_lease_leave(struct sl_mux_client *client, struct sl_mux_user *user);
/* The client is gone: a wait ends, a lease is reclaimed; users are told nothing. */
void sl_mux_lease_abandon(struct sl_mux_client *client);

#endif
