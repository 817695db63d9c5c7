/*
 * What the tests of executors share: works that note when they ran, and may be made to wait.
 */
#ifndef SLIPWAY_TESTS_WORK_SCENE_H
#define SLIPWAY_TESTS_WORK_SCENE_H

#include "base/executor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORK_SCENE_MS 20000 /* how long is waited for what must come */
#define WORK_SCENE_IDLE_MS 20

struct work_scene {
    struct executor *executor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char log[256]; /* names in the order of their beginning */
    unsigned running;
    unsigned most;
    unsigned ended;
    bool open; /* what blocks may go on */
};

/* For tests that need no scene; the caller frees it. */
struct executor *work_scene_executor(unsigned threads, int64_t idle_ms);

void work_scene_init(struct work_scene *scene, unsigned threads, int64_t idle_ms);
void work_scene_deinit(struct work_scene *scene);

/* Until so many run, and so many have ended. */
void work_scene_wait(struct work_scene *scene, unsigned running, unsigned ended);

/* All that block go on, and none does any more. */
void work_scene_let_go(struct work_scene *scene);

/* A work that notes when it ran, and may be made to wait. */
struct work_probe {
    struct work work;
    struct work_scene *scene;
    char name;
    bool blocks;
};

struct work_probe work_probe_of(struct work_scene *scene, char name, bool blocks);

/* The run() of a probe. */
void work_probe_run(struct work *work);

/* It ends, and so many have begun thereafter. */
void work_probe_let_go(struct work_probe *probe, size_t begun);

#endif
