/* ssh looks for the socket at ControlPath and, where nobody answers, logs in by itself without a word. The ProxyCommand
 * is the guard against that: only a connection of ssh's own makes use of it. */
#include "client/cli/ssh_config.h"

#include <stdio.h>
#include <string.h>

/* What needs no quoting, in ssh_config or in a shell. */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-@:,="

/* The name of a socket of the one-user mode, as ssh puts it together. */
#define TOKENS "%r@%h:%p"

bool cli_ssh_config_can_say(const char *path)
{
    return strstr(path, "${") == NULL;
}

static size_t dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

bool cli_ssh_config_is_adhoc(const struct cli_mux_target *target)
{
    return strchr(target->path + dir_len(target->path), '@') != NULL;
}

/* Puts an argument of an option, quoted where that is needed, `tail` behind it. `percent`: what stands for one percent
 * sign. */
static void put_argument(const char *text, size_t len, const char *percent, const char *tail)
{
    const bool quoted = strspn(text, PLAIN) < len;

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

/* Nothing in it is special between double quotes or to shlex, so that it may stand between single ones, too. */
static void put_guard(const char *about, size_t len)
{
    fputs("sh -c \"echo sshlease: no sshleased answers at ", stdout);
    put_word(about, len);
    fputs(" >&2; exit 1\"", stdout);
}

void cli_ssh_config_print_head(const char *socket)
{
    fputs("# For ssh and what runs it, made by `sshlease ssh-config` from the sshleased at ", stdout);
    put_word(socket, strlen(socket));
    fputs(
        ".\n"
        "# To be put before the other blocks, for ssh takes the first value it finds. The user, the keys, host keys "
        "and\n"
        "# proxies are sshleased's business: options for them change nothing here. Agent and X11 are not forwarded.\n",
        stdout);
}

static void print_options(const char *path, size_t path_len, const char *tail)
{
    fputs("  ControlMaster no\n  ControlPath ", stdout);
    put_argument(path, path_len, "%%", tail);
    fputs("\n  ProxyCommand ", stdout);
    put_guard(path, path_len);
    fputs("\n  ForwardAgent no\n  ForwardX11 no\n", stdout);
}

static void print_configured(const struct cli_mux_target *target)
{
    printf("\nHost %s\n", target->name);
    print_options(target->path, strlen(target->path), "");
}

/* The socket is there only while it is asked for, so ssh asks first; the block behind holds whatever the answer. */
static void print_adhoc(const struct cli_mux_target *target, const char *program, const char *socket)
{
    const char *user = target->path + dir_len(target->path);
    const char *at = strrchr(user, '@'), *port = strrchr(at, ':');
    const char *host = at + 1;
    const int host_len = (int)(port != NULL ? (size_t)(port - host) : strlen(host));
    const bool named_user = strchr(target->name, '@') != NULL;

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

    fputs("# For ansible.cfg, made by `sshlease ssh-config --ansible` from the sshleased at ", stdout);
    put_word(socket, strlen(socket));
    fputs(".\n"
          "# Hosts of the inventory that bear a target's name, without ansible_host, lease from its pool; others fail. "
          "To\n"
          "# use it for a group only, give these values to its ansible_ssh_args and ansible_control_path.\n"
          "# Targets:",
        stdout);
    for (unsigned i = 0; i < count; i++)
        printf(" %s", targets[i].name);
    fputs("\n[ssh_connection]\n"
          "ssh_args = -o ControlMaster=no -o ControlPersist=60s -o ForwardAgent=no -o 'ProxyCommand=",
        stdout);
    put_guard(path, len);
    /* Ansible formats the value as Python does, and puts it between quotes for ssh, which has tokens of its own. */
    fputs("'\ncontrol_path = ", stdout);
    for (size_t i = 0; i < len; i++) {
        if (path[i] == '%')
            fputs("%%%%", stdout);
        else
            putchar(path[i]);
    }
    fputs("%%h\n", stdout);
}
