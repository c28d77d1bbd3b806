/* SPDX-License-Identifier: MIT */
/* The way of a dial:
 *   1. the resolver is asked in a thread that may hang; an address needs no resolver, and goes on in the loop's next
 * turn
 *   2. the next address gets a socket and a non-blocking connect(), watched by an attempt (a poll handle of its own)
 *   3. connected: the socket is handed out; failed or out of time: back to 2 with the next address
 * Each attempt frees itself in its handle's close callback; the dial frees itself when its timer and its attempts are
 * gone. A lookup is the resolver's thread's, until it is done; then the answer is the dial's. */
#include "daemon/net/dial.h"

#include "daemon/net/hang_jobs.h"
#include "proto/status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Lookups at a time, those that hang included. */
#define LOOKUPS 32u

struct sl_dialer {
    uv_loop_t *loop;
    struct sl_hang_jobs *jobs;
};

struct lookup {
    struct addrinfo *list; /* the answer; NULL once it was taken */
    int failed;            /* as getaddrinfo(3) */
    int error;             /* errno, for EAI_SYSTEM */
    char service[8];
    char host[];
};

struct attempt {
    uv_poll_t poll;
    struct sl_dial *dial;
    int fd; /* -1 once it was handed out */
};

struct sl_dial {
    struct sl_hang_job *resolving; /* NULL: it is not asked, or has answered */
    uv_timer_t timer;              /* the deadline of what is under way */
    const struct sl_dial_handler *handler;
    void *arg;             /* NULL once it is over: no callback any more */
    struct addrinfo *list; /* the resolver's answer */
    struct addrinfo *next; /* to be tried next */
    struct attempt *attempt;
    uint64_t deadline_ms;
    uint64_t user_timeout_ms;
    unsigned holders; /* requests and handles that still point here */
    int last_errno;
    char last_address[96];
};

static void try_next(struct sl_dial *dial);
static void on_timer(uv_timer_t *timer);

static void release(struct sl_dial *dial)
{
    if (--dial->holders == 0) {
        if (dial->list != NULL)
            freeaddrinfo(dial->list);
        free(dial);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_attempt_closed(uv_handle_t *handle)
{
    struct attempt *attempt = handle->data;
    struct sl_dial *dial = attempt->dial;
    if (attempt->fd >= 0)
        close(attempt->fd);
    free(attempt);
    release(dial);
}

static void drop_attempt(struct sl_dial *dial)
{
    if (dial->attempt != NULL) {
        uv_close((uv_handle_t *)&dial->attempt->poll, on_attempt_closed);
        dial->attempt = NULL;
    }
}

/* Nothing is to be reported any more. */
static void finish(struct sl_dial *dial)
{
    dial->arg = NULL;
    sl_hang_job_forget(dial->resolving);
    dial->resolving = NULL;
    drop_attempt(dial);
    if (!uv_is_closing((uv_handle_t *)&dial->timer))
        uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
}

static void fail(struct sl_dial *dial, int status, const char *text)
{
    const struct sl_dial_handler *handler = dial->handler;
    void *arg = dial->arg;
    finish(dial);
    handler->on_failed(arg, status, text);
}

const char *sl_dial_address(const struct sockaddr *sa, socklen_t len, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN + 32], port[8];
    if (getnameinfo(sa, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, size, "?");
    else if (sa->sa_family == AF_INET6)
        snprintf(out, size, "[%s]:%s", host, port);
    else
        snprintf(out, size, "%s:%s", host, port);
    return out;
}

/* Addresses still to come share what time is left, so that a black hole among them does not eat it all. */
static void arm_timer(struct sl_dial *dial)
{
    uint64_t now = uv_now(dial->timer.loop);
    uint64_t left = dial->deadline_ms > now ? dial->deadline_ms - now : 0;
    unsigned others = 0;
    for (const struct addrinfo *ai = dial->next; ai != NULL; ai = ai->ai_next)
        others++;
    uv_timer_start(&dial->timer, on_timer, left / (others + 1), 0);
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct attempt *attempt = poll->data;
    struct sl_dial *dial = attempt->dial;
    int error = 0;
    socklen_t len = sizeof error;
    /* libuv only says that there is an error; the socket says which. */
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    else if (error == 0 && status != 0)
        error = -status;
    if (error != 0) {
        dial->last_errno = error;
        drop_attempt(dial);
        try_next(dial);
        return;
    }
    int fd = attempt->fd;
    attempt->fd = -1;
    const struct sl_dial_handler *handler = dial->handler;
    void *arg = dial->arg;
    char address[sizeof dial->last_address];
    memcpy(address, dial->last_address, sizeof address);
    finish(dial);
    handler->on_connected(arg, fd, address);
}

/* 0 when a connect() to `ai` is under way. */
static int start_attempt(struct sl_dial *dial, const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int one = 1;
    unsigned user_timeout = (unsigned)dial->user_timeout_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (user_timeout > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL || uv_poll_init(dial->timer.loop, &attempt->poll, fd) != 0) {
        free(attempt);
        close(fd);
        return ENOMEM;
    }
    attempt->poll.data = attempt;
    attempt->dial = dial;
    attempt->fd = fd;
    dial->attempt = attempt;
    dial->holders++;
    uv_poll_start(&attempt->poll, UV_WRITABLE, on_writable);
    return 0;
}

/* Errors read as one says them. */
static const char *connect_error(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "connection refused";
    case EHOSTUNREACH:
        return "no route to the host";
    case ENETUNREACH:
        return "the network is unreachable";
    case ETIMEDOUT:
        return "no answer";
    default:
        return strerror(error);
    }
}

static void try_next(struct sl_dial *dial)
{
    while (dial->next != NULL) {
        const struct addrinfo *ai = dial->next;
        dial->next = ai->ai_next;
        (void)sl_dial_address(ai->ai_addr, ai->ai_addrlen, dial->last_address, sizeof dial->last_address);
        int error = start_attempt(dial, ai);
        if (error == 0) {
            arm_timer(dial);
            return;
        }
        dial->last_errno = error;
    }
    char text[192];
    bool timed_out = dial->last_errno == ETIMEDOUT;
    if (dial->list != NULL && dial->list->ai_next != NULL) {
        snprintf(text, sizeof text, "%s (tried every address, %s last)", connect_error(dial->last_errno),
            dial->last_address);
    } else {
        snprintf(text, sizeof text, "%s", connect_error(dial->last_errno));
    }
    fail(dial, timed_out ? SL_E_CONNECT_TIMEOUT : SL_E_CONNECT, text);
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_dial *dial = timer->data;
    if (dial->list == NULL) {
        fail(dial, SL_E_RESOLVE, "the resolver does not answer");
        return;
    }
    dial->last_errno = ETIMEDOUT;
    drop_attempt(dial);
    try_next(dial);
}

static void on_numeric(uv_timer_t *timer)
{
    struct sl_dial *dial = timer->data;
    dial->next = dial->list;
    dial->handler->on_resolved(dial->arg);
    try_next(dial);
}

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};

static void look_up(void *data)
{
    struct lookup *lookup = data;
    lookup->failed = getaddrinfo(lookup->host, lookup->service, &hints, &lookup->list);
    lookup->error = errno;
}

static void dispose(void *data)
{
    struct lookup *lookup = data;
    if (lookup->list != NULL)
        freeaddrinfo(lookup->list);
    free(lookup);
}

static void on_resolved(void *arg, void *data)
{
    struct sl_dial *dial = arg;
    struct lookup *lookup = data;
    dial->resolving = NULL;
    if (lookup->failed != 0 || lookup->list == NULL) {
        char text[128];
        snprintf(text, sizeof text, "the host name does not resolve (%s)",
            lookup->failed == EAI_SYSTEM ? strerror(lookup->error) : gai_strerror(lookup->failed));
        fail(dial, SL_E_RESOLVE, text);
        return;
    }
    dial->list = dial->next = lookup->list;
    lookup->list = NULL;
    dial->handler->on_resolved(dial->arg);
    try_next(dial);
}

static const struct sl_hang_kind lookup_kind = {look_up, on_resolved, dispose};

/* `arg` is the kind's. */
static int start_lookup(struct sl_dialer *dialer, const char *host, const char *service,
    const struct sl_hang_kind *kind, void *arg, uint64_t timeout_ms, struct sl_hang_job **ret_job)
{
    struct lookup *lookup = calloc(1, sizeof *lookup + strlen(host) + 1);
    if (lookup == NULL)
        return SL_E_NOMEM;
    snprintf(lookup->service, sizeof lookup->service, "%s", service);
    memcpy(lookup->host, host, strlen(host) + 1);
    int r = sl_hang_job_start(dialer->jobs, kind, sl_hang_key(host), lookup, arg, timeout_ms, ret_job);
    if (r != 0)
        dispose(lookup);
    return r;
}

int sl_dial_start(struct sl_dialer *dialer, const char *host, uint16_t port, uint64_t timeout_ms,
    uint64_t user_timeout_ms, const struct sl_dial_handler *handler, void *arg, struct sl_dial **ret_dial)
{
    struct sl_dial *dial = calloc(1, sizeof *dial);
    if (dial == NULL)
        return SL_E_NOMEM;
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    dial->handler = handler;
    dial->arg = arg;
    dial->user_timeout_ms = user_timeout_ms;
    dial->deadline_ms = uv_now(dialer->loop) + timeout_ms;
    uv_timer_init(dialer->loop, &dial->timer);
    dial->timer.data = dial;
    dial->holders = 1;
    struct addrinfo numeric = hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    int r = 0;
    if (getaddrinfo(host, service, &numeric, &dial->list) == 0) {
        /* Waiting for a thread would only let slow name servers eat its time. */
        uv_timer_start(&dial->timer, on_numeric, 0, 0);
    } else if ((r = start_lookup(dialer, host, service, &lookup_kind, dial, 0, &dial->resolving)) == 0) {
        uv_timer_start(&dial->timer, on_timer, timeout_ms, 0);
    }
    if (r != 0) {
        uv_close((uv_handle_t *)&dial->timer, on_timer_closed);
        return r;
    }
    *ret_dial = dial;
    return 0;
}

void sl_dial_cancel(struct sl_dial *dial)
{
    if (dial != NULL)
        finish(dial);
}

int sl_dialer_new(uv_loop_t *loop, struct sl_dialer **ret_dialer)
{
    struct sl_dialer *dialer = calloc(1, sizeof *dialer);
    if (dialer == NULL)
        return SL_E_NOMEM;
    dialer->loop = loop;
    int r = sl_hang_jobs_new(loop, LOOKUPS, &dialer->jobs);
    if (r != 0) {
        free(dialer);
        return r;
    }
    *ret_dialer = dialer;
    return 0;
}

void sl_dialer_free(struct sl_dialer *dialer)
{
    if (dialer != NULL) {
        sl_hang_jobs_free(dialer->jobs);
        free(dialer);
    }
}

int sl_dial_unix(const char *path, char *error, size_t error_size, int *ret_fd)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path) {
        snprintf(error, error_size, "%s: longer than the path of a Unix socket can be", path);
        return SL_E_CONNECT;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        /* EAGAIN: whoever listens has too many waiting already. */
        snprintf(error, error_size, "%s: %s", path, errno == EAGAIN ? "nobody accepts there" : strerror(errno));
        if (fd >= 0)
            close(fd);
        return SL_E_CONNECT;
    }
    *ret_fd = fd;
    return 0;
}

/* --- looking up only --- */

struct sl_dial_lookup {
    struct sl_hang_job *job;
    sl_dial_found_fn fn;
    void *arg;
};

static char *addresses_of(const struct addrinfo *list)
{
    char *text = NULL, address[SL_DIAL_ADDRESS_SIZE];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (const struct addrinfo *ai = list; out != NULL && ai != NULL; ai = ai->ai_next)
        (void)fprintf(out, "%s\n", sl_dial_address(ai->ai_addr, ai->ai_addrlen, address, sizeof address));
    if (out == NULL || fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* `data` is NULL where the resolver did not answer in time. */
static void on_found(void *arg, void *data)
{
    struct sl_dial_lookup *l = arg;
    const struct lookup *lookup = data;
    l->fn(l->arg, lookup != NULL && lookup->list != NULL ? addresses_of(lookup->list) : NULL);
    free(l);
}

static const struct sl_hang_kind found_kind = {look_up, on_found, dispose};

int sl_dial_look_up(struct sl_dialer *dialer, const char *host, uint16_t port, uint64_t timeout_ms, sl_dial_found_fn fn,
    void *arg, struct sl_dial_lookup **ret_lookup)
{
    struct sl_dial_lookup *l = calloc(1, sizeof *l);
    char service[8];
    if (l == NULL)
        return SL_E_NOMEM;
    l->fn = fn;
    l->arg = arg;
    snprintf(service, sizeof service, "%u", (unsigned)port);
    int r = start_lookup(dialer, host, service, &found_kind, l, timeout_ms, &l->job);
    if (r != 0) {
        free(l);
        return r;
    }
    *ret_lookup = l;
    return 0;
}

void sl_dial_lookup_cancel(struct sl_dial_lookup *lookup)
{
    if (lookup != NULL) {
        sl_hang_job_forget(lookup->job);
        free(lookup);
    }
}
