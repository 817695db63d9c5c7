/*
 * What a store does at open and at close so that its records are true.
 *
 * A blob file in blobs/ is complete, but the disk may not have it: in the same boot of the machine
 * the page cache does; in another boot nobody can say, unless the store was settled in between. The
 * state record holds the boot in which the store was last open and whether it was settled.
 *
 * After a crash of the machine these go:
 *
 * - every blob that is volatile, and every file without a record, which a batch moved in that never
 *   committed;
 * - a manifest that has a name (a reference, a place in a repository, a push) and needs, itself or
 *   through the manifests of an index, a blob that goes. So a name is there with its whole image or
 *   not at all, whatever promised it; what the store never had (a foreign layer, a platform that
 *   did not come) is not missed;
 * - every record that needs a blob that goes.
 *
 * The manifests are marked as volatile first; then the records that need blobs are dropped, then
 * the files, then the records of the blobs, and then the state is written. Each of these is done in
 * durable changes of a bounded size, and judged by the blobs' records: a crash in the middle begins
 * it again and finds what is left.
 */
#ifndef SLIPWAY_STORE_LOCAL_RECOVER_H
#define SLIPWAY_STORE_LOCAL_RECOVER_H

#include "store/local/internal.h"

/* Drop what a crash of the machine left in doubt, and mark the store as open in this boot. */
enum errc store_recover(struct store *store, struct error *err);

/* Wait for the disk and make every volatile blob durable, in changes of a bounded size, then mark
 * the store as settled. Nothing
 * when the store was opened with leave_volatile and has volatile blobs. */
enum errc store_settle(struct store *store, struct error *err);

#endif
