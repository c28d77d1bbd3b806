/* SPDX-License-Identifier: MIT */
/* The table of settings is whole: names, ranges, defaults and members fit each other. */
#include "config/setting.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static const struct sl_section *const sections[] = {&sl_section_top, &sl_section_listen, &sl_section_mux,
    &sl_section_limits, &sl_section_target, &sl_section_access, &sl_section_secret};
#define SECTIONS (sizeof sections / sizeof sections[0])

TEST(keys_are_unique_and_found)
{
    for (size_t k = 0; k < SECTIONS; k++) {
        for (size_t i = 0; i < sections[k]->count; i++) {
            const struct sl_setting *s = &sections[k]->setting[i];
            assert_ptr_equal(sl_section_find(sections[k], s->key), s);
        }
        assert_null(sl_section_find(sections[k], "nonsense"));
        assert_null(sl_section_find(sections[k], ""));
    }
}

TEST(defaults_are_in_range_and_ranges_fit_their_members)
{
    for (size_t k = 0; k < SECTIONS; k++) {
        for (size_t i = 0; i < sections[k]->count; i++) {
            const struct sl_setting *s = &sections[k]->setting[i];
            if (!sl_setting_is_number(s)) {
                assert_non_null(s->right);
                continue;
            }
            assert_in_range(s->fallback, s->min, s->max);
            _Alignas(16) unsigned char base[sizeof(struct sl_target_conf)];
            memset(base, 0xee, sizeof base);
            sl_setting_set(s, base, s->max);
            assert_int_equal(sl_setting_get(s, base), s->max);
            sl_setting_set(s, base, s->min);
            assert_int_equal(sl_setting_get(s, base), s->min);
            /* The neighbours are not touched. */
            assert_int_equal(base[s->offset + s->size], 0xee);
            if (s->offset > 0)
                assert_int_equal(base[s->offset - 1], 0xee);
        }
    }
}

TEST(each_member_of_the_policy_has_a_setting)
{
    /* What is not covered must be padding: whoever adds a number finds this off by its size. */
    size_t covered = 0;
    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        size_t policy = offsetof(struct sl_target_conf, policy);
        if (sl_setting_is_number(s) && s->offset >= policy && s->offset < policy + sizeof(struct sl_policy))
            covered += s->size;
    }
    assert_int_equal(covered, 8 * sizeof(uint32_t) + sizeof(enum sl_open_ahead) + 15 * sizeof(uint64_t) + sizeof(bool));
    assert_int_equal(sizeof(struct sl_policy) - covered, 4 + 7);
    covered = 0;
    for (size_t i = 0; i < sl_section_limits.count; i++)
        covered += sl_section_limits.setting[i].size;
    assert_int_equal(covered, sizeof(struct sl_limits));
}

TEST(what_would_be_right)
{
    static const struct {
        const char *key, *right, *range;
    } rows[] = {
        {"streams", "give a whole number from 1 to 64", "1 to 64"},
        {"idle_timeout", "give a duration in ms, s, m, h or d from 10ms to 168h, such as 30s or 1h30m, or 0 for never",
            "10ms to 168h or 0"},
        {"lease_timeout", "give a duration in ms, s, m, h or d from 10ms to 720h, such as 30s or 1h30m",
            "10ms to 720h"},
        {"owners", "give user or shared", "user or shared"},
        {"remote_cleanup", "give sweep, signal or off", "sweep, signal or off"},
        {"strict_host_key_checking", "give yes or accept-new", "yes or accept-new"},
        {"password", "give {file: PATH}, {env: NAME} or {credential: NAME}", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sl_setting *s = sl_section_find(&sl_section_target, rows[i].key);
        char buf[SL_SETTING_RIGHT_SIZE];
        assert_non_null(s);
        assert_string_equal(sl_setting_right(s, buf), rows[i].right);
        assert_string_equal(sl_setting_range(s, buf), rows[i].range);
    }
    const struct sl_setting *mode = sl_section_find(&sl_section_listen, "mode");
    char buf[SL_SETTING_VALUE_SIZE];
    assert_string_equal(sl_setting_format(mode, 0660, buf), "\"0660\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_unique_and_found),
        cmocka_unit_test(defaults_are_in_range_and_ranges_fit_their_members),
        cmocka_unit_test(each_member_of_the_policy_has_a_setting),
        cmocka_unit_test(what_would_be_right),
    };
    return cmocka_run_group_tests_name("config.setting", tests, NULL, NULL);
}
