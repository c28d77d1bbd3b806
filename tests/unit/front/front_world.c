/* SPDX-License-Identifier: MIT */
/* Clients over socket pairs that send frames and take answers one by one. */
#include "tests/unit/front/front_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int on_reload(void *arg, sl_native_reloaded_fn done, void *done_arg)
{
    struct sl_front_world *f = arg;
    if (f->reload_refusal != 0)
        return f->reload_refusal;
    assert_null(f->reloaded);
    f->reloaded = done;
    f->reloaded_arg = done_arg;
    return 0;
}

static int on_mux_path(void *arg, const struct sl_target_conf *target, char *buf, size_t size)
{
    struct sl_front_world *f = arg;
    f->mux_asked++;
    snprintf(buf, size, f->mux_refusal == 0 ? "/run/mux/%s" : "%s: no mux", target->name);
    return f->mux_refusal;
}

static void init(struct sl_front_world *f, const char *yaml, bool one_user)
{
    const struct sl_native_hooks hooks = {.reload = on_reload, .mux_path = on_mux_path, .arg = f};
    *f = (struct sl_front_world){.reload_refusal = 0};
    sl_world_init(&f->world, yaml, one_user);
    assert_int_equal(sl_watch_new(&f->world.loop, &f->watch), 0);
    assert_int_equal(sl_native_new(&f->world.loop, NULL, f->world.driver, f->watch, &hooks, &f->native), 0);
}

void sl_front_init(struct sl_front_world *f, const char *yaml)
{
    init(f, yaml, false);
}

void sl_front_init_one_user(struct sl_front_world *f, const char *yaml)
{
    init(f, yaml, true);
}

void sl_front_fini(struct sl_front_world *f)
{
    sl_driver_shutdown(f->world.driver, true, sl_world_stopped, &f->world);
    WORLD_UNTIL(&f->world, f->world.stopped);
    sl_native_stop(f->native);
    sl_watch_free(f->watch);
    uv_close((uv_handle_t *)&f->world.tick, NULL);
    (void)uv_run(&f->world.loop, UV_RUN_DEFAULT);
    sl_native_free(f->native);
    sl_driver_free(f->world.driver);
    sl_transport_free(f->world.transport);
    assert_int_equal(uv_loop_close(&f->world.loop), 0);
}

struct sl_raw_client *sl_raw_connect_as(struct sl_front_world *f, uid_t uid)
{
    const uid_t own = geteuid();
    assert_int_equal(seteuid(uid), 0); /* what SO_PEERCRED will say of the pair */
    struct sl_raw_client *c = sl_raw_connect(f);
    assert_int_equal(seteuid(own), 0);
    return c;
}

struct sl_raw_client *sl_raw_connect(struct sl_front_world *f)
{
    struct sl_raw_client *c = calloc(1, sizeof *c);
    int fd[2];
    assert_non_null(c);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    c->front = f;
    c->fd = fd[1];
    sl_native_accept(f->native, fd[0], 0);
    return c;
}

void sl_raw_close(struct sl_raw_client *c)
{
    (void)close(c->fd);
    free(c);
}

void sl_raw_say_bytes(struct sl_raw_client *c, const void *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = send(c->fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            (void)uv_run(&c->front->world.loop, UV_RUN_NOWAIT);
            continue;
        }
        at += (size_t)n;
    }
}

void sl_raw_say(struct sl_raw_client *c, const struct sl_msg *msg)
{
    struct sl_writer w;
    sl_writer_init(&w, c->out, sizeof c->out);
    sl_msg_encode(&w, msg);
    assert_false(w.overflow);
    sl_raw_say_bytes(c, c->out, w.at);
}

uint32_t sl_raw_hear(struct sl_raw_client *c)
{
    struct sl_frame frame;
    memmove(c->in, c->in + c->taken, c->in_len - c->taken);
    c->in_len -= c->taken;
    c->taken = 0;
    for (;;) {
        long taken = sl_frame_parse(c->in, c->in_len, SL_FRAME_MAX, &frame);
        assert_true(taken >= 0);
        if (taken > 0) {
            assert_true(frame.type >= SL_MSG_DATA);
            assert_int_equal(sl_msg_decode(&frame, &c->msg), 0);
            c->taken = (size_t)taken;
            return frame.type;
        }
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n > 0)
            c->in_len += (size_t)n;
        else
            (void)uv_run(&c->front->world.loop, UV_RUN_ONCE);
    }
}

void sl_raw_expect(struct sl_raw_client *c, uint32_t type)
{
    uint32_t heard = sl_raw_hear(c);
    if (heard == SL_MSG_ERROR && type != SL_MSG_ERROR)
        fail_msg("ERROR: %.*s", (int)c->msg.error.text.len, (const char *)c->msg.error.text.data);
    assert_string_equal(sl_msg_type_name(heard), sl_msg_type_name(type));
}

void sl_raw_expect_error(struct sl_raw_client *c, uint32_t rid, int status)
{
    sl_raw_expect(c, SL_MSG_ERROR);
    assert_int_equal(c->msg.error.rid, rid);
    assert_int_equal(c->msg.error.code, -status);
    assert_true(c->msg.error.text.len > 0);
}

void sl_raw_expect_fatal(struct sl_raw_client *c, int status, const char *text)
{
    char said[512];
    sl_raw_expect_error(c, 0, status);
    size_t len = c->msg.error.text.len < sizeof said - 1 ? c->msg.error.text.len : sizeof said - 1;
    memcpy(said, c->msg.error.text.data, len);
    said[len] = '\0';
    if (strstr(said, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, said);
    assert_int_equal(sl_raw_hear(c), 0);
}

void sl_raw_expect_silence(struct sl_raw_client *c)
{
    uint8_t byte;
    sl_world_settle(&c->front->world);
    assert_int_equal(c->in_len - c->taken, 0);
    assert_int_equal(recv(c->fd, &byte, 1, MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
}

void sl_raw_greet(struct sl_raw_client *c)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_HELLO,
                      .hello = {.version_min = 1, .version_max = SL_MSG_VERSION, .program = sl_bytes_of("test 1")}});
    sl_raw_expect(c, SL_MSG_WELCOME);
    assert_int_equal(c->msg.welcome.version, SL_MSG_VERSION);
}

struct sl_raw_client *sl_raw_hello(struct sl_front_world *f)
{
    struct sl_raw_client *c = sl_raw_connect(f);
    sl_raw_greet(c);
    return c;
}

struct sl_raw_client *sl_raw_lease(struct sl_front_world *f)
{
    struct sl_raw_client *c = sl_raw_hello(f);
    sl_raw_acquire(c, 1, "a");
    sl_raw_expect(c, SL_MSG_GRANTED);
    assert_int_equal(c->msg.granted.rid, 1);
    return c;
}

void sl_raw_acquire(struct sl_raw_client *c, uint32_t rid, const char *target)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_ACQUIRE,
                      .acquire = {.rid = rid, .target = sl_bytes_of(target), .label = sl_bytes_of("l")}});
}

void sl_raw_request(struct sl_raw_client *c, uint32_t type, uint32_t rid)
{
    if (type == SL_MSG_RENEW)
        sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_RENEW, .renew = {.rid = rid}});
    else
        sl_raw_say(c, &(struct sl_msg){.type = (enum sl_msg_type)type, .request = {.rid = rid}});
}

void sl_raw_exec(struct sl_raw_client *c, uint32_t rid, uint32_t stream, const char *command, uint32_t window)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_STREAM_OPEN,
                      .stream_open = {.rid = rid,
                          .stream = stream,
                          .kind = SL_KIND_EXEC,
                          .command = sl_bytes_of(command),
                          .window = window}});
}

void sl_raw_data(struct sl_raw_client *c, uint32_t stream, const void *data, size_t len)
{
    sl_raw_say(
        c, &(struct sl_msg){.type = SL_MSG_DATA, .data = {.stream = stream, .data = {.data = data, .len = len}}});
}

void sl_raw_window(struct sl_raw_client *c, uint32_t stream, uint32_t bytes)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = bytes}});
}

void sl_raw_stream(struct sl_raw_client *c, uint32_t type, uint32_t stream)
{
    sl_raw_say(c, &(struct sl_msg){.type = (enum sl_msg_type)type, .stream = {.stream = stream}});
}
