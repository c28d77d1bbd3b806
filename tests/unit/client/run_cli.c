/* SPDX-License-Identifier: MIT */
/* Starts the program, collects both outputs, and waits for its end. */
#include "run_cli.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct ran ran;

void run_start_program(const char *program, const char *const *args)
{
    char *argv[RUN_ARGS_MAX + 2] = {(char *)(uintptr_t)program};
    int in[2], out[2], err[2];
    for (size_t i = 0; i < RUN_ARGS_MAX && args[i] != NULL; i++)
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
        execv(program, argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    ran.in = in[1];
    ran.out = out[0];
    ran.err = err[0];
}

void run_start(const char *const *args)
{
    run_start_program(SSHLEASE_CLI, args);
}

void run_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Reads its outputs to their ends and waits for it. */
void run_finish(void)
{
    run_close(&ran.in);
    while (ran.out >= 0 || ran.err >= 0) {
        struct pollfd pfds[] = {{.fd = ran.out, .events = POLLIN}, {.fd = ran.err, .events = POLLIN}};
        assert_true(poll(pfds, 2, 20000) > 0);
        if (pfds[0].revents != 0) {
            assert_true(ran.stdout_len < sizeof ran.stdout_text - 1);
            ssize_t got = read(ran.out, ran.stdout_text + ran.stdout_len, sizeof ran.stdout_text - 1 - ran.stdout_len);
            if (got <= 0)
                run_close(&ran.out);
            else
                ran.stdout_len += (size_t)got;
        }
        if (pfds[1].revents != 0) {
            ssize_t got = read(ran.err, ran.stderr_text + ran.stderr_len, sizeof ran.stderr_text - 1 - ran.stderr_len);
            if (got <= 0)
                run_close(&ran.err);
            else
                ran.stderr_len += (size_t)got;
        }
    }
    ran.stdout_text[ran.stdout_len] = ran.stderr_text[ran.stderr_len] = '\0';
    assert_int_equal(waitpid(ran.pid, &ran.status, 0), ran.pid);
}

void expect_exit(int status)
{
    if (!WIFEXITED(ran.status) || WEXITSTATUS(ran.status) != status)
        fail_msg(
            "wait status %#x instead of exit status %d; it said: %s", (unsigned)ran.status, status, ran.stderr_text);
}

void expect_line(const char *text)
{
    const char *newline = strchr(ran.stderr_text, '\n');
    if (strstr(ran.stderr_text, text) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", ran.stderr_text, text);
    if (newline == NULL || newline[1] != '\0')
        fail_msg("not exactly one line: \"%s\"", ran.stderr_text);
}
