#include "store/local/push_mend.h"
#include "store/local/quarantine_local.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* What is no text is shown in hex. */
static void name_bytes(struct kv_slice key, char text[QUARANTINE_NAME_MAX])
{
    const uint8_t *bytes = key.data;
    size_t used = 0;
    for (size_t i = 0; i < key.size && used + 4 < QUARANTINE_NAME_MAX; i++)
        used += (size_t)snprintf(text + used, QUARANTINE_NAME_MAX - used,
                                 isgraph(bytes[i]) ? "%c" : "\\x%02x", bytes[i]);
    text[used] = '\0';
}

static bool name_push(enum kv_table table, struct kv_slice key, char text[QUARANTINE_NAME_MAX])
{
    struct error err = ERROR_INIT;
    char id[PUSH_ID_MAX];
    size_t index = 0;
    if (!push_mend_id(table, key, id))
        return false;
    if (table == KV_PUSHES)
        snprintf(text, QUARANTINE_NAME_MAX, "%s", id);
    else if (push_target_key_decode(key, id, &index, &err) == ERR_OK)
        snprintf(text, QUARANTINE_NAME_MAX, "%s target %zu", id, index);
    return true;
}

static bool name_in_repository(struct kv_slice key, char text[QUARANTINE_NAME_MAX])
{
    struct error err = ERROR_INIT;
    char name[REPOSITORY_NAME_MAX + 1];
    char hex[DIGEST_TEXT_MAX];
    struct digest digest;
    if (repository_digest_decode(key, name, &digest, &err) != ERR_OK)
        return false;
    snprintf(text, QUARANTINE_NAME_MAX, "%s@%s", name, digest_text(&digest, hex));
    return true;
}

static bool name_digest(struct kv_slice key, char text[QUARANTINE_NAME_MAX])
{
    struct error err = ERROR_INIT;
    struct digest digest;
    /* Any table whose keys begin with one. */
    if (holder_decode(key, &digest, &err) != ERR_OK)
        return false;
    char hex[DIGEST_TEXT_MAX];
    size_t used = 1 + digest_size(digest.algorithm);
    char rest[QUARANTINE_NAME_MAX];
    name_bytes((struct kv_slice){(const uint8_t *)key.data + used, key.size - used}, rest);
    snprintf(text, QUARANTINE_NAME_MAX, "%s%s%.300s", digest_text(&digest, hex), rest[0] ? " " : "",
             rest);
    return true;
}

const char *record_name(enum kv_table table, struct kv_slice key, char text[QUARANTINE_NAME_MAX])
{
    bool named = false;
    switch (table) {
    case KV_BLOBS:
    case KV_LAYERS:
    case KV_KNOWN_LOCATIONS:
    case KV_ASSOCIATED:
    case KV_STARTS:
    case KV_HOLDERS:
    case KV_TOMBS:
        named = name_digest(key, text);
        break;
    case KV_MEMBERS:
    case KV_MANIFESTS:
        named = name_in_repository(key, text);
        break;
    case KV_PUSHES:
    case KV_PUSH_TARGETS:
    case KV_OPEN_TARGETS:
    case KV_PUSH_KEYS:
        named = name_push(table, key, text);
        break;
    default:
        break;
    }
    if (!named)
        name_bytes(key, text);
    /* A tag reads like one. */
    if (table == KV_TAGS || table == KV_REFERENCES || table == KV_PUSHED_TAGS)
        for (char *at = text; (at = strstr(at, "\\x00")) != NULL;) {
            *at = table == KV_TAGS ? ':' : ' ';
            memmove(at + 1, at + 4, strlen(at + 4) + 1);
        }
    return text;
}
