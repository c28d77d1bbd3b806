/* SPDX-License-Identifier: MIT */
/* Checks numbers, modes, names, hosts, patterns and destinations, and finds the nearest known word for a wrong one. */
#include "config/value.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Reads digits from `*at` on; false when the number is too large for 64 bits. */
static bool digits(const char **at, uint64_t *ret_number)
{
    uint64_t n = 0;
    for (; is_digit(**at); (*at)++)
        if (__builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, (uint64_t)(**at - '0'), &n))
            return false;
    *ret_number = n;
    return true;
}

enum sl_value sl_value_number(const char *text, uint64_t *ret_number)
{
    const char *at = text + (*text == '-');
    if (!is_digit(*at) || (at[0] == '0' && is_digit(at[1])))
        return SL_VALUE_MALFORMED;
    if (at[strspn(at, "0123456789")] != '\0')
        return SL_VALUE_MALFORMED;
    uint64_t n;
    if (*text == '-' || !digits(&at, &n))
        return SL_VALUE_TOO_LARGE;
    *ret_number = n;
    return SL_VALUE_OK;
}

enum sl_value sl_value_mode(const char *text, uint64_t *ret_mode)
{
    size_t length = strspn(text, "01234567");
    if (length == 0 || text[length] != '\0')
        return SL_VALUE_MALFORMED;
    if (length > 8)
        return SL_VALUE_TOO_LARGE;
    uint64_t mode = 0;
    for (const char *c = text; *c != '\0'; c++)
        mode = mode * 8 + (uint64_t)(*c - '0');
    *ret_mode = mode;
    return SL_VALUE_OK;
}

/* What every name has in common. */
static const char *name_wrong(const char *text, size_t max)
{
    if (*text == '\0')
        return "is empty";
    if (*text == '-')
        return "begins with -";
    if (strlen(text) > max)
        return "is too long";
    for (size_t shown; *text != '\0'; text += shown) {
        if (*text == ' ')
            return "has a space in it";
        shown = sl_text_shown(text, strlen(text));
        if (shown == 0)
            return "has a control character in it";
    }
    return NULL;
}

/* Letters, digits and `more` only. */
static const char *charset_wrong(const char *text, const char *more)
{
    for (const char *c = text; *c != '\0'; c++)
        if (!is_letter(*c) && !is_digit(*c) && strchr(more, *c) == NULL)
            return "has a character in it that does not belong there";
    return NULL;
}

const char *sl_value_target_name_wrong(const char *text)
{
    const char *wrong = name_wrong(text, 255);
    return wrong != NULL ? wrong : charset_wrong(text, "._-");
}

const char *sl_value_host_wrong(const char *text)
{
    const char *wrong = name_wrong(text, 253);
    if (wrong != NULL)
        return wrong;
    if (strchr(text, ':') == NULL)
        return charset_wrong(text, "._-");

    const char *colon = strchr(text, ':'), *bracket = strchr(text, ']');
    if (text[0] == '[' ? bracket != NULL && bracket[1] == ':' : strchr(colon + 1, ':') == NULL)
        return "has a port in it, which is a setting of its own (port)";
    if (text[0] == '[')
        return "has brackets, which an address has beside a port only";

    /* An IPv6 address, with a zone perhaps. */
    char address[INET6_ADDRSTRLEN] = "";
    size_t length = strcspn(text, "%");
    struct in6_addr parsed;
    if (length < sizeof address)
        memcpy(address, text, length);
    if (inet_pton(AF_INET6, address, &parsed) != 1)
        return "is not an IPv6 address";
    if (text[length] == '%' && (text[length + 1] == '\0' || charset_wrong(text + length + 1, "._-") != NULL))
        return "has a malformed IPv6 zone";
    return NULL;
}

const char *sl_value_user_wrong(const char *text)
{
    return name_wrong(text, 255);
}

const char *sl_value_variable_wrong(const char *text)
{
    const char *wrong = name_wrong(text, 255);
    if (wrong != NULL)
        return wrong;
    return is_digit(*text) ? "begins with a digit" : charset_wrong(text, "_");
}

const char *sl_value_pattern_wrong(const char *text)
{
    const char *wrong = name_wrong(text, 255);
    return wrong != NULL ? wrong : charset_wrong(text, "_*?");
}

const char *sl_value_destination_wrong(const char *text)
{
    if (strcmp(text, "any") == 0 || strcmp(text, "none") == 0)
        return NULL;
    const char *wrong = name_wrong(text, 300);
    if (wrong != NULL || (wrong = charset_wrong(text, ".-_*?:[]")) != NULL)
        return wrong;
    return strchr(text, ':') == NULL ? "has no port" : NULL;
}

const char *sl_value_credential_wrong(const char *text)
{
    const char *wrong = name_wrong(text, 255);
    if (wrong != NULL)
        return wrong;
    if (strchr(text, '/') != NULL)
        return "is a path";
    return strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ? "is a directory" : NULL;
}

#define NEAR_MAX 48u /* longer texts are no slips of ours */

/* Small letters and digits only: IdentityFile, identity-file and identity_file are the same then. */
static size_t bare(char *buf, const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        if (is_letter(*text) || is_digit(*text))
            buf[n++] = lower(*text);
    buf[n] = '\0';
    return n;
}

/* Edit distance, with two neighbours changing places as one edit. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[3][NEAR_MAX + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = row[i % 3];
        const size_t *before = row[(i + 2) % 3], *before2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before2[j - 2] + 1 < best)
                best = before2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[a_length % 3][b_length];
}

const char *sl_value_nearest(const char *text, const char *const *name, size_t count)
{
    char a[NEAR_MAX + 1], b[NEAR_MAX + 1];
    if (strlen(text) > NEAR_MAX)
        return NULL;
    size_t a_length = bare(a, text);
    const char *nearest = NULL;
    size_t best = 3; /* two slips at most */
    for (size_t i = 0; i < count; i++) {
        size_t b_length = bare(b, name[i]);
        size_t d = distance(a, a_length, b, b_length);
        /* Short words are all near each other. */
        if (d < best && d * 2 < b_length) {
            best = d;
            nearest = name[i];
        }
    }
    if (nearest != NULL)
        return nearest;

    /* One that is part of the other, the most of it in common. */
    best = 3;
    for (size_t i = 0; i < count; i++) {
        size_t b_length = bare(b, name[i]);
        size_t common = strstr(a, b) != NULL ? b_length : strstr(b, a) != NULL ? a_length : 0;
        if (common > best) {
            best = common;
            nearest = name[i];
        }
    }
    return nearest;
}
