/* SPDX-License-Identifier: MIT */
/* fd_world.h - what the tests of passed descriptors share: a loop with a watch, descriptors of every kind, a count of
 * them. Checks nothing of its own but that nothing is left. */
#ifndef SSHLEASE_TESTS_UNIT_RELAY_FD_WORLD_H
#define SSHLEASE_TESTS_UNIT_RELAY_FD_WORLD_H

#include "daemon/net/watch.h"

#include <sys/types.h>

struct fd_world {
    uv_loop_t loop;
    struct sl_watch *watch;
    uv_timer_t limit;
};

void fd_world_start(struct fd_world *world);
/* The loop runs out: whoever left something open makes it fail. */
void fd_world_stop(struct fd_world *world);

/* As if a client had passed it: every test runs once with descriptors of our own user's, and once with a stranger's,
 * which fd_make_strange() begins. */
void fd_own(struct fd_world *world, int fd);
void fd_make_strange(void);

/* Descriptors of this process. */
unsigned fd_count(void);
/* Non-blocking or not, as the description has it. */
int fd_flags(int fd);
/* Until a thread has closed it. */
void fd_await_closed(struct fd_world *world, int fd);

enum fd_kind { FD_PIPE, FD_FIFO, FD_SOCKETPAIR, FD_TCP, FD_TTY, FD_TTY_ALIEN, FD_FILE, FD_NULL, FD_KINDS };
extern const char *const fd_kind_name[FD_KINDS];

/* A descriptor of that kind to read from, and one (-1 for FILE, NULL) that writes to it; FD_FILE holds `content`. */
void fd_make_source(enum fd_kind kind, const void *content, size_t len, int *ret_fd, int *ret_writer);
/* A descriptor of that kind to write to, and one (-1 for NULL) that reads it. A terminal is in raw mode. */
void fd_make_sink(enum fd_kind kind, int *ret_fd, int *ret_reader);

/* Reads what there is without waiting; the bytes read, 0 at the end or when nothing is there. */
size_t fd_read_some(int fd, void *data, size_t size);

/* Runs the loop until the condition holds; fails after ten seconds. */
#define FD_RUN_UNTIL(world, condition)                                                                                 \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            (void)uv_run(&(world)->loop, UV_RUN_ONCE);                                                                 \
    } while (0)
void fd_run_turns(struct fd_world *world, int turns);

/* For cmocka's group set-up and tear-down: no descriptor is left. */
int fd_count_fixture(void **state);

#endif
