#include "store/local/check_internal.h"

#include "base/mem.h"
#include "image/manifest.h"
#include "store/blob_upload.h"
#include "store/local/blob_files.h"
#include "store/local/records_open_uploads.h"
#include "store/local/records_pushes.h"
#include "store/local/records_repositories.h"

#include <errno.h>
#include <string.h>

/* One record that is looked at. */
struct look {
    struct check *check;
    const struct kv_txn *txn;
    struct kv_slice key;
    struct kv_slice value;
    struct finding *finding;
    /* what can only be looked at when the transaction is over: an image, the records of a push */
    struct digest image;
    char push[PUSH_ID_MAX];
};

/* ---- what a finding is judged by ---- */

static void keep(struct judged *judged, enum kv_table table, struct kv_slice key,
                 const struct kv_slice *value)
{
    free(judged->value);
    *judged = (struct judged){.known = true, .table = table, .key = {.size = key.size}};
    memcpy(judged->key.bytes, key.data, key.size);
    if (value == NULL)
        return;
    judged->size = value->size;
    judged->value = xmalloc(value->size + 1);
    memcpy(judged->value, value->data, value->size);
}

void check_judged_forget(struct check *check)
{
    free(check->self.value);
    free(check->other.value);
    check->self = check->other = (struct judged){.known = false};
}

static enum errc is_there(const struct look *look, enum kv_table table,
                          const struct record_key *key, bool *there, struct error *err)
{
    struct kv_slice value;
    if (kv_get(look->txn, table, record_key_slice(key), &value, there, err) == ERR_OK && !*there)
        keep(&look->check->other, table, record_key_slice(key), NULL);
    return err->code;
}

static enum errc need_blob(const struct look *look, const struct digest *digest, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct record_key key = blob_key(digest);
    bool there = false;
    if (is_there(look, KV_BLOBS, &key, &there, err) == ERR_OK && !there)
        check_finding_fill(look->finding, CHECK_DANGLING, "blob %s is not held",
                           digest_text(digest, text));
    return err->code;
}

/* ---- the tables; ERR_STORE is a record that cannot be read ---- */

static enum errc look_at_meta(struct look *look, struct error *err)
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
static enum errc look_at_blob_record(struct look *look, struct error *err)
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
static enum errc look_at_layer(struct look *look, struct error *err)
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

static enum errc look_at_reference(struct look *look, struct error *err)
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

static enum errc look_at_locations(struct look *look, struct error *err)
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

static enum errc look_at_associated(struct look *look, struct error *err)
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
        keep(&look->check->other, KV_KNOWN_LOCATIONS, record_key_slice(&key),
             there ? &value : NULL);
    if (!named)
        check_finding_fill(look->finding, CHECK_DISAGREES,
                           "the layer has no location of this blob");
    return ERR_OK;
}

static enum errc look_at_capabilities(struct look *look, struct error *err)
{
    struct capabilities capabilities;
    return capabilities_decode(look->value, &capabilities, err);
}

static enum errc look_at_start(struct look *look, struct error *err)
{
    struct digest start;
    struct digest layer;
    if (blob_key_decode(look->key, &start, err) != ERR_OK)
        return err->code;
    return start_decode(look->value, &layer, err);
}

static enum errc look_at_tomb(struct look *look, struct error *err)
{
    struct digest digest;
    uint64_t marked_s = 0;
    if (blob_key_decode(look->key, &digest, err) != ERR_OK)
        return err->code;
    return tomb_decode(look->value, &marked_s, err);
}

static enum errc look_at_member(struct look *look, struct error *err)
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

static enum errc look_at_holder(struct look *look, struct error *err)
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

static enum errc look_at_manifest(struct look *look, struct error *err)
{
    struct manifest_record record;
    if (manifest_decode(look->key, look->value, &record, err) != ERR_OK ||
        need_blob(look, &record.manifest.digest, err) != ERR_OK)
        return err->code;
    look->image = record.manifest.digest;
    return ERR_OK;
}

static enum errc look_at_tag(struct look *look, struct error *err)
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
static enum errc look_at_referrer(struct look *look, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct digest referrer;
    autofree char *descriptor = NULL;
    if (referrer_key_decode(look->key, name, &referrer, err) != ERR_OK)
        return err->code;
    return descriptor_decode(look->value, &descriptor, err);
}

static enum errc look_at_session(struct look *look, struct error *err)
{
    struct session_record record;
    if (look->key.size != BLOB_UPLOAD_ID_SIZE)
        return fail(err, ERR_STORE, 0, "a record of the table sessions is damaged");
    return session_decode(look->value, &record, err);
}

static enum errc look_at_push(struct look *look, struct error *err)
{
    if (!push_mend_id(KV_PUSHES, look->key, look->push))
        return fail(err, ERR_STORE, 0, "a record of the table pushes is damaged");
    return ERR_OK;
}

/* What has a push is looked at with it. */
static enum errc look_at_target(struct look *look, struct error *err)
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
static enum errc look_at_target_record(struct look *look, struct error *err)
{
    struct target_record record;
    return target_record_decode(look->key, look->value, &record, err);
}

static enum errc look_at_open_upload(struct look *look, struct error *err)
{
    struct open_upload upload = {.at_s = 0};
    if (open_upload_key_decode(look->key, &upload, err) == ERR_OK &&
        open_upload_decode(look->value, &upload, err) == ERR_OK)
        open_upload_deinit(&upload);
    return err->code;
}

static enum errc look_at_pushed_tag(struct look *look, struct error *err)
{
    struct reference reference;
    struct digest digest;
    if (reference_key_decode(look->key, kv_table_name(KV_PUSHED_TAGS), &reference, err) != ERR_OK)
        return err->code;
    return associated_decode(look->value, &digest, err);
}

/* The key that a client gave its request goes with the push. */
static enum errc look_at_push_key(struct look *look, struct error *err)
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

typedef enum errc look_fn(struct look *look, struct error *err);

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
};

/* ---- images ---- */

static enum errc find_missing(struct store *store, const struct digest *digest, unsigned nesting,
                              struct digest *missing, struct error *err);

static enum errc find_missing_part(struct store *store, const struct manifest *manifest,
                                   unsigned nesting, struct digest *missing, struct error *err)
{
    const unsigned leaf = INDEX_DEPTH_MAX + 1;
    if (manifest->kind == MANIFEST_IMAGE &&
        find_missing(store, &manifest->config.digest, leaf, missing, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < manifest->layer_count && missing->algorithm == DIGEST_NONE; i++) {
        const struct descriptor *layer = &manifest->layers[i];
        if (!layer->foreign && !media_type_is_foreign_layer(layer->media_type) &&
            find_missing(store, &layer->digest, leaf, missing, err) != ERR_OK)
            return err->code;
    }
    for (size_t i = 0; i < manifest->child_count && missing->algorithm == DIGEST_NONE; i++)
        if (find_missing(store, &manifest->children[i].digest, nesting + 1, missing, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* *missing: a blob that the image needs and the store does not have. Bytes that are no manifest
 * need nothing; whether they are right is for the blobs' own look. */
static enum errc find_missing(struct store *store, const struct digest *digest, unsigned nesting,
                              struct digest *missing, struct error *err)
{
    struct blob_record record;
    struct manifest manifest;
    struct error no_manifest = ERROR_INIT;
    autoblob struct blob blob = BLOB_INIT;
    autofree char *data = NULL;
    size_t size = 0;
    bool found = false;
    if (blob_find(store, digest, &found, &record, err) != ERR_OK && err->code != ERR_STORE)
        return err->code;
    error_clear(err); /* a record that cannot be read is none */
    if (!found) {
        *missing = *digest;
        return ERR_OK;
    }
    if (nesting > INDEX_DEPTH_MAX || record.size > MANIFEST_LIMIT_BYTES ||
        blob_open(store, digest, &blob, &no_manifest) != ERR_OK ||
        blob_slurp(&blob, MANIFEST_LIMIT_BYTES, "manifest", &data, &size, &no_manifest) != ERR_OK)
        return ERR_OK;
    struct json_turn turn = json_turn_take(size);
    manifest_parse_any(data, size, NULL, "manifest", &manifest, &no_manifest);
    json_turn_give(&turn);
    if (no_manifest.code != ERR_OK)
        return ERR_OK;
    enum errc rc = find_missing_part(store, &manifest, nesting, missing, err);
    manifest_deinit(&manifest);
    return rc;
}

/* In a repository, all that a manifest names has to be. */
static enum errc look_at_image(struct check *check, const struct digest *manifest,
                               struct finding *finding, struct error *err)
{
    char text[DIGEST_TEXT_MAX];
    struct digest missing = {.algorithm = DIGEST_NONE};
    if (find_missing(check->store, manifest, 0, &missing, err) != ERR_OK ||
        missing.algorithm == DIGEST_NONE)
        return err->code;
    struct record_key key = blob_key(&missing);
    keep(&check->other, KV_BLOBS, record_key_slice(&key), NULL);
    check_finding_fill(finding, CHECK_INCOMPLETE, "the image lacks blob %s",
                       digest_text(&missing, text));
    return ERR_OK;
}

static enum errc look_at_open_push(struct check *check, const struct push *push,
                                   struct finding *finding, struct error *err)
{
    if (!push_is_open(push) || look_at_image(check, &push->manifest.digest, finding, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < push->referrer_count && finding->kind == CHECK_WELL; i++)
        if (look_at_image(check, &push->referrers[i].manifest.digest, finding, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

static enum errc look_at_records_of_push(struct check *check, const char *id,
                                         struct finding *finding, struct error *err)
{
    autopush_records struct push_records records = {.id = ""};
    if (push_records_read(check->store, id, &records, err) != ERR_OK)
        return err->code;
    if (records.verdict == PUSH_UNREADABLE || records.verdict == PUSH_TARGET_UNREADABLE)
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", records.reason);
    else if (records.verdict == PUSH_INDEX_WRONG)
        check_finding_fill(finding, CHECK_DISAGREES, "%s", records.reason);
    else if (records.verdict == PUSH_GOOD)
        return look_at_open_push(check, &records.push, finding, err);
    return ERR_OK;
}

/* ---- one record ---- */

static enum errc look_within(struct look *look, struct error *err)
{
    struct finding *finding = look->finding;
    finding->place = CHECK_RECORD;
    finding->kind = CHECK_WELL;
    if (looks[finding->table](look, err) == ERR_OK || err->code != ERR_STORE)
        return err->code;
    check_finding_fill(finding, CHECK_UNREADABLE, "%s", err->text);
    error_clear(err);
    return ERR_OK;
}

/* When the transaction is over. */
static enum errc look_beyond(const struct look *look, struct error *err)
{
    if (look->finding->kind != CHECK_WELL)
        return ERR_OK;
    if (look->push[0] != '\0')
        return look_at_records_of_push(look->check, look->push, look->finding, err);
    if (look->image.algorithm != DIGEST_NONE)
        return look_at_image(look->check, &look->image, look->finding, err);
    return ERR_OK;
}

static enum errc look_at_blob(struct check *check, struct finding *finding, struct error *err)
{
    struct digest digest;
    autoblob struct blob blob = BLOB_INIT;
    struct error undecoded = ERROR_INIT;
    if (blob_key_decode(record_key_slice(&finding->key), &digest, &undecoded) != ERR_OK) {
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", undecoded.text);
        return ERR_OK;
    }
    enum errc rc = blob_open(check->store, &digest, &blob, err);
    if (rc == ERR_BLOB_CORRUPT)
        check_finding_fill(finding, err->sys == ENOENT ? CHECK_LOST : CHECK_CORRUPT, "%s",
                           err->text);
    else if (rc == ERR_STORE)
        check_finding_fill(finding, CHECK_UNREADABLE, "%s", err->text);
    else if (rc != ERR_BLOB_UNKNOWN)
        return rc;
    error_clear(err);
    return ERR_OK;
}

enum errc check_look_record(struct check *check, struct finding *finding, struct error *err)
{
    autotxn struct kv_txn txn = KV_TXN_INIT;
    struct look look = {.check = check, .txn = &txn, .finding = finding};
    bool found = false;
    look.key = record_key_slice(&finding->key);
    finding->kind = CHECK_WELL;
    check_judged_forget(check);
    if (kv_begin_read(check->store->kv, &txn, err) != ERR_OK ||
        kv_get(&txn, finding->table, look.key, &look.value, &found, err) != ERR_OK || !found)
        return err->code;
    keep(&check->self, finding->table, look.key, &look.value);
    if (finding->table == KV_BLOBS) {
        kv_end(&txn);
        return look_at_blob(check, finding, err);
    }
    if (look_within(&look, err) != ERR_OK)
        return err->code;
    kv_end(&txn);
    return look_beyond(&look, err);
}

/* ---- many ---- */

/* What one transaction has left to do. */
struct chunk {
    struct finding findings[CHECK_AT_ONCE];
    struct look looks[CHECK_AT_ONCE];
    size_t count;
};

static void take(struct chunk *chunk, const struct look *look)
{
    if (look->finding->kind == CHECK_WELL && look->push[0] == '\0' &&
        look->image.algorithm == DIGEST_NONE)
        return;
    chunk->looks[chunk->count++] = *look;
}

/* False: there is nothing behind it. */
static bool go_behind(struct record_key *from, struct kv_slice key)
{
    memcpy(from->bytes, key.data, key.size);
    from->size = key.size;
    if (key.size < sizeof from->bytes) {
        from->bytes[from->size++] = 0;
        return true;
    }
    while (from->size > 0 && from->bytes[from->size - 1] == UINT8_MAX)
        from->size--;
    if (from->size == 0)
        return false;
    from->bytes[from->size - 1]++;
    return true;
}

static enum errc look_at_one(struct check *check, enum kv_table table, const struct kv_txn *txn,
                             struct chunk *chunk, struct kv_slice key, struct kv_slice value,
                             struct error *err)
{
    struct finding *finding = &chunk->findings[chunk->count];
    struct look look = {.check = check, .txn = txn, .key = key, .value = value, .finding = finding};
    finding->table = table;
    finding->key.size = key.size;
    memcpy(finding->key.bytes, key.data, key.size);
    check->counts.records++;
    if (look_within(&look, err) != ERR_OK)
        return err->code;
    take(chunk, &look);
    return ERR_OK;
}

static enum errc look_at_some(struct check *check, enum kv_table table, struct chunk *chunk,
                              bool *more, struct error *err)
{
    struct kv_slice key;
    struct kv_slice value;
    autotxn struct kv_txn txn = KV_TXN_INIT;
    autocursor struct kv_cursor cursor = KV_CURSOR_INIT;
    if (kv_begin_read(check->store->kv, &txn, err) != ERR_OK ||
        kv_cursor_open(&txn, table, (struct kv_slice){NULL, 0}, &cursor, err) != ERR_OK)
        return err->code;
    if (check->from.size > 0)
        kv_cursor_seek(&cursor, record_key_slice(&check->from));
    for (size_t i = 0; i < CHECK_AT_ONCE; i++) {
        if (kv_cursor_next(&cursor, &key, &value, more, err) != ERR_OK)
            return err->code;
        if (!*more)
            return ERR_OK;
        if (look_at_one(check, table, &txn, chunk, key, value, err) != ERR_OK)
            return err->code;
    }
    *more = go_behind(&check->from, key);
    return ERR_OK;
}

enum errc check_table(struct check *check, enum kv_table table, bool *more, struct error *err)
{
    autofree struct chunk *chunk = xmalloc(sizeof *chunk);
    chunk->count = 0;
    if (look_at_some(check, table, chunk, more, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < chunk->count; i++) {
        if (look_beyond(&chunk->looks[i], err) != ERR_OK)
            return err->code;
        if (chunk->looks[i].finding->kind != CHECK_WELL &&
            check_found(check, chunk->looks[i].finding, err) != ERR_OK)
            return err->code;
    }
    return ERR_OK;
}
