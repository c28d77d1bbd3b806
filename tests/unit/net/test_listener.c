/* SPDX-License-Identifier: MIT */
/* Listening on a path and on a port: clients, modes, and what stands in the way. */
#include "daemon/net/listener.h"

#include "daemon/net/dial.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/net/lingering.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct world {
    uv_loop_t loop;
    char dir[64], path[128], error[512];
    struct sl_listener *listener;
    struct sl_listener_options options;
    unsigned accepted;
    int status;
};

static void on_accept(void *arg, int fd, int status)
{
    struct world *w = arg;
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    w->accepted++;
    w->status = status;
    (void)close(fd);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/sl-listener.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/s.sock", w->dir);
    w->options = (struct sl_listener_options){.path = w->path, .mode = 0660};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_listener_close(w->listener);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    (void)unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0); /* nothing else was left behind */
    free(w);
    return 0;
}

static int open_it(struct world *w)
{
    return sl_listener_open(&w->loop, NULL, &w->options, on_accept, w, w->error, sizeof w->error, &w->listener);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void a_client_is_accepted_and_the_name_goes_with_the_listener(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(lstat(w->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
    int fd = connect_to(w->path);
    assert_true(fd >= 0);
    while (w->accepted == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->status, 0);
    (void)close(fd);
    sl_listener_close(w->listener);
    w->listener = NULL;
    assert_int_equal(lstat(w->path, &st), -1);
}

/* For clients that find nobody: a file says so as long as no other daemon listens. */
static void one_that_is_succeeded_says_that_it_has_left(void **state)
{
    struct world *w = *state;
    struct stat st;
    char left[160];
    snprintf(left, sizeof left, "%s/.sl-s.sock.left", w->dir);
    for (int i = 0; i < 2; i++) {
        w->options.succeeded = true;
        assert_int_equal(open_it(w), 0);
        assert_int_equal(lstat(left, &st), -1);
        const struct timespec long_ago[2] = {{0}, {0}};
        if (i == 1) { /* another one's is written anew */
            int fd = open(left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            assert_int_equal(futimens(fd, long_ago), 0);
            (void)close(fd);
        }
        sl_listener_close(w->listener);
        assert_int_equal(lstat(w->path, &st), -1);
        assert_int_equal(lstat(left, &st), 0);
        assert_in_range(st.st_mtim.tv_sec, 1, INT64_MAX);
        assert_int_equal(utimensat(AT_FDCWD, left, long_ago, 0), 0);
    }
    w->options.succeeded = false;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(lstat(left, &st), 0);
    sl_listener_close(w->listener);
    assert_int_equal(lstat(left, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 0); /* nobody is expected after this one */
    w->listener = NULL;
    assert_int_equal(unlink(left), 0);
}

/* A port of 127.0.0.1 that is free now. */
static uint16_t free_port(struct sockaddr_in *ret_at)
{
    socklen_t len = sizeof *ret_at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret_at, sizeof *ret_at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_at, &len), 0);
    (void)close(fd);
    return ntohs(ret_at->sin_port);
}

static int open_tcp(struct world *w, const char *address, uint16_t port, struct sl_listener **ret_listener)
{
    return sl_listener_open_tcp(&w->loop, NULL, address, port, on_accept, w, w->error, sizeof w->error, ret_listener);
}

static void a_port_is_listened_on(void **state)
{
    struct world *w = *state;
    struct sl_listener *other;
    struct sockaddr_in at;
    uint16_t port = free_port(&at);
    char where[32];
    assert_int_equal(open_tcp(w, "127.0.0.1", port, &w->listener), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    while (w->accepted == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)close(fd);
    snprintf(where, sizeof where, "127.0.0.1:%u: ", (unsigned)port);
    assert_int_equal(open_tcp(w, "127.0.0.1", port, &other), SL_E_IO);
    assert_memory_equal(w->error, where, strlen(where));
    assert_int_equal(open_tcp(w, "some.host", port, &other), SL_E_INVALID);
    assert_non_null(strstr(w->error, "some.host"));
    assert_int_equal(open_tcp(w, "192.0.2.1", port, &other), SL_E_UNSUPPORTED);
    /* Gone with its last handle; the same port again. */
    sl_listener_close(w->listener);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(open_tcp(w, "127.0.0.1", port, &w->listener), 0);
}

static void a_socket_is_dialed(void **state)
{
    struct world *w = *state;
    char longer[200];
    int fd = -1;
    assert_int_equal(sl_dial_unix(w->path, w->error, sizeof w->error, &fd), SL_E_CONNECT);
    assert_non_null(strstr(w->error, w->path));
    assert_int_equal(open_it(w), 0);
    assert_int_equal(sl_dial_unix(w->path, w->error, sizeof w->error, &fd), 0);
    while (w->accepted == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)close(fd);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(sl_dial_unix(longer, w->error, sizeof w->error, &fd), SL_E_CONNECT);
}

static void mode_and_group_are_set(void **state)
{
    struct world *w = *state;
    struct stat st;
    gid_t groups[64];
    int count = getgroups(64, groups);
    w->options.mode = 0600;
    w->options.group_set = true;
    w->options.group = geteuid() == 0 ? 12345 : count > 0 ? groups[count - 1] : getgid();
    assert_int_equal(open_it(w), 0);
    assert_int_equal(lstat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_gid, w->options.group);
}

static mode_t mode_before; /* of the last file, before its mode was set */

int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);

int __wrap_chmod(const char *path, mode_t mode)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    mode_before = st.st_mode & 07777;
    return __real_chmod(path, mode);
}

/* A umask of the daemon's own stays what it was. */
static void until_its_group_is_set_it_is_open_to_nobody_else(void **state)
{
    struct world *w = *state;
    mode_t usual = umask(0);
    mode_before = 07777;
    int r = open_it(w);
    mode_t after = umask(usual);
    assert_int_equal(r, 0);
    assert_int_equal(after, 0);
    assert_int_equal(mode_before & 077, 0);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, w->path, strlen(w->path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    (void)close(fd); /* as a killed daemon leaves it */
    assert_int_equal(open_it(w), 0);
    fd = connect_to(w->path);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void a_live_daemon_is_left_alone(void **state)
{
    struct world *w = *state;
    struct sl_listener *second = NULL;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(
        sl_listener_open(&w->loop, NULL, &w->options, on_accept, w, w->error, sizeof w->error, &second), SL_E_BUSY);
    assert_non_null(strstr(w->error, w->path));
    assert_non_null(strstr(w->error, "another daemon is listening"));
    int fd = connect_to(w->path);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void a_live_daemon_that_is_busy_is_left_alone(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[8], count = 0;
    memcpy(address.sun_path, w->path, strlen(w->path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 0), 0);
    do { /* until its backlog is full */
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(clients[count] >= 0 && count < 7);
    } while (connect(clients[count++], (struct sockaddr *)&address, sizeof address) == 0);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(open_it(w), SL_E_BUSY);
    assert_non_null(strstr(w->error, "another daemon is listening"));
    while (count > 0)
        (void)close(clients[--count]);
    (void)close(fd);
}

static void a_file_is_left_alone(void **state)
{
    struct world *w = *state;
    int fd = open(w->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    assert_int_equal(open_it(w), SL_E_IO);
    assert_non_null(strstr(w->error, "not a socket"));
    assert_int_equal(access(w->path, F_OK), 0);
}

/* Anybody who may read a directory may lock it. */
static void a_locked_directory_does_not_matter(void **state)
{
    struct world *w = *state;
    int fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(open_it(w), 0);
    (void)close(fd);
}

static int make_lock(const struct world *w, mode_t mode)
{
    char path[160];
    snprintf(path, sizeof path, "%s/.sl-s.sock.lock", w->dir);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    return fd;
}

static void a_daemon_that_is_starting_is_not_waited_for(void **state)
{
    struct world *w = *state;
    int lock = make_lock(w, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    const uint64_t began = uv_hrtime();
    assert_int_equal(open_it(w), SL_E_BUSY);
    assert_true(uv_hrtime() - began < UINT64_C(500000000));
    assert_non_null(strstr(w->error, "another daemon is starting there"));
    assert_non_null(strstr(w->error, ".sl-s.sock.lock"));
    assert_int_equal(flock(lock, LOCK_UN), 0);
    assert_int_equal(open_it(w), 0); /* one left behind is as good as a new one */
    (void)close(lock);
}

static void a_lock_that_others_may_open_is_none(void **state)
{
    struct world *w = *state;
    char path[160];
    (void)close(make_lock(w, 0644));
    assert_int_equal(open_it(w), SL_E_IO);
    assert_non_null(strstr(w->error, "others may open it"));
    snprintf(path, sizeof path, "%s/.sl-s.sock.lock", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(open_it(w), SL_E_IO);
    assert_int_equal(unlink(path), 0);
}

/* Clients that were never accepted go with the listener, and what they have sent: here what takes an hour to close. */
static void who_was_not_accepted_goes_with_it(void **state)
{
    struct world *w = *state;
    struct sl_fd_jobs *jobs;
    int peer;
    assert_int_equal(sl_fd_jobs_new(&w->loop, &jobs), 0);
    assert_int_equal(open_it(w), 0);
    sl_listener_closed_by(w->listener, jobs);
    int fd = connect_to(w->path), one = lingering_socket(&peer);
    pass_descriptor(fd, one);
    (void)close(one);
    const uint64_t began = uv_hrtime();
    sl_listener_close(w->listener);
    w->listener = NULL;
    assert_true(uv_hrtime() - began < UINT64_C(500000000));
    assert_int_equal(connect_to(w->path), -1);
    sl_fd_jobs_unref(jobs);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_true(uv_hrtime() - began < SL_FD_PATIENCE_MS * UINT64_C(1000000));
    (void)close(fd);
    (void)close(peer);
}

static void the_last_numbers_are_not_for_clients(void **state)
{
    struct world *w = *state;
    struct rlimit old, low;
    int fillers[128], count = 0;
    assert_int_equal(open_it(w), 0);
    int fd = connect_to(w->path);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while ((fillers[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 115)
        assert_true(fillers[count++] >= 0);
    while (w->accepted == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->status, SL_E_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (count >= 0)
        (void)close(fillers[count--]);
    (void)close(fd);
}

static void a_missing_directory_is_named(void **state)
{
    struct world *w = *state;
    w->options.path = "/nonexistent/there/s.sock";
    assert_int_equal(open_it(w), SL_E_IO);
    assert_non_null(strstr(w->error, "/nonexistent/there/"));
}

static void a_path_that_is_too_long_is_refused_with_its_limit(void **state)
{
    struct world *w = *state;
    char path[300];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    w->options.path = path;
    assert_int_equal(open_it(w), SL_E_INVALID);
    assert_non_null(strstr(w->error, "1 bytes too long"));
    assert_non_null(strstr(w->error, "107"));
}

static void a_name_that_is_somebody_elses_by_now_stays(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(unlink(w->path), 0);
    int fd = open(w->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    sl_listener_close(w->listener);
    w->listener = NULL;
    assert_int_equal(access(w->path, F_OK), 0);
}

static int keep(struct world *w, bool *ret_made)
{
    return sl_listener_keep(w->listener, ret_made, w->error, sizeof w->error);
}

static void a_socket_that_was_removed_is_made_again(void **state)
{
    struct world *w = *state;
    struct stat st;
    bool made;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(keep(w, &made), 0);
    assert_false(made);
    int early = connect_to(w->path); /* not accepted when the name goes */
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(keep(w, &made), 0);
    assert_true(made);
    assert_int_equal(w->accepted, 1);
    assert_int_equal(lstat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    int late = connect_to(w->path);
    assert_true(late >= 0);
    while (w->accepted < 2)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)close(early);
    (void)close(late);
    assert_int_equal(keep(w, &made), 0);
    assert_false(made);
}

static void where_another_listens_it_is_not_made_again(void **state)
{
    struct world *w = *state;
    struct sl_listener *second = NULL;
    bool made;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(
        sl_listener_open(&w->loop, NULL, &w->options, on_accept, w, w->error, sizeof w->error, &second), 0);
    assert_int_equal(keep(w, &made), SL_E_BUSY);
    assert_non_null(strstr(w->error, "another daemon is listening"));
    int fd = connect_to(w->path);
    assert_true(fd >= 0);
    (void)close(fd);
    sl_listener_close(second);
    assert_int_equal(keep(w, &made), 0);
    assert_true(made);
}

static void nobody_else_gets_a_guarded_place(void **state)
{
    struct world *w = *state;
    struct sl_listener *second = NULL;
    char lock[160];
    bool made;
    w->options.guarded = true;
    assert_int_equal(open_it(w), 0);
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(
        sl_listener_open(&w->loop, NULL, &w->options, on_accept, w, w->error, sizeof w->error, &second), SL_E_BUSY);
    assert_non_null(strstr(w->error, "has lost its socket"));
    assert_int_equal(keep(w, &made), 0);
    assert_true(made);
    /* The lock alone is made again without touching the socket. */
    snprintf(lock, sizeof lock, "%s/.sl-s.sock.lock", w->dir);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(keep(w, &made), 0);
    assert_false(made);
    assert_int_equal(access(lock, F_OK), 0);
    assert_int_equal(unlink(w->path), 0);
    assert_int_equal(
        sl_listener_open(&w->loop, NULL, &w->options, on_accept, w, w->error, sizeof w->error, &second), SL_E_BUSY);
}

static void a_socket_from_outside_is_adopted_and_its_name_kept(void **state)
{
    struct world *w = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, w->path, strlen(w->path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    /* It must listen already. */
    assert_int_equal(
        sl_listener_adopt(&w->loop, NULL, fd, on_accept, w, w->error, sizeof w->error, &w->listener), SL_E_INVALID);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(sl_listener_adopt(&w->loop, NULL, fd, on_accept, w, w->error, sizeof w->error, &w->listener), 0);
    int client = connect_to(w->path);
    while (w->accepted == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    (void)close(client);
    sl_listener_close(w->listener);
    w->listener = NULL;
    assert_int_equal(access(w->path, F_OK), 0);
    assert_int_equal(connect_to(w->path), -1); /* at once: the loop has not run */
}

static void out_of_descriptors_clients_are_told_and_others_served_later(void **state)
{
    struct world *w = *state;
    struct rlimit old, low;
    int fillers[256], count = 0;
    assert_int_equal(open_it(w), 0);
    int first = connect_to(w->path), second = connect_to(w->path);
    assert_true(first >= 0 && second >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (count < 256 && (fillers[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    assert_int_equal(errno, EMFILE);
    while (w->accepted < 2)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->status, SL_E_LIMIT);
    while (count > 0)
        (void)close(fillers[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    int third = connect_to(w->path);
    while (w->accepted < 3)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->status, 0);
    (void)close(first);
    (void)close(second);
    (void)close(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_is_accepted_and_the_name_goes_with_the_listener, setup, teardown),
        cmocka_unit_test_setup_teardown(a_port_is_listened_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_socket_is_dialed, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_and_group_are_set, setup, teardown),
        cmocka_unit_test_setup_teardown(until_its_group_is_set_it_is_open_to_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_socket_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_live_daemon_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_live_daemon_that_is_busy_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_locked_directory_does_not_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(a_daemon_that_is_starting_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_that_others_may_open_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_not_accepted_goes_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_numbers_are_not_for_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_directory_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_that_is_too_long_is_refused_with_its_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_somebody_elses_by_now_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_socket_that_was_removed_is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(where_another_listens_it_is_not_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_succeeded_says_that_it_has_left, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_else_gets_a_guarded_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_socket_from_outside_is_adopted_and_its_name_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_descriptors_clients_are_told_and_others_served_later, setup, teardown),
    };
    return cmocka_run_group_tests_name("net.listener", tests, NULL, NULL);
}
