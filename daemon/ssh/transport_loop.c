/* SPDX-License-Identifier: MIT */
/* The transport: gives each connection that asked for it its turn, right after the loop has polled. */
#include "daemon/ssh/transport.h"

#include "daemon/net/dial.h"
#include "daemon/ssh/conn.h"
#include "daemon/ssh/session/io.h"
#include "proto/status.h"

#include <stdlib.h>

/* Connections that asked for a tick while the queue was run come in the next turn: otherwise two that answer each other
 * would keep the loop from everybody else. */
static void run_queue(struct sl_transport *transport)
{
    struct sl_run_queue now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &transport->run, run_link);
    struct sl_conn *conn;
    while ((conn = TAILQ_FIRST(&now)) != NULL) {
        TAILQ_REMOVE(&now, conn, run_link);
        conn->run_link.tqe_prev = NULL;
        sl_conn_tick(conn);
    }
    if (TAILQ_EMPTY(&transport->run))
        uv_idle_stop(&transport->idle);
}

static void on_check(uv_check_t *check)
{
    struct sl_transport *transport = check->data;
    if (!TAILQ_EMPTY(&transport->run))
        run_queue(transport);
}

int sl_transport_new(uv_loop_t *loop, const struct sl_log *log, struct sl_transport **ret_transport)
{
    struct sl_transport *transport = calloc(1, sizeof *transport);
    if (transport == NULL)
        return SL_E_NOMEM;
    int r = sl_dialer_new(loop, &transport->dialer);
    if (r != 0) {
        free(transport);
        return r;
    }
    if (sl_io_library_init() != 0) {
        sl_dialer_free(transport->dialer);
        free(transport);
        return SL_E_INTERNAL;
    }
    transport->loop = loop;
    transport->log = log;
    TAILQ_INIT(&transport->run);
    uv_check_init(loop, &transport->check);
    uv_idle_init(loop, &transport->idle);
    transport->check.data = transport;
    transport->idle.data = transport;
    transport->handles = 2;
    uv_check_start(&transport->check, on_check);
    /* Connections keep the loop alive, the queue alone does not. */
    uv_unref((uv_handle_t *)&transport->check);
    *ret_transport = transport;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_transport *transport = handle->data;
    if (--transport->handles == 0)
        free(transport);
}

void sl_transport_free(struct sl_transport *transport)
{
    if (transport != NULL) {
        sl_io_library_exit();
        sl_dialer_free(transport->dialer);
        uv_close((uv_handle_t *)&transport->check, on_handle_closed);
        uv_close((uv_handle_t *)&transport->idle, on_handle_closed);
    }
}
