#include "config/conf_reader.h"

#include "config/conf_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- users and groups --- */

/* The number of a user or group by name or number; or a problem. */
static bool read_id(struct sl_conf_reader *r, const struct sl_setting *s, int node, uint32_t *ret_id)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    bool user = s->kind == SL_SETTING_USERS;
    const char *what = user ? "user" : "group";
    uint64_t number;
    switch (sl_value_number(text, &number)) {
    case SL_VALUE_OK:
        if (number < UINT32_MAX) { /* -1 means "none" to the system */
            *ret_id = (uint32_t)number;
            return true;
        }
        __attribute__((fallthrough));
    case SL_VALUE_TOO_LARGE:
        return sl_read_refuse(r, s, node, "has %s, which is not the number of a %s", SL_SHOW(text), what);
    default:
        break;
    }
    _Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "one reader for both");
    int error = text[0] == '\0' ? ENOENT
                : user          ? r->world->find_user(r->world->arg, text, ret_id)
                                : r->world->find_group(r->world->arg, text, ret_id);
    if (error == 0)
        return true;
    if (error == ENOENT)
        return sl_read_refuse(r, s, node, "has the unknown %s %s", what, SL_SHOW(text));
    return sl_read_refuse(
        r, s, node, "has the %s %s, which cannot be looked up (%s)", what, SL_SHOW(text), strerrordesc_np(error));
}

/* A name or a list of names. True, and an array that the caller frees, when all are right. */
static bool read_ids(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, uint32_t **ret_id, size_t *ret_count)
{
    size_t count = 0;
    while (sl_read_nth(r, node, count) != 0)
        count++;
    uint32_t *id = calloc(count + 1, sizeof *id);
    if (id == NULL)
        return sl_read_out_of_memory(r);
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good = read_id(r, s, sl_read_nth(r, node, i), &id[i]) && good;
    if (!good) {
        free(id);
        return false;
    }
    *ret_id = id;
    *ret_count = count;
    return true;
}

bool sl_read_users(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_conf_access *access = base;
    free(access->uid);
    access->uid = NULL;
    return read_ids(r, s, node, &access->uid, &access->uid_count);
}

bool sl_read_groups(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_conf_access *access = base;
    free(access->gid);
    access->gid = NULL;
    return read_ids(r, s, node, &access->gid, &access->gid_count);
}

bool sl_read_group(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_listen_conf *listen = base;
    if (!read_id(r, s, node, &listen->group))
        return false;
    listen->group_set = true;
    return true;
}
