/*
 * The body of POST /v1/pushes. What is taken is an order: an image, and one to TARGETS_MAX targets
 * without a digest, none of them twice, each the same when it is read again.
 */
#include "gateway/api/pushes.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_order(const struct push_order *order)
{
    assert(order->image && order->image[0]);
    assert(order->to_count > 0 && order->to_count <= TARGETS_MAX);
    for (size_t i = 0; i < order->to_count; i++) {
        struct error err = ERROR_INIT;
        struct push_order again = {0};
        char text[REFERENCE_TEXT_MAX];
        assert(order->to[i].digest.algorithm == DIGEST_NONE);
        enum errc rc = push_order_add(&again, reference_text(&order->to[i], text), &err);
        assert(rc == ERR_OK && reference_same_name(&again.to[0], &order->to[i]));
        assert(strcmp(again.to[0].tag, order->to[i].tag) == 0);
        for (size_t other = 0; other < i; other++)
            assert(!reference_same_name(&order->to[other], &order->to[i]) ||
                   strcmp(order->to[other].tag, order->to[i].tag) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct push_order order = {0};
    if (pushes_parse((const char *)data, size, &order, &err) == ERR_OK)
        check_order(&order);
    else
        assert(error_party(err.code) == PARTY_CLIENT);
    push_order_deinit(&order);
    return 0;
}
