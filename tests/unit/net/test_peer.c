/* SPDX-License-Identifier: MIT */
/* Credentials and processes behind a socket, read from the real kernel. */
#include "daemon/net/peer.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(the_kernel_says_who_it_is)
{
    struct sl_who peer;
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(sl_peer_read(fd[0], &peer), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.gid[0], getegid());
    assert_int_equal(peer.gid_count, 1 + getgroups(0, NULL));
    assert_true(peer.start_time != 0);
    assert_int_equal(peer.start_time, sl_peer_start_time(getpid()));
    sl_who_fini(&peer);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

TEST(a_descriptor_without_a_peer_is_an_error)
{
    struct sl_who peer;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(sl_peer_read(fd[0], &peer), SL_E_IO);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

TEST(more_groups_than_expected_are_read)
{
    struct sl_who peer;
    gid_t many[100];
    int fd[2], status = 1;
    if (geteuid() != 0)
        skip();
    for (gid_t i = 0; i < 100; i++)
        many[i] = 5000 + i;
    pid_t child = fork(); /* the groups are the child's only */
    if (child == 0) {
        status = setgroups(100, many) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0 &&
                         sl_peer_read(fd[0], &peer) == 0 && peer.gid_count == 101 && peer.gid[100] == 5099
                     ? 0
                     : 1;
        _exit(status);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

TEST(command_lines_are_the_right_process_or_nothing)
{
    char line[256], tiny[5];
    uint64_t started = sl_peer_start_time(getpid());
    sl_peer_command_line(getpid(), started, line, sizeof line);
    assert_non_null(strstr(line, "unit_net_peer"));
    sl_peer_command_line(getpid(), started, tiny, sizeof tiny);
    assert_int_equal(strlen(tiny), 4);
    sl_peer_command_line(getpid(), started + 1, line, sizeof line);
    assert_string_equal(line, "");
    sl_peer_command_line(getpid(), 0, line, sizeof line);
    assert_string_equal(line, "");
    sl_peer_command_line(0, started, line, sizeof line);
    assert_string_equal(line, "");
}

TEST(words_keep_what_is_in_them)
{
    char words[64];
    pid_t child = fork();
    if (child == 0) {
        (void)execl("/bin/sleep", "a name", "60", (char *)NULL);
        _exit(1);
    }
    const uint64_t started = sl_peer_start_time(child);
    size_t len = 0;
    while (len != 10) { /* until it is sleep */
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
        len = sl_peer_words(child, started, words, sizeof words);
    }
    assert_memory_equal(words,
        "a name\0"
        "60",
        10);
    assert_int_equal(sl_peer_words(child, started + 1, words, sizeof words), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

TEST(the_start_time_is_read_behind_any_name)
{
    int named[2];
    char byte = 0;
    assert_int_equal(pipe(named), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_NAME, ") 9 (a) 8");
        (void)!write(named[1], &byte, 1);
        for (;;)
            (void)pause();
    }
    uint64_t before = sl_peer_start_time(child);
    assert_int_equal(read(named[0], &byte, 1), 1);
    uint64_t own = sl_peer_start_time(getpid());
    assert_in_range(sl_peer_start_time(child), own, own + 100000);
    assert_int_equal(sl_peer_start_time(child), before);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(sl_peer_start_time(child), 0);
    (void)close(named[0]);
    (void)close(named[1]);
}

TEST(users_have_names_or_numbers)
{
    char name[64];
    sl_peer_user_name(0, name, sizeof name);
    assert_string_equal(name, "root");
    sl_peer_user_name(4123456, name, sizeof name);
    assert_string_equal(name, "4123456");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_says_who_it_is),
        cmocka_unit_test(a_descriptor_without_a_peer_is_an_error),
        cmocka_unit_test(more_groups_than_expected_are_read),
        cmocka_unit_test(command_lines_are_the_right_process_or_nothing),
        cmocka_unit_test(words_keep_what_is_in_them),
        cmocka_unit_test(the_start_time_is_read_behind_any_name),
        cmocka_unit_test(users_have_names_or_numbers),
    };
    return cmocka_run_group_tests_name("net.peer", tests, NULL, NULL);
}
