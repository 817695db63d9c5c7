/*
 * A change: a list of operations on the tables, prepared beforehand by the thread that wants it and
 * applied by the writer thread in one transaction, all of it or nothing. No caller's code runs in
 * the transaction; the conditions that callers need are kinds of operation.
 *
 *     struct change change; change_init(&change); change_put(...)...; writer_submit(...);
 *     change_deinit(&change);
 *
 * Keys and values are copied in. The sizes are the program's own (store/local/records.h): asserted.
 *
 * Threads: the submitter's, except between writer_submit()'s start and return, when it is the
 * writer's.
 */
#ifndef SLIPWAY_STORE_LOCAL_KV_CHANGE_H
#define SLIPWAY_STORE_LOCAL_KV_CHANGE_H

#include "store/local/kv/kv.h"

#define CHANGE_VALUE_MAX ((size_t)1024 * 1024)

struct operation;

struct change {
    bool durable;    /* on the disk when writer_submit() returns */
    bool essential;  /* may use what is kept back of map and disk: what opens, closes and cleans */
    bool saves_work; /* all that it does: the first to be refused when many wait */
    bool secret;     /* what was put is wiped when the change goes */
    bool grows;      /* has a put */
    bool superseded; /* after writer_submit(): an expectation did not hold, so nothing was done */
    uint64_t number; /* after writer_submit(): that of change_put_numbered() */
    struct operation *first;
    struct operation *last;
    /* the writer's */
    struct change *next;
    struct error result;
    bool done;
};

#define autochange __attribute__((cleanup(change_deinit)))

void change_init(struct change *change);
void change_deinit(struct change *change);

void change_put(struct change *change, enum kv_table table, struct kv_slice key,
                struct kv_slice value);
/* Only if the key is not there; otherwise nothing happens. */
void change_put_new(struct change *change, enum kv_table table, struct kv_slice key,
                    struct kv_slice value);
/* Only if the key has exactly the value `expected`; otherwise nothing happens. */
void change_swap(struct change *change, enum kv_table table, struct kv_slice key,
                 struct kv_slice expected, struct kv_slice value);
void change_delete(struct change *change, enum kv_table table, struct kv_slice key);
/* Only if the key has exactly the value `expected`; otherwise nothing happens. */
void change_delete_same(struct change *change, enum kv_table table, struct kv_slice key,
                        struct kv_slice expected);

/* The whole change is done only if the key has exactly the value `expected` (NULL: is not there)
 * before it; else it is `superseded`, which is no error. For a read-modify-write without a lock:
 * read, prepare, submit, and begin again when superseded. */
void change_expect(struct change *change, enum kv_table table, struct kv_slice key,
                   const struct kv_slice *expected);

/* Put under a key that begins with the next number, in CHANGE_NUMBER_HEX lower-case hex digits, and
 * goes on with `suffix`: what is applied later sorts behind. The number is greater than `*last`,
 * where it is left, and about the time in milliseconds. Several of one change have the same number;
 * `last` is borrowed. */
#define CHANGE_NUMBER_HEX 12
void change_put_numbered(struct change *change, enum kv_table table, _Atomic uint64_t *last,
                         struct kv_slice suffix, struct kv_slice value);

/* The next number: greater than `*last`, where it is left. Any thread. */
uint64_t change_next_number(_Atomic uint64_t *last);

/* Run the operations, in the order in which they were added, if all expectations hold. */
enum errc change_apply(struct change *change, struct kv_txn *txn, struct error *err);

#endif
