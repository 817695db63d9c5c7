/*
 * Secrets of robots: "slw_", 43 random letters and digits (256 bits), and 6 that are a checksum of
 * what is before them, the first four bytes of its SHA-256 as a number to the base of 62.
 *
 * The prefix and the checksum are for scanners that look for secrets in repositories and logs: they
 * find one, and what only looks like one they can tell. Pure; any thread.
 */
#ifndef SLIPWAY_GATEWAY_ACCESS_ROBOT_SECRET_H
#define SLIPWAY_GATEWAY_ACCESS_ROBOT_SECRET_H

#include "image/digest.h"

#define ROBOT_SECRET_PREFIX "slw_"
#define ROBOT_SECRET_SIZE 53 /* without the NUL */

/* A new one; wipe it. ERR_INTERNAL where the system has no random numbers. */
enum errc robot_secret_make(char secret[ROBOT_SECRET_SIZE + 1], struct error *err);

/* It has the form of one, and the right checksum. */
bool robot_secret_is(const char *text);

/* What is kept of it. */
struct digest robot_secret_digest(const char *secret);

#endif
