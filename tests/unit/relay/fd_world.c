/* SPDX-License-Identifier: MIT */
/* Makes descriptors of every kind, and counts what is open before and after. */
#include "tests/unit/relay/fd_world.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fd_kind_name[FD_KINDS] = {"pipe", "fifo", "socketpair", "tcp", "tty", "alien tty", "file", "null"};

static uid_t owner;

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("what was waited for did not happen in 10 s");
}

void fd_world_start(struct fd_world *w)
{
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_watch_new(&w->loop, &w->watch), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->limit), 0);
    assert_int_equal(uv_timer_start(&w->limit, on_limit, 10000, 0), 0);
}

void fd_own(struct fd_world *w, int fd)
{
    assert_int_equal(sl_fd_jobs_own(sl_watch_jobs(w->watch), fd, owner != 0 ? owner : geteuid()), 0);
}

void fd_make_strange(void)
{
    owner = 4711;
}

void fd_world_stop(struct fd_world *w)
{
    uv_close((uv_handle_t *)&w->limit, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT); /* it does not end while something is registered */
    sl_watch_free(w->watch);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

void fd_run_turns(struct fd_world *w, int turns)
{
    for (int i = 0; i < turns; i++)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
}

unsigned fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

void fd_await_closed(struct fd_world *w, int fd)
{
    while (fcntl(fd, F_GETFD) != -1) {
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        (void)usleep(100);
    }
}

int fd_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    assert_true(flags >= 0);
    return flags & O_NONBLOCK;
}

int fd_count_fixture(void **state)
{
    static unsigned before;
    if (*state == NULL) {
        uv_loop_t first; /* libuv keeps descriptors of its own from the first loop on */
        assert_int_equal(uv_loop_init(&first), 0);
        assert_int_equal(uv_loop_close(&first), 0);
        before = fd_count();
        *state = &before;
    } else {
        assert_int_equal(fd_count(), before);
    }
    return 0;
}

/* fd[0] reads what fd[1] writes. */
static void make_tcp(int fd[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd[1], (struct sockaddr *)&address, len), 0);
    fd[0] = accept(listener, NULL, NULL);
    assert_true(fd[0] >= 0);
    (void)close(listener);
}

static void make_fifo(int fd[2])
{
    char path[] = "/tmp/sshlease-fifo-XXXXXX";
    assert_non_null(mkdtemp(path));
    char name[sizeof path + 2];
    snprintf(name, sizeof name, "%s/f", path);
    assert_int_equal(mkfifo(name, 0600), 0);
    fd[0] = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fd[1] = open(name, O_WRONLY | O_CLOEXEC);
    assert_true(fd[0] >= 0 && fd[1] >= 0);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_RDONLY), 0);
    (void)unlink(name);
    (void)rmdir(path);
}

/* fd[0] the slave, in raw mode, fd[1] the master. An alien one was opened through /dev/tty or belongs to somebody else:
 * it cannot be opened again; the master is such a one. */
static void make_tty(int fd[2], bool alien)
{
    struct termios raw;
    int master, slave;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(slave, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
    fd[0] = alien ? master : slave;
    fd[1] = alien ? slave : master;
}

static int make_file(const void *content, size_t len)
{
    char path[] = "/tmp/sshlease-file-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), (ssize_t)len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    (void)unlink(path);
    return fd;
}

static void make_pair(enum fd_kind kind, int fd[2])
{
    switch (kind) {
    case FD_PIPE:
        assert_int_equal(pipe(fd), 0);
        break;
    case FD_FIFO:
        make_fifo(fd);
        break;
    case FD_SOCKETPAIR:
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        break;
    case FD_TCP:
        make_tcp(fd);
        break;
    default:
        make_tty(fd, kind == FD_TTY_ALIEN);
        break;
    }
}

void fd_make_source(enum fd_kind kind, const void *content, size_t len, int *ret_fd, int *ret_writer)
{
    int fd[2] = {-1, -1};
    if (kind == FD_FILE)
        fd[0] = make_file(content, len);
    else if (kind == FD_NULL)
        fd[0] = open("/dev/null", O_RDONLY);
    else
        make_pair(kind, fd);
    *ret_fd = fd[0];
    *ret_writer = fd[1];
}

void fd_make_sink(enum fd_kind kind, int *ret_fd, int *ret_reader)
{
    int fd[2] = {-1, -1};
    if (kind == FD_FILE) {
        char path[] = "/tmp/sshlease-file-XXXXXX";
        fd[1] = mkstemp(path);
        fd[0] = open(path, O_RDONLY);
        (void)unlink(path);
    } else if (kind == FD_NULL) {
        fd[1] = open("/dev/null", O_WRONLY);
    } else {
        make_pair(kind, fd);
    }
    *ret_fd = fd[1];
    *ret_reader = fd[0];
}

size_t fd_read_some(int fd, void *data, size_t size)
{
    int ready = 0;
    if (lseek(fd, 0, SEEK_CUR) < 0 && (ioctl(fd, FIONREAD, &ready) != 0 || ready == 0))
        return 0;
    ssize_t n = read(fd, data, size);
    return n > 0 ? (size_t)n : 0;
}
