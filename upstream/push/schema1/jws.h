/*
 * JSON Web Signatures (RFC 7515) in the form that Docker's libtrust gave them inside a document:
 * the signature stands in a member "signatures" of the very JSON it signs, and a protected header
 * says how to get the signed bytes back: the first `formatLength` bytes of the document followed by
 * `formatTail`.
 *
 * ES256 (RFC 7518 section 3.4) with a P-256 key; the public key travels as a JWK (RFC 7517) with a
 * `kid`: SHA-256 of the key's SubjectPublicKeyInfo, 240 bits of it in base32, groups of four.
 */
#ifndef SLIPWAY_UPSTREAM_PUSH_SCHEMA1_JWS_H
#define SLIPWAY_UPSTREAM_PUSH_SCHEMA1_JWS_H

#include "base/buf.h"
#include "base/error.h"

/* A new P-256 private key as PEM (PKCS #8), owned: wipe it before free(). */
enum errc jws_key_new(char **pem, struct error *err);

/*
 * Append `payload` to `out` with its signature inside. The payload is a JSON object of at least one
 * member, indented by three spaces. `time` is RFC 3339. ERR_SETTINGS when `pem` is no P-256 private
 * key; ERR_INTERNAL when OpenSSL fails.
 */
enum errc jws_sign(const char *pem, const char *payload, size_t size, const char *time,
                   struct buf *out, struct error *err);

#endif
