#include "upstream/push/candidates.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- budgets --- */

static void the_size_decides_how_much_is_asked(void **state)
{
    (void)state;
    static const struct {
        const char *shows;
        uint64_t raw_size;
        struct push_budget want;
    } rows[] = {
        {"an empty layer is small", 0, {1, 1, false, false}},
        {"one byte", 1, {1, 1, false, false}},
        {"below 100 KiB", 102399, {1, 1, false, false}},
        {"exactly 100 KiB is small", 102400, {1, 1, false, false}},
        {"one byte over 100 KiB is middle", 102401, {3, 1, false, true}},
        {"below 10 MiB", 10485759, {3, 1, false, true}},
        {"exactly 10 MiB is middle", 10485760, {3, 1, false, true}},
        {"one byte over 10 MiB is big", 10485761, {4, 3, true, true}},
        {"the largest size", UINT64_MAX - 1, {4, 3, true, true}},
        {"an unknown size counts as middle", RAW_SIZE_UNKNOWN, {3, 1, false, true}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct push_budget got = push_budget(rows[i].raw_size);
        const struct push_budget *want = &rows[i].want;
        if (got.mounts != want->mounts || got.checks != want->checks ||
            got.other_repositories != want->other_repositories ||
            got.ask_before_sending != want->ask_before_sending)
            fail_msg("%s: %zu mounts, %zu checks", rows[i].shows, got.mounts, got.checks);
    }
}

/* --- candidates, in a notation of their own ---
 *
 * What is known of a layer is written as words, oldest first: "a:r.io/x/y@1" is the blob "a" seen
 * in r.io/x/y with the credentials "1"; without "@" it was seen by an anonymous push. */

#define DIGEST_OF_NAME(name) digest_of(DIGEST_SHA256, name, 1)

static struct location_key key_of(const char *user)
{
    struct location_key key = {.text = ""};
    if (user[0] == '\0')
        return key;
    char name[] = {user[0], '\0'};
    struct registry_credentials credentials = {.username = name};
    location_key_make(&credentials, &key);
    return key;
}

static void read_word(const char *word, size_t size, struct known_location *out)
{
    *out = (struct known_location){.digest = DIGEST_OF_NAME(word)};
    const char *source = word + 2;
    const char *at = memchr(source, '@', size - 2);
    size_t source_size = at ? (size_t)(at - source) : size - 2;
    memcpy(out->source, source, source_size);
    if (at) {
        struct location_key key = key_of(at + 1);
        location_sign(out, &key);
    }
}

static struct known_location_list *read_words(const char *words)
{
    struct known_location_list *list = xcalloc(1, sizeof *list);
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t size = strcspn(at, " ");
        read_word(at, size, &list->items[list->count++]);
        at += size;
    }
    return list;
}

static char name_of(const struct digest *digest)
{
    for (char name = 'a'; name <= 'z'; name++) {
        struct digest named = DIGEST_OF_NAME(&name);
        if (digest_equal(&named, digest))
            return name;
    }
    return '?';
}

/* The chosen ones in the same notation, without credentials. */
static char *written(const struct candidates *candidates)
{
    autobuf struct buf text = BUF_INIT(65536);
    for (size_t i = 0; i < candidates->count; i++)
        buf_format(&text, "%s%c:%s", i ? " " : "", name_of(&candidates->items[i]->digest),
                   candidates->items[i]->source);
    return buf_take(&text);
}

struct row {
    const char *shows;
    const char *target; /* "host path" */
    const char *user;   /* of the push; "" is anonymous */
    size_t max;
    const char *known;
    const char *want;
    const char *only;        /* a name; NULL: any digest */
    bool other_repositories; /* of checks */
    const char *asked;       /* names */
};

struct target {
    char host[64];
    char path[64];
    struct location_key key;
    struct digest only;
    struct candidate_rules rules;
};

static void read_target(const struct row *row, struct target *out)
{
    assert_int_equal(sscanf(row->target, "%63s %63s", out->host, out->path), 2);
    out->key = key_of(row->user);
    out->rules = (struct candidate_rules){.host = out->host, .path = out->path, .key = &out->key};
    if (row->only) {
        out->only = DIGEST_OF_NAME(row->only);
        out->rules.only = &out->only;
    }
}

static const struct row mount_rows[] = {
    /* which sources count */
    {"nothing is known", "r.io x/app", "", 3, "", .want = ""},
    {"one other repository", "r.io x/app", "", 3, "a:r.io/x/lib", .want = "a:r.io/x/lib"},
    {"the target itself does not count", "r.io x/app", "", 3, "a:r.io/x/app", .want = ""},
    {"another host does not count", "r.io x/app", "", 3, "a:s.io/x/lib a:docker.io/x/lib",
     .want = ""},
    {"another port is another host", "r.io:5000 x/app", "", 3, "a:r.io/x/lib a:r.io:5001/x/lib",
     .want = ""},
    {"the same port is the same host", "r.io:5000 x/app", "", 3, "a:r.io:5000/y",
     .want = "a:r.io:5000/y"},
    {"an unknown source cannot be mounted from", "r.io x/app", "", 3, "a:", .want = ""},
    {"what is no reference does not count", "r.io x/app", "", 3, "a:r.io/X a:r.io/ a:///",
     .want = ""},
    {"a host in capitals is the same host", "r.io x/app", "", 3, "a:R.IO/x/lib",
     .want = "a:R.IO/x/lib"},
    /* docker.io in its spellings */
    {"docker.io goes without saying", "docker.io x/app", "", 3, "a:x/lib", .want = "a:x/lib"},
    {"library/ goes without saying", "docker.io x/app", "", 3, "a:busybox", .want = "a:busybox"},
    {"index.docker.io is docker.io", "docker.io x/app", "", 3, "a:index.docker.io/x/lib",
     .want = "a:index.docker.io/x/lib"},
    {"the target in all its spellings", "docker.io library/busybox", "", 9,
     "a:busybox a:library/busybox a:docker.io/busybox a:docker.io/library/busybox "
     "a:index.docker.io/busybox",
     .want = ""},
    {"registry-1.docker.io is a host of its own", "docker.io x/app", "", 3,
     "a:registry-1.docker.io/x/lib", .want = ""},
    /* age */
    {"the youngest comes first", "r.io app", "", 9, "a:r.io/1 a:r.io/2 a:r.io/3",
     .want = "a:r.io/3 a:r.io/2 a:r.io/1"},
    /* likeness */
    {"more components in common come first", "r.io x/y/app", "", 9,
     "a:r.io/x/y/lib a:r.io/x/lib a:r.io/lib", .want = "a:r.io/x/y/lib a:r.io/x/lib a:r.io/lib"},
    {"of equal likeness the youngest comes first", "r.io x/y/app", "", 9,
     "a:r.io/x/1 a:r.io/1 a:r.io/x/2 a:r.io/2", .want = "a:r.io/x/2 a:r.io/x/1 a:r.io/2 a:r.io/1"},
    {"half a component is none", "r.io xy/app", "", 9, "a:r.io/xy/lib a:r.io/x/lib a:r.io/xyz/lib",
     .want = "a:r.io/xy/lib a:r.io/xyz/lib a:r.io/x/lib"},
    {"only leading components count", "r.io x/y/app", "", 9, "a:r.io/x/lib a:r.io/z/y/app",
     .want = "a:r.io/x/lib a:r.io/z/y/app"},
    {"a shorter path that is the beginning", "r.io x/y/app", "", 9, "a:r.io/x/y a:r.io/x/z/app",
     .want = "a:r.io/x/y a:r.io/x/z/app"},
    {"a longer path that begins with the target", "r.io x/app", "", 9,
     "a:r.io/x/app/sub a:r.io/x/z", .want = "a:r.io/x/app/sub a:r.io/x/z"},
    {"library/ is made explicit for likeness", "docker.io library/app", "", 9,
     "a:busybox a:docker.io/library/lib a:x/lib",
     .want = "a:docker.io/library/lib a:busybox a:x/lib"},
    /* credentials */
    {"made with these credentials comes first", "r.io app", "1", 9,
     "a:r.io/1@1 a:r.io/2@2 a:r.io/3 a:r.io/4@1", .want = "a:r.io/4 a:r.io/1 a:r.io/3 a:r.io/2"},
    {"credentials go before likeness", "r.io x/y/app", "1", 9,
     "a:r.io/lib@1 a:r.io/x/y/lib@2 a:r.io/x/y/lib2",
     .want = "a:r.io/lib a:r.io/x/y/lib2 a:r.io/x/y/lib"},
    {"likeness goes before age among one's own", "r.io x/y/app", "1", 9,
     "a:r.io/x/y/lib@1 a:r.io/x/lib@1 a:r.io/lib@1",
     .want = "a:r.io/x/y/lib a:r.io/x/lib a:r.io/lib"},
    {"an anonymous push matches what has no HMAC", "r.io app", "", 9, "a:r.io/1 a:r.io/2@1",
     .want = "a:r.io/1 a:r.io/2"},
    {"with credentials, what has no HMAC does not match", "r.io app", "1", 9, "a:r.io/1@1 a:r.io/2",
     .want = "a:r.io/1 a:r.io/2"},
    /* the cut */
    {"none are allowed", "r.io app", "", 0, "a:r.io/1", .want = ""},
    {"as many as are allowed", "r.io app", "", 2, "a:r.io/1 a:r.io/2", .want = "a:r.io/2 a:r.io/1"},
    {"one more than is allowed: the oldest goes", "r.io app", "", 2, "a:r.io/1 a:r.io/2 a:r.io/3",
     .want = "a:r.io/3 a:r.io/2"},
    {"the cut is made after the sorting", "r.io x/app", "1", 1,
     "a:r.io/x/1@1 a:r.io/x/2 a:r.io/3@1", .want = "a:r.io/x/1"},
    {"what does not count takes nobody's place", "r.io app", "", 1, "a:r.io/1 a:s.io/2 a:r.io/app",
     .want = "a:r.io/1"},
    /* digests */
    {"of any digest, also the same repository twice", "r.io app", "", 9,
     "a:r.io/1 b:r.io/1 a:r.io/2", .want = "a:r.io/2 b:r.io/1 a:r.io/1"},
    {"only the digest that the manifest names", "r.io app", "", 1, "a:r.io/1 b:r.io/2 b:r.io/3",
     .want = "a:r.io/1", .only = "a"},
};

static const struct row check_rows[] = {
    {"nothing is known", "r.io app", "", 3, "", .want = "", .other_repositories = true},
    {"an entry of the target", "r.io x/app", "", 1, "a:r.io/x/app", .want = "a:r.io/x/app"},
    {"the target in another spelling", "docker.io library/app", "", 1, "a:app", .want = "a:app"},
    {"other repositories do not count", "r.io x/app", "", 1, "a:r.io/x/lib b:s.io/x/app",
     .want = ""},
    {"unless they may: also other hosts", "r.io x/app", "", 3, "a:r.io/x/lib b:s.io/x/app",
     .want = "a:r.io/x/lib b:s.io/x/app", .other_repositories = true},
    {"an entry without a source always counts", "r.io x/app", "", 1, "a:", .want = "a:"},
    {"each digest once, by its best entry", "r.io x/app", "", 3,
     "a:r.io/x/app b:r.io/x/app a:r.io/x/lib a:s.io/y", .want = "b:r.io/x/app a:r.io/x/app",
     .other_repositories = true},
    {"the best entry may be one of these credentials", "r.io app", "1", 3,
     "a:s.io/x@1 a:r.io/app@2", .want = "a:s.io/x", .other_repositories = true},
    {"digests that were asked are left out", "r.io app", "", 3, "a:r.io/app b:r.io/app c:r.io/app",
     .want = "b:r.io/app", .asked = "ac"},
    {"and take nobody's place", "r.io app", "", 1, "a:r.io/app b:r.io/app", .want = "a:r.io/app",
     .asked = "b"},
    {"repetitions take nobody's place either", "r.io app", "", 2, "a:r.io/app b:s.io/x b:r.io/x",
     .want = "a:r.io/app b:r.io/x", .other_repositories = true},
    {"no more than are allowed", "r.io app", "", 2, "a:r.io/app b:r.io/app c:r.io/app",
     .want = "c:r.io/app b:r.io/app"},
    {"none are allowed", "r.io app", "", 0, "a:r.io/app", .want = ""},
    {"credentials, likeness, age", "r.io x/app", "1", 9,
     "a:r.io/x/1@1 b:r.io/2@1 c:r.io/x/3 d:r.io/4@1",
     .want = "a:r.io/x/1 d:r.io/4 b:r.io/2 c:r.io/x/3", .other_repositories = true},
    {"only the digest that the manifest names", "r.io app", "", 3, "a:r.io/app b:r.io/app",
     .want = "a:r.io/app", .only = "a", .other_repositories = true},
};

static void expect_row(const struct row *row, const struct candidates *got)
{
    autofree char *text = written(got);
    if (strcmp(text, row->want) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", row->shows, text, row->want);
}

static void sources_to_mount_from(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mount_rows / sizeof mount_rows[0]; i++) {
        struct target target;
        struct candidates got;
        read_target(&mount_rows[i], &target);
        autofree struct known_location_list *known = read_words(mount_rows[i].known);
        candidates_to_mount(&target.rules, known, mount_rows[i].max, &got);
        expect_row(&mount_rows[i], &got);
    }
}

static void digests_to_ask_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof check_rows / sizeof check_rows[0]; i++) {
        const struct row *row = &check_rows[i];
        struct target target;
        struct candidates got;
        struct digest_set asked = {.count = 0};
        for (const char *name = row->asked; name && *name; name++) {
            struct digest digest = DIGEST_OF_NAME(name);
            digest_set_add(&asked, &digest);
        }
        read_target(row, &target);
        autofree struct known_location_list *known = read_words(row->known);
        candidates_to_check(&target.rules, known, row->other_repositories, row->max, &asked, &got);
        expect_row(row, &got);
    }
}

/* As many as a layer can have: sorted stably, and only a few are taken. */
static void a_full_list(void **state)
{
    (void)state;
    autobuf struct buf words = BUF_INIT(65536);
    for (int i = 0; i < KNOWN_LOCATIONS_MAX; i++)
        buf_format(&words, "a:r.io/%s/%d%s ", i % 2 ? "x" : "y", i, i % 3 ? "" : "@1");
    const struct row row = {"a full list",
                            "r.io x/app",
                            "1",
                            4,
                            buf_cstr(&words),
                            .want = "a:r.io/x/45 a:r.io/x/39 a:r.io/x/33 a:r.io/x/27"};
    struct target target;
    struct candidates got;
    read_target(&row, &target);
    autofree struct known_location_list *known = read_words(row.known);
    assert_int_equal(known->count, KNOWN_LOCATIONS_MAX);
    candidates_to_mount(&target.rules, known, row.max, &got);
    expect_row(&row, &got);
    candidates_to_mount(&target.rules, known, SIZE_MAX, &got);
    assert_int_equal(got.count, KNOWN_LOCATIONS_MAX);
}

static void a_set_of_digests(void **state)
{
    (void)state;
    struct digest_set set = {.count = 0};
    struct digest a = DIGEST_OF_NAME("a");
    struct digest b = DIGEST_OF_NAME("b");
    digest_set_add(&set, &a);
    digest_set_add(&set, &a);
    assert_int_equal(set.count, 1);
    assert_true(digest_set_has(&set, &a));
    assert_false(digest_set_has(&set, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_decides_how_much_is_asked),
        cmocka_unit_test(sources_to_mount_from),
        cmocka_unit_test(digests_to_ask_for),
        cmocka_unit_test(a_full_list),
        cmocka_unit_test(a_set_of_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
