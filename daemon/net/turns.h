/* SPDX-License-Identifier: MIT */
/* turns.h - how much of a turn of the loop each user's messages may take. Who has had its part waits for the next turn,
 * and so do its other sockets, each once before any of them goes on. Calls nobody but those that wait. */
#ifndef SSHLEASE_NET_TURNS_H
#define SSHLEASE_NET_TURNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

/* One user's part of a turn. What goes on with one socket meanwhile is not interrupted. */
#define SL_TURN_NS 250000u

struct sl_turns;
struct sl_turns_user;

/* One that waits, in the caller's memory. Zeroed: it does not. */
struct sl_turn {
    TAILQ_ENTRY(sl_turn) link;
    struct sl_turns_user *user; /* NULL: it does not wait */
    void (*fn)(struct sl_turn *turn);
};

int sl_turns_new(uv_loop_t *loop, struct sl_turns **ret_turns);
/* Nobody may wait any more. Memory goes with the last close callback. NULL is fine. */
void sl_turns_free(struct sl_turns *turns);

/* Calls `fn`, at once where its user has something left of the loop's turn and none of its own waits before, else when it
 * is its turn, from the loop; it waits no more then. What waits already goes on waiting. NULL, or no memory: at once. */
void sl_turns_run(struct sl_turns *turns, struct sl_turn *turn, uid_t uid, void (*fn)(struct sl_turn *turn));
/* The same, but not at once. False: nobody divides the turns, or no memory. */
bool sl_turns_wait(struct sl_turns *turns, struct sl_turn *turn, uid_t uid, void (*fn)(struct sl_turn *turn));
void sl_turns_leave(struct sl_turns *turns, struct sl_turn *turn);

#endif
