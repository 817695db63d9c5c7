#include "gateway/queue/outcome.h"

#include "upstream/auth/verdict.h"

static enum outcome outcome_of_registry(const struct error *error)
{
    switch (error->code) {
    case ERR_UNAUTHORIZED:
        return OUTCOME_CREDENTIAL;
    case ERR_DENIED: /* here, or anywhere */
        return error->hints & HINT_LOGIN ? OUTCOME_CREDENTIAL : OUTCOME_REFUSED;
    case ERR_TOO_MANY_REQUESTS:
    case ERR_REGISTRY_FAULT:
    case ERR_NO_ANSWER:
    case ERR_NOT_A_REGISTRY: /* what stands before it answers instead, as with a maintenance page */
        return OUTCOME_HOST;
    default:
        return error_retriable(error->code) ? OUTCOME_TARGET : OUTCOME_REFUSED;
    }
}

enum outcome outcome_of(const struct error *error)
{
    if (error->code == ERR_CANCELLED)
        return OUTCOME_STOPPED;
    switch (error_party(error->code)) {
    case PARTY_NETWORK:
        return OUTCOME_HOST;
    case PARTY_REGISTRY:
        return outcome_of_registry(error);
    case PARTY_GATEWAY:
        if (error->code == ERR_LOOP)
            return OUTCOME_REFUSED;
        /* an operator or time mends it; what was acknowledged is not given up */
        return error->code == ERR_CREDENTIALS ? OUTCOME_CREDENTIAL : OUTCOME_TARGET;
    case PARTY_OPERATOR:
        return OUTCOME_TARGET;
    case PARTY_CLIENT:
    case PARTY_NONE:
        break;
    }
    return OUTCOME_REFUSED;
}
