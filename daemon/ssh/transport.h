/* SPDX-License-Identifier: MIT */
/* transport.h - SSH connections and streams as the daemon sees them. Hides libssh2: nobody outside daemon/ssh knows it.
 * All of it belongs to the loop's thread. No callback runs before the call that caused it has returned. */
#ifndef SSHLEASE_SSH_TRANSPORT_H
#define SSHLEASE_SSH_TRANSPORT_H

#include "base/log.h"
#include "config/conf.h"

#include <uv.h>

struct sl_transport; /* one per loop: what all connections share */
struct sl_conn;      /* one SSH connection */
struct sl_compat;    /* what a target's server was seen to do; see compat.h */
struct sl_tenant;    /* what one lease has on a connection: its streams, its cookies, what must end with it */
struct sl_stream;    /* one channel that a lease uses */
struct sl_remote;    /* one port of the server's that is listened on for us */

/* 0 or SL_E_NOMEM/SL_E_INTERNAL. `log` (NULL: no log) is borrowed for the transport's life. */
int sl_transport_new(uv_loop_t *loop, const struct sl_log *log, struct sl_transport **ret_transport);
/* Only when every connection has said on_closed; the loop must run once more for what it closes. NULL is fine. */
void sl_transport_free(struct sl_transport *transport);
/* "libssh2 1.11.1 (Debian 1.11.1-1+deb13u2), OpenSSL 3.0.17". Static. */
const char *sl_transport_version(void);

/* What a configuration may name, and what is offered where it names nothing. 0, SL_E_NOMEM or SL_E_INTERNAL; the caller
 * frees it. */
int sl_transport_algorithms(struct sl_algorithms *ret_algorithms);

/* What is learned of a target's server on its connections, and outlives them: 4 KiB. NULL: out of memory. */
struct sl_compat *sl_compat_new(void);
/* Only when no connection is left that it was given to. NULL is fine. */
void sl_compat_free(struct sl_compat *compat);
/* Another machine may answer from now on: nothing is known of it. */
void sl_compat_reset(struct sl_compat *compat);
/* Somebody may have mended the server: what it minds is to be found out again. */
void sl_compat_forgive(struct sl_compat *compat);
/* For a person: what differs from other servers, "" where nothing does. Returns `buf`. */
const char *sl_compat_describe(const struct sl_compat *compat, uint64_t now_ms, char *buf, size_t size);

/* --- connections --- */

/* What could be done on the far side of a reclaimed lease. */
struct sl_drain_report {
    uint32_t streams;   /* streams that were open */
    uint32_t signalled; /* of those, ended after our signals */
    uint32_t swept;     /* processes the sweep ended */
    uint32_t remaining; /* processes known to be still there */
    bool sweep_ran;     /* the sweep ran to its end: `remaining` is exact */
    const char *text; /* when something could not be ended or not be known: why. Valid during the callback; else NULL */
};

struct sl_conn_handler {
    /* Authenticated and usable. */
    void (*on_ready)(void *arg);
    /* The dial failed, or the connection died; `text` is for a person and names what happened. Comes at most once; its
     * streams have had their on_end before. Nothing but sl_conn_close() is left to do. */
    void (*on_lost)(void *arg, int status, const char *text);
    /* The server has opened a stream for us: the login was worth something. Comes once. */
    void (*on_answered)(void *arg);
    /* Bytes were received after sl_conn_ping(). */
    void (*on_pong)(void *arg);
    /* The tenant is gone when this returns. */
    void (*on_drained)(void *arg, struct sl_tenant *tenant, const struct sl_drain_report *report);
    /* Gone, with its file descriptor and its memory: the last callback. */
    void (*on_closed)(void *arg);
    /* This tenant has to go on elsewhere: the server opens no session for it beside those of others (MaxSessions), or
     * the connection is spent or lost, and nothing of the tenant's is under way on it. sl_tenant_park() is possible
     * now. Until then its streams wait, as long as any wait to be opened. NULL: they are refused instead. For a
     * connection that was lost it comes before on_lost. */
    void (*on_crowded)(void *arg, struct sl_tenant *tenant);
};

/* Starts to dial: name resolution, TCP, handshake, host key, authentication; then on_ready or on_lost. Takes a
 * reference to `target`; `compat` is borrowed until on_closed. 0 or SL_E_NOMEM; on an error no callback comes. */
int sl_conn_open(struct sl_transport *transport, struct sl_target_conf *target, struct sl_compat *compat,
    const struct sl_conn_handler *handler, void *arg, struct sl_conn **ret_conn);
/* Whether it serves no command more: max_uses is reached, or the server opens no more sessions on it, or has ended it.
 */
bool sl_conn_is_spent(const struct sl_conn *conn);

/* Asks for a sign of life; one round trip, no session slot. Harmless while one is under way. */
void sl_conn_ping(struct sl_conn *conn);
/* uv_now() when bytes were last received. */
uint64_t sl_conn_last_received_ms(const struct sl_conn *conn);

/* Closes: DISCONNECT where it can be sent without waiting, then the socket. Streams still open get on_end (UNKNOWN)
 * first. Idempotent, legal in every state, from any callback but on_closed. on_closed follows. */
void sl_conn_close(struct sl_conn *conn);

/* What a login is made of, as numbers that change when it does; 0: not known, or it did not get that far. */
struct sl_basis {
    uint64_t host_keys; /* what known_hosts says of the host */
    uint64_t keys;      /* the files: keys, certificates, the passphrase */
    uint64_t password;  /* the file that it is in */
    uint64_t agent;     /* the keys that it lists, or that it cannot be asked */
    bool password_sent;
};
/* What this connection was made of, as it was read for it. */
void sl_conn_basis(const struct sl_conn *conn, struct sl_basis *ret_basis);

/* Looks what a login would be made of now. `addresses`, where they were asked for and the name resolves: each as in
 * sl_conn_info() and a line feed; else NULL. Both are valid during the call. */
struct sl_basis_look;
typedef void (*sl_basis_fn)(void *arg, const struct sl_basis *basis, const char *addresses);
/* Calls `fn` once, on the loop, never before this returns. It may take as long as a file system, a resolver or an agent
 * does. Takes a reference to `target`. 0 or SL_E_NOMEM. */
int sl_basis_look(struct sl_transport *transport, struct sl_target_conf *target, bool resolves, sl_basis_fn fn,
    void *arg, struct sl_basis_look **ret_look);
/* `fn` will not be called. NULL is fine. Not after `fn`. */
void sl_basis_forget(struct sl_basis_look *look);

struct sl_conn_info {
    const char *server;      /* the server's identification string, "" before it is known */
    const char *fingerprint; /* "SHA256:…" of its host key, "" before */
    const char *address;     /* "192.0.2.7:22", "" before */
    uint64_t bytes_in, bytes_out;
    uint32_t streams;      /* open now */
    uint32_t stream_limit; /* as learned from the server, at most the policy's */
};
void sl_conn_info(const struct sl_conn *conn, struct sl_conn_info *ret_info);

/* --- tenants: a lease on a connection; several where the target shares connections --- */

/* A lease begins on a connection that is ready. Pre-opens a session channel where none is. The tenant lives until
 * sl_tenant_end(), its on_drained or the connection's on_closed, whichever is first. 0 or SL_E_NOMEM. On a connection
 * that was lost meanwhile it is to go on elsewhere at once; no on_crowded comes. */
int sl_tenant_begin(struct sl_conn *conn, struct sl_tenant **ret_tenant);
/* Whether the lease may be given back clean: no stream and no port is open, every close confirmed, nothing half sent.
 * What other tenants do does not matter. */
bool sl_tenant_is_clean(const struct sl_tenant *tenant);
/* It was clean, or parked, and is gone. Nothing on the far side is touched. Streams that were parked with it get on_end
 * (UNKNOWN) before this returns: the one exception to the rule above. */
void sl_tenant_end(struct sl_tenant *tenant);
/* Whether it is to go on elsewhere still: it may have been closed, or refused in the end. */
bool sl_tenant_is_crowded(const struct sl_tenant *tenant);
bool sl_tenant_is_parked(const struct sl_tenant *tenant);
/* Takes a crowded tenant off its connection, its waiting streams with it. They take input meanwhile, and the tenant
 * takes further streams, but nothing of it calls back. One that is parked already stays so. */
void sl_tenant_park(struct sl_tenant *tenant);
/* A parked tenant goes on, on a connection that is ready. Its streams wait to be opened there. */
void sl_tenant_move(struct sl_tenant *tenant, struct sl_conn *conn);
/* Cleans up after a reclaimed lease: TERM and, after the target's kill_grace, KILL to each of its open streams, then
 * the sweep for everything that carries one of its cookies; then on_drained, in bounded time (kill_grace + 10 s). Its
 * open streams get on_end (UNKNOWN) as they go. Other tenants' streams are left alone. Idempotent. */
void sl_tenant_drain(struct sl_tenant *tenant);
/* Its streams that are open now. */
uint32_t sl_tenant_streams(const struct sl_tenant *tenant);
/* Nobody hears of its streams and ports any more: they are dead for whoever opened them, and go on to their ends as they
 * are. Idempotent; legal within a callback of any of them. */
void sl_tenant_mute(struct sl_tenant *tenant);

/* --- streams --- */

/* Bytes a stream takes towards the server before the writer has to wait for on_sent. */
#define SL_STREAM_WINDOW 262144u

struct sl_stream_pty {
    const char *term;
    uint32_t cols, rows, width_px, height_px;
    const uint8_t *modes; /* RFC 4254 section 8; NULL: none */
    size_t modes_len;
};
struct sl_stream_env {
    const char *name, *value;
};
/* Everything is copied. */
struct sl_stream_spec {
    /* EXEC to SUBSYSTEM have the numbers of the wire. The rest are forwards: the server connects to `host` and `port`,
     * or to the socket at `path`, within the target's connect_timeout. They have no stderr, signals, pty or
     * environment. */
    enum { SL_SPEC_EXEC = 1, SL_SPEC_SHELL = 2, SL_SPEC_SUBSYSTEM = 3, SL_SPEC_TCP = 16, SL_SPEC_UNIX = 17 } kind;
    const char *command;             /* or the subsystem's name; NULL for a shell */
    const char *host, *path;         /* of a forward */
    uint16_t port;                   /* of a forward */
    const char *origin;              /* a forward's originator, for the server's log; NULL: 127.0.0.1 */
    uint16_t origin_port;            /* 0: none */
    const struct sl_stream_pty *pty; /* NULL: none */
    const struct sl_stream_env *env; /* only what the target's send_env lets pass is sent; refusals are ignored */
    size_t env_count;
    size_t credit; /* bytes of output that may be delivered before the first sl_stream_credit() */
};

struct sl_stream_result {
    /* STATUS to UNKNOWN have the numbers of the wire; CLOSED is the orderly end of a forward, which has no status. */
    enum { SL_RESULT_STATUS = 0, SL_RESULT_SIGNAL = 1, SL_RESULT_UNKNOWN = 2, SL_RESULT_CLOSED = 16 } how;
    uint32_t exit_status;
    const char *signal; /* "TERM"; valid during the callback */
    bool core_dumped;
    const char *text; /* why it is unknown, or ""; valid during the callback */
};

struct sl_stream_handler {
    /* The server said yes (status 0) or no (SL_E_STREAM_REFUSED, SL_E_STREAM_LIMIT …; on_end follows at once). */
    void (*on_open)(void *arg, int status, const char *text);
    /* Output; `fd` 0 is stdout, 1 stderr. Never more than the credit given; `data` is valid during the callback. */
    void (*on_data)(void *arg, int fd, const uint8_t *data, size_t len);
    /* stdout and stderr have both ended. */
    void (*on_eof)(void *arg);
    /* So many bytes given to sl_stream_write() have left our buffer: there is room for as many again. */
    void (*on_sent)(void *arg, size_t len);
    /* How the command ended, while its output may go on: a child of it may have that open. At most once, and not where
     * on_end says it at once. NULL: nobody asks. `result` is valid during the callback, and never UNKNOWN. */
    void (*on_exit)(void *arg, const struct sl_stream_result *result);
    /* The last callback; the stream is freed when it returns. Comes once for every stream that was made. */
    void (*on_end)(void *arg, const struct sl_stream_result *result);
};

/* Forwards of one connection that may be open at once; the policy's `streams` are about the others. */
#define SL_FORWARDS_MAX 64u

/* Asks for a stream; on_open follows. 0; SL_E_STREAM_LIMIT when too many are open (one is kept free for each tenant
 * that has none); SL_E_CONNECTION_LOST; SL_E_NOMEM. On an error no callback comes. */
int sl_stream_open(struct sl_tenant *tenant, const struct sl_stream_spec *spec, const struct sl_stream_handler *handler,
    void *arg, struct sl_stream **ret_stream);
/* Copies `data`. 0; SL_E_PROTOCOL beyond SL_STREAM_WINDOW unsent bytes, or after sl_stream_eof(); SL_E_NOMEM. What
 * comes after the remote end closed is dropped silently (and reported as sent), as a pipe without a reader would. */
int sl_stream_write(struct sl_stream *stream, const void *data, size_t len);
void sl_stream_eof(struct sl_stream *stream);
/* So many bytes more may be delivered by on_data. */
void sl_stream_credit(struct sl_stream *stream, size_t len);
/* Nobody reads the output any more: true where the server will be told so (OpenSSH's, once). Then the command gets
 * SIGPIPE at its next write, and the server stops reading its errors, too. What is under way is delivered. */
bool sl_stream_unread(struct sl_stream *stream);
/* Name without SIG. Sent in order with data; no answer exists (RFC 4254 section 6.9). */
void sl_stream_signal(struct sl_stream *stream, const char *name);
void sl_stream_resize(struct sl_stream *stream, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px);
/* The client wants no more of it: a hang-up, then TERM and, after kill_grace, KILL where the command has not ended,
 * then the channel's close; on_end when the server confirmed, or could not in time. Output is dropped from here on.
 * Idempotent. */
void sl_stream_close(struct sl_stream *stream);

/* --- ports of the server's (tcpip-forward) --- */

/* Open at once on one connection, and connections that wait to be accepted on one of them; beyond it the server is told
 * "resource shortage". Accepted ones count as forwards, at most SL_ACCEPTED_MAX of them: each may fill 2 MiB. */
#define SL_REMOTES_MAX  16u
#define SL_REMOTE_QUEUE 16u
#define SL_ACCEPTED_MAX 32u

struct sl_remote_handler {
    /* The server listens (status 0) on `port`; or SL_E_STREAM_REFUSED, on_closed follows at once. */
    void (*on_listening)(void *arg, int status, uint16_t port, const char *text);
    /* A connection waits for sl_remote_accept(). Comes once for each that reaches the head of the queue. */
    void (*on_connection)(void *arg);
    /* The last callback; the object is freed when it returns. */
    void (*on_closed)(void *arg);
};

/* Asks the server to listen on its address `host` ("": all, as its GatewayPorts says; "localhost" …) and `port` (0: one
 * of its choice); on_listening follows. 0; SL_E_STREAM_LIMIT, SL_E_CONNECTION_LOST, SL_E_NOMEM, then no callback comes.
 */
int sl_remote_open(struct sl_tenant *tenant, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote);
/* The connection at the head of the queue as a stream; on_open follows. 0; SL_E_AGAIN when none
 * waits; SL_E_STREAM_LIMIT: it goes on waiting; SL_E_NOMEM. */
int sl_remote_accept(struct sl_remote *remote, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream);
/* Cancels; what waits is turned away, what was accepted stays. on_closed follows when the server was told. Idempotent.
 */
void sl_remote_close(struct sl_remote *remote);

#endif
