#include "tests/support/work_scene.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct executor *work_scene_executor(unsigned threads, int64_t idle_ms)
{
    struct executor *executor = NULL;
    struct error err = ERROR_INIT;
    const struct executor_options options = {.threads_max = threads, .idle_ms = idle_ms};
    if (executor_new(&options, &executor, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return executor;
}

void work_scene_init(struct work_scene *scene, unsigned threads, int64_t idle_ms)
{
    *scene = (struct work_scene){.executor = work_scene_executor(threads, idle_ms)};
    pthread_mutex_init(&scene->lock, NULL);
    clock_cond_init(&scene->changed);
}

void work_scene_deinit(struct work_scene *scene)
{
    executor_free(scene->executor);
    pthread_cond_destroy(&scene->changed);
    pthread_mutex_destroy(&scene->lock);
}

void work_probe_run(struct work *work)
{
    struct work_probe *probe = (struct work_probe *)work;
    struct work_scene *scene = probe->scene;
    pthread_mutex_lock(&scene->lock);
    scene->log[strlen(scene->log)] = probe->name;
    if (++scene->running > scene->most)
        scene->most = scene->running;
    pthread_cond_broadcast(&scene->changed);
    while (probe->blocks && !scene->open)
        pthread_cond_wait(&scene->changed, &scene->lock);
    scene->running--;
    scene->ended++;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

struct work_probe work_probe_of(struct work_scene *scene, char name, bool blocks)
{
    return (struct work_probe){
        .work = {.run = work_probe_run}, .scene = scene, .name = name, .blocks = blocks};
}

void work_scene_wait(struct work_scene *scene, unsigned running, unsigned ended)
{
    struct timespec until = clock_deadline(WORK_SCENE_MS);
    int rc = 0;
    pthread_mutex_lock(&scene->lock);
    while ((scene->running < running || scene->ended < ended) && rc == 0)
        rc = pthread_cond_timedwait(&scene->changed, &scene->lock, &until);
    pthread_mutex_unlock(&scene->lock);
    assert_int_equal(rc, 0);
}

void work_probe_let_go(struct work_probe *probe, size_t begun)
{
    struct work_scene *scene = probe->scene;
    struct timespec until = clock_deadline(WORK_SCENE_MS);
    int rc = 0;
    pthread_mutex_lock(&scene->lock);
    probe->blocks = false;
    pthread_cond_broadcast(&scene->changed);
    while (strlen(scene->log) < begun && rc == 0)
        rc = pthread_cond_timedwait(&scene->changed, &scene->lock, &until);
    pthread_mutex_unlock(&scene->lock);
    assert_int_equal(rc, 0);
}

void work_scene_let_go(struct work_scene *scene)
{
    pthread_mutex_lock(&scene->lock);
    scene->open = true;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}
