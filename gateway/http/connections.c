#include "gateway/http/connections.h"

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/http/jobs.h"
#include "gateway/http/places.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum state {
    STATE_HEAD,   /* its first request's headers are not there */
    STATE_IDLE,   /* no request */
    STATE_DRAIN,  /* a body that nobody reads */
    STATE_ANSWER, /* answered without a job */
    STATE_BODY,   /* a body for a job */
    STATE_JOB,    /* the job has all of it */
    STATE_ENDING,
};

struct connection {
    struct connections *table;
    uint64_t id;
    int socket;
    struct net_address address;
    struct net_address site;
    struct exchange *exchange; /* the HTTP thread's; what follows is guarded by the table's lock */
    enum state state;
    int64_t since_ms; /* of the state; of a window of STATE_DRAIN */
    size_t bytes;     /* in this window */
    bool lingers;     /* it was sent an answer, and is shut down later */
    int64_t end_ms;   /* of its request, whatever becomes of the answer; 0: none */
    int64_t takes_ms; /* while the gateway stops: since when its client is to take an answer; 0: */
    uint64_t taken;   /* none waits. Bytes that it had taken then */
};

struct connections {
    struct connections_options options;
    char *late_answer;
    pthread_mutex_t lock;      /* guards what follows */
    struct connection **slots; /* by the lower half of their ids; NULL: free */
    size_t slot_count;
    uint32_t generation;
    struct places places; /* of those that are not ending */
    int64_t *accepted;    /* when, by socket: until it is opened */
    size_t accepted_count;
};

struct connections *connections_new(const struct connections_options *options)
{
    struct connections *table = xcalloc(1, sizeof *table);
    table->options = *options;
    table->late_answer = options->late_answer ? xstrdup(options->late_answer) : NULL;
    pthread_mutex_init(&table->lock, NULL);
    places_init(&table->places, (unsigned)options->max);
    return table;
}

void connections_free(struct connections *table)
{
    if (table == NULL)
        return;
    places_deinit(&table->places);
    pthread_mutex_destroy(&table->lock);
    free(table->slots);
    free(table->accepted);
    free(table->late_answer);
    free(table);
}

/* ---- ending ---- */

static void change_locked(struct connection *connection, enum state state)
{
    if (connection->state == STATE_ENDING)
        return;
    connection->state = state;
    connection->since_ms = clock_ms();
    connection->bytes = 0;
    if (state == STATE_IDLE)
        connection->end_ms = 0;
    if (state == STATE_ENDING)
        places_give_back(&connection->table->places, &connection->site);
}

static void shut_locked(struct connection *connection)
{
    change_locked(connection, STATE_ENDING);
    connection->lingers = false;
    shutdown(connection->socket, SHUT_RDWR);
}

/* What does not fit into the socket's buffer is lost: the answer is short. */
static void answer_locked(struct connection *connection, const char *answer)
{
    ssize_t sent = send(connection->socket, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    change_locked(connection, STATE_ENDING);
    connection->lingers = sent > 0;
    shutdown(connection->socket, sent > 0 ? SHUT_WR : SHUT_RDWR);
}

static void end_late_locked(struct connection *connection)
{
    const char *answer = connection->table->late_answer;
    if (connection->state == STATE_IDLE || answer == NULL)
        shut_locked(connection);
    else
        answer_locked(connection, answer);
}

static struct connection *find_locked(struct connections *table, uint64_t id)
{
    size_t slot = (uint32_t)id;
    struct connection *found = slot < table->slot_count ? table->slots[slot] : NULL;
    return found && found->id == id ? found : NULL;
}

void connections_answered(struct connections *table, uint64_t id)
{
    if (table == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    struct connection *connection = find_locked(table, id);
    if (connection && connection->state == STATE_BODY)
        change_locked(connection, STATE_DRAIN);
}

void connections_end(struct connections *table, uint64_t id, const char *answer)
{
    if (table == NULL)
        return;
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    struct connection *connection = find_locked(table, id);
    bool receives =
        connection && (connection->state == STATE_BODY || connection->state == STATE_DRAIN);
    if (receives && table->late_answer)
        answer_locked(connection, answer);
    else if (receives)
        shut_locked(connection);
}

void connections_end_by(struct connections *table, uint64_t id, int64_t end_ms)
{
    if (table == NULL)
        return;
    pthread_mutex_lock(&table->lock);
    struct connection *connection = find_locked(table, id);
    if (connection)
        connection->end_ms = end_ms;
    pthread_mutex_unlock(&table->lock);
}

/* ---- deadlines ---- */

/* What the other side has taken of all that was sent to it; false: nothing waits to be taken, or
 * that is not known. */
static bool waits_to_be_taken(int socket, uint64_t *taken)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    *taken = info.tcpi_bytes_acked;
    return info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
}

static void sweep_answer_locked(struct connection *connection, int64_t now_ms)
{
    uint64_t taken = 0;
    if (!waits_to_be_taken(connection->socket, &taken)) {
        connection->takes_ms = 0;
        return;
    }
    if (connection->takes_ms != 0 && now_ms - connection->takes_ms < STOPPING_ANSWER_MS)
        return;
    if (connection->takes_ms != 0 && taken - connection->taken < CLIENT_PACE_BYTES) {
        shut_locked(connection);
        return;
    }
    connection->takes_ms = now_ms;
    connection->taken = taken;
}

static void sweep_locked(struct connection *connection, int64_t now_ms, bool stopping)
{
    const struct connections_options *options = &connection->table->options;
    int64_t age_ms = now_ms - connection->since_ms;
    switch (connection->state) {
    case STATE_HEAD:
        if (age_ms >= options->head_ms)
            end_late_locked(connection);
        break;
    case STATE_IDLE:
        if (age_ms >= options->idle_ms)
            end_late_locked(connection);
        break;
    case STATE_DRAIN:
        if (age_ms < (stopping ? STOPPING_PACE_MS : options->drain_ms))
            break;
        if (connection->bytes < CLIENT_PACE_BYTES)
            end_late_locked(connection);
        else
            change_locked(connection, STATE_DRAIN);
        break;
    case STATE_ENDING:
        if (connection->lingers && age_ms >= LINGER_MS)
            shut_locked(connection);
        break;
    case STATE_ANSWER:
    case STATE_BODY:
    case STATE_JOB:
        if (connection->end_ms != 0 && now_ms >= connection->end_ms)
            shut_locked(connection);
        else if (stopping)
            sweep_answer_locked(connection, now_ms);
        break;
    }
}

void connections_sweep(struct connections *table, int64_t now_ms, bool stopping)
{
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    for (size_t i = 0; i < table->slot_count; i++)
        if (table->slots[i])
            sweep_locked(table->slots[i], now_ms, stopping);
}

/* ---- room ---- */

static const struct place_holder *heaviest_locked(const struct connections *table)
{
    const struct place_holder *heaviest = NULL;
    const struct place_holder *holder;
    TAILQ_FOREACH(holder, &table->places.holders, link)
    {
        if (heaviest == NULL || holder->held > heaviest->held)
            heaviest = holder;
    }
    return heaviest;
}

/* Which of two goes first; states are in that order. What is answered and began last has least to
 * lose. */
static bool goes_before(const struct connection *a, const struct connection *b)
{
    if (b == NULL || a->state != b->state)
        return b == NULL || a->state < b->state;
    return (a->since_ms < b->since_ms) != (a->state == STATE_ANSWER);
}

/* Of `address`; NULL: of any. */
static struct connection *first_locked(const struct connections *table,
                                       const struct net_address *address, enum state most)
{
    struct connection *first = NULL;
    for (size_t i = 0; i < table->slot_count; i++) {
        struct connection *at = table->slots[i];
        if (at && at->state <= most && goes_before(at, first) &&
            (address == NULL || net_address_equal(address, &at->site)))
            first = at;
    }
    return first;
}

/* There is an address, since there is no room. */
static struct connection *victim_locked(const struct connections *table,
                                        const struct net_address *newcomer)
{
    const struct place_holder *heaviest = heaviest_locked(table);
    bool lighter = places_of(&table->places, newcomer) + 1 < heaviest->held;
    enum state most = lighter ? STATE_ANSWER : STATE_DRAIN;
    struct connection *victim = NULL;
    if (heaviest->held > table->options.max / 2)
        victim = first_locked(table, &heaviest->address, most);
    if (victim == NULL)
        victim = first_locked(table, NULL, STATE_DRAIN);
    return victim ? victim : first_locked(table, &heaviest->address, most);
}

static void remember_locked(struct connections *table, int socket, int64_t since_ms)
{
    size_t at = (size_t)socket;
    if (at >= table->accepted_count) {
        size_t count = at * 2 + 64;
        table->accepted = xrealloc(table->accepted, count, sizeof *table->accepted);
        while (table->accepted_count < count)
            table->accepted[table->accepted_count++] = 0;
    }
    table->accepted[at] = since_ms;
}

bool connections_admit(struct connections *table, int socket, struct net_address address,
                       int64_t since_ms)
{
    const struct net_address site = net_address_site(&address);
    pthread_mutex_lock(&table->lock);
    bool room = table->places.held < table->options.max;
    struct connection *victim = room ? NULL : victim_locked(table, &site);
    if (victim)
        shut_locked(victim);
    if (room || victim)
        remember_locked(table, socket, since_ms);
    pthread_mutex_unlock(&table->lock);
    return room || victim;
}

/* ---- one of them ---- */

static size_t free_slot_locked(struct connections *table)
{
    size_t slot = 0;
    while (slot < table->slot_count && table->slots[slot])
        slot++;
    if (slot < table->slot_count)
        return slot;
    table->slot_count = slot * 2 + 64;
    table->slots = xrealloc(table->slots, table->slot_count, sizeof(struct connection *));
    for (size_t i = slot; i < table->slot_count; i++)
        table->slots[i] = NULL;
    return slot;
}

struct connection *connection_open(struct connections *table, int socket,
                                   struct net_address address)
{
    struct connection *connection = xcalloc(1, sizeof *connection);
    autolock pthread_mutex_t *held = lock_take(&table->lock);
    size_t slot = free_slot_locked(table);
    *connection = (struct connection){.table = table,
                                      .id = (uint64_t)++table->generation << 32 | slot,
                                      .socket = socket,
                                      .address = address,
                                      .site = net_address_site(&address),
                                      .since_ms = clock_ms()};
    if ((size_t)socket < table->accepted_count && table->accepted[socket] != 0)
        connection->since_ms = table->accepted[socket];
    table->slots[slot] = connection;
    places_take(&table->places, &connection->site, connection->since_ms);
    return connection;
}

void connection_close(struct connection *connection)
{
    struct connections *table = connection->table;
    pthread_mutex_lock(&table->lock);
    table->slots[(uint32_t)connection->id] = NULL;
    if (connection->state != STATE_ENDING)
        places_give_back(&table->places, &connection->site);
    if ((size_t)connection->socket < table->accepted_count)
        table->accepted[connection->socket] = 0;
    pthread_mutex_unlock(&table->lock);
    free(connection);
}

struct connections *connection_table(const struct connection *connection)
{
    return connection->table;
}

uint64_t connection_id(const struct connection *connection)
{
    return connection->id;
}

const struct net_address *connection_address(const struct connection *connection)
{
    return &connection->address;
}

struct exchange **connection_exchange(struct connection *connection)
{
    return &connection->exchange;
}

bool connection_ended(struct connection *connection)
{
    autolock pthread_mutex_t *held = lock_take(&connection->table->lock);
    return connection->state == STATE_ENDING;
}

static bool change(struct connection *connection, enum state state)
{
    autolock pthread_mutex_t *held = lock_take(&connection->table->lock);
    bool goes_on = connection->state != STATE_ENDING;
    change_locked(connection, state);
    return goes_on;
}

bool connection_begins(struct connection *connection)
{
    return change(connection, STATE_BODY);
}

void connection_drains(struct connection *connection)
{
    change(connection, STATE_DRAIN);
}

void connection_waits(struct connection *connection)
{
    change(connection, STATE_JOB);
}

void connection_answers(struct connection *connection)
{
    change(connection, STATE_ANSWER);
}

void connection_got(struct connection *connection, size_t bytes)
{
    autolock pthread_mutex_t *held = lock_take(&connection->table->lock);
    connection->bytes += bytes;
}

void connection_rests(struct connection *connection)
{
    change(connection, STATE_IDLE);
}
