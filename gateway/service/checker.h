/*
 * A check of the store of a running gateway (store/check.h): a work of the executor that makes a
 * few steps and goes to the end of its queue, so that it holds no thread for long and hashes at
 * most CHECKER_BYTES_PER_S. One at a time; the report of the last one is kept until the next
 * begins.
 *
 * Lifecycle: checker_new, checker_close (nothing begins any more, what runs is cancelled, and
 * waited for: a step's time), checker_free. Any thread.
 */
#ifndef SLIPWAY_GATEWAY_SERVICE_CHECKER_H
#define SLIPWAY_GATEWAY_SERVICE_CHECKER_H

#include "base/executor.h"
#include "gateway/queue/push_queue.h"
#include "store/check.h"

#define CHECKER_BYTES_PER_S ((uint64_t)128 << 20)

struct checker;

/* Borrowed until checker_free(). The queue gets the pushes that were mended. */
struct checker *checker_new(struct store *store, struct executor *executor,
                            struct push_queue *queue);
void checker_close(struct checker *checker);
void checker_free(struct checker *checker); /* NULL is a no-op */

/* Begin one; where one runs already, that one goes on. ERR_STOPPING. */
enum errc checker_begin(struct checker *checker, bool repair, struct error *err);
/* End what runs, soon. */
void checker_cancel(struct checker *checker);
/* What check_report_json() says of it now, as owned text. */
char *checker_report(struct checker *checker);

#endif
