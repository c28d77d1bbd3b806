/* SPDX-License-Identifier: MIT */
/* conn_base.h - one connection as the room's own modules see it: what it is made of, how its phase changes, how it asks
 * for its turn. Never takes the turn itself; never seen outside daemon/ssh. */
#ifndef SSHLEASE_SSH_SESSION_CONN_BASE_H
#define SSHLEASE_SSH_SESSION_CONN_BASE_H

#include "base/buf.h"
#include "daemon/ssh/session/packet_tap.h"
#include "daemon/ssh/transport.h"

#include <stdarg.h>
#include <sys/queue.h>

struct _LIBSSH2_SESSION;
struct sl_auth;
struct sl_chan;
struct sl_compat;
struct sl_dial;
struct sl_hostkey;
struct sl_job;
struct sl_kexinit;

/* Where a connection is in its life. Each is left only as the table in conn_base.c allows. */
enum sl_conn_phase {
    SL_CONN_PHASE_RESOLVING,
    SL_CONN_PHASE_CONNECTING,
    SL_CONN_PHASE_HANDSHAKE,
    SL_CONN_PHASE_HOST_KEY,
    SL_CONN_PHASE_AUTH,
    SL_CONN_PHASE_READY,
    SL_CONN_PHASE_DEAD,    /* failed or lost: waits for sl_conn_close() */
    SL_CONN_PHASE_CLOSING, /* sl_conn_close() was called; streams, session, socket and handles go, in this order */
    SL_CONN_PHASE_CLOSED,
};

/* The callbacks that are pending; delivered by the tick, never earlier. */
#define SL_PENDING_READY    1u
#define SL_PENDING_ANSWERED 2u
#define SL_PENDING_DRAINED  4u
#define SL_PENDING_LOST     8u
#define SL_PENDING_PONG     16u
#define SL_PENDING_CROWDED  32u

/* The one operation whose state libssh2 keeps in the session: at most one at a time. */
enum sl_op { SL_OP_NONE, SL_OP_OPEN, SL_OP_PING };

/* Where the session is while libssh2 works on it. */
enum sl_offloop {
    SL_ON_LOOP,       /* the loop's */
    SL_OFF_LOOP,      /* a worker's: nobody else touches session, queues or socket */
    SL_OFF_LOOP_DONE, /* the worker has answered; the tick has not looked yet */
};

/* What a connection that is ready is good for. Whoever waits on one that serves no commands is to move. */
enum sl_serves {
    SL_SERVES_COMMANDS,
    SL_SERVES_SWEEP,   /* it has run as many as it may: what they have left can still be ended */
    SL_SERVES_NOTHING, /* the server opens no session more */
};

TAILQ_HEAD(sl_chan_list, sl_chan);
TAILQ_HEAD(sl_stream_list, sl_stream);
TAILQ_HEAD(sl_remote_list, sl_remote);
TAILQ_HEAD(sl_tenant_list, sl_tenant);
TAILQ_HEAD(sl_run_queue, sl_conn);

#define SL_BANNER_MAX 255u

/* Marks what is started in one channel: base (the connection's), epoch (its tenant's), number. */
struct sl_cookie {
    uint32_t epoch, number;
};

/* What was received before the server's identification; only kept while it is awaited. */
struct sl_pre_banner {
    uint8_t byte[512];
    size_t len, at;
    size_t total;   /* bytes taken by libssh2 */
    char line[128]; /* the first line that was no identification */
    size_t line_len;
    bool past_first_line;
};

struct sl_conn {
    /* who and what */
    struct sl_transport *transport;
    struct sl_target_conf *target;
    struct sl_conn_handler handler;
    void *arg;
    TAILQ_ENTRY(sl_conn) run_link; /* in the transport's run queue; tqe_prev is NULL when it is not */
    enum sl_conn_phase phase;
    unsigned pending_callbacks;
    int lost_status;
    char *lost_text;

    /* dialing */
    struct sl_dial *dial;
    struct sl_hostkey *hostkey; /* what known_hosts says; freed when the key was checked */
    struct sl_auth *auth;       /* while it authenticates */
    char *address;
    char *server;
    char *fingerprint;
    uint64_t login_deadline_ms;
    struct sl_basis basis;

    /* io */
    struct _LIBSSH2_SESSION *session;
    int fd;    /* -1: none */
    int error; /* the first fatal errno of the socket; SEND and RECV fail from then on */
    uv_poll_t poll;
    uv_timer_t timer;
    uv_work_t work;
    unsigned handles; /* poll and timer: how many must still call back before the memory can go */
    void (*on_io_closed)(struct sl_conn *conn);
    int poll_events;
    uint64_t timer_ms; /* what the timer is set to */
    enum sl_offloop offloop;
    int (*offloop_step)(struct sl_conn *conn);
    int offloop_result;
    size_t recv_budget;  /* bytes RECV may still take this turn; 0: the gate is closed */
    bool maybe_readable; /* false: it has nothing until it polls readable */
    bool progressed;     /* something happened that asks for another round */
    struct sl_buf out;
    struct sl_pre_banner *pre_banner;
    struct sl_kexinit *server_kexinit; /* what the server offers; freed with the handshake */
    char *disconnect_text;             /* what the server's DISCONNECT said */
    int disconnect_reason;             /* its number, RFC 4253 section 11.1 */
    struct sl_packet_tap tap;
    uint64_t bytes_in; /* counted by RECV, in a worker too */
    uint64_t received; /* the same, as of the last turn; the loop's */
    uint64_t bytes_out;
    uint64_t last_received_ms;
    uint64_t ping_after; /* `received` when sl_conn_ping() was called; UINT64_MAX: no ping is awaited */

    /* channels */
    struct sl_chan_list chans;
    struct sl_stream_list streams;
    uint32_t chan_count;   /* session channels */
    uint32_t stream_count; /* of these `forward_count` are no sessions */
    uint32_t forward_count;
    struct sl_remote_list remotes;
    enum sl_op op;
    struct sl_chan *op_chan;
    int opened_last; /* kind of the last channel asked of the server: they take turns */
    uint64_t op_since_ms;
    uint32_t op_commands; /* `commands` when it was begun */
    uint32_t slot_limit;  /* session channels the server was seen to allow; UINT32_MAX: not known */
    uint64_t slot_limit_until_ms;
    bool open_refused; /* for good: streams that wait for a channel are to be told */
    unsigned open_refusals;
    uint64_t open_retry_ms;

    /* what the server does, as far as it differs; compat.h */
    struct sl_compat *compat; /* the target's */
    uint32_t compat_number;   /* what this connection sees is for that memory only */
    uint64_t env_proven;      /* variables that it took, by their places in that memory */
    uint32_t commands;        /* that have run on it and ended */
    uint32_t proved;          /* so many of them before something that it has answered since */
    uint64_t command_end_ms;  /* the last one's */
    uint64_t trial_ms;        /* a second session is tried since; 0: not */
    enum sl_serves serves;
    bool answered;       /* it has opened a stream */
    size_t long_command; /* bytes of one that was sent and is not answered, beyond SL_REQUEST_LONG; 0: none */

    /* leases */
    struct sl_tenant_list tenants;
    uint32_t epoch; /* counts tenants; part of the cookies */
    uint32_t next_cookie;
    char cookie_base[33];
};

/* The transport: what connections share. */
struct sl_transport {
    uv_loop_t *loop;
    const struct sl_log *log;
    struct sl_dialer *dialer;
    uv_check_t check; /* runs the queue right after polling, so that all events of one turn share one burst */
    uv_idle_t idle;   /* active while the queue holds somebody: polling then does not wait */
    struct sl_run_queue run;
    unsigned handles;
    uint8_t scratch[32768]; /* output on its way to a callback */
};

/* The only way to change the phase. */
void sl_conn_move(struct sl_conn *conn, enum sl_conn_phase to);
static inline bool sl_conn_is_dialing(const struct sl_conn *conn)
{
    return conn->phase < SL_CONN_PHASE_READY;
}
static inline bool sl_conn_is_closing(const struct sl_conn *conn)
{
    return conn->phase >= SL_CONN_PHASE_CLOSING;
}
/* Asks for a tick, soon. Cheap; any number of times. */
void sl_conn_schedule(struct sl_conn *conn);
/* Something was learned that people may want to know of: to the log. */
void sl_conn_learned(struct sl_conn *conn);
/* Takes that back: its memory is about to go. */
void sl_conn_unschedule(struct sl_conn *conn);
/* It is over: keeps status and "host:port: " with the text; on_lost follows. Only the first call counts. */
void sl_conn_die(struct sl_conn *conn, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "10.0.0.5:22", as the configuration names it. Returns `buf`. */
const char *sl_conn_name(const struct sl_conn *conn, char *buf, size_t size);
#define SL_CONN_NAME_SIZE 288u
uint64_t sl_conn_now(const struct sl_conn *conn);

#endif
