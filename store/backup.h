/*
 * A copy of a store that is in use, as it was at one moment.
 *
 * The copy is a data folder itself, BACKUP_FOLDER of the data folder: the metadata as they were
 * after some change, the blobs that they name, and the key that signs. Blobs are hard links, as
 * their bytes never change, so a copy costs the metadata's size and no other bytes; it keeps those
 * of blobs that are collected later until it is removed, or the next one takes its place. It is
 * there as a whole or not at all, also after a crash. Uploads of clients that are not complete, and
 * what is in quarantine, are not in it.
 *
 * No collection runs meanwhile, so a blob that the metadata name is still there when it is linked:
 * each is ERR_COLLECTING while the other, or another copy, runs. Everything else goes on.
 *
 * A store that is opened on the copy is as one after a crash, on another machine as one after a
 * crash of the machine: what was promised is in it.
 */
#ifndef SLIPWAY_STORE_BACKUP_H
#define SLIPWAY_STORE_BACKUP_H

#include "base/cancel.h"
#include "store/store.h"

#include <stdint.h>

#define BACKUP_FOLDER "backup"

struct backup_report {
    uint64_t blobs, bytes; /* that are in the copy */
    uint64_t missing;      /* that have a record and no file, or a record that cannot be read */
};

/* On failure an earlier copy stays as it was. ERR_COLLECTING, ERR_CANCELLED, ERR_STORE, ERR_IO,
 * ERR_NO_SPACE, ERR_SYNC. Any thread. */
enum errc store_backup(struct store *store, const struct cancel *cancel, struct backup_report *out,
                       struct error *err);

#endif
