/* SPDX-License-Identifier: MIT */
/* libssh2's allocator: numbers each allocation, and looks at each packet as it is freed. */
#include "daemon/ssh/session/packet_tap.h"

#include "base/text.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4253 section 12; RFC 4254 sections 5.1 and 6.10. */
#define MSG_KEXINIT                   20u
#define MSG_CHANNEL_OPEN_CONFIRMATION 91u
#define MSG_CHANNEL_OPEN_FAILURE      92u
#define MSG_CHANNEL_REQUEST           98u
#define MSG_CHANNEL_SUCCESS           99u
#define MSG_CHANNEL_FAILURE           100u

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* byte 98, uint32 channel, string "exit-status" or "exit-signal", boolean FALSE, then uint32 status, or string signal
 * and boolean core dumped, and more */
#define EXIT_NAME_AT 5u
#define EXIT_AT      (EXIT_NAME_AT + 4u + 11u + 1u)
#define EXIT_LEN     (EXIT_AT + 4u)
/* byte 91, uint32 ours, uint32 theirs, uint32 window, uint32 packet */
#define CONFIRMATION_LEN 17u
/* byte 92, uint32 ours, uint32 reason, string description, string language */
#define FAILURE_TEXT_AT 13u

/* Each allocation ends with the number it was made as, behind what was asked for. */
#define SERIAL_LEN sizeof(uint64_t)

static void put_serial(struct sl_packet_tap *tap, void *mem)
{
    tap->serial++;
    memcpy((uint8_t *)mem + malloc_usable_size(mem) - SERIAL_LEN, &tap->serial, SERIAL_LEN);
}

static void inspect(struct sl_packet_tap *tap, const uint8_t *mem, size_t len)
{
    if (tap->on_kexinit != NULL && len > 0 && mem[0] == MSG_KEXINIT)
        tap->on_kexinit(tap->arg, mem, len);
    if (!tap->unwiped)
        sl_auth_said_look(&tap->said, mem, len - SERIAL_LEN);
    if (len >= EXIT_LEN && mem[0] == MSG_CHANNEL_REQUEST && tap->on_exit != NULL) {
        const uint8_t *name = mem + EXIT_NAME_AT;
        if (memcmp(name,
                "\0\0\0\x0b"
                "exit-status",
                15) == 0) {
            tap->on_exit(tap->arg, get_u32(mem + 1), SL_PACKET_TAP_STATUS);
        } else if (memcmp(name,
                       "\0\0\0\x0b"
                       "exit-signal",
                       15) == 0) {
            size_t signal = get_u32(mem + EXIT_AT);
            bool core = signal < len - EXIT_LEN && mem[EXIT_LEN + signal] != 0;
            tap->on_exit(tap->arg, get_u32(mem + 1), core ? SL_PACKET_TAP_SIGNAL_CORE : SL_PACKET_TAP_SIGNAL);
        }
    } else if (mem[0] == MSG_CHANNEL_SUCCESS || mem[0] == MSG_CHANNEL_FAILURE) {
        memcpy(&tap->answer, mem + len - SERIAL_LEN, SERIAL_LEN);
    } else if (len >= CONFIRMATION_LEN && mem[0] == MSG_CHANNEL_OPEN_CONFIRMATION) {
        tap->opened = get_u32(mem + 1);
    } else if (len >= FAILURE_TEXT_AT && mem[0] == MSG_CHANNEL_OPEN_FAILURE) {
        size_t said = get_u32(mem + FAILURE_TEXT_AT - 4);
        said = said < len - FAILURE_TEXT_AT ? said : len - FAILURE_TEXT_AT;
        tap->refusal = get_u32(mem + 5);
        sl_text_clean(tap->refusal_text, sizeof tap->refusal_text, mem + FAILURE_TEXT_AT, said);
    }
}

const char *sl_packet_tap_refusal(const struct sl_packet_tap *tap, char *buf, size_t size)
{
    /* RFC 4254 section 5.1. */
    static const char *const reason[] = {
        "refused", "administratively prohibited", "connect failed", "unknown channel type", "resource shortage"};
    const char *why = reason[tap->refusal < sizeof reason / sizeof reason[0] ? tap->refusal : 0];
    /* OpenSSH says "open failed" where it has nothing to say. */
    bool more = tap->refusal_text[0] != '\0' && strcmp(tap->refusal_text, "open failed") != 0;
    snprintf(buf, size, "%s%s%s", why, more ? ": " : "", more ? tap->refusal_text : "");
    return buf;
}

void *sl_packet_tap_alloc(struct sl_packet_tap *tap, size_t len)
{
    if (len > tap->max || tap->bytes > tap->max - len)
        return NULL;
    void *mem = malloc(len + SERIAL_LEN);
    if (mem != NULL) {
        /* What was there before must not be taken for a packet. */
        memset(mem, 0, len < EXIT_LEN ? len : EXIT_LEN);
        put_serial(tap, mem);
        tap->bytes += malloc_usable_size(mem);
    }
    return mem;
}

void *sl_packet_tap_realloc(struct sl_packet_tap *tap, void *mem, size_t len)
{
    if (mem == NULL)
        return sl_packet_tap_alloc(tap, len);
    if (len > tap->max || tap->bytes > tap->max - len)
        return NULL;
    size_t before = malloc_usable_size(mem);
    if (!tap->unwiped) {
        void *copy = sl_packet_tap_alloc(tap, len);
        if (copy != NULL) {
            memcpy(copy, mem, before < len ? before : len);
            sl_packet_tap_free(tap, mem);
        }
        return copy;
    }
    void *moved = realloc(mem, len + SERIAL_LEN);
    if (moved != NULL) {
        put_serial(tap, moved);
        tap->bytes = tap->bytes - before + malloc_usable_size(moved);
    }
    return moved;
}

void sl_packet_tap_free(struct sl_packet_tap *tap, void *mem)
{
    if (mem != NULL) {
        size_t len = malloc_usable_size(mem);
        inspect(tap, mem, len);
        tap->bytes -= len;
        if (!tap->unwiped)
            explicit_bzero(mem, len);
        free(mem);
    }
}
