#include "image/referrer_list.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEAD "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\""

static json_t *json_of(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* Written with single quotes, entries by one-letter digests. */
static char *quoted(const char *text)
{
    char *copy = xstrdup(text);
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    return copy;
}

static void lists_are_brought_up_to_the_facts(void **state)
{
    (void)state;
    static const struct {
        const char *entries, *wanted, *known;
        const char *result; /* NULL: not changed */
    } table[] = {
        {"[]", "{}", "{}", NULL},
        {"[]", "{'a':{'digest':'a','size':1}}", "{}", "[{'digest':'a','size':1}]"},
        {"[{'digest':'a','size':1}]", "{'a':{'digest':'a','size':1}}", "{}", NULL},
        /* What is known changes what is there, and brings nothing. */
        {"[]", "{}", "{'a':{'digest':'a'}}", NULL},
        {"[{'digest':'a','artifactType':''}]", "{}", "{'a':{'digest':'a','artifactType':'t'}}",
         "[{'digest':'a','artifactType':'t'}]"},
        {"[{'digest':'a','artifactType':'config'}]", "{'a':{'digest':'a','artifactType':'t'}}",
         "{}", "[{'digest':'a','artifactType':'t'}]"},
        {"[{'digest':'a'}]", "{'a':{'digest':'a','artifactType':'t'}}", "{}",
         "[{'digest':'a','artifactType':'t'}]"},
        /* An index has no type. */
        {"[{'digest':'a','artifactType':''}]", "{'a':{'digest':'a'}}", "{}", "[{'digest':'a'}]"},
        {"[{'digest':'a','size':2,'mediaType':'x'}]",
         "{'a':{'digest':'a','size':1,'mediaType':'y'}}", "{}",
         "[{'digest':'a','size':1,'mediaType':'y'}]"},
        /* Annotations and members that somebody added stay. */
        {"[{'digest':'a','annotations':{'k':'1','l':'2'},'platform':{}}]",
         "{'a':{'digest':'a','annotations':{'k':'3'}}}", "{}",
         "[{'digest':'a','annotations':{'k':'3','l':'2'},'platform':{}}]"},
        {"[{'digest':'a','annotations':{'k':'1','l':'2'}}]",
         "{'a':{'digest':'a','annotations':{'k':'1'}}}", "{}", NULL},
        {"[{'digest':'a','annotations':null}]", "{'a':{'digest':'a','annotations':{'k':'1'}}}",
         "{}", "[{'digest':'a','annotations':{'k':'1'}}]"},
        {"[{'digest':'a'}]", "{'a':{'digest':'a','annotations':{}}}", "{}", NULL},
        /* What is gone leaves, and does not come back. */
        {"[{'digest':'a'},{'digest':'b'}]", "{'c':{'digest':'c'}}", "{'a':null}",
         "[{'digest':'b'},{'digest':'c'}]"},
        {"[{'digest':'a'},{'digest':'a'}]", "{'a':{'digest':'a'}}", "{'a':null}", "[]"},
        {"[]", "{'a':{'digest':'a'}}", "{'a':null}", NULL},
        /* What strangers wrote that is no entry. */
        {"[1,null,{},{'digest':5}]", "{}", "{}", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        autofree char *entries = quoted(table[i].entries);
        autofree char *wanted_text = quoted(table[i].wanted);
        autofree char *known_text = quoted(table[i].known);
        autofree char *result = quoted(table[i].result ? table[i].result : table[i].entries);
        autojson json_t *list = referrer_list_empty();
        autojson json_t *wanted = json_of(wanted_text);
        autojson json_t *known = json_of(known_text);
        json_object_set_new(list, "manifests", json_of(entries));
        assert_int_equal(referrer_list_update(list, wanted, known), table[i].result != NULL);
        autofree char *text = json_compact(json_object_get(list, "manifests"));
        assert_string_equal(text, result);
        /* Once it is, it stays as it is. */
        assert_false(referrer_list_update(list, wanted, known));
    }
}

static void entries_are_collected_once(void **state)
{
    (void)state;
    autojson json_t *list = json_of(
        "{\"manifests\":[{\"digest\":\"a\",\"n\":1},{\"digest\":\"b\"},{},{\"digest\":\"a\"}]}");
    autojson json_t *facts = json_of("{\"b\":{\"digest\":\"b\",\"own\":1}}");
    referrer_list_collect(list, facts);
    autofree char *text = json_compact(facts);
    assert_string_equal(text,
                        "{\"b\":{\"digest\":\"b\",\"own\":1},\"a\":{\"digest\":\"a\",\"n\":1}}");
}

static void what_is_a_list(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        enum errc code;
    } cases[] = {
        {HEAD ",\"manifests\":[]}", ERR_OK},
        {HEAD ",\"manifests\":null}", ERR_OK},
        {"{\"schemaVersion\":2,\"manifests\":[]}", ERR_OK},
        {"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
         "\",\"digest\":\"sha256:" HEX "\",\"size\":2},\"layers\":[]}",
         ERR_MANIFEST_INVALID},
        {"{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_DOCKER_LIST "\",\"manifests\":[]}",
         ERR_MANIFEST_INVALID},
        {"{}", ERR_MANIFEST_INVALID},
        {"nothing", ERR_JSON_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        autojson json_t *list = NULL;
        const char *index = cases[i].index;
        assert_int_equal(referrer_list_parse(index, strlen(index), &list, &err), cases[i].code);
        assert_int_equal(json_is_array(json_object_get(list, "manifests")),
                         cases[i].code == ERR_OK);
    }
}

static void tags_of_lists(void **state)
{
    (void)state;
    struct manifest index = {.kind = MANIFEST_INDEX, .media_type = MEDIA_OCI_INDEX};
    struct manifest docker = {.kind = MANIFEST_INDEX, .media_type = MEDIA_DOCKER_LIST};
    struct manifest image = {.kind = MANIFEST_IMAGE, .media_type = MEDIA_OCI_MANIFEST};
    char tag[REFERRER_LIST_TAG_MAX];
    struct digest digest = digest_of(DIGEST_SHA256, "", 0);
    assert_string_equal(referrer_list_tag(&digest, tag),
                        "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_true(referrer_list_is(tag, &index));
    assert_false(referrer_list_is(tag, &docker));
    assert_false(referrer_list_is(tag, &image));
    /* No more than a tag may have. */
    digest = digest_of(DIGEST_SHA512, "", 0);
    assert_string_equal(referrer_list_tag(&digest, tag),
                        "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce");
    assert_true(referrer_list_is(tag, &index));
    static const char *const others[] = {
        "",
        "sha256-",
        "sha256-" HEX "0",
        "sha256-" HEX ".sig",
        "latest",
        "sha1-" HEX,
        "sha256:" HEX,
        "SHA256-" HEX,
        "sha256",
        "sha256-BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(referrer_list_is(others[i], &index));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_brought_up_to_the_facts),
        cmocka_unit_test(entries_are_collected_once),
        cmocka_unit_test(what_is_a_list),
        cmocka_unit_test(tags_of_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
