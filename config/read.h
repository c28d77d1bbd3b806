/* SPDX-License-Identifier: MIT */
/* read.h - reads the values of one mapping into the members that the settings table names, with a problem for each
 * that is not right. Does not know how sections hang together (yaml.c does). */
#ifndef SSHLEASE_CONFIG_READ_H
#define SSHLEASE_CONFIG_READ_H

#include "config/reader.h"

/* What became of a setting in one mapping. */
enum sl_given { SL_GIVEN_NOT, SL_GIVEN_GOOD, SL_GIVEN_BAD };
struct sl_seen {
    enum sl_given given;
    struct sl_mark mark; /* of the value */
};

/* Reads `map` into `base`, the section's struct, whose members keep what they had where nothing good is given. `where`
 * names the mapping in messages, `right` says what belongs there. `seen` gets an entry for each setting of the section.
 */
void sl_read_section(struct sl_conf_reader *r, const struct sl_section *section, const char *where, const char *right,
    int map, void *base, struct sl_seen seen[SL_SECTION_SETTINGS_MAX]);

/* Reads {users, groups}. True, and arrays that the caller frees, when all of it is right. */
bool sl_read_access(
    struct sl_conf_reader *r, const char *where, const char *right, int map, struct sl_conf_access *ret_access);

#endif
