#include "gateway/push/archive_push.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Targets separated by spaces, as they are written. */
static char *written(const struct push *push)
{
    char *text = xstrdup("");
    for (size_t i = 0; i < push->target_count; i++) {
        char target[REFERENCE_TEXT_MAX];
        char *longer = xasprintf("%s%s%s", text, i ? " " : "",
                                 reference_text(&push->targets[i].reference, target));
        free(text);
        text = longer;
    }
    return text;
}

/* The words of a text. */
struct words {
    char *text; /* owned */
    const char *items[TARGETS_MAX + 1];
    size_t count;
};

static void split(const char *text, struct words *words)
{
    *words = (struct words){.text = xstrdup(text)};
    for (char *at = strtok(words->text, " "); at; at = strtok(NULL, " "))
        words->items[words->count++] = at;
}

static struct push_order ordered(const char *targets)
{
    struct error err = ERROR_INIT;
    struct push_order order = {0};
    struct words words;
    split(targets, &words);
    for (size_t i = 0; i < words.count; i++)
        if (push_order_add(&order, words.items[i], &err) != ERR_OK)
            fail_msg("%s", err.text);
    free(words.text);
    return order;
}

static void targets_without_a_tag_get_those_of_the_image(void **state)
{
    (void)state;
    static const struct {
        const char *targets, *tags, *expanded;
    } rows[] = {
        {"r.x/a", "1", "r.x/a:1"},
        {"r.x/a", "1 2", "r.x/a:1 r.x/a:2"},
        {"r.x/a:x", "1 2", "r.x/a:x"},
        {"r.x/a:x", "", "r.x/a:x"},
        {"r.x/a r.x/b:x s.x/a", "1 2", "r.x/a:1 r.x/a:2 r.x/b:x s.x/a:1 s.x/a:2"},
        /* Each once, where it comes first. */
        {"r.x/a", "1 1 2 1", "r.x/a:1 r.x/a:2"},
        {"r.x/a:2 r.x/a", "1 2", "r.x/a:2 r.x/a:1"},
        {"r.x/a r.x/a:2", "1 2", "r.x/a:1 r.x/a:2"},
        {"", "1", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err = ERROR_INIT;
        struct push_order order = ordered(rows[i].targets);
        struct words tags;
        split(rows[i].tags, &tags);
        if (push_expand_tags(&order.push, tags.items, tags.count, "", &err) != ERR_OK)
            fail_msg("%s", err.text);
        autofree char *text = written(&order.push);
        assert_string_equal(text, rows[i].expanded);
        for (size_t k = 0; k < order.push.target_count; k++)
            assert_int_equal(order.push.targets[k].state, PUSH_QUEUED);
        push_order_deinit(&order);
        free(tags.text);
    }
}

static void what_a_target_is_stays_with_its_tags(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct push_order order = ordered("r.x/a r.x/b");
    const char *const tags[] = {"1", "2"};
    order.push.targets[0].optional = true;
    order.push.targets[1].stored = true;
    assert_int_equal(push_expand_tags(&order.push, tags, 2, "", &err), ERR_OK);
    assert_int_equal(order.push.target_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(order.push.targets[i].optional, i < 2);
        assert_int_equal(order.push.targets[i].stored, i >= 2);
    }
    push_order_deinit(&order);
}

/* The push stays as it was. */
static void expect_refused(const char *targets, const char *tags, enum errc code, const char *words)
{
    struct error err = ERROR_INIT;
    struct push_order order = ordered(targets);
    struct words list;
    split(tags, &list);
    assert_int_equal(push_expand_tags(&order.push, list.items, list.count, "say one", &err), code);
    if (strstr(err.text, words) == NULL)
        fail_msg("%s is not in %s", words, err.text);
    autofree char *text = written(&order.push);
    assert_string_equal(text, targets);
    push_order_deinit(&order);
    free(list.text);
}

static void without_any_tag_there_is_no_target(void **state)
{
    (void)state;
    expect_refused("r.x/a", "", ERR_NO_TAG, "no tags to push for r.x/a: say one");
    expect_refused("r.x/a:1 r.x/b", "", ERR_NO_TAG, "no tags to push for r.x/b: say one");
    expect_refused("r.x/a", "1 no/tag", ERR_REFERENCE_INVALID, "no/tag");
}

static void there_are_so_many_targets(void **state)
{
    (void)state;
    char tags[TARGETS_MAX + 1][16];
    const char *list[TARGETS_MAX + 1];
    for (size_t i = 0; i < TARGETS_MAX + 1; i++) {
        snprintf(tags[i], sizeof tags[i], "t%zu", i);
        list[i] = tags[i];
    }
    for (size_t count = TARGETS_MAX - 1; count <= TARGETS_MAX + 1; count++) {
        struct error err = ERROR_INIT;
        struct push_order order = ordered("r.x/a");
        bool fits = count <= TARGETS_MAX;
        assert_int_equal(push_expand_tags(&order.push, list, count, "", &err),
                         fits ? ERR_OK : ERR_BAD_REQUEST);
        assert_int_equal(order.push.target_count, fits ? count : 1);
        push_order_deinit(&order);
    }
}

static void an_order_takes_references_with_or_without_a_tag(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum errc code;
        const char *after;
    } rows[] = {
        {"r.x/a", ERR_OK, "r.x/a"},
        {"r.x/a:1", ERR_OK, "r.x/a r.x/a:1"},
        {"r.x/a", ERR_OK, "r.x/a r.x/a:1"},
        {"r.x/A:1", ERR_REFERENCE_INVALID, "r.x/a r.x/a:1"},
        {"r.x/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         ERR_DIGEST_REFERENCE, "r.x/a r.x/a:1"},
        {"team/app", ERR_OK, "r.x/a r.x/a:1 docker.io/team/app"},
    };
    struct push_order order = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err = ERROR_INIT;
        assert_int_equal(push_order_add(&order, rows[i].text, &err), rows[i].code);
        autofree char *text = written(&order.push);
        assert_string_equal(text, rows[i].after);
    }
    for (size_t i = 0; i < order.push.target_count; i++)
        assert_false(order.push.targets[i].optional || order.push.targets[i].stored);
    push_order_deinit(&order);
}

static void compressions_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"keep", "gzip", "zstd", "none"};
    struct error err = ERROR_INIT;
    enum setting_codec codec = SETTING_CODEC_KEEP;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(compression_parse(names[i], &codec, &err), ERR_OK);
        assert_string_equal(compression_name(codec), names[i]);
    }
    assert_int_equal(compression_parse("zst", &codec, &err), ERR_BAD_REQUEST);
    assert_int_equal(codec, SETTING_CODEC_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_without_a_tag_get_those_of_the_image),
        cmocka_unit_test(what_a_target_is_stays_with_its_tags),
        cmocka_unit_test(without_any_tag_there_is_no_target),
        cmocka_unit_test(there_are_so_many_targets),
        cmocka_unit_test(an_order_takes_references_with_or_without_a_tag),
        cmocka_unit_test(compressions_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
