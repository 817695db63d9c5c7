#include "gateway/queue/gate.h"

#include <stdlib.h>

void gate_init(struct gate *gate, int64_t base_ms, unsigned limit,
               void (*begin)(struct gate_place *place))
{
    *gate = (struct gate){.begin = begin};
    circuit_init(&gate->circuit, base_ms, limit);
    TAILQ_INIT(&gate->kept);
}

bool gate_admits(const struct gate *gate, int64_t now_ms)
{
    if (gate->paused)
        return false;
    switch (circuit_state(&gate->circuit, now_ms)) {
    case CIRCUIT_OPEN:
        return false;
    case CIRCUIT_HALF_OPEN:
        return gate->under_way < gate->circuit.allowed;
    case CIRCUIT_CLOSED:
        break;
    }
    return true;
}

int64_t gate_enter(struct gate *gate, int64_t now_ms)
{
    gate->under_way++;
    return circuit_is_stale(&gate->circuit, now_ms) ? gate->circuit.opened_ms + 1 : now_ms;
}

/* Those that began before the circuit was opened are not counted any more. */
void gate_leave(struct gate *gate, int64_t began_ms)
{
    if (!circuit_is_stale(&gate->circuit, began_ms))
        gate->under_way--;
}

bool gate_is_stale(const struct gate *gate, int64_t began_ms)
{
    return gate->paused || circuit_is_stale(&gate->circuit, began_ms);
}

bool gate_failed(struct gate *gate, int64_t began_ms, int64_t now_ms, int64_t asked_ms)
{
    if (gate->succeeded_ms > began_ms ||
        !circuit_failed(&gate->circuit, began_ms, now_ms, asked_ms, arc4random())) {
        gate_release(gate, now_ms);
        return false;
    }
    gate->under_way = 0;
    return true;
}

void gate_succeeded(struct gate *gate, int64_t now_ms)
{
    gate->succeeded_ms = now_ms;
    circuit_succeeded(&gate->circuit, now_ms);
    gate_release(gate, now_ms);
}

void gate_keep(struct gate *gate, struct gate_place *place)
{
    place->gate = gate;
    TAILQ_INSERT_TAIL(&gate->kept, place, link);
    gate->kept_count++;
}

void gate_give_back(struct gate_place *place)
{
    struct gate *gate = place->gate;
    if (gate == NULL)
        return;
    TAILQ_REMOVE(&gate->kept, place, link);
    gate->kept_count--;
    place->gate = NULL;
}

void gate_release(struct gate *gate, int64_t now_ms)
{
    struct gate_place *place;
    while (gate_admits(gate, now_ms) && (place = TAILQ_FIRST(&gate->kept)) != NULL) {
        gate_give_back(place);
        gate->begin(place);
    }
}
