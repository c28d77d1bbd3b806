/* SPDX-License-Identifier: MIT */
/* sshlease ssh-config, sshlease mux-ensure: where ssh finds targets. */
#include "client/cli/cli.h"
#include "client/cli/ssh_config.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- mux-ensure --------------------------------------------------------------------------------------------------- */

/* ssh's %r@%h:%p puts no brackets around an IPv6 address: with several colons and none, the last is before the port.
 * malloc'd; NULL: out of memory. */
static char *with_brackets(const char *name)
{
    const char *at = strrchr(name, '@'), *host = at != NULL ? at + 1 : name;
    const char *first = strchr(host, ':'), *last = strrchr(host, ':');
    const size_t size = strlen(name) + 3;
    char *made = malloc(size);
    if (made == NULL)
        return NULL;
    if (host[0] == '[' || first == last)
        snprintf(made, size, "%s", name);
    else
        snprintf(made, size, "%.*s[%.*s]%s", (int)(host - name), name, (int)(last - host), host, last);
    return made;
}

int cli_mux_ensure(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    struct cli_flag flags[] = {{.name = "print", .letter = 'p'}, {0}};
    int status;
    if (!cli_take_options(verb, CLI_EXIT_SSH, argc, argv, &socket, flags, &status))
        return status;
    if (argc - optind != 1)
        return cli_usage(verb, CLI_EXIT_SSH, "mux-ensure needs the name of one target");

    char *name = with_brackets(argv[optind]), *path = NULL;
    struct sshlease *lease = name != NULL ? cli_open(socket) : NULL;
    int exit_status = CLI_EXIT_SSH;
    if (name == NULL)
        cli_say("out of memory");
    else if (lease != NULL && sshlease_mux_path(lease, name, CLI_ANSWER_MS, &path) != 0)
        cli_say("%s", sshlease_error(lease));
    else if (lease != NULL)
        exit_status = 0;
    if (exit_status == 0 && flags[0].set) {
        puts(path);
        exit_status = cli_finish(0) == 0 ? 0 : CLI_EXIT_SSH;
    }
    free(path);
    sshlease_free(lease);
    free(name);
    return exit_status;
}

/* --- ssh-config --------------------------------------------------------------------------------------------------- */

struct list {
    struct cli_mux_target *item;
    unsigned count;
};

static void list_free(struct list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        free(list->item[i].name);
        free(list->item[i].path);
    }
    free(list->item);
}

static bool list_add(struct list *list, const char *name)
{
    struct cli_mux_target *grown = realloc(list->item, (list->count + 1) * sizeof *grown);
    if (grown != NULL) {
        list->item = grown;
        grown[list->count] = (struct cli_mux_target){.name = strdup(name)};
        if (grown[list->count].name != NULL) {
            list->count++;
            return true;
        }
    }
    cli_say("out of memory");
    return false;
}

/* The configured targets that the caller may lease. Those of the one-user mode that somebody has used are not: they
 * come and go. */
static bool list_all(struct sshlease *lease, struct list *list)
{
    char *json = NULL;
    size_t i;
    const json_t *target;
    if (sshlease_admin_status(lease, CLI_ANSWER_MS, &json) != 0) {
        cli_say("%s", sshlease_error(lease));
        return false;
    }
    json_t *root = json_loads(json, 0, NULL);
    const json_t *targets = json_object_get(root, "targets");
    bool good = json_is_array(targets);
    const char *warning = json_string_value(json_object_get(root, "warning"));
    if (good && json_array_size(targets) == 0 && warning != NULL) {
        cli_say("%s", warning);
        json_decref(root);
        free(json);
        return false;
    }
    if (!good)
        cli_say("sshleased's status cannot be read: no targets in it");
    json_array_foreach(targets, i, target)
    {
        const char *name = json_string_value(json_object_get(target, "name"));
        if (name != NULL && strchr(name, '@') == NULL)
            good = good && list_add(list, name);
    }
    json_decref(root);
    free(json);
    if (good && list->count == 0) {
        cli_say("sshleased has no targets for you to lease; name one (user@host) where it is your own");
        good = false;
    }
    return good;
}

static bool find_paths(struct sshlease *lease, struct list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        struct cli_mux_target *target = &list->item[i];
        if (sshlease_mux_path(lease, target->name, CLI_ANSWER_MS, &target->path) != 0) {
            cli_say("%s", sshlease_error(lease));
            return false;
        }
        if (!cli_ssh_config_can_say(target->path)) {
            cli_say("ssh_config cannot name %s: ssh would take ${ for a variable", target->path);
            return false;
        }
    }
    return true;
}

/* What Match exec runs: this program, where its path can stand between quotes. */
static const char *own_path(char *buf, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", buf, size - 1);
    if (len <= 0 || (size_t)len == size - 1)
        return "sshlease";
    buf[len] = '\0';
    return strpbrk(buf, " \t\n\"'\\%$`") == NULL ? buf : "sshlease";
}

static int print(const struct list *list, bool ansible, const char *socket)
{
    char program[512], default_socket[128] = "?";
    const char *said = socket;
    if (said == NULL) {
        (void)sshlease_default_socket(default_socket, sizeof default_socket);
        said = default_socket;
    }
    for (unsigned i = 0; ansible && i < list->count; i++) {
        if (!cli_ssh_config_is_adhoc(&list->item[i]))
            continue;
        cli_say("--ansible is for configured targets, not for %s: put what ssh-config prints without --ansible into "
                "ssh_config, and 'ssh_args = -o ControlMaster=no' into ansible.cfg",
            list->item[i].name);
        return CLI_EXIT_FAILED;
    }
    if (ansible) {
        cli_ansible_print(list->item, list->count, said);
        return cli_finish(0);
    }
    /* A socket that is not where everybody looks has to be said to Match exec. */
    const char *told = socket != NULL || getenv("SSHLEASE_SOCKET") != NULL ? said : NULL;
    if (told != NULL && strpbrk(told, "\"'%\n") != NULL) {
        cli_say("ssh_config cannot name the daemon's socket %s", told);
        return CLI_EXIT_FAILED;
    }
    cli_ssh_config_print_head(said);
    for (unsigned i = 0; i < list->count; i++)
        cli_ssh_config_print(&list->item[i], own_path(program, sizeof program), told);
    return cli_finish(0);
}

int cli_ssh_config(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    struct cli_flag flags[] = {{.name = "ansible"}, {0}};
    struct list list = {0};
    int status;
    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, flags, &status))
        return status;
    struct sshlease *lease = cli_open(socket);
    bool good = lease != NULL;
    for (int i = optind; good && i < argc; i++)
        good = list_add(&list, argv[i]);
    if (good && list.count == 0)
        good = list_all(lease, &list);
    good = good && find_paths(lease, &list);
    int exit_status = good ? print(&list, flags[0].set, socket) : CLI_EXIT_FAILED;
    list_free(&list);
    sshlease_free(lease);
    return exit_status;
}
