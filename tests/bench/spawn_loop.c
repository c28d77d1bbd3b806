/* SPDX-License-Identifier: MIT */
/* Runs a command line again and again, as a shell script would, and times each from start to end: for the contestants
 * that are programs. */
#include "tests/bench/batch.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int spawn_once(void *arg)
{
    char **words = arg;
    posix_spawn_file_actions_t actions;
    int code, status;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    code = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code != 0) {
        fprintf(stderr, "spawn_loop: %s: %s\n", words[0], strerror(code));
        return -1;
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "spawn_loop: %s failed\n", words[0]);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct batch_work works[] = {{"run", spawn_once}, {NULL, NULL}};
    if (argc < 2) {
        fprintf(stderr, "usage: spawn_loop COMMAND [ARGUMENT...]\n");
        return 2;
    }
    return batch_serve(works, argv + 1);
}
