#include "store/local/records_repositories.h"

#include "base/mem.h"
#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

/* Ends what begins a repository's keys; NAME_END_BEHIND is behind all of them. */
#define NAME_END 0x00
#define NAME_END_BEHIND 0x01

#define MEMBER_VERSION 2

static void encode_name(struct encoder *out, const char *repository)
{
    assert(repository_name_fits(repository));
    encode_bytes(out, repository, strlen(repository));
    encode_number(out, NAME_END, 1);
}

/* Texts of at most `longest` bytes compare with these bytes as they do with all of `text`. */
static void encode_bound(struct encoder *out, const char *text, size_t longest)
{
    encode_bytes(out, text, strnlen(text, longest + 1));
    encode_number(out, NAME_END_BEHIND, 1);
}

static struct record_key key_done(struct record_key *key, const struct encoder *out)
{
    key->size = (size_t)(out->at - key->bytes);
    return *key;
}

static struct record_value value_done(struct record_value *value, const struct encoder *out)
{
    value->size = (size_t)(out->at - value->bytes);
    return *value;
}

struct record_key repository_prefix(const char *repository)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_name(&out, repository);
    return key_done(&key, &out);
}

struct record_key repository_end(const char *name)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_bound(&out, name, REPOSITORY_NAME_MAX);
    return key_done(&key, &out);
}

struct record_key repository_digest_key(const char *repository, const struct digest *digest)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_name(&out, repository);
    encode_digest(&out, digest);
    return key_done(&key, &out);
}

struct record_key holder_key(const struct digest *digest, const char *repository)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_digest(&out, digest);
    assert(repository_name_fits(repository));
    encode_bytes(&out, repository, strlen(repository));
    return key_done(&key, &out);
}

struct record_key tag_key(const char *repository, const char *tag)
{
    assert(tag_fits(tag));
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_name(&out, repository);
    encode_bytes(&out, tag, strlen(tag));
    return key_done(&key, &out);
}

struct record_key tag_end(const char *repository, const char *tag)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_name(&out, repository);
    encode_bound(&out, tag, REFERENCE_TAG_MAX);
    return key_done(&key, &out);
}

struct record_key referrers_prefix(const char *repository, const struct digest *subject)
{
    return repository_digest_key(repository, subject);
}

struct record_key referrer_key(const char *repository, const struct digest *subject,
                               const struct digest *referrer)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_name(&out, repository);
    encode_digest(&out, subject);
    encode_digest(&out, referrer);
    return key_done(&key, &out);
}

struct record_key referrer_end(const char *repository, const struct digest *subject,
                               const struct digest *referrer)
{
    struct record_key key = referrer_key(repository, subject, referrer);
    assert(key.size < sizeof key.bytes);
    key.bytes[key.size++] = 0;
    return key;
}

struct record_key session_key(const char *id)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_bytes(&out, id, strlen(id));
    return key_done(&key, &out);
}

struct record_value member_value(uint64_t used_s)
{
    struct record_value value;
    struct encoder out = {value.bytes, value.bytes + sizeof value.bytes};
    encode_number(&out, MEMBER_VERSION, 1);
    encode_number(&out, used_s, 8);
    return value_done(&value, &out);
}

struct record_value holder_value(void)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    return value_done(&value, &out);
}

struct record_value manifest_value(const struct manifest_record *record)
{
    bool has_subject = record->subject.algorithm != DIGEST_NONE;
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, record->manifest.size, 8);
    encode_number(&out, record->put_s, 8);
    encode_number(&out, record->put_number, 8);
    encode_number(&out, has_subject, 1);
    if (has_subject)
        encode_digest(&out, &record->subject);
    encode_bytes(&out, record->manifest.media_type, strlen(record->manifest.media_type));
    return value_done(&value, &out);
}

struct record_value tag_value(const struct digest *manifest)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_digest(&out, manifest);
    return value_done(&value, &out);
}

struct record_value session_value(const struct session_record *record)
{
    struct record_value value;
    struct encoder out = encode_value(&value);
    encode_number(&out, record->created_s, 8);
    encode_bytes(&out, record->repository, strlen(record->repository));
    return value_done(&value, &out);
}

enum errc repository_digest_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                                   struct digest *digest, struct error *err)
{
    struct decoder in = decode_key(key);
    decode_terminated(&in, name, REPOSITORY_NAME_MAX + 1);
    struct digest found = decode_digest(&in);
    if (decode_finish(&in, "manifests or members", err) != ERR_OK)
        return err->code;
    *digest = found;
    return ERR_OK;
}

enum errc member_decode(struct kv_slice value, uint64_t *used_s, struct error *err)
{
    struct decoder in = decode_key(value);
    uint64_t version = decode_number(&in, 1);
    uint64_t used = version == MEMBER_VERSION ? decode_number(&in, 8) : 0;
    in.bad |= version != MEMBER_VERSION && version != RECORD_VERSION;
    if (decode_finish(&in, "members", err) != ERR_OK)
        return err->code;
    *used_s = used;
    return ERR_OK;
}

enum errc holder_name_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                             struct error *err)
{
    struct decoder in = decode_key(key);
    decode_digest(&in);
    decode_text(&in, in.left, name, REPOSITORY_NAME_MAX + 1);
    in.bad |= name[0] == '\0';
    return decode_finish(&in, "holders", err);
}

enum errc holder_decode(struct kv_slice key, struct digest *digest, struct error *err)
{
    struct decoder in = decode_key(key);
    struct digest found = decode_digest(&in);
    decode_bytes(&in, in.left);
    if (decode_finish(&in, "holders", err) != ERR_OK)
        return err->code;
    *digest = found;
    return ERR_OK;
}

/* Numbers are about milliseconds. */
uint64_t manifest_number(const struct manifest_record *record)
{
    bool numbered = record->put_number >= MANIFEST_NUMBER_MIN;
    return numbered ? record->put_number : record->put_s * 1000;
}

enum errc manifest_decode(struct kv_slice key, struct kv_slice value, struct manifest_record *out,
                          struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct manifest_record record = {.put_s = 0};
    if (repository_digest_decode(key, name, &record.manifest.digest, err) != ERR_OK)
        return err->code;
    struct decoder in = decode_value(value);
    record.manifest.size = decode_number(&in, 8);
    record.put_s = decode_number(&in, 8);
    record.put_number = decode_number(&in, 8);
    if (decode_number(&in, 1) != 0)
        record.subject = decode_digest(&in);
    decode_text(&in, in.left, record.manifest.media_type, sizeof record.manifest.media_type);
    if (decode_finish(&in, "manifests", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

enum errc tag_decode(struct kv_slice key, struct kv_slice value, char tag[REFERENCE_TAG_MAX + 1],
                     struct digest *manifest, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct decoder in = decode_key(key);
    decode_terminated(&in, name, sizeof name);
    decode_text(&in, in.left, tag, REFERENCE_TAG_MAX + 1);
    if (decode_finish(&in, "tags", err) != ERR_OK)
        return err->code;
    in = decode_value(value);
    struct digest found = decode_digest(&in);
    if (decode_finish(&in, "tags", err) != ERR_OK)
        return err->code;
    *manifest = found;
    return ERR_OK;
}

enum errc referrer_key_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                              struct digest *referrer, struct error *err)
{
    struct decoder in = decode_key(key);
    decode_terminated(&in, name, REPOSITORY_NAME_MAX + 1);
    decode_digest(&in);
    struct digest found = decode_digest(&in);
    if (decode_finish(&in, "referrers", err) != ERR_OK)
        return err->code;
    *referrer = found;
    return ERR_OK;
}

enum errc referrer_subject_decode(struct kv_slice key, struct digest *subject, struct error *err)
{
    char name[REPOSITORY_NAME_MAX + 1];
    struct decoder in = decode_key(key);
    decode_terminated(&in, name, sizeof name);
    struct digest found = decode_digest(&in);
    decode_digest(&in);
    if (decode_finish(&in, "referrers", err) != ERR_OK)
        return err->code;
    *subject = found;
    return ERR_OK;
}

enum errc session_decode(struct kv_slice value, struct session_record *out, struct error *err)
{
    struct session_record record = {.repository = ""};
    struct decoder in = decode_value(value);
    record.created_s = decode_number(&in, 8);
    decode_text(&in, in.left, record.repository, sizeof record.repository);
    if (decode_finish(&in, "sessions", err) != ERR_OK)
        return err->code;
    *out = record;
    return ERR_OK;
}

size_t descriptor_value(const char *descriptor, uint8_t **value)
{
    size_t size = strlen(descriptor);
    assert(size <= MANIFEST_DESCRIPTOR_MAX);
    uint8_t *bytes = xmalloc(1 + size);
    struct encoder out = {bytes, bytes + 1 + size};
    encode_number(&out, RECORD_VERSION, 1);
    encode_bytes(&out, descriptor, size);
    *value = bytes;
    return 1 + size;
}

enum errc descriptor_decode(struct kv_slice value, char **descriptor, struct error *err)
{
    struct decoder in = decode_value(value);
    size_t size = in.left;
    autofree char *text = xmalloc(size + 1);
    decode_text(&in, size, text, size + 1);
    if (decode_finish(&in, "referrers", err) != ERR_OK)
        return err->code;
    *descriptor = mem_take(&text);
    return ERR_OK;
}
