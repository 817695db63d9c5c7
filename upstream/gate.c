#include "upstream/gate.h"

void gate_init(struct gate *gate, unsigned limit)
{
    pthread_mutex_init(&gate->lock, NULL);
    clock_cond_init(&gate->left);
    gate->limit = limit;
    gate->inside = 0;
}

void gate_deinit(struct gate *gate)
{
    pthread_cond_destroy(&gate->left);
    pthread_mutex_destroy(&gate->lock);
}

bool gate_try(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool room = gate->inside < gate->limit;
    gate->inside += room;
    pthread_mutex_unlock(&gate->lock);
    return room;
}

enum errc gate_enter(struct gate *gate, const struct stop *stop, struct error *err)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->inside >= gate->limit && !stop_requested(stop))
        stop_wait_turn(&gate->left, &gate->lock);
    bool room = gate->inside < gate->limit;
    gate->inside += room;
    pthread_mutex_unlock(&gate->lock);
    return room ? ERR_OK : stop_check(stop, err);
}

void gate_leave(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside--;
    pthread_cond_signal(&gate->left);
    pthread_mutex_unlock(&gate->lock);
}
