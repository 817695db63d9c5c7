#include "upstream/push/repository_memory.h"

#include "base/lock.h"
#include "base/mem.h"

#include <string.h>

struct place {
    struct place *next;
    struct known_blobs *known; /* owned */
    int64_t until_ms;
    unsigned holders;
    bool wrong;
    char name[]; /* host and path */
};

struct repository_memory {
    int64_t keep_ms;
    pthread_mutex_t lock; /* guards what follows */
    struct place *first;
};

struct repository_memory *repository_memory_new(int64_t keep_ms)
{
    struct repository_memory *memory = xcalloc(1, sizeof *memory);
    memory->keep_ms = keep_ms;
    pthread_mutex_init(&memory->lock, NULL);
    return memory;
}

static void place_free(struct place *place)
{
    known_blobs_free(place->known);
    free(place);
}

void repository_memory_free(struct repository_memory *memory)
{
    if (memory == NULL)
        return;
    for (struct place *place = memory->first, *next; place; place = next) {
        next = place->next;
        place_free(place);
    }
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

/* --- with the lock --- */

static void drop_old(struct repository_memory *memory, int64_t now_ms)
{
    for (struct place **at = &memory->first; *at;) {
        struct place *place = *at;
        place->wrong |= place->until_ms <= now_ms;
        if (place->wrong && place->holders == 0) {
            *at = place->next;
            place_free(place);
        } else {
            at = &place->next;
        }
    }
}

static struct place *find(const struct repository_memory *memory, const char *name)
{
    struct place *place = memory->first;
    while (place && (place->wrong || strcmp(place->name, name) != 0))
        place = place->next;
    return place;
}

static struct place *add(struct repository_memory *memory, const char *name, int64_t now_ms)
{
    size_t size = strlen(name) + 1;
    struct place *place = xcalloc(1, sizeof *place + size);
    memcpy(place->name, name, size);
    place->known = known_blobs_new();
    place->until_ms = now_ms + memory->keep_ms;
    place->next = memory->first;
    return memory->first = place;
}

/* --- for all --- */

struct known_blobs *repository_memory_hold(struct repository_memory *memory,
                                           const struct reference *ref, int64_t now_ms)
{
    char name[REFERENCE_NAME_MAX + 1];
    reference_name(ref, name);
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    drop_old(memory, now_ms);
    struct place *place = find(memory, name);
    if (place == NULL)
        place = add(memory, name, now_ms);
    place->holders++;
    return place->known;
}

void repository_memory_release(struct repository_memory *memory, struct known_blobs *known)
{
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    struct place *place = memory->first;
    while (place && place->known != known)
        place = place->next;
    if (place)
        place->holders--;
}

void repository_memory_forget(struct repository_memory *memory, const struct reference *ref)
{
    char name[REFERENCE_NAME_MAX + 1];
    reference_name(ref, name);
    autolock pthread_mutex_t *held = lock_take(&memory->lock);
    struct place *place = find(memory, name);
    if (place)
        place->wrong = true;
}
