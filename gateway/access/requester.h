/*
 * Who asks for something and from where, kept for what outlives the request: a job tells the audit
 * stream with it how it went.
 *
 *     HTTP thread: requester_of -> job: requester_tell... -> requester_deinit
 *
 * A value that has a reference to the caller. Any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_REQUESTER_H
#define SLIPWAY_GATEWAY_ACCESS_REQUESTER_H

#include "gateway/access/audit.h"
#include "gateway/access/caller.h"

struct requester {
    struct caller *caller; /* a reference; NULL: nobody was asked */
    struct audit_origin origin;
};

void requester_of(const struct request *request, struct requester *out);
void requester_deinit(struct requester *requester);
#define autorequester __attribute__((cleanup(requester_deinit)))

/* A line of the audit stream: it asked for this, and that ended with `err`: AUDIT_DENIED for
 * credentials and the policy, else AUDIT_FAILURE; ERR_OK is AUDIT_SUCCESS. Without a
 * caller the event says whose it is. */
void requester_tell(const struct requester *requester, struct audit *audit,
                    struct audit_event event, const struct error *err);

#endif
