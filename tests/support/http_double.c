#include "tests/support/http_double.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTES_MAX 4096
#define CONNECTIONS_MAX 1024

struct http_double {
    void (*handle)(void *self, const struct double_request *, struct double_answer *);
    void *self;
    int listener;
    unsigned port;
    pthread_t acceptor;
    pthread_mutex_t lock; /* guards what follows */
    char *notes[NOTES_MAX];
    size_t note_count;
    char stalled_method[16];
    unsigned now;
    unsigned most;
    bool stopping;
    struct connection_thread {
        pthread_t thread;
        int fd;
    } connections[CONNECTIONS_MAX];
    size_t connection_count;
    size_t ended_count;
};

struct peer {
    struct http_double *server;
    int fd;
    char buffer[65536];
    size_t filled;
};

static bool fill(struct peer *peer)
{
    if (peer->filled == sizeof peer->buffer - 1)
        return false;
    ssize_t got =
        recv(peer->fd, peer->buffer + peer->filled, sizeof peer->buffer - 1 - peer->filled, 0);
    if (got <= 0)
        return false;
    peer->filled += (size_t)got;
    peer->buffer[peer->filled] = '\0';
    return true;
}

static void consume(struct peer *peer, size_t size)
{
    memmove(peer->buffer, peer->buffer + size, peer->filled - size);
    peer->filled -= size;
    peer->buffer[peer->filled] = '\0';
}

static void header_value(const char *head, const char *name, char *out, size_t capacity)
{
    out[0] = '\0';
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        size_t size = strlen(name);
        if (strncasecmp(line + 2, name, size) != 0 || line[2 + size] != ':')
            continue;
        const char *value = line + 2 + size + 1;
        value += strspn(value, " ");
        snprintf(out, capacity, "%.*s", (int)strcspn(value, "\r\n"), value);
        return;
    }
}

static bool read_head(struct peer *peer, struct double_request *request, size_t *length)
{
    peer->buffer[peer->filled] = '\0';
    char *end;
    while ((end = strstr(peer->buffer, "\r\n\r\n")) == NULL)
        if (!fill(peer) || peer->buffer[0] == 0x16) /* a TLS ClientHello */
            return false;
    end[2] = '\0';
    char target[10000] = "";
    char text[32];
    if (sscanf(peer->buffer, "%15s %9999s", request->method, target) != 2)
        return false;
    char *query = strchr(target, '?');
    snprintf(request->query, sizeof request->query, "%s", query ? query + 1 : "");
    snprintf(request->path, sizeof request->path, "%.*s", (int)strcspn(target, "?"), target);
    header_value(peer->buffer, "Authorization", request->authorization,
                 sizeof request->authorization);
    header_value(peer->buffer, "Content-Type", request->content_type, sizeof request->content_type);
    header_value(peer->buffer, "Content-Range", request->content_range,
                 sizeof request->content_range);
    header_value(peer->buffer, "Transfer-Encoding", text, sizeof text);
    bool coded = text[0] != '\0';
    header_value(peer->buffer, "Content-Length", text, sizeof text);
    request->sized = text[0] != '\0' && !coded;
    *length = strtoul(text, NULL, 10);
    consume(peer, (size_t)(end - peer->buffer) + 4);
    return true;
}

static bool read_body(struct peer *peer, struct double_request *request, size_t length)
{
    request->body = xcalloc(1, length + 1);
    while (request->body_size < length) {
        if (peer->filled == 0 && !fill(peer))
            return false;
        size_t left = length - request->body_size;
        size_t size = peer->filled < left ? peer->filled : left;
        memcpy(request->body + request->body_size, peer->buffer, size);
        request->body_size += size;
        consume(peer, size);
    }
    return true;
}

static void note(struct http_double *server, const struct double_request *request)
{
    char *text = xasprintf("%s %s%s", request->method, request->path,
                           request->authorization[0] ? " auth" : "");
    pthread_mutex_lock(&server->lock);
    if (server->note_count < NOTES_MAX)
        server->notes[server->note_count++] = text;
    else
        free(text);
    if (++server->now > server->most)
        server->most = server->now;
    pthread_mutex_unlock(&server->lock);
}

static bool stalls(struct http_double *server, const char *method)
{
    pthread_mutex_lock(&server->lock);
    bool yes = strcmp(server->stalled_method, method) == 0;
    pthread_mutex_unlock(&server->lock);
    return yes;
}

/* Hang without reading until the other side is gone: its FIN can only be seen by asking. */
static void hang(const struct peer *peer)
{
    char byte;
    char junk[65536];
    while (recv(peer->fd, &byte, 1, MSG_PEEK) > 0 && recv(peer->fd, junk, sizeof junk, 0) > 0)
        usleep(1000);
}

static bool send_answer(const struct peer *peer, const struct double_request *request,
                        const struct double_answer *answer)
{
    bool head = strcmp(request->method, "HEAD") == 0;
    bool sized = strcasestr(answer->headers, "content-length:") != NULL;
    autofree char *length = xasprintf("Content-Length: %zu\r\n", strlen(answer->body));
    autofree char *text = xasprintf("HTTP/1.1 %d X\r\n%s%s\r\n%s", answer->status, answer->headers,
                                    sized ? "" : length, head ? "" : answer->body);
    return send(peer->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static bool serve_one(struct peer *peer)
{
    struct http_double *server = peer->server;
    autofree struct double_request *request = xcalloc(1, sizeof *request);
    autofree struct double_answer *answer = xcalloc(1, sizeof *answer);
    answer->status = 200;
    request->connection = peer->fd;
    size_t length = 0;
    bool go_on = false;
    if (!read_head(peer, request, &length))
        return false;
    note(server, request);
    if (stalls(server, request->method)) {
        hang(peer);
    } else if (read_body(peer, request, length)) {
        server->handle(server->self, request, answer);
        go_on = !answer->drop && send_answer(peer, request, answer) && !answer->close;
    }
    free(request->body);
    pthread_mutex_lock(&server->lock);
    server->now--;
    pthread_mutex_unlock(&server->lock);
    return go_on;
}

static void *serve(void *arg)
{
    struct peer *peer = arg;
    while (serve_one(peer))
        continue;
    shutdown(peer->fd, SHUT_RDWR);
    pthread_mutex_lock(&peer->server->lock);
    peer->server->ended_count++;
    pthread_mutex_unlock(&peer->server->lock);
    free(peer);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct http_double *server = arg;
    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct peer *peer = xcalloc(1, sizeof *peer);
        peer->server = server;
        peer->fd = fd;
        pthread_mutex_lock(&server->lock);
        bool room = !server->stopping && server->connection_count < CONNECTIONS_MAX;
        if (room) {
            struct connection_thread *at = &server->connections[server->connection_count++];
            at->fd = fd;
            pthread_create(&at->thread, NULL, serve, peer);
        }
        pthread_mutex_unlock(&server->lock);
        if (!room) {
            close(fd);
            free(peer);
        }
    }
}

struct http_double *http_double_start(void (*handle)(void *self, const struct double_request *,
                                                     struct double_answer *),
                                      void *self)
{
    struct http_double *server = xcalloc(1, sizeof *server);
    server->handle = handle;
    server->self = self;
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof address;
    if (bind(server->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(server->listener, 128) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) != 0)
        abort();
    server->port = ntohs(address.sin_port);
    pthread_create(&server->acceptor, NULL, accept_all, server);
    return server;
}

void http_double_stop(struct http_double *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->lock);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    close(server->listener);
    for (size_t i = 0; i < server->connection_count; i++) {
        shutdown(server->connections[i].fd, SHUT_RDWR);
        pthread_join(server->connections[i].thread, NULL);
        close(server->connections[i].fd);
    }
    for (size_t i = 0; i < server->note_count; i++)
        free(server->notes[i]);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

unsigned http_double_port(const struct http_double *server)
{
    return server->port;
}

bool http_double_has_gone(const struct double_request *request)
{
    char byte;
    ssize_t got = recv(request->connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

void http_double_stall(struct http_double *server, const char *method)
{
    pthread_mutex_lock(&server->lock);
    snprintf(server->stalled_method, sizeof server->stalled_method, "%s", method ? method : "");
    pthread_mutex_unlock(&server->lock);
}

size_t http_double_count(struct http_double *server, const char *prefix)
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->note_count; i++)
        count += strncmp(server->notes[i], prefix, strlen(prefix)) == 0;
    pthread_mutex_unlock(&server->lock);
    return count;
}

size_t http_double_await(struct http_double *server, const char *prefix, size_t want)
{
    int64_t until_ms = clock_ms() + 20000;
    size_t count = http_double_count(server, prefix);
    while (count < want && clock_ms() < until_ms) {
        usleep(1000);
        count = http_double_count(server, prefix);
    }
    return count;
}

static size_t await(struct http_double *server, const size_t *counter, size_t want)
{
    int64_t until_ms = clock_ms() + 20000;
    for (;;) {
        pthread_mutex_lock(&server->lock);
        size_t count = *counter;
        pthread_mutex_unlock(&server->lock);
        if (count >= want || clock_ms() >= until_ms)
            return count;
        usleep(1000);
    }
}

size_t http_double_connections(struct http_double *server, size_t want)
{
    return await(server, &server->connection_count, want);
}

size_t http_double_ended(struct http_double *server, size_t want)
{
    return await(server, &server->ended_count, want);
}

void http_double_hang_up(struct http_double *server)
{
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->connection_count; i++)
        shutdown(server->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
}

long http_double_position(struct http_double *server, const char *prefix)
{
    long position = -1;
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->note_count && position < 0; i++)
        if (strncmp(server->notes[i], prefix, strlen(prefix)) == 0)
            position = (long)i;
    pthread_mutex_unlock(&server->lock);
    return position;
}

unsigned http_double_most_at_once(struct http_double *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned most = server->most;
    pthread_mutex_unlock(&server->lock);
    return most;
}
