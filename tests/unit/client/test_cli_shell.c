/* SPDX-License-Identifier: MIT */
/* sshlease shell on a terminal. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void wants_a_terminal(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    struct sl_reader modes;
    uint8_t opcode;
    uint32_t value = 0, intr = 0;
    if (open->kind != SL_KIND_SHELL || !open->pty || open->pty_req.cols != 100 || open->pty_req.rows != 40 ||
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

TEST(a_shell_with_a_terminal)
{
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shell_with_a_terminal),
    };
    return cmocka_run_group_tests_name("client.cli_shell", tests, NULL, NULL);
}
