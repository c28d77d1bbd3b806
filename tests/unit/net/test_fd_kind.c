/* SPDX-License-Identifier: MIT */
/* What a descriptor is taken for. */
#include "daemon/net/fd_kind.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

static enum sl_fd_kind kind_of(int fd)
{
    assert_true(fd >= 0);
    const enum sl_fd_kind kind = sl_fd_kind(fd);
    (void)close(fd);
    return kind;
}

TEST(what_polling_cannot_hang_on_is_told_apart)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(kind_of(ends[0]), SL_FD_KIND_PIPE);
    assert_int_equal(kind_of(ends[1]), SL_FD_KIND_PIPE);
    assert_int_equal(kind_of(socket(AF_UNIX, SOCK_STREAM, 0)), SL_FD_KIND_SOCKET);
    assert_int_equal(kind_of(socket(AF_INET, SOCK_STREAM, 0)), SL_FD_KIND_SOCKET);
    assert_int_equal(kind_of(open("/dev/null", O_RDONLY)), SL_FD_KIND_DEVICE);
}

TEST(all_else_may_block)
{
    assert_int_equal(kind_of(open("/proc/self/status", O_RDONLY)), SL_FD_KIND_FILE);
    assert_int_equal(kind_of(open("/", O_RDONLY)), SL_FD_KIND_FILE);
    assert_int_equal(kind_of(eventfd(0, 0)), SL_FD_KIND_FILE);
    assert_int_equal(kind_of(socket(AF_NETLINK, SOCK_RAW, 0)), SL_FD_KIND_FILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_polling_cannot_hang_on_is_told_apart),
        cmocka_unit_test(all_else_may_block),
    };
    return cmocka_run_group_tests_name("net.fd_kind", tests, NULL, NULL);
}
