#include "client/cli/tty.h"

#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Opcodes: RFC 4254 section 8; IUTF8: RFC 8160. */
static const struct {
    unsigned char opcode;
    unsigned char index;
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
    {18, VDISCARD},
};

static const struct {
    unsigned char opcode;
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
    {53, LOCAL, ECHO},
    {54, LOCAL, ECHOE},
    {55, LOCAL, ECHOK},
    {56, LOCAL, ECHONL},
    {57, LOCAL, NOFLSH},
    {58, LOCAL, TOSTOP},
    {59, LOCAL, IEXTEN},
    {60, LOCAL, ECHOCTL},
    {61, LOCAL, ECHOKE},
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

bool cli_tty_init(struct cli_tty *tty)
{
    *tty = (struct cli_tty){.fd = -1};
    if (tcgetattr(STDIN_FILENO, &tty->saved) != 0)
        return false;
    tty->fd = STDIN_FILENO;
    return true;
}

void cli_tty_size(struct sshlease_pty *ret_pty)
{
    struct winsize size;

    ret_pty->cols = 80;
    ret_pty->rows = 24;
    ret_pty->width_px = ret_pty->height_px = 0;
    for (int fd = 0; fd < 3; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
            ret_pty->cols = size.ws_col;
            ret_pty->rows = size.ws_row;
            ret_pty->width_px = size.ws_xpixel;
            ret_pty->height_px = size.ws_ypixel;
            return;
        }
}

static size_t put(unsigned char *modes, size_t at, unsigned char opcode, uint32_t value)
{
    modes[at] = opcode;
    modes[at + 1] = (unsigned char)(value >> 24);
    modes[at + 2] = (unsigned char)(value >> 16);
    modes[at + 3] = (unsigned char)(value >> 8);
    modes[at + 4] = (unsigned char)value;
    return at + 5;
}

/* Termios speeds are codes, the protocol's are bits per second. */
static uint32_t bits_per_second(speed_t speed)
{
    static const struct {
        speed_t code;
        uint32_t bps;
    } speeds[] = {{B9600, 9600}, {B19200, 19200}, {B38400, 38400}, {B57600, 57600}, {B115200, 115200}};

    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].code == speed)
            return speeds[i].bps;
    return 38400;
}

size_t cli_tty_modes(const struct cli_tty *tty, unsigned char *modes)
{
    const struct termios *t = &tty->saved;
    const tcflag_t values[] = {
        [INPUT] = t->c_iflag, [LOCAL] = t->c_lflag, [OUTPUT] = t->c_oflag, [CONTROL] = t->c_cflag};
    size_t at = 0;

    if (tty->fd < 0)
        return 0;
    at = put(modes, at, OP_ISPEED, bits_per_second(cfgetispeed(t)));
    at = put(modes, at, OP_OSPEED, bits_per_second(cfgetospeed(t)));
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        cc_t character = t->c_cc[characters[i].index];
        at = put(modes, at, characters[i].opcode, character == _POSIX_VDISABLE ? 255 : character);
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        tcflag_t bit = flags[i].bit, mask = bit == CS7 || bit == CS8 ? CSIZE : bit;
        bool is_control = flags[i].where == CONTROL;
        at = put(modes, at, flags[i].opcode, (values[flags[i].where] & (is_control ? mask : bit)) == bit);
    }
    modes[at++] = OP_END;
    return at;
}

_Static_assert(
    5 * (2 + sizeof characters / sizeof characters[0] + sizeof flags / sizeof flags[0]) + 1 <= CLI_TTY_MODES_MAX,
    "room for every mode");

void cli_tty_raw(struct cli_tty *tty)
{
    struct termios raw = tty->saved;

    if (tty->fd < 0)
        return;
    cfmakeraw(&raw);
    tty->raw = tcsetattr(tty->fd, TCSADRAIN, &raw) == 0;
}

void cli_tty_restore(struct cli_tty *tty)
{
    if (tty->raw)
        tcsetattr(tty->fd, TCSADRAIN, &tty->saved);
    tty->raw = false;
}
