/* SPDX-License-Identifier: MIT */
/* Each user has a queue of those that wait. An idle handle, which runs while anybody does, takes them in order until the
 * user's part of this turn is used up. Users are forgotten with the turn unless somebody of theirs waits. */
#include "daemon/net/turns.h"

#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>

struct sl_turns_user {
    TAILQ_ENTRY(sl_turns_user) link;
    uid_t uid;
    uint64_t used_ns; /* of this turn */
    TAILQ_HEAD(, sl_turn) waiting;
};

struct sl_turns {
    uv_prepare_t begin; /* of a turn */
    uv_idle_t serve;    /* runs while somebody waits */
    unsigned handles;
    unsigned waiting;
    TAILQ_HEAD(, sl_turns_user) users;
};

static struct sl_turns_user *find(const struct sl_turns *turns, uid_t uid)
{
    struct sl_turns_user *user;
    TAILQ_FOREACH(user, &turns->users, link)
    {
        if (user->uid == uid)
            return user;
    }
    return NULL;
}

static struct sl_turns_user *need(struct sl_turns *turns, uid_t uid)
{
    struct sl_turns_user *user = find(turns, uid);
    if (user != NULL || (user = malloc(sizeof *user)) == NULL)
        return user;
    *user = (struct sl_turns_user){.uid = uid};
    TAILQ_INIT(&user->waiting);
    TAILQ_INSERT_TAIL(&turns->users, user, link);
    return user;
}

static void on_begin(uv_prepare_t *prepare)
{
    struct sl_turns *turns = prepare->data;
    struct sl_turns_user *user, *next;
    for (user = TAILQ_FIRST(&turns->users); user != NULL; user = next) {
        next = TAILQ_NEXT(user, link);
        user->used_ns = 0;
        if (TAILQ_EMPTY(&user->waiting)) {
            TAILQ_REMOVE(&turns->users, user, link);
            free(user);
        }
    }
}

/* What it takes is its user's. */
static void call(struct sl_turns_user *user, struct sl_turn *turn, void (*fn)(struct sl_turn *turn))
{
    const uint64_t begun = uv_hrtime();
    fn(turn);
    user->used_ns += uv_hrtime() - begun;
}

static void on_serve(uv_idle_t *idle)
{
    struct sl_turns *turns = idle->data;
    struct sl_turns_user *user;
    struct sl_turn *turn;
    /* A callback may add users, never take one away. */
    TAILQ_FOREACH(user, &turns->users, link)
    {
        while (user->used_ns < SL_TURN_NS && (turn = TAILQ_FIRST(&user->waiting)) != NULL) {
            sl_turns_leave(turns, turn);
            call(user, turn, turn->fn);
        }
    }
}

int sl_turns_new(uv_loop_t *loop, struct sl_turns **ret_turns)
{
    struct sl_turns *turns = calloc(1, sizeof *turns);
    if (turns == NULL)
        return SL_E_NOMEM;
    TAILQ_INIT(&turns->users);
    (void)uv_prepare_init(loop, &turns->begin);
    (void)uv_idle_init(loop, &turns->serve);
    turns->begin.data = turns->serve.data = turns;
    turns->handles = 2;
    (void)uv_prepare_start(&turns->begin, on_begin);
    uv_unref((uv_handle_t *)&turns->begin);
    *ret_turns = turns;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_turns *turns = handle->data;
    struct sl_turns_user *user;
    if (--turns->handles > 0)
        return;
    while ((user = TAILQ_FIRST(&turns->users)) != NULL) {
        TAILQ_REMOVE(&turns->users, user, link);
        free(user);
    }
    free(turns);
}

void sl_turns_free(struct sl_turns *turns)
{
    if (turns == NULL)
        return;
    assert(turns->waiting == 0);
    uv_close((uv_handle_t *)&turns->begin, on_handle_closed);
    uv_close((uv_handle_t *)&turns->serve, on_handle_closed);
}

bool sl_turns_wait(struct sl_turns *turns, struct sl_turn *turn, uid_t uid, void (*fn)(struct sl_turn *turn))
{
    struct sl_turns_user *user;
    if (turn->user != NULL)
        return true;
    if (turns == NULL || (user = need(turns, uid)) == NULL)
        return false;
    *turn = (struct sl_turn){.user = user, .fn = fn};
    TAILQ_INSERT_TAIL(&user->waiting, turn, link);
    if (turns->waiting++ == 0)
        (void)uv_idle_start(&turns->serve, on_serve);
    return true;
}

void sl_turns_run(struct sl_turns *turns, struct sl_turn *turn, uid_t uid, void (*fn)(struct sl_turn *turn))
{
    if (turn->user != NULL)
        return;
    struct sl_turns_user *user = turns != NULL ? need(turns, uid) : NULL;
    if (user == NULL)
        fn(turn);
    else if (user->used_ns < SL_TURN_NS && TAILQ_EMPTY(&user->waiting))
        call(user, turn, fn);
    else
        (void)sl_turns_wait(turns, turn, uid, fn);
}

void sl_turns_leave(struct sl_turns *turns, struct sl_turn *turn)
{
    if (turn->user == NULL)
        return;
    TAILQ_REMOVE(&turn->user->waiting, turn, link);
    turn->user = NULL;
    if (--turns->waiting == 0)
        (void)uv_idle_stop(&turns->serve);
}
