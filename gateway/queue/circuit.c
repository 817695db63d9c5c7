#include "gateway/queue/circuit.h"

void circuit_init(struct circuit *circuit, int64_t base_ms, unsigned limit)
{
    *circuit = (struct circuit){.base_ms = base_ms, .limit = limit};
}

/* `allowed` 0: it is closed. */
enum circuit_state circuit_state(const struct circuit *circuit, int64_t now_ms)
{
    if (circuit->allowed == 0)
        return CIRCUIT_CLOSED;
    return now_ms < circuit->until_ms ? CIRCUIT_OPEN : CIRCUIT_HALF_OPEN;
}

int64_t circuit_delay_ms(int64_t base_ms, unsigned failed, uint32_t jitter)
{
    int64_t delay_ms = base_ms;
    while (failed-- > 1 && delay_ms < CIRCUIT_DELAY_MAX_MS)
        delay_ms *= 2;
    if (delay_ms > CIRCUIT_DELAY_MAX_MS)
        delay_ms = CIRCUIT_DELAY_MAX_MS;
    return delay_ms - delay_ms / 5 +
           (int64_t)((uint64_t)(2 * (delay_ms / 5)) * jitter / UINT32_MAX);
}

/* What begins in the millisecond in which it was opened begins as in the next one: gate_enter(). */
bool circuit_is_stale(const struct circuit *circuit, int64_t began_ms)
{
    return began_ms <= circuit->opened_ms;
}

bool circuit_failed(struct circuit *circuit, int64_t began_ms, int64_t now_ms, int64_t asked_ms,
                    uint32_t jitter)
{
    if (circuit_is_stale(circuit, began_ms) || circuit_state(circuit, now_ms) == CIRCUIT_OPEN)
        return false;
    int64_t delay_ms = circuit_delay_ms(circuit->base_ms, ++circuit->failures, jitter);
    circuit->opened_ms = now_ms > began_ms ? now_ms : began_ms;
    circuit->allowed = 1;
    circuit->until_ms = now_ms + (asked_ms > delay_ms ? asked_ms : delay_ms);
    return true;
}

bool circuit_succeeded(struct circuit *circuit, int64_t now_ms)
{
    if (circuit->allowed == 0)
        return false;
    if (circuit->until_ms > now_ms)
        circuit->until_ms = now_ms;
    circuit->failures = 0;
    circuit->allowed *= 2;
    if (circuit->allowed >= circuit->limit)
        circuit->allowed = 0;
    return true;
}
