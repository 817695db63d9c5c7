#include "upstream/client/registry_host.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_uses_is_forgotten_when_there_are_many),
        cmocka_unit_test(few_are_remembered),
        cmocka_unit_test(a_host_with_other_options_is_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
