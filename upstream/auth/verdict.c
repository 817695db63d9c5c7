#include "upstream/auth/verdict.h"

#include "image/manifest.h"
#include "upstream/auth/answer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- what a refusal is about --- */

typedef bool about_fn(const struct question *question, const char *body);

static bool is_not_sha256(const struct question *question, const char *body)
{
    (void)body;
    const char *reference = question->reference ? question->reference : "";
    return strchr(reference, ':') && strncmp(reference, "sha256:", strlen("sha256:")) != 0;
}

typedef bool layer_fn(const struct descriptor *layer);

/* The answer names a layer of this kind. */
static bool names_layer(const struct question *question, const char *body, layer_fn *is_of_kind)
{
    struct manifest manifest;
    struct error no_image = ERROR_INIT;
    bool named = false;
    if (strstr(body, "sha") == NULL || question->manifest == NULL ||
        manifest_parse(question->manifest, question->manifest_size, NULL, "the manifest", &manifest,
                       &no_image) != ERR_OK)
        return false;
    for (size_t i = 0; i < manifest.layer_count && !named; i++) {
        const struct descriptor *layer = &manifest.layers[i];
        char digest[DIGEST_TEXT_MAX];
        named = is_of_kind(layer) && strstr(body, digest_text(&layer->digest, digest));
    }
    manifest_deinit(&manifest);
    return named;
}

static bool is_elsewhere(const struct descriptor *layer)
{
    return layer->foreign;
}

static bool is_not_distributed(const struct descriptor *layer)
{
    return layer->foreign || media_type_is_foreign_layer(layer->media_type);
}

static bool names_layer_not_sent(const struct question *question, const char *body)
{
    return names_layer(question, body, is_elsewhere);
}

/* docker-registry says UNKNOWN, and which layer: its URLs are missing, or none that it allows. */
static bool names_layer_not_distributed(const struct question *question, const char *body)
{
    return names_layer(question, body, is_not_distributed);
}

static bool is_about_the_media_type(const struct question *question, const char *body)
{
    (void)question;
    return strcasestr(body, "media type") || strcasestr(body, "mediatype") ||
           strcasestr(body, "media-type") || strcasestr(body, "content type");
}

static bool is_schema1(const struct question *question, const char *body)
{
    (void)body;
    return question->media_type && strstr(question->media_type, "+prettyjws");
}

/* --- the table --- */

#define OF(name) (1u << ASKED_##name)
#define ALL (~0u)
#define BODIES (OF(CHUNK) | OF(COMMIT) | OF(POST_BLOB))
#define ENDS (OF(COMMIT) | OF(POST_BLOB))

static const char not_sha256[] =
    "the registry takes nothing under a digest that is not sha256, as it seems";
static const char not_the_type[] = "the registry does not take the manifest's media type";
static const char limits_size[] =
    "the registry, or a proxy in front of it, limits the size of a request";

/* The first row that fits. Codes of the specification, and of Docker's distribution beside it. */
static const struct row {
    unsigned asked;
    int least, most;  /* status */
    const char *code; /* NULL: any, or none */
    about_fn *about;  /* NULL: anything */
    enum errc errc;
    unsigned hints;
    const char *words;
} rows[] = {
    /* what was hoped for */
    {OF(PING) | OF(TOKEN) | OF(BLOB) | OF(MANIFEST), 200, 200, .errc = ERR_OK},
    {OF(MOUNT), 201, 202, .errc = ERR_OK},
    {OF(SESSION), 200, 202, .errc = ERR_OK},
    {OF(CHUNK), 201, 202, .errc = ERR_OK},
    {OF(COMMIT), 200, 202, .errc = ERR_OK},
    {OF(OFFSET), 200, 202, .errc = ERR_OK},
    {OF(OFFSET) | OF(CHUNK) | OF(COMMIT), 204, 204, .errc = ERR_OK},
    {OF(POST_BLOB), 201, 201, .errc = ERR_OK},
    {OF(POST_BLOB), 202, 202, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD,
     .words = "the registry does not take a blob in one POST"},
    {OF(PUT_MANIFEST), 200, 204, .errc = ERR_OK},
    {OF(MANIFEST), 404, 404, .errc = ERR_OK, .hints = HINT_ABSENT},

    {OF(BLOB), 100, 428, .errc = ERR_OK, .hints = HINT_ABSENT},
    {OF(BLOB), 430, 499, .errc = ERR_OK, .hints = HINT_ABSENT},

    /* not now */
    {ALL, 429, 429, .errc = ERR_TOO_MANY_REQUESTS, .hints = HINT_WHO | HINT_BUSY | HINT_KEEP},
    {ALL, 400, 599, "TOOMANYREQUESTS", .errc = ERR_TOO_MANY_REQUESTS,
     .hints = HINT_WHO | HINT_BUSY | HINT_KEEP},
    {ALL, 408, 408, .errc = ERR_REGISTRY_FAULT, .hints = HINT_KEEP},
    {ALL, 421, 421, .errc = ERR_REGISTRY_FAULT, .hints = HINT_KEEP},
    {ALL, 423, 423, .errc = ERR_REGISTRY_FAULT, .hints = HINT_KEEP},
    {ALL, 425, 425, .errc = ERR_REGISTRY_FAULT, .hints = HINT_KEEP},
    /* distribution and nginx say so of a connection that broke, where the answer still arrives */
    {ALL, 499, 499, .errc = ERR_CONNECTION_LOST},

    /* questions whose answer is mostly "no" */
    {OF(BLOB), 500, 599, .errc = ERR_REGISTRY_FAULT, .hints = HINT_ABSENT},
    {OF(OFFSET), 100, 499, .errc = ERR_OK, .hints = HINT_ABSENT},
    {OF(PING), 401, 401, .errc = ERR_UNAUTHORIZED, .hints = HINT_WHO},
    {OF(PING), 403, 403, .errc = ERR_DENIED},
    {OF(PING), 100, 499, .errc = ERR_NOT_A_REGISTRY},

    /* token servers: what knows no POST says so in many ways (RFC 6749, section 5.2) */
    {OF(TOKEN), 403, 403, .errc = ERR_DENIED},
    {OF(TOKEN), 400, 405, "UNAUTHORIZED", .errc = ERR_UNAUTHORIZED, .hints = HINT_METHOD},
    {OF(TOKEN), 400, 405, "DENIED", .errc = ERR_DENIED, .hints = HINT_METHOD},
    {OF(TOKEN), 401, 401, .errc = ERR_UNAUTHORIZED, .hints = HINT_METHOD},
    {OF(TOKEN), 303, 303, .errc = ERR_REGISTRY_ANSWER, .hints = HINT_METHOD},
    {OF(TOKEN), 400, 400, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_METHOD},
    {OF(TOKEN), 404, 404, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_METHOD},
    {OF(TOKEN), 405, 405, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD},

    /* who asks, and where */
    {ALL, 400, 599, "UNAUTHORIZED", .errc = ERR_UNAUTHORIZED, .hints = HINT_WHO},
    {ALL, 400, 599, "DENIED", .errc = ERR_DENIED},
    {ALL, 400, 599, "NAME_UNKNOWN", .errc = ERR_NAME_UNKNOWN},
    {ALL, 400, 499, "NAME_INVALID", .errc = ERR_REGISTRY_REFUSED},
    {ALL, 401, 401, .errc = ERR_UNAUTHORIZED, .hints = HINT_WHO},
    {ALL, 403, 403, .errc = ERR_DENIED},

    /* manifests that are refused for what they are, whatever the code says. A registry answers
     * DIGEST_INVALID when it is given a manifest twice at once, which passes, and when it does not
     * know the digest's algorithm, which does not; MANIFEST_BLOB_UNKNOWN of a blob that is on its
     * way, and of a layer that is never sent. */
    {OF(PUT_MANIFEST), 400, 500, "DIGEST_INVALID", is_not_sha256, ERR_MANIFEST_REFUSED,
     .words = not_sha256},
    {OF(PUT_MANIFEST), 400, 500, NULL, names_layer_not_sent, ERR_MANIFEST_REFUSED,
     .words = "the registry wants a layer that is not to be distributed, or refuses where it is to "
              "be had"},
    {OF(PUT_MANIFEST), 400, 500, "UNKNOWN", names_layer_not_distributed, ERR_MANIFEST_REFUSED,
     .words = "the registry refuses a layer that is not to be distributed, or where it is to be "
              "had"},
    {OF(PUT_MANIFEST), 400, 500, "UNSUPPORTED", is_about_the_media_type, ERR_MANIFEST_REFUSED,
     HINT_KIND | HINT_DOUBT, not_the_type},
    {OF(PUT_MANIFEST), 400, 400, "MANIFEST_INVALID", is_about_the_media_type, ERR_MANIFEST_REFUSED,
     HINT_KIND | HINT_DOUBT, not_the_type},
    {OF(PUT_MANIFEST), 405, 405, NULL, is_about_the_media_type, ERR_MANIFEST_REFUSED, HINT_KIND,
     not_the_type},
    {OF(PUT_MANIFEST), 415, 415, NULL, is_about_the_media_type, ERR_MANIFEST_REFUSED, HINT_KIND,
     not_the_type},
    {OF(PUT_MANIFEST), 400, 500, NULL, is_about_the_media_type, ERR_MANIFEST_REFUSED,
     .words = not_the_type},
    {OF(PUT_MANIFEST), 400, 500, "UNSUPPORTED", .errc = ERR_REGISTRY_UNSUPPORTED,
     .hints = HINT_KIND | HINT_DOUBT},
    {OF(PUT_MANIFEST), 400, 400, "MANIFEST_INVALID", .errc = ERR_MANIFEST_REFUSED,
     .hints = HINT_KIND | HINT_DOUBT | HINT_BLOBS},
    {OF(PUT_MANIFEST), 405, 405, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_KIND},
    {OF(PUT_MANIFEST), 415, 415, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_KIND},
    {OF(PUT_MANIFEST), 400, 404, "DIGEST_INVALID", .errc = ERR_REGISTRY_FAULT, .hints = HINT_BLOBS},
    /* docker-registry 2.8, when it is not told to take them */
    {OF(PUT_MANIFEST), 500, 500, .about = is_schema1, .errc = ERR_REGISTRY_REFUSED},

    /* bodies of blobs */
    {BODIES, 413, 413, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_METHOD | HINT_SMALLER,
     .words = limits_size},
    {BODIES, 416, 416, .errc = ERR_REGISTRY_FAULT, .hints = HINT_OFFSET | HINT_RESUME},
    {BODIES, 400, 599, "BLOB_UPLOAD_UNKNOWN", .errc = ERR_UPLOAD_UNKNOWN,
     .hints = HINT_SESSION | HINT_LOOK},
    {BODIES, 400, 599, "UNSUPPORTED", .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD},
    {ENDS, 404, 404, .errc = ERR_UPLOAD_UNKNOWN, .hints = HINT_SESSION | HINT_LOOK | HINT_UNTRIED},
    {BODIES, 404, 404, .errc = ERR_UPLOAD_UNKNOWN, .hints = HINT_SESSION | HINT_LOOK},
    {BODIES, 410, 410, .errc = ERR_UPLOAD_UNKNOWN, .hints = HINT_SESSION | HINT_LOOK},
    {BODIES, 405, 405, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD},
    {BODIES, 415, 415, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD},
    {BODIES, 501, 501, .errc = ERR_REGISTRY_UNSUPPORTED, .hints = HINT_METHOD},
    /* One that knows no body in a PUT has nothing then, whose digest is another one. */
    {OF(COMMIT), 400, 422, "DIGEST_INVALID", is_not_sha256, ERR_REGISTRY_UNSUPPORTED,
     HINT_UNTRIED | HINT_BYTES, not_sha256},
    {OF(POST_BLOB), 400, 422, "DIGEST_INVALID", is_not_sha256, ERR_REGISTRY_UNSUPPORTED, HINT_BYTES,
     not_sha256},
    {OF(COMMIT), 400, 400, .errc = ERR_REGISTRY_FAULT, .hints = HINT_UNTRIED | HINT_BYTES},
    {OF(COMMIT), 422, 422, .errc = ERR_REGISTRY_FAULT, .hints = HINT_UNTRIED | HINT_BYTES},
    {OF(COMMIT), 500, 500, .errc = ERR_REGISTRY_FAULT,
     .hints = HINT_UNTRIED | HINT_LOOK | HINT_RESUME},
    {BODIES, 400, 400, .errc = ERR_REGISTRY_FAULT, .hints = HINT_BYTES},
    {BODIES, 422, 422, .errc = ERR_REGISTRY_FAULT, .hints = HINT_BYTES},
    {BODIES, 409, 409, .errc = ERR_REGISTRY_FAULT},

    /* the code alone */
    {ALL, 400, 599, "UNSUPPORTED", .errc = ERR_REGISTRY_UNSUPPORTED},
    {ALL, 400, 599, "BLOB_UPLOAD_UNKNOWN", .errc = ERR_UPLOAD_UNKNOWN},
    {ALL, 400, 599, "MANIFEST_BLOB_UNKNOWN", .errc = ERR_BLOB_NOT_THERE, .hints = HINT_BLOBS},
    {ALL, 400, 599, "BLOB_UNKNOWN", .errc = ERR_BLOB_NOT_THERE, .hints = HINT_BLOBS},
    {ALL, 400, 599, "MANIFEST_UNKNOWN", .errc = ERR_MANIFEST_UNKNOWN, .hints = HINT_BLOBS},
    {ALL, 400, 599, "MANIFEST_INVALID", .errc = ERR_MANIFEST_REFUSED, .hints = HINT_BLOBS},
    {ALL, 400, 599, "MANIFEST_UNVERIFIED", .errc = ERR_MANIFEST_REFUSED},
    {ALL, 400, 599, "TAG_INVALID", .errc = ERR_MANIFEST_REFUSED},
    /* Digests are computed from the very bytes that are sent: it mistook, or they suffered. */
    {ALL, 400, 599, "DIGEST_INVALID", .errc = ERR_REGISTRY_FAULT},

    /* the status alone */
    {ALL, 413, 413, .errc = ERR_REGISTRY_REFUSED, .words = limits_size},
    {ALL, 405, 405, .errc = ERR_REGISTRY_UNSUPPORTED},
    {ALL, 415, 415, .errc = ERR_REGISTRY_UNSUPPORTED},
    {ALL, 501, 501, .errc = ERR_REGISTRY_UNSUPPORTED},
    {ALL, 400, 400, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_BLOBS},
    {ALL, 404, 404, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_BLOBS},
    {ALL, 422, 422, .errc = ERR_REGISTRY_REFUSED, .hints = HINT_BLOBS},
    {ALL, 400, 499, .errc = ERR_REGISTRY_REFUSED},
    {ALL, 503, 503, .errc = ERR_REGISTRY_FAULT,
     .hints = HINT_BUSY | HINT_ENDPOINT | HINT_LOOK | HINT_RESUME},
    {ALL, 502, 504, .errc = ERR_REGISTRY_FAULT, .hints = HINT_ENDPOINT | HINT_LOOK | HINT_RESUME},
    /* Cloudflare's of the server behind it */
    {ALL, 520, 524, .errc = ERR_REGISTRY_FAULT, .hints = HINT_ENDPOINT | HINT_LOOK | HINT_RESUME},
    {ALL, 505, 506, .errc = ERR_REGISTRY_REFUSED},
    {ALL, 507, 507, .errc = ERR_REGISTRY_FAULT, .hints = HINT_LOOK,
     .words = "the registry has no room left"},
    {ALL, 508, 508, "LOOP_DETECTED", .errc = ERR_LOOP},
    {ALL, 508, 508, .errc = ERR_REGISTRY_REFUSED},
    {ALL, 510, 510, .errc = ERR_REGISTRY_REFUSED},
    {ALL, 511, 511, .errc = ERR_REGISTRY_REFUSED,
     .words = "a network on the way to the registry wants a login first"},
    {ALL, 500, 599, .errc = ERR_REGISTRY_FAULT, .hints = HINT_LOOK | HINT_RESUME},
    {ALL, 300, 399, .errc = ERR_ADDRESS_REFUSED,
     .words = "a redirect that this request does not follow"},
    {ALL, 0, 999, .errc = ERR_REGISTRY_ANSWER},
};

#define ROWS (sizeof rows / sizeof rows[0])

static bool fits(const struct row *row, const struct question *question, int status,
                 const char *code, const char *body)
{
    return row->asked & 1u << question->what && status >= row->least && status <= row->most &&
           (row->code == NULL || strcasecmp(row->code, code) == 0) &&
           (row->about == NULL || row->about(question, body));
}

struct verdict verdict_of(const struct question *question, const struct http_response *response)
{
    struct answer answer = {.registry = false};
    const char *body = "";
    int status = response->status;
    if (status >= 400 && response->body.size > 0) {
        answer_read(response, &answer);
        body = buf_cstr(&response->body);
    }
    size_t i = 0;
    while (i < ROWS - 1 && !fits(&rows[i], question, status, answer.code, body))
        i++;
    return (struct verdict){
        .code = rows[i].errc, .hints = rows[i].hints, .words = rows[i].words, .row = i};
}

bool verdict_is_busy(const struct http_response *response)
{
    const struct question any = {.what = ASKED_ANYTHING};
    return response->status >= 400 && verdict_of(&any, response).hints & HINT_BUSY;
}

enum errc verdict_fail(const struct question *question, const struct url *url,
                       const struct http_response *response, struct error *err)
{
    struct answer answer;
    const struct verdict verdict = verdict_of(question, response);
    answer_read(response, &answer);
    char shown[URL_SHOWN_MAX];
    char said[sizeof answer.code + sizeof answer.message + 4] = "";
    if (answer.code[0] && answer.message[0])
        snprintf(said, sizeof said, ": %s: %s", answer.code, answer.message);
    else if (answer.code[0] || answer.message[0])
        snprintf(said, sizeof said, ": %s", answer.code[0] ? answer.code : answer.message);
    fail(err, verdict.code, 0, "%s %s: status %d%s", question->method, url_shown(url->text, shown),
         response->status, said);
    if (verdict.words)
        error_wrap(err, "%s", verdict.words);
    if (verdict_may_be_proxys(response))
        error_wrap(err, "this may be the answer of the proxy %s, as nothing in it is a registry's",
                   response->proxy);
    http_text_clean(&response->secrets, err);
    err->status = response->status;
    err->hints = verdict.hints;
    return err->code;
}

bool verdict_may_be_proxys(const struct http_response *response)
{
    struct answer answer;
    answer_read(response, &answer);
    return response->proxy && response->status >= 400 && !answer.registry &&
           answer.code[0] == '\0' && http_header(response, "WWW-Authenticate") == NULL;
}

size_t verdict_rows(void)
{
    return ROWS;
}
