#include "upstream/auth/tokens.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "upstream/auth/credentials.h"

#include <string.h>

struct entry {
    struct entry *next;
    char *key;
    struct token token; /* text NULL: none */
    bool fetching;
    unsigned waiting;        /* threads that hold on to this entry */
    unsigned failures;       /* grows with each failed fetch */
    struct error last_error; /* of the last failed fetch */
};

struct tokens {
    pthread_mutex_t lock; /* guards everything */
    pthread_cond_t changed;
    struct entry *entries;
    size_t count;
};

struct tokens *tokens_new(void)
{
    struct tokens *tokens = xcalloc(1, sizeof *tokens);
    pthread_mutex_init(&tokens->lock, NULL);
    clock_cond_init(&tokens->changed);
    return tokens;
}

static void entry_free(struct entry *entry)
{
    secret_free(entry->token.text);
    free(entry->key);
    free(entry);
}

void tokens_free(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    while (tokens->entries) {
        struct entry *entry = tokens->entries;
        tokens->entries = entry->next;
        entry_free(entry);
    }
    pthread_cond_destroy(&tokens->changed);
    pthread_mutex_destroy(&tokens->lock);
    free(tokens);
}

static bool in_use(const struct entry *entry)
{
    return entry->fetching || entry->waiting > 0;
}

/* Room for one more: the unused entry that expires first goes. */
static void evict(struct tokens *tokens)
{
    struct entry **oldest = NULL;
    for (struct entry **at = &tokens->entries; *at; at = &(*at)->next)
        if (!in_use(*at) &&
            (oldest == NULL || (*at)->token.expires_at_ms < (*oldest)->token.expires_at_ms))
            oldest = at;
    if (oldest == NULL)
        return;
    struct entry *entry = *oldest;
    *oldest = entry->next;
    tokens->count--;
    entry_free(entry);
}

static struct entry *find(struct tokens *tokens, const char *key)
{
    for (struct entry *entry = tokens->entries; entry; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

static struct entry *find_or_add(struct tokens *tokens, const char *key)
{
    struct entry *entry = find(tokens, key);
    if (entry)
        return entry;
    if (tokens->count >= TOKENS_MAX)
        evict(tokens);
    entry = xcalloc(1, sizeof *entry);
    entry->key = xstrdup(key);
    entry->next = tokens->entries;
    tokens->entries = entry;
    tokens->count++;
    return entry;
}

static bool is_good(const struct token *token, int64_t least_ms)
{
    return token->text && token->expires_at_ms - clock_ms() >= least_ms;
}

/* Wait for another thread's fetch. Its failure is ours, except that its being cancelled is not. */
static enum errc wait_for_flight(struct tokens *tokens, struct entry *entry, struct cancel *cancel,
                                 struct error *err)
{
    unsigned failures = entry->failures;
    entry->waiting++;
    while (entry->fetching && !cancel_requested(cancel))
        pthread_cond_wait(&tokens->changed, &tokens->lock);
    entry->waiting--;
    if (entry->failures != failures && entry->last_error.code != ERR_CANCELLED) {
        *err = entry->last_error;
        return err->code;
    }
    return cancel_check(cancel, err);
}

/* Called with the lock, which is given up during the fetch. */
static enum errc fetch_into(struct tokens *tokens, struct entry *entry,
                            const struct token_fetch *fetch, char **text, struct error *err)
{
    entry->fetching = true;
    pthread_mutex_unlock(&tokens->lock);
    struct token token = {0};
    enum errc code = fetch->run(fetch->self, &token, err);
    pthread_mutex_lock(&tokens->lock);
    entry->fetching = false;
    if (code == ERR_OK) {
        secret_free(entry->token.text);
        entry->token = token;
        *text = xstrdup(token.text);
    } else {
        entry->failures++;
        entry->last_error = *err;
    }
    pthread_cond_broadcast(&tokens->changed);
    return code;
}

static void wake(void *self)
{
    struct tokens *tokens = self;
    autolock pthread_mutex_t *held = lock_take(&tokens->lock);
    pthread_cond_broadcast(&tokens->changed);
}

enum errc tokens_get(struct tokens *tokens, const char *key, int64_t least_ms,
                     struct cancel *cancel, const struct token_fetch *fetch, char **text,
                     struct error *err)
{
    struct cancel_watch watch = {.call = wake, .self = tokens};
    if (cancel)
        cancel_watch(cancel, &watch);
    pthread_mutex_lock(&tokens->lock);
    struct entry *entry = find_or_add(tokens, key);
    enum errc code = ERR_OK;
    while (entry->fetching && code == ERR_OK)
        code = wait_for_flight(tokens, entry, cancel, err);
    if (code == ERR_OK && is_good(&entry->token, least_ms))
        *text = xstrdup(entry->token.text);
    else if (code == ERR_OK)
        code = fetch_into(tokens, entry, fetch, text, err);
    pthread_mutex_unlock(&tokens->lock);
    if (cancel)
        cancel_unwatch(cancel, &watch);
    return code;
}

void tokens_drop(struct tokens *tokens, const char *key, const char *text)
{
    autolock pthread_mutex_t *held = lock_take(&tokens->lock);
    struct entry *entry = find(tokens, key);
    if (entry && entry->token.text && strcmp(entry->token.text, text) == 0) {
        secret_free(entry->token.text);
        entry->token = (struct token){0};
    }
}
