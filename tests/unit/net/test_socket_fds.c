/* SPDX-License-Identifier: MIT */
/* Descriptors that come with frames, and that none is left open. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/net/socket_world.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int no_descriptor(void)
{
    return open("/dev/null", O_RDONLY);
}

/* Bytes with `count` descriptors of this process, which stay open here. */
static void say_with_fds(struct world *w, const void *data, size_t len, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(64 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    assert_int_equal(sendmsg(w->peer, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

/* Three pipes' reading ends, told apart by what is in them. */
static void make_three(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        int fd[2];
        const char mark = (char)('a' + i);
        assert_int_equal(pipe(fd), 0);
        assert_int_equal(write(fd[1], &mark, 1), 1);
        (void)close(fd[1]);
        fds[i] = fd[0];
    }
}

static void check_three(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        char mark = 0;
        assert_true(w->taken[i] >= 0);
        assert_int_equal(fcntl(w->taken[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(read(w->taken[i], &mark, 1), 1);
        assert_int_equal(mark, 'a' + i);
        (void)close(w->taken[i]);
    }
    assert_int_equal(sl_socket_take_fd(w->socket), -1);
}

static void close_three(const int fds[3])
{
    for (int i = 0; i < 3; i++)
        (void)close(fds[i]);
}

static struct world *start_expecting(unsigned wanted)
{
    struct world *w = start();
    w->on_frame = DO_EXPECT;
    w->wanted = wanted;
    return w;
}

/* The packet whole or cut, the descriptors with a NUL each, all in as many reads as there are messages or in fewer. */
TEST(descriptors_come_with_a_nul_each_however_it_is_cut)
{
    for (int way = 0; way < 5; way++) {
        struct world *w = start_expecting(3);
        uint8_t bytes[64], all[128];
        size_t len = make_frame(bytes, sizeof bytes, 7, 20);
        int fds[3];

        make_three(fds);
        switch (way) {
        case 0: /* as OpenSSH does */
            say(w, bytes, len);
            for (int i = 0; i < 3; i++)
                say_with_fds(w, "", 1, &fds[i], 1);
            break;
        case 1: /* with turns of the loop between */
            for (size_t i = 0; i < len; i++) {
                say(w, bytes + i, 1);
                (void)uv_run(&w->loop, UV_RUN_NOWAIT);
            }
            for (int i = 0; i < 3; i++) {
                say_with_fds(w, "", 1, &fds[i], 1);
                (void)uv_run(&w->loop, UV_RUN_NOWAIT);
            }
            break;
        case 2: /* all in one message */
            memcpy(all, bytes, len);
            memset(all + len, 0, 3);
            say_with_fds(w, all, len + 3, fds, 3);
            break;
        case 3: /* descriptors with the packet, NULs behind */
            say_with_fds(w, bytes, len, fds, 3);
            say(w, "\0\0", 3);
            break;
        default: /* the packet's last byte has the first of them */
            say(w, bytes, len - 1);
            memcpy(all, bytes + len - 1, 1);
            memset(all + 1, 0, 3);
            say_with_fds(w, all, 2, fds, 1);
            say_with_fds(w, all + 2, 2, fds + 1, 2);
            break;
        }
        /* The next frame is one again. */
        len = make_frame(bytes, sizeof bytes, 8, 5);
        say(w, bytes, len);
        w->wanted = 3;
        RUN_UNTIL(w, w->frames == 2);
        assert_int_equal(w->fds_told, 1);
        assert_int_equal(w->last_type, 8);
        assert_int_equal(w->ends, 0);
        check_three(w);
        close_three(fds);
        stop(w);
    }
}

TEST(descriptors_can_be_taken_with_their_frame)
{
    struct world *w = start();
    uint8_t bytes[64];
    size_t len = make_frame(bytes, sizeof bytes, 7, 20);
    int fds[3];
    make_three(fds);
    w->on_frame = DO_TAKE;
    w->wanted = 3;
    say_with_fds(w, bytes, len, fds, 3);
    RUN_UNTIL(w, w->frames == 1);
    check_three(w);
    close_three(fds);
    make_three(fds);
    w->on_frame = DO_COUNT;
    /* Cut in two they come with the first half. */
    say_with_fds(w, bytes, 10, fds, 3);
    for (int turn = 0; turn < 5; turn++)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->ends, 0);
    w->on_frame = DO_TAKE;
    say(w, bytes + 10, len - 10);
    RUN_UNTIL(w, w->frames == 2);
    check_three(w);
    close_three(fds);
    stop(w);
}

TEST(wrong_descriptors_end_the_socket)
{
    for (int way = 0; way < 6; way++) {
        struct world *w = start_expecting(3);
        uint8_t bytes[64];
        size_t len = make_frame(bytes, sizeof bytes, 7, 20);
        int fd = no_descriptor(), many[SL_SOCKET_FDS_MAX * 4];

        for (size_t i = 0; i < SL_SOCKET_FDS_MAX * 4; i++)
            many[i] = fd;
        switch (way) {
        case 0: /* nobody asked */
            w->on_frame = DO_COUNT;
            say_with_fds(w, bytes, len, &fd, 1);
            break;
        case 1: /* a byte that is no NUL */
            say(w, bytes, len);
            say_with_fds(w, "x", 1, &fd, 1);
            break;
        case 2: /* a NUL without one */
            say(w, bytes, len);
            say(w, "\0\0", 3);
            break;
        case 3: /* more at once than are held */
            say_with_fds(w, bytes, 10, many, SL_SOCKET_FDS_MAX + 1);
            break;
        case 4: /* more at once than there is room for */
            say_with_fds(w, bytes, 10, many, SL_SOCKET_FDS_MAX * 4);
            break;
        default: /* little by little */
            for (size_t i = 0; i < SL_SOCKET_FDS_MAX + 1; i++)
                say_with_fds(w, bytes + i, 1, &fd, 1);
            break;
        }
        RUN_UNTIL(w, w->ends == 1);
        assert_int_equal(w->end_status, SL_E_PROTOCOL);
        assert_int_equal(w->fds_told, 0);
        (void)close(fd);
        stop(w); /* and none is left open: the group's end counts them */
    }
}

TEST(a_peer_that_dies_between_them_leaves_none)
{
    for (int sent = 0; sent < 4; sent++) {
        struct world *w = start_expecting(3);
        uint8_t bytes[64];
        size_t len = make_frame(bytes, sizeof bytes, 7, 20);
        int fds[3];

        make_three(fds);
        say(w, bytes, len);
        for (int i = 0; i < sent; i++)
            say_with_fds(w, "", 1, &fds[i], 1);
        close_three(fds);
        (void)close(w->peer);
        w->peer = -1;
        RUN_UNTIL(w, w->ends == 1);
        assert_int_equal(w->end_status, 0);
        assert_int_equal(w->fds_told, sent == 3 ? 1 : 0);
        if (sent == 3)
            check_three(w);
        stop(w);
    }
}

TEST(thousands_of_descriptors_leave_none)
{
    struct world *w = start_expecting(3);
    uint8_t bytes[64];
    size_t len = make_frame(bytes, sizeof bytes, 7, 20);
    int fds[3];
    const unsigned before = open_descriptors();
    for (unsigned round = 0; round < 1500; round++) {
        make_three(fds);
        say(w, bytes, len);
        for (int i = 0; i < 3; i++)
            say_with_fds(w, "", 1, &fds[i], 1);
        close_three(fds);
        RUN_UNTIL(w, w->fds_told == round + 1);
        check_three(w);
    }
    assert_int_equal(open_descriptors(), before);
    stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_come_with_a_nul_each_however_it_is_cut),
        cmocka_unit_test(descriptors_can_be_taken_with_their_frame),
        cmocka_unit_test(wrong_descriptors_end_the_socket),
        cmocka_unit_test(a_peer_that_dies_between_them_leaves_none),
        cmocka_unit_test(thousands_of_descriptors_leave_none),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests_name("net.socket_fds", tests, count_descriptors, count_descriptors);
}
