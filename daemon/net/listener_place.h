/* SPDX-License-Identifier: MIT */
/* listener_place.h - the name of a listening Unix socket: taken without taking another daemon's, looked after, given
 * back. Accepts nobody. For listener.c. */
#ifndef SSHLEASE_NET_LISTENER_PLACE_H
#define SSHLEASE_NET_LISTENER_PLACE_H

#include "daemon/net/listener.h"

struct sl_place;

/* Copies `options`; nothing is made yet. 0; SL_E_INVALID or SL_E_NOMEM, with one line about it in `error`. */
int sl_place_new(
    const struct sl_listener_options *options, char *error, size_t error_size, struct sl_place **ret_place);
/* Gives the name and the lock back, if they still are ours. NULL is fine. */
void sl_place_free(struct sl_place *place);

const char *sl_place_path(const struct sl_place *place);
/* The socket that sl_place_take() made last is still the one of this name. A lock that somebody removed is made again.
 */
bool sl_place_is_held(struct sl_place *place);
/* Makes a socket of this name that listens, does not block, and is the caller's. 0; SL_E_BUSY: another daemon listens
 * there, or is about to; SL_E_IO; with one line about it, which names the path, in `error`. */
int sl_place_take(struct sl_place *place, char *error, size_t error_size, int *ret_fd);

#endif
