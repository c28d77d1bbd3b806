/* SPDX-License-Identifier: MIT */
/* One connection of a forward.
 *   from here   accepted; on a dynamic forward SOCKS says where it leads (SOCKS); the server is asked to connect there,
 *               and bytes go between the socket and the stream (RELAYING)
 *   from there  the stream is accepted at once, so that the next one can be seen; where the forward has no destination,
 *               SOCKS says it (SOCKS_THERE); where it leads is dialed (DIALING); what the stream says meanwhile is kept
 *               for the relay, which is made with the socket
 * It ends with its relay; its memory goes with the handle of its timer. */
#include "base/container.h"
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

enum conn_phase {
    CONN_NEW,
    CONN_SOCKS,
    CONN_SOCKS_THERE,
    CONN_DIALING,
    CONN_RELAYING,
    CONN_CLOSING, /* of its own stream: when the last answer is sent, or at once */
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
    bool stream_open, stream_eof; /* said before there was a relay */
    size_t credit;                /* what the stream may say before there is one */
    size_t answered;              /* bytes of SOCKS that the stream was given without one, and are not sent */

    struct sl_stream *stream; /* before it is the relay's */
    struct sl_relay *relay;
};

/* --- beginning and end -------------------------------------------------------------------------------------------- */

static struct sl_forward_conn *new_conn(struct sl_mux_forwards *fs, int fd)
{
    struct sl_forward_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
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
    sl_log(c->mux->log, SL_LOG_NOTICE, "forward", "target=%s pid=%ld uid=%lu connection failed text=%s", c->target,
        (long)c->who.pid, (unsigned long)c->who.uid, sl_log_quote(quoted, sizeof quoted, text));
}

/* --- SOCKS -------------------------------------------------------------------------------------------------------- */

/* The socket's buffer is empty, and has room for the few bytes of it. */
static void say_socks(int fd, const uint8_t *reply, size_t len)
{
    if (len > 0)
        (void)!write(fd, reply, len);
}

static void say_socks_there(struct sl_forward_conn *conn, const uint8_t *reply, size_t len)
{
    if (len > 0 && sl_stream_write(conn->stream, reply, len) == 0)
        conn->answered += len;
}

static void feed_socks(struct sl_forward_conn *conn)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    size_t used, reply_len;
    do {
        used = sl_socks_feed(&conn->socks, conn->heard, conn->heard_len, reply, &reply_len);
        if (conn->stream != NULL)
            say_socks_there(conn, reply, reply_len);
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

static const struct sl_relay_handler relay_handler = {.on_open = on_open, .on_end = on_relay_end};

/* Makes the relay for conn->fd; the socket is the relay's then, or closed with `conn`. */
static int make_relay(struct sl_forward_conn *conn)
{
    int fd[3] = {conn->fd, fcntl(conn->fd, F_DUPFD_CLOEXEC, 3), -1};
    int r = fd[1] < 0 ? SL_E_IO
                      : sl_relay_new(
                            conn->owner->client->mux->watch, fd, SL_RELAY_SHUTDOWN, &relay_handler, conn, &conn->relay);
    if (r == 0)
        conn->fd = -1;
    else
        close_fd(conn->owner, &fd[1]);
    return r;
}

/* --- from here ---------------------------------------------------------------------------------------------------- */

static void connect_there(struct sl_forward_conn *conn, const struct sl_stream_spec *spec)
{
    struct sl_stream *stream;
    int r = make_relay(conn);
    conn->phase = CONN_RELAYING;
    if (r == 0)
        r = sl_lease_stream_open(conn->owner->client->lease, spec, &sl_relay_stream_handler, conn->relay, &stream);
    if (r != 0) {
        note(conn, sl_status_text(r));
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
    conn->phase = CONN_SOCKS;
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
    conn->phase = CONN_CLOSING;
    (void)uv_timer_stop(&conn->timer);
    if (conn->answered > 0)
        (void)uv_timer_start(&conn->timer, on_late_there, SOCKS_TIMEOUT_MS, 0);
    else
        sl_stream_close(conn->stream);
}

/* Nobody is there to talk to. */
static void give_up(struct sl_forward_conn *conn, const char *text)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    note(conn, text);
    if (conn->phase == CONN_DIALING && conn->socks.phase == SL_SOCKS_ASKED)
        say_socks_there(conn, reply, sl_socks_answer(&conn->socks, SL_SOCKS_REFUSED, reply));
    close_stream(conn);
}

static void on_late_there(uv_timer_t *timer)
{
    struct sl_forward_conn *conn = timer->data;
    if (conn->phase == CONN_CLOSING)
        sl_stream_close(conn->stream);
    else
        give_up(conn, late_for_socks);
}

/* What SOCKS has to say goes first, then what its client said too early. */
static void start_relaying(struct sl_forward_conn *conn)
{
    struct sl_stream *stream = conn->stream;
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    conn->phase = CONN_RELAYING;
    conn->stream = NULL;
    sl_relay_take_stream(conn->relay, stream);
    if (conn->socks.phase == SL_SOCKS_ASKED)
        sl_relay_input(conn->relay, reply, sl_socks_answer(&conn->socks, SL_SOCKS_CONNECTED, reply));
    sl_stream_credit(stream, SL_RELAY_CREDIT - conn->credit - conn->heard_len); /* the relay gives credit for these */
    if (conn->heard_len > 0)
        sl_relay_stream_handler.on_data(conn->relay, 0, conn->heard, conn->heard_len);
    if (conn->stream_open)
        sl_relay_stream_handler.on_open(conn->relay, 0, "");
    if (conn->stream_eof)
        sl_relay_stream_handler.on_eof(conn->relay);
}

static void connected_here(struct sl_forward_conn *conn, int fd)
{
    conn->fd = fd;
    if (make_relay(conn) == 0)
        start_relaying(conn);
    else
        give_up(conn, sl_status_text(SL_E_NOMEM));
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
    conn->phase = CONN_DIALING;
    if (conn->socks.phase == SL_SOCKS_ASKED && !sl_forward_permits(conn->owner->client, host, port))
        give_up(conn, "a SOCKS client wanted to where permit_remote_open does not let it");
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
    conn->phase = CONN_DIALING;
    if (sl_dial_unix(to->host, error, sizeof error, &fd) == 0)
        connected_here(conn, fd);
    else
        give_up(conn, error);
}

/* What a stream says without a relay: SOCKS, or what comes behind it too early. No more than its credit. */
static void hear_there(struct sl_forward_conn *conn, const uint8_t *data, size_t len)
{
    memcpy(conn->heard + conn->heard_len, data, len);
    conn->heard_len += len;
    conn->credit -= len;
    if (conn->phase != CONN_SOCKS_THERE)
        return;
    feed_socks(conn);
    if (conn->socks.phase == SL_SOCKS_ASKED) {
        (void)uv_timer_stop(&conn->timer);
        dial(conn, conn->socks.host, conn->socks.port);
    } else if (conn->socks.phase == SL_SOCKS_FAILED) {
        give_up(conn, conn->socks.why);
    }
}

/* The stream's word goes to the relay where there is one. */
static void on_stream_open(void *arg, int status, const char *text)
{
    struct sl_forward_conn *conn = arg;
    if (conn->relay != NULL)
        sl_relay_stream_handler.on_open(conn->relay, status, text);
    else
        conn->stream_open = true;
}

static void on_stream_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    struct sl_forward_conn *conn = arg;
    if (conn->relay != NULL)
        sl_relay_stream_handler.on_data(conn->relay, fd, data, len);
    else if (conn->phase != CONN_CLOSING)
        hear_there(conn, data, len);
}

static void on_stream_eof(void *arg)
{
    struct sl_forward_conn *conn = arg;
    if (conn->relay != NULL)
        sl_relay_stream_handler.on_eof(conn->relay);
    else if (conn->phase == CONN_SOCKS_THERE)
        close_stream(conn); /* it went without asking for anything */
    else
        conn->stream_eof = true;
}

/* What was said before there was a relay is sent before what it says. */
static void on_stream_sent(void *arg, size_t len)
{
    struct sl_forward_conn *conn = arg;
    const size_t ours = len < conn->answered ? len : conn->answered;
    conn->answered -= ours;
    if (conn->relay != NULL && len > ours)
        sl_relay_stream_handler.on_sent(conn->relay, len - ours);
    else if (conn->phase == CONN_CLOSING && conn->answered == 0)
        sl_stream_close(conn->stream);
}

static void on_stream_end(void *arg, const struct sl_stream_result *result)
{
    struct sl_forward_conn *conn = arg;
    if (conn->relay != NULL)
        sl_relay_stream_handler.on_end(conn->relay, result);
    else
        over(conn);
}

static const struct sl_stream_handler stream_handler = {
    .on_open = on_stream_open,
    .on_data = on_stream_data,
    .on_eof = on_stream_eof,
    .on_sent = on_stream_sent,
    .on_end = on_stream_end,
};

int sl_forward_conn_remote(struct sl_forward *f)
{
    struct sl_forward_conn *conn = new_conn(f->owner, -1);
    const bool socks = sl_forward_is_socks_there(f);
    const size_t credit = socks ? SL_SOCKS_REQUEST_MAX : 0;
    int r = conn == NULL ? SL_E_NOMEM : sl_remote_accept(f->remote, &stream_handler, conn, credit, &conn->stream);
    if (r == 0 && socks) {
        sl_socks_init(&conn->socks);
        conn->credit = credit;
        conn->phase = CONN_SOCKS_THERE;
        (void)uv_timer_start(&conn->timer, on_late_there, SOCKS_TIMEOUT_MS, 0);
    } else if (r == 0) {
        connect_here(conn, &f->connect);
    } else if (conn != NULL) {
        drop(conn);
    }
    return r == SL_E_NOMEM ? SL_E_STREAM_LIMIT : r; /* it waits just so */
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

void sl_forward_conns_close(struct sl_mux_forwards *fs)
{
    struct sl_forward_conn *conn, *next;
    for (conn = TAILQ_FIRST(&fs->conns); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (conn->relay != NULL)
            sl_relay_close(conn->relay);
        else if (conn->stream != NULL)
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
