/* SPDX-License-Identifier: MIT */
/* The sweep's script, run by this machine's sh: ends every process that carries a mark, however it hid, and no other.
 */
#include "daemon/ssh/reclaim/sweep.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Starts `command` with LC_SSHLEASE=`mark`; it writes a process id to its standard output, which is returned. */
static pid_t start_marked(const char *mark, const char *command)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        setenv("LC_SSHLEASE", mark, 1);
        dup2(fds[1], 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    char text[32] = "";
    size_t len = 0;
    while (len < sizeof text - 1 && strchr(text, '\n') == NULL) {
        ssize_t n = read(fds[0], text + len, sizeof text - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fds[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    pid_t pid = (pid_t)atoi(text);
    assert_true(pid > 1);
    return pid;
}

static bool is_there(pid_t pid)
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, stat, sizeof stat - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    stat[n] = '\0';
    const char *state = strrchr(stat, ')');
    return state != NULL && state[2] != 'Z';
}

static struct sl_sweep_result sweep(const char *path, const char *const *mark, size_t count)
{
    static char output[4096];
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        if (path != NULL)
            setenv("PATH", path, 1);
        /* As if the sweep had come through a channel of the same lease. */
        setenv("LC_SSHLEASE", mark[0], 1);
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/bin/sh", "sh", "-c", SL_SWEEP_COMMAND, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    const struct sl_sweep_marks marks = {.text = mark, .count = count};
    char *script = sl_sweep_script(&marks);
    assert_non_null(script);
    assert_int_equal(write(in[1], script, strlen(script)), (ssize_t)strlen(script));
    free(script);
    close(in[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(out[0], output + len, sizeof output - len)) > 0)
        len += (size_t)n;
    close(out[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct sl_sweep_result result;
    sl_sweep_parse(output, len, &result);
    return result;
}

/* A mark nobody else on this machine has. */
static const char *unique(char *buf, const char *tail)
{
    sprintf(buf, "test%ld-%s", (long)getpid(), tail);
    return buf;
}

#define DETACHED "setsid nohup sh -c 'echo $$; exec sleep 300' 2>/dev/null </dev/null & exit 0"
#define DOUBLE                                                                                                         \
    "(setsid sh -c '(trap \"\" TERM HUP; sh -c \"echo \\$PPID\"; while :; do sleep 1; done) &' </dev/null "            \
    "2>/dev/null &) ; exit 0"

TEST(test_ends_what_carries_a_mark)
{
    char a[64], b[64], c[64], text[3][96];
    pid_t one = start_marked(unique(a, "1-1."), DETACHED);
    pid_t two = start_marked(unique(b, "1-12."), DOUBLE);
    pid_t other = start_marked(unique(c, "2-1."), DETACHED);
    snprintf(text[0], sizeof text[0], "LC_SSHLEASE=%s", a);
    const char *first[] = {text[0]};
    struct sl_sweep_result result = sweep(NULL, first, 1);
    assert_true(result.ran);
    assert_int_equal(result.swept, 1);
    assert_int_equal(result.remaining, 0);
    assert_false(is_there(one));
    assert_true(is_there(two));
    assert_true(is_there(other));
    /* By the beginning that a lease's marks share; twice, for nothing is left then. */
    unique(a, "1-");
    snprintf(text[1], sizeof text[1], "LC_SSHLEASE=%s", a);
    const char *lease[] = {text[1], text[0]};
    result = sweep(NULL, lease, 2);
    assert_true(result.ran);
    assert_true(result.swept >= 1);
    assert_int_equal(result.remaining, 0);
    assert_false(is_there(two));
    assert_true(is_there(other));
    result = sweep(NULL, lease, 2);
    assert_true(result.ran);
    assert_int_equal(result.swept, 0);
    kill(other, SIGKILL);
}

/* Sweeps for `mark` with another grep, a shell script. */
static struct sl_sweep_result sweep_with_grep(const char *script, const char *mark)
{
    char dir[] = "/tmp/sshlease-test.XXXXXX", path[128], search[256], text[96];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/grep", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(script, file);
    fclose(file);
    chmod(path, 0755);
    snprintf(text, sizeof text, "LC_SSHLEASE=%s", mark);
    const char *marks[] = {text};
    snprintf(search, sizeof search, "%s:/usr/bin:/bin", dir);
    struct sl_sweep_result result = sweep(search, marks, 1);
    unlink(path);
    rmdir(dir);
    return result;
}

/* A grep that stops at a zero byte, as small systems have it. */
TEST(test_poor_grep)
{
    char mark[64];
    pid_t pid = start_marked(unique(mark, "3-1."), DETACHED);
    struct sl_sweep_result result =
        sweep_with_grep("#!/bin/sh\n"
                        "# Refuses files, and finds nothing in lines with zero bytes.\n"
                        "for a; do case $a in -ls) exit 2 ;; esac; done\n"
                        "tmp=$(mktemp); trap 'rm -f $tmp' EXIT; cat >$tmp\n"
                        "if [ \"$(tr -d '\\000' <$tmp | wc -c)\" != \"$(wc -c <$tmp)\" ]; then echo 0; exit 1; fi\n"
                        "/bin/grep \"$@\" <$tmp\n",
            mark);
    assert_true(result.ran);
    assert_int_equal(result.swept, 1);
    assert_false(is_there(pid));
}

/* With so many processes that their names do not fit one command, the shell cannot run it. */
TEST(test_too_many_for_one_command)
{
    char mark[64];
    pid_t pid = start_marked(unique(mark, "4-1."), DETACHED);
    struct sl_sweep_result result = sweep_with_grep("#!/bin/sh\n"
                                                    "for a; do case $a in -ls) exit 126 ;; esac; done\n"
                                                    "exec /bin/grep \"$@\"\n",
        mark);
    assert_true(result.ran);
    assert_int_equal(result.swept, 1);
    assert_false(is_there(pid));
}

/* A sweep that cannot look has not run: it must not say that it found nothing. */
TEST(test_no_grep)
{
    char mark[64];
    pid_t pid = start_marked(unique(mark, "5-1."), DETACHED);
    struct sl_sweep_result result = sweep_with_grep("#!/bin/sh\nexit 127\n", mark);
    assert_false(result.ran);
    assert_true(is_there(pid));
    kill(pid, SIGKILL);
}

TEST(test_parse)
{
    struct sl_sweep_result result;
    static const char good[] = "Welcome!\r\nSSHLEASE-SWEEP 3 1 2\nbye\n";
    sl_sweep_parse(good, sizeof good - 1, &result);
    assert_true(result.ran);
    assert_int_equal(result.swept, 3);
    assert_int_equal(result.remaining, 1);
    assert_int_equal(result.spared, 2);
    static const char *const bad[] = {"", "SSHLEASE-SWEEP ", "SSHLEASE-SWEEP 3\n", "SSHLEASE-SWEEP 3 1\n",
        "SSHLEASE-SWEEP 3 1 0", "SSHLEASE-SWEEP x y z\n", "% Invalid input"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sl_sweep_parse(bad[i], strlen(bad[i]), &result);
        assert_false(result.ran);
        assert_true(result.has_proc); /* it was not the script that spoke */
    }
    static const char no_proc[] = "SSHLEASE-SWEEP no-proc\n";
    sl_sweep_parse(no_proc, sizeof no_proc - 1, &result);
    assert_false(result.ran);
    assert_false(result.has_proc);
}

/* A process that begins a moment after its lease does not seem older than the lease, wherever in a hundredth of a second
 * either falls; one that began 30 ms earlier does. */
TEST(test_the_age_of_a_lease_is_no_less_than_it_is)
{
    for (uint64_t began_us = 1000000; began_us < 1020000; began_us += 250) {
        for (uint64_t age_us = 0; age_us < 40000; age_us += 750) {
            const uint64_t now_us = began_us + age_us, uptime_cs = now_us / 10000;
            /* The daemon's clock, which counts from another moment. */
            const uint64_t age_ms = (now_us + 777) / 1000 - (began_us + 777) / 1000;
            const uint64_t since_cs = sl_sweep_since(uptime_cs, age_ms);
            assert_true(began_us / 10000 >= since_cs);
            assert_true((began_us - 30000) / 10000 < since_cs);
        }
    }
    assert_int_equal(sl_sweep_since(5, 100), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_age_of_a_lease_is_no_less_than_it_is),
        cmocka_unit_test(test_ends_what_carries_a_mark),
        cmocka_unit_test(test_poor_grep),
        cmocka_unit_test(test_too_many_for_one_command),
        cmocka_unit_test(test_no_grep),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
