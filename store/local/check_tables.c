#include "store/local/check_internal.h"

#include "base/mem.h"
#include "store/blob_upload.h"
#include "store/local/records_open_uploads.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"
#include "store/local/records_robots.h"

#include <string.h>

static enum errc is_there(const struct check_look *look, enum kv_table table,
                          const struct record_key *key, bool *there, struct error *err)
{
    struct kv_slice value;
    if (kv_get(look->txn, table, record_key_slice(key), &value, there, err) == ERR_OK && !*there)
        check_judged_keep(&look->check->other, table, record_key_slice(key), NULL);
    return err->code;
}

static enum errc need_blob(const struct check_look *look, const struct digest *digest,
                           struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct record_key key = blob_key(digest);
    bool there = false;
    if (is_there(look, KV_BLOBS, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DANGLING, "blob %s is not held",
                           digest_text(digest, text));
    return err->code;
}

/* ---- the tables ---- */

static enum errc look_at_meta(struct check_look *look, struct error *err)
{
    const struct record_key schema = schema_key();
    const struct record_key state = state_key();
    struct state_record record;
    uint32_t number = 0;
    if (look->key.size == schema.size && memcmp(look->key.data, schema.bytes, schema.size) == 0)
        return schema_decode(look->value, &number, err);
    if (look->key.size == state.size && memcmp(look->key.data, state.bytes, state.size) == 0)
        return state_decode(look->value, &record, err);
    return ERR_OK;
}

/* It is hashed when the transaction is over. */
static enum errc look_at_blob_record(struct check_look *look, struct error *err)
{
    struct check *check = look->check;
    struct blob_record record;
    struct digest digest;
    if (blob_key_decode(look->key, &digest, err) != ERR_OK ||
        blob_decode(look->value, &record, err) != ERR_OK)
        return err->code;
    check->blobs[check->blob_count++] = digest;
    return ERR_OK;
}

/* A store that makes room drops blobs and leaves these. */
static enum errc look_at_layer(struct check_look *look, struct error *err)
{
    struct layer_form form;
    bool there = false;
    if (layer_decode(look->key, look->value, &form, err) != ERR_OK)
        return err->code;
    struct record_key key = blob_key(&form.digest);
    if (is_there(look, KV_BLOBS, &key, &there, err) == ERR_OK && !there)
        look->check->counts.leftovers++;
    return err->code;
}

static enum errc look_at_reference(struct check_look *look, struct error *err)
{
    struct named_manifest named;
    bool there = false;
    if (reference_decode(look->key, look->value, &named, err) != ERR_OK)
        return err->code;
    struct record_key key = blob_key(&named.manifest);
    if (is_there(look, KV_BLOBS, &key, &there, err) == ERR_OK && !there)
        look->check->counts.leftovers++;
    return err->code;
}

static enum errc look_at_locations(struct check_look *look, struct error *err)
{
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    struct digest layer;
    if (blob_key_decode(look->key, &layer, err) != ERR_OK ||
        known_locations_decode(look->value, list, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < list->count; i++) {
        struct record_key key = blob_key(&list->items[i].digest);
        bool there = digest_equal(&list->items[i].digest, &layer);
        if (!there && is_there(look, KV_ASSOCIATED, &key, &there, err) != ERR_OK)
            return err->code;
        if (!there)
            check_finding_fill(look->finding, CHECK_DISAGREES,
                               "a location of the layer cannot be found by its blob");
    }
    return ERR_OK;
}

static enum errc look_at_associated(struct check_look *look, struct error *err)
{
    autofree struct known_location_list *list = xmalloc(sizeof *list);
    struct digest digest;
    struct digest layer;
    struct kv_slice value;
    bool named = false;
    bool there = false;
    if (blob_key_decode(look->key, &digest, err) != ERR_OK ||
        associated_decode(look->value, &layer, err) != ERR_OK)
        return err->code;
    struct record_key key = blob_key(&layer);
    if (kv_get(look->txn, KV_KNOWN_LOCATIONS, record_key_slice(&key), &value, &there, err) !=
        ERR_OK)
        return err->code;
    struct error unread = ERROR_INIT; /* is found with the locations */
    if (there && known_locations_decode(value, list, &unread) != ERR_OK)
        return ERR_OK;
    for (size_t i = 0; there && i < list->count; i++)
        named |= digest_equal(&list->items[i].digest, &digest);
    if (!named)
        check_judged_keep(&look->check->other, KV_KNOWN_LOCATIONS, record_key_slice(&key),
                          there ? &value : NULL);
    if (!named)
        check_finding_fill(look->finding, CHECK_DISAGREES,
                           "the layer has no location of this blob");
    return ERR_OK;
}

static enum errc look_at_capabilities(struct check_look *look, struct error *err)
{
    struct capabilities capabilities;
    return capabilities_decode(look->value, &capabilities, err);
}

static enum errc look_at_start(struct check_look *look, struct error *err)
{
    struct digest start;
    struct digest layer;
    if (blob_key_decode(look->key, &start, err) != ERR_OK)
        return err->code;
    return start_decode(look->value, &layer, err);
}

static enum errc look_at_tomb(struct check_look *look, struct error *err)
{
    struct digest digest;
    uint64_t marked_s = 0;
    if (blob_key_decode(look->key, &digest, err) != ERR_OK)
        return err->code;
    return tomb_decode(look->value, &marked_s, err);
}

static enum errc look_at_member(struct check_look *look, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    uint64_t used_s = 0;
    bool there = false;
    if (repository_digest_decode(look->key, name, &digest, err) != ERR_OK ||
        member_decode(look->value, &used_s, err) != ERR_OK ||
        need_blob(look, &digest, err) != ERR_OK || look->finding->kind != CHECK_WELL)
        return err->code;
    if (!repository_name_fits(name))
        return fail(err, ERR_STORE, 0, "a record of the table members is damaged");
    struct record_key key = holder_key(&digest, name);
    if (is_there(look, KV_HOLDERS, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DISAGREES,
                           "the repository has the blob, and is not among its holders");
    return err->code;
}

enum errc check_holder_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                              struct digest *digest, struct error *err)
{
    if (holder_decode(key, digest, err) != ERR_OK)
        return err->code;
    size_t before = 1 + digest_size(digest->algorithm);
    size_t size = key.size - before;
    if (size == 0 || size > REPOSITORY_NAME_MAX ||
        memchr((const char *)key.data + before, 0, size) != NULL)
        return fail(err, ERR_STORE, 0, "a record of the table holders is damaged");
    memcpy(name, (const char *)key.data + before, size);
    name[size] = '\0';
    return ERR_OK;
}

static enum errc look_at_holder(struct check_look *look, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest digest;
    bool there = false;
    if (check_holder_decode(look->key, name, &digest, err) != ERR_OK ||
        need_blob(look, &digest, err) != ERR_OK || look->finding->kind != CHECK_WELL)
        return err->code;
    struct record_key key = repository_digest_key(name, &digest);
    if (is_there(look, KV_MEMBERS, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DISAGREES,
                           "a holder of the blob, in whose repository it is not");
    return err->code;
}

static enum errc look_at_manifest(struct check_look *look, struct error *err)
{
    struct manifest_record record;
    if (manifest_decode(look->key, look->value, &record, err) != ERR_OK ||
        need_blob(look, &record.manifest.digest, err) != ERR_OK)
        return err->code;
    look->image = record.manifest.digest;
    return ERR_OK;
}

static enum errc look_at_tag(struct check_look *look, struct error *err)
{
    char tag[REFERENCE_TAG_MAX + 1];
    char text[DIGEST_TEXT_MAX];
    struct digest manifest;
    struct record_key key;
    bool there = false;
    if (tag_decode(look->key, look->value, tag, &manifest, err) != ERR_OK)
        return err->code;
    const char *name = look->key.data; /* it ends within the key */
    if (!repository_name_fits(name) || !tag_fits(tag))
        return fail(err, ERR_STORE, 0, "a record of the table tags is damaged");
    key = repository_digest_key(name, &manifest);
    if (is_there(look, KV_MANIFESTS, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DANGLING,
                           "the repository does not have the manifest %s",
                           digest_text(&manifest, text));
    return err->code;
}

/* It may outlive what refers: store/repositories.h, past referrers. */
static enum errc look_at_referrer(struct check_look *look, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest referrer;
    autofree char *descriptor = NULL;
    if (referrer_key_decode(look->key, name, &referrer, err) != ERR_OK)
        return err->code;
    return descriptor_decode(look->value, &descriptor, err);
}

static enum errc look_at_session(struct check_look *look, struct error *err)
{
    struct session_record record;
    if (look->key.size != BLOB_UPLOAD_ID_SIZE)
        return fail(err, ERR_STORE, 0, "a record of the table sessions is damaged");
    return session_decode(look->value, &record, err);
}

static enum errc look_at_push(struct check_look *look, struct error *err)
{
    if (!push_mend_id(KV_PUSHES, look->key, look->push))
        return fail(err, ERR_STORE, 0, "a record of the table pushes is damaged");
    return ERR_OK;
}

/* What has a push is looked at with it. */
static enum errc look_at_target(struct check_look *look, struct error *err)
{
    char id[PUSH_ID_MAX];
    bool there = false;
    if (!push_mend_id(KV_PUSH_TARGETS, look->key, id))
        return fail(err, ERR_STORE, 0, "a record of the table push_targets is damaged");
    struct record_key key = push_key(id);
    if (is_there(look, KV_PUSHES, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DANGLING, "it belongs to no push");
    return err->code;
}

/* What is remembered of a target, where uploads to it go on, and what was put there last: none of
 * it needs another record. */
static enum errc look_at_target_record(struct check_look *look, struct error *err)
{
    struct target_record record;
    return target_record_decode(look->key, look->value, &record, err);
}

static enum errc look_at_open_upload(struct check_look *look, struct error *err)
{
    struct open_upload upload = {.at_s = 0};
    if (open_upload_key_decode(look->key, &upload, err) == ERR_OK &&
        open_upload_decode(look->value, &upload, err) == ERR_OK)
        open_upload_deinit(&upload);
    return err->code;
}

static enum errc look_at_pushed_tag(struct check_look *look, struct error *err)
{
    struct reference reference;
    struct digest digest;
    if (reference_key_decode(look->key, kv_table_name(KV_PUSHED_TAGS), &reference, err) != ERR_OK)
        return err->code;
    return associated_decode(look->value, &digest, err);
}

/* The key that a client gave its request goes with the push. */
static enum errc look_at_push_key(struct check_look *look, struct error *err)
{
    struct request_key key;
    char id[PUSH_ID_MAX] = "";
    bool there = false;
    if (request_key_decode(look->value, &key, err) != ERR_OK)
        return err->code;
    if (look->key.size >= sizeof id)
        return fail(err, ERR_STORE, 0, "a record of the table push_keys is damaged");
    memcpy(id, look->key.data, look->key.size);
    struct record_key push = push_key(id);
    if (is_there(look, KV_PUSHES, &push, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DANGLING, "it belongs to no push");
    return err->code;
}

static enum errc look_at_signing_key(struct check_look *look, struct error *err)
{
    struct signing_key key;
    enum errc code = signing_key_decode(look->key, look->value, &key, err);
    explicit_bzero(&key, sizeof key);
    return code;
}

static enum errc look_at_robot(struct check_look *look, struct error *err)
{
    struct robot robot;
    return robot_decode(look->key, look->value, &robot, err);
}

typedef enum errc look_fn(struct check_look *look, struct error *err);

static look_fn *const looks[KV_TABLE_COUNT] = {
    [KV_META] = look_at_meta,
    [KV_BLOBS] = look_at_blob_record,
    [KV_LAYERS] = look_at_layer,
    [KV_REFERENCES] = look_at_reference,
    [KV_KNOWN_LOCATIONS] = look_at_locations,
    [KV_ASSOCIATED] = look_at_associated,
    [KV_CAPABILITIES] = look_at_capabilities,
    [KV_STARTS] = look_at_start,
    [KV_TOMBS] = look_at_tomb,
    [KV_MEMBERS] = look_at_member,
    [KV_HOLDERS] = look_at_holder,
    [KV_MANIFESTS] = look_at_manifest,
    [KV_TAGS] = look_at_tag,
    [KV_REFERRERS] = look_at_referrer,
    [KV_SESSIONS] = look_at_session,
    [KV_PUSHES] = look_at_push,
    [KV_PUSH_TARGETS] = look_at_target,
    [KV_OPEN_TARGETS] = look_at_target,
    [KV_TARGETS] = look_at_target_record,
    [KV_OPEN_UPLOADS] = look_at_open_upload,
    [KV_PUSHED_TAGS] = look_at_pushed_tag,
    [KV_PUSH_KEYS] = look_at_push_key,
    [KV_SIGNING_KEYS] = look_at_signing_key,
    [KV_ROBOTS] = look_at_robot,
};

enum errc check_look_table(struct check_look *look, struct error *err)
{
    return looks[look->finding->table](look, err);
}
