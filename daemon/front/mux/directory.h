/* SPDX-License-Identifier: MIT */
/* directory.h - the directory for mux sockets: made where it is missing, and refused where somebody else could put
 * another in its place. */
#ifndef SSHLEASE_FRONT_MUX_DIRECTORY_H
#define SSHLEASE_FRONT_MUX_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

/* 0, or a status and why, with the path at fault. */
int sl_mux_directory_make(const char *path, bool one_user, char *error, size_t error_size);

#endif
