/* SPDX-License-Identifier: MIT */
/* Two files make it: here are the sockets, in listener_place.c their names. */
#include "daemon/net/listener.h"

#include "base/fail.h"
#include "daemon/net/listener_place.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Clients accepted in one turn of the loop; the others wait in the backlog while leases are served. */
#define ACCEPTS_PER_TURN 32
/* How long accepting pauses when the system has no room for another socket. */
#define REST_MS 100u

struct sl_listener {
    uv_poll_t poll;
    uv_timer_t rest;
    unsigned handles; /* not yet closed */
    const struct sl_log *log;
    int fd;
    int reserve; /* given up for a moment when descriptors run out, so that a client can be told; -1: gone */
    sl_listener_accept_fn fn;
    void *arg;
    struct sl_fd_jobs *jobs; /* closes it; NULL: we do */
    struct sl_place *place;  /* its name, which goes away with us; NULL when it is systemd's, or none */
};

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_rested(uv_timer_t *timer);

static void rest(struct sl_listener *l, int error)
{
    sl_log(l->log, SL_LOG_WARNING, "listener", "accepting pauses for %u ms: %s", REST_MS, strerror(error));
    (void)uv_poll_stop(&l->poll);
    (void)uv_timer_start(&l->rest, on_rested, REST_MS, 0);
}

static void accept_without_room(struct sl_listener *l)
{
    if (l->reserve < 0) {
        l->reserve = open_reserve();
        rest(l, EMFILE);
        return;
    }
    (void)close(l->reserve);
    l->reserve = -1;
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        l->fn(l->arg, fd, SL_E_LIMIT);
    else if (errno != EAGAIN)
        rest(l, errno);
    l->reserve = open_reserve();
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct sl_listener *l = poll->data;
    (void)status;
    (void)events;
    /* The callee may close the listener, which stops the poll. */
    for (int i = 0; i < ACCEPTS_PER_TURN && uv_is_active((uv_handle_t *)&l->poll); i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->fn(l->arg, fd, sl_fd_is_spare(fd) ? SL_E_LIMIT : 0);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EINTR:
        case ECONNABORTED:
            continue;
        case EMFILE:
            accept_without_room(l);
            continue;
        default:
            rest(l, errno);
            return;
        }
    }
}

static void on_rested(uv_timer_t *timer)
{
    struct sl_listener *l = timer->data;
    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_listener *l = handle->data;
    if (--l->handles > 0)
        return;
    if (l->reserve >= 0)
        (void)close(l->reserve);
    sl_fd_jobs_unref(l->jobs);
    free(l);
}

void sl_listener_closed_by(struct sl_listener *l, struct sl_fd_jobs *jobs)
{
    l->jobs = sl_fd_jobs_ref(jobs);
}

int sl_listener_take(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener)
{
    struct sl_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return SL_FAIL(error, error_size, SL_E_NOMEM, "out of memory");
    l->log = log;
    l->fd = fd;
    l->fn = fn;
    l->arg = arg;
    l->poll.data = l;
    l->rest.data = l;
    int r = uv_poll_init(loop, &l->poll, fd);
    if (r != 0) {
        free(l);
        return SL_FAIL(error, error_size, SL_E_IO, "descriptor %d: %s", fd, uv_strerror(r));
    }
    l->reserve = open_reserve();
    (void)uv_timer_init(loop, &l->rest);
    l->handles = 2;
    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *ret_listener = l;
    return 0;
}

int sl_listener_adopt(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener)
{
    int type = 0, listening = 0;
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof type, address_len = sizeof address;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&address, &address_len) != 0 || address.sun_family != AF_UNIX)
        return SL_FAIL(error, error_size, SL_E_INVALID, "descriptor %d is not a Unix stream socket", fd);
    len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || listening == 0)
        return SL_FAIL(error, error_size, SL_E_INVALID, "the socket given as descriptor %d does not listen", fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return SL_FAIL(error, error_size, SL_E_IO, "descriptor %d: %s", fd, strerror(errno));
    return sl_listener_take(loop, log, fd, fn, arg, error, error_size, ret_listener);
}

int sl_listener_open(uv_loop_t *loop, const struct sl_log *log, const struct sl_listener_options *options,
    sl_listener_accept_fn fn, void *arg, char *error, size_t error_size, struct sl_listener **ret_listener)
{
    struct sl_place *place;
    int fd;
    int r = sl_place_new(options, error, error_size, &place);
    if (r != 0)
        return r;
    r = sl_place_take(place, error, error_size, &fd);
    if (r != 0)
        goto err_place;
    r = sl_listener_adopt(loop, log, fd, fn, arg, error, error_size, ret_listener);
    if (r != 0)
        goto err_taken;
    (*ret_listener)->place = place;
    return 0;

err_taken:
    (void)close(fd);
err_place:
    sl_place_free(place);
    return r;
}

/* Those who had connected before the name went away. */
static void accept_rest(struct sl_listener *l)
{
    int fd;
    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        l->fn(l->arg, fd, sl_fd_is_spare(fd) ? SL_E_LIMIT : 0);
        if (uv_is_closing((uv_handle_t *)&l->poll))
            return;
    }
}

/* The new socket gets the old one's number, so that the poll handle stays; the old one is closed as sl_listener_close()
 * does it. */
static int exchange(struct sl_listener *l, int fd, char *error, size_t error_size)
{
    const bool rests = uv_is_active((uv_handle_t *)&l->rest) != 0;
    int old = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (old < 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", sl_place_path(l->place), strerror(errno));
    (void)uv_poll_stop(&l->poll);
    (void)shutdown(old, SHUT_RDWR);
    int r = dup3(fd, l->fd, O_CLOEXEC) < 0 ? errno : 0;
    sl_fd_jobs_close(l->jobs, old);
    if (r != 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", sl_place_path(l->place), strerror(r));
    if (!rests)
        (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
    return 0;
}

int sl_listener_keep(struct sl_listener *l, bool *ret_made, char *error, size_t error_size)
{
    int fd;
    *ret_made = false;
    if (l->place == NULL || sl_place_is_held(l->place))
        return 0;
    int r = sl_place_take(l->place, error, error_size, &fd);
    if (r != 0)
        return r;
    accept_rest(l);
    if (uv_is_closing((uv_handle_t *)&l->poll)) {
        (void)close(fd);
        return SL_FAIL(error, error_size, SL_E_SHUTDOWN, "%s", sl_status_text(SL_E_SHUTDOWN));
    }
    r = exchange(l, fd, error, error_size);
    (void)close(fd);
    *ret_made = r == 0;
    return r;
}

void sl_listener_close(struct sl_listener *l)
{
    if (l == NULL || uv_is_closing((uv_handle_t *)&l->poll))
        return;
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    uv_close((uv_handle_t *)&l->rest, on_handle_closed);
    /* Now, so that nobody finds it open who has been told that it is not. */
    const bool ours = l->place != NULL; /* not systemd's, who goes on listening */
    sl_place_free(l->place);
    l->place = NULL;
    if (ours)
        (void)shutdown(l->fd, SHUT_RDWR);
    sl_fd_jobs_close(l->jobs, l->fd);
}
