/* SPDX-License-Identifier: MIT */
/* fail.h - one line about what went wrong for a caller's `error`; its value is `status`. Pure. */
#ifndef SSHLEASE_BASE_FAIL_H
#define SSHLEASE_BASE_FAIL_H

#include <stdio.h>

#define SL_FAIL(error, error_size, status, ...) (snprintf(error, error_size, __VA_ARGS__), (status))

#endif
