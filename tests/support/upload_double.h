/*
 * A registry double for upload sessions: what registries of the field do with them, as knobs. It
 * stores one blob at a time and is strict: only the Location of the last answer is good, bytes
 * have to begin where the last ones ended, and the digest has to be that of what came, with the
 * algorithm that the POST said (sha256 if it said none).
 */
#ifndef SLIPWAY_TESTS_UPLOAD_DOUBLE_H
#define SLIPWAY_TESTS_UPLOAD_DOUBLE_H

#include "image/digest.h"
#include "tests/support/http_double.h"

#include <pthread.h>

/* RANGE_HALF is the truth: half of each body is lost. RANGE_LAST is of the last chunk only,
 * RANGE_FIRST stays at the first one, RANGE_FURTHER is one too far. */
enum range_form {
    RANGE_PLAIN,
    RANGE_BYTES,
    RANGE_ABSENT,
    RANGE_EMPTY,
    RANGE_HALF,
    RANGE_LAST,
    RANGE_FIRST,
    RANGE_FURTHER,
};
enum location_form { LOCATION_RELATIVE, LOCATION_ABSOLUTE, LOCATION_NO_QUERY, LOCATION_AMPERSAND };

#define UPLOAD_FAULTS_MAX 4

/* What happens to one request. */
struct upload_fault {
    const char *method; /* NULL: none */
    int skip;           /* so many requests of this method go well first */
    int times;
    bool with_body;   /* only requests with a body count */
    bool effect;      /* its bytes, or its half of them, are taken in all the same */
    bool half;        /* of the body, which is what is taken in */
    bool forget;      /* the session is gone */
    bool revoke;      /* the tokens so far are bad, and the request is answered as usual */
    bool drop;        /* no answer */
    int status;       /* of the answer */
    const char *code; /* of the error document; NULL: no document */
};

struct upload_double {
    struct http_double *http;
    char host[64];
    /* set before the first request */
    int put_status;   /* of a PUT with a body: refused; 0: taken */
    int patch_status; /* of a PATCH */
    int post_status;  /* of a POST with a digest; 202: opens a session instead */
    size_t body_limit;
    const char *chunk_least; /* OCI-Chunk-Min-Length */
    enum range_form ranges;
    enum location_form locations;
    const char *redirect; /* origin that bodies are sent to by 307 */
    bool bearer;          /* a token is wanted: "token-N" of /token */
    int token_life_s;     /* as its answer says it; 0: it does not */
    struct upload_fault faults[UPLOAD_FAULTS_MAX];
    /* what happened; read it when no request runs */
    pthread_mutex_t lock;            /* guards all of it */
    unsigned sessions;               /* opened */
    unsigned state;                  /* of the session that is open, 0: none is */
    enum digest_algorithm algorithm; /* of the last POST */
    char *data;                      /* of the session */
    size_t data_size;
    size_t first; /* bytes of its first PATCH */
    char *blob;   /* the last one committed */
    size_t blob_size;
    unsigned commits;
    unsigned refused;      /* requests that were answered 4xx */
    size_t received;       /* body bytes of all requests */
    unsigned unsized;      /* requests with a body of unknown length */
    unsigned authorized;   /* requests with Authorization */
    unsigned tokens;       /* given */
    unsigned revoked;      /* tokens up to this one are refused */
    char ranges_seen[512]; /* Content-Range values, a space behind each */
};

struct upload_double *upload_double_start(void);

/* The blob is not there any more. */
void upload_double_forget(struct upload_double *fake);
void upload_double_stop(struct upload_double *fake);

#endif
