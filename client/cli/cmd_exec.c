/* SPDX-License-Identifier: MIT */
/* sshlease exec, sshlease shell.
 *  1. arguments; 2. a lease; until here a signal just ends us, and the wait with us
 *  3. the stream, relayed until it ends; 4. the connection is given back; 5. what became of it is the exit status
 * Whenever we end in another way, the socket closes and the daemon ends what runs on the far side.
 */
#include "client/cli/cli.h"
#include "client/cli/env.h"
#include "client/cli/relay.h"
#include "client/cli/tty.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct request {
    const char *socket, *target, *label;
    char *command; /* NULL: a shell; freed by cli_exec() */
    struct sshlease_env *env;
    size_t env_count;
    uint32_t acquire_timeout_ms, lease_timeout_ms;
    bool tty, quiet;
    struct cli_relay_options relay;
};

/* --- arguments --- */

enum {
    OPT_HELP = 'h',
    OPT_VERSION = 'V',
    OPT_SOCKET = 256,
    OPT_TIMEOUT,
    OPT_ACQUIRE_TIMEOUT,
    OPT_LEASE_TIMEOUT,
    OPT_LABEL,
    OPT_ESCAPE
};

static const struct option exec_options[] = {
    {"tty", no_argument, NULL, 't'},
    {"no-stdin", no_argument, NULL, 'n'},
    {"quiet", no_argument, NULL, 'q'},
    {"env", required_argument, NULL, 'e'},
    {"escape", required_argument, NULL, OPT_ESCAPE},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"acquire-timeout", required_argument, NULL, OPT_ACQUIRE_TIMEOUT},
    {"lease-timeout", required_argument, NULL, OPT_LEASE_TIMEOUT},
    {"label", required_argument, NULL, OPT_LABEL},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* NAME=VALUE, or NAME for what it is here; one that is not set here is not passed. False: no name. */
static bool add_env(struct request *request, char *text)
{
    char *equals = strchr(text, '=');
    const char *value;
    if (text[0] == '\0' || equals == text)
        return false;
    if (equals != NULL) {
        *equals = '\0';
        value = equals + 1;
    } else if ((value = getenv(text)) == NULL) {
        return true;
    }
    request->env[request->env_count++] = (struct sshlease_env){.name = text, .value = value};
    return true;
}

/* -1 to go on, else the exit status. */
static int take_option(const struct cli_verb *verb, struct request *request, int option, char **argv)
{
    uint32_t *duration_ms = NULL;
    switch (option) {
    case 't':
        request->tty = true;
        return -1;
    case 'n':
        request->relay.no_stdin = true;
        return -1;
    case 'q':
        request->quiet = true;
        return -1;
    case 'e':
        return add_env(request, optarg) ? -1 : cli_usage(verb, CLI_EXIT_SSH, "-e %s does not name a variable", optarg);
    case OPT_ESCAPE:
        return cli_escape_parse(optarg, &request->relay.escape)
                   ? -1
                   : cli_usage(verb, CLI_EXIT_SSH, "%s is not an escape character: write ~, ^X or none", optarg);
    case OPT_SOCKET:
        request->socket = optarg;
        return -1;
    case OPT_LABEL:
        request->label = optarg;
        return -1;
    case OPT_HELP:
        return cli_help(verb);
    case OPT_VERSION:
        return cli_version();
    case OPT_TIMEOUT:
        duration_ms = &request->relay.timeout_ms;
        break;
    case OPT_ACQUIRE_TIMEOUT:
        duration_ms = &request->acquire_timeout_ms;
        break;
    case OPT_LEASE_TIMEOUT:
        duration_ms = &request->lease_timeout_ms;
        break;
    default:
        return cli_bad_option(verb, CLI_EXIT_SSH, option, argv);
    }
    if (!cli_parse_duration(optarg, duration_ms) || *duration_ms == 0)
        return cli_usage(
            verb, CLI_EXIT_SSH, "%s is not a duration: write 500ms, 30s, 1h30m or a number of seconds", optarg);
    return -1;
}

static int take_options(const struct cli_verb *verb, struct request *request, int argc, char **argv)
{
    int option, status = -1;
    while (status < 0 && (option = getopt_long(argc, argv, "+:tnqe:hV", exec_options, NULL)) != -1)
        status = take_option(verb, request, option, argv);
    return status;
}

/* The words joined by spaces, as ssh does. NULL: out of memory. */
static char *join(int count, char **words)
{
    size_t size = 1;
    for (int i = 0; i < count; i++)
        size += strlen(words[i]) + 1;
    char *joined = malloc(size), *end = joined;
    for (int i = 0; i < count && joined != NULL; i++) {
        if (i > 0)
            *end++ = ' ';
        end = stpcpy(end, words[i]);
    }
    return joined;
}

/* -1 to go on, else the exit status. Options may stand before and after the target, as with ssh. */
static int parse(const struct cli_verb *verb, struct request *request, int argc, char **argv)
{
    bool is_shell = strcmp(verb->name, "shell") == 0;
    int status;
    opterr = 0;
    if ((status = take_options(verb, request, argc, argv)) >= 0)
        return status;
    if (optind == argc)
        return cli_usage(verb, CLI_EXIT_SSH, "%s needs the name of a target", verb->name);
    request->target = argv[optind];
    argc -= optind;
    argv += optind;
    optind = 1;
    if ((status = take_options(verb, request, argc, argv)) >= 0)
        return status;
    if (is_shell)
        return optind == argc ? -1 : cli_usage(verb, CLI_EXIT_SSH, "shell takes no command: use exec");
    if (optind == argc)
        return cli_usage(verb, CLI_EXIT_SSH, "exec needs a command; for a login shell there is sshlease shell");
    request->command = join(argc - optind, argv + optind);
    if (request->command == NULL) {
        cli_say("out of memory");
        return CLI_EXIT_SSH;
    }
    return -1;
}

/* --- running --- */

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct request *request = arg;
    (void)waited_ms;
    if (request->quiet)
        return;
    if (position == 0) { /* a daemon that is being restarted has no queue; the next one may have */
        cli_say("waiting for %s: %s", request->target, reason);
        return;
    }
    cli_say("waiting for %s, place %u%s%s", request->target, position, reason[0] != '\0' ? ": " : "", reason);
    request->quiet = true; /* once is enough */
}

/* Ends as a program that does not handle the signal would, so that the shell sees what happened. */
static int die_of(int number)
{
    sigset_t set;

    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    return CLI_EXIT_SSH;
}

/* The exit status of a command that ended by itself. */
static int exit_status_of(const struct request *request, const struct sshlease_stream *stream)
{
    struct sshlease_result result = {.how = SSHLEASE_UNKNOWN};
    sshlease_stream_result(stream, &result);
    if (result.how == SSHLEASE_EXITED && (result.exit_status == 0 || (result.exit_status & 255) != 0))
        return result.exit_status & 255;
    if (result.how == SSHLEASE_EXITED) /* the last eight bits alone would call it a success */
        cli_say("%s: the command's exit status is %d", request->target, result.exit_status);
    else if (result.how == SSHLEASE_SIGNALLED)
        cli_say("%s: the command was ended by SIG%s%s", request->target, result.signal,
            result.core_dumped ? " (core dumped)" : "");
    else
        cli_say("%s: how the command ended is not known: %s", request->target, result.text);
    return CLI_EXIT_SSH;
}

static int relay(struct request *request, struct sshlease *lease, struct sshlease_stream *stream, struct cli_tty *tty)
{
    int status = 0;
    signal(SIGPIPE, SIG_IGN);
    enum cli_relay_end end = cli_relay(lease, stream, &request->relay, &status);
    int error = errno;
    cli_tty_restore(tty);
    errno = error;
    switch (end) {
    case CLI_RELAY_ENDED:
        status = exit_status_of(request, stream);
        /* All went well: give the connection back. Its answer is nobody's concern any more. */
        if (sshlease_release_start(lease) == 0)
            sshlease_process(lease);
        return status;
    case CLI_RELAY_FAILED:
        cli_say("%s", sshlease_error(lease));
        return CLI_EXIT_SSH;
    case CLI_RELAY_TIMEOUT:
        cli_say("%s: the command was still running after %g s and is being ended", request->target,
            request->relay.timeout_ms / 1000.0);
        return CLI_EXIT_TIMEOUT;
    case CLI_RELAY_OUTPUT:
        cli_say("cannot write the command's output: %m");
        return CLI_EXIT_SSH;
    case CLI_RELAY_OUTPUT_THERE:
        cli_say("cannot write the command's output: %s", sshlease_error(lease));
        return CLI_EXIT_SSH;
    case CLI_RELAY_INTERRUPTED:
        cli_say("%s: interrupted; the command is being ended", request->target);
        return die_of(status);
    case CLI_RELAY_ESCAPED:
        cli_say("%s: ended by the escape sequence", request->target);
        return CLI_EXIT_SSH;
    case CLI_RELAY_PIPE:
        return die_of(SIGPIPE);
    }
    return CLI_EXIT_SSH;
}

/* Where a descriptor of ours is better passed to the daemon than served by us. Not a terminal: the daemon would read
 * what is typed for others when we are in the background, and write to it when we are stopped. Not a file for output:
 * there the daemon would need a worker for each write, and it costs more than it saves. */
static bool is_to_be_passed(int fd)
{
    struct stat st;
    return isatty(fd) != 1 && (fd == STDIN_FILENO || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode));
}

static int start_stream(struct request *request, struct sshlease *lease, const struct sshlease_command *command,
    struct sshlease_stream **ret_stream)
{
    const int fd[3] = {request->relay.no_stdin ? -1 : STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    request->relay.passed = command->pty == NULL && (fd[0] < 0 || is_to_be_passed(fd[0])) && is_to_be_passed(fd[1]) &&
                            isatty(fd[2]) != 1 && sshlease_stream_start_passed(lease, command, fd, ret_stream) == 0;
    return request->relay.passed ? 0 : sshlease_stream_start(lease, command, ret_stream);
}

static int run(struct request *request, struct sshlease *lease)
{
    const struct sshlease_acquire_options options = {.acquire_timeout_ms = request->acquire_timeout_ms,
        .lease_timeout_ms = request->lease_timeout_ms,
        .label = request->label,
        .auto_renew = true,
        .on_waiting = on_waiting,
        .arg = request};
    struct sshlease_command command = {.kind = request->command != NULL ? SSHLEASE_EXEC : SSHLEASE_SHELL,
        .command = request->command,
        .env = request->env,
        .env_count = request->env_count};
    struct sshlease_pty pty = {.term = getenv("TERM")};
    unsigned char modes[CLI_TTY_MODES_MAX];
    struct sshlease_stream *stream;
    struct cli_tty tty = {.fd = -1};
    if (sshlease_acquire(lease, request->target, &options) != 0)
        goto fail;
    cli_env_tell(lease, request->target, request->env, request->env_count);
    if (request->tty || request->command == NULL) {
        bool is_tty = cli_tty_init(&tty);
        if (request->tty || is_tty) {
            cli_tty_size(&pty);
            pty.modes = modes;
            pty.modes_len = cli_tty_modes(&tty, modes);
            command.pty = &pty;
        }
    }
    request->relay.signal_fd = cli_relay_signals(command.pty != NULL);
    if (start_stream(request, lease, &command, &stream) != 0)
        goto fail;
    if (command.pty != NULL && !request->relay.no_stdin)
        cli_tty_raw(&tty);
    if (!tty.raw)
        request->relay.escape = CLI_ESCAPE_NONE; /* nobody types */
    request->relay.tty = &tty;
    return relay(request, lease, stream, &tty);

fail:
    cli_say("%s", sshlease_error(lease));
    return CLI_EXIT_SSH;
}

int cli_exec(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    struct request request = {.socket = socket, .relay.escape = CLI_ESCAPE_DEFAULT};
    struct sshlease *lease = NULL;
    int status = CLI_EXIT_SSH;
    request.env = calloc((size_t)argc, sizeof *request.env); /* more than can be named */
    if (request.env == NULL)
        cli_say("out of memory");
    else
        status = parse(verb, &request, argc, argv);
    if (status < 0) {
        lease = cli_open(request.socket);
        status = lease != NULL ? run(&request, lease) : CLI_EXIT_SSH;
    }
    sshlease_free(lease);
    free(request.command);
    free(request.env);
    return status;
}
