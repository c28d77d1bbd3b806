#include "config/conf_reader.h"

#include "config/conf_parts.h"
#include "config/conf_value.h"
#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sl_read_out_of_memory(struct sl_conf_reader *r)
{
    r->problems->status = SL_E_NOMEM;
    return false;
}

/* Adds "KEY what is wrong; what would be right" at the node. False, for the reader to return. */
static bool vrefuse(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right,
    const char *format, va_list args) __attribute__((format(printf, 5, 0)));
static bool vrefuse(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right, const char *format, va_list args)
{
    char *what;
    if (vasprintf(&what, format, args) < 0)
        return sl_read_out_of_memory(r);
    sl_problem_add(r->problems, sl_node_mark(r->doc, node), "%s %s; %s", s->key, what, right);
    free(what);
    return false;
}

bool sl_read_refuse_with(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vrefuse(r, s, node, right, format, args);
    va_end(args);
    return false;
}

/* The same with what the table has as right. */
bool sl_read_refuse(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *format, ...)
{
    char right[SL_SETTING_RIGHT_SIZE];
    va_list args;
    va_start(args, format);
    vrefuse(r, s, node, sl_setting_right(s, right), format, args);
    va_end(args);
    return false;
}

void *sl_read_member(const struct sl_setting *s, void *base)
{
    return (char *)base + s->offset;
}

/* The text of a plain or quoted node, borrowed; or NULL and a problem. */
const char *sl_read_text(struct sl_conf_reader *r, const struct sl_setting *s, int node)
{
    enum sl_node_type type = sl_node_type(r->doc, node);
    if (type == SL_NODE_PLAIN || type == SL_NODE_QUOTED)
        return sl_node_text(r->doc, node);
    sl_read_refuse(r, s, node, "%s", sl_node_is(r->doc, node));
    return NULL;
}

/* The items of a list, or the one node that is none; 0 after the last. */
int sl_read_nth(const struct sl_conf_reader *r, int node, size_t i)
{
    if (sl_node_type(r->doc, node) == SL_NODE_LIST)
        return sl_node_item(r->doc, node, i);
    return i == 0 ? node : 0;
}

/* --- numbers and words --- */

static bool in_range(const struct sl_setting *s, uint64_t value)
{
    return (value >= s->min && value <= s->max) || (value == 0 && s->zero != NULL);
}

static bool read_number(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    bool duration = s->kind == SL_SETTING_DURATION;
    if (!duration && sl_node_type(r->doc, node) == SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "%s is in quotes", SL_SHOW(text));
    uint64_t value = 0;
    switch (duration ? sl_value_duration(text, &value) : sl_value_number(text, &value)) {
    case SL_VALUE_OK:
        if (in_range(s, value))
            break;
        return sl_read_refuse(r, s, node, "%s is out of range", text);
    case SL_VALUE_TOO_LARGE:
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    case SL_VALUE_NO_UNIT:
        return sl_read_refuse(r, s, node, "%.20s has no unit", text);
    default:
        return sl_read_refuse(r, s, node, "%s is not a %s", SL_SHOW(text), duration ? "duration" : "whole number");
    }
    sl_setting_set(s, base, value);
    return true;
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

/* Replaces the text in `*slot` by a copy. */
bool sl_read_keep_text(struct sl_conf_reader *r, char **slot, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return sl_read_out_of_memory(r);
    free(*slot);
    *slot = copy;
    return true;
}

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

static bool read_patterns(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_strv list = {0};
    bool good = true;
    int item;
    for (size_t i = 0; (item = sl_read_nth(r, node, i)) != 0; i++) {
        const char *text = sl_read_text(r, s, item);
        const char *wrong = text == NULL ? NULL : sl_value_pattern_wrong(text);
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

static bool read_node(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    (void)r;
    *(int *)sl_read_member(s, base) = node;
    return true;
}

bool sl_read_value(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    static const sl_read_fn reader[] = {
        [SL_SETTING_COUNT] = read_number,
        [SL_SETTING_DURATION] = read_number,
        [SL_SETTING_CHOICE] = read_choice,
        [SL_SETTING_HOST_KEY_CHECKING] = read_host_key_checking,
        [SL_SETTING_MODE] = read_mode,
        [SL_SETTING_HOST] = read_name,
        [SL_SETTING_USER] = read_name,
        [SL_SETTING_SOCKET_PATH] = sl_read_socket_path,
        [SL_SETTING_AGENT] = sl_read_agent,
        [SL_SETTING_IDENTITIES] = sl_read_identities,
        [SL_SETTING_CERTIFICATES] = sl_read_certificates,
        [SL_SETTING_USER_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_GLOBAL_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_PATTERNS] = read_patterns,
        [SL_SETTING_SECRET] = sl_read_secret,
        [SL_SETTING_ALLOW] = sl_read_allow,
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
        bool good = sl_read_value(r, s, value, base);
        seen[s - section->setting] = (struct sl_seen){good ? SL_GIVEN_GOOD : SL_GIVEN_BAD, sl_node_mark(r->doc, value)};
    }
}
