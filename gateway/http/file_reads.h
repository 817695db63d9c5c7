/*
 * Parts of files as bodies of replies, without an HTTP thread ever waiting for the disk: it sends
 * what the page cache has (preadv2(2), RWF_NOWAIT). What is not there a worker of the executor
 * reads, while the connection is suspended.
 *
 * A download has at most one block of FILE_READ_BYTES, and that only while its file is not in
 * memory. At most FILE_READS_MAX are read at once; others wait their turn, first in, first out.
 */
#ifndef SLIPWAY_GATEWAY_HTTP_FILE_READS_H
#define SLIPWAY_GATEWAY_HTTP_FILE_READS_H

#include "base/executor.h"
#include "gateway/http/body_source.h"
#include "gateway/http/suspendable.h"

#define FILE_READ_BYTES ((size_t)256 << 10)
#define FILE_READS_MAX 8

struct file_reads;

/* `executor` is borrowed until file_reads_free(). */
struct file_reads *file_reads_new(struct executor *executor);

/* Before the HTTP server stops: returns when no connection is suspended for a read any more. None
 * will be; a body that would need to is broken off. */
void file_reads_close(struct file_reads *reads);
void file_reads_free(struct file_reads *reads); /* after its bodies; NULL is a no-op */

/* `size` bytes of `fd` (taken) from `offset` on. The body is broken off when the file has less. */
struct body_source file_body(struct file_reads *reads, int fd, uint64_t offset, uint64_t size,
                             struct suspendable connection);

#endif
