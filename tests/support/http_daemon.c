#include "tests/support/http_daemon.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    (void)version;
    (void)data;
    static char begun;
    const struct http_daemon *daemon = self;
    if (*context == NULL || *size > 0) {
        *context = &begun;
        *size = 0;
        return MHD_YES;
    }
    const struct request request = {
        .connection = connection, .method = method, .path = url, .query = ""};
    struct reply reply = REPLY_INIT(200);
    daemon->answer(daemon->self, &request, &reply);
    return reply_send(&reply, connection, daemon->reads);
}

void http_daemon_start(struct http_daemon *daemon)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    daemon->daemon =
        MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                         on_request, daemon, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    assert(daemon->daemon != NULL);
    daemon->port = MHD_get_daemon_info(daemon->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

void http_daemon_stop(struct http_daemon *daemon)
{
    MHD_stop_daemon(daemon->daemon);
}

void http_daemon_ask(const struct http_daemon *daemon, const char *request, struct buf *out)
{
    char data[4096];
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(daemon->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(client, (const struct sockaddr *)&address, sizeof address);
    assert(rc == 0);
    size_t size = strlen(request);
    ssize_t sent = send(client, request, size, MSG_NOSIGNAL);
    assert(sent == (ssize_t)size);
    buf_clear(out);
    for (ssize_t got; (got = recv(client, data, sizeof data, 0)) > 0;)
        buf_append(out, data, (size_t)got);
    close(client);
}
