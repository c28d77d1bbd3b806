/* SPDX-License-Identifier: MIT */
/* Messages, options, durations of the command line, and the connection to the daemon, with a hint where none
 * answers. */
#include "client/cli/cli.h"

#include "base/duration.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One call for a line, so that lines of several of us do not mix. */
static void say(const char *line, const char *tail)
{
    fprintf(stderr, "sshlease: %s%s\n", line, tail);
}

void cli_say(const char *format, ...)
{
    char line[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    say(line, "");
}

int cli_usage(const struct cli_verb *verb, int exit_status, const char *format, ...)
{
    char line[8192], tail[80];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    snprintf(tail, sizeof tail, " (see sshlease %s%s--help)", verb->name, verb->name[0] != '\0' ? " " : "");
    say(line, tail);
    return exit_status;
}

int cli_bad_option(const struct cli_verb *verb, int exit_status, int answer, char **argv)
{
    if (answer == ':')
        return cli_usage(verb, exit_status, "%s needs an argument", argv[optind - 1]);
    if (optopt > 0 && optopt < 128) /* one letter, perhaps in the middle of a word */
        return cli_usage(verb, exit_status, "unknown option -%c", optopt);
    return cli_usage(verb, exit_status, "unknown option %s", argv[optind - 1]);
}

bool cli_take_options(const struct cli_verb *verb, int usage_status, int argc, char **argv, const char **socket,
    struct cli_flag *flags, int *ret_status)
{
    enum { OPT_SOCKET = 256, OPT_FLAG };
    struct option options[CLI_FLAGS_MAX + 4] = {
        {"socket", required_argument, NULL, OPT_SOCKET},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
    };
    char letters[CLI_FLAGS_MAX + 4] = {':', 'h', 'V'};
    size_t letter_count = 3, flag_count = 0;
    int option;
    for (; flags != NULL && flags[flag_count].name != NULL; flag_count++) {
        const struct cli_flag *flag = &flags[flag_count];
        options[3 + flag_count] = (struct option){flag->name, no_argument, NULL, OPT_FLAG + (int)flag_count};
        if (flag->letter != 0)
            letters[letter_count++] = flag->letter;
    }
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        size_t i = 0;
        while (i < flag_count && option != OPT_FLAG + (int)i && (option != flags[i].letter || option == 0))
            i++;
        if (option == OPT_SOCKET) {
            *socket = optarg;
        } else if (i < flag_count) {
            flags[i].set = true;
        } else {
            *ret_status = option == 'h'   ? cli_help(verb)
                          : option == 'V' ? cli_version()
                                          : cli_bad_option(verb, usage_status, option, argv);
            return false;
        }
    }
    return true;
}

int cli_finish(int exit_status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_status;
    if (errno != EPIPE)
        cli_say("cannot write to standard output: %m");
    return CLI_EXIT_FAILED;
}

int cli_help(const struct cli_verb *verb)
{
    fputs(verb->help, stdout);
    return cli_finish(0);
}

int cli_version(void)
{
    printf("sshlease %s\n", sshlease_version());
    return cli_finish(0);
}

bool cli_parse_duration(const char *text, uint32_t *ret_ms)
{
    uint64_t ms;
    enum sl_duration r = sl_duration_parse(text, &ms);
    if (r == SL_DURATION_NO_UNIT && ms <= UINT32_MAX) {
        ms *= 1000;
        r = SL_DURATION_OK;
    }
    if (r != SL_DURATION_OK || ms > UINT32_MAX)
        return false;
    *ret_ms = (uint32_t)ms;
    return true;
}

/* How to get a daemon, where one can guess which is meant. */
static const char *start_hint(int status, const char *path)
{
    if (path != NULL || getenv("SSHLEASE_SOCKET") != NULL)
        return "";
    if (status == SSHLEASE_E_NOT_ALLOWED)
        return "; start one of your own with: sshleased --user";
    if (status != SSHLEASE_E_NO_DAEMON)
        return "";
    if (access("/run/sshleased", F_OK) == 0)
        return "; start it with: systemctl start sshleased.socket";
    return "; start one with: sshleased --user";
}

struct sshlease *cli_open(const char *path)
{
    struct sshlease *lease;
    int status = sshlease_open(path, CLI_OPEN_MS, &lease);
    if (status == 0)
        return lease;
    if (lease == NULL)
        cli_say("out of memory");
    else
        cli_say("%s%s", sshlease_error(lease), start_hint(status, path));
    sshlease_free(lease);
    return NULL;
}
