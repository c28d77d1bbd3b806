/* SPDX-License-Identifier: MIT */
/* forward.h - a client's forwards and the connections they carry: what they are, and what happens to all of them.
 * For daemon/front/forward/ only. */
#ifndef SSHLEASE_FRONT_FORWARD_FORWARD_H
#define SSHLEASE_FRONT_FORWARD_FORWARD_H

#include "daemon/front/mux/client.h"
#include "daemon/front/mux/cmdline.h"
#include "daemon/net/listener.h"
#include "daemon/relay/relay.h"

/* Forwards of one client, and connections on them. */
#define SL_MUX_FORWARDS_MAX 32u
#define SL_MUX_CONNS_MAX    SL_FORWARDS_MAX
/* Of one forward: for IPv4, and for IPv6. */
#define SL_FORWARD_LISTENERS 2u

enum sl_forward_phase {
    SL_FORWARD_NEW,     /* who asks is being looked at */
    SL_FORWARD_WAITING, /* for the lease */
    SL_FORWARD_ASKING,  /* the server is asked to listen */
    SL_FORWARD_OPEN,
    SL_FORWARD_CLOSING, /* the server is told to listen no more */
};

/* One end of a forward: a TCP address, or, with SL_MUX_PORT_PATH for a port, the path of a Unix socket. */
struct sl_forward_end {
    char *host;
    uint32_t port;
};

struct sl_forward {
    TAILQ_ENTRY(sl_forward) link;
    struct sl_mux_forwards *owner;
    enum sl_mux_fwd_kind kind;
    enum sl_forward_phase phase;
    struct sl_forward_end listen, connect; /* as the client named them */
    uint32_t rid;
    bool answered;
    struct sl_listener *listener[SL_FORWARD_LISTENERS];
    bool counts; /* they are descriptors of its user's */
    struct sl_remote *remote;
    uint16_t port; /* of the server's, where it was the one to choose */
    bool full;     /* a connection waits at the server until another one has ended */
};

struct sl_forward_conn;

/* What the client seems to be, by its command line. It matters to how it can be refused: see sl_forward_refused(). */
enum sl_forward_client {
    SL_FORWARD_CLIENT_UNKNOWN,
    SL_FORWARD_CLIENT_CONTROL, /* ssh -O forward */
    SL_FORWARD_CLIENT_SESSION, /* ssh -L … that goes on to a session */
};

/* All of one client. It has a user of the client's lease as long as there is a forward or a connection. */
struct sl_mux_forwards {
    struct sl_mux_client *client;
    struct sl_mux_user user;
    struct sl_mux_cmdline *cmdline; /* under way; NULL: none */
    bool cmdline_read;
    enum sl_forward_client client_kind;
    bool limited; /* by a PermitRemoteOpen that was seen */
    enum { SL_FORWARDS_NOT_ASKED, SL_FORWARDS_ASKING, SL_FORWARDS_GRANTED, SL_FORWARDS_OVER } lease;
    TAILQ_HEAD(, sl_forward) forwards;
    TAILQ_HEAD(, sl_forward_conn) conns;
    unsigned conn_count;
    char label[256];
};

/* --- forward/list.c: forwards as such --- */

/* A remote forward without a destination: who connects there says by SOCKS where to. */
bool sl_forward_is_socks_there(const struct sl_forward *f);
/* Whether `f` is what `fwd` names. */
bool sl_forward_is(const struct sl_forward *f, const struct sl_mux_fwd *fwd);
/* A new one in the client's list; makes the list. NULL when out of memory. */
struct sl_forward *sl_forward_add(struct sl_mux_client *client, const struct sl_mux_fwd *fwd, uint32_t rid);
/* "-L 127.0.0.1:8080:web:80", with '?' for what does not belong on a terminal. Returns `buf`. */
#define SL_FORWARD_NAME_SIZE 320u
const char *sl_forward_name(const struct sl_forward *f, char *buf, size_t size);
/* The one way into another phase. */
void sl_forward_move(struct sl_forward *f, enum sl_forward_phase to);
/* It is open; the client is told. */
void sl_forward_opened(struct sl_forward *f);
/* It cannot be had: logged, and the client is told so that it gives up and says why. `ssh -O forward` does on FAILURE;
 * an ssh that wants a session would open a connection of its own then, so it is told OK, and the reason in the answer
 * to the ALIVE_CHECK that comes next. Whoever may be either gets an answer that it does not know. The forward is gone.
 */
void sl_forward_refused(struct sl_forward *f, const char *text);
/* The same, but the forward is not gone yet. */
void sl_forward_tell_refused(struct sl_forward *f, const char *text);
/* It is over, or was never open: closed at this end, forgotten. */
void sl_forward_free(struct sl_forward *f, const char *why);
/* Gives the lease back and frees the list when nothing is left in it. */
void sl_forwards_settle(struct sl_mux_forwards *fs);

/* --- forward/conn.c: connections --- */

/* Somebody has connected to a port or path of ours; takes `fd` over. */
void sl_forward_conn_local(struct sl_forward *f, int fd);
/* Somebody has connected to a port of the server's: a stream of the lease to wherever the forward leads. SL_E_AGAIN:
 * nobody; SL_E_STREAM_LIMIT: it waits. */
int sl_forward_conn_remote(struct sl_forward *f);
/* As soon as it can be done in order; the lease is still held. */
void sl_forward_conns_close(struct sl_mux_forwards *fs);
/* At once; the lease is over, its streams do not call any more. */
void sl_forward_conns_drop(struct sl_mux_forwards *fs);

/* --- forward/permit.c --- */

/* "web:80" or "[::1]:80", as the setting has it. Returns `buf`. */
#define SL_FORWARD_DESTINATION_SIZE 300u
const char *sl_forward_destination(const char *host, uint16_t port, char *buf, size_t size);
/* Whether a forward from the server's side may lead there (permit_remote_open). */
bool sl_forward_permits(const struct sl_mux_client *client, const char *host, uint16_t port);
/* Whether there is anywhere that it may lead. */
bool sl_forward_permits_some(const struct sl_mux_client *client);

/* --- forward/open.c --- */

/* The lease is there: listens here, or asks the server to; sl_forward_opened() or sl_forward_refused() follows, or was
 * called. */
void sl_forward_open(struct sl_forward *f);
/* Whether it may be had at all; if not, why, in `text`. */
bool sl_forward_allowed(const struct sl_forward *f, char *text, size_t size);
/* Listens no more: gone at once, or when the server was told. */
void sl_forward_close(struct sl_forward *f, const char *why);

#endif
