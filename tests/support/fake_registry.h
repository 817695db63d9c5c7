/*
 * A registry double for unit tests: behaves like a plain registry (blobs, upload sessions,
 * manifests) until a rule says otherwise for some request. What is stored is kept as names only.
 */
#ifndef SLIPWAY_TESTS_FAKE_REGISTRY_H
#define SLIPWAY_TESTS_FAKE_REGISTRY_H

#include "tests/support/http_double.h"

enum fake_auth {
    FAKE_OPEN,
    FAKE_BASIC,  /* user "ci", password "s3cret" */
    FAKE_BEARER, /* the same at /token, which makes "token-1", "token-2", ... */
};

/* Answer requests of `method` whose path contains `part` differently, `times` times. */
struct fake_rule {
    const char *method;
    const char *part;
    int times;
    bool effect;         /* do what the request asks for all the same */
    int status;          /* 0: as usual */
    const char *headers; /* "Name: value\r\n"; NULL: as usual */
    const char *body;
    bool drop; /* close without an answer */
    bool hold; /* answer only after fake_registry_release(): what it asks for is done before */
    unsigned releases; /* hold: and so many more of them */
};

struct fake_registry;

struct fake_registry *fake_registry_start(enum fake_auth auth);
void fake_registry_stop(struct fake_registry *fake);

/* Strings are borrowed. */
void fake_registry_rule(struct fake_registry *fake, struct fake_rule rule);
/* No rule is applied any more; what is held stays so until it is released. */
void fake_registry_end_rules(struct fake_registry *fake);

/* Held answers go out, and none is held any more by the rules that there are, but for those that
 * wait for more releases. */
void fake_registry_release(struct fake_registry *fake);

/* Session URLs lead to this origin instead ("http://127.0.0.1:1"); borrowed. */
void fake_registry_sessions_at(struct fake_registry *fake, const char *origin);

/* Tokens up to this number are refused. */
void fake_registry_revoke(struct fake_registry *fake, unsigned number);

/* A token is only good when this scope was asked for; a 401 says so. */
void fake_registry_want_scope(struct fake_registry *fake, const char *scope);

struct http_double *fake_registry_http(struct fake_registry *fake);
unsigned fake_registry_tokens(struct fake_registry *fake);

/* "127.0.0.1:PORT" */
const char *fake_registry_host(const struct fake_registry *fake);

/* `name` is "sha256:..." of a blob, or "manifests/REFERENCE". */
bool fake_registry_has(struct fake_registry *fake, const char *name);
/* Of a blob its size, of a manifest its digest; owned, NULL when it is not there. */
char *fake_registry_value(struct fake_registry *fake, const char *name);
void fake_registry_put(struct fake_registry *fake, const char *name, const char *value);

#endif
