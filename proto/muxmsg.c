/* SPDX-License-Identifier: MIT */
/* A getter for each message of a mux client, a putter for each answer. */
#include "proto/muxmsg.h"

#include "proto/status.h"

#include <assert.h>
#include <string.h>

/* Of no message of either side's, in no version of the protocol. */
#define TYPE_UNKNOWN 0xbfffffffu

const char *sl_mux_type_name(uint32_t type)
{
    static const struct {
        enum sl_mux_type type;
        const char *name;
    } names[] = {
        {SL_MUX_HELLO, "HELLO"},
        {SL_MUX_NEW_SESSION, "NEW_SESSION"},
        {SL_MUX_ALIVE_CHECK, "ALIVE_CHECK"},
        {SL_MUX_TERMINATE, "TERMINATE"},
        {SL_MUX_OPEN_FWD, "OPEN_FWD"},
        {SL_MUX_CLOSE_FWD, "CLOSE_FWD"},
        {SL_MUX_NEW_STDIO_FWD, "NEW_STDIO_FWD"},
        {SL_MUX_STOP_LISTENING, "STOP_LISTENING"},
        {SL_MUX_PROXY, "PROXY"},
        {SL_MUX_EXT_INFO, "EXT_INFO"},
        {SL_MUX_OK, "OK"},
        {SL_MUX_PERMISSION_DENIED, "PERMISSION_DENIED"},
        {SL_MUX_FAILURE, "FAILURE"},
        {SL_MUX_EXIT_MESSAGE, "EXIT_MESSAGE"},
        {SL_MUX_ALIVE, "ALIVE"},
        {SL_MUX_SESSION_OPENED, "SESSION_OPENED"},
        {SL_MUX_REMOTE_PORT, "REMOTE_PORT"},
        {SL_MUX_TTY_ALLOC_FAIL, "TTY_ALLOC_FAIL"},
        {SL_MUX_EXT_INFO_REPLY, "EXT_INFO_REPLY"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (type == (uint32_t)names[i].type)
            return names[i].name;
    return "unknown";
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static int get_text(struct sl_reader *r, struct sl_bytes *ret_text)
{
    return sl_get_text(r, SL_FRAME_MAX, ret_text);
}

/* What PROTOCOL.mux calls a bool is four bytes on the wire. */
static int get_flag(struct sl_reader *r, bool *ret_flag)
{
    uint32_t value;
    int status = sl_get_u32(r, &value);
    if (status == 0)
        *ret_flag = value != 0;
    return status;
}

static int get_hello(struct sl_reader *r, struct sl_mux_msg *msg)
{
    struct sl_bytes name, value;
    int status = sl_get_u32(r, &msg->version);
    while (status == 0 && sl_reader_left(r) > 0)
        if ((status = sl_get_string(r, &name)) == 0)
            status = sl_get_string(r, &value);
    return status;
}

static int get_new_session(struct sl_reader *r, struct sl_mux_msg *msg)
{
    struct sl_mux_new_session *s = &msg->new_session;
    struct sl_bytes reserved, variable;
    int status;
    if ((status = get_text(r, &reserved)) != 0 || (status = get_flag(r, &s->tty)) != 0 ||
        (status = get_flag(r, &s->x11)) != 0 || (status = get_flag(r, &s->agent)) != 0 ||
        (status = get_flag(r, &s->subsystem)) != 0 || (status = sl_get_u32(r, &s->escape)) != 0 ||
        (status = get_text(r, &s->term)) != 0 || (status = get_text(r, &s->command)) != 0)
        return status;
    s->env = (struct sl_reader){.data = r->data + r->at, .len = sl_reader_left(r)};
    for (s->env_count = 0; sl_reader_left(r) > 0; s->env_count++)
        if ((status = get_text(r, &variable)) != 0)
            return status;
    return 0;
}

static int get_fwd(struct sl_reader *r, struct sl_mux_msg *msg)
{
    struct sl_mux_fwd *f = &msg->fwd;
    int status;
    if ((status = sl_get_u32(r, &f->kind)) != 0 || (status = get_text(r, &f->listen_host)) != 0 ||
        (status = sl_get_u32(r, &f->listen_port)) != 0 || (status = get_text(r, &f->connect_host)) != 0 ||
        (status = sl_get_u32(r, &f->connect_port)) != 0)
        return status;
    return f->kind >= SL_MUX_FWD_LOCAL && f->kind <= SL_MUX_FWD_DYNAMIC ? 0 : SL_E_PROTOCOL;
}

static int get_stdio_fwd(struct sl_reader *r, struct sl_mux_msg *msg)
{
    struct sl_bytes reserved;
    int status;
    if ((status = get_text(r, &reserved)) != 0 || (status = get_text(r, &msg->stdio_fwd.host)) != 0)
        return status;
    return sl_get_u32(r, &msg->stdio_fwd.port);
}

static int get_ext_info(struct sl_reader *r, struct sl_mux_msg *msg)
{
    return get_text(r, &msg->ext_info);
}

static const struct {
    enum sl_mux_type type;
    bool has_rid;
    int (*get)(struct sl_reader *r, struct sl_mux_msg *msg); /* NULL: nothing follows the request id */
} messages[] = {
    {SL_MUX_HELLO, false, get_hello},
    {SL_MUX_NEW_SESSION, true, get_new_session},
    {SL_MUX_ALIVE_CHECK, true, NULL},
    {SL_MUX_TERMINATE, true, NULL},
    {SL_MUX_OPEN_FWD, true, get_fwd},
    {SL_MUX_CLOSE_FWD, true, get_fwd},
    {SL_MUX_NEW_STDIO_FWD, true, get_stdio_fwd},
    {SL_MUX_STOP_LISTENING, true, NULL},
    {SL_MUX_PROXY, true, NULL},
    {SL_MUX_EXT_INFO, true, get_ext_info},
};

int sl_mux_decode(const struct sl_frame *frame, struct sl_mux_msg *ret_msg)
{
    struct sl_reader r;
    struct sl_mux_msg msg = {.type = SL_MUX_HELLO};
    int status = 0;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (frame->type != (uint32_t)messages[i].type)
            continue;
        msg.type = messages[i].type;
        sl_reader_init(&r, frame->body.data, frame->body.len);
        if (messages[i].has_rid)
            status = sl_get_u32(&r, &msg.rid);
        if (status == 0 && messages[i].get != NULL)
            status = messages[i].get(&r, &msg);
        if (status == 0)
            status = sl_get_end(&r);
        if (status == 0)
            *ret_msg = msg;
        return status;
    }
    return SL_E_PROTOCOL;
}

bool sl_mux_env_next(struct sl_reader *env, struct sl_bytes *ret_name, struct sl_bytes *ret_value)
{
    struct sl_bytes text;
    while (sl_get_string(env, &text) == 0) {
        const uint8_t *equals = text.len > 0 ? memchr(text.data, '=', text.len) : NULL;
        if (equals == NULL || equals == text.data)
            continue;
        const size_t name_len = (size_t)(equals - text.data);
        *ret_name = (struct sl_bytes){.data = text.data, .len = name_len};
        *ret_value = (struct sl_bytes){.data = equals + 1, .len = text.len - name_len - 1};
        return true;
    }
    return false;
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static void put_two(struct sl_writer *w, uint32_t type, uint32_t first, uint32_t second)
{
    size_t begin = sl_frame_begin(w, type);
    sl_put_u32(w, first);
    sl_put_u32(w, second);
    sl_frame_end(w, begin);
}

static void put_one(struct sl_writer *w, uint32_t type, uint32_t value)
{
    size_t begin = sl_frame_begin(w, type);
    sl_put_u32(w, value);
    sl_frame_end(w, begin);
}

static void put_text(struct sl_writer *w, const char *text)
{
    sl_put_string(w, text, strnlen(text, SL_MUX_TEXT_MAX));
}

void sl_mux_put_hello(struct sl_writer *w)
{
    size_t begin = sl_frame_begin(w, SL_MUX_HELLO);
    sl_put_u32(w, SL_MUX_VERSION);
    sl_put_text(w, "info");
    sl_put_text(w, "0"); /* the extension's version */
    sl_frame_end(w, begin);
}

void sl_mux_put_ok(struct sl_writer *w, uint32_t rid)
{
    put_one(w, SL_MUX_OK, rid);
}

static void put_rid_text(struct sl_writer *w, uint32_t type, uint32_t rid, const char *text)
{
    size_t begin = sl_frame_begin(w, type);
    sl_put_u32(w, rid);
    put_text(w, text);
    sl_frame_end(w, begin);
}

void sl_mux_put_refusal(struct sl_writer *w, enum sl_mux_type type, uint32_t rid, const char *text)
{
    assert(type == SL_MUX_PERMISSION_DENIED || type == SL_MUX_FAILURE);
    put_rid_text(w, (uint32_t)type, rid, text);
}

void sl_mux_put_fatal(struct sl_writer *w, const char *text)
{
    size_t begin = sl_frame_begin(w, SL_MUX_FAILURE);
    put_text(w, text);
    sl_frame_end(w, begin);
}

void sl_mux_put_alive(struct sl_writer *w, uint32_t rid, uint32_t pid)
{
    assert(pid != 0);
    put_two(w, SL_MUX_ALIVE, rid, pid);
}

void sl_mux_put_session_opened(struct sl_writer *w, uint32_t rid, uint32_t session)
{
    put_two(w, SL_MUX_SESSION_OPENED, rid, session);
}

void sl_mux_put_exit(struct sl_writer *w, uint32_t session, uint32_t status)
{
    put_two(w, SL_MUX_EXIT_MESSAGE, session, status);
}

void sl_mux_put_tty_alloc_fail(struct sl_writer *w, uint32_t session)
{
    put_one(w, SL_MUX_TTY_ALLOC_FAIL, session);
}

void sl_mux_put_ext_info(struct sl_writer *w, uint32_t rid, bool known, const char *text)
{
    size_t begin = sl_frame_begin(w, SL_MUX_EXT_INFO_REPLY);
    sl_put_u32(w, rid);
    sl_put_u32(w, known);
    put_text(w, text);
    sl_frame_end(w, begin);
}

void sl_mux_put_remote_port(struct sl_writer *w, uint32_t rid, uint32_t port)
{
    put_two(w, SL_MUX_REMOTE_PORT, rid, port);
}

void sl_mux_put_unknown(struct sl_writer *w, uint32_t rid, const char *text)
{
    put_rid_text(w, TYPE_UNKNOWN, rid, text);
}
