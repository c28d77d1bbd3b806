/* SPDX-License-Identifier: MIT */
/* test.h - cmocka with what it wants included before it, and a test function in one word. */
#ifndef SSHLEASE_TESTS_SUPPORT_TEST_H
#define SSHLEASE_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A function of cmocka's type that has no use for its state: TEST(name) { ... }. */
#define TEST(name) static void name(__attribute__((unused)) void **state)

#endif
