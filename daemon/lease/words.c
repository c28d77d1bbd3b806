/* SPDX-License-Identifier: MIT */
/* Sentences for people: why a lease waits, was refused, or has ended. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <stdio.h>

/* "2 s", "250 ms", "10 min". */
static const char *duration(char *buf, size_t size, uint64_t ms)
{
    if (ms < 1000)
        snprintf(buf, size, "%llu ms", (unsigned long long)ms);
    else if (ms < 120000)
        snprintf(buf, size, "%llu s", (unsigned long long)(ms + 500) / 1000);
    else
        snprintf(buf, size, "%llu min", (unsigned long long)(ms + 30000) / 60000);
    return buf;
}

/* How long its client waits for a connection. */
static const char *wait_of(const struct sl_lease *lease, char *buf, size_t size)
{
    return duration(buf, size,
        lease->acquire_timeout_ms != 0 ? lease->acquire_timeout_ms : lease->target->conf->policy.acquire_timeout_ms);
}

/* What has a target tried again that is held back for long: who may not use it is told who may. */
static const char *remedy(const struct sl_lease *lease, char *buf, size_t size)
{
    snprintf(buf, size, "or after%s: sshlease reconnect %s",
        sl_conf_is_admin(lease->driver->conf, &lease->who) ? "" : " an administrator's", lease->target->conf->name);
    return buf;
}

/* What the last dial said, and when the next is due: "10.0.0.5:22: connection refused; next try in 2 s". */
static void last_dial(const struct sl_lease *lease, int status, char *buf, size_t size)
{
    const struct sl_driver *d = lease->driver;
    const struct sl_driver_target *target = lease->target;
    const char *error = target->last_error != NULL ? target->last_error : sl_status_text(status);
    struct sl_pool_target_info info;
    uint64_t now = uv_now(d->loop);
    char when[32], how[320];
    if (!sl_pool_target_info(d->pool, target->index, &info))
        info.retry_at_ms = 0;
    uint64_t retry_at_ms = sl_driver_basis_retry_ms(d, target, status, info.retry_at_ms);
    if (retry_at_ms == UINT64_MAX)
        snprintf(buf, size, "%s; tried again when known_hosts says something else, %s", error,
            remedy(lease, how, sizeof how));
    else if (retry_at_ms > now && (status == SL_E_AUTH_FAILED || status == SL_E_NO_ALGORITHM))
        snprintf(buf, size, "%s; next try in %s, %s", error, duration(when, sizeof when, retry_at_ms - now),
            remedy(lease, how, sizeof how));
    else if (retry_at_ms > now)
        snprintf(buf, size, "%s; next try in %s", error, duration(when, sizeof when, retry_at_ms - now));
    else
        snprintf(buf, size, "%s", error);
}

/* No connection is there that could become free: the first is being made. */
static bool is_only_dialing(const struct sl_lease *lease)
{
    struct sl_pool_target_info info;
    return sl_pool_target_info(lease->driver->pool, lease->target->index, &info) && info.counts.dialing > 0 &&
           info.counts.idle + info.counts.leased + info.counts.draining == 0;
}

const char *sl_driver_stopping_text(const struct sl_driver *d, char *buf, size_t size)
{
    unsigned left = 0;
    for (uint32_t i = 0; i < d->lease_slot_count; i++)
        if (d->lease_slot[i].lease != NULL && d->lease_slot[i].lease->phase == SL_LEASE_PHASE_HELD)
            left++;
    snprintf(buf, size, "sshleased is shutting down, %u lease%s left; nothing was sent", left, left == 1 ? "" : "s");
    return buf;
}

void sl_driver_refusal(const struct sl_lease *lease, enum sl_reason reason, int status, char *buf, size_t size)
{
    const struct sl_target_conf *conf = lease->target->conf;
    char dial[SL_REFUSAL_SIZE - 256], time[32];
    switch (reason) {
    case SL_REASON_NO_TARGET:
    case SL_REASON_NOT_ALLOWED:
        sl_driver_door_says(lease->driver, status, lease->name, &lease->who, buf, size);
        break;
    case SL_REASON_TARGET_DOWN:
        last_dial(lease, status, dial, sizeof dial);
        snprintf(buf, size, "target %s: %s", conf->name, dial);
        break;
    case SL_REASON_QUEUE_FULL:
        if (status == SL_E_QUEUE_FULL)
            snprintf(buf, size, "target %s: %u are waiting already (waiters)", conf->name, conf->policy.waiters);
        else
            snprintf(buf, size, "target %s: %s", conf->name, sl_status_text(status));
        break;
    case SL_REASON_TIMEOUT:
        (void)wait_of(lease, time, sizeof time);
        if (status == SL_E_TIMEOUT && is_only_dialing(lease)) {
            snprintf(buf, size, "target %s: no connection within %s: still connecting to %s port %u", conf->name, time,
                conf->host, (unsigned)conf->port);
        } else if (status == SL_E_TIMEOUT) {
            snprintf(buf, size, "target %s: no connection became free within %s", conf->name, time);
        } else {
            last_dial(lease, status, dial, sizeof dial);
            snprintf(buf, size, "target %s: no connection within %s: %s", conf->name, time, dial);
        }
        break;
    case SL_REASON_SHUTDOWN:
        snprintf(buf, size, "target %s: %s", conf->name, sl_driver_stopping_text(lease->driver, dial, sizeof dial));
        break;
    default:
        snprintf(buf, size, "target %s: %s", conf->name, sl_status_text(status));
        break;
    }
}

void sl_driver_waiting(const struct sl_lease *lease, int status, char *buf, size_t size)
{
    const struct sl_target_conf *conf = lease->target->conf;
    struct sl_pool_target_info info;
    char dial[SL_REFUSAL_SIZE - 256];
    if (status != 0) {
        last_dial(lease, status, dial, sizeof dial);
        snprintf(buf, size, "target %s: %s", conf->name, dial);
    } else if (!sl_pool_target_info(lease->driver->pool, lease->target->index, &info)) {
        snprintf(buf, size, "target %s", conf->name);
    } else {
        snprintf(buf, size, "target %s: of at most %u connections %u are leased, %u being closed, %u being made",
            conf->name, conf->policy.max_connections, info.counts.leased, info.counts.draining + info.counts.closing,
            info.counts.dialing);
    }
}

void sl_driver_ending(const struct sl_lease *lease, enum sl_reason reason, int status, char *buf, size_t size)
{
    const struct sl_driver_conn *conn = lease->conn;
    char dial[SL_REFUSAL_SIZE - 256], time[32];
    if (reason == SL_REASON_NOT_ALLOWED) {
        snprintf(buf, size,
            "no longer allowed: the configuration does not let you lease %s any more, and lease %llu of it has ended",
            lease->target->conf->name, (unsigned long long)lease->number);
        return;
    }
    if (reason == SL_REASON_TIMEOUT && status != SL_E_TIMEOUT) {
        last_dial(lease, status, dial, sizeof dial);
        snprintf(buf, size, "lease %llu of %s: its connection was over, and there was no other within %s: %s",
            (unsigned long long)lease->number, lease->target->conf->name, wait_of(lease, time, sizeof time), dial);
        return;
    }
    if (reason == SL_REASON_TIMEOUT) {
        snprintf(buf, size,
            "lease %llu of %s: the server opens no session for it on the connection it shared, and within %s no other "
            "connection had room: %s",
            (unsigned long long)lease->number, lease->target->conf->name, wait_of(lease, time, sizeof time),
            sl_status_text(status));
        return;
    }

    snprintf(buf, size, "lease %llu of %s: %s%s%s", (unsigned long long)lease->number, lease->target->conf->name,
        sl_status_text(status), conn != NULL && conn->lost_text != NULL ? ": " : "",
        conn != NULL && conn->lost_text != NULL ? conn->lost_text : "");
}
