/*
 * A file of the configuration that is read again when it changes: users, certificates, keys.
 *
 * It is looked at (stat) at most once in WATCHED_FILE_MS, by whoever asks then; the others go on
 * with what was read before. A change is another inode, size, or time of change, so a file that is
 * put in place by rename() is never seen half-written. What is read, and what becomes of a file
 * that cannot be used, is the owner's.
 *
 * Threads: any that may block on the disk. One lock inside, which is not held meanwhile.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_WATCHED_FILE_H
#define SLIPWAY_GATEWAY_ACCESS_WATCHED_FILE_H

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#define WATCHED_FILE_MS 1000

struct watched_file {
    const char *path; /* borrowed until watched_file_deinit() */
    pthread_mutex_t lock;
    int64_t looked_ms; /* 0: never */
    struct {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
    } seen; /* zeroes: it was not there */
};

void watched_file_init(struct watched_file *file, const char *path);
void watched_file_deinit(struct watched_file *file);

/* It is another than at the last look, of `now_ms` (clock_ms()) being time for one. The first time
 * it is. True once a change, to one caller, who reads it. */
bool watched_file_changed(struct watched_file *file, int64_t now_ms);

#endif
