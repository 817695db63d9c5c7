#include "upstream/client/upload_methods.h"

#include "base/log.h"

#define MIB ((uint64_t)1 << 20)

/* What proxies and services are set to, a little less where they may count in millions. */
static const uint64_t body_caps[] = {95 * MIB, 47 * MIB, 19 * MIB, 9 * MIB,
                                     4 * MIB,  1 * MIB,  MIB / 4};

void upload_methods_init(struct upload_methods *methods, const char *host, struct store *store,
                         enum upload_method selector, uint64_t chunk_bytes)
{
    *methods = (struct upload_methods){
        .host = host,
        .store = store,
        .selector = selector,
        .chunk_bytes = chunk_bytes ? chunk_bytes : UPLOAD_CHUNK_DEFAULT,
    };
    pthread_mutex_init(&methods->lock, NULL);
    struct error err = ERROR_INIT;
    bool found = false;
    if (store && capabilities_get(store, host, &found, &methods->capabilities, &err) != ERR_OK)
        log_warn("registry %s: what was learned about it cannot be read: %s", host, err.text);
}

void upload_methods_deinit(struct upload_methods *methods)
{
    pthread_mutex_destroy(&methods->lock);
}

static struct capabilities known(struct upload_methods *methods)
{
    pthread_mutex_lock(&methods->lock);
    struct capabilities capabilities = methods->capabilities;
    pthread_mutex_unlock(&methods->lock);
    return capabilities;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool upload_methods_knows(struct upload_methods *methods, enum upload_method way)
{
    return known(methods).way == way;
}

void upload_methods_doubt(struct upload_methods *methods, enum upload_method way)
{
    pthread_mutex_lock(&methods->lock);
    methods->doubted |= 1u << way;
    pthread_mutex_unlock(&methods->lock);
}

/* Where nothing is known. */
static enum upload_method first_way(struct upload_methods *methods)
{
    pthread_mutex_lock(&methods->lock);
    bool doubted = methods->doubted & 1u << UPLOAD_METHOD_PUT;
    pthread_mutex_unlock(&methods->lock);
    return doubted ? UPLOAD_METHOD_PATCH : UPLOAD_METHOD_PUT;
}

struct upload_choice upload_methods_first(struct upload_methods *methods, uint64_t blob_bytes)
{
    struct capabilities capabilities = known(methods);
    struct upload_choice choice = {
        .way = methods->selector,
        .chunk_bytes = methods->chunk_bytes,
    };
    if (capabilities.body_limit > 0)
        choice.chunk_bytes = smaller(choice.chunk_bytes, capabilities.body_limit);
    if (methods->selector == UPLOAD_METHOD_AUTO) {
        choice.way = capabilities.way == UPLOAD_METHOD_AUTO ? first_way(methods) : capabilities.way;
        choice.by_size = capabilities.body_limit > 0 && blob_bytes > capabilities.body_limit;
        if (choice.by_size) {
            choice.whole = choice.way;
            choice.way = UPLOAD_METHOD_CHUNKED;
        }
    }
    choice.known =
        methods->selector != UPLOAD_METHOD_AUTO || choice.way == capabilities.way || choice.by_size;
    return choice;
}

static bool has_limit(const struct upload_choice *choice, uint64_t blob_bytes)
{
    return choice->body_limit > 0 && blob_bytes > choice->body_limit;
}

bool upload_methods_refused(const struct upload_methods *methods, uint64_t blob_bytes,
                            struct upload_choice *choice)
{
    choice->refused |= 1u << choice->way;
    choice->known = false;
    choice->by_size = false;
    if (methods->selector != UPLOAD_METHOD_AUTO)
        return false;
    for (enum upload_method way = UPLOAD_METHOD_PUT; way < UPLOAD_METHODS; way++) {
        bool whole = way != UPLOAD_METHOD_CHUNKED;
        if (choice->refused & 1u << way || (whole && has_limit(choice, blob_bytes)))
            continue;
        choice->way = way;
        return true;
    }
    return false;
}

bool upload_methods_too_large(const struct upload_methods *methods, uint64_t body_bytes,
                              uint64_t least, struct upload_choice *choice)
{
    bool chunks = choice->way == UPLOAD_METHOD_CHUNKED;
    if (!chunks &&
        (methods->selector != UPLOAD_METHOD_AUTO || choice->refused & 1u << UPLOAD_METHOD_CHUNKED))
        return false;
    uint64_t limit = 0;
    if (methods->chunk_bytes < body_bytes)
        limit = methods->chunk_bytes;
    for (size_t i = 0; limit == 0 && i < sizeof body_caps / sizeof body_caps[0]; i++)
        if (body_caps[i] < body_bytes)
            limit = body_caps[i];
    if (limit == 0 || limit < least)
        return false;
    if (!chunks) {
        choice->by_size = true;
        choice->whole = choice->way;
    }
    choice->way = UPLOAD_METHOD_CHUNKED;
    choice->chunk_bytes = limit;
    choice->body_limit = limit;
    choice->known = false;
    return true;
}

/* What is known now that `choice` worked. */
static struct capabilities conclude(const struct upload_methods *methods,
                                    const struct upload_choice *choice)
{
    struct capabilities now = methods->capabilities;
    if (choice->body_limit > 0 && (now.body_limit == 0 || choice->body_limit < now.body_limit))
        now.body_limit = choice->body_limit;
    if (methods->selector == UPLOAD_METHOD_AUTO)
        now.way = choice->by_size ? choice->whole : choice->way;
    return now;
}

static bool same(const struct capabilities *a, const struct capabilities *b)
{
    return a->way == b->way && a->body_limit == b->body_limit;
}

/* Two uploads may learn at the same time: the one that writes last writes what both know. */
static void keep(struct upload_methods *methods)
{
    struct error err = ERROR_INIT;
    struct capabilities written;
    struct capabilities now = known(methods);
    do {
        written = now;
        if (capabilities_put(methods->store, methods->host, &written, &err) != ERR_OK) {
            log_warn("registry %s: what was learned about it cannot be kept: %s", methods->host,
                     err.text);
            return;
        }
        now = known(methods);
    } while (!same(&written, &now));
}

void upload_methods_worked(struct upload_methods *methods, const struct upload_choice *choice)
{
    pthread_mutex_lock(&methods->lock);
    struct capabilities before = methods->capabilities;
    struct capabilities now = conclude(methods, choice);
    methods->capabilities = now;
    pthread_mutex_unlock(&methods->lock);
    if (same(&before, &now))
        return;
    log_info("registry %s takes blobs by %s", methods->host, upload_method_name(now.way));
    if (now.body_limit != before.body_limit)
        log_info("registry %s takes no more than %llu bytes in a request", methods->host,
                 (unsigned long long)now.body_limit);
    if (methods->store)
        keep(methods);
}

const char *upload_method_name(enum upload_method way)
{
    static const char *const names[UPLOAD_METHODS] = {
        [UPLOAD_METHOD_AUTO] = "any way",    [UPLOAD_METHOD_PUT] = "one PUT",
        [UPLOAD_METHOD_PATCH] = "one PATCH", [UPLOAD_METHOD_CHUNKED] = "PATCH in chunks",
        [UPLOAD_METHOD_POST] = "one POST",
    };
    return names[way];
}
