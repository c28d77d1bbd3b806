/* SPDX-License-Identifier: MIT */
/* A terminal's size and modes. */
#include "daemon/net/tty.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

/* The value of an opcode; -1: it is not among them. Checks the shape on the way. */
static int64_t value_of(const uint8_t *modes, size_t len, uint8_t opcode)
{
    int64_t value = -1;
    size_t at = 0;
    for (; at < len && modes[at] != 0; at += 5) {
        assert_true(at + 5 < len && modes[at] < 160); /* from 160 on the arguments would be of another size */
        if (modes[at] == opcode) {
            assert_int_equal(value, -1); /* once */
            value = ((int64_t)modes[at + 1] << 24) | (modes[at + 2] << 16) | (modes[at + 3] << 8) | modes[at + 4];
        }
    }
    assert_int_equal(at, len - 1); /* TTY_OP_END is the last */
    return value;
}

TEST(a_terminal_says_its_size)
{
    struct winsize size = {.ws_col = 132, .ws_row = 43, .ws_xpixel = 1320, .ws_ypixel = 860};
    struct sl_tty_size got = {.cols = 1};
    int master, slave, null = open("/dev/null", O_RDONLY);
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_true(sl_tty_is(slave));
    assert_false(sl_tty_is(null));
    assert_false(sl_tty_size(null, &got));
    assert_false(sl_tty_size(slave, &got)); /* nobody has said how large it is */
    assert_int_equal(got.cols, 1);
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    assert_true(sl_tty_size(slave, &got));
    assert_int_equal(got.cols, 132);
    assert_int_equal(got.rows, 43);
    assert_int_equal(got.width_px, 1320);
    assert_int_equal(got.height_px, 860);
    (void)close(master);
    (void)close(slave);
    (void)close(null);
}

TEST(its_modes_are_those_of_rfc_4254)
{
    uint8_t modes[SL_TTY_MODES_MAX];
    struct termios t;
    int master, slave;
    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(slave, &t), 0);
    t.c_cc[VINTR] = 3;
    t.c_cc[VEOL] = _POSIX_VDISABLE;
    t.c_cc[VSUSP] = 26;
    t.c_iflag = ICRNL | IXON | IUTF8;
    t.c_oflag = OPOST | ONLCR;
    t.c_lflag = ISIG | ICANON | ECHO | ECHOK;
    assert_int_equal(cfsetospeed(&t, B115200), 0);
    assert_int_equal(cfsetispeed(&t, B115200), 0);
    assert_int_equal(tcsetattr(slave, TCSANOW, &t), 0);
    size_t len = sl_tty_modes(slave, modes);
    static const struct {
        uint8_t opcode;
        int64_t value;
    } expected[] = {{1, 3}, {6, 255}, {10, 26}, {16, 255}, {36, 1}, {38, 1}, {42, 1}, {30, 0}, {39, 0}, {50, 1},
        {51, 1}, {52, 0}, {53, 1}, {54, 0}, {55, 1}, {58, 0}, {62, 0}, {70, 1}, {72, 1}, {73, 0}, {90, 0}, {91, 1},
        {92, 0}, {128, 115200}, {129, 115200}, {11, -1}, {17, -1}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(value_of(modes, len, expected[i].opcode), expected[i].value);

    t.c_cflag = (t.c_cflag & ~(tcflag_t)CSIZE) | CS7 | PARENB;
    t.c_lflag = 0;
    assert_int_equal(sl_tty_modes_encode(&t, modes), len);
    assert_int_equal(value_of(modes, len, 90), 1);
    assert_int_equal(value_of(modes, len, 91), 0);
    assert_int_equal(value_of(modes, len, 92), 1);
    assert_int_equal(value_of(modes, len, 51), 0);
    (void)close(master);
    assert_int_equal(sl_tty_modes(-1, modes), 0);
    (void)close(slave);
}

/* One flag set, one opcode that says so. */
TEST(each_flag_has_its_opcode)
{
    static const struct {
        uint8_t opcode;
        struct termios t;
    } flags[] = {
        {30, {.c_iflag = IGNPAR}},
        {31, {.c_iflag = PARMRK}},
        {32, {.c_iflag = INPCK}},
        {33, {.c_iflag = ISTRIP}},
        {34, {.c_iflag = INLCR}},
        {35, {.c_iflag = IGNCR}},
        {36, {.c_iflag = ICRNL}},
        {37, {.c_iflag = IUCLC}},
        {38, {.c_iflag = IXON}},
        {39, {.c_iflag = IXANY}},
        {40, {.c_iflag = IXOFF}},
        {41, {.c_iflag = IMAXBEL}},
        {42, {.c_iflag = IUTF8}},
        {50, {.c_lflag = ISIG}},
        {51, {.c_lflag = ICANON}},
        {52, {.c_lflag = XCASE}},
        {53, {.c_lflag = ECHO}},
        {54, {.c_lflag = ECHOE}},
        {55, {.c_lflag = ECHOK}},
        {56, {.c_lflag = ECHONL}},
        {57, {.c_lflag = NOFLSH}},
        {58, {.c_lflag = TOSTOP}},
        {59, {.c_lflag = IEXTEN}},
        {60, {.c_lflag = ECHOCTL}},
        {61, {.c_lflag = ECHOKE}},
        {62, {.c_lflag = PENDIN}},
        {70, {.c_oflag = OPOST}},
        {71, {.c_oflag = OLCUC}},
        {72, {.c_oflag = ONLCR}},
        {73, {.c_oflag = OCRNL}},
        {74, {.c_oflag = ONOCR}},
        {75, {.c_oflag = ONLRET}},
        {90, {.c_cflag = CS7}},
        {91, {.c_cflag = CS8}},
        {92, {.c_cflag = PARENB}},
        {93, {.c_cflag = PARODD}},
    };
    const size_t count = sizeof flags / sizeof flags[0];
    uint8_t modes[SL_TTY_MODES_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t len = sl_tty_modes_encode(&flags[i].t, modes);
        for (size_t j = 0; j < count; j++)
            assert_int_equal(value_of(modes, len, flags[j].opcode), i == j);
    }
}

TEST(speeds_are_bits_per_second)
{
    static const struct {
        speed_t code;
        int64_t bps;
    } speeds[] = {{B50, 50}, {B9600, 9600}, {B38400, 38400}, {B460800, 460800}, {B4000000, 4000000}, {B0, 38400}};
    uint8_t modes[SL_TTY_MODES_MAX];
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++) {
        struct termios t = {.c_cflag = CS8};
        assert_int_equal(cfsetospeed(&t, speeds[i].code), 0);
        size_t len = sl_tty_modes_encode(&t, modes);
        assert_int_equal(value_of(modes, len, 128), speeds[i].bps); /* that of output, where none of its own is set */
        assert_int_equal(value_of(modes, len, 129), speeds[i].bps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_says_its_size),
        cmocka_unit_test(its_modes_are_those_of_rfc_4254),
        cmocka_unit_test(each_flag_has_its_opcode),
        cmocka_unit_test(speeds_are_bits_per_second),
    };
    return cmocka_run_group_tests_name("net.tty", tests, NULL, NULL);
}
