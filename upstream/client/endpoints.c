#include "upstream/client/endpoints.h"

bool is_transport_error(enum errc code)
{
    return error_party(code) == PARTY_NETWORK;
}

static bool next_endpoint_may_help(const struct error *err)
{
    switch (err->code) {
    case ERR_UNAUTHORIZED:
    case ERR_MANIFEST_UNKNOWN:
    case ERR_NAME_UNKNOWN:
    case ERR_NOT_A_REGISTRY:
        return true;
    default:
        return is_transport_error(err->code);
    }
}

/* The last error that says something about the image; else the last one from where a registry is
 * known to be; else the last one. */
struct kept_error {
    struct error error;
    int worth;
};

static void keep_worth_telling(struct kept_error *kept, struct endpoint *endpoint,
                               const struct error *now)
{
    int worth = 2;
    if (is_transport_error(now->code) || now->code == ERR_NOT_A_REGISTRY)
        worth = atomic_load(&endpoint->answered) ? 1 : 0;
    if (worth >= kept->worth)
        *kept = (struct kept_error){.error = *now, .worth = worth};
}

enum errc endpoints_try(struct registry_host *host, endpoint_work *work, void *self,
                        struct error *err)
{
    struct endpoint *order[ENDPOINTS_MAX];
    size_t count = registry_host_order(host, order);
    struct kept_error kept = {.error = ERROR_INIT};
    for (size_t i = 0; i < count; i++) {
        if (!registry_host_allows(host, order[i]))
            continue;
        struct error now = ERROR_INIT;
        if (work(self, order[i], i + 1 == count, &now) == ERR_OK)
            return ERR_OK;
        keep_worth_telling(&kept, order[i], &now);
        if (!next_endpoint_may_help(&now))
            break;
    }
    *err = kept.error;
    return err->code;
}
