/* SPDX-License-Identifier: MIT */
/* Where mux sockets may be made: nobody else may be able to put another directory in its place. */
#include "daemon/front/mux/directory.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64], error[1024];

static int setup(void **state)
{
    (void)state;
    strcpy(top, "/tmp/sshlease-mux.XXXXXX"); /* itself in a directory where everybody writes, and which is sticky */
    (void)umask(022);
    return mkdtemp(top) == NULL || chmod(top, 0755) != 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

static const char *in_top(const char *name)
{
    static char path[8][128];
    static unsigned next;
    char *room = path[next++ % 8];
    snprintf(room, sizeof path[0], "%s/%s", top, name);
    return room;
}

static void make(const char *name, mode_t mode)
{
    assert_int_equal(mkdir(in_top(name), 0700), 0);
    assert_int_equal(chmod(in_top(name), mode), 0);
}

static void expect_good(const char *name)
{
    error[0] = '\0';
    int r = sl_mux_directory_make(in_top(name), false, error, sizeof error);
    assert_string_equal(error, "");
    assert_int_equal(r, 0);
}

/* `at` is what the message begins with. */
static void expect_bad(const char *name, const char *at, const char *why)
{
    const char *path = in_top(at);
    error[0] = '\0';
    assert_int_not_equal(sl_mux_directory_make(in_top(name), false, error, sizeof error), 0);
    assert_memory_equal(error, path, strlen(path));
    assert_memory_equal(error + strlen(path), ": ", 2);
    if (strstr(error, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, why);
}

TEST(it_is_made_where_it_is_missing)
{
    struct stat st;
    make("a", 0755);
    expect_good("a/mux");
    assert_int_equal(stat(in_top("a/mux"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    expect_good("a/mux");
    expect_good("a/./..//a/mux/");
    assert_int_equal(rmdir(in_top("a/mux")), 0);
    assert_int_equal(sl_mux_directory_make(in_top("a/mux"), true, error, sizeof error), 0);
    assert_int_equal(stat(in_top("a/mux"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    expect_bad("nowhere/mux", "nowhere/mux", "cannot be made: No such file or directory");
}

TEST(nobody_else_writes_above_it)
{
    make("open", 0777);
    expect_bad("open/mux", "open", "others may write there (mode 0777), and so put another directory in the place");
    make("open/a", 0755);
    expect_bad("open/a/mux", "open", "others may write there (mode 0777)");
    make("group", 0775);
    expect_bad("group/mux", "group", "others may write there (mode 0775)");
    make("sticky", 01777);
    expect_good("sticky/mux");
    assert_int_equal(chmod(in_top("sticky/mux"), 0775), 0);
    expect_bad("sticky/mux", "sticky/mux", "put sockets of their own in the place of ours");
}

TEST(a_link_leads_where_nobody_else_writes)
{
    make("good", 0755);
    make("open", 0777);
    make("open/a", 0755);
    assert_int_equal(symlink("good", in_top("to-good")), 0);
    expect_good("to-good/mux");
    assert_int_equal(symlink("../to-good/mux", in_top("good/link")), 0);
    expect_good("good/link");
    assert_int_equal(symlink(in_top("open/a"), in_top("to-open")), 0);
    expect_bad("to-open/mux", "open", "others may write there");
    /* By way of one that leads back out again: it can be changed. */
    assert_int_equal(symlink("../good", in_top("open/back")), 0);
    expect_bad("open/back/mux", "open", "others may write there");
    assert_int_equal(symlink("round", in_top("round")), 0);
    expect_bad("round/mux", "round/mux", "cannot be made: Too many levels of symbolic links");
}

TEST(a_users_own_group_is_nobody_else)
{
    if (getuid() != 0)
        skip(); /* a file's group can be any then */
    make("group", 0775);
    assert_int_equal(chown(in_top("group"), 0, 0), 0); /* 0 is the number of this user */
    assert_int_equal(sl_mux_directory_make(in_top("group/mux"), true, error, sizeof error), 0);
    assert_int_equal(chown(in_top("group"), 0, 65534), 0);
    assert_int_not_equal(sl_mux_directory_make(in_top("group/mux"), true, error, sizeof error), 0);
    assert_int_equal(chown(in_top("group"), 0, 0), 0);
    expect_bad("group/mux", "group", "others may write there"); /* clients of the service are in its group */
}

TEST(nothing_above_it_is_somebody_elses)
{
    if (getuid() != 0)
        skip();
    make("theirs", 0755);
    assert_int_equal(chown(in_top("theirs"), 65534, 65534), 0);
    expect_bad("theirs/mux", "theirs", "belongs to user 65534");
    make("sticky", 01777);
    make("good", 0755);
    assert_int_equal(symlink("../good", in_top("sticky/link")), 0);
    expect_good("sticky/link/mux");
    assert_int_equal(lchown(in_top("sticky/link"), 65534, 65534), 0);
    expect_bad("sticky/link/mux", "sticky/link", "is a link that belongs to user 65534");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_made_where_it_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_else_writes_above_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_leads_where_nobody_else_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_users_own_group_is_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_above_it_is_somebody_elses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
