/* SPDX-License-Identifier: MIT */
/* Starts the socket under test, and says and hears bytes at its other end. */
#include "tests/unit/net/socket_world.h"
#include "tests/support/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void on_frame(void *arg, const struct sl_frame *frame)
{
    struct world *w = arg;
    w->frames++;
    w->last_type = frame->type;
    w->last_len = frame->body.len;
    if (w->on_frame == DO_ANSWER) {
        static const char answer[65536];
        (void)sl_socket_send(w->socket, answer, sizeof answer, NULL, 0);
    } else if (w->on_frame == DO_CLOSE) {
        sl_socket_close(w->socket);
    } else if (w->on_frame == DO_EXPECT && frame->type == 7) {
        sl_socket_expect_fds(w->socket, w->wanted);
    } else if (w->on_frame == DO_TAKE) {
        for (unsigned i = 0; i < w->wanted; i++)
            w->taken[i] = sl_socket_take_fd(w->socket);
    }
}

static void on_fds(void *arg)
{
    struct world *w = arg;
    w->fds_told++;
    for (unsigned i = 0; i < w->wanted; i++)
        w->taken[i] = sl_socket_take_fd(w->socket);
}

static void on_end(void *arg, int status, const char *text)
{
    struct world *w = arg;
    assert_non_null(text);
    w->ends++;
    w->end_status = status;
}

static void on_drain(void *arg)
{
    struct world *w = arg;
    w->drains++;
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    w->closes++;
    w->socket = NULL;
}

const struct sl_socket_handler world_handler = {
    .on_frame = on_frame, .on_end = on_end, .on_drain = on_drain, .on_closed = on_closed, .on_fds = on_fds};

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("what was waited for did not happen in 10 s");
}

struct world *start(void)
{
    struct world *w = calloc(1, sizeof *w);
    int fd[2];
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(sl_socket_open(&w->loop, NULL, fd[0], &world_handler, w, &w->socket), 0);
    w->peer = fd[1];
    assert_int_equal(uv_timer_init(&w->loop, &w->limit), 0);
    assert_int_equal(uv_timer_start(&w->limit, on_limit, 10000, 0), 0);
    return w;
}

void stop(struct world *w)
{
    if (w->socket != NULL)
        sl_socket_close(w->socket);
    uv_close((uv_handle_t *)&w->limit, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(w->closes, 1);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    if (w->peer >= 0)
        (void)close(w->peer);
    free(w);
}

void say(struct world *w, const void *data, size_t len)
{
    assert_int_equal(send(w->peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

size_t hear(struct world *w)
{
    static char buf[65536];
    size_t sum = 0;
    ssize_t n;
    while ((n = recv(w->peer, buf, sizeof buf, 0)) > 0)
        sum += (size_t)n;
    return sum;
}

size_t make_frame(uint8_t *buf, size_t size, uint32_t type, size_t body_len)
{
    struct sl_writer writer;
    sl_writer_init(&writer, buf, size);
    size_t begin = sl_frame_begin(&writer, type);
    for (size_t i = 0; i < body_len; i++)
        sl_put_u8(&writer, (uint8_t)i);
    sl_frame_end(&writer, begin);
    assert_false(writer.overflow);
    return writer.at;
}

int count_descriptors(void **state)
{
    static unsigned before;
    if (*state == NULL) {
        uv_loop_t first; /* libuv keeps two descriptors of its own from the first loop on */
        assert_int_equal(uv_loop_init(&first), 0);
        assert_int_equal(uv_loop_close(&first), 0);
        before = open_descriptors();
        *state = &before;
    } else {
        assert_int_equal(open_descriptors(), before);
    }
    return 0;
}
