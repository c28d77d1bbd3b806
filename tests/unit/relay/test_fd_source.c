/* SPDX-License-Identifier: MIT */
/* Input from descriptors of every kind: credit, ends, errors. */
#include "daemon/relay/fd_source.h"

#include "daemon/relay/fd_io.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/relay/fd_world.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct reader {
    struct sl_fd_source *source;
    uint8_t *bytes;
    size_t len, cap;
    unsigned ends;
    int end_status;
    enum { DO_KEEP, DO_CLOSE, DO_ALLOW } on_data;
};

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct reader *r = arg;
    assert_true(len > 0);
    assert_true(r->len + len <= r->cap);
    memcpy(r->bytes + r->len, data, len);
    r->len += len;
    if (r->on_data == DO_CLOSE) {
        sl_fd_source_close(r->source);
        r->source = NULL;
    } else if (r->on_data == DO_ALLOW) {
        sl_fd_source_allow(r->source, len);
    }
}

static void on_end(void *arg, int status, const char *text)
{
    struct reader *r = arg;
    assert_non_null(text);
    r->ends++;
    r->end_status = status;
}

static const struct sl_fd_source_handler handler = {.on_data = on_data, .on_end = on_end};

static void reader_open(struct reader *r, struct fd_world *w, int fd, size_t cap)
{
    *r = (struct reader){.bytes = malloc(cap + 1), .cap = cap};
    assert_non_null(r->bytes);
    fd_own(w, fd);
    assert_int_equal(sl_fd_source_open(w->watch, fd, &handler, r, &r->source), 0);
}

static void reader_close(struct reader *r)
{
    sl_fd_source_close(r->source);
    free(r->bytes);
}

static uint8_t pattern_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 24);
}

#define BIG 1000000u

TEST(all_of_it_comes_in_order_from_every_kind_and_flags_stay)
{
    static uint8_t content[BIG];
    for (size_t i = 0; i < BIG; i++)
        content[i] = pattern_at(i);
    for (enum fd_kind kind = FD_PIPE; kind < FD_NULL; kind++) {
        const bool tty = kind == FD_TTY || kind == FD_TTY_ALIEN;
        const size_t total = tty ? 100000 : BIG;
        struct fd_world w;
        struct reader r;
        int fd, writer;
        size_t written = kind == FD_FILE ? total : 0;

        fd_world_start(&w);
        fd_make_source(kind, content, sizeof content, &fd, &writer);
        const int shared = dup(fd); /* as the shell that shares the description */
        if (writer >= 0)
            assert_int_equal(fcntl(writer, F_SETFL, O_NONBLOCK | O_RDWR), 0);
        reader_open(&r, &w, fd, total);
        r.on_data = DO_ALLOW;
        sl_fd_source_allow(r.source, 5000);
        while (r.len < total) {
            size_t part = total - written < 30011 ? total - written : 30011;
            ssize_t n = part > 0 ? write(writer, content + written, part) : 0;
            written += n > 0 ? (size_t)n : 0;
            (void)uv_run(&w.loop, n > 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
            while (fd_flags(shared) != 0) /* a stranger's, in the moment of a job */
                (void)usleep(10);
        }
        assert_memory_equal(r.bytes, content, total);
        assert_int_equal(r.ends, 0);
        if (writer >= 0)
            (void)close(writer);
        FD_RUN_UNTIL(&w, r.ends == 1);
        assert_int_equal(r.end_status, kind == FD_TTY_ALIEN ? SL_E_IO : 0); /* a master without a slave says EIO */
        reader_close(&r);
        if (!tty)
            assert_int_equal(fd_flags(shared), 0);
        (void)close(shared);
        fd_world_stop(&w);
    }
}

TEST(never_more_than_is_allowed)
{
    static const uint8_t content[10000];
    for (enum fd_kind kind = FD_PIPE; kind < FD_NULL; kind++) {
        struct fd_world w;
        struct reader r;
        int fd, writer;

        fd_world_start(&w);
        fd_make_source(kind, content, 3000, &fd, &writer);
        if (writer >= 0)
            assert_int_equal(write(writer, content, 3000), 3000);
        reader_open(&r, &w, fd, sizeof content);
        fd_run_turns(&w, 20);
        assert_int_equal(r.len, 0);
        sl_fd_source_allow(r.source, 1000);
        assert_int_equal(r.len, 0); /* not from within the call */
        FD_RUN_UNTIL(&w, r.len == 1000);
        fd_run_turns(&w, 20);
        assert_int_equal(r.len, 1000);
        sl_fd_source_allow(r.source, 500);
        sl_fd_source_allow(r.source, 500);
        FD_RUN_UNTIL(&w, r.len == 2000);
        sl_fd_source_allow(r.source, 5000);
        FD_RUN_UNTIL(&w, r.len == 3000);
        assert_int_equal(r.ends, kind == FD_FILE ? r.ends : 0);
        reader_close(&r);
        if (writer >= 0)
            (void)close(writer);
        fd_world_stop(&w);
    }
}

TEST(the_end_comes_once_behind_the_last_byte)
{
    for (enum fd_kind kind = FD_PIPE; kind <= FD_TCP; kind++) {
        struct fd_world w;
        struct reader r;
        int fd, writer;

        fd_world_start(&w);
        fd_make_source(kind, "", 0, &fd, &writer);
        reader_open(&r, &w, fd, 100);
        sl_fd_source_allow(r.source, 100);
        fd_run_turns(&w, 5);
        assert_int_equal(write(writer, "last", 4), 4);
        (void)close(writer); /* before it is read */
        FD_RUN_UNTIL(&w, r.ends == 1);
        assert_int_equal(r.len, 4);
        assert_int_equal(r.end_status, 0);
        sl_fd_source_allow(r.source, 100);
        fd_run_turns(&w, 5);
        assert_int_equal(r.ends, 1);
        reader_close(&r);
        fd_world_stop(&w);
    }
}

TEST(dev_null_ends_at_once)
{
    struct fd_world w;
    struct reader r;
    fd_world_start(&w);
    reader_open(&r, &w, open("/dev/null", O_RDONLY), 1);
    sl_fd_source_allow(r.source, 1);
    FD_RUN_UNTIL(&w, r.ends == 1);
    assert_int_equal(r.end_status, 0);
    reader_close(&r);
    fd_world_stop(&w);
}

TEST(what_cannot_be_read_says_so)
{
    struct fd_world w;
    struct reader r;
    const int fds[] = {open("/tmp", O_RDONLY | O_DIRECTORY), open("/dev/null", O_WRONLY)};
    for (size_t i = 0; i < 2; i++) {
        fd_world_start(&w);
        reader_open(&r, &w, fds[i], 1);
        sl_fd_source_allow(r.source, 1);
        FD_RUN_UNTIL(&w, r.ends == 1);
        assert_int_equal(r.end_status, SL_E_IO);
        reader_close(&r);
        fd_world_stop(&w);
    }
}

TEST(closed_it_says_nothing_more_though_others_hold_the_description)
{
    for (enum fd_kind kind = FD_PIPE; kind <= FD_FILE; kind++) {
        struct fd_world w;
        struct reader r;
        int fd, writer;

        fd_world_start(&w);
        fd_make_source(kind, "content", 7, &fd, &writer);
        const int shared = dup(fd);
        reader_open(&r, &w, fd, 100);
        sl_fd_source_allow(r.source, 100);
        if (kind != FD_FILE) {
            fd_run_turns(&w, 5);
            assert_int_equal(write(writer, "x", 1), 1);
        }
        reader_close(&r); /* with a byte on its way, or a worker */
        r.bytes = NULL;
        (void)uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(r.len, 0);
        if (kind != FD_FILE && kind != FD_TTY_ALIEN)
            fd_await_closed(&w, fd);
        if (writer >= 0) {
            assert_int_equal(write(writer, "x", 1), 1);
            (void)close(writer);
        }
        (void)close(shared);
        fd_world_stop(&w); /* nothing fires for ever */
    }
}

TEST(it_can_be_closed_from_its_own_callback)
{
    for (enum fd_kind kind = FD_PIPE; kind < FD_NULL; kind++) {
        struct fd_world w;
        struct reader r;
        int fd, writer;

        fd_world_start(&w);
        fd_make_source(kind, "content", 7, &fd, &writer);
        if (writer >= 0)
            assert_int_equal(write(writer, "content", 7), 7);
        reader_open(&r, &w, fd, 100);
        r.on_data = DO_CLOSE;
        sl_fd_source_allow(r.source, 3);
        FD_RUN_UNTIL(&w, r.source == NULL);
        assert_int_equal(r.len, 3);
        fd_run_turns(&w, 3);
        free(r.bytes);
        if (writer >= 0)
            (void)close(writer);
        fd_world_stop(&w);
    }
}

TEST(a_description_found_non_blocking_stays_so)
{
    struct fd_world w;
    struct reader r;
    int fd, writer;
    for (enum fd_kind kind = FD_PIPE; kind <= FD_TTY; kind++) {
        fd_world_start(&w);
        fd_make_source(kind, "", 0, &fd, &writer);
        const int shared = dup(fd);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK | O_RDWR), 0);
        reader_open(&r, &w, fd, 100);
        sl_fd_source_allow(r.source, 100);
        fd_run_turns(&w, 5);
        assert_int_equal(write(writer, "x", 1), 1);
        FD_RUN_UNTIL(&w, r.len == 1);
        assert_int_not_equal(fd_flags(shared), 0);
        reader_close(&r);
        assert_int_not_equal(fd_flags(shared), 0);
        (void)close(shared);
        (void)close(writer);
        fd_world_stop(&w);
    }
}

/* The ways for older kernels and others' terminals, whatever this kernel has. */
TEST(every_way_reads_without_waiting)
{
    const enum sl_fd_way ways[] = {SL_FD_OWN, SL_FD_MOMENT};
    for (size_t i = 0; i < 2; i++) {
        struct sl_fd_io io;
        char buf[8];
        int fd[2];

        assert_int_equal(pipe(fd), 0);
        const int shared = dup(fd[0]);
        sl_fd_io_init(&io, NULL, fd[0], O_RDONLY);
        if (ways[i] == SL_FD_OWN)
            assert_true(sl_fd_io_open_again(&io));
        io.way = ways[i];
        assert_int_equal(sl_fd_io_read(&io, buf, sizeof buf), -EAGAIN);
        assert_int_equal(fd_flags(shared), 0);
        assert_int_equal(write(fd[1], "abc", 3), 3);
        assert_int_equal(sl_fd_io_read(&io, buf, sizeof buf), 3);
        assert_int_equal(fd_flags(shared), 0);
        (void)close(fd[1]);
        assert_int_equal(sl_fd_io_read(&io, buf, sizeof buf), 0);
        assert_true(sl_fd_io_close(&io));
        (void)close(shared);
    }
}

TEST(a_terminal_that_cannot_be_opened_again_is_read_all_the_same)
{
    struct sl_fd_io io;
    int master, slave;
    char buf[8];
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    sl_fd_io_init(&io, NULL, dup(master), O_RDONLY); /* opened again, a master would be another terminal's */
    assert_int_equal(io.way, SL_FD_MOMENT);
    assert_int_equal(sl_fd_io_read(&io, buf, sizeof buf), -EAGAIN);
    assert_int_equal(fd_flags(master), 0);
    assert_true(sl_fd_io_close(&io));
    sl_fd_io_init(&io, NULL, dup(slave), O_RDONLY);
    assert_int_equal(io.way, SL_FD_OWN);
    assert_int_equal(sl_fd_io_read(&io, buf, sizeof buf), -EAGAIN);
    assert_int_equal(fd_flags(slave), 0);
    assert_true(sl_fd_io_close(&io));
    (void)close(master);
    (void)close(slave);
}

/* Its directory may be on a file server that does not answer. */
TEST(a_pipe_with_a_name_is_not_opened_again)
{
    struct sl_fd_io io;
    int fd, writer;
    fd_make_source(FD_FIFO, NULL, 0, &fd, &writer);
    sl_fd_io_init(&io, NULL, fd, O_RDONLY);
    assert_false(sl_fd_io_open_again(&io));
    assert_true(sl_fd_io_close(&io));
    (void)close(writer);
}

TEST(thousands_leave_nothing)
{
    struct fd_world w;
    const unsigned before = fd_count();
    fd_world_start(&w);
    const unsigned within = fd_count();
    for (int round = 0; round < 3000; round++) {
        struct reader r;
        int fd, writer;
        enum fd_kind kind = (enum fd_kind)(round % FD_KINDS);
        if (kind == FD_FIFO || kind == FD_TCP)
            continue;
        fd_make_source(kind, "x", 1, &fd, &writer);
        reader_open(&r, &w, fd, 100);
        sl_fd_source_allow(r.source, 100);
        fd_run_turns(&w, round % 3);
        if (writer >= 0)
            (void)close(writer);
        fd_run_turns(&w, round % 2);
        reader_close(&r);
    }
    while (fd_count() > within)
        (void)uv_run(&w.loop, UV_RUN_NOWAIT);
    fd_world_stop(&w);
    assert_int_equal(fd_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_comes_in_order_from_every_kind_and_flags_stay),
        cmocka_unit_test(never_more_than_is_allowed),
        cmocka_unit_test(the_end_comes_once_behind_the_last_byte),
        cmocka_unit_test(dev_null_ends_at_once),
        cmocka_unit_test(what_cannot_be_read_says_so),
        cmocka_unit_test(closed_it_says_nothing_more_though_others_hold_the_description),
        cmocka_unit_test(it_can_be_closed_from_its_own_callback),
        cmocka_unit_test(a_description_found_non_blocking_stays_so),
        cmocka_unit_test(every_way_reads_without_waiting),
        cmocka_unit_test(a_terminal_that_cannot_be_opened_again_is_read_all_the_same),
        cmocka_unit_test(a_pipe_with_a_name_is_not_opened_again),
        cmocka_unit_test(thousands_leave_nothing),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    const int failed = cmocka_run_group_tests_name("net.fd_source", tests, fd_count_fixture, fd_count_fixture);
    fd_make_strange();
    return failed +
           cmocka_run_group_tests_name("net.fd_source of a stranger's", tests, fd_count_fixture, fd_count_fixture);
}
