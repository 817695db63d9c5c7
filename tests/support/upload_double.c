#include "tests/support/upload_double.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define UPLOADS "/v2/team/app/blobs/uploads/"

static void add_header(struct double_answer *answer, const char *name, const char *value)
{
    size_t used = strlen(answer->headers);
    snprintf(answer->headers + used, sizeof answer->headers - used, "%s: %s\r\n", name, value);
}

static void refuse(struct double_answer *answer, int status, const char *code)
{
    answer->status = status;
    if (code)
        snprintf(answer->body, sizeof answer->body, "{\"errors\":[{\"code\":\"%s\"}]}", code);
}

static void add_location(struct upload_double *fake, struct double_answer *answer)
{
    char text[256];
    unsigned session = fake->sessions;
    unsigned state = ++fake->state;
    switch (fake->locations) {
    case LOCATION_RELATIVE:
        snprintf(text, sizeof text, UPLOADS "%u?_state=a%%2Bb%%3D-%u", session, state);
        break;
    case LOCATION_ABSOLUTE:
        snprintf(text, sizeof text, "http://%s" UPLOADS "%u?x=%%2F&_state=a%%2Bb%%3D-%u",
                 fake->host, session, state);
        break;
    case LOCATION_NO_QUERY:
        snprintf(text, sizeof text, "http://%s" UPLOADS "%u-%u", fake->host, session, state);
        break;
    case LOCATION_AMPERSAND:
        snprintf(text, sizeof text, "%u?_state=a%%2Bb%%3D-%u&", session, state);
        break;
    }
    add_header(answer, "Location", text);
}

/* The path and query are those of the last Location. */
static bool location_is_good(const struct upload_double *fake, const struct double_request *request)
{
    char want[128];
    if (fake->state == 0)
        return false;
    if (fake->locations == LOCATION_NO_QUERY) {
        snprintf(want, sizeof want, UPLOADS "%u-%u", fake->sessions, fake->state);
        return strcmp(request->path, want) == 0;
    }
    snprintf(want, sizeof want, UPLOADS "%u", fake->sessions);
    if (strcmp(request->path, want) != 0)
        return false;
    snprintf(want, sizeof want, "_state=a%%2Bb%%3D-%u", fake->state);
    const char *at = strstr(request->query, want);
    return at && (at[strlen(want)] == '\0' || at[strlen(want)] == '&');
}

static size_t range_end(const struct upload_double *fake, size_t last)
{
    switch (fake->ranges) {
    case RANGE_EMPTY:
        return 0;
    case RANGE_LAST:
        return last;
    case RANGE_FIRST:
        return fake->first;
    case RANGE_FURTHER:
        return fake->data_size + 1;
    default:
        return fake->data_size;
    }
}

static void add_range(const struct upload_double *fake, size_t last, struct double_answer *answer)
{
    char text[64];
    size_t size = range_end(fake, last);
    if (fake->ranges == RANGE_ABSENT)
        return;
    snprintf(text, sizeof text, "%s0-%lld", fake->ranges == RANGE_BYTES ? "bytes=" : "",
             (long long)size - 1);
    add_header(answer, "Range", text);
}

static void forget(struct upload_double *fake)
{
    fake->state = 0;
    fake->data_size = 0;
    fake->first = 0;
}

static void take(struct upload_double *fake, const char *data, size_t size)
{
    if (size == 0)
        return;
    fake->data = xrealloc(fake->data, fake->data_size + size, 1);
    memcpy(fake->data + fake->data_size, data, size);
    fake->data_size += size;
}

static void open_session(struct upload_double *fake, struct double_answer *answer)
{
    forget(fake);
    fake->sessions++;
    add_location(fake, answer);
    if (fake->chunk_least)
        add_header(answer, "OCI-Chunk-Min-Length", fake->chunk_least);
    answer->status = 202;
}

/* "digest=ALGORITHM%3A..." is of what came, with the algorithm of the POST. */
static void commit(struct upload_double *fake, const struct double_request *request,
                   struct double_answer *answer)
{
    struct digest digest = digest_of(fake->algorithm, fake->data, fake->data_size);
    char hex[DIGEST_TEXT_MAX];
    autofree char *want = xasprintf("digest=%s%%3A%s", digest_algorithm_name(fake->algorithm),
                                    digest_hex(&digest, hex));
    const char *named = strstr(request->query, want);
    if (named == NULL || strlen(named) != strlen(want)) {
        refuse(answer, 400, "DIGEST_INVALID");
        forget(fake);
        return;
    }
    free(fake->blob);
    fake->blob = fake->data;
    fake->blob_size = fake->data_size;
    fake->data = NULL;
    forget(fake);
    fake->commits++;
    answer->status = 201;
}

static bool begins_where_it_ended(const struct upload_double *fake,
                                  const struct double_request *request)
{
    unsigned long long from = 0;
    unsigned long long to = 0;
    if (request->content_range[0] == '\0')
        return fake->data_size == 0 || request->body_size == 0;
    return sscanf(request->content_range, "%llu-%llu", &from, &to) == 2 &&
           from == fake->data_size && to - from + 1 == request->body_size;
}

static void do_post(struct upload_double *fake, const struct double_request *request,
                    struct double_answer *answer)
{
    fake->algorithm = strstr(request->query, "sha512") ? DIGEST_SHA512 : DIGEST_SHA256;
    if (strncmp(request->query, "digest=", 7) != 0 || fake->post_status == 202) {
        open_session(fake, answer);
    } else if (fake->post_status) {
        refuse(answer, fake->post_status, NULL);
    } else {
        forget(fake);
        take(fake, request->body, request->body_size);
        commit(fake, request, answer);
    }
}

static void do_session(struct upload_double *fake, const struct double_request *request,
                       struct double_answer *answer)
{
    bool patch = strcmp(request->method, "PATCH") == 0;
    bool put = strcmp(request->method, "PUT") == 0;
    if (!location_is_good(fake, request)) {
        refuse(answer, 404, "BLOB_UPLOAD_UNKNOWN");
    } else if (strcmp(request->method, "DELETE") == 0) {
        forget(fake);
        answer->status = 204;
    } else if (put && request->body_size > 0 && fake->put_status) {
        refuse(answer, fake->put_status, NULL);
    } else if (patch && fake->patch_status) {
        refuse(answer, fake->patch_status, NULL);
    } else if ((put || patch) && !begins_where_it_ended(fake, request)) {
        refuse(answer, 416, NULL);
    } else if (put) {
        take(fake, request->body, request->body_size);
        commit(fake, request, answer);
    } else {
        size_t half =
            fake->ranges == RANGE_HALF ? (request->body_size + 1) / 2 : request->body_size;
        take(fake, request->body, half);
        if (patch && fake->first == 0)
            fake->first = half;
        add_range(fake, request->body_size, answer);
        add_location(fake, answer);
        answer->status = patch ? 202 : 204;
    }
}

static void do_head(struct upload_double *fake, const struct double_request *request,
                    struct double_answer *answer)
{
    char hex[DIGEST_TEXT_MAX];
    char size[64];
    struct digest digest =
        digest_of(fake->algorithm, fake->blob ? fake->blob : "", fake->blob_size);
    bool there = fake->blob && strstr(request->path, digest_hex(&digest, hex));
    answer->status = there ? 200 : 404;
    snprintf(size, sizeof size, "%zu", there ? fake->blob_size : 0);
    add_header(answer, "Content-Length", size);
}

static void behave(struct upload_double *fake, const struct double_request *request,
                   struct double_answer *answer)
{
    if (strcmp(request->method, "HEAD") == 0)
        do_head(fake, request, answer);
    else if (fake->body_limit && request->body_size > fake->body_limit)
        refuse(answer, 413, NULL);
    else if (fake->redirect && request->body_size > 0) {
        char location[4096];
        snprintf(location, sizeof location, "%s%s?%s", fake->redirect, request->path,
                 request->query);
        add_header(answer, "Location", location);
        answer->status = 307;
    } else if (strcmp(request->method, "POST") == 0)
        do_post(fake, request, answer);
    else
        do_session(fake, request, answer);
}

static struct upload_fault *fault_for(struct upload_double *fake,
                                      const struct double_request *request)
{
    for (size_t i = 0; i < UPLOAD_FAULTS_MAX; i++) {
        struct upload_fault *fault = &fake->faults[i];
        if (fault->method == NULL || strcmp(fault->method, request->method) != 0 ||
            fault->times == 0 || (fault->with_body && request->body_size == 0))
            continue;
        if (fault->skip-- > 0)
            continue;
        fault->skip = 0;
        fault->times--;
        return fault;
    }
    return NULL;
}

/* Tokens are "token-N"; a 401 says where they are. */
static bool is_authorized(struct upload_double *fake, const struct double_request *request,
                          struct double_answer *answer)
{
    unsigned token = 0;
    if (!fake->bearer ||
        (sscanf(request->authorization, "Bearer token-%u", &token) == 1 && token > fake->revoked))
        return true;
    char text[256];
    snprintf(text, sizeof text, "Bearer realm=\"http://%s/token\",service=\"fake\"", fake->host);
    add_header(answer, "WWW-Authenticate", text);
    answer->status = 401;
    return false;
}

static void strike(struct upload_double *fake, const struct upload_fault *fault,
                   const struct double_request *request, struct double_answer *answer)
{
    if (fault->revoke) {
        fake->revoked = fake->tokens;
        if (is_authorized(fake, request, answer))
            behave(fake, request, answer);
        return;
    }
    if (fault->effect && fault->half)
        take(fake, request->body, request->body_size / 2);
    else if (fault->effect)
        behave(fake, request, answer);
    if (fault->forget)
        forget(fake);
    answer->drop = fault->drop;
    answer->headers[0] = answer->body[0] = '\0';
    refuse(answer, fault->status, fault->code);
}

static void note(struct upload_double *fake, const struct double_request *request)
{
    fake->received += request->body_size;
    fake->authorized += request->authorization[0] != '\0';
    bool bodied = strcmp(request->method, "PUT") == 0 || strcmp(request->method, "PATCH") == 0 ||
                  strcmp(request->method, "POST") == 0;
    fake->unsized += bodied && !request->sized;
    size_t used = strlen(fake->ranges_seen);
    if (request->content_range[0])
        snprintf(fake->ranges_seen + used, sizeof fake->ranges_seen - used, "%s ",
                 request->content_range);
}

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    struct upload_double *fake = self;
    pthread_mutex_lock(&fake->lock);
    if (strcmp(request->path, "/token") == 0) {
        char life[48] = "";
        if (fake->token_life_s)
            snprintf(life, sizeof life, ",\"expires_in\":%d", fake->token_life_s);
        snprintf(answer->body, sizeof answer->body, "{\"token\":\"token-%u\"%s}", ++fake->tokens,
                 life);
    } else {
        note(fake, request);
        struct upload_fault *fault = fault_for(fake, request);
        if (fault)
            strike(fake, fault, request, answer);
        else if (is_authorized(fake, request, answer))
            behave(fake, request, answer);
        fake->refused += answer->status >= 400 && strcmp(request->method, "HEAD") != 0;
    }
    pthread_mutex_unlock(&fake->lock);
}

struct upload_double *upload_double_start(void)
{
    struct upload_double *fake = xcalloc(1, sizeof *fake);
    fake->algorithm = DIGEST_SHA256; /* of a session that was opened elsewhere */
    pthread_mutex_init(&fake->lock, NULL);
    fake->http = http_double_start(handle, fake);
    snprintf(fake->host, sizeof fake->host, "127.0.0.1:%u", http_double_port(fake->http));
    return fake;
}

void upload_double_forget(struct upload_double *fake)
{
    pthread_mutex_lock(&fake->lock);
    free(fake->blob);
    fake->blob = NULL;
    fake->blob_size = 0;
    pthread_mutex_unlock(&fake->lock);
}

void upload_double_stop(struct upload_double *fake)
{
    http_double_stop(fake->http);
    pthread_mutex_destroy(&fake->lock);
    free(fake->data);
    free(fake->blob);
    free(fake);
}
