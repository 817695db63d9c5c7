#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/queue/outcome.h"
#include "gateway/queue/push_queue.h"
#include "gateway/queue/push_queue_internal.h"
#include "upstream/client/retry.h"

#include <search.h>
#include <stddef.h>
#include <string.h>

/* ---- gates and their clocks ---- */

static void stop_clock(struct queue_gate *gate)
{
    struct push_queue *queue = gate->queue;
    if (!gate->clock_waits || !work_cancel(queue->direct, &gate->clock))
        return;
    gate->clock_waits = false;
    queue_under_way(queue, -1);
}

static void need_clock(struct queue_gate *gate, int64_t now_ms);

static void on_clock(struct work *work)
{
    struct queue_gate *gate =
        (struct queue_gate *)((char *)work - offsetof(struct queue_gate, clock));
    struct push_queue *queue = gate->queue;
    pthread_mutex_lock(&queue->lock);
    int64_t now_ms = clock_ms();
    gate->clock_waits = false;
    if (!queue->closed)
        gate_release(&gate->gate, now_ms);
    need_clock(gate, now_ms); /* it was opened again meanwhile */
    queue_under_way(queue, -1);
    pthread_mutex_unlock(&queue->lock);
}

/* Somebody is kept until then, and nobody else may come to let him go. */
static void need_clock(struct queue_gate *gate, int64_t now_ms)
{
    struct push_queue *queue = gate->queue;
    if (gate->clock_waits || queue->closed || gate->gate.kept_count == 0 ||
        circuit_state(&gate->gate.circuit, now_ms) != CIRCUIT_OPEN)
        return;
    gate->clock_waits = true;
    gate->clock.run = on_clock;
    queue_under_way(queue, 1);
    work_submit_at(queue->direct, &gate->clock, gate->gate.circuit.until_ms);
}

static void begin_again(struct gate_place *place)
{
    entry_begin((struct queue_entry *)((char *)place - offsetof(struct queue_entry, place)));
}

static struct queue_gate *gate_new(struct push_queue *queue, const char *host)
{
    size_t size = strlen(host) + 1;
    struct queue_gate *gate = xcalloc(1, sizeof *gate + size);
    gate->queue = queue;
    memcpy(gate->name, host, size);
    gate_init(&gate->gate, queue_retry_wait_ms(queue, host),
              RUNTIME_SETTING(queue->runtime, limits.pushes_per_registry), begin_again);
    return gate;
}

/* ---- hosts and logins ---- */

int64_t queue_retry_wait_ms(const struct push_queue *queue, const char *host)
{
    autosettings const struct settings *settings = runtime_settings(queue->runtime);
    for (size_t i = 0; i < settings->registry_count; i++)
        if (strcmp(settings->registries[i].host, host) == 0)
            return settings->registries[i].retry_wait_ms;
    return RETRY_WAIT_MS;
}

struct queue_gate *queue_host_find(const struct push_queue *queue, const char *name)
{
    struct queue_gate *host = queue->hosts;
    while (host && strcmp(host->name, name) != 0)
        host = host->next;
    return host;
}

static struct queue_gate *host_of(struct push_queue *queue, const char *name)
{
    struct queue_gate *host = queue_host_find(queue, name);
    if (host)
        return host;
    host = gate_new(queue, name);
    host->works = work_queue_new(queue->runtime->executor, NULL,
                                 RUNTIME_SETTING(queue->runtime, limits.pushes_per_registry));
    host->next = queue->hosts;
    queue->hosts = host;
    return host;
}

/* Credentials that nobody waits for, and that are not known to be wrong, are forgotten: a helper
 * may give others each time. */
static void forget_logins(struct queue_gate *host, const struct queue_gate *but)
{
    struct queue_gate **at = &host->logins;
    while (*at) {
        struct queue_gate *login = *at;
        bool used = login == but || login->users > 0 || login->seen > 0 ||
                    login->gate.kept_count > 0 || login->clock_waits ||
                    circuit_state(&login->gate.circuit, clock_ms()) != CIRCUIT_CLOSED;
        if (used) {
            at = &login->next;
            continue;
        }
        *at = login->next;
        free(login);
    }
}

static struct queue_gate *login_of(struct queue_gate *host, const struct digest *digest)
{
    struct queue_gate *login = host->logins;
    while (login && !digest_equal(&login->login, digest))
        login = login->next;
    if (login)
        return login;
    login = gate_new(host->queue, "");
    login->login = *digest;
    login->next = host->logins;
    host->logins = login;
    forget_logins(host, login);
    return login;
}

/* ---- repositories ---- */

static int compare_repositories(const void *a, const void *b)
{
    return strcmp(((const struct queue_repository *)a)->name,
                  ((const struct queue_repository *)b)->name);
}

struct queue_repository *queue_repository(struct push_queue *queue,
                                          const struct reference *reference)
{
    char name[REFERENCE_NAME_MAX + 1];
    size_t size = strlen(reference_name(reference, name)) + 1;
    struct queue_repository *repository = xcalloc(1, sizeof *repository + size);
    memcpy(repository->name, name, size);
    struct queue_repository **held =
        tsearch(repository, &queue->repositories, compare_repositories);
    if (held == NULL)
        abort(); /* out of memory, as in base/mem.h */
    if (*held != repository)
        free(repository);
    repository = *held;
    if (repository->host == NULL)
        repository->host = host_of(queue, reference->host);
    repository->tags++;
    return repository;
}

static bool is_shut(const struct queue_gate *gate)
{
    return gate &&
           (gate->gate.paused || circuit_state(&gate->gate.circuit, clock_ms()) == CIRCUIT_OPEN);
}

bool queue_is_away(const struct push_queue *queue, const struct reference *reference)
{
    char name[REFERENCE_NAME_MAX + 1];
    size_t size = strlen(reference_name(reference, name)) + 1;
    autofree struct queue_repository *wanted = xcalloc(1, sizeof *wanted + size);
    memcpy(wanted->name, name, size);
    struct queue_repository **held = tfind(wanted, &queue->repositories, compare_repositories);
    return is_shut(queue_host_find(queue, reference->host)) || (held && is_shut((*held)->login));
}

static void set_login(struct queue_repository *repository, struct queue_gate *login)
{
    if (repository->login)
        repository->login->users--;
    repository->login = login;
    if (login)
        login->users++;
}

void queue_repository_release(struct push_queue *queue, struct queue_repository *repository)
{
    if (--repository->tags > 0)
        return;
    set_login(repository, NULL);
    tdelete(repository, &queue->repositories, compare_repositories);
    free(repository);
}

/* ---- entries ---- */

static void set_entry_login(struct queue_entry *entry, struct queue_gate *login)
{
    if (entry->login)
        entry->login->users--;
    entry->login = login;
    if (login)
        login->users++;
}

/* The first that does not let it begin. */
static struct queue_gate *closed_gate(const struct queue_entry *entry, int64_t now_ms)
{
    const struct queue_repository *repository = entry->tag->repository;
    if (repository->login && !gate_admits(&repository->login->gate, now_ms))
        return repository->login;
    return gate_admits(&repository->host->gate, now_ms) ? NULL : repository->host;
}

static bool is_closed(const struct queue_gate *gate, int64_t now_ms)
{
    return circuit_state(&gate->gate.circuit, now_ms) == CIRCUIT_CLOSED;
}

static void enter_login(struct queue_entry *entry, struct queue_gate *login, int64_t now_ms)
{
    set_entry_login(entry, login);
    entry->login_ms = login ? gate_enter(&login->gate, now_ms) : now_ms;
}

static void submit(struct queue_entry *entry, int64_t now_ms)
{
    struct queue_repository *repository = entry->tag->repository;
    entry->began_ms = gate_enter(&repository->host->gate, now_ms);
    enter_login(entry, repository->login, now_ms);
    entry->probes = !is_closed(repository->host, now_ms) ||
                    (repository->login && !is_closed(repository->login, now_ms));
    entry_set_state(entry, ENTRY_WAITS);
    entry->work.run = pending_work;
    entry->work.key = repository->name;
    queue_under_way(entry->queue, 1);
    work_submit(repository->host->works, &entry->work);
}

void entry_begin(struct queue_entry *entry)
{
    int64_t now_ms = clock_ms();
    struct queue_gate *gate = closed_gate(entry, now_ms);
    if (entry->queue->closed) {
        entry_set_state(entry, ENTRY_LISTED);
        return;
    }
    if (entry->to->record.paused_s > 0) {
        entry->next_ms = 0;
        entry_set_state(entry, ENTRY_PAUSED);
        return;
    }
    if (gate) {
        entry_set_state(entry, ENTRY_KEPT);
        gate_keep(&gate->gate, &entry->place);
        need_clock(gate, now_ms);
        return;
    }
    submit(entry, now_ms);
}

/* The wait of an open circuit is over. */
static void end_wait(struct queue_gate *gate)
{
    if (gate == NULL || gate->gate.circuit.until_ms <= clock_ms())
        return;
    gate->gate.circuit.until_ms = clock_ms();
    stop_clock(gate);
}

bool entry_hurry(struct queue_entry *entry)
{
    struct queue_repository *repository = entry->tag->repository;
    if (entry->state == ENTRY_PAUSED || !entry_take_back(entry))
        return false;
    end_wait(repository->login);
    end_wait(repository->host);
    queue_tag_begin(entry->queue, entry->tag);
    gate_release(&repository->host->gate, clock_ms());
    if (repository->login)
        gate_release(&repository->login->gate, clock_ms());
    return true;
}

static void leave(struct queue_entry *entry)
{
    struct queue_repository *repository = entry->tag->repository;
    gate_leave(&repository->host->gate, entry->began_ms);
    if (entry->login)
        gate_leave(&entry->login->gate, entry->login_ms);
    entry->began_ms = 0;
}

void entry_leave_gates(struct queue_entry *entry)
{
    struct queue_repository *repository = entry->tag->repository;
    struct queue_gate *login = entry->login;
    if (entry->began_ms == 0)
        return;
    leave(entry);
    /* It may have been the one that was to show whether they are there again. */
    gate_release(&repository->host->gate, clock_ms());
    if (login)
        gate_release(&login->gate, clock_ms());
    set_entry_login(entry, NULL);
}

bool entry_is_stale(const struct queue_entry *entry)
{
    return gate_is_stale(&entry->tag->repository->host->gate, entry->began_ms) ||
           (entry->login && gate_is_stale(&entry->login->gate, entry->login_ms));
}

/* The target is pushed to as this; NULL: not known. */
static void show_login(struct queue_target *target, struct queue_gate *login)
{
    struct queue_gate **logins = target->logins;
    size_t at = 0;
    if (login == NULL)
        return;
    while (at < TARGET_LOGINS_MAX - 1 && logins[at] && logins[at] != login)
        at++;
    if (logins[at] && logins[at] != login)
        logins[at]->seen--;
    login->seen += logins[at] != login;
    for (; at > 0; at--)
        logins[at] = logins[at - 1];
    logins[0] = login;
}

void queue_target_drop_logins(struct queue_target *target)
{
    for (size_t i = 0; i < TARGET_LOGINS_MAX && target->logins[i]; i++)
        target->logins[i]->seen--;
    memset(target->logins, 0, sizeof target->logins);
}

/* What the repository is pushed to as, from now on; NULL where that is not known. */
static struct queue_gate *learn(struct queue_repository *repository, const struct digest *login)
{
    if (login->algorithm != DIGEST_NONE)
        set_login(repository, login_of(repository->host, login));
    return repository->login;
}

bool entry_enter_login(struct queue_entry *entry, const struct digest *digest)
{
    int64_t now_ms = clock_ms();
    struct queue_gate *before = entry->login;
    struct queue_gate *login = learn(entry->tag->repository, digest);
    show_login(entry->to, login);
    if (login == before || login == NULL)
        return true;
    if (before) {
        gate_leave(&before->gate, entry->login_ms);
        set_entry_login(entry, NULL);
        gate_release(&before->gate, now_ms);
    }
    if (!gate_admits(&login->gate, now_ms))
        return false;
    entry->probes |= !is_closed(login, now_ms);
    enter_login(entry, login, now_ms);
    return true;
}

static void note_success(struct queue_gate *gate)
{
    gate_succeeded(&gate->gate, clock_ms());
    stop_clock(gate);
}

static void note_failure(struct queue_gate *gate, const struct push_target *target,
                         int64_t began_ms)
{
    int64_t now_ms = clock_ms();
    if (!gate_failed(&gate->gate, began_ms, now_ms, target->asked_ms))
        return;
    gate->why = target->error;
    need_clock(gate, now_ms);
}

/* What its end says of a host, and of credentials there (NULL: they are not known). Returns the
 * gate that it has failed at; NULL: at none. */
static struct queue_gate *judge(struct queue_gate *host, struct queue_gate *login,
                                const struct push_target *target, int64_t began_ms,
                                int64_t login_ms)
{
    bool good = target->state == PUSH_PUSHED || target->state == PUSH_SUPERSEDED;
    enum outcome outcome = good ? OUTCOME_TARGET : outcome_of(&target->error);
    if (outcome == OUTCOME_HOST) {
        note_failure(host, target, began_ms);
        return host;
    }
    if (good || outcome == OUTCOME_CREDENTIAL) /* it is there, and says so */
        note_success(host);
    if (good && login)
        note_success(login);
    if (outcome != OUTCOME_CREDENTIAL || login == NULL)
        return NULL;
    note_failure(login, target, login_ms);
    return login;
}

int64_t entry_tell_end(struct queue_entry *entry, const struct push_target *target)
{
    struct queue_repository *repository = entry->tag->repository;
    int64_t began_ms = entry->began_ms;
    struct queue_gate *login = learn(repository, &target->login);
    show_login(entry->to, login);
    struct queue_gate *entered = entry->login;
    leave(entry);
    const struct queue_gate *gate =
        judge(repository->host, login, target, began_ms, entry->login_ms);
    if (entered) /* it may have been the one that was to show whether they are there again */
        gate_release(&entered->gate, clock_ms());
    set_entry_login(entry, NULL);
    return gate && circuit_state(&gate->gate.circuit, clock_ms()) == CIRCUIT_OPEN
               ? gate->gate.circuit.until_ms
               : 0;
}

void entry_tell_direct(const struct queue_entry *entry)
{
    struct queue_gate *host = entry->tag->repository->host;
    const struct push_target *target = &entry->push->targets[entry->target];
    bool known = target->login.algorithm != DIGEST_NONE;
    struct queue_gate *login = known ? login_of(host, &target->login) : NULL;
    show_login(entry->to, login);
    if (entry->begun_ms > 0) /* else it has asked nobody */
        judge(host, login, target, entry->begun_ms, entry->begun_ms);
}

void entry_wait(const struct queue_entry *entry, struct push_target *target)
{
    const struct gate *place = entry->place.gate;
    if (place == NULL)
        return;
    const struct queue_gate *gate =
        (const struct queue_gate *)((const char *)place - offsetof(struct queue_gate, gate));
    int64_t left_ms = gate->gate.circuit.until_ms - clock_ms();
    target->next_s = (uint64_t)(clock_wall_s() + (left_ms > 0 ? (left_ms + 999) / 1000 : 0));
    if (target->error.code == ERR_OK)
        target->error = gate->why;
}

bool push_queue_is_away(struct push_queue *queue, const char *host, struct error *why)
{
    autolock pthread_mutex_t *held = lock_take(&queue->lock);
    const struct queue_gate *gate = queue->hosts;
    while (gate && strcmp(gate->name, host) != 0)
        gate = gate->next;
    if (gate == NULL || circuit_state(&gate->gate.circuit, clock_ms()) != CIRCUIT_OPEN)
        return false;
    *why = gate->why;
    return true;
}

/* ---- the end ---- */

void queue_gates_close(struct push_queue *queue)
{
    for (struct queue_gate *host = queue->hosts; host; host = host->next) {
        stop_clock(host);
        for (struct queue_gate *login = host->logins; login; login = login->next)
            stop_clock(login);
    }
}

void queue_gates_free(struct push_queue *queue)
{
    for (struct queue_gate *host = queue->hosts, *next; host; host = next) {
        next = host->next;
        for (struct queue_gate *login = host->logins, *after; login; login = after) {
            after = login->next;
            free(login);
        }
        work_queue_free(host->works);
        free(host);
    }
}
