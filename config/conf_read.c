#include "config/conf_read.h"

#include "config/conf_parts.h"
#include "config/conf_value.h"
#include "daemon/base/duration.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers and words --- */

static bool in_range(const struct sl_setting *s, uint64_t value)
{
    return (value >= s->min && value <= s->max) || (value == 0 && s->zero != NULL);
}

static bool take_number(struct sl_conf_reader *r, const struct sl_setting *s, int node, uint64_t value, void *base)
{
    if (!in_range(s, value))
        return sl_read_refuse(r, s, node, "%s is out of range", sl_read_text(r, s, node));
    sl_setting_set(s, base, value);
    return true;
}

static bool read_number(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    uint64_t value = 0;
    if (text == NULL)
        return false;
    if (sl_node_type(r->doc, node) == SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "%s is in quotes", SL_SHOW(text));
    switch (sl_value_number(text, &value)) {
    case SL_VALUE_OK:
        return take_number(r, s, node, value, base);
    case SL_VALUE_TOO_LARGE:
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    default:
        return sl_read_refuse(r, s, node, "%s is not a whole number", SL_SHOW(text));
    }
}

static bool read_duration(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    uint64_t value = 0;
    if (text == NULL)
        return false;
    switch (sl_duration_parse(text, &value)) {
    case SL_DURATION_OK:
        return take_number(r, s, node, value, base);
    case SL_DURATION_TOO_LARGE:
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    case SL_DURATION_NO_UNIT:
        return sl_read_refuse(r, s, node, "%.20s has no unit", text);
    default:
        return sl_read_refuse(r, s, node, "%s is not a duration", SL_SHOW(text));
    }
}

static bool read_choice(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    for (size_t i = 0; s->choice[i] != NULL; i++) {
        if (strcmp(s->choice[i], text) == 0) {
            sl_setting_set(s, base, i);
            return true;
        }
    }
    return sl_read_refuse(r, s, node, "%s is none of its words", SL_SHOW(text));
}

static bool read_host_key_checking(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    static const char *const offs[] = {"no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"};
    static const char *const yeses[] = {"true", "True", "TRUE", "Yes", "YES"};
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    for (size_t i = 0; i < sizeof offs / sizeof offs[0]; i++) {
        if (strcmp(text, offs[i]) == 0)
            return sl_read_refuse(r, s, node, "%s is refused: host keys are always checked", SL_SHOW(text));
    }
    /* What YAML 1.1 has for yes. */
    for (size_t i = 0; i < sizeof yeses / sizeof yeses[0]; i++) {
        if (strcmp(text, yeses[i]) == 0) {
            sl_setting_set(s, base, SL_HOST_KEY_STRICT);
            return true;
        }
    }
    return read_choice(r, s, node, base);
}

static bool read_mode(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    if (sl_node_type(r->doc, node) != SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "is not in quotes");
    uint64_t mode;
    enum sl_value value = sl_value_mode(text, &mode);
    if (value == SL_VALUE_MALFORMED)
        return sl_read_refuse(r, s, node, "%s is not octal", SL_SHOW(text));
    if (value != SL_VALUE_OK || mode > s->max)
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    if ((mode & s->min) != s->min)
        return sl_read_refuse(r, s, node, "%s shuts out the daemon's own user", SL_SHOW(text));
    sl_setting_set(s, base, mode);
    return true;
}

/* --- names --- */

static bool read_name(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    const char *wrong = s->kind == SL_SETTING_USER ? sl_value_user_wrong(text) : sl_value_host_wrong(text);
    if (wrong != NULL)
        return sl_read_refuse(r, s, node, "%s %s", SL_SHOW(text), wrong);
    return sl_read_keep_text(r, sl_read_member(s, base), text);
}

static const char *wrong_pattern(const struct sl_setting *s, const char *text)
{
    return s->kind == SL_SETTING_DESTINATIONS ? sl_value_destination_wrong(text) : sl_value_pattern_wrong(text);
}

static bool read_patterns(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_strv list = {0};
    bool good = true;
    int item;
    for (size_t i = 0; (item = sl_read_nth(r, node, i)) != 0; i++) {
        const char *text = sl_read_text(r, s, item);
        const char *wrong = text == NULL ? NULL : wrong_pattern(s, text);
        if (text == NULL)
            good = false;
        else if (wrong != NULL)
            good = sl_read_refuse(r, s, item, "%s %s", SL_SHOW(text), wrong);
        else if (sl_strv_add(&list, text) != SL_OK)
            good = sl_read_out_of_memory(r);
    }
    if (!good) {
        sl_strv_fini(&list);
        return false;
    }
    struct sl_strv *slot = sl_read_member(s, base);
    sl_strv_fini(slot);
    *slot = list;
    return true;
}

/* --- mappings --- */

/* Any kind of setting, by its own reader. */
static bool read_value(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);

static bool read_node(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    (void)r;
    *(int *)sl_read_member(s, base) = node;
    return true;
}

/* A mapping of one entry, which says where the secret is. Nothing that is given there may show in a message. */
static bool read_secret(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    enum sl_node_type type = sl_node_type(r->doc, node);
    if (type == SL_NODE_PLAIN || type == SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "stands in the file itself, where no secret may be");
    if (type != SL_NODE_MAP)
        return sl_read_refuse(r, s, node, "%s", sl_node_is(r->doc, node));
    int key, value, another;
    if (!sl_node_entry(r->doc, node, 0, &key, &value))
        return sl_read_refuse(r, s, node, "is an empty mapping");
    if (sl_node_entry(r->doc, node, 1, &another, &another))
        return sl_read_refuse(r, s, another, "comes from more than one place");
    const struct sl_setting *way = sl_section_find(&sl_section_secret, sl_node_text(r->doc, key));
    if (way == NULL)
        return sl_read_refuse(r, s, key, "has an unknown key");
    struct sl_secret secret = {0};
    if (!read_value(r, way, value, &secret)) {
        sl_secret_fini(&secret);
        return false;
    }
    struct sl_secret *slot = sl_read_member(s, base);
    sl_secret_fini(slot);
    *slot = secret;
    return true;
}

static bool read_allow(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_target_conf *t = base;
    struct sl_conf_access access;
    if (!sl_read_access(r, s->key, s->right, node, &access))
        return false;
    free(t->allow_uid);
    free(t->allow_gid);
    t->allow_everyone = false;
    t->allow_uid = access.uid;
    t->allow_uid_count = access.uid_count;
    t->allow_gid = access.gid;
    t->allow_gid_count = access.gid_count;
    return true;
}

static bool read_value(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    static const sl_read_fn reader[] = {
        [SL_SETTING_COUNT] = read_number,
        [SL_SETTING_DURATION] = read_duration,
        [SL_SETTING_CHOICE] = read_choice,
        [SL_SETTING_HOST_KEY_CHECKING] = read_host_key_checking,
        [SL_SETTING_MODE] = read_mode,
        [SL_SETTING_HOST] = read_name,
        [SL_SETTING_USER] = read_name,
        [SL_SETTING_SOCKET_PATH] = sl_read_socket_path,
        [SL_SETTING_SOCKET_DIRECTORY] = sl_read_socket_directory,
        [SL_SETTING_AGENT] = sl_read_agent,
        [SL_SETTING_IDENTITIES] = sl_read_identities,
        [SL_SETTING_CERTIFICATES] = sl_read_certificates,
        [SL_SETTING_USER_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_GLOBAL_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_PATTERNS] = read_patterns,
        [SL_SETTING_DESTINATIONS] = read_patterns,
        [SL_SETTING_ALGORITHMS] = sl_read_algorithms,
        [SL_SETTING_SECRET] = read_secret,
        [SL_SETTING_ALLOW] = read_allow,
        [SL_SETTING_USERS] = sl_read_users,
        [SL_SETTING_GROUPS] = sl_read_groups,
        [SL_SETTING_GROUP] = sl_read_group,
        [SL_SETTING_SECRET_FILE] = sl_read_secret_file,
        [SL_SETTING_SECRET_ENV] = sl_read_secret_env,
        [SL_SETTING_SECRET_CREDENTIAL] = sl_read_secret_credential,
        [SL_SETTING_SECTION] = read_node,
    };
    return reader[s->kind](r, s, node, base);
}

static void report_unknown(struct sl_conf_reader *r, const struct sl_section *section, const char *where, int key)
{
    if (sl_problems_full(r->problems)) {
        r->problems->left_out++;
        return;
    }
    const char *names[SL_SECTION_SETTINGS_MAX];
    char known[160] = "see sshleased.yaml(5) for what is known there";
    int at = 0;
    for (size_t i = 0; i < section->count; i++) {
        names[i] = section->setting[i].key;
        if (section->count <= 8) {
            const char *between = i == 0 ? "give " : i + 1 == section->count ? " or " : ", ";
            at += snprintf(known + at, sizeof known - (size_t)at, "%s%s", between, names[i]);
        }
    }
    const char *text = sl_node_text(r->doc, key);
    const char *nearest = sl_value_nearest(text, names, section->count);
    if (nearest != NULL)
        sl_problem_add(r->problems, sl_node_mark(r->doc, key), "unknown key %s in %s; did you mean %s?", SL_SHOW(text),
            where, nearest);
    else
        sl_problem_add(r->problems, sl_node_mark(r->doc, key), "unknown key %s in %s; %s", SL_SHOW(text), where, known);
}

void sl_read_section(struct sl_conf_reader *r, const struct sl_section *section, const char *where, const char *right,
    int map, void *base, struct sl_seen seen[SL_SECTION_SETTINGS_MAX])
{
    memset(seen, 0, SL_SECTION_SETTINGS_MAX * sizeof *seen);
    enum sl_node_type type = sl_node_type(r->doc, map);
    if (type == SL_NODE_NULL) /* all of it commented out */
        return;
    if (type != SL_NODE_MAP) {
        sl_problem_add(r->problems, sl_node_mark(r->doc, map), "%s %s; %s", where, sl_node_is(r->doc, map), right);
        return;
    }
    sl_node_check_keys(r->doc, map, "key");
    int key, value;
    for (size_t i = 0; sl_node_entry(r->doc, map, i, &key, &value); i++) {
        enum sl_node_type key_type = sl_node_type(r->doc, key);
        if (key_type != SL_NODE_PLAIN && key_type != SL_NODE_QUOTED)
            continue;
        const struct sl_setting *s = sl_section_find(section, sl_node_text(r->doc, key));
        if (s == NULL) {
            report_unknown(r, section, where, key);
            continue;
        }
        bool good = read_value(r, s, value, base);
        seen[s - section->setting] = (struct sl_seen){good ? SL_GIVEN_GOOD : SL_GIVEN_BAD, sl_node_mark(r->doc, value)};
    }
}

bool sl_read_access(
    struct sl_conf_reader *r, const char *where, const char *right, int map, struct sl_conf_access *ret_access)
{
    struct sl_conf_access access = {0};
    struct sl_seen seen[SL_SECTION_SETTINGS_MAX];
    sl_read_section(r, &sl_section_access, where, right, map, &access, seen);
    bool good = true, any = false;
    for (size_t i = 0; i < sl_section_access.count; i++) {
        good = good && seen[i].given != SL_GIVEN_BAD;
        any = any || seen[i].given != SL_GIVEN_NOT;
    }
    /* An unknown key is bad enough, but has been told; so has a wrong type. */
    enum sl_node_type type = sl_node_type(r->doc, map);
    int key, value;
    if (!any && (type == SL_NODE_NULL || (type == SL_NODE_MAP && !sl_node_entry(r->doc, map, 0, &key, &value))))
        sl_problem_add(r->problems, sl_node_mark(r->doc, map), "%s names nobody; %s", where, right);
    if (!good || !any) {
        free(access.uid);
        free(access.gid);
        return false;
    }
    *ret_access = access;
    return true;
}
