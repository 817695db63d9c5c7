#include "tests/support/push_storm.h"

#include "base/clock.h"
#include "base/mem.h"
#include "tests/support/queue_examine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_S 240
#define DUMP_LIMIT_S 20
#define ENDING_US 8000

/* ---- faults ---- */

static char over_time[80];

/* Nothing else is safe here: a dump may wait for a lock that nobody gives back. */
static void on_alarm(int signal)
{
    (void)signal;
    if (write(STDERR_FILENO, over_time, strlen(over_time)) < 0)
        _exit(2);
    _exit(1);
}

/* A target without a record has the state 0. */
static void tell_open(struct storm *storm)
{
    for (size_t i = 0; i < storm_push_count(storm); i++) {
        const struct storm_push *push = &storm->pushes[i];
        if (!atomic_load(&push->known) || storm_is_over(storm, push))
            continue;
        fprintf(stderr, "open: %s%s", push->id, push->waiting ? " is waited for" : "");
        for (size_t j = 0; j < push->targets; j++)
            fprintf(stderr, ", r%zu/app:t%zu state %d", push->places[j] / STORM_TAGS,
                    push->places[j] % STORM_TAGS, (int)storm_recorded(storm, push, j));
        fprintf(stderr, "\n");
    }
}

void storm_fault(struct storm *storm, const char *what, const char *of)
{
    static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&first);
    alarm(DUMP_LIMIT_S);
    fprintf(stderr, "\nseed %u: %s%s%s\n", storm->seed, what, of[0] ? ": " : "", of);
    queue_examine_dump(storm->test.queue);
    tell_open(storm);
    _exit(1);
}

void storm_expect_ok(struct storm *storm, enum errc code, const struct error *err)
{
    if (code != ERR_OK)
        storm_fault(storm, "an error", err->text);
}

void storm_await(struct storm *storm, bool (*is_done)(struct storm *storm), const char *what)
{
    int64_t until_ms = clock_ms() + QUEUE_TEST_MS;
    while (!is_done(storm)) {
        if (clock_ms() > until_ms)
            storm_fault(storm, what, "");
        usleep(2000);
    }
}

void storm_end_queue(struct storm *storm)
{
    if (!push_queue_wait(storm->test.queue, QUEUE_TEST_MS))
        storm_fault(storm, "the queue does not end", "");
    push_queue_free(storm->test.queue);
}

/* ---- pushes ---- */

size_t storm_push_count(const struct storm *storm)
{
    size_t count = atomic_load(&storm->pushed);
    return count < STORM_PUSHES ? count : STORM_PUSHES;
}

enum push_state storm_recorded(struct storm *storm, const struct storm_push *push, size_t target)
{
    struct error err = ERROR_INIT;
    struct push record;
    bool found = false;
    storm_expect_ok(storm, pushes_get(storm->test.runtime.store, push->id, &record, &found, &err),
                    &err);
    if (!found)
        return 0;
    enum push_state state = record.targets[target].state;
    push_deinit(&record);
    return state;
}

bool storm_is_over(struct storm *storm, const struct storm_push *push)
{
    if (push->waiting && !waiting_push_ended(push->waiting))
        return false;
    for (size_t i = 0; i < push->targets; i++) {
        enum push_state state = storm_recorded(storm, push, i);
        if (state == 0 ? push->waiting == NULL : !push_state_is_final(state))
            return false;
    }
    return true;
}

struct storm_push *storm_take_push(struct storm *storm)
{
    size_t at = atomic_fetch_add(&storm->pushed, 1);
    return at < STORM_PUSHES ? &storm->pushes[at] : NULL;
}

struct storm_push *storm_some_push(struct storm *storm, unsigned *random)
{
    size_t count = storm_push_count(storm);
    size_t back = moody_pick(random, moody_pick(random, 3) ? 8 : STORM_PUSHES);
    if (count == 0)
        return NULL;
    struct storm_push *push = &storm->pushes[back < count ? count - 1 - back : count - 1];
    return atomic_load(&push->known) ? push : NULL;
}

char *storm_choose_places(struct storm_push *push, unsigned *random)
{
    size_t first = moody_pick(random, STORM_PLACES);
    size_t second = (first + 1 + moody_pick(random, STORM_PLACES - 1)) % STORM_PLACES;
    push->targets = 1 + (moody_pick(random, 3) == 0);
    push->places[0] = first;
    push->places[1] = second;
    char *one = xasprintf("r%zu/app:t%zu", first / STORM_TAGS, first % STORM_TAGS);
    if (push->targets == 1)
        return one;
    char *both = xasprintf("%s r%zu/app:t%zu", one, second / STORM_TAGS, second % STORM_TAGS);
    free(one);
    return both;
}

/* ---- life ---- */

/* What has ended is not gone yet for a while: others come upon it meanwhile. */
static void on_ended(void *self, const struct digest *manifest, const struct push_target *target)
{
    struct storm *storm = self;
    unsigned random = storm->seed + 7919U * atomic_fetch_add(&storm->ended, 1);
    (void)manifest;
    (void)target;
    if (moody_pick(&random, 4) == 0)
        usleep(moody_pick(&random, ENDING_US));
}

void storm_open_queue(struct storm *storm)
{
    struct error err = ERROR_INIT;
    storm->test.queue = push_queue_new(&storm->test.runtime);
    push_queue_listen(storm->test.queue, on_ended, storm);
    storm_expect_ok(storm, push_queue_restart(storm->test.queue, &err), &err);
}

static void open_upstream(struct storm *storm)
{
    struct error err = ERROR_INIT;
    struct push_test *push = storm->test.push;
    autofree char *endpoint = xasprintf("http://%s", storm->test.host);
    const char *const endpoints[] = {endpoint};
    const struct registry_options registry = {
        .host = storm->test.host,
        .endpoints = endpoints,
        .endpoint_count = 1,
        .retry_wait_ms = 1,
        .plain_http = true,
    };
    const struct upstream_options options = {
        .store = push->store,
        .executor = push->executor,
        .registries = {.registries = &registry,
                       .registry_count = 1,
                       .credentials = moody_registry_logins(storm->registry),
                       .user_agent = "slipway-test"},
    };
    if (upstream_new(&options, &push->upstream, &err) != ERR_OK)
        fail_msg("%s", err.text);
}

static void make_images(struct storm *storm)
{
    for (size_t i = 0; i < STORM_PUSHES; i++) {
        struct storm_push *push = &storm->pushes[i];
        const char letters[] = {(char)('a' + i % 26), (char)('a' + i / 26), '\0'};
        push->image = push_test_image(storm->test.push, letters, 100);
        digest_text(&push->image.manifest.digest, push->digest);
    }
}

static void choose_settings(struct storm *storm)
{
    static char match[] = "x/*";
    struct queue_test *test = &storm->test;
    atomic_init(&test->settings.references, 1);
    test->settings.limits.pushes_per_registry = 1 + moody_pick(&storm->random, 4);
    if (moody_pick(&storm->random, 4) == 0)
        test->settings.limits.push_ms = 100;
    test->registry_setting.host = (char *)test->host;
    test->registry_setting.retry_wait_ms =
        moody_pick(&storm->random, 2) ? 1 : 1 + moody_pick(&storm->random, 20);
    test->settings.registries = &test->registry_setting;
    test->settings.registry_count = 1;
    snprintf(storm->labels[0], sizeof storm->labels[0], "other:%s", test->host);
    for (size_t i = 1; i < STORM_REPOSITORIES; i++) {
        snprintf(storm->labels[i], sizeof storm->labels[i], "mirror%zu", i);
        storm->mirror_targets[i - 1].label = storm->labels[i];
        storm->mirror_targets[i - 1].target = xasprintf("%s/x/*", test->host);
    }
    storm->less = storm->mirror = (struct mirror_setting){
        .match = match, .targets = storm->mirror_targets, .target_count = STORM_REPOSITORIES - 1};
    storm->less.target_count--;
    test->settings.mirrors = &storm->mirror;
    test->settings.mirror_count = 1;
    storm->other = test->settings;
    storm->other.mirrors = &storm->less;
}

/* Readers who come again and again do not keep a writer out. */
static void init_life(pthread_rwlock_t *life)
{
    pthread_rwlockattr_t kind;
    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(life, &kind);
    pthread_rwlockattr_destroy(&kind);
}

struct storm *storm_new(unsigned seed)
{
    struct storm *storm = xcalloc(1, sizeof *storm);
    struct queue_test *test = &storm->test;
    snprintf(over_time, sizeof over_time, "\nseed %u: it does not end\n", seed);
    signal(SIGALRM, on_alarm);
    alarm(LIMIT_S);
    storm->seed = storm->random = seed;
    pthread_mutex_init(&storm->reload, NULL);
    init_life(&storm->life);
    test->push = push_test_new(NULL);
    storm->registry = moody_registry_start(seed, moody_pick(&storm->random, 2));
    test->host = moody_registry_host(storm->registry);
    make_images(storm);
    open_upstream(storm);
    choose_settings(storm);
    test->runtime = (struct runtime){
        .settings = &test->settings,
        .store = test->push->store,
        .executor = test->push->executor,
        .upstream = test->push->upstream,
        .early = early_uploads_new(test->push->upstream),
    };
    storm_open_queue(storm);
    return storm;
}

void storm_free(struct storm *storm)
{
    push_queue_close(storm->test.queue);
    storm_end_queue(storm);
    for (size_t i = 0; i < storm_push_count(storm); i++) {
        if (storm->pushes[i].waiting)
            waiting_push_deinit(storm->pushes[i].waiting);
        free(storm->pushes[i].waiting);
    }
    early_uploads_close(storm->test.runtime.early);
    early_uploads_free(storm->test.runtime.early);
    push_test_free(storm->test.push);
    moody_registry_stop(storm->registry);
    for (size_t i = 0; i < STORM_REPOSITORIES - 1; i++)
        free(storm->mirror_targets[i].target);
    pthread_rwlock_destroy(&storm->life);
    pthread_mutex_destroy(&storm->reload);
    free(storm);
    alarm(0);
}
