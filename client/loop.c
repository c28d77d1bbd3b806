/* SPDX-License-Identifier: MIT */
/* The loop: bytes from and to the daemon, each message to the module that it is for.
 *   flush, wait, fill, take each whole frame
 * WELCOME makes the link READY; a message goes to the module that owns its type, an answer to whom its request id
 * belongs. The link ends (sl_loop_end()) by the daemon's closing, by an ERROR about no request, by a violation, or for
 * want of memory; whoever waits for something is told, and the handle answers the same status from then on.
 */
#include "client/handle.h"

#include "base/state.h"
#include "proto/status.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TO(state) SL_TO(SL_LINK_##state)

static const struct sl_state states[] = {
    [SL_LINK_GREETING] = {"greeting", TO(READY) | TO(HANGUP) | TO(ENDED)},
    [SL_LINK_READY] = {"ready", TO(HANGUP) | TO(ENDED)},
    [SL_LINK_HANGUP] = {"hangup", TO(ENDED)},
    [SL_LINK_ENDED] = {"ended", TO(GREETING)},
};

static void move(struct sl_link *link, enum sl_link_state to)
{
    SL_MOVE(states, link->state, to);
}

void sl_loop_begin(struct sl_link *link)
{
    if (link->state == SL_LINK_ENDED)
        move(link, SL_LINK_GREETING);
    link->ended_status = 0;
    link->version = 0;
    link->in_full = false;
}

int sl_loop_end(struct sshlease *lease, int status, const char *format, ...)
{
    struct sl_link *link = &lease->link;
    va_list args;
    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    va_start(args, format);
    vsnprintf(lease->error, sizeof lease->error, format, args);
    va_end(args);
    lease->error_unsent = lease->held.state != SL_HELD_GRANTED; /* without a lease no command was sent */
    move(link, SL_LINK_ENDED);
    link->ended_status = status;
    sl_buf_drop(&link->in, link->in.len);
    sl_buf_drop(&link->out, link->out.len);
    /* The daemon takes the lease back now, even if the caller keeps the handle for long. */
    if (link->fd >= 0)
        shutdown(link->fd, SHUT_RDWR);
    sl_streams_on_lease_end(lease, status, lease->error);
    sl_held_on_link_end(lease, status, lease->error);
    sl_asked_on_link_end(lease, status);
    return status;
}

static int out_of_memory(struct sshlease *lease)
{
    return sl_loop_end(lease, SL_E_NOMEM, "out of memory");
}

/* After a write that failed, by errno. 0, AGAIN, or why the link has ended. */
static int on_write_failed(struct sshlease *lease)
{
    struct sl_link *link = &lease->link;
    if (errno == EAGAIN)
        return SL_E_AGAIN;
    if (errno == EINTR)
        return 0;
    if (errno != EPIPE && errno != ECONNRESET)
        return sl_loop_end(lease, SL_E_DAEMON_GONE, "cannot write to sshleased: %m");
    /* It may have said why before it closed. */
    if (link->state != SL_LINK_HANGUP)
        move(link, SL_LINK_HANGUP);
    sl_buf_drop(&link->out, link->out.len);
    return 0;
}

int sl_loop_flush(struct sshlease *lease)
{
    struct sl_link *link = &lease->link;
    while (link->out.len > 0) {
        ssize_t sent = send(link->fd, sl_buf_data(&link->out), link->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            sl_buf_drop(&link->out, (size_t)sent);
            continue;
        }
        int status = on_write_failed(lease);
        if (status != 0)
            return status == SL_E_AGAIN ? 0 : status;
    }
    return 0;
}

int sl_loop_pass(struct sshlease *lease, const int *fd, size_t count)
{
    struct sl_link *link = &lease->link;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(SL_PASSED_MAX * sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)sl_buf_data(&link->out), .iov_len = link->out.len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        msg.msg_control = control.room;
        msg.msg_controllen = CMSG_SPACE(count * sizeof *fd);
        struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof *fd);
        memcpy(CMSG_DATA(header), fd, count * sizeof *fd);
    }
    for (;;) {
        ssize_t sent = sendmsg(link->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            sl_buf_drop(&link->out, (size_t)sent);
            return sl_loop_flush(lease);
        }
        if (errno == EBADF)
            return SL_E_INVALID;   /* ours is open: it is polled */
        if (errno == ETOOMANYREFS) /* more are on their way than a user may have open */
            return SL_E_AGAIN;
        int status = on_write_failed(lease);
        if (status != 0 || link->state == SL_LINK_HANGUP)
            return status;
    }
}

static int on_welcome(struct sshlease *lease, const struct sl_msg *msg)
{
    if (lease->link.state == SL_LINK_READY)
        return SL_E_PROTOCOL;
    if (msg->welcome.version < SL_MSG_VERSION_MIN || msg->welcome.version > SL_MSG_VERSION)
        return sl_loop_end(lease, SL_E_VERSION, "sshleased speaks version %u of the protocol, this program %u to %u",
            msg->welcome.version, SL_MSG_VERSION_MIN, SL_MSG_VERSION);
    if (lease->link.state == SL_LINK_GREETING)
        move(&lease->link, SL_LINK_READY);
    lease->link.version = msg->welcome.version;
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
        sl_loop_end(lease, status, "%s", text != NULL ? text : sl_status_text(status));
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
        {SL_MSG_OUTPUT_LOST, sl_streams_on_message},
        {SL_MSG_EXITED, sl_streams_on_message},
        {SL_MSG_STREAM_END, sl_streams_on_message},
        {SL_MSG_OK, on_answer},
        {SL_MSG_ERROR, on_answer},
        {SL_MSG_WELCOME, on_welcome},
        {SL_MSG_WAITING, sl_held_on_message},
        {SL_MSG_GRANTED, sl_held_on_message},
        {SL_MSG_RENEWED, sl_held_on_message},
        {SL_MSG_LEASE_ENDED, sl_held_on_message},
        {SL_MSG_STATUS_REPLY, sl_asked_on_message},
        {SL_MSG_MUX_PATH, sl_asked_on_mux_path},
    };
    /* Not greeted: the daemon may have turned us away, and hung up before our HELLO was written. */
    if (lease->link.version == 0 && msg->type != SL_MSG_WELCOME && msg->type != SL_MSG_ERROR)
        return SL_E_PROTOCOL;
    if (lease->link.version != 0 && sl_msg_since(msg->type) > lease->link.version)
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
    while (link->in.len > 0) {
        struct sl_frame frame;
        struct sl_msg msg;
        long taken = sl_frame_parse(sl_buf_data(&link->in), link->in.len, SL_FRAME_MAX, &frame);
        if (taken == 0)
            return 0;
        if (taken < 0)
            return sl_loop_end(lease, SL_E_PROTOCOL, "what listens there does not speak sshlease's protocol");
        int status = sl_msg_decode(&frame, &msg);
        if (status != 0)
            return sl_loop_end(lease, SL_E_PROTOCOL, "sshleased sent a message (%s, %zu bytes) that does not decode",
                sl_msg_type_name(frame.type), frame.body.len);
        sl_buf_drop(&link->in, (size_t)taken);
        status = on_message(lease, &msg);
        if (link->state == SL_LINK_ENDED)
            return link->ended_status;
        if (status == SL_E_NOMEM)
            return out_of_memory(lease);
        if (status != 0)
            return sl_loop_end(lease, status, "sshleased sent %s out of turn", sl_msg_type_name(frame.type));
    }
    return 0;
}

/* One recv() and what came with it. 0, AGAIN when nothing came, or why the link has ended. `flags`: MSG_DONTWAIT or 0.
 */
static int fill(struct sshlease *lease, int flags)
{
    struct sl_link *link = &lease->link;
    size_t need = SL_LINK_IN_FIRST / 4;
    /* A frame longer than the buffer: its length is known once its first four bytes are here. */
    if (link->in.len >= 4) {
        struct sl_reader r;
        uint32_t length;
        sl_reader_init(&r, sl_buf_data(&link->in), 4);
        if (sl_get_u32(&r, &length) == 0 && length <= SL_FRAME_MAX && length + 4 - link->in.len > need)
            need = length + 4 - link->in.len;
    }
    uint8_t *room = sl_buf_reserve(&link->in, need);
    if (room == NULL)
        return out_of_memory(lease);

    ssize_t got = recv(link->fd, room, sl_buf_room(&link->in), flags);
    link->in_full = got > 0 && (size_t)got == sl_buf_room(&link->in);
    if (got > 0) {
        sl_buf_commit(&link->in, (size_t)got);
        return take_frames(lease);
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return SL_E_AGAIN;
    if (got == 0 || errno == ECONNRESET)
        return sl_loop_end(lease, SL_E_DAEMON_GONE,
            link->version == 0 || link->in.len > 0 ? "sshleased closed the connection without a word"
                                                   : "sshleased closed the connection");
    return sl_loop_end(lease, SL_E_DAEMON_GONE, "cannot read from sshleased: %m");
}

/* Waits for the socket until `until_ms`. False: nothing happened. */
static bool wait_for_socket(struct sshlease *lease, int64_t until_ms, int64_t now_ms)
{
    struct pollfd pfd = {.fd = lease->link.fd, .events = POLLIN};
    int64_t wait_ms = until_ms == SL_NEVER ? -1 : until_ms - now_ms;
    if (lease->link.out.len > 0)
        pfd.events |= POLLOUT;
    if (wait_ms > INT32_MAX)
        wait_ms = INT32_MAX;
    return poll(&pfd, 1, (int)wait_ms) > 0;
}

int sl_loop_turn(struct sshlease *lease, int64_t deadline_ms)
{
    struct sl_link *link = &lease->link;
    int64_t until_ms = deadline_ms < lease->held.renew_at_ms ? deadline_ms : lease->held.renew_at_ms;
    int64_t now_ms = until_ms == SL_NEVER ? 0 : sl_now_ms();
    int status;
    if (link->state == SL_LINK_ENDED)
        return link->ended_status;
    sl_held_tick(lease, now_ms);
    sl_streams_give_credit(lease);
    if ((status = sl_loop_flush(lease)) != 0)
        return status;
    if (until_ms == SL_NEVER && link->out.len == 0) {
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

int sl_loop_need(struct sshlease *lease, uint32_t version, int64_t deadline_ms)
{
    while (lease->link.version == 0) {
        int status = sl_loop_turn(lease, deadline_ms);
        if (status != 0)
            return status;
    }
    if (lease->link.version < version)
        return sl_refuse(lease, SL_E_VERSION, "sshleased speaks version %u of the protocol, and this needs version %u",
            lease->link.version, version);
    return 0;
}

int sshlease_process(struct sshlease *lease)
{
    int status = sl_link_check(lease);
    while (status == 0) {
        status = sl_loop_turn(lease, 0);
        if (!lease->link.in_full)
            break;
    }
    if (status == 0 || status == SL_E_AGAIN) {
        /* What came may have queued something in turn. */
        sl_streams_give_credit(lease);
        status = sl_loop_flush(lease);
    }
    return status == SL_E_AGAIN ? 0 : status;
}
