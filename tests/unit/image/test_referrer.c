#include "image/referrer.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void assert_described(const char *document, const char *more)
{
    struct error err = ERROR_INIT;
    struct descriptor manifest = {.media_type = "a/b", .size = 7};
    assert_int_equal(digest_parse("sha256:" HEX, &manifest.digest, &err), ERR_OK);
    autojson json_t *root = json_loads(document, 0, NULL);
    autojson json_t *entry = referrer_describe(&manifest, root);
    autofree char *text = json_compact(entry);
    autofree char *expected =
        xasprintf("{\"mediaType\":\"a/b\",\"size\":7,\"digest\":\"sha256:" HEX "\"%s}", more);
    assert_string_equal(text, expected);
}

static void descriptions(void **state)
{
    (void)state;
    assert_described("{}", "");
    assert_described("{\"artifactType\":\"c/d\"}", ",\"artifactType\":\"c/d\"");
    assert_described("{\"artifactType\":\"\",\"config\":{\"mediaType\":\"e/f\"}}",
                     ",\"artifactType\":\"e/f\"");
    assert_described("{\"artifactType\":1,\"annotations\":[]}", "");
    assert_described("{\"annotations\":{\"b\":\"2\",\"a\":\"1\"}}",
                     ",\"annotations\":{\"b\":\"2\",\"a\":\"1\"}");
}

static void shapes(void **state)
{
    (void)state;
    static const struct {
        const char *document;
        bool fits;
    } table[] = {
        {"{}", true},
        {"{\"artifactType\":null,\"annotations\":null}", true},
        {"{\"artifactType\":\"a/b\",\"annotations\":{\"a\":\"\"}}", true},
        {"{\"artifactType\":1}", false},
        {"{\"annotations\":[]}", false},
        {"{\"annotations\":{\"a\":null}}", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        autojson json_t *root = json_loads(table[i].document, 0, NULL);
        assert_int_equal(referrer_check(root, "it", &err),
                         table[i].fits ? ERR_OK : ERR_MANIFEST_INVALID);
    }
}

static void tags(void **state)
{
    (void)state;
    static const struct {
        const char *tag;
        bool cosign;
        bool list;
    } table[] = {
        {"sha256-" HEX ".sig", true, false},
        {"sha256-" HEX ".att", true, false},
        {"sha256-" HEX ".sbom", true, false},
        {"sha256-" HEX, false, true},
        {"sha256-" HEX ".sigs", false, false},
        {"sha256-" HEX "0", false, false},
        {"sha256:" HEX, false, false},
        {"sha512-" HEX, false, false},
        {"sha256-" HEX ".SIG", false, false},
        {"sha256-ba7816bf", false, false},
        {"sha256-", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct digest subject;
        char tag[REFERENCE_TAG_MAX + 1];
        assert_int_equal(referrers_tag_parse(table[i].tag, &subject), table[i].list);
        assert_int_equal(cosign_tag_parse(table[i].tag, &subject), table[i].cosign);
        if (table[i].cosign)
            assert_string_equal(cosign_tag(&subject, i, tag), table[i].tag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions),
        cmocka_unit_test(shapes),
        cmocka_unit_test(tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
