#include "gateway/registry/last_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CONFIRM_MS 60000
#define NOW_MS 10000000

static struct digest digest_named(char letter)
{
    return digest_of(DIGEST_SHA256, &letter, 1);
}

static const char *const steps[] = {
    [STEP_LEAVE] = "leave", [STEP_QUEUE] = "queue",     [STEP_DELIVER] = "deliver",
    [STEP_WAIT] = "wait",   [STEP_MISSING] = "missing",
};

/* A word of `age` so many ms ago, about this manifest or ("other") another one. */
struct known {
    enum word word;
    bool other;
    int64_t age_ms;
    unsigned failures;
    int64_t silent_for_ms;
};

static struct last_word word_of(const struct known *known)
{
    return (struct last_word){.word = known->word,
                              .digest = digest_named(known->other ? 'b' : 'a'),
                              .since_ms = NOW_MS - known->age_ms,
                              .failures = known->failures,
                              .silent_ms =
                                  known->silent_for_ms ? NOW_MS + known->silent_for_ms : 0};
}

static void test_whether_to_ask(void **state)
{
    (void)state;
    static const struct {
        struct known known;
        bool open, away;
        bool stored, pushed; /* what an acknowledgement makes of it */
    } rows[] = {
        {{WORD_NONE}, false, false, true, true},
        {{WORD_NONE}, false, true, false, false},
        {{WORD_NONE}, true, false, false, true},
        {{WORD_NONE}, true, true, false, false},
        {{WORD_THERE, .age_ms = 0}, false, false, false, false},
        {{WORD_THERE, .age_ms = CONFIRM_MS - 1}, false, false, false, false},
        {{WORD_THERE, .age_ms = CONFIRM_MS}, false, false, true, true},
        {{WORD_THERE, .age_ms = CONFIRM_MS + 1}, false, true, false, false},
        {{WORD_THERE, .other = true}, false, false, true, true},
        {{WORD_THERE, .age_ms = CONFIRM_MS, .silent_for_ms = 1}, false, false, false, false},
        {{WORD_NONE, .silent_for_ms = 1}, false, false, false, false},
        /* Nobody waits: there is nothing to be done before its time. */
        {{WORD_FAILED, .age_ms = CONFIRM_MS - 1, .failures = 1}, false, false, false, true},
        {{WORD_FAILED, .age_ms = CONFIRM_MS, .failures = 1}, false, false, true, true},
        {{WORD_FAILED, .age_ms = 2 * CONFIRM_MS - 1, .failures = 2}, false, false, false, true},
        {{WORD_FAILED, .age_ms = 0, .failures = 1, .other = true}, false, false, true, true},
        {{WORD_FAILED, .age_ms = CONFIRM_MS, .failures = 1}, true, false, false, true},
    };
    const struct digest digest = digest_named('a');
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct last_word word = word_of(&rows[i].known);
        struct tag_state tag = {.word = &word,
                                .digest = &digest,
                                .now_ms = NOW_MS,
                                .confirm_ms = CONFIRM_MS,
                                .open = rows[i].open,
                                .away = rows[i].away};
        if (last_word_asks(&tag) != rows[i].stored)
            fail_msg("row %zu, stored", i);
        tag.waits = true;
        if (last_word_asks(&tag) != rows[i].pushed)
            fail_msg("row %zu, pushed", i);
    }
}

static void test_what_an_answer_leads_to(void **state)
{
    (void)state;
    const struct known there = {WORD_THERE, .age_ms = CONFIRM_MS};
    const struct known early = {WORD_FAILED, .age_ms = CONFIRM_MS - 1, .failures = 1};
    const struct known due = {WORD_FAILED, .age_ms = CONFIRM_MS, .failures = 1};
    const struct known none = {WORD_NONE};
    const struct {
        struct known known;
        enum tag_answer answer;
        bool open, away;
        enum tag_step step;
    } rows[] = {
        {there, TAG_SAME, false, false, STEP_LEAVE},
        {due, TAG_SAME, false, false, STEP_LEAVE},
        {there, TAG_ABSENT, false, false, STEP_DELIVER},
        {there, TAG_ABSENT, true, false, STEP_WAIT},
        {none, TAG_ABSENT, false, false, STEP_DELIVER},
        {due, TAG_ABSENT, false, false, STEP_DELIVER},
        {early, TAG_ABSENT, false, false, STEP_MISSING},
        {early, TAG_ABSENT, true, false, STEP_WAIT},
        /* Somebody else's tag is left alone, but for what was promised and refused. */
        {there, TAG_OTHER, false, false, STEP_LEAVE},
        {none, TAG_OTHER, false, false, STEP_LEAVE},
        {due, TAG_OTHER, false, false, STEP_QUEUE},
        {due, TAG_OTHER, true, false, STEP_LEAVE},
        {early, TAG_OTHER, false, false, STEP_LEAVE},
        /* No answer is none. */
        {there, TAG_UNKNOWN, false, false, STEP_LEAVE},
        {there, TAG_UNKNOWN, false, true, STEP_LEAVE},
        {due, TAG_UNKNOWN, false, false, STEP_QUEUE},
        {due, TAG_UNKNOWN, false, true, STEP_LEAVE},
        {early, TAG_UNKNOWN, false, false, STEP_LEAVE},
    };
    const struct digest digest = digest_named('a');
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct last_word word = word_of(&rows[i].known);
        const struct tag_state tag = {.word = &word,
                                      .digest = &digest,
                                      .now_ms = NOW_MS,
                                      .confirm_ms = CONFIRM_MS,
                                      .open = rows[i].open,
                                      .waits = true};
        enum tag_step step = last_word_judge(&tag, rows[i].answer, rows[i].away);
        if (step != rows[i].step)
            fail_msg("row %zu: %s", i, steps[step]);
    }
    const struct tag_state unknown = {
        .digest = &digest, .now_ms = NOW_MS, .confirm_ms = CONFIRM_MS, .waits = true};
    assert_true(last_word_asks(&unknown));
    assert_int_equal(last_word_judge(&unknown, TAG_ABSENT, false), STEP_DELIVER);
    assert_int_equal(last_word_judge(&unknown, TAG_OTHER, false), STEP_LEAVE);
}

static void test_waits_grow_to_an_hour(void **state)
{
    (void)state;
    static const int minutes[] = {1, 2, 4, 8, 16, 32, 60, 60};
    const int64_t day_ms = 86400000;
    struct last_word word = {.word = WORD_NONE};
    const struct digest one = digest_named('a');
    const struct digest other = digest_named('b');
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        last_word_failed(&word, &one, NOW_MS);
        assert_int_equal(last_word_wait_ms(CONFIRM_MS, word.failures), minutes[i] * 60000);
    }
    assert_int_equal(last_word_wait_ms(CONFIRM_MS, UINT32_MAX), REFUSED_WAIT_MAX_MS);
    assert_int_equal(last_word_wait_ms(day_ms, 1), REFUSED_WAIT_MAX_MS);
    last_word_failed(&word, &other, NOW_MS);
    assert_int_equal(word.failures, 1);
    last_word_there(&word, &other, NOW_MS);
    last_word_failed(&word, &other, NOW_MS);
    assert_int_equal(word.failures, 1);
}

static void test_table_is_bounded(void **state)
{
    (void)state;
    struct last_words *words = last_words_new();
    const struct digest digest = digest_named('a');
    char name[32];
    assert_null(last_words_find(words, "0"));
    last_word_there(last_words_make(words, "0"), &digest, NOW_MS);
    for (int i = 1; i <= LAST_WORDS_MAX; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(last_words_make(words, name)->word, WORD_NONE);
        if (i < LAST_WORDS_MAX)
            assert_int_equal(last_words_find(words, "0")->word, WORD_THERE);
    }
    assert_non_null(last_words_find(words, "0"));
    assert_null(last_words_find(words, "1"));
    assert_non_null(last_words_find(words, "2"));
    last_words_free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whether_to_ask),
        cmocka_unit_test(test_what_an_answer_leads_to),
        cmocka_unit_test(test_waits_grow_to_an_hour),
        cmocka_unit_test(test_table_is_bounded),
    };
    return cmocka_run_group_tests_name("last_word", tests, NULL, NULL);
}
