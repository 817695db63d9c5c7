/*
 * The body of POST /v1/pushes. What is taken is an order: an image, and one to TARGETS_MAX targets
 * without a digest, none of them twice, each the same when it is read again.
 */
#include "gateway/api/pushes.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_tag(const struct reference *a, const struct reference *b)
{
    return reference_same_name(a, b) && strcmp(a->tag, b->tag) == 0;
}

static void check_order(const struct push_order *order)
{
    assert(order->image && order->image[0]);
    const struct push *push = &order->push;
    assert(push->target_count > 0 && push->target_count <= TARGETS_MAX);
    for (size_t i = 0; i < push->target_count; i++) {
        const struct push_target *target = &push->targets[i];
        struct error err = ERROR_INIT;
        struct push_order again = {0};
        char text[REFERENCE_TEXT_MAX];
        assert(target->reference.digest.algorithm == DIGEST_NONE);
        assert(!target->optional && !target->stored && target->state == PUSH_QUEUED);
        enum errc rc = push_order_add(&again, reference_text(&target->reference, text), &err);
        assert(rc == ERR_OK && again.push.target_count == 1);
        assert(same_tag(&again.push.targets[0].reference, &target->reference));
        push_order_deinit(&again);
        for (size_t other = 0; other < i; other++)
            assert(!same_tag(&push->targets[other].reference, &target->reference));
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
