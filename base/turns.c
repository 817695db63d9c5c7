#include "base/turns.h"

#include "base/mem.h"

#include <search.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

void turns_init(struct turns *turns)
{
    turns->taken = NULL;
    pthread_mutex_init(&turns->lock, NULL);
    clock_cond_init(&turns->given);
}

void turns_deinit(struct turns *turns)
{
    tdestroy(turns->taken, free);
    pthread_cond_destroy(&turns->given);
    pthread_mutex_destroy(&turns->lock);
}

enum errc turns_take(struct turns *turns, const char *name, const struct stop *stop,
                     struct error *err)
{
    char *own = xstrdup(name);
    enum errc code = ERR_OK;
    pthread_mutex_lock(&turns->lock);
    while (tfind(own, &turns->taken, compare) && code == ERR_OK) {
        stop_wait_turn(&turns->given, &turns->lock);
        code = stop_check(stop, err);
    }
    if (code == ERR_OK && tsearch(own, &turns->taken, compare) == NULL)
        code = fail(err, ERR_MEMORY, 0, "no memory for a turn");
    pthread_mutex_unlock(&turns->lock);
    if (code != ERR_OK)
        free(own);
    return code;
}

void turns_give(struct turns *turns, const char *name)
{
    pthread_mutex_lock(&turns->lock);
    char **held = tfind(name, &turns->taken, compare);
    char *own = held ? *held : NULL;
    tdelete(name, &turns->taken, compare);
    pthread_cond_broadcast(&turns->given);
    pthread_mutex_unlock(&turns->lock);
    free(own);
}
