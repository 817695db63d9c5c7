#include "gateway/http/listener.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define TLS_HANDSHAKE 0x16
/* What is read of a client that speaks TLS after it was answered: closing with bytes unread would
 * reset the connection, and the answer could be lost. */
#define DRAIN_BYTES ((size_t)64 << 10)
#define EVENTS_AT_ONCE 64
/* How long to leave new connections alone when there is no descriptor left for them. */
#define PAUSE_MS 100
#define WARNING_EVERY_MS 60000

/* A connection whose first byte is not there yet. */
struct visitor {
    struct visitor *next; /* younger */
    struct visitor *previous;
    int socket;
    int64_t since_ms;
    size_t drained; /* 0: it was not answered */
    struct sockaddr_storage address;
    socklen_t address_size;
};

struct listener {
    struct listener_options options;
    pthread_t thread;
    int socket;
    int epoll;
    int stop; /* eventfd */
    struct visitor *oldest;
    struct visitor *youngest;
    size_t waiting;
    bool paused;
    int64_t warned_ms; /* when a failure to accept was told last; 0: never */
};

/* ---- connections that wait ---- */

static void forget(struct listener *listener, struct visitor *visitor)
{
    if (visitor->previous)
        visitor->previous->next = visitor->next;
    else
        listener->oldest = visitor->next;
    if (visitor->next)
        visitor->next->previous = visitor->previous;
    else
        listener->youngest = visitor->previous;
    listener->waiting--;
    free(visitor);
}

static void turn_away(struct listener *listener, struct visitor *visitor)
{
    close(visitor->socket);
    forget(listener, visitor);
}

static bool watch(const struct listener *listener, int socket, void *key)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = key};
    return epoll_ctl(listener->epoll, EPOLL_CTL_ADD, socket, &event) == 0;
}

static void welcome(struct listener *listener, struct visitor *visitor)
{
    if (listener->waiting == listener->options.waiting_max)
        turn_away(listener, listener->oldest);
    visitor->since_ms = clock_ms();
    visitor->previous = listener->youngest;
    if (visitor->previous)
        visitor->previous->next = visitor;
    else
        listener->oldest = visitor;
    listener->youngest = visitor;
    listener->waiting++;
    if (!watch(listener, visitor->socket, visitor))
        turn_away(listener, visitor);
}

static void hand_over(struct listener *listener, struct visitor *visitor)
{
    const struct listener_options *options = &listener->options;
    epoll_ctl(listener->epoll, EPOLL_CTL_DEL, visitor->socket, NULL);
    options->connected(options->self, visitor->socket, (struct sockaddr *)&visitor->address,
                       visitor->address_size, visitor->since_ms);
    forget(listener, visitor);
}

static void drain(struct listener *listener, struct visitor *visitor)
{
    uint8_t data[4096];
    ssize_t got = recv(visitor->socket, data, sizeof data, MSG_DONTWAIT);
    if (got > 0)
        visitor->drained += (size_t)got;
    bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
    if ((got <= 0 && !later) || visitor->drained > DRAIN_BYTES)
        turn_away(listener, visitor);
}

static void refuse(struct listener *listener, struct visitor *visitor, const char *text)
{
    log_debug("http: a client speaks %s", listener->options.tls_answer
                                              ? "TLS to the plain port"
                                              : "plain HTTP to the TLS port");
    ssize_t sent = send(visitor->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* Who does not get it sees the end of the connection. */
    shutdown(visitor->socket, SHUT_WR);
    drain(listener, visitor);
}

static void on_visitor(struct listener *listener, struct visitor *visitor)
{
    uint8_t first = 0;
    if (visitor->drained > 0) {
        drain(listener, visitor);
        return;
    }
    ssize_t got = recv(visitor->socket, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        turn_away(listener, visitor);
    else if (first == TLS_HANDSHAKE && listener->options.tls_answer)
        refuse(listener, visitor, listener->options.tls_answer);
    else if ((first < 0x80 && isalpha(first)) && listener->options.plain_answer)
        refuse(listener, visitor, listener->options.plain_answer);
    else
        hand_over(listener, visitor);
}

/* ---- the thread ---- */

static void pause_accepting(struct listener *listener, bool pause)
{
    struct epoll_event event = {.events = pause ? 0 : EPOLLIN, .data.ptr = listener};
    if (epoll_ctl(listener->epoll, EPOLL_CTL_MOD, listener->socket, &event) == 0)
        listener->paused = pause;
}

static void warn(struct listener *listener, int sys)
{
    int64_t now_ms = clock_ms();
    if (listener->warned_ms != 0 && now_ms - listener->warned_ms < WARNING_EVERY_MS)
        return;
    listener->warned_ms = now_ms;
    struct error err = ERROR_INIT;
    fail(&err, ERR_IO, sys, "accept a connection");
    log_event(LOG_WARN, "connections.refused", LOG_FIELDS(log_text("error", err.text)),
              "http: no connection can be accepted now");
}

/* Somebody else may have descriptors to spare. Where nobody has, the oldest that says nothing makes
 * room, and the next one waits a moment: the socket stays readable, so this would go round without
 * end. */
static void on_accept_failed(struct listener *listener, int sys)
{
    const struct listener_options *options = &listener->options;
    if (sys == EAGAIN || sys == EINTR || sys == ECONNABORTED)
        return;
    warn(listener, sys);
    bool crowded = sys == EMFILE || sys == ENFILE;
    if (crowded && options->make_room && options->make_room() > 0)
        return;
    if (listener->oldest)
        turn_away(listener, listener->oldest);
    pause_accepting(listener, true);
}

/* False when there is none to be had now. */
static bool accept_one(struct listener *listener)
{
    struct visitor *visitor = xcalloc(1, sizeof *visitor);
    visitor->address_size = sizeof visitor->address;
    visitor->socket = accept4(listener->socket, (struct sockaddr *)&visitor->address,
                              &visitor->address_size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (visitor->socket >= 0) {
        welcome(listener, visitor);
        return true;
    }
    int sys = errno;
    free(visitor);
    on_accept_failed(listener, sys);
    return false;
}

static void end_late_ones(struct listener *listener)
{
    int64_t limit = clock_ms() - listener->options.timeout_ms;
    while (listener->oldest && listener->oldest->since_ms <= limit)
        turn_away(listener, listener->oldest);
}

static int wait_ms(const struct listener *listener)
{
    if (listener->paused)
        return PAUSE_MS;
    if (listener->oldest == NULL)
        return -1;
    int64_t left = listener->oldest->since_ms + listener->options.timeout_ms - clock_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* The visitors of a round come before a new one, which may turn away the oldest, whose event would
 * then be that of a freed visitor. False: stop. */
static bool one_round(struct listener *listener)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    bool accept = false;
    int count = epoll_wait(listener->epoll, events, EVENTS_AT_ONCE, wait_ms(listener));
    if (listener->paused)
        pause_accepting(listener, false);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            return false;
        if (events[i].data.ptr == listener)
            accept = true;
        else
            on_visitor(listener, events[i].data.ptr);
    }
    for (int i = 0; accept && i < EVENTS_AT_ONCE; i++)
        accept = accept_one(listener);
    end_late_ones(listener);
    return true;
}

static void *listener_thread(void *arg)
{
    while (one_round(arg))
        ;
    return NULL;
}

/* ---- opening and closing ---- */

static enum errc bind_socket(struct listener *listener, const struct listener_options *options,
                             struct error *err)
{
    const int on = 1;
    int family = options->address->ss_family;
    listener->socket = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->socket < 0)
        return fail(err, ERR_SETTINGS, errno, "open a socket");
    setsockopt(listener->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(listener->socket, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    /* On Linux the mode of the socket is that of its file: nobody else can come in before a chmod.
     */
    if (family == AF_UNIX && fchmod(listener->socket, S_IRUSR | S_IWUSR) != 0)
        return fail(err, ERR_SETTINGS, errno, "restrict the socket");
    if (bind(listener->socket, (const struct sockaddr *)options->address, options->address_size) !=
            0 ||
        listen(listener->socket, SOMAXCONN) != 0)
        return fail(err, ERR_SETTINGS, errno, "bind the address");
    return ERR_OK;
}

static enum errc start(struct listener *listener, struct error *err)
{
    listener->epoll = epoll_create1(EPOLL_CLOEXEC);
    listener->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->epoll < 0 || listener->stop < 0 || !watch(listener, listener->stop, NULL) ||
        !watch(listener, listener->socket, listener))
        return fail(err, ERR_IO, errno, "wait for connections");
    int rc = pthread_create(&listener->thread, NULL, listener_thread, listener);
    return rc == 0 ? ERR_OK : fail(err, ERR_IO, rc, "start a thread for connections");
}

static void release(struct listener *listener)
{
    while (listener->oldest)
        turn_away(listener, listener->oldest);
    const int fds[] = {listener->socket, listener->epoll, listener->stop};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(listener);
}

enum errc listener_open(const struct listener_options *options, struct listener **out,
                        struct error *err)
{
    struct listener *listener = xcalloc(1, sizeof *listener);
    listener->options = *options;
    listener->options.address = NULL;
    listener->socket = listener->epoll = listener->stop = -1;
    if (bind_socket(listener, options, err) != ERR_OK || start(listener, err) != ERR_OK) {
        release(listener);
        return err->code;
    }
    *out = listener;
    return ERR_OK;
}

uint16_t listener_port(const struct listener *listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {.sin6_port = 0}};
    socklen_t size = sizeof address;
    getsockname(listener->socket, &address.any, &size);
    if (address.any.sa_family == AF_UNIX)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void listener_close(struct listener *listener)
{
    if (listener == NULL)
        return;
    eventfd_write(listener->stop, 1);
    pthread_join(listener->thread, NULL);
    release(listener);
}
