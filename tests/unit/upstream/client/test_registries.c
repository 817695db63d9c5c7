#include "upstream/client/registry_host.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* cmocka has a macro of that name. */
#undef fail

static struct registries *make(void)
{
    const struct registry_options configured = {.host = "configured.example.com"};
    const struct registries_options options = {.registries = &configured, .registry_count = 1};
    struct registries *registries = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(registries_new(&options, &registries, &err), ERR_OK);
    return registries;
}

static enum errc use(struct registries *registries, const char *name, struct registry_host **host)
{
    struct error err = ERROR_INIT;
    return registries_host(registries, name, host, &err);
}

static void use_numbered(struct registries *registries, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[40];
        struct registry_host *host = NULL;
        snprintf(name, sizeof name, "h%u.example.com", i);
        assert_int_equal(use(registries, name, &host), ERR_OK);
        registry_host_release(host);
    }
}

static void what_nobody_uses_is_forgotten_when_there_are_many(void **state)
{
    (void)state;
    struct registries *registries = make();
    struct registry_host *used = NULL;
    struct registry_host *configured = NULL;
    struct registry_host *waiting = NULL;
    struct registry_host *again = NULL;
    assert_int_equal(use(registries, "used.example.com", &used), ERR_OK);
    assert_int_equal(use(registries, "configured.example.com", &configured), ERR_OK);
    registry_host_release(configured);
    assert_int_equal(use(registries, "waiting.example.com", &waiting), ERR_OK);
    back_off_refused(&waiting->back_off, 60000);
    registry_host_release(waiting);
    use_numbered(registries, 3, REGISTRY_HOSTS_MAX);
    assert_int_equal(use(registries, "more.example.com", &again), ERR_BUSY);

    registries_forget(registries);
    use_numbered(registries, REGISTRY_HOSTS_MAX, REGISTRY_HOSTS_MAX + REGISTRY_HOSTS_MAX / 2);
    assert_int_equal(use(registries, "more.example.com", &again), ERR_BUSY);
    assert_int_equal(use(registries, "configured.example.com", &again), ERR_OK);
    assert_ptr_equal(again, configured);
    assert_int_equal(use(registries, "waiting.example.com", &again), ERR_OK);
    assert_ptr_equal(again, waiting);
    assert_string_equal(used->name, "used.example.com");
    registry_host_release(NULL);
    registries_free(registries);
}

static void few_are_remembered(void **state)
{
    (void)state;
    struct registries *registries = make();
    struct registry_host *host = NULL;
    struct registry_host *again = NULL;
    assert_int_equal(use(registries, "h0.example.com", &host), ERR_OK);
    registry_host_release(host);
    use_numbered(registries, 1, REGISTRY_HOSTS_MAX / 2);
    registries_forget(registries);
    assert_int_equal(use(registries, "h0.example.com", &again), ERR_OK);
    assert_ptr_equal(again, host);
    registries_free(registries);
}

/* What is under way keeps what it has. */
static void a_host_with_other_options_is_another_one(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"https://other.example.com"};
    struct registries *registries = make();
    struct registry_host *before = NULL;
    struct registry_host *plain = NULL;
    struct registry_host *now = NULL;
    struct registry_options options = {.host = "configured.example.com"};
    assert_int_equal(use(registries, "configured.example.com", &before), ERR_OK);
    assert_int_equal(use(registries, "plain.example.com", &plain), ERR_OK);
    registries_change(registries, &options, 1); /* the same */
    assert_int_equal(use(registries, "configured.example.com", &now), ERR_OK);
    assert_ptr_equal(now, before);
    registry_host_release(now);
    for (unsigned i = 0; i < 3; i++) { /* another endpoint, another password, none any more */
        options.revision = i;
        options.endpoints = endpoints;
        options.endpoint_count = 1;
        struct registry_host *held = before;
        registries_change(registries, &options, i < 2);
        registries_forget(registries);
        assert_string_equal(held->name, "configured.example.com");
        assert_int_equal(use(registries, "configured.example.com", &before), ERR_OK);
        assert_ptr_not_equal(before, held);
        assert_int_equal(before->configured, i < 2);
        registry_host_release(held);
    }
    assert_int_equal(use(registries, "plain.example.com", &now), ERR_OK);
    assert_ptr_equal(now, plain);
    registry_host_release(now);
    registry_host_release(plain);
    registry_host_release(before);
    registries_free(registries);
}

static void plain_http_is_first_where_it_answered_and_nothing_can_be_lost(void **state)
{
    (void)state;
    const struct registry_credentials none = {0};
    struct registry_credentials some = {.username = xstrdup("u"), .password = xstrdup("p")};
    static const char *const endpoints[] = {"https://one.example.com", "http://two.example.com"};
    const struct registry_options ordered = {.host = "ordered.example.com",
                                             .endpoints = endpoints,
                                             .endpoint_count = 2,
                                             .plain_http = true};
    const struct registries_options options = {.registries = &ordered, .registry_count = 1};
    struct error err = ERROR_INIT;
    struct registries *registries = NULL;
    assert_int_equal(registries_new(&options, &registries, &err), ERR_OK);
    struct registry_host *host = NULL;
    struct endpoint *order[ENDPOINTS_MAX];
    assert_int_equal(use(registries, "127.0.0.1:5000", &host), ERR_OK);
    assert_int_equal(registry_host_order(host, &none, order), 2);
    assert_true(order[0]->base.tls);

    /* As an earlier process left it. */
    host_capabilities_answered(&host->learned, true);
    registry_host_order(host, &none, order);
    assert_false(order[0]->base.tls);
    assert_true(order[1]->base.tls);
    assert_true(endpoint_is_guess(order[0]));
    endpoint_answered(order[0]);
    registry_host_order(host, &some, order);
    assert_true(order[0]->base.tls);
    assert_false(endpoint_is_guess(order[0]));

    /* TLS was tried in vain by now: then there is none. */
    endpoint_was_tried(order[0], false);
    assert_false(endpoint_is_guess(order[1]));
    endpoint_answered(order[1]);
    registry_host_order(host, &some, order);
    assert_false(order[0]->base.tls);
    assert_true(host_capabilities_known(&host->learned).plain);

    /* It speaks TLS, whatever it said. */
    endpoint_was_tried(order[1], true);
    assert_false(host_capabilities_known(&host->learned).plain);
    assert_false(registry_host_allows(host, order[0]));
    registry_host_release(host);

    /* Endpoints that somebody has put into an order stay in that. */
    assert_int_equal(use(registries, "ordered.example.com", &host), ERR_OK);
    host_capabilities_answered(&host->learned, true);
    registry_host_order(host, &none, order);
    assert_true(order[0]->base.tls);
    endpoint_was_tried(order[0], false);
    endpoint_answered(order[1]);
    host_capabilities_answered(&host->learned, false);
    endpoint_answered(order[1]);
    assert_false(host_capabilities_known(&host->learned).plain);
    registry_host_release(host);
    registries_free(registries);
    registry_credentials_clear(&some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_uses_is_forgotten_when_there_are_many),
        cmocka_unit_test(few_are_remembered),
        cmocka_unit_test(a_host_with_other_options_is_another_one),
        cmocka_unit_test(plain_http_is_first_where_it_answered_and_nothing_can_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
