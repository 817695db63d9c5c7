#include "store/member.h"

#include "base/file.h"
#include "base/mem.h"
#include "image/manifest.h"
#include "store/blob.h"

#include <string.h>

#define HEAD_BYTES 64

/* JSON objects begin so; of what does not, there is no need to read more. */
static enum errc begins_as_object(struct store *store, const struct digest *digest, uint64_t *size,
                                  bool *out, struct error *err)
{
    autoblob struct blob blob = BLOB_INIT;
    char head[HEAD_BYTES + 1] = "";
    size_t got = 0;
    if (blob_open(store, digest, &blob, err) != ERR_OK ||
        file_read_at(blob.fd, head, HEAD_BYTES, 0, &got, err) != ERR_OK)
        return err->code;
    *size = blob.size;
    *out = head[strspn(head, " \t\r\n")] == '{';
    return ERR_OK;
}

enum errc member_is_blob(struct store *store, const struct descriptor *member, bool *blob,
                         uint64_t *read_bytes, struct error *err)
{
    autofree char *data = NULL;
    size_t size = 0;
    uint64_t held = 0;
    bool object = false;
    bool manifest = false;
    *read_bytes = 0;
    if (!manifest_member_by_type(member->media_type, &manifest)) {
        if (begins_as_object(store, &member->digest, &held, &object, err) != ERR_OK)
            return err->code;
        if (object && held <= MANIFEST_LIMIT_BYTES) {
            if (blob_read_all(store, &member->digest, MANIFEST_LIMIT_BYTES, "member", &data, &size,
                              err) != ERR_OK)
                return err->code;
            manifest = manifest_is_member(member->media_type, data, size);
            *read_bytes = size;
        }
    }
    *blob = !manifest;
    return ERR_OK;
}
