/* SPDX-License-Identifier: MIT */
/* texts.h - a message's texts as C strings, one behind the other in one piece of memory. Pure. */
#ifndef SSHLEASE_FRONT_TEXTS_H
#define SSHLEASE_FRONT_TEXTS_H

#include "proto/wire.h"

struct sl_texts {
    char *at; /* where the next one goes */
};

/* Copies `bytes`, which hold no NUL, and a NUL behind them. There must be room for both: whoever makes it counts. */
const char *sl_texts_keep(struct sl_texts *texts, struct sl_bytes bytes);

#endif
