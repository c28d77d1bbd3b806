#include "daemon/front/mux_forward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const char *line, enum sl_forward_asker asker)
{
    if (sl_forward_asker_of(line) != asker)
        fail_msg("%s: %d", line, (int)sl_forward_asker_of(line));
}

static void control_commands_are_told_apart(void **state)
{
    (void)state;
    expect("ssh -O forward -L 8080:web:80 t", SL_ASKER_CONTROL);
    expect("ssh -L 8080:web:80 t -O forward", SL_ASKER_CONTROL);
    expect("/usr/bin/ssh -Oforward -R 0:web:80 t", SL_ASKER_CONTROL);
    expect("ssh -F file -fNO forward -D 1080 t", SL_ASKER_CONTROL);
    expect("ssh -4O  forward t", SL_ASKER_CONTROL);
}

static void whoever_wants_a_session_does_too(void **state)
{
    (void)state;
    expect("ssh -L 8080:web:80 t", SL_ASKER_SESSION);
    expect("ssh -fN -D 1080 -o BatchMode=yes t", SL_ASKER_SESSION);
    expect("ssh -oControlPath=/run/O -L 1:a:2 t ls -l /O", SL_ASKER_SESSION);
    expect("scp -S ssh a t:b", SL_ASKER_SESSION);
}

static void who_may_be_either_is_not_judged(void **state)
{
    (void)state;
    expect("", SL_ASKER_UNKNOWN);
    expect("ssh -L 8080:web:80 t ls -O", SL_ASKER_UNKNOWN);
    expect("ssh -O", SL_ASKER_UNKNOWN);
    expect("ssh -O forwards t", SL_ASKER_UNKNOWN);
    expect("ssh -O cancel -L 8080:web:80 t", SL_ASKER_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_commands_are_told_apart),
        cmocka_unit_test(whoever_wants_a_session_does_too),
        cmocka_unit_test(who_may_be_either_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
