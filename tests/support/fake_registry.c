#include "tests/support/fake_registry.h"

#include "base/buf.h"
#include "base/mem.h"
#include "image/digest.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RULES_MAX 32
#define PIECES_MAX 64
#define NAMES_MAX 4096
#define BASIC "Basic Y2k6czNjcmV0"

struct fake_registry {
    struct http_double *http;
    enum fake_auth auth;
    char host[64];
    pthread_mutex_t lock; /* guards what follows */
    struct fake_rule rules[RULES_MAX];
    size_t rule_count;
    struct name {
        char *name;
        char *value; /* of a manifest: its digest */
    } names[NAMES_MAX];
    size_t name_count;
    struct piece {
        char *path; /* of the session */
        char *bytes;
        size_t size;
    } pieces[PIECES_MAX];
    size_t piece_count;
    unsigned sessions;
    unsigned tokens;
    unsigned revoked;
    const char *wanted_scope;
    unsigned scoped_token; /* the first that was asked for with the wanted scope */
    const char *session_origin;
    unsigned releases;
    pthread_cond_t release;
};

static const char *find(struct fake_registry *fake, const char *name)
{
    for (size_t i = fake->name_count; i > 0; i--)
        if (strcmp(fake->names[i - 1].name, name) == 0)
            return fake->names[i - 1].value;
    return NULL;
}

static void put(struct fake_registry *fake, const char *name, const char *value)
{
    if (fake->name_count == NAMES_MAX)
        abort();
    fake->names[fake->name_count++] = (struct name){.name = xstrdup(name), .value = xstrdup(value)};
}

static void add_header(struct double_answer *answer, const char *name, const char *value)
{
    size_t used = strlen(answer->headers);
    snprintf(answer->headers + used, sizeof answer->headers - used, "%s: %s\r\n", name, value);
}

/* Undo %3A in "digest=sha256%3A...". */
static void digest_of_query(const char *query, char out[DIGEST_TEXT_MAX])
{
    const char *at = strstr(query, "digest=");
    out[0] = '\0';
    if (at == NULL)
        return;
    at += strlen("digest=");
    size_t used = 0;
    while (*at && *at != '&' && used + 1 < DIGEST_TEXT_MAX) {
        bool colon = strncmp(at, "%3A", 3) == 0;
        out[used++] = colon ? ':' : *at;
        at += colon ? 3 : 1;
    }
    out[used] = '\0';
}

static enum digest_algorithm algorithm_of(const char *name)
{
    return strncmp(name, "sha512:", 7) == 0 ? DIGEST_SHA512 : DIGEST_SHA256;
}

/* Behind what the session has. */
static void add_piece(struct fake_registry *fake, const struct double_request *request,
                      struct double_answer *answer)
{
    if (fake->piece_count == PIECES_MAX)
        abort();
    struct piece *piece = &fake->pieces[fake->piece_count++];
    *piece = (struct piece){.path = xstrdup(request->path),
                            .bytes = xmalloc(request->body_size),
                            .size = request->body_size};
    memcpy(piece->bytes, request->body, request->body_size);
    add_header(answer, "Location", request->path);
    answer->status = 202;
}

/* All of the session, and the request's body. */
static void gather(const struct fake_registry *fake, const struct double_request *request,
                   struct buf *out)
{
    for (size_t i = 0; i < fake->piece_count; i++)
        if (strcmp(fake->pieces[i].path, request->path) == 0)
            buf_append(out, fake->pieces[i].bytes, fake->pieces[i].size);
    buf_append(out, request->body, request->body_size);
}

static void put_blob(struct fake_registry *fake, const struct double_request *request,
                     struct double_answer *answer)
{
    char named[DIGEST_TEXT_MAX];
    char real[DIGEST_TEXT_MAX];
    autobuf struct buf whole = BUF_INIT((size_t)64 << 20);
    digest_of_query(request->query, named);
    gather(fake, request, &whole);
    struct digest digest = digest_of(algorithm_of(named), buf_cstr(&whole), whole.size);
    if (strcmp(digest_text(&digest, real), named) != 0) {
        answer->status = 400;
        snprintf(answer->body, sizeof answer->body, "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
        return;
    }
    char size[32];
    snprintf(size, sizeof size, "%zu", whole.size);
    put(fake, named, size);
    add_header(answer, "Docker-Content-Digest", named);
    answer->status = 201;
}

static void put_manifest(struct fake_registry *fake, const struct double_request *request,
                         const char *name, struct double_answer *answer)
{
    char text[DIGEST_TEXT_MAX];
    enum digest_algorithm algorithm = algorithm_of(name + strlen("manifests/"));
    struct digest digest = digest_of(algorithm, request->body, request->body_size);
    put(fake, name, digest_text(&digest, text));
    add_header(answer, "Docker-Content-Digest", text);
    answer->status = 201;
}

static void open_session(struct fake_registry *fake, const struct double_request *request,
                         struct double_answer *answer)
{
    char location[4096];
    snprintf(location, sizeof location, "%s%s%u?_state=a%%2Bb",
             fake->session_origin ? fake->session_origin : "", request->path, ++fake->sessions);
    add_header(answer, "Location", location);
    answer->status = 202;
}

/* What a plain registry does. */
static void behave(struct fake_registry *fake, const struct double_request *request,
                   struct double_answer *answer)
{
    const char *blob = strstr(request->path, "/blobs/sha");
    const char *manifest = strstr(request->path, "/manifests/");
    bool upload = strstr(request->path, "/blobs/uploads/") != NULL;
    add_header(answer, "Docker-Distribution-Api-Version", "registry/2.0");
    if (strcmp(request->path, "/v2/") == 0) {
        snprintf(answer->body, sizeof answer->body, "{}");
    } else if (upload && strcmp(request->method, "POST") == 0) {
        open_session(fake, request, answer);
    } else if (upload && strcmp(request->method, "PUT") == 0) {
        put_blob(fake, request, answer);
    } else if (upload && strcmp(request->method, "PATCH") == 0) {
        add_piece(fake, request, answer);
    } else if (upload) {
        answer->status = 204;
    } else if (blob) {
        const char *size = find(fake, blob + strlen("/blobs/"));
        answer->status = size ? 200 : 404;
        add_header(answer, "Content-Length", size ? size : "0");
    } else if (manifest && strcmp(request->method, "PUT") == 0) {
        put_manifest(fake, request, manifest + 1, answer);
    } else if (manifest) {
        const char *digest = find(fake, manifest + 1);
        answer->status = digest ? 200 : 404;
        if (digest)
            add_header(answer, "Docker-Content-Digest", digest);
    } else {
        answer->status = 404;
    }
}

static void give_token(struct fake_registry *fake, const struct double_request *request,
                       struct double_answer *answer)
{
    if (strcmp(request->authorization, BASIC) != 0) {
        answer->status = 401;
        snprintf(answer->body, sizeof answer->body, "{\"details\":\"bad password\"}");
        return;
    }
    fake->tokens++;
    if (fake->wanted_scope && fake->scoped_token == 0 && strstr(request->query, fake->wanted_scope))
        fake->scoped_token = fake->tokens;
    snprintf(answer->body, sizeof answer->body, "{\"access_token\":\"token-%u\"}", fake->tokens);
}

static bool is_authorized(const struct fake_registry *fake, const struct double_request *request)
{
    unsigned token = 0;
    if (fake->auth == FAKE_OPEN)
        return true;
    if (fake->auth == FAKE_BASIC)
        return strcmp(request->authorization, BASIC) == 0;
    return sscanf(request->authorization, "Bearer token-%u", &token) == 1 &&
           token > fake->revoked &&
           (fake->wanted_scope == NULL || (fake->scoped_token && token >= fake->scoped_token));
}

static void challenge(const struct fake_registry *fake, struct double_answer *answer)
{
    char text[1024] = "Basic realm=\"fake\"";
    if (fake->auth == FAKE_BEARER)
        snprintf(text, sizeof text, "Bearer realm=\"http://%s/token\",service=\"fake\"%s%s%s",
                 fake->host, fake->wanted_scope ? ",error=\"insufficient_scope\",scope=\"" : "",
                 fake->wanted_scope ? fake->wanted_scope : "", fake->wanted_scope ? "\"" : "");
    add_header(answer, "WWW-Authenticate", text);
    answer->status = 401;
}

static struct fake_rule *rule_for(struct fake_registry *fake, const struct double_request *request)
{
    for (size_t i = 0; i < fake->rule_count; i++) {
        struct fake_rule *rule = &fake->rules[i];
        if (rule->times > 0 && strcmp(rule->method, request->method) == 0 &&
            strstr(request->path, rule->part))
            return rule;
    }
    return NULL;
}

static void apply(struct fake_registry *fake, struct fake_rule *rule,
                  const struct double_request *request, struct double_answer *answer)
{
    rule->times--;
    if (rule->effect)
        behave(fake, request, answer);
    if (rule->status)
        answer->status = rule->status;
    if (rule->headers)
        snprintf(answer->headers, sizeof answer->headers, "%s", rule->headers);
    if (rule->body)
        snprintf(answer->body, sizeof answer->body, "%s", rule->body);
    answer->drop = rule->drop;
    while (rule->hold && fake->releases <= rule->releases)
        pthread_cond_wait(&fake->release, &fake->lock);
}

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    struct fake_registry *fake = self;
    pthread_mutex_lock(&fake->lock);
    struct fake_rule *rule = rule_for(fake, request);
    if (rule)
        apply(fake, rule, request, answer);
    else if (strcmp(request->path, "/token") == 0)
        give_token(fake, request, answer);
    else if (!is_authorized(fake, request))
        challenge(fake, answer);
    else
        behave(fake, request, answer);
    pthread_mutex_unlock(&fake->lock);
}

struct fake_registry *fake_registry_start(enum fake_auth auth)
{
    struct fake_registry *fake = xcalloc(1, sizeof *fake);
    fake->auth = auth;
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->release, NULL);
    fake->http = http_double_start(handle, fake);
    snprintf(fake->host, sizeof fake->host, "127.0.0.1:%u", http_double_port(fake->http));
    return fake;
}

void fake_registry_stop(struct fake_registry *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->releases = UINT_MAX - 1; /* nothing is held any more */
    pthread_mutex_unlock(&fake->lock);
    fake_registry_release(fake);
    http_double_stop(fake->http);
    for (size_t i = 0; i < fake->name_count; i++) {
        free(fake->names[i].name);
        free(fake->names[i].value);
    }
    for (size_t i = 0; i < fake->piece_count; i++) {
        free(fake->pieces[i].path);
        free(fake->pieces[i].bytes);
    }
    pthread_cond_destroy(&fake->release);
    pthread_mutex_destroy(&fake->lock);
    free(fake);
}

void fake_registry_rule(struct fake_registry *fake, struct fake_rule rule)
{
    pthread_mutex_lock(&fake->lock);
    if (fake->rule_count == RULES_MAX)
        abort();
    rule.releases += fake->releases;
    fake->rules[fake->rule_count++] = rule;
    pthread_mutex_unlock(&fake->lock);
}

void fake_registry_end_rules(struct fake_registry *fake)
{
    pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < fake->rule_count; i++)
        fake->rules[i].times = 0;
    pthread_mutex_unlock(&fake->lock);
}

void fake_registry_release(struct fake_registry *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->releases++;
    pthread_cond_broadcast(&fake->release);
    pthread_mutex_unlock(&fake->lock);
}

void fake_registry_sessions_at(struct fake_registry *fake, const char *origin)
{
    pthread_mutex_lock(&fake->lock);
    fake->session_origin = origin;
    pthread_mutex_unlock(&fake->lock);
}

void fake_registry_revoke(struct fake_registry *fake, unsigned number)
{
    pthread_mutex_lock(&fake->lock);
    fake->revoked = number;
    pthread_mutex_unlock(&fake->lock);
}

void fake_registry_want_scope(struct fake_registry *fake, const char *scope)
{
    pthread_mutex_lock(&fake->lock);
    fake->wanted_scope = scope;
    pthread_mutex_unlock(&fake->lock);
}

struct http_double *fake_registry_http(struct fake_registry *fake)
{
    return fake->http;
}

unsigned fake_registry_tokens(struct fake_registry *fake)
{
    pthread_mutex_lock(&fake->lock);
    unsigned tokens = fake->tokens;
    pthread_mutex_unlock(&fake->lock);
    return tokens;
}

const char *fake_registry_host(const struct fake_registry *fake)
{
    return fake->host;
}

bool fake_registry_has(struct fake_registry *fake, const char *name)
{
    pthread_mutex_lock(&fake->lock);
    bool has = find(fake, name) != NULL;
    pthread_mutex_unlock(&fake->lock);
    return has;
}

char *fake_registry_value(struct fake_registry *fake, const char *name)
{
    pthread_mutex_lock(&fake->lock);
    const char *value = find(fake, name);
    char *copy = value ? xstrdup(value) : NULL;
    pthread_mutex_unlock(&fake->lock);
    return copy;
}

void fake_registry_put(struct fake_registry *fake, const char *name, const char *value)
{
    pthread_mutex_lock(&fake->lock);
    put(fake, name, value);
    pthread_mutex_unlock(&fake->lock);
}
