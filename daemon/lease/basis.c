/* SPDX-License-Identifier: MIT */
/* What logins of a target are made of: its key files, its agent's keys, what known_hosts says of the host. A connection
 * knows what it was made of; a look says what the next one would be made of.
 *   a target whose last dial was refused for good is looked at when somebody asks for it: where something has changed,
 *   its failed dials are forgotten, and who asked sees a new one
 *   a reload looks at every target that has connections: where something has changed, they are not leased again
 * A lease that is asked for meanwhile is fed to the core after the look, or when that takes too long. */
#include "daemon/core/backoff.h"
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <string.h>

/* A file system or an agent may take longer to answer; nobody waits for it any more then. */
#define LOOK_WAIT_MS 1000u
#define LOOK_TICK_MS 100u
/* A target is not looked at again sooner, however often it is asked for: who asks waits for that. */
#define LOOK_PAUSE_MS 200u
#define KNOCK_MIN_MS  1000u
/* After so long without one, a refusal is the first again. */
#define REFUSALS_ROW_MS 60000u

/* --- failed dials ------------------------------------------------------------------------------------------------- */

static bool is_for_good(int status)
{
    enum sl_dial_failure failure = sl_dial_failure_of(status);
    return failure == SL_DIAL_REJECTED || failure == SL_DIAL_UNTRUSTED;
}

void sl_driver_basis_failed(struct sl_driver_conn *slot, int status)
{
    struct sl_driver_target *target = slot->target;
    const uint64_t now = uv_now(slot->driver->loop);
    if (!is_for_good(status) || slot->conn == NULL)
        return;
    sl_conn_basis(slot->conn, &target->refused);
    target->refusals = target->refusals > 0 && now - target->refused_ms < REFUSALS_ROW_MS ? target->refusals + 1 : 1;
    target->refused_ms = now;
}

/* The status that every acquire is refused with at once, or 0. */
static int blocked_by(const struct sl_driver *d, const struct sl_driver_target *target)
{
    struct sl_pool_target_info info;
    if (!sl_pool_target_info(d->pool, target->index, &info) || info.retry_at_ms <= uv_now(d->loop))
        return 0;
    return is_for_good(info.last_status) ? info.last_status : 0;
}

/* Whether the server may be asked again because somebody here wants it, who may have mended it there: not with a
 * password, which it would count as guessing. */
static bool may_knock(const struct sl_driver *d, const struct sl_driver_target *target, int status)
{
    return d->conf->one_user && status == SL_E_AUTH_FAILED && !target->refused.password_sent;
}

static uint64_t knock_at_ms(const struct sl_driver_target *target)
{
    uint64_t pause = KNOCK_MIN_MS;
    for (uint32_t i = 1; i < target->refusals && pause < SL_KNOCK_MAX_MS; i++)
        pause *= 2;
    return target->refused_ms + (pause < SL_KNOCK_MAX_MS ? pause : SL_KNOCK_MAX_MS);
}

uint64_t sl_driver_basis_retry_ms(
    const struct sl_driver *d, const struct sl_driver_target *target, int status, uint64_t retry_at_ms)
{
    const uint64_t knock_ms = knock_at_ms(target);
    return may_knock(d, target, status) && knock_ms < retry_at_ms ? knock_ms : retry_at_ms;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static bool is_other(uint64_t was, uint64_t is)
{
    return was != 0 && is != 0 && was != is;
}

/* A password that was refused is not sent again, whatever else has changed. */
static bool is_mended(const struct sl_basis *refused, const struct sl_basis *now, int status)
{
    if (status != SL_E_AUTH_FAILED)
        return is_other(refused->host_keys, now->host_keys);
    if (refused->password_sent)
        return is_other(refused->password, now->password);
    return is_other(refused->keys, now->keys) || is_other(refused->password, now->password) ||
           is_other(refused->agent, now->agent);
}

static bool is_listed(const char *addresses, const char *address)
{
    const size_t len = strlen(address);
    for (const char *at = addresses; (at = strstr(at, address)) != NULL; at++)
        if ((at == addresses || at[-1] == '\n') && at[len] == '\n')
            return true;
    return false;
}

/* An agent's keys come and go; what was logged in with one of them is as good as before. */
static bool is_outdated(const struct sl_conn *conn, const struct sl_basis *now, const char *addresses)
{
    struct sl_basis was;
    struct sl_conn_info info;
    sl_conn_basis(conn, &was);
    sl_conn_info(conn, &info);
    return is_other(was.host_keys, now->host_keys) || is_other(was.keys, now->keys) ||
           is_other(was.password, now->password) ||
           (addresses != NULL && info.address[0] != '\0' && !is_listed(addresses, info.address));
}

static bool has_outdated(const struct sl_driver_target *target, const struct sl_basis *now, const char *addresses)
{
    const struct sl_driver_conn *slot;
    TAILQ_FOREACH(slot, &target->conns, of_target)
    {
        if (slot->conn != NULL && slot->lost_status == 0 && slot->identity == target->identity &&
            is_outdated(slot->conn, now, addresses))
            return true;
    }
    return false;
}

/* --- what comes of it --------------------------------------------------------------------------------------------- */

void sl_driver_target_renew(struct sl_driver *d, struct sl_driver_target *target)
{
    target->identity = ++d->identities;
    sl_driver_note(d, &d->work, SL_TODO_CONFIGURE);
}

static void forgive(struct sl_driver *d, struct sl_driver_target *target)
{
    target->retry_epoch++;
    sl_driver_note(d, &d->work, SL_TODO_CONFIGURE);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

/* Those who were kept are fed to the core. */
static void let_go(struct sl_driver *d, struct sl_driver_target *target)
{
    struct sl_lease *lease;
    TAILQ_FOREACH(lease, &target->leases, link)
    {
        if (lease->looking == SL_LOOKING_AWAITED) {
            lease->looking = SL_LOOKING_DONE;
            sl_driver_note(d, &lease->work, SL_TODO_ACQUIRE);
        }
    }
}

static void on_looked(void *arg, const struct sl_basis *now, const char *addresses)
{
    struct sl_driver_target *target = arg;
    struct sl_driver *d = target->driver;
    const int status = blocked_by(d, target);
    const bool knocks = status != 0 && may_knock(d, target, status) && uv_now(d->loop) >= knock_at_ms(target);
    target->look = NULL;
    if (has_outdated(target, now, addresses)) {
        sl_log(d->log, SL_LOG_NOTICE, "targets", "target=%s: its files or addresses have changed: new logins",
            target->conf->name);
        sl_driver_target_renew(d, target);
    } else if (status != 0 && (knocks || is_mended(&target->refused, now, status))) {
        sl_log(d->log, SL_LOG_NOTICE, "targets", "target=%s: tried again: %s", target->conf->name,
            knocks ? "it is asked for" : "what was refused has changed");
        forgive(d, target);
    }
    let_go(d, target);
}

static void look(struct sl_driver *d, struct sl_driver_target *target, bool resolves)
{
    target->looked_ms = uv_now(d->loop);
    if (sl_basis_look(d->transport, target->conf, resolves, on_looked, target, &target->look) != 0)
        let_go(d, target); /* no memory for it */
}

static bool is_awaited(const struct sl_driver_target *target)
{
    const struct sl_lease *lease;
    TAILQ_FOREACH(lease, &target->leases, link)
    {
        if (lease->looking == SL_LOOKING_AWAITED && lease->phase == SL_LEASE_PHASE_ASKING)
            return true;
    }
    return false;
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_driver *d = timer->data;
    const uint64_t now = uv_now(d->loop);
    bool any = false;
    for (uint32_t i = 0; i < d->target_count; i++) {
        struct sl_driver_target *target = d->target[i];
        if (target == NULL || !is_awaited(target))
            continue;
        any = true;
        if (target->look != NULL && now - target->looked_ms >= LOOK_WAIT_MS)
            let_go(d, target);
        else if (target->look == NULL && now - target->looked_ms >= LOOK_PAUSE_MS)
            look(d, target, false);
    }
    if (!any)
        (void)uv_timer_stop(timer);
}

bool sl_driver_basis_awaits(struct sl_lease *lease)
{
    struct sl_driver *d = lease->driver;
    struct sl_driver_target *target = lease->target;
    const uint64_t age_ms = uv_now(d->loop) - target->looked_ms;
    if (lease->looking != SL_LOOKING_NOT || d->phase != SL_DRIVER_RUNNING)
        return false;
    if (target->look != NULL ? age_ms >= LOOK_WAIT_MS : blocked_by(d, target) == 0)
        return false;
    lease->looking = SL_LOOKING_AWAITED;
    if (target->look == NULL && (target->looked_ms == 0 || age_ms >= LOOK_PAUSE_MS))
        look(d, target, false);
    if (!uv_is_active((uv_handle_t *)&d->look_timer))
        (void)uv_timer_start(&d->look_timer, on_tick, LOOK_TICK_MS, LOOK_TICK_MS);
    return true;
}

void sl_driver_basis_verify(struct sl_driver *d)
{
    for (uint32_t i = 0; i < d->named_count; i++) {
        struct sl_driver_target *target = d->by_name[i];
        if (TAILQ_EMPTY(&target->conns))
            continue;
        sl_driver_basis_forget(target); /* it was begun before whatever the reload is for */
        look(d, target, true);
    }
}

void sl_driver_basis_forget(struct sl_driver_target *target)
{
    if (target->look == NULL)
        return;
    sl_basis_forget(target->look);
    target->look = NULL;
}

void sl_driver_basis_forget_all(struct sl_driver *d)
{
    for (uint32_t i = 0; i < d->target_count; i++)
        if (d->target[i] != NULL)
            sl_driver_basis_forget(d->target[i]);
}
