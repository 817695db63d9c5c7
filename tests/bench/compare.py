"""Two builds by turns, and what came of it: medians, ratios, a verdict for each row."""
from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.cost import Cost
from bench.images import log
from bench.rows import Inputs, Row

CPU_LIMIT = 0.05
PEAK_LIMIT_MIB = 2.0
OLD, NEW = "old", "new"

HEAD = (
    "| | CPU s | ratio | ± | wall s | ratio | peak MiB | threads | requests | MB | verdict |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)


def measure(
    row: Row, inputs: Inputs, builds: Mapping[str, Path], runs: int, cache: Path
) -> dict[str, list[Cost]]:
    """All turns of a row: old, new, old, new."""
    costs: dict[str, list[Cost]] = {name: [] for name in builds}
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=cache)))
        turns = {
            name: stack.enter_context(row.stage(inputs, binary, work / name))
            for name, binary in builds.items()
        }
        for number in range(runs):
            for name, turn in turns.items():
                # What the one before left to be written is not this one's cost.
                os.sync()
                costs[name].append(turn(number))
                cost = costs[name][-1]
                log(
                    f"{row.name}, run {number + 1}, {name}: "
                    f"CPU {cost.cpu_s:.3f} s, wall {cost.wall_s:.3f} s, {cost.peak_mib:.1f} MiB"
                )
    return costs


def medians(costs: Iterable[Cost]) -> dict[str, float]:
    runs = list(costs)
    keys = (field.name for field in fields(Cost))
    return {key: statistics.median(getattr(cost, key) for cost in runs) for key in keys}


def middle_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the median distance from it."""
    middle = statistics.median(values)
    return middle, statistics.median(abs(value - middle) for value in values)


def verdict(cpu_ratio: float, cpu_spread: float, peak_difference_mib: float) -> str:
    words = []
    if abs(cpu_ratio - 1) > CPU_LIMIT:
        doubt = "?" if abs(cpu_ratio - 1) <= cpu_spread else ""
        words.append(f"CPU {cpu_ratio - 1:+.0%}{doubt}")
    if abs(peak_difference_mib) > PEAK_LIMIT_MIB:
        words.append(f"peak {peak_difference_mib:+.1f} MiB")
    return ", ".join(words) or "same"


def judge(row: Row, costs: Mapping[str, list[Cost]]) -> dict[str, Any]:
    """What the JSON has of a row."""
    old, new = medians(costs[OLD]), medians(costs[NEW])
    # By pairs: turns that follow each other have met the same machine.
    pairs = [after.cpu_s / before.cpu_s for before, after in zip(costs[OLD], costs[NEW])]
    cpu_ratio, cpu_spread = middle_and_spread(pairs)
    peak_difference = new["peak_mib"] - old["peak_mib"]
    return {
        "means": row.means,
        OLD: old,
        NEW: new,
        "cpu_ratio": cpu_ratio,
        "cpu_spread": cpu_spread,
        "wall_ratio": new["wall_s"] / old["wall_s"],
        "peak_difference_mib": peak_difference,
        "within": cpu_ratio <= 1 + CPU_LIMIT and peak_difference <= PEAK_LIMIT_MIB,
        "verdict": verdict(cpu_ratio, cpu_spread, peak_difference),
        "runs": {name: [asdict(cost) for cost in all_of] for name, all_of in costs.items()},
    }


def table_line(name: str, row: Mapping[str, Any]) -> str:
    def both(key: str, form: str, scale: float = 1) -> str:
        old, new = (format(row[build][key] / scale, form) for build in (OLD, NEW))
        return old if old == new else f"{old} → {new}"

    cells = (
        name,
        both("cpu_s", ".3f"),
        f"{row['cpu_ratio']:.2f}",
        f"{row['cpu_spread']:.0%}",
        both("wall_s", ".2f"),
        f"{row['wall_ratio']:.2f}",
        both("peak_mib", ".1f"),
        both("threads", ".0f"),
        both("requests", ".0f"),
        both("bytes", ".2f", 1e6),
        row["verdict"],
    )
    return f"| {' | '.join(cells)} |"


def compare(
    rows: Iterable[Row], inputs: Inputs, builds: Mapping[str, Path], runs: int, cache: Path
) -> dict[str, Any]:
    """Measures and prints row by row; gives all of it for the JSON."""
    print(HEAD)
    result = {}
    for row in rows:
        result[row.name] = judge(row, measure(row, inputs, builds, runs, cache))
        print(table_line(row.name, result[row.name]), flush=True)
    return result
