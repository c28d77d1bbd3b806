/* SPDX-License-Identifier: MIT */
/* main.c - sshleased's arguments and exit codes, nothing else. */
#include "daemon/app/app.h"
#include "sshlease_version.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: sshleased [--user] [--config FILE] [--socket PATH] [--log-level LEVEL]\n"
    "       sshleased [--user] [--account NAME] --check-config FILE\n"
    "\n"
    "Keeps SSH connections in pools and leases them to local programs. Runs in the foreground and logs to standard "
    "error.\n"
    "\n"
    "  -c, --config FILE        the configuration (system: /etc/sshlease/sshleased.yaml; one user:\n"
    "                           ~/.config/sshlease/sshleased.yaml if there is one)\n"
    "  -C, --check-config FILE  print every error in FILE, or what was looked at, and exit: 0 no errors, 1 some.\n"
    "                           Root reads as the account sshlease, which the service has\n"
    "  -A, --account NAME       ... as this account\n"
    "  -u, --user               for one user: their keys, agent and known_hosts; any user@host[:port] is a target.\n"
    "                           What happens without it too, when not root and without --config\n"
    "  -s, --socket PATH        listen here, whatever the configuration says\n"
    "  -l, --log-level LEVEL    error, warning, notice, info (the default) or debug\n"
    "  -h, --help               this text\n"
    "  -V, --version            the versions of this program and of what it is made of\n"
    "\n"
    "SIGHUP reads the configuration again. SIGTERM and SIGINT wait for leases to be given back; a second one does "
    "not.\n"
    "Exit codes: 0 ended as told, 1 failure, 2 wrong arguments, 3 the configuration is not valid.\n"
    "See sshleased(8), sshleased.yaml(5), sshlease(1).\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", required_argument, NULL, 'C'},
    {"account", required_argument, NULL, 'A'},
    {"user", no_argument, NULL, 'u'},
    {"socket", required_argument, NULL, 's'},
    {"log-level", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static bool parse_level(const char *text, enum sl_log_level *ret_level)
{
    static const struct {
        const char *name;
        enum sl_log_level level;
    } levels[] = {
        {"error", SL_LOG_ERROR},
        {"warning", SL_LOG_WARNING},
        {"notice", SL_LOG_NOTICE},
        {"info", SL_LOG_INFO},
        {"debug", SL_LOG_DEBUG},
    };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i].name, text) == 0) {
            *ret_level = levels[i].level;
            return true;
        }
    }
    return false;
}

static int print(const char *text)
{
    (void)fputs(text, stdout);
    return sl_app_print_end();
}

static int print_version(void)
{
    char text[512];
    snprintf(text, sizeof text, "sshleased %s\n%s\n", SSHLEASE_VERSION, sl_app_transport_version());
    return print(text);
}

int main(int argc, char **argv)
{
    struct sl_app_options options = {.level = SL_LOG_INFO};
    struct sl_check_options check = {.file = NULL};
    int option;
    /* libuv reads it once, when the pool starts: room for key files, known_hosts and signing. */
    (void)setenv("UV_THREADPOOL_SIZE", "8", 0);
    /* What a connection is made of is allocated by the loop and by workers in turn: an arena for each of them would
     * only be another place for holes (1 KB a connection). */
    (void)mallopt(M_ARENA_MAX, 1);
    while ((option = getopt_long(argc, argv, "c:C:A:us:l:hV", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            options.config_file = optarg;
            break;
        case 'C':
            check.file = optarg;
            break;
        case 'A':
            check.account = optarg;
            break;
        case 'u':
            options.one_user = check.one_user = true;
            break;
        case 's':
            options.socket = optarg;
            break;
        case 'l':
            if (!parse_level(optarg, &options.level)) {
                (void)fprintf(
                    stderr, "sshleased: unknown log level '%s': error, warning, notice, info or debug\n", optarg);
                return SL_EXIT_USAGE;
            }
            break;
        case 'h':
            return print(usage);
        case 'V':
            return print_version();
        default:
            (void)fputs("try 'sshleased --help'\n", stderr);
            return SL_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "sshleased: unexpected argument '%s'\ntry 'sshleased --help'\n", argv[optind]);
        return SL_EXIT_USAGE;
    }
    if (check.file != NULL)
        return sl_app_check(&check);
    if (check.account != NULL) {
        (void)fputs("sshleased: --account goes with --check-config; a service's account is given in its unit (User=)\n",
            stderr);
        return SL_EXIT_USAGE;
    }
    if (options.config_file == NULL && geteuid() != 0)
        options.one_user = true;
    return sl_app_run(&options);
}
