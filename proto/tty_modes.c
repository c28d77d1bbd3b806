/* SPDX-License-Identifier: MIT */
/* Translates struct termios, flag by flag, to SSH's opcodes. */
#include "proto/tty_modes.h"

#include <stdbool.h>
#include <unistd.h>

/* Left out, because no such thing is here: 11 VDSUSP, 15 VFLUSH, 17 VSTATUS. */
static const struct {
    uint8_t opcode;
    uint8_t index;
} characters[] = {
    {1, VINTR},
    {2, VQUIT},
    {3, VERASE},
    {4, VKILL},
    {5, VEOF},
    {6, VEOL},
    {7, VEOL2},
    {8, VSTART},
    {9, VSTOP},
    {10, VSUSP},
    {12, VREPRINT},
    {13, VWERASE},
    {14, VLNEXT},
    {16, VSWTC},
    {18, VDISCARD},
};

static const struct {
    uint8_t opcode;
    enum { INPUT, LOCAL, OUTPUT, CONTROL } where;
    tcflag_t bit;
} flags[] = {
    {30, INPUT, IGNPAR},
    {31, INPUT, PARMRK},
    {32, INPUT, INPCK},
    {33, INPUT, ISTRIP},
    {34, INPUT, INLCR},
    {35, INPUT, IGNCR},
    {36, INPUT, ICRNL},
    {37, INPUT, IUCLC},
    {38, INPUT, IXON},
    {39, INPUT, IXANY},
    {40, INPUT, IXOFF},
    {41, INPUT, IMAXBEL},
    {42, INPUT, IUTF8},
    {50, LOCAL, ISIG},
    {51, LOCAL, ICANON},
    {52, LOCAL, XCASE},
    {53, LOCAL, ECHO},
    {54, LOCAL, ECHOE},
    {55, LOCAL, ECHOK},
    {56, LOCAL, ECHONL},
    {57, LOCAL, NOFLSH},
    {58, LOCAL, TOSTOP},
    {59, LOCAL, IEXTEN},
    {60, LOCAL, ECHOCTL},
    {61, LOCAL, ECHOKE},
    {62, LOCAL, PENDIN},
    {70, OUTPUT, OPOST},
    {71, OUTPUT, OLCUC},
    {72, OUTPUT, ONLCR},
    {73, OUTPUT, OCRNL},
    {74, OUTPUT, ONOCR},
    {75, OUTPUT, ONLRET},
    {90, CONTROL, CS7},
    {91, CONTROL, CS8},
    {92, CONTROL, PARENB},
    {93, CONTROL, PARODD},
};

#define OP_END    0
#define OP_ISPEED 128
#define OP_OSPEED 129

/* Where the speed of input stands in c_cflag; 0 there: as that of output. */
#ifndef IBSHIFT
#define IBSHIFT 16
#endif

/* Termios speeds are codes, the protocol's are bits per second. */
static const struct {
    speed_t code;
    uint32_t bps;
} speeds[] = {
    {B50, 50},
    {B75, 75},
    {B110, 110},
    {B134, 134},
    {B150, 150},
    {B200, 200},
    {B300, 300},
    {B600, 600},
    {B1200, 1200},
    {B1800, 1800},
    {B2400, 2400},
    {B4800, 4800},
    {B9600, 9600},
    {B19200, 19200},
    {B38400, 38400},
    {B57600, 57600},
    {B115200, 115200},
    {B230400, 230400},
    {B460800, 460800},
    {B500000, 500000},
    {B576000, 576000},
    {B921600, 921600},
    {B1000000, 1000000},
    {B1152000, 1152000},
    {B1500000, 1500000},
    {B2000000, 2000000},
    {B2500000, 2500000},
    {B3000000, 3000000},
    {B3500000, 3500000},
    {B4000000, 4000000},
};

static uint32_t bits_per_second(speed_t code)
{
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].code == code)
            return speeds[i].bps;
    return 38400; /* a hung up line (B0), or a speed without a code: what a virtual terminal says */
}

static size_t put(uint8_t *modes, size_t at, uint8_t opcode, uint32_t value)
{
    modes[at] = opcode;
    modes[at + 1] = (uint8_t)(value >> 24);
    modes[at + 2] = (uint8_t)(value >> 16);
    modes[at + 3] = (uint8_t)(value >> 8);
    modes[at + 4] = (uint8_t)value;
    return at + 5;
}

size_t sl_tty_modes_encode(const struct termios *t, uint8_t *modes)
{
    const tcflag_t values[] = {
        [INPUT] = t->c_iflag, [LOCAL] = t->c_lflag, [OUTPUT] = t->c_oflag, [CONTROL] = t->c_cflag};
    const speed_t out = t->c_cflag & CBAUD, in = (t->c_cflag & CIBAUD) >> IBSHIFT;
    size_t at = 0;
    at = put(modes, at, OP_ISPEED, bits_per_second(in != 0 ? in : out));
    at = put(modes, at, OP_OSPEED, bits_per_second(out));
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        cc_t character = t->c_cc[characters[i].index];
        at = put(modes, at, characters[i].opcode, character == _POSIX_VDISABLE ? 255 : character);
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        tcflag_t bit = flags[i].bit, mask = bit == CS7 || bit == CS8 ? CSIZE : bit;
        at = put(modes, at, flags[i].opcode, (values[flags[i].where] & mask) == bit);
    }
    modes[at++] = OP_END;
    return at;
}

_Static_assert(
    5 * (2 + sizeof characters / sizeof characters[0] + sizeof flags / sizeof flags[0]) + 1 <= SL_TTY_MODES_MAX,
    "room for every mode");
