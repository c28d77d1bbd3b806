/* sshlease end, sshlease reload. */
#include "client/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

int cli_admin(const struct cli_verb *verb, int argc, char **argv, const char *socket)
{
    bool ends = strcmp(verb->name, "end") == 0;
    unsigned long long id = 0;
    int status;

    if (!cli_take_options(verb, CLI_EXIT_USAGE, argc, argv, &socket, NULL, &status))
        return status;
    if (argc - optind != (ends ? 1 : 0))
        return cli_usage(verb, CLI_EXIT_USAGE, ends ? "end needs the id of one lease" : "reload takes no argument");
    if (ends) {
        char *rest;
        errno = 0;
        id = strtoull(argv[optind], &rest, 10);
        if (errno != 0 || argv[optind][0] < '0' || argv[optind][0] > '9' || *rest != '\0')
            return cli_usage(verb, CLI_EXIT_USAGE, "%s is not the id of a lease", argv[optind]);
    }

    struct sshlease *lease = cli_open(socket);
    if (lease == NULL)
        return CLI_EXIT_FAILED;
    status = ends ? sshlease_admin_end(lease, id, CLI_ANSWER_MS) : sshlease_admin_reload(lease, CLI_ANSWER_MS);
    if (status != 0)
        cli_say("%s", sshlease_error(lease));
    sshlease_free(lease);
    return status == 0 ? 0 : CLI_EXIT_FAILED;
}
