/* SPDX-License-Identifier: MIT */
/* channel.h - SSH channels: pre-opening sessions, opening others as asked, closing, and the ping. Knows nothing of
 * what runs in them. */
#ifndef SSHLEASE_SSH_CHANNEL_CHANNEL_H
#define SSHLEASE_SSH_CHANNEL_CHANNEL_H

#include "daemon/ssh/channel/tenant.h"

struct _LIBSSH2_CHANNEL;

enum sl_chan_kind {
    SL_CHAN_SESSION,
    SL_CHAN_DIRECT,    /* direct-tcpip, direct-streamlocal: opened when it is asked for */
    SL_CHAN_FORWARDED, /* the server opened it, for one of our listeners */
};

enum sl_chan_state {
    SL_CHAN_NEW,
    SL_CHAN_ASKED,   /* waits for its turn to be opened */
    SL_CHAN_OPENING, /* the session's one operation */
    SL_CHAN_REFUSED, /* so its requester is to learn; never was one */
    SL_CHAN_HELD,    /* open, unused */
    SL_CHAN_USED,    /* a stream's or the sweep's */
    SL_CHAN_LIMBO,   /* given up while a request was unanswered: closed, but never freed; taints the connection */
    SL_CHAN_CLOSING, /* our CLOSE is due or sent, theirs awaited */
};

/* How far the server's side has ended. */
enum sl_chan_end { SL_CHAN_END_NONE, SL_CHAN_END_EOF, SL_CHAN_END_CLOSE };

/* What was seen of how the command ended, beyond what libssh2 tells. */
enum sl_chan_exit { SL_EXIT_NONE, SL_EXIT_STATUS_CAME, SL_EXIT_SIGNAL_CAME, SL_EXIT_CORE_DUMPED };

enum sl_cookie_state {
    SL_COOKIE_NONE, /* not sent yet */
    SL_COOKIE_SENT,
    SL_COOKIE_ACCEPTED,
    SL_COOKIE_REFUSED,
    SL_COOKIE_OMITTED, /* it is not wanted, or the server is known to mind */
};

/* The last environment variable that was sent on a channel. */
struct sl_question {
    bool is_out;       /* unanswered */
    bool proven;       /* the connection took the same variable before */
    bool taken;        /* what libssh2 said */
    char name[64];     /* cut */
    uint64_t since_ms; /* when it was sent */
    uint64_t answer;   /* the answer's place in the order of arrival, as the packet tap saw it */
};

/* How a channel that was asked for is opened. */
struct sl_chan_request {
    const char *type;
    uint8_t *message; /* what follows the type in CHANNEL_OPEN */
    size_t message_len;
    bool cancelled; /* while it was being opened */
    char why[192];  /* it was refused */
};

struct sl_chan {
    TAILQ_ENTRY(sl_chan) link;
    enum sl_chan_kind kind;
    struct sl_chan_request *request; /* SL_CHAN_DIRECT until it is open */
    struct sl_conn *conn;
    struct sl_tenant *tenant; /* whose stream or sweep uses it, until its close is confirmed; NULL: nobody's */
    struct _LIBSSH2_CHANNEL *ch;
    enum sl_chan_state state;
    enum sl_cookie_state cookie;
    struct sl_cookie mark; /* once the cookie was sent */
    struct sl_question question;
    uint32_t window; /* bytes that the server may send before they are read */
    uint32_t number; /* ours, as the wire names it; SL_PACKET_TAP_NO_CHANNEL when it was not seen */
    enum sl_chan_end end;
    enum sl_chan_exit exit;
    size_t read_size; /* of the read that was answered EAGAIN and must be repeated just so; 0: any */
};

/* The random part of this connection's cookies. 0 or SL_E_INTERNAL. */
int sl_chan_make_cookie_base(struct sl_conn *conn);
/* "<base>-<epoch>-<number>." Returns `buf`. */
const char *sl_chan_cookie(const struct sl_conn *conn, struct sl_cookie mark, char *buf);

/* Takes what the gate lets through and sorts it to its channels. With no channel to do so, starts a ping. */
void sl_chan_pump(struct sl_conn *conn);
/* One turn: goes on with what is being opened, pinged, closed; opens what is wanted. `needed`: how many channels are
 * waited for. */
void sl_chan_tick(struct sl_conn *conn, uint32_t needed);
uint64_t sl_chan_deadline(const struct sl_conn *conn);

/* Whether a ping may be sent: not to a server that minds, nor, where that is not known, while a channel is in use. */
bool sl_chan_may_ping(const struct sl_conn *conn);
/* A held channel, now used for `tenant`; NULL when there is none. */
struct sl_chan *sl_chan_take(struct sl_tenant *tenant);
/* Asks for a channel of another type; `type` is static, `message` is taken over, on failure too. Its state becomes USED
 * or REFUSED by and by: the server has as long as a connect_timeout. NULL when out of memory. */
struct sl_chan *sl_chan_ask(struct sl_tenant *tenant, const char *type, uint8_t *message, size_t message_len);
/* The requester is done with one that is not USED. An open that is under way is given up. */
void sl_chan_unask(struct sl_chan *chan);
/* Takes a channel that the server has opened for `tenant` (NULL: for one that is over); NULL when out of memory, the
 * channel stays the caller's then. */
struct sl_chan *sl_chan_adopt(struct sl_conn *conn, struct sl_tenant *tenant, struct _LIBSSH2_CHANNEL *ch);
/* The user gives it up: it is closed later. `unanswered`: a request of the user's is still out. */
void sl_chan_close(struct sl_chan *chan, bool unanswered);
/* The user gives it back unused: nothing was started in it, and it is of no use to anybody. */
void sl_chan_give_up(struct sl_chan *chan);
/* One step of closing it, for a user who waits: 0 when the server has confirmed and `chan` is freed, SL_E_AGAIN, or the
 * connection has died. */
int sl_chan_step_close(struct sl_chan *chan);
/* Looks how far the server's side has ended: updates and returns chan->end. */
enum sl_chan_end sl_chan_look(struct sl_chan *chan);

void sl_chan_saw_exit(struct sl_conn *conn, uint32_t number, enum sl_chan_exit exit);
/* The session is about to be freed, and the channels with it. */
void sl_chan_forget_all(struct sl_conn *conn);

#endif
