/* SPDX-License-Identifier: MIT */
/* STATUS, in steps: (1) what the driver knows becomes a JSON tree, on the loop; (2) user names are looked up, in a
 * thread that may hang, for a while; (3) they and command lines are added and the text is made, in another one, because
 * procfs blocks for as long as a holder wants it to; (4) the text goes out in parts, as fast as the client reads. END
 * and RELOAD are one call each. A job outlives its client where it must: it then answers nobody. */
#include "daemon/front/native/handlers.h"

#include "base/container.h"
#include "base/state.h"
#include "base/text.h"
#include "daemon/net/hang_jobs.h"
#include "proto/status.h"
#include "sshlease_version.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a holder's command line. */
#define COMMAND_SIZE 1024u
#define USER_SIZE    256u
/* Users are shown by their numbers when the user database has not answered by then. */
#define NAMES_MS   3000u
#define NAMES_LATE "the user database does not answer (passwd in nsswitch.conf); users are shown by their numbers"
/* Whose counts are shown. */
#define USERS_MAX 1024u
/* For the client to take the answer, once it is there. */
#define UNREAD_MS 10000u
/* One part: a frame of its own, small enough to leave the socket to the client's streams in between. */
#define PART_SIZE 65536u

struct holder {
    pid_t pid;
    uint64_t start_time;
    uid_t uid;
    json_t *lease; /* borrowed from the tree */
};

/* Of the holders, each once. */
struct names {
    size_t count;
    struct {
        uid_t uid;
        char name[USER_SIZE];
    } user[];
};

enum status_phase {
    STATUS_MAKING, /* names are looked up, or a thread has it */
    STATUS_MADE,   /* `text` is being sent */
    STATUS_SENT,   /* and waits to be read */
};

static const struct sl_state phases[] = {
    [STATUS_MAKING] = {"making", SL_TO(STATUS_MADE)},
    [STATUS_MADE] = {"made", SL_TO(STATUS_SENT)},
    [STATUS_SENT] = {"sent", 0},
};

struct sl_status_job {
    struct sl_fd_job job;
    enum status_phase phase;
    struct sl_hang_job *names_job;
    struct names *names;      /* NULL: not known */
    struct sl_client *client; /* NULL: gone */
    struct sl_quota *quota;
    uid_t uid;
    uint32_t rid;
    json_t *root;
    struct holder *holder;
    size_t holder_count, holder_room;
    bool out_of_memory;
    char *made; /* by a thread, which has `root` and this until it is done; NULL when memory ran out */
    char *text; /* the same, once it is back on the loop */
    size_t len, sent;
    uint64_t counted; /* bytes of its user's */
};

struct sl_reload_job {
    struct sl_client *client; /* NULL: gone */
    uint32_t rid;
};

static void move(struct sl_status_job *job, enum status_phase to)
{
    SL_MOVE(phases, job->phase, to);
}

/* --- the tree ----------------------------------------------------------------------------------------------------- */

/* JSON is UTF-8 and may go to a terminal; what clients, servers and command lines say need not be fit for either. What is
 * below a blank stays: JSON escapes it. */
static json_t *text_of(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return NULL;
    sl_text_clean(copy, strlen(text) + 1, text, strlen(text));
    for (size_t i = 0; text[i] != '\0'; i++)
        if ((unsigned char)text[i] < ' ')
            copy[i] = text[i];
    json_t *value = json_string(copy);
    free(copy);
    return value;
}

/* Takes `value` over, NULL included. */
static void set(struct sl_status_job *job, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        job->out_of_memory = true;
}

/* JSON numbers beyond this lose digits in many readers; what is larger here stands for "never". */
#define NUMBER_MAX 9007199254740991u

static void set_number(struct sl_status_job *job, json_t *object, const char *key, uint64_t value)
{
    if (value > NUMBER_MAX)
        value = NUMBER_MAX;
    set(job, object, key, json_integer((json_int_t)value));
}

static void set_texts(struct sl_status_job *job, json_t *object, const char *key, const struct sl_strv *texts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < texts->count; i++)
        if (json_array_append_new(list, text_of(texts->item[i])) != 0)
            job->out_of_memory = true;
    set(job, object, key, list);
}

static void append(struct sl_status_job *job, const char *list, json_t *object)
{
    if (json_array_append_new(json_object_get(job->root, list), object) != 0)
        job->out_of_memory = true;
}

static void add_target(void *arg, const struct sl_target_view *view)
{
    struct sl_status_job *job = arg;
    json_t *target = json_object(), *connections = json_object();
    set_number(job, connections, "dialing", view->dialing);
    set_number(job, connections, "idle", view->idle);
    set_number(job, connections, "leased", view->leased);
    set_number(job, connections, "draining", view->draining);
    set_number(job, connections, "closing", view->closing);
    set(job, target, "name", text_of(view->name));
    set(job, target, "connections", connections);
    set_number(job, target, "waiters", view->waiters);
    set_number(job, target, "max_connections", view->max_connections);
    set_number(job, target, "failures", view->failures);
    set(job, target, "last_error", text_of(view->last_error));
    set_number(job, target, "retry_in_ms", view->retry_in_ms);
    set(job, target, "learned", text_of(view->learned));
    set_texts(job, target, "send_env", view->send_env);
    append(job, "targets", target);
}

static void add_holder(struct sl_status_job *job, const struct sl_lease_view *view, json_t *lease)
{
    if (job->holder_count == job->holder_room) {
        size_t room = job->holder_room == 0 ? 16 : job->holder_room * 2;
        struct holder *more = realloc(job->holder, room * sizeof *more);
        if (more == NULL) {
            job->out_of_memory = true;
            return;
        }
        job->holder = more;
        job->holder_room = room;
    }
    job->holder[job->holder_count++] =
        (struct holder){.pid = view->pid, .start_time = view->start_time, .uid = view->uid, .lease = lease};
}

static void add_lease(void *arg, const struct sl_lease_view *view)
{
    struct sl_status_job *job = arg;
    json_t *lease = json_object();
    set_number(job, lease, "id", view->id);
    set(job, lease, "target", text_of(view->target));
    set(job, lease, "label", text_of(view->label));
    set(job, lease, "state", json_string(view->granted ? "granted" : "waiting"));
    set_number(job, lease, "pid", (uint64_t)view->pid);
    set_number(job, lease, "uid", view->uid);
    set_number(job, lease, "age_ms", view->age_ms);
    set_number(job, lease, "expires_ms", view->expires_in_ms);
    set_number(job, lease, "streams", view->streams);
    if (!view->granted)
        set_number(job, lease, "position", view->position);
    add_holder(job, view, lease);
    append(job, "leases", lease);
}

static void add_counter(void *arg, const char *name, const char *label, uint64_t value)
{
    struct sl_status_job *job = arg;
    json_t *counters = json_object_get(job->root, "counters");
    if (label[0] == '\0') {
        set_number(job, counters, name, value);
        return;
    }
    if (json_object_get(counters, name) == NULL)
        set(job, counters, name, json_object());
    set_number(job, json_object_get(counters, name), label, value);
}

/* What each user has: all that an administrator sees, others see their own. */
static void add_users(struct sl_status_job *job)
{
    static const char *const key[SL_QUOTA_KINDS] = {
        [SL_QUOTA_CLIENTS] = "clients",
        [SL_QUOTA_DESCRIPTORS] = "descriptors",
        [SL_QUOTA_LEASES] = "leases",
        [SL_QUOTA_WAITERS] = "waiters",
        [SL_QUOTA_STREAMS] = "streams",
        [SL_QUOTA_BYTES] = "held_bytes",
        [SL_QUOTA_STATUSES] = "statuses",
    };
    const bool admin = sl_conf_is_admin(sl_driver_conf(job->client->native->driver), &job->client->who);
    struct sl_quota_view *view = calloc(USERS_MAX, sizeof *view);
    const size_t count = view != NULL ? sl_quota_each(job->quota, view, USERS_MAX) : 0;
    job->out_of_memory = job->out_of_memory || view == NULL;
    for (size_t i = 0; i < count; i++) {
        if (!admin && view[i].uid != job->uid)
            continue;
        json_t *user = json_object();
        set_number(job, user, "uid", view[i].uid);
        for (int kind = 0; kind < SL_QUOTA_KINDS; kind++)
            set_number(job, user, key[kind], view[i].count[kind]);
        append(job, "users", user);
    }
    free(view);
}

static void make_tree(struct sl_status_job *job)
{
    const struct sl_client *c = job->client;
    struct sl_driver *driver = c->native->driver;
    const char *state = sl_driver_stopping(driver) ? "stopping" : c->native->serves ? "running" : "unconfigured";
    job->root = json_object();
    set(job, job->root, "version", json_string(SSHLEASE_VERSION));
    set_number(job, job->root, "pid", (uint64_t)getpid());
    set_number(job, job->root, "uptime_ms", uv_now(c->native->loop) - c->native->started_ms);
    set(job, job->root, "state", json_string(state));
    if (!c->native->serves)
        set(job, job->root, "warning", text_of(sl_client_unconfigured_text(c)));
    set(job, job->root, "targets", json_array());
    set(job, job->root, "leases", json_array());
    set(job, job->root, "users", json_array());
    set(job, job->root, "counters", json_object());
    sl_driver_each_target(driver, &c->who, add_target, job);
    sl_driver_each_lease(driver, &c->who, add_lease, job);
    sl_driver_each_counter(driver, add_counter, job);
    add_users(job);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void look_up_names(void *data)
{
    struct names *names = data;
    for (size_t i = 0; i < names->count; i++)
        sl_peer_user_name(names->user[i].uid, names->user[i].name, sizeof names->user[i].name);
}

static struct names *names_of(const struct sl_status_job *job)
{
    struct names *names = calloc(1, sizeof *names + job->holder_count * sizeof names->user[0]);
    for (size_t i = 0; names != NULL && i < job->holder_count; i++) {
        size_t at = 0;
        while (at < names->count && names->user[at].uid != job->holder[i].uid)
            at++;
        if (at == names->count)
            names->user[names->count++].uid = job->holder[i].uid;
    }
    return names;
}

static const char *name_of(const struct names *names, uid_t uid, char *buf, size_t size)
{
    for (size_t i = 0; names != NULL && i < names->count; i++)
        if (names->user[i].uid == uid)
            return names->user[i].name;
    snprintf(buf, size, "%lu", (unsigned long)uid);
    return buf;
}

/* --- in a thread ------------------------------------------------------------------------------------------------- */

static void do_look_up(struct sl_fd_job *fd_job)
{
    struct sl_status_job *job = SL_CONTAINER(fd_job, struct sl_status_job, job);
    char command[COMMAND_SIZE], number[24];
    for (size_t i = 0; i < job->holder_count && !job->out_of_memory; i++) {
        const struct holder *holder = &job->holder[i];
        sl_peer_command_line(holder->pid, holder->start_time, command, sizeof command);
        set(job, holder->lease, "user", text_of(name_of(job->names, holder->uid, number, sizeof number)));
        set(job, holder->lease, "command", text_of(command));
    }
    if (!job->out_of_memory)
        job->made = json_dumps(job->root, JSON_COMPACT);
    json_decref(job->root);
    job->root = NULL;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void free_job(struct sl_status_job *job)
{
    if (job->client != NULL)
        job->client->status = NULL;
    sl_quota_give(job->quota, job->uid, SL_QUOTA_BYTES, job->counted);
    sl_quota_give(job->quota, job->uid, SL_QUOTA_STATUSES, 1);
    sl_hang_job_forget(job->names_job);
    json_decref(job->root);
    free(job->names);
    free(job->holder);
    free(job->made);
    free(job->text);
    free(job);
}

/* It has been sent; until it is read, it is its user's and no other is made for this socket. */
static void await_reader(struct sl_status_job *job)
{
    free(job->text);
    job->text = NULL;
    move(job, STATUS_SENT);
    sl_socket_mark(job->client->socket);
}

static void send_parts(struct sl_client *c)
{
    struct sl_status_job *job = c->status;
    while (job->phase == STATUS_MADE && !sl_socket_congested(c->socket)) {
        size_t part = job->len - job->sent < PART_SIZE ? job->len - job->sent : PART_SIZE;
        const bool more = job->sent + part < job->len;
        const struct sl_bytes json = {(const uint8_t *)job->text + job->sent, part};
        sl_client_send_bytes(c,
            &(struct sl_msg){
                .type = SL_MSG_STATUS_REPLY, .status_reply = {.rid = job->rid, .more = more, .json = json}},
            json);
        job->sent += part;
        if (!more)
            await_reader(job);
    }
}

void sl_client_send_status(struct sl_client *c)
{
    struct sl_status_job *job = c->status;
    if (job == NULL)
        return;
    send_parts(c);
    if (job->phase != STATUS_SENT || !sl_socket_is_written(c->socket))
        return;
    sl_socket_deadline(c->socket, 0);
    free_job(job);
}

static void refuse(struct sl_client *c, uint32_t rid, int status, enum sl_quota_kind kind)
{
    char text[SL_QUOTA_TEXT_SIZE];
    sl_client_error(c, rid, status, true,
        status == SL_E_LIMIT ? sl_quota_refusal(c->native->quota, c->who.uid, kind, text, sizeof text)
                             : sl_status_text(status));
}

static void on_looked_up(struct sl_fd_job *fd_job)
{
    struct sl_status_job *job = SL_CONTAINER(fd_job, struct sl_status_job, job);
    job->text = job->made;
    job->made = NULL;
    int r = job->text == NULL ? SL_E_NOMEM : 0;
    if (job->client == NULL) {
        free_job(job);
        return;
    }
    if (r == 0) {
        job->len = strlen(job->text);
        r = sl_quota_take(job->quota, job->uid, SL_QUOTA_BYTES, job->len);
    }
    if (r != 0) {
        refuse(job->client, job->rid, r, SL_QUOTA_BYTES);
        free_job(job);
        return;
    }
    job->counted = job->len;
    move(job, STATUS_MADE);
    sl_socket_deadline(job->client->socket, UNREAD_MS);
    sl_client_send_status(job->client);
}

static void start_text(struct sl_status_job *job)
{
    const struct sl_client *c = job->client;
    sl_fd_job_start(sl_watch_jobs(c->native->watch), &job->job, c->who.uid, do_look_up, on_looked_up);
}

static void on_names(void *arg, void *data)
{
    struct sl_status_job *job = arg;
    const struct names *names = data;
    job->names_job = NULL;
    if (names == NULL) {
        set(job, job->root, "warning", json_string(NAMES_LATE));
    } else {
        const size_t size = sizeof *names + names->count * sizeof names->user[0];
        job->names = malloc(size);
        if (job->names != NULL)
            memcpy(job->names, names, size);
    }
    start_text(job);
}

static const struct sl_hang_kind names_kind = {look_up_names, on_names, free};

static void start_names(struct sl_status_job *job)
{
    const struct sl_client *c = job->client;
    struct names *names = job->holder_count > 0 ? names_of(job) : NULL;
    if (names != NULL &&
        sl_hang_job_start(c->native->names, &names_kind, c->who.uid, names, job, NAMES_MS, &job->names_job) == 0)
        return;
    free(names);
    start_text(job);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

void sl_client_on_status(struct sl_client *c, const struct sl_msg *msg)
{
    const uint32_t rid = msg->request.rid;
    if (c->status != NULL) {
        sl_client_error(c, rid, SL_E_BUSY, true, "a STATUS of this socket is being answered");
        return;
    }
    int r = sl_quota_take(c->native->quota, c->who.uid, SL_QUOTA_STATUSES, 1);
    if (r != 0) {
        refuse(c, rid, r, SL_QUOTA_STATUSES);
        return;
    }
    struct sl_status_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        sl_quota_give(c->native->quota, c->who.uid, SL_QUOTA_STATUSES, 1);
        refuse(c, rid, SL_E_NOMEM, SL_QUOTA_STATUSES);
        return;
    }
    job->quota = c->native->quota;
    job->uid = c->who.uid;
    job->client = c;
    job->rid = rid;
    make_tree(job);
    c->status = job;
    start_names(job);
}

void sl_client_on_end(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_msg_end *end = &msg->end;
    int r = sl_driver_revoke(c->native->driver, end->lease, &c->who);
    if (r == 0)
        sl_client_ok(c, end->rid);
    else if (r == SL_E_NOT_ALLOWED)
        sl_client_error(c, end->rid, r, true, "not allowed to end a lease of another user");
    else
        sl_client_error(c, end->rid, r, true, sl_status_text(r));
}

void sl_client_on_reconnect(struct sl_client *c, const struct sl_msg *msg)
{
    char name[SL_MSG_NAME_MAX + 1], text[1024];
    (void)sl_client_text(msg->mux.target, name, sizeof name);
    int r = sl_driver_reconnect(c->native->driver, name, &c->who, text, sizeof text);
    if (r == 0)
        sl_client_ok(c, msg->mux.rid);
    else
        sl_client_error(c, msg->mux.rid, r, true, text);
}

static void on_reloaded(void *arg, int status, const char *text)
{
    struct sl_reload_job *job = arg;
    if (job->client != NULL) {
        job->client->reload = NULL;
        if (status == 0)
            sl_client_ok(job->client, job->rid);
        else
            sl_client_error(job->client, job->rid, status, true, text);
    }
    free(job);
}

void sl_client_on_reload(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_native_hooks *hooks = &c->native->hooks;
    const struct sl_conf *conf = sl_driver_conf(c->native->driver);
    const uint32_t rid = msg->request.rid;
    if (!sl_conf_is_admin(conf, &c->who)) {
        sl_client_error(c, rid, SL_E_NOT_ALLOWED, true, "not allowed to reload the configuration");
        return;
    }
    if (c->reload != NULL) {
        sl_client_error(c, rid, SL_E_BUSY, true, "a RELOAD of this socket is being answered");
        return;
    }
    struct sl_reload_job *job = malloc(sizeof *job);
    if (job == NULL) {
        sl_client_error(c, rid, SL_E_NOMEM, true, sl_status_text(SL_E_NOMEM));
        return;
    }
    *job = (struct sl_reload_job){.client = c, .rid = rid};
    c->reload = job;
    int r = hooks->reload(hooks->arg, on_reloaded, job);
    if (r != 0) {
        c->reload = NULL;
        free(job);
        sl_client_error(c, rid, r, true, sl_status_text(r));
    }
}

void sl_client_drop_jobs(struct sl_client *c)
{
    struct sl_status_job *job = c->status;
    if (c->reload != NULL)
        c->reload->client = NULL;
    c->reload = NULL;
    c->status = NULL;
    if (job == NULL)
        return;
    job->client = NULL;
    if (job->phase != STATUS_MAKING || job->names_job != NULL)
        free_job(job); /* else a thread still has it */
}
