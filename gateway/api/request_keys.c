#include "gateway/api/request_keys.h"

#include "base/lock.h"
#include "base/mem.h"
#include "gateway/access/caller.h"
#include "store/pushes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request_keys {
    pthread_mutex_t lock;
    TAILQ_HEAD(claim_list, request_claim) claims; /* borrowed; as many as requests that push */
};

struct request_keys *request_keys_new(void)
{
    struct request_keys *keys = xcalloc(1, sizeof *keys);
    pthread_mutex_init(&keys->lock, NULL);
    TAILQ_INIT(&keys->claims);
    return keys;
}

void request_keys_free(struct request_keys *keys)
{
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

/* ---- the head ---- */

struct found {
    const char *value;
    size_t count;
};

static bool find(const void *self, const char *value)
{
    struct found *const *found = self;
    (*found)->value = value;
    return ++(*found)->count == 1;
}

static bool is_key(const char *value)
{
    size_t size = 0;
    for (; value[size] >= ' ' && value[size] <= '~'; size++)
        ;
    return value[size] == '\0' && size > 0 && size <= REQUEST_KEY_MAX;
}

/* The type of a body says what an endpoint does with it. */
static struct digest print_head(const struct request *request)
{
    const char *type = request_header(request, "Content-Type");
    const char *parts[] = {request->method, request->path, request->query, type ? type : ""};
    struct digester *digester = digester_new(DIGEST_SHA256);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        digester_update(digester, parts[i], strlen(parts[i]) + 1);
    struct digest digest = digester_finish(digester);
    digester_free(digester);
    return digest;
}

/* Of each caller its own: nobody gets another one's answer. */
static struct digest name_of(const struct caller *caller, const char *key)
{
    if (caller == NULL || caller->identity.name == NULL)
        return digest_of(DIGEST_SHA256, key, strlen(key));
    autofree char *text = xasprintf("%s %s\n%s", identity_kind_name(caller->identity.kind),
                                    caller->identity.name, key);
    return digest_of(DIGEST_SHA256, text, strlen(text));
}

enum errc request_claim_init(const struct request *request, struct request_claim *out,
                             struct error *err)
{
    struct found found = {NULL, 0};
    struct found *self = &found;
    *out = (struct request_claim){.id = ""};
    bool once = request_headers_fit(request, "Idempotency-Key", find, &self);
    if (found.count == 0)
        return ERR_OK;
    if (!once)
        return fail(err, ERR_BAD_REQUEST, 0, "the header Idempotency-Key is there twice");
    if (!is_key(found.value))
        return fail(err, ERR_BAD_REQUEST, 0,
                    "Idempotency-Key has 1 to %d printable ASCII characters", REQUEST_KEY_MAX);
    out->key.name = name_of(request->caller, found.value);
    out->key.fingerprint = print_head(request);
    out->key.pushes = 1;
    return ERR_OK;
}

static void print_body(struct request_key *key, const char *body, size_t size)
{
    struct digester *digester = digester_new(DIGEST_SHA256);
    digester_update(digester, key->fingerprint.bytes, digest_size(DIGEST_SHA256));
    digester_update(digester, body, size);
    key->fingerprint = digester_finish(digester);
    digester_free(digester);
}

/* ---- those under way ---- */

static enum errc fail_reused(struct error *err)
{
    return fail(err, ERR_KEY_REUSED, 0,
                "this Idempotency-Key is that of a request for something else (its method, path, "
                "query, Content-Type or document differs): give each request a key of its own");
}

static enum errc claim(struct request_keys *keys, struct request_claim *claim, struct error *err)
{
    struct request_claim *other;
    autolock pthread_mutex_t *held = lock_take(&keys->lock);
    TAILQ_FOREACH(other, &keys->claims, link)
    {
        if (!digest_equal(&other->key.name, &claim->key.name))
            continue;
        if (!digest_equal(&other->key.fingerprint, &claim->key.fingerprint))
            return fail_reused(err);
        memcpy(claim->id, other->id, sizeof claim->id);
        return fail(
            err, ERR_KEY_IN_USE, 0,
            "the first request with this Idempotency-Key is not answered yet: send it again "
            "later, its answer will be that one's");
    }
    TAILQ_INSERT_TAIL(&keys->claims, claim, link);
    claim->keys = keys;
    return ERR_OK;
}

void request_claim_pushes(struct request_claim *claim, const char *id)
{
    if (claim->keys == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&claim->keys->lock);
    snprintf(claim->id, sizeof claim->id, "%s", id);
}

void request_claim_release(struct request_claim *claim)
{
    if (claim->keys == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&claim->keys->lock);
    TAILQ_REMOVE(&claim->keys->claims, claim, link);
    claim->keys = NULL;
}

/* ---- those that have ended ---- */

static void free_pushes(struct push *pushes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        push_deinit(&pushes[i]);
    free(pushes);
}

/* What a client waited for is there as it ended, all else as the store has it. */
static void merge(const struct push *over, struct push *recorded)
{
    for (size_t i = 0; i < recorded->target_count && i < over->target_count; i++)
        if (!recorded->targets[i].stored)
            recorded->targets[i] = over->targets[i];
}

static int by_id(const void *a, const void *b)
{
    const struct push *left = a;
    const struct push *right = b;
    return strcmp(left->id, right->id);
}

/* The youngest of both: those of the last request that pushed. */
static void join(struct push *over, size_t over_count, struct request_key *key,
                 struct push **pushes, size_t *count)
{
    char youngest[PUSH_ID_MAX] = "";
    if (*count > 0)
        memcpy(youngest, (*pushes)[*count - 1].id, sizeof youngest);
    for (size_t i = 0; i < over_count; i++) {
        struct push *same = NULL;
        for (size_t k = 0; k < *count && same == NULL; k++)
            same = strcmp((*pushes)[k].id, over[i].id) == 0 ? &(*pushes)[k] : NULL;
        if (same) {
            merge(&over[i], same);
            continue;
        }
        if (strcmp(over[i].id, youngest) > 0)
            *key = over[i].key;
        *pushes = xrealloc(*pushes, *count + 1, sizeof **pushes);
        push_copy(&over[i], &(*pushes)[(*count)++]);
    }
    if (*count == 0)
        return;
    qsort(*pushes, *count, sizeof **pushes, by_id);
    while (*count > key->pushes) {
        push_deinit(*pushes);
        memmove(*pushes, *pushes + 1, --*count * sizeof **pushes);
    }
}

/* In this order: what has ended is in the queue until the store has it. */
static enum errc find_pushes(struct gateway *gateway, const struct digest *name,
                             struct request_key *key, struct push **pushes, size_t *count,
                             struct error *err)
{
    struct push *over = NULL;
    size_t over_count = push_queue_over_of_key(gateway->queue, name, &over);
    if (pushes_of_key(gateway->runtime->store, name, key, pushes, count, err) == ERR_OK)
        join(over, over_count, key, pushes, count);
    free_pushes(over, over_count);
    return err->code;
}

/* By the end of the gateway, or by its crash: nobody has an answer. */
static bool broken_off(const struct push_target *target)
{
    if (target->stored)
        return false;
    if (!push_state_is_final(target->state))
        return true;
    return target->state == PUSH_FAILED &&
           (target->error.code == ERR_STOPPING || target->error.code == ERR_CANCELLED);
}

bool request_key_answered(const struct request_key *key, const struct push *pushes, size_t count)
{
    if (count == 0 || count < key->pushes)
        return false;
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < pushes[i].target_count; t++)
            if (broken_off(&pushes[i].targets[t]))
                return false;
    return true;
}

/* What it was when it was answered: nothing had become of what is pushed afterwards. */
static void as_answered(struct push *push)
{
    for (size_t i = 0; i < push->target_count; i++) {
        struct push_target *target = &push->targets[i];
        if (!target->stored)
            continue;
        target->state = PUSH_QUEUED;
        error_clear(&target->error);
    }
}

enum errc request_claim_take(struct gateway *gateway, struct request_claim *self, const char *body,
                             size_t size, struct push **pushes, size_t *count, struct error *err)
{
    struct request_key key = {.pushes = 0};
    *pushes = NULL;
    *count = 0;
    if (self->key.name.algorithm == DIGEST_NONE)
        return ERR_OK;
    if (body)
        print_body(&self->key, body, size);
    if (claim(gateway->keys, self, err) != ERR_OK)
        return err->code;
    if (find_pushes(gateway, &self->key.name, &key, pushes, count, err) == ERR_OK &&
        !request_key_answered(&key, *pushes, *count)) {
        free_pushes(mem_take(pushes), *count);
        *count = 0;
        return ERR_OK;
    }
    request_claim_release(self);
    if (err->code == ERR_OK && !digest_equal(&key.fingerprint, &self->key.fingerprint))
        fail_reused(err);
    if (err->code != ERR_OK) {
        free_pushes(mem_take(pushes), *count);
        *count = 0;
    }
    for (size_t i = 0; i < *count; i++)
        as_answered(&(*pushes)[i]);
    return err->code;
}
