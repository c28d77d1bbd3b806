/* SPDX-License-Identifier: MIT */
/* The `sshlease` command: finds the verb. */
#include "client/cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HELP_SOCKET "  --socket PATH         the daemon's socket (else $SSHLEASE_SOCKET and the usual places)\n"
#define HELP_COMMON HELP_SOCKET "  -h, --help            this text\n  -V, --version         the version\n"

static const struct cli_verb verbs[] = {
    {"exec", "run a command on a leased connection",
        "usage: sshlease exec [OPTIONS] TARGET [--] COMMAND...\n"
        "Leases a connection to TARGET, runs COMMAND there (its words joined by spaces, as ssh does), gives it back.\n"
        "\n"
        "  -t, --tty             give the command a terminal\n"
        "  -n, --no-stdin        read no standard input\n"
        "  -q, --quiet           say nothing while waiting for a connection\n"
        "  -e, --env NAME[=VALUE]  pass an environment variable (what the target's send_env allows)\n"
        "  --escape CHAR         what an escape sequence at a terminal begins with: ~ (the default), ^X, none\n"
        "  --timeout D           end the command after D (500ms, 30s, 15m; a bare number is seconds): exit status 124\n"
        "  --acquire-timeout D   wait for a connection no longer than D\n"
        "  --lease-timeout D     let the daemon take the connection back when this program hangs for D\n"
        "  --label TEXT          shown by sshlease status\n" HELP_COMMON "\n"
        "Exit status: the command's; 255 when it was ended by a signal or something else went wrong; 124 after "
        "--timeout.\n",
        cli_exec},
    {"shell", "start a login shell on a leased connection",
        "usage: sshlease shell [OPTIONS] TARGET\n"
        "Leases a connection to TARGET and runs the login shell there, with a terminal when standard input is one.\n"
        "\n"
        "  -t, --tty             with a terminal in any case\n"
        "  -q, --quiet           say nothing while waiting for a connection\n"
        "  -e, --env NAME[=VALUE]  pass an environment variable (what the target's send_env allows)\n"
        "  --escape CHAR         what an escape sequence at a terminal begins with: ~ (the default), ^X, none\n"
        "  --timeout D           end the shell after D (500ms, 30s, 15m; a bare number is seconds): exit status 124\n"
        "  --acquire-timeout D   wait for a connection no longer than D\n"
        "  --lease-timeout D     let the daemon take the connection back when this program hangs for D\n"
        "  --label TEXT          shown by sshlease status\n" HELP_COMMON "\n"
        "Exit status: the shell's; 255 when something went wrong; 124 after --timeout.\n",
        cli_exec},
    {"status", "show targets, connections and leases",
        "usage: sshlease status [-a] [-w] [TARGET...]\n"
        "       sshlease status --json\n"
        "Shows the daemon's targets with their connections by state, and the leases with their holders; with TARGETs,\n"
        "theirs.\n"
        "\n"
        "  -a, --active          leave out targets without a connection, somebody who waits or an error\n"
        "  -w, --wide            one line for each, however long; so it is also where output is no terminal\n"
        "  --json                the daemon's own JSON, as PROTOCOL.md describes it\n" HELP_COMMON,
        cli_status},
    {"ssh-config", "print what makes ssh, scp, rsync, Ansible lease from the pools",
        "usage: sshlease ssh-config [--ansible] [TARGET...]\n"
        "Prints the blocks of ssh_config(5) with which ssh, and everything that runs it, leases connections to the\n"
        "TARGETs; without any, to all the configured ones that you may lease.\n"
        "\n"
        "  --ansible             print lines for ansible.cfg instead\n" HELP_COMMON "\n"
        "    sshlease ssh-config >~/.ssh/sshlease.conf      and 'Include sshlease.conf' first in ~/.ssh/config\n",
        cli_ssh_config},
    {"mux-ensure", "make the socket at which ssh finds a target",
        "usage: sshlease mux-ensure [--print] NAME\n"
        "Makes the socket at which ssh finds the target NAME, where there is none yet: for user@host of a daemon of "
        "one's\n"
        "own, from 'Match exec' in ssh_config ('sshlease ssh-config user@host' prints the lines).\n"
        "NAME may be what ssh makes of %r@%h:%p; an IPv6 address in it needs no brackets, but then the port.\n"
        "\n"
        "  -p, --print           print the socket's path\n" HELP_COMMON "\n"
        "Exit status: 0, or 255 with a line that says why not.\n",
        cli_mux_ensure},
    {"end", "take a lease back",
        "usage: sshlease end LEASE\n"
        "Takes the lease with that id (see sshlease status) from its holder: what runs under it is ended, and its\n"
        "connection is closed.\n"
        "\n" HELP_COMMON,
        cli_admin},
    {"reconnect", "have the next leases of a target log in anew",
        "usage: sshlease reconnect TARGET\n"
        "Drops your connections to the target (an administrator: everybody's): those that nobody uses at once, those "
        "in\n"
        "use when they are given back. Nothing that runs is ended.\n"
        "\n" HELP_COMMON,
        cli_admin},
    {"reload", "make the daemon read its configuration again",
        "usage: sshlease reload\n"
        "Makes the daemon read its configuration again. One with errors changes nothing; they are shown.\n"
        "\n" HELP_COMMON,
        cli_admin},
    {"stop", "end a daemon of your own",
        "usage: sshlease stop\n"
        "Ends your own daemon, however it was started, and waits for its end. Leases in use have the time of\n"
        "shutdown_drain to be given back. A system service is stopped by systemctl.\n"
        "\n" HELP_COMMON "\n"
        "Exit status: 0, also where none was running.\n",
        cli_stop},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static int help(void)
{
    printf("usage: sshlease [--socket PATH] VERB ...\n"
           "Lease pooled SSH connections from sshleased.\n\n");
    for (size_t i = 0; i < VERBS; i++)
        printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
    printf("\n" HELP_COMMON "\nsshlease VERB --help says more; so does the manual page, sshlease(1).\n");
    return cli_finish(0);
}

/* A descriptor that a parent has closed would be given to our socket, and the command's output written into it. None can
 * be written to: what is lost there is an error, as it is where the descriptor is not open. */
static bool fill_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            return false;
    return true;
}

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

static const struct cli_verb none = {.name = ""};

/* "exec, shell, ...": all of them. */
static const char *verb_names(char *buf, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < VERBS && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%s", i > 0 ? ", " : "", verbs[i].name);
    return buf;
}

static int unknown_verb(const char *name)
{
    char names[256];
    return cli_usage(&none, CLI_EXIT_USAGE, "unknown verb %s; the verbs are %s", name, verb_names(names, sizeof names));
}

/* sshlease help [VERB] */
static int help_about(const char *name)
{
    const struct cli_verb *verb = name != NULL ? find_verb(name) : NULL;
    if (name == NULL)
        return help();
    return verb != NULL ? cli_help(verb) : unknown_verb(name);
}

int main(int argc, char **argv)
{
    char names[256];
    const char *socket = NULL;
    int at = 1;
    if (!fill_standard_descriptors())
        return CLI_EXIT_SSH;
    for (; at < argc && argv[at][0] == '-'; at++) {
        const char *option = argv[at];
        if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0)
            return help();
        if (strcmp(option, "-V") == 0 || strcmp(option, "--version") == 0)
            return cli_version();
        if (strncmp(option, "--socket=", 9) == 0)
            socket = option + 9;
        else if (strcmp(option, "--socket") == 0 && at + 1 < argc)
            socket = argv[++at];
        else if (strcmp(option, "--socket") == 0)
            return cli_usage(&none, CLI_EXIT_USAGE, "--socket needs a path");
        else
            return cli_usage(&none, CLI_EXIT_USAGE, "unknown option %s", option);
    }
    if (at == argc)
        return cli_usage(&none, CLI_EXIT_USAGE, "no verb is given: %s", verb_names(names, sizeof names));
    if (strcmp(argv[at], "help") == 0)
        return help_about(argv[at + 1]);
    const struct cli_verb *verb = find_verb(argv[at]);
    return verb != NULL ? verb->run(verb, argc - at, argv + at, socket) : unknown_verb(argv[at]);
}
