/* SPDX-License-Identifier: MIT */
/* sshlease status: the daemon's JSON as it is, or as tables. */
#include "client/cli/cli.h"
#include "client/cli/table.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No retry is put off so far but for ever: until somebody changes something. */
#define LONG_MS INT64_C(31536000000)

static int64_t number(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

static bool print_targets(const json_t *targets, const struct cli_style *style)
{
    static const char *const headings[] = {
        "TARGET", ">IDLE", ">LEASED", ">DIALING", ">DRAINING", ">CLOSING", ">MAX", ">WAITING", "LAST ERROR"};
    struct cli_table *table = cli_table_new(headings, sizeof headings / sizeof headings[0]);
    const json_t *target;
    size_t i;
    if (table == NULL)
        return false;
    json_array_foreach(targets, i, target)
    {
        const json_t *connections = json_object_get(target, "connections");
        int64_t waiters = number(target, "waiters"), retry_ms = number(target, "retry_in_ms");
        char error[1024], retry[16];
        cli_table_add(table, CLI_BOLD, text(target, "name"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "idle"));
        cli_table_add_number(
            table, number(connections, "leased") > 0 ? CLI_GOOD : CLI_PLAIN, number(connections, "leased"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "dialing"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "draining"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "closing"));
        cli_table_add_number(table, CLI_PLAIN, number(target, "max_connections"));
        cli_table_add_number(table, waiters > 0 ? CLI_WARNING : CLI_PLAIN, waiters);
        snprintf(error, sizeof error, "%s", text(target, "last_error"));
        if (error[0] != '\0' && retry_ms > LONG_MS)
            snprintf(error, sizeof error, "%.900s (no dial before known_hosts changes, or a reload)",
                text(target, "last_error"));
        else if (error[0] != '\0' && retry_ms > 0)
            snprintf(error, sizeof error, "%.900s (no dial for %s)", text(target, "last_error"),
                cli_duration(retry_ms, retry));
        cli_table_add(table, CLI_BAD, error);
    }
    bool done = cli_table_print(table, style);
    cli_table_free(table);
    return done;
}

/* Only what differs, and nothing where no server does. */
static bool print_learned(const json_t *targets, const struct cli_style *style)
{
    static const char *const headings[] = {"TARGET", "ITS SERVER"};
    struct cli_table *table = cli_table_new(headings, sizeof headings / sizeof headings[0]);
    const json_t *target;
    size_t i;
    bool any = false, done = true;
    if (table == NULL)
        return false;
    json_array_foreach(targets, i, target)
    {
        if (text(target, "learned")[0] == '\0')
            continue;
        cli_table_add(table, CLI_BOLD, text(target, "name"));
        cli_table_add(table, CLI_PLAIN, text(target, "learned"));
        any = true;
    }
    if (any) {
        puts("");
        done = cli_table_print(table, style);
    }
    cli_table_free(table);
    return done;
}

static bool print_leases(const json_t *leases, const struct cli_style *style)
{
    static const char *const headings[] = {
        ">LEASE", "TARGET", "STATE", ">PID", "USER", ">AGE", ">LEFT", ">STREAMS", "LABEL", "COMMAND"};
    struct cli_table *table = cli_table_new(headings, sizeof headings / sizeof headings[0]);
    const json_t *lease;
    size_t i;
    if (table == NULL)
        return false;
    json_array_foreach(leases, i, lease)
    {
        bool waits = strcmp(text(lease, "state"), "waiting") == 0;
        cli_table_add_number(table, CLI_BOLD, number(lease, "id"));
        cli_table_add(table, CLI_PLAIN, text(lease, "target"));
        cli_table_add(table, waits ? CLI_WARNING : CLI_GOOD, text(lease, "state"));
        cli_table_add_number(table, CLI_PLAIN, number(lease, "pid"));
        if (text(lease, "user")[0] != '\0')
            cli_table_add(table, CLI_PLAIN, text(lease, "user"));
        else
            cli_table_add_number(table, CLI_PLAIN, number(lease, "uid"));
        cli_table_add_duration(table, CLI_PLAIN, number(lease, "age_ms"));
        if (number(lease, "expires_ms") > LONG_MS)
            cli_table_add(table, CLI_PLAIN, "-");
        else
            cli_table_add_duration(table, CLI_PLAIN, number(lease, "expires_ms"));
        cli_table_add_number(table, CLI_PLAIN, number(lease, "streams"));
        cli_table_add(table, CLI_PLAIN, text(lease, "label"));
        cli_table_add(table, CLI_PLAIN, text(lease, "command"));
    }
    bool done = cli_table_print(table, style);
    cli_table_free(table);
    return done;
}

static int print_status(const char *json)
{
    json_error_t error;
    json_t *root = json_loads(json, 0, &error);
    const json_t *targets = json_object_get(root, "targets"), *leases = json_object_get(root, "leases");
    struct cli_style style = cli_style();
    char uptime[16];
    bool done = true;

    if (!json_is_array(targets) || !json_is_array(leases)) {
        cli_say("sshleased's status cannot be read: %s", root == NULL ? error.text : "no targets or leases in it");
        json_decref(root);
        return CLI_EXIT_FAILED;
    }
    printf("sshleased %s, pid %lld, %s, up %s\n", text(root, "version"), (long long)number(root, "pid"),
        text(root, "state"), cli_duration(number(root, "uptime_ms"), uptime));
    putchar('\n');
    if (json_array_size(targets) > 0)
        done = print_targets(targets, &style) && print_learned(targets, &style);
    else
        puts("no targets");
    putchar('\n');
    if (json_array_size(leases) > 0)
        done = print_leases(leases, &style) && done;
    else
        puts("no leases");
    if (text(root, "warning")[0] != '\0')
        cli_say("%s", text(root, "warning"));
    json_decref(root);
    if (!done) {
        cli_say("out of memory");
        return CLI_EXIT_FAILED;
    }
    return 0;
}

int cli_status(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    struct cli_flag json_flag = {.name = "json"};
    int status;
    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, &json_flag, &status))
        return status;
    if (optind < argc)
        return cli_usage(verb, CLI_EXIT_USAGE, "status takes no argument");

    struct sshlease *lease = cli_open(socket);
    char *json = NULL;
    int exit_status = CLI_EXIT_FAILED;
    if (lease == NULL)
        return CLI_EXIT_FAILED;
    if (sshlease_admin_status(lease, CLI_ANSWER_MS, &json) != 0) {
        cli_say("%s", sshlease_error(lease));
    } else if (json_flag.set) {
        size_t len = strlen(json);
        fputs(json, stdout);
        if (len == 0 || json[len - 1] != '\n')
            putchar('\n');
        exit_status = 0;
    } else {
        exit_status = print_status(json);
    }
    free(json);
    sshlease_free(lease);
    return exit_status == 0 ? cli_finish(0) : exit_status;
}
