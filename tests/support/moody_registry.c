#include "tests/support/moody_registry.h"

#include "base/mem.h"
#include "tests/support/http_double.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 2048
#define FIRST_LOGIN "Basic Y2k6eGE="

struct moody_registry {
    struct http_double *http;
    char host[64];
    unsigned seed;
    bool quirky;
    atomic_int mood;
    atomic_uint requests;
    pthread_mutex_t lock; /* guards what follows */
    struct name {
        char *name;
        char *value; /* of a blob: its size; of a manifest: its digest */
    } names[NAMES_MAX];
    size_t name_count;
    unsigned sessions;
};

unsigned moody_pick(unsigned *random, unsigned below)
{
    *random = *random * 1664525U + 1013904223U;
    return (unsigned)(((uint64_t)(*random >> 4) * below) >> 28);
}

/* ---- what it has ---- */

static struct name *find(struct moody_registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->name_count; i++)
        if (strcmp(registry->names[i].name, name) == 0)
            return &registry->names[i];
    return NULL;
}

static void put(struct moody_registry *registry, const char *name, const char *value)
{
    struct name *at = find(registry, name);
    if (at == NULL && registry->name_count == NAMES_MAX)
        abort();
    if (at == NULL) {
        at = &registry->names[registry->name_count++];
        at->name = xstrdup(name);
    }
    free(at->value);
    at->value = xstrdup(value);
}

bool moody_registry_tag(struct moody_registry *registry, const char *repository, const char *tag,
                        char digest[DIGEST_TEXT_MAX])
{
    autofree char *path = xasprintf("/v2/%s/manifests/%s", repository, tag);
    pthread_mutex_lock(&registry->lock);
    const struct name *found = find(registry, path);
    if (found)
        snprintf(digest, DIGEST_TEXT_MAX, "%s", found->value);
    pthread_mutex_unlock(&registry->lock);
    return found;
}

/* ---- what it answers ---- */

static void add_header(struct double_answer *answer, const char *name, const char *value)
{
    size_t used = strlen(answer->headers);
    snprintf(answer->headers + used, sizeof answer->headers - used, "%s: %s\r\n", name, value);
}

static void upload(struct moody_registry *registry, const struct double_request *request,
                   struct double_answer *answer)
{
    char text[DIGEST_TEXT_MAX];
    if (strcmp(request->method, "POST") == 0) {
        autofree char *location = xasprintf("%s%u", request->path, ++registry->sessions);
        add_header(answer, "Location", location);
        answer->status = 202;
    } else if (strcmp(request->method, "PUT") == 0) {
        struct digest digest = digest_of(DIGEST_SHA256, request->body, request->body_size);
        autofree char *size = xasprintf("%zu", request->body_size);
        put(registry, digest_text(&digest, text), size);
        add_header(answer, "Docker-Content-Digest", text);
        answer->status = 201;
    } else {
        answer->status = 204;
    }
}

static void answer_manifest(struct moody_registry *registry, const struct double_request *request,
                            struct double_answer *answer)
{
    char text[DIGEST_TEXT_MAX];
    if (strcmp(request->method, "PUT") == 0) {
        struct digest digest = digest_of(DIGEST_SHA256, request->body, request->body_size);
        put(registry, request->path, digest_text(&digest, text));
        add_header(answer, "Docker-Content-Digest", text);
        answer->status = 201;
        return;
    }
    const struct name *found = find(registry, request->path);
    answer->status = found ? 200 : 404;
    if (found)
        add_header(answer, "Docker-Content-Digest", found->value);
}

/* What a plain registry does. */
static void behave(struct moody_registry *registry, const struct double_request *request,
                   struct double_answer *answer)
{
    const char *blob = strstr(request->path, "/blobs/sha");
    add_header(answer, "Docker-Distribution-Api-Version", "registry/2.0");
    if (http_double_has_gone(request)) {
        answer->drop = true;
    } else if (strstr(request->path, "/blobs/uploads/")) {
        upload(registry, request, answer);
    } else if (blob) {
        const struct name *found = find(registry, blob + strlen("/blobs/"));
        answer->status = found ? 200 : 404;
        add_header(answer, "Content-Length", found ? found->value : "0");
    } else if (strstr(request->path, "/manifests/")) {
        answer_manifest(registry, request, answer);
    } else {
        answer->status = strcmp(request->path, "/v2/") == 0 ? 200 : 404;
    }
}

/* ---- its moods ---- */

static void challenge(struct double_answer *answer)
{
    add_header(answer, "WWW-Authenticate", "Basic realm=\"moody\"");
    answer->status = 401;
}

static void refuse(struct double_answer *answer)
{
    snprintf(answer->body, sizeof answer->body, "{\"errors\":[{\"code\":\"DENIED\"}]}");
    answer->status = 403;
}

static bool is_locked(enum mood mood, const struct double_request *request)
{
    return request->authorization[0] == '\0' || mood == MOOD_LOCKED ||
           (mood == MOOD_LOCKED_FIRST && strcmp(request->authorization, FIRST_LOGIN) == 0);
}

/* MOOD_FLAKY is one of the others for each request. */
static enum mood mood_now(enum mood mood, unsigned chance)
{
    static const struct {
        unsigned below;
        enum mood mood;
    } parts[] = {{12, MOOD_DOWN}, {18, MOOD_LOCKED}, {21, MOOD_REFUSES}, {24, MOOD_DROPS}};
    if (mood == MOOD_REFUSES)
        return chance < 50 ? mood : MOOD_WELL;
    if (mood == MOOD_DROPS)
        return chance < 60 ? mood : MOOD_WELL;
    if (mood != MOOD_FLAKY)
        return mood;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (chance < parts[i].below)
            return parts[i].mood;
    return MOOD_WELL;
}

/* With the lock. `effect`: what is asked for may be done although the answer does not say so. */
static void answer_in(enum mood mood, bool effect, struct moody_registry *registry,
                      const struct double_request *request, struct double_answer *answer)
{
    if (is_locked(mood, request)) {
        challenge(answer);
        return;
    }
    if (mood == MOOD_REFUSES) {
        refuse(answer);
        return;
    }
    if ((mood != MOOD_DOWN && mood != MOOD_DROPS) || effect)
        behave(registry, request, answer);
    if (mood == MOOD_DOWN)
        answer->status = 503;
    answer->drop |= mood == MOOD_DROPS;
}

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    struct moody_registry *registry = self;
    unsigned random = registry->seed ^ (atomic_fetch_add(&registry->requests, 1) * 2654435761U);
    enum mood mood = (enum mood)atomic_load(&registry->mood);
    moody_pick(&random, 2);
    unsigned chance = moody_pick(&random, 100);
    bool effect = mood != MOOD_DOWN && moody_pick(&random, 2);
    if (mood == MOOD_SLOW || (mood != MOOD_WELL && chance < 10))
        usleep(moody_pick(&random, 4000));
    pthread_mutex_lock(&registry->lock);
    answer_in(mood_now(mood, chance), effect, registry, request, answer);
    pthread_mutex_unlock(&registry->lock);
}

static enum errc find_login(void *self, const char *host, const char *path,
                            const struct credentials_refusal *refused,
                            struct registry_credentials *out, struct error *err)
{
    struct moody_registry *registry = self;
    bool second = strstr(path, "r2") != NULL;
    (void)refused;
    (void)host;
    (void)err;
    if (registry->quirky && atomic_load(&registry->mood) != MOOD_WELL)
        second ^= atomic_load(&registry->requests) % 5 == 0;
    *out = (struct registry_credentials){.username = xstrdup("ci"),
                                         .password = xstrdup(second ? "bb" : "xa")};
    return ERR_OK;
}

/* ---- life ---- */

struct moody_registry *moody_registry_start(unsigned seed, bool quirky)
{
    struct moody_registry *registry = xcalloc(1, sizeof *registry);
    registry->seed = seed;
    registry->quirky = quirky;
    atomic_init(&registry->mood, MOOD_FLAKY);
    pthread_mutex_init(&registry->lock, NULL);
    registry->http = http_double_start(handle, registry);
    snprintf(registry->host, sizeof registry->host, "127.0.0.1:%u",
             http_double_port(registry->http));
    return registry;
}

void moody_registry_stop(struct moody_registry *registry)
{
    http_double_stop(registry->http);
    for (size_t i = 0; i < registry->name_count; i++) {
        free(registry->names[i].name);
        free(registry->names[i].value);
    }
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

const char *moody_registry_host(const struct moody_registry *registry)
{
    return registry->host;
}

struct credentials_source moody_registry_logins(struct moody_registry *registry)
{
    return (struct credentials_source){.find = find_login, .self = registry};
}

void moody_registry_set(struct moody_registry *registry, enum mood mood)
{
    atomic_store(&registry->mood, (int)mood);
}
