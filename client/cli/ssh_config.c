/* SPDX-License-Identifier: MIT */
/* ssh looks for the socket at ControlPath and, where nobody answers, logs in by itself without a word. The ProxyCommand
 * is the guard against that: only a connection of ssh's own makes use of it. It says why it came to that. */
#include "client/cli/ssh_config.h"

#include <stdio.h>
#include <string.h>

/* What needs no quoting, in ssh_config or in a shell. */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-@:,="

/* The name of a socket of the one-user mode, as ssh puts it together. */
#define TOKENS "%r@%h:%p"

/* What is no pattern to Match. */
#define PATTERN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

bool cli_ssh_config_can_say(const char *path)
{
    return strstr(path, "${") == NULL;
}

static size_t dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

static const char *file_of(const struct cli_mux_target *target)
{
    return target->path + dir_len(target->path);
}

bool cli_ssh_config_is_adhoc(const struct cli_mux_target *target)
{
    return strchr(file_of(target), ':') != NULL;
}

/* Of USER@NAME, what a configured target's socket is called: how long USER is; 0: it is called NAME. */
static size_t user_len(const struct cli_mux_target *target)
{
    const char *file = file_of(target), *at = strrchr(file, '@');
    return at != NULL && strcmp(at + 1, target->name) == 0 ? (size_t)(at - file) : 0;
}

static bool is_plain(const char *text, size_t len)
{
    return strspn(text, PLAIN) >= len;
}

/* Puts an argument of an option, quoted where that is needed, `tail` behind it. `percent`: what stands for one percent
 * sign. */
static void put_argument(const char *text, size_t len, const char *percent, const char *tail)
{
    const bool quoted = !is_plain(text, len);
    if (quoted)
        putchar('"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            putchar('\\');
        if (text[i] == '%')
            fputs(percent, stdout);
        else
            putchar(text[i]);
    }
    fputs(tail, stdout);
    if (quoted)
        putchar('"');
}

/* As a word of a message that a shell echoes, or of a comment. */
static void put_word(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        putchar(strchr(PLAIN, text[i]) != NULL ? text[i] : '_');
}

/* The guard's two texts are chosen by `probe`, a command that succeeds where sshleased answers; "" where there is none
 * to be had: then one text has to do. Nothing in any of them is special between double quotes or to shlex, so that they
 * may stand between single ones, too. `where`: "at " and the path, say. */
static void put_guard(const char *probe, const char *where, const char *past)
{
    if (probe[0] != '\0')
        printf(
            "sh -c \"%s && echo sshlease: sshleased answers %s, %s >&2 || echo sshlease: no sshleased answers %s >&2; "
            "exit 1\"",
            probe, where, past, where);
    else
        printf("sh -c \"echo sshlease: no sshleased answers %s, or %s >&2; exit 1\"", where, past);
}

#define GONE_PAST "this ssh went past it: by -S, -M or a ControlPath of its own"

/* "at " and `len` bytes of a path, as words of a message. Returns `buf`. */
static const char *at_path(char *buf, size_t size, const char *path, size_t len)
{
    int used = snprintf(buf, size, "at %.*s", (int)len, path);
    for (int i = 0; i < used && (size_t)i < size - 1; i++)
        buf[i] = i == 2 || strchr(PLAIN, buf[i]) != NULL ? buf[i] : '_';
    return buf;
}

/* Asks the socket itself, with the program that is there. */
static const char *ask_socket(char *buf, size_t size, const char *path)
{
    buf[0] = '\0';
    if (is_plain(path, strlen(path)))
        snprintf(buf, size, "ssh -F none -S %s -O check x 2>/dev/null", path);
    return buf;
}

/* Asks the daemon: the socket's name is not known before ssh has put it together. */
static const char *ask_daemon(char *buf, size_t size, const char *program, const char *socket)
{
    buf[0] = '\0';
    if (is_plain(program, strlen(program)) && (socket == NULL || is_plain(socket, strlen(socket))))
        snprintf(buf, size, "%s status%s%s >/dev/null 2>&1", program, socket != NULL ? " --socket " : "",
            socket != NULL ? socket : "");
    return buf;
}

void cli_ssh_config_print_head(const char *socket)
{
    fputs("# For ssh and what runs it, made by `sshlease ssh-config` from the sshleased at ", stdout);
    put_word(socket, strlen(socket));
    fputs(
        ".\n"
        "# To be put before the other blocks, for ssh takes the first value it finds. Keys, host keys and proxies are\n"
        "# sshleased's business: options for them change nothing here. Agent and X11 are not forwarded.\n",
        stdout);
}

static void print_options(const char *path, size_t path_len, const char *tail)
{
    fputs("  ControlMaster no\n  ControlPath ", stdout);
    put_argument(path, path_len, "%%", tail);
    fputs("\n  ForwardAgent no\n  ForwardX11 no\n", stdout);
}

/* Another user than the target's finds no socket, and is told why. */
static void print_configured(const struct cli_mux_target *target)
{
    const char *user = file_of(target);
    const size_t len = user_len(target);
    char tail[300], where[300], probe[300];
    printf("\nHost %s\n", target->name);
    if (len > 0) {
        fputs("  User ", stdout);
        put_argument(user, len, "%", "");
        putchar('\n');
        snprintf(tail, sizeof tail, "%%r@%s", target->name);
        print_options(target->path, dir_len(target->path), tail);
    } else {
        print_options(target->path, strlen(target->path), "");
    }
    const bool nameable = len > 0 && strspn(user, PATTERN) >= len;
    if (nameable) {
        printf("Match originalhost %s !user %.*s\n  ProxyCommand sh -c \"echo sshlease: %s logs in as %.*s, not as the "
               "user "
               "that was asked for >&2; exit 1\"\n",
            target->name, (int)len, user, target->name, (int)len, user);
        printf("Match originalhost %s\n", target->name);
    }
    fputs("  ProxyCommand ", stdout);
    put_guard(ask_socket(probe, sizeof probe, target->path),
        at_path(where, sizeof where, target->path, strlen(target->path)), GONE_PAST);
    putchar('\n');
}

/* The socket is there only while it is asked for, so ssh asks first; the block behind holds whatever the answer. */
static void print_adhoc(const struct cli_mux_target *target, const char *program, const char *socket)
{
    const char *user = file_of(target);
    const char *at = strrchr(user, '@'), *port = strrchr(at, ':');
    const char *host = at + 1;
    const int host_len = (int)(port != NULL ? (size_t)(port - host) : strlen(host));
    const bool named_user = strchr(target->name, '@') != NULL;
    char where[300], probe[700];
    putchar('\n');
    if (named_user || (port != NULL && strcmp(port, ":22") != 0)) {
        printf("Host %.*s\n", host_len, host);
        if (named_user) {
            fputs("  User ", stdout);
            put_argument(user, (size_t)(at - user), "%", "");
            putchar('\n');
        }
        if (port != NULL && strcmp(port, ":22") != 0)
            printf("  Port %s\n", port + 1);
    }
    printf("Match originalhost %.*s exec \"%s mux-ensure ", host_len, host, program);
    if (socket != NULL)
        printf("--socket '%s' ", socket);
    printf("'%s'\"\nMatch originalhost %.*s\n", TOKENS, host_len, host);
    print_options(target->path, dir_len(target->path), TOKENS);
    fputs("  ProxyCommand ", stdout);
    put_guard(ask_daemon(probe, sizeof probe, program, socket),
        at_path(where, sizeof where, target->path, dir_len(target->path)), GONE_PAST);
    putchar('\n');
}

void cli_ssh_config_print(const struct cli_mux_target *target, const char *program, const char *socket)
{
    if (cli_ssh_config_is_adhoc(target))
        print_adhoc(target, program, socket);
    else
        print_configured(target);
}

void cli_ansible_print(const struct cli_mux_target *targets, unsigned count, const char *socket)
{
    const char *path = targets[0].path;
    const size_t len = dir_len(path);
    bool with_user = true;
    char where[300], probe[300];
    fputs("# For ansible.cfg, made by `sshlease ssh-config --ansible` from the sshleased at ", stdout);
    put_word(socket, strlen(socket));
    fputs(".\n"
          "# Hosts of the inventory that bear a target's name, without ansible_host, lease from its pool; others fail. "
          "So do\n"
          "# those of another user than the target's: remote_user, or ansible_user, has to be the one in parentheses.\n"
          "# To use it for a group only, give these values to its ansible_ssh_args and ansible_control_path.\n"
          "# Targets:",
        stdout);
    for (unsigned i = 0; i < count; i++) {
        const size_t user = user_len(&targets[i]);
        printf(" %s", targets[i].name);
        if (user > 0) {
            fputs(" (", stdout);
            put_word(file_of(&targets[i]), user);
            putchar(')');
        }
        with_user = with_user && user > 0;
    }
    /* Ansible gives a ControlPath only to an ssh with ControlPersist; one that persists hides what the guard says. */
    fputs("\n[ssh_connection]\n"
          "ssh_args = -o ControlMaster=no -o ControlPersist=no -o ForwardAgent=no -o 'ProxyCommand=",
        stdout);
    put_guard(ask_socket(probe, sizeof probe, path), at_path(where, sizeof where, path, len),
        "but not for this host and user, which have to be a target and the user that it logs in as: see ansible.cfg");
    /* Ansible formats the value as Python does, and puts it between quotes for ssh, which has tokens of its own. */
    fputs("'\ncontrol_path = ", stdout);
    for (size_t i = 0; i < len; i++)
        if (path[i] == '%')
            fputs("%%%%", stdout);
        else
            putchar(path[i]);
    /* %n: the name in the inventory, whatever HostName the user's own ssh_config has for it. */
    fputs(with_user ? "%%r@%%n\n" : "%%n\n", stdout);
}
