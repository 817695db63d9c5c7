/*
 * Who may do what, in the configuration: `policy` and `clients.oidc`, lists of objects, and what
 * these and the other sources of identities have to be to each other.
 */
#ifndef SLIPWAY_CONFIG_SETTINGS_ACCESS_H
#define SLIPWAY_CONFIG_SETTINGS_ACCESS_H

#include "config/settings_table.h"

/* ERR_SETTINGS names the key's path, like "policy[1].who", counted from 0. What was read before a
 * failure stays in `settings`: setting_access_clear(). */
enum errc setting_policy_read(struct settings *settings, const json_t *value,
                              const struct setting_origin *origin, struct error *err);
enum errc setting_oidc_read(struct settings *settings, const json_t *value,
                            const struct setting_origin *origin, struct error *err);

/* The lists as they would stand in the file, owned; NULL when there are none. */
json_t *setting_policy_print(const struct settings *settings);
json_t *setting_oidc_print(const struct settings *settings);

void setting_access_clear(struct settings *settings);

/* What spans keys: a policy needs somebody whom it is about, and the other way round; names of
 * rules and groups are somebody's, and of one kind. Beyond loopback there has to be TLS, or
 * clients.plain_http, and a policy. ERR_SETTINGS, naming the key. */
enum errc setting_access_check(const struct settings *settings, struct error *err);

#endif
