#include "tests/support/fake_connection.h"

#include "base/clock.h"

void fake_connection_init(struct fake_connection *connection)
{
    *connection = (struct fake_connection){.lock = PTHREAD_MUTEX_INITIALIZER};
    clock_cond_init(&connection->changed);
}

static void suspend(void *arg)
{
    struct fake_connection *connection = arg;
    pthread_mutex_lock(&connection->lock);
    connection->suspended++;
    connection->suspends++;
    pthread_mutex_unlock(&connection->lock);
}

static void resume(void *arg)
{
    struct fake_connection *connection = arg;
    pthread_mutex_lock(&connection->lock);
    connection->suspended--;
    pthread_cond_broadcast(&connection->changed);
    pthread_mutex_unlock(&connection->lock);
}

struct suspendable fake_connection_suspendable(struct fake_connection *connection)
{
    return (struct suspendable){.suspend = suspend, .resume = resume, .connection = connection};
}

struct peer fake_connection_peer(struct fake_connection *connection)
{
    return (struct peer){.connection = fake_connection_suspendable(connection)};
}

bool fake_connection_suspended(struct fake_connection *connection)
{
    return !fake_connection_wait(connection, 0);
}

bool fake_connection_wait(struct fake_connection *connection, int64_t ms)
{
    struct timespec until = clock_deadline(ms);
    int rc = 0;
    pthread_mutex_lock(&connection->lock);
    while (connection->suspended > 0 && rc == 0)
        rc = pthread_cond_timedwait(&connection->changed, &connection->lock, &until);
    bool resumed = connection->suspended == 0;
    pthread_mutex_unlock(&connection->lock);
    return resumed;
}
