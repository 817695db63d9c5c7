/*
 * From the claims of an identity provider's token to an identity: the mappings of clients.oidc.
 *
 * The first mapping counts all of whose claims are met. A claim is met when one of the mapping's
 * texts for it matches its value: literally, but that `*` stands for any bytes, "/" and none
 * included. A value that is a boolean or a number is compared by its JSON text; of a list one
 * element has to match; an object, null, or a claim that is not there matches nothing.
 *
 * Pure; any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_CLAIMS_H
#define SLIPWAY_GATEWAY_ACCESS_CLAIMS_H

#include "base/json.h"
#include "config/settings_types.h"
#include "gateway/access/sources.h"

/* A text against a pattern; at most the product of both lengths. */
bool claim_matches(const char *pattern, const char *text);

/* The mapping that counts, borrowed from the setting; NULL: none does. */
const struct mapping_setting *claims_mapping(const struct oidc_setting *setting,
                                             const json_t *claims);

/* What a mapping makes of the claims: identity (with those claims that it looked at), ttl and
 * fingerprint. */
void claims_login(const struct oidc_setting *setting, const struct mapping_setting *mapping,
                  const json_t *claims, struct login *out);

/* Of all that a mapping says, and the issuer that it says it of: whose mapping was changed logs in
 * anew. */
void mapping_fingerprint(const struct oidc_setting *setting, const struct mapping_setting *mapping,
                         char out[FINGERPRINT_MAX]);

#endif
