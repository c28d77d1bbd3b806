/* SPDX-License-Identifier: MIT */
/* Any bytes as a configuration, in both modes, and as an ad-hoc target's name: what is taken holds to its ranges and
 * orders, what is not has an error to show, and no line of an error can be broken from outside. */
#include "config/build.h"
#include "config/diff.h"
#include "config/setting.h"
#include "config/value.h"
#include "config/world.h"
#include "proto/status.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/config/algorithms.h"

#include <errno.h>
#include <string.h>

/* A world without any I/O. */
static int try_read(void *arg, const char *path, enum sl_world_use use)
{
    (void)arg;
    (void)use;
    FUZZ_CHECK(path[0] == '/');
    return strstr(path, "none") != NULL ? ENOENT : 0;
}

static const char *env(void *arg, const char *name)
{
    (void)arg;
    return name[0] == 'X' ? NULL : "/set";
}

static int find_id(void *arg, const char *name, uint32_t *ret_id)
{
    (void)arg;
    if (name[0] == 'x')
        return ENOENT;
    *ret_id = (uint32_t)strlen(name);
    return 0;
}

static const struct sl_conf_world fuzz_world = {
    .uid = 1000,
    .user = "ci",
    .home = "/home/ci",
    .algorithms = &some_algorithms,
    .env = env,
    .try_read = try_read,
    .find_user = find_id,
    .find_group = find_id,
};

static void check_section(const struct sl_section *section, const void *base)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct sl_setting *s = &section->setting[i];
        if (!sl_setting_is_number(s))
            continue;
        uint64_t value = sl_setting_get(s, base);
        FUZZ_CHECK((value >= s->min && value <= s->max) || (value == 0 && s->zero != NULL));
    }
}

static void check_target(const struct sl_target_conf *t)
{
    check_section(&sl_section_target, t);
    FUZZ_CHECK(t->user_known_hosts_count <= t->known_hosts.count);
    FUZZ_CHECK(t->host_key_checking == SL_HOST_KEY_STRICT || t->user_known_hosts_count > 0);
    FUZZ_CHECK(t->policy.min_idle <= t->policy.max_connections);
    FUZZ_CHECK(t->policy.retry_min_ms <= t->policy.retry_max_ms);
    FUZZ_CHECK(t->policy.lease_timeout_ms <= t->policy.max_lease_ms);
    FUZZ_CHECK(t->identity_agent_set == (t->identity_agent != NULL));
    for (size_t i = 0; i < t->identity_count; i++)
        FUZZ_CHECK(t->identity[i].file[0] == '/');
    for (size_t i = 0; i < SL_ALGORITHM_KINDS; i++)
        FUZZ_CHECK(t->algorithms[i].names == NULL || t->algorithms[i].names[0] != '\0');
    for (size_t i = 0; i < t->known_hosts.count; i++)
        FUZZ_CHECK(t->known_hosts.item[i][0] == '/');
}

static void count_same(
    void *arg, enum sl_conf_change change, struct sl_target_conf *old_target, struct sl_target_conf *new_target)
{
    FUZZ_CHECK(change == SL_CONF_SAME && old_target == new_target);
    ++*(size_t *)arg;
}

static void check_conf(const struct sl_conf *conf)
{
    check_section(&sl_section_listen, &conf->listen);
    check_section(&sl_section_limits, &conf->limits);
    FUZZ_CHECK(conf->listen.path == NULL || (conf->listen.path[0] == '/' && strlen(conf->listen.path) <= 107));
    check_target(conf->defaults);
    for (size_t i = 0; i < conf->target_count; i++) {
        struct sl_target_conf *t = conf->target[i];
        check_target(t);
        FUZZ_CHECK(sl_value_target_name_wrong(t->name) == NULL);
        FUZZ_CHECK(t->user != NULL && sl_value_host_wrong(t->host) == NULL);
        FUZZ_CHECK(i == 0 || strcmp(conf->target[i - 1]->name, t->name) < 0);
        FUZZ_CHECK(sl_conf_find(conf, t->name) == t);
        FUZZ_CHECK(sl_target_conf_allows(t, &(struct sl_who){.uid = 0}));
    }
    size_t same = 0;
    sl_conf_diff(conf, conf, count_same, &same);
    FUZZ_CHECK(same == conf->target_count && sl_conf_needs_restart(conf, conf) == NULL);
}

static void check_lines(const struct sl_strv *lines)
{
    FUZZ_CHECK(lines->count <= SL_CONF_ERRORS_MAX);
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->item[i];
        FUZZ_CHECK(strncmp(line, "f:", 2) == 0 && strlen(line) < 1024);
        for (const char *c = line; *c != '\0'; c++)
            FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void check_errors(const struct sl_conf_errors *errors)
{
    FUZZ_CHECK(errors->lines.count >= 1);
    FUZZ_CHECK(errors->left_out == 0 || errors->lines.count == SL_CONF_ERRORS_MAX);
    check_lines(&errors->lines);
}

static void check_adhoc(const uint8_t *data, size_t size)
{
    struct sl_conf *conf;
    struct sl_target_conf *t, *again;
    char *name = strndup((const char *)data, size);
    FUZZ_CHECK(name != NULL && sl_conf_new_default_in(&fuzz_world, true, &conf) == 0);
    int status = sl_conf_adhoc(conf, name, &t);
    FUZZ_CHECK(status == 0 || status == SL_E_NO_TARGET);
    if (status == 0) {
        FUZZ_CHECK(strchr(t->name, '@') != NULL && t->host[0] != '-' && t->user[0] != '-');
        FUZZ_CHECK(sl_conf_adhoc(conf, t->name, &again) == 0);
        FUZZ_CHECK(strcmp(t->name, again->name) == 0 && sl_target_conf_same_identity(t, again));
        sl_target_conf_unref(again);
        sl_target_conf_unref(t);
    }
    sl_conf_free(conf);
    free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int one_user = 0; one_user <= 1; one_user++) {
        struct sl_conf *conf = NULL;
        struct sl_conf_errors errors = {0};
        int status = sl_conf_parse_in(&fuzz_world, "f", data, size, one_user != 0, &conf, &errors);
        if (status == 0) {
            FUZZ_CHECK(errors.lines.count == 0);
            check_conf(conf);
        } else {
            FUZZ_CHECK(status == SL_E_CONFIG && conf == NULL);
            check_errors(&errors);
        }
        check_lines(&errors.notes);
        sl_conf_free(conf);
        sl_conf_errors_fini(&errors);
    }
    check_adhoc(data, size);
    return 0;
}
