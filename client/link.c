/* The socket to the daemon.
 *  1. sshlease_open() connects and queues HELLO
 *  2. public calls queue messages and turn the loop: flush, wait, fill, take each whole frame
 *  3. WELCOME makes the link READY; a message goes to the module that owns its type, an answer to whom its request id
 * belongs It ends (sl_link_end()) by the daemon's closing, by an ERROR about no request, by a violation, or for want of
 * memory; whoever waits for something is told, and the handle answers the same status from then on.
 */
#include "client/handle.h"

#include "proto/status.h"
#include "sshlease_version.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IN_FIRST  65536u
#define OUT_FIRST 4096u

int64_t sl_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t sl_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? SL_NEVER : sl_now_ms() + timeout_ms;
}

int sl_fail(struct sshlease *lease, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = false;
    return status;
}

int sl_refuse(struct sshlease *lease, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = true;
    return status;
}

char *sl_text_dup(struct sl_bytes text, int status)
{
    char *copy;

    if (text.len == 0)
        return strdup(sl_status_text(status));
    copy = malloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    /* Parts of it may come from the server; a terminal must not obey them. Only a configuration has several errors. */
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)copy[i] < ' ' && (copy[i] != '\n' || status != SL_E_CONFIG)) || copy[i] == 127)
            copy[i] = copy[i] == '\n' ? ' ' : '?';
    while (text.len > 0 && (copy[text.len - 1] == '\n' || copy[text.len - 1] == ' '))
        copy[--text.len] = '\0';
    return copy;
}

int sl_status_of(uint32_t code)
{
    return code == 0 || code > 255 ? SL_E_PROTOCOL : -(int)code;
}

int sl_link_check_fork(struct sshlease *lease)
{
    if (lease->owner != getpid())
        return sl_refuse(
            lease, SL_E_FORKED, "the lease belongs to process %ld, which forked this one", (long)lease->owner);
    return 0;
}

int sl_link_check(struct sshlease *lease)
{
    int status = sl_link_check_fork(lease);

    if (status == 0 && lease->link.state == SL_LINK_ENDED)
        status = lease->link.ended_status; /* the error text is still the one that says why */
    return status;
}

int sl_link_end(struct sshlease *lease, int status, const char *format, ...)
{
    struct sl_link *link = &lease->link;
    va_list args;

    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = lease->held.state != SL_HELD_GRANTED; /* without a lease no command was sent */
    link->state = SL_LINK_ENDED;
    link->ended_status = status;
    link->in_at = link->in_end = link->out_at = link->out_end = 0;
    /* The daemon takes the lease back now, even if the caller keeps the handle for long. */
    if (link->fd >= 0)
        shutdown(link->fd, SHUT_RDWR);
    sl_streams_on_lease_end(lease, status, lease->error);
    sl_held_on_link_end(lease, status, lease->error);
    sl_asked_on_link_end(lease, status);
    return status;
}

int sl_link_out_of_memory(struct sshlease *lease)
{
    return sl_link_end(lease, SL_E_NOMEM, "out of memory");
}

uint32_t sl_link_next_rid(struct sshlease *lease)
{
    uint32_t rid = lease->link.next_rid++;

    if (lease->link.next_rid == 0) /* 0 means "no request" */
        lease->link.next_rid = 1;
    return rid;
}

/* Makes room for `need` bytes at the end of a buffer whose content is [*at, *end). False: out of memory. */
static bool make_room(uint8_t **data, size_t *at, size_t *end, size_t *cap, size_t need)
{
    if (*at == *end)
        *at = *end = 0;
    if (need <= *cap - *end)
        return true;
    if (*at >= *end - *at) { /* never moves more than was taken out, so that moving costs what sending did */
        memmove(*data, *data + *at, *end - *at);
        *end -= *at;
        *at = 0;
    }
    size_t wanted = *cap;
    while (wanted - *end < need)
        wanted *= 2;
    if (wanted > *cap) {
        uint8_t *grown = realloc(*data, wanted);
        if (grown == NULL)
            return false;
        *data = grown;
        *cap = wanted;
    }
    return true;
}

int sl_link_queue(struct sshlease *lease, const struct sl_msg *msg)
{
    struct sl_link *link = &lease->link;
    size_t size = sl_msg_size(msg);
    struct sl_writer w;

    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    if (link->state == SL_LINK_HANGUP)
        return 0; /* nobody listens; the end will be read soon */
    if (link->out_end - link->out_at > SL_LINK_OUT_MAX)
        return sl_fail(lease, SL_E_AGAIN, "sshleased takes nothing more just now");
    if (!make_room(&link->out, &link->out_at, &link->out_end, &link->out_cap, size))
        return sl_fail(lease, SL_E_NOMEM, "out of memory");
    sl_writer_init(&w, link->out + link->out_end, link->out_cap - link->out_end);
    sl_msg_encode(&w, msg);
    if (w.overflow)
        return sl_refuse(lease, SL_E_INVALID, "a request is too long for the protocol");
    link->out_end += w.at;
    return 0;
}

size_t sl_link_out_room(const struct sshlease *lease)
{
    size_t queued = lease->link.out_end - lease->link.out_at;

    return queued < SL_LINK_OUT_DATA_MAX ? SL_LINK_OUT_DATA_MAX - queued : 0;
}

int sl_link_flush(struct sshlease *lease)
{
    struct sl_link *link = &lease->link;

    while (link->out_at < link->out_end) {
        ssize_t sent =
            send(link->fd, link->out + link->out_at, link->out_end - link->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            link->out_at += (size_t)sent;
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* It may have said why before it closed. */
            link->state = SL_LINK_HANGUP;
            link->out_at = link->out_end = 0;
        } else if (errno != EINTR) {
            return sl_link_end(lease, SL_E_DAEMON_GONE, "cannot write to sshleased: %m");
        }
    }
    return 0;
}

static int on_welcome(struct sshlease *lease, const struct sl_msg *msg)
{
    if (lease->link.state == SL_LINK_READY)
        return SL_E_PROTOCOL;
    if (msg->welcome.version < SL_MSG_VERSION_MIN || msg->welcome.version > SL_MSG_VERSION)
        return sl_link_end(lease, SL_E_VERSION, "sshleased speaks version %u of the protocol, this program %u to %u",
            msg->welcome.version, SL_MSG_VERSION_MIN, SL_MSG_VERSION);
    if (lease->link.state == SL_LINK_GREETING)
        lease->link.state = SL_LINK_READY;
    return 0;
}

/* OK or ERROR. */
static int on_answer(struct sshlease *lease, const struct sl_msg *msg)
{
    bool ok = msg->type == SL_MSG_OK;
    uint32_t rid = ok ? msg->request.rid : msg->error.rid;
    int status = ok ? 0 : sl_status_of(msg->error.code);

    if (rid == 0) {
        if (ok)
            return SL_E_PROTOCOL;
        char *text = sl_text_dup(msg->error.text, status);
        sl_link_end(lease, status, "%s", text != NULL ? text : sl_status_text(status));
        free(text);
        return status;
    }
    const struct sl_msg_error *error = ok ? NULL : &msg->error;
    if (sl_held_on_answer(lease, rid, status, error) || sl_streams_on_answer(lease, rid, status, error) ||
        sl_asked_on_answer(lease, rid, status, error))
        return 0;
    /* Late answers to requests that nobody waits for any more are normal; answers to questions not asked are not. */
    return rid < lease->link.next_rid ? 0 : SL_E_PROTOCOL;
}

static int on_message(struct sshlease *lease, const struct sl_msg *msg)
{
    static const struct {
        enum sl_msg_type type;
        int (*handler)(struct sshlease *lease, const struct sl_msg *msg);
    } handlers[] = {
        {SL_MSG_DATA, sl_streams_on_message},
        {SL_MSG_WINDOW, sl_streams_on_message},
        {SL_MSG_EOF, sl_streams_on_message},
        {SL_MSG_STREAM_OPENED, sl_streams_on_message},
        {SL_MSG_STREAM_END, sl_streams_on_message},
        {SL_MSG_OK, on_answer},
        {SL_MSG_ERROR, on_answer},
        {SL_MSG_WELCOME, on_welcome},
        {SL_MSG_WAITING, sl_held_on_message},
        {SL_MSG_GRANTED, sl_held_on_message},
        {SL_MSG_RENEWED, sl_held_on_message},
        {SL_MSG_LEASE_ENDED, sl_held_on_message},
        {SL_MSG_STATUS_REPLY, sl_asked_on_message},
    };

    if (lease->link.state == SL_LINK_GREETING && msg->type != SL_MSG_WELCOME && msg->type != SL_MSG_ERROR)
        return SL_E_PROTOCOL;
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        if (handlers[i].type == msg->type)
            return handlers[i].handler(lease, msg);
    return SL_E_PROTOCOL; /* a message that only clients send */
}

/* Handles every whole frame of the in-buffer. 0, or why the link has ended. */
static int take_frames(struct sshlease *lease)
{
    struct sl_link *link = &lease->link;

    while (link->in_at < link->in_end) {
        struct sl_frame frame;
        struct sl_msg msg;
        long taken = sl_frame_parse(link->in + link->in_at, link->in_end - link->in_at, SL_FRAME_MAX, &frame);
        if (taken == 0)
            return 0;
        if (taken < 0)
            return sl_link_end(lease, SL_E_PROTOCOL, "what listens there does not speak sshlease's protocol");
        int status = sl_msg_decode(&frame, &msg);
        if (status != 0)
            return sl_link_end(lease, SL_E_PROTOCOL, "sshleased sent a message (%s, %zu bytes) that does not decode",
                sl_msg_type_name(frame.type), frame.body.len);
        link->in_at += (size_t)taken;
        status = on_message(lease, &msg);
        if (link->state == SL_LINK_ENDED)
            return link->ended_status;
        if (status == SL_E_NOMEM)
            return sl_link_out_of_memory(lease);
        if (status != 0)
            return sl_link_end(lease, status, "sshleased sent %s out of turn", sl_msg_type_name(frame.type));
    }
    return 0;
}

/* One recv() and what came with it. 0, AGAIN when nothing came, or why the link has ended. `flags`: MSG_DONTWAIT or 0.
 */
static int fill(struct sshlease *lease, int flags)
{
    struct sl_link *link = &lease->link;
    size_t need = IN_FIRST / 4;

    /* A frame longer than the buffer: its length is known once its first four bytes are here. */
    if (link->in_end - link->in_at >= 4) {
        struct sl_reader r;
        uint32_t length;
        sl_reader_init(&r, link->in + link->in_at, 4);
        if (sl_get_u32(&r, &length) == 0 && length <= SL_FRAME_MAX && length + 4 - (link->in_end - link->in_at) > need)
            need = length + 4 - (link->in_end - link->in_at);
    }
    if (!make_room(&link->in, &link->in_at, &link->in_end, &link->in_cap, need))
        return sl_link_out_of_memory(lease);

    size_t room = link->in_cap - link->in_end;
    ssize_t got = recv(link->fd, link->in + link->in_end, room, flags);
    link->in_full = got > 0 && (size_t)got == room;
    if (got > 0) {
        link->in_end += (size_t)got;
        return take_frames(lease);
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return SL_E_AGAIN;
    if (got == 0 || errno == ECONNRESET)
        return sl_link_end(lease, SL_E_DAEMON_GONE,
            link->state == SL_LINK_GREETING || link->in_at < link->in_end
                ? "sshleased closed the connection without a word"
                : "sshleased closed the connection");
    return sl_link_end(lease, SL_E_DAEMON_GONE, "cannot read from sshleased: %m");
}

/* Waits for the socket until `until_ms`. False: nothing happened. */
static bool wait_for_socket(struct sshlease *lease, int64_t until_ms, int64_t now_ms)
{
    struct pollfd pfd = {.fd = lease->link.fd, .events = POLLIN};
    int64_t wait_ms = until_ms == SL_NEVER ? -1 : until_ms - now_ms;

    if (lease->link.out_at < lease->link.out_end)
        pfd.events |= POLLOUT;
    if (wait_ms > INT32_MAX)
        wait_ms = INT32_MAX;
    return poll(&pfd, 1, (int)wait_ms) > 0;
}

int sl_link_turn(struct sshlease *lease, int64_t deadline_ms)
{
    struct sl_link *link = &lease->link;
    int64_t until_ms = deadline_ms < lease->held.renew_at_ms ? deadline_ms : lease->held.renew_at_ms;
    int64_t now_ms = until_ms == SL_NEVER ? 0 : sl_now_ms();
    int status;

    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    sl_held_tick(lease, now_ms);
    sl_streams_give_credit(lease);
    if ((status = sl_link_flush(lease)) != 0)
        return status;
    if (until_ms == SL_NEVER && link->out_at == link->out_end) {
        /* Nothing but bytes can end this wait, so the read itself may do the waiting: one system call, not two. */
        status = fill(lease, 0);
        return status == SL_E_AGAIN ? 0 : status;
    }
    if (!link->in_full && until_ms > now_ms && !wait_for_socket(lease, until_ms, now_ms))
        return deadline_ms == SL_NEVER || sl_now_ms() < deadline_ms ? 0 : SL_E_AGAIN;
    status = fill(lease, MSG_DONTWAIT);
    if (status == SL_E_AGAIN && now_ms < deadline_ms)
        return 0;
    return status;
}

/* Connects within the deadline. 0, or -1 with errno. */
static int connect_to(int fd, const struct sockaddr_un *address, socklen_t len, int64_t deadline_ms)
{
    for (;;) {
        if (deadline_ms != SL_NEVER) {
            /* connect() waits as long as a send may when the daemon's backlog is full; 0 would mean for ever. */
            int64_t left_ms = deadline_ms - sl_now_ms();
            struct timeval limit = {.tv_usec = 1000};
            if (left_ms > 0)
                limit = (struct timeval){.tv_sec = left_ms / 1000, .tv_usec = (left_ms % 1000) * 1000};
            if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
                return -1;
        }
        if (connect(fd, (const struct sockaddr *)address, len) == 0 || errno == EISCONN)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

static int connect_failed(struct sshlease *lease, const char *path, int error)
{
    errno = error; /* for %m */
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        return sl_link_end(lease, SL_E_NO_DAEMON, "no sshleased is listening at %s", path);
    case EACCES:
    case EPERM:
        return sl_link_end(lease, SL_E_NOT_ALLOWED, "no permission to connect to %s", path);
    case EAGAIN:
        return sl_link_end(lease, SL_E_TIMEOUT, "sshleased at %s does not accept connections in time", path);
    case EPROTOTYPE:
        return sl_link_end(lease, SL_E_NO_DAEMON, "%s is not sshleased's socket", path);
    default:
        return sl_link_end(lease, SL_E_IO, "cannot connect to %s: %m", path);
    }
}

static int open_link(struct sshlease *lease, const char *path, int timeout_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char default_path[sizeof address.sun_path];
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status;

    if (path == NULL) {
        if (sshlease_default_socket(default_path, sizeof default_path) != 0)
            return sl_link_end(
                lease, SL_E_INVALID, "the socket's path is longer than %zu bytes", sizeof address.sun_path - 1);
        path = default_path;
    }
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return sl_link_end(lease, SL_E_INVALID, "the socket's path has %zu bytes; it may have 1 to %zu", len,
            sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, len + 1);

    lease->link.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lease->link.fd < 0)
        return sl_link_end(lease, SL_E_IO, "cannot make a socket: %m");
    if (connect_to(
            lease->link.fd, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1), deadline_ms) != 0)
        return connect_failed(lease, path, errno);

    struct sl_msg hello = {.type = SL_MSG_HELLO,
        .hello = {.version_min = SL_MSG_VERSION_MIN,
            .version_max = SL_MSG_VERSION,
            .program = sl_bytes_of("libsshlease " SSHLEASE_VERSION)}};
    if ((status = sl_link_queue(lease, &hello)) != 0)
        return sl_link_end(lease, status, "out of memory");
    if (timeout_ms == 0)
        return 0;
    while (lease->link.state == SL_LINK_GREETING || lease->link.state == SL_LINK_HANGUP) {
        status = sl_link_turn(lease, deadline_ms);
        if (status == SL_E_AGAIN)
            return sl_link_end(lease, SL_E_TIMEOUT, "sshleased at %s does not answer", path);
        if (status != 0)
            return status;
    }
    return 0;
}

int sshlease_open(const char *path, int timeout_ms, struct sshlease **ret_lease)
{
    struct sshlease *lease = calloc(1, sizeof *lease);

    if (lease == NULL) {
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    TAILQ_INIT(&lease->streams);
    lease->owner = getpid();
    lease->next_stream = 1;
    lease->held.renew_at_ms = SL_NEVER;
    lease->link = (struct sl_link){.fd = -1, .next_rid = 1};
    lease->link.in = malloc(IN_FIRST);
    lease->link.out = malloc(OUT_FIRST);
    if (lease->link.in == NULL || lease->link.out == NULL) {
        sshlease_free(lease);
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    lease->link.in_cap = IN_FIRST;
    lease->link.out_cap = OUT_FIRST;
    *ret_lease = lease;
    return open_link(lease, path, timeout_ms);
}

void sshlease_free(struct sshlease *lease)
{
    if (lease == NULL)
        return;
    sl_streams_fini(lease);
    sl_held_fini(lease);
    sl_asked_fini(lease);
    if (lease->link.fd >= 0)
        close(lease->link.fd);
    free(lease->link.in);
    free(lease->link.out);
    free(lease);
}

const char *sshlease_error(const struct sshlease *lease)
{
    return lease->error;
}

bool sshlease_error_unsent(const struct sshlease *lease)
{
    return lease->error_unsent;
}

int sshlease_fd(const struct sshlease *lease)
{
    return lease->link.fd;
}

int sshlease_want(const struct sshlease *lease)
{
    if (lease->link.state == SL_LINK_ENDED)
        return 0;
    return SSHLEASE_WANT_READ | (lease->link.out_at < lease->link.out_end ? SSHLEASE_WANT_WRITE : 0);
}

int sshlease_timeout_ms(const struct sshlease *lease)
{
    if (lease->held.renew_at_ms == SL_NEVER || lease->link.state == SL_LINK_ENDED)
        return -1;
    int64_t left_ms = lease->held.renew_at_ms - sl_now_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}

int sshlease_process(struct sshlease *lease)
{
    int status = sl_link_check(lease);

    while (status == 0) {
        status = sl_link_turn(lease, 0);
        if (!lease->link.in_full)
            break;
    }
    if (status == 0 || status == SL_E_AGAIN) {
        /* What came may have queued something in turn. */
        sl_streams_give_credit(lease);
        status = sl_link_flush(lease);
    }
    return status == SL_E_AGAIN ? 0 : status;
}
