#include "base/via.h"

#include <stdio.h>
#include <string.h>

static bool is_id(const char *text, size_t size)
{
    return size == VIA_ID_SIZE && strspn(text, "0123456789abcdef") >= size;
}

void via_add(const char *via, const char *id, char out[VIA_TEXT_MAX + 1])
{
    const char *between = via[0] && id[0] ? ", " : "";
    snprintf(out, VIA_TEXT_MAX + 1, "%.*s%s%.*s", VIA_TEXT_MAX - VIA_ID_SIZE - 2, via, between,
             VIA_ID_SIZE, id);
}

static enum errc in_a_ring(const char *via, bool own, struct error *err)
{
    if (own)
        return fail(err, ERR_LOOP, 0,
                    "the image has come through this gateway before (" VIA_HEADER
                    ": %s): mirrors lead in a ring; take one of them out of the configuration",
                    via);
    return fail(err, ERR_LOOP, 0,
                "the image has come through %d gateways, which is as many as may be (" VIA_HEADER
                ": %s)",
                VIA_HOPS_MAX, via);
}

enum errc via_read(const char *header, const char *own, char out[VIA_TEXT_MAX + 1],
                   struct error *err)
{
    char via[VIA_TEXT_MAX + 1] = "";
    size_t hops = 0;
    bool ring = false;
    for (const char *at = header ? header : ""; *(at += strspn(at, ", \t"));) {
        size_t size = strcspn(at, ", \t");
        char id[VIA_ID_SIZE + 1] = "";
        if (!is_id(at, size) || hops == VIA_HOPS_MAX)
            return fail(err, ERR_BAD_REQUEST, 0,
                        VIA_HEADER
                        " is a list of at most %d ids of gateways, of %d hex digits each",
                        VIA_HOPS_MAX, VIA_ID_SIZE);
        memcpy(id, at, size);
        ring |= strcmp(id, own) == 0;
        char longer[VIA_TEXT_MAX + 1];
        via_add(via, id, longer);
        memcpy(via, longer, sizeof via);
        hops++;
        at += size;
    }
    if (ring || hops == VIA_HOPS_MAX)
        return in_a_ring(via, ring, err);
    memcpy(out, via, sizeof via);
    return ERR_OK;
}
