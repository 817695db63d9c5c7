#include "store/local/records_open_uploads.h"

#include "base/mem.h"
#include "store/local/encoding.h"

#include <assert.h>
#include <string.h>

struct record_key open_upload_key(const struct open_upload *upload)
{
    struct record_key key;
    struct encoder out = encode_key(&key);
    encode_bytes(&out, upload->source, strlen(upload->source) + 1);
    encode_digest(&out, &upload->digest);
    encode_bytes(&out, upload->hmac, strlen(upload->hmac));
    key.size = (size_t)(out.at - key.bytes);
    return key;
}

enum errc open_upload_key_decode(struct kv_slice key, struct open_upload *out, struct error *err)
{
    struct decoder in = decode_key(key);
    decode_terminated(&in, out->source, sizeof out->source);
    out->digest = decode_digest(&in);
    decode_text(&in, in.left, out->hmac, sizeof out->hmac);
    return decode_finish(&in, "open_uploads", err);
}

static void encode_url(struct encoder *out, const char *url)
{
    size_t size = strlen(url);
    assert(size <= OPEN_UPLOAD_URL_MAX);
    encode_number(out, size, 2);
    encode_bytes(out, url, size);
}

size_t open_upload_value(const struct open_upload *upload, uint8_t **value)
{
    uint8_t *bytes = xmalloc(OPEN_UPLOAD_VALUE_MAX);
    struct encoder out = {bytes, bytes + OPEN_UPLOAD_VALUE_MAX};
    encode_number(&out, RECORD_VERSION, 1);
    encode_number(&out, upload->at_s, 8);
    encode_number(&out, upload->offset, 8);
    encode_number(&out, upload->chunk_least, 8);
    encode_url(&out, upload->endpoint);
    encode_url(&out, upload->location);
    *value = bytes;
    return (size_t)(out.at - bytes);
}

static char *decode_url(struct decoder *in)
{
    size_t size = (size_t)decode_number(in, 2);
    autofree char *url = xcalloc(1, OPEN_UPLOAD_URL_MAX + 1);
    decode_text(in, size, url, OPEN_UPLOAD_URL_MAX + 1);
    return xstrdup(url);
}

enum errc open_upload_decode(struct kv_slice value, struct open_upload *out, struct error *err)
{
    struct decoder in = decode_value(value);
    out->at_s = decode_number(&in, 8);
    out->offset = decode_number(&in, 8);
    out->chunk_least = decode_number(&in, 8);
    out->endpoint = decode_url(&in);
    out->location = decode_url(&in);
    if (decode_finish(&in, "open_uploads", err) != ERR_OK)
        open_upload_deinit(out);
    return err->code;
}
