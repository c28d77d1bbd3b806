/* SPDX-License-Identifier: MIT */
/* Connecting, greeting, and every way in which the socket's other side can be wrong. */
#include "fake_daemon.h"

#include "sshlease_version.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect_open(const char *path, int timeout_ms, int status, const char *text)
{
    struct sshlease *lease;
    assert_int_equal(sshlease_open(path, timeout_ms, &lease), status);
    assert_non_null(strstr(sshlease_error(lease), text));
    assert_true(sshlease_error_unsent(lease));
    assert_int_equal(sshlease_want(lease), 0);
    assert_int_equal(sshlease_process(lease), status);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), status);
    sshlease_free(lease);
}

TEST(nobody_listens)
{
    char dir[] = "/tmp/sshlease-unit.XXXXXX", path[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    expect_open(path, 1000, SSHLEASE_E_NO_DAEMON, path);
    expect_open("/dev/null/s", 1000, SSHLEASE_E_NO_DAEMON, "/dev/null/s");
    /* A socket file whose process is gone. */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    expect_open(path, 1000, SSHLEASE_E_NO_DAEMON, "no sshleased is listening");
    /* A socket of another kind. */
    unlink(path);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    expect_open(path, 1000, SSHLEASE_E_NO_DAEMON, "not sshleased's socket");
    close(fd);
    unlink(path);
    rmdir(dir);
}

TEST(a_path_that_no_socket_can_have)
{
    char path[200];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[199] = '\0';
    expect_open(path, 1000, SSHLEASE_E_INVALID, "199 bytes");
    expect_open("", 1000, SSHLEASE_E_INVALID, "0 bytes");
    setenv("SSHLEASE_SOCKET", path, 1);
    expect_open(NULL, 1000, SSHLEASE_E_INVALID, "longer than");
    unsetenv("SSHLEASE_SOCKET");
}

TEST(the_default_socket)
{
    char dir[] = "/tmp/sshlease-unit.XXXXXX", expected[64], path[108];
    assert_non_null(mkdtemp(dir));
    setenv("SSHLEASE_SOCKET", "/a/b", 1);
    setenv("XDG_RUNTIME_DIR", dir, 1);
    assert_int_equal(sshlease_default_socket(path, sizeof path), 0);
    assert_string_equal(path, "/a/b");
    assert_int_equal(sshlease_default_socket(path, 4), SSHLEASE_E_INVALID);
    assert_int_equal(sshlease_default_socket(path, 5), 0);
    setenv("SSHLEASE_SOCKET", "", 1);
    assert_int_equal(sshlease_default_socket(path, sizeof path), 0);
    assert_string_equal(path, "/run/sshleased/sshleased.sock");
    snprintf(expected, sizeof expected, "%s/sshleased.sock", dir);
    fclose(fopen(expected, "w"));
    assert_int_equal(sshlease_default_socket(path, sizeof path), 0);
    assert_string_equal(path, expected);
    unlink(expected);
    rmdir(dir);
    unsetenv("SSHLEASE_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
}

static void refuses_the_version(struct fake *f)
{
    fake_accept(f);
    if (fake_take(f, SL_MSG_HELLO)->hello.version_max != SL_MSG_VERSION)
        fake_fail(f, "HELLO names another version");
    fake_send_error(
        f, 0, SSHLEASE_E_VERSION, true, "the daemon speaks 7 to 9,\x1b[2J \xc2\x9b[2J \xe2\x80\xae you \xff 1");
}

static void chooses_a_version_nobody_offered(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_WELCOME, .welcome = {.version = 9, .daemon = sl_bytes_of("x")}});
    fake_take_end(f);
}

static void is_full(struct fake *f)
{
    fake_accept(f);
    fake_send_error(f, 0, SSHLEASE_E_LIMIT, true, "1000 clients are connected already");
    fake_close(f);
}

static void closes(struct fake *f)
{
    fake_accept(f);
}

static void speaks_http(struct fake *f)
{
    fake_accept(f);
    fake_send_raw(f, "HTTP/1.1 400 Bad Request\r\n", 26);
    fake_take(f, SL_MSG_HELLO);
    fake_take_end(f);
}

static void sends_an_unknown_type(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_send_raw(f, "\0\0\0\4\0\0\0\xfe", 8);
    fake_take_end(f);
}

static void sends_a_clients_message(struct fake *f)
{
    fake_greet(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_RELOAD, .request = {.rid = 1}});
    fake_take_end(f);
}

static void grants_before_greeting(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED, .granted = {.rid = 1, .lease = 1, .streams = 1}});
    fake_take_end(f);
}

static void greets_twice(struct fake *f)
{
    fake_greet(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_WELCOME, .welcome = {.version = 1}});
    fake_take_end(f);
}

static void sends_half_a_frame(struct fake *f)
{
    fake_greet(f);
    fake_send_raw(f, "\0\0\0\x10\0\0", 6);
}

static void answers_what_was_not_asked(struct fake *f)
{
    fake_greet(f);
    fake_send_ok(f, 4000);
    fake_take_end(f);
}

static void says_ok_about_nothing(struct fake *f)
{
    fake_greet(f);
    fake_send_raw(f, "\0\0\0\x08\0\0\0\x65\0\0\0\0", 12);
    fake_take_end(f);
}

static void says_nothing(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_take_end(f);
}

TEST(bad_greetings)
{
    static const struct {
        fake_script_fn script;
        int status;
        const char *text;
    } cases[] = {
        {refuses_the_version, SSHLEASE_E_VERSION, "speaks 7 to 9,?[2J ??[2J ??? you ? 1"},
        {chooses_a_version_nobody_offered, SSHLEASE_E_VERSION, "version 9"},
        {is_full, SSHLEASE_E_LIMIT, "1000 clients"},
        {closes, SSHLEASE_E_DAEMON_GONE, "closed the connection without a word"},
        {speaks_http, SSHLEASE_E_PROTOCOL, "does not speak"},
        {sends_an_unknown_type, SSHLEASE_E_PROTOCOL, "does not decode"},
        {grants_before_greeting, SSHLEASE_E_PROTOCOL, "GRANTED out of turn"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake f = {0};
        fake_start(&f, cases[i].script);
        expect_open(f.path, 10000, cases[i].status, cases[i].text);
        fake_stop(&f);
    }
}

TEST(bad_messages_after_the_greeting)
{
    static const struct {
        fake_script_fn script;
        int status;
        const char *text;
    } cases[] = {
        {sends_a_clients_message, SSHLEASE_E_PROTOCOL, "RELOAD out of turn"},
        {greets_twice, SSHLEASE_E_PROTOCOL, "WELCOME out of turn"},
        {sends_half_a_frame, SSHLEASE_E_DAEMON_GONE, "closed the connection"},
        {answers_what_was_not_asked, SSHLEASE_E_PROTOCOL, "OK out of turn"},
        {says_ok_about_nothing, SSHLEASE_E_PROTOCOL, "OK"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake f = {0};
        struct sshlease *lease;
        fake_start(&f, cases[i].script);
        /* Whether it comes with the greeting or after it is chance. */
        int status = sshlease_open(f.path, 10000, &lease);
        while (status == 0) {
            struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
            assert_int_equal(poll(&pfd, 1, 10000), 1);
            status = sshlease_process(lease);
        }
        assert_int_equal(status, cases[i].status);
        assert_non_null(strstr(sshlease_error(lease), cases[i].text));
        sshlease_free(lease);
        fake_stop(&f);
    }
}

TEST(a_daemon_that_says_nothing_times_out)
{
    struct fake f = {0};
    struct sshlease *lease;
    fake_start(&f, says_nothing);
    assert_int_equal(sshlease_open(f.path, 30, &lease), SSHLEASE_E_TIMEOUT);
    assert_non_null(strstr(sshlease_error(lease), "does not answer"));
    sshlease_free(lease);
    fake_stop(&f);
}

TEST(a_full_backlog_times_out)
{
    char dir[] = "/tmp/sshlease-unit.XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int held[8];
    size_t count = 0;
    assert_non_null(mkdtemp(dir));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 0), 0);
    for (; count < 8; count++) {
        held[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(held[count], (struct sockaddr *)&address, sizeof address) != 0)
            break;
    }
    assert_true(count < 8);
    expect_open(address.sun_path, 30, SSHLEASE_E_TIMEOUT, "does not accept connections");
    expect_open(address.sun_path, 0, SSHLEASE_E_TIMEOUT, "does not accept connections");
    for (size_t i = 0; i <= count; i++)
        close(held[i]);
    close(fd);
    unlink(address.sun_path);
    rmdir(dir);
}

TEST(a_socket_one_may_not_use)
{
    struct fake f = {0};
    fake_start(&f, closes);
    chmod(f.path, 0);
    /* Root may always; so another user tries. */
    pid_t child = fork();
    if (child == 0) {
        struct sshlease *lease;
        chmod(f.dir, 0755);
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(3);
        _exit(sshlease_open(f.path, 1000, &lease) == SSHLEASE_E_NOT_ALLOWED ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    chmod(f.path, 0700);
    struct sshlease *lease;
    assert_int_equal(sshlease_open(f.path, 10000, &lease), SSHLEASE_E_DAEMON_GONE); /* lets the script end */
    sshlease_free(lease);
    fake_stop(&f);
}

static void grants(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_release(f);
    fake_take_end(f);
}

TEST(descriptors_beyond_select)
{
    struct rlimit limit;
    struct fake f = {0};
    int fds[1100];
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < 1200)
        skip();
    struct rlimit wanted = {.rlim_cur = 1200, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &wanted), 0);
    for (size_t i = 0; i < 1100; i++)
        fds[i] = dup(0);
    struct sshlease *lease = fake_open(&f, grants);
    assert_true(sshlease_fd(lease) > 1024);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), 0);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    for (size_t i = 0; i < 1100; i++)
        close(fds[i]);
    setrlimit(RLIMIT_NOFILE, &limit);
    fake_stop(&f);
}

static void waits_without_greeting(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_take(f, SL_MSG_ACQUIRE);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_WELCOME, .welcome = {.version = 1, .daemon = sl_bytes_of("x")}});
    fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED, .granted = {.rid = 1, .lease = 9, .streams = 1}});
    fake_release(f);
    fake_take_end(f);
}

static void grants_without_greeting(struct fake *f)
{
    fake_accept(f);
    fake_take(f, SL_MSG_HELLO);
    fake_grant(f);
    fake_take_end(f);
}

TEST(what_comes_before_the_greeting_is_a_violation)
{
    struct fake f = {0};
    struct sshlease *lease;
    fake_start(&f, grants_without_greeting);
    assert_int_equal(sshlease_open(f.path, 0, &lease), 0);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), SSHLEASE_E_PROTOCOL);
    assert_string_equal(sshlease_error(lease), "sshleased sent GRANTED out of turn");
    sshlease_free(lease);
    fake_stop(&f);
}

static void turns_away(struct fake *f)
{
    fake_accept(f);
    fake_send_error(f, 0, SSHLEASE_E_LIMIT, true, "too many of you");
    fake_close(f);
}

TEST(who_is_turned_away_before_its_greeting_is_written_is_told_why)
{
    struct fake f = {0};
    struct sshlease *lease;
    fake_start(&f, turns_away);
    assert_int_equal(sshlease_open(f.path, 0, &lease), 0);
    struct pollfd hung_up = {.fd = sshlease_fd(lease)};
    assert_int_equal(poll(&hung_up, 1, 10000), 1);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), SSHLEASE_E_LIMIT);
    assert_string_equal(sshlease_error(lease), "too many of you");
    sshlease_free(lease);
    fake_stop(&f);
}

TEST(opening_without_waiting_sends_greeting_and_request_together)
{
    struct fake f = {0};
    struct sshlease *lease;
    fake_start(&f, waits_without_greeting);
    assert_int_equal(sshlease_open(f.path, 0, &lease), 0);
    assert_int_equal(sshlease_want(lease), SSHLEASE_WANT_READ | SSHLEASE_WANT_WRITE);
    assert_int_equal(sshlease_acquire(lease, "web1", NULL), 0);
    assert_int_equal(sshlease_id(lease), 9);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

TEST(statuses)
{
    assert_string_equal(sshlease_status_name(SSHLEASE_E_EXPIRED), "expired");
    assert_string_equal(sshlease_status_text(SSHLEASE_E_EXPIRED), "the lease ran out");
    assert_string_equal(sshlease_status_name(-199), "unknown");
    assert_true(sshlease_status_retryable(SSHLEASE_E_QUEUE_FULL));
    assert_false(sshlease_status_retryable(SSHLEASE_E_NO_TARGET));
    assert_true(sshlease_status_is_host_key(SSHLEASE_E_HOST_KEY_UNKNOWN));
    assert_true(sshlease_status_is_host_key(SSHLEASE_E_HOST_KEY_CHANGED));
    assert_true(sshlease_status_is_host_key(SSHLEASE_E_HOST_KEY_REVOKED));
    assert_false(sshlease_status_is_host_key(SSHLEASE_E_AUTH_FAILED));
    assert_string_equal(sshlease_version(), SSHLEASE_VERSION);
    sshlease_free(NULL);
    sshlease_stream_free(NULL);
    sshlease_output_fini(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(a_path_that_no_socket_can_have),
        cmocka_unit_test(the_default_socket),
        cmocka_unit_test(bad_greetings),
        cmocka_unit_test(bad_messages_after_the_greeting),
        cmocka_unit_test(a_daemon_that_says_nothing_times_out),
        cmocka_unit_test(a_full_backlog_times_out),
        cmocka_unit_test(a_socket_one_may_not_use),
        cmocka_unit_test(descriptors_beyond_select),
        cmocka_unit_test(who_is_turned_away_before_its_greeting_is_written_is_told_why),
        cmocka_unit_test(opening_without_waiting_sends_greeting_and_request_together),
        cmocka_unit_test(what_comes_before_the_greeting_is_a_violation),
        cmocka_unit_test(statuses),
    };
    return cmocka_run_group_tests_name("client.link", tests, NULL, NULL);
}
