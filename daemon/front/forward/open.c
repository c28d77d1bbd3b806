/* SPDX-License-Identifier: MIT */
/* Where a forward listens, and what may be had at all:
 *   -L, -D  a port or a Unix socket of this machine
 *   -R      a port of the server's: it is asked, and says yes or no; where it leads may be for SOCKS to say
 * The daemon must not be made to do for a client what the client may not do itself: where it runs as another user than
 * the client, it makes no Unix socket for it and connects to none; as a system service it listens on loopback addresses
 * only, and connects for the server's side to where permit_remote_open says. */
#include "daemon/front/forward/forward.h"
#include "proto/status.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- what may be had ---------------------------------------------------------------------------------------------- */

static bool is_path(const struct sl_forward_end *end)
{
    return end->port == SL_MUX_PORT_PATH;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (host[0] == '\0' || strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static const char *check_path(const struct sl_forward *f, const struct sl_forward_end *end)
{
    if (f->owner->client->who.uid != getuid())
        return "sshleased runs as another user than you and makes or opens no Unix socket for you; use a port";
    return end->host[0] == '/' ? NULL : "the path of a Unix socket has to begin with /";
}

static const char *check_listening_here(const struct sl_forward *f)
{
    const struct sl_mux *mux = f->owner->client->mux;
    if (is_path(&f->listen))
        return f->kind == SL_MUX_FWD_DYNAMIC ? "a dynamic forward listens on a port" : check_path(f, &f->listen);
    if (f->listen.port == 0 || f->listen.port > UINT16_MAX)
        return "there is no such port to listen on";
    if (!sl_driver_conf(mux->driver)->one_user && !is_loopback(f->listen.host))
        return "sshleased as a system service listens on loopback addresses only";
    return NULL;
}

static const char *check_socks_there(const struct sl_forward *f)
{
    if (f->owner->limited)
        return "ssh does not pass PermitRemoteOpen on; leave it out: the target's permit_remote_open counts";
    return sl_forward_permits_some(f->owner->client) ? NULL
                                                     : "-R may lead nowhere: the target's permit_remote_open is none";
}

static const char *check_listening_there(const struct sl_forward *f)
{
    if (is_path(&f->listen))
        return "sshleased cannot have the server listen on a Unix socket; use a port";
    if (f->listen.port > UINT16_MAX)
        return "there is no such port to listen on";
    if (sl_forward_is_socks_there(f))
        return check_socks_there(f);
    return is_path(&f->connect) ? check_path(f, &f->connect) : NULL;
}

static bool may_lead_there(const struct sl_forward *f, char *text, size_t size)
{
    const struct sl_forward_end *to = &f->connect;
    char where[SL_FORWARD_DESTINATION_SIZE], quoted[SL_LOG_QUOTE_SIZE];
    if (f->kind != SL_MUX_FWD_REMOTE || is_path(to) || sl_forward_is_socks_there(f) ||
        sl_forward_permits(f->owner->client, to->host, (uint16_t)to->port))
        return true;
    (void)sl_forward_destination(to->host, (uint16_t)to->port, where, sizeof where);
    snprintf(text, size, "-R may not lead to %s: the target's permit_remote_open does not name it",
        sl_log_quote(quoted, sizeof quoted, where));
    return false;
}

bool sl_forward_allowed(const struct sl_forward *f, char *text, size_t size)
{
    const char *why = f->kind == SL_MUX_FWD_REMOTE ? check_listening_there(f) : check_listening_here(f);
    const bool socks = f->kind == SL_MUX_FWD_DYNAMIC || sl_forward_is_socks_there(f);
    if (why == NULL && !socks && !is_path(&f->connect) && (f->connect.port == 0 || f->connect.port > UINT16_MAX))
        why = "there is no such port to connect to";
    if (why != NULL)
        snprintf(text, size, "%s", why);
    return why == NULL && may_lead_there(f, text, size);
}

/* --- here --------------------------------------------------------------------------------------------------------- */

static void on_accept(void *arg, int fd, int status)
{
    struct sl_forward *f = arg;
    struct sl_mux_client *c = f->owner->client;
    if (status == 0 && f->owner->conn_count < SL_MUX_CONNS_MAX) {
        sl_forward_conn_local(f, fd);
        return;
    }
    sl_log_of(c->mux->log, c->who.uid, SL_LOG_TURNED_AWAY, SL_LOG_WARNING, "forward",
        "target=%s pid=%ld uid=%lu connection turned away: %s", c->target, (long)c->who.pid, (unsigned long)c->who.uid,
        status != 0 ? sl_status_text(status) : "64 are open already");
    sl_socket_refuse(sl_watch_jobs(c->mux->watch), fd);
}

static int listen_on_path(struct sl_forward *f, char *error, size_t size)
{
    const struct sl_mux *mux = f->owner->client->mux;
    const struct sl_listener_options options = {.path = f->listen.host, .mode = 0600};
    int r = sl_listener_open(mux->loop, mux->log, &options, on_accept, f, error, size, &f->listener[0]);
    if (r == 0)
        sl_listener_closed_by(f->listener[0], sl_watch_jobs(mux->watch));
    return r;
}

static int listen_on_port(struct sl_forward *f, char *error, size_t size)
{
    static const char *const loopback[] = {"127.0.0.1", "::1"}, *const any[] = {"0.0.0.0", "::"};
    const struct sl_mux *mux = f->owner->client->mux;
    const char *host = f->listen.host;
    const bool everywhere = strcmp(host, "*") == 0;
    const char *const *both = everywhere ? any : loopback;
    int r, first;
    if (!everywhere && host[0] != '\0' && strcmp(host, "localhost") != 0)
        return sl_listener_open_tcp(
            mux->loop, mux->log, host, (uint16_t)f->listen.port, on_accept, f, error, size, &f->listener[0]);
    /* Both, unless this machine has only one of them: who connects to "localhost" must not find somebody else. */
    first = sl_listener_open_tcp(
        mux->loop, mux->log, both[0], (uint16_t)f->listen.port, on_accept, f, error, size, &f->listener[0]);
    if (first != 0 && first != SL_E_UNSUPPORTED)
        return first;
    r = sl_listener_open_tcp(
        mux->loop, mux->log, both[1], (uint16_t)f->listen.port, on_accept, f, error, size, &f->listener[1]);
    return r == SL_E_UNSUPPORTED ? first : r;
}

/* The sockets are its user's until the forward is gone. */
static int listen_here(struct sl_forward *f, char *error, size_t size)
{
    const struct sl_mux_client *c = f->owner->client;
    struct sl_quota *quota = sl_driver_quota(c->mux->driver);
    int r = sl_quota_take(quota, c->who.uid, SL_QUOTA_DESCRIPTORS, SL_FORWARD_LISTENERS);
    if (r != 0) {
        (void)sl_quota_refusal(quota, c->who.uid, SL_QUOTA_DESCRIPTORS, error, size);
        return r;
    }
    f->counts = true;
    return is_path(&f->listen) ? listen_on_path(f, error, size) : listen_on_port(f, error, size);
}

/* --- there -------------------------------------------------------------------------------------------------------- */

static void on_listening(void *arg, int status, uint16_t port, const char *text)
{
    struct sl_forward *f = arg;
    if (status != 0) {
        if (f->phase != SL_FORWARD_CLOSING)
            sl_forward_move(f, SL_FORWARD_CLOSING);
        sl_forward_tell_refused(f, text); /* on_closed follows at once, and settles */
        return;
    }
    f->port = port;
    if (f->phase == SL_FORWARD_ASKING)
        sl_forward_opened(f);
}

static void on_connection(void *arg)
{
    struct sl_forward *f = arg;
    if (f->phase == SL_FORWARD_OPEN)
        f->full = sl_forward_conn_remote(f) == SL_E_STREAM_LIMIT;
}

static void on_closed(void *arg)
{
    struct sl_forward *f = arg;
    struct sl_mux_forwards *fs = f->owner;
    f->remote = NULL;
    sl_forward_free(f, f->phase == SL_FORWARD_CLOSING ? NULL : "the server listens no more");
    sl_forwards_settle(fs);
}

static const struct sl_remote_handler remote_handler = {
    .on_listening = on_listening,
    .on_connection = on_connection,
    .on_closed = on_closed,
};

/* What the client says of where to listen, in the words of RFC 4254 section 7.1. */
static const char *listening_address(const struct sl_forward *f)
{
    if (f->listen.host[0] == '\0')
        return "localhost";
    return strcmp(f->listen.host, "*") == 0 ? "" : f->listen.host;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

void sl_forward_open(struct sl_forward *f)
{
    char error[512];
    int r;
    if (f->kind == SL_MUX_FWD_REMOTE) {
        sl_forward_move(f, SL_FORWARD_ASKING);
        r = sl_lease_listen(
            f->owner->client->lease, listening_address(f), (uint16_t)f->listen.port, &remote_handler, f, &f->remote);
        if (r == 0)
            return;
        snprintf(error, sizeof error, "%s", sl_status_text(r));
    } else {
        r = listen_here(f, error, sizeof error);
    }
    if (r == 0)
        sl_forward_opened(f);
    else
        sl_forward_refused(f, error);
}

void sl_forward_close(struct sl_forward *f, const char *why)
{
    if (f->phase == SL_FORWARD_CLOSING)
        return;
    if (f->remote == NULL) {
        sl_forward_free(f, why);
        return;
    }
    sl_forward_move(f, SL_FORWARD_CLOSING);
    sl_remote_close(f->remote);
}
