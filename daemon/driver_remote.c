/* Ports that the server listens on for a lease. As with streams, one small object lies between the front end and the
 * transport, so that callbacks end with the lease. */
#include "daemon/driver_state.h"

#include "proto/status.h"

#include <stdlib.h>

static void on_listening(void *arg, int status, uint16_t port, const char *text)
{
    struct sl_lease_remote *remote = arg;

    if (remote->lease != NULL)
        remote->handler->on_listening(remote->arg, status, port, text);
}

static void on_connection(void *arg)
{
    struct sl_lease_remote *remote = arg;

    if (remote->lease != NULL)
        remote->handler->on_connection(remote->arg);
}

static void on_closed(void *arg)
{
    struct sl_lease_remote *remote = arg;

    if (remote->lease != NULL) {
        TAILQ_REMOVE(&remote->lease->remotes, remote, link);
        remote->handler->on_closed(remote->arg);
    }
    free(remote);
}

static const struct sl_remote_handler remote_handler = {on_listening, on_connection, on_closed};

void sl_driver_cut_remotes(struct sl_lease *lease)
{
    struct sl_lease_remote *remote;

    while ((remote = TAILQ_FIRST(&lease->remotes)) != NULL) {
        TAILQ_REMOVE(&lease->remotes, remote, link);
        remote->lease = NULL;
    }
}

int sl_lease_listen(struct sl_lease *lease, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_lease_remote **ret_remote)
{
    if (lease->phase != SL_PHASE_HELD)
        return SL_E_NO_LEASE;
    if (lease->conn == NULL)
        return SL_E_AGAIN; /* it is moving: its party is parked, and no server is there to listen */
    if (lease->conn->lost_status != 0)
        return SL_E_CONNECTION_LOST;
    struct sl_lease_remote *remote = malloc(sizeof *remote);
    if (remote == NULL)
        return SL_E_NOMEM;
    *remote = (struct sl_lease_remote){.lease = lease, .handler = handler, .arg = arg};
    int r = lease->party == NULL ? SL_E_NOMEM
                                 : sl_remote_open(lease->party, host, port, &remote_handler, remote, &remote->remote);
    if (r != 0) {
        free(remote);
        return r;
    }
    TAILQ_INSERT_TAIL(&lease->remotes, remote, link);
    *ret_remote = remote;
    return SL_OK;
}

void sl_lease_unlisten(struct sl_lease_remote *remote)
{
    sl_remote_close(remote->remote);
}
