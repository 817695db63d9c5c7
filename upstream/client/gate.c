#include "upstream/client/gate.h"

void gate_init(struct gate *gate, unsigned limit, int64_t base_ms)
{
    *gate = (struct gate){.limit = limit, .base_ms = base_ms, .allowed = limit};
    pthread_mutex_init(&gate->lock, NULL);
    clock_cond_init(&gate->changed);
}

void gate_deinit(struct gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
}

static bool is_closed(const struct gate *gate)
{
    return gate->closed_until_ms > clock_ms();
}

static bool go_in(struct gate *gate)
{
    bool room = gate->inside < gate->allowed && !is_closed(gate);
    gate->inside += room;
    return room;
}

bool gate_try(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool in = go_in(gate);
    pthread_mutex_unlock(&gate->lock);
    return in;
}

enum errc gate_enter(struct gate *gate, const struct stop *stop, struct error *err)
{
    pthread_mutex_lock(&gate->lock);
    bool in = go_in(gate);
    while (!in && !stop_requested(stop)) {
        stop_wait_turn(&gate->changed, &gate->lock);
        in = go_in(gate);
    }
    pthread_mutex_unlock(&gate->lock);
    return in ? ERR_OK : stop_check(stop, err);
}

void gate_leave(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside--;
    pthread_cond_signal(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

enum errc gate_wait_open(struct gate *gate, const struct stop *stop, struct error *err)
{
    pthread_mutex_lock(&gate->lock);
    while (is_closed(gate) && !stop_requested(stop))
        stop_wait_turn(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    return stop_check(stop, err);
}

static int64_t grown_ms(const struct gate *gate)
{
    int64_t grown = gate->base_ms * gate->refusals;
    return grown < GATE_GROWN_MAX_MS ? grown : GATE_GROWN_MAX_MS;
}

void gate_back_off(struct gate *gate, int64_t asked_ms)
{
    pthread_mutex_lock(&gate->lock);
    bool first = !is_closed(gate);
    if (first) {
        gate->refusals++;
        gate->allowed = gate->allowed > 1 ? gate->allowed / 2 : 1;
    }
    int64_t ms = asked_ms;
    if (asked_ms < 0)
        ms = first ? grown_ms(gate) : 0;
    if (ms > GATE_CLOSED_MAX_MS)
        ms = GATE_CLOSED_MAX_MS;
    int64_t until_ms = clock_ms() + ms;
    if (until_ms > gate->closed_until_ms)
        gate->closed_until_ms = until_ms;
    pthread_mutex_unlock(&gate->lock);
}

void gate_succeeded(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->refusals = 0;
    if (gate->allowed < gate->limit)
        gate->allowed++;
    pthread_cond_signal(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

int64_t gate_closed_ms(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    int64_t left = gate->closed_until_ms - clock_ms();
    pthread_mutex_unlock(&gate->lock);
    return left > 0 ? left : 0;
}

unsigned gate_allowed(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    unsigned allowed = gate->allowed;
    pthread_mutex_unlock(&gate->lock);
    return allowed;
}
