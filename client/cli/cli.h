/* SPDX-License-Identifier: MIT */
/* cli.h - what the verbs of the `sshlease` command share: exit codes, messages, arguments, the daemon's socket. */
#ifndef SSHLEASE_CLI_H
#define SSHLEASE_CLI_H

#include "client/sshlease.h"

/* exec and shell answer as ssh does: what the remote command returns is theirs, our own failures are 255. */
#define CLI_EXIT_SSH 255
/* exec --timeout, as timeout(1). */
#define CLI_EXIT_TIMEOUT 124
/* The other verbs. */
#define CLI_EXIT_FAILED 1
#define CLI_EXIT_USAGE  2

/* The daemon greets at once; one that has not by then hangs. */
#define CLI_OPEN_MS 10000
/* So does it answer the administrative verbs, but a reload reads files. */
#define CLI_ANSWER_MS 30000

struct cli_verb {
    const char *name, *summary, *help;
    /* `argv[0]` is the verb. `socket`: from --socket before the verb, or NULL. Returns the exit status. */
    int (*run)(const struct cli_verb *verb, int argc, char **argv, const char *socket);
};
int cli_exec(const struct cli_verb *verb, int argc, char **argv, const char *socket);
int cli_status(const struct cli_verb *verb, int argc, char **argv, const char *socket);
int cli_ssh_config(const struct cli_verb *verb, int argc, char **argv, const char *socket);
int cli_mux_ensure(const struct cli_verb *verb, int argc, char **argv, const char *socket);
int cli_admin(const struct cli_verb *verb, int argc, char **argv, const char *socket); /* end, reconnect, reload */
int cli_stop(const struct cli_verb *verb, int argc, char **argv, const char *socket);

/* One line on standard error, "sshlease: " before it. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a wrong command line, with a hint at the verb's --help. Returns `exit_status`. */
int cli_usage(const struct cli_verb *verb, int exit_status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what getopt_long() answered ':' or '?' to. */
int cli_bad_option(const struct cli_verb *verb, int exit_status, int answer, char **argv);
/* The options of a verb that has no other than --socket, --help, --version and perhaps flags of its own. */
struct cli_flag {
    const char *name; /* NULL: the end of a list */
    char letter;      /* 0: it has none */
    bool set;
};
#define CLI_FLAGS_MAX 4
/* Takes them; `flags` NULL: none. A wrong one ends the verb with `usage_status`. False: it is over, with *ret_status. */
bool cli_take_options(const struct cli_verb *verb, int usage_status, int argc, char **argv, const char **socket,
    struct cli_flag *flags, int *ret_status);
/* For -h, --help and --version, which every verb takes: prints to standard output; returns 0, or 1 when that fails. */
int cli_help(const struct cli_verb *verb);
int cli_version(void);
/* Flushes standard output at the end of a verb that printed there. Returns exit_status, or CLI_EXIT_FAILED and says
 * why. */
int cli_finish(int exit_status);

/* As sl_duration_parse() reads it, or a number of seconds. False: it is neither, or above 49 days. 0 is taken. */
bool cli_parse_duration(const char *text, uint32_t *ret_ms);

/* Connects; says why when it cannot and returns NULL. `path` NULL: the default socket. The caller frees the handle. */
struct sshlease *cli_open(const char *path);

#endif
