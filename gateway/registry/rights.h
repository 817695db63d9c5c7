/*
 * May the caller of a request below /v2/ do what it asks for? Asked before anything is looked up:
 * rights come before existence.
 *
 * Nobody in particular, where that is not enough, and a token without the scope get a challenge
 * (401). Others are refused: what changes something with 403; what reads with 404, and that after
 * the same look as for what is not there, in a repository that cannot be (v2_looked_in()), so that
 * neither status, text nor time tells what is held.
 */
#ifndef SLIPWAY_GATEWAY_REGISTRY_RIGHTS_H
#define SLIPWAY_GATEWAY_REGISTRY_RIGHTS_H

#include "gateway/access/requester.h"
#include "gateway/registry/registry.h"

/* False: `reply` has the refusal. */
bool v2_admits(struct v2_request *front, struct reply *reply);

/* May it mount the blob out of this repository? */
bool v2_may_mount(const struct v2_request *front, const char *from);

/* May it put these tags to this manifest? Where one of them is another manifest's, that is moving
 * it: ERR_FORBIDDEN, which is told as by access_tell_denied(). */
enum errc v2_check_moves(const struct gateway *gateway, const struct requester *by,
                         const char *repository, const char *const *tags, size_t tag_count,
                         const struct digest *manifest, struct error *err);

#endif
