#include "image/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX

static void names_are_normalised(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *path, *tag, *digest, *normal;
    } table[] = {
        /* docker.io by default, library/ for single names */
        {"ubuntu", "docker.io", "library/ubuntu", "", "", "docker.io/library/ubuntu"},
        {"ubuntu:22.04", "docker.io", "library/ubuntu", "22.04", "",
         "docker.io/library/ubuntu:22.04"},
        {"user/app", "docker.io", "user/app", "", "", "docker.io/user/app"},
        {"user/app:1", "docker.io", "user/app", "1", "", "docker.io/user/app:1"},
        {"a/b/c/d", "docker.io", "a/b/c/d", "", "", "docker.io/a/b/c/d"},
        {"library/ubuntu", "docker.io", "library/ubuntu", "", "", "docker.io/library/ubuntu"},
        {"docker.io/ubuntu", "docker.io", "library/ubuntu", "", "", "docker.io/library/ubuntu"},
        {"docker.io/user/app", "docker.io", "user/app", "", "", "docker.io/user/app"},
        {"index.docker.io/ubuntu", "docker.io", "library/ubuntu", "", "",
         "docker.io/library/ubuntu"},
        {"index.docker.io/library/ubuntu:x", "docker.io", "library/ubuntu", "x", "",
         "docker.io/library/ubuntu:x"},
        {"Index.Docker.IO/ubuntu", "docker.io", "library/ubuntu", "", "",
         "docker.io/library/ubuntu"},
        {"docker.io:443/ubuntu", "docker.io:443", "ubuntu", "", "", "docker.io:443/ubuntu"},
        /* what looks like a host without a path is a name */
        {"localhost", "docker.io", "library/localhost", "", "", "docker.io/library/localhost"},
        {"localhost:5000", "docker.io", "library/localhost", "5000", "",
         "docker.io/library/localhost:5000"},
        {"example.com", "docker.io", "library/example.com", "", "",
         "docker.io/library/example.com"},
        {"host/app", "docker.io", "host/app", "", "", "docker.io/host/app"},
        /* hosts */
        {"localhost/x", "localhost", "x", "", "", "localhost/x"},
        {"localhost:5000/x", "localhost:5000", "x", "", "", "localhost:5000/x"},
        {"host:5000/a/b:tag", "host:5000", "a/b", "tag", "", "host:5000/a/b:tag"},
        {"host:1/a", "host:1", "a", "", "", "host:1/a"},
        {"host:65535/a", "host:65535", "a", "", "", "host:65535/a"},
        {"r.example.com/team/app:1.0", "r.example.com", "team/app", "1.0", "",
         "r.example.com/team/app:1.0"},
        {"a-b.c--d.example/x", "a-b.c--d.example", "x", "", "", "a-b.c--d.example/x"},
        {"127.0.0.1:5000/x", "127.0.0.1:5000", "x", "", "", "127.0.0.1:5000/x"},
        {"[::1]:5000/a", "[::1]:5000", "a", "", "", "[::1]:5000/a"},
        {"[::1]/a:t", "[::1]", "a", "t", "", "[::1]/a:t"},
        {"[2001:DB8::1]:443/a/b", "[2001:db8::1]:443", "a/b", "", "", "[2001:db8::1]:443/a/b"},
        {"R.Example.COM:5000/a", "r.example.com:5000", "a", "", "", "r.example.com:5000/a"},
        {"Host/a", "Host", "a", "", "", "Host/a"},
        {"LOCALHOST/a", "localhost", "a", "", "", "localhost/a"},
        {"a.b/c.d/e", "a.b", "c.d/e", "", "", "a.b/c.d/e"},
        /* separators within path components */
        {"h.io/a.b_c__d-e---f", "h.io", "a.b_c__d-e---f", "", "", "h.io/a.b_c__d-e---f"},
        {"h.io/0/9a", "h.io", "0/9a", "", "", "h.io/0/9a"},
        /* tags */
        {"a:_", "docker.io", "library/a", "_", "", "docker.io/library/a:_"},
        {"a:V1.2-rc_3", "docker.io", "library/a", "V1.2-rc_3", "", "docker.io/library/a:V1.2-rc_3"},
        {"a:_.-", "docker.io", "library/a", "_.-", "", "docker.io/library/a:_.-"},
        /* digests */
        {"ubuntu@" DIGEST, "docker.io", "library/ubuntu", "", DIGEST,
         "docker.io/library/ubuntu@" DIGEST},
        {"h.io/a:t@" DIGEST, "h.io", "a", "t", DIGEST, "h.io/a:t@" DIGEST},
        {"h.io/a@sha512:" HEX HEX, "h.io", "a", "", "sha512:" HEX HEX, "h.io/a@sha512:" HEX HEX},
        {"[::1]:5000/a@" DIGEST, "[::1]:5000", "a", "", DIGEST, "[::1]:5000/a@" DIGEST},
        /* 64 hex digits are a name only with something beside them */
        {"x/" HEX, "docker.io", "x/" HEX, "", "", "docker.io/x/" HEX},
        {DIGEST, "docker.io", "library/sha256", HEX, "", "docker.io/library/" DIGEST},
        {HEX ":t", "docker.io", "library/" HEX, "t", "", "docker.io/library/" HEX ":t"},
        {"0" HEX, "docker.io", "library/0" HEX, "", "", "docker.io/library/0" HEX},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference ref;
        char text[REFERENCE_TEXT_MAX];
        if (reference_parse(table[i].text, &ref, &err) != ERR_OK)
            fail_msg("%s: %s", table[i].text, err.text);
        assert_string_equal(ref.host, table[i].host);
        assert_string_equal(ref.path, table[i].path);
        assert_string_equal(ref.tag, table[i].tag);
        char digest[DIGEST_TEXT_MAX] = "";
        if (ref.digest.algorithm != DIGEST_NONE)
            digest_text(&ref.digest, digest);
        assert_string_equal(digest, table[i].digest);
        assert_string_equal(reference_text(&ref, text), table[i].normal);

        struct reference again;
        assert_int_equal(reference_parse(text, &again, &err), ERR_OK);
        if (!reference_same_name(&ref, &again))
            fail_msg("%s, then %s/%s", text, again.host, again.path);
        assert_string_equal(ref.tag, again.tag);
        assert_true(digest_equal(&ref.digest, &again.digest));
    }
}

static void malformed_references_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "empty"},
        {HEX, "image id"},
        /* repository */
        {"UBUNTU", "upper-case"},
        {"h.io/Team/app", "upper-case"},
        {"user/App:1", "upper-case"},
        {"h.io/", "repository"},
        {"h.io//a", "repository"},
        {"h.io/a/", "repository"},
        {"h.io/a//b", "repository"},
        {"/a", "repository"},
        {"a/", "repository"},
        {"a/b/", "repository"},
        {"h.io/-a", "repository"},
        {"h.io/a-", "repository"},
        {"h.io/.a", "repository"},
        {"h.io/a.", "repository"},
        {"h.io/_a", "repository"},
        {"h.io/a_", "repository"},
        {"h.io/a..b", "repository"},
        {"h.io/a___b", "repository"},
        {"h.io/a._b", "repository"},
        {"h.io/a-_b", "repository"},
        {"h.io/a.-b", "repository"},
        {"h.io/../b", "repository"},
        {"h.io/a b", "repository"},
        {"h.io/a%2fb", "repository"},
        {"h.io/a\\b", "repository"},
        {"h.io/a?b", "repository"},
        {"h.io/a#b", "repository"},
        {"h.io/\xc3\xa4", "repository"},
        {"h.io/a\nb", "repository"},
        {" ubuntu", "repository"},
        {"ubuntu ", "repository"},
        /* tag */
        {"a:", "tag"},
        {"a:.x", "tag"},
        {"a:-x", "tag"},
        {"a:x y", "tag"},
        {"a:x:y", "tag"},
        {"a:x/y", "host"},
        {"h.io/a:b/c", "tag"},
        {"h.io/a:\xc3\xa4", "tag"},
        {"::1", "tag"},
        /* host */
        {"https://h.io/a", "scheme"},
        {"http://localhost:5000/a", "scheme"},
        {"docker://ubuntu", "scheme"},
        {"h.io:/a", "host"},
        {"h.io:0/a", "host"},
        {"h.io:65536/a", "host"},
        {"h.io:099999/a", "host"},
        {"h.io:5o00/a", "host"},
        {"h.io:-1/a", "host"},
        {"h.io:+1/a", "host"},
        {"h.io:80:80/a", "host"},
        {":5000/a", "host"},
        {"./a", "host"},
        {"../a", "host"},
        {".h.io/a", "host"},
        {"h.io./a", "host"},
        {"h..io/a", "host"},
        {"-h.io/a", "host"},
        {"h-.io/a", "host"},
        {"h.-io/a", "host"},
        {"h_x.io/a", "host"},
        {"h.io%/a", "host"},
        {"::1/a", "host"},
        {"[::1/a", "host"},
        {"[::1]x/a", "host"},
        {"[::1]:/a", "host"},
        {"[]:5000/a", "host"},
        {"[::1:::]:5000/a", "host"},
        {"[12345::1]/a", "host"},
        {"[::g]/a", "host"},
        {"[::ffff:127.0.0.1]/a", "host"},
        {"[fe80::1%25eth0]/a", "host"},
        {"[::1]]:5000/a", "host"},
        /* digest */
        {"a@", "digest"},
        {"@" DIGEST, "repository"},
        {"a@sha256", "digest"},
        {"a@" HEX, "digest"},
        {"a@sha256:" HEX "0", "digest"},
        {"a@md5:d41d8cd98f00b204e9800998ecf8427e", "digest"},
        {"a@" DIGEST ":t", "digest"},
        {"a@" DIGEST "@" DIGEST, "digest"},
        {"user:secret@h.io/a", "digest"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error err = ERROR_INIT;
        struct reference ref = {.host = "untouched"};
        enum errc rc = reference_parse(table[i].text, &ref, &err);
        if (rc != ERR_REFERENCE_INVALID || strstr(err.text, table[i].says) == NULL)
            fail_msg("\"%s\": %s", table[i].text, rc ? err.text : "taken");
        assert_string_equal(ref.host, "untouched");
    }
}

/* host "h.io/" and a path that fills up to `size` characters */
static void name_of(size_t size, char *out)
{
    memset(out, 'a', size);
    memcpy(out, "h.io/", 5);
    out[size] = '\0';
}

static void the_name_has_255_characters_at_most(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    char text[600], name[REFERENCE_NAME_MAX + 1];
    name_of(254, text);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    name_of(255, text);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    assert_string_equal(reference_name(&ref, name), text);
    name_of(256, text);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_REFERENCE_INVALID);
    assert_non_null(strstr(err.text, "255"));

    /* "docker.io/library/" counts */
    memset(text, 'a', 300);
    text[255 - 18] = '\0';
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    assert_int_equal(strlen(reference_name(&ref, name)), 255);
    text[255 - 18] = 'a';
    text[256 - 18] = '\0';
    assert_int_equal(reference_parse(text, &ref, &err), ERR_REFERENCE_INVALID);
}

static void a_host_can_fill_the_name(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    char text[300];
    memset(text, 'h', sizeof text);
    text[1] = '.';
    memcpy(text + 253, "/a", 3);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    assert_int_equal(strlen(ref.host), 253);
    memcpy(text + 253, "hh/a", 5);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_REFERENCE_INVALID);
}

static void the_tag_has_128_characters_at_most(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    char text[200] = "a:";
    memset(text + 2, 't', 127);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    text[2 + 127] = 't';
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    assert_int_equal(strlen(ref.tag), REFERENCE_TAG_MAX);
    text[2 + 128] = 't';
    assert_int_equal(reference_parse(text, &ref, &err), ERR_REFERENCE_INVALID);
    assert_int_equal(reference_set_tag(&ref, text + 2, &err), ERR_REFERENCE_INVALID);
    assert_int_equal(reference_set_tag(&ref, text + 3, &err), ERR_OK);
}

static void the_longest_reference_fits_its_text(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    char text[1000], again[REFERENCE_TEXT_MAX];
    name_of(255, text);
    text[255] = ':';
    memset(text + 256, 't', 128);
    snprintf(text + 384, sizeof text - 384, "@sha512:%s%s", HEX, HEX);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_OK);
    assert_string_equal(reference_text(&ref, again), text);
}

static void long_texts_are_quoted_short(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    static char text[100000];
    memset(text, 'A', sizeof text - 1);
    assert_int_equal(reference_parse(text, &ref, &err), ERR_REFERENCE_INVALID);
    assert_true(strlen(err.text) < 450);
    assert_non_null(strstr(err.text, "..."));
}

static void tags_can_be_replaced(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_int_equal(reference_parse("h.io/a:old", &ref, &err), ERR_OK);
    assert_int_equal(reference_set_tag(&ref, "new", &err), ERR_OK);
    assert_string_equal(ref.tag, "new");
    assert_int_equal(reference_set_tag(&ref, "", &err), ERR_REFERENCE_INVALID);
    assert_int_equal(reference_set_tag(&ref, "a/b", &err), ERR_REFERENCE_INVALID);
    assert_int_equal(reference_set_tag(&ref, ".a", &err), ERR_REFERENCE_INVALID);
    assert_string_equal(ref.tag, "new");
}

static void names_are_compared_without_tags(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct reference a, b;
    assert_int_equal(reference_parse("ubuntu:1", &a, &err), ERR_OK);
    assert_int_equal(reference_parse("docker.io/library/ubuntu:2", &b, &err), ERR_OK);
    assert_true(reference_same_name(&a, &b));
    assert_int_equal(reference_parse("h.io/library/ubuntu", &b, &err), ERR_OK);
    assert_false(reference_same_name(&a, &b));
    assert_int_equal(reference_parse("library/ubuntu2", &b, &err), ERR_OK);
    assert_false(reference_same_name(&a, &b));
}

static void targets_are_compared_as_a_whole(void **state)
{
    (void)state;
    static const char digest[] =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const char *const texts[] = {"h.io/app", "h.io/app:1", "h.io/app:2", "h.io/ap:1", "g.io/app:1"};
    for (size_t i = 0; i < 10; i++)
        for (size_t j = 0; j < 10; j++) {
            struct error err = ERROR_INIT;
            struct reference a, b;
            assert_int_equal(reference_parse(texts[i % 5], &a, &err), ERR_OK);
            assert_int_equal(reference_parse(texts[j % 5], &b, &err), ERR_OK);
            if (i >= 5)
                assert_int_equal(digest_parse(digest, &a.digest, &err), ERR_OK);
            if (j >= 5)
                assert_int_equal(digest_parse(digest, &b.digest, &err), ERR_OK);
            assert_int_equal(reference_same_target(&a, &b), i == j);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_normalised),
        cmocka_unit_test(malformed_references_are_refused),
        cmocka_unit_test(the_name_has_255_characters_at_most),
        cmocka_unit_test(a_host_can_fill_the_name),
        cmocka_unit_test(the_tag_has_128_characters_at_most),
        cmocka_unit_test(the_longest_reference_fits_its_text),
        cmocka_unit_test(long_texts_are_quoted_short),
        cmocka_unit_test(tags_can_be_replaced),
        cmocka_unit_test(names_are_compared_without_tags),
        cmocka_unit_test(targets_are_compared_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
