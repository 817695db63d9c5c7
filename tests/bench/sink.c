/*
 * A registry that only discards: the part of the distribution API that a push uses, with bodies
 * thrown away. It is the fastest registry there can be, so a push to it costs what the pusher
 * costs.
 *
 *     sink [ADDR:]PORT        port 0 is any free one; logs "listening on ADDR:PORT" on stderr
 *
 * It remembers which blobs and manifests were put, so that HEAD answers and mounts work as at a
 * registry, and the bytes of manifests. It checks no digest of a blob, and the id of an upload
 * session is the number of bytes that it has, so that sessions need no table. GET /counts says what
 * has come so far, itself left out. One thread per connection; table and counts have one lock. Ends
 * at SIGTERM or SIGINT.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MANIFEST_MAX ((size_t)4 << 20)
#define PATH_MAX_BYTES 1024
#define ZEROS_BYTES 4096
#define BUCKETS 65536

struct item {
    struct item *next;
    char *path; /* "/v2/NAME/blobs/DIGEST" or "/v2/NAME/manifests/REFERENCE" */
    char digest[80];
    char type[128];
    size_t size;
    char *bytes; /* of a manifest; NULL for a blob */
};

static struct item *items[BUCKETS]; /* by the hash of their paths */
static struct {
    size_t requests;
    size_t bytes; /* of bodies */
    size_t blobs;
    size_t mounts;
    size_t manifests;
} counts;
static pthread_mutex_t items_lock = PTHREAD_MUTEX_INITIALIZER;

struct request {
    char *body; /* of a manifest */
    size_t size;
};

static struct item **bucket_of(const char *path)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619U;
    return &items[hash % BUCKETS];
}

static void item_add(const char *path, const char *digest, const char *type, const char *bytes,
                     size_t size)
{
    struct item *item = calloc(1, sizeof(*item));
    if (!item)
        abort();
    item->path = strdup(path);
    if (!item->path)
        abort();
    snprintf(item->digest, sizeof(item->digest), "%s", digest);
    snprintf(item->type, sizeof(item->type), "%s", type);
    item->size = size;
    if (bytes) {
        item->bytes = malloc(size + 1);
        if (!item->bytes)
            abort();
        memcpy(item->bytes, bytes, size);
    }
    struct item **bucket = bucket_of(path);
    pthread_mutex_lock(&items_lock);
    item->next = *bucket;
    *bucket = item;
    pthread_mutex_unlock(&items_lock);
}

static void count(size_t *what, size_t by)
{
    pthread_mutex_lock(&items_lock);
    *what += by;
    pthread_mutex_unlock(&items_lock);
}

/* The newest of that path; items are never removed, so the pointer stays good. */
static const struct item *item_find(const char *path)
{
    pthread_mutex_lock(&items_lock);
    const struct item *item = *bucket_of(path);
    while (item && strcmp(item->path, path) != 0)
        item = item->next;
    pthread_mutex_unlock(&items_lock);
    return item;
}

static struct MHD_Response *empty(void)
{
    return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result send_it(struct MHD_Connection *connection, unsigned status,
                               struct MHD_Response *response)
{
    MHD_add_response_header(response, "Docker-Distribution-Api-Version", "registry/2.0");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_counts(struct MHD_Connection *connection)
{
    char text[256];
    pthread_mutex_lock(&items_lock);
    int size =
        snprintf(text, sizeof(text),
                 "{\"requests\": %zu, \"bytes\": %zu, \"blobs\": %zu, \"mounts\": %zu, "
                 "\"manifests\": %zu}\n",
                 counts.requests, counts.bytes, counts.blobs, counts.mounts, counts.manifests);
    pthread_mutex_unlock(&items_lock);
    return send_it(connection, 200,
                   MHD_create_response_from_buffer((size_t)size, text, MHD_RESPMEM_MUST_COPY));
}

/* The bytes of a blob, which are gone. */
static ssize_t zeros(void *arg, uint64_t position, char *data, size_t size)
{
    (void)arg;
    (void)position;
    memset(data, 0, size);
    return (ssize_t)size;
}

static enum MHD_Result answer_found(struct MHD_Connection *connection, const char *url)
{
    const struct item *item = item_find(url);
    if (!item)
        return send_it(connection, 404, empty());
    struct MHD_Response *response =
        item->bytes
            ? MHD_create_response_from_buffer(item->size, item->bytes, MHD_RESPMEM_PERSISTENT)
            : MHD_create_response_from_callback(item->size, ZEROS_BYTES, zeros, NULL, NULL);
    MHD_add_response_header(response, "Docker-Content-Digest", item->digest);
    MHD_add_response_header(response, "Content-Type", item->type);
    return send_it(connection, 200, response);
}

static enum MHD_Result answer_stored(struct MHD_Connection *connection, const char *path,
                                     const char *digest)
{
    struct MHD_Response *response = empty();
    MHD_add_response_header(response, "Location", path);
    MHD_add_response_header(response, "Docker-Content-Digest", digest);
    return send_it(connection, 201, response);
}

/* Enters the blob and answers 201. */
static enum MHD_Result store_blob(struct MHD_Connection *connection, const char *repository,
                                  const char *digest, size_t size)
{
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof(path), "%s/blobs/%s", repository, digest);
    item_add(path, digest, "application/octet-stream", NULL, size);
    return answer_stored(connection, path, digest);
}

/* POST that opens a session, or mounts, or brings the whole blob; PATCH; PUT. */
static enum MHD_Result answer_upload(struct MHD_Connection *connection, const char *url,
                                     const char *method, const struct request *request)
{
    const char *session = strstr(url, "/blobs/uploads/");
    if (!session)
        return send_it(connection, 404, empty());
    char repository[PATH_MAX_BYTES];
    snprintf(repository, sizeof(repository), "%.*s", (int)(session - url), url);
    size_t size = request->size + strtoul(session + strlen("/blobs/uploads/"), NULL, 10);

    const char *digest = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "digest");
    if (digest) {
        count(&counts.blobs, 1);
        return store_blob(connection, repository, digest, size);
    }
    if (strcmp(method, "PUT") == 0)
        return send_it(connection, 400, empty());
    const char *mount = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "mount");
    const char *from = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "from");
    if (mount && from) {
        char path[PATH_MAX_BYTES];
        snprintf(path, sizeof(path), "/v2/%s/blobs/%s", from, mount);
        const struct item *item = item_find(path);
        if (item) {
            count(&counts.mounts, 1);
            return store_blob(connection, repository, mount, item->size);
        }
    }
    char location[PATH_MAX_BYTES];
    snprintf(location, sizeof(location), "%s/blobs/uploads/%zu", repository, size);
    char range[32];
    snprintf(range, sizeof(range), "0-%zu", size > 0 ? size - 1 : 0);
    struct MHD_Response *response = empty();
    MHD_add_response_header(response, "Location", location);
    MHD_add_response_header(response, "Range", range);
    return send_it(connection, 202, response);
}

static enum MHD_Result answer_manifest_put(struct MHD_Connection *connection, const char *url,
                                           const struct request *request)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    const char *end = strstr(url, "/manifests/");
    if (!type || !end || !request->body)
        return send_it(connection, 400, empty());
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_Digest(request->body, request->size, hash, NULL, EVP_sha256(), NULL);
    char digest[80] = "sha256:";
    for (size_t i = 0; i < 32; i++)
        snprintf(digest + 7 + 2 * i, 3, "%02x", hash[i]);
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof(path), "%.*s/manifests/%s", (int)(end - url), url, digest);
    item_add(path, digest, type, request->body, request->size);
    item_add(url, digest, type, request->body, request->size);
    count(&counts.manifests, 1);
    return answer_stored(connection, path, digest);
}

static void take_body(struct request *request, bool manifest, const char *data, size_t size)
{
    if (manifest && request->size + size <= MANIFEST_MAX) {
        request->body = realloc(request->body, request->size + size);
        if (!request->body)
            abort();
        memcpy(request->body + request->size, data, size);
    }
    request->size += size;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **state)
{
    (void)arg;
    (void)version;
    bool manifest = strstr(url, "/manifests/") != NULL;
    struct request *request = *state;
    if (!request) {
        *state = calloc(1, sizeof(*request));
        return *state ? MHD_YES : MHD_NO;
    }
    if (*data_size > 0) {
        take_body(request, manifest, data, *data_size);
        *data_size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/counts") == 0)
        return answer_counts(connection);
    count(&counts.requests, 1);
    count(&counts.bytes, request->size);
    if (strcmp(url, "/v2/") == 0)
        return send_it(connection, 200, empty());
    if (strcmp(method, "HEAD") == 0 || strcmp(method, "GET") == 0)
        return answer_found(connection, url);
    if (strcmp(method, "PUT") == 0 && manifest)
        return answer_manifest_put(connection, url, request);
    if (strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0 || strcmp(method, "PUT") == 0)
        return answer_upload(connection, url, method, request);
    return send_it(connection, strcmp(method, "DELETE") == 0 ? 204 : 405, empty());
}

static void finished(void *arg, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode why)
{
    (void)arg;
    (void)connection;
    (void)why;
    struct request *request = *state;
    if (request)
        free(request->body);
    free(request);
    *state = NULL;
}

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64] = "127.0.0.1";
    if (colon)
        snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    address.sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : text, NULL, 10));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "sink: %s is no IPv4 address\n", host);
        exit(2);
    }
    return address;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = address_of(argc > 1 ? argv[1] : "0");
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host));
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);

    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, handle,
        NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_NOTIFY_COMPLETED,
        finished, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)256 << 10, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "sink: cannot listen on %s\n", argc > 1 ? argv[1] : "0");
        return 1;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    fprintf(stderr, "listening on %s:%u\n", host, (unsigned)info->port);
    int signal_number;
    sigwait(&stop, &signal_number);
    MHD_stop_daemon(daemon);
    return 0;
}
