#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "net/transport_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

struct ahead_socket {
    const struct transport *transport;
    struct sockaddr_storage address; /* IPv4 or IPv6 */
    int fd;
    int64_t opened_ms;
    TAILQ_ENTRY(ahead_socket) link;
};

TAILQ_HEAD(ahead_sockets, ahead_socket);

/* The oldest first; one list for all transports, as they share the descriptors of the process. */
static struct {
    pthread_mutex_t lock;
    struct ahead_sockets sockets;
    size_t count;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .sockets = TAILQ_HEAD_INITIALIZER(pool.sockets)};

/* With the lock. */
static void take_out(struct ahead_socket *socket)
{
    TAILQ_REMOVE(&pool.sockets, socket, link);
    pool.count--;
}

/* With the lock. False: it is closed. */
static bool put_last(struct ahead_socket *socket)
{
    if (pool.count >= TRANSPORT_IDLE_MAX)
        return false;
    TAILQ_INSERT_TAIL(&pool.sockets, socket, link);
    pool.count++;
    return true;
}

static void discard(struct ahead_socket *socket)
{
    close(socket->fd);
    free(socket);
}

static bool leads_to(const struct ahead_socket *socket, const struct sockaddr *address)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)&socket->address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&socket->address;
    if (socket->address.ss_family != address->sa_family)
        return false;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *wanted = (const struct sockaddr_in *)address;
        return four->sin_port == wanted->sin_port &&
               four->sin_addr.s_addr == wanted->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *wanted = (const struct sockaddr_in6 *)address;
    return address->sa_family == AF_INET6 && six->sin6_port == wanted->sin6_port &&
           wanted->sin6_scope_id == 0 &&
           memcmp(&six->sin6_addr, &wanted->sin6_addr, sizeof six->sin6_addr) == 0;
}

/* --- opening --- */

static bool parse(const char *text, int port, struct sockaddr_storage *address, socklen_t *size)
{
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    *address = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        *size = sizeof *four;
        return true;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1 || IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
        return false;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    *size = sizeof *six;
    return true;
}

/* Nothing is closed to make room for it. libcurl 7.88 calls connect() again for a socket that it
 * was told to be connected; the kernel answers that with success once, when the first call had to
 * leave before its end: so only such a socket is of use. */
static struct ahead_socket *open_one(const struct transport *transport,
                                     const struct sockaddr_storage *address, socklen_t size)
{
    int fd = transport_spare_socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return NULL;
    if (connect(fd, (const struct sockaddr *)address, size) == 0 || errno != EINPROGRESS) {
        close(fd);
        return NULL;
    }
    struct ahead_socket *made = xcalloc(1, sizeof *made);
    made->transport = transport;
    made->fd = fd;
    made->opened_ms = clock_ms();
    made->address = *address;
    return made;
}

void transport_open_ahead(const struct transport *transport, const char *address, int port,
                          unsigned count)
{
    struct sockaddr_storage parsed;
    socklen_t size = 0;
    transport_close_ahead(NULL, TRANSPORT_AHEAD_MS);
    bool opens = parse(address, port, &parsed, &size);
    for (unsigned i = 0; opens && i < count; i++) {
        struct ahead_socket *made = open_one(transport, &parsed, size);
        if (made == NULL)
            return;
        pthread_mutex_lock(&pool.lock);
        bool kept = put_last(made);
        pthread_mutex_unlock(&pool.lock);
        if (!kept) {
            discard(made);
            return;
        }
    }
}

/* --- taking --- */

enum state { CONNECTING, CONNECTED, USELESS };

/* A server speaks second: what is there to be read is the end. */
static enum state state_of(const struct ahead_socket *socket, int64_t now_ms)
{
    struct pollfd poll_for = {.fd = socket->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    if (now_ms - socket->opened_ms >= TRANSPORT_AHEAD_MS || poll(&poll_for, 1, 0) < 0 ||
        (poll_for.revents & ~POLLOUT) != 0)
        return USELESS;
    return poll_for.revents == POLLOUT ? CONNECTED : CONNECTING;
}

/* One that need not be waited for; what turns out to be of no use goes to `useless`. */
static struct ahead_socket *find(const struct transport *transport,
                                 const struct curl_sockaddr *address, struct ahead_sockets *useless)
{
    int64_t now_ms = clock_ms();
    struct ahead_socket *next = NULL;
    autolock pthread_mutex_t *held = lock_take(&pool.lock);
    for (struct ahead_socket *at = TAILQ_FIRST(&pool.sockets); at; at = next) {
        next = TAILQ_NEXT(at, link);
        if (at->transport != transport || !leads_to(at, &address->addr))
            continue;
        enum state state = state_of(at, now_ms);
        if (state == CONNECTING)
            continue;
        take_out(at);
        if (state == CONNECTED)
            return at;
        TAILQ_INSERT_TAIL(useless, at, link);
    }
    return NULL;
}

static size_t discard_all(struct ahead_sockets *sockets)
{
    size_t count = 0;
    for (struct ahead_socket *socket; (socket = TAILQ_FIRST(sockets)); count++) {
        TAILQ_REMOVE(sockets, socket, link);
        discard(socket);
    }
    return count;
}

int transport_take_ahead(const struct transport *transport, const struct curl_sockaddr *address)
{
    struct ahead_sockets useless = TAILQ_HEAD_INITIALIZER(useless);
    struct ahead_socket *found = find(transport, address, &useless);
    discard_all(&useless);
    int fd = found ? found->fd : -1;
    free(found);
    return fd;
}

/* --- closing --- */

size_t transport_close_ahead(const struct transport *transport, int64_t age_ms)
{
    struct ahead_sockets closing = TAILQ_HEAD_INITIALIZER(closing);
    int64_t until_ms = clock_ms() - age_ms;
    struct ahead_socket *next = NULL;
    pthread_mutex_lock(&pool.lock);
    for (struct ahead_socket *at = TAILQ_FIRST(&pool.sockets); at; at = next) {
        next = TAILQ_NEXT(at, link);
        if ((transport && at->transport != transport) || at->opened_ms > until_ms)
            continue;
        take_out(at);
        TAILQ_INSERT_TAIL(&closing, at, link);
    }
    pthread_mutex_unlock(&pool.lock);
    return discard_all(&closing);
}
