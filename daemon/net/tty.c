/* SPDX-License-Identifier: MIT */
/* Asks a passed descriptor for a terminal's size and modes. */
#include "daemon/net/tty.h"

#include "daemon/net/fd_jobs.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool sl_tty_is(int fd)
{
    struct statx st;
    /* What is asked of a file is passed on to its file system. */
    return sl_fd_stat(fd, &st) == 0 && S_ISCHR(st.stx_mode) && isatty(fd) == 1;
}

bool sl_tty_is_null(int fd)
{
    struct statx st;
    return sl_fd_stat(fd, &st) == 0 && S_ISCHR(st.stx_mode) &&
           makedev(st.stx_rdev_major, st.stx_rdev_minor) == makedev(1, 3);
}

bool sl_tty_size(int fd, struct sl_tty_size *ret_size)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return false;
    *ret_size = (struct sl_tty_size){
        .cols = size.ws_col, .rows = size.ws_row, .width_px = size.ws_xpixel, .height_px = size.ws_ypixel};
    return true;
}

size_t sl_tty_modes(int fd, uint8_t *modes)
{
    struct termios termios;
    return tcgetattr(fd, &termios) == 0 ? sl_tty_modes_encode(&termios, modes) : 0;
}
