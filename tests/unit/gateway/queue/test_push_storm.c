/*
 * The push queue under random trouble: many pushes to few tags, a registry with moods, and threads
 * that push, retry, cancel, pause, expire, look, watch, hang up, reload and restart as they like.
 * What has to be true all along is looked at all along; when the registry is well again everything
 * comes to its end.
 *
 *   unit_gateway_queue_push_storm [SEED]
 *
 * A fault tells the seed of its round, which makes the same choices again; the threads meet as they
 * will. With SLIPWAY_LONG=1 it is a minute instead of three seconds.
 */
#include "gateway/queue/push_queue.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/queue/push_targets.h"
#include "tests/support/push_storm.h"
#include "tests/support/queue_examine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 5
#define LATER_S 1000

struct actor {
    struct storm *storm;
    unsigned random;
};

/* ---- pushes ---- */

static void sleep_some(unsigned *random, unsigned below_us)
{
    if (moody_pick(random, 4) == 0)
        usleep(moody_pick(random, below_us));
}

static void push_after_answer(struct storm *storm, unsigned *random)
{
    struct storm_push *own = storm_take_push(storm);
    if (own == NULL)
        return;
    autofree char *text = storm_choose_places(own, random);
    struct push push = queue_test_push(&storm->test, &own->image.manifest, text, true);
    for (size_t i = 0; i < push.target_count; i++) {
        size_t repository = own->places[i] / STORM_TAGS;
        if (repository > 0) /* the first one's is what clients name */
            snprintf(push.targets[i].name, sizeof push.targets[i].name, "mirror%zu", repository);
        if (moody_pick(random, 2))
            push.targets[i].deadline_s = (uint64_t)clock_wall_s() + LATER_S;
    }
    queue_test_accept(&storm->test, &push);
    memcpy(own->id, push.id, sizeof own->id);
    atomic_store(&own->known, true);
    sleep_some(random, 3000);
    if (moody_pick(random, 12) == 0)
        push_queue_start_held(storm->test.queue, &push, "");
    else
        push_queue_start(storm->test.queue, &push);
    push_deinit(&push);
}

static void push_and_wait(struct storm *storm, unsigned *random)
{
    struct storm_push *own = storm_take_push(storm);
    if (own == NULL)
        return;
    autofree char *text = storm_choose_places(own, random);
    own->waiting = xcalloc(1, sizeof *own->waiting);
    waiting_push_init(own->waiting, &storm->test, &own->image.manifest, text);
    memcpy(own->id, own->waiting->push.id, sizeof own->id);
    sleep_some(random, 3000);
    waiting_push_run(own->waiting, &storm->test);
    atomic_store(&own->known, true);
}

static void hang_up(struct storm *storm, unsigned *random)
{
    const struct storm_push *push = storm_some_push(storm, random);
    if (push && push->waiting)
        cancel_request(&push->waiting->cancel);
}

/* ---- what else threads do ---- */

static void try_again(struct storm *storm, const struct push_retry *wanted)
{
    struct error err = ERROR_INIT;
    struct push_retried done;
    storm_expect_ok(storm, push_queue_retry(storm->test.queue, wanted, &done, &err), &err);
}

static void retry(struct storm *storm, unsigned *random)
{
    const struct storm_push *push = storm_some_push(storm, random);
    struct push_retry wanted = {.id = NULL};
    unsigned kind = moody_pick(random, 6);
    if (kind < 3 && push)
        wanted.id = push->id;
    else if (kind == 3)
        wanted.target = storm->labels[moody_pick(random, STORM_REPOSITORIES)];
    else if (kind == 4)
        wanted.state = moody_pick(random, 2) ? PUSH_WAITING : PUSH_REFUSED;
    if (moody_pick(random, 2))
        wanted.deadline_s = (uint64_t)clock_wall_s() + LATER_S;
    try_again(storm, &wanted);
}

static void cancel(struct storm *storm, unsigned *random)
{
    const struct storm_push *push = storm_some_push(storm, random);
    if (push)
        push_queue_cancel(storm->test.queue, push->id, push->targets);
}

static void set_paused(struct storm *storm, size_t which, bool paused)
{
    struct error err = ERROR_INIT;
    struct target_view view;
    enum errc code = push_queue_pause(storm->test.queue, storm->labels[which], paused, &view, &err);
    if (code != ERR_NOT_FOUND)
        storm_expect_ok(storm, code, &err);
}

static void set_all_paused(struct storm *storm, bool paused)
{
    for (size_t i = 0; i < STORM_REPOSITORIES; i++)
        set_paused(storm, i, paused);
}

static void pause_one(struct storm *storm, unsigned *random)
{
    set_paused(storm, moody_pick(random, STORM_REPOSITORIES), moody_pick(random, 3) == 0);
}

/* Of what has a deadline, mostly nothing is over. */
static void expire(struct storm *storm, unsigned *random)
{
    uint64_t later_s = moody_pick(random, 4) ? 0 : 2 * LATER_S;
    push_queue_expire(storm->test.queue, (uint64_t)clock_wall_s() + later_s);
}

static void look(struct storm *storm, unsigned *random)
{
    const struct storm_push *of = storm_some_push(storm, random);
    struct error err = ERROR_INIT;
    struct target_view *views = NULL;
    struct push *pushes = NULL;
    struct push push;
    bool found = false;
    push_queue_targets(storm->test.queue, &views);
    free(views);
    size_t count = push_queue_unrecorded(storm->test.queue, &pushes);
    for (size_t i = 0; i < count; i++)
        push_deinit(&pushes[i]);
    free(pushes);
    if (of)
        storm_expect_ok(storm, push_queue_find(storm->test.queue, of->id, &push, &found, &err),
                        &err);
    if (found)
        push_deinit(&push);
}

static bool watch_look(struct push_watch *watch, bool closed)
{
    struct error err = ERROR_INIT;
    struct push push;
    bool found = false;
    bool open = false;
    if (push_queue_find(watch->queue, watch->id, &push, &found, &err) != ERR_OK || !found)
        return false;
    for (size_t i = 0; i < push.target_count; i++)
        open |= !push_state_is_final(push.targets[i].state);
    push_deinit(&push);
    return open && !closed;
}

static void watch_over(struct push_watch *watch)
{
    struct storm_watch *own =
        (struct storm_watch *)((char *)watch - offsetof(struct storm_watch, watch));
    atomic_store(&own->over, true);
}

static void watch(struct storm *storm, unsigned *random)
{
    const struct storm_push *push = storm_some_push(storm, random);
    size_t at = push ? atomic_fetch_add(&storm->watched, 1) : STORM_WATCHES;
    if (at >= STORM_WATCHES)
        return;
    struct storm_watch *own = &storm->watches[at];
    own->watch = (struct push_watch){.rest_ms = 3600000, .look = watch_look, .over = watch_over};
    memcpy(own->watch.id, push->id, sizeof own->watch.id);
    if (!push_queue_watch(storm->test.queue, &own->watch))
        atomic_store(&own->over, true);
}

/* The other configuration, or this one again. */
static void configure(struct storm *storm, bool other)
{
    pthread_mutex_lock(&storm->reload);
    pthread_mutex_lock(&storm->test.runtime.settings_lock);
    storm->test.runtime.settings = other ? &storm->other : &storm->test.settings;
    pthread_mutex_unlock(&storm->test.runtime.settings_lock);
    push_queue_changed(storm->test.queue);
    pthread_mutex_unlock(&storm->reload);
}

static void reload(struct storm *storm, unsigned *random)
{
    configure(storm, moody_pick(random, 2));
}

static void change_mood(struct storm *storm, unsigned *random)
{
    moody_registry_set(storm->registry, (enum mood)moody_pick(random, MOODS));
}

static const struct {
    unsigned below; /* of 100 */
    void (*act)(struct storm *storm, unsigned *random);
} actions[] = {
    {10, push_after_answer}, {14, push_and_wait}, {38, retry},        {58, cancel},
    {68, pause_one},         {73, expire},        {79, look},         {85, watch},
    {89, hang_up},           {93, reload},        {100, change_mood},
};

static void *act_always(void *self)
{
    struct actor *actor = self;
    struct storm *storm = actor->storm;
    while (!atomic_load(&storm->calm)) {
        unsigned chance = moody_pick(&actor->random, 100);
        size_t at = 0;
        while (chance >= actions[at].below)
            at++;
        pthread_rwlock_rdlock(&storm->life);
        actions[at].act(storm, &actor->random);
        pthread_rwlock_unlock(&storm->life);
        usleep(moody_pick(&actor->random, moody_pick(&actor->random, 4) ? 2000 : 10000));
    }
    return NULL;
}

/* ---- what is recorded as open is in the queue ---- */

static bool is_recorded_open(struct storm *storm, const struct storm_push *push, size_t target)
{
    enum push_state state = storm_recorded(storm, push, target);
    return state == PUSH_QUEUED || state == PUSH_WAITING;
}

/* The second look is for what has come to its end since the first. */
static bool is_lost(struct storm *storm, const struct storm_push *push, size_t target)
{
    return is_recorded_open(storm, push, target) &&
           !queue_examine_has(storm->test.queue, push->id, target) &&
           is_recorded_open(storm, push, target);
}

/* Nobody is about to bring anything into the queue meanwhile. */
static void check_records(struct storm *storm)
{
    pthread_rwlock_wrlock(&storm->life);
    for (size_t i = 0; i < storm_push_count(storm); i++)
        for (size_t j = 0; j < storm->pushes[i].targets; j++)
            if (is_lost(storm, &storm->pushes[i], j))
                storm_fault(storm, "a record waits for nothing", storm->pushes[i].id);
    pthread_rwlock_unlock(&storm->life);
}

/* ---- a process ends, and the next one begins ---- */

static bool no_client_waits(struct storm *storm)
{
    for (size_t i = 0; i < storm_push_count(storm); i++)
        if (storm->pushes[i].waiting && !waiting_push_ended(storm->pushes[i].waiting))
            return false;
    return true;
}

static void restart(struct storm *storm)
{
    pthread_rwlock_rdlock(&storm->life);
    push_queue_close(storm->test.queue);
    pthread_rwlock_unlock(&storm->life);
    usleep(500);
    pthread_rwlock_wrlock(&storm->life);
    for (size_t i = 0; i < storm_push_count(storm); i++)
        if (storm->pushes[i].waiting)
            cancel_request(&storm->pushes[i].waiting->cancel);
    storm_await(storm, no_client_waits, "a client that hangs up waits on");
    storm_end_queue(storm);
    storm_open_queue(storm);
    pthread_rwlock_unlock(&storm->life);
}

static void *examine_always(void *self)
{
    struct storm *storm = self;
    while (!atomic_load(&storm->examined)) {
        pthread_rwlock_rdlock(&storm->life);
        const char *found = queue_examine(storm->test.queue);
        if (found)
            storm_fault(storm, found, "");
        pthread_rwlock_unlock(&storm->life);
        usleep(500);
    }
    return NULL;
}

/* ---- what is cancelled ends, whatever else ---- */

static void *toggle_always(void *self)
{
    struct actor *actor = self;
    while (!atomic_load(&actor->storm->toggled)) {
        set_paused(actor->storm, moody_pick(&actor->random, STORM_REPOSITORIES),
                   moody_pick(&actor->random, 2));
        if (moody_pick(&actor->random, 2))
            usleep(moody_pick(&actor->random, 3000));
    }
    return NULL;
}

static bool cancelled_are_over(struct storm *storm)
{
    for (size_t i = 0; i < storm_push_count(storm); i++)
        if (storm->pushes[i].cancelled && !storm_is_over(storm, &storm->pushes[i]))
            return false;
    return true;
}

static void cancel_many(struct storm *storm)
{
    struct actor actor = {storm, storm->random};
    pthread_t thread;
    moody_registry_set(storm->registry, moody_pick(&storm->random, 2) ? MOOD_DOWN : MOOD_LOCKED);
    pthread_create(&thread, NULL, toggle_always, &actor);
    for (size_t i = 0; i < storm_push_count(storm); i++) {
        struct storm_push *push = &storm->pushes[i];
        if (moody_pick(&storm->random, 2))
            usleep(moody_pick(&storm->random, 1500));
        if (moody_pick(&storm->random, 2) && !storm_is_over(storm, push))
            push->cancelled = push_queue_cancel(storm->test.queue, push->id, push->targets);
    }
    atomic_store(&storm->toggled, true);
    pthread_join(thread, NULL);
    set_all_paused(storm, true);
    storm_await(storm, cancelled_are_over, "what was cancelled does not end");
}

/* ---- all is well again ---- */

/* A circuit may be open for minutes: an operator ends the waits, one by one. */
static bool all_are_over(struct storm *storm)
{
    char id[PUSH_ID_MAX];
    if (queue_examine_waits(storm->test.queue, 200, id))
        try_again(storm, &(struct push_retry){.id = id});
    for (size_t i = 0; i < storm_push_count(storm); i++)
        if (!storm_is_over(storm, &storm->pushes[i]))
            return false;
    return true;
}

static bool watches_are_over(struct storm *storm)
{
    size_t count = atomic_load(&storm->watched);
    for (size_t i = 0; i < count && i < STORM_WATCHES; i++)
        if (!atomic_load(&storm->watches[i].over))
            return false;
    return true;
}

static bool is_quiet(struct storm *storm)
{
    return queue_examine_is_quiet(storm->test.queue);
}

static bool is_pushed(struct storm *storm, const struct storm_push *push, size_t place)
{
    for (size_t i = 0; i < push->targets; i++)
        if (push->places[i] == place &&
            (storm_recorded(storm, push, i) == PUSH_PUSHED ||
             (push->waiting && push->waiting->push.targets[i].state == PUSH_PUSHED)))
            return true;
    return false;
}

static const struct storm_push *push_of(const struct storm *storm, const char *digest)
{
    for (size_t i = 0; i < storm_push_count(storm); i++)
        if (strcmp(storm->pushes[i].digest, digest) == 0)
            return &storm->pushes[i];
    return NULL;
}

/* Whatever there is is younger than nothing. */
static bool is_younger(const struct storm_push *push, const struct storm_push *than)
{
    return than == NULL || strcmp(push->id, than->id) > 0;
}

/* No older image is there than that of the youngest that is said to be pushed. */
static void check_place(struct storm *storm, size_t place)
{
    const struct storm_push *youngest = NULL;
    char digest[DIGEST_TEXT_MAX] = "";
    for (size_t i = 0; i < storm_push_count(storm); i++) {
        const struct storm_push *push = &storm->pushes[i];
        if (is_pushed(storm, push, place) && is_younger(push, youngest))
            youngest = push;
    }
    autofree char *repository = xasprintf("r%zu/app", place / STORM_TAGS);
    autofree char *tag = xasprintf("t%zu", place % STORM_TAGS);
    moody_registry_tag(storm->registry, repository, tag, digest);
    const struct storm_push *there = push_of(storm, digest);
    if (youngest && is_younger(youngest, there)) {
        autofree char *text = xasprintf("%s:%s has %s, and %s was pushed", repository, tag,
                                        there ? there->id : "nothing", youngest->id);
        storm_fault(storm, "an older image", text);
    }
}

static void heal(struct storm *storm)
{
    set_all_paused(storm, false);
    for (unsigned i = 0; i < 20; i++) {
        configure(storm, i % 2 == 0);
        usleep(moody_pick(&storm->random, 1500));
    }
    check_records(storm);
    moody_registry_set(storm->registry, MOOD_WELL);
    set_all_paused(storm, false);
    storm_await(storm, all_are_over, "a push does not end");
    storm_await(storm, watches_are_over, "a watch does not end");
    storm_await(storm, is_quiet, "the queue is not quiet");
    for (size_t i = 0; i < STORM_PLACES; i++)
        check_place(storm, i);
}

/* ---- a storm ---- */

static void rage(struct storm *storm)
{
    struct actor actors[THREADS];
    pthread_t threads[THREADS];
    int64_t until_ms = clock_ms() + 400 + moody_pick(&storm->random, 300);
    for (size_t i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){storm, storm->seed * 131U + (unsigned)i * 77777U};
        pthread_create(&threads[i], NULL, act_always, &actors[i]);
    }
    while (clock_ms() < until_ms) {
        usleep(50000 + moody_pick(&storm->random, 100000));
        check_records(storm);
        if (moody_pick(&storm->random, 3) == 0)
            restart(storm);
    }
    atomic_store(&storm->calm, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    check_records(storm);
    if (moody_pick(&storm->random, 3))
        cancel_many(storm);
}

static void weather(unsigned seed)
{
    pthread_t examiner;
    struct storm *storm = storm_new(seed);
    pthread_create(&examiner, NULL, examine_always, storm);
    rage(storm);
    heal(storm);
    atomic_store(&storm->examined, true);
    pthread_join(examiner, NULL);
    storm_free(storm);
}

static unsigned first_seed;

static void all_comes_to_its_end(void **state)
{
    const char *wanted = getenv("SLIPWAY_LONG");
    bool is_long = wanted && strcmp(wanted, "1") == 0;
    int64_t until_ms = clock_ms() + (is_long ? 60000 : 3000);
    (void)state;
    unsigned seed = first_seed;
    do
        weather(seed++);
    while (clock_ms() < until_ms);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_comes_to_its_end)};
    first_seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : arc4random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
