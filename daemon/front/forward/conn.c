/* SPDX-License-Identifier: MIT */
/* One connection of a forward.
 *   from here   accepted; on a dynamic forward SOCKS says where it leads (SOCKS); the server is asked to connect there,
 *               and bytes go between the socket and the stream (RELAYING)
 *   from there  the stream is accepted at once, so that the next one can be seen; where the forward has no destination,
 *               SOCKS says it (SOCKS_THERE); where it leads is dialed (DIALING); the relay has the stream all the
 *               while, and gets the socket
 * It ends with its relay; its memory goes with the handle of its timer. */
#include "base/container.h"
#include "base/state.h"
#include "daemon/front/forward/forward.h"
#include "daemon/front/forward/socks.h"
#include "daemon/net/dial.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* For a SOCKS client to say what it wants and to take its answer, and for what a remote forward leads to. */
#define SOCKS_TIMEOUT_MS 10000u
#define DIAL_TIMEOUT_MS  10000u
/* The socket, and once more. (A SOCKS client's is open a third time while its answer is to come.) */
#define CONN_FDS 2u

enum conn_phase {
    CONN_NEW,
    CONN_SOCKS,
    CONN_SOCKS_THERE,
    CONN_DIALING,
    CONN_RELAYING,
    CONN_CLOSING, /* of its own stream: when the last answer is sent, or at once */
};

#define TO(phase) SL_TO(CONN_##phase)

static const struct sl_state phases[] = {
    [CONN_NEW] = {"new", TO(SOCKS) | TO(SOCKS_THERE) | TO(DIALING) | TO(RELAYING)},
    [CONN_SOCKS] = {"socks", TO(RELAYING)},
    [CONN_SOCKS_THERE] = {"socks-there", TO(DIALING) | TO(CLOSING)},
    [CONN_DIALING] = {"dialing", TO(RELAYING) | TO(CLOSING)},
    [CONN_RELAYING] = {"relaying", 0},
    [CONN_CLOSING] = {"closing", 0},
};

struct sl_forward_conn {
    TAILQ_ENTRY(sl_forward_conn) link;
    struct sl_mux_forwards *owner;
    enum conn_phase phase;
    uv_timer_t timer;
    int fd; /* while it is nobody else's; -1 */

    /* dynamic */
    struct sl_socks socks;
    uint8_t heard[SL_SOCKS_REQUEST_MAX];
    size_t heard_len;

    /* from here, dynamic */
    struct sl_watched watched;
    int answer_fd; /* the socket once more, for the answer; -1 */

    /* from there */
    struct sl_dial *dial;

    struct sl_relay *relay; /* from here: once the socket has nothing more to say to us */
};

/* --- beginning and end -------------------------------------------------------------------------------------------- */

static void move(struct sl_forward_conn *conn, enum conn_phase to)
{
    SL_MOVE(phases, conn->phase, to);
}

static struct sl_quota *quota_of(const struct sl_mux_forwards *fs)
{
    return sl_driver_quota(fs->client->mux->driver);
}

static struct sl_forward_conn *new_conn(struct sl_mux_forwards *fs, int fd)
{
    struct sl_forward_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL || sl_quota_take(quota_of(fs), fs->client->who.uid, SL_QUOTA_DESCRIPTORS, CONN_FDS) != 0) {
        free(conn);
        return NULL;
    }
    conn->owner = fs;
    conn->fd = fd;
    conn->answer_fd = -1;
    (void)uv_timer_init(fs->client->mux->loop, &conn->timer);
    conn->timer.data = conn;
    TAILQ_INSERT_TAIL(&fs->conns, conn, link);
    fs->conn_count++;
    return conn;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct sl_fd_jobs *jobs_of(const struct sl_mux_forwards *fs)
{
    return sl_watch_jobs(fs->client->mux->watch);
}

static void close_fd(const struct sl_mux_forwards *fs, int *fd)
{
    if (*fd >= 0)
        sl_fd_jobs_close(jobs_of(fs), *fd);
    *fd = -1;
}

/* What it holds goes; its stream must have ended, or call no more. */
static void drop(struct sl_forward_conn *conn)
{
    struct sl_mux_forwards *fs = conn->owner;
    if (conn->phase == CONN_SOCKS)
        sl_watched_fini(&conn->watched);
    sl_dial_cancel(conn->dial);
    sl_relay_free(conn->relay);
    close_fd(conn->owner, &conn->fd);
    close_fd(conn->owner, &conn->answer_fd);
    TAILQ_REMOVE(&fs->conns, conn, link);
    fs->conn_count--;
    sl_quota_give(quota_of(fs), fs->client->who.uid, SL_QUOTA_DESCRIPTORS, CONN_FDS);
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
}

/* Room for one that waits at the server. */
static void resume(struct sl_mux_forwards *fs)
{
    struct sl_forward *f;
    TAILQ_FOREACH(f, &fs->forwards, link)
    {
        if (f->full && f->phase == SL_FORWARD_OPEN)
            f->full = sl_forward_conn_remote(f) == SL_E_STREAM_LIMIT;
    }
}

static void over(struct sl_forward_conn *conn)
{
    struct sl_mux_forwards *fs = conn->owner;
    drop(conn);
    resume(fs);
    sl_forwards_settle(fs);
}

static void note(const struct sl_forward_conn *conn, const char *text)
{
    const struct sl_mux_client *c = conn->owner->client;
    char quoted[SL_LOG_QUOTE_SIZE];
    sl_log_of(c->mux->log, c->who.uid, SL_LOG_FORWARDS, SL_LOG_NOTICE, "forward",
        "target=%s pid=%ld uid=%lu connection failed text=%s", c->target, (long)c->who.pid, (unsigned long)c->who.uid,
        sl_log_quote(quoted, sizeof quoted, text));
}

/* --- SOCKS -------------------------------------------------------------------------------------------------------- */

/* The socket's buffer is empty, and has room for the few bytes of it. */
static void say_socks(int fd, const uint8_t *reply, size_t len)
{
    if (len > 0)
        (void)!write(fd, reply, len);
}

static void feed_socks(struct sl_forward_conn *conn)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    size_t used, reply_len;
    do {
        used = sl_socks_feed(&conn->socks, conn->heard, conn->heard_len, reply, &reply_len);
        if (conn->relay != NULL)
            sl_relay_input(conn->relay, reply, reply_len);
        else
            say_socks(conn->fd, reply, reply_len);
        conn->heard_len -= used;
        memmove(conn->heard, conn->heard + used, conn->heard_len);
    } while (used > 0 && conn->socks.phase < SL_SOCKS_ASKED);
}

/* --- relaying ----------------------------------------------------------------------------------------------------- */

static void on_open(void *arg, int status, const char *text)
{
    struct sl_forward_conn *conn = arg;
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    if (conn->answer_fd >= 0) {
        size_t len = sl_socks_answer(&conn->socks, status == 0 ? SL_SOCKS_CONNECTED : SL_SOCKS_REFUSED, reply);
        say_socks(conn->answer_fd, reply, len);
        close_fd(conn->owner, &conn->answer_fd);
    }
    if (status != 0)
        note(conn, text);
}

static void on_relay_end(void *arg, const struct sl_stream_result *result)
{
    struct sl_forward_conn *conn = arg;
    (void)result;
    conn->relay = NULL;
    over(conn);
}

static void on_early(void *arg, const uint8_t *data, size_t len);

/* Nobody is to be dialed any more; on_relay_end() follows. */
static void on_result(void *arg, const struct sl_stream_result *result)
{
    struct sl_forward_conn *conn = arg;
    (void)result;
    (void)uv_timer_stop(&conn->timer);
    sl_dial_cancel(conn->dial);
    conn->dial = NULL;
}

static const struct sl_relay_handler relay_handler = {
    .on_open = on_open, .on_early = on_early, .on_result = on_result, .on_end = on_relay_end};

/* Joins conn->fd with the stream that the relay has, or will have; the socket is the relay's then, or closed with `conn`. */
static int join(struct sl_forward_conn *conn)
{
    struct sl_watch *watch = conn->owner->client->mux->watch;
    int fd[3] = {conn->fd, fcntl(conn->fd, F_DUPFD_CLOEXEC, 3), -1}, r = SL_E_IO;
    if (fd[1] >= 0 && conn->relay != NULL)
        r = sl_relay_attach(conn->relay, fd, conn->heard, conn->heard_len);
    else if (fd[1] >= 0)
        r = sl_relay_new(watch, fd, SL_RELAY_SHUTDOWN, &relay_handler, conn, &conn->relay);
    if (r == 0)
        conn->fd = -1;
    else
        close_fd(conn->owner, &fd[1]);
    return r;
}

/* --- from here ---------------------------------------------------------------------------------------------------- */

static void connect_there(struct sl_forward_conn *conn, const struct sl_stream_spec *spec)
{
    struct sl_lease *lease = conn->owner->client->lease;
    struct sl_stream *stream;
    char text[SL_QUOTA_TEXT_SIZE];
    int r = join(conn);
    move(conn, CONN_RELAYING);
    if (r == 0)
        r = sl_lease_stream_open(lease, spec, &sl_relay_stream_handler, conn->relay, &stream);
    if (r != 0) {
        note(conn, sl_lease_stream_refusal(lease, r, text, sizeof text));
        over(conn);
        return;
    }
    sl_relay_take_stream(conn->relay, stream);
    sl_relay_input(conn->relay, conn->heard, conn->heard_len); /* what a SOCKS client said too early */
}

static void connect_as_asked(struct sl_forward_conn *conn)
{
    const struct sl_stream_spec spec = {
        .kind = SL_SPEC_TCP, .host = conn->socks.host, .port = conn->socks.port, .credit = SL_RELAY_CREDIT};
    sl_watched_fini(&conn->watched);
    (void)uv_timer_stop(&conn->timer);
    conn->answer_fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, 3);
    connect_there(conn, &spec);
}

/* Feeds what was heard; true when the phase of SOCKS is over, and `conn` perhaps with it. */
static bool understand(struct sl_forward_conn *conn)
{
    feed_socks(conn);
    if (conn->socks.phase == SL_SOCKS_ASKED) {
        connect_as_asked(conn);
        return true;
    }
    if (conn->socks.phase == SL_SOCKS_FAILED) {
        note(conn, conn->socks.why);
        over(conn);
        return true;
    }
    return false;
}

static void on_heard(struct sl_watched *watched, uint32_t events)
{
    struct sl_forward_conn *conn = SL_CONTAINER(watched, struct sl_forward_conn, watched);
    bool rights;
    (void)events;
    for (;;) {
        ssize_t n = sl_fd_recv(jobs_of(conn->owner), conn->fd, conn->heard + conn->heard_len,
            sizeof conn->heard - conn->heard_len, &rights);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            over(conn);
            return;
        }
        conn->heard_len += (size_t)n;
        if (understand(conn))
            return;
    }
}

static const char late_for_socks[] = "a SOCKS client that does not say what it wants";

static void on_late(uv_timer_t *timer)
{
    struct sl_forward_conn *conn = timer->data;
    note(conn, late_for_socks);
    over(conn);
}

static void listen_to_socks(struct sl_forward_conn *conn)
{
    sl_socks_init(&conn->socks);
    move(conn, CONN_SOCKS);
    sl_watched_init(&conn->watched, conn->owner->client->mux->watch, on_heard);
    (void)uv_timer_start(&conn->timer, on_late, SOCKS_TIMEOUT_MS, 0);
    if (sl_watched_register(&conn->watched, conn->fd, EPOLLIN) != 0) {
        note(conn, "it cannot be watched");
        over(conn);
    }
}

void sl_forward_conn_local(struct sl_forward *f, int fd)
{
    struct sl_forward_conn *conn = new_conn(f->owner, fd);
    if (conn == NULL) {
        sl_socket_refuse(jobs_of(f->owner), fd);
        return;
    }
    if (f->kind == SL_MUX_FWD_DYNAMIC) {
        listen_to_socks(conn);
        return;
    }
    const bool path = f->connect.port == SL_MUX_PORT_PATH;
    const struct sl_stream_spec spec = {
        .kind = path ? SL_SPEC_UNIX : SL_SPEC_TCP,
        .path = f->connect.host,
        .host = f->connect.host,
        .port = path ? 0 : (uint16_t)f->connect.port,
        .credit = SL_RELAY_CREDIT,
    };
    connect_there(conn, &spec);
}

/* --- from there --------------------------------------------------------------------------------------------------- */

static void on_late_there(uv_timer_t *timer);

/* Its stream is closed, and ends it; where it was told something, when that is sent. */
static void close_stream(struct sl_forward_conn *conn)
{
    sl_dial_cancel(conn->dial);
    conn->dial = NULL;
    if (conn->phase != CONN_CLOSING)
        move(conn, CONN_CLOSING);
    (void)uv_timer_start(&conn->timer, on_late_there, SOCKS_TIMEOUT_MS, 0);
    sl_relay_close_sent(conn->relay);
}

/* Nobody is there to talk to. */
static void give_up(struct sl_forward_conn *conn, const char *text)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    note(conn, text);
    if (conn->phase == CONN_DIALING && conn->socks.phase == SL_SOCKS_ASKED)
        sl_relay_input(conn->relay, reply, sl_socks_answer(&conn->socks, SL_SOCKS_REFUSED, reply));
    close_stream(conn);
}

static void on_late_there(uv_timer_t *timer)
{
    struct sl_forward_conn *conn = timer->data;
    if (conn->phase == CONN_CLOSING)
        sl_relay_close(conn->relay);
    else
        give_up(conn, late_for_socks);
}

static void connected_here(struct sl_forward_conn *conn, int fd)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    conn->fd = fd;
    if (join(conn) != 0) {
        give_up(conn, sl_status_text(SL_E_NOMEM));
        return;
    }
    move(conn, CONN_RELAYING);
    if (conn->socks.phase == SL_SOCKS_ASKED) /* nothing was read from the socket yet */
        sl_relay_input(conn->relay, reply, sl_socks_answer(&conn->socks, SL_SOCKS_CONNECTED, reply));
}

static void on_resolved(void *arg)
{
    (void)arg;
}

static void on_dialed(void *arg, int fd, const char *address)
{
    struct sl_forward_conn *conn = arg;
    (void)address;
    conn->dial = NULL;
    connected_here(conn, fd);
}

static void on_dial_failed(void *arg, int status, const char *text)
{
    struct sl_forward_conn *conn = arg;
    (void)status;
    conn->dial = NULL;
    give_up(conn, text);
}

static const struct sl_dial_handler dial_handler = {
    .on_resolved = on_resolved, .on_connected = on_dialed, .on_failed = on_dial_failed};

static void dial(struct sl_forward_conn *conn, const char *host, uint16_t port)
{
    move(conn, CONN_DIALING);
    if (!sl_forward_permits(conn->owner->client, host, port)) /* a client of SOCKS, or a reload came between */
        give_up(conn, "it leads to where permit_remote_open does not let it");
    else if (sl_dial_start(conn->owner->client->mux->dialer, host, port, DIAL_TIMEOUT_MS, 0, &dial_handler, conn,
                 &conn->dial) != 0)
        give_up(conn, sl_status_text(SL_E_NOMEM));
}

static void connect_here(struct sl_forward_conn *conn, const struct sl_forward_end *to)
{
    char error[256];
    int fd;
    if (to->port != SL_MUX_PORT_PATH) {
        dial(conn, to->host, (uint16_t)to->port);
        return;
    }
    move(conn, CONN_DIALING);
    if (sl_dial_unix(to->host, error, sizeof error, &fd) == 0)
        connected_here(conn, fd);
    else
        give_up(conn, error);
}

/* SOCKS, or what comes behind it too early. No more than the stream's credit. */
static void on_early(void *arg, const uint8_t *data, size_t len)
{
    struct sl_forward_conn *conn = arg;
    if (conn->phase == CONN_CLOSING)
        return;
    if (len > 0)
        memcpy(conn->heard + conn->heard_len, data, len);
    conn->heard_len += len;
    if (conn->phase != CONN_SOCKS_THERE)
        return;
    if (len == 0) {
        close_stream(conn); /* it went without asking for anything */
        return;
    }
    feed_socks(conn);
    if (conn->socks.phase == SL_SOCKS_ASKED) {
        (void)uv_timer_stop(&conn->timer);
        dial(conn, conn->socks.host, conn->socks.port);
    } else if (conn->socks.phase == SL_SOCKS_FAILED) {
        give_up(conn, conn->socks.why);
    }
}

/* Its relay and its stream. */
static int accept_there(struct sl_forward_conn *conn, const struct sl_forward *f, size_t credit)
{
    struct sl_stream *stream;
    int r = sl_relay_new_apart(
        conn->owner->client->mux->watch, credit, SL_RELAY_SHUTDOWN, &relay_handler, conn, &conn->relay);
    if (r == 0)
        r = sl_remote_accept(f->remote, &sl_relay_stream_handler, conn->relay, credit, &stream);
    if (r == 0)
        sl_relay_take_stream(conn->relay, stream);
    return r;
}

int sl_forward_conn_remote(struct sl_forward *f)
{
    struct sl_forward_conn *conn = new_conn(f->owner, -1);
    const bool socks = sl_forward_is_socks_there(f);
    int r = conn == NULL ? SL_E_NOMEM : accept_there(conn, f, socks ? SL_SOCKS_REQUEST_MAX : 0);
    if (r == 0 && socks) {
        sl_socks_init(&conn->socks);
        move(conn, CONN_SOCKS_THERE);
        (void)uv_timer_start(&conn->timer, on_late_there, SOCKS_TIMEOUT_MS, 0);
    } else if (r == 0) {
        connect_here(conn, &f->connect);
    } else if (conn != NULL) {
        drop(conn);
    }
    return r == SL_E_NOMEM || r == SL_E_LIMIT ? SL_E_STREAM_LIMIT : r; /* it waits just so */
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

void sl_forward_conns_close(struct sl_mux_forwards *fs)
{
    struct sl_forward_conn *conn, *next;
    for (conn = TAILQ_FIRST(&fs->conns); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (conn->phase == CONN_RELAYING)
            sl_relay_close(conn->relay);
        else if (conn->relay != NULL)
            close_stream(conn);
        else
            drop(conn);
    }
}

void sl_forward_conns_drop(struct sl_mux_forwards *fs)
{
    struct sl_forward_conn *conn;
    while ((conn = TAILQ_FIRST(&fs->conns)) != NULL)
        drop(conn);
}
