/* SPDX-License-Identifier: MIT */
/* run_cli.h - runs the `sshlease` program with pipes for its standard descriptors, one at a time, and keeps what it
 * said. */
#ifndef SSHLEASE_TESTS_RUN_CLI_H
#define SSHLEASE_TESTS_RUN_CLI_H

#include <stddef.h>
#include <sys/types.h>

#define RUN_ARGS_MAX 20

struct ran {
    pid_t pid;
    int in, out, err; /* our ends of the pipes; -1: closed */
    int status;       /* as waitpid() has it */
    char stdout_text[400000], stderr_text[8192];
    size_t stdout_len, stderr_len;
};
extern struct ran ran;

/* `args` ends with NULL and does not hold the program's name. */
void run_start(const char *const *args);
void run_start_program(const char *program, const char *const *args);
/* Closes its input, reads its outputs to their ends, waits for it. */
void run_finish(void);
void run_close(int *fd);
#define RUN(...)                                                                                                       \
    do {                                                                                                               \
        run_start((const char *const[]){__VA_ARGS__, NULL});                                                           \
        run_finish();                                                                                                  \
    } while (0)

void expect_exit(int status);
/* Standard error is exactly one line, with `text` in it. */
void expect_line(const char *text);

#endif
