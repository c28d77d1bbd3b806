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
/* What is held back for longer is worth a command. */
#define REMEDY_MS 10000

/* What is shown of it all. */
struct view {
    char **names; /* of targets */
    int count;    /* 0: all */
    bool active;  /* only where something is */
    struct cli_style style;
};

static int64_t number(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

/* --- what is shown ------------------------------------------------------------------------------------------------ */

static bool is_named(const struct view *view, const char *name)
{
    for (int i = 0; i < view->count; i++)
        if (strcmp(view->names[i], name) == 0)
            return true;
    return view->count == 0;
}

static bool is_active(const json_t *target)
{
    const char *state;
    json_t *count;
    json_object_foreach(
        json_object_get(target, "connections"), state, count) if (json_integer_value(count) > 0) return true;
    return number(target, "waiters") > 0 || text(target, "last_error")[0] != '\0';
}

static bool is_shown(const struct view *view, const json_t *target)
{
    return is_named(view, text(target, "name")) && (!view->active || is_active(target));
}

/* Whether every name is one of a target; says which is not. */
static bool are_known(const struct view *view, const json_t *targets)
{
    bool known = true;
    for (int i = 0; i < view->count; i++) {
        const json_t *target;
        size_t t;
        bool found = false;
        json_array_foreach(targets, t, target) found = found || strcmp(text(target, "name"), view->names[i]) == 0;
        if (!found)
            cli_say("sshleased shows you no target %s; 'sshlease status' shows all there are", view->names[i]);
        known = known && found;
    }
    return known;
}

/* --- the tables --------------------------------------------------------------------------------------------------- */

/* What went wrong last, and what comes of it. */
static void add_error(struct cli_table *table, const json_t *target)
{
    const int64_t retry_ms = number(target, "retry_in_ms");
    const char *error = text(target, "last_error"), *name = text(target, "name");
    char line[2048], retry[16];
    if (error[0] == '\0' || retry_ms <= 0)
        snprintf(line, sizeof line, "%s", error);
    else if (retry_ms > LONG_MS)
        snprintf(line, sizeof line,
            "%.1500s; tried again when known_hosts says something else, or after: sshlease reconnect %s", error, name);
    else if (retry_ms > REMEDY_MS)
        snprintf(line, sizeof line, "%.1500s; next try in %s, or after: sshlease reconnect %s", error,
            cli_duration(retry_ms, retry), name);
    else
        snprintf(line, sizeof line, "%.1500s; next try in %s", error, cli_duration(retry_ms, retry));
    cli_table_add(table, CLI_BAD, line);
}

static bool print_targets(const json_t *targets, const struct view *view)
{
    static const struct cli_column columns[] = {{"TARGET", CLI_NAME}, {"IDLE", CLI_NUMBER}, {"LEASED", CLI_NUMBER},
        {"DIALING", CLI_NUMBER}, {"DRAINING", CLI_NUMBER}, {"CLOSING", CLI_NUMBER}, {"MAX", CLI_NUMBER},
        {"WAITING", CLI_NUMBER}, {"LAST ERROR", CLI_NOTE}};
    struct cli_table *table = cli_table_new(columns, sizeof columns / sizeof columns[0]);
    const json_t *target;
    size_t i, idle = 0;
    bool any = false, done = true;
    if (table == NULL)
        return false;
    json_array_foreach(targets, i, target)
    {
        const json_t *connections = json_object_get(target, "connections");
        int64_t waiters = number(target, "waiters");
        if (!is_shown(view, target)) {
            idle += is_named(view, text(target, "name"));
            continue;
        }
        any = true;
        cli_table_add(table, CLI_BOLD, text(target, "name"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "idle"));
        cli_table_add_number(
            table, number(connections, "leased") > 0 ? CLI_GOOD : CLI_PLAIN, number(connections, "leased"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "dialing"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "draining"));
        cli_table_add_number(table, CLI_PLAIN, number(connections, "closing"));
        cli_table_add_number(table, CLI_PLAIN, number(target, "max_connections"));
        cli_table_add_number(table, waiters > 0 ? CLI_WARNING : CLI_PLAIN, waiters);
        add_error(table, target);
    }
    if (any)
        done = cli_table_print(table, &view->style);
    if (idle > 0)
        printf(
            "%s%zu %starget%s without a connection\n", any ? "\n" : "", idle, any ? "more " : "", idle == 1 ? "" : "s");
    cli_table_free(table);
    return done;
}

/* Only what differs, and nothing where no server does. */
static bool print_learned(const json_t *targets, const struct view *view)
{
    static const struct cli_column columns[] = {{"TARGET", CLI_NAME}, {"ITS SERVER", CLI_NOTE}};
    struct cli_table *table = cli_table_new(columns, sizeof columns / sizeof columns[0]);
    const json_t *target;
    size_t i;
    bool any = false, done = true;
    if (table == NULL)
        return false;
    json_array_foreach(targets, i, target)
    {
        if (text(target, "learned")[0] == '\0' || !is_shown(view, target))
            continue;
        cli_table_add(table, CLI_BOLD, text(target, "name"));
        cli_table_add(table, CLI_PLAIN, text(target, "learned"));
        any = true;
    }
    if (any) {
        puts("");
        done = cli_table_print(table, &view->style);
    }
    cli_table_free(table);
    return done;
}

static void add_lease(struct cli_table *table, const json_t *lease)
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

static bool print_leases(const json_t *leases, const struct view *view)
{
    static const struct cli_column columns[] = {{"LEASE", CLI_NUMBER}, {"TARGET", CLI_NAME}, {"STATE", CLI_TEXT},
        {"PID", CLI_NUMBER}, {"USER", CLI_NAME}, {"AGE", CLI_NUMBER}, {"LEFT", CLI_NUMBER}, {"STREAMS", CLI_NUMBER},
        {"LABEL", CLI_NOTE}, {"COMMAND", CLI_DETAIL}};
    struct cli_table *table = cli_table_new(columns, sizeof columns / sizeof columns[0]);
    const json_t *lease;
    size_t i;
    bool any = false, done = true;
    if (table == NULL)
        return false;
    json_array_foreach(leases, i, lease)
    {
        if (!is_named(view, text(lease, "target")))
            continue;
        add_lease(table, lease);
        any = true;
    }
    if (any)
        done = cli_table_print(table, &view->style);
    else
        puts("no leases");
    cli_table_free(table);
    return done;
}

static int print_status(const char *json, const struct view *view)
{
    json_error_t error;
    json_t *root = json_loads(json, 0, &error);
    const json_t *targets = json_object_get(root, "targets"), *leases = json_object_get(root, "leases");
    char uptime[16];
    bool done = true;

    if (!json_is_array(targets) || !json_is_array(leases)) {
        cli_say("sshleased's status cannot be read: %s", root == NULL ? error.text : "no targets or leases in it");
        json_decref(root);
        return CLI_EXIT_FAILED;
    }
    if (!are_known(view, targets)) {
        json_decref(root);
        return CLI_EXIT_FAILED;
    }
    printf("sshleased %s, pid %lld, %s, up %s\n", text(root, "version"), (long long)number(root, "pid"),
        text(root, "state"), cli_duration(number(root, "uptime_ms"), uptime));
    putchar('\n');
    if (json_array_size(targets) > 0)
        done = print_targets(targets, view) && print_learned(targets, view);
    else
        puts("no targets");
    putchar('\n');
    done = print_leases(leases, view) && done;
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
    enum { JSON, ACTIVE, WIDE };
    struct cli_flag flags[] = {[JSON] = {.name = "json"},
        [ACTIVE] = {.name = "active", .letter = 'a'},
        [WIDE] = {.name = "wide", .letter = 'w'},
        {0}};
    int status;
    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, flags, &status))
        return status;
    if (flags[JSON].set && (optind < argc || flags[ACTIVE].set))
        return cli_usage(verb, CLI_EXIT_USAGE, "--json prints all there is: no target, no --active");
    struct view view = {
        .names = argv + optind, .count = argc - optind, .active = flags[ACTIVE].set, .style = cli_style()};
    if (flags[WIDE].set)
        view.style.width = 0;

    struct sshlease *lease = cli_open(socket);
    char *json = NULL;
    int exit_status = CLI_EXIT_FAILED;
    if (lease == NULL)
        return CLI_EXIT_FAILED;
    if (sshlease_admin_status(lease, CLI_ANSWER_MS, &json) != 0) {
        cli_say("%s", sshlease_error(lease));
    } else if (flags[JSON].set) {
        size_t len = strlen(json);
        fputs(json, stdout);
        if (len == 0 || json[len - 1] != '\n')
            putchar('\n');
        exit_status = 0;
    } else {
        exit_status = print_status(json, &view);
    }
    free(json);
    sshlease_free(lease);
    return exit_status == 0 ? cli_finish(0) : exit_status;
}
