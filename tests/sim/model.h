/* SPDX-License-Identifier: MIT */
/* model.h - the world's own idea of what a pool may and must do, kept from events and actions alone: it never looks
 * into the core, so a mistake there is not made here again. Says what is broken; ends nothing itself. */
#ifndef SSHLEASE_SIM_MODEL_H
#define SSHLEASE_SIM_MODEL_H

#include "daemon/core/pool.h"

struct model;

struct model *model_new(void);
void model_free(struct model *model);

/* Both return NULL, or a text that names what is broken; it belongs to the model. */
/* After sl_pool_configure(), with the same arguments. */
const char *model_configured(struct model *model, const struct sl_pool *pool, uint64_t now_ms,
    const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count,
    const struct sl_pool_revocations *revoked);
/* After sl_pool_step(). Tags are unique, and their lowest 8 bits name one of 256 requests at a time. */
const char *model_stepped(struct model *model, const struct sl_pool *pool, const struct sl_event *ev);

#define MODEL_TARGETS  16u
#define MODEL_CONNS    256u
#define MODEL_REQUESTS 256u
#define MODEL_LEASES   1024u

#endif
