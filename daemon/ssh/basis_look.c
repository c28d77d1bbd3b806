/* SPDX-License-Identifier: MIT */
/* The way of a look:
 *   1. where that is wanted, the host's name is looked up, which may hang, and then is given up
 *   2. in a worker: known_hosts is read, the files are asked for their age
 *   3. on the loop: the agent, where there is one, is asked for its keys
 *   4. the answer */
#include "daemon/ssh/keys/basis.h"

#include "daemon/net/dial.h"
#include "daemon/ssh/keys/agent.h"
#include "daemon/ssh/keys/agent_codec.h"
#include "daemon/ssh/keys/hostkey.h"
#include "daemon/ssh/keys/job.h"
#include "daemon/ssh/session/conn_base.h"
#include "proto/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An agent that takes longer may wait for somebody; what it holds is not known then. */
#define AGENT_MS 900u
/* Whose name takes longer may have any address. */
#define LOOKUP_MS 5000u

/* --- in a worker --- */

struct work {
    struct sl_target_conf *target; /* a reference is held by the loop's side for the job's life */
    struct sl_basis basis;
};

static void look_at(void *data)
{
    struct work *work = data;
    work->basis.host_keys = sl_hostkey_basis_now(work->target);
    sl_basis_of_files(work->target, &work->basis);
}

static void dispose(void *data)
{
    struct work *work = data;
    sl_target_conf_unref(work->target);
    free(work);
}

/* --- on the loop --- */

struct sl_basis_look {
    uv_loop_t *loop;
    struct sl_target_conf *target;
    struct sl_dial_lookup *lookup;
    struct sl_job *job;
    struct sl_agent *agent;
    uv_timer_t timer; /* for the agent */
    struct sl_basis basis;
    char *addresses;
    sl_basis_fn fn;
    void *arg;
};

static void on_timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void sl_basis_forget(struct sl_basis_look *look)
{
    if (look != NULL) {
        sl_dial_lookup_cancel(look->lookup);
        sl_job_forget(look->job);
        sl_agent_close(look->agent);
        sl_target_conf_unref(look->target);
        free(look->addresses);
        uv_close((uv_handle_t *)&look->timer, on_timer_closed);
    }
}

static void answer(struct sl_basis_look *look, uint64_t agent)
{
    sl_basis_fn fn = look->fn;
    void *arg = look->arg;
    const struct sl_basis basis = {look->basis.host_keys, look->basis.keys, look->basis.password, agent, false};
    char *addresses = look->addresses;
    look->addresses = NULL;
    sl_basis_forget(look);
    fn(arg, &basis, addresses);
    free(addresses);
}

static void on_agent_late(uv_timer_t *timer)
{
    answer(timer->data, 0);
}

static void on_agent(void *arg)
{
    struct sl_basis_look *look = arg;
    if (sl_agent_state(look->agent) == SL_AGENT_FAILED) {
        answer(look, SL_BASIS_NO_AGENT);
    } else if (sl_agent_state(look->agent) == SL_AGENT_IDLE) {
        struct sl_bytes list = sl_agent_answer(look->agent);
        if (list.len > 0) {
            answer(look, sl_basis_of_agent(list));
        } else {
            uint8_t message[8];
            struct sl_writer w;
            sl_writer_init(&w, message, sizeof message);
            sl_agent_put_list(&w);
            sl_agent_ask(look->agent, message, w.at);
        }
    }
}

static void on_looked(void *arg, void *data)
{
    struct sl_basis_look *look = arg;
    struct work *work = data;
    look->job = NULL;
    look->basis = work->basis;
    const char *path = look->target->identity_agent;
    if (!look->target->identity_agent_set || path == NULL)
        answer(look, 0);
    else if (sl_agent_open(look->loop, path, on_agent, look, &look->agent) != 0 ||
             sl_agent_state(look->agent) == SL_AGENT_FAILED)
        answer(look, SL_BASIS_NO_AGENT);
    else
        (void)uv_timer_start(&look->timer, on_agent_late, AGENT_MS, 0);
}

static const struct sl_job_kind look_kind = {look_at, on_looked, dispose};

static int look_at_files(struct sl_basis_look *look)
{
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL)
        return SL_E_NOMEM;
    work->target = sl_target_conf_ref(look->target);
    int r = sl_job_start(look->loop, &look_kind, work, look, &look->job);
    if (r != 0)
        dispose(work);
    return r;
}

static void on_addresses(void *arg, char *addresses)
{
    struct sl_basis_look *look = arg;
    look->lookup = NULL;
    look->addresses = addresses;
    if (look_at_files(look) != 0)
        answer(look, 0);
}

int sl_basis_look(struct sl_transport *transport, struct sl_target_conf *target, bool resolves, sl_basis_fn fn,
    void *arg, struct sl_basis_look **ret_look)
{
    struct sl_basis_look *l = calloc(1, sizeof *l);
    if (l == NULL)
        return SL_E_NOMEM;
    l->loop = transport->loop;
    l->target = sl_target_conf_ref(target);
    (void)uv_timer_init(l->loop, &l->timer);
    l->timer.data = l;
    l->fn = fn;
    l->arg = arg;
    int r = resolves
                ? sl_dial_look_up(transport->dialer, target->host, target->port, LOOKUP_MS, on_addresses, l, &l->lookup)
                : look_at_files(l);
    if (r != 0) {
        sl_basis_forget(l);
        return SL_E_NOMEM;
    }
    *ret_look = l;
    return 0;
}
