/* SPDX-License-Identifier: MIT */
/* One table of the messages' fields; decoding, encoding and measuring all walk it. */
#include "proto/msg.h"

#include "proto/status.h"

#include <assert.h>
#include <string.h>

/* Every message is a list of fields in the order of the wire; encode, decode and size all walk that one list. */
enum kind {
    MAGIC, /* the text SL_MSG_MAGIC; no member */
    U32,   /* min to max */
    U64,
    BOOL,
    PRESENT, /* a bool; the `max` fields after it are on the wire only when it is true */
    NAME,    /* a text without NUL of at most `max` bytes; one that is not cannot be encoded */
    REMARK,  /* a text for a person: encoding cuts it to `max` and turns NUL into '?', for it may be a server's */
    BLOB,    /* any bytes, at most `max` */
    ENV,     /* stream_open.env_count and .env */
};

struct field {
    enum kind kind;
    uint32_t min, max;
    size_t offset; /* of the member in struct sl_msg */
};

#define F_U32(member, low, high)                                                                                       \
    {                                                                                                                  \
        U32, (low), (high), offsetof(struct sl_msg, member)                                                            \
    }
#define F_ANY32(member)  F_U32(member, 0, UINT32_MAX)
#define F_RID(member)    F_U32(member, 1, UINT32_MAX)
#define F_CODE(member)   F_U32(member, 1, SL_MSG_CODE_MAX)
#define F_WINDOW(member) F_U32(member, 0, SL_MSG_WINDOW_MAX)
#define F_U64(member)                                                                                                  \
    {                                                                                                                  \
        U64, 0, 0, offsetof(struct sl_msg, member)                                                                     \
    }
#define F_BOOL(member)                                                                                                 \
    {                                                                                                                  \
        BOOL, 0, 0, offsetof(struct sl_msg, member)                                                                    \
    }
#define F_PRESENT(member, count)                                                                                       \
    {                                                                                                                  \
        PRESENT, 0, (count), offsetof(struct sl_msg, member)                                                           \
    }
#define F_NAME(member, most)                                                                                           \
    {                                                                                                                  \
        NAME, 0, (most), offsetof(struct sl_msg, member)                                                               \
    }
#define F_REMARK(member)                                                                                               \
    {                                                                                                                  \
        REMARK, 0, SL_MSG_TEXT_MAX, offsetof(struct sl_msg, member)                                                    \
    }
#define F_BLOB(member, most)                                                                                           \
    {                                                                                                                  \
        BLOB, 0, (most), offsetof(struct sl_msg, member)                                                               \
    }

static const struct field hello_fields[] = {
    {MAGIC, 0, 0, 0},
    F_ANY32(hello.version_min),
    F_ANY32(hello.version_max),
    F_NAME(hello.program, SL_MSG_NAME_MAX),
};
static const struct field welcome_fields[] = {
    F_ANY32(welcome.version),
    F_NAME(welcome.daemon, SL_MSG_NAME_MAX),
};
static const struct field request_fields[] = {
    F_RID(request.rid),
};
static const struct field error_fields[] = {
    F_ANY32(error.rid),
    F_CODE(error.code),
    F_BOOL(error.unsent),
    F_REMARK(error.text),
};
static const struct field acquire_fields[] = {
    F_RID(acquire.rid),
    F_NAME(acquire.target, SL_MSG_NAME_MAX),
    F_ANY32(acquire.acquire_timeout_ms),
    F_ANY32(acquire.lease_timeout_ms),
    F_NAME(acquire.label, SL_MSG_NAME_MAX),
};
static const struct field waiting_fields[] = {
    F_RID(waiting.rid),
    F_ANY32(waiting.position),
    F_ANY32(waiting.waited_ms),
    F_REMARK(waiting.reason),
};
static const struct field granted_fields[] = {
    F_RID(granted.rid),
    F_U64(granted.lease),
    F_ANY32(granted.lease_timeout_ms),
    F_ANY32(granted.max_lease_ms),
    F_U32(granted.streams, 1, SL_MSG_STREAMS_MAX),
};
static const struct field renew_fields[] = {
    F_RID(renew.rid),
    F_ANY32(renew.lease_timeout_ms),
};
static const struct field renewed_fields[] = {
    F_RID(renewed.rid),
    F_ANY32(renewed.lease_timeout_ms),
};
static const struct field lease_ended_fields[] = {
    F_U64(lease_ended.lease),
    F_CODE(lease_ended.code),
    F_REMARK(lease_ended.text),
};
/* STREAM_OPEN and STREAM_OPEN_FDS differ in one field. */
#define STREAM_OPEN_FIRST                                                                                              \
    F_RID(stream_open.rid), F_ANY32(stream_open.stream), F_U32(stream_open.kind, SL_KIND_EXEC, SL_KIND_SUBSYSTEM),     \
        F_NAME(stream_open.command, SL_MSG_COMMAND_MAX)
#define STREAM_OPEN_REST                                                                                               \
    F_PRESENT(stream_open.pty, 6), F_NAME(stream_open.pty_req.term, SL_MSG_NAME_MAX),                                  \
        F_ANY32(stream_open.pty_req.cols), F_ANY32(stream_open.pty_req.rows), F_ANY32(stream_open.pty_req.width_px),   \
        F_ANY32(stream_open.pty_req.height_px), F_BLOB(stream_open.pty_req.modes, SL_MSG_MODES_MAX),                   \
    {                                                                                                                  \
        ENV, 0, SL_MSG_ENV_MAX, 0                                                                                      \
    }
static const struct field stream_open_fields[] = {
    STREAM_OPEN_FIRST,
    F_WINDOW(stream_open.window),
    STREAM_OPEN_REST,
};
static const struct field stream_open_fds_fields[] = {
    STREAM_OPEN_FIRST,
    F_U32(stream_open.fds, 0, SL_MSG_FDS_ALL),
    STREAM_OPEN_REST,
};
static const struct field stream_opened_fields[] = {
    F_RID(stream_opened.rid),
    F_ANY32(stream_opened.stream),
    F_WINDOW(stream_opened.window),
};
static const struct field data_fields[] = {
    F_ANY32(data.stream),
    F_U32(data.fd, SL_DATA_STDOUT, SL_DATA_STDERR),
    F_BLOB(data.data, SL_MSG_DATA_MAX),
};
static const struct field window_fields[] = {
    F_ANY32(window.stream),
    F_WINDOW(window.bytes),
};
static const struct field stream_fields[] = {
    F_ANY32(stream.stream),
};
static const struct field signal_fields[] = {
    F_ANY32(signal.stream),
    F_NAME(signal.name, SL_MSG_NAME_MAX),
};
static const struct field window_change_fields[] = {
    F_ANY32(window_change.stream),
    F_ANY32(window_change.cols),
    F_ANY32(window_change.rows),
    F_ANY32(window_change.width_px),
    F_ANY32(window_change.height_px),
};
static const struct field stream_end_fields[] = {
    F_ANY32(stream_end.stream),
    F_U32(stream_end.how, SL_END_STATUS, SL_END_UNKNOWN),
    F_ANY32(stream_end.exit_status),
    F_NAME(stream_end.signal, SL_MSG_NAME_MAX),
    F_BOOL(stream_end.core_dumped),
    F_REMARK(stream_end.text),
};
static const struct field output_lost_fields[] = {
    F_ANY32(output_lost.stream),
    F_U32(output_lost.fd, SL_DATA_STDOUT, SL_DATA_STDERR),
    F_CODE(output_lost.code),
    F_REMARK(output_lost.text),
};
static const struct field exited_fields[] = {
    F_ANY32(exited.stream),
    F_U32(exited.how, SL_END_STATUS, SL_END_SIGNAL),
    F_ANY32(exited.exit_status),
    F_NAME(exited.signal, SL_MSG_NAME_MAX),
    F_BOOL(exited.core_dumped),
};
static const struct field end_fields[] = {
    F_RID(end.rid),
    F_U64(end.lease),
};
static const struct field status_reply_fields[] = {
    F_RID(status_reply.rid),
    F_BOOL(status_reply.more),
    F_BLOB(status_reply.json, SL_MSG_PART_MAX),
};
static const struct field mux_fields[] = {
    F_RID(mux.rid),
    F_NAME(mux.target, SL_MSG_NAME_MAX),
};
static const struct field mux_path_fields[] = {
    F_RID(mux_path.rid),
    F_NAME(mux_path.path, SL_MSG_NAME_MAX),
};

struct layout {
    const char *name; /* NULL: no such message */
    uint32_t since;   /* the version that brought it */
    bool open_ended;  /* trailing bytes are a later version's */
    const struct field *fields;
    size_t count;
};

#define FIELDS(list) (list), sizeof(list) / sizeof((list)[0])

static const struct layout layouts[] = {
    [SL_MSG_HELLO] = {"HELLO", 1, true, FIELDS(hello_fields)},
    [SL_MSG_ACQUIRE] = {"ACQUIRE", 1, false, FIELDS(acquire_fields)},
    [SL_MSG_RENEW] = {"RENEW", 1, false, FIELDS(renew_fields)},
    [SL_MSG_RELEASE] = {"RELEASE", 1, false, FIELDS(request_fields)},
    [SL_MSG_STREAM_OPEN] = {"STREAM_OPEN", 1, false, FIELDS(stream_open_fields)},
    [SL_MSG_SIGNAL] = {"SIGNAL", 1, false, FIELDS(signal_fields)},
    [SL_MSG_WINDOW_CHANGE] = {"WINDOW_CHANGE", 1, false, FIELDS(window_change_fields)},
    [SL_MSG_CLOSE] = {"CLOSE", 1, false, FIELDS(stream_fields)},
    [SL_MSG_STREAM_OPEN_FDS] = {"STREAM_OPEN_FDS", 2, false, FIELDS(stream_open_fds_fields)},
    [SL_MSG_STATUS] = {"STATUS", 1, false, FIELDS(request_fields)},
    [SL_MSG_END] = {"END", 1, false, FIELDS(end_fields)},
    [SL_MSG_RELOAD] = {"RELOAD", 1, false, FIELDS(request_fields)},
    [SL_MSG_MUX] = {"MUX", 2, false, FIELDS(mux_fields)},
    [SL_MSG_RECONNECT] = {"RECONNECT", 4, false, FIELDS(mux_fields)},
    [SL_MSG_DATA] = {"DATA", 1, false, FIELDS(data_fields)},
    [SL_MSG_WINDOW] = {"WINDOW", 1, false, FIELDS(window_fields)},
    [SL_MSG_EOF] = {"EOF", 1, false, FIELDS(stream_fields)},
    [SL_MSG_WELCOME] = {"WELCOME", 1, true, FIELDS(welcome_fields)},
    [SL_MSG_OK] = {"OK", 1, false, FIELDS(request_fields)},
    [SL_MSG_ERROR] = {"ERROR", 1, false, FIELDS(error_fields)},
    [SL_MSG_WAITING] = {"WAITING", 1, false, FIELDS(waiting_fields)},
    [SL_MSG_GRANTED] = {"GRANTED", 1, false, FIELDS(granted_fields)},
    [SL_MSG_RENEWED] = {"RENEWED", 1, false, FIELDS(renewed_fields)},
    [SL_MSG_LEASE_ENDED] = {"LEASE_ENDED", 1, false, FIELDS(lease_ended_fields)},
    [SL_MSG_STREAM_OPENED] = {"STREAM_OPENED", 1, false, FIELDS(stream_opened_fields)},
    [SL_MSG_OUTPUT_LOST] = {"OUTPUT_LOST", 2, false, FIELDS(output_lost_fields)},
    [SL_MSG_EXITED] = {"EXITED", 3, false, FIELDS(exited_fields)},
    [SL_MSG_STREAM_END] = {"STREAM_END", 1, false, FIELDS(stream_end_fields)},
    [SL_MSG_STATUS_REPLY] = {"STATUS_REPLY", 1, false, FIELDS(status_reply_fields)},
    [SL_MSG_MUX_PATH] = {"MUX_PATH", 2, false, FIELDS(mux_path_fields)},
};

static const struct layout *layout_of(uint32_t type)
{
    if (type >= sizeof layouts / sizeof layouts[0] || layouts[type].name == NULL)
        return NULL;
    return &layouts[type];
}

const char *sl_msg_type_name(uint32_t type)
{
    const struct layout *layout = layout_of(type);
    return layout != NULL ? layout->name : "unknown";
}

bool sl_msg_from_client(uint32_t type)
{
    return type < SL_MSG_DAEMONS && layout_of(type) != NULL;
}

uint32_t sl_msg_since(uint32_t type)
{
    const struct layout *layout = layout_of(type);
    return layout != NULL ? layout->since : 0;
}

struct sl_bytes sl_bytes_of(const char *text)
{
    return (struct sl_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static int get_env_pair(struct sl_reader *r, struct sl_bytes *ret_name, struct sl_bytes *ret_value)
{
    struct sl_reader ahead = *r;
    struct sl_bytes name, value;
    int status;
    if ((status = sl_get_text(&ahead, SL_MSG_NAME_MAX, &name)) != 0 ||
        (status = sl_get_text(&ahead, SL_MSG_ENV_VALUE_MAX, &value)) != 0)
        return status;
    *r = ahead;
    *ret_name = name;
    *ret_value = value;
    return 0;
}

bool sl_msg_env_next(struct sl_reader *env, struct sl_bytes *ret_name, struct sl_bytes *ret_value)
{
    return get_env_pair(env, ret_name, ret_value) == 0;
}

/* What no single field can say: rules between two of them. Both directions keep them. */
static bool is_coherent(const struct sl_msg *msg)
{
    if (msg->type != SL_MSG_STREAM_OPEN && msg->type != SL_MSG_STREAM_OPEN_FDS)
        return true;
    switch ((enum sl_stream_kind)msg->stream_open.kind) {
    case SL_KIND_EXEC:
        return true;
    case SL_KIND_SHELL:
        return msg->stream_open.command.len == 0;
    case SL_KIND_SUBSYSTEM:
        return msg->stream_open.command.len <= SL_MSG_NAME_MAX;
    }
    return false;
}

/* --- decoding --- */

static int get_magic(struct sl_reader *r)
{
    struct sl_bytes magic;
    int status = sl_get_text(r, sizeof SL_MSG_MAGIC - 1, &magic);
    if (status != 0)
        return status;
    if (magic.len != sizeof SL_MSG_MAGIC - 1 || memcmp(magic.data, SL_MSG_MAGIC, magic.len) != 0)
        return SL_E_PROTOCOL;
    return 0;
}

static int get_u32_within(struct sl_reader *r, const struct field *field, uint32_t *ret_value)
{
    uint32_t value;
    int status = sl_get_u32(r, &value);
    if (status != 0)
        return status;
    if (value < field->min || value > field->max)
        return SL_E_PROTOCOL;
    *ret_value = value;
    return 0;
}

static int get_blob(struct sl_reader *r, size_t max, struct sl_bytes *ret_bytes)
{
    struct sl_bytes blob;
    int status = sl_get_string(r, &blob);
    if (status != 0)
        return status;
    if (blob.len > max)
        return SL_E_PROTOCOL;
    *ret_bytes = blob;
    return 0;
}

static int get_env(struct sl_reader *r, const struct field *field, struct sl_msg_stream_open *open)
{
    struct sl_bytes name, value;
    int status = get_u32_within(r, field, &open->env_count);
    size_t begin = r->at;
    for (uint32_t i = 0; status == 0 && i < open->env_count; i++)
        status = get_env_pair(r, &name, &value);
    if (status == 0)
        sl_reader_init(&open->env, r->data + begin, r->at - begin);
    return status;
}

static int get_field(struct sl_reader *r, const struct field *field, struct sl_msg *msg)
{
    void *member = (char *)msg + field->offset;
    switch (field->kind) {
    case MAGIC:
        return get_magic(r);
    case U32:
        return get_u32_within(r, field, member);
    case U64:
        return sl_get_u64(r, member);
    case BOOL:
    case PRESENT:
        return sl_get_bool(r, member);
    case NAME:
    case REMARK:
        return sl_get_text(r, field->max, member);
    case BLOB:
        return get_blob(r, field->max, member);
    case ENV:
        return get_env(r, field, &msg->stream_open);
    }
    return SL_E_INTERNAL;
}

/* How many fields to go on by after `field`: past an option that is not there, too. */
static size_t stride(const struct field *field, const struct sl_msg *msg)
{
    if (field->kind != PRESENT)
        return 1;
    const bool *present = (const void *)((const char *)msg + field->offset);
    return *present ? 1 : 1 + (size_t)field->max;
}

int sl_msg_decode(const struct sl_frame *frame, struct sl_msg *ret_msg)
{
    const struct layout *layout = layout_of(frame->type);
    struct sl_msg msg = {.type = (enum sl_msg_type)frame->type};
    struct sl_reader r;
    if (layout == NULL || frame->body.len > SL_FRAME_MAX - 4)
        return SL_E_PROTOCOL;
    sl_reader_init(&r, frame->body.data, frame->body.len);
    for (size_t i = 0; i < layout->count; i += stride(&layout->fields[i], &msg)) {
        int status = get_field(&r, &layout->fields[i], &msg);
        if (status != 0)
            return status;
    }
    if (!is_coherent(&msg) || (!layout->open_ended && sl_get_end(&r) != 0))
        return SL_E_PROTOCOL;
    *ret_msg = msg;
    return 0;
}

/* --- encoding --- */

static bool put_name(struct sl_writer *w, size_t max, const struct sl_bytes *name)
{
    if (name->len > max || (name->len > 0 && memchr(name->data, '\0', name->len) != NULL))
        return false;
    sl_put_string(w, name->data, name->len);
    return true;
}

static void put_remark(struct sl_writer *w, size_t max, const struct sl_bytes *text)
{
    size_t len = text->len < max ? text->len : max;
    sl_put_u32(w, (uint32_t)len);
    for (size_t i = 0; i < len; i++)
        sl_put_u8(w, text->data[i] != '\0' ? text->data[i] : '?');
}

static bool put_env(struct sl_writer *w, const struct field *field, const struct sl_msg_stream_open *open)
{
    struct sl_reader env = open->env;
    struct sl_bytes name, value;
    if (open->env_count > field->max)
        return false;
    sl_put_u32(w, open->env_count);
    for (uint32_t i = 0; i < open->env_count; i++) {
        if (!sl_msg_env_next(&env, &name, &value))
            return false;
        sl_put_string(w, name.data, name.len);
        sl_put_string(w, value.data, value.len);
    }
    return sl_reader_left(&env) == 0;
}

/* False when the message has no form on the wire. */
static bool put_field(struct sl_writer *w, const struct field *field, const struct sl_msg *msg)
{
    const void *member = (const char *)msg + field->offset;
    const uint32_t *number = member;
    const uint64_t *wide = member;
    const bool *flag = member;
    const struct sl_bytes *bytes = member;
    switch (field->kind) {
    case MAGIC:
        sl_put_text(w, SL_MSG_MAGIC);
        return true;
    case U32:
        sl_put_u32(w, *number);
        return *number >= field->min && *number <= field->max;
    case U64:
        sl_put_u64(w, *wide);
        return true;
    case BOOL:
    case PRESENT:
        sl_put_bool(w, *flag);
        return true;
    case NAME:
        return put_name(w, field->max, bytes);
    case REMARK:
        put_remark(w, field->max, bytes);
        return true;
    case BLOB:
        sl_put_string(w, bytes->data, bytes->len);
        return bytes->len <= field->max;
    case ENV:
        return put_env(w, field, &msg->stream_open);
    }
    return false;
}

/* Takes back what was written since `begin` where it is no message, or there is no room for it. */
static void finish(struct sl_writer *w, size_t begin, bool good)
{
    if (!good || w->at - begin > 4 + SL_FRAME_MAX)
        w->overflow = true;
    if (w->overflow)
        w->at = begin; /* no half message is left behind */
}

void sl_msg_encode(struct sl_writer *w, const struct sl_msg *msg)
{
    const struct layout *layout = layout_of(msg->type);
    size_t begin = sl_frame_begin(w, msg->type);
    bool good = layout != NULL && is_coherent(msg);
    for (size_t i = 0; good && i < layout->count; i += stride(&layout->fields[i], msg))
        good = put_field(w, &layout->fields[i], msg);
    sl_frame_end(w, begin);
    finish(w, begin, good);
}

void sl_msg_encode_head(struct sl_writer *w, const struct sl_msg *msg)
{
    const struct layout *layout = layout_of(msg->type);
    assert(layout != NULL && layout->fields[layout->count - 1].kind == BLOB);
    const struct field *last = &layout->fields[layout->count - 1];
    const struct sl_bytes *bytes = (const void *)((const char *)msg + last->offset);
    size_t begin = sl_frame_begin(w, msg->type);
    bool good = bytes->len <= last->max;
    for (size_t i = 0; good && i + 1 < layout->count; i++)
        good = put_field(w, &layout->fields[i], msg);
    sl_put_u32(w, (uint32_t)bytes->len);
    sl_frame_end_before(w, begin, bytes->len);
    finish(w, begin, good);
}

static size_t field_size(const struct field *field, const struct sl_msg *msg)
{
    const struct sl_bytes *bytes = (const void *)((const char *)msg + field->offset);
    switch (field->kind) {
    case MAGIC:
        return 4 + sizeof SL_MSG_MAGIC - 1;
    case U32:
        return 4;
    case U64:
        return 8;
    case BOOL:
    case PRESENT:
        return 1;
    case NAME:
    case REMARK:
    case BLOB:
        return 4 + bytes->len;
    case ENV:
        return 4 + sl_reader_left(&msg->stream_open.env);
    }
    return 0;
}

size_t sl_msg_size(const struct sl_msg *msg)
{
    const struct layout *layout = layout_of(msg->type);
    size_t size = SL_FRAME_HEADER;
    for (size_t i = 0; layout != NULL && i < layout->count; i += stride(&layout->fields[i], msg))
        size += field_size(&layout->fields[i], msg);
    return size;
}
