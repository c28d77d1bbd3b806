/* SPDX-License-Identifier: MIT */
/* Lists of strings, identities, secrets and lists of algorithms: filled, compared, copied, freed. */
#include "config/parts.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

int sl_strv_take(struct sl_strv *list, char *text)
{
    /* Grown when the count is a power of two, so that no capacity needs keeping. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t capacity = list->count == 0 ? 1 : list->count * 2;
        char **item = reallocarray(list->item, capacity, sizeof *item);
        if (item == NULL) {
            free(text);
            return SL_E_NOMEM;
        }
        list->item = item;
    }
    list->item[list->count++] = text;
    return 0;
}

int sl_strv_add(struct sl_strv *list, const char *text)
{
    char *copy = strdup(text);
    return copy == NULL ? SL_E_NOMEM : sl_strv_take(list, copy);
}

int sl_strv_copy(const struct sl_strv *list, struct sl_strv *ret_list)
{
    struct sl_strv copy = {0};
    for (size_t i = 0; i < list->count; i++) {
        int status = sl_strv_add(&copy, list->item[i]);
        if (status != 0) {
            sl_strv_fini(&copy);
            return status;
        }
    }
    *ret_list = copy;
    return 0;
}

void sl_strv_fini(struct sl_strv *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct sl_strv){0};
}

bool sl_text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool sl_strv_equal(const struct sl_strv *a, const struct sl_strv *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->item[i], b->item[i]) != 0)
            return false;
    return true;
}

const char *sl_algorithm_setting(enum sl_algorithm_kind kind)
{
    static const char *const name[SL_ALGORITHM_KINDS] = {
        [SL_ALGORITHM_KEX] = "kex_algorithms",
        [SL_ALGORITHM_HOST_KEY] = "host_key_algorithms",
        [SL_ALGORITHM_CIPHER] = "ciphers",
        [SL_ALGORITHM_MAC] = "macs",
        [SL_ALGORITHM_PUBKEY] = "pubkey_accepted_algorithms",
    };
    return name[kind];
}

void sl_algorithms_fini(struct sl_algorithms *algorithms)
{
    for (size_t i = 0; i < SL_ALGORITHM_KINDS; i++) {
        sl_strv_fini(&algorithms->has[i]);
        sl_strv_fini(&algorithms->by_default[i]);
    }
}

void sl_identities_free(struct sl_identity *identity, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(identity[i].file);
        free(identity[i].certificate_file);
    }
    free(identity);
}

void sl_secret_fini(struct sl_secret *secret)
{
    free(secret->name);
    *secret = (struct sl_secret){0};
}
