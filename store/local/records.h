/*
 * What is on the disk in the metadata tables: the layout of every key and value, here and nowhere
 * else. Integers are big-endian, so keys sort by number; no struct is ever written as it lies in
 * memory.
 *
 *     digest      = algorithm u8 (enum digest_algorithm), 32 or 64 bytes
 *     key of a reference
 *                 = name ("host/path"), 0x00, then ":" and the tag, or "@" and a digest;
 *                   in byte order, the keys of one name are sorted as their texts are
 *
 *     table       key                                 value (after its version u8, 1 if not said)
 *     meta        "schema"                            schema u32
 *     meta        "id"                                store_id() (text, to the end)
 *     meta        "state"                             clean u8, boot id (text, to the end)
 *     meta        "leases"                            open u8, all u64
 *     blobs       digest                              state u8, size u64, created u64, last use u64
 *     layers      diffID digest, codec u8, effort u8  digest, size u64, raw size u64
 *     references  key of a reference                  digest, put u64, media type (to the end)
 *     known locations  layer digest                      locations, oldest first, to the end; each
 *                                                     digest, source size u16, source,
 *                                                     HMAC size u8 (0 or 64), HMAC (hex)
 *     associated  digest                              layer digest
 *     learned     host, text                          way of uploading u8, body limit u64
 *     starts      digest of a file's start            diffID digest
 *     members     repository, 0x00, digest            (version 1) nothing; (version 2) last use u64
 *     holders     digest, repository                  (nothing)
 *     manifests   repository, 0x00, digest            size u64, put u64, number of the put u64,
 *                                                     has a subject u8, subject digest if it has,
 *                                                     media type (to the end)
 *     tags        repository, 0x00, tag               manifest digest
 *     referrers   repository, 0x00, subject digest,   descriptor, JSON text (to the end); it counts
 *                 manifest digest                     while the repository has the manifest
 *     sessions    id                                  created u64, repository (to the end)
 *     pushes      id                                  (version 2, 3 with gateways, 4 with who
 * asked) created u64, pushed manifest, has a config u8, config digest if it has, repository short,
 * number of targets u16, number of referrers u16, referrers, the gateways that it has come through
 * (short; from version 3 on), kind and name of who asked for it (shorts; version 4) pushed tags key
 * of a reference by tag           digest push targets  id, 0x00, index u16               target
 *     open targets  id, 0x00, index u16               (nothing: being there is all)
 *     push keys   id                                  name digest, fingerprint digest, number of
 *                                                     pushes of the request u32
 *     signing keys  id                                created u64, private key (32 bytes)
 *     robots      name                                digest of its secret, created u64, expires
 * u64, last use u64, disabled u8, note (to the end) tombs       digest marked u64 targets     name
 * paused u64, last success u64, last failure u64, its error if that is not 0 open uploads
 * "host/path", 0x00, digest, HMAC   at u64, offset u64, least chunk u64, base URL (hex, 64 or none)
 * of the endpoint and Location (each size u16, text)
 *
 *     short       = size u8, text
 *     pushed manifest = digest, size u64, media type short
 *     target      = state u8 (enum push_state), flags u8 (optional 1, after the answer 2, converged
 *                   4, has a result 8, has an error 16, has what the tag
 *                   was 32), "host/path" short, tag short, has a digest
 *                   u8, digest if it has, name short, tries u32, deadline u64, first tried u64,
 *                   next u64, ended u64, layers existed, mounted, uploaded, skipped u32 each, bytes
 * u64, attempts u32, result if it has (digest, size u64, media type short), error if it has, digest
 * that the tag was if it has error       = name of the code short, status u16, size u16, text
 *     referrer    = pushed manifest, tag short
 *
 * A repository's name has no byte 0x00 or 0x01, so keys that begin with one and 0x00 are sorted by
 * name first, and name, 0x01 is behind all of them. The longest key is a referrer's: 386 bytes.
 *
 * Times are seconds since the epoch. A value's version says how to read the rest; a value of a
 * version that is not known, or that is too short or too long, is ERR_STORE and never guessed at.
 *
 * The schema number is that of this page. A store of a greater number is refused; one of a smaller
 * number is migrated at open (store/local/migrate.h).
 */
#ifndef SLIPWAY_STORE_LOCAL_RECORDS_H
#define SLIPWAY_STORE_LOCAL_RECORDS_H

#include "base/via.h"
#include "store/capabilities.h"
#include "store/known_locations.h"
#include "store/layers.h"
#include "store/local/kv/kv.h"
#include "store/references.h"
#include "store/signing_keys.h"

#define STORE_SCHEMA 2u

/* The longest value: a manifest's. */
#define RECORD_VALUE_MAX (1 + 3 * 8 + 1 + 1 + DIGEST_BYTES_MAX + MEDIA_TYPE_MAX)

struct record_key {
    size_t size;
    uint8_t bytes[KV_KEY_MAX];
};

struct record_value {
    size_t size;
    uint8_t bytes[RECORD_VALUE_MAX];
};

/* Borrowed as long as the record stands. */
struct kv_slice record_key_slice(const struct record_key *key);
struct kv_slice record_value_slice(const struct record_value *value);

/* Whether the disk is known to have the blob's bytes. The numbers are stored on disk. */
enum blob_state { BLOB_VOLATILE = 1, BLOB_DURABLE = 2 };

struct blob_record {
    enum blob_state state;
    uint64_t size;
    uint64_t created_s;
    uint64_t last_use_s;
};

#define BOOT_ID_MAX 64

struct state_record {
    bool clean; /* every file in blobs/ is on the disk */
    char boot_id[BOOT_ID_MAX];
};

/* Leases that are in memory only (store/local/leases.h). */
struct leases_record {
    bool open;      /* there may be some: who finds it so has lost them */
    uint64_t all_s; /* everything counts as leased at this time */
};

struct record_key schema_key(void);
struct record_key leases_key(void);
struct record_key state_key(void);
struct record_key id_key(void);    /* value: VIA_ID_SIZE hex digits */
struct record_key probe_key(void); /* any value: store/health.h */
struct record_key blob_key(const struct digest *digest);
/* All forms of a layer have this prefix. */
struct record_key layer_prefix(const struct digest *diff_id);
struct record_key layer_key(const struct digest *diff_id, enum codec codec, enum effort effort);
struct record_key start_key(const struct digest *start);
/* Those references of ref's name that are by digest have this prefix. */
struct record_key reference_digests_prefix(const struct reference *ref);
/* A digest goes before a tag; the reference must have one of them. */
struct record_key reference_key(const struct reference *ref);

struct record_value schema_value(uint32_t schema);
struct record_value state_value(const struct state_record *record);
struct record_value blob_value(const struct blob_record *record);
struct record_value id_value(const char *id);
struct record_value leases_value(const struct leases_record *record);
struct record_value tomb_value(uint64_t marked_s);
struct record_value layer_value(const struct layer_form *form);
struct record_value start_value(const struct digest *diff_id);
/* `media_type` is shorter than MEDIA_TYPE_MAX. */
struct record_value reference_value(const struct digest *manifest, uint64_t put_s,
                                    const char *media_type);

/* Decoding copies. ERR_STORE names the table. */
enum errc schema_decode(struct kv_slice value, uint32_t *out, struct error *err);
enum errc state_decode(struct kv_slice value, struct state_record *out, struct error *err);
enum errc id_decode(struct kv_slice value, char id[VIA_ID_SIZE + 1], struct error *err);
enum errc blob_key_decode(struct kv_slice key, struct digest *out, struct error *err);
enum errc blob_decode(struct kv_slice value, struct blob_record *out, struct error *err);
enum errc leases_decode(struct kv_slice value, struct leases_record *out, struct error *err);
enum errc tomb_decode(struct kv_slice value, uint64_t *marked_s, struct error *err);
/* Codec and effort are in the key. */
enum errc layer_decode(struct kv_slice key, struct kv_slice value, struct layer_form *out,
                       struct error *err);
enum errc start_decode(struct kv_slice value, struct digest *diff_id, struct error *err);
enum errc reference_key_decode(struct kv_slice key, const char *table, struct reference *out,
                               struct error *err);
enum errc reference_decode(struct kv_slice key, struct kv_slice value, struct named_manifest *out,
                           struct error *err);

struct record_key signing_key_key(const char *id);
struct record_value signing_key_value(const struct signing_key *key);
enum errc signing_key_decode(struct kv_slice key, struct kv_slice value, struct signing_key *out,
                             struct error *err);

/* The known locations of one layer: at most KNOWN_LOCATIONS_MAX, so their value has a bound too,
 * but it is too long for a record_value. */
#define KNOWN_LOCATIONS_VALUE_MAX                                                                  \
    (1 + KNOWN_LOCATIONS_MAX * (1 + DIGEST_BYTES_MAX + 2 + REFERENCE_NAME_MAX + 1 + HMAC_HEX_SIZE))

/* The table's key is blob_key() of the layer; that of `associated` is blob_key() of the blob. */
size_t known_locations_value(const struct known_location_list *list,
                             uint8_t value[KNOWN_LOCATIONS_VALUE_MAX]);
enum errc known_locations_decode(struct kv_slice value, struct known_location_list *out,
                                 struct error *err);
struct record_value associated_value(const struct digest *layer);
enum errc associated_decode(struct kv_slice value, struct digest *out, struct error *err);

/* `host` is that of a reference. */
struct record_key capabilities_key(const char *host);
struct record_value capabilities_value(const struct capabilities *capabilities);
enum errc capabilities_decode(struct kv_slice value, struct capabilities *out, struct error *err);

#endif
