/*
 * All sources of identities of a gateway behind one interface (sources.h): users, robots, identity
 * providers, and client certificates.
 *
 * Which of them a password is for follows from its form. "slw_" with a right checksum is a robot's
 * secret; the name is the robot's, with or without "robot:" before it. Three parts with dots
 * between them, the first of which begins as JSON in base64 does ("eyJ"), are an identity
 * provider's token, under any name (`docker login -u oidc`). Everything else is a user's. Failures
 * of all of them slow their address down (logins.h).
 *
 * Lifecycle: identity_sources_open() at start; identity_sources_interface() for the token endpoint
 * and for Basic; identity_sources_close() when no request runs. How a request with Basic is
 * answered:
 *
 *     HTTP thread:  identity_sources_known(...): go on
 *                   else a job, whose worker calls interface.password()
 *
 * An error of ERR_TOO_MANY is a 429 whose Retry-After is interface.retry_after_s().
 *
 * Fingerprints of users and robots are HMACs under what is kept of their password, which never
 * leaves the gateway; so they outlive a restart, and end with the password.
 *
 * Threads: any.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_IDENTITY_SOURCES_H
#define SLIPWAY_GATEWAY_ACCESS_IDENTITY_SOURCES_H

#include "config/settings.h"
#include "gateway/access/certificates.h"
#include "gateway/access/sources.h"
#include "store/store.h"

struct identity_sources;

/* The settings are copied (a reference), the store is borrowed until identity_sources_close().
 * `before` (may be NULL) are those in whose place these come: what is configured as it was there,
 * users with their logins, identity providers with their keys, is had in common. ERR_SETTINGS: a
 * file that the settings name cannot be used. */
enum errc identity_sources_open(const struct settings *settings, struct store *store,
                                const struct identity_sources *before,
                                struct identity_sources **out, struct error *err);
void identity_sources_close(struct identity_sources *sources); /* NULL is a no-op */

/* Its functions block; `self` is borrowed. */
struct sources identity_sources_interface(struct identity_sources *sources);

/* It is known whose this password is; *out is filled in. False says nothing. Reads at most a record
 * of the store, so HTTP threads may call it. */
bool identity_sources_known(struct identity_sources *sources, const char *name,
                            const char *password, struct identity *out);

/* Whose certificate it is, as certificate_identity(); ERR_UNAUTHENTICATED also without
 * tls.client_ca. Does not block. */
enum errc identity_sources_certificate(const struct identity_sources *sources,
                                       const struct certificate_bytes *chain, size_t count,
                                       struct identity *out, struct error *err);

#endif
