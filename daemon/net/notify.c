/* SPDX-License-Identifier: MIT */
/* systemd's messages: readiness and stopping at once, the status line at most now and then, the watchdog by a timer. */
#include "daemon/net/notify.h"

#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if SSHLEASE_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define STATUS_PAUSE_MS 1000u
#define STATUS_SIZE     256u

struct sl_notify {
    uv_timer_t watchdog;
    uv_timer_t pause; /* active: a status was sent less than a second ago */
    unsigned handles; /* not yet closed */
    char sent[STATUS_SIZE], next[STATUS_SIZE];
};

static void tell(const char *state)
{
#if SSHLEASE_HAVE_SYSTEMD
    (void)sd_notify(0, state);
#else
    (void)state;
#endif
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    tell("WATCHDOG=1");
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_notify *n = handle->data;
    if (--n->handles == 0)
        free(n);
}

int sl_notify_new(uv_loop_t *loop, struct sl_notify **ret_notify)
{
    struct sl_notify *n = calloc(1, sizeof *n);
    uint64_t watchdog_usec = 0;
    if (n == NULL)
        return SL_E_NOMEM;
    n->watchdog.data = n;
    n->pause.data = n;
    (void)uv_timer_init(loop, &n->watchdog);
    (void)uv_timer_init(loop, &n->pause);
    n->handles = 2;
#if SSHLEASE_HAVE_SYSTEMD
    if (sd_watchdog_enabled(0, &watchdog_usec) <= 0)
        watchdog_usec = 0;
#endif
    if (watchdog_usec > 0) {
        uint64_t third_ms = watchdog_usec / 3000;
        if (third_ms == 0)
            third_ms = 1;
        (void)uv_timer_start(&n->watchdog, on_watchdog, third_ms, third_ms);
    }
    *ret_notify = n;
    return 0;
}

void sl_notify_free(struct sl_notify *n)
{
    if (n == NULL || uv_is_closing((uv_handle_t *)&n->watchdog))
        return;
    uv_close((uv_handle_t *)&n->watchdog, on_handle_closed);
    uv_close((uv_handle_t *)&n->pause, on_handle_closed);
}

void sl_notify_ready(void)
{
    tell("READY=1");
}

void sl_notify_reloading(void)
{
    struct timespec now;
    char text[96];
    /* sd_notify(3): Type=notify-reload wants to know since when, on the clock it keeps itself. */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
        (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u);
    tell(text);
}

void sl_notify_stopping(void)
{
    tell("STOPPING=1");
}

static void on_paused(uv_timer_t *timer);

static void send_status(struct sl_notify *n)
{
    char text[STATUS_SIZE + 8];
    if (strcmp(n->sent, n->next) == 0)
        return;
    memcpy(n->sent, n->next, sizeof n->sent);
    snprintf(text, sizeof text, "STATUS=%s", n->sent);
    tell(text);
    (void)uv_timer_start(&n->pause, on_paused, STATUS_PAUSE_MS, 0);
}

static void on_paused(uv_timer_t *timer)
{
    send_status(timer->data);
}

void sl_notify_status(struct sl_notify *n, const char *text)
{
    snprintf(n->next, sizeof n->next, "%s", text);
    if (!uv_is_active((uv_handle_t *)&n->pause))
        send_status(n);
}

bool sl_notify_is_service(void)
{
    /* systemd.exec(5): of the process itself. What it starts inherits the variable, and is not meant. */
    const char *text = getenv("SYSTEMD_EXEC_PID");
    char *end;
    return text != NULL && text[0] != '\0' && strtol(text, &end, 10) == (long)getpid() && *end == '\0';
}

int sl_notify_listen_fd(int *ret_fd)
{
    int count = 0;
    *ret_fd = -1;
#if SSHLEASE_HAVE_SYSTEMD
    count = sd_listen_fds(1);
    if (count == 1)
        *ret_fd = SD_LISTEN_FDS_START;
#endif
    return count > 1 ? SL_E_INVALID : 0;
}
