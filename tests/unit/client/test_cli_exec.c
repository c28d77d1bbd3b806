/* SPDX-License-Identifier: MIT */
/* sshlease exec with a daemon that plays a script, in version 1 of the protocol: all bytes go through us. */
#include "fake_daemon.h"
#include "run_cli.h"
#include "tests/support/test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What exec asks where there is a variable to pass. */
static void tell_status(struct fake *f, const char *json)
{
    uint32_t rid = fake_take(f, SL_MSG_STATUS)->request.rid;
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY, .status_reply = {.rid = rid, .json = sl_bytes_of(json)}});
}

static void says_both(struct fake *f)
{
    fake_greet_in(f, 1);
    const struct sl_msg_acquire *acquire = &fake_take(f, SL_MSG_ACQUIRE)->acquire;
    if (acquire->acquire_timeout_ms != 2000 || acquire->lease_timeout_ms != 60000 || acquire->label.len != 2)
        fake_fail(f, "the options did not arrive in ACQUIRE");
    uint32_t rid = acquire->rid;
    for (int i = 0; i < 2; i++)
        fake_send(
            f, &(struct sl_msg){.type = SL_MSG_WAITING,
                   .waiting = {.rid = rid, .position = 3, .waited_ms = 5000, .reason = sl_bytes_of("all leased")}});
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_GRANTED,
               .granted = {.rid = rid, .lease = 1, .lease_timeout_ms = 60000, .max_lease_ms = 60000, .streams = 8}});
    tell_status(f, "{\"targets\": [{\"name\": \"web1\"}], \"leases\": [{\"id\": 1, \"target\": \"web1\"}]}");
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    struct sl_reader env = open->env;
    struct sl_bytes name, value;
    if (open->kind != SL_KIND_EXEC || open->command.len != 10 || memcmp(open->command.data, "ls -l  a b", 10) != 0)
        fake_fail(f, "the command was \"%.*s\"", (int)open->command.len, (const char *)open->command.data);
    if (open->pty || open->env_count != 2 || !sl_msg_env_next(&env, &name, &value) || memcmp(name.data, "A", 1) != 0 ||
        value.len != 3 || !sl_msg_env_next(&env, &name, &value) || name.len != 4 || value.len == 0)
        fake_fail(f, "another environment");
    uint32_t stream = open->stream;
    fake_send(f, &(struct sl_msg){
                     .type = SL_MSG_STREAM_OPENED, .stream_opened = {.rid = open->rid, .stream = stream, .window = 5}});
    if (fake_take(f, SL_MSG_DATA)->data.data.len != 5)
        fake_fail(f, "another input");
    fake_send(f, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = 100}});
    if (memcmp(fake_take(f, SL_MSG_DATA)->data.data.data, "\0rest", 5) != 0)
        fake_fail(f, "another rest of the input");
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 1, "warning\n", 8);
    fake_send_data(f, stream, 0, "out\0put", 7);
    fake_send_end(f, stream, 7);
    fake_release(f);
    fake_take_end(f);
}

static void keeps_variables_back(struct fake *f)
{
    static const char status[] =
        "{\"targets\": [{\"name\": \"a\", \"send_env\": [\"*\"]}, {\"name\": \"web1\", \"send_env\": [\"LANG\", "
        "\"LC_*\"]}], \"leases\": [{\"id\": 6, \"target\": \"a\"}, {\"id\": 7, \"target\": \"web1\"}]}";
    fake_greet_in(f, 1);
    uint32_t rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_GRANTED,
               .granted = {.rid = rid, .lease = 7, .lease_timeout_ms = 60000, .max_lease_ms = 60000, .streams = 8}});
    tell_status(f, f->number == 0 ? status : "no status");
    uint32_t stream = fake_open_stream(f, 100);
    fake_take(f, SL_MSG_EOF);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_variable_that_is_kept_back_is_named)
{
    for (unsigned bad = 0; bad < 2; bad++) {
        struct fake f = {.number = bad};
        fake_start(&f, keeps_variables_back);
        RUN("exec", "--socket", f.path, "-n", "-e", "LC_ALL=C", "-e", "FOO=bar", "user@web1", "true");
        expect_exit(0);
        if (bad != 0)
            assert_int_equal(ran.stderr_len, 0);
        else
            expect_line("sshlease: user@web1: FOO is not passed: the target's send_env does not have it");
        fake_stop(&f);
    }
}

TEST(exec_is_what_ssh_would_be)
{
    struct fake f = {0};
    fake_start(&f, says_both);
    run_start((const char *const[]){"exec", "--socket", f.path, "-e", "A=b=c", "--acquire-timeout=2", "--lease-timeout",
        "1m", "--label=me", "web1", "-eHOME", "--", "ls", "-l", " a", "b", NULL});
    assert_int_equal(write(ran.in, "input\0rest", 10), 10);
    run_finish();
    expect_exit(7);
    assert_string_equal(ran.stderr_text, "sshlease: waiting for web1, place 3: all leased\nwarning\n");
    assert_int_equal(ran.stdout_len, 7);
    assert_memory_equal(ran.stdout_text, "out\0put", 7);
    fake_stop(&f);
}

/* How the command ends, by number. */
static void ends_somehow(struct fake *f)
{
    struct sl_msg_stream_end end = {0};
    fake_greet_in(f, 1);
    if (f->number == 10) {
        fake_send_error(
            f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, SSHLEASE_E_NO_TARGET, true, "web9: no such target");
        fake_take_end(f);
        return;
    }
    fake_grant(f);
    if (f->number == 11) {
        fake_send_error(f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_REFUSED, true,
            "web1: the server said \x1b[2J \xc2\x9b[2J \xe2\x80\xae \xff");
        fake_take(f, SL_MSG_EOF);
        fake_take_end(f);
        return;
    }
    end.stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    switch (f->number) {
    case 0:
        end.how = SL_END_SIGNAL;
        end.signal = sl_bytes_of("TERM");
        break;
    case 1:
        end.how = SL_END_SIGNAL;
        end.signal = sl_bytes_of("SEGV");
        end.core_dumped = true;
        break;
    case 2:
        end.how = SL_END_UNKNOWN;
        end.text = sl_bytes_of("the server closed the channel without a word");
        break;
    case 3:
        return; /* the daemon goes away */
    case 5:
        end.how = SL_END_STATUS;
        end.exit_status = 256;
        break;
    default:
        fake_send(f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
                         .lease_ended = {.lease = 7,
                             .code = (uint32_t)-SSHLEASE_E_REVOKED,
                             .text = sl_bytes_of("web1: an operator took the lease back")}});
        fake_take_end(f);
        return;
    }
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END, .stream_end = end});
    fake_release(f);
    fake_take_end(f);
}

TEST(ends_that_are_not_an_exit_status)
{
    static const struct {
        uint32_t number;
        const char *line;
    } cases[] = {
        {0, "sshlease: web1: the command was ended by SIGTERM\n"},
        {1, "sshlease: web1: the command was ended by SIGSEGV (core dumped)\n"},
        {2, "not known: the server closed the channel without a word\n"},
        {3, "sshlease: sshleased closed the connection\n"},
        {4, "sshlease: web1: an operator took the lease back\n"},
        {5, "sshlease: web1: the command's exit status is 256\n"}, /* whose last eight bits would say 0 */
        {10, "sshlease: web9: no such target\n"},
        {11, "sshlease: web1: the server said ?[2J ??[2J ??? ?\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake f = {.number = cases[i].number};
        fake_start(&f, ends_somehow);
        RUN("--socket", f.path, "exec", "-n", "web1", "false");
        expect_exit(255);
        expect_line(cases[i].line);
        fake_stop(&f);
    }
}

static void never_ends(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_take_end(f);
}

TEST(a_time_limit)
{
    struct fake f = {0};
    fake_start(&f, never_ends);
    RUN("exec", "--timeout", "50ms", "--socket", f.path, "web1", "sleep", "99");
    expect_exit(124);
    expect_line("still running after 0.05 s");
    fake_stop(&f);
}

static pid_t client_of(struct fake *f)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(f->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        fake_fail(f, "no peer credentials");
    return peer.pid;
}

static void expect_signal(struct fake *f, const char *name)
{
    const struct sl_msg_signal *got = &fake_take(f, SL_MSG_SIGNAL)->signal;
    if (got->name.len != strlen(name) || memcmp(got->name.data, name, got->name.len) != 0)
        fake_fail(f, "SIGNAL %.*s instead of %s", (int)got->name.len, (const char *)got->name.data, name);
}

static void signals_its_client(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    static const struct {
        int number;
        const char *name;
    } signals[] = {{SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGQUIT, "QUIT"}, {SIGINT, "INT"}};
    for (size_t i = 0; i < 4; i++) {
        kill(client_of(f), signals[i].number);
        expect_signal(f, signals[i].name);
    }
    if (f->number == 0) {
        fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                         .stream_end = {.stream = stream, .how = SL_END_SIGNAL, .signal = sl_bytes_of("INT")}});
        fake_release(f);
    } else {
        kill(client_of(f), SIGINT);
    }
    fake_take_end(f);
}

TEST(signals_reach_the_command)
{
    struct fake f = {0};
    fake_start(&f, signals_its_client);
    RUN("exec", "--socket", f.path, "web1", "sleep 99");
    expect_exit(255);
    expect_line("ended by SIGINT");
    fake_stop(&f);
}

TEST(the_same_signal_twice_ends_us)
{
    struct fake f = {.number = 1};
    fake_start(&f, signals_its_client);
    RUN("exec", "--socket", f.path, "web1", "sleep 99");
    assert_true(WIFSIGNALED(ran.status));
    assert_int_equal(WTERMSIG(ran.status), SIGINT);
    expect_line("interrupted");
    fake_stop(&f);
}

static void is_told_in_vain(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    kill(client_of(f), SIGHUP);
    expect_signal(f, "HUP");
    fake_take_end(f);
}

/* The terminal is gone, the server does not pass signals on: nobody must stay behind. Waits out the five seconds. */
TEST(a_command_that_does_not_hear_ends_us)
{
    struct fake f = {0};
    fake_start(&f, is_told_in_vain);
    RUN("exec", "--socket", f.path, "web1", "sleep 99");
    assert_true(WIFSIGNALED(ran.status));
    assert_int_equal(WTERMSIG(ran.status), SIGHUP);
    expect_line("interrupted");
    fake_stop(&f);
}

#define MUCH (5000u + 7u * SL_MSG_DATA_MAX + 27u * 1000u) /* less than the window: credit is given back once */

static void fills_the_pipe(struct fake *f)
{
    static uint8_t block[SL_MSG_DATA_MAX];
    size_t sent = 0;
    fake_greet_in(f, 1);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    /* As much as the credit lets pass: 64 KiB fit into the pipe that the test does not read, the rest waits in the
     * client. */
    fake_send_data(f, stream, 0, block, 5000); /* so that a large write does not end where the pipe is full */
    for (sent = 5000; sent < 262144 - sizeof block; sent += sizeof block)
        fake_send_data(f, stream, 0, block, sizeof block);
    kill(client_of(f), SIGINT);
    expect_signal(f, "INT");
    f->number = 1;
    fake_take(f, SL_MSG_WINDOW); /* the test has begun to read */
    for (; sent < MUCH; sent += 1000)
        fake_send_data(f, stream, 0, block, 1000);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(ctrl_c_while_output_is_blocked)
{
    struct fake f = {0};
    fake_start(&f, fills_the_pipe);
    run_start((const char *const[]){"exec", "--socket", f.path, "-n", "web1", "yes", NULL});
    struct pollfd pfd = {.fd = ran.out, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 10000), 1);
    /* The script goes on to its end only if the signal passes while nobody reads; so wait for it before reading. */
    for (int i = 0; i < 10000 && __atomic_load_n(&f.number, __ATOMIC_ACQUIRE) == 0 && f.failure[0] == '\0'; i++)
        poll(NULL, 0, 1);
    assert_int_equal(f.number, 1);
    run_finish();
    expect_exit(0);
    assert_int_equal(ran.stdout_len, MUCH);
    fake_stop(&f);
}

static void writes_and_exits(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 1, "nobody reads this\n", 18);
    fake_send_data(f, stream, 0, "or this\n", 8);
    fake_send_data(f, stream, 0, "nor this\n", 9);
    fake_send_end(f, stream, 3);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_reader_that_goes_away)
{
    struct fake f = {0};
    /* The command's status counts, as with ssh. */
    fake_start(&f, writes_and_exits);
    run_start((const char *const[]){"exec", "--socket", f.path, "-n", "web1", "yes", NULL});
    run_close(&ran.out);
    run_close(&ran.err);
    run_finish();
    expect_exit(3);
    fake_stop(&f);

    /* Who does not read the errors still gets the output. */
    fake_start(&f, writes_and_exits);
    run_start((const char *const[]){"exec", "--socket", f.path, "-n", "web1", "yes", NULL});
    run_close(&ran.err);
    run_finish();
    expect_exit(3);
    assert_string_equal(ran.stdout_text, "or this\nnor this\n");
    fake_stop(&f);
}

static void runs_anything(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 100);
    fake_take(f, SL_MSG_EOF);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(closed_standard_descriptors)
{
    struct fake f = {0};
    char line[256];
    fake_start(&f, runs_anything);
    snprintf(line, sizeof line, "%s --socket %s exec web1 true <&- >&- 2>&-", SSHLEASE_CLI, f.path);
    assert_int_equal(system(line), 0);
    fake_stop(&f);
}

static void says_something(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 0, "lost\n", 5);
    fake_take_end(f);
}

/* A full disk is no success. */
TEST(output_that_cannot_be_written)
{
    struct fake f = {0};
    char line[256];
    fake_start(&f, says_something);
    snprintf(line, sizeof line, "exec %s exec --socket %s -n web1 true >/dev/full", SSHLEASE_CLI, f.path);
    run_start_program("/bin/sh", (const char *const[]){"-c", line, NULL});
    run_finish();
    expect_exit(255);
    expect_line("cannot write the command's output: No space left on device");
    fake_stop(&f);
}

static void says_and_exits(struct fake *f)
{
    fake_greet_in(f, 1);
    fake_grant(f);
    const struct sl_bytes *command = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.command;
    if (command->len != 8 || memcmp(command->data, "uname -a", 8) != 0)
        fake_fail(f, "another command");
    uint32_t rid = f->msg.stream_open.rid, stream = f->msg.stream_open.stream;
    fake_send(f,
        &(struct sl_msg){.type = SL_MSG_STREAM_OPENED, .stream_opened = {.rid = rid, .stream = stream, .window = 100}});
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 0, "Linux\n", 6);
    fake_send_end(f, stream, f->number);
    fake_release(f);
    fake_take_end(f);
}

TEST(the_example_program)
{
    struct fake f = {.number = 4};
    fake_start(&f, says_and_exits);
    setenv("SSHLEASE_SOCKET", f.path, 1);
    run_start_program(SSHLEASE_EXAMPLE, (const char *const[]){"web1", "uname", "-a", NULL});
    run_finish();
    expect_exit(4);
    assert_string_equal(ran.stdout_text, "Linux\n");
    assert_int_equal(ran.stderr_len, 0);
    fake_stop(&f);
    /* The daemon is gone now. */
    run_start_program(SSHLEASE_EXAMPLE, (const char *const[]){"web1", "uname", "-a", NULL});
    run_finish();
    expect_exit(255);
    expect_line("(no-daemon): trying again later may help");
    unsetenv("SSHLEASE_SOCKET");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exec_is_what_ssh_would_be),
        cmocka_unit_test(a_variable_that_is_kept_back_is_named),
        cmocka_unit_test(ends_that_are_not_an_exit_status),
        cmocka_unit_test(a_time_limit),
        cmocka_unit_test(signals_reach_the_command),
        cmocka_unit_test(the_same_signal_twice_ends_us),
        cmocka_unit_test(a_command_that_does_not_hear_ends_us),
        cmocka_unit_test(ctrl_c_while_output_is_blocked),
        cmocka_unit_test(a_reader_that_goes_away),
        cmocka_unit_test(closed_standard_descriptors),
        cmocka_unit_test(output_that_cannot_be_written),
        cmocka_unit_test(the_example_program),
    };
    return cmocka_run_group_tests_name("client.cli_exec", tests, NULL, NULL);
}
