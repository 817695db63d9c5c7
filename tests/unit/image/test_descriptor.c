#include "image/descriptor.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "\"digest\":\"sha256:" HEX "\""
#define TYPE "\"mediaType\":\"" MEDIA_OCI_LAYER_GZIP "\""
#define GOOD TYPE "," DIGEST ",\"size\":7"

static enum errc parse(const char *text, struct descriptor *out, struct error *err)
{
    autojson json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(object);
    return descriptor_parse(object, "layers[3]", out, err);
}

static void a_descriptor_is_read(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct descriptor got;
    char text[DIGEST_TEXT_MAX], platform[PLATFORM_TEXT_MAX];
    assert_int_equal(parse("{" GOOD ",\"annotations\":{\"a\":\"b\"},\"other\":[1]}", &got, &err),
                     ERR_OK);
    assert_string_equal(got.media_type, MEDIA_OCI_LAYER_GZIP);
    assert_string_equal(digest_text(&got.digest, text), "sha256:" HEX);
    assert_int_equal(got.size, 7);
    assert_false(got.foreign);
    assert_string_equal(got.platform.os, "");

    assert_int_equal(parse("{" GOOD ",\"urls\":[\"https://x/y\"],\"platform\":{\"os\":\"linux\","
                           "\"architecture\":\"arm\",\"variant\":\"v7\",\"os.version\":\"1\"}}",
                           &got, &err),
                     ERR_OK);
    assert_true(got.foreign);
    assert_string_equal(platform_text(&got.platform, platform), "linux/arm/v7");

    assert_int_equal(parse("{" GOOD ",\"urls\":null,\"platform\":null}", &got, &err), ERR_OK);
    assert_false(got.foreign);
    assert_int_equal(parse("{" GOOD ",\"urls\":[],\"platform\":{}}", &got, &err), ERR_OK);
    assert_false(got.foreign);
    assert_string_equal(got.platform.architecture, "");
}

static void sizes_span_63_bits(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct descriptor got;
    assert_int_equal(parse("{" TYPE "," DIGEST ",\"size\":0}", &got, &err), ERR_OK);
    assert_int_equal(got.size, 0);
    assert_int_equal(parse("{" TYPE "," DIGEST ",\"size\":9223372036854775807}", &got, &err),
                     ERR_OK);
    assert_true(got.size == INT64_MAX);
    assert_int_equal(parse("{" TYPE "," DIGEST ",\"size\":-1}", &got, &err), ERR_MANIFEST_INVALID);
    assert_null(json_loads("{\"size\":9223372036854775808}", 0, NULL));
}

static void malformed_descriptors_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"[]", "object"},
        {"null", "object"},
        {"\"x\"", "object"},
        {"{}", "mediaType"},
        {"{" DIGEST ",\"size\":7}", "mediaType"},
        {"{\"mediaType\":7," DIGEST ",\"size\":7}", "mediaType"},
        {"{\"mediaType\":\"\"," DIGEST ",\"size\":7}", "media type"},
        {"{\"mediaType\":\"a/b;c=d\"," DIGEST ",\"size\":7}", "media type"},
        {"{" TYPE ",\"size\":7}", "no digest"},
        {"{" TYPE ",\"digest\":7,\"size\":7}", "no digest"},
        {"{" TYPE ",\"digest\":\"sha256:00\",\"size\":7}", "64"},
        {"{" TYPE ",\"digest\":\"md5:00\",\"size\":7}", "sha256 nor sha512"},
        {"{" TYPE "," DIGEST "}", "size"},
        {"{" TYPE "," DIGEST ",\"size\":null}", "size"},
        {"{" TYPE "," DIGEST ",\"size\":7.0}", "size"},
        {"{" TYPE "," DIGEST ",\"size\":1e3}", "size"},
        {"{" TYPE "," DIGEST ",\"size\":\"7\"}", "size"},
        {"{" TYPE "," DIGEST ",\"size\":true}", "size"},
        {"{" GOOD ",\"urls\":\"https://x\"}", "urls"},
        {"{" GOOD ",\"urls\":[\"https://x\",7]}", "\"urls\"[1]"},
        {"{" GOOD ",\"platform\":\"linux/amd64\"}", "platform"},
        {"{" GOOD ",\"platform\":{\"os\":7}}", "os"},
        {"{" GOOD ",\"platform\":{\"architecture\":[]}}", "architecture"},
        {"{" GOOD ",\"platform\":{\"variant\":false}}", "variant"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct descriptor got = {.size = 99};
        enum errc rc = parse(table[i].text, &got, &err);
        if (rc != ERR_MANIFEST_INVALID || strstr(err.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, rc ? err.text : "taken");
        assert_non_null(strstr(err.text, "layers[3]"));
        assert_int_equal(got.size, 99);
    }
}

static void platform_parts_have_63_bytes_at_most(void **state)
{
    (void)state;
    for (size_t size = PLATFORM_PART_MAX - 2; size <= PLATFORM_PART_MAX; size++) {
        struct error err = ERROR_INIT;
        struct descriptor got;
        struct platform platform;
        bool fits = size < PLATFORM_PART_MAX;
        char part[PLATFORM_PART_MAX + 1];
        memset(part, 'x', size);
        part[size] = '\0';
        struct buf text autobuf = BUF_INIT(1000);
        buf_format(&text, "{" GOOD ",\"platform\":{\"variant\":\"%s\"}}", part);
        assert_int_equal(parse(buf_cstr(&text), &got, &err), fits ? ERR_OK : ERR_MANIFEST_INVALID);
        buf_clear(&text);
        buf_format(&text, "linux/%s", part);
        assert_int_equal(platform_parse(buf_cstr(&text), &platform, &err),
                         fits ? ERR_OK : ERR_BAD_REQUEST);
    }
}

static void platforms_are_parsed(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct platform got;
    char text[PLATFORM_TEXT_MAX];
    assert_int_equal(platform_parse("linux/amd64", &got, &err), ERR_OK);
    assert_string_equal(got.os, "linux");
    assert_string_equal(got.architecture, "amd64");
    assert_string_equal(got.variant, "");
    assert_string_equal(platform_text(&got, text), "linux/amd64");
    assert_int_equal(platform_parse("linux/arm/v7", &got, &err), ERR_OK);
    assert_string_equal(got.variant, "v7");
    static const char *const bad[] = {
        "",     "/",       "linux",  "linux/",       "/amd64",        "linux//v7",
        "a/b/", "a/b/c/d", "a/b/c/", "linux/amd 64", "linux/amd64\n", "linux/\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (platform_parse(bad[i], &got, &err) != ERR_BAD_REQUEST)
            fail_msg("taken: %s", bad[i]);
    assert_string_equal(got.variant, "v7");
}

static void the_longest_platform_fits_its_text(void **state)
{
    (void)state;
    struct platform platform;
    char text[PLATFORM_TEXT_MAX];
    memset(&platform, 'x', sizeof platform);
    platform.os[PLATFORM_PART_MAX - 1] = '\0';
    platform.architecture[PLATFORM_PART_MAX - 1] = '\0';
    platform.variant[PLATFORM_PART_MAX - 1] = '\0';
    assert_int_equal(strlen(platform_text(&platform, text)), 3 * (PLATFORM_PART_MAX - 1) + 2);
}

static void matching_looks_at_the_variant_when_it_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *want, *have;
        bool matches;
    } table[] = {
        {"linux/amd64", "linux/amd64", true},     {"linux/arm", "linux/arm/v7", true},
        {"linux/arm/v7", "linux/arm/v7", true},   {"linux/arm/v6", "linux/arm/v7", false},
        {"linux/arm64/v8", "linux/arm64", false}, {"linux/amd64", "linux/arm64", false},
        {"windows/amd64", "linux/amd64", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct platform want, have;
        assert_int_equal(platform_parse(table[i].want, &want, &err), ERR_OK);
        assert_int_equal(platform_parse(table[i].have, &have, &err), ERR_OK);
        if (platform_matches(&want, &have) != table[i].matches)
            fail_msg("%s, %s", table[i].want, table[i].have);
    }
}

static void media_types_are_names_without_parameters(void **state)
{
    (void)state;
    static const char *const good[] = {"a/b", "application/vnd.oci.image.layer.v1.tar+gzip", "0/9",
                                       "a!#$&-^_.+/b!#$&-^_.+", "Text/Plain"};
    static const char *const bad[] = {NULL,    "",        "a",     "a/",    "/b",         "a//b",
                                      "a/b/c", "a/b;c=d", "a/b ",  " a/b",  "a/.b",       "+a/b",
                                      "a/b\"", "a/b\\",   "a/b,c", "a/b\n", "a/\xc3\xa4", "a/(b)"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!media_type_valid(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (media_type_valid(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void names_of_media_types_have_127_characters_at_most(void **state)
{
    (void)state;
    for (size_t size = 126; size <= 128; size++) {
        char first[MEDIA_TYPE_MAX], second[MEDIA_TYPE_MAX];
        memset(first, 'x', sizeof first);
        memset(second, 'x', sizeof second);
        memcpy(first + size, "/y", 3);
        second[1] = '/';
        second[2 + size] = '\0';
        assert_int_equal(media_type_valid(first), size <= 127);
        assert_int_equal(media_type_valid(second), size <= 127);
    }
    char longest[MEDIA_TYPE_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[127] = '/';
    longest[255] = '\0';
    assert_true(media_type_valid(longest));
    struct error err = ERROR_INIT;
    struct descriptor got;
    struct buf text autobuf = BUF_INIT(1000);
    buf_format(&text, "{\"mediaType\":\"%s\"," DIGEST ",\"size\":7}", longest);
    assert_int_equal(parse(buf_cstr(&text), &got, &err), ERR_OK);
    assert_string_equal(got.media_type, longest);
}

static void media_types_have_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool manifest, index, config, plain, foreign;
    } table[] = {
        {MEDIA_DOCKER_MANIFEST, .manifest = true},
        {MEDIA_OCI_MANIFEST, .manifest = true},
        {MEDIA_DOCKER_LIST, .index = true},
        {MEDIA_OCI_INDEX, .index = true},
        {MEDIA_DOCKER_CONFIG, .config = true},
        {MEDIA_OCI_CONFIG, .config = true},
        {MEDIA_DOCKER_LAYER, .plain = true},
        {MEDIA_OCI_LAYER, .plain = true},
        {MEDIA_DOCKER_LAYER_FOREIGN, .foreign = true},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar", .foreign = true},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar", .foreign = true},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", .foreign = true},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", .foreign = true},
        {.type = MEDIA_DOCKER_LAYER_GZIP},
        {.type = MEDIA_OCI_LAYER_GZIP},
        {.type = MEDIA_OCI_LAYER_ZSTD},
        {.type = MEDIA_OCI_EMPTY},
        {.type = ""},
        {.type = NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *type = table[i].type;
        assert_int_equal(media_type_is_manifest(type), table[i].manifest);
        assert_int_equal(media_type_is_index(type), table[i].index);
        assert_int_equal(media_type_is_image_config(type), table[i].config);
        assert_int_equal(media_type_is_plain_layer(type), table[i].plain);
        assert_int_equal(media_type_is_foreign_layer(type), table[i].foreign);
    }
}

static void layer_types_have_codecs(void **state)
{
    (void)state;
    enum codec codec = CODEC_NONE;
    for (int i = 0; i < 6; i++) {
        assert_true(media_type_codec(media_type_of_layer((enum codec)(i / 2), i % 2), &codec));
        assert_int_equal(codec, i / 2);
    }
    assert_false(media_type_codec(MEDIA_DOCKER_LAYER_FOREIGN, &codec));
    assert_false(media_type_codec(MEDIA_OCI_LAYER "+zst", &codec));
    assert_false(media_type_codec(NULL, &codec));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_is_read),
        cmocka_unit_test(sizes_span_63_bits),
        cmocka_unit_test(malformed_descriptors_are_refused),
        cmocka_unit_test(platform_parts_have_63_bytes_at_most),
        cmocka_unit_test(platforms_are_parsed),
        cmocka_unit_test(the_longest_platform_fits_its_text),
        cmocka_unit_test(matching_looks_at_the_variant_when_it_is_named),
        cmocka_unit_test(media_types_are_names_without_parameters),
        cmocka_unit_test(names_of_media_types_have_127_characters_at_most),
        cmocka_unit_test(media_types_have_kinds),
        cmocka_unit_test(layer_types_have_codecs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
