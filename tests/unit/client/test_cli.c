/* SPDX-License-Identifier: MIT */
/* The `sshlease` program: its arguments without a daemon; status, end and reload with one that plays a script. */
#include "fake_daemon.h"
#include "run_cli.h"
#include "tests/support/test.h"

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- without a daemon --- */

TEST(wrong_arguments)
{
    static const struct {
        const char *args[6];
        int status;
        const char *text;
    } cases[] = {
        {{NULL}, 2, "exec, shell, status, ssh-config, mux-ensure, end, reconnect, reload, stop (see sshlease --help)"},
        {{"frobnicate"}, 2, "unknown verb frobnicate"},
        {{"--frobnicate"}, 2, "unknown option --frobnicate"},
        {{"--socket"}, 2, "--socket needs a path"},
        {{"exec"}, 255, "needs the name of a target (see sshlease exec --help)"},
        {{"exec", "web1"}, 255, "needs a command"},
        {{"exec", "web1", "--"}, 255, "needs a command"},
        {{"exec", "-tx", "web1"}, 255, "unknown option -x"},
        {{"exec", "--nope", "web1", "true"}, 255, "unknown option --nope"},
        {{"exec", "web1", "--timeout"}, 255, "--timeout needs an argument"},
        {{"exec", "--timeout=5y", "web1", "true"}, 255, "5y is not a duration"},
        {{"exec", "--timeout=0", "web1", "true"}, 255, "0 is not a duration"},
        {{"exec", "--lease-timeout=-1", "web1", "true"}, 255, "-1 is not a duration"},
        {{"exec", "--acquire-timeout=50d", "web1", "true"}, 255, "50d is not a duration"},
        {{"exec", "-e", "=x", "web1", "true"}, 255, "does not name a variable"},
        {{"shell"}, 255, "needs the name of a target"},
        {{"shell", "web1", "true"}, 255, "use exec"},
        {{"status", "--json", "x"}, 2, "--json prints all there is"},
        {{"status", "--jason"}, 2, "unknown option --jason"},
        {{"end"}, 2, "the id of one lease"},
        {{"end", "x1"}, 2, "x1 is not the id"},
        {{"end", "1x"}, 2, "1x is not the id"},
        {{"end", "99999999999999999999"}, 2, "is not the id"},
        {{"reload", "now"}, 2, "takes no argument"},
        {{"stop", "now"}, 2, "takes no argument"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_start(cases[i].args);
        run_finish();
        expect_exit(cases[i].status);
        expect_line(cases[i].text);
        assert_int_equal(ran.stdout_len, 0);
    }
}

TEST(help_and_version_everywhere)
{
    static const char *const verbs[] = {"exec", "shell", "status", "ssh-config", "mux-ensure", "end", "reload", "stop"};
    char expected[64];
    RUN("--help");
    expect_exit(0);
    assert_int_equal(ran.stderr_len, 0);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        assert_non_null(strstr(ran.stdout_text, verbs[i]));
    RUN("--version");
    expect_exit(0);
    snprintf(expected, sizeof expected, "sshlease %s\n", sshlease_version());
    assert_string_equal(ran.stdout_text, expected);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        RUN(verbs[i], "--help");
        expect_exit(0);
        snprintf(expected, sizeof expected, "usage: sshlease %s", verbs[i]);
        assert_int_equal(strncmp(ran.stdout_text, expected, strlen(expected)), 0);
        RUN(verbs[i], "-h");
        expect_exit(0);
        RUN(verbs[i], "--version");
        expect_exit(0);
        assert_int_equal(strncmp(ran.stdout_text, "sshlease ", 9), 0);
    }
}

/* Runs the line in a shell; standard error is what it prints. */
static void expect_lost(const char *words, const char *redirection)
{
    char line[400];
    snprintf(line, sizeof line, "%s %s %s", SSHLEASE_CLI, words, redirection);
    run_start_program("/bin/sh", (const char *const[]){"-c", line, NULL});
    run_finish();
    expect_exit(1);
    expect_line("cannot write to standard output");
}

TEST(output_that_cannot_be_written_is_an_error_everywhere)
{
    static const char *const words[] = {"--help", "--version", "-V", "help", "help exec", "exec --help", "shell -V",
        "status --help", "ssh-config --help", "mux-ensure --help", "end --help", "reconnect --version", "reload -h",
        "stop -V"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        expect_lost(words[i], ">&-");
        expect_lost(words[i], ">/dev/full");
    }
}

TEST(help_is_a_verb_too)
{
    RUN("help");
    expect_exit(0);
    assert_non_null(strstr(ran.stdout_text, "Lease pooled SSH connections"));
    RUN("help", "status");
    expect_exit(0);
    assert_int_equal(strncmp(ran.stdout_text, "usage: sshlease status", 22), 0);
    RUN("help", "frobnicate");
    expect_exit(2);
    expect_line("unknown verb frobnicate; the verbs are exec,");
}

TEST(no_daemon_is_one_line)
{
    unsetenv("XDG_RUNTIME_DIR");
    setenv("SSHLEASE_SOCKET", "/nonexistent/s", 1);
    RUN("exec", "web1", "true");
    expect_exit(255);
    expect_line("sshlease: no sshleased is listening at /nonexistent/s\n");
    RUN("shell", "web1");
    expect_exit(255);
    RUN("status");
    expect_exit(1);
    RUN("end", "1");
    expect_exit(1);
    RUN("--socket=/other/s", "reload");
    expect_exit(1);
    expect_line("at /other/s");
    RUN("status", "--socket", "/third/s");
    expect_line("at /third/s");
    unsetenv("SSHLEASE_SOCKET");
    /* On a machine that has no daemon of its own there, the line says how to get one. */
    if (access("/run/sshleased/sshleased.sock", F_OK) != 0) {
        RUN("status");
        expect_exit(1);
        expect_line("; start");
    }
}

/* --- status, end, reload --- */

static const char status_json[] =
    "{\"version\":\"1.2.3\",\"pid\":42,\"uptime_ms\":3723000,\"state\":\"running\",\"targets\":["
    "{\"name\":\"web1\",\"connections\":{\"dialing\":1,\"idle\":2,\"leased\":3,\"draining\":4,\"closing\":5},"
    "\"waiters\":6,\"max_connections\":15,\"failures\":2,\"last_error\":\"no route\\u001b[31m \\u009b1m "
    "\\u202e\",\"retry_in_ms\":4000,"
    "\"learned\":\"uses: 1\"},"
    "{\"name\":\"db\",\"connections\":{},\"waiters\":0,\"max_connections\":4,\"failures\":0,\"last_error\":\"\","
    "\"retry_in_ms\":0}],\"leases\":[{\"id\":9007199254740993,\"target\":\"web1\",\"label\":\"\\u591c\\u9593\","
    "\"state\":\"granted\","
    "\"pid\":77,\"uid\":1000,\"user\":\"ci\",\"command\":\"pytest -n 4\",\"age_ms\":65000,\"expires_ms\":900,"
    "\"streams\":1},{\"id\":12,\"target\":\"web1\",\"label\":\"n\\u00e4chtlich\",\"state\":\"waiting\",\"pid\":78,"
    "\"uid\":1001,\"user\":\"\",\"command\":\"\",\"age_ms\":90000000,\"expires_ms\":0,\"streams\":0}],\"counters\":{}}";

static const char status_table[] =
    "sshleased 1.2.3, pid 42, running, up 1h02m\n"
    "\n"
    "TARGET  IDLE  LEASED  DIALING  DRAINING  CLOSING  MAX  WAITING  LAST ERROR\n"
    "web1       2       3        1         4        5   15        6  no route?[31m ??1m ???; next try in 4s\n"
    "db         0       0        0         0        0    4        0  -\n"
    "\n"
    "TARGET  ITS SERVER\n"
    "web1    uses: 1\n"
    "\n"
    "           LEASE  TARGET  STATE    PID  USER    AGE   LEFT  STREAMS  LABEL      COMMAND\n"
    "9007199254740993  web1    granted   77  ci    1m05s  900ms        1  \xe5\xa4\x9c\xe9\x96\x93       pytest -n 4\n"
    "              12  web1    waiting   78  1001  1d01h    0ms        0  n\xc3\xa4"
    "chtlich  -\n";

static void tells_its_status(struct fake *f)
{
    fake_greet(f);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                     .status_reply = {.rid = fake_take(f, SL_MSG_STATUS)->request.rid,
                         .json = sl_bytes_of(f->number == 0   ? status_json
                                             : f->number == 1 ? "{\"targets\":[],\"leases\":[]}"
                                             : f->number == 2 ? "{\"targets\":"
                                                              : "[]")}});
    fake_take_end(f);
}

TEST(status_as_tables_and_as_json)
{
    struct fake f = {0};
    fake_start(&f, tells_its_status);
    RUN("status", "--socket", f.path);
    expect_exit(0);
    assert_string_equal(ran.stdout_text, status_table);
    assert_int_equal(ran.stderr_len, 0);
    fake_stop(&f);

    fake_start(&f, tells_its_status);
    RUN("status", "--json", "--socket", f.path);
    expect_exit(0);
    assert_int_equal(ran.stdout_len, sizeof status_json); /* and a newline */
    assert_memory_equal(ran.stdout_text, status_json, sizeof status_json - 1);
    fake_stop(&f);

    f.number = 1;
    fake_start(&f, tells_its_status);
    RUN("status", "--socket", f.path);
    expect_exit(0);
    assert_non_null(strstr(ran.stdout_text, "no targets\n\nno leases\n"));
    fake_stop(&f);

    for (f.number = 2; f.number < 4; f.number++) {
        fake_start(&f, tells_its_status);
        RUN("status", "--socket", f.path);
        expect_exit(1);
        expect_line("cannot be read");
        fake_stop(&f);
    }
}

/* Of 64 columns: the error goes beneath its row; so do label and command. */
static const char narrow_table[] = "sshleased 1.2.3, pid 42, running, up 1h02m\r\n"
                                   "\r\n"
                                   "TARGET  IDLE  LEASED  DIALING  DRAINING  CLOSING  MAX  WAITING\r\n"
                                   "web1       2       3        1         4        5   15        6\r\n"
                                   "    last error: no route?[31m ??1m ???; next try in 4s\r\n"
                                   "db         0       0        0         0        0    4        0\r\n"
                                   "\r\n"
                                   "TARGET  ITS SERVER\r\n"
                                   "web1    uses: 1\r\n"
                                   "\r\n"
                                   "           LEASE  TARGET  STATE    PID  USER    AGE   LEFT  STREAMS\r\n"
                                   "9007199254740993  web1    granted   77  ci    1m05s  900ms        1\r\n"
                                   "    label: \xe5\xa4\x9c\xe9\x96\x93  command: pytest -n 4\r\n"
                                   "              12  web1    waiting   78  1001  1d01h    0ms        0\r\n"
                                   "    label: n\xc3\xa4"
                                   "chtlich\r\n";

TEST(status_on_a_terminal)
{
    static const char *const no_color[] = {"", "1"};
    for (size_t i = 0; i < 2; i++) {
        struct fake f = {0};
        struct winsize size = {.ws_col = 64, .ws_row = 24};
        char seen[4096] = "";
        size_t len = 0;
        ssize_t got;
        int master;

        fake_start(&f, tells_its_status);
        fflush(NULL);
        pid_t pid = forkpty(&master, NULL, NULL, &size);
        if (pid == 0) {
            setenv("TERM", "xterm", 1);
            setenv("NO_COLOR", no_color[i], 1);
            execl(SSHLEASE_CLI, SSHLEASE_CLI, "status", "--socket", f.path, NULL);
            _exit(127);
        }
        while ((got = read(master, seen + len, sizeof seen - 1 - len)) > 0)
            len += (size_t)got;
        seen[len] = '\0';
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close(master);
        assert_int_equal(strchr(seen, '\033') != NULL, i == 0);
        if (i == 1)
            assert_string_equal(seen, narrow_table);
        fake_stop(&f);
    }
}

static void obeys(struct fake *f)
{
    fake_greet(f);
    if (f->number == 0) {
        const struct sl_msg_end *end = &fake_take(f, SL_MSG_END)->end;
        if (end->lease != UINT64_C(18446744073709551615))
            fake_fail(f, "END of another lease");
        fake_send_ok(f, end->rid);
    } else if (f->number == 1) {
        fake_send_error(f, fake_take(f, SL_MSG_END)->end.rid, SSHLEASE_E_NOT_ALLOWED, true, "lease 3 is not yours");
    } else if (f->number == 2) {
        fake_send_ok(f, fake_take(f, SL_MSG_RELOAD)->request.rid);
    } else {
        fake_send_error(
            f, fake_take(f, SL_MSG_RELOAD)->request.rid, SSHLEASE_E_CONFIG, true, "c.yaml:1:1: one\nc.yaml:2:1: two");
    }
    fake_take_end(f);
}

TEST(end_and_reload)
{
    struct fake f = {0};
    fake_start(&f, obeys);
    RUN("end", "18446744073709551615", "--socket", f.path);
    expect_exit(0);
    assert_int_equal(ran.stdout_len + ran.stderr_len, 0);
    fake_stop(&f);

    f.number = 1;
    fake_start(&f, obeys);
    RUN("end", "3", "--socket", f.path);
    expect_exit(1);
    expect_line("sshlease: lease 3 is not yours\n");
    fake_stop(&f);

    f.number = 2;
    fake_start(&f, obeys);
    RUN("reload", "--socket", f.path);
    expect_exit(0);
    fake_stop(&f);

    f.number = 3;
    fake_start(&f, obeys);
    RUN("reload", "--socket", f.path);
    expect_exit(1);
    assert_string_equal(ran.stderr_text, "sshlease: c.yaml:1:1: one\nc.yaml:2:1: two\n");
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(help_and_version_everywhere),
        cmocka_unit_test(output_that_cannot_be_written_is_an_error_everywhere),
        cmocka_unit_test(help_is_a_verb_too),
        cmocka_unit_test(no_daemon_is_one_line),
        cmocka_unit_test(status_as_tables_and_as_json),
        cmocka_unit_test(status_on_a_terminal),
        cmocka_unit_test(end_and_reload),
    };
    return cmocka_run_group_tests_name("client.cli", tests, NULL, NULL);
}
