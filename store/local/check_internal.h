/*
 * The inside of a check, for the files store/local/check*.c.
 *
 * check.c makes the steps and decides what is looked at twice; check_files.c looks at files and
 * hashes them; check_records.c looks at records, check_tables.c at what is in one and what it
 * refers to, check_images.c at the blobs of an image; check_repair.c mends.
 *
 * A finding is a key of a table (or a path) and what is wrong with it. To look at it again is to
 * look at that key as if for the first time.
 */
#ifndef SLIPWAY_STORE_LOCAL_CHECK_INTERNAL_H
#define SLIPWAY_STORE_LOCAL_CHECK_INTERNAL_H

#include "store/blob.h"
#include "store/check.h"
#include "store/local/push_mend.h"
#include "store/local/quarantine_local.h"

enum check_place { CHECK_RECORD, CHECK_BLOB_FILE, CHECK_UPLOAD_FILE };

struct finding {
    enum check_kind kind;
    enum check_place place;
    enum kv_table table;   /* of a record */
    struct record_key key; /* of a record; the path of a file, which ends with NUL */
    int64_t due_ms;        /* when it is looked at again */
    char text[ERROR_TEXT_MAX];
};

/* A record as it was, or was not, when a finding was judged. */
struct judged {
    bool known;
    enum kv_table table;
    struct record_key key;
    uint8_t *value; /* owned; NULL: it was not there */
    size_t size;
};

#define CHECK_AT_ONCE 256 /* records read in one transaction */

/* A blob that is hashed. */
struct hashing {
    struct digest digest;
    struct blob blob;
    struct digester *digester; /* NULL: none is */
    uint64_t at;
    bool stray; /* it has no record: right bytes give it one */
};

struct check {
    struct store *store;
    struct check_options options;
    struct check_counts counts;
    unsigned phase;
    struct record_key from; /* where the phase goes on; size 0: at its begin */
    bool walked;            /* all of the phase is seen; some is to be looked at again */
    unsigned folder;        /* of the phases of files */
    struct digest blobs[CHECK_AT_ONCE]; /* that are to be hashed */
    size_t blob_count;
    size_t blob_next;
    bool blobs_read; /* there are no more records of them */
    struct hashing hashing;
    /* Of the last check_look_record(): the record, and another one that makes it wrong. A repair is
     * made only while both are as they were. */
    struct judged self;
    struct judged other;
    struct finding *findings; /* owned; that are to be looked at again, oldest first */
    size_t finding_count;
    size_t finding_next;
    size_t finding_capacity;
};

/* Is it wrong? Reported and, where that is asked for, repaired: at once, or after another look. */
enum errc check_found(struct check *check, const struct finding *finding, struct error *err);
/* It is. */
enum errc check_report(struct check *check, const struct finding *finding, enum check_action action,
                       struct error *err);
void check_finding_fill(struct finding *finding, enum check_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- check_files.c ---- */

/* One step of the walk through the folders of blobs or uploads; *more false after the last. */
enum errc check_blob_folders(struct check *check, bool *more, struct error *err);
enum errc check_uploads(struct check *check, bool *more, struct error *err);
/* Look at a file anew: finding->kind is CHECK_WELL if nothing is wrong. */
enum errc check_look_file(struct check *check, struct finding *finding, struct error *err);

/* The blob whose file is, regular, at this path of blobs/; false: it is none's. */
bool check_blob_path(struct check *check, const char *path, struct digest *out);

/* Begin to hash a blob; what cannot be opened is found wrong at once. */
enum errc check_hash_begin(struct check *check, const struct digest *digest, bool stray,
                           struct error *err);
/* Some more bytes of it; *bytes of them. */
enum errc check_hash_some(struct check *check, size_t *bytes, struct error *err);

/* ---- check_records.c ---- */

/* Records of the table from check->from on; of blobs they are left in check->blobs to be hashed. */
enum errc check_table(struct check *check, enum kv_table table, bool *more, struct error *err);
enum errc check_look_record(struct check *check, struct finding *finding, struct error *err);
/* `value` NULL: it is not there. Copied. */
void check_judged_keep(struct judged *judged, enum kv_table table, struct kv_slice key,
                       const struct kv_slice *value);
void check_judged_forget(struct check *check);

/* ---- check_tables.c ---- */

/* One record that is looked at. */
struct check_look {
    struct check *check;
    const struct kv_txn *txn;
    struct kv_slice key;
    struct kv_slice value;
    struct finding *finding;
    /* what can only be looked at when the transaction is over: an image, the records of a push */
    struct digest image;
    char push[PUSH_ID_MAX];
};

/* The record and those it refers to, within look->txn. ERR_STORE: it cannot be read. */
enum errc check_look_table(struct check_look *look, struct error *err);
/* A holder's key: the blob, and the repository that has it. */
enum errc check_holder_decode(struct kv_slice key, char name[REPOSITORY_NAME_MAX + 1],
                              struct digest *digest, struct error *err);

/* ---- check_images.c ---- */

/* In a repository, all that a manifest names has to be. Not within a transaction. */
enum errc check_look_image(struct check *check, const struct digest *manifest,
                           struct finding *finding, struct error *err);
/* The records of one push and, if it is open, its images. Not within a transaction. */
enum errc check_look_push(struct check *check, const char *id, struct finding *finding,
                          struct error *err);

/* ---- check_repair.c ---- */

enum errc check_repair(struct check *check, const struct finding *finding,
                       enum check_action *action, struct error *err);
/* Give a file of blobs/ whose bytes are right its record back. */
enum errc check_adopt(struct check *check, const struct digest *digest, uint64_t size, bool *done,
                      struct error *err);

#endif
