/*
 * Where a public registry may lead its client: Locations of upload sessions, realms, redirects of
 * one and of two hops, to hosts in all forms, with and without a proxy. This program has a resolver
 * and a connect() of its own: names lead where the table below says, and every connection to the
 * double, which is registry, token server, storage and proxy.
 */
#include "base/mem.h"
#include "base/net.h"
#include "tests/support/http_double.h"
#include "upstream/client/exchange.h"
#include "upstream/upload/upload_session.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static atomic_uint double_port;
static atomic_uint private_connects;
static const char *_Atomic leads_to;

/* --- the resolver and the network --- */

static const struct {
    const char *name;
    const char *addresses[2];
} names[] = {
    {"r.example.com", {"8.8.8.8", NULL}},
    {"proxy.test", {"8.8.4.4", NULL}},
    {"public.test", {"9.9.9.9", "2620:fe::fe"}},
    {"inside.test", {"10.0.0.1", NULL}},
    {"both.test", {"10.0.0.1", "192.168.0.1"}},
    {"meta.test", {"169.254.169.254", NULL}},
    {"six.test", {"fd00::1", NULL}},
    {"mapped.test", {"::ffff:10.0.0.1", NULL}},
    {"self.test", {"127.0.0.1", "::1"}},
};

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo all = {.ai_socktype = hints ? hints->ai_socktype : 0,
                           .ai_flags = AI_NUMERICHOST};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct addrinfo *more = NULL;
        if (name == NULL || strcasecmp(name, names[i].name) != 0)
            continue;
        if (real(names[i].addresses[0], service, &all, out) != 0)
            return EAI_FAIL;
        if (names[i].addresses[1] && real(names[i].addresses[1], service, &all, &more) == 0)
            (*out)->ai_next = more;
        return 0;
    }
    return EAI_NONAME;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int (*real)(int, const struct sockaddr *, socklen_t);
    *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family != AF_INET)
        return real(fd, address, size);
    private_connects += net_address_is_private(address);
    const struct sockaddr_in there = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)double_port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    return real(fd, (const struct sockaddr *)&there, sizeof there);
}

/* libcurl asks the socket where it leads. */
int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict size)
{
    (void)fd;
    const struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};
    memcpy(address, &there, sizeof there);
    *size = sizeof there;
    return 0;
}

static void handle(void *self, const struct double_request *request, struct double_answer *answer)
{
    (void)self;
    const char *path = request->path;
    if (strncmp(path, "http://", 7) == 0) /* asked as a proxy */
        path = strchr(path + 7, '/');
    const char *to = leads_to;
    if (strcmp(path, "/hops") == 0)
        to = "http://public.test/redirect";
    if (strstr(path, "/uploads/"))
        answer->status = 202;
    else if (strcmp(path, "/redirect") == 0 || strcmp(path, "/hops") == 0)
        answer->status = 307;
    if (answer->status != 200)
        snprintf(answer->headers, sizeof answer->headers, "Location: %s\r\n", to);
    if (strcmp(path, "/realm") == 0) {
        answer->status = 401;
        snprintf(answer->headers, sizeof answer->headers,
                 "WWW-Authenticate: Bearer realm=\"%s\",service=\"r\"\r\n", to);
    }
    snprintf(answer->body, sizeof answer->body, "{\"token\":\"t\"}");
}

/* --- the ways in which a registry leads --- */

typedef enum errc lead(struct registry_client *client, struct error *err);

static enum errc get(struct registry_client *client, const char *url, struct error *err)
{
    autourl struct url at = {0};
    autoresponse struct http_response response = HTTP_RESPONSE_INIT;
    struct http_request request = {
        .method = "GET", .answer_limit_bytes = 4096, .deadline = HTTP_ANSWER};
    assert_int_equal(url_parse(url, &at, err), ERR_OK);
    return exchange(client, &at, &request, &response, err);
}

static enum errc by_redirect(struct registry_client *client, struct error *err)
{
    return get(client, "http://r.example.com/redirect", err);
}

static enum errc by_two_redirects(struct registry_client *client, struct error *err)
{
    return get(client, "http://r.example.com/hops", err);
}

static enum errc by_realm(struct registry_client *client, struct error *err)
{
    return get(client, "http://r.example.com/realm", err);
}

static enum errc by_location(struct registry_client *client, struct error *err)
{
    struct upload_session session = {0};
    if (upload_session_open(client, DIGEST_SHA256, &session, err) == ERR_OK)
        get(client, session.url.text, err);
    upload_session_drop(&session);
    return err->code;
}

/* The realm last: from then on the registry wants tokens. */
static lead *const leads[] = {by_redirect, by_two_redirects, by_location, by_realm};

struct fixture {
    struct registries *registries;
    struct registry_host *host;
    struct repository repository;
    struct registry_client client;
};

static void open_registry(struct fixture *fixture)
{
    static const char *const endpoints[] = {"http://r.example.com"};
    static const struct registry_credentials nobody;
    const struct registry_options option = {
        .host = "r.example.com", .endpoints = endpoints, .endpoint_count = 1, .plain_http = true};
    const struct registries_options options = {.registries = &option, .registry_count = 1};
    struct error err = ERROR_INIT;
    assert_int_equal(registries_new(&options, &fixture->registries, &err), ERR_OK);
    assert_int_equal(registries_host(fixture->registries, option.host, &fixture->host, &err),
                     ERR_OK);
    repository_init(&fixture->repository, &fixture->host->endpoints[0], "team/app", &nobody);
    registry_client_open(&fixture->client, &fixture->repository, NULL);
}

static void close_registry(struct fixture *fixture)
{
    registry_client_close(&fixture->client);
    repository_deinit(&fixture->repository);
    registry_host_release(fixture->host);
    registries_free(fixture->registries);
}

/* --- the hosts --- */

enum judgement { REFUSED, FOLLOWED, NO_HOST, NOT_RESOLVED };

static const struct {
    const char *host;
    enum judgement judgement;
} hosts[] = {
    {"127.0.0.1", REFUSED},
    {"127.0.0.1:5000", REFUSED},
    {"127.0.0.1.", REFUSED},
    {"127.1", REFUSED},
    {"127.0.1", REFUSED},
    {"127.255.255.254", REFUSED},
    {"2130706433", REFUSED},
    {"0x7f000001", REFUSED},
    {"0X7F.1", REFUSED},
    {"017700000001", REFUSED},
    {"0177.0.0.1", REFUSED},
    {"0177.0x0.0.1", REFUSED},
    {"0", REFUSED},
    {"0.0.0.0", REFUSED},
    {"10.0.0.1", REFUSED},
    {"10.1", REFUSED},
    {"0xa.1", REFUSED},
    {"012.0.0.1", REFUSED},
    {"167772161", REFUSED},
    {"172.16.0.1", REFUSED},
    {"172.31.255.255", REFUSED},
    {"192.168.1.1", REFUSED},
    {"192.168.257", REFUSED},
    {"3232235777", REFUSED},
    {"169.254.169.254", REFUSED},
    {"2852039166", REFUSED},
    {"0xA9FEA9FE", REFUSED},
    {"0251.0376.0251.0376", REFUSED},
    {"100.64.0.1", REFUSED},
    {"100.100.100.200", REFUSED},
    {"192.0.0.192", REFUSED},
    {"168.63.129.16", REFUSED},
    {"[::1]", REFUSED},
    {"[::1]:5000", REFUSED},
    {"[0:0:0:0:0:0:0:1]", REFUSED},
    {"[::]", REFUSED},
    {"[::ffff:127.0.0.1]", REFUSED},
    {"[::ffff:7f00:1]", REFUSED},
    {"[::FFFF:10.0.0.1]", REFUSED},
    {"[::ffff:a9fe:a9fe]", REFUSED},
    {"[::127.0.0.1]", REFUSED},
    {"[::ffff:0:127.0.0.1]", REFUSED},
    {"[fe80::1]", REFUSED},
    {"[fe80::1%25eth0]", REFUSED},
    {"[fec0::1]", REFUSED},
    {"[fc00::1]", REFUSED},
    {"[fd00:ec2::254]", REFUSED},
    {"[64:ff9b::10.0.0.1]", REFUSED},
    {"[64:ff9b::7f00:1]", REFUSED},
    {"[64:ff9b:1::1]", REFUSED},
    {"[2002:7f00:1::]", REFUSED},
    {"localhost", REFUSED},
    {"LOCALHOST:80", REFUSED},
    {"localhost.", REFUSED},
    {"a.localhost", REFUSED},
    {"a.b.LocalHost.", REFUSED},
    {"localhost.localdomain", REFUSED},
    {"localhost6", REFUSED},
    {"ip6-localhost", REFUSED},
    {"ip6-loopback", REFUSED},
    {"inside.test", REFUSED},
    {"INSIDE.test:8080", REFUSED},
    {"both.test", REFUSED},
    {"meta.test", REFUSED},
    {"six.test", REFUSED},
    {"mapped.test", REFUSED},
    {"self.test", REFUSED},
    {"127.0.0.1.5", NO_HOST},
    {"4294967297", NO_HOST},
    {"0x100000000", NO_HOST},
    {"a.0x7f", NO_HOST},
    {"\xEF\xBC\x91\xEF\xBC\x92\xEF\xBC\x97.0.0.1", NO_HOST}, /* 127 in full width */
    {"127\xE3\x80\x82"
     "0\xE3\x80\x82"
     "0\xE3\x80\x82"
     "1",
     NO_HOST},
    {"\xE2\x93\x9Bocalhost", NO_HOST},
    {"r.example.com@127.0.0.1", NO_HOST},
    {"127.0.0.1:99999", NO_HOST},
    {"[::1", NO_HOST},
    {"nowhere.test", NOT_RESOLVED},
    {"metadata.google.internal", NOT_RESOLVED},
    {"8.8.8.8", FOLLOWED},
    {"134744072", FOLLOWED},
    {"11.0.0.1", FOLLOWED},
    {"public.test", FOLLOWED},
    {"public.test:8080", FOLLOWED},
    {"r.example.com", FOLLOWED},
};

static bool is_as_judged(enum judgement judgement, bool proxied, bool tls, enum errc code)
{
    bool refused = code == ERR_ADDRESS_REFUSED;
    switch (judgement) {
    case REFUSED:
        return refused;
    case NO_HOST:
        return code == ERR_REGISTRY_ANSWER;
    case NOT_RESOLVED:
        if (!proxied)
            return code == ERR_HOST_UNKNOWN;
        return tls ? code == ERR_CONNECTION_LOST || code == ERR_TLS : refused;
    case FOLLOWED:
        break;
    }
    return tls ? code == ERR_CONNECTION_LOST || code == ERR_TLS : code == ERR_OK;
}

/* Of the requests for "/target" and the tunnels that end there. */
static size_t arrived(struct http_double *server)
{
    return http_double_count(server, "CONNECT") + http_double_count(server, "GET /target");
}

static void follow(struct http_double *server, const char *host, enum judgement judgement,
                   bool proxied, bool tls)
{
    autofree char *url = xasprintf("%s://%s/target", tls ? "https" : "http", host);
    struct fixture fixture;
    size_t before = arrived(server);
    leads_to = url;
    open_registry(&fixture);
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        struct error err = ERROR_INIT;
        private_connects = 0;
        enum errc code = leads[i](&fixture.client, &err);
        if (!is_as_judged(judgement, proxied, tls, code) || private_connects > 0)
            fail_msg("%s, way %zu, %s: %d %s, %u connections", url, i,
                     proxied ? "with a proxy" : "direct", (int)code, err.text, private_connects);
    }
    close_registry(&fixture);
    if (judgement == REFUSED || judgement == NO_HOST)
        assert_int_equal(arrived(server), before);
}

/* Where the scheme makes no difference, each has one of both; https that gets far takes long. */
static void follow_all(bool proxied)
{
    struct http_double *server = http_double_start(handle, NULL);
    double_port = http_double_port(server);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        enum judgement judgement = hosts[i].judgement;
        bool both = judgement == NOT_RESOLVED || strcmp(hosts[i].host, "public.test") == 0;
        bool plain = judgement == FOLLOWED || i % 2 == 0;
        if (both || plain)
            follow(server, hosts[i].host, judgement, proxied, false);
        if (both || !plain)
            follow(server, hosts[i].host, judgement, proxied, true);
    }
    http_double_stop(server);
}

static void without_a_proxy(void **state)
{
    (void)state;
    unsetenv("HTTP_PROXY");
    unsetenv("HTTPS_PROXY");
    follow_all(false);
}

static void through_a_proxy(void **state)
{
    (void)state;
    setenv("HTTP_PROXY", "http://proxy.test:3128", 1);
    setenv("HTTPS_PROXY", "proxy.test:3128", 1);
    follow_all(true);
}

int main(void)
{
    static const char *const variables[] = {"http_proxy", "https_proxy", "ALL_PROXY",
                                            "all_proxy",  "NO_PROXY",    "no_proxy"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_proxy),
        cmocka_unit_test(through_a_proxy),
    };
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
