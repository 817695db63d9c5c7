#include "upstream/client/upload_methods.h"

#define MIB ((uint64_t)1 << 20)

/* What proxies and services are set to, a little less where they may count in millions. */
static const uint64_t body_caps[] = {95 * MIB, 47 * MIB, 19 * MIB, 9 * MIB,
                                     4 * MIB,  1 * MIB,  MIB / 4};

void upload_methods_init(struct upload_methods *methods, struct host_capabilities *learned,
                         enum upload_method selector, uint64_t chunk_bytes)
{
    methods->learned = learned;
    methods->selector = selector;
    methods->chunk_bytes = chunk_bytes ? chunk_bytes : UPLOAD_CHUNK_DEFAULT;
    atomic_init(&methods->doubted, 0);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool upload_methods_knows(struct upload_methods *methods, enum upload_method way)
{
    return host_capabilities_known(methods->learned).way == way;
}

void upload_methods_doubt(struct upload_methods *methods, enum upload_method way)
{
    atomic_fetch_or(&methods->doubted, 1u << way);
}

/* Where nothing is known. */
static enum upload_method first_way(struct upload_methods *methods)
{
    bool doubted = atomic_load(&methods->doubted) & 1u << UPLOAD_METHOD_PUT;
    return doubted ? UPLOAD_METHOD_PATCH : UPLOAD_METHOD_PUT;
}

struct upload_choice upload_methods_first(struct upload_methods *methods, uint64_t blob_bytes)
{
    struct capabilities capabilities = host_capabilities_known(methods->learned);
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

void upload_methods_worked(struct upload_methods *methods, const struct upload_choice *choice)
{
    enum upload_method way = choice->by_size ? choice->whole : choice->way;
    host_capabilities_took(methods->learned,
                           methods->selector == UPLOAD_METHOD_AUTO ? way : UPLOAD_METHOD_AUTO,
                           choice->body_limit);
}
