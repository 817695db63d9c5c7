#include "tests/unit/store/store_test.h"

#include "store/local/proofs.h"

#include <pthread.h>

#define LONG_MS ((int64_t)3600 * 1000)

static bool begins(struct proofs *proofs, const struct digest *digest, int64_t age_ms,
                   struct proof *proof)
{
    struct error err = ERROR_INIT;
    bool wanted = false;
    assert_ok(proofs_begin(proofs, digest, age_ms, NULL, proof, &wanted, &err), &err);
    return wanted;
}

static void what_is_noted_is_known_until_it_is_refuted(void **state)
{
    (void)state;
    struct proofs *proofs = proofs_new();
    struct digest digest = digest_of_text("a");
    struct digest other = digest_of_text("b");
    struct proof proof;
    proofs_note(proofs, &digest);
    proofs_refute(proofs, &other);
    assert_true(proofs_refuted(proofs, &other));
    assert_false(proofs_refuted(proofs, &digest));
    assert_false(begins(proofs, &digest, LONG_MS, &proof));
    assert_true(begins(proofs, &digest, 0, &proof));
    proofs_end(proofs, &proof, true);
    assert_false(begins(proofs, &digest, LONG_MS, &proof));
    proofs_refute(proofs, &digest);
    assert_true(proofs_refuted(proofs, &digest));
    assert_true(begins(proofs, &digest, LONG_MS, &proof));
    proofs_end(proofs, &proof, false);
    assert_true(begins(proofs, &digest, LONG_MS, &proof));
    proofs_end(proofs, &proof, false);
    proofs_note(proofs, &digest);
    assert_false(proofs_refuted(proofs, &digest));
    proofs_free(proofs);
}

/* Two digests of one place: the younger has it. */
static void a_place_is_of_one(void **state)
{
    (void)state;
    struct proofs *proofs = proofs_new();
    struct digest first = digest_of_text("a");
    struct digest second = first;
    struct proof proof;
    second.bytes[31] ^= 1;
    proofs_note(proofs, &first);
    proofs_note(proofs, &second);
    assert_false(begins(proofs, &second, LONG_MS, &proof));
    assert_true(begins(proofs, &first, LONG_MS, &proof));
    proofs_end(proofs, &proof, true);
    assert_true(begins(proofs, &second, LONG_MS, &proof));
    proofs_end(proofs, &proof, true);
    proofs_free(proofs);
}

struct waiter {
    struct proofs *proofs;
    struct digest digest;
    int64_t age_ms;
    bool wanted;
};

static void *wait_for_proof(void *arg)
{
    struct waiter *self = arg;
    struct error err = ERROR_INIT;
    struct proof proof;
    if (proofs_begin(self->proofs, &self->digest, self->age_ms, NULL, &proof, &self->wanted,
                     &err) == ERR_OK &&
        self->wanted)
        proofs_end(self->proofs, &proof, true);
    return NULL;
}

/* Whether one that comes while another hashes has to hash itself. */
static bool hashes_after(bool right, int64_t age_ms)
{
    struct waiter waiter = {
        .proofs = proofs_new(), .digest = digest_of_text("a"), .age_ms = age_ms};
    struct proof proof;
    pthread_t thread;
    assert_true(begins(waiter.proofs, &waiter.digest, age_ms, &proof));
    assert_int_equal(pthread_create(&thread, NULL, wait_for_proof, &waiter), 0);
    proofs_end(waiter.proofs, &proof, right);
    pthread_join(thread, NULL);
    proofs_free(waiter.proofs);
    return waiter.wanted;
}

static void one_that_waited_takes_what_the_other_found(void **state)
{
    (void)state;
    assert_false(hashes_after(true, LONG_MS));
    assert_true(hashes_after(false, LONG_MS));
}

static void one_that_waits_can_be_cancelled(void **state)
{
    (void)state;
    struct proofs *proofs = proofs_new();
    struct digest digest = digest_of_text("a");
    struct proof first, second;
    struct error err = ERROR_INIT;
    struct cancel cancel;
    bool wanted = true;
    cancel_init(&cancel);
    cancel_request(&cancel);
    assert_true(begins(proofs, &digest, 0, &first));
    assert_code(proofs_begin(proofs, &digest, 0, &cancel, &second, &wanted, &err), ERR_CANCELLED,
                &err);
    assert_false(wanted);
    proofs_end(proofs, &first, true);
    cancel_deinit(&cancel);
    proofs_free(proofs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_noted_is_known_until_it_is_refuted),
        cmocka_unit_test(a_place_is_of_one),
        cmocka_unit_test(one_that_waited_takes_what_the_other_found),
        cmocka_unit_test(one_that_waits_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
