/*
 * Is an LMDB file as long as what is in it? LMDB maps its file and trusts it, so a page behind the
 * end of a file that was cut short is a SIGBUS. A file may well end before the last page that was
 * ever taken, if nothing is kept there: so of a file that does, the pages in use are looked at,
 * with read(2).
 *
 * Knows the layout of LMDB's files of version 1 (mdb.c, "MDB_page", "MDB_node", "MDB_db",
 * "MDB_meta"), on a machine of the same word size and byte order.
 */
#ifndef SLIPWAY_STORE_LOCAL_KV_KV_FILE_H
#define SLIPWAY_STORE_LOCAL_KV_KV_FILE_H

#include "base/error.h"

/* Before the folder `path` is opened. A file that is not there, or empty, is for LMDB to make; one
 * of another version is for LMDB to judge. ERR_STORE says what is to be done; ERR_IO. */
enum errc kv_file_check(const char *path, struct error *err);

#endif
