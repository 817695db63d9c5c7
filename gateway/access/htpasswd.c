#include "gateway/access/htpasswd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/access/identity.h"
#include "gateway/access/watched_file.h"

#include <assert.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

#define BCRYPT_SIZE 60   /* "$2y$NN$", 22 of salt, 31 of hash */
#define YESCRYPT_TAIL 43 /* of hash, behind the last "$" */
#define ALPHABET "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

struct user {
    char *name;
    char *hash;
    size_t line;
};

struct user_list {
    atomic_uint references;
    struct user *users; /* by name */
    size_t count;
    uint64_t choice; /* which user's hash stands for a name that there is not */
};

/* ---- hashes ---- */

static bool is_bcrypt(const char *hash)
{
    return strncmp(hash, "$2y$", 4) == 0 || strncmp(hash, "$2a$", 4) == 0 ||
           strncmp(hash, "$2b$", 4) == 0;
}

static const char *wrong_bcrypt(const char *hash)
{
    if (strlen(hash) != BCRYPT_SIZE || strspn(hash + 7, ALPHABET) != BCRYPT_SIZE - 7 ||
        hash[4] < '0' || hash[4] > '3' || hash[5] < '0' || hash[5] > '9' || hash[6] != '$')
        return "its bcrypt hash is cut or has other characters: make it again with htpasswd -B";
    int cost = (hash[4] - '0') * 10 + hash[5] - '0';
    return cost >= 4 && cost <= HTPASSWD_BCRYPT_COST_MAX
               ? NULL
               : "bcrypt is taken with a cost of 4 to 14 (each step doubles the time of a login): "
                 "make it again with htpasswd -B -C 10";
}

/* "$y$", how memory is used ("j"), its blocks and their size as one character each, salt, hash:
 * crypt(5). */
static const char *wrong_yescrypt(const char *hash)
{
    const char *settings = hash + 3;
    const char *salt = strchr(settings, '$');
    const char *end = salt ? strchr(salt + 1, '$') : NULL;
    if (end == NULL || strspn(salt + 1, ALPHABET) != (size_t)(end - salt - 1) ||
        strlen(end + 1) != YESCRYPT_TAIL || strspn(end + 1, ALPHABET) != YESCRYPT_TAIL)
        return "its yescrypt hash is cut or has other characters: make it again with mkpasswd -m "
               "yescrypt";
    /* 2^14 blocks of 128 * 32 bytes are 64 MiB. */
    bool fits = salt - settings == 3 && settings[0] == 'j' && strchr(ALPHABET, settings[1]) &&
                strchr(ALPHABET, settings[1]) - ALPHABET <= 13 && strchr(ALPHABET, settings[2]) &&
                strchr(ALPHABET, settings[2]) - ALPHABET <= 31;
    return fits ? NULL
                : "its yescrypt hash wants more than 64 MiB for each login: make it again with "
                  "mkpasswd -m yescrypt and its default rounds";
}

/* NULL: it is taken. */
static const char *wrong_hash(const char *hash)
{
    if (is_bcrypt(hash))
        return wrong_bcrypt(hash);
    if (strncmp(hash, "$y$", 3) == 0)
        return wrong_yescrypt(hash);
    return "its password is no bcrypt or yescrypt hash, and no other is taken: set it again with "
           "htpasswd -B FILE NAME";
}

/* ---- lines ---- */

static const char *wrong_name(const char *name)
{
    static const char *const reserved[] = {"anonymous", "authenticated", "operator", "oidc",
                                           "robot"};
    bool control = false;
    if (*name == '\0' || strlen(name) > IDENTITY_NAME_MAX)
        return "a name has 1 to 255 bytes before the \":\"";
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(name, reserved[i]) == 0)
            return "this name has a meaning of its own in policies: call the user otherwise";
    for (const char *at = name; *at;) {
        size_t size = utf8_next(at, &control);
        if (size == 0 || control)
            return "the name is no UTF-8, or has control characters";
        at += size;
    }
    return NULL;
}

/* "NAME:HASH"; both are copied. */
static enum errc add_line(struct user_list *list, size_t *capacity, const char *line, size_t number,
                          const char *file, struct error *err)
{
    const char *colon = strchr(line, ':');
    if (colon == NULL)
        return fail(err, ERR_SETTINGS, 0, "%s, line %zu: there is no \":\": a line is NAME:HASH",
                    file, number);
    autofree char *name = xstrndup(line, (size_t)(colon - line));
    const char *wrong = wrong_name(name);
    if (wrong == NULL)
        wrong = wrong_hash(colon + 1);
    /* Never the text itself: it may be a password. */
    if (wrong)
        return fail(err, ERR_SETTINGS, 0, "%s, line %zu, user \"%.100s\": %s", file, number, name,
                    wrong);
    list->users = mem_grow(list->users, list->count, capacity, sizeof *list->users);
    list->users[list->count++] =
        (struct user){.name = mem_take(&name), .hash = xstrdup(colon + 1), .line = number};
    return ERR_OK;
}

static enum errc add_lines(struct user_list *list, const char *text, size_t size, const char *file,
                           struct error *err)
{
    size_t capacity = 0;
    size_t number = 0;
    const char *end = text + size;
    for (const char *at = text; at < end; at++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (next == NULL)
            next = end;
        autofree char *line = xstrndup(at, (size_t)(next - at));
        size_t length = strlen(line);
        number++;
        if (length < (size_t)(next - at))
            return fail(err, ERR_SETTINGS, 0, "%s, line %zu: there is a NUL in it", file, number);
        while (length > 0 && strchr(" \t\r", line[length - 1]))
            line[--length] = '\0';
        if (length > 0 && line[0] != '#' &&
            add_line(list, &capacity, line, number, file, err) != ERR_OK)
            return err->code;
        at = next;
    }
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

static enum errc sort(struct user_list *list, const char *file, struct error *err)
{
    if (list->count > 0)
        qsort(list->users, list->count, sizeof *list->users, by_name);
    for (size_t i = 1; i < list->count; i++)
        if (strcmp(list->users[i - 1].name, list->users[i].name) == 0)
            return fail(err, ERR_SETTINGS, 0,
                        "%s: the user \"%.100s\" is in lines %zu and %zu: remove one of them", file,
                        list->users[i].name, list->users[i - 1].line, list->users[i].line);
    return ERR_OK;
}

enum errc user_list_parse(const char *text, size_t size, const char *file, struct user_list **out,
                          struct error *err)
{
    struct user_list *list = xcalloc(1, sizeof *list);
    atomic_init(&list->references, 1);
    bool made = RAND_bytes((uint8_t *)&list->choice, sizeof list->choice) == 1;
    assert(made);
    if (add_lines(list, text, size, file, err) != ERR_OK || sort(list, file, err) != ERR_OK) {
        user_list_free(list);
        return err->code;
    }
    *out = list;
    return ERR_OK;
}

void user_list_free(struct user_list *list)
{
    if (list == NULL || atomic_fetch_sub(&list->references, 1) > 1)
        return;
    for (size_t i = 0; i < list->count; i++) {
        free(list->users[i].name);
        free(list->users[i].hash);
    }
    free(list->users);
    free(list);
}

size_t user_list_count(const struct user_list *list)
{
    return list->count;
}

/* ---- who it is ---- */

static const struct user *find(const struct user_list *list, const char *name)
{
    const struct user key = {.name = (char *)name};
    return list->count > 0 ? bsearch(&key, list->users, list->count, sizeof *list->users, by_name)
                           : NULL;
}

const char *user_list_hash(const struct user_list *list, const char *name)
{
    const struct user *user = find(list, name);
    return user ? user->hash : NULL;
}

/* By a number of this process, so that nobody can tell from the times which it would be. FNV-1a. */
static const struct user *stand_in(const struct user_list *list, const char *name)
{
    uint64_t sum = list->choice;
    for (const char *at = name; *at; at++)
        sum = (sum ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    return &list->users[(sum >> 16) % list->count];
}

static bool matches(const char *hash, const char *password)
{
    struct crypt_data *data = xcalloc(1, sizeof *data);
    const char *got = crypt_r(password, hash, data);
    size_t size = strlen(hash);
    bool same = got && strlen(got) == size && CRYPTO_memcmp(got, hash, size) == 0;
    explicit_bzero(data, sizeof *data);
    free(data);
    return same;
}

bool user_list_verify(const struct user_list *list, const char *name, const char *password)
{
    if (list->count == 0)
        return false;
    const struct user *user = find(list, name);
    bool fits = strlen(password) <= HTPASSWD_PASSWORD_MAX;
    bool same = matches((user ? user : stand_in(list, name))->hash, fits ? password : "");
    return same && fits && user;
}

/* ---- the file ---- */

struct htpasswd {
    char *path;
    struct watched_file watched;
    pthread_mutex_t lock;   /* guards what follows */
    struct user_list *list; /* with a reference of its own; those who ask take another */
    uint64_t generation;
    int64_t fresh_ms;
};

static enum errc read_users(const char *path, struct user_list **out, struct error *err)
{
    autofree char *text = NULL;
    size_t size = 0;
    if (file_read_all(path, HTPASSWD_BYTES_MAX, &text, &size, err) != ERR_OK) {
        err->code = ERR_SETTINGS;
        return err->code;
    }
    return user_list_parse(text, size, path, out, err);
}

static void put_in_place(struct htpasswd *file, struct user_list *list)
{
    struct user_list *old = NULL;
    {
        autolock pthread_mutex_t *held = lock_take(&file->lock);
        old = file->list;
        file->list = list;
        file->generation++;
    }
    user_list_free(old);
}

enum errc htpasswd_open(const char *path, struct htpasswd **out, struct error *err)
{
    struct htpasswd *file = xcalloc(1, sizeof *file);
    file->path = xstrdup(path);
    pthread_mutex_init(&file->lock, NULL);
    watched_file_init(&file->watched, file->path);
    file->fresh_ms = clock_ms();
    watched_file_changed(&file->watched, file->fresh_ms);
    if (read_users(path, &file->list, err) != ERR_OK) {
        htpasswd_close(file);
        return error_wrap(err, "clients.htpasswd");
    }
    *out = file;
    return ERR_OK;
}

void htpasswd_close(struct htpasswd *file)
{
    if (file == NULL)
        return;
    user_list_free(file->list);
    watched_file_deinit(&file->watched);
    pthread_mutex_destroy(&file->lock);
    free(file->path);
    free(file);
}

void htpasswd_refresh(struct htpasswd *file)
{
    struct error err = ERROR_INIT;
    struct user_list *list = NULL;
    int64_t now_ms = clock_ms();
    if (watched_file_changed(&file->watched, now_ms)) {
        if (read_users(file->path, &list, &err) == ERR_OK) {
            log_event(LOG_INFO, "users.read",
                      LOG_FIELDS(log_text("file", file->path), log_number("users", list->count)),
                      "the users were read again");
            put_in_place(file, list);
        } else {
            log_event(LOG_ERROR, "users.unreadable", LOG_FIELDS(log_text("file", file->path)),
                      "the users stay as they were: %s", err.text);
        }
    }
    autolock pthread_mutex_t *held = lock_take(&file->lock);
    if (now_ms - file->fresh_ms >= WATCHED_FILE_MS)
        file->fresh_ms = now_ms;
}

uint64_t htpasswd_generation(struct htpasswd *file, int64_t *fresh_ms)
{
    autolock pthread_mutex_t *held = lock_take(&file->lock);
    *fresh_ms = file->fresh_ms;
    return file->generation;
}

static struct user_list *borrow(struct htpasswd *file, uint64_t *generation)
{
    autolock pthread_mutex_t *held = lock_take(&file->lock);
    atomic_fetch_add(&file->list->references, 1);
    *generation = file->generation;
    return file->list;
}

bool htpasswd_verify(struct htpasswd *file, const char *name, const char *password,
                     uint64_t *generation)
{
    struct user_list *list = borrow(file, generation);
    bool same = user_list_verify(list, name, password);
    user_list_free(list);
    return same;
}

char *htpasswd_hash(struct htpasswd *file, const char *name)
{
    uint64_t generation = 0;
    struct user_list *list = borrow(file, &generation);
    const char *hash = user_list_hash(list, name);
    char *copy = hash ? xstrdup(hash) : NULL;
    user_list_free(list);
    return copy;
}
