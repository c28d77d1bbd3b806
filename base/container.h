/* SPDX-License-Identifier: MIT */
/* container.h - the object that a member belongs to. Pure. */
#ifndef SSHLEASE_BASE_CONTAINER_H
#define SSHLEASE_BASE_CONTAINER_H

#include <stddef.h>

#define SL_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
