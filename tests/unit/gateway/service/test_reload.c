/*
 * One configuration comes in the place of another while threads ask: each answer is of the one or
 * of the other.
 */
#include "base/mem.h"
#include "gateway/access/access.h"
#include "gateway/access/rules.h"
#include "gateway/push/runtime.h"
#include "tests/unit/store/store_test.h"
#include "upstream/client/registry_host.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#define THREADS 4
#define CHANGES 200

struct scene {
    struct runtime *runtime;
    struct access *access;
    atomic_bool over;
    atomic_uint wrong;
    atomic_uint asked;
};

static struct settings *configuration(const char *data, const char *name)
{
    struct settings *settings = NULL;
    struct error err = ERROR_INIT;
    autofree char *text = xasprintf(
        "{\"data\":\"%s\",\"clients\":{\"anonymous\":true},\"policy\":[{\"who\":[\"anonymous\"],"
        "\"may\":[\"pull\"],\"repositories\":[\"%s/**\"]}],\"registries\":{\"r\":{\"endpoints\":["
        "\"https://%s.example.com\"]}}}",
        data, name, name);
    assert_int_equal(settings_parse(text, strlen(text), "test", &settings, &err), ERR_OK);
    return settings;
}

/* One snapshot is one of the two, and what it names is there as long as it is held. */
static bool asks_well(const struct scene *scene, const struct caller *caller)
{
    autosettings const struct settings *settings = runtime_settings(scene->runtime);
    const char *pattern = settings->policy[0].repositories.items[0];
    const char *endpoint = settings->registries[0].endpoints.items[0];
    enum access_answer answer = access_ask(scene->access, caller, OPERATION_PULL, "a/x", NULL);
    struct registry_host *host = NULL;
    struct error err = ERROR_INIT;
    if (registries_host(scene->runtime->upstream->registries, "r", &host, &err) != ERR_OK)
        return false;
    char first = host->endpoints[0].base.host[0];
    registry_host_release(host);
    return (first == 'a' || first == 'b') && (answer == ACCESS_YES || answer == ACCESS_LOGIN) &&
           pattern[0] == endpoint[strlen("https://")];
}

static void *ask(void *arg)
{
    struct scene *scene = arg;
    struct identity nobody = {.kind = IDENTITY_ANONYMOUS};
    struct caller *caller = caller_new(PROOF_NONE, &nobody);
    do {
        atomic_fetch_add(&scene->wrong, !asks_well(scene, caller));
        atomic_fetch_add(&scene->asked, 1);
    } while (!atomic_load(&scene->over));
    caller_unref(caller);
    return NULL;
}

static void change(struct scene *scene, const struct settings *settings)
{
    struct error err = ERROR_INIT;
    struct rules *rules = NULL;
    assert_int_equal(access_prepare(scene->access, settings, &rules, &err), ERR_OK);
    assert_int_equal(runtime_change(scene->runtime, settings, &err), ERR_OK);
    access_use(scene->access, rules);
    registries_forget(scene->runtime->upstream->registries);
}

static void who_asks_meanwhile_gets_one_of_both(void **state)
{
    struct scene scene = {.runtime = NULL};
    struct error err = ERROR_INIT;
    pthread_t threads[THREADS];
    const char *folder = *state;
    struct settings *both[] = {configuration(folder, "a"), configuration(folder, "b")};
    assert_int_equal(runtime_open(both[0], false, &scene.runtime, &err), ERR_OK);
    const struct access_options options = {.settings = both[0], .store = scene.runtime->store};
    assert_int_equal(access_new(&options, &scene.access, &err), ERR_OK);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &scene), 0);
    for (size_t i = 1; i <= CHANGES; i++)
        change(&scene, both[i % 2]);
    atomic_store(&scene.over, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(scene.wrong, 0);
    assert_true(scene.asked >= THREADS);
    access_free(scene.access);
    runtime_close(scene.runtime);
    settings_free(both[0]);
    settings_free(both[1]);
}

/* Who was admitted under one is judged by it to the end. */
static void a_caller_keeps_its_rules(void **state)
{
    struct scene scene = {.runtime = NULL};
    struct error err = ERROR_INIT;
    struct identity nobody = {.kind = IDENTITY_ANONYMOUS};
    struct rules *rules = NULL;
    const char *folder = *state;
    struct settings *before = configuration(folder, "a");
    struct settings *now = configuration(folder, "b");
    struct settings *none = NULL;
    assert_int_equal(runtime_open(before, false, &scene.runtime, &err), ERR_OK);
    const struct access_options options = {.settings = before, .store = scene.runtime->store};
    assert_int_equal(access_new(&options, &scene.access, &err), ERR_OK);
    struct caller *caller = caller_new(PROOF_NONE, &nobody);
    assert_int_equal(access_prepare(scene.access, before, &caller->rules, &err), ERR_OK);
    caller->let_go = rules_unref;
    change(&scene, now);
    assert_int_equal(access_ask(scene.access, caller, OPERATION_PULL, "a/x", NULL), ACCESS_YES);
    struct identity other = {.kind = IDENTITY_ANONYMOUS};
    struct caller *next = caller_new(PROOF_NONE, &other);
    assert_int_equal(access_ask(scene.access, next, OPERATION_PULL, "a/x", NULL), ACCESS_LOGIN);
    assert_int_equal(settings_load(NULL, &none, &err), ERR_OK);
    assert_int_equal(access_prepare(scene.access, none, &rules, &err), ERR_SETTINGS);
    settings_free(none);
    settings_free(before);
    settings_free(now);
    access_free(scene.access);
    runtime_close(scene.runtime);
    caller_unref(caller);
    caller_unref(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(who_asks_meanwhile_gets_one_of_both),
        folder_test(a_caller_keeps_its_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
