/* SPDX-License-Identifier: MIT */
/* A client's way: accepted (its credentials read, the deadline for HELLO set), greeted, served, gone.
 *   on_frame   decodes and calls the message's handler; what does not decode or is out of place is a violation
 *   on_end     the client is gone: its lease is abandoned at once, whatever is still unread or unsent
 *   on_closed  the last: the memory goes
 * Requests that the driver decides are worked off before the next frame is looked at, so a client may send several. */
#include "daemon/front/native/native.h"

#include "base/state.h"
#include "daemon/front/native/handlers.h"
#include "daemon/net/hang_jobs.h"
#include "proto/status.h"
#include "sshlease_version.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO_TIMEOUT_MS 10000u
/* Users looked up at a time, for STATUS; those that hang included. */
#define NAMES_THREADS 32u
/* Answers to STATUS that are being made, or wait to be read, of all users. */
#define STATUSES_MAX 16u

/* --- leaving ------------------------------------------------------------------------------------------------------ */

static const struct sl_state phases[] = {
    [SL_CLIENT_GREETING] = {"greeting", SL_TO(SL_CLIENT_READY) | SL_TO(SL_CLIENT_LEAVING)},
    [SL_CLIENT_READY] = {"ready", SL_TO(SL_CLIENT_LEAVING)},
    [SL_CLIENT_LEAVING] = {"leaving", 0},
};

static void move(struct sl_client *c, enum sl_client_phase to)
{
    SL_MOVE(phases, c->phase, to);
}

static void uncount(struct sl_client *c)
{
    if (c->counts)
        sl_quota_give(c->native->quota, c->who.uid, SL_QUOTA_CLIENTS, 1);
    c->counts = false;
}

static void leave(struct sl_client *c)
{
    if (c->phase == SL_CLIENT_LEAVING)
        return;
    move(c, SL_CLIENT_LEAVING);
    uncount(c);
    if (c->lease != NULL)
        sl_lease_abandon(c->lease);
    c->lease = NULL;
    sl_client_end_streams(c, SL_E_CLIENT_GONE, "", false);
    sl_client_drop_jobs(c);
}

/* ERROR with rid 0, then the end of the socket. */
static void end_client(struct sl_client *c, int status, const char *text)
{
    char quoted[SL_LOG_QUOTE_SIZE];
    if (c->phase == SL_CLIENT_LEAVING)
        return;
    if (status == SL_E_PROTOCOL)
        sl_log_of(c->native->log, c->who.uid, SL_LOG_VIOLATIONS, SL_LOG_WARNING, "client",
            "pid=%ld uid=%lu reason=violation text=%s", (long)c->who.pid, (unsigned long)c->who.uid,
            sl_log_quote(quoted, sizeof quoted, text));
    leave(c);
    sl_client_error(c, 0, status, true, text);
    sl_socket_finish(c->socket);
}

/* --- greeting ----------------------------------------------------------------------------------------------------- */

static void on_hello(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_msg_hello *hello = &msg->hello;
    char text[128], program[SL_MSG_NAME_MAX + 1], quoted[SL_LOG_QUOTE_SIZE];
    if (c->phase != SL_CLIENT_GREETING) {
        end_client(c, SL_E_PROTOCOL, "HELLO came twice");
        return;
    }
    sl_log(c->native->log, SL_LOG_DEBUG, "client", "pid=%ld uid=%lu program=%s", (long)c->who.pid,
        (unsigned long)c->who.uid,
        sl_log_quote(quoted, sizeof quoted, sl_client_text(hello->program, program, sizeof program)));
    if (hello->version_min > SL_MSG_VERSION || hello->version_max < SL_MSG_VERSION_MIN ||
        hello->version_min > hello->version_max) {
        snprintf(text, sizeof text, "this daemon speaks the versions %u to %u of the protocol, the client %u to %u",
            SL_MSG_VERSION_MIN, SL_MSG_VERSION, hello->version_min, hello->version_max);
        end_client(c, SL_E_VERSION, text);
        return;
    }
    sl_socket_deadline(c->socket, 0);
    move(c, SL_CLIENT_READY);
    c->version = hello->version_max < SL_MSG_VERSION ? hello->version_max : SL_MSG_VERSION;
    sl_client_send(c, &(struct sl_msg){
                          .type = SL_MSG_WELCOME,
                          .welcome =
                              {
                                  .version = c->version,
                                  .daemon = sl_bytes_of("sshleased " SSHLEASE_VERSION),
                              },
                      });
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

typedef void (*message_fn)(struct sl_client *client, const struct sl_msg *msg);

static const struct {
    message_fn handler;
    enum sl_msg_type type;
    bool decided; /* by the driver: to be answered before the next frame */
} handlers[] = {
    {on_hello, SL_MSG_HELLO, false},
    {sl_client_on_acquire, SL_MSG_ACQUIRE, true},
    {sl_client_on_renew, SL_MSG_RENEW, true},
    {sl_client_on_release, SL_MSG_RELEASE, true},
    {sl_client_on_stream_open, SL_MSG_STREAM_OPEN, false},
    {sl_client_on_signal, SL_MSG_SIGNAL, false},
    {sl_client_on_window_change, SL_MSG_WINDOW_CHANGE, false},
    {sl_client_on_close, SL_MSG_CLOSE, false},
    {sl_client_on_stream_open_fds, SL_MSG_STREAM_OPEN_FDS, false},
    {sl_client_on_status, SL_MSG_STATUS, false},
    {sl_client_on_end, SL_MSG_END, true},
    {sl_client_on_reload, SL_MSG_RELOAD, false},
    {sl_client_on_mux, SL_MSG_MUX, false},
    {sl_client_on_reconnect, SL_MSG_RECONNECT, false},
    {sl_client_on_data, SL_MSG_DATA, false},
    {sl_client_on_window, SL_MSG_WINDOW, false},
    {sl_client_on_eof, SL_MSG_EOF, false},
};
#define HANDLERS (sizeof handlers / sizeof handlers[0])

static void heard(struct sl_client *c)
{
    c->heard_ms = uv_now(c->native->loop);
    TAILQ_REMOVE(&c->native->clients, c, link);
    TAILQ_INSERT_TAIL(&c->native->clients, c, link);
}

/* What concerns a target. False: it may go on; there are no leases that the rest could be about. */
static bool refuse_unconfigured(struct sl_client *c, const struct sl_msg *msg)
{
    uint32_t rid;
    switch ((int)msg->type) {
    case SL_MSG_ACQUIRE:
        rid = msg->acquire.rid;
        break;
    case SL_MSG_MUX:
    case SL_MSG_RECONNECT:
        rid = msg->mux.rid;
        break;
    default:
        return false;
    }
    sl_client_error(c, rid, SL_E_CONFIG, true, sl_client_unconfigured_text(c));
    return true;
}

static void on_frame(void *arg, const struct sl_frame *frame)
{
    struct sl_client *c = arg;
    struct sl_msg msg;
    char text[96];
    heard(c);
    if (!sl_msg_from_client(frame->type)) {
        snprintf(text, sizeof text, "a client does not send messages of type %u (%s)", frame->type,
            sl_msg_type_name(frame->type));
        end_client(c, SL_E_PROTOCOL, text);
        return;
    }
    if (c->phase == SL_CLIENT_GREETING && frame->type != SL_MSG_HELLO) {
        snprintf(text, sizeof text, "%s came before HELLO", sl_msg_type_name(frame->type));
        end_client(c, SL_E_PROTOCOL, text);
        return;
    }
    if (c->phase == SL_CLIENT_READY && sl_msg_since(frame->type) > c->version) {
        snprintf(text, sizeof text, "%s is a message of version %u, and version %u is spoken here",
            sl_msg_type_name(frame->type), sl_msg_since(frame->type), c->version);
        end_client(c, SL_E_PROTOCOL, text);
        return;
    }
    if (sl_msg_decode(frame, &msg) != 0) {
        snprintf(text, sizeof text, "%s does not decode", sl_msg_type_name(frame->type));
        end_client(c, SL_E_PROTOCOL, text);
        return;
    }
    for (size_t i = 0; i < HANDLERS; i++) {
        if (handlers[i].type != msg.type)
            continue;
        if (!c->native->serves && refuse_unconfigured(c, &msg))
            return;
        handlers[i].handler(c, &msg);
        if (c->fault != 0)
            end_client(c, c->fault, c->fault_text);
        if (handlers[i].decided)
            sl_driver_flush(c->native->driver);
        return;
    }
    assert(false && "every message a client may send has a handler");
}

static void on_end(void *arg, int status, const char *text)
{
    struct sl_client *c = arg;
    if (status == SL_E_PROTOCOL || status == SL_E_LIMIT) {
        end_client(c, status, text);
    } else if (status == SL_E_TIMEOUT) {
        end_client(
            c, SL_E_TIMEOUT, c->phase == SL_CLIENT_GREETING ? "no HELLO came within 10 s" : SL_NATIVE_UNREAD_TEXT);
    } else {
        sl_log(c->native->log, SL_LOG_DEBUG, "client", "pid=%ld uid=%lu reason=gone", (long)c->who.pid,
            (unsigned long)c->who.uid);
        leave(c);
        sl_socket_close(c->socket);
    }
}

static void on_drain(void *arg)
{
    sl_client_lend_all(arg);
    sl_client_send_status(arg);
}

static void on_closed(void *arg)
{
    struct sl_client *c = arg;
    struct sl_native *n = c->native;
    TAILQ_REMOVE(&n->clients, c, link);
    uncount(c);
    sl_who_fini(&c->who);
    free(c);
}

static const struct sl_socket_handler socket_handler = {
    .on_frame = on_frame,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
};

/* --- accepting ---------------------------------------------------------------------------------------------------- */

/* Nobody will look after this socket: one message that fits the empty send buffer of a new socket, and the end. */
static void turn_away(struct sl_native *n, int fd, int status, const char *text)
{
    uint8_t room[512];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w, &(struct sl_msg){
                          .type = SL_MSG_ERROR,
                          .error = {.code = (uint32_t)-status, .unsent = true, .text = sl_bytes_of(text)},
                      });
    (void)send(fd, w.data, w.at, MSG_DONTWAIT | MSG_NOSIGNAL);
    const uid_t uid = sl_peer_uid(fd);
    sl_log_of(n->log, uid, SL_LOG_TURNED_AWAY, SL_LOG_WARNING, "client", "uid=%ld refused reason=%s text=\"%s\"",
        (long)(int)uid, sl_status_name(status), text);
    sl_socket_refuse(sl_watch_jobs(n->watch), fd);
}

static bool is_idle(const struct sl_client *c)
{
    return c->phase == SL_CLIENT_READY && c->lease == NULL && c->status == NULL && c->reload == NULL &&
           TAILQ_EMPTY(&c->streams) && uv_now(c->native->loop) - c->heard_ms >= SL_QUOTA_IDLE_MS;
}

/* The one of the user's that has been idle longest goes. False: none is. */
static bool make_room(struct sl_native *n, uid_t uid)
{
    struct sl_client *c;
    TAILQ_FOREACH(c, &n->clients, link)
    {
        if (c->who.uid != uid || !is_idle(c))
            continue;
        sl_log_of(n->log, uid, SL_LOG_TURNED_AWAY, SL_LOG_INFO, "client", "pid=%ld uid=%lu reason=idle",
            (long)c->who.pid, (unsigned long)uid);
        end_client(
            c, SL_E_LIMIT, "closed for want of use: another client of its user needs the place (limits.clients)");
        return true;
    }
    return false;
}

static int count(struct sl_client *c)
{
    struct sl_native *n = c->native;
    const bool privileged = sl_conf_is_privileged(sl_driver_conf(n->driver), &c->who);
    int r = sl_quota_admit(n->quota, c->who.uid, privileged, SL_QUOTA_CLIENTS, 1);
    if (r == SL_E_LIMIT && sl_driver_stopping(n->driver))
        r = SL_E_SHUTDOWN; /* it comes again; the idle wait for our end */
    if (r == SL_E_LIMIT && make_room(n, c->who.uid))
        r = sl_quota_admit(n->quota, c->who.uid, privileged, SL_QUOTA_CLIENTS, 1);
    c->counts = r == 0;
    return r;
}

/* 0, or a status with the reason in `text`. */
static int let_in(struct sl_client *c, int fd, char *text, size_t size)
{
    struct sl_native *n = c->native;
    int r = sl_peer_read(fd, &c->who);
    if (r == SL_E_IO) {
        snprintf(text, size, "the kernel does not say who you are");
        return SL_E_NOT_ALLOWED;
    }
    if (r == 0 && sl_fd_jobs_stalled(sl_watch_jobs(n->watch), c->who.uid)) {
        snprintf(text, size, "%s", SL_FD_STALLED_TEXT);
        return SL_E_LIMIT;
    }
    if (r == 0 && (r = count(c)) == SL_E_LIMIT) {
        (void)sl_quota_refusal(n->quota, c->who.uid, SL_QUOTA_CLIENTS, text, size);
        return r;
    }
    if (r == SL_E_SHUTDOWN) {
        (void)sl_driver_stopping_text(n->driver, text, size);
        return r;
    }
    if (r == 0)
        r = sl_socket_open(n->loop, sl_watch_jobs(n->watch), fd, &socket_handler, c, &c->socket);
    snprintf(text, size, "%s", sl_status_text(r));
    return r;
}

static void add_client(struct sl_native *n, int fd)
{
    char text[SL_QUOTA_TEXT_SIZE];
    struct sl_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        turn_away(n, fd, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
        return;
    }
    c->native = n;
    TAILQ_INIT(&c->streams);
    int r = let_in(c, fd, text, sizeof text);
    if (r != 0) {
        turn_away(n, fd, r, text);
        uncount(c);
        sl_who_fini(&c->who);
        free(c);
        return;
    }
    TAILQ_INSERT_TAIL(&n->clients, c, link);
    sl_socket_account(c->socket, n->quota);
    sl_socket_deadline(c->socket, HELLO_TIMEOUT_MS);
}

void sl_native_accept(struct sl_native *n, int fd, int status)
{
    char text[128];
    if (status != 0)
        turn_away(n, fd, status, "the daemon has no file descriptor left");
    else if (n->closed_to_new)
        turn_away(n, fd, SL_E_SHUTDOWN, sl_driver_stopping_text(n->driver, text, sizeof text));
    else
        add_client(n, fd);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

int sl_native_new(uv_loop_t *loop, const struct sl_log *log, struct sl_driver *driver, struct sl_watch *watch,
    const struct sl_native_hooks *hooks, struct sl_native **ret_native)
{
    struct sl_native *n = calloc(1, sizeof *n);
    if (n == NULL)
        return SL_E_NOMEM;
    int r = sl_hang_jobs_new(loop, NAMES_THREADS, &n->names);
    if (r != 0) {
        free(n);
        return r;
    }
    n->loop = loop;
    n->log = log;
    n->driver = driver;
    n->watch = watch;
    n->hooks = *hooks;
    n->started_ms = uv_now(loop);
    n->quota = sl_driver_quota(driver);
    sl_quota_limit(n->quota, SL_QUOTA_STATUSES, STATUSES_MAX);
    n->serves = true;
    TAILQ_INIT(&n->clients);
    *ret_native = n;
    return 0;
}

void sl_native_unconfigured(struct sl_native *n, const char *errors)
{
    free(n->unconfigured);
    n->unconfigured = NULL;
    if (asprintf(&n->unconfigured, "sshleased is not configured:\n%s", errors) < 0)
        n->unconfigured = NULL;
    n->serves = false;
}

void sl_native_stop(struct sl_native *n)
{
    struct sl_client *c;
    n->closed_to_new = true;
    TAILQ_FOREACH(c, &n->clients, link)
    {
        leave(c);
        sl_socket_finish(c->socket);
    }
    sl_hang_jobs_free(n->names);
    n->names = NULL;
}

void sl_native_free(struct sl_native *n)
{
    if (n == NULL)
        return;
    assert(TAILQ_EMPTY(&n->clients));
    free(n->unconfigured);
    free(n);
}
