/* SPDX-License-Identifier: MIT */
/* sshd.h - a private OpenSSH server for tests: own keys, own configuration, a free port of 127.0.0.1. Everything lives
 * in one directory under /tmp that goes with it. */
#ifndef SSHLEASE_TESTS_SUPPORT_SSHD_H
#define SSHLEASE_TESTS_SUPPORT_SSHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct test_sshd {
    char dir[64];
    uint16_t port;
    const char *user;     /* a plain account: root's logins are slow, and old servers take no signals for root */
    char key[96];         /* an ed25519 key that may log in; KEY.pub beside it */
    char known_hosts[96]; /* what ssh-keyscan would have found */
    char authorized_keys[96];
    pid_t pid;
    char log[96]; /* its standard error */
};

/* Whether this machine can run one; if not, tests skip. */
bool test_sshd_available(void);
/* Starts one with `config` (lines, may be "") in front of the fixture's own. Aborts with a message when it cannot. */
void test_sshd_start(struct test_sshd *sshd, const char *config);
/* Ends it and every session it has; removes the directory. */
void test_sshd_stop(struct test_sshd *sshd);

/* The processes that descend from it, at most `max`; returns how many. */
size_t test_sshd_children(const struct test_sshd *sshd, pid_t *ret_pid, size_t max);
void test_sshd_signal_children(const struct test_sshd *sshd, int signal);

/* Runs a program to its end and returns its exit status, -1 when it could not be run. Output goes to /dev/null. */
int test_run(const char *const argv[]);
/* "DIR/NAME" in `buf`. */
const char *test_path(const struct test_sshd *sshd, const char *name, char *buf, size_t size);
void test_write_file(const char *path, const char *text);
void test_append_file(const char *path, const char *text);
/* A whole small file; the caller frees it. */
char *test_read_file(const char *path);
/* Waits until `pid` is gone, at most `ms`. */
bool test_wait_gone(pid_t pid, unsigned ms);
/* How many file descriptors this process has. */
size_t test_count_fds(void);

#endif
