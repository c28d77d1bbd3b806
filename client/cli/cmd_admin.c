/* SPDX-License-Identifier: MIT */
/* sshlease end, sshlease reload, sshlease reconnect. */
#include "client/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static bool read_id(const char *text, unsigned long long *ret_id)
{
    char *rest;
    errno = 0;
    *ret_id = strtoull(text, &rest, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *rest == '\0';
}

int cli_admin(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    const bool ends = strcmp(verb->name, "end") == 0, reloads = strcmp(verb->name, "reload") == 0;
    unsigned long long id = 0;
    int status;
    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, NULL, &status))
        return status;
    if (argc - optind != (reloads ? 0 : 1))
        return cli_usage(verb, CLI_EXIT_USAGE, "%s",
            ends      ? "end needs the id of one lease"
            : reloads ? "reload takes no argument"
                      : "reconnect needs the name of one target");
    if (ends && !read_id(argv[optind], &id))
        return cli_usage(verb, CLI_EXIT_USAGE, "%s is not the id of a lease", argv[optind]);

    struct sshlease *lease = cli_open(socket);
    if (lease == NULL)
        return CLI_EXIT_FAILED;
    status = ends      ? sshlease_admin_end(lease, id, CLI_ANSWER_MS)
             : reloads ? sshlease_admin_reload(lease, CLI_ANSWER_MS)
                       : sshlease_admin_reconnect(lease, argv[optind], CLI_ANSWER_MS);
    if (status != 0)
        cli_say("%s", sshlease_error(lease));
    sshlease_free(lease);
    return status == 0 ? 0 : CLI_EXIT_FAILED;
}
