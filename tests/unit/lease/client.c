/* SPDX-License-Identifier: MIT */
/* Keeps each callback of a lease and of its stream as a word. */
#include "tests/unit/lease/client.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

void client_say(struct client *c, const char *word)
{
    size_t len = strlen(c->said);
    snprintf(c->said + len, sizeof c->said - len, "%s%s", len > 0 ? " " : "", word);
}

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    struct client *c = arg;
    (void)waited_ms;
    assert_true(position > 0);
    snprintf(c->text, sizeof c->text, "%s", reason);
    client_say(c, "waiting");
}

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    struct client *c = arg;
    c->id = grant->id;
    client_say(c, "granted");
}

static void on_refused(void *arg, int status, const char *text)
{
    struct client *c = arg;
    c->status = status;
    snprintf(c->text, sizeof c->text, "%s", text);
    c->lease = NULL;
    client_say(c, "refused");
}

static void on_renewed(void *arg, uint32_t left_ms)
{
    assert_true(left_ms > 0);
    client_say(arg, "renewed");
}

static void on_released(void *arg)
{
    struct client *c = arg;
    c->lease = NULL;
    client_say(c, "released");
}

static void on_ended(void *arg, int status, const char *text)
{
    struct client *c = arg;
    c->status = status;
    snprintf(c->text, sizeof c->text, "%s", text);
    c->lease = NULL;
    client_say(c, "ended");
}

static const struct sl_lease_handler lease_handler = {
    on_waiting, on_granted, on_refused, on_renewed, on_released, on_ended};

static void on_open(void *arg, int status, const char *text)
{
    (void)text;
    client_say(arg, status == 0 ? "open" : "not-open");
}

static void on_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    struct client *c = arg;
    (void)fd;
    (void)data;
    c->data += (unsigned)len;
}

static void on_eof(void *arg)
{
    (void)arg;
}

static void on_sent(void *arg, size_t len)
{
    (void)arg;
    (void)len;
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    struct client *c = arg;
    c->ends++;
    client_say(c, result->how == SL_RESULT_STATUS ? "exit" : result->how == SL_RESULT_SIGNAL ? "signal" : "unknown");
}

const struct sl_stream_handler client_stream_handler = {on_open, on_data, on_eof, on_sent, NULL, on_end};

void client_acquire_as(struct client *c, struct sl_world *w, const char *target, uid_t uid, uint64_t wait_ms)
{
    const gid_t gid = 100;
    const struct sl_who who = {.pid = 4711, .uid = uid, .gid = &gid, .gid_count = 1};
    const struct sl_lease_wish wish = {
        .target = target, .who = &who, .label = "a \"label\"", .acquire_timeout_ms = wait_ms};
    *c = (struct client){.world = w};
    assert_int_equal(sl_lease_acquire(w->driver, &wish, &lease_handler, c, &c->lease), 0);
    assert_string_equal(c->said, ""); /* no callback before it has returned */
}

void client_acquire(struct client *c, struct sl_world *w, const char *target)
{
    client_acquire_as(c, w, target, 0, 0);
}

struct sl_stream *client_run(struct client *c, const char *command)
{
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = command, .credit = 100000};
    struct sl_stream *stream = NULL;
    assert_int_equal(sl_lease_stream_open(c->lease, &spec, &client_stream_handler, c, &stream), 0);
    return stream;
}
