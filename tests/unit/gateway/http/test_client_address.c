#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

#include "gateway/http/client_address.h"

#include <stdio.h>
#include <string.h>

static struct net_address parsed(const char *text)
{
    struct net_address address;
    assert_true(net_address_parse(text, strlen(text), &address));
    return address;
}

/* Proxies: 10.0.0.0/8 and 2001:db8:1::/48. */
static void expect(const char *peer, const char *forwarded, const char *client)
{
    struct net_network networks[2];
    char text[NET_ADDRESS_TEXT_MAX];
    assert_true(net_network_parse("10.0.0.0/8", &networks[0]));
    assert_true(net_network_parse("2001:db8:1::/48", &networks[1]));
    const struct client_proxies proxies = {networks, 2};
    const struct net_address end = parsed(peer);
    const struct net_address got = client_address_in(&end, &proxies, forwarded);
    assert_string_equal(net_address_text(&got, text), client);
}

static void only_trusted_proxies_are_believed(void **state)
{
    (void)state;
    expect("192.0.2.1", "", "192.0.2.1");
    expect("192.0.2.1", "198.51.100.7", "192.0.2.1");
    expect("10.1.1.1", "", "10.1.1.1");
    expect("10.1.1.1", "198.51.100.7", "198.51.100.7");
    expect("2001:db8:1::9", "198.51.100.7", "198.51.100.7");
    expect("::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7");
    const struct client_proxies none = {NULL, 0};
    const struct net_address end = parsed("10.1.1.1");
    const struct net_address got = client_address_in(&end, &none, "198.51.100.7");
    assert_true(net_address_equal(&got, &end));
}

static void it_is_read_from_the_right(void **state)
{
    (void)state;
    expect("10.1.1.1", "203.0.113.1, 198.51.100.7", "198.51.100.7");
    expect("10.1.1.1", "203.0.113.1,198.51.100.7 ,\t10.2.2.2, 10.3.3.3", "198.51.100.7");
    expect("10.1.1.1", "10.2.2.2", "10.2.2.2");
    expect("10.1.1.1", "10.4.4.4,10.2.2.2", "10.4.4.4");
}

static void forms_of_addresses(void **state)
{
    (void)state;
    expect("10.1.1.1", "198.51.100.7:4711", "198.51.100.7");
    expect("10.1.1.1", "[2001:db8:2:3::5]:4711", "2001:db8:2:3::");
    expect("10.1.1.1", "[2001:db8:2:3::5]", "2001:db8:2:3::");
    expect("10.1.1.1", "2001:db8:2:3:ffff::5", "2001:db8:2:3::");
    expect("2001:db8:7:7:1:2:3:4", "", "2001:db8:7:7::");
}

static void what_is_no_address_is_not_believed(void **state)
{
    (void)state;
    static const char *const bad[] = {"unknown",
                                      "",
                                      " ",
                                      ",",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "_hidden",
                                      "[2001:db8::1",
                                      "300.1.1.1",
                                      "1.2.3.4 5.6.7.8",
                                      "1:2:3:4:5:6:7:8:9",
                                      "[]",
                                      ":",
                                      "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char forwarded[100];
        expect("10.1.1.1", bad[i], "10.1.1.1");
        snprintf(forwarded, sizeof forwarded, "203.0.113.1, %s, 10.2.2.2", bad[i]);
        expect("10.1.1.1", forwarded, "10.2.2.2");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_trusted_proxies_are_believed),
        cmocka_unit_test(it_is_read_from_the_right),
        cmocka_unit_test(forms_of_addresses),
        cmocka_unit_test(what_is_no_address_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
