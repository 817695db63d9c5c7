#include "store/push.h"

#include "tests/unit/store/store_test.h"

static struct reference parse(const char *text)
{
    struct error err = ERROR_INIT;
    struct reference ref;
    assert_ok(reference_parse(text, &ref, &err), &err);
    return ref;
}

static enum errc add(struct push *push, const char *text, bool optional, bool stored,
                     struct error *err)
{
    const struct reference reference = parse(text);
    return push_add_target(push, &reference, optional, stored, err);
}

static void targets_wait_and_are_each_there_once(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push push = {.id = ""};
    assert_ok(add(&push, "r.example.com/a:1", true, true, &err), &err);
    assert_ok(add(&push, "r.example.com/a:2", true, true, &err), &err);
    assert_ok(add(&push, "r.example.com/b:1", false, false, &err), &err);
    assert_int_equal(push.target_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(push.targets[i].state, PUSH_QUEUED);
        assert_int_equal(push.targets[i].error.code, ERR_OK);
    }
    assert_int_equal(push_stored_targets(&push), 2);

    /* Again: what either of them asks for. */
    assert_ok(add(&push, "r.example.com/a:1", false, true, &err), &err);
    assert_ok(add(&push, "r.example.com/a:2", true, false, &err), &err);
    assert_ok(add(&push, "r.example.com/b:1", true, true, &err), &err);
    assert_int_equal(push.target_count, 3);
    assert_true(!push.targets[0].optional && push.targets[0].stored);
    assert_true(push.targets[1].optional && !push.targets[1].stored);
    assert_true(!push.targets[2].optional && !push.targets[2].stored);
    assert_int_equal(push_stored_targets(&push), 1);
    push_deinit(&push);
}

static void a_digest_makes_another_target(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push push = {.id = ""};
    struct reference reference = parse("r.example.com/a");
    for (int i = 0; i < 2; i++) {
        reference.digest = digest_of(DIGEST_SHA256, &i, sizeof i);
        assert_ok(push_add_target(&push, &reference, false, false, &err), &err);
        assert_ok(push_add_target(&push, &reference, false, false, &err), &err);
    }
    assert_int_equal(push.target_count, 2);
    push_deinit(&push);
}

static void targets_and_referrers_have_their_limits(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push push = {.id = ""};
    const struct descriptor manifest = {.size = 1, .digest = digest_of_text("manifest")};
    for (int i = 0; i < TARGETS_MAX; i++) {
        char text[64];
        snprintf(text, sizeof text, "r.example.com/a:%d", i);
        assert_ok(add(&push, text, false, false, &err), &err);
    }
    assert_ok(add(&push, "r.example.com/a:0", false, false, &err), &err);
    assert_code(add(&push, "r.example.com/a:more", false, false, &err), ERR_BAD_REQUEST, &err);
    assert_int_equal(push.target_count, TARGETS_MAX);
    error_clear(&err);
    for (int i = 0; i < REFERRERS_MAX; i++)
        assert_ok(push_add_referrer(&push, &manifest, i == 0 ? "tag" : "", &err), &err);
    assert_code(push_add_referrer(&push, &manifest, "", &err), ERR_UNSUPPORTED, &err);
    assert_int_equal(push.referrer_count, REFERRERS_MAX);
    assert_string_equal(push.referrers[0].tag, "tag");
    assert_string_equal(push.referrers[REFERRERS_MAX - 1].tag, "");
    push_deinit(&push);
    assert_int_equal(push.target_count + push.referrer_count, 0);
    push_deinit(&push);
}

static void a_failure_counts_unless_it_is_optional(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push push = {.id = ""};
    assert_null(push_failure(&push));
    assert_ok(add(&push, "r.example.com/a:1", true, false, &err), &err);
    assert_ok(add(&push, "r.example.com/a:2", false, false, &err), &err);
    assert_ok(add(&push, "r.example.com/a:3", false, false, &err), &err);
    push.targets[0].state = PUSH_FAILED;
    push.targets[1].state = PUSH_PUSHED;
    assert_null(push_failure(&push));
    push.targets[2].state = PUSH_FAILED;
    assert_ptr_equal(push_failure(&push), &push.targets[2]);
    push.targets[1].state = PUSH_FAILED;
    assert_ptr_equal(push_failure(&push), &push.targets[1]);
    push_deinit(&push);
}

static void copies_are_deep(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push push = {.id = "1"};
    struct push copy;
    const struct descriptor manifest = {.size = 1, .digest = digest_of_text("manifest")};
    push_copy(&push, &copy);
    assert_string_equal(copy.id, "1");
    push_deinit(&copy);
    assert_ok(add(&push, "r.example.com/a:1", true, false, &err), &err);
    assert_ok(push_add_referrer(&push, &manifest, "tag", &err), &err);
    push_copy(&push, &copy);
    strcpy(push.targets[0].reference.tag, "2");
    push_deinit(&push);
    assert_int_equal(copy.target_count, 1);
    assert_string_equal(copy.targets[0].reference.tag, "1");
    assert_string_equal(copy.referrers[0].tag, "tag");
    assert_ok(add(&copy, "r.example.com/b:1", true, false, &err), &err);
    assert_int_equal(copy.target_count, 2);
    push_deinit(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_wait_and_are_each_there_once),
        cmocka_unit_test(a_digest_makes_another_target),
        cmocka_unit_test(targets_and_referrers_have_their_limits),
        cmocka_unit_test(a_failure_counts_unless_it_is_optional),
        cmocka_unit_test(copies_are_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
