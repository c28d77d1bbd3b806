/* SPDX-License-Identifier: MIT */
/* EXT_INFO (`ssh -O conninfo`, `ssh -O channels`): what this client may see of its target, as text for a person. */
#include "daemon/front/mux/handlers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Lines end as ssh's own do, for they are printed as they come. What does not fit is left out. */
struct page {
    const struct sl_mux_client *client;
    size_t len;
    char text[SL_MUX_TEXT_MAX];
};

static void put(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(page->text + page->len, sizeof page->text - page->len, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof page->text - page->len)
        page->len += (size_t)n;
    page->text[page->len] = '\0'; /* no half lines */
}

static void on_target(void *arg, const struct sl_target_view *view)
{
    struct page *page = arg;
    char quoted[SL_LOG_QUOTE_SIZE];
    if (strcmp(view->name, page->client->target) != 0)
        return;
    put(page, "Connections of sshleased to target %s, at most %u:\r\n", view->name, view->max_connections);
    put(page, "  %u leased, %u idle, %u being made, %u being closed\r\n", view->leased, view->idle, view->dialing,
        view->draining + view->closing);
    put(page, "  %u waiting\r\n", view->waiters);
    if (view->failures > 0 && view->last_error != NULL && view->last_error[0] != '\0')
        put(page, "  last failure: %s\r\n", sl_log_quote(quoted, sizeof quoted, view->last_error));
}

static void on_lease(void *arg, const struct sl_lease_view *view)
{
    struct page *page = arg;
    if (strcmp(view->target, page->client->target) != 0)
        return;
    if (view->granted)
        put(page, "  lease %llu: pid %ld uid %lu, for %llu s, %u open streams\r\n", (unsigned long long)view->id,
            (long)view->pid, (unsigned long)view->uid, (unsigned long long)view->age_ms / 1000, view->streams);
    else
        put(page, "  request %llu: pid %ld uid %lu, waiting for %llu s, number %u\r\n", (unsigned long long)view->id,
            (long)view->pid, (unsigned long)view->uid, (unsigned long long)view->age_ms / 1000, view->position);
}

static bool asks(const struct sl_mux_msg *msg, const char *what)
{
    return msg->ext_info.len == strlen(what) && memcmp(msg->ext_info.data, what, msg->ext_info.len) == 0;
}

void sl_mux_on_ext_info(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    uint8_t room[SL_MUX_REPLY_MAX];
    struct page page = {.client = c};
    struct sl_writer w;
    bool known = true;
    if (asks(msg, "connection")) {
        sl_driver_each_target(c->mux->driver, &c->who, on_target, &page);
        if (page.len == 0)
            put(&page, "sshleased has no connection to target %s yet\r\n", c->target);
    } else if (asks(msg, "channels")) {
        put(&page, "Leases of target %s that you may see:\r\n", c->target);
        sl_driver_each_lease(c->mux->driver, &c->who, on_lease, &page);
    } else {
        known = false;
        put(&page, "target %s: sshleased knows nothing of this kind", c->target);
    }
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_ext_info(&w, msg->rid, known, page.text);
    sl_mux_client_send(c, &w);
}
