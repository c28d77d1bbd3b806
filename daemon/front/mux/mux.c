/* SPDX-License-Identifier: MIT */
/* A client's way: accepted at the socket of a target, greeted from both sides, served, gone.
 *   on_frame   decodes and calls the message's handler; what does not decode is a violation and the end
 *   on_fds     the descriptors that belong to a message, before the next frame
 *   on_end     the client is gone: its lease is abandoned at once
 *   on_closed  the last: the memory goes
 * A client that is refused is told so where ssh does not go round it: in the answer to its ALIVE_CHECK, or behind
 * SESSION_OPENED (mux/session.c). */
#include "daemon/front/mux/mux.h"

#include "daemon/front/mux/handlers.h"
#include "daemon/front/mux/sockets.h"
#include "daemon/net/dial.h"
#include "proto/status.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For HELLO, and for descriptors that were announced. */
#define PATIENCE_MS 10000u
/* How often the windows of those are looked at who cannot say that they have changed. */
#define LOOK_MS 500u
/* Clients that are still told that they are one too many. */
#define BEYOND_MAX 64u

/* --- leaving ------------------------------------------------------------------------------------------------------ */

static void leave(struct sl_mux_client *c, bool tell)
{
    if (c->phase == SL_MUX_LEAVING)
        return;
    sl_mux_lease_abandon(c); /* first: it lets go of its users, and its streams call no more */
    sl_mux_session_drop(c, tell);
    sl_mux_stdio_drop(c);
    sl_mux_forwards_drop(c);
    if (c->phase != SL_MUX_LEAVING)
        sl_mux_client_move(c, SL_MUX_LEAVING);
    sl_mux_client_uncount(c);
}

static void violation(struct sl_mux_client *c, const char *text)
{
    char quoted[SL_LOG_QUOTE_SIZE];
    if (c->phase == SL_MUX_LEAVING)
        return;
    sl_log_of(c->mux->log, c->who.uid, SL_LOG_VIOLATIONS, SL_LOG_WARNING, "client",
        "pid=%ld uid=%lu front=mux reason=violation text=%s", (long)c->who.pid, (unsigned long)c->who.uid,
        sl_log_quote(quoted, sizeof quoted, text));
    leave(c, false);
    sl_socket_close(c->socket);
}

/* --- refusing ----------------------------------------------------------------------------------------------------- */

/* Whether its user may have so many descriptors more. Those that come after all are refused without a word. */
static bool has_room_for(const struct sl_mux_client *c, unsigned fds)
{
    struct sl_quota *quota = sl_driver_quota(c->mux->driver);
    if (fds == 0)
        return true;
    if (sl_quota_take(quota, c->who.uid, SL_QUOTA_DESCRIPTORS, fds) != 0)
        return false;
    sl_quota_give(quota, c->who.uid, SL_QUOTA_DESCRIPTORS, fds);
    return true;
}

/* Why this client is served nothing that needs so many descriptors: the reason in `text`. False: it is served. */
static bool is_refused(struct sl_mux_client *c, unsigned fds, char *text, size_t size)
{
    struct sl_target_conf *target = NULL;
    char why[SL_QUOTA_TEXT_SIZE], said[128];
    if (c->refusal != NULL) {
        snprintf(text, size, "target %s: %s", c->target, c->refusal);
    } else if (sl_driver_stopping(c->mux->driver)) {
        snprintf(text, size, "target %s: %s; try again when it is back", c->target,
            sl_driver_stopping_text(c->mux->driver, said, sizeof said));
    } else if (!has_room_for(c, fds)) {
        snprintf(text, size, "target %s: %s", c->target,
            sl_quota_refusal(sl_driver_quota(c->mux->driver), c->who.uid, SL_QUOTA_DESCRIPTORS, why, sizeof why));
    } else if (sl_driver_admit(c->mux->driver, c->target, &c->who, &target, text, size) == 0) {
        sl_target_conf_unref(target);
        return false;
    }
    return true;
}

/* The driver, which tells of refused requests, never hears of these. */
static void log_refusal(const struct sl_mux_client *c, const char *text)
{
    char quoted[SL_LOG_QUOTE_SIZE];
    sl_log_of(c->mux->log, c->who.uid, SL_LOG_REFUSALS, SL_LOG_NOTICE, "client",
        "pid=%ld uid=%lu front=mux refused text=%s", (long)c->who.pid, (unsigned long)c->who.uid,
        sl_log_quote(quoted, sizeof quoted, text));
}

/* --- the simple requests ------------------------------------------------------------------------------------------ */

/* With who is served. Others have only to read why they are not. */
static void be_patient(struct sl_mux_client *c)
{
    sl_socket_deadline(c->socket, c->refusal != NULL ? PATIENCE_MS : 0);
}

static void on_hello(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    char text[96];
    if (c->phase != SL_MUX_GREETING) {
        violation(c, "HELLO came twice");
    } else if (msg->version != SL_MUX_VERSION) {
        snprintf(text, sizeof text, "it speaks version %u of the mux protocol, not %u", msg->version, SL_MUX_VERSION);
        violation(c, text);
    } else {
        sl_mux_client_move(c, SL_MUX_READY);
        be_patient(c);
    }
}

static void on_alive_check(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    uint8_t room[SL_MUX_REPLY_MAX];
    char text[SL_MUX_TEXT_MAX], whole[SL_MUX_TEXT_MAX];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    if (is_refused(c, SL_MUX_SESSION_FDS, text, sizeof text)) {
        log_refusal(c, text);
        snprintf(whole, sizeof whole, "sshlease: %.4000s", text);
        sl_mux_put_fatal(&w, whole);
    } else {
        /* 1: SIGWINCH reaches nobody there, and 0 would be taken for a failure. */
        sl_mux_put_alive(&w, msg->rid, c->signals ? (uint32_t)getpid() : 1);
    }
    sl_mux_client_send(c, &w);
}

/* In words: nobody goes round us on a refusal of these. */
static bool refuse_control(struct sl_mux_client *c, uint32_t rid)
{
    char text[SL_MUX_TEXT_MAX];
    if (!is_refused(c, 0, text, sizeof text))
        return false;
    log_refusal(c, text);
    sl_mux_client_refuse(c, SL_MUX_PERMISSION_DENIED, rid, text);
    return true;
}

/* A client that says it wants its next command to log in anew: there is nothing else to stop. */
static void on_stop_listening(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    if (refuse_control(c, msg->rid))
        return;
    sl_mux_client_ok(c, msg->rid); /* before others' callbacks may run */
    sl_driver_reset(c->mux->driver, c->target, c->who.uid);
}

/* The same; and a master would end with it what its user has there. Of that, what only holds forwards ends here too: whether
 * an ssh is left that could be killed for it, its version decides. */
static void on_terminate(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    struct sl_mux_client *other, *next;
    if (refuse_control(c, msg->rid))
        return;
    for (other = TAILQ_FIRST(&c->mux->clients); other != NULL; other = next) {
        next = TAILQ_NEXT(other, link);
        if (other->who.uid != c->who.uid || strcmp(other->target, c->target) != 0)
            continue;
        if (other->phase == SL_MUX_STANDING)
            sl_mux_forwards_end(other);
        else
            sl_mux_session_terminate(other);
    }
    sl_mux_client_ok(c, msg->rid);
    sl_driver_reset(c->mux->driver, c->target, c->who.uid);
}

static void on_proxy(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    sl_mux_client_refuse(c, SL_MUX_FAILURE, msg->rid,
        "sshleased does not speak the proxy mode of OpenSSH's sockets; leave out -O proxy");
}

/* --- frames and descriptors --------------------------------------------------------------------------------------- */

typedef void (*message_fn)(struct sl_mux_client *client, const struct sl_mux_msg *msg);

static const struct {
    enum sl_mux_type type;
    message_fn handler;
    unsigned fds; /* descriptors that follow it */
    bool work;    /* not for those who are not served */
} handlers[] = {
    {SL_MUX_HELLO, on_hello, 0, false},
    {SL_MUX_ALIVE_CHECK, on_alive_check, 0, false},
    {SL_MUX_NEW_SESSION, sl_mux_on_new_session, SL_MUX_SESSION_FDS, true},
    {SL_MUX_NEW_STDIO_FWD, sl_mux_on_stdio_fwd, SL_MUX_STDIO_FWD_FDS, true},
    {SL_MUX_OPEN_FWD, sl_mux_on_open_fwd, 0, true},
    {SL_MUX_CLOSE_FWD, sl_mux_on_close_fwd, 0, true},
    {SL_MUX_TERMINATE, on_terminate, 0, false},
    {SL_MUX_STOP_LISTENING, on_stop_listening, 0, false},
    {SL_MUX_PROXY, on_proxy, 0, false},
    {SL_MUX_EXT_INFO, sl_mux_on_ext_info, 0, true},
};
#define HANDLERS (sizeof handlers / sizeof handlers[0])

static unsigned fds_of(enum sl_mux_type type)
{
    for (size_t i = 0; i < HANDLERS; i++)
        if (handlers[i].type == type)
            return handlers[i].fds;
    return 0;
}

static void handle(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    char text[SL_MUX_TEXT_MAX];
    for (size_t i = 0; i < HANDLERS; i++) {
        if (handlers[i].type != msg->type)
            continue;
        if (handlers[i].work && is_refused(c, handlers[i].fds, text, sizeof text)) {
            log_refusal(c, text);
            /* ssh has asked ALIVE_CHECK before, except for forwards. */
            sl_mux_client_refuse_loudly(c, msg->rid, text);
            c->fds = handlers[i].fds > 0 ? SL_MUX_FDS_UNWANTED : SL_MUX_FDS_NONE;
            return;
        }
        handlers[i].handler(c, msg);
        return;
    }
    assert(false && "every message a client may send has a handler");
}

static void on_frame(void *arg, const struct sl_frame *frame)
{
    struct sl_mux_client *c = arg;
    struct sl_mux_msg msg;
    char text[96];
    if (c->phase != SL_MUX_GREETING && c->phase != SL_MUX_READY)
        return;
    c->heard_ms = uv_now(c->mux->loop);
    TAILQ_REMOVE(&c->mux->clients, c, link);
    TAILQ_INSERT_TAIL(&c->mux->clients, c, link);
    if (sl_mux_decode(frame, &msg) != 0) {
        snprintf(text, sizeof text, "a message of type 0x%08x (%s) does not decode", frame->type,
            sl_mux_type_name(frame->type));
        violation(c, text);
        return;
    }
    if (c->phase == SL_MUX_GREETING && msg.type != SL_MUX_HELLO) {
        snprintf(text, sizeof text, "%s came before HELLO", sl_mux_type_name(frame->type));
        violation(c, text);
        return;
    }
    handle(c, &msg);
    if (c->fds == SL_MUX_FDS_NONE || c->phase == SL_MUX_LEAVING)
        return;
    sl_socket_expect_fds(c->socket, fds_of(msg.type));
    sl_socket_deadline(c->socket, PATIENCE_MS);
}

static void look_where_needed(uv_timer_t *timer)
{
    struct sl_mux *mux = timer->data;
    struct sl_mux_client *c;
    bool needed = false;
    TAILQ_FOREACH(c, &mux->clients, link)
    {
        if (!sl_mux_session_unwatched(c))
            continue;
        needed = true;
        sl_mux_session_look(c);
    }
    if (!needed)
        (void)uv_timer_stop(timer);
}

static void on_fds(void *arg)
{
    struct sl_mux_client *c = arg;
    const enum sl_mux_fds whose = c->fds;
    int fd[SL_MUX_SESSION_FDS] = {-1, -1, -1}, one;
    unsigned count = 0;
    c->fds = SL_MUX_FDS_NONE;
    be_patient(c);
    while (count < SL_MUX_SESSION_FDS && (one = sl_socket_take_fd(c->socket)) >= 0)
        fd[count++] = one;
    if (whose == SL_MUX_FDS_SESSION && count == SL_MUX_SESSION_FDS && c->session != NULL) {
        sl_mux_on_session_fds(c, fd);
        if (sl_mux_session_unwatched(c) && !uv_is_active((uv_handle_t *)&c->mux->look))
            (void)uv_timer_start(&c->mux->look, look_where_needed, LOOK_MS, LOOK_MS);
    } else if (whose == SL_MUX_FDS_STDIO_FWD && count == SL_MUX_STDIO_FWD_FDS) {
        sl_mux_on_stdio_fwd_fds(c, fd);
    } else {
        for (unsigned i = 0; i < count; i++)
            sl_fd_jobs_close(sl_watch_jobs(c->mux->watch), fd[i]);
        if (whose != SL_MUX_FDS_UNWANTED)
            violation(c, "the message came with the wrong number of descriptors");
    }
}

static void on_end(void *arg, int status, const char *text)
{
    struct sl_mux_client *c = arg;
    if (status == SL_E_TIMEOUT && c->phase == SL_MUX_READY && c->fds == SL_MUX_FDS_NONE) {
        leave(c, true); /* its session has ended, but for output that nobody reads */
        sl_socket_finish(c->socket);
        return;
    }
    if (status == SL_E_PROTOCOL || status == SL_E_TIMEOUT || status == SL_E_LIMIT) {
        violation(c, text);
        return;
    }
    sl_log(c->mux->log, SL_LOG_DEBUG, "client", "pid=%ld uid=%lu front=mux reason=gone", (long)c->who.pid,
        (unsigned long)c->who.uid);
    if (status == 0 && c->phase == SL_MUX_READY && sl_mux_forwards_stand(c))
        sl_mux_client_move(c, SL_MUX_STANDING);
    if (c->phase != SL_MUX_STANDING)
        leave(c, false);
    sl_socket_close(c->socket);
}

static void on_drain(void *arg)
{
    (void)arg; /* little is sent here, and nothing that waits for room */
}

static void on_closed(void *arg)
{
    struct sl_mux_client *c = arg;
    c->socket = NULL;
    if (c->phase == SL_MUX_STANDING)
        return;
    leave(c, false); /* a socket that was finishing has closed without a word */
    sl_mux_client_forget(c);
}

static const struct sl_socket_handler socket_handler = {
    .on_frame = on_frame,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_closed = on_closed,
    .on_fds = on_fds,
};

/* --- accepting ---------------------------------------------------------------------------------------------------- */

/* Whether a signal of this client's reaches us: the same user, or root, and a name for us that it can use. */
static bool may_signal(const struct sl_who *peer)
{
    char path[64], ours[64], theirs[64];
    if (peer->pid <= 0 || (peer->uid != 0 && peer->uid != getuid()))
        return false;
    snprintf(path, sizeof path, "/proc/%ld/ns/pid", (long)peer->pid);
    ssize_t a = readlink("/proc/self/ns/pid", ours, sizeof ours), b = readlink(path, theirs, sizeof theirs);
    return a > 0 && a == b && memcmp(ours, theirs, (size_t)a) == 0;
}

static void turn_away(struct sl_mux *mux, int fd, int status)
{
    const uid_t uid = sl_peer_uid(fd);
    sl_log_of(mux->log, uid, SL_LOG_TURNED_AWAY, SL_LOG_WARNING, "client", "uid=%ld front=mux refused reason=%s",
        (long)(int)uid, sl_status_name(status));
    sl_socket_refuse(sl_watch_jobs(mux->watch), fd);
}

static bool is_idle(const struct sl_mux_client *c)
{
    return c->phase == SL_MUX_READY && c->fds == SL_MUX_FDS_NONE && c->lease == NULL && c->session == NULL &&
           c->stdio == NULL && c->forwards == NULL && uv_now(c->mux->loop) - c->heard_ms >= SL_QUOTA_IDLE_MS;
}

/* The one of the user's that has been idle longest goes. False: none is. */
static bool make_room(struct sl_mux *mux, uid_t uid)
{
    struct sl_mux_client *c;
    TAILQ_FOREACH(c, &mux->clients, link)
    {
        if (c->who.uid != uid || !c->counts || !is_idle(c))
            continue;
        sl_log_of(mux->log, uid, SL_LOG_TURNED_AWAY, SL_LOG_INFO, "client", "pid=%ld uid=%lu front=mux reason=idle",
            (long)c->who.pid, (unsigned long)uid);
        leave(c, false);
        sl_socket_close(c->socket);
        return true;
    }
    return false;
}

/* 0, and where there is no place for it, but to tell it so, why, in `text`; or a status. */
static int count(struct sl_mux_client *c, char *text, size_t size)
{
    struct sl_mux *mux = c->mux;
    struct sl_quota *quota = sl_driver_quota(mux->driver);
    const bool privileged = sl_conf_is_privileged(sl_driver_conf(mux->driver), &c->who);
    int r = sl_quota_admit(quota, c->who.uid, privileged, SL_QUOTA_CLIENTS, 1);
    if (r == SL_E_LIMIT && make_room(mux, c->who.uid))
        r = sl_quota_admit(quota, c->who.uid, privileged, SL_QUOTA_CLIENTS, 1);
    c->counts = r == 0;
    if (r != SL_E_LIMIT || mux->beyond >= BEYOND_MAX)
        return r;
    c->is_beyond = true;
    mux->beyond++;
    (void)sl_quota_refusal(quota, c->who.uid, SL_QUOTA_CLIENTS, text, size);
    return 0;
}

/* Greets a new client; one that is refused is told so when it asks. */
static void add_client(struct sl_mux *mux, const char *target, int fd)
{
    uint8_t room[SL_MUX_HELLO_SIZE];
    char text[SL_QUOTA_TEXT_SIZE] = "";
    struct sl_writer w;
    struct sl_mux_client *c = calloc(1, sizeof *c);
    int status = SL_E_NOMEM;
    if (c == NULL)
        goto err_fd;
    c->mux = mux;
    TAILQ_INIT(&c->users);
    if (sl_peer_read(fd, &c->who) != 0) {
        c->who = (struct sl_who){.uid = (uid_t)-1};
        snprintf(text, sizeof text, "the kernel does not say who you are");
    }
    if (sl_fd_jobs_stalled(sl_watch_jobs(mux->watch), c->who.uid)) { /* told so, it would have to be read from */
        status = SL_E_LIMIT;
        goto err_client;
    }
    if ((status = count(c, text, sizeof text)) != 0)
        goto err_client;
    status = SL_E_NOMEM;
    c->target = strdup(target);
    c->refusal = text[0] != '\0' ? strdup(text) : NULL;
    c->signals = may_signal(&c->who);
    if (c->target == NULL || (text[0] != '\0' && c->refusal == NULL))
        goto err_client;
    if (sl_socket_open(mux->loop, sl_watch_jobs(mux->watch), fd, &socket_handler, c, &c->socket) != 0)
        goto err_client;
    (void)uv_timer_init(mux->loop, &c->renewal);
    c->renewal.data = c;
    TAILQ_INSERT_TAIL(&mux->clients, c, link);
    sl_socket_account(c->socket, sl_driver_quota(mux->driver));
    sl_socket_deadline(c->socket, PATIENCE_MS);
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_hello(&w);
    sl_mux_client_send(c, &w);
    return;

err_client:
    sl_mux_client_free(c);
err_fd:
    turn_away(mux, fd, status);
}

static void on_accept(void *arg, const char *target, int fd, int status)
{
    struct sl_mux *mux = arg;
    if (status != 0 || mux->stopped)
        turn_away(mux, fd, status != 0 ? status : SL_E_SHUTDOWN);
    else
        add_client(mux, target, fd);
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static void on_winch(uv_signal_t *handle, int number)
{
    struct sl_mux *mux = handle->data;
    struct sl_mux_client *c;
    (void)number; /* whose window it was, the signal does not say */
    TAILQ_FOREACH(c, &mux->clients, link)
    sl_mux_session_look(c);
}

static void on_again(void *arg)
{
    struct sl_mux *mux = arg;
    if (!mux->stopped && !sl_driver_stopping(mux->driver))
        sl_mux_configure(mux);
}

int sl_mux_new(uv_loop_t *loop, const struct sl_log *log, struct sl_driver *driver, struct sl_watch *watch,
    struct sl_mux **ret_mux)
{
    struct sl_mux *mux = calloc(1, sizeof *mux);
    if (mux == NULL)
        return SL_E_NOMEM;
    mux->loop = loop;
    mux->log = log;
    mux->driver = driver;
    mux->watch = watch;
    TAILQ_INIT(&mux->clients);
    int r = sl_mux_sockets_new(loop, log, sl_watch_jobs(watch), on_accept, on_again, mux, &mux->sockets);
    if (r != 0)
        goto err_mux;
    r = sl_dialer_new(loop, &mux->dialer);
    if (r != 0)
        goto err_sockets;
    if (uv_signal_init(loop, &mux->winch) != 0) {
        r = SL_E_INTERNAL;
        goto err_dialer;
    }
    (void)uv_timer_init(loop, &mux->look);
    mux->winch.data = mux;
    mux->look.data = mux;
    uv_unref((uv_handle_t *)&mux->winch);
    if (uv_signal_start(&mux->winch, on_winch, SIGWINCH) != 0) /* windows are looked at less often then */
        sl_log(log, SL_LOG_WARNING, "start", "SIGWINCH cannot be handled");
    *ret_mux = mux;
    return 0;

err_dialer:
    sl_dialer_free(mux->dialer);
err_sockets:
    sl_mux_sockets_free(mux->sockets);
err_mux:
    free(mux);
    return r;
}

int sl_mux_prepare(const struct sl_conf *conf, char *error, size_t error_size)
{
    return sl_mux_sockets_prepare(conf, error, error_size);
}

void sl_mux_configure(struct sl_mux *mux)
{
    sl_mux_sockets_sync(mux->sockets, sl_driver_conf(mux->driver));
}

int sl_mux_ensure(struct sl_mux *mux, const struct sl_target_conf *target, char *path, size_t size)
{
    if (mux->stopped || sl_driver_stopping(mux->driver)) {
        snprintf(path, size, "target %s: %s", target->name, sl_status_text(SL_E_SHUTDOWN));
        return SL_E_SHUTDOWN;
    }
    return sl_mux_sockets_ensure(mux->sockets, sl_driver_conf(mux->driver), target, path, size);
}

bool sl_mux_is_reachable(const struct sl_mux *mux)
{
    return sl_mux_sockets_reachable(mux->sockets);
}

void sl_mux_stop_listening(struct sl_mux *mux)
{
    struct sl_mux_client *c, *next;
    sl_mux_sockets_close_all(mux->sockets);
    for (c = TAILQ_FIRST(&mux->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->phase == SL_MUX_STANDING)
            sl_mux_forwards_end(c); /* nobody is there to end them */
    }
}

void sl_mux_stop(struct sl_mux *mux)
{
    struct sl_mux_client *c, *next;
    mux->stopped = true;
    sl_mux_stop_listening(mux);
    for (c = TAILQ_FIRST(&mux->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        leave(c, true);
        if (c->socket != NULL)
            sl_socket_finish(c->socket);
        else
            sl_mux_client_forget(c);
    }
    sl_dialer_free(mux->dialer);
    mux->dialer = NULL;
    uv_close((uv_handle_t *)&mux->winch, NULL);
    uv_close((uv_handle_t *)&mux->look, NULL);
}

void sl_mux_free(struct sl_mux *mux)
{
    if (mux == NULL)
        return;
    assert(TAILQ_EMPTY(&mux->clients));
    sl_mux_sockets_free(mux->sockets);
    free(mux);
}
