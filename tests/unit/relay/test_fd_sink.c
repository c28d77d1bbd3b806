/* SPDX-License-Identifier: MIT */
/* Output to descriptors of every kind: order, slow readers, errors, ends. */
#include "daemon/relay/fd_sink.h"

#include "daemon/relay/fd_io.h"
#include "daemon/relay/fd_source.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/relay/fd_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct writer {
    struct sl_fd_sink *sink;
    size_t given, written;
    unsigned broken, finished;
    int broken_status;
    bool close_when_told;
};

static void writer_close(struct writer *w)
{
    sl_fd_sink_close(w->sink);
    w->sink = NULL;
}

static void on_written(void *arg, size_t len)
{
    struct writer *w = arg;
    w->written += len;
    assert_true(w->written <= w->given);
    if (w->close_when_told)
        writer_close(w);
}

static void on_broken(void *arg, int status, const char *text)
{
    struct writer *w = arg;
    assert_non_null(text);
    w->broken++;
    w->broken_status = status;
    if (w->close_when_told)
        writer_close(w);
}

static void on_finished(void *arg)
{
    struct writer *w = arg;
    w->finished++;
    assert_int_equal(sl_fd_sink_fd(w->sink), -1);
    if (w->close_when_told)
        writer_close(w);
}

static const struct sl_fd_sink_handler handler = {
    .on_written = on_written, .on_broken = on_broken, .on_finished = on_finished};

static void writer_open(struct writer *w, struct fd_world *world, int fd)
{
    *w = (struct writer){.sink = NULL};
    fd_own(world, fd);
    assert_int_equal(sl_fd_sink_open(world->watch, fd, &handler, w, &w->sink), 0);
}

static void writer_give(struct writer *w, const void *data, size_t len)
{
    w->given += len;
    size_t taken = sl_fd_sink_write(w->sink, data, len);
    assert_true(taken <= len);
    w->written += taken;
}

TEST(everything_arrives_in_order_at_a_slow_reader_and_flags_stay)
{
    static uint8_t content[1000000], got[sizeof content];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 24);
    for (enum fd_kind kind = FD_PIPE; kind < FD_NULL; kind++) {
        const size_t total = kind == FD_TTY || kind == FD_TTY_ALIEN ? 100000 : sizeof content;
        const bool file = kind == FD_FILE;
        struct fd_world world;
        struct writer w;
        int fd, reader;
        size_t len = 0;

        fd_world_start(&world);
        fd_make_sink(kind, &fd, &reader);
        const int shared = dup(fd);
        writer_open(&w, &world, fd);
        while (len < total) {
            /* No more than 200000 unwritten: the caller's credit. */
            while (w.given < total && w.given - w.written < 200000) {
                size_t part = total - w.given < 25013 ? total - w.given : 25013;
                writer_give(&w, content + w.given, part);
            }
            assert_true(sl_fd_sink_pending(w.sink) == w.given - w.written);
            while (fd_flags(shared) != 0) /* a stranger's, in the moment of a job */
                (void)usleep(10);
            (void)uv_run(&world.loop, UV_RUN_NOWAIT);
            len += fd_read_some(reader, got + len, total - len < 9001 ? total - len : 9001);
        }
        FD_RUN_UNTIL(&world, w.written == total);
        assert_memory_equal(got, content, total);
        sl_fd_sink_finish(w.sink, false);
        FD_RUN_UNTIL(&world, w.finished == 1);
        assert_int_equal(w.broken, 0);
        writer_close(&w);
        if (!file)
            assert_int_equal(fd_flags(shared), 0);
        (void)close(shared);
        (void)close(reader);
        fd_world_stop(&world);
    }
}

TEST(finishing_writes_the_rest_and_closes)
{
    static const char block[300000];
    static char got[sizeof block];
    for (enum fd_kind kind = FD_PIPE; kind <= FD_TCP; kind++) {
        struct fd_world world;
        struct writer w;
        int fd, reader;
        size_t len = 0;
        ssize_t n;

        fd_world_start(&world);
        fd_make_sink(kind, &fd, &reader);
        writer_open(&w, &world, fd);
        writer_give(&w, block, sizeof block);
        sl_fd_sink_finish(w.sink, false);
        assert_int_equal(w.finished, 0);
        assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
        while ((n = read(reader, got, sizeof got)) != 0) { /* until its end */
            len += n > 0 ? (size_t)n : 0;
            (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(len, sizeof block);
        FD_RUN_UNTIL(&world, w.finished == 1);
        writer_close(&w);
        (void)close(reader);
        fd_world_stop(&world);
    }
}

TEST(nobody_reading_is_told_once_and_not_from_within)
{
    static const char block[300000];
    for (int late = 0; late < 2; late++) {
        for (enum fd_kind kind = FD_PIPE; kind <= FD_SOCKETPAIR; kind++) {
            struct fd_world world;
            struct writer w;
            int fd, reader;

            fd_world_start(&world);
            fd_make_sink(kind, &fd, &reader);
            writer_open(&w, &world, fd);
            if (late != 0) {
                writer_give(&w, block, sizeof block); /* goes while much waits */
                fd_run_turns(&world, 3);
            }
            (void)close(reader);
            if (late == 0)
                writer_give(&w, "x", 1);
            assert_int_equal(w.broken, 0);
            FD_RUN_UNTIL(&world, w.broken == 1);
            assert_int_equal(w.broken_status, SL_E_CLIENT_GONE);
            assert_int_equal(sl_fd_sink_pending(w.sink), 0);
            assert_int_equal(sl_fd_sink_write(w.sink, "y", 1), 0);
            fd_run_turns(&world, 3);
            assert_int_equal(w.broken, 1);
            writer_close(&w);
            fd_world_stop(&world);
        }
    }
}

TEST(an_error_says_which)
{
    struct fd_world world;
    struct writer w;
    fd_world_start(&world);
    writer_open(&w, &world, open("/dev/full", O_WRONLY));
    writer_give(&w, "x", 1);
    FD_RUN_UNTIL(&world, w.broken == 1);
    assert_int_equal(w.broken_status, SL_E_IO);
    writer_close(&w);
    fd_world_stop(&world);
}

TEST(one_that_is_blocked_delays_nobody)
{
    static const char block[300000];
    struct fd_world world;
    struct writer slow, quick;
    int fd, stuck, reader;
    char got[16];
    fd_world_start(&world);
    fd_make_sink(FD_PIPE, &fd, &stuck);
    writer_open(&slow, &world, fd);
    writer_give(&slow, block, sizeof block);
    fd_make_sink(FD_PIPE, &fd, &reader);
    writer_open(&quick, &world, fd);
    for (int i = 0; i < 100; i++) {
        writer_give(&quick, "abc", 3);
        FD_RUN_UNTIL(&world, quick.written == quick.given);
        assert_int_equal(read(reader, got, sizeof got), 3);
    }
    assert_true(slow.written < sizeof block);
    writer_close(&slow);
    writer_close(&quick);
    (void)close(stuck);
    (void)close(reader);
    fd_world_stop(&world);
}

TEST(input_and_output_may_be_one_socket)
{
    struct fd_world world;
    struct writer w;
    int fd[2];
    char got[16];
    for (int shut = 0; shut < 2; shut++) {
        fd_world_start(&world);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        writer_open(&w, &world, dup(fd[0]));
        writer_give(&w, "abc", 3);
        sl_fd_sink_finish(w.sink, shut != 0);
        FD_RUN_UNTIL(&world, w.finished == 1);
        writer_close(&w);
        assert_int_equal(read(fd[1], got, sizeof got), 3);
        /* The other half goes on; whether the peer sees an end is the caller's wish. */
        assert_int_equal(write(fd[1], "x", 1), 1);
        assert_int_equal(read(fd[0], got, sizeof got), 1);
        struct pollfd poll_fd = {.fd = fd[1], .events = POLLIN};
        assert_int_equal(poll(&poll_fd, 1, 0), shut);
        (void)close(fd[0]);
        (void)close(fd[1]);
        fd_world_stop(&world);
    }
}

TEST(it_can_be_closed_whatever_is_under_way)
{
    static const char block[300000];
    for (enum fd_kind kind = FD_PIPE; kind < FD_KINDS; kind++) {
        for (int turns = 0; turns < 3; turns++) {
            struct fd_world world;
            struct writer w;
            int fd, reader;

            fd_world_start(&world);
            fd_make_sink(kind, &fd, &reader);
            const int shared = dup(fd);
            writer_open(&w, &world, fd);
            writer_give(&w, block, sizeof block);
            if (turns == 2)
                sl_fd_sink_finish(w.sink, false);
            fd_run_turns(&world, turns);
            const size_t written = w.written;
            writer_close(&w);
            if (kind != FD_FILE)
                fd_await_closed(&world, fd);
            if (reader >= 0) /* there is room again: nobody cares */
                (void)fd_read_some(reader, (char[65536]){0}, 65536);
            fd_run_turns(&world, 3);
            assert_int_equal(w.written, written);
            (void)close(shared);
            if (reader >= 0)
                (void)close(reader);
            fd_world_stop(&world);
        }
    }
}

TEST(a_file_gets_what_was_given_even_when_closed_at_once)
{
    static const char block[300000];
    static char got[700000];
    struct fd_world world;
    struct writer w;
    int fd, reader;
    size_t len = 0, n;
    fd_world_start(&world);
    fd_make_sink(FD_FILE, &fd, &reader);
    writer_open(&w, &world, fd);
    writer_give(&w, block, sizeof block);
    writer_give(&w, block, sizeof block); /* behind what the worker has */
    writer_close(&w);
    fd_world_stop(&world);
    while ((n = fd_read_some(reader, got + len, sizeof got - len)) > 0)
        len += n;
    assert_int_equal(len, 2 * sizeof block);
    (void)close(reader);
}

TEST(it_can_be_closed_from_its_own_callbacks)
{
    static const char block[300000];
    for (int what = 0; what < 3; what++) {
        struct fd_world world;
        struct writer w;
        int fd, reader;

        fd_world_start(&world);
        fd_make_sink(FD_PIPE, &fd, &reader);
        writer_open(&w, &world, fd);
        w.close_when_told = true;
        if (what == 0) { /* on_written */
            writer_give(&w, block, sizeof block);
            (void)fd_read_some(reader, (char[65536]){0}, 65536);
        } else if (what == 1) { /* on_broken */
            (void)close(reader);
            reader = -1;
            writer_give(&w, "x", 1);
        } else { /* on_finished */
            sl_fd_sink_finish(w.sink, false);
        }
        FD_RUN_UNTIL(&world, w.sink == NULL);
        if (reader >= 0)
            (void)close(reader);
        fd_world_stop(&world);
    }
}

/* The ways for older kernels and others' terminals, whatever this kernel has. */
TEST(every_way_writes_without_waiting)
{
    static const char block[300000];
    const enum sl_fd_way ways[] = {SL_FD_OWN, SL_FD_MOMENT};
    for (size_t i = 0; i < 2; i++) {
        struct sl_fd_io io;
        int fd[2];

        assert_int_equal(pipe(fd), 0);
        const int shared = dup(fd[1]);
        sl_fd_io_init(&io, NULL, fd[1], O_WRONLY);
        if (ways[i] == SL_FD_OWN)
            assert_true(sl_fd_io_open_again(&io));
        io.way = ways[i];
        ssize_t n = sl_fd_io_write(&io, block, sizeof block);
        assert_true(n > 0 && (size_t)n < sizeof block); /* a blocking one would hang here */
        assert_int_equal(sl_fd_io_write(&io, block, sizeof block), -EAGAIN);
        assert_int_equal(fd_flags(shared), 0);
        (void)close(fd[0]);
        assert_int_equal(sl_fd_io_write(&io, "x", 1), -EPIPE);
        assert_true(sl_fd_io_close(&io));
        (void)close(shared);
    }
}

TEST(a_descriptor_for_reading_is_not_made_one_for_writing)
{
    struct sl_fd_io io;
    int fd[2];
    assert_int_equal(pipe(fd), 0); /* opened again by its name in /proc, either end could be the other */
    sl_fd_io_init(&io, NULL, fd[0], O_WRONLY);
    assert_false(sl_fd_io_open_again(&io));
    io.way = SL_FD_MOMENT;
    assert_int_equal(sl_fd_io_write(&io, "x", 1), -EBADF);
    assert_true(sl_fd_io_close(&io));
    int named = open("/tmp", O_PATH);
    sl_fd_io_init(&io, NULL, named, O_RDONLY);
    assert_false(sl_fd_io_open_again(&io));
    assert_true(sl_fd_io_close(&io));
    (void)close(fd[1]);
}

TEST(who_ignores_credit_breaks_it)
{
    static const char block[1000000];
    struct fd_world world;
    struct writer w;
    int fd, reader;
    fd_world_start(&world);
    fd_make_sink(FD_PIPE, &fd, &reader);
    writer_open(&w, &world, fd);
    for (int i = 0; i < 6; i++)
        writer_give(&w, block, sizeof block);
    FD_RUN_UNTIL(&world, w.broken == 1);
    assert_int_equal(w.broken_status, SL_E_LIMIT);
    writer_close(&w);
    (void)close(reader);
    fd_world_stop(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives_in_order_at_a_slow_reader_and_flags_stay),
        cmocka_unit_test(finishing_writes_the_rest_and_closes),
        cmocka_unit_test(nobody_reading_is_told_once_and_not_from_within),
        cmocka_unit_test(an_error_says_which),
        cmocka_unit_test(one_that_is_blocked_delays_nobody),
        cmocka_unit_test(input_and_output_may_be_one_socket),
        cmocka_unit_test(it_can_be_closed_whatever_is_under_way),
        cmocka_unit_test(a_file_gets_what_was_given_even_when_closed_at_once),
        cmocka_unit_test(it_can_be_closed_from_its_own_callbacks),
        cmocka_unit_test(every_way_writes_without_waiting),
        cmocka_unit_test(a_descriptor_for_reading_is_not_made_one_for_writing),
        cmocka_unit_test(who_ignores_credit_breaks_it),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    const int failed = cmocka_run_group_tests_name("net.fd_sink", tests, fd_count_fixture, fd_count_fixture);
    fd_make_strange();
    return failed +
           cmocka_run_group_tests_name("net.fd_sink of a stranger's", tests, fd_count_fixture, fd_count_fixture);
}
