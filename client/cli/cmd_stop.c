/* SPDX-License-Identifier: MIT */
/* sshlease stop: ends a daemon of the user's own, as the system does when it goes down. */
#include "client/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* The number of the daemon's process, which it says itself: what has made its socket may be systemd. 0: says why. */
static pid_t ask_pid(struct sshlease *lease)
{
    char *json = NULL;
    if (sshlease_admin_status(lease, CLI_ANSWER_MS, &json) != 0) {
        cli_say("%s", sshlease_error(lease));
        return 0;
    }
    json_t *state = json_loads(json, 0, NULL);
    pid_t pid = (pid_t)json_integer_value(json_object_get(state, "pid"));
    json_decref(state);
    free(json);
    if (pid <= 0) {
        cli_say("sshleased does not say the number of its process");
        return 0;
    }
    return pid;
}

static bool is_mine(pid_t pid)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return stat(path, &st) == 0 && st.st_uid == geteuid();
}

static int stop(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    if (fd < 0 && errno == ESRCH)
        return 0; /* it was going already */
    if (fd < 0) {
        cli_say("cannot watch process %d: %s", (int)pid, strerror(errno));
        return CLI_EXIT_FAILED;
    }
    int exit_status = 0;
    if (!is_mine(pid)) {
        cli_say("that sshleased (process %d) is not yours; a system service is stopped by systemctl stop sshleased",
            (int)pid);
        exit_status = CLI_EXIT_FAILED;
    } else if (pidfd_send_signal(fd, SIGTERM, NULL, 0) != 0 && errno != ESRCH) {
        cli_say("cannot stop process %d: %s", (int)pid, strerror(errno));
        exit_status = CLI_EXIT_FAILED;
    } else {
        while (poll(&ended, 1, -1) < 0 && errno == EINTR)
            ;
    }
    close(fd);
    return exit_status;
}

int cli_stop(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    struct sshlease *lease;
    int status;
    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, NULL, &status))
        return status;
    if (argc != optind)
        return cli_usage(verb, CLI_EXIT_USAGE, "stop takes no argument");
    status = sshlease_open(socket, CLI_OPEN_MS, &lease);
    if (status != 0) {
        cli_say("%s", lease != NULL ? sshlease_error(lease) : "out of memory");
        sshlease_free(lease);
        return status == SSHLEASE_E_NO_DAEMON ? 0 : CLI_EXIT_FAILED; /* what was wanted is so */
    }
    pid_t pid = ask_pid(lease);
    sshlease_free(lease); /* before it drains: we are none of those it waits for */
    return pid == 0 ? CLI_EXIT_FAILED : stop(pid);
}
