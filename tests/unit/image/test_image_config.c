#include "image/image_config.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ID "\"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""
#define ID2 "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""

static enum errc parse(const char *text, struct image_config *out, struct error *err)
{
    return image_config_parse(text, strlen(text), "config.json", out, err);
}

static void a_config_is_read(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct image_config config;
    char text[PLATFORM_TEXT_MAX];
    assert_int_equal(parse("{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\","
                           "\"config\":{},\"history\":[{}],"
                           "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" ID "," ID2 "]}}",
                           &config, &err),
                     ERR_OK);
    assert_string_equal(platform_text(&config.platform, text), "linux/arm/v7");
    assert_int_equal(config.diff_id_count, 2);
    struct digest abc = digest_of(DIGEST_SHA256, "abc", 3);
    struct digest empty = digest_of(DIGEST_SHA256, "", 0);
    assert_true(digest_equal(&config.diff_ids[0], &abc));
    assert_true(digest_equal(&config.diff_ids[1], &empty));
    image_config_deinit(&config);
    assert_null(config.diff_ids);
    image_config_deinit(&config);
}

static void what_old_tools_leave_out_is_no_error(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
    } table[] = {
        {"{\"rootfs\":{\"diff_ids\":[" ID "]}}", 1},
        {"{\"rootfs\":{\"type\":null,\"diff_ids\":[" ID "]},\"os\":null}", 1},
        {"{\"rootfs\":{\"diff_ids\":[]}}", 0},
        {"{\"rootfs\":{\"type\":\"layers\"}}", 0},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}", 0},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" ID "," ID "]}}", 2},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct image_config config;
        if (parse(table[i].text, &config, &err) != ERR_OK)
            fail_msg("%s: %s", table[i].text, err.text);
        assert_int_equal(config.diff_id_count, table[i].count);
        assert_string_equal(config.platform.os, "");
        image_config_deinit(&config);
    }
}

static void malformed_configs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum errc code;
        const char *says;
    } table[] = {
        {"", ERR_JSON_INVALID, "JSON"},
        {"{", ERR_JSON_INVALID, "JSON"},
        {"{\"os\":\"a\",\"os\":\"b\"}", ERR_JSON_INVALID, "duplicate"},
        {"{} {}", ERR_JSON_INVALID, "end of file"},
        {"[]", ERR_CONFIG_INVALID, "object"},
        {"{}", ERR_CONFIG_INVALID, "rootfs"},
        {"{\"rootfs\":null}", ERR_CONFIG_INVALID, "rootfs"},
        {"{\"rootfs\":[]}", ERR_CONFIG_INVALID, "rootfs"},
        {"{\"rootfs\":{}}", ERR_CONFIG_INVALID, "missing"},
        {"{\"rootfs\":{\"diff_ids\":null}}", ERR_CONFIG_INVALID, "missing"},
        {"{\"rootfs\":{\"type\":\"\",\"diff_ids\":[]}}", ERR_CONFIG_INVALID, "\"\""},
        {"{\"rootfs\":{\"type\":\"layers+base\",\"diff_ids\":[]}}", ERR_CONFIG_INVALID, "+base"},
        {"{\"rootfs\":{\"type\":7,\"diff_ids\":[]}}", ERR_CONFIG_INVALID, "not a string"},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":{}}}", ERR_CONFIG_INVALID, "array"},
        {"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":\"x\"}}", ERR_CONFIG_INVALID, "array"},
        {"{\"rootfs\":{\"diff_ids\":[" ID ",7]}}", ERR_CONFIG_INVALID, "diff_ids[1]"},
        {"{\"rootfs\":{\"diff_ids\":[" ID ",null]}}", ERR_CONFIG_INVALID, "diff_ids[1]"},
        {"{\"rootfs\":{\"diff_ids\":[\"sha256:x\"]}}", ERR_CONFIG_INVALID, "diff_ids[0]"},
        {"{\"os\":7,\"rootfs\":{\"diff_ids\":[]}}", ERR_CONFIG_INVALID, "os"},
        {"{\"architecture\":{},\"rootfs\":{\"diff_ids\":[]}}", ERR_CONFIG_INVALID, "arch"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct image_config config = {.diff_id_count = 99};
        enum errc rc = parse(table[i].text, &config, &err);
        if (rc != table[i].code || strstr(err.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, rc ? err.text : "taken");
        assert_non_null(strstr(err.text, "config.json"));
        assert_int_equal(config.diff_id_count, 99);
    }
}

static enum errc parse_layers(size_t count, struct error *err)
{
    struct buf text autobuf = BUF_INIT(IMAGE_CONFIG_LIMIT_BYTES);
    struct image_config config;
    buf_text(&text, "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
    for (size_t i = 0; i < count; i++)
        buf_text(&text, i ? "," ID : ID);
    buf_text(&text, "]}}");
    enum errc rc = parse(buf_cstr(&text), &config, err);
    if (rc == ERR_OK) {
        assert_int_equal(config.diff_id_count, count);
        image_config_deinit(&config);
    }
    return rc;
}

static void there_are_30000_layers_at_most(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    assert_int_equal(parse_layers(IMAGE_LAYERS_MAX - 1, &err), ERR_OK);
    assert_int_equal(parse_layers(IMAGE_LAYERS_MAX, &err), ERR_OK);
    assert_int_equal(parse_layers(IMAGE_LAYERS_MAX + 1, &err), ERR_CONFIG_INVALID);
}

static void there_are_8_mebibytes_at_most(void **state)
{
    (void)state;
    static const char config_text[] = "{\"rootfs\":{\"diff_ids\":[]}}";
    struct error err = ERROR_INIT;
    struct image_config config;
    autofree char *text = xmalloc(IMAGE_CONFIG_LIMIT_BYTES + 1);
    memset(text, ' ', IMAGE_CONFIG_LIMIT_BYTES + 1);
    memcpy(text, config_text, strlen(config_text));
    assert_int_equal(image_config_parse(text, IMAGE_CONFIG_LIMIT_BYTES, "c", &config, &err),
                     ERR_OK);
    image_config_deinit(&config);
    assert_int_equal(image_config_parse(text, IMAGE_CONFIG_LIMIT_BYTES + 1, "c", &config, &err),
                     ERR_JSON_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_is_read),
        cmocka_unit_test(what_old_tools_leave_out_is_no_error),
        cmocka_unit_test(malformed_configs_are_refused),
        cmocka_unit_test(there_are_30000_layers_at_most),
        cmocka_unit_test(there_are_8_mebibytes_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
