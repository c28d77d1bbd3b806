/* SPDX-License-Identifier: MIT */
/* The only file with both libssh2 and libuv. What it guarantees to libssh2 (each point undoes a defect of it):
 *   - SEND takes the whole packet, always: libssh2 keeps one half-sent packet per session and knows it by its address
 *     only
 *   - RECV has bytes only while the gate is open, and says -EAGAIN otherwise: an answer must not be read while another
 *     channel's request happens to look for one of the same type
 *   - SEND and RECV touch this connection's own queue, counters and socket only, so that a step may run in a worker
 *   - once the connection is over, both fail for good: every call into libssh2 then ends at once */
#include "daemon/ssh/session/io.h"

#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <libssh2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A session that holds more is under attack. Below it, above SESSION_MEMORY_HIGH, nothing more is read from the socket
 * until somebody takes what lies there: the windows of all channels allow 64 MiB of data and as much again on accepted
 * connections, but a byte that comes in a packet of its own takes a hundred. */
#define SESSION_MEMORY_HIGH (96u << 20)
#define SESSION_MEMORY_MAX  (128u << 20)
/* A server that makes us answer and does not read; far above SL_IO_OUT_FULL, where we stop reading ourselves. */
#define OUT_MAX (8u << 20)
/* What is due but cannot be done now (nothing can be sent during a key exchange) is tried again so much later. */
#define PAST_MS 20u
/* Lines a server may say before its identification. */
#define PRE_BANNER_MAX 16384u

#ifdef __SANITIZE_ADDRESS__
/* What libssh2 1.11.1 forgets, and nobody but it can free: the keys for a MAC that AES-GCM has no use for, at every key
 * exchange; and without our patches the server's host key at a key exchange, and its list of methods. A system's shared
 * library has no names to know these by, only its own. */
const char *__lsan_default_suppressions(void) __attribute__((visibility("default")));
const char *__lsan_default_suppressions(void)
{
    return "leak:kex_method_\nleak:libssh2.so\n";
}
#endif

int sl_io_library_init(void)
{
    return libssh2_init(0) == 0 ? 0 : SL_E_INTERNAL;
}

void sl_io_library_exit(void)
{
    libssh2_exit();
}

/* --- what libssh2 calls --- */

static void *on_alloc(size_t len, void **abstract)
{
    struct sl_conn *conn = *abstract;
    return sl_packet_tap_alloc(&conn->tap, len);
}

static void *on_realloc(void *mem, size_t len, void **abstract)
{
    struct sl_conn *conn = *abstract;
    return sl_packet_tap_realloc(&conn->tap, mem, len);
}

static void on_free(void *mem, void **abstract)
{
    struct sl_conn *conn = *abstract;
    sl_packet_tap_free(&conn->tap, mem);
}

static ssize_t on_send(libssh2_socket_t socket, const void *data, size_t len, int flags, void **abstract)
{
    (void)socket;
    (void)flags;
    struct sl_conn *conn = *abstract;
    if (conn->error != 0)
        return -EPIPE;
    if (sl_buf_put(&conn->out, data, len) != 0) {
        conn->error = ENOBUFS;
        return -EPIPE;
    }
    return (ssize_t)len;
}

/* Reads from the socket; 0 is its end. Never more than the budget. */
static ssize_t take(struct sl_conn *conn, void *data, size_t len)
{
    if (conn->error != 0)
        return -ECONNRESET;
    if (conn->recv_budget == 0 || !conn->maybe_readable)
        return -EAGAIN;
    size_t want = len < conn->recv_budget ? len : conn->recv_budget;
    ssize_t n;
    do {
        n = recv(conn->fd, data, want, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        conn->bytes_in += (uint64_t)n;
        conn->recv_budget -= (size_t)n;
        conn->progressed = true;
        if ((size_t)n < want) {
            /* Most likely all there was; polling is level-triggered and says so if not. */
            conn->maybe_readable = false;
        }
    } else if (n == 0) {
        conn->error = ENODATA;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        conn->maybe_readable = false;
        return -EAGAIN;
    } else {
        conn->error = errno;
        return -errno;
    }
    return n;
}

/* Watches what libssh2 takes byte by byte until the identification has passed, and keeps the first line for the error
 * message in case none comes. */
static void follow_pre_banner(struct sl_pre_banner *pre_banner, uint8_t byte)
{
    pre_banner->total++;
    if (!pre_banner->past_first_line) {
        if (byte == '\n') {
            if (pre_banner->line_len > 0)
                pre_banner->past_first_line = true;
        } else if (byte != '\r' && pre_banner->line_len < sizeof pre_banner->line - 1) {
            pre_banner->line[pre_banner->line_len++] = (char)byte;
        }
    }
}

static ssize_t on_recv(libssh2_socket_t socket, void *data, size_t len, int flags, void **abstract)
{
    (void)socket;
    (void)flags;
    struct sl_conn *conn = *abstract;
    struct sl_pre_banner *pre_banner = conn->pre_banner;
    if (pre_banner == NULL)
        return take(conn, data, len);
    if (pre_banner->at == pre_banner->len) {
        if (len > 1) {
            /* The identification is through: libssh2 asks for whole packets now. */
            return take(conn, data, len);
        }
        ssize_t n = pre_banner->total < PRE_BANNER_MAX ? take(conn, pre_banner->byte, sizeof pre_banner->byte) : 0;
        if (n <= 0)
            return n;
        pre_banner->len = (size_t)n;
        pre_banner->at = 0;
    }
    size_t n = pre_banner->len - pre_banner->at;
    if (len == 1) {
        follow_pre_banner(pre_banner, pre_banner->byte[pre_banner->at]);
        n = 1;
    }
    n = n < len ? n : len;
    memcpy(data, pre_banner->byte + pre_banner->at, n);
    pre_banner->at += n;
    return (ssize_t)n;
}

/* A damaged packet ends the connection, whatever libssh2 makes of it: where it waits for an answer in a login it would
 * call that a rejection, and what comes next would be decrypted out of step and believed (its length first of all). */
static int on_mac_error(LIBSSH2_SESSION *session, const char *packet, int packet_len, void **abstract)
{
    (void)session;
    (void)packet;
    (void)packet_len;
    struct sl_conn *conn = *abstract;
    if (conn->error == 0)
        conn->error = EBADMSG;
    return -1;
}

static void on_disconnect(LIBSSH2_SESSION *session, int reason, const char *message, int message_len,
    const char *language, int language_len, void **abstract)
{
    (void)session;
    (void)language;
    (void)language_len;
    struct sl_conn *conn = *abstract;
    conn->disconnect_reason = reason;
    if (conn->disconnect_text == NULL && message != NULL && message_len > 0)
        conn->disconnect_text = strndup(message, message_len < 200 ? (size_t)message_len : 200);
}

/* --- session and handles --- */

void sl_io_init(struct sl_conn *conn)
{
    conn->fd = -1;
    conn->timer_ms = UINT64_MAX;
    conn->maybe_readable = true;
    sl_buf_init(&conn->out, OUT_MAX);
    conn->tap.max = SESSION_MEMORY_MAX;
    conn->tap.opened = SL_PACKET_TAP_NO_CHANNEL;
    uv_timer_init(conn->transport->loop, &conn->timer);
    conn->timer.data = conn;
    conn->handles = 1;
}

int sl_io_open(struct sl_conn *conn, int fd)
{
    conn->fd = fd;
    conn->session = libssh2_session_init_ex(on_alloc, on_free, on_realloc, conn);
    conn->pre_banner = calloc(1, sizeof *conn->pre_banner);
    if (conn->session == NULL || conn->pre_banner == NULL)
        return SL_E_NOMEM;
    if (uv_poll_init(conn->transport->loop, &conn->poll, fd) != 0)
        return SL_E_INTERNAL;
    conn->poll.data = conn;
    conn->handles++;
    libssh2_session_set_blocking(conn->session, 0);
    libssh2_session_callback_set2(conn->session, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)on_send);
    libssh2_session_callback_set2(conn->session, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)on_recv);
    libssh2_session_callback_set2(conn->session, LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)on_disconnect);
    libssh2_session_callback_set2(conn->session, LIBSSH2_CALLBACK_MACERROR, (libssh2_cb_generic *)on_mac_error);
    return 0;
}

static void handle_closed(struct sl_conn *conn)
{
    if (--conn->handles == 0)
        conn->on_io_closed(conn);
}

static void on_poll_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void sl_io_close(struct sl_conn *conn, void (*closed)(struct sl_conn *conn))
{
    assert(conn->offloop != SL_OFF_LOOP);
    if (conn->error == 0)
        conn->error = ECANCELED;
    if (conn->session != NULL) {
        conn->tap.unwiped = false; /* the session's keys */
        libssh2_session_free(conn->session);
        conn->session = NULL;
    }
    sl_buf_fini(&conn->out);
    free(conn->pre_banner);
    conn->pre_banner = NULL;
    if (conn->poll.data != NULL)
        uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    /* Linux lets go of the descriptor in uv_close() already (it leaves epoll there), so it may be closed now. */
    if (conn->fd >= 0) {
        close(conn->fd);
        conn->fd = -1;
    }
    conn->on_io_closed = closed;
    uv_close((uv_handle_t *)&conn->timer, on_timer_closed);
}

const char *sl_io_error_text(struct sl_conn *conn)
{
    char *text = NULL;
    return conn->session != NULL && libssh2_session_last_error(conn->session, &text, NULL, 0) != 0 && text != NULL
               ? text
               : "unknown error";
}

/* --- the worker --- */

static void offloop_work(uv_work_t *work)
{
    struct sl_conn *conn = work->data;
    conn->offloop_result = conn->offloop_step(conn);
}

static void offloop_done(uv_work_t *work, int status)
{
    (void)status; /* nobody cancels it */
    struct sl_conn *conn = work->data;
    conn->offloop = SL_OFF_LOOP_DONE;
    sl_conn_schedule(conn);
}

void sl_io_step_offloop(struct sl_conn *conn, int (*step)(struct sl_conn *conn))
{
    assert(conn->offloop == SL_ON_LOOP);
    conn->offloop_step = step;
    conn->work.data = conn;
    conn->offloop = SL_OFF_LOOP;
    sl_io_watch(conn, false); /* not for writing either: the loop could do nothing about it */
    /* Can only fail for a missing function. */
    int r = uv_queue_work(conn->transport->loop, &conn->work, offloop_work, offloop_done);
    assert(r == 0);
    (void)r;
}

/* --- gate, flush, watch, wake --- */

bool sl_io_may_read(const struct sl_conn *conn)
{
    return conn->out.len < SL_IO_OUT_FULL && conn->tap.bytes < SESSION_MEMORY_HIGH;
}

void sl_io_gate_open(struct sl_conn *conn, size_t budget)
{
    conn->recv_budget = sl_io_may_read(conn) ? budget : 0;
}

void sl_io_gate_shut(struct sl_conn *conn)
{
    conn->recv_budget = 0;
}

void sl_io_flush(struct sl_conn *conn)
{
    while (conn->out.len > 0 && conn->error == 0) {
        ssize_t n = send(conn->fd, sl_buf_data(&conn->out), conn->out.len, MSG_NOSIGNAL);
        if (n > 0) {
            sl_buf_drop(&conn->out, (size_t)n);
            conn->bytes_out += (uint64_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        } else {
            conn->error = errno;
        }
    }
}

void sl_io_tcp_keepalive(struct sl_conn *conn, uint64_t interval_ms, uint32_t count)
{
    int on = 1, seconds = interval_ms >= 1000 ? (int)(interval_ms / 1000) : 1, tries = (int)count;
    /* On a socket that is no TCP connection they fail, and nothing is lost. */
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

bool sl_io_tcp_acknowledged(const struct sl_conn *conn, uint64_t within_ms)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    return getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_unacked == 0 &&
           info.tcpi_last_ack_recv <= within_ms;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_conn *conn = poll->data;
    if (status != 0)
        conn->poll_events = 0; /* libuv has stopped polling; recv() or send() finds the error again, with its errno */
    if (status != 0 || (events & UV_READABLE) != 0)
        conn->maybe_readable = true;
    sl_conn_schedule(conn);
}

void sl_io_watch(struct sl_conn *conn, bool read)
{
    int events = (read && sl_io_may_read(conn) ? UV_READABLE : 0) | (conn->out.len > 0 ? UV_WRITABLE : 0);
    if (conn->offloop == SL_OFF_LOOP || conn->error != 0 || conn->poll.data == NULL)
        events = 0;
    if (events != conn->poll_events) {
        conn->poll_events = events;
        if (events == 0)
            uv_poll_stop(&conn->poll);
        else
            uv_poll_start(&conn->poll, events, on_poll);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_conn *conn = timer->data;
    conn->timer_ms = UINT64_MAX;
    sl_conn_schedule(conn);
}

void sl_io_wake_at(struct sl_conn *conn, uint64_t deadline_ms)
{
    if (deadline_ms == conn->timer_ms)
        return;
    conn->timer_ms = deadline_ms;
    if (deadline_ms == UINT64_MAX) {
        uv_timer_stop(&conn->timer);
    } else {
        uint64_t now = sl_conn_now(conn);
        uv_timer_start(&conn->timer, on_timer, deadline_ms > now ? deadline_ms - now : PAST_MS, 0);
    }
}
