/*
 * Who slipway is to registries: the credentials source of a process (upstream/auth/credentials.h).
 * The configuration's credentials for a registry come before Docker's, which are read anew each
 * time.
 *
 * The answer of a password_command is kept in memory for 12 hours, or until a registry refuses it:
 * by 401 at once, by 403, which may be about rights, when it is older than five minutes. Whoever
 * needs it while the program runs waits for that run, and shares its failure.
 *
 * Any thread that may wait for programs: none of HTTP. One lock inside, not held while one runs.
 */
#ifndef SLIPWAY_GATEWAY_PUSH_REGISTRY_LOGINS_H
#define SLIPWAY_GATEWAY_PUSH_REGISTRY_LOGINS_H

#include "config/settings.h"
#include "upstream/auth/credentials.h"

struct registry_logins;

/* `settings` is copied (a reference). registry_logins_free() comes after all users of the source.
 */
struct registry_logins *registry_logins_new(const struct settings *settings);
void registry_logins_free(struct registry_logins *logins);

/* Another configuration: the passwords of commands whose entry is the same are kept. */
void registry_logins_change(struct registry_logins *logins, const struct settings *settings);

/* Errors: ERR_CREDENTIALS, of config/credentials.h and config/password_command.h. */
struct credentials_source registry_logins_source(struct registry_logins *logins);

#endif
