/* SPDX-License-Identifier: MIT */
/* Moves that the table has, and one that it has not: the program ends and says which. */
#include "base/state.h"
#include "tests/support/test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum door { OPEN, CLOSED, LOCKED };
static const struct sl_state states[] = {
    [OPEN] = {"open", SL_TO(CLOSED)},
    [CLOSED] = {"closed", SL_TO(OPEN) | SL_TO(LOCKED)},
    [LOCKED] = {"locked", SL_TO(CLOSED)},
};

TEST(a_move_of_the_table_is_made)
{
    enum door door = OPEN;
    SL_MOVE(states, door, CLOSED);
    SL_MOVE(states, door, LOCKED);
    assert_int_equal(door, LOCKED);
}

TEST(another_ends_the_program_and_names_both_states)
{
    char said[1024] = "";
    int out[2], status;
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        enum door door = OPEN;
        dup2(out[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* cmocka has a handler of its own */
        SL_MOVE(states, door, LOCKED);
        _exit(0);
    }
    close(out[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(read(out[0], said, sizeof said - 1) > 0);
    close(out[0]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, "door: open -> locked is no move"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_move_of_the_table_is_made),
        cmocka_unit_test(another_ends_the_program_and_names_both_states),
    };
    return cmocka_run_group_tests_name("base.state", tests, NULL, NULL);
}
