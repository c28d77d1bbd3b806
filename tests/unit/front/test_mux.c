/* SPDX-License-Identifier: MIT */
/* The mux front end over the driver, the core and a fake transport: clients speak to its sockets byte by byte. */
#include "daemon/front/mux/mux.h"
#include "daemon/net/socket.h"
#include "proto/muxmsg.h"
#include "proto/status.h"
#include "tests/support/lease_world.h"
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct mux_world {
    struct sl_world world;
    struct sl_watch *watch;
    struct sl_mux *mux;
    char directory[64];
};

struct ssh {
    struct mux_world *w;
    int fd;
    int in, out, err; /* our ends of the session's pipes; -1: closed, or none yet */
    uint8_t got[8192];
    size_t len, taken;
    struct sl_frame frame;
};

static void start(struct mux_world *w, const char *targets, bool one_user)
{
    char yaml[2048], error[512];
    *w = (struct mux_world){.directory = "/tmp/sl-mux.XXXXXX"};
    assert_non_null(mkdtemp(w->directory));
    snprintf(yaml, sizeof yaml, "mux: {directory: %s/m}\ndefaults: {" WORLD_LOGIN "}\n%s\n", w->directory, targets);
    sl_world_init(&w->world, yaml, one_user);
    assert_int_equal(sl_watch_new(&w->world.loop, &w->watch), 0);
    assert_int_equal(sl_mux_new(&w->world.loop, NULL, w->world.driver, w->watch, &w->mux), 0);
    assert_int_equal(sl_mux_prepare(sl_driver_conf(w->world.driver), error, sizeof error), 0);
    sl_mux_configure(w->mux);
}

/* Insists that nothing is left. */
static void finish(struct mux_world *w)
{
    char path[128];
    sl_driver_shutdown(w->world.driver, true, sl_world_stopped, &w->world);
    WORLD_UNTIL(&w->world, w->world.stopped);
    sl_mux_stop(w->mux);
    sl_watch_free(w->watch);
    uv_close((uv_handle_t *)&w->world.tick, NULL);
    (void)uv_run(&w->world.loop, UV_RUN_DEFAULT);
    sl_mux_free(w->mux);
    sl_driver_free(w->world.driver);
    sl_transport_free(w->world.transport);
    assert_int_equal(uv_loop_close(&w->world.loop), 0);
    snprintf(path, sizeof path, "%s/m", w->directory);
    assert_int_equal(rmdir(path), 0); /* every socket is gone */
    assert_int_equal(rmdir(w->directory), 0);
}

static bool is_socket(const struct mux_world *w, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/m/%s", w->directory, name);
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* --- a client ----------------------------------------------------------------------------------------------------- */

static struct ssh *connect_to(struct mux_world *w, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ssh *s = calloc(1, sizeof *s);
    assert_non_null(s);
    *s = (struct ssh){.w = w, .in = -1, .out = -1, .err = -1};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/m/%s", w->directory, name);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(s->fd, (const struct sockaddr *)&address, sizeof address), 0);
    return s;
}

static void hang_up(struct ssh *s)
{
    const int fd[] = {s->fd, s->in, s->out, s->err};
    for (size_t i = 0; i < sizeof fd / sizeof fd[0]; i++)
        if (fd[i] >= 0)
            (void)close(fd[i]);
    free(s);
}

static void say(struct ssh *s, uint32_t type, const uint32_t *numbers, size_t count)
{
    uint8_t room[64];
    struct sl_writer out;
    sl_writer_init(&out, room, sizeof room);
    size_t begin = sl_frame_begin(&out, type);
    for (size_t i = 0; i < count; i++)
        sl_put_u32(&out, numbers[i]);
    sl_frame_end(&out, begin);
    assert_int_equal(send(s->fd, out.data, out.at, MSG_NOSIGNAL), out.at);
}

/* The next frame's type; 0 when the socket has ended. */
static uint32_t hear(struct ssh *s)
{
    memmove(s->got, s->got + s->taken, s->len - s->taken);
    s->len -= s->taken;
    s->taken = 0;
    for (;;) {
        long taken = sl_frame_parse(s->got, s->len, SL_FRAME_MAX, &s->frame);
        assert_true(taken >= 0);
        if (taken > 0) {
            s->taken = (size_t)taken;
            return s->frame.type;
        }
        ssize_t n = recv(s->fd, s->got + s->len, sizeof s->got - s->len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n > 0)
            s->len += (size_t)n;
        else
            (void)uv_run(&s->w->world.loop, UV_RUN_ONCE);
    }
}

static void expect(struct ssh *s, uint32_t type)
{
    assert_string_equal(sl_mux_type_name(hear(s)), sl_mux_type_name(type));
}

static uint32_t number(const struct ssh *s, size_t which)
{
    struct sl_reader r;
    uint32_t value = 0;
    sl_reader_init(&r, s->frame.body.data, s->frame.body.len);
    for (size_t i = 0; i <= which; i++)
        assert_int_equal(sl_get_u32(&r, &value), 0);
    return value;
}

static struct ssh *greeted(struct mux_world *w, const char *name)
{
    struct ssh *s = connect_to(w, name);
    expect(s, SL_MUX_HELLO); /* unasked */
    say(s, SL_MUX_HELLO, (const uint32_t[]){SL_MUX_VERSION}, 1);
    return s;
}

static void pass(struct ssh *s, int fd)
{
    char nul = '\0';
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof fd)];
    } control = {.room = {0}};
    struct iovec iov = {.iov_base = &nul, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    assert_int_equal(sendmsg(s->fd, &msg, MSG_NOSIGNAL), 1);
    (void)close(fd);
}

static void request(struct ssh *s, const char *command)
{
    uint8_t room[512];
    struct sl_writer out;
    sl_writer_init(&out, room, sizeof room);
    size_t begin = sl_frame_begin(&out, SL_MUX_NEW_SESSION);
    sl_put_u32(&out, 1);
    sl_put_text(&out, "");
    for (int i = 0; i < 4; i++)
        sl_put_u32(&out, 0);
    sl_put_u32(&out, '~');
    sl_put_text(&out, "dumb");
    sl_put_text(&out, command);
    sl_put_text(&out, "LC_X=1");
    sl_frame_end(&out, begin);
    assert_int_equal(send(s->fd, out.data, out.at, MSG_NOSIGNAL), out.at);
}

static void pass_pipes(struct ssh *s)
{
    int in[2], out[2], err[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    s->in = in[1];
    s->out = out[0];
    s->err = err[0];
    pass(s, in[0]);
    pass(s, out[1]);
    pass(s, err[1]);
}

static struct ssh *session(struct mux_world *w, const char *command)
{
    struct ssh *s = greeted(w, "a");
    request(s, command);
    pass_pipes(s);
    return s;
}

/* All that comes from it until its end, which must come. */
static const char *all_of(struct ssh *s, int fd, char *text, size_t size)
{
    size_t len = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (;;) {
        ssize_t n = read(fd, text + len, size - 1 - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        else
            (void)uv_run(&s->w->world.loop, UV_RUN_ONCE);
    }
    text[len] = '\0';
    return text;
}

static unsigned leased(const struct mux_world *w)
{
    struct sl_driver_totals totals;
    sl_driver_totals(w->world.driver, &totals);
    return totals.leased;
}

/* --- the tests ---------------------------------------------------------------------------------------------------- */

#define ONE(more) "targets: {a: {" more "}}"

TEST(a_session_from_its_request_to_its_end)
{
    struct mux_world w;
    char text[64];
    start(&w, ONE("host: h"), false);
    struct ssh *s = session(&w, "cat");
    expect(s, SL_MUX_SESSION_OPENED);
    assert_int_equal(number(s, 0), 1);
    const uint32_t id = number(s, 1);
    assert_string_equal(sl_fake_counts(w.world.transport).last_env, "LC_X=1");
    assert_int_equal(leased(&w), 1);
    assert_int_equal(write(s->in, "hello", 5), 5);
    (void)close(s->in);
    s->in = -1;
    assert_string_equal(all_of(s, s->out, text, sizeof text), "hello");
    assert_string_equal(all_of(s, s->err, text, sizeof text), "");
    expect(s, SL_MUX_EXIT_MESSAGE);
    assert_int_equal(number(s, 0), id);
    assert_int_equal(number(s, 1), 0);
    expect(s, 0);
    assert_int_equal(leased(&w), 0); /* by then it has been given back, and clean */
    assert_int_equal(sl_fake_counts(w.world.transport).drained, 0);
    assert_int_equal(sl_fake_counts(w.world.transport).open, 1);
    hang_up(s);
    finish(&w);
}

TEST(a_check_leases_nothing)
{
    struct mux_world w;
    start(&w, ONE("host: h"), false);
    struct ssh *s = greeted(&w, "a");
    say(s, SL_MUX_ALIVE_CHECK, (const uint32_t[]){0}, 1);
    expect(s, SL_MUX_ALIVE);
    assert_int_equal(number(s, 1), getpid());
    say(s, SL_MUX_STOP_LISTENING, (const uint32_t[]){1}, 1);
    expect(s, SL_MUX_OK);
    say(s, SL_MUX_TERMINATE, (const uint32_t[]){2}, 1);
    expect(s, SL_MUX_OK);
    say(s, SL_MUX_PROXY, (const uint32_t[]){3}, 1);
    expect(s, SL_MUX_FAILURE);
    assert_int_equal(number(s, 0), 3);
    sl_world_settle(&w.world);
    assert_int_equal(sl_fake_counts(w.world.transport).dialed, 0);
    hang_up(s);
    finish(&w);
}

TEST(a_failure_is_told_behind_session_opened)
{
    struct mux_world w;
    char text[256];
    start(&w, ONE("host: h, acquire_timeout: 50ms, retry_min: 10s, retry_max: 10s"), false);
    sl_fake_dial(w.world.transport, 1, SL_E_CONNECT, "h:22: nobody there");
    struct ssh *s = session(&w, "exit 0");
    expect(s, SL_MUX_SESSION_OPENED);
    expect(s, SL_MUX_EXIT_MESSAGE);
    assert_int_equal(number(s, 1), 255);
    expect(s, 0);
    all_of(s, s->err, text, sizeof text);
    assert_non_null(strstr(text, "sshlease: target a: "));
    assert_non_null(strstr(text, "nobody there"));
    hang_up(s);
    finish(&w);
}

TEST(a_refused_stream)
{
    struct mux_world w;
    char text[256];
    start(&w, ONE("host: h"), false);
    struct ssh *s = session(&w, "refuse");
    expect(s, SL_MUX_SESSION_OPENED);
    expect(s, SL_MUX_EXIT_MESSAGE);
    assert_int_equal(number(s, 1), 255);
    assert_non_null(strstr(all_of(s, s->err, text, sizeof text), "sshlease: target a: "));
    expect(s, 0);
    hang_up(s);
    finish(&w);
}

TEST(a_client_that_goes_is_reclaimed_at_every_stage)
{
    struct mux_world w;
    start(&w, ONE("host: h, max_connections: 1"), false);
    for (int stage = 0; stage < 5; stage++) {
        struct ssh *s = greeted(&w, "a"), *other = NULL;
        if (stage > 0)
            request(s, "hang");
        if (stage > 1)
            pass_pipes(s);
        if (stage > 2)
            expect(s, SL_MUX_SESSION_OPENED);
        if (stage > 3)
            other = session(&w, "hang"); /* waits for the same connection */
        sl_world_settle(&w.world);
        hang_up(s);
        if (other != NULL) {
            expect(other, SL_MUX_SESSION_OPENED);
            hang_up(other);
        }
        WORLD_UNTIL(&w.world, leased(&w) == 0 && sl_fake_counts(w.world.transport).streams_open == 0);
    }
    assert_true(sl_fake_counts(w.world.transport).drained >= 3);
    finish(&w);
}

TEST(a_lease_is_renewed_until_the_longest)
{
    struct mux_world w;
    char text[256];
    start(&w, ONE("host: h, lease_timeout: 60ms, max_lease: 300ms"), false);
    struct ssh *s = session(&w, "hang");
    expect(s, SL_MUX_SESSION_OPENED);
    const uint64_t begin = uv_now(&w.world.loop);
    expect(s, SL_MUX_EXIT_MESSAGE);
    assert_int_equal(number(s, 1), 255);
    assert_true(uv_now(&w.world.loop) - begin >= 250);
    assert_non_null(strstr(all_of(s, s->err, text, sizeof text), "the lease ran out"));
    expect(s, 0);
    hang_up(s);
    finish(&w);
}

TEST(a_lost_connection_has_no_exit_message)
{
    struct mux_world w;
    char text[256];
    start(&w, ONE("host: h"), false);
    struct ssh *s = session(&w, "hang");
    expect(s, SL_MUX_SESSION_OPENED);
    sl_fake_lose_all(w.world.transport, "cable cut");
    assert_non_null(strstr(all_of(s, s->err, text, sizeof text), "sshlease: "));
    expect(s, 0);
    hang_up(s);
    finish(&w);
}

TEST(output_that_nobody_reads_does_not_keep_what_is_over)
{
    struct mux_world w;
    start(&w, ONE("host: h, lease_timeout: 60ms, max_lease: 60ms"), false);
    struct ssh *s = session(&w, "flood 1000000");
    expect(s, SL_MUX_SESSION_OPENED);
    expect(s, SL_MUX_EXIT_MESSAGE); /* without a byte read from the pipe */
    assert_int_equal(number(s, 1), 255);
    expect(s, 0);
    hang_up(s);
    finish(&w);
}

/* `ssh -W host:22`, with the descriptors it passes. */
static void request_stdio(struct ssh *s)
{
    uint8_t room[64];
    struct sl_writer out;
    sl_writer_init(&out, room, sizeof room);
    size_t begin = sl_frame_begin(&out, SL_MUX_NEW_STDIO_FWD);
    sl_put_u32(&out, 5);
    sl_put_text(&out, "");
    sl_put_text(&out, "host");
    sl_put_u32(&out, 22);
    sl_frame_end(&out, begin);
    assert_int_equal(send(s->fd, out.data, out.at, MSG_NOSIGNAL), out.at);
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pass(s, pipes[0]);
    pass(s, pipes[1]);
}

TEST(a_second_session_fails)
{
    struct mux_world w;
    start(&w, ONE("host: h"), false);
    struct ssh *s = session(&w, "hang");
    const int first[] = {s->in, s->out, s->err};
    expect(s, SL_MUX_SESSION_OPENED);
    request(s, "hang");
    pass_pipes(s);
    expect(s, SL_MUX_FAILURE);
    request_stdio(s);
    expect(s, SL_MUX_FAILURE);
    assert_int_equal(number(s, 0), 5);
    say(s, SL_MUX_ALIVE_CHECK, (const uint32_t[]){9}, 1); /* behind its descriptors */
    expect(s, SL_MUX_ALIVE);
    for (size_t i = 0; i < 3; i++)
        (void)close(first[i]);
    hang_up(s);
    finish(&w);
}

void __real_sl_socket_deadline(struct sl_socket *socket, uint64_t timeout_ms);
void __wrap_sl_socket_deadline(struct sl_socket *socket, uint64_t timeout_ms);

static uint64_t patience_ms; /* not 0: instead of any deadline */

void __wrap_sl_socket_deadline(struct sl_socket *socket, uint64_t timeout_ms)
{
    __real_sl_socket_deadline(socket, timeout_ms != 0 && patience_ms != 0 ? patience_ms : timeout_ms);
}

TEST(who_says_nothing_is_not_waited_for)
{
    struct mux_world w;
    start(&w, ONE("host: h"), false);
    patience_ms = 50;
    struct ssh *silent = connect_to(&w, "a");
    expect(silent, SL_MUX_HELLO);
    expect(silent, 0);
    /* Nor one whose descriptors do not come; who has greeted may take its time. */
    struct ssh *greeting = greeted(&w, "a"), *without = greeted(&w, "a");
    say(greeting, SL_MUX_ALIVE_CHECK, (const uint32_t[]){1}, 1);
    expect(greeting, SL_MUX_ALIVE);
    request(without, "hang");
    expect(without, 0);
    say(greeting, SL_MUX_ALIVE_CHECK, (const uint32_t[]){2}, 1);
    expect(greeting, SL_MUX_ALIVE);
    patience_ms = 0;
    hang_up(silent);
    hang_up(without);
    hang_up(greeting);
    finish(&w);
}

TEST(too_many_clients_are_told_so)
{
    struct mux_world w;
    start(&w, "limits: {clients: 1}\n" ONE("host: h"), true);
    struct ssh *first = greeted(&w, "a"), *second = greeted(&w, "a");
    say(second, SL_MUX_ALIVE_CHECK, (const uint32_t[]){0}, 1);
    expect(second, SL_MUX_FAILURE);
    /* Without a request id: ssh gives up, instead of logging in by itself. */
    assert_int_equal(number(second, 0), second->frame.body.len - 4);
    assert_non_null(memmem(second->frame.body.data, second->frame.body.len, "limits.clients", 14));
    say(first, SL_MUX_ALIVE_CHECK, (const uint32_t[]){0}, 1);
    expect(first, SL_MUX_ALIVE);
    hang_up(first);
    hang_up(second);
    finish(&w);
}

TEST(sockets_made_on_demand)
{
    struct mux_world w;
    struct sl_target_conf *target;
    char path[256], expected[256], name[300];
    start(&w, ONE("host: h"), true);
    assert_true(is_socket(&w, "a"));
    const struct sl_conf *conf = sl_driver_conf(w.world.driver);
    assert_int_equal(sl_mux_ensure(w.mux, conf->target[0], path, sizeof path), 0);
    snprintf(expected, sizeof expected, "%s/m/u@a", w.directory);
    assert_string_equal(path, expected);
    assert_int_equal(readlink(path, name, sizeof name), 1);
    assert_int_equal(name[0], 'a');
    assert_int_equal(unlink(path), 0); /* somebody cleans up */
    assert_int_equal(sl_mux_ensure(w.mux, conf->target[0], path, sizeof path), 0);
    assert_true(is_socket(&w, "u@a"));

    assert_int_equal(sl_conf_adhoc(conf, "bob@H", &target), 0);
    assert_int_equal(sl_mux_ensure(w.mux, target, path, sizeof path), 0);
    snprintf(expected, sizeof expected, "%s/m/bob@h:22", w.directory);
    assert_string_equal(path, expected);
    assert_true(is_socket(&w, "bob@h:22"));
    assert_int_equal(unlink(path), 0); /* somebody cleans up */
    assert_int_equal(sl_mux_ensure(w.mux, target, path, sizeof path), 0);
    assert_true(is_socket(&w, "bob@h:22"));
    sl_target_conf_unref(target);

    assert_int_equal(sl_conf_adhoc(conf, "a/b@h", &target), 0);
    assert_int_equal(sl_mux_ensure(w.mux, target, path, sizeof path), SL_E_INVALID);
    assert_non_null(strstr(path, "no socket can have this name"));
    sl_target_conf_unref(target);

    snprintf(name, sizeof name, "%0120d@h", 0);
    assert_int_equal(sl_conf_adhoc(conf, name, &target), 0);
    assert_int_equal(sl_mux_ensure(w.mux, target, path, sizeof path), SL_E_INVALID);
    assert_non_null(strstr(path, "too long for a Unix socket"));
    sl_target_conf_unref(target);
    finish(&w);
}

TEST(a_reload_brings_and_takes_sockets)
{
    struct mux_world w;
    char yaml[512];
    start(&w, "targets: {a: {host: h}, b: {host: h}}", false);
    assert_true(is_socket(&w, "a") && is_socket(&w, "b"));
    struct ssh *s = session(&w, "hang");
    expect(s, SL_MUX_SESSION_OPENED);
    snprintf(
        yaml, sizeof yaml, "mux: {directory: %s/m}\ndefaults: {" WORLD_LOGIN "}\ntargets: {b: , c: }\n", w.directory);
    assert_int_equal(sl_driver_reload(w.world.driver, sl_world_conf(yaml, false)), 0);
    sl_mux_configure(w.mux);
    assert_true(!is_socket(&w, "a") && is_socket(&w, "b") && is_socket(&w, "c"));
    assert_int_equal(leased(&w), 1); /* who is connected stays */
    hang_up(s);
    finish(&w);
}

/* ssh with another user finds no socket. */
TEST(a_socket_has_the_name_of_its_user)
{
    struct mux_world w;
    char yaml[512], path[300];
    start(&w, "targets: {a: {host: h}, b: {host: h, user: DOM\\you}, c: {host: h, user: with/slash}}", false);
    assert_true(is_socket(&w, "a") && is_socket(&w, "u@a") && !is_socket(&w, "root@a"));
    assert_true(is_socket(&w, "DOM\\you@b") && is_socket(&w, "c"));
    const struct sl_conf *conf = sl_driver_conf(w.world.driver);
    assert_int_equal(sl_mux_ensure(w.mux, sl_conf_find(conf, "c"), path, sizeof path), 0);
    assert_string_equal(strrchr(path, '/'), "/c");
    snprintf(path, sizeof path, "%s/m/root@a", w.directory);
    assert_int_equal(symlink("nowhere", path), 0); /* left by one that was killed */
    snprintf(yaml, sizeof yaml, "mux: {directory: %s/m}\ndefaults: {" WORLD_LOGIN "}\ntargets: {a: {user: root}}\n",
        w.directory);
    assert_int_equal(sl_driver_reload(w.world.driver, sl_world_conf(yaml, false)), 0);
    sl_mux_configure(w.mux);
    assert_true(is_socket(&w, "a") && is_socket(&w, "root@a") && !is_socket(&w, "u@a"));
    assert_true(!is_socket(&w, "b") && !is_socket(&w, "DOM\\you@b"));
    finish(&w);
}

TEST(a_directory_that_clients_may_write_to_is_refused)
{
    struct mux_world w;
    char path[256], error[512];
    start(&w, ONE("host: h"), false);
    snprintf(path, sizeof path, "%s/m", w.directory);
    assert_int_equal(chmod(path, 0775), 0);
    assert_int_equal(sl_mux_prepare(sl_driver_conf(w.world.driver), error, sizeof error), SL_E_INVALID);
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "others may write there"));
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(sl_mux_prepare(sl_driver_conf(w.world.driver), error, sizeof error), 0);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_from_its_request_to_its_end),
        cmocka_unit_test(a_check_leases_nothing),
        cmocka_unit_test(a_failure_is_told_behind_session_opened),
        cmocka_unit_test(a_refused_stream),
        cmocka_unit_test(a_client_that_goes_is_reclaimed_at_every_stage),
        cmocka_unit_test(a_lease_is_renewed_until_the_longest),
        cmocka_unit_test(a_lost_connection_has_no_exit_message),
        cmocka_unit_test(output_that_nobody_reads_does_not_keep_what_is_over),
        cmocka_unit_test(a_second_session_fails),
        cmocka_unit_test(who_says_nothing_is_not_waited_for),
        cmocka_unit_test(too_many_clients_are_told_so),
        cmocka_unit_test(sockets_made_on_demand),
        cmocka_unit_test(a_reload_brings_and_takes_sockets),
        cmocka_unit_test(a_socket_has_the_name_of_its_user),
        cmocka_unit_test(a_directory_that_clients_may_write_to_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
