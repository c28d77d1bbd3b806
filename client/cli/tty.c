/* SPDX-License-Identifier: MIT */
/* Asks the local terminal for its size and modes, and switches it to raw mode and back. */
#include "client/cli/tty.h"

#include "proto/tty_modes.h"

#include <sys/ioctl.h>
#include <unistd.h>

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

_Static_assert(CLI_TTY_MODES_MAX == SL_TTY_MODES_MAX, "the same room");

size_t cli_tty_modes(const struct cli_tty *tty, unsigned char *modes)
{
    return tty->fd < 0 ? 0 : sl_tty_modes_encode(&tty->saved, modes);
}

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
