#include "tests/unit/config/settings_cases.h"

#include "config/settings_text.h"

#include <netinet/in.h>

static void size_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"512", 512},
                {"7B", 7},
                {"1KiB", 1024},
                {"1kB", 1000},
                {"1KB", 1000},
                {"64MiB", 64 << 20},
                {"1MB", 1000000},
                {"1GB", 1000000000},
                {"3GiB", UINT64_C(3) << 30},
                {"2TiB", UINT64_C(2) << 40},
                {"1TB", UINT64_C(1000000000000)},
                {"9223372036854775807", INT64_MAX},
                {"8388607TiB", UINT64_C(8388607) << 40}};
    static const char *const bad[] = {"",
                                      "KiB",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1K",
                                      "1M",
                                      "1mib",
                                      "1.5GB",
                                      "1e3",
                                      "0x1",
                                      "1KiBx",
                                      "9223372036854775808",
                                      "18446744073709551617",
                                      "8388608TiB",
                                      "99999999999999999999GB"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 1;
        uint64_t again = 1;
        char text[SETTING_SIZE_TEXT_MAX];
        struct error err = ERROR_INIT;
        assert_int_equal(settings_size(good[i].text, &bytes, &err), ERR_OK);
        assert_true(bytes == good[i].bytes);
        assert_int_equal(settings_size(setting_size_text(bytes, text), &again, &err), ERR_OK);
        assert_true(again == bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes = 77;
        struct error err = ERROR_INIT;
        if (settings_size(bad[i], &bytes, &err) != ERR_SETTINGS)
            fail_msg("%s was taken", bad[i]);
        assert_true(bytes == 77);
    }
}

static void duration_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0s", 0},
                {"250ms", 250},
                {"30s", 30000},
                {"5m", 300000},
                {"1h", 3600000},
                {"9223372036854775807ms", INT64_MAX},
                {"2562047788015h", INT64_C(9223372036854000000)}};
    static const char *const bad[] = {"",
                                      "30",
                                      "s",
                                      "-1s",
                                      "1.5s",
                                      "1 s",
                                      "1d",
                                      "1min",
                                      "1hs",
                                      "2562047788016h",
                                      "9223372036854775808ms"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -1;
        struct error err = ERROR_INIT;
        assert_int_equal(settings_duration(good[i].text, &ms, &err), ERR_OK);
        assert_true(ms == good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 77;
        struct error err = ERROR_INIT;
        if (settings_duration(bad[i], &ms, &err) != ERR_SETTINGS)
            fail_msg("%s was taken", bad[i]);
        assert_true(ms == 77);
    }
}

static void addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "127.0.0.1", ":5000",  "localhost:5000", "127.0.0.1:65536", "127.0.0.1:",
        "::1:5000", "[::1]",     "[::1]5", "[127.0.0.1]:5",  "256.0.0.1:5",     "127.0.0.1:5x",
        "[::1:5",   "[]:5",      "*:5000", "127.0.0.1:-1",   "127.0.0.1:000005"};
    struct sockaddr_storage address;
    socklen_t size = 0;
    struct error err = ERROR_INIT;
    assert_int_equal(settings_address("127.0.0.1:65535", &address, &size, &err), ERR_OK);
    assert_int_equal(address.ss_family, AF_INET);
    assert_int_equal(size, sizeof(struct sockaddr_in));
    assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port), 65535);
    assert_int_equal(settings_address("[::1]:0", &address, &size, &err), ERR_OK);
    assert_int_equal(address.ss_family, AF_INET6);
    assert_int_equal(size, sizeof(struct sockaddr_in6));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (settings_address(bad[i], &address, &size, &err) != ERR_SETTINGS)
            fail_msg("%s was taken", bad[i]);
        autofree char *text = xasprintf("{\"listen\":\"%s\"}", bad[i]);
        expect_refusal(text, "listen", "must ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_texts),
        cmocka_unit_test(duration_texts),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
