#include "image/referrer_list.h"

#include <stdio.h>
#include <string.h>

#define WHAT "the list of referrers"
#define TAG_HEX 64

const char *referrer_list_tag(const struct digest *subject, char tag[REFERRER_LIST_TAG_MAX])
{
    char hex[DIGEST_TEXT_MAX];
    snprintf(tag, REFERRER_LIST_TAG_MAX, "%.32s-%.64s", digest_algorithm_name(subject->algorithm),
             digest_hex(subject, hex));
    return tag;
}

bool referrer_list_tag_fits(const char *tag)
{
    static const char *const prefixes[] = {"sha256-", "sha512-"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t size = strlen(prefixes[i]);
        if (strncmp(tag, prefixes[i], size) == 0)
            return strspn(tag + size, "0123456789abcdef") == TAG_HEX && tag[size + TAG_HEX] == '\0';
    }
    return false;
}

static bool is_oci_index(const struct manifest *manifest)
{
    return manifest->kind == MANIFEST_INDEX && strcmp(manifest->media_type, MEDIA_OCI_INDEX) == 0;
}

bool referrer_list_is(const char *tag, const struct manifest *manifest)
{
    return is_oci_index(manifest) && referrer_list_tag_fits(tag);
}

void referrer_list_subject(const json_t *member, const char *tag, struct digest *subject)
{
    struct error ignored = ERROR_INIT;
    struct digest digest;
    char its_tag[REFERRER_LIST_TAG_MAX];
    const char *text = json_text(json_object_get(member, "subject"), "digest");
    if (text && digest_parse(text, &digest, &ignored) == ERR_OK &&
        strcmp(referrer_list_tag(&digest, its_tag), tag) == 0)
        *subject = digest;
}

json_t *referrer_list_empty(void)
{
    json_t *list = json_object();
    json_object_set_new(list, "schemaVersion", json_integer(2));
    json_object_set_new(list, "mediaType", json_string(MEDIA_OCI_INDEX));
    json_object_set_new(list, "manifests", json_array());
    return list;
}

enum errc referrer_list_parse(const char *data, size_t size, json_t **out, struct error *err)
{
    struct manifest manifest = {0};
    if (manifest_parse(data, size, NULL, WHAT, &manifest, err) != ERR_OK)
        return err->code;
    bool is_index = is_oci_index(&manifest);
    manifest_deinit(&manifest);
    if (!is_index)
        return fail(err, ERR_MANIFEST_INVALID, 0,
                    "what is under the tag for " WHAT " is no OCI index");
    autojson json_t *list = NULL;
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, WHAT, &list, err) != ERR_OK)
        return err->code;
    if (!json_is_array(json_object_get(list, "manifests"))) /* null, as some Go programs write */
        json_object_set_new(list, "manifests", json_array());
    *out = json_incref(list);
    return ERR_OK;
}

static bool repair_member(json_t *entry, const json_t *descriptor, const char *key)
{
    json_t *right = json_object_get(descriptor, key);
    if (right == NULL)
        return json_object_del(entry, key) == 0;
    if (json_equal(right, json_object_get(entry, key)))
        return false;
    json_object_set(entry, key, right);
    return true;
}

/* Those that somebody added stay. */
static bool repair_annotations(json_t *entry, const json_t *descriptor)
{
    json_t *right = json_object_get(descriptor, "annotations");
    json_t *have = json_object_get(entry, "annotations");
    const char *key;
    json_t *value;
    bool repaired = false;
    if (json_object_size(right) == 0)
        return false;
    if (!json_is_object(have)) {
        json_object_set(entry, "annotations", right);
        return true;
    }
    json_object_foreach(right, key, value)
    {
        if (json_equal(value, json_object_get(have, key)))
            continue;
        json_object_set(have, key, value);
        repaired = true;
    }
    return repaired;
}

static bool repair(json_t *entry, const json_t *descriptor)
{
    bool repaired = repair_member(entry, descriptor, "mediaType");
    repaired |= repair_member(entry, descriptor, "size");
    repaired |= repair_member(entry, descriptor, "artifactType");
    return repair_annotations(entry, descriptor) || repaired;
}

/* What the facts say of this digest: NULL nothing, JSON's null that it is gone. */
static const json_t *fact_of(const char *digest, const json_t *wanted, const json_t *known)
{
    const json_t *gone = json_object_get(known, digest);
    if (json_is_null(gone))
        return gone;
    const json_t *descriptor = json_object_get(wanted, digest);
    return descriptor ? descriptor : gone;
}

/* `listed` gets the digests that stay. */
static bool mend(json_t *entries, const json_t *wanted, const json_t *known, json_t *listed)
{
    bool changed = false;
    size_t i = 0;
    while (i < json_array_size(entries)) {
        json_t *entry = json_array_get(entries, i);
        const char *digest = json_text(entry, "digest");
        const json_t *fact = digest ? fact_of(digest, wanted, known) : NULL;
        if (json_is_null(fact)) {
            json_array_remove(entries, i);
            changed = true;
            continue;
        }
        if (fact)
            changed |= repair(entry, fact);
        if (digest)
            json_object_set_new(listed, digest, json_true());
        i++;
    }
    return changed;
}

bool referrer_list_update(json_t *list, const json_t *wanted, const json_t *known)
{
    json_t *entries = json_object_get(list, "manifests");
    autojson json_t *listed = json_object();
    const char *digest;
    json_t *descriptor;
    bool changed = mend(entries, wanted, known, listed);
    json_object_foreach((json_t *)(uintptr_t)wanted, digest, descriptor)
    {
        if (json_object_get(listed, digest) || json_is_null(json_object_get(known, digest)))
            continue;
        json_array_append_new(entries, json_deep_copy(descriptor));
        changed = true;
    }
    return changed;
}

void referrer_list_collect(const json_t *list, json_t *facts)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(list, "manifests"), i, entry)
    {
        const char *digest = json_text(entry, "digest");
        if (digest && json_object_get(facts, digest) == NULL)
            json_object_set(facts, digest, entry);
    }
}
