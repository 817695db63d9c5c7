/*
 * The users of clients.htpasswd and their passwords.
 *
 * The file is that of Apache's htpasswd: a line "NAME:HASH" for each user; empty lines and those
 * that begin with "#" say nothing. A hash is bcrypt ($2y$, $2a$, $2b$; `htpasswd -B`) or yescrypt
 * ($y$; `mkpasswd -m yescrypt`). Anything else is refused, with its line and what to do: a list of
 * fast hashes (crypt, MD5, SHA) that gets lost gives the passwords away, plain text at once. A cost
 * of more than HTPASSWD_BCRYPT_COST_MAX, and yescrypt with more than 64 MiB, is refused as well,
 * since each login would take seconds.
 *
 * To verify a password costs as much for a name that there is not: it is compared with the hash of
 * some user, for one name always the same one. The comparison takes constant time. bcrypt looks at
 * the first 72 bytes of a password.
 *
 * A user_list is a value that never changes. A struct htpasswd is the file: read at start, and
 * again when it has changed (gateway/access/watched_file.h); one that is broken then leaves the
 * users as they were, and is logged once.
 *
 * Threads: any. htpasswd_refresh() reads the file and verifying computes for 50 to 100 ms, so not
 * HTTP threads; the other functions neither block nor take long.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_HTPASSWD_H
#define SLIPWAY_GATEWAY_ACCESS_HTPASSWD_H

#include "base/error.h"

#include <stdint.h>

#define HTPASSWD_BYTES_MAX ((size_t)1 << 20)
#define HTPASSWD_BCRYPT_COST_MAX 14 /* a second and a half */
#define HTPASSWD_PASSWORD_MAX 511   /* bytes; a longer one is wrong: libcrypt takes no more */

struct user_list;

/* ERR_SETTINGS names `file` and line: no name, a name that is reserved ("anonymous",
 * "authenticated", "operator", "oidc", "robot"), has control characters or is longer than
 * IDENTITY_NAME_MAX, a name that is there twice, or a hash that is not taken. */
enum errc user_list_parse(const char *text, size_t size, const char *file, struct user_list **out,
                          struct error *err);
void user_list_free(struct user_list *list); /* NULL is a no-op */
size_t user_list_count(const struct user_list *list);

/* The hash of a user's password as it is in the file, borrowed; NULL: there is no such user. */
const char *user_list_hash(const struct user_list *list, const char *name);

bool user_list_verify(const struct user_list *list, const char *name, const char *password);

struct htpasswd;

/* `path` is copied. ERR_SETTINGS: it cannot be read, or see above. */
enum errc htpasswd_open(const char *path, struct htpasswd **out, struct error *err);
void htpasswd_close(struct htpasswd *file); /* NULL is a no-op */

/* Look whether it has changed, if it is time to. */
void htpasswd_refresh(struct htpasswd *file);

/* Another number after each change. *fresh_ms: when the file was looked at last (clock_ms()). */
uint64_t htpasswd_generation(struct htpasswd *file, int64_t *fresh_ms);

/* *generation: of the users that were asked. */
bool htpasswd_verify(struct htpasswd *file, const char *name, const char *password,
                     uint64_t *generation);

/* The hash of the user's password, owned; NULL: there is none. */
char *htpasswd_hash(struct htpasswd *file, const char *name);

#endif
