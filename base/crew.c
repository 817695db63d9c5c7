#include "base/crew.h"

#include <pthread.h>
#include <stdatomic.h>

struct crew {
    size_t count;
    atomic_size_t next;
    void (*task)(void *self, size_t index);
    void *self;
};

static void *work(void *arg)
{
    struct crew *crew = arg;
    for (size_t index; (index = atomic_fetch_add(&crew->next, 1)) < crew->count;)
        crew->task(crew->self, index);
    return NULL;
}

void crew_run(size_t count, unsigned threads, void (*task)(void *self, size_t index), void *self)
{
    struct crew crew = {.count = count, .task = task, .self = self};
    pthread_t started[CREW_THREADS_MAX];
    unsigned extra = 0;
    if (threads > CREW_THREADS_MAX)
        threads = CREW_THREADS_MAX;
    while (extra + 1 < threads && extra + 1 < count &&
           pthread_create(&started[extra], NULL, work, &crew) == 0)
        extra++;
    work(&crew);
    while (extra > 0)
        pthread_join(started[--extra], NULL);
}
