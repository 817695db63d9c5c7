#include "store/local/records.h"

#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

static struct record_key key_text(const char *text)
{
    struct record_key key = {.size = strlen(text)};
    memcpy(key.bytes, text, key.size);
    return key;
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

struct record_key leases_key(void)
{
    return key_text("leases");
}

struct record_key id_key(void)
{
    return key_text("id");
}

struct record_key probe_key(void)
{
    return key_text("probe");
}

struct record_key blob_key(const struct digest *digest)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_digest(&out, digest);
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

/* All references of ref's name begin with it. */
static struct record_key reference_prefix(const struct reference *ref)
{
    char name[REFERENCE_NAME_MAX + 1];
    reference_name(ref, name);
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_bytes(&out, name, strlen(name) + 1);
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

struct record_key reference_digests_prefix(const struct reference *ref)
{
    struct record_key key = reference_prefix(ref);
    key.bytes[key.size++] = '@';
    return key;
}

struct record_key reference_key(const struct reference *ref)
{
    assert(ref->tag[0] != '\0' || ref->digest.algorithm != DIGEST_NONE);
    struct record_key key = reference_prefix(ref);
    struct encoder out = encode_key(&key);
    out.at += key.size;
    if (ref->digest.algorithm != DIGEST_NONE) {
        encode_number(&out, '@', 1);
        encode_digest(&out, &ref->digest);
    } else {
        encode_number(&out, ':', 1);
        encode_bytes(&out, ref->tag, strlen(ref->tag));
    }
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

struct record_value schema_value(uint32_t schema)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, schema, 4);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value state_value(const struct state_record *record)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, record->clean, 1);
    encode_bytes(&out, record->boot_id, strlen(record->boot_id));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value id_value(const char *id)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_bytes(&out, id, strlen(id));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc id_decode(struct kv_slice value, char id[VIA_ID_SIZE + 1], struct error *err)
{
    struct decoder in = decode_value(value);
    decode_text(&in, in.left, id, VIA_ID_SIZE + 1);
    in.bad |= strlen(id) != VIA_ID_SIZE;
    return decode_finish(&in, "meta", err);
}

struct record_value blob_value(const struct blob_record *record)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, record->state, 1);
    encode_number(&out, record->size, 8);
    encode_number(&out, record->created_s, 8);
    encode_number(&out, record->last_use_s, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value leases_value(const struct leases_record *record)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, record->open, 1);
    encode_number(&out, record->all_s, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value tomb_value(uint64_t marked_s)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, marked_s, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value layer_value(const struct layer_form *form)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, &form->digest);
    encode_number(&out, form->size, 8);
    encode_number(&out, form->raw_size, 8);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value start_value(const struct digest *diff_id)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, diff_id);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

struct record_value reference_value(const struct digest *manifest, uint64_t put_s,
                                    const char *media_type)
{
    assert(strlen(media_type) < MEDIA_TYPE_MAX);
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, manifest);
    encode_number(&out, put_s, 8);
    encode_bytes(&out, media_type, strlen(media_type));
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc schema_decode(struct kv_slice value, uint32_t *out, struct error *err)
{
    struct decoder in = decode_value(value);
    uint32_t schema = (uint32_t)decode_number(&in, 4);
    if (decode_finish(&in, "meta", err) != ERR_OK)
        return err->code;
    *out = schema;
    return ERR_OK;
}

enum errc state_decode(struct kv_slice value, struct state_record *out, struct error *err)
{
    struct decoder in = decode_value(value);
    struct state_record record = {.clean = decode_number(&in, 1) == 1};
    decode_text(&in, in.left, record.boot_id, sizeof record.boot_id);
    if (decode_finish(&in, "meta", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc blob_key_decode(struct kv_slice key, struct digest *out, struct error *err)
{
    struct decoder in = decode_key(key);
    struct digest digest = decode_digest(&in);
    if (decode_finish(&in, "blobs", err) != ERR_OK)
        return err->code;
    *out = digest;
    return ERR_OK;
}

enum errc blob_decode(struct kv_slice value, struct blob_record *out, struct error *err)
{
    struct decoder in = decode_value(value);
    uint64_t state = decode_number(&in, 1);
    if (state != BLOB_VOLATILE && state != BLOB_DURABLE)
        in.bad = true;
    struct blob_record record = {.state = (enum blob_state)state};
    record.size = decode_number(&in, 8);
    record.created_s = decode_number(&in, 8);
    record.last_use_s = decode_number(&in, 8);
    if (decode_finish(&in, "blobs", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc leases_decode(struct kv_slice value, struct leases_record *out, struct error *err)
{
    struct decoder in = decode_value(value);
    struct leases_record record = {.open = decode_number(&in, 1) != 0};
    record.all_s = decode_number(&in, 8);
    if (decode_finish(&in, "meta", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc tomb_decode(struct kv_slice value, uint64_t *marked_s, struct error *err)
{
    struct decoder in = decode_value(value);
    uint64_t marked = decode_number(&in, 8);
    if (decode_finish(&in, "tombs", err) != ERR_OK)
        return err->code;
    *marked_s = marked;
    return ERR_OK;
}

enum errc start_decode(struct kv_slice value, struct digest *diff_id, struct error *err)
{
    struct decoder in = decode_value(value);
    struct digest found = decode_digest(&in);
    if (decode_finish(&in, "starts", err) != ERR_OK)
        return err->code;
    *diff_id = found;
    return ERR_OK;
}

enum errc layer_decode(struct kv_slice key, struct kv_slice value, struct layer_form *out,
                       struct error *err)
{
    struct decoder in = decode_key(key);
    decode_digest(&in);
    struct layer_form form = {.codec = (enum codec)decode_number(&in, 1)};
    form.effort = (enum effort)decode_number(&in, 1);
    if (decode_finish(&in, "layers", err) != ERR_OK)
        return err->code;
    in = decode_value(value);
    form.digest = decode_digest(&in);
    form.size = decode_number(&in, 8);
    form.raw_size = decode_number(&in, 8);
    if (decode_finish(&in, "layers", err) != ERR_OK)
        return err->code;
    *out = form;
    return ERR_OK;
}

static void get_name(struct decoder *in, struct reference *out)
{
    const uint8_t *end = memchr(in->at, '\0', in->left);
    const uint8_t *slash = memchr(in->at, '/', in->left);
    if (end == NULL || slash == NULL || slash > end) {
        in->bad = true;
        return;
    }
    size_t path_size = (size_t)(end - slash) - 1;
    decode_text(in, (size_t)(slash - in->at), out->host, sizeof out->host);
    decode_bytes(in, 1);
    decode_text(in, path_size, out->path, sizeof out->path);
    decode_bytes(in, 1);
}

enum errc reference_key_decode(struct kv_slice key, const char *table, struct reference *out,
                               struct error *err)
{
    struct reference reference = {.tag = ""};
    struct decoder in = decode_key(key);
    get_name(&in, &reference);
    uint64_t kind = decode_number(&in, 1);
    if (kind == '@')
        reference.digest = decode_digest(&in);
    else if (kind == ':')
        decode_text(&in, in.left, reference.tag, sizeof reference.tag);
    else
        in.bad = true;
    *out = reference;
    return decode_finish(&in, table, err);
}

enum errc reference_decode(struct kv_slice key, struct kv_slice value, struct named_manifest *out,
                           struct error *err)
{
    struct named_manifest named = {.reference = {.tag = ""}};
    if (reference_key_decode(key, "references", &named.reference, err) != ERR_OK)
        return err->code;
    struct decoder in = decode_value(value);
    named.manifest = decode_digest(&in);
    named.put_s = decode_number(&in, 8);
    decode_text(&in, in.left, named.media_type, sizeof named.media_type);
    if (decode_finish(&in, "references", err) != ERR_OK)
        return err->code;
    *out = named;
    return ERR_OK;
}

size_t known_locations_value(const struct known_location_list *list,
                             uint8_t value[KNOWN_LOCATIONS_VALUE_MAX])
{
    assert(list->count <= KNOWN_LOCATIONS_MAX);
    struct encoder out = {value, value + KNOWN_LOCATIONS_VALUE_MAX};
    encode_number(&out, RECORD_VERSION, 1);
    for (size_t i = 0; i < list->count; i++) {
        const struct known_location *item = &list->items[i];
        size_t source_size = strlen(item->source);
        size_t hmac_size = strlen(item->hmac);
        encode_digest(&out, &item->digest);
        encode_number(&out, source_size, 2);
        encode_bytes(&out, item->source, source_size);
        encode_number(&out, hmac_size, 1);
        encode_bytes(&out, item->hmac, hmac_size);
    }
    return (size_t)(out.at - value);
}

enum errc known_locations_decode(struct kv_slice value, struct known_location_list *out,
                                 struct error *err)
{
    struct decoder in = decode_value(value);
    out->count = 0;
    while (!in.bad && in.left > 0 && out->count < KNOWN_LOCATIONS_MAX) {
        struct known_location *item = &out->items[out->count++];
        item->digest = decode_digest(&in);
        decode_text(&in, decode_number(&in, 2), item->source, sizeof item->source);
        decode_text(&in, decode_number(&in, 1), item->hmac, sizeof item->hmac);
    }
    return decode_finish(&in, "associations", err);
}

struct record_value associated_value(const struct digest *layer)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, layer);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc associated_decode(struct kv_slice value, struct digest *out, struct error *err)
{
    struct decoder in = decode_value(value);
    struct digest layer = decode_digest(&in);
    if (decode_finish(&in, "associated", err) != ERR_OK)
        return err->code;
    *out = layer;
    return ERR_OK;
}

struct record_key capabilities_key(const char *host)
{
    assert(strlen(host) <= KV_KEY_MAX);
    return key_text(host);
}

struct record_value capabilities_value(const struct capabilities *capabilities)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, capabilities->way, 1);
    encode_number(&out, capabilities->body_limit, 8);
    if (capabilities->plain)
        encode_number(&out, 1, 1);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc capabilities_decode(struct kv_slice value, struct capabilities *out, struct error *err)
{
    struct decoder in = decode_value(value);
    uint64_t way = decode_number(&in, 1);
    if (way >= UPLOAD_METHODS)
        in.bad = true;
    struct capabilities capabilities = {.way = (enum upload_method)way,
                                        .body_limit = decode_number(&in, 8)};
    if (in.left > 0) {
        capabilities.plain = true;
        in.bad |= decode_number(&in, 1) != 1;
    }
    if (decode_finish(&in, "learned", err) != ERR_OK)
        return err->code;
    *out = capabilities;
    return ERR_OK;
}

struct record_key signing_key_key(const char *id)
{
    return key_text(id);
}

struct record_value signing_key_value(const struct signing_key *key)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, key->created_s, 8);
    encode_bytes(&out, key->secret, sizeof key->secret);
    value.size = (size_t)(out.at - value.bytes);
    return value;
}

enum errc signing_key_decode(struct kv_slice key, struct kv_slice value, struct signing_key *out,
                             struct error *err)
{
    struct decoder id = decode_key(key);
    struct decoder in = decode_value(value);
    struct signing_key decoded = {.id = ""};
    decode_text(&id, id.left, decoded.id, sizeof decoded.id);
    decoded.created_s = decode_number(&in, 8);
    const uint8_t *secret = decode_bytes(&in, sizeof decoded.secret);
    in.bad = in.bad || id.bad;
    if (decode_finish(&in, "signing_keys", err) != ERR_OK)
        return err->code;
    memcpy(decoded.secret, secret, sizeof decoded.secret);
    *out = decoded;
    explicit_bzero(&decoded, sizeof decoded);
    return ERR_OK;
}
