/* SPDX-License-Identifier: MIT */
/* A socket to ssh-agent: connects, sends one request, collects its answer, and says what went wrong. */
#include "daemon/ssh/keys/agent.h"

#include "base/buf.h"
#include "base/container.h"
#include "base/state.h"
#include "daemon/ssh/keys/agent_codec.h"
#include "daemon/ssh/keys/file.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct sl_agent {
    uv_pipe_t pipe;
    uv_connect_t connect;
    enum sl_agent_state state;
    char error[128];
    int shortage;
    struct sl_buf in;
    sl_agent_fn fn; /* NULL: nobody is interested any more */
    void *arg;
};

struct message {
    uv_write_t req;
    struct sl_agent *agent;
    uint8_t data[];
};

static const struct sl_state states[] = {
    [SL_AGENT_CONNECTING] = {"connecting", SL_TO(SL_AGENT_IDLE) | SL_TO(SL_AGENT_FAILED)},
    [SL_AGENT_IDLE] = {"idle", SL_TO(SL_AGENT_BUSY) | SL_TO(SL_AGENT_FAILED)},
    [SL_AGENT_BUSY] = {"busy", SL_TO(SL_AGENT_IDLE) | SL_TO(SL_AGENT_FAILED)},
    [SL_AGENT_FAILED] = {"failed", 0},
};

static void move(struct sl_agent *agent, enum sl_agent_state to)
{
    SL_MOVE(states, agent->state, to);
}

static void fail(struct sl_agent *agent, const char *what)
{
    move(agent, SL_AGENT_FAILED);
    snprintf(agent->error, sizeof agent->error, "%s", what);
    if (agent->fn != NULL)
        agent->fn(agent->arg);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct sl_agent *agent = handle->data;
    size_t len = suggested < 4096 ? suggested : 4096;
    uint8_t *room = sl_buf_reserve(&agent->in, len);
    *buf = uv_buf_init((char *)room, room != NULL ? (unsigned)len : 0);
}

static uint32_t announced(const struct sl_agent *agent)
{
    const uint8_t *p = sl_buf_data(&agent->in);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct sl_agent *agent = stream->data;
    if (agent->state == SL_AGENT_FAILED || n == 0)
        return;
    if (n < 0) {
        fail(agent, n == UV_EOF ? "the agent closed the connection" : uv_strerror((int)n));
        return;
    }
    sl_buf_commit(&agent->in, (size_t)n);
    if (agent->in.len < 4)
        return;
    uint32_t len = announced(agent);
    if (len == 0 || len > SL_AGENT_MESSAGE_MAX || agent->in.len > 4 + (size_t)len || agent->state != SL_AGENT_BUSY) {
        fail(agent, "the agent's answer makes no sense");
    } else if (agent->in.len == 4 + (size_t)len) {
        move(agent, SL_AGENT_IDLE);
        if (agent->fn != NULL)
            agent->fn(agent->arg);
    }
}

static void on_connect(uv_connect_t *req, int status)
{
    struct sl_agent *agent = req->data;
    if (status == UV_ECANCELED)
        return;
    if (status != 0) {
        /* EAGAIN: its queue of connections is full. */
        agent->shortage = status == UV_EAGAIN ? SL_E_LIMIT : sl_file_shortage(-status);
        fail(agent, uv_strerror(status));
        return;
    }
    move(agent, SL_AGENT_IDLE);
    if (uv_read_start((uv_stream_t *)&agent->pipe, on_alloc, on_read) != 0)
        fail(agent, "cannot read from it");
    else if (agent->fn != NULL)
        agent->fn(agent->arg);
}

int sl_agent_open(uv_loop_t *loop, const char *path, sl_agent_fn fn, void *arg, struct sl_agent **ret_agent)
{
    struct sl_agent *agent = calloc(1, sizeof *agent);
    if (agent == NULL)
        return SL_E_NOMEM;
    agent->fn = fn;
    agent->arg = arg;
    sl_buf_init(&agent->in, SL_AGENT_MESSAGE_MAX + 4 + 4096);
    uv_pipe_init(loop, &agent->pipe, 0);
    agent->pipe.data = agent;
    agent->connect.data = agent;
    /* libuv would cut a longer path and connect to whatever is there. */
    if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
        move(agent, SL_AGENT_FAILED);
        snprintf(agent->error, sizeof agent->error, "the socket's path is too long");
    } else {
        uv_pipe_connect(&agent->connect, &agent->pipe, path, on_connect);
    }
    *ret_agent = agent;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct sl_agent *agent = handle->data;
    sl_buf_fini(&agent->in);
    free(agent);
}

void sl_agent_close(struct sl_agent *agent)
{
    if (agent != NULL) {
        agent->fn = NULL;
        if (agent->state != SL_AGENT_FAILED)
            move(agent, SL_AGENT_FAILED);
        uv_close((uv_handle_t *)&agent->pipe, on_closed);
    }
}

enum sl_agent_state sl_agent_state(const struct sl_agent *agent)
{
    return agent->state;
}

const char *sl_agent_error(const struct sl_agent *agent)
{
    return agent->error;
}

int sl_agent_shortage(const struct sl_agent *agent)
{
    return agent->shortage;
}

static void on_written(uv_write_t *req, int status)
{
    struct message *message = SL_CONTAINER(req, struct message, req);
    /* The write comes back cancelled, before the handle's close callback, when the agent was closed. */
    if (status < 0 && status != UV_ECANCELED && message->agent->state != SL_AGENT_FAILED)
        fail(message->agent, uv_strerror(status));
    free(message);
}

void sl_agent_ask(struct sl_agent *agent, const uint8_t *data, size_t len)
{
    sl_buf_drop(&agent->in, agent->in.len);
    struct message *message = malloc(sizeof *message + len);
    if (message == NULL) {
        fail(agent, "out of memory");
        return;
    }
    message->agent = agent;
    memcpy(message->data, data, len);
    uv_buf_t buf = uv_buf_init((char *)message->data, (unsigned)len);
    move(agent, SL_AGENT_BUSY);
    int r = uv_write(&message->req, (uv_stream_t *)&agent->pipe, &buf, 1, on_written);
    if (r != 0) {
        free(message);
        fail(agent, uv_strerror(r));
    }
}

struct sl_bytes sl_agent_answer(const struct sl_agent *agent)
{
    return agent->in.len > 4 ? (struct sl_bytes){sl_buf_data(&agent->in) + 4, agent->in.len - 4}
                             : (struct sl_bytes){NULL, 0};
}
