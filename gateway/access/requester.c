#include "gateway/access/requester.h"

void requester_of(const struct request *request, struct requester *out)
{
    out->caller = caller_ref(request->caller);
    audit_origin_of(request, &out->origin);
}

void requester_deinit(struct requester *requester)
{
    caller_unref(requester->caller);
    requester->caller = NULL;
}

static enum audit_outcome outcome_of(const struct error *err)
{
    switch (err->code) {
    case ERR_OK:
        return AUDIT_SUCCESS;
    case ERR_FORBIDDEN:
    case ERR_UNAUTHENTICATED:
        return AUDIT_DENIED;
    default:
        return AUDIT_FAILURE;
    }
}

void requester_tell(const struct requester *requester, struct audit *audit,
                    struct audit_event event, const struct error *err)
{
    event.outcome = outcome_of(err);
    event.error = err;
    if (requester->caller)
        event.actor = &requester->caller->identity;
    event.origin = &requester->origin;
    audit_write(audit, &event);
}
