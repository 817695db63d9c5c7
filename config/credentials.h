/*
 * Credentials for registries, from the files of docker and podman as every other tool reads them:
 * `auths` (auth = base64 user:password, username/password, identitytoken, registrytoken),
 * `credHelpers` for a host, `credsStore` for all. Helpers are programs docker-credential-NAME that
 * speak JSON on stdin and stdout.
 *
 * The files, of which the first that knows the host counts: $REGISTRY_AUTH_FILE;
 * $XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID), where podman and skopeo log in;
 * $XDG_CONFIG_HOME/containers/auth.json ($HOME/.config); $DOCKER_CONFIG/config.json
 * ($HOME/.docker). A missing file is no credentials; an unreadable or malformed one, or one over
 * 1 MiB, is ERR_CREDENTIALS.
 *
 * Keys of `auths` and `credHelpers` may be "host", "host:port", "https://host/v1/" (legacy), the
 * same without a scheme or with v2, and the Docker Hub's "https://index.docker.io/v1/" which stands
 * for docker.io; as podman writes them, also "host/path", the longest matching path first. Where a
 * helper is named for the host it is asked; `auths` speaks only if the helper holds nothing. A
 * helper named "" is none.
 *
 * Any thread; nothing is cached, so that a login made while the gateway runs is seen. A helper is
 * given 30 seconds, then it is killed; its name may hold only letters, digits, ".", "_" and "-",
 * and no shell is involved. Secrets are handed out in the caller's struct, which
 * credentials_clear() wipes; slipway's own buffers on the way are wiped too, the JSON parser's are
 * only freed.
 */
#ifndef SLIPWAY_CONFIG_CREDENTIALS_H
#define SLIPWAY_CONFIG_CREDENTIALS_H

#include "base/error.h"

struct stored_credentials {
    char *username; /* each owned, NULL when absent or empty */
    char *password;
    char *identity_token; /* OAuth2 refresh token */
    char *registry_token; /* a bearer token to send as it is */
    char *origin;         /* the file or program that they are from, for messages */
};

/* What the file says for `host` (as in references, "docker.io" for the Hub) and repository `path`
 * ("team/app"); all members NULL when it says nothing. ERR_CREDENTIALS, naming the file, entry or
 * helper, never a secret: also when a helper is missing, fails, hangs or answers no credentials. */
enum errc credentials_find(const char *host, const char *path, struct stored_credentials *out,
                           struct error *err);

/* Wipes and frees the members. */
void credentials_clear(struct stored_credentials *credentials);

#endif
