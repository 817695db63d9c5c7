/* Places by client address: who holds, who waits, whose turn it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/http/places.h"

#include <string.h>

static struct net_address address_of(const char *text)
{
    struct net_address out;
    assert_true(net_address_parse(text, strlen(text), &out));
    return out;
}

static void a_free_place_goes_to_who_holds_fewest(void **state)
{
    (void)state;
    const struct net_address a = address_of("192.0.2.1");
    const struct net_address b = address_of("2001:db8::1");
    struct places places;
    places_init(&places, 2);
    assert_true(places_turn_of(&places, &a));
    places_take(&places, &a, 1);
    places_take(&places, &a, 1);
    places_wait(&places, &a, 2);
    places_wait(&places, &b, 3);
    assert_false(places_turn_of(&places, &a));
    assert_false(places_turn_of(&places, &b)); /* none is free */
    places_give_back(&places, &a);
    assert_false(places_turn_of(&places, &a));
    assert_true(places_turn_of(&places, &b));
    places_wait_no_more(&places, &b);
    assert_true(places_turn_of(&places, &a)); /* nobody else wants it */
    places_take(&places, &a, 4);
    places_wait_no_more(&places, &a);
    places_give_back(&places, &a);
    places_give_back(&places, &a);
    assert_int_equal(places.held, 0);
    places_deinit(&places);
}

static void more_than_half_has_to_give_one_up(void **state)
{
    (void)state;
    const struct net_address a = address_of("192.0.2.1");
    const struct net_address b = address_of("192.0.2.2");
    const struct place_holder *from = NULL;
    struct places places;
    places_init(&places, 4);
    for (int i = 0; i < 2; i++)
        places_take(&places, &a, 1);
    places_wait(&places, &b, 2);
    assert_null(places_starved(&places, &from)); /* half is no more than half */
    for (int i = 0; i < 2; i++)
        places_take(&places, &a, 3);
    const struct place_holder *starved = places_starved(&places, &from);
    assert_non_null(starved);
    assert_true(net_address_equal(&starved->address, &b));
    assert_true(net_address_equal(&from->address, &a));
    places_wait_no_more(&places, &b);
    assert_null(places_starved(&places, &from));
    for (int i = 0; i < 4; i++)
        places_give_back(&places, &a);
    places_deinit(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_free_place_goes_to_who_holds_fewest),
        cmocka_unit_test(more_than_half_has_to_give_one_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
