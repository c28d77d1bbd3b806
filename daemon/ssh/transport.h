/* SPDX-License-Identifier: MIT */
/* transport.h - SSH connections, and what a lease has on one, for daemon/lease; what its holder may do is streams.h. Hides
 * libssh2: nobody outside daemon/ssh knows it. All of it belongs to the loop's thread. No callback runs before the call
 * that caused it has returned. */
#ifndef SSHLEASE_SSH_TRANSPORT_H
#define SSHLEASE_SSH_TRANSPORT_H

#include "base/log.h"
#include "base/quota.h"
#include "config/conf.h"
#include "daemon/ssh/streams.h"

#include <uv.h>

struct sl_transport; /* one per loop: what all connections share */
struct sl_conn;      /* one SSH connection */
struct sl_compat;    /* what a target's server was seen to do; see compat.h */
struct sl_tenant;    /* what one lease has on a connection: its streams, its cookies, what must end with it */

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
/* The streams that it opens count as that user's; there is room for them, or SL_E_LIMIT. `quota` outlives the tenant. */
void sl_tenant_account(struct sl_tenant *tenant, struct sl_quota *quota, uid_t uid);
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

/* Asks for a stream; on_open follows. 0; SL_E_STREAM_LIMIT when too many are open (one is kept free for each tenant
 * that has none); SL_E_LIMIT when the tenant's user has too many; SL_E_CONNECTION_LOST; SL_E_NOMEM. On an error no
 * callback comes. */
int sl_stream_open(struct sl_tenant *tenant, const struct sl_stream_spec *spec, const struct sl_stream_handler *handler,
    void *arg, struct sl_stream **ret_stream);

/* Asks the server to listen on its address `host` ("": all, as its GatewayPorts says; "localhost" …) and `port` (0: one
 * of its choice); on_listening follows. 0; SL_E_STREAM_LIMIT, SL_E_CONNECTION_LOST, SL_E_NOMEM, then no callback comes.
 */
int sl_remote_open(struct sl_tenant *tenant, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote);

#endif
