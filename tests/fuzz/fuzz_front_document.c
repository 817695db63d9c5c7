/*
 * Manifests that clients put: the first line is the Content-Type (without it, there is none), the
 * rest the body. What is taken has a media type that can stand in a header, refers to whole
 * descriptors, and has a descriptor that is JSON within its limit or is refused for it.
 */
#include "base/mem.h"
#include "gateway/registry/document.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct v2_document *document)
{
    const struct digest digest = digest_of(DIGEST_SHA512, "", 0);
    const struct manifest *manifest = &document->manifest;
    struct error err = ERROR_INIT;
    autofree char *text = NULL;
    autojson json_t *descriptor = NULL;
    assert(media_type_valid(manifest->media_type));
    assert(document->reference_count <= 1 + manifest->layer_count + manifest->child_count);
    for (size_t i = 0; i < document->reference_count; i++)
        assert(document->references[i].descriptor->digest.algorithm != DIGEST_NONE);
    if (v2_document_descriptor(document, &digest, MANIFEST_LIMIT_BYTES, &text, &err) != ERR_OK) {
        assert(err.code == ERR_MANIFEST_INVALID);
        return;
    }
    assert(strlen(text) <= MANIFEST_DESCRIPTOR_MAX);
    enum errc rc =
        json_parse(text, strlen(text), MANIFEST_DESCRIPTOR_MAX, "again", &descriptor, &err);
    assert(rc == ERR_OK && json_text(descriptor, "digest") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct v2_document document;
    const uint8_t *line_end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t line = line_end ? (size_t)(line_end - data) : 0;
    autofree char *header = line_end ? xstrndup((const char *)data, line) : NULL;
    size_t skip = line_end ? line + 1 : 0;
    if (v2_document_parse(data + skip, size - skip, header, &document, &err) == ERR_OK) {
        check(&document);
        v2_document_deinit(&document);
    } else {
        assert(err.code == ERR_MANIFEST_INVALID || err.code == ERR_JSON_INVALID ||
               err.code == ERR_JSON_TOO_LARGE);
    }
    return 0;
}
