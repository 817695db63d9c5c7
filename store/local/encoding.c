#include "store/local/encoding.h"

#include "store/local/records.h"

#include <assert.h>
#include <string.h>

struct encoder encode_key(struct record_key *key)
{
    return (struct encoder){key->bytes, key->bytes + sizeof key->bytes};
}

struct encoder encode_value(struct record_value *value)
{
    struct encoder out = {value->bytes, value->bytes + sizeof value->bytes};
    encode_number(&out, RECORD_VERSION, 1);
    return out;
}

void encode_bytes(struct encoder *out, const void *data, size_t size)
{
    assert((size_t)(out->end - out->at) >= size);
    memcpy(out->at, data, size);
    out->at += size;
}

void encode_number(struct encoder *out, uint64_t number, unsigned bytes)
{
    assert((size_t)(out->end - out->at) >= bytes);
    for (unsigned i = 0; i < bytes; i++)
        out->at[i] = (uint8_t)(number >> 8 * (bytes - 1 - i));
    out->at += bytes;
}

void encode_short(struct encoder *out, const char *text)
{
    size_t size = strlen(text);
    assert(size <= UINT8_MAX);
    encode_number(out, size, 1);
    encode_bytes(out, text, size);
}

void encode_digest(struct encoder *out, const struct digest *digest)
{
    assert(digest->algorithm != DIGEST_NONE);
    encode_number(out, digest->algorithm, 1);
    encode_bytes(out, digest->bytes, digest_size(digest->algorithm));
}

struct decoder decode_key(struct kv_slice key)
{
    return (struct decoder){.at = key.data, .left = key.size};
}

struct decoder decode_value(struct kv_slice value)
{
    struct decoder in = {.at = value.data, .left = value.size};
    if (decode_number(&in, 1) != RECORD_VERSION)
        in.bad = true;
    return in;
}

const uint8_t *decode_bytes(struct decoder *in, size_t size)
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

uint64_t decode_number(struct decoder *in, unsigned bytes)
{
    const uint8_t *at = decode_bytes(in, bytes);
    uint64_t number = 0;
    for (unsigned i = 0; at != NULL && i < bytes; i++)
        number = number << 8 | at[i];
    return number;
}

struct digest decode_digest(struct decoder *in)
{
    struct digest digest = {.algorithm = DIGEST_NONE};
    uint64_t algorithm = decode_number(in, 1);
    if (algorithm != DIGEST_SHA256 && algorithm != DIGEST_SHA512) {
        in->bad = true;
        return digest;
    }
    size_t size = digest_size((enum digest_algorithm)algorithm);
    const uint8_t *at = decode_bytes(in, size);
    if (at == NULL)
        return digest;
    digest.algorithm = (enum digest_algorithm)algorithm;
    memcpy(digest.bytes, at, size);
    return digest;
}

void decode_text(struct decoder *in, size_t size, char *text, size_t capacity)
{
    if (size >= capacity)
        in->bad = true;
    const uint8_t *at = decode_bytes(in, size);
    if (at == NULL || memchr(at, '\0', size) != NULL) {
        in->bad = true;
        return;
    }
    memcpy(text, at, size);
    text[size] = '\0';
}

void decode_short(struct decoder *in, char *text, size_t capacity)
{
    decode_text(in, (size_t)decode_number(in, 1), text, capacity);
}

void decode_reference_name(struct decoder *in, struct reference *out)
{
    char name[REFERENCE_NAME_MAX + 1] = "";
    decode_short(in, name, sizeof name);
    char *slash = strchr(name, '/');
    if (slash == NULL) {
        in->bad = true;
        return;
    }
    *slash = '\0';
    memcpy(out->host, name, (size_t)(slash - name) + 1);
    memcpy(out->path, slash + 1, strlen(slash + 1) + 1);
}

void decode_terminated(struct decoder *in, char *text, size_t capacity)
{
    const uint8_t *end = in->bad ? NULL : memchr(in->at, '\0', in->left);
    if (end == NULL) {
        in->bad = true;
        return;
    }
    decode_text(in, (size_t)(end - in->at), text, capacity);
    decode_bytes(in, 1);
}

enum errc decode_finish(const struct decoder *in, const char *table, struct error *err)
{
    if (in->bad || in->left > 0)
        return fail(err, ERR_STORE, 0,
                    "a record of the table %s is damaged or of an unknown version", table);
    return ERR_OK;
}
