#include "base/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void authorities(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host; /* NULL: none */
        int port;         /* -1: none */
        bool bracketed;
    } table[] = {
        {"r.example.com", "r.example.com", -1, false},
        {"R.Example.COM:5000", "r.example.com", 5000, false},
        {"a_b-c:0", "a_b-c", 0, false},
        {"h:65535", "h", 65535, false},
        {"h:65536", NULL, 0, false},
        {"h:000080", NULL, 0, false},
        {"h:", NULL, 0, false},
        {"h:-1", NULL, 0, false},
        {"h:1:2", NULL, 0, false},
        {"h:+1", NULL, 0, false},
        {"[::1]", "::1", -1, true},
        {"[FE80::A]:443", "fe80::a", 443, true},
        {"[::ffff:127.0.0.1]", "::ffff:127.0.0.1", -1, true},
        {"::1", NULL, 0, false},
        {"[::1", NULL, 0, false},
        {"[::1]5", NULL, 0, false},
        {"[1.2.3.4]", NULL, 0, false},
        {"[]", NULL, 0, false},
        {"", NULL, 0, false},
        {":5000", NULL, 0, false},
        {"a b", NULL, 0, false},
        {"a/b", NULL, 0, false},
        {"u@h", NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct net_authority got;
        bool fits = net_authority_parse(table[i].text, strlen(table[i].text), &got);
        if (fits != (table[i].host != NULL))
            fail_msg("%s", table[i].text);
        if (!fits)
            continue;
        assert_string_equal(got.host, table[i].host);
        assert_int_equal(got.has_port ? got.port : -1, table[i].port);
        assert_int_equal(got.bracketed, table[i].bracketed);
    }
}

/* What is hidden and what is connected to must be told apart in one way. */
static void userinfo_is_plain(void **state)
{
    (void)state;
    static const char *const plain[] = {"https://h/x", "https://u:p@h/x",
                                        "u:p@h:1",     "http://:p@[::1]",
                                        "h:1",         "https://u:p%40%2F@h"};
    static const char *const others[] = {
        "https://u:p@s@h", "https://u:p@h/w@h2", "http://u:1/w@h", "u:p@h#w@h2",
        "u:p?w@h",         "u:p://w@h@h",        "https://h/x@y",  "https://u:p\\w@h"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_true(net_userinfo_is_plain(plain[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(net_userinfo_is_plain(others[i]));
}

static void userinfo_is_hidden(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } table[] = {
        {"https://u:p@h/x", "https://h/x"},
        {"GET \"https://u:p@h:5000\": no", "GET \"https://h:5000\": no"},
        {"https://u@h and http://:p@[::1]:80/", "https://h and http://[::1]:80/"},
        {"https://u:p/w@h/x", "https://h/x"},
        {"https://u:p?w@h/x", "https://h/x"},
        {"https://u:p@ss@h", "https://h"},
        {"https:/u:p@h", "https:/h"},
        {"https:\\\\u:p@h", "https:\\\\h"},
        {"to //u:p@h/x", "to //h/x"},
        {"a.https://u:p@h.b: no", "a.https://h.b: no"},
        {"https://u:p@", "https://"},
        /* no userinfo */
        {"https://h/a@b", "https://h/a@b"},
        {"https://h:5000/team/app@sha256:12", "https://h:5000/team/app@sha256:12"},
        {"h:5000/team/app:1@sha256:12", "h:5000/team/app:1@sha256:12"},
        {"mail a@b", "mail a@b"},
        {"https:// a@b", "https:// a@b"},
        {"", ""},
        {"://", "://"},
        {"/", "/"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "%s", table[i].text);
        net_hide_userinfo(text);
        assert_string_equal(text, table[i].want);
    }
}

static void hosts_have_255_bytes_at_most(void **state)
{
    (void)state;
    char text[NET_HOST_MAX + 4];
    struct net_authority got;
    for (size_t size = NET_HOST_MAX - 1; size <= NET_HOST_MAX + 1; size++) {
        memset(text, 'a', sizeof text);
        memcpy(text + size, ":1", 2);
        assert_int_equal(net_authority_parse(text, size + 2, &got), size <= NET_HOST_MAX);
    }
    assert_false(net_authority_parse("a\0b", 3, &got));
}

static void first_components(void **state)
{
    (void)state;
    static const char *const hosts[] = {"r.io", "h:5", "localhost", "."};
    static const char *const others[] = {"team", "", "Localhost", "localhosts", "localhos"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_true(net_names_host(hosts[i], strlen(hosts[i])));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(net_names_host(others[i], strlen(others[i])));
    assert_false(net_names_host("team.x", 4));
}

enum { LOOPBACK, PRIVATE, NEITHER };

static void reach_of_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        int reach;
    } table[] = {
        {"localhost", LOOPBACK},
        {"localhost.", LOOPBACK},
        {"LocalHost", LOOPBACK},
        {"localhost:5000", LOOPBACK},
        {"a.LOCALHOST", LOOPBACK},
        {"a.b.localhost.:1", LOOPBACK},
        {"127.0.0.1", LOOPBACK},
        {"127.0.0.1.", LOOPBACK},
        {"127.0.0.1:5000", LOOPBACK},
        {"127.255.255.255", LOOPBACK},
        {"::1", LOOPBACK},
        {"[::1]", LOOPBACK},
        {"[::1]:5000", LOOPBACK},
        {"[0:0:0:0:0:0:0:1]", LOOPBACK},
        {"::ffff:127.0.0.1", LOOPBACK},
        {"[::FFFF:127.1.2.3]:5000", LOOPBACK},
        {"::ffff:7f00:1", LOOPBACK},
        {"0.0.0.0", PRIVATE},
        {"10.0.0.0", PRIVATE},
        {"10.255.255.255:80", PRIVATE},
        {"100.64.0.0", PRIVATE},
        {"100.127.255.255", PRIVATE},
        {"169.254.169.254", PRIVATE},
        {"172.16.0.0", PRIVATE},
        {"172.31.255.255", PRIVATE},
        {"192.168.0.0", PRIVATE},
        {"192.168.255.255.", PRIVATE},
        {"::", PRIVATE},
        {"[fe80::1]", PRIVATE},
        {"FD00::1", PRIVATE},
        {"[fc00::1]:443", PRIVATE},
        {"::ffff:192.168.1.1", PRIVATE},
        {"::ffff:0.0.0.0", PRIVATE},
        {"fec0::1", PRIVATE},
        {"feff:ffff::1", PRIVATE},
        {"[64:ff9b::169.254.169.254]:80", PRIVATE},
        {"64:ff9b::a00:1", PRIVATE},
        {"64:ff9b::127.0.0.1", PRIVATE},
        {"64:ff9b:1::808:808", PRIVATE},
        {"2002:a9fe:a9fe::1", PRIVATE},
        {"2002:7f00:1::", PRIVATE},
        {"2002:c0a8:101:1:2:3:808:808", PRIVATE},
        {"::10.0.0.1", PRIVATE},
        {"64:ff9b::8.8.8.8", NEITHER},
        {"64:ff9b::1:a00:1", NEITHER},
        {"2002:808:808::a00:1", NEITHER},
        {"2003:a00:1::", NEITHER},
        {"::8.8.8.8", NEITHER},
        {"ff00::1", NEITHER},
        {"1.0.0.0", NEITHER},
        {"9.255.255.255", NEITHER},
        {"11.0.0.0", NEITHER},
        {"100.63.255.255", NEITHER},
        {"100.128.0.0", NEITHER},
        {"126.255.255.255", NEITHER},
        {"128.0.0.1", NEITHER},
        {"172.15.255.255", NEITHER},
        {"172.32.0.0", NEITHER},
        {"192.169.0.0", NEITHER},
        {"10.127.0.1.2", NEITHER},
        {"[::2]", PRIVATE},
        {"2001:db8::1", NEITHER},
        {"[::ffff:8.8.8.8]", NEITHER},
        {"r.example.com", NEITHER},
        {"localhost.example.com", NEITHER},
        {"notlocalhost", NEITHER},
        {".localhost", NEITHER},
        {".localhostx", NEITHER},
        {"localhost..", NEITHER},
        {"127.0.0.1.example", NEITHER},
        {"127.example.com", NEITHER},
        {"12.7.0.1", NEITHER},
        {"docker.io", NEITHER},
        {"[]", NEITHER},
        {"[", NEITHER},
        {".", NEITHER},
        {"", NEITHER},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (net_host_is_loopback(table[i].host) != (table[i].reach == LOOPBACK) ||
            net_host_is_private(table[i].host) != (table[i].reach != NEITHER))
            fail_msg("%s", table[i].host);
}

struct addresses {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static const struct sockaddr *address(struct addresses *out, int family, const char *text)
{
    *out = (struct addresses){.v4.sin_family = AF_INET, .v6.sin6_family = AF_INET6};
    void *to = family == AF_INET ? (void *)&out->v4.sin_addr : (void *)&out->v6.sin6_addr;
    assert_int_equal(inet_pton(family, text, to), 1);
    return family == AF_INET ? (const struct sockaddr *)&out->v4
                             : (const struct sockaddr *)&out->v6;
}

static bool is_private(int family, const char *text)
{
    struct addresses of;
    return net_address_is_private(address(&of, family, text));
}

static void addresses(void **state)
{
    (void)state;
    assert_true(is_private(AF_INET, "127.0.0.1"));
    assert_true(is_private(AF_INET, "10.1.2.3"));
    assert_false(is_private(AF_INET, "8.8.8.8"));
    assert_true(is_private(AF_INET6, "::1"));
    assert_true(is_private(AF_INET6, "::ffff:192.168.1.1"));
    assert_false(is_private(AF_INET6, "::ffff:8.8.8.8"));
    assert_false(is_private(AF_INET6, "2001:db8::1"));
    assert_true(is_private(AF_INET6, "64:ff9b::c0a8:101"));
    assert_false(is_private(AF_INET6, "64:ff9b::808:808"));
    assert_false(net_address_is_private(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static bool has(const char *network, const char *address)
{
    struct net_network parsed;
    struct net_address value;
    assert_true(net_network_parse(network, &parsed));
    assert_true(net_address_parse(address, strlen(address), &value));
    return net_network_has(&parsed, &value);
}

static void networks(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.1"));
    assert_true(has("10.1.2.3", "10.1.2.3"));
    assert_false(has("10.1.2.3", "10.1.2.2"));
    assert_true(has("10.1.2.2/31", "10.1.2.3"));
    assert_false(has("10.1.2.0/23", "10.1.4.0"));
    assert_true(has("0.0.0.0/0", "203.0.113.9"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("::/0", "2001:db8::1") && has("::/0", "10.0.0.1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.1.1"));
    static const char *const bad[] = {
        "",      "10",        "10.0.0.0/",    "10.0.0.0/33", "10.0.0.0/8 ", "::/129", "10.0.0.0/-1",
        "[::1]", "localhost", "10.0.0.0/1/2", "::/0128",     "10.0.0.0:80"};
    struct net_network ignored;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(net_network_parse(bad[i], &ignored));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities),       cmocka_unit_test(userinfo_is_hidden),
        cmocka_unit_test(userinfo_is_plain), cmocka_unit_test(hosts_have_255_bytes_at_most),
        cmocka_unit_test(first_components),  cmocka_unit_test(reach_of_hosts),
        cmocka_unit_test(addresses),         cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
