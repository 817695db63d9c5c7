#include "gateway/push/archive_route.h"

#include "image/manifest.h"
#include "store/local/internal.h"
#include "store/pushes.h"
#include "tests/support/push_test.h"
#include "tests/support/recorded_pushes.h"
#include "tests/unit/store/store_test.h"

#define NAMES_MAX (TARGETS_MAX + 1)

/* A store whose machine can crash, mirrors, and an image with names. */
struct bench {
    struct store *store;
    struct push_test maker; /* makes images in the store, and is nothing else */
    struct settings settings;
    struct mirror_setting mirrors[3];
    struct mirror_target_setting targets[3][2];
    struct archive_name names[NAMES_MAX];
    struct chosen_image chosen;
    struct route_judge judge;
    struct batch *batch;
    struct push push;
    struct error err;
};

static struct store *open_boot(const char *folder, const char *boot)
{
    struct error err = ERROR_INIT;
    struct store *store = NULL;
    const struct store_options options = {.map_size_bytes = (uint64_t)16 << 20,
                                          .leave_volatile = true};
    assert_ok(store_open_in_boot(folder, &options, boot, &store, &err), &err);
    return store;
}

static void open_bench(struct bench *bench, const char *folder)
{
    *bench = (struct bench){.store = open_boot(folder, "boot 1")};
    bench->maker.store = bench->store;
    bench->settings.mirrors = bench->mirrors;
    bench->chosen.names = bench->names;
    bench->batch = batch_begin(bench->store, BATCH_VOLATILE);
}

/* One target, "!" before an optional one, or two separated by a space. */
static void add_mirror(struct bench *bench, const char *match, const char *targets, bool stored)
{
    size_t at = bench->settings.mirror_count++;
    struct mirror_setting *mirror = &bench->mirrors[at];
    *mirror = (struct mirror_setting){.match = xstrdup(match), .targets = bench->targets[at]};
    mirror->acknowledge = stored ? SETTING_ACKNOWLEDGE_STORED : SETTING_ACKNOWLEDGE_PUSHED;
    autofree char *text = xstrdup(targets);
    for (char *one = strtok(text, " "); one; one = strtok(NULL, " ")) {
        bool optional = *one == '!';
        mirror->targets[mirror->target_count++] = (struct mirror_target_setting){
            .target = xstrdup(one + optional), .required = !optional};
    }
}

/* A name as an archive has it; ":TAG" is only a tag. */
static void add_name(struct bench *bench, const char *text)
{
    struct error err = ERROR_INIT;
    struct reference *name = &bench->names[bench->chosen.name_count++].reference;
    *name = (struct reference){.tag = ""};
    if (*text == ':')
        assert_ok(reference_set_tag(name, text + 1, &err), &err);
    else
        assert_ok(reference_parse(text, name, &err), &err);
}

static enum errc route(struct bench *bench)
{
    return archive_route(&bench->settings, &bench->judge, &bench->chosen, bench->batch,
                         &bench->push, &bench->err);
}

static void commit(struct bench *bench)
{
    assert_ok(batch_commit(bench->batch, &bench->err), &bench->err);
    bench->batch = NULL;
}

static void close_bench(struct bench *bench)
{
    batch_abort(bench->batch);
    push_deinit(&bench->push);
    store_close(bench->store);
    for (size_t i = 0; i < bench->settings.mirror_count; i++) {
        free(bench->mirrors[i].match);
        for (size_t k = 0; k < bench->mirrors[i].target_count; k++)
            free(bench->targets[i][k].target);
    }
}

/* "TARGET", "?TARGET" when optional, "+TARGET" when it is pushed after the answer. */
static void expect_targets(const struct bench *bench, const char *expected)
{
    char *text = xstrdup("");
    for (size_t i = 0; i < bench->push.target_count; i++) {
        const struct push_target *target = &bench->push.targets[i];
        char name[REFERENCE_TEXT_MAX];
        char *longer =
            xasprintf("%s%s%s%s%s", text, i ? " " : "", target->optional ? "?" : "",
                      target->stored ? "+" : "", reference_text(&target->reference, name));
        free(text);
        text = longer;
    }
    assert_string_equal(text, expected);
    free(text);
}

static void expect_no_records(struct store *store)
{
    struct push *records = NULL;
    assert_int_equal(recorded_pushes(store, &records), 0);
    free(records);
}

/* ---- targets ---- */

static void names_go_through_the_mirrors(void **state)
{
    struct bench bench;
    open_bench(&bench, *state);
    add_mirror(&bench, "team/*", "r.x/one/* !r.x/two/*", false);
    add_mirror(&bench, "r.y/**", "s.x/**", false);
    add_name(&bench, "team/app:1");
    add_name(&bench, "r.y/deep/app:2");
    add_name(&bench, "unknown/app:3");
    add_name(&bench, ":4");       /* only a tag */
    add_name(&bench, "team/app"); /* none */
    assert_ok(route(&bench), &bench.err);
    expect_targets(&bench, "r.x/one/app:1 ?r.x/two/app:1 s.x/deep/app:2");
    commit(&bench);
    /* Who waits gets no record. */
    assert_string_equal(bench.push.id, "");
    expect_no_records(bench.store);
    close_bench(&bench);
}

static void two_names_of_one_target_are_one(void **state)
{
    static const struct {
        const char *names[2];
        const char *expected;
    } rows[] = {
        {{"a/app:1", "a/app:1"}, "?+r.x/app:1"},
        {{"a/app:1", "a/app:2"}, "?+r.x/app:1 ?+r.x/app:2"},
        /* Required by one, and waited for by one: it is both. */
        {{"a/app:1", "b/app:1"}, "+r.x/app:1"},
        {{"b/app:1", "a/app:1"}, "+r.x/app:1"},
        {{"a/app:1", "c/app:1"}, "?r.x/app:1"},
        {{"c/app:1", "a/app:1"}, "?r.x/app:1"},
        {{"b/app:1", "c/app:1"}, "r.x/app:1"},
        {{"c/app:1", "b/app:1"}, "r.x/app:1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench bench;
        open_bench(&bench, *state);
        bench.push.manifest = push_test_image(&bench.maker, "a", 100).manifest;
        add_mirror(&bench, "a/*", "!r.x/*", true);
        add_mirror(&bench, "b/*", "r.x/*", true);
        add_mirror(&bench, "c/*", "!r.x/*", false);
        add_name(&bench, rows[i].names[0]);
        add_name(&bench, rows[i].names[1]);
        assert_ok(route(&bench), &bench.err);
        expect_targets(&bench, rows[i].expected);
        close_bench(&bench);
    }
}

static void there_are_so_many_targets(void **state)
{
    for (size_t count = TARGETS_MAX - 1; count <= TARGETS_MAX + 1; count++) {
        struct bench bench;
        open_bench(&bench, *state);
        add_mirror(&bench, "team/*", "r.x/*", false);
        for (size_t i = 0; i < count; i++) {
            autofree char *name = xasprintf("team/app:%zu", i);
            add_name(&bench, name);
        }
        if (count <= TARGETS_MAX) {
            assert_ok(route(&bench), &bench.err);
            assert_int_equal(bench.push.target_count, count);
        } else {
            assert_code(route(&bench), ERR_BAD_REQUEST, &bench.err);
            assert_non_null(strstr(bench.err.text, "choose with to="));
        }
        close_bench(&bench);
    }
}

/* ---- what is refused ---- */

static void without_a_target_the_names_are_told(void **state)
{
    static const struct {
        const char *names[2];
        const char *words;
    } rows[] = {
        {{NULL}, "the archive gives the image no name that mirrors could go by"},
        {{"other/app:1", "app:2"},
         "no mirror matches what the archive calls the image: "
         "other/app:1, app:2"},
        {{"r.y/app:1", ":2"}, "calls the image: r.y/app:1, 2"},
        {{"team/app", NULL}, "calls the image: team/app"}, /* without a tag it goes nowhere */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench bench;
        open_bench(&bench, *state);
        add_mirror(&bench, "team/*", "r.x/*", true);
        for (size_t k = 0; k < 2 && rows[i].names[k]; k++)
            add_name(&bench, rows[i].names[k]);
        assert_code(route(&bench), ERR_NO_TARGET, &bench.err);
        assert_int_equal(
            strncmp(bench.err.text, "no target: say where to with to=HOST/REPOSITORY[:TAG]; ", 55),
            0);
        if (strstr(bench.err.text, rows[i].words) == NULL)
            fail_msg("%s", bench.err.text);
        close_bench(&bench);
    }
}

static void a_name_that_leads_to_no_repository_is_refused(void **state)
{
    struct bench bench;
    open_bench(&bench, *state);
    add_mirror(&bench, "team/*", "r.x/*/*", false);
    add_name(&bench, "team/app:1");
    assert_code(route(&bench), ERR_REFERENCE_INVALID, &bench.err);
    close_bench(&bench);
}

/* ---- what is pushed after the answer ---- */

static void the_batch_brings_the_record(void **state)
{
    struct bench bench;
    struct push *records = NULL;
    size_t count = 0;
    char text[REFERENCE_TEXT_MAX];
    open_bench(&bench, *state);
    struct made_image image = push_test_image(&bench.maker, "a", 100);
    bench.push.manifest = image.manifest;
    bench.push.config = image.config;
    add_mirror(&bench, "later/*", "r.x/one/* !r.x/two/*", true);
    add_mirror(&bench, "now/*", "s.x/*", false);
    add_name(&bench, "now/app:1");
    add_name(&bench, "later/app:1");
    assert_ok(route(&bench), &bench.err);
    expect_targets(&bench, "s.x/app:1 +r.x/one/app:1 ?+r.x/two/app:1");
    expect_no_records(bench.store);
    assert_string_equal(bench.push.id, "");
    commit(&bench);
    assert_string_not_equal(bench.push.id, "");
    count = recorded_pushes(bench.store, &records);
    assert_int_equal(count, 1);
    assert_string_equal(records[0].id, bench.push.id);
    assert_true(digest_equal(&records[0].manifest.digest, &image.manifest.digest));
    assert_int_equal(records[0].target_count, 3);
    assert_string_equal(reference_text(&records[0].targets[0].reference, text), "s.x/app:1");
    assert_false(records[0].targets[0].stored);
    assert_string_equal(reference_text(&records[0].targets[1].reference, text), "r.x/one/app:1");
    assert_true(records[0].targets[1].stored && !records[0].targets[1].optional);
    assert_string_equal(reference_text(&records[0].targets[2].reference, text), "r.x/two/app:1");
    assert_true(records[0].targets[2].stored && records[0].targets[2].optional);
    push_deinit(&records[0]);
    free(records);
    close_bench(&bench);
}

static void an_aborted_batch_brings_nothing(void **state)
{
    struct bench bench;
    open_bench(&bench, *state);
    bench.push.manifest = push_test_image(&bench.maker, "a", 100).manifest;
    add_mirror(&bench, "team/*", "r.x/*", true);
    add_name(&bench, "team/app:1");
    assert_ok(route(&bench), &bench.err);
    batch_abort(bench.batch);
    bench.batch = NULL;
    expect_no_records(bench.store);
    close_bench(&bench);
}

static bool holds(struct store *store, const struct digest *digest)
{
    struct error err = ERROR_INIT;
    autoblob struct blob blob = BLOB_INIT;
    enum errc code = blob_open(store, digest, &blob, &err);
    assert_true(code == ERR_OK || code == ERR_BLOB_UNKNOWN);
    return code == ERR_OK;
}

static bool holds_image(struct store *store, const struct made_image *image)
{
    bool whole = holds(store, &image->manifest.digest) && holds(store, &image->config);
    for (size_t i = 0; i < image->layer_count; i++)
        whole = whole && holds(store, &image->layers[i]);
    return whole;
}

/* An index that only the batch has. */
static struct descriptor put_index(struct bench *bench, const struct descriptor *children,
                                   size_t count)
{
    autobuf struct buf text = BUF_INIT(1 << 16);
    char digest[DIGEST_TEXT_MAX];
    struct descriptor index = {.media_type = MEDIA_OCI_INDEX};
    buf_text(&text, "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":[");
    for (size_t i = 0; i < count; i++)
        buf_format(&text, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", i ? "," : "",
                   children[i].media_type, digest_text(&children[i].digest, digest),
                   (unsigned long long)children[i].size);
    buf_text(&text, "]}");
    index.size = text.size;
    assert_ok(batch_put_blob(bench->batch, text.data, text.size, &index.digest, &bench->err),
              &bench->err);
    return index;
}

/* A child that the archive does not have: an index may name more than was saved. */
static struct descriptor missing_child(void)
{
    return (struct descriptor){
        .media_type = MEDIA_OCI_MANIFEST, .digest = digest_of_text("not saved"), .size = 9};
}

struct crash {
    bool stored;
    struct made_image child, signature, other;
    struct descriptor inner; /* an index in the index */
    struct descriptor index;
};

/* The store has all but the index in volatile batches; then the machine stops. */
static void route_and_crash(struct bench *bench, const char *folder, struct crash *crash)
{
    open_bench(bench, folder);
    crash->child = push_test_image(&bench->maker, "ab", 100);
    crash->signature = push_test_image(&bench->maker, "c", 100);
    crash->other = push_test_image(&bench->maker, "d", 100);
    crash->inner = push_test_index(&bench->maker, &crash->child, 1);
    const struct descriptor children[] = {crash->inner, missing_child()};
    crash->index = put_index(bench, children, 2);
    bench->push.manifest = crash->index;
    assert_ok(push_add_referrer(&bench->push, &crash->signature.manifest, "", &bench->err),
              &bench->err);
    add_mirror(bench, "team/*", "r.x/*", crash->stored);
    add_name(bench, "team/app:1");
    assert_ok(route(bench), &bench->err);
    commit(bench);
    store_close(bench->store);
    bench->store = open_boot(folder, "boot 2");
}

static void what_is_promised_survives_the_machine(void **state)
{
    struct bench bench;
    struct crash crash = {.stored = true};
    struct push *records = NULL;
    size_t count = 0;
    route_and_crash(&bench, *state, &crash);
    count = recorded_pushes(bench.store, &records);
    assert_int_equal(count, 1);
    assert_int_equal(records[0].referrer_count, 1);
    push_deinit(&records[0]);
    free(records);
    assert_true(holds(bench.store, &crash.index.digest));
    assert_true(holds(bench.store, &crash.inner.digest));
    assert_true(holds_image(bench.store, &crash.child));
    assert_true(holds_image(bench.store, &crash.signature));
    /* What it does not need may be lost. */
    assert_false(holds(bench.store, &crash.other.manifest.digest));
    close_bench(&bench);
}

static void what_is_waited_for_is_not_made_durable(void **state)
{
    struct bench bench;
    struct crash crash = {.stored = false};
    route_and_crash(&bench, *state, &crash);
    expect_no_records(bench.store);
    assert_false(holds(bench.store, &crash.index.digest));
    assert_false(holds(bench.store, &crash.child.manifest.digest));
    close_bench(&bench);
}

/* Their bytes are elsewhere. */
static void foreign_layers_need_not_be_held(void **state)
{
    struct bench bench;
    open_bench(&bench, *state);
    bench.push.manifest = push_test_image(&bench.maker, "aB", 100).manifest;
    add_mirror(&bench, "team/*", "r.x/*", true);
    add_name(&bench, "team/app:1");
    assert_ok(route(&bench), &bench.err);
    commit(&bench);
    assert_string_not_equal(bench.push.id, "");
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(names_go_through_the_mirrors),
        folder_test(two_names_of_one_target_are_one),
        folder_test(there_are_so_many_targets),
        folder_test(without_a_target_the_names_are_told),
        folder_test(a_name_that_leads_to_no_repository_is_refused),
        folder_test(the_batch_brings_the_record),
        folder_test(an_aborted_batch_brings_nothing),
        folder_test(what_is_promised_survives_the_machine),
        folder_test(what_is_waited_for_is_not_made_durable),
        folder_test(foreign_layers_need_not_be_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
