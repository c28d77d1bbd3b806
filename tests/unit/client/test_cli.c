/* The `sshlease` program: its arguments without a daemon, and what it does with one that plays a script. */
#include "fake_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 16

struct ran {
    pid_t pid;
    int in, out, err; /* our ends of the pipes; -1: closed */
    int status;       /* as waitpid() has it */
    char stdout_text[400000], stderr_text[8192];
    size_t stdout_len, stderr_len;
};
static struct ran ran; /* large; one at a time */

static void start(const char *const *args)
{
    char *argv[ARGS_MAX + 2] = {(char *)(uintptr_t)SSHLEASE_CLI};
    int in[2], out[2], err[2];

    for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
        argv[i + 1] = (char *)(uintptr_t)args[i];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    ran.stdout_len = ran.stderr_len = 0;
    ran.pid = fork();
    if (ran.pid == 0) {
        if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(err[1], 2) < 0)
            _exit(126);
        execv(SSHLEASE_CLI, argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    ran.in = in[1];
    ran.out = out[0];
    ran.err = err[0];
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Reads its outputs to their ends and waits for it. */
static void finish(void)
{
    shut(&ran.in);
    while (ran.out >= 0 || ran.err >= 0) {
        struct pollfd pfds[] = {{.fd = ran.out, .events = POLLIN}, {.fd = ran.err, .events = POLLIN}};
        assert_true(poll(pfds, 2, 20000) > 0);
        if (pfds[0].revents != 0) {
            assert_true(ran.stdout_len < sizeof ran.stdout_text - 1);
            ssize_t got = read(ran.out, ran.stdout_text + ran.stdout_len, sizeof ran.stdout_text - 1 - ran.stdout_len);
            if (got <= 0)
                shut(&ran.out);
            else
                ran.stdout_len += (size_t)got;
        }
        if (pfds[1].revents != 0) {
            ssize_t got = read(ran.err, ran.stderr_text + ran.stderr_len, sizeof ran.stderr_text - 1 - ran.stderr_len);
            if (got <= 0)
                shut(&ran.err);
            else
                ran.stderr_len += (size_t)got;
        }
    }
    ran.stdout_text[ran.stdout_len] = ran.stderr_text[ran.stderr_len] = '\0';
    assert_int_equal(waitpid(ran.pid, &ran.status, 0), ran.pid);
}

#define RUN(...)                                                                                                       \
    do {                                                                                                               \
        start((const char *const[]){__VA_ARGS__, NULL});                                                               \
        finish();                                                                                                      \
    } while (0)

static void expect_exit(int status)
{
    if (!WIFEXITED(ran.status) || WEXITSTATUS(ran.status) != status)
        fail_msg(
            "wait status %#x instead of exit status %d; it said: %s", (unsigned)ran.status, status, ran.stderr_text);
}

static void expect_line(const char *text)
{
    const char *newline = strchr(ran.stderr_text, '\n');

    if (strstr(ran.stderr_text, text) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", ran.stderr_text, text);
    if (newline == NULL || newline[1] != '\0')
        fail_msg("not exactly one line: \"%s\"", ran.stderr_text);
}

/* --- without a daemon
 * ------------------------------------------------------------------------------------------------------ */

static void wrong_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *args[6];
        int status;
        const char *text;
    } cases[] = {
        {{NULL}, 2, "exec, shell, status, end or reload (see sshlease --help)"},
        {{"frobnicate"}, 2, "no verb frobnicate"},
        {{"--frobnicate"}, 2, "unknown option --frobnicate"},
        {{"--socket"}, 2, "--socket needs a path"},
        {{"exec"}, 255, "needs the name of a target (see sshlease exec --help)"},
        {{"exec", "web1"}, 255, "needs a command"},
        {{"exec", "web1", "--"}, 255, "needs a command"},
        {{"exec", "-tx", "web1"}, 255, "unknown option -x"},
        {{"exec", "--nope", "web1", "true"}, 255, "unknown option --nope"},
        {{"exec", "web1", "--timeout"}, 255, "--timeout needs an argument"},
        {{"exec", "--timeout=5y", "web1", "true"}, 255, "5y is no time"},
        {{"exec", "--timeout=0", "web1", "true"}, 255, "0 is no time"},
        {{"exec", "--lease-timeout=-1", "web1", "true"}, 255, "-1 is no time"},
        {{"exec", "--acquire-timeout=50d", "web1", "true"}, 255, "50d is no time"},
        {{"exec", "-e", "=x", "web1", "true"}, 255, "names no variable"},
        {{"shell"}, 255, "needs the name of a target"},
        {{"shell", "web1", "true"}, 255, "use exec"},
        {{"status", "x"}, 2, "takes no argument"},
        {{"status", "--jason"}, 2, "unknown option --jason"},
        {{"end"}, 2, "the id of one lease"},
        {{"end", "x1"}, 2, "x1 is not the id"},
        {{"end", "1x"}, 2, "1x is not the id"},
        {{"end", "99999999999999999999"}, 2, "is not the id"},
        {{"reload", "now"}, 2, "takes no argument"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(cases[i].args);
        finish();
        expect_exit(cases[i].status);
        expect_line(cases[i].text);
        assert_int_equal(ran.stdout_len, 0);
    }
}

static void help_and_version_everywhere(void **state)
{
    (void)state;
    static const char *const verbs[] = {"exec", "shell", "status", "end", "reload"};
    char expected[64];

    RUN("--help");
    expect_exit(0);
    assert_int_equal(ran.stderr_len, 0);
    for (size_t i = 0; i < 5; i++)
        assert_non_null(strstr(ran.stdout_text, verbs[i]));
    RUN("--version");
    expect_exit(0);
    snprintf(expected, sizeof expected, "sshlease %s\n", sshlease_version());
    assert_string_equal(ran.stdout_text, expected);
    for (size_t i = 0; i < 5; i++) {
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

static void no_daemon_is_one_line(void **state)
{
    (void)state;
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

/* --- with one
 * ---------------------------------------------------------------------------------------------------------------- */

static void says_both(struct fake *f)
{
    fake_greet(f);
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
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    struct sl_reader env = open->env;
    struct sl_bytes name, value;
    if (open->kind != SL_STREAM_EXEC || open->command.len != 10 || memcmp(open->command.data, "ls -l  a b", 10) != 0)
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

static void exec_is_what_ssh_would_be(void **state)
{
    (void)state;
    struct fake f = {0};

    fake_start(&f, says_both);
    start((const char *const[]){"exec", "--socket", f.path, "-e", "A=b=c", "--acquire-timeout=2", "--lease-timeout",
        "1m", "--label=me", "web1", "-eHOME", "--", "ls", "-l", " a", "b", NULL});
    assert_int_equal(write(ran.in, "input\0rest", 10), 10);
    finish();
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

    fake_greet(f);
    if (f->number == 10) {
        fake_send_error(
            f, fake_take(f, SL_MSG_ACQUIRE)->acquire.rid, SSHLEASE_E_NO_TARGET, true, "web9: no such target");
        fake_take_end(f);
        return;
    }
    fake_grant(f);
    if (f->number == 11) {
        fake_send_error(f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_REFUSED, true,
            "web1: the server refused the command");
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

static void ends_that_are_not_an_exit_status(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *line;
    } cases[] = {
        {0, "sshlease: web1: the command was ended by SIGTERM\n"},
        {1, "sshlease: web1: the command was ended by SIGSEGV (core dumped)\n"},
        {2, "not known: the server closed the channel without a word\n"},
        {3, "sshlease: sshleased closed the connection\n"},
        {4, "sshlease: web1: an operator took the lease back\n"},
        {10, "sshlease: web9: no such target\n"},
        {11, "sshlease: web1: the server refused the command\n"},
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
    fake_greet(f);
    fake_grant(f);
    fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_take_end(f);
}

static void a_time_limit(void **state)
{
    (void)state;
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
    fake_greet(f);
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

static void signals_reach_the_command(void **state)
{
    (void)state;
    struct fake f = {0};

    fake_start(&f, signals_its_client);
    RUN("exec", "--socket", f.path, "web1", "sleep 99");
    expect_exit(255);
    expect_line("ended by SIGINT");
    fake_stop(&f);
}

static void the_same_signal_twice_ends_us(void **state)
{
    (void)state;
    struct fake f = {.number = 1};

    fake_start(&f, signals_its_client);
    RUN("exec", "--socket", f.path, "web1", "sleep 99");
    assert_true(WIFSIGNALED(ran.status));
    assert_int_equal(WTERMSIG(ran.status), SIGINT);
    expect_line("interrupted");
    fake_stop(&f);
}

#define MUCH 290000u

static void fills_the_pipe(struct fake *f)
{
    static uint8_t block[SL_MSG_DATA_MAX];
    size_t sent = 0;

    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    /* As much as the credit lets pass: 64 KiB fit into the pipe that the test does not read, the rest waits in the
     * client. */
    for (; sent < 262144; sent += sizeof block)
        fake_send_data(f, stream, 0, block, sizeof block);
    kill(client_of(f), SIGINT);
    expect_signal(f, "INT");
    f->number = 1;
    fake_take(f, SL_MSG_WINDOW); /* the test has begun to read */
    fake_send_data(f, stream, 0, block, MUCH - sent);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

static void ctrl_c_while_output_is_blocked(void **state)
{
    (void)state;
    struct fake f = {0};

    fake_start(&f, fills_the_pipe);
    start((const char *const[]){"exec", "--socket", f.path, "-n", "web1", "yes", NULL});
    struct pollfd pfd = {.fd = ran.out, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 10000), 1);
    /* The script goes on to its end only if the signal passes while nobody reads; so wait for it before reading. */
    for (int i = 0; i < 10000 && __atomic_load_n(&f.number, __ATOMIC_ACQUIRE) == 0 && f.failure[0] == '\0'; i++)
        poll(NULL, 0, 1);
    assert_int_equal(f.number, 1);
    finish();
    expect_exit(0);
    assert_int_equal(ran.stdout_len, MUCH);
    fake_stop(&f);
}

static void writes_for_ever(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 1, "nobody reads this\n", 18);
    fake_send_data(f, stream, 0, "nor this\n", 9);
    fake_take_end(f);
}

static void a_reader_that_goes_away(void **state)
{
    (void)state;
    struct fake f = {0};

    fake_start(&f, writes_for_ever);
    start((const char *const[]){"exec", "--socket", f.path, "-n", "web1", "yes", NULL});
    shut(&ran.out);
    shut(&ran.err);
    finish();
    assert_true(WIFSIGNALED(ran.status));
    assert_int_equal(WTERMSIG(ran.status), SIGPIPE);
    fake_stop(&f);
}

static void runs_anything(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 100);
    fake_take(f, SL_MSG_EOF);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

static void closed_standard_descriptors(void **state)
{
    (void)state;
    struct fake f = {0};
    char line[256];

    fake_start(&f, runs_anything);
    snprintf(line, sizeof line, "%s --socket %s exec web1 true <&- >&- 2>&-", SSHLEASE_CLI, f.path);
    assert_int_equal(system(line), 0);
    fake_stop(&f);
}

/* --- terminals
 * --------------------------------------------------------------------------------------------------------------- */

static void wants_a_terminal(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    struct sl_reader modes;
    uint8_t opcode;
    uint32_t value = 0, intr = 0;
    if (open->kind != SL_STREAM_SHELL || !open->pty || open->pty_req.cols != 100 || open->pty_req.rows != 40 ||
        memcmp(open->pty_req.term.data, "xterm-test", 10) != 0)
        fake_fail(f, "another terminal: %u x %u", open->pty_req.cols, open->pty_req.rows);
    sl_reader_init(&modes, open->pty_req.modes.data, open->pty_req.modes.len);
    while (sl_get_u8(&modes, &opcode) == 0 && opcode != 0 && sl_get_u32(&modes, &value) == 0)
        if (opcode == 1)
            intr = value;
    if (intr != 7 || opcode != 0 || sl_reader_left(&modes) != 0)
        fake_fail(f, "VINTR is %u, the last opcode %u", intr, opcode);
    uint32_t stream = open->stream;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_OPENED,
                     .stream_opened = {.rid = open->rid, .stream = stream, .window = 100}});
    fake_send_data(f, stream, 0, "$ ", 2);
    /* What a key press is elsewhere is a byte here: Ctrl-C, Ctrl-D, return. */
    const struct sl_msg_data *data = &fake_take(f, SL_MSG_DATA)->data;
    if (data->data.len != 3 || memcmp(data->data.data, "\3\4\r", 3) != 0)
        fake_fail(f, "the terminal is not raw");
    fake_send_data(f, stream, 0, "resize me", 9);
    const struct sl_msg_window_change *change = &fake_take(f, SL_MSG_WINDOW_CHANGE)->window_change;
    if (change->cols != 120 || change->rows != 50)
        fake_fail(f, "resized to %u x %u", change->cols, change->rows);
    fake_send_data(f, stream, 0, "bye\n", 4);
    fake_send_end(f, stream, 5);
    fake_release(f);
    fake_take_end(f);
}

static void read_until(int fd, const char *text)
{
    char seen[256] = "";
    size_t len = 0;

    while (strstr(seen, text) == NULL) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
        ssize_t got = read(fd, seen + len, sizeof seen - 1 - len);
        if (got <= 0)
            fail_msg("the terminal ended after \"%s\"", seen);
        len += (size_t)got;
        seen[len] = '\0';
    }
}

static void a_shell_with_a_terminal(void **state)
{
    (void)state;
    struct fake f = {0};
    struct winsize size = {.ws_col = 100, .ws_row = 40};
    struct termios before, after;
    int master, slave, status;

    fake_start(&f, wants_a_terminal);
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    assert_int_equal(tcgetattr(slave, &before), 0);
    before.c_cc[VINTR] = 7;
    assert_int_equal(tcsetattr(slave, TCSANOW, &before), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TERM", "xterm-test", 1);
        if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) != 0 || dup2(slave, 0) < 0 || dup2(slave, 1) < 0 ||
            dup2(slave, 2) < 0)
            _exit(126);
        close(master);
        execl(SSHLEASE_CLI, SSHLEASE_CLI, "--socket", f.path, "shell", "web1", NULL);
        _exit(127);
    }
    read_until(master, "$ ");
    assert_int_equal(write(master, "\3\4\r", 3), 3);
    read_until(master, "resize me");
    size = (struct winsize){.ws_col = 120, .ws_row = 50};
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    read_until(master, "bye");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 5);
    assert_int_equal(tcgetattr(slave, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    assert_int_equal(after.c_iflag, before.c_iflag);
    assert_int_equal(after.c_oflag, before.c_oflag);
    close(slave);
    close(master);
    fake_stop(&f);
}

/* --- status, end, reload
 * ----------------------------------------------------------------------------------------------------- */

static const char status_json[] =
    "{\"version\":\"1.2.3\",\"pid\":42,\"uptime_ms\":3723000,\"state\":\"running\",\"targets\":["
    "{\"name\":\"web1\",\"connections\":{\"dialing\":1,\"idle\":2,\"leased\":3,\"draining\":4,\"closing\":5},"
    "\"waiters\":6,\"max_connections\":15,\"failures\":2,\"last_error\":\"no route\\u001b[31m\",\"retry_in_ms\":4000},"
    "{\"name\":\"db\",\"connections\":{},\"waiters\":0,\"max_connections\":4,\"failures\":0,\"last_error\":\"\","
    "\"retry_in_ms\":0}],\"leases\":[{\"id\":9007199254740993,\"target\":\"web1\",\"label\":\"\",\"state\":\"granted\","
    "\"pid\":77,\"uid\":1000,\"user\":\"ci\",\"command\":\"pytest -n 4\",\"age_ms\":65000,\"expires_ms\":900,"
    "\"streams\":1},{\"id\":12,\"target\":\"web1\",\"label\":\"n\\u00e4chtlich\",\"state\":\"waiting\",\"pid\":78,"
    "\"uid\":1001,\"user\":\"\",\"command\":\"\",\"age_ms\":90000000,\"expires_ms\":0,\"streams\":0}],\"counters\":{}}";

static const char status_table[] =
    "sshleased 1.2.3, pid 42, running, up 1h02m\n"
    "\n"
    "TARGET  IDLE  LEASED  DIALING  DRAINING  CLOSING  MAX  WAITING  LAST ERROR\n"
    "web1       2       3        1         4        5   15        6  no route?[31m (no dial for 4s)\n"
    "db         0       0        0         0        0    4        0  -\n"
    "\n"
    "           LEASE  TARGET  STATE    PID  USER    AGE   LEFT  STREAMS  LABEL      COMMAND\n"
    "9007199254740993  web1    granted   77  ci    1m05s  900ms        1  -          pytest -n 4\n"
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

static void status_as_tables_and_as_json(void **state)
{
    (void)state;
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

static void status_on_a_terminal(void **state)
{
    (void)state;
    static const char *const no_color[] = {"", "1"};

    for (size_t i = 0; i < 2; i++) {
        struct fake f = {0};
        struct winsize size = {.ws_col = 40, .ws_row = 24};
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
        /* The lines of the tables are cut at the terminal's width, headings included. */
        assert_null(strstr(seen, "LAST ERROR"));
        for (char *line = strtok(seen, "\r\n"); line != NULL && i == 1; line = strtok(NULL, "\r\n"))
            if (strncmp(line, "sshleased", 9) != 0)
                assert_true(strlen(line) <= 40);
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

static void end_and_reload(void **state)
{
    (void)state;
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
        cmocka_unit_test(no_daemon_is_one_line),
        cmocka_unit_test(exec_is_what_ssh_would_be),
        cmocka_unit_test(ends_that_are_not_an_exit_status),
        cmocka_unit_test(a_time_limit),
        cmocka_unit_test(signals_reach_the_command),
        cmocka_unit_test(the_same_signal_twice_ends_us),
        cmocka_unit_test(ctrl_c_while_output_is_blocked),
        cmocka_unit_test(a_reader_that_goes_away),
        cmocka_unit_test(closed_standard_descriptors),
        cmocka_unit_test(a_shell_with_a_terminal),
        cmocka_unit_test(status_as_tables_and_as_json),
        cmocka_unit_test(status_on_a_terminal),
        cmocka_unit_test(end_and_reload),
    };
    return cmocka_run_group_tests_name("client.cli", tests, NULL, NULL);
}
