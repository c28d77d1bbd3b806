/* SPDX-License-Identifier: MIT */
/* Targets, connections and streams for tests, each callback kept, each wait bounded. */
#include "tests/unit/ssh/rig.h"

#include "config/build.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rig_start(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    sl_log_init(&rig->log, getenv("RIG_DEBUG") != NULL ? SL_LOG_DEBUG : SL_LOG_ERROR);
    assert_int_equal(sl_transport_new(&rig->loop, &rig->log, &rig->transport), 0);
    rig->compat = sl_compat_new();
    assert_non_null(rig->compat);
}

void rig_stop(struct rig *rig)
{
    sl_transport_free(rig->transport);
    sl_compat_free(rig->compat);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
}

static void on_timeout(uv_timer_t *timer)
{
    unsigned *late = timer->data;
    *late = 1;
}

bool rig_wait(struct rig *rig, const unsigned *counter, unsigned ms)
{
    uv_timer_t timer;
    unsigned late = 0;
    uv_update_time(&rig->loop);
    uv_timer_init(&rig->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_timeout, ms, 0);
    while (*counter == 0 && late == 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
    bool done = *counter != 0;
    uv_close((uv_handle_t *)&timer, NULL);
    while (uv_is_closing((uv_handle_t *)&timer) && uv_loop_alive(&rig->loop)) {
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        if (!uv_is_active((uv_handle_t *)&timer))
            break;
    }
    return done;
}

void rig_run_ms(struct rig *rig, unsigned ms)
{
    static const unsigned never = 0;
    (void)rig_wait(rig, &never, ms);
}

/* --- targets --- */

static char *copy(const char *text)
{
    char *made = strdup(text);
    assert_non_null(made);
    return made;
}

void rig_clear_identities(struct sl_target_conf *target)
{
    sl_identities_free(target->identity, target->identity_count);
    target->identity = NULL;
    target->identity_count = 0;
}

void rig_add_identity(struct sl_target_conf *target, const char *file)
{
    target->identity = realloc(target->identity, (target->identity_count + 1) * sizeof *target->identity);
    assert_non_null(target->identity);
    target->identity[target->identity_count++] = (struct sl_identity){.file = copy(file)};
}

struct sl_target_conf *rig_target(const struct test_sshd *sshd)
{
    struct sl_target_conf *target;
    assert_int_equal(sl_target_conf_new(&target), 0);
    target->name = copy("test");
    target->host = copy("127.0.0.1");
    target->port = sshd->port;
    target->user = copy(sshd->user != NULL ? sshd->user : "nobody");
    rig_clear_identities(target);
    if (sshd->key[0] != '\0')
        rig_add_identity(target, sshd->key);
    target->identity_agent_set = false;
    sl_strv_fini(&target->known_hosts);
    if (sshd->known_hosts[0] != '\0')
        assert_int_equal(sl_strv_add(&target->known_hosts, sshd->known_hosts), 0);
    sl_strv_fini(&target->send_env);
    assert_int_equal(sl_strv_add(&target->send_env, "LANG"), 0);
    assert_int_equal(sl_strv_add(&target->send_env, "LC_*"), 0);
    return target;
}

/* --- connections --- */

static void on_ready(void *arg)
{
    struct rig_conn *conn = arg;
    conn->ready++;
    assert_int_equal(sl_tenant_begin(conn->conn, &conn->tenant), 0);
}

void rig_lease(struct rig_conn *conn)
{
    assert_true(sl_tenant_is_clean(conn->tenant));
    sl_tenant_end(conn->tenant);
    assert_int_equal(sl_tenant_begin(conn->conn, &conn->tenant), 0);
}

static void on_lost(void *arg, int status, const char *text)
{
    struct rig_conn *conn = arg;
    conn->lost++;
    conn->status = status;
    snprintf(conn->text, sizeof conn->text, "%s", text);
}

static void on_answered(void *arg)
{
    ((struct rig_conn *)arg)->answered++;
}

static void on_pong(void *arg)
{
    ((struct rig_conn *)arg)->pongs++;
}

static void on_drained(void *arg, struct sl_tenant *tenant, const struct sl_drain_report *report)
{
    struct rig_conn *conn = arg;
    if (tenant == conn->tenant)
        conn->tenant = NULL;
    conn->drained++;
    conn->report = *report;
    snprintf(conn->report_text, sizeof conn->report_text, "%s", report->text != NULL ? report->text : "");
    conn->report.text = conn->report_text;
}

static void on_crowded(void *arg, struct sl_tenant *tenant)
{
    struct rig_conn *conn = arg;
    conn->crowded++;
    conn->crowded_tenant = tenant;
}

static void on_closed(void *arg)
{
    struct rig_conn *conn = arg;
    conn->closed++;
    conn->conn = NULL;
}

static const struct sl_conn_handler conn_handler = {
    .on_ready = on_ready,
    .on_lost = on_lost,
    .on_answered = on_answered,
    .on_pong = on_pong,
    .on_drained = on_drained,
    .on_closed = on_closed,
    .on_crowded = on_crowded,
};

void rig_dial(struct rig *rig, struct rig_conn *conn, struct sl_target_conf *target)
{
    memset(conn, 0, sizeof *conn);
    conn->rig = rig;
    uv_update_time(&rig->loop);
    assert_int_equal(sl_conn_open(rig->transport, target, rig->compat, &conn_handler, conn, &conn->conn), 0);
}

bool rig_connect(struct rig *rig, struct rig_conn *conn, struct sl_target_conf *target)
{
    rig_dial(rig, conn, target);
    for (int i = 0; i < 4000 && conn->ready == 0 && conn->lost == 0; i++)
        (void)rig_wait(rig, &conn->ready, 10);
    if (conn->ready == 0 && conn->lost == 0)
        fail_msg("neither ready nor lost within 40 s");
    return conn->ready != 0;
}

void rig_close(struct rig_conn *conn)
{
    if (conn->closed == 0) {
        sl_conn_close(conn->conn);
        assert_int_equal(conn->closed, 0);
        assert_true(rig_wait(conn->rig, &conn->closed, 5000));
    }
    assert_int_equal(conn->closed, 1);
}

/* --- streams --- */

static void on_open(void *arg, int status, const char *text)
{
    struct rig_stream *stream = arg;
    stream->opened++;
    stream->open_status = status;
    snprintf(stream->open_text, sizeof stream->open_text, "%s", text);
}

static void on_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    struct rig_stream *stream = arg;
    assert_true(fd == 0 || fd == 1);
    if (stream->out_len[fd] + len + 1 > stream->out_cap[fd]) {
        stream->out_cap[fd] = (stream->out_len[fd] + len + 1) * 2;
        stream->out[fd] = realloc(stream->out[fd], stream->out_cap[fd]);
        assert_non_null(stream->out[fd]);
    }
    memcpy(stream->out[fd] + stream->out_len[fd], data, len);
    stream->out_len[fd] += len;
    stream->out[fd][stream->out_len[fd]] = '\0';
    if (stream->credit == RIG_CREDIT_ALWAYS)
        sl_stream_credit(stream->stream, len);
}

static void on_eof(void *arg)
{
    ((struct rig_stream *)arg)->eof++;
}

static void on_sent(void *arg, size_t len)
{
    ((struct rig_stream *)arg)->sent += len;
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    struct rig_stream *stream = arg;
    stream->ended++;
    stream->how = (int)result->how;
    stream->exit_status = result->exit_status;
    snprintf(stream->signal, sizeof stream->signal, "%s", result->signal != NULL ? result->signal : "");
    snprintf(stream->text, sizeof stream->text, "%s", result->text != NULL ? result->text : "(null)");
    stream->stream = NULL;
}

static void on_exit_known(void *arg, const struct sl_stream_result *result)
{
    struct rig_stream *stream = arg;
    stream->exited++;
    stream->exit_how = (int)result->how;
    stream->exit_code = result->exit_status;
    snprintf(stream->signal, sizeof stream->signal, "%s", result->signal != NULL ? result->signal : "");
}

static const struct sl_stream_handler stream_handler = {on_open, on_data, on_eof, on_sent, on_exit_known, on_end};

const struct sl_stream_handler *rig_stream_handler(void)
{
    return &stream_handler;
}

int rig_open_spec(struct rig_conn *conn, struct rig_stream *stream, const struct sl_stream_spec *spec)
{
    memset(stream, 0, sizeof *stream);
    stream->rig = conn->rig;
    return sl_stream_open(conn->tenant, spec, &stream_handler, stream, &stream->stream);
}

int rig_exec(struct rig_conn *conn, struct rig_stream *stream, const char *command)
{
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = command, .credit = 65536};
    return rig_open_spec(conn, stream, &spec);
}

void rig_run(struct rig_conn *conn, struct rig_stream *stream, const char *command)
{
    assert_int_equal(rig_exec(conn, stream, command), 0);
    sl_stream_eof(stream->stream);
    assert_true(rig_wait(conn->rig, &stream->ended, 20000));
}

void rig_stream_fini(struct rig_stream *stream)
{
    free(stream->out[0]);
    free(stream->out[1]);
    stream->out[0] = stream->out[1] = NULL;
}

const char *rig_out(struct rig_stream *stream)
{
    return stream->out[0] != NULL ? (const char *)stream->out[0] : "";
}

bool rig_wait_out(struct rig_stream *stream, const char *text, unsigned ms)
{
    uv_update_time(&stream->rig->loop);
    uint64_t until = uv_now(&stream->rig->loop) + ms;
    while (strstr(rig_out(stream), text) == NULL) {
        static const unsigned never = 0;
        if (stream->ended != 0 || uv_now(&stream->rig->loop) >= until)
            return strstr(rig_out(stream), text) != NULL;
        (void)rig_wait(stream->rig, &never, 5);
    }
    return true;
}
