#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "base/mem.h"
#include "gateway/registry/path.h"

#include <string.h>

#define HEX64 "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
#define SHA256 "sha256:" HEX64
#define SHA512 "sha512:" HEX64 HEX64

static void endpoints_are_told_by_the_end_of_the_path(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum v2_endpoint endpoint;
        const char *repository;
        const char *last; /* tag, digest or id */
    } rows[] = {
        {"/v2", V2_PING, "", ""},
        {"/v2/", V2_PING, "", ""},
        {"/v2/_catalog", V2_CATALOG, "", ""},
        {"/v2/app/blobs/" SHA256, V2_BLOB, "app", SHA256},
        {"/v2/app/blobs/" SHA512, V2_BLOB, "app", SHA512},
        {"/v2/app/blobs/sha256%3A" HEX64, V2_BLOB, "app", SHA256},
        {"/v2/team/app/blobs/uploads/", V2_UPLOADS, "team/app", ""},
        {"/v2/team/app/blobs/uploads", V2_UPLOADS, "team/app", ""},
        {"/v2/team/app/blobs/uploads/0123abcd", V2_UPLOAD, "team/app", "0123abcd"},
        {"/v2/team/app/blobs/uploads/..", V2_UPLOAD, "team/app", ".."},
        {"/v2/team/app/blobs/uploads/a%3Db%", V2_UPLOAD, "team/app", "a%3Db%"},
        {"/v2/team/app/manifests/1.0", V2_MANIFEST, "team/app", "1.0"},
        {"/v2/team/app/manifests/%31.0", V2_MANIFEST, "team/app", "1.0"},
        {"/v2/team/app/manifests/" SHA256, V2_MANIFEST, "team/app", SHA256},
        {"/v2/team/app/manifests/list", V2_MANIFEST, "team/app", "list"},
        {"/v2/team/app/tags/list", V2_TAGS, "team/app", ""},
        {"/v2/team/app/referrers/" SHA256, V2_REFERRERS, "team/app", SHA256},
        /* names with the words of endpoints */
        {"/v2/blobs/uploads/blobs/uploads/", V2_UPLOADS, "blobs/uploads", ""},
        {"/v2/a/blobs/uploads/manifests/1", V2_MANIFEST, "a/blobs/uploads", "1"},
        {"/v2/manifests/tags/list", V2_TAGS, "manifests", ""},
        {"/v2/tags/list/tags/list", V2_TAGS, "tags/list", ""},
        /* hosts */
        {"/v2/r.example.com/team/app/tags/list", V2_TAGS, "r.example.com/team/app", ""},
        {"/v2/localhost:5000/app/tags/list", V2_TAGS, "localhost:5000/app", ""},
        {"/v2/[::1]:5000/app/tags/list", V2_TAGS, "[::1]:5000/app", ""},
        {"/v2/" HEX64 "/tags/list", V2_TAGS, HEX64, ""},
        {"/v2/a__b-c---d.e/tags/list", V2_TAGS, "a__b-c---d.e", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct v2_path path;
        struct error err = ERROR_INIT;
        char text[DIGEST_TEXT_MAX];
        print_message("%s\n", rows[i].path);
        assert_int_equal(v2_path_parse(rows[i].path, &path, &err), ERR_OK);
        assert_int_equal(path.endpoint, rows[i].endpoint);
        assert_string_equal(path.repository, rows[i].repository);
        const char *last = path.tag;
        if (path.digest.algorithm != DIGEST_NONE)
            last = digest_text(&path.digest, text);
        else if (path.endpoint == V2_UPLOAD)
            last = path.id;
        assert_string_equal(last, rows[i].last);
    }
}

static void what_is_no_path_is_refused_with_its_code(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum errc code;
    } rows[] = {
        {"", ERR_NOT_FOUND},
        {"/", ERR_NOT_FOUND},
        {"/v2x/app/tags/list", ERR_NOT_FOUND},
        {"/v1/app/tags/list", ERR_NOT_FOUND},
        {"/v2/app", ERR_NOT_FOUND},
        {"/v2/app/tags", ERR_NOT_FOUND},
        {"/v2/app/tags/all", ERR_NOT_FOUND},
        {"/v2/app/manifests", ERR_NOT_FOUND},
        {"/v2/app/uploads/1", ERR_NOT_FOUND},
        {"/v2/app/blobs/uploads/1/2", ERR_NOT_FOUND},
        {"/v2/app/manifests/a/b", ERR_NOT_FOUND},
        /* slashes */
        {"/v2//", ERR_NAME_INVALID},
        {"/v2//tags/list", ERR_NAME_INVALID},
        {"/v2///tags/list", ERR_NAME_INVALID},
        {"/v2/app//tags/list", ERR_NAME_INVALID},
        {"/v2/team//app/tags/list", ERR_NAME_INVALID},
        {"/v2/app/tags/list/", ERR_NAME_INVALID},
        {"/v2/app/manifests/1.0/", ERR_NAME_INVALID},
        {"/v2/app/manifests/", ERR_NAME_INVALID},
        {"/v2/app/blobs/", ERR_NAME_INVALID},
        {"/v2/app/referrers/", ERR_NAME_INVALID},
        {"/v2/app/blobs/uploads//", ERR_NAME_INVALID},
        {"/v2/app/blobs/uploads/1/", ERR_NAME_INVALID},
        {"/v2/_catalog/", ERR_NAME_INVALID},
        {"/v2/tags/list", ERR_NAME_INVALID},
        {"/v2/manifests/1.0", ERR_NAME_INVALID},
        {"/v2/blobs/uploads/", ERR_NAME_INVALID},
        /* out of the tree */
        {"/v2/../tags/list", ERR_NAME_INVALID},
        {"/v2/app/../../etc/tags/list", ERR_NAME_INVALID},
        {"/v2/app/../../etc/passwd", ERR_NAME_INVALID},
        {"/v2/./app/tags/list", ERR_NAME_INVALID},
        {"/v2/app/.hidden/tags/list", ERR_NAME_INVALID},
        {"/v2/%2e%2e/tags/list", ERR_NAME_INVALID},
        {"/v2/..%2f..%2fetc%2fpasswd", ERR_NAME_INVALID},
        {"/v2/team%2fapp/tags/list", ERR_NAME_INVALID},
        {"/v2/team%2Fapp/manifests/1", ERR_NAME_INVALID},
        {"/v2/app%00/tags/list", ERR_NAME_INVALID},
        {"/v2/%61pp/tags/list", ERR_NAME_INVALID},
        {"/v2/app\\b/tags/list", ERR_NAME_INVALID},
        /* the grammar */
        {"/v2/App/tags/list", ERR_NAME_INVALID},
        {"/v2/team/APP/tags/list", ERR_NAME_INVALID},
        {"/v2/R.example.com/app/tags/list", ERR_NAME_INVALID},
        {"/v2/-app/tags/list", ERR_NAME_INVALID},
        {"/v2/app-/tags/list", ERR_NAME_INVALID},
        {"/v2/a..b/tags/list", ERR_NAME_INVALID},
        {"/v2/a___b/tags/list", ERR_NAME_INVALID},
        {"/v2/a b/tags/list", ERR_NAME_INVALID},
        {"/v2/app@x/tags/list", ERR_NAME_INVALID},
        {"/v2/\xc3\xa4/tags/list", ERR_NAME_INVALID},
        {"/v2/localhost:5000/tags/list", ERR_NAME_INVALID},
        {"/v2/app/localhost:5000/tags/list", ERR_NAME_INVALID},
        {"/v2/r.example.com:0/app/tags/list", ERR_NAME_INVALID},
        {"/v2/r.example.com:/app/tags/list", ERR_NAME_INVALID},
        {"/v2/_catalog/tags/list", ERR_NAME_INVALID},
        /* what stands behind the name */
        {"/v2/app/blobs/sha256:abc", ERR_DIGEST_INVALID},
        {"/v2/app/blobs/latest", ERR_DIGEST_INVALID},
        {"/v2/app/blobs/md5:" HEX64, ERR_DIGEST_INVALID},
        {"/v2/app/blobs/" SHA256 "%", ERR_DIGEST_INVALID},
        {"/v2/app/blobs/..", ERR_DIGEST_INVALID},
        {"/v2/app/referrers/1.0", ERR_DIGEST_INVALID},
        {"/v2/app/manifests/sha256:abc", ERR_DIGEST_INVALID},
        {"/v2/app/manifests/.1", ERR_TAG_INVALID},
        {"/v2/app/manifests/a%2fb", ERR_TAG_INVALID},
        {"/v2/app/manifests/a%00", ERR_TAG_INVALID},
        {"/v2/app/manifests/..", ERR_TAG_INVALID},
        {"/v2/app/blobs/uploads/..%2f..%2fx", ERR_NO_UPLOAD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct v2_path path = {.endpoint = V2_BLOB, .tag = "untouched"};
        struct error err = ERROR_INIT;
        print_message("%s\n", rows[i].path);
        assert_int_equal(v2_path_parse(rows[i].path, &path, &err), rows[i].code);
        assert_string_equal(path.tag, "untouched");
    }
}

/* A path with `n` times the letter a where the star is. */
static enum errc parse_with(const char *form, size_t n, struct v2_path *out)
{
    struct error err = ERROR_INIT;
    const char *star = strchr(form, '*');
    autofree char *run = xcalloc(1, n + 1);
    memset(run, 'a', n);
    autofree char *path = xasprintf("%.*s%s%s", (int)(star - form), form, run, star + 1);
    return v2_path_parse(path, out, &err);
}

static void lengths_have_their_limits(void **state)
{
    (void)state;
    struct v2_path path;
    assert_int_equal(parse_with("/v2/*/tags/list", REPOSITORY_NAME_MAX - 1, &path), ERR_OK);
    assert_int_equal(parse_with("/v2/*/tags/list", REPOSITORY_NAME_MAX, &path), ERR_OK);
    assert_int_equal(strlen(path.repository), REPOSITORY_NAME_MAX);
    assert_int_equal(parse_with("/v2/*/tags/list", REPOSITORY_NAME_MAX + 1, &path),
                     ERR_NAME_INVALID);
    assert_int_equal(parse_with("/v2/*/tags/list", 100000, &path), ERR_NAME_INVALID);

    assert_int_equal(parse_with("/v2/a/manifests/*", REFERENCE_TAG_MAX - 1, &path), ERR_OK);
    assert_int_equal(parse_with("/v2/a/manifests/*", REFERENCE_TAG_MAX, &path), ERR_OK);
    assert_int_equal(parse_with("/v2/a/manifests/*", REFERENCE_TAG_MAX + 1, &path),
                     ERR_TAG_INVALID);

    assert_int_equal(parse_with("/v2/a/blobs/uploads/*", V2_ID_MAX - 1, &path), ERR_OK);
    assert_int_equal(parse_with("/v2/a/blobs/uploads/*", V2_ID_MAX, &path), ERR_OK);
    assert_int_equal(parse_with("/v2/a/blobs/uploads/*", V2_ID_MAX + 1, &path), ERR_NO_UPLOAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_told_by_the_end_of_the_path),
        cmocka_unit_test(what_is_no_path_is_refused_with_its_code),
        cmocka_unit_test(lengths_have_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
