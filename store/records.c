#include "store/records.h"

#include <assert.h>
#include <string.h>

#define VERSION 1

struct out {
    uint8_t *at;
    uint8_t *end;
};

static void put_bytes(struct out *out, const void *data, size_t size)
{
    assert((size_t)(out->end - out->at) >= size);
    memcpy(out->at, data, size);
    out->at += size;
}

static void put_number(struct out *out, uint64_t number, unsigned bytes)
{
    assert((size_t)(out->end - out->at) >= bytes);
    for (unsigned i = 0; i < bytes; i++)
        out->at[i] = (uint8_t)(number >> 8 * (bytes - 1 - i));
    out->at += bytes;
}

static void put_digest(struct out *out, const struct digest *digest)
{
    assert(digest->algorithm != DIGEST_NONE);
    put_number(out, digest->algorithm, 1);
    put_bytes(out, digest->bytes, digest_size(digest->algorithm));
}

/* What is left to read; short or wrong input makes it bad, once and for all. */
struct in {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static struct in in_from(struct kv_slice slice)
{
    return (struct in){.at = slice.data, .left = slice.size};
}

static const uint8_t *get_bytes(struct in *in, size_t size)
{
    if (in->bad || in->left < size) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += size;
    in->left -= size;
    return at;
}

static uint64_t get_number(struct in *in, unsigned bytes)
{
    const uint8_t *at = get_bytes(in, bytes);
    uint64_t number = 0;
    for (unsigned i = 0; at != NULL && i < bytes; i++)
        number = number << 8 | at[i];
    return number;
}

static struct digest get_digest(struct in *in)
{
    struct digest digest = {.algorithm = DIGEST_NONE};
    uint64_t algorithm = get_number(in, 1);
    if (algorithm != DIGEST_SHA256 && algorithm != DIGEST_SHA512) {
        in->bad = true;
        return digest;
    }
    size_t size = digest_size((enum digest_algorithm)algorithm);
    const uint8_t *at = get_bytes(in, size);
    if (at == NULL)
        return digest;
    digest.algorithm = (enum digest_algorithm)algorithm;
    memcpy(digest.bytes, at, size);
    return digest;
}

/* Text of `size` bytes into `text` with a NUL. */
static void get_text(struct in *in, size_t size, char *text, size_t capacity)
{
    if (size >= capacity)
        in->bad = true;
    const uint8_t *at = get_bytes(in, size);
    if (at == NULL || memchr(at, '\0', size) != NULL) {
        in->bad = true;
        return;
    }
    memcpy(text, at, size);
    text[size] = '\0';
}

static struct in in_value(struct kv_slice value)
{
    struct in in = in_from(value);
    if (get_number(&in, 1) != VERSION)
        in.bad = true;
    return in;
}

static enum errc finish(const struct in *in, const char *table, struct error *err)
{
    if (in->bad || in->left > 0)
        return fail(err, ERR_STORE, 0,
                    "a record of the table %s is damaged or of an unknown version", table);
    return ERR_OK;
}

static struct out key_begin(struct record_key *key)
{
    return (struct out){key->bytes, key->bytes + sizeof key->bytes};
}

static struct record_key key_text(const char *text)
{
    struct record_key key = {.size = strlen(text)};
    memcpy(key.bytes, text, key.size);
    return key;
}

static struct out value_begin(struct record_value *value)
{
    struct out out = {value->bytes, value->bytes + sizeof value->bytes};
    put_number(&out, VERSION, 1);
    return out;
}

struct kv_slice record_key_slice(const struct record_key *key)
{
    return (struct kv_slice){.data = key->bytes, .size = key->size};
}

struct kv_slice record_value_slice(const struct record_value *value)
{
    return (struct kv_slice){.data = value->bytes, .size = value->size};
}

struct record_key schema_key(void)
{
    return key_text("schema");
}

struct record_key state_key(void)
{
    return key_text("state");
}

struct record_key blob_key(const struct digest *digest)
{
    struct record_key key;
    struct out out = key_begin(&key);
    put_digest(&out, digest);
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

struct record_key layer_prefix(const struct digest *diff_id)
{
    return blob_key(diff_id);
}

struct record_key layer_key(const struct digest *diff_id, enum codec codec, enum effort effort)
{
    struct record_key key = layer_prefix(diff_id);
    key.bytes[key.size++] = (uint8_t)codec;
    key.bytes[key.size++] = (uint8_t)effort;
    return key;
}

struct record_key start_key(const struct digest *start)
{
    return blob_key(start);
}

struct record_key reference_prefix(const struct reference *ref)
{
    char name[REFERENCE_NAME_MAX + 1];
    reference_name(ref, name);
    struct record_key key;
    struct out out = key_begin(&key);
    put_bytes(&out, name, strlen(name) + 1);
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

struct record_key reference_key(const struct reference *ref)
{
    assert(ref->tag[0] != '\0' || ref->digest.algorithm != DIGEST_NONE);
    struct record_key key = reference_prefix(ref);
    struct out out = key_begin(&key);
    out.at += key.size;
    if (ref->digest.algorithm != DIGEST_NONE) {
        put_number(&out, '@', 1);
        put_digest(&out, &ref->digest);
    } else {
        put_number(&out, ':', 1);
        put_bytes(&out, ref->tag, strlen(ref->tag));
    }
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

struct record_value schema_value(uint32_t schema)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_number(&out, schema, 4);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value state_value(const struct state_record *record)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_number(&out, record->clean, 1);
    put_bytes(&out, record->boot_id, strlen(record->boot_id));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value blob_value(const struct blob_record *record)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_number(&out, record->state, 1);
    put_number(&out, record->size, 8);
    put_number(&out, record->created_s, 8);
    put_number(&out, record->last_use_s, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value layer_value(const struct layer_form *form)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_digest(&out, &form->digest);
    put_number(&out, form->size, 8);
    put_number(&out, form->raw_size, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value start_value(const struct digest *diff_id)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_digest(&out, diff_id);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value reference_value(const struct digest *manifest, uint64_t put_s,
                                    const char *media_type)
{
    assert(strlen(media_type) < MEDIA_TYPE_MAX);
    struct record_value value;
    struct out out = value_begin(&value);
    put_digest(&out, manifest);
    put_number(&out, put_s, 8);
    put_bytes(&out, media_type, strlen(media_type));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc schema_decode(struct kv_slice value, uint32_t *out, struct error *err)
{
    struct in in = in_value(value);
    uint32_t schema = (uint32_t)get_number(&in, 4);
    if (finish(&in, "meta", err) != ERR_OK)
        return err->code;
    *out = schema;
    return ERR_OK;
}

enum errc state_decode(struct kv_slice value, struct state_record *out, struct error *err)
{
    struct in in = in_value(value);
    struct state_record record = {.clean = get_number(&in, 1) == 1};
    get_text(&in, in.left, record.boot_id, sizeof record.boot_id);
    if (finish(&in, "meta", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc blob_key_decode(struct kv_slice key, struct digest *out, struct error *err)
{
    struct in in = in_from(key);
    struct digest digest = get_digest(&in);
    if (finish(&in, "blobs", err) != ERR_OK)
        return err->code;
    *out = digest;
    return ERR_OK;
}

enum errc blob_decode(struct kv_slice value, struct blob_record *out, struct error *err)
{
    struct in in = in_value(value);
    uint64_t state = get_number(&in, 1);
    if (state != BLOB_VOLATILE && state != BLOB_DURABLE)
        in.bad = true;
    struct blob_record record = {.state = (enum blob_state)state};
    record.size = get_number(&in, 8);
    record.created_s = get_number(&in, 8);
    record.last_use_s = get_number(&in, 8);
    if (finish(&in, "blobs", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc start_decode(struct kv_slice value, struct digest *diff_id, struct error *err)
{
    struct in in = in_value(value);
    struct digest found = get_digest(&in);
    if (finish(&in, "starts", err) != ERR_OK)
        return err->code;
    *diff_id = found;
    return ERR_OK;
}

enum errc layer_decode(struct kv_slice key, struct kv_slice value, struct layer_form *out,
                       struct error *err)
{
    struct in in = in_from(key);
    get_digest(&in);
    struct layer_form form = {.codec = (enum codec)get_number(&in, 1)};
    form.effort = (enum effort)get_number(&in, 1);
    if (finish(&in, "layers", err) != ERR_OK)
        return err->code;
    in = in_value(value);
    form.digest = get_digest(&in);
    form.size = get_number(&in, 8);
    form.raw_size = get_number(&in, 8);
    if (finish(&in, "layers", err) != ERR_OK)
        return err->code;
    *out = form;
    return ERR_OK;
}

static void get_name(struct in *in, struct reference *out)
{
    const uint8_t *end = memchr(in->at, '\0', in->left);
    const uint8_t *slash = memchr(in->at, '/', in->left);
    if (end == NULL || slash == NULL || slash > end) {
        in->bad = true;
        return;
    }
    size_t path_size = (size_t)(end - slash) - 1;
    get_text(in, (size_t)(slash - in->at), out->host, sizeof out->host);
    get_bytes(in, 1);
    get_text(in, path_size, out->path, sizeof out->path);
    get_bytes(in, 1);
}

enum errc reference_decode(struct kv_slice key, struct kv_slice value, struct named_manifest *out,
                           struct error *err)
{
    struct named_manifest named = {.reference = {.tag = ""}};
    struct in in = in_from(key);
    get_name(&in, &named.reference);
    uint64_t kind = get_number(&in, 1);
    if (kind == '@')
        named.reference.digest = get_digest(&in);
    else if (kind == ':')
        get_text(&in, in.left, named.reference.tag, sizeof named.reference.tag);
    else
        in.bad = true;
    if (finish(&in, "references", err) != ERR_OK)
        return err->code;
    in = in_value(value);
    named.manifest = get_digest(&in);
    get_number(&in, 8);
    get_text(&in, in.left, named.media_type, sizeof named.media_type);
    if (finish(&in, "references", err) != ERR_OK)
        return err->code;
    *out = named;
    return ERR_OK;
}

size_t associations_value(const struct association_list *list,
                          uint8_t value[ASSOCIATIONS_VALUE_MAX])
{
    assert(list->count <= ASSOCIATIONS_MAX);
    struct out out = {value, value + ASSOCIATIONS_VALUE_MAX};
    put_number(&out, VERSION, 1);
    for (size_t i = 0; i < list->count; i++) {
        const struct association *item = &list->items[i];
        size_t source_size = strlen(item->source);
        size_t hmac_size = strlen(item->hmac);
        put_digest(&out, &item->digest);
        put_number(&out, source_size, 2);
        put_bytes(&out, item->source, source_size);
        put_number(&out, hmac_size, 1);
        put_bytes(&out, item->hmac, hmac_size);
    }
    return (size_t)(out.at - value);
}

enum errc associations_decode(struct kv_slice value, struct association_list *out,
                              struct error *err)
{
    struct in in = in_value(value);
    out->count = 0;
    while (!in.bad && in.left > 0 && out->count < ASSOCIATIONS_MAX) {
        struct association *item = &out->items[out->count++];
        item->digest = get_digest(&in);
        get_text(&in, get_number(&in, 2), item->source, sizeof item->source);
        get_text(&in, get_number(&in, 1), item->hmac, sizeof item->hmac);
    }
    return finish(&in, "associations", err);
}

struct record_value associated_value(const struct digest *layer)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_digest(&out, layer);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc associated_decode(struct kv_slice value, struct digest *out, struct error *err)
{
    struct in in = in_value(value);
    struct digest layer = get_digest(&in);
    if (finish(&in, "associated", err) != ERR_OK)
        return err->code;
    *out = layer;
    return ERR_OK;
}

struct record_key learned_key(const char *host)
{
    assert(strlen(host) <= KV_KEY_MAX);
    return key_text(host);
}

struct record_value learned_value(const struct learned *learned)
{
    struct record_value value;
    struct out out = value_begin(&value);
    put_number(&out, learned->way, 1);
    put_number(&out, learned->body_limit, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc learned_decode(struct kv_slice value, struct learned *out, struct error *err)
{
    struct in in = in_value(value);
    uint64_t way = get_number(&in, 1);
    if (way >= UPLOAD_WAYS)
        in.bad = true;
    struct learned learned = {.way = (enum upload_way)way, .body_limit = get_number(&in, 8)};
    if (finish(&in, "learned", err) != ERR_OK)
        return err->code;
    *out = learned;
    return ERR_OK;
}
