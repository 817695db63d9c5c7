/*
 * References: whatever parses has a normalised text that parses to the same value, and no text,
 * however malformed, makes an error that could not be shown.
 */
#include "base/mem.h"
#include "base/net.h"
#include "image/reference.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const struct reference *ref)
{
    struct error err = ERROR_INIT;
    struct reference again;
    char text[REFERENCE_TEXT_MAX];
    char name[REFERENCE_NAME_MAX + 1];
    enum errc rc = reference_parse(reference_text(ref, text), &again, &err);
    assert(rc == ERR_OK);
    assert(reference_same_name(ref, &again));
    assert(strcmp(ref->tag, again.tag) == 0);
    assert(digest_equal(&ref->digest, &again.digest));

    rc = reference_parse(reference_name(ref, name), &again, &err);
    assert(rc == ERR_OK && reference_same_name(ref, &again));
    assert(again.tag[0] == '\0' && again.digest.algorithm == DIGEST_NONE);
    if (ref->tag[0])
        assert(reference_set_tag(&again, ref->tag, &err) == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    struct digest digest;
    autofree char *text = xmalloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    if (reference_parse(text, &ref, &err) == ERR_OK)
        check_value(&ref);
    else
        assert(err.code == ERR_REFERENCE_INVALID && strpbrk(err.text, "\n\r\x1b") == NULL);
    net_host_is_private(text);
    if (digest_parse(text, &digest, &err) == ERR_OK) {
        char again[DIGEST_TEXT_MAX];
        assert(strcmp(digest_text(&digest, again), text) == 0);
    }
    return 0;
}
