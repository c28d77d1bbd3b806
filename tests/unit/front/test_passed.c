/* SPDX-License-Identifier: MIT */
/* Streams of the native protocol whose bytes go by passed descriptors. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/front/front_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Our ends of three pipes; `theirs` are those that are passed. */
struct pipes {
    int in, out, err, theirs[3];
};

static void make_pipes(struct pipes *p)
{
    int fd[3][2];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pipe2(fd[i], O_CLOEXEC), 0);
    *p = (struct pipes){.in = fd[0][1], .out = fd[1][0], .err = fd[2][0], .theirs = {fd[0][0], fd[1][1], fd[2][1]}};
    assert_int_equal(fcntl(p->out, F_SETFL, O_NONBLOCK), 0);
}

static void shut(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void close_theirs(struct pipes *p)
{
    for (int i = 0; i < 3; i++)
        shut(&p->theirs[i]);
}

static void close_pipes(struct pipes *p)
{
    close_theirs(p);
    shut(&p->in);
    shut(&p->out);
    shut(&p->err);
}

/* STREAM_OPEN_FDS of stream 1 by request 5, with `count` descriptors. */
static void open_with(struct sl_raw_client *c, const char *command, uint32_t fds, const int *fd, size_t count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    uint8_t room[512];
    struct sl_writer w;
    sl_writer_init(&w, room, sizeof room);
    sl_msg_encode(&w,
        &(struct sl_msg){.type = SL_MSG_STREAM_OPEN_FDS,
            .stream_open = {.rid = 5, .stream = 1, .kind = SL_KIND_EXEC, .command = sl_bytes_of(command), .fds = fds}});
    struct iovec iov = {.iov_base = room, .iov_len = w.at};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fd, count * sizeof(int));
    }
    assert_int_equal(sendmsg(c->fd, &msg, MSG_NOSIGNAL), (ssize_t)w.at);
}

static void open_passed(struct sl_raw_client *c, const char *command, struct pipes *p)
{
    make_pipes(p);
    open_with(c, command, SL_MSG_FDS_ALL, p->theirs, 3);
    close_theirs(p);
}

/* Until something comes or the end. */
static ssize_t hear_pipe(struct sl_raw_client *c, int fd, void *data, size_t size)
{
    ssize_t n;
    while ((n = read(fd, data, size)) < 0) {
        assert_int_equal(errno, EAGAIN);
        (void)uv_run(&c->front->world.loop, UV_RUN_ONCE);
    }
    return n;
}

TEST(bytes_go_by_the_descriptors_alone)
{
    struct sl_front_world f;
    struct pipes p;
    char buf[64];
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_passed(c, "cat", &p);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    assert_int_equal(c->msg.stream_opened.rid, 5);
    assert_int_equal(c->msg.stream_opened.window, 0);
    assert_int_equal(write(p.in, "hello", 5), 5);
    assert_int_equal(hear_pipe(c, p.out, buf, sizeof buf), 5);
    assert_memory_equal(buf, "hello", 5);
    sl_raw_expect_silence(c);
    shut(&p.in);
    sl_raw_expect(c, SL_MSG_STREAM_END);
    assert_int_equal(c->msg.stream_end.how, SL_END_STATUS);
    assert_int_equal(read(p.out, buf, 1), 0); /* closed when that is said */
    assert_int_equal(read(p.err, buf, 1), 0);
    sl_raw_request(c, SL_MSG_RELEASE, 6); /* and clean */
    sl_raw_expect(c, SL_MSG_OK);
    assert_int_equal(sl_world_counter(&f.world, "leases_released", "released"), 1);
    close_pipes(&p);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(some_may_be_missing)
{
    struct sl_front_world f;
    struct pipes p;
    char buf[64];
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    make_pipes(&p);
    open_with(c, "flood 3", SL_MSG_FD_STDOUT, &p.theirs[1], 1);
    close_theirs(&p);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_expect(c, SL_MSG_STREAM_END);
    assert_int_equal(hear_pipe(c, p.out, buf, sizeof buf), 3);
    close_pipes(&p);
    open_with(c, "cat", 0, NULL, 0); /* no input: it ends */
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_expect(c, SL_MSG_STREAM_END);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(requests_about_it_are_obeyed)
{
    struct sl_front_world f;
    struct pipes p;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_passed(c, "cat", &p);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_SIGNAL, .signal = {.stream = 1, .name = sl_bytes_of("INT")}});
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_WINDOW_CHANGE, .window_change = {.stream = 1, .cols = 9, .rows = 9}});
    sl_raw_window(c, 1, 1000); /* means nothing here */
    sl_raw_expect_silence(c);
    assert_int_equal(sl_fake_counts(f.world.transport).signals, 1);
    sl_raw_stream(c, SL_MSG_EOF, 1); /* its input's end, though the descriptor is open */
    sl_raw_expect(c, SL_MSG_STREAM_END);
    close_pipes(&p);
    open_passed(c, "hang", &p);
    sl_raw_stream(c, SL_MSG_CLOSE, 1);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_expect(c, SL_MSG_STREAM_END);
    close_pipes(&p);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(output_that_is_lost_is_told)
{
    struct sl_front_world f;
    struct pipes p;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_lease(&f);
    open_passed(c, "flood 200000000", &p);
    shut(&p.out);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_expect(c, SL_MSG_OUTPUT_LOST);
    assert_int_equal(c->msg.output_lost.stream, 1);
    assert_int_equal(c->msg.output_lost.code, -SL_E_CLIENT_GONE);
    sl_raw_expect(c, SL_MSG_STREAM_END);
    close_pipes(&p);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(a_refusal_gives_the_descriptors_up)
{
    struct sl_front_world f;
    struct pipes p;
    char byte;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_hello(&f);
    open_passed(c, "cat", &p);
    sl_raw_expect_error(c, 5, SL_E_NO_LEASE);
    assert_int_equal(hear_pipe(c, p.out, &byte, 1), 0);
    close_pipes(&p);
    sl_raw_close(c);
    c = sl_raw_lease(&f);
    open_passed(c, "refuse", &p);
    sl_raw_expect_error(c, 5, SL_E_STREAM_REFUSED);
    assert_int_equal(hear_pipe(c, p.out, &byte, 1), 0);
    close_pipes(&p);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(violations_end_the_client)
{
    struct sl_front_world f;
    struct sl_raw_client *c;
    struct pipes p;
    sl_front_init(&f, FRONT_CONF(""));
    make_pipes(&p);
    c = sl_raw_lease(&f);
    open_with(c, "cat", SL_MSG_FDS_ALL, p.theirs, 2);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "without its descriptors");
    sl_raw_close(c);
    c = sl_raw_lease(&f);
    open_with(c, "cat", SL_MSG_FD_STDIN, p.theirs, 3);
    while (sl_raw_hear(c) == SL_MSG_STREAM_OPENED)
        ;
    assert_int_equal(c->msg.type, SL_MSG_ERROR);
    assert_int_equal(c->msg.error.code, -SL_E_PROTOCOL);
    sl_raw_close(c);
    c = sl_raw_lease(&f);
    open_with(c, "cat", SL_MSG_FDS_ALL, p.theirs, 3);
    open_with(c, "cat", SL_MSG_FDS_ALL, p.theirs, 3); /* the same stream */
    while (sl_raw_hear(c) == SL_MSG_STREAM_OPENED)
        ;
    assert_int_equal(c->msg.error.code, -SL_E_PROTOCOL);
    sl_raw_close(c);
    c = sl_raw_lease(&f);
    open_with(c, "cat", SL_MSG_FDS_ALL, p.theirs, 3);
    sl_raw_expect(c, SL_MSG_STREAM_OPENED);
    sl_raw_data(c, 1, "x", 1); /* has no credit */
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "beyond the credit");
    sl_raw_close(c);
    close_pipes(&p);
    sl_front_fini(&f);
}

TEST(the_client_may_leave_at_any_moment)
{
    for (int turns = 0; turns < 6; turns++) {
        struct sl_front_world f;
        struct pipes p;
        char buf[64];

        sl_front_init(&f, FRONT_CONF(""));
        struct sl_raw_client *c = sl_raw_lease(&f);
        open_passed(c, "flood 1000000", &p);
        for (int i = 0; i < turns; i++)
            (void)uv_run(&f.world.loop, UV_RUN_NOWAIT);
        (void)shutdown(c->fd, SHUT_RDWR);
        while (hear_pipe(c, p.out, buf, sizeof buf) > 0) /* until the daemon has closed it */
            ;
        close_pipes(&p);
        sl_raw_close(c);
        sl_front_fini(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_by_the_descriptors_alone),
        cmocka_unit_test(some_may_be_missing),
        cmocka_unit_test(requests_about_it_are_obeyed),
        cmocka_unit_test(output_that_is_lost_is_told),
        cmocka_unit_test(a_refusal_gives_the_descriptors_up),
        cmocka_unit_test(violations_end_the_client),
        cmocka_unit_test(the_client_may_leave_at_any_moment),
    };
    return cmocka_run_group_tests_name("front.passed", tests, NULL, NULL);
}
