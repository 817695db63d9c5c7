#include "upstream/push/referrers.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/repositories.h"
#include "upstream/client/registry_manifest.h"

#include <string.h>

#define WHAT "the referrer"

/* What one change of a list goes by: objects of descriptors, keys are digests. */
struct facts {
    json_t *wanted;
    json_t *known;
};

#define autofacts __attribute__((cleanup(facts_deinit)))

static struct facts facts_init(void)
{
    return (struct facts){json_object(), json_object()};
}

static void facts_deinit(struct facts *facts)
{
    json_decref(facts->wanted);
    json_decref(facts->known);
}

/* --- what the front's repository knows --- */

static void know_listed(const struct name_list *list, json_t *known)
{
    for (size_t i = 0; i < list->count; i++) {
        struct error ignored = ERROR_INIT;
        autojson json_t *entry = NULL;
        if (json_parse(list->names[i], strlen(list->names[i]), MANIFEST_DESCRIPTOR_MAX, WHAT,
                       &entry, &ignored) == ERR_OK &&
            json_text(entry, "digest"))
            json_object_set(known, json_text(entry, "digest"), entry);
    }
}

static enum errc know_past(const struct target_push *push, const char *repository,
                           const struct digest *subject, json_t *known, struct error *err)
{
    struct name_list past = {0};
    if (repository[0] == '\0' || subject->algorithm == DIGEST_NONE)
        return ERR_OK;
    if (repository_past_referrers(push->store, repository, subject, &past, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < past.count; i++)
        json_object_set_new(known, past.names[i], json_null());
    name_list_deinit(&past);
    return ERR_OK;
}

static enum errc know(const struct target_push *push, const char *repository,
                      const struct digest *subject, json_t *known, struct error *err)
{
    struct name_list listed = {0};
    if (repository[0] == '\0' || subject->algorithm == DIGEST_NONE)
        return ERR_OK;
    if (repository_referrers(push->store, repository, subject, NULL, &listed, err) != ERR_OK)
        return err->code;
    know_listed(&listed, known);
    name_list_deinit(&listed);
    return know_past(push, repository, subject, known, err);
}

/* --- what the registry has --- */

/* *list NULL when there is nothing. */
static enum errc read_list(struct registry_client *client, const char *tag, json_t **list,
                           struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    if (registry_manifest_get(client, tag, &data, &size, err) != ERR_OK)
        return err->code;
    return data ? referrer_list_parse(data, size, list, err) : ERR_OK;
}

/* An image manifest always has a type in the list: its own, or its config's. */
static bool lacks_type(const json_t *entry)
{
    const char *type = json_text(entry, "artifactType");
    const char *media_type = json_text(entry, "mediaType");
    return (type == NULL || *type == '\0') && media_type &&
           strcmp(media_type, MEDIA_OCI_MANIFEST) == 0;
}

static void look_at(struct registry_client *client, const json_t *entry, json_t *known)
{
    struct error ignored = ERROR_INIT;
    struct descriptor descriptor;
    autojson json_t *document = NULL;
    autofree char *data = NULL;
    size_t size = 0;
    if (descriptor_parse(entry, WHAT, &descriptor, &ignored) == ERR_OK &&
        registry_manifest_get(client, json_text(entry, "digest"), &data, &size, &ignored) ==
            ERR_OK &&
        data && size == descriptor.size &&
        json_parse(data, size, MANIFEST_LIMIT_BYTES, WHAT, &document, &ignored) == ERR_OK)
        json_object_set_new(known, json_text(entry, "digest"),
                            referrer_describe(&descriptor, document));
}

/* What was written by others, as older versions of cosign did. */
static void learn_types(struct registry_client *client, const json_t *list, struct facts *facts)
{
    size_t i;
    int looked_at = 0;
    json_t *entry;
    json_array_foreach(json_object_get(list, "manifests"), i, entry)
    {
        const char *digest = json_text(entry, "digest");
        if (digest == NULL || !lacks_type(entry) || json_object_get(facts->wanted, digest) ||
            json_object_get(facts->known, digest))
            continue;
        if (looked_at++ == REFERRERS_REPAIRED_MAX)
            return;
        look_at(client, entry, facts->known);
    }
}

static enum errc put_bytes(struct target_push *push, struct registry_client *client,
                           const char *tag, const char *data, size_t size, struct error *err)
{
    const struct manifest_bytes bytes = {data, size, MEDIA_OCI_INDEX};
    struct manifest_answer answer;
    if (size > MANIFEST_LIMIT_BYTES)
        return fail(err, ERR_JSON_TOO_LARGE, 0, "the list of referrers has more than %zu bytes",
                    MANIFEST_LIMIT_BYTES);
    if (registry_manifest_put(client, tag, &bytes, &answer, err) != ERR_OK)
        return err->code;
    log_debug("%s: wrote the list of referrers %s", push->target, tag);
    return ERR_OK;
}

/* Registries refuse a list that names what they do not have, as after a deletion there. True when
 * such entries were found; they are gone from then on. `own`: what this push brought. */
static bool forget_lost(struct registry_client *client, const json_t *list, const json_t *own,
                        json_t *known)
{
    size_t i;
    json_t *entry;
    bool any = false;
    json_array_foreach(json_object_get(list, "manifests"), i, entry)
    {
        const char *digest = json_text(entry, "digest");
        struct digest there = {0};
        struct error ignored = ERROR_INIT;
        if (digest == NULL || json_object_get(own, digest) ||
            registry_manifest_digest(client, digest, &there, &ignored) != ERR_OK ||
            there.algorithm != DIGEST_NONE)
            continue;
        json_object_set_new(known, digest, json_null());
        any = true;
    }
    return any;
}

/* *text is what the list says, and then what was written; owned. */
static enum errc write_list(struct target_push *push, struct registry_client *client,
                            const char *tag, json_t *list, const json_t *own, struct facts *facts,
                            char **text, struct error *err)
{
    if (put_bytes(push, client, tag, *text, strlen(*text), err) != ERR_BLOB_NOT_THERE ||
        !forget_lost(client, list, own, facts->known))
        return err->code;
    error_clear(err);
    referrer_list_update(list, facts->wanted, facts->known);
    free(*text);
    *text = json_compact(list);
    return put_bytes(push, client, tag, *text, strlen(*text), err);
}

/* --- a manifest that refers to another one --- */

static enum errc note(struct target_push *push, struct registry_client *client, const char *tag,
                      struct facts *facts, struct error *err)
{
    autojson json_t *list = NULL;
    if (read_list(client, tag, &list, err) != ERR_OK)
        return err->code;
    if (list == NULL)
        list = referrer_list_empty();
    learn_types(client, list, facts);
    if (!referrer_list_update(list, facts->wanted, facts->known))
        return ERR_OK;
    autofree char *text = json_compact(list);
    return write_list(push, client, tag, list, facts->wanted, facts, &text, err);
}

static enum errc want(const struct descriptor *descriptor, const void *data, size_t size,
                      json_t *wanted, json_t **document, struct error *err)
{
    char digest[DIGEST_TEXT_MAX];
    if (json_parse(data, size, MANIFEST_LIMIT_BYTES, WHAT, document, err) != ERR_OK)
        return err->code;
    json_object_set_new(wanted, digest_text(&descriptor->digest, digest),
                        referrer_describe(descriptor, *document));
    return ERR_OK;
}

enum errc referrers_note(struct target_push *push, struct registry_client *client,
                         const char *repository, const struct digest *subject,
                         const struct referrer *referrer, struct error *err)
{
    char tag[REFERRER_LIST_TAG_MAX];
    char digest[DIGEST_TEXT_MAX];
    autofacts struct facts facts = facts_init();
    autojson json_t *document = NULL;
    referrer_list_tag(subject, tag);
    if (want(referrer->descriptor, referrer->data, referrer->size, facts.wanted, &document, err) !=
            ERR_OK ||
        know(push, repository, subject, facts.known, err) != ERR_OK)
        return error_wrap(err, "list of referrers %s", tag);
    /* It is on its way into the repository again, which may get its name when this push is over. */
    json_object_del(facts.known, digest_text(&referrer->descriptor->digest, digest));
    if (note(push, client, tag, &facts, err) != ERR_OK)
        return error_wrap(err, "list of referrers %s", tag);
    return ERR_OK;
}

/* --- a list that a client put --- */

/* The members as they really are. One that is no JSON, or not held any more, is as the client
 * describes it. The tag names the subject whole unless it is of sha512; then its referrers do. */
static enum errc want_members(const struct target_push *push, const struct client_list *list,
                              json_t *wanted, struct digest *subject, struct error *err)
{
    referrers_tag_parse(list->tag, subject);
    for (size_t i = 0; i < list->manifest->child_count; i++) {
        const struct descriptor *member = &list->manifest->children[i];
        autofree char *data = NULL;
        autojson json_t *document = NULL;
        struct error ignored = ERROR_INIT;
        size_t size = 0;
        if (cancel_check((struct cancel *)(uintptr_t)&push->cancel, err) != ERR_OK)
            return err->code;
        if (blob_read_all(push->store, &member->digest, MANIFEST_LIMIT_BYTES, WHAT, &data, &size,
                          &ignored) == ERR_OK &&
            want(member, data, size, wanted, &document, &ignored) == ERR_OK)
            referrer_list_subject(document, list->tag, subject);
    }
    return ERR_OK;
}

enum errc referrers_gone(struct target_push *push, const char *repository,
                         const struct client_list *list, json_t *out, struct error *err)
{
    autojson json_t *wanted = json_object();
    struct digest subject = {0};
    if (want_members(push, list, wanted, &subject, err) != ERR_OK)
        return err->code;
    return know_past(push, repository, &subject, out, err);
}

/* True when the list there has all of it; else what it has is wanted, too. */
static enum errc complete_there(struct registry_client *client, const struct client_list *list,
                                struct facts *facts, bool *complete, struct digest *digest,
                                uint64_t *size, struct error *err)
{
    autofree char *data = NULL;
    size_t bytes = 0;
    autojson json_t *there = NULL;
    struct error no_list = ERROR_INIT;
    *complete = false;
    if (registry_manifest_get(client, list->tag, &data, &bytes, err) != ERR_OK)
        return err->code;
    if (data == NULL || referrer_list_parse(data, bytes, &there, &no_list) != ERR_OK)
        return ERR_OK;
    learn_types(client, there, facts);
    *complete = !referrer_list_update(there, facts->wanted, facts->known);
    if (*complete) {
        *digest = digest_of(DIGEST_SHA256, data, bytes);
        *size = bytes;
    }
    referrer_list_collect(there, facts->wanted);
    return ERR_OK;
}

static enum errc put_list(struct target_push *push, struct registry_client *client,
                          const struct client_list *list, const json_t *root, struct facts *facts,
                          struct digest *digest, uint64_t *size, struct error *err)
{
    bool complete = false;
    autojson json_t *own = json_copy(facts->wanted);
    if (complete_there(client, list, facts, &complete, digest, size, err) != ERR_OK || complete)
        return err->code;
    autojson json_t *merged = json_deep_copy(root);
    bool changed = referrer_list_update(merged, facts->wanted, facts->known);
    autofree char *text = changed ? json_compact(merged) : xstrndup(list->data, list->size);
    if (write_list(push, client, list->tag, merged, own, facts, &text, err) != ERR_OK)
        return err->code;
    *digest = digest_of(DIGEST_SHA256, text, strlen(text));
    *size = strlen(text);
    return ERR_OK;
}

enum errc referrers_put_list(struct target_push *push, struct registry_client *client,
                             const char *repository, const struct client_list *list,
                             struct digest *digest, uint64_t *size, struct error *err)
{
    autofacts struct facts facts = facts_init();
    autojson json_t *root = NULL;
    struct digest subject = {0};
    if (referrer_list_parse(list->data, list->size, &root, err) != ERR_OK ||
        want_members(push, list, facts.wanted, &subject, err) != ERR_OK ||
        know(push, repository, &subject, facts.known, err) != ERR_OK)
        return err->code;
    referrer_list_collect(root, facts.wanted);
    if (put_list(push, client, list, root, &facts, digest, size, err) != ERR_OK)
        return error_wrap(err, "list of referrers %s", list->tag);
    return ERR_OK;
}

char *referrers_turn(const struct target_push *push, const char *tag)
{
    const struct repository *repository = push->repository;
    return xasprintf("list %s/%s:%s", repository->endpoint->host->name, repository->path, tag);
}
