/* SPDX-License-Identifier: MIT */
/* Runs the script in a thread: accepts, expects frames, answers, and keeps the first difference. */
#include "fake_daemon.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* As a process does: nobody listens any more, and the client finds that out after it has been left. */
static void end(struct fake *f)
{
    close(f->listen_fd);
    fake_close(f);
}

static void *play(void *arg)
{
    struct fake *f = arg;
    f->script(f);
    end(f);
    return NULL;
}

void fake_start(struct fake *f, fake_script_fn script)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool quiet = f->quiet;
    uint32_t number = f->number, lease_ms = f->lease_ms, max_lease_ms = f->max_lease_ms;
    memset(f, 0, sizeof *f);
    f->number = number;
    f->quiet = quiet;
    f->lease_ms = lease_ms != 0 ? lease_ms : 60000;
    f->max_lease_ms = max_lease_ms != 0 ? max_lease_ms : 600000;
    f->fd = -1;
    f->script = script;
    snprintf(f->dir, sizeof f->dir, "/tmp/sshlease-unit.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    memcpy(address.sun_path, f->path, sizeof f->path);
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listen_fd >= 0);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, play, f), 0);
    f->running = true;
}

void fake_close_passed(struct fake *f)
{
    for (unsigned i = 0; i < f->passed_count; i++)
        close(f->passed[i]);
    f->passed_count = 0;
}

void fake_stop_quietly(struct fake *f, bool anything_goes)
{
    if (f->running)
        pthread_join(f->thread, NULL);
    f->running = false;
    fake_close_passed(f);
    unlink(f->path);
    rmdir(f->dir);
    if (f->failure[0] != '\0' && !anything_goes)
        fail_msg("the fake daemon: %s", f->failure);
}

void fake_stop(struct fake *f)
{
    fake_stop_quietly(f, false);
}

struct sshlease *fake_open(struct fake *f, fake_script_fn script)
{
    struct sshlease *lease;
    fake_start(f, script);
    int status = sshlease_open(f->path, PATIENCE_MS, &lease);
    if (status != 0)
        fail_msg("open: %s; the fake daemon: %s", sshlease_error(lease), f->failure);
    return lease;
}

struct sshlease *fake_lease(struct fake *f, fake_script_fn script)
{
    struct sshlease *lease = fake_open(f, script);
    int status = sshlease_acquire(lease, "web1", NULL);
    if (status != 0)
        fail_msg("acquire: %s; the fake daemon: %s", sshlease_error(lease), f->failure);
    return lease;
}

void fake_fail(struct fake *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->failure, sizeof f->failure, format, args);
    va_end(args);
    if (!f->quiet)
        fprintf(stderr, "the fake daemon: %s\n", f->failure); /* the test may fail first, by what follows from it */
    end(f);
    pthread_exit(NULL);
}

void fake_close(struct fake *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static void wait_for(struct fake *f, int fd, short events, const char *what)
{
    struct pollfd pfd = {.fd = fd, .events = events};
    if (poll(&pfd, 1, PATIENCE_MS) != 1)
        fake_fail(f, "waited in vain for %s", what);
}

void fake_accept(struct fake *f)
{
    wait_for(f, f->listen_fd, POLLIN, "a client");
    f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (f->fd < 0)
        fake_fail(f, "accept: %s", strerror(errno));
    f->in_at = f->in_end = 0;
}

static ssize_t receive(struct fake *f)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof f->passed)];
    } control;
    struct iovec iov = {.iov_base = f->in + f->in_end, .iov_len = sizeof f->in - f->in_end};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t got = recvmsg(f->fd, &msg, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        if (f->passed_count > 0)
            fake_fail(f, "descriptors came again");
        f->passed_count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(f->passed, CMSG_DATA(header), f->passed_count * sizeof(int));
    }
    return got;
}

/* Waits for a whole frame; leaves it in the buffer. Returns its length there. */
static size_t await_frame(struct fake *f, const char *what, struct sl_frame *ret_frame)
{
    for (;;) {
        long len = sl_frame_parse(f->in + f->in_at, f->in_end - f->in_at, SL_FRAME_MAX, ret_frame);
        if (len < 0)
            fake_fail(f, "a bad frame where %s was expected", what);
        if (len > 0)
            return (size_t)len;
        memmove(f->in, f->in + f->in_at, f->in_end - f->in_at);
        f->in_end -= f->in_at;
        f->in_at = 0;
        wait_for(f, f->fd, POLLIN, what);
        ssize_t got = receive(f);
        if (got <= 0)
            fake_fail(f, "the client went away where %s was expected", what);
        f->in_end += (size_t)got;
    }
}

uint32_t fake_peek(struct fake *f)
{
    struct sl_frame frame;
    await_frame(f, "anything", &frame);
    return frame.type;
}

const struct sl_msg *fake_take(struct fake *f, uint32_t type)
{
    struct sl_frame frame;
    f->in_at += await_frame(f, sl_msg_type_name(type), &frame);
    if (sl_msg_decode(&frame, &f->msg) != 0)
        fake_fail(f, "a bad %s where %s was expected", sl_msg_type_name(frame.type), sl_msg_type_name(type));
    if (f->msg.type != type)
        fake_fail(f, "got %s instead of %s", sl_msg_type_name(f->msg.type), sl_msg_type_name(type));
    return &f->msg;
}

void fake_take_end(struct fake *f)
{
    uint8_t byte;
    if (f->in_at < f->in_end)
        fake_fail(f, "the client said something more");
    wait_for(f, f->fd, POLLIN, "the client to close");
    ssize_t got = recv(f->fd, &byte, 1, 0);
    if (got > 0)
        fake_fail(f, "the client said something more instead of closing");
}

void fake_send_raw(struct fake *f, const void *data, size_t len)
{
    const uint8_t *from = data;
    while (len > 0) {
        wait_for(f, f->fd, POLLOUT, "the client to read");
        ssize_t sent = send(f->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            continue;
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* the client went away first, as it may; the next take says whether it should have */
        if (sent < 0)
            fake_fail(f, "send: %s", strerror(errno));
        from += sent;
        len -= (size_t)sent;
    }
}

void fake_send(struct fake *f, const struct sl_msg *msg)
{
    size_t size = sl_msg_size(msg);
    uint8_t *frame = malloc(size);
    struct sl_writer w;
    sl_writer_init(&w, frame, size);
    sl_msg_encode(&w, msg);
    if (w.overflow) {
        free(frame);
        fake_fail(f, "the script's %s cannot be encoded", sl_msg_type_name(msg->type));
    }
    fake_send_raw(f, frame, w.at);
    free(frame);
}

void fake_greet_in(struct fake *f, uint32_t version)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_WELCOME, .welcome = {.version = version, .daemon = sl_bytes_of("fake 1")}});
}

void fake_greet(struct fake *f)
{
    fake_greet_in(f, SL_MSG_VERSION);
}

void fake_grant(struct fake *f)
{
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED,
                     .granted = {.rid = rid,
                         .lease = 7,
                         .lease_timeout_ms = f->lease_ms,
                         .max_lease_ms = f->max_lease_ms,
                         .streams = 8}});
}

uint32_t fake_open_stream(struct fake *f, uint32_t window)
{
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    uint32_t stream = open->stream;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_OPENED,
                     .stream_opened = {.rid = open->rid, .stream = stream, .window = window}});
    return stream;
}

void fake_send_ok(struct fake *f, uint32_t rid)
{
    fake_send(f, &(struct sl_msg){.type = SL_MSG_OK, .request = {.rid = rid}});
}

void fake_send_error(struct fake *f, uint32_t rid, int status, bool unsent, const char *text)
{
    fake_send(f, &(struct sl_msg){.type = SL_MSG_ERROR,
                     .error = {.rid = rid, .code = (uint32_t)-status, .unsent = unsent, .text = sl_bytes_of(text)}});
}

void fake_send_data(struct fake *f, uint32_t stream, uint32_t fd, const void *data, size_t len)
{
    fake_send(f, &(struct sl_msg){
                     .type = SL_MSG_DATA, .data = {.stream = stream, .fd = fd, .data = {.data = data, .len = len}}});
}

void fake_send_end(struct fake *f, uint32_t stream, uint32_t exit_status)
{
    fake_send(f, &(struct sl_msg){.type = SL_MSG_EOF, .stream = {.stream = stream}});
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = stream, .how = SL_END_STATUS, .exit_status = exit_status}});
}

void fake_release(struct fake *f)
{
    fake_send_ok(f, fake_take(f, SL_MSG_RELEASE)->request.rid);
}
