#include "upstream/push/repository_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KEEP_MS 1000

static struct reference reference(const char *text)
{
    struct reference ref;
    struct error err = ERROR_INIT;
    if (reference_parse(text, &ref, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return ref;
}

static struct digest digest(const char *text)
{
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

static void a_repository_has_one_memory_whatever_the_tag(void **state)
{
    (void)state;
    struct repository_memory *memory = repository_memory_new(KEEP_MS);
    const struct reference one = reference("r.example.com/a:1");
    const struct reference two = reference("r.example.com/a:2");
    const struct reference path = reference("r.example.com/b:1");
    const struct reference host = reference("s.example.com/a:1");
    struct known_blobs *known = repository_memory_hold(memory, &one, 0);
    struct known_blobs *same = repository_memory_hold(memory, &two, 0);
    struct known_blobs *others[] = {repository_memory_hold(memory, &path, 0),
                                    repository_memory_hold(memory, &host, 0)};
    assert_ptr_equal(known, same);
    assert_ptr_not_equal(known, others[0]);
    assert_ptr_not_equal(known, others[1]);
    repository_memory_release(memory, known);
    repository_memory_release(memory, same);
    repository_memory_release(memory, others[0]);
    repository_memory_release(memory, others[1]);
    repository_memory_free(memory);
}

static void it_ends_after_its_time_however_often_it_is_used(void **state)
{
    (void)state;
    struct repository_memory *memory = repository_memory_new(KEEP_MS);
    const struct reference ref = reference("r.example.com/a");
    const struct digest blob = digest("x");
    static const struct {
        int64_t now_ms;
        bool knows;
    } table[] = {
        {5, false},
        {6, true},
        {5 + KEEP_MS - 1, true},
        {5 + KEEP_MS, false},
        {5 + KEEP_MS + 1, true},
        {5 + 3 * KEEP_MS, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct known_blobs *known = repository_memory_hold(memory, &ref, table[i].now_ms);
        assert_int_equal(known_blobs_has(known, NULL, &blob), table[i].knows);
        known_blobs_add(known, NULL, &blob);
        repository_memory_release(memory, known);
    }
    repository_memory_free(memory);
}

static void who_holds_an_old_one_keeps_it(void **state)
{
    (void)state;
    struct repository_memory *memory = repository_memory_new(KEEP_MS);
    const struct reference ref = reference("r.example.com/a");
    const struct reference other = reference("r.example.com/b");
    const struct digest blob = digest("x");
    struct known_blobs *old = repository_memory_hold(memory, &ref, 0);
    known_blobs_add(old, NULL, &blob);
    struct known_blobs *young = repository_memory_hold(memory, &ref, KEEP_MS);
    assert_ptr_not_equal(old, young);
    assert_true(known_blobs_has(old, NULL, &blob));
    assert_false(known_blobs_has(young, NULL, &blob));
    repository_memory_release(memory, old);
    repository_memory_release(memory, repository_memory_hold(memory, &other, KEEP_MS));
    assert_false(known_blobs_has(young, NULL, &blob));
    repository_memory_release(memory, young);
    repository_memory_free(memory);
}

static void what_was_wrong_is_forgotten(void **state)
{
    (void)state;
    struct repository_memory *memory = repository_memory_new(KEEP_MS);
    const struct reference ref = reference("r.example.com/a:1");
    const struct reference other = reference("r.example.com/b:1");
    const struct digest blob = digest("x");
    struct known_blobs *wrong = repository_memory_hold(memory, &ref, 0);
    struct known_blobs *right = repository_memory_hold(memory, &other, 0);
    known_blobs_add(wrong, NULL, &blob);
    known_blobs_add(right, NULL, &blob);
    repository_memory_forget(memory, &ref);
    repository_memory_forget(memory, &ref);
    struct known_blobs *fresh = repository_memory_hold(memory, &ref, 1);
    assert_false(known_blobs_has(fresh, NULL, &blob));
    assert_true(known_blobs_has(right, NULL, &blob));
    repository_memory_release(memory, wrong);
    repository_memory_release(memory, right);
    repository_memory_release(memory, fresh);
    repository_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repository_has_one_memory_whatever_the_tag),
        cmocka_unit_test(it_ends_after_its_time_however_often_it_is_used),
        cmocka_unit_test(who_holds_an_old_one_keeps_it),
        cmocka_unit_test(what_was_wrong_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
