/* SPDX-License-Identifier: MIT */
/* fake_daemon.h - a daemon that plays a script, in a thread of its own, on a socket in a temporary directory. For the
 * library's tests: the script says what it must be told and what it answers, and stops at the first thing that differs.
 * fake_stop() then fails the test with what it was. No call waits longer than ten seconds. */
#ifndef SSHLEASE_TESTS_FAKE_DAEMON_H
#define SSHLEASE_TESTS_FAKE_DAEMON_H

#include "client/sshlease.h"
#include "proto/msg.h"

#include <pthread.h>

struct fake;
typedef void (*fake_script_fn)(struct fake *f);

struct fake {
    char dir[64], path[96];
    int listen_fd, fd;
    pthread_t thread;
    bool running;
    fake_script_fn script;
    uint8_t in[2 * SL_FRAME_MAX];
    size_t in_at, in_end;
    struct sl_msg msg;
    uint32_t lease_ms, max_lease_ms; /* what fake_grant() grants */
    char failure[256];               /* "" while all is as the script says */
    bool quiet;                      /* say nothing of it on standard error */
    int passed[3];                   /* descriptors that came with what was taken; closed by fake_stop() */
    unsigned passed_count;
    uint32_t number; /* for the test and its script to agree on something */
};

/* Listens and starts the script. */
void fake_start(struct fake *f, fake_script_fn script);
/* Waits for the end of the script, fails the test if it went wrong, and removes the socket. */
void fake_stop(struct fake *f);
/* The same; with `anything_goes` the script may have ended as it likes. */
void fake_stop_quietly(struct fake *f, bool anything_goes);
/* fake_start() and a client that is connected; the script begins with fake_greet(). */
struct sshlease *fake_open(struct fake *f, fake_script_fn script);
/* The same with a lease of "web1"; the script begins with fake_greet() and fake_grant(). */
struct sshlease *fake_lease(struct fake *f, fake_script_fn script);

/* --- in the script --- */
void fake_accept(struct fake *f);
/* The next message, which must be of `type`. Borrowed until the next take. */
const struct sl_msg *fake_take(struct fake *f, uint32_t type);
/* The type of the next message, which stays the next. */
uint32_t fake_peek(struct fake *f);
/* The client closes its socket, having said nothing more. */
void fake_take_end(struct fake *f);
void fake_send(struct fake *f, const struct sl_msg *msg);
void fake_send_raw(struct fake *f, const void *data, size_t len);
void fake_close(struct fake *f);
/* Ends the script as failed. */
void fake_fail(struct fake *f, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

void fake_greet(struct fake *f); /* accept, HELLO, WELCOME in the newest version */
void fake_greet_in(struct fake *f, uint32_t version);
void fake_grant(struct fake *f); /* ACQUIRE, GRANTED with lease 7 */
/* STREAM_OPEN, answered with STREAM_OPENED and that credit; returns the stream's id. */
uint32_t fake_open_stream(struct fake *f, uint32_t window);
void fake_close_passed(struct fake *f);
void fake_send_ok(struct fake *f, uint32_t rid);
void fake_send_error(struct fake *f, uint32_t rid, int status, bool unsent, const char *text);
void fake_send_data(struct fake *f, uint32_t stream, uint32_t fd, const void *data, size_t len);
void fake_send_end(struct fake *f, uint32_t stream, uint32_t exit_status);
void fake_release(struct fake *f); /* RELEASE, OK */

#endif
